//! The fingerprint of an authority, carried in join codes.

use std::fmt;

use aws_lc_rs::digest;
use data_encoding::HEXLOWER;
use rustls::pki_types::CertificateDer;

use crate::error::Error;
use crate::x509;

/// SHA-256 of a certificate's SubjectPublicKeyInfo (RFC 5280 §4.1.2.7).
///
/// It names the key, not the certificate, so a renewed certificate of the same
/// key keeps its pin (as in RFC 7469 §2.4). It is public.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SpkiPin(pub [u8; Self::LEN]);

impl SpkiPin {
    /// The length of a pin, in bytes.
    pub const LEN: usize = digest::SHA256_OUTPUT_LEN;

    /// The pin of a certificate's key.
    ///
    /// # Errors
    /// [`Error::Certificate`] if the certificate cannot be parsed.
    pub fn of(certificate: &CertificateDer<'_>) -> Result<Self, Error> {
        let certificate = x509::parse(certificate)?;
        let spki = digest::digest(&digest::SHA256, certificate.public_key().raw);
        let mut pin = [0; Self::LEN];
        pin.copy_from_slice(spki.as_ref());
        Ok(Self(pin))
    }
}

impl fmt::Display for SpkiPin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for SpkiPin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SpkiPin({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::PrivateKey;
    use rcgen::{CertificateParams, PublicKeyData};

    #[test]
    fn the_pin_is_of_the_key_and_not_of_the_certificate() {
        let key = PrivateKey::generate().expect("key");
        let sign = |name: &str| {
            let params = CertificateParams::new([name.to_owned()]).expect("params");
            CertificateDer::from(params.self_signed(&key).expect("signed"))
        };
        let (a, b) = (sign("a"), sign("b"));
        assert_ne!(a, b);
        let pin = SpkiPin::of(&a).expect("pin");
        assert_eq!(pin, SpkiPin::of(&b).expect("pin"));

        let spki = key.subject_public_key_info();
        let expected = digest::digest(&digest::SHA256, &spki);
        assert_eq!(pin.0, expected.as_ref());
    }

    #[test]
    fn display_is_hex() {
        let pin = SpkiPin([0xab; 32]);
        assert_eq!(pin.to_string(), "ab".repeat(32));
        assert_eq!(format!("{pin:?}"), format!("SpkiPin({})", "ab".repeat(32)));
    }
}
