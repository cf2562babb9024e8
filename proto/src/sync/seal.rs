//! End-to-end encryption: what only a user's devices can read, however it gets
//! from one to the other.
//!
//! ```text
//! magic     8 B   "GNLKSEAL"
//! key id    8 B   which key; says nothing about it
//! nonce    24 B   of what is sealed, where it belongs, and the key
//! text      n B   XChaCha20
//! tag      16 B   Poly1305 over the text and where it belongs
//! ```
//!
//! XChaCha20-Poly1305 is draft-irtf-cfrg-xchacha-03 §2. The nonce is not drawn but
//! made of all that is sealed, by BLAKE3 under a key of its own, as in the SIV
//! construction (Rogaway and Shrimpton, 2006): a batch that is written a second
//! time is the same object, and a block of a database that did not change stays
//! the same, so that only changed blocks travel. Whoever keeps the objects sees
//! which blocks did not change, and how long they are; nothing else.
//!
//! Where it belongs is the key of the object in the bucket, and the number of the
//! block in a file: one that is moved elsewhere cannot be opened.

pub mod file;
mod key;

use bytes::Bytes;
use chacha20poly1305::XChaCha20Poly1305;
use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
pub use ginnel_blob::cut::SEALED;
pub use key::{InvalidKey, Key, KeyId, PREFIX};

/// Bytes that sealing adds.
pub const OVERHEAD: usize = SEALED.len() + KeyId::LEN + NONCE_LEN + TAG_LEN;

const NONCE_LEN: usize = 24;
const TAG_LEN: usize = 16;

/// Why something cannot be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CannotOpen {
    /// It is not sealed, although all that lies there is.
    #[error("it is not encrypted, as it has to be: forged, or written before")]
    Plain,
    /// It needs another key.
    #[error("it is encrypted with another key, key={0}")]
    OtherKey(KeyId),
    /// It was not sealed like this with the key, or belongs elsewhere.
    #[error("it cannot be decrypted: damaged, forged or moved")]
    Forged,
}

/// Seals bytes for a place.
///
/// # Panics
/// Never: the cipher takes up to 256 GiB, which no slice of ours has.
#[must_use]
pub fn seal(key: &Key, place: &str, plain: &[u8]) -> Vec<u8> {
    let nonce = key.nonce(place, plain);
    let payload = Payload {
        msg: plain,
        aad: place.as_bytes(),
    };
    let cipher = XChaCha20Poly1305::new(key.cipher());
    #[expect(clippy::expect_used, reason = "fails only beyond 256 GiB")]
    let text = cipher
        .encrypt((&nonce).into(), payload)
        .expect("no longer than the cipher takes");
    let mut sealed = Vec::with_capacity(OVERHEAD + plain.len());
    sealed.extend_from_slice(SEALED);
    sealed.extend_from_slice(&key.id().0);
    sealed.extend_from_slice(&nonce);
    sealed.extend_from_slice(&text);
    sealed
}

/// Opens what was sealed for a place.
///
/// # Errors
/// It was not, or not with this key.
pub fn open(key: &Key, place: &str, sealed: &[u8]) -> Result<Bytes, CannotOpen> {
    let id = key_of(sealed).ok_or(CannotOpen::Plain)?;
    if id != key.id() {
        return Err(CannotOpen::OtherKey(id));
    }
    let rest = sealed.get(SEALED.len() + KeyId::LEN..);
    let nonce_and_text = rest.and_then(|rest| rest.split_first_chunk::<NONCE_LEN>());
    let (nonce, text) = nonce_and_text.ok_or(CannotOpen::Forged)?;
    let payload = Payload {
        msg: text,
        aad: place.as_bytes(),
    };
    let cipher = XChaCha20Poly1305::new(key.cipher());
    let plain = cipher.decrypt(nonce.into(), payload);
    plain.map(Bytes::from).map_err(|_| CannotOpen::Forged)
}

