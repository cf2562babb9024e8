//! The relay's side of TLS.

use std::sync::Arc;

use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};

use crate::error::Error;
use crate::identity::Leaf;
use crate::provider::{self, provider};
use crate::{ALPN_JOIN, ALPN_LINK};

/// TLS settings for the relay's one endpoint, which serves links and joins.
///
/// A certificate that a client shows must be a device certificate of
/// `authority`, in its time. A client that shows none completes the handshake
/// as well, because a joining device has none and TLS settles certificates for
/// an endpoint, not for a protocol. So after the handshake the relay looks at
/// the negotiated protocol: a link without a [`peer_leaf`] is closed.
///
/// # Errors
/// [`Error::Crypto`] if rustls refuses the certificates or the key.
pub fn relay_config(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    authority: &CertificateDer<'static>,
) -> Result<ServerConfig, Error> {
    let mut roots = RootCertStore::empty();
    roots
        .add(authority.clone())
        .map_err(|e| Error::crypto("use the authority", e))?;
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider())
        .allow_unauthenticated()
        .build()
        .map_err(|e| Error::crypto("use the authority", e))?;
    let mut config = provider::server_builder()
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)
        .map_err(|e| Error::crypto("use the relay's certificate", e))?;
    config.alpn_protocols = vec![ALPN_LINK.to_vec(), ALPN_JOIN.to_vec()];
    // A resumed session would restore the client's certificate unchecked: an
    // expired device would stay welcome. Early data can be replayed.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    Ok(config)
}

/// Who is at the other end of a link.
///
/// Takes the certificates of a finished handshake, the device's first, which
/// TLS has verified. The caller still checks the identity's domain and
/// environment, and the serial in its registry.
///
/// # Errors
/// [`Error::CertificateRequired`] if the peer showed none, otherwise as
/// [`Leaf::from_der`].
pub fn peer_leaf(certificates: Option<&[CertificateDer<'_>]>) -> Result<Leaf, Error> {
    let Some([certificate, ..]) = certificates else {
        return Err(Error::CertificateRequired);
    };
    Leaf::from_der(certificate)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authority::Authority;
    use ginnel_proto::id::Domain;
    use std::time::{Duration, UNIX_EPOCH};

    #[test]
    fn relay_settings_leave_nothing_to_resume_and_log_no_keys() {
        let now = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let domain = Domain::parse("relay.example").expect("domain");
        let authority = Authority::create(&domain, now).expect("authority");
        let relay = authority.issue_relay(&domain, now, Duration::from_secs(3600));
        let relay = relay.expect("certificate");
        let config = relay_config(relay.chain, relay.key, authority.certificate());
        let config = config.expect("settings");
        assert_eq!(config.alpn_protocols, [&b"ginnel/1"[..], b"ginnel-join/1"]);
        assert_eq!(config.send_tls13_tickets, 0);
        assert_eq!(config.max_early_data_size, 0);
        assert!(!config.session_storage.can_cache());
        assert!(!config.ticketer.enabled());
        assert!(!config.key_log.will_log("SERVER_TRAFFIC_SECRET_0"));
    }

    #[test]
    fn a_link_without_a_certificate_has_no_peer() {
        for none in [None, Some(&[][..])] {
            let error = peer_leaf(none).expect_err("no certificate");
            assert!(matches!(error, Error::CertificateRequired));
            assert!(error.to_string().starts_with("certificate required"));
        }
    }
}
