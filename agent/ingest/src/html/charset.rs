//! The encoding of an HTML file, by the rules browsers follow (WHATWG HTML,
//! 13.2.3): a byte order mark, else what the file says, else UTF-8 if it is
//! that, else windows-1252.

use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1252};

use crate::decode::{Decoded, normalize};

/// How far into the file its own word on the encoding is looked for.
const PRESCAN_BYTES: usize = 1_024;

/// Decodes any bytes; what is invalid becomes U+FFFD.
pub(super) fn decode(bytes: &[u8]) -> Decoded<'_> {
    let encoding = match Encoding::for_bom(bytes) {
        Some((encoding, _)) => encoding,
        None => declared(bytes).unwrap_or_else(|| guess(bytes)),
    };
    let (text, _, had_errors) = encoding.decode(bytes);
    let replaced = if had_errors {
        text.matches(char::REPLACEMENT_CHARACTER).count()
    } else {
        0
    };
    Decoded {
        text: normalize(text),
        replaced,
    }
}

fn guess(bytes: &[u8]) -> &'static Encoding {
    if std::str::from_utf8(bytes).is_ok() {
        return UTF_8;
    }
    WINDOWS_1252
}

/// The encoding a `meta` element or an XML declaration names.
fn declared(bytes: &[u8]) -> Option<&'static Encoding> {
    let head = bytes.get(..PRESCAN_BYTES).unwrap_or(bytes);
    let head = head.to_ascii_lowercase();
    let encoding = if head.starts_with(b"<?xml") {
        named_after(&head, b"encoding")
    } else {
        let metas = memchr::memmem::find_iter(&head, b"<meta");
        metas
            .filter_map(|at| named_after(head.get(at..)?, b"charset"))
            .next()
    }?;
    // Whoever could read this as ASCII does not have UTF-16 before him.
    let is_utf16 = encoding == UTF_16LE || encoding == UTF_16BE;
    Some(if is_utf16 { UTF_8 } else { encoding })
}

/// The label after `key =` inside the tag that `head` begins with.
fn named_after(head: &[u8], key: &[u8]) -> Option<&'static Encoding> {
    let tag_end = memchr::memchr(b'>', head)?;
    let tag = head.get(..tag_end)?;
    let at = memchr::memmem::find(tag, key)? + key.len();
    let value = tag.get(at..)?.trim_ascii_start().strip_prefix(b"=")?;
    let is_quote = |byte: &u8| matches!(byte, b'"' | b'\'');
    let start = value
        .iter()
        .position(|byte| !is_quote(byte) && !byte.is_ascii_whitespace())?;
    let value = value.get(start..)?;
    let is_end = |byte: &u8| {
        is_quote(byte) || matches!(byte, b';' | b'/' | b'?') || byte.is_ascii_whitespace()
    };
    let end = value.iter().position(is_end).unwrap_or(value.len());
    Encoding::for_label(value.get(..end)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_encoding_is_found_in_the_order_browsers_look() {
        let text = |bytes: &[u8]| decode(bytes).text.into_owned();
        assert_eq!(
            text(b"\xef\xbb\xbf<meta charset=koi8-r>\xc3\xa9"),
            "<meta charset=koi8-r>é"
        );
        assert_eq!(text(b"\xff\xfeh\0i\0"), "hi");
        assert!(text(b"<META CharSet = 'KOI8-R' >\xc1").ends_with('а'));
        let old =
            b"<meta http-equiv=Content-Type content=\"text/html; charset=Shift_JIS\">\x88\x9f";
        assert!(text(old).ends_with('亜'));
        assert!(text(b"<?xml version='1.0' encoding='iso-8859-2'?>\xb1").ends_with('ą'));
        assert!(text(b"<meta charset=utf-16>\xc3\xa9").ends_with('é'));
        assert_eq!(text("é".as_bytes()), "é");
        assert_eq!(text(b"caf\xe9 \x93x\x94"), "café “x”");
        assert_eq!(decode(b"<meta charset=utf-8>a\xffb\xff").replaced, 2);
        assert_eq!(
            text(b"<meta charset=nonsense>\xe9").chars().last(),
            Some('é')
        );
    }
}
