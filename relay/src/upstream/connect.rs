//! Connections to upstreams, in a time that is bounded as a whole: a host that
//! accepts and then keeps silent in the TLS handshake is as unreachable as one
//! that does not accept.

use std::future::Future;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use rustls::RootCertStore;
use tokio::time::timeout;
use tower_service::Service;

/// How long an upstream may take until requests can be sent to it: name, TCP
/// and TLS.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Who may vouch for a host: the web's authorities, or those in a file.
///
/// # Errors
/// The file cannot be read.
pub(crate) fn roots(ca_file: Option<&Path>) -> Result<RootCertStore, ginnel_certs::error::Error> {
    let mut roots = RootCertStore::empty();
    match ca_file {
        Some(file) => ginnel_certs::web::add_roots(&mut roots, file)?,
        None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
    }
    Ok(roots)
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Connects by TCP and TLS, or fails with [`io::ErrorKind::TimedOut`].
#[derive(Debug, Clone)]
pub(crate) struct Connector(HttpsConnector<HttpConnector>);

impl Connector {
    /// Trusts the certificates that `roots` vouch for.
    pub(crate) fn new(roots: RootCertStore) -> Self {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(ginnel_certs::web::client_config(roots))
            .https_or_http()
            .enable_all_versions()
            .wrap_connector(tcp);
        Self(connector)
    }
}

impl Service<Uri> for Connector {
    type Response = <HttpsConnector<HttpConnector> as Service<Uri>>::Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, upstream: Uri) -> Self::Future {
        let connected = timeout(CONNECT_TIMEOUT, self.0.call(upstream));
        Box::pin(async { connected.await.map_err(io::Error::from)? })
    }
}
