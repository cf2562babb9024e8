use proptest::prelude::*;

use crate::document::{BlockKind, Extracted};
use crate::error::ErrorKind;
use crate::extract::extract;

fn read(source: &str) -> Extracted {
    extract("a.html", source.as_bytes()).expect("has text")
}

#[track_caller]
fn check_blocks(source: &str, expected: &[(BlockKind, &str)]) {
    let document = read(source);
    let blocks: Vec<_> = document
        .blocks
        .iter()
        .map(|block| (block.kind, &document.text[block.start..block.end]))
        .collect();
    assert_eq!(blocks, expected);
}

use BlockKind::{Code, Heading, ListItem, Paragraph, TableRow};

#[test]
fn blocks_are_set_apart_and_white_space_is_one() {
    check_blocks(
        "<!doctype html><html><head><title> The\n title </title><meta charset=utf-8></head>\
         <body><h1>Head<a href=#h>¶</a></h1>\n<p>One <b>bold</b>,\n  two&nbsp;&amp; thr<i>ee</i>.<p>Next<br>line\
         <div>a<div>b</div>c</div><pre>\n  x\n\n  y &lt;\n</pre>tail",
        &[
            (Heading(1), "Head"),
            (Paragraph, "One bold, two & three."),
            (Paragraph, "Next\nline"),
            (Paragraph, "a"),
            (Paragraph, "b"),
            (Paragraph, "c"),
            (Code, "  x\n\n  y <"),
            (Paragraph, "tail"),
        ],
    );
}

#[test]
fn titles_come_from_the_head_or_a_heading() {
    assert_eq!(
        read("<title> The\n title </title>x").title.as_deref(),
        Some("The title")
    );
    assert_eq!(read("<h2>b</h2><h1>a</h1>").title.as_deref(), Some("a"));
    assert_eq!(read("<svg><title>no</title></svg>x").title, None);
}

#[test]
fn lists_and_tables_are_rows() {
    check_blocks(
        "<ul><li>a<li>b<ul><li><p>c</p><p>d</p></ul></ul><ol><li>e</li><li>f</li></ol>\
         <dl><dt>t<dd>u</dl>\
         <table><tr><th>n<th>m</tr><tr><td><p>1</p></td><td></td><td>2<br>3</td></table>",
        &[
            (ListItem, "- a"),
            (ListItem, "- b"),
            (ListItem, "- c"),
            (ListItem, "d"),
            (ListItem, "1. e"),
            (ListItem, "2. f"),
            (ListItem, "t"),
            (ListItem, "u"),
            (TableRow, "n | m"),
            (TableRow, "1 | | 2 3"),
        ],
    );
}

#[test]
fn a_page_laid_out_with_a_table_is_paragraphs() {
    let long = "word ".repeat(300);
    let document = read(&format!(
        "<table><tr><td><p>{long}</p><p>b</p></td></tr></table>"
    ));
    assert_eq!(document.blocks.len(), 2);
    assert_eq!(document.blocks[0].kind, Paragraph);
}

#[test]
fn what_does_not_show_is_left_out() {
    for hidden in [
        "<script>no()</script>",
        "<style>no{}</style>",
        "<template><p>no</p></template>",
        "<noscript>no</noscript>",
        "<div hidden>no<div>no</div>no</div>",
        "<p hidden>no",
        "<div style='color:red; Display : None'>no</div>",
        "<span style=visibility:hidden>no</span>",
        "<svg><text>no</text></svg>",
        "<!-- no -->",
        "<nav><ul><li>no</ul></nav>",
        "<div role=navigation>no</div>",
        "<button>no</button>",
        "<img alt=no hidden>",
    ] {
        assert_eq!(
            read(&format!("<p>a{hidden}<p>b")).text,
            "a\n\nb",
            "{hidden}"
        );
    }
    assert_eq!(read("<p hidden=until-found>a<img alt='pic'>").text, "apic");
}

#[test]
fn navigation_shows_if_there_is_nothing_else() {
    assert_eq!(read("<nav><a>x</a></nav>").text, "x");
}

#[test]
fn a_hidden_element_ends_with_the_one_around_it() {
    assert_eq!(read("<div><span hidden>no</div>yes").text, "yes");
    assert_eq!(
        read("<table><tr><td>a</div></td><td>b</table>c").text,
        "a | b\n\nc"
    );
}

#[test]
fn broken_html_is_read() {
    assert_eq!(read("<p>a</b></i><b>b<p>c</b>d<").text, "ab\n\ncd<");
    assert_eq!(read("a</p>b</br>c<p/>d").text, "a\n\nb\nc\n\nd");
    assert_eq!(
        read("<p>1 < 2 & 3 &bogus; &#0; &#xD800; <p").text,
        "1 < 2 & 3 &bogus; \u{fffd} \u{fffd}"
    );
    let error = extract("a.html", b"<script>x</script>").expect_err("nothing shows");
    assert_eq!(error.kind(), ErrorKind::Empty);
}

#[test]
fn deep_nesting_is_read_in_good_time() {
    for tag in [
        "<div>",
        "<b>",
        "<table><tr><td>",
        "<ul><li>",
        "<div hidden></div><p>",
        "</a>",
    ] {
        assert!(read(&(tag.repeat(100_000) + "x")).text.ends_with('x'));
    }
}

proptest! {
    #[test]
    fn any_html_is_read(
        source in "(</?(p|div|li|ul|ol|table|tr|td|h2|pre|b|title|nav|template|script)( hidden| style='x'|/)?>?|<!--|-->|&[a-z]{1,5};|&#[0-9]{1,4};|[ \n]|[a-z]{1,6}|[é漢\u{a0}\"'=]){0,60}"
    ) {
        if let Ok(document) = extract("a.html", source.as_bytes()) {
            crate::document::check(&document);
        }
    }

    #[test]
    fn any_bytes_are_read(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut html = b"<html>".to_vec();
        html.extend(bytes.into_iter().filter(|byte| *byte != 0));
        if let Ok(document) = extract("a.html", &html) {
            crate::document::check(&document);
        }
    }
}
