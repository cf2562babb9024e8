//! The text that lets a new device join: printed once by the relay, typed or
//! pasted once on the device.
//!
//! ```text
//! gnj1_abcdefgh_<payload><crc>
//!      │         │        └ CRC-32 of all before it, 7 characters
//!      │         └ secret (20 bytes) · pin (32 bytes) · address (HOST:PORT)
//!      └ id: public, by which the relay finds what it knows of the code
//! ```
//!
//! Id, payload and CRC are base32 in lower case without padding (RFC 4648 §6),
//! which survives being read aloud. The CRC finds typing errors before anything
//! is sent; it protects nothing. Use, time and owner are the relay's business.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use aws_lc_rs::rand;
use data_encoding::{BASE32_NOPAD, BASE32_NOPAD_NOCASE};
use zeroize::Zeroizing;

use crate::error::Error;
use crate::pin::SpkiPin;

/// The longest address, in bytes: the longest DNS name and a port fit nearly
/// always, and the code stays short enough to paste.
pub const ADDRESS_MAX: usize = 255;

const PREFIX: &str = "gnj1_";

/// An id is 40 random bits: enough to tell the codes of a relay apart.
const ID_LEN: usize = 8;
const ID_BYTES: usize = 5;

/// A secret is 160 random bits, beyond any guessing.
const SECRET_LEN: usize = 20;

/// 32 bits in base32, rounded up.
const CRC_LEN: usize = 7;

/// The longest text: the payload with the longest address is 492 characters.
const TEXT_MAX: usize = PREFIX.len() + ID_LEN + 1 + 492 + CRC_LEN;

const MISTYPED: Error = Error::JoinCode("is mistyped or cut short");
const UNKNOWN_FORM: Error = Error::JoinCode("is not of a form this version knows");

/// A one-time invitation for a device.
pub struct JoinCode {
    id: String,
    address: String,
    pin: SpkiPin,
    secret: Zeroizing<[u8; SECRET_LEN]>,
}

impl JoinCode {
    /// Makes a new code that leads to a relay at `HOST:PORT`.
    ///
    /// # Errors
    /// [`Error::JoinCode`] if the address is not of that form or longer than
    /// [`ADDRESS_MAX`], [`Error::Crypto`] if the system has no randomness.
    pub fn generate(address: &str, pin: SpkiPin) -> Result<Self, Error> {
        check_address(address)?;
        let mut id = [0; ID_BYTES];
        let mut secret = Zeroizing::new([0; SECRET_LEN]);
        for random in [&mut id[..], &mut secret[..]] {
            rand::fill(random).map_err(|e| Error::crypto("read random bytes", e))?;
        }
        Ok(Self {
            id: BASE32_NOPAD.encode(&id).to_ascii_lowercase(),
            address: address.to_owned(),
            pin,
            secret,
        })
    }

    /// The public part, 8 characters.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Where the relay is: `HOST:PORT`.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The fingerprint of the relay's authority.
    #[must_use]
    pub fn pin(&self) -> SpkiPin {
        self.pin
    }

    /// The secret, of which the relay keeps only an HMAC.
    #[must_use]
    pub fn secret_bytes(&self) -> &[u8; SECRET_LEN] {
        &self.secret
    }

    fn to_text(&self) -> Zeroizing<String> {
        let mut payload =
            Zeroizing::new(Vec::with_capacity(SECRET_LEN + SpkiPin::LEN + ADDRESS_MAX));
        payload.extend_from_slice(&*self.secret);
        payload.extend_from_slice(&self.pin.0);
        payload.extend_from_slice(self.address.as_bytes());

        let mut text = Zeroizing::new(String::with_capacity(TEXT_MAX));
        text.push_str(PREFIX);
        text.push_str(&self.id);
        text.push('_');
        BASE32_NOPAD.encode_append(&payload, &mut text);
        text.make_ascii_lowercase();
        let crc = crc32fast::hash(text.as_bytes());
        BASE32_NOPAD.encode_append(&crc.to_be_bytes(), &mut text);
        text.make_ascii_lowercase();
        text
    }
}

impl FromStr for JoinCode {
    type Err = Error;

