//! Bytes to text: byte order marks, line ends, and what is not UTF-8.

use std::borrow::Cow;

use crate::error::{Error, ErrorKind};

/// A text may have one run of invalid bytes in so many bytes: names in an old
/// encoding in an English change log. With more, what is replaced would be
/// missed.
const BYTES_PER_REPLACEMENT: usize = 1_000;

/// So many runs are borne in any text, however short.
const REPLACEMENTS_ALWAYS: usize = 1;

/// Decoded text, and how many runs of invalid bytes became U+FFFD.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Decoded<'a> {
    pub(crate) text: Cow<'a, str>,
    pub(crate) replaced: usize,
}

/// Reads UTF-8, or UTF-16 with a byte order mark.
///
/// # Errors
///
/// `Invalid` with the offset of the first bad byte when there is more than one
/// bad run in [`BYTES_PER_REPLACEMENT`] bytes.
pub(crate) fn decode(bytes: &[u8]) -> Result<Decoded<'_>, Error> {
    let decoded = match bytes {
        [0xef, 0xbb, 0xbf, rest @ ..] => decode_utf8(rest, 3)?,
        [0xff, 0xfe, rest @ ..] => decode_utf16(rest, u16::from_le_bytes)?,
        [0xfe, 0xff, rest @ ..] => decode_utf16(rest, u16::from_be_bytes)?,
        _ => decode_utf8(bytes, 0)?,
    };
    Ok(Decoded {
        text: normalize(decoded.text),
        replaced: decoded.replaced,
    })
}

/// Lines end in `\n`; a form feed ends one too. NUL becomes U+FFFD, as
/// CommonMark has it: other programs end a text there.
pub(crate) fn normalize(text: Cow<'_, str>) -> Cow<'_, str> {
    if memchr::memchr3(b'\r', b'\0', b'\x0c', text.as_bytes()).is_none() {
        return text;
    }
    let mut clean = String::with_capacity(text.len());
    let mut rest = &*text;
    while let Some(at) = memchr::memchr3(b'\r', b'\0', b'\x0c', rest.as_bytes()) {
        let (before, special) = rest.split_at(at);
        clean.push_str(before);
        let (replacement, length) = match special.as_bytes() {
            [b'\r', b'\n', ..] => ('\n', 2),
            [b'\0', ..] => ('\u{fffd}', 1),
            _ => ('\n', 1),
        };
        clean.push(replacement);
        rest = special.get(length..).unwrap_or_default();
    }
    clean.push_str(rest);
    Cow::Owned(clean)
}

fn decode_utf8(bytes: &[u8], skipped: usize) -> Result<Decoded<'_>, Error> {
    let error = match std::str::from_utf8(bytes) {
        Ok(text) => return Ok(borrowed(text)),
        Err(error) => error,
    };
    let replaced = bytes
        .utf8_chunks()
        .filter(|chunk| !chunk.invalid().is_empty())
        .count();
    check_few(replaced, bytes.len(), skipped + error.valid_up_to())?;
    Ok(Decoded {
        text: String::from_utf8_lossy(bytes),
        replaced,
    })
}

fn decode_utf16(bytes: &[u8], read: fn([u8; 2]) -> u16) -> Result<Decoded<'static>, Error> {
    let (pairs, odd) = bytes.as_chunks::<2>();
    let mut text = String::with_capacity(bytes.len() / 2);
    let mut replaced = 0;
    let mut first_bad = None;
    let mut at = 2;
    for unit in char::decode_utf16(pairs.iter().map(|pair| read(*pair))) {
        match unit {
            Ok(character) => {
                text.push(character);
                at += 2 * character.len_utf16();
            }
            Err(_) => {
                text.push(char::REPLACEMENT_CHARACTER);
                first_bad.get_or_insert(at);
                replaced += 1;
                at += 2;
            }
        }
    }
    if !odd.is_empty() {
        first_bad.get_or_insert(at);
        replaced += 1;
    }
    if let Some(first_bad) = first_bad {
        check_few(replaced, bytes.len(), first_bad)?;
    }
    Ok(Decoded {
        text: Cow::Owned(text),
        replaced,
    })
}

fn borrowed(text: &str) -> Decoded<'_> {
    Decoded {
        text: Cow::Borrowed(text),
        replaced: 0,
    }
}

fn check_few(replaced: usize, length: usize, first_bad: usize) -> Result<(), Error> {
    if replaced <= REPLACEMENTS_ALWAYS.max(length / BYTES_PER_REPLACEMENT) {
        return Ok(());
    }
    let reason = format!("text is not valid UTF-8, places={replaced}, first_at={first_bad}");
    Err(Error::new(ErrorKind::Invalid, reason))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text_of(bytes: &[u8]) -> String {
        decode(bytes).expect("decodes").text.into_owned()
    }

    #[test]
    fn byte_order_marks_are_obeyed_and_dropped() {
        assert_eq!(text_of(b"\xef\xbb\xbfabc"), "abc");
        assert_eq!(text_of(b"\xff\xfea\0\xac\x20"), "a€");
        assert_eq!(text_of(b"\xfe\xff\0a\x20\xac"), "a€");
        assert_eq!(text_of(b"\xff\xfe\x3d\xd8\x00\xde"), "😀");
    }

    #[test]
    fn lines_end_alike_and_nul_is_replaced() {
        assert_eq!(text_of(b"a\r\nb\rc\n\x0cd\0e\r"), "a\nb\nc\n\nd\u{fffd}e\n");
    }

    #[test]
    fn few_bad_bytes_are_replaced_and_counted() {
        let mut bytes = vec![b'a'; 2_000];
        bytes.extend_from_slice(b" caf\xe9 na\xefve");
        let decoded = decode(&bytes).expect("two in two thousand");
        assert_eq!(decoded.replaced, 2);
        assert!(decoded.text.ends_with(" caf\u{fffd} na\u{fffd}ve"));
        assert_eq!(decode(b"caf\xe9").expect("one always").replaced, 1);
    }

    #[test]
    fn many_bad_bytes_are_refused_with_the_place_of_the_first() {
        let error = decode(b"\xef\xbb\xbfcaf\xe9 na\xefve").expect_err("two in ten");
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert_eq!(
            error.to_string(),
            "text is not valid UTF-8, places=2, first_at=6"
        );
        let error = decode(b"\xff\xfea\0\x00\xd8b\0\x01\xd8c\0").expect_err("lone surrogates");
        assert!(error.reason().ends_with("first_at=4"), "{error}");
    }

    proptest! {
        #[test]
        fn any_bytes_are_decoded_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(decoded) = decode(&bytes) {
                prop_assert!(!decoded.text.contains(['\r', '\0', '\x0c']));
                prop_assert!(decoded.text.len() <= 3 * bytes.len());
            }
        }

        #[test]
        fn text_comes_back_from_each_encoding(text in "[^\r\0\x0c\u{feff}]{0,80}") {
            prop_assert_eq!(&text_of(text.as_bytes()), &text);
            let big = text.encode_utf16().flat_map(u16::to_be_bytes);
            prop_assert_eq!(&text_of(&[0xfe, 0xff].into_iter().chain(big).collect::<Vec<_>>()), &text);
        }
    }
}