/// With which key something is sealed; `None` if it is not.
#[must_use]
pub fn key_of(bytes: &[u8]) -> Option<KeyId> {
    let rest = bytes.strip_prefix(SEALED)?;
    rest.first_chunk().copied().map(KeyId)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> Key {
        Key::of([byte; 32])
    }

    #[test]
    fn only_the_key_and_the_place_open_it() {
        let place = "knowledge/ada/.sync/log/e1/desk/0000000000000001.batch";
        let sealed = seal(&key(1), place, b"bowline");
        assert_eq!(sealed.len(), b"bowline".len() + OVERHEAD);
        assert_eq!(key_of(&sealed), Some(key(1).id()));
        assert_eq!(&*open(&key(1), place, &sealed).expect("opened"), b"bowline");
        let elsewhere = place.replace("desk", "lap");
        assert_eq!(
            open(&key(1), &elsewhere, &sealed),
            Err(CannotOpen::Forged),
            "moved"
        );
        assert_eq!(
            open(&key(2), place, &sealed),
            Err(CannotOpen::OtherKey(key(1).id()))
        );
        assert_eq!(open(&key(1), place, b"bowline"), Err(CannotOpen::Plain));
    }

    #[test]
    fn not_a_bit_may_change() {
        let sealed = seal(&key(1), "a", b"knots");
        for at in SEALED.len()..sealed.len() {
            for bit in 0..8 {
                let mut forged = sealed.clone();
                forged[at] ^= 1 << bit;
                assert!(open(&key(1), "a", &forged).is_err(), "byte {at}, bit {bit}");
            }
        }
        for length in 0..sealed.len() {
            assert!(open(&key(1), "a", &sealed[..length]).is_err(), "{length}");
        }
    }

    #[test]
    fn the_same_is_sealed_alike_and_anything_else_is_not() {
        let at = |place, text| seal(&key(1), place, text);
        assert_eq!(at("a", b"x"), at("a", b"x"));
        let nonce = |sealed: &[u8]| sealed[16..40].to_vec();
        let all = [
            at("a", b"x"),
            at("b", b"x"),
            at("a", b"y"),
            at("ax", b""),
            seal(&key(2), "a", b"x"),
        ];
        for (at, one) in all.iter().enumerate() {
            for other in &all[..at] {
                assert_ne!(nonce(one), nonce(other));
            }
        }
    }

    /// What devices wrote once they must read for ever.
    #[test]
    fn the_form_is_that_of_the_first_release() {
        let sealed = seal(&key(7), "knowledge/ada/embeddings.db.enc#0", b"bowline");
        assert_eq!(
            data_encoding::HEXLOWER.encode(blake3::hash(&sealed).as_bytes()),
            "317a979399d56e9b10c1e543ddf33a6cce022f26d2cc5715c98b4831770c5e0d"
        );
    }

    /// The vector of draft-irtf-cfrg-xchacha-03, appendix A.3.1.
    #[test]
    fn the_cipher_is_the_one_of_the_draft() {
        let cipher_key: Vec<u8> = (0x80..=0x9f).collect();
        let nonce: Vec<u8> = (0x40..=0x57).collect();
        let payload = Payload {
            msg: b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, sunscreen would be it.",
            aad: &[0x50, 0x51, 0x52, 0x53, 0xc0, 0xc1, 0xc2, 0xc3, 0xc4, 0xc5, 0xc6, 0xc7],
        };
        let cipher = XChaCha20Poly1305::new_from_slice(&cipher_key).expect("32 bytes");
        let nonce: [u8; NONCE_LEN] = nonce.try_into().expect("24 bytes");
        let text = cipher.encrypt((&nonce).into(), payload);
        let text = text.expect("encrypted");
        let (begin, tag) = (&text[..8], &text[text.len() - 16..]);
        assert_eq!(data_encoding::HEXLOWER.encode(begin), "bd6d179d3e83d43b");
        assert_eq!(
            data_encoding::HEXLOWER.encode(tag),
            "c0875924c1c7987947deafd8780acf49"
        );
    }
}
