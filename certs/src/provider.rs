//! The cryptography in use: one provider for the whole workspace.
//!
//! Everything that speaks TLS passes this provider explicitly, so that no
//! process-wide default can weaken it.

use std::sync::{Arc, LazyLock};

use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{self, cipher_suite, kx_group};
use rustls::{ClientConfig, ConfigBuilder, ServerConfig, WantsVerifier};

/// The provider: AWS-LC, TLS 1.3 suites only.
///
/// Key agreement starts with X25519MLKEM768 (FIPS 203 and X25519, hybrid), so
/// that traffic recorded today stays closed to a later quantum computer.
/// AES-128-GCM comes first because it is the fastest suite on machines with
/// AES instructions and the one QUIC uses for Initial packets anyway
/// (RFC 9001 §5.2).
#[must_use]
pub fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| {
        Arc::new(CryptoProvider {
            cipher_suites: vec![
                cipher_suite::TLS13_AES_128_GCM_SHA256,
                cipher_suite::TLS13_AES_256_GCM_SHA384,
                cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
            ],
            kx_groups: vec![
                kx_group::X25519MLKEM768,
                kx_group::X25519,
                kx_group::SECP256R1,
                kx_group::SECP384R1,
            ],
            ..aws_lc_rs::default_provider()
        })
    });
    Arc::clone(&PROVIDER)
}

/// Starts a client's settings: our provider, TLS 1.3 only.
pub(crate) fn client_builder() -> ConfigBuilder<ClientConfig, WantsVerifier> {
    ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("the provider above has suites and groups for TLS 1.3")
}

/// Starts a server's settings: our provider, TLS 1.3 only.
pub(crate) fn server_builder() -> ConfigBuilder<ServerConfig, WantsVerifier> {
    ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("the provider above has suites and groups for TLS 1.3")
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::{CipherSuite, NamedGroup, ProtocolVersion};

    #[test]
    fn the_order_of_preference_is_ours() {
        let provider = provider();
        let groups: Vec<_> = provider.kx_groups.iter().map(|g| g.name()).collect();
        assert_eq!(groups.first(), Some(&NamedGroup::X25519MLKEM768));
        let suites: Vec<_> = provider.cipher_suites.iter().map(|s| s.suite()).collect();
        assert_eq!(
            suites,
            [
                CipherSuite::TLS13_AES_128_GCM_SHA256,
                CipherSuite::TLS13_AES_256_GCM_SHA384,
                CipherSuite::TLS13_CHACHA20_POLY1305_SHA256,
            ]
        );
    }

    #[test]
    fn every_suite_is_of_tls_1_3() {
        for suite in &provider().cipher_suites {
            assert_eq!(suite.version().version, ProtocolVersion::TLSv1_3);
        }
    }

    #[test]
    fn there_is_one_provider() {
        assert!(Arc::ptr_eq(&provider(), &provider()));
    }
}
