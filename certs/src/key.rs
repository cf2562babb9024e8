//! A private Ed25519 key: the only form in which this crate holds one.
//!
//! The authority, the relay and every device use it. It signs for rcgen, so
//! that rcgen never holds a private key itself.

use std::fmt;
use std::path::Path;

use aws_lc_rs::rand;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use zeroize::{Zeroize, Zeroizing};

use crate::error::Error;
use crate::{pem, private_file};

/// What stands before the 32 bytes of an Ed25519 key in PKCS#8 version 1
/// (RFC 8410 §7): version 0, algorithm 1.3.101.112, the nested octet strings.
const PKCS8_PREFIX: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];

/// The length of an Ed25519 private key (RFC 8032 §5.1.5).
const SEED_LEN: usize = 32;

/// The longest key file, in bytes. Ours have 119; comments may stand around it.
const FILE_MAX: usize = 16 * 1024;

/// An Ed25519 private key. Its memory is wiped when it is dropped.
pub(crate) struct PrivateKey {
    pkcs8: Zeroizing<Vec<u8>>,
    /// AWS-LC wipes its own copy when it frees it.
    pair: Ed25519KeyPair,
}

impl PrivateKey {
    /// Makes a new key.
    pub(crate) fn generate() -> Result<Self, Error> {
        let mut pkcs8 = Zeroizing::new(vec![0; PKCS8_PREFIX.len() + SEED_LEN]);
        let (prefix, seed) = pkcs8.split_at_mut(PKCS8_PREFIX.len());
        prefix.copy_from_slice(&PKCS8_PREFIX);
        rand::fill(seed).map_err(|error| Error::crypto("make a key", error))?;
        Self::from_pkcs8(pkcs8).ok_or_else(|| Error::crypto("make a key", "rejected"))
    }

    /// Reads a key from its file.
    pub(crate) fn read(path: &Path) -> Result<Self, Error> {
        let text = private_file::read(path, FILE_MAX)?;
        Self::from_pem(&text).ok_or_else(|| Error::Damaged {
            path: path.to_owned(),
            reason: "does not hold an Ed25519 key in PEM".to_owned(),
        })
    }

    /// Reads a key from PEM; `None` if it holds no Ed25519 key.
    pub(crate) fn from_pem(text: &[u8]) -> Option<Self> {
        let mut key = PrivatePkcs8KeyDer::from_pem_slice(text).ok()?;
        let pkcs8 = Zeroizing::new(key.secret_pkcs8_der().to_vec());
        key.zeroize();
        Self::from_pkcs8(pkcs8)
    }

    fn from_pkcs8(pkcs8: Zeroizing<Vec<u8>>) -> Option<Self> {
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&pkcs8).ok()?;
        Some(Self { pkcs8, pair })
    }

    /// The key as PEM, for its file.
    pub(crate) fn to_pem(&self) -> Zeroizing<String> {
        pem::encode("PRIVATE KEY", &self.pkcs8)
    }

    /// The key as rustls takes it. Rustls does not wipe this copy, which lives
    /// only until the TLS settings are built.
    pub(crate) fn to_rustls(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(self.pkcs8.to_vec().into())
    }

    /// The public half, 32 bytes.
    pub(crate) fn public_key(&self) -> &[u8] {
        self.pair.public_key().as_ref()
    }
}

impl rcgen::PublicKeyData for PrivateKey {
    fn der_bytes(&self) -> &[u8] {
        self.public_key()
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &rcgen::PKCS_ED25519
    }
}

impl rcgen::SigningKey for PrivateKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        let signature = self.pair.try_sign(message);
        let signature = signature.map_err(|_| rcgen::Error::RingUnspecified)?;
        Ok(signature.as_ref().to_vec())
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pem_round_trips() {
        let key = PrivateKey::generate().expect("key");
        let again = PrivateKey::from_pem(key.to_pem().as_bytes()).expect("parsed");
        assert_eq!(again.pkcs8, key.pkcs8);
        assert_eq!(again.public_key(), key.public_key());
    }

    #[test]
    fn keys_differ() {
        let (a, b) = (PrivateKey::generate(), PrivateKey::generate());
        assert_ne!(a.expect("key").pkcs8, b.expect("key").pkcs8);
    }

    #[test]
    fn the_key_of_rfc_8410_is_read() {
        // RFC 8410 §10.3, with the public key of its §10.1.
        let text = b"-----BEGIN PRIVATE KEY-----\n\
            MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n\
            -----END PRIVATE KEY-----\n";
        let key = PrivateKey::from_pem(text).expect("parsed");
        let public = "19bf44096984cdfe8541bac167dc3b96c85086aa30b6b6cb0c5c38ad703166e1";
        assert_eq!(data_encoding::HEXLOWER.encode(key.public_key()), public);
        assert_eq!(key.to_pem().as_bytes(), text);
    }

    #[test]
    fn other_keys_and_texts_are_refused() {
        let other = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).expect("key");
        let other = pem::encode("PRIVATE KEY", &other.serialize_der());
        for text in [other.as_bytes(), b"", b"no key", &[0xff; 100]] {
            assert!(PrivateKey::from_pem(text).is_none());
        }
    }

    #[test]
    fn debug_hides_the_key() {
        let key = PrivateKey::generate().expect("key");
        assert_eq!(format!("{key:?}"), "PrivateKey(***)");
    }
}
