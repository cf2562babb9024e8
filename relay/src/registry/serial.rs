//! Certificate serial numbers.

use std::fmt;
use std::str::FromStr;

use data_encoding::HEXLOWER;

use super::limits::SERIAL_MAX;

/// A certificate's serial number.
///
/// Kept without leading zeros: DER puts one before a number whose first bit is
/// set, and parsers differ on whether they return it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Serial(Box<[u8]>);

impl Serial {
    /// Takes a big-endian number of at most 20 octets (RFC 5280 §4.1.2.2).
    ///
    /// # Errors
    /// [`InvalidSerial`] when it is zero, empty or too long.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, InvalidSerial> {
        let start = bytes.iter().take_while(|byte| **byte == 0).count();
        let significant = bytes.get(start..).unwrap_or_default();
        if significant.is_empty() || significant.len() > SERIAL_MAX {
            return Err(InvalidSerial {
                octets: bytes.len(),
            });
        }
        Ok(Self(significant.into()))
    }

    /// The number, big-endian, without leading zeros.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Reads the form that `Display` writes: lower-case hexadecimal, which is also
/// how certificates are read.
impl FromStr for Serial {
    type Err = InvalidSerial;
    fn from_str(text: &str) -> Result<Self, InvalidSerial> {
        let bytes = HEXLOWER
            .decode(text.as_bytes())
            .map_err(|_| InvalidSerial {
                octets: text.len().div_ceil(2),
            })?;
        Self::from_bytes(&bytes)
    }
}

impl TryFrom<Vec<u8>> for Serial {
    type Error = InvalidSerial;
    fn try_from(bytes: Vec<u8>) -> Result<Self, InvalidSerial> {
        Self::from_bytes(&bytes)
    }
}

impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The octets are not a certificate serial number.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("certificate serial is not a number of 1 to 20 octets, octets={octets}")]
pub struct InvalidSerial {
    octets: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leading_zeros_do_not_matter() {
        let short = Serial::from_bytes(&[0x9a, 1]).expect("valid");
        let long = Serial::from_bytes(&[0, 0x9a, 1]).expect("valid");
        assert_eq!(short, long);
        assert_eq!(short.to_string(), "9a01");
        assert_eq!("009a01".parse(), Ok(short));
    }

    #[test]
    fn empty_zero_and_overlong_are_refused() {
        for bad in [&[][..], &[0], &[1; 21]] {
            assert!(Serial::from_bytes(bad).is_err(), "{bad:?} was accepted");
        }
        for bad in ["", "00", "9", "9A", "0x9a", "zz", &"11".repeat(21)] {
            assert!(bad.parse::<Serial>().is_err(), "{bad:?} was accepted");
        }
        Serial::from_bytes(&[1; 20]).expect("20 octets are allowed");
    }
}
