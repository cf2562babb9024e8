//! TLS towards the web: the relay's public side, upstreams, and local services
//! that speak HTTPS. Here certificates are the web's, not our authority's.

use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, DigitallySignedStruct, PeerIncompatible, RootCertStore, ServerConfig,
    SignatureScheme,
};

use crate::error::Error;
use crate::provider::{self, provider};

/// TLS settings for a server with a certificate of its own, from PEM files:
/// the chain, leaf first, and the key. Offers HTTP/2 and HTTP/1.1.
///
/// # Errors
/// [`Error::Damaged`] names the file that cannot be read, [`Error::Crypto`]
/// says why the two do not work together.
pub fn server_config(certificate: &Path, key: &Path) -> Result<ServerConfig, Error> {
    let chain = read_certificates(certificate)?;
    let key = PrivateKeyDer::from_pem_file(key).map_err(|error| unreadable(key, &error))?;
    let mut config = provider::server_builder()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| Error::crypto("use the certificate and key", error))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// TLS settings for a client of web servers whose certificates come from
/// these roots.
#[must_use]
pub fn client_config(roots: RootCertStore) -> ClientConfig {
    provider::client_builder()
        .with_root_certificates(roots)
        .with_no_client_auth()
}

/// TLS settings for a client that takes any certificate. Only for a local
/// service whose owner said so.
#[must_use]
pub fn unverified_client_config() -> ClientConfig {
    let algorithms = provider().signature_verification_algorithms;
    provider::client_builder()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate { algorithms }))
        .with_no_client_auth()
}

/// Adds the certificates of a PEM file to the roots.
///
/// # Errors
/// [`Error::Damaged`] names the file, [`Error::Crypto`] the reason.
pub fn add_roots(roots: &mut RootCertStore, file: &Path) -> Result<(), Error> {
    for certificate in read_certificates(file)? {
        roots
            .add(certificate)
            .map_err(|error| Error::crypto("trust a certificate", error))?;
    }
    Ok(())
}

fn read_certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let certificates = CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| unreadable(file, &error))?;
    if certificates.is_empty() {
        return Err(damaged(file, "holds no certificate"));
    }
    Ok(certificates)
}

fn unreadable(file: &Path, error: &rustls::pki_types::pem::Error) -> Error {
    damaged(file, &error.to_string())
}

fn damaged(file: &Path, reason: &str) -> Error {
    Error::Damaged {
        path: file.to_owned(),
        reason: reason.to_owned(),
    }
}

/// Verifies that the server holds the key of its certificate, not who it is.
#[derive(Debug)]
struct AnyCertificate {
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(PeerIncompatible::Tls13RequiredForQuic.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_certificates_is_named() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let file = folder.path().join("empty.pem");
        std::fs::write(&file, "nothing here").expect("written");
        let error = server_config(&file, &file).expect_err("no certificate");
        assert!(error.to_string().contains("empty.pem"), "{error}");
        let missing = folder.path().join("missing.pem");
        let error = add_roots(&mut RootCertStore::empty(), &missing).expect_err("missing");
        assert!(error.to_string().contains("missing.pem"), "{error}");
    }

    #[test]
    fn a_certificate_and_key_make_a_server() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let made = rcgen::generate_simple_self_signed(["localhost".into()]).expect("made");
        let (chain, key) = (folder.path().join("c.pem"), folder.path().join("k.pem"));
        std::fs::write(&chain, made.cert.pem()).expect("written");
        std::fs::write(&key, made.signing_key.serialize_pem()).expect("written");
        let config = server_config(&chain, &key).expect("usable");
        assert_eq!(
            config.alpn_protocols,
            [b"h2".to_vec(), b"http/1.1".to_vec()]
        );
        let error = server_config(&chain, &chain).expect_err("no key");
        assert!(error.to_string().contains("c.pem"), "{error}");
    }
}
