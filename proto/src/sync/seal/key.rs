//! A user's key, which devices have and relays never.
//!
//! As text it is `gnk1_`, the key and four bytes of its BLAKE3 in base32 in lower
//! case without padding (RFC 4648 §6): what is mistyped is found before it is used.

use std::fmt;
use std::str::FromStr;

use data_encoding::{BASE32_NOPAD, BASE32_NOPAD_NOCASE, HEXLOWER};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize as _, Zeroizing};

/// What a key begins with, as text.
pub const PREFIX: &str = "gnk1_";

const KEY_LEN: usize = 32;

/// Bytes of the BLAKE3 that finds typing errors; it protects nothing.
const CHECK_LEN: usize = 4;

/// Which key: no secret, and it leads to none.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(pub [u8; Self::LEN]);

/// A user's key. Wiped from memory when it goes.
#[derive(Clone, Eq)]
pub struct Key {
    secret: Box<[u8; KEY_LEN]>,
    cipher: Box<[u8; KEY_LEN]>,
    nonce: Box<[u8; KEY_LEN]>,
    id: KeyId,
}

/// A text is no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the key {0}")]
pub struct InvalidKey(&'static str);

impl PartialEq for Key {
    /// Takes as long whatever the keys are, as BLAKE3's hashes do.
    fn eq(&self, other: &Self) -> bool {
        blake3::Hash::from_bytes(*self.secret) == blake3::Hash::from_bytes(*other.secret)
    }
}

impl Key {
    /// The key of so many secret bytes, which have to be random.
    #[must_use]
    pub fn of(secret: [u8; KEY_LEN]) -> Self {
        let derive = |what| Box::new(blake3::derive_key(what, &secret));
        let mut id = blake3::derive_key("ginnel 2026-11-29 knowledge: which key", &secret);
        let short = *id.first_chunk().unwrap_or(&[0; KeyId::LEN]);
        id.zeroize();
        Self {
            cipher: derive("ginnel 2026-11-29 knowledge: XChaCha20-Poly1305"),
            nonce: derive("ginnel 2026-11-29 knowledge: nonces"),
            id: KeyId(short),
            secret: Box::new(secret),
        }
    }

    /// Which one it is.
    #[must_use]
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// The key as text, for a file or a sheet of paper.
    #[must_use]
    pub fn to_text(&self) -> Zeroizing<String> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(KEY_LEN + CHECK_LEN));
        bytes.extend_from_slice(&*self.secret);
        bytes.extend_from_slice(&check(&self.secret));
        let mut text = Zeroizing::new(String::with_capacity(64));
        text.push_str(PREFIX);
        BASE32_NOPAD.encode_append(&bytes, &mut text);
        text.make_ascii_lowercase();
        text
    }

    pub(super) fn cipher(&self) -> &chacha20poly1305::Key {
        (&*self.cipher).into()
    }

    /// The nonce for a text and its place: never the same for two.
    pub(super) fn nonce(&self, place: &str, plain: &[u8]) -> [u8; 24] {
        let mut hasher = blake3::Hasher::new_keyed(&self.nonce);
        // The length first, so that no two pairs are the same bytes.
        hasher.update(&(place.len() as u64).to_le_bytes());
        hasher.update(place.as_bytes());
        hasher.update(plain);
        let mut nonce = [0; 24];
        hasher.finalize_xof().fill(&mut nonce);
        nonce
    }
}

fn check(secret: &[u8; KEY_LEN]) -> [u8; CHECK_LEN] {
    let hash = blake3::derive_key("ginnel 2026-11-29 knowledge: mistyped", secret);
    *hash.first_chunk().unwrap_or(&[0; CHECK_LEN])
}

impl FromStr for Key {
    type Err = InvalidKey;

    /// Takes blanks and capitals, too: people copy it from paper.
    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        const MISTYPED: InvalidKey = InvalidKey("is mistyped or cut short");
        let mut dense = Zeroizing::new(String::with_capacity(text.len()));
        dense.extend(text.chars().filter(|it| !it.is_whitespace()));
        dense.make_ascii_lowercase();
        let digits = dense.strip_prefix(PREFIX);
        let digits = digits.ok_or(InvalidKey("does not begin with gnk1_"))?;
        let bytes = BASE32_NOPAD_NOCASE.decode(digits.as_bytes());
        let bytes = Zeroizing::new(bytes.map_err(|_| MISTYPED)?);
        let (secret, checked) = bytes.split_first_chunk().ok_or(MISTYPED)?;
        if *checked != check(secret) {
            return Err(MISTYPED);
        }
        Ok(Self::of(*secret))
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        self.secret.zeroize();
        self.cipher.zeroize();
        self.nonce.zeroize();
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.id)
    }
}

impl KeyId {
    /// In bytes.
    pub const LEN: usize = 8;
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

impl FromStr for KeyId {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        let bytes = HEXLOWER.decode(text.as_bytes()).ok();
        let bytes = bytes.and_then(|bytes| bytes.try_into().ok());
        bytes
            .map(Self)
            .ok_or(InvalidKey("id is not 16 hexadecimal digits"))
    }
}

impl Serialize for KeyId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for KeyId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_typed_from_paper() {
        let key = Key::of(std::array::from_fn(|at| u8::try_from(at).expect("small")));
        let text = key.to_text();
        assert_eq!(
            *text,
            "gnk1_aaaqeayeaudaocajbifqydiob4ibceqtcqkrmfyydenbwha5dyp5dkoz4i"
        );
        assert_eq!(text.parse::<Key>().expect("read"), key);
        let spaced = format!(" {} {}\n", &text[..20].to_uppercase(), &text[20..]);
        assert_eq!(spaced.parse::<Key>().expect("read"), key);
        // Not one letter may be wrong, missing or too many.
        for at in PREFIX.len()..text.len() {
            let mut wrong = text.to_string();
            let other = if wrong.as_bytes()[at] == b'a' {
                "b"
            } else {
                "a"
            };
            wrong.replace_range(at..=at, other);
            assert!(wrong.parse::<Key>().is_err(), "letter {at}");
            assert!(text[..at].parse::<Key>().is_err(), "cut at {at}");
        }
        assert!(format!("{}a", &*text).parse::<Key>().is_err());
        assert!("gnj1_abc".parse::<Key>().is_err());
    }

    #[test]
    fn no_secret_is_printed_by_accident() {
        let key = Key::of([9; 32]);
        assert_eq!(format!("{key:?}"), format!("Key({})", key.id()));
        let id: KeyId = key.id().to_string().parse().expect("read back");
        assert_eq!(id, key.id());
        assert!("xyz".parse::<KeyId>().is_err());
    }
}
