//! A text from the standard input.

use std::io;
use std::path::Path;

use anyhow::{anyhow, bail, ensure};

use super::Add;
use crate::api::knowledge::DOCUMENT_MAX;
use crate::api::knowledge::view::AddRequest;

/// What people know it by.
pub(super) const STDIN: &str = "standard input";

/// Longest text of the standard input, in bytes: as that of a file.
const STDIN_MAX: usize = 64 << 20;

/// The most bytes that its text may take as JSON. The rest of a request is for
/// its title and names, which come from the command line and are much shorter.
const JSON_MAX: usize = DOCUMENT_MAX - (1 << 20);

/// Bytes that are read at once.
const CHUNK: usize = 64 << 10;

/// Whether a path stands for it.
pub(super) fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// Reads it.
pub(super) fn request(add: &Add) -> anyhow::Result<AddRequest> {
    Ok(AddRequest {
        text: Some(read_text(io::stdin().lock())?),
        title: add.title.clone(),
        format: add.format.clone(),
        collection: Some(add.collection.to_string()),
        name: add.name.clone(),
        no_wait: add.no_wait,
        ..AddRequest::default()
    })
}

/// Reads all of it, or as much as tells that it cannot be added.
fn read_text(mut from: impl io::Read) -> anyhow::Result<String> {
    let (mut text, mut json) = (Vec::new(), 0);
    let mut chunk = vec![0; CHUNK];
    loop {
        let part = match from.read(&mut chunk) {
            Ok(0) => break,
            Ok(count) => chunk.get(..count).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => bail!("cannot be read, reason={error}"),
        };
        text.extend_from_slice(part);
        json += part.iter().copied().map(json_bytes).sum::<usize>();
        ensure!(
            text.len() <= STDIN_MAX,
            "longer than {STDIN_MAX} bytes; hint: add it as a file of JSON lines"
        );
        ensure!(
            json <= JSON_MAX,
            "so many of the first {} bytes need escapes that they are more than {JSON_MAX} as JSON; hint: add it as a file",
            text.len()
        );
    }
    String::from_utf8(text).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        anyhow!("not UTF-8, byte={at}")
    })
}

/// Bytes that one takes in a text of JSON (RFC 8259, section 7).
fn json_bytes(byte: u8) -> usize {
    match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 0x08 | 0x0c => 2,
        0..0x20 => 6,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    fn refused(from: impl io::Read) -> String {
        read_text(from).expect_err("refused").to_string()
    }

    #[test]
    fn texts_are_read_up_to_the_limit() {
        let limit = STDIN_MAX as u64;
        let read = read_text(io::repeat(b'a').take(limit)).expect("not too long");
        assert_eq!(read.len(), STDIN_MAX);
        let error = refused(io::repeat(b'a'));
        assert!(error.starts_with("longer than 67108864 bytes"), "{error}");
        assert_eq!(refused(&b"ab\xffc"[..]), "not UTF-8, byte=2");
    }

    #[test]
    fn bytes_of_json_are_counted_as_they_are_written() {
        for byte in 0..0x80_u8 {
            let text = serde_json::to_string(&char::from(byte)).expect("a text");
            assert_eq!(json_bytes(byte) + 2, text.len(), "{byte}");
        }
        let text = serde_json::to_string("ä€").expect("a text");
        assert_eq!("ä€".bytes().map(json_bytes).sum::<usize>() + 2, text.len());
    }

    #[test]
    fn escapes_that_are_too_many_are_told_before_all_is_read() {
        let mut rest = io::repeat(0x01).take(STDIN_MAX as u64);
        let error = refused(&mut rest);
        assert!(error.contains("need escapes"), "{error}");
        let read = STDIN_MAX - usize::try_from(rest.limit()).expect("small");
        assert!(read <= JSON_MAX / 6 + CHUNK, "{read}");

        // What is let through, the API takes.
        let lines = io::repeat(b'\n').take(JSON_MAX as u64 / 2);
        let request = AddRequest {
            text: Some(read_text(lines).expect("not too long")),
            ..AddRequest::default()
        };
        let sent = serde_json::to_vec(&request).expect("JSON").len();
        assert!((JSON_MAX..=DOCUMENT_MAX).contains(&sent), "{sent}");
    }
}
