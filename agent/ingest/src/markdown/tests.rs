use proptest::prelude::*;
use serde_json::json;

use crate::document::{BlockKind, Extracted};
use crate::extract::extract;

fn read(source: &str) -> Extracted {
    extract("a.md", source.as_bytes()).expect("has text")
}

fn blocks(document: &Extracted) -> Vec<(BlockKind, &str)> {
    let block =
        |block: &crate::document::Block| (block.kind, &document.text[block.start..block.end]);
    document.blocks.iter().map(block).collect()
}

#[test]
fn the_text_is_what_a_reader_sees() {
    use BlockKind::{Code, Heading, ListItem, Paragraph, TableRow};
    let source = "# A *guide* {#id}\n\nSome **bold**\ntext, a [link](http://x.y) and `code`.  \nNext\n\
        \n> quoted\n\n- one\n  - two\n\n    more\n- [x] done\n\n3. three\n4. four\n\n```rust\nfn a() {\n\n    b();\n}\n```\n\
        \n| a | b |\n|---|---|\n| 1 | *2* |\n\n![a picture](p.png) [[Page|wiki]]\n\n---\n\nUnder\n-----\nEnd &amp; all[^1].\n\n[^1]: A note.\n";
    let document = read(source);
    assert_eq!(document.title.as_deref(), Some("A guide"));
    assert_eq!(document.mime, "text/markdown");
    assert_eq!(
        blocks(&document),
        [
            (Heading(1), "A guide"),
            (Paragraph, "Some bold text, a link and code.\nNext"),
            (Paragraph, "quoted"),
            (ListItem, "- one"),
            (ListItem, "- two"),
            (ListItem, "more"),
            (ListItem, "- [x] done"),
            (ListItem, "3. three"),
            (ListItem, "4. four"),
            (Code, "fn a() {\n\n    b();\n}"),
            (TableRow, "a | b"),
            (TableRow, "1 | 2"),
            (Paragraph, "a picture wiki"),
            (Heading(2), "Under"),
            (Paragraph, "End & all."),
            (Paragraph, "A note."),
        ]
    );
    assert!(
        document.text.contains("- one\n- two\nmore\n"),
        "{}",
        document.text
    );
    assert!(document.text.contains("a | b\n1 | 2\n\n"));
}

#[test]
fn html_inside_is_read_as_html() {
    let source = "<!-- note -->\n<p align=center>\n  <b>Shown</b>\n</p>\n\n<script>\nno();\n</script>\n\nA<br>b <kbd>c</kbd><!-- d -->\n";
    let document = read(source);
    assert_eq!(document.text, "Shown\n\nA\nb c");
}

#[test]
fn front_matter_is_metadata() {
    let document = read("---\ntitle: Of cats\ntags: [a]\n---\n# Cats\n\nMiau.\n");
    assert_eq!(document.title.as_deref(), Some("Of cats"));
    assert_eq!(document.metadata.get("tags"), Some(&json!(["a"])));
    assert_eq!(document.text, "Cats\n\nMiau.");
}

#[test]
fn wrapping_lines_anew_changes_nothing() {
    let wrapped = read("One two\nthree\nfour.\n\n* a\n  b\n");
    assert_eq!(wrapped.text, read("One two three four.\n\n- a b\n").text);
}

#[test]
fn deep_nesting_is_read_in_good_time() {
    for source in [
        ">".repeat(20_000) + "x",
        "- ".repeat(20_000) + "x",
        "*".repeat(50_000) + "x",
        "[".repeat(50_000) + "x",
        "<div>".repeat(50_000) + "x",
        "![[".repeat(20_000) + "x",
        "`a``b```".repeat(5_000) + "x",
    ] {
        let document = read(&source);
        assert!(document.text.contains('x'));
    }
}

proptest! {
    #[test]
    fn any_markdown_is_read(
        source in "(#{1,3} |[-*+] |> |1\\. |```|\\| |`|\\*{1,3}|\\[|\\]\\(|<[a-z]{1,5}>|</?div>|---|\n|  |[a-z]{1,6}|\\\\|&amp;|[é漢]){0,60}"
    ) {
        if let Ok(document) = extract("a.md", source.as_bytes()) {
            crate::document::check(&document);
        }
    }
}