    /// Parses a code; white space around it and upper case do not matter.
    fn from_str(text: &str) -> Result<Self, Error> {
        let text = text.trim();
        if text.len() > TEXT_MAX {
            return Err(Error::JoinCode("is too long"));
        }
        let text = Zeroizing::new(text.to_ascii_lowercase());
        let Some((body, crc)) = text
            .len()
            .checked_sub(CRC_LEN)
            .and_then(|at| text.split_at_checked(at))
        else {
            return Err(MISTYPED);
        };
        let crc = BASE32_NOPAD_NOCASE.decode(crc.as_bytes());
        if crc.map_err(|_| MISTYPED)? != crc32fast::hash(body.as_bytes()).to_be_bytes() {
            return Err(MISTYPED);
        }

        // From here on the text is as somebody meant it.
        let parts = body.strip_prefix(PREFIX).and_then(|b| b.split_once('_'));
        let Some((id, payload)) = parts else {
            return Err(UNKNOWN_FORM);
        };
        let id_bytes = BASE32_NOPAD_NOCASE.decode(id.as_bytes());
        if id.len() != ID_LEN || id_bytes.is_err() {
            return Err(UNKNOWN_FORM);
        }
        let payload = BASE32_NOPAD_NOCASE.decode(payload.as_bytes());
        let payload = Zeroizing::new(payload.map_err(|_| UNKNOWN_FORM)?);
        let Some((secret, rest)) = payload.split_first_chunk() else {
            return Err(UNKNOWN_FORM);
        };
        let Some((pin, address)) = rest.split_first_chunk() else {
            return Err(UNKNOWN_FORM);
        };
        let address = std::str::from_utf8(address).map_err(|_| UNKNOWN_FORM)?;
        check_address(address)?;
        Ok(Self {
            id: id.to_owned(),
            address: address.to_owned(),
            pin: SpkiPin(*pin),
            secret: Zeroizing::new(*secret),
        })
    }
}

/// Shows the whole code, secret included: for the one time it is printed.
impl fmt::Display for JoinCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_text())
    }
}

impl fmt::Debug for JoinCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinCode")
            .field("id", &self.id)
            .field("address", &self.address)
            .field("pin", &self.pin)
            .field("secret", &format_args!("***"))
            .finish()
    }
}

