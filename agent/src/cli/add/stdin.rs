//! A text from the standard input.

use std::io::{self, Read as _};
use std::path::Path;

use super::Add;
use crate::api::knowledge::view::AddRequest;

/// Longest text of the standard input, in bytes: as that of a file.
const STDIN_MAX: u64 = 64 << 20;

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

fn read_text(from: impl io::Read) -> anyhow::Result<String> {
    let mut text = Vec::new();
    from.take(STDIN_MAX + 1).read_to_end(&mut text)?;
    let bytes = text.len();
    anyhow::ensure!(
        bytes as u64 <= STDIN_MAX,
        "text is longer than {STDIN_MAX} bytes; hint: add it as a file of JSON lines"
    );
    String::from_utf8(text).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        anyhow::anyhow!("standard input is not UTF-8, byte={at}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_read_up_to_the_limit() {
        let read = read_text(io::repeat(b'a').take(STDIN_MAX)).expect("not too long");
        assert_eq!(read.len() as u64, STDIN_MAX);
        let error = read_text(io::repeat(b'a'))
            .expect_err("endless")
            .to_string();
        assert!(
            error.starts_with("text is longer than 67108864 bytes"),
            "{error}"
        );
        let error = read_text(&b"ab\xffc"[..]).expect_err("no text").to_string();
        assert_eq!(error, "standard input is not UTF-8, byte=2");
    }
}
