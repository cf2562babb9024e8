use std::io::{BufReader, Cursor, Read};

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::limits::METADATA_VALUE_BYTES_MAX;

fn read(lines: &str) -> Vec<Result<Record, String>> {
    let lines = Lines::new("in.jsonl", Cursor::new(lines.to_owned()));
    lines
        .map(|line| line.map_err(|error| error.to_string()))
        .collect()
}

#[track_caller]
fn refuse(line: &str, reason: &str) {
    let read = read(line);
    assert_eq!(read.len(), 1, "{read:?}");
    let error = read[0].as_ref().expect_err("refused");
    let said = error.strip_suffix(", item=in.jsonl:1").expect("named");
    let (said, _) = said.split_once(", column=").unwrap_or((said, ""));
    assert_eq!(said, reason);
}

#[test]
fn a_line_is_a_document() {
    let read = read(
        "\u{feff}{\"id\": \"a\", \"text\": \"One.\\r\\n\\r\\nTwo\\u0000.\", \"title\": \" T \", \"lang\": \"de\", \"n\": 3,\
         \"metadata\": {\"lang\": \"en\", \"x\": null}, \"vector\": [1, -0.5]}\n\n  \r\n{\"key\": 7, \"text\": \"b\"}",
    );
    let [Ok(first), Ok(second)] = read.as_slice() else {
        panic!("{read:?}");
    };
    assert_eq!((first.line, first.key.as_deref()), (1, Some("a")));
    assert_eq!(first.document.text, "One.\n\nTwo\u{fffd}.");
    assert_eq!(first.document.blocks.len(), 2);
    assert_eq!(first.document.title.as_deref(), Some("T"));
    assert_eq!(
        json!(first.document.metadata),
        json!({"lang": "en", "n": 3})
    );
    assert_eq!(first.vector.as_deref(), Some([1.0, -0.5].as_slice()));
    assert_eq!((second.line, second.key.as_deref()), (4, Some("7")));
    assert_eq!(second.vector, None);
}

#[test]
fn bad_lines_are_told_and_the_rest_goes_on() {
    let read = read("{\"text\": 3}\n{\"text\": \"a\"}\nnonsense\n{\"text\": \"b\"}\n");
    let ok: Vec<_> = read.iter().map(Result::is_ok).collect();
    assert_eq!(ok, [false, true, false, true]);
    assert_eq!(
        read[2].as_ref().expect_err("nonsense"),
        "expected ident, column=2, item=in.jsonl:3"
    );
}

#[test]
fn what_is_wrong_with_a_line_is_said() {
    refuse("{}", "missing field `text`");
    refuse(
        "[]",
        "invalid type: sequence, expected an object with a text",
    );
    refuse("{\"text\": \" \\n\"}", "no text in it");
    refuse(
        "{\"text\": \"a\", \"vector\": []}",
        "vector is empty or too long, dimensions=0, limit=65536",
    );
    refuse(
        "{\"text\": \"a\", \"vector\": [1, 1e39]}",
        "vector has an infinite number, index=1",
    );
    refuse(
        "{\"text\": \"a\", \"vector\": [1, \"x\"]}",
        "invalid type: string \"x\", expected f32",
    );
    refuse(
        "{\"text\": \"a\", \"id\": 1.5}",
        "id is neither a string nor a whole number",
    );
    refuse(
        "{\"text\": \"a\", \"id\": \"\"}",
        "id is empty or too long, size=0, limit=4096",
    );
    let long = "x".repeat(METADATA_VALUE_BYTES_MAX);
    refuse(
        &format!("{{\"text\": \"a\", \"metadata\": {{\"k\": \"{long}\"}}}}"),
        "metadata is too large, key=k, limits=64 keys of 4096 bytes",
    );
    let deep = format!("{{\"text\": \"a\", \"x\": {}", "[".repeat(100_000));
    refuse(&deep, "recursion limit exceeded");
}

#[test]
fn other_fields_beyond_the_limits_are_left_out() {
    let long = "x".repeat(METADATA_VALUE_BYTES_MAX);
    let many: String = (0..100).map(|n| format!(",\"k{n}\":{n}")).collect();
    let read = read(&format!("{{\"text\":\"a\",\"html\":\"{long}\"{many}}}"));
    let record = read[0].as_ref().expect("a document");
    assert_eq!(record.document.metadata.len(), 64);
    assert!(!record.document.metadata.contains_key("html"));
}

#[test]
fn invalid_utf8_is_told_with_its_place() {
    let lines = Lines::new("x", &b"{\"text\": \"caf\xe9\"}\n{\"text\": \"b\"}"[..]);
    let read: Vec<_> = lines.collect();
    let error = read[0].as_ref().expect_err("not UTF-8");
    assert_eq!(
        error.to_string(),
        "line is not valid UTF-8, first_at=13, item=x:1"
    );
    assert!(read[1].is_ok());
}

/// A line of so many `a`, then a document; how much was asked for at once.
struct Long {
    left: u64,
}

impl Read for Long {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        assert!(buffer.len() <= 64 << 10, "asked for {}", buffer.len());
        let count = buffer
            .len()
            .min(usize::try_from(self.left).unwrap_or(usize::MAX));
        buffer[..count].fill(b'a');
        self.left -= count as u64;
        Ok(count)
    }
}

#[test]
fn a_line_of_a_hundred_megabytes_is_passed_by() {
    let reader = Long { left: 100_000_000 }.chain(&b"\n{\"text\": \"b\"}\n"[..]);
    let mut lines = Lines::new("x", BufReader::with_capacity(64 << 10, reader));
    let error = lines.next().expect("a line").expect_err("too long");
    assert_eq!(error.kind(), ErrorKind::TooLarge);
    assert_eq!(
        error.to_string(),
        "line is too long, limit=16777216, item=x:1"
    );
    assert!(lines.bytes.capacity() == 0, "it is not held");
    assert_eq!(lines.next().expect("a line").expect("a document").line, 2);
    assert!(lines.next().is_none());
}

#[test]
fn a_line_as_long_as_the_limit_is_read() {
    let text = "a".repeat(LINE_BYTES_MAX - "{\"text\":\"\"}".len());
    let line = format!("{{\"text\":\"{text}\"}}");
    assert!(read(&line)[0].is_ok());
    assert!(read(&format!("{line} "))[0].is_err());
}

struct Broken;

impl Read for Broken {
    fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
        Err(std::io::Error::other("pulled out"))
    }
}

#[test]
fn after_an_error_of_the_stream_nothing_follows() {
    let reader = b"{\"text\": \"a\"}\n{\"te".chain(Broken);
    let read: Vec<_> = Lines::new("x", BufReader::new(reader)).collect();
    assert_eq!(read.len(), 2);
    let error = read[1].as_ref().expect_err("broken");
    assert_eq!(error.to_string(), "pulled out, item=x:2");
    assert_eq!(error.kind(), ErrorKind::Unreadable);
}

proptest! {
    #[test]
    fn any_bytes_are_read(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        for record in Lines::new("x", bytes.as_slice()).flatten() {
            crate::document::check(&record.document);
        }
    }

    #[test]
    fn any_text_comes_back(text in "\\PC{1,60}", key in "\\PC{1,20}") {
        prop_assume!(!text.trim().is_empty());
        let line = json!({"text": text, "id": key}).to_string();
        let record = Lines::new("x", line.as_bytes()).next().expect("a line").expect("a document");
        prop_assert_eq!(record.document.text, text);
        prop_assert_eq!(record.key, Some(key));
    }
}