/// Checks `HOST:PORT`, where HOST is a name, an IPv4 address or an IPv6
/// address in brackets (RFC 3986 §3.2.2). Whether it exists is for later.
fn check_address(address: &str) -> Result<(), Error> {
    if address.len() > ADDRESS_MAX {
        return Err(Error::JoinCode("address is longer than 255 bytes"));
    }
    let Some((host, port)) = address.rsplit_once(':') else {
        return Err(Error::JoinCode("address is not of the form HOST:PORT"));
    };
    let digits = port.bytes().all(|byte| byte.is_ascii_digit());
    if !digits || port.parse::<u16>().unwrap_or(0) == 0 {
        return Err(Error::JoinCode("address has no port between 1 and 65535"));
    }
    let bracketed = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    let host_is_valid = match bracketed {
        Some(ip) => ip.parse::<Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.bytes().all(is_name_byte),
    };
    if !host_is_valid {
        return Err(Error::JoinCode("address has no valid host"));
    }
    Ok(())
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.'
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The format as released: it must never change under `gnj1_`.
    const GOLDEN: &str = "gnj1_abcdefgh_\
        eirceirceirceirceirceirceirceircceirceirceirceirceirceirceirceirceirce\
        irceirceirceixezlmmf4s4zlymfwxa3dfhi3tinbtxe6xqna";

    #[test]
    fn the_released_form_is_kept() {
        let code = JoinCode {
            id: "abcdefgh".to_owned(),
            address: "relay.example:7443".to_owned(),
            pin: SpkiPin([0x11; 32]),
            secret: Zeroizing::new([0x22; 20]),
        };
        assert_eq!(code.to_string(), GOLDEN);
        assert_same(&GOLDEN.parse().expect("valid"), &code);
    }

    #[test]
    fn codes_round_trip() {
        let longest = format!("{}:65535", "a".repeat(ADDRESS_MAX - 6));
        for address in [
            "relay.example:7443",
            "localhost:1",
            "192.0.2.1:443",
            "[2001:db8::1]:7443",
            &longest,
        ] {
            let code = JoinCode::generate(address, SpkiPin([7; 32])).expect("code");
            let text = code.to_string();
            assert!(text.starts_with("gnj1_"), "{text}");
            assert!(text.len() <= TEXT_MAX);
            assert!(!text.bytes().any(|byte| byte.is_ascii_uppercase()));
            let again: JoinCode = text.parse().expect("valid");
            assert_same(&again, &code);
            assert_eq!(again.address(), address);
            assert_eq!(again.pin(), SpkiPin([7; 32]));
            assert_eq!(again.id().len(), ID_LEN);
        }
    }

    #[test]
    fn the_longest_code_has_the_longest_text() {
        let longest = format!("{}:65535", "a".repeat(ADDRESS_MAX - 6));
        let code = JoinCode::generate(&longest, SpkiPin([7; 32])).expect("code");
        assert_eq!(code.to_string().len(), TEXT_MAX);
    }

    #[test]
    fn space_around_it_and_upper_case_do_not_matter() {
        let code = code();
        let text = format!(" \n{}\t\r\n", code.to_string().to_uppercase());
        assert_same(&text.parse().expect("valid"), &code);
    }

    #[test]
    fn codes_differ() {
        let (a, b) = (code(), code());
        assert_ne!(a.id(), b.id());
        assert_ne!(a.secret_bytes(), b.secret_bytes());
        assert_ne!(a.secret_bytes(), &[0; SECRET_LEN]);
    }

    #[test]
    fn every_cut_is_noticed() {
        let text = code().to_string();
        for len in 0..text.len() {
            let error = text[..len].parse::<JoinCode>().expect_err("cut short");
            assert_eq!(error.to_string(), "join code is mistyped or cut short");
            assert!(text[text.len() - len..].parse::<JoinCode>().is_err());
        }
    }

    #[test]
    fn a_right_crc_over_a_wrong_form_is_refused() {
        let long = format!("gnj1_abcdefgh_{}", "a".repeat(300));
        for body in [
            "",
            "gnj2_abcdefgh_aaaa",
            "gnj1_abcdefgh",
            "gnj1_abcdefgh_",
            "gnj1_abc_aaaa",
            "gnj1_abcdefg1_aaaa",
            "gnj1_abcdefgh_aaaaaaaaaaaaaaaa",
            &long,
        ] {
            let crc = crc32fast::hash(body.as_bytes()).to_be_bytes();
            let text = format!("{body}{}", BASE32_NOPAD.encode(&crc));
            assert!(text.parse::<JoinCode>().is_err(), "{body}");
        }
    }

    #[test]
    fn addresses_are_host_and_port() {
        for bad in [
            "",
            "relay.example",
            "relay.example:",
            ":7443",
            "relay.example:0",
            "relay.example:65536",
            "relay.example:+1",
            "relay.example:7443 ",
            "relay example:7443",
            "https://relay.example:7443",
            "user@relay.example:7443",
            "2001:db8::1:7443",
            "[2001:db8::1]",
            "[relay.example]:7443",
            "[]:7443",
            "räley.example:7443",
            &format!("{}:65535", "a".repeat(ADDRESS_MAX - 5)),
        ] {
            let made = JoinCode::generate(bad, SpkiPin([0; 32]));
            assert!(matches!(made, Err(Error::JoinCode(_))), "{bad:?}");
        }
    }

    #[test]
    fn debug_hides_the_secret() {
        let code: JoinCode = GOLDEN.parse().expect("valid");
        assert_eq!(
            format!("{code:?}"),
            format!(
                "JoinCode {{ id: \"abcdefgh\", address: \"relay.example:7443\", \
                 pin: SpkiPin({}), secret: *** }}",
                "11".repeat(32)
            )
        );
    }

    proptest! {
        #[test]
        fn every_changed_character_is_noticed(position: prop::sample::Index, new: char) {
            let text = code().to_string();
            let at = position.index(text.len());
            let old = text.as_bytes()[at];
            prop_assume!(!new.is_ascii() || new.to_ascii_lowercase() != char::from(old));
            let typo = format!("{}{new}{}", &text[..at], &text[at + 1..]);
            let error = typo.parse::<JoinCode>().expect_err("mistyped").to_string();
            let too_long = typo.len() > TEXT_MAX && error == "join code is too long";
            prop_assert!(too_long || error == "join code is mistyped or cut short");
        }

        #[test]
        fn every_swap_of_neighbours_is_noticed(position: prop::sample::Index) {
            let mut text = code().to_string().into_bytes();
            let at = position.index(text.len() - 1);
            prop_assume!(text[at] != text[at + 1]);
            text.swap(at, at + 1);
            let text = String::from_utf8(text).expect("ascii");
            prop_assert!(text.parse::<JoinCode>().is_err());
        }

        #[test]
        fn no_text_panics(text in any::<String>(), tail in "[a-z2-7_é]{0,80}") {
            prop_assert!(text.parse::<JoinCode>().is_err());
            let similar = format!("gnj1_{tail}");
            prop_assert!(similar.parse::<JoinCode>().is_err());
        }
    }

    fn code() -> JoinCode {
        JoinCode::generate("relay.example:7443", SpkiPin([0x55; 32])).expect("code")
    }

    fn assert_same(a: &JoinCode, b: &JoinCode) {
        assert_eq!(a.id, b.id);
        assert_eq!(a.address, b.address);
        assert_eq!(a.pin, b.pin);
        assert_eq!(a.secret, b.secret);
    }
}
