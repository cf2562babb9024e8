//! What the authority takes out of a certificate request (PKCS#10, RFC 2986):
//! a public key whose owner has shown to hold the private one.
//!
//! Names, extensions and attributes in a request are not even looked at.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use rcgen::{PublicKeyData, SubjectPublicKeyInfo};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::oid_registry::OID_SIG_ED25519;
use x509_parser::prelude::FromDer;

use super::REQUEST_MAX;
use crate::error::Error;

/// SHA-256 of the key that [`public_key`] returns, as its DER structure.
pub(super) fn key_hash(csr_der: &[u8]) -> Result<[u8; 32], Error> {
    let key = public_key(csr_der)?;
    let digest = digest(&SHA256, &key.subject_public_key_info());
    let mut hash = [0; 32];
    hash.copy_from_slice(digest.as_ref());
    Ok(hash)
}

/// The public key of a request that proves possession of the private one.
pub(super) fn public_key(csr_der: &[u8]) -> Result<SubjectPublicKeyInfo, Error> {
    if csr_der.len() > REQUEST_MAX {
        return Err(Error::Request("is longer than 4096 bytes"));
    }
    let Ok((rest, request)) = X509CertificationRequest::from_der(csr_der) else {
        return Err(Error::Request("is not a PKCS#10 structure"));
    };
    if !rest.is_empty() {
        return Err(Error::Request("has bytes after its end"));
    }
    let signed = &request.certification_request_info;
    let spki = &signed.subject_pki;
    // The algorithm has no parameters (RFC 8410 §3).
    for algorithm in [&spki.algorithm, &request.signature_algorithm] {
        if algorithm.algorithm != OID_SIG_ED25519 || algorithm.parameters.is_some() {
            return Err(Error::Request("is for a key that is not Ed25519"));
        }
    }
    let verified = UnparsedPublicKey::new(&ED25519, &spki.subject_public_key.data)
        .verify(signed.raw, &request.signature_value.data);
    if verified.is_err() {
        return Err(Error::Request("is not signed by the key it carries"));
    }
    SubjectPublicKeyInfo::from_der(spki.raw)
        .map_err(|_| Error::Request("is for a key that is not Ed25519"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::DeviceKey;
    use proptest::prelude::*;
    use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, PublicKeyData};

    #[test]
    fn a_request_must_be_signed_by_its_own_key() {
        let key = DeviceKey::generate().expect("key");
        let good = key.certificate_request().expect("request");
        public_key(&good).expect("the untouched request");

        let mut forged = good.clone();
        *forged.last_mut().expect("bytes") ^= 1;
        let error = public_key(&forged).expect_err("a broken signature");
        assert_eq!(
            error.to_string(),
            "certificate request is not signed by the key it carries"
        );

        // Somebody else's public key in an otherwise valid request.
        let other = DeviceKey::generate().expect("key");
        let at = find(&good, key.public_key());
        let mut stolen = good;
        stolen[at..at + 32].copy_from_slice(other.public_key());
        let error = public_key(&stolen).expect_err("another's key");
        assert!(matches!(error, Error::Request(_)), "{error}");
    }

    #[test]
    fn only_ed25519_keys_are_certified() {
        let request_of = |algorithm| {
            let key = KeyPair::generate_for(algorithm).expect("key");
            let request = CertificateParams::default().serialize_request(&key);
            request.expect("request").der().to_vec()
        };
        public_key(&request_of(&PKCS_ED25519)).expect("Ed25519");
        let error = public_key(&request_of(&PKCS_ECDSA_P256_SHA256));
        assert_eq!(
            error.expect_err("ECDSA").to_string(),
            "certificate request is for a key that is not Ed25519"
        );
    }

    #[test]
    fn malformed_requests_are_refused() {
        let good = DeviceKey::generate().expect("key").certificate_request();
        let good = good.expect("request");
        let mut longer = good.clone();
        longer.push(0);
        let certificate = CertificateParams::default();
        let key = KeyPair::generate_for(&PKCS_ED25519).expect("key");
        let certificate = certificate
            .self_signed(&key)
            .expect("signed")
            .der()
            .to_vec();
        for bad in [&b""[..], b"request", &good[..100], &longer, &certificate] {
            let error = public_key(bad).expect_err("malformed");
            assert!(matches!(error, Error::Request(_)), "{error}");
        }
        let error = public_key(&[0x30; REQUEST_MAX + 1]).expect_err("too long");
        assert_eq!(
            error.to_string(),
            "certificate request is longer than 4096 bytes"
        );
    }

    proptest! {
        #[test]
        fn a_damaged_request_never_certifies_another_key(position: prop::sample::Index, change in 1_u8..) {
            let key = DeviceKey::generate().expect("key");
            let mut request = key.certificate_request().expect("request");
            let position = position.index(request.len());
            request[position] ^= change;
            if let Ok(certified) = public_key(&request) {
                prop_assert_eq!(certified.der_bytes(), key.public_key());
            }
        }
    }

    fn find(haystack: &[u8], needle: &[u8]) -> usize {
        let mut windows = haystack.windows(needle.len());
        windows.position(|window| window == needle).expect("found")
    }
}
