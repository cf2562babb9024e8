//! The text form of API keys.
//!
//! ```text
//! gnl_live_k3v7q2xa_6tq…(40)…m4z5wvdr2a
//!     │    │        │            └ 7: CRC-32 of all before it
//!     │    │        └ 40: the secret, 200 random bits
//!     │    └ 8: the public id, 40 random bits
//!     └ live or test
//! ```
//!
//! All in lower-case base32 (RFC 4648 §6). The checksum lets a typo, or a
//! secret scanner's false alarm, be told apart without asking the database.

use std::fmt;
use std::str::FromStr;

use data_encoding::BASE32_NOPAD;

use super::error::{Error, ErrorKind};

/// An API key with its secret. Shown once, when it is made.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey {
    environment: KeyEnvironment,
    /// The whole text; the parts have fixed lengths.
    text: Box<str>,
}

/// What a key is for. The two kinds are easy to tell apart in a leak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyEnvironment {
    /// Real use.
    Live,
    /// Trials and tests.
    Test,
}

impl ApiKey {
    /// Makes a new key from the system's randomness.
    ///
    /// # Errors
    /// `Unavailable` when the system has no randomness.
    pub fn generate(environment: KeyEnvironment) -> Result<Self, Error> {
        let mut random = [0; ID_BYTES + SECRET_BYTES];
        aws_lc_rs::rand::fill(&mut random)
            .map_err(|_| Error::new(ErrorKind::Unavailable, "system has no randomness"))?;
        let (id, secret) = random.split_at(ID_BYTES);
        let mut text = format!(
            "gnl_{environment}_{}_{}",
            encode_base32(id),
            encode_base32(secret)
        );
        text.push_str(&checksum(&text));
        Ok(Self {
            environment,
            text: text.into(),
        })
    }

    /// Reads a key, refusing typos by its checksum.
    ///
    /// # Errors
    /// [`InvalidKey`], which never repeats the text.
    pub fn parse(text: &str) -> Result<Self, InvalidKey> {
        if text.len() != TEXT_CHARS || !text.is_ascii() {
            return Err(InvalidKey::Form);
        }
        let environment = match text.get(..PREFIX_CHARS) {
            Some("gnl_live_") => KeyEnvironment::Live,
            Some("gnl_test_") => KeyEnvironment::Test,
            _ => return Err(InvalidKey::Form),
        };
        let Some((body, crc)) = text.split_at_checked(TEXT_CHARS - CRC_CHARS) else {
            return Err(InvalidKey::Form);
        };
        let in_form = text
            .bytes()
            .enumerate()
            .skip(PREFIX_CHARS)
            .all(|(i, byte)| {
                if i == PREFIX_CHARS + ID_CHARS {
                    byte == b'_'
                } else {
                    matches!(byte, b'a'..=b'z' | b'2'..=b'7')
                }
            });
        if !in_form {
            return Err(InvalidKey::Form);
        }
        if checksum(body) != crc {
            return Err(InvalidKey::Checksum);
        }
        Ok(Self {
            environment,
            text: text.into(),
        })
    }

    /// The public id, by which the key is listed and revoked.
    #[must_use]
    pub fn id(&self) -> &str {
        self.text
            .get(PREFIX_CHARS..PREFIX_CHARS + ID_CHARS)
            .expect("the text has its full length, all ASCII")
    }

    /// What the key is for.
    #[must_use]
    pub fn environment(&self) -> KeyEnvironment {
        self.environment
    }

    /// The whole key, secret included.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.text
    }
}

impl FromStr for ApiKey {
    type Err = InvalidKey;
    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        Self::parse(text)
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "gnl_{}_{}_***", self.environment, self.id())
    }
}

impl fmt::Display for KeyEnvironment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Live => "live",
            Self::Test => "test",
        })
    }
}

impl FromStr for KeyEnvironment {
    type Err = InvalidKeyEnvironment;
    fn from_str(text: &str) -> Result<Self, InvalidKeyEnvironment> {
        match text {
            "live" => Ok(Self::Live),
            "test" => Ok(Self::Test),
            _ => Err(InvalidKeyEnvironment),
        }
    }
}

