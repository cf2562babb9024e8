//! PEM as files hold it (RFC 7468): writing, and reading within limits.

use std::path::Path;

use data_encoding::BASE64;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use zeroize::Zeroizing;

use crate::error::Error;
use crate::private_file;

/// Characters of base64 in one line (RFC 7468 §2).
const LINE_LEN: usize = 64;

/// The longest file of certificates, in bytes. Ours have under 1000 for each.
const FILE_MAX: usize = 64 * 1024;

/// Writes one PEM section. The result may be a secret and wipes itself.
pub(crate) fn encode(label: &str, der: &[u8]) -> Zeroizing<String> {
    let base64 = Zeroizing::new(BASE64.encode(der));
    // Enough for the whole, so that growing leaves no copy behind.
    let room = base64.len() + base64.len() / LINE_LEN + 2 * label.len() + 64;
    let mut text = Zeroizing::new(String::with_capacity(room));
    text.push_str("-----BEGIN ");
    text.push_str(label);
    text.push_str("-----\n");
    let mut rest = base64.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(LINE_LEN.min(rest.len()));
        text.push_str(line);
        text.push('\n');
        rest = after;
    }
    text.push_str("-----END ");
    text.push_str(label);
    text.push_str("-----\n");
    text
}

/// Writes certificates one after the other.
pub(crate) fn encode_certificates(certificates: &[CertificateDer<'_>]) -> String {
    let sections = certificates.iter().map(|der| encode("CERTIFICATE", der));
    sections.fold(String::new(), |all, section| all + &section)
}

/// Reads a file of certificates, at least one and at most `max`.
pub(crate) fn read_certificates(
    path: &Path,
    max: usize,
) -> Result<Vec<CertificateDer<'static>>, Error> {
    let text = private_file::read_public(path, FILE_MAX)?;
    decode_certificates(&text, max).ok_or_else(|| Error::Damaged {
        path: path.to_owned(),
        reason: format!("does not hold 1 to {max} certificates in PEM"),
    })
}

/// Reads certificates, at least one and at most `max`; `None` otherwise.
fn decode_certificates(text: &[u8], max: usize) -> Option<Vec<CertificateDer<'static>>> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).take(max + 1).collect();
    found.ok().filter(|all| (1..=max).contains(&all.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_section_has_the_form_of_rfc_7468() {
        let text = encode("THING", &[0; 49]);
        let expected = format!(
            "-----BEGIN THING-----\n{}\nAA==\n-----END THING-----\n",
            "A".repeat(64)
        );
        assert_eq!(*text, expected);
    }

    #[test]
    fn the_number_of_certificates_is_bounded() {
        let one = CertificateDer::from(vec![1, 2, 3]);
        for (count, accepted) in [(0, false), (1, true), (2, true), (3, false)] {
            let text = encode_certificates(&vec![one.clone(); count]);
            let decoded = decode_certificates(text.as_bytes(), 2);
            assert_eq!(decoded.is_some(), accepted, "{count} certificates");
        }
    }

    proptest! {
        #[test]
        fn certificates_round_trip(ders in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..300), 1..4)) {
            let ders: Vec<_> = ders.into_iter().map(CertificateDer::from).collect();
            let text = encode_certificates(&ders);
            prop_assert_eq!(decode_certificates(text.as_bytes(), 4), Some(ders));
        }
    }
}
