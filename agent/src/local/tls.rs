//! TLS to local services: whom each one's owner trusts, made ready once.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use rustls::{ClientConfig, RootCertStore};

use crate::services::spec::Trust;

/// Settings kept ready. There are as many as services at the most; with more
/// kinds of trust than this in use they are made anew each time.
const KEPT_MAX: usize = 64;

/// What settings are made for.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Key {
    trust: Trust,
    /// When the file was written: a new one counts from the next connection.
    written: Option<SystemTime>,
    protocol: Protocol,
}

/// What is spoken over TLS, and offered in the handshake (ALPN, RFC 7301).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    Http1,
    Http2,
}

/// The settings by trust and protocol. Clones are the same.
#[derive(Debug, Clone, Default)]
pub(super) struct TlsSettings {
    kept: Arc<Mutex<Vec<Kept>>>,
}

type Kept = (Key, Arc<ClientConfig>);

impl TlsSettings {
    /// Settings for a service that is trusted so.
    ///
    /// # Errors
    /// The file of its authority cannot be read or holds no certificate.
    pub(super) async fn of(
        &self,
        trust: &Trust,
        protocol: Protocol,
    ) -> io::Result<Arc<ClientConfig>> {
        let written = match trust {
            // Quick, unlike reading it.
            Trust::File(file) => Some(file.metadata()?.modified()?),
            Trust::Web | Trust::Anything => None,
        };
        let key = Key {
            trust: trust.clone(),
            written,
            protocol,
        };
        if let Some(kept) = self.find(&key) {
            return Ok(kept);
        }
        let made = tokio::task::spawn_blocking(move || make(&key).map(|made| (key, made)));
        let (key, made) = made.await.map_err(io::Error::other)??;
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|(old, _)| (&old.trust, old.protocol) != (&key.trust, key.protocol));
        if kept.len() < KEPT_MAX {
            kept.push((key, Arc::clone(&made)));
        }
        Ok(made)
    }

    fn find(&self, key: &Key) -> Option<Arc<ClientConfig>> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, kept) = kept.iter().find(|(known, _)| known == key)?;
        Some(Arc::clone(kept))
    }
}

fn make(key: &Key) -> io::Result<Arc<ClientConfig>> {
    let mut config = match &key.trust {
        Trust::Web => {
            let roots = webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect();
            ginnel_certs::web::client_config(roots)
        }
        Trust::File(file) => ginnel_certs::web::client_config(roots(file)?),
        Trust::Anything => ginnel_certs::web::unverified_client_config(),
    };
    let protocol: &[u8] = match key.protocol {
        Protocol::Http1 => b"http/1.1",
        Protocol::Http2 => b"h2",
    };
    config.alpn_protocols = vec![protocol.to_vec()];
    Ok(Arc::new(config))
}

fn roots(file: &Path) -> io::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    ginnel_certs::web::add_roots(&mut roots, file).map_err(io::Error::other)?;
    Ok(roots)
}