/// Why a text is not an API key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidKey {
    /// It does not look like a key.
    #[error("api key is not of the form gnl_live_… or gnl_test_…")]
    Form,
    /// It looks like a key but has a typo.
    #[error("api key has a typo, its checksum does not match")]
    Checksum,
}

/// The text is neither `live` nor `test`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("key environment is neither live nor test")]
pub struct InvalidKeyEnvironment;

fn checksum(text: &str) -> String {
    encode_base32(&crc32fast::hash(text.as_bytes()).to_be_bytes())
}

fn encode_base32(bytes: &[u8]) -> String {
    BASE32_NOPAD.encode(bytes).to_ascii_lowercase()
}

const ID_BYTES: usize = 5;
const SECRET_BYTES: usize = 25;
/// `gnl_live_` or `gnl_test_`.
const PREFIX_CHARS: usize = 9;
const ID_CHARS: usize = 8;
const SECRET_CHARS: usize = 40;
const CRC_CHARS: usize = 7;
const TEXT_CHARS: usize = PREFIX_CHARS + ID_CHARS + 1 + SECRET_CHARS + CRC_CHARS;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_key_reads_as_it_was_made() {
        for environment in [KeyEnvironment::Live, KeyEnvironment::Test] {
            let key = ApiKey::generate(environment).expect("randomness");
            let text = key.expose();
            assert!(text.starts_with(&format!("gnl_{environment}_{}_", key.id())));
            assert_eq!(text.len(), TEXT_CHARS);
            assert_eq!(ApiKey::parse(text), Ok(key.clone()));
            assert_eq!(key.environment(), environment);
        }
    }

    #[test]
    fn two_keys_share_nothing() {
        let one = ApiKey::generate(KeyEnvironment::Live).expect("randomness");
        let two = ApiKey::generate(KeyEnvironment::Live).expect("randomness");
        assert_ne!(one.id(), two.id());
        assert_ne!(one.expose()[18..58], two.expose()[18..58]);
    }

    #[test]
    fn debug_does_not_show_the_secret() {
        let key = ApiKey::generate(KeyEnvironment::Live).expect("randomness");
        assert_eq!(format!("{key:?}"), format!("gnl_live_{}_***", key.id()));
    }

    /// The form is released: keys are in people's configuration.
    #[test]
    fn the_form_is_golden() {
        let golden = format!("gnl_live_abcdefgh_{}{GOLDEN_CRC}", "a2".repeat(20));
        ApiKey::parse(&golden).expect("a released key");
    }

    fn any_key() -> impl Strategy<Value = String> {
        ("(live|test)", "[a-z2-7]{8}", "[a-z2-7]{40}").prop_map(|(environment, id, secret)| {
            let body = format!("gnl_{environment}_{id}_{secret}");
            let crc = checksum(&body);
            body + &crc
        })
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_or_refused(text in "\\PC{0,80}") {
            if let Ok(key) = ApiKey::parse(&text) {
                prop_assert_eq!(key.expose(), text);
            }
        }

        #[test]
        fn a_well_formed_key_is_accepted(text in any_key()) {
            let key = ApiKey::parse(&text).expect("well formed");
            prop_assert_eq!(key.expose(), text);
        }

        #[test]
        fn one_wrong_character_is_refused(text in any_key(), at in 0..TEXT_CHARS, to in "[ -~]") {
            let mut typo = text.clone();
            typo.replace_range(at..=at, &to);
            prop_assume!(typo != text);
            prop_assert!(ApiKey::parse(&typo).is_err(), "{} was accepted", typo);
        }

        #[test]
        fn two_swapped_characters_are_refused(text in any_key(), at in 1..TEXT_CHARS) {
            let mut bytes = text.clone().into_bytes();
            bytes.swap(at - 1, at);
            let typo = String::from_utf8(bytes).expect("ascii");
            prop_assume!(typo != text);
            prop_assert!(ApiKey::parse(&typo).is_err(), "{} was accepted", typo);
        }

        #[test]
        fn a_cut_or_longer_key_is_refused(text in any_key(), length in 0..TEXT_CHARS, more in "[a-z ]{1,9}") {
            prop_assert!(ApiKey::parse(&text[..length]).is_err());
            let longer = text + &more;
            prop_assert!(ApiKey::parse(&longer).is_err());
        }
    }

    const GOLDEN_CRC: &str = "usqoxmy";
}
