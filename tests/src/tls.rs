//! Certificates of a test's own, and services that show them.

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::caller::Caller;
use crate::origin::Origin;
use crate::wait::in_time;

/// A certificate that signs itself, in PEM files until dropped.
#[derive(Debug)]
pub struct SelfSigned(TempDir);

impl SelfSigned {
    /// A certificate for these names and addresses.
    #[must_use]
    pub fn new(names: &[&str]) -> Self {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let made = rcgen::generate_simple_self_signed(names).expect("made");
        let own = Self(tempfile::tempdir().expect("temporary folder"));
        std::fs::write(own.certificate(), made.cert.pem()).expect("written");
        std::fs::write(own.key(), made.signing_key.serialize_pem()).expect("written");
        own
    }

    /// The certificate's file.
    #[must_use]
    pub fn certificate(&self) -> PathBuf {
        self.0.path().join("certificate.pem")
    }

    /// The key's file.
    #[must_use]
    pub fn key(&self) -> PathBuf {
        self.0.path().join("key.pem")
    }

    /// A service that shows this certificate, prefers HTTP/2, and answers with
    /// the version in use.
    pub async fn origin(&self) -> Origin {
        let config = ginnel_certs::web::server_config(&self.certificate(), &self.key());
        let acceptor = TlsAcceptor::from(Arc::new(config.expect("valid")));
        Origin::raw(move |stream| {
            let acceptor = acceptor.clone();
            async move {
                // Who does not trust it goes away.
                let Ok(stream) = acceptor.accept(stream).await else {
                    return;
                };
                let chosen = stream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec);
                let chosen = String::from_utf8(chosen.unwrap_or_default()).expect("text");
                let service = service_fn(move |request: Request<Incoming>| {
                    let answer = format!("{:?} {chosen}", request.version());
                    std::future::ready(Ok::<_, Infallible>(Response::new(answer)))
                });
                let builder = auto::Builder::new(TokioExecutor::new());
                let _ = builder
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            }
        })
        .await
    }
}

/// A TLS connection of a caller that trusts the certificate in a file and
/// offers these protocols.
///
/// # Errors
/// The handshake failed.
pub async fn connect(
    caller: &Caller,
    name: &'static str,
    trusted: &Path,
    protocols: &[&str],
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = rustls::RootCertStore::empty();
    ginnel_certs::web::add_roots(&mut roots, trusted).expect("a certificate");
    let mut config: ClientConfig = ginnel_certs::web::client_config(roots);
    config.alpn_protocols = protocols
        .iter()
        .map(|name| name.as_bytes().to_vec())
        .collect();
    let name = ServerName::try_from(name).expect("valid");
    let connector = TlsConnector::from(Arc::new(config));
    let stream = caller.connect().await;
    in_time("a TLS handshake", connector.connect(name, stream)).await
}
