//! The device's side of TLS.
//!
//! Two settings: one for the link, which proves the device to the relay and
//! the relay to the device, and one for joining, when all the device has is a
//! join code. In TLS 1.3 the client's handshake ends before the relay has
//! judged the client's certificate (RFC 8446 §4.4.2.4): an established
//! connection does not yet mean an accepted device.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, verify_server_cert_signed_by_trust_anchor};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, PeerIncompatible, RootCertStore,
    SignatureScheme,
};

use crate::device::Credentials;
use crate::error::Error;
use crate::pin::SpkiPin;
use crate::provider::{self, provider};
use crate::{ALPN_JOIN, ALPN_LINK, x509};

/// TLS settings for a device's link.
///
/// Connect with [`Credentials::domain`] as the server's name: the relay's
/// certificate must carry it and be signed by the device's own authority.
/// Authorities of the system are not asked.
///
/// # Errors
/// [`Error::Crypto`] if rustls refuses the credentials.
pub fn link_config(credentials: &Credentials) -> Result<ClientConfig, Error> {
    let refused = |error| Error::crypto("use the device's credentials", error);
    let mut roots = RootCertStore::empty();
    roots
        .add(credentials.authority().clone())
        .map_err(refused)?;
    let config = provider::client_builder()
        .with_root_certificates(roots)
        .with_client_auth_cert(credentials.chain().to_vec(), credentials.tls_key())
        .map_err(refused)?;
    Ok(finish(config, ALPN_LINK))
}

/// TLS settings for joining: no certificate of our own, the relay's authority
/// known by its pin.
///
/// The server's name is not checked, because a join code may lead to an
/// address that no certificate carries, and because the pinned authority
/// certifies no server but its relay.
#[must_use]
pub fn join_config(pin: SpkiPin) -> ClientConfig {
    let verifier = PinnedAuthority {
        pin,
        algorithms: provider().signature_verification_algorithms,
    };
    let config = provider::client_builder()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    finish(config, ALPN_JOIN)
}

fn finish(mut config: ClientConfig, alpn: &[u8]) -> ClientConfig {
    config.alpn_protocols = vec![alpn.to_vec()];
    // A resumed session does not look at certificates again.
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    config
}

/// Accepts a server whose chain holds the pinned authority and whose own
/// certificate that authority signed for server authentication.
#[derive(Debug)]
struct PinnedAuthority {
    pin: SpkiPin,
    algorithms: WebPkiSupportedAlgorithms,
}

impl PinnedAuthority {
    fn is_pinned(&self, certificate: &CertificateDer<'_>) -> bool {
        let is_authority = x509::parse(certificate).and_then(|c| x509::is_authority(&c));
        // A pin is public, so an ordinary comparison gives nothing away.
        matches!(is_authority, Ok(true))
            && SpkiPin::of(certificate).is_ok_and(|pin| pin == self.pin)
    }
}

impl ServerCertVerifier for PinnedAuthority {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(authority) = intermediates.iter().find(|c| self.is_pinned(c)) else {
            return Err(CertificateError::UnknownIssuer.into());
        };
        let mut roots = RootCertStore::empty();
        roots.add(authority.clone())?;
        // No intermediates: the pinned key itself must have signed the relay's
        // certificate. This also checks dates and purpose (RFC 5280 §6.1).
        verify_server_cert_signed_by_trust_anchor(
            &ParsedCertificate::try_from(end_entity)?,
            &roots,
            &[],
            now,
            self.algorithms.all,
        )?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(PeerIncompatible::ServerDoesNotSupportTls12Or13.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn join_settings_leave_nothing_to_resume_and_log_no_keys() {
        let config = join_config(SpkiPin([0; 32]));
        assert_eq!(config.alpn_protocols, [b"ginnel-join/1"]);
        assert!(!config.enable_early_data);
        assert!(!config.key_log.will_log("CLIENT_TRAFFIC_SECRET_0"));
        assert!(!config.client_auth_cert_resolver.has_certs());
    }
}
