//! Any bytes under any name: read or refused by name, and what is read is cut
//! into passages that hold all of it.

use ginnel_ingest::cut::{Estimate, Limits, cut};
use ginnel_ingest::document::Extracted;
use ginnel_ingest::error::{Error, ErrorKind};
use ginnel_ingest::estimate::estimate_tokens;
use ginnel_ingest::extract::extract;
use ginnel_ingest::jsonl::Lines;
use ginnel_ingest::limits::FILE_BYTES_MAX;
use proptest::prelude::*;

const NAMES: [&str; 8] = [
    "a.txt", "a", "a.md", "a.html", "a.rs", "a.csv", "a.json", "a.rst",
];

const LIMITS: Limits = Limits {
    tokens_max: 40,
    overlap_tokens: 8,
};

fn check(document: &Extracted) -> Result<(), TestCaseError> {
    let text = &document.text;
    prop_assert!(!text.contains(['\r', '\0']));
    let mut shown = vec![false; text.len()];
    let passages = cut(text, &document.blocks, &Estimate, LIMITS).expect("few");
    for (position, passage) in passages.iter().enumerate() {
        prop_assert_eq!(passage.position, position);
        let range = passage.byte_start..passage.byte_end;
        let slice = text.get(range.clone());
        prop_assert!(slice.is_some_and(|slice| !slice.trim().is_empty()));
        prop_assert!(estimate_tokens(&text[range.clone()]) <= LIMITS.tokens_max);
        shown[range].fill(true);
    }
    for (at, letter) in text.char_indices() {
        prop_assert!(shown[at] || letter.is_whitespace(), "{letter:?} at {at}");
    }
    Ok(())
}

fn check_refused(error: &Error, name: &str) -> Result<(), TestCaseError> {
    prop_assert!(error.item().starts_with(name), "{}", error);
    prop_assert!(error.kind() != ErrorKind::Unreadable, "{}", error);
    Ok(())
}

/// What the formats are made of, and what breaks them.
fn fragments() -> impl Strategy<Value = Vec<u8>> {
    let fragment = prop_oneof![
        "[a-z]{1,12}( [A-Z]?[a-z]{1,9}){0,20}[.?!]?\n?".prop_map(String::into_bytes),
        prop::sample::select(vec![
            "\n\n",
            "\r\n",
            "# ",
            "---\n",
            "title: x\n",
            "+++\n",
            "```\n",
            "- ",
            "1. ",
            "| ",
            "|-|\n",
            "> ",
            "    ",
            "\t",
            "<p>",
            "</p>",
            "<script>",
            "<!--",
            "<td>",
            "<ul><li>",
            "&amp;",
            "&#x;",
            "[a](b)",
            "[[a|b]]",
            "![",
            "**",
            "`",
            "<div hidden>",
            "{\"text\": \"",
            "\"}",
            "\u{feff}",
            "漢字。",
            "é",
            "\u{301}",
            "👩‍👧",
            "\u{a0}",
            "\u{ad}",
            "====\n",
            "fn a() {\n",
            "}\n",
        ])
        .prop_map(|text| text.as_bytes().to_vec()),
        prop::collection::vec(any::<u8>(), 1..6),
        "[x=]{100,700}".prop_map(String::into_bytes),
    ];
    prop::collection::vec(fragment, 0..40).prop_map(|fragments| fragments.concat())
}

proptest! {
    #[test]
    fn any_file_is_read_and_cut_or_refused_by_name(bytes in fragments(), name in prop::sample::select(&NAMES)) {
        match extract(name, &bytes) {
            Ok(document) => check(&document)?,
            Err(error) => check_refused(&error, name)?,
        }
    }

    #[test]
    fn any_lines_of_json_are_read_and_cut_or_refused_by_name(bytes in fragments()) {
        for line in Lines::new("a.jsonl", bytes.as_slice()) {
            match line {
                Ok(record) => check(&record.document)?,
                Err(error) => check_refused(&error, "a.jsonl:")?,
            }
        }
    }
}

#[test]
fn files_over_the_limit_are_refused() {
    let mut bytes = vec![b'a'; FILE_BYTES_MAX];
    assert!(extract("a.txt", &bytes).is_ok());
    bytes.push(b'a');
    let error = extract("a.txt", &bytes).expect_err("too large");
    assert_eq!(
        error.to_string(),
        "file is too large, size=67108865, limit=67108864, item=a.txt"
    );
}

#[test]
fn a_text_that_becomes_too_long_is_refused() {
    // Three bytes each in UTF-8, two in UTF-16.
    let mut bytes = b"\xff\xfe".to_vec();
    bytes.extend(std::iter::repeat_n([0x22, 0x6f], FILE_BYTES_MAX / 2 - 1).flatten());
    let error = extract("a.txt", &bytes).expect_err("too long");
    assert_eq!(error.kind(), ErrorKind::TooLarge);
    assert_eq!(error.reason(), "text is too long, limit=67108864");
}

#[test]
fn files_without_text_are_told_apart_from_broken_ones() {
    for name in NAMES {
        let error = extract(name, b" \n\t\r\n").expect_err("nothing");
        assert_eq!(error.to_string(), format!("no text in it, item={name}"));
        assert!(error.is_skip());
        let error = extract(name, b"GIF89a\0\0").expect_err("a picture");
        assert!(error.is_skip());
    }
    let broken = extract("a.txt", b"\xff\xff\xff\xfa").expect_err("no text");
    assert!(!broken.is_skip());
}
