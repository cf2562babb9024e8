use super::*;
use crate::document::BlockKind;

const TWO_COLUMNS: &[u8] = include_bytes!("../../tests/pdf/two_columns.pdf");
const UNICODE: &[u8] = include_bytes!("../../tests/pdf/unicode.pdf");
const JAPANESE: &[u8] = include_bytes!("../../tests/pdf/japanese.pdf");
const LOCKED: &[u8] = include_bytes!("../../tests/pdf/locked.pdf");

/// A PDF of pages with these contents, and Helvetica as `/F`. It has no table
/// of its objects; readers make one.
fn pdf(pages: &[&str]) -> Vec<u8> {
    let kids: Vec<_> = (0..pages.len())
        .map(|n| format!("{} 0 R", 10 + 2 * n))
        .collect();
    let mut pdf = format!(
        "%PDF-1.7\n1 0 obj <</Type/Catalog/Pages 2 0 R>> endobj\n\
         2 0 obj <</Type/Pages/Kids[{}]/Count {}>> endobj\n\
         3 0 obj <</Type/Font/Subtype/Type1/BaseFont/Helvetica>> endobj\n\
         4 0 obj <</Type/XObject/Subtype/Form/BBox[0 0 500 800]/Length 33>> stream\n\
         BT /F 10 Tf 50 40 Td (Form) Tj ET\nendstream endobj\n",
        kids.join(" "),
        pages.len()
    );
    for (n, content) in pages.iter().enumerate() {
        let page = 10 + 2 * n;
        pdf += &format!(
            "{page} 0 obj <</Type/Page/Parent 2 0 R/MediaBox[0 0 500 800]\
             /Resources<</Font<</F 3 0 R>>/XObject<</X 4 0 R>>>>/Contents {} 0 R>> endobj\n\
             {} 0 obj <</Length {}>> stream\n{content}\nendstream endobj\n",
            page + 1,
            page + 1,
            content.len()
        );
    }
    (pdf + "trailer <</Root 1 0 R>>\n%%EOF\n").into_bytes()
}

/// The text of one page with these operators between `BT` and `ET`.
fn text_of(operators: &str) -> String {
    let content = format!("BT /F 10 Tf {operators} ET");
    extract(&pdf(&[&content])).map_or_else(|error| error.to_string(), |read| read.text)
}

fn blocks(document: &Extracted) -> Vec<(BlockKind, &str)> {
    crate::document::check(document);
    let block =
        |block: &crate::document::Block| (block.kind, &document.text[block.start..block.end]);
    document.blocks.iter().map(block).collect()
}

#[test]
fn two_columns_are_read_one_after_the_other() {
    let document = extract(TWO_COLUMNS).expect("read");
    assert_eq!(document.title.as_deref(), Some("The Lamp"));
    assert_eq!(document.metadata["author"], "A. Writer");
    let blocks = blocks(&document);
    assert_eq!(
        blocks.len(),
        15 * 3,
        "running heads and page numbers are gone: {blocks:#?}"
    );
    for (number, chapter) in blocks.chunks(3).enumerate() {
        let head = format!("Chapter of the lamp {}", number + 1);
        assert_eq!(chapter[0], (BlockKind::Heading(1), head.as_str()));
        assert_eq!(chapter[1].0, BlockKind::Paragraph);
        assert!(
            chapter[1]
                .1
                .starts_with("The ferry left the harbour before dawn, and nobody")
        );
        assert!(chapter[1].1.ends_with("of nets, and of the price of coal."));
        assert!(
            chapter[2]
                .1
                .contains("He had found it on the sandbank, burning still")
        );
    }
}

#[test]
fn letters_of_embedded_and_of_known_fonts_are_read() {
    let document = extract(UNICODE).expect("read");
    assert_eq!(document.title.as_deref(), Some("Of many letters"));
    assert_eq!(
        document.text,
        "Of many letters\n\nAn efficient fish floats. Größe, naïve, Łódź, ångström. \
         Съешь ещё этих мягких булок. Η γρήγορη αλεπού."
    );
    let document = extract(JAPANESE).expect("read");
    assert_eq!(document.text, "吾輩は猫である。名前はまだ無い。");
}

#[test]
fn what_cannot_be_read_is_told() {
    let refuse = |bytes: &[u8]| extract(bytes).expect_err("refused");
    assert_eq!(refuse(LOCKED).reason(), "it is locked with a password");
    assert_eq!(
        refuse(b"%PDF-1.7 nothing").reason(),
        "it is not a valid PDF"
    );
    assert_eq!(refuse(b"").kind(), ErrorKind::Invalid);
    let scanned = pdf(&["10 10 300 300 re f"]);
    assert_eq!(refuse(&scanned).kind(), ErrorKind::Empty);
    let unknown = pdf(&["BT /NoFont 10 Tf (abc) Tj ET"]);
    assert_eq!(
        refuse(&unknown).reason(),
        "its fonts do not say which letters they show, unknown=3, known=0"
    );
}

#[test]
fn letters_are_put_together_to_words_and_lines() {
    assert_eq!(
        text_of("50 700 Td [(W)80(or)-20(d)-300(two)] TJ"),
        "Word two"
    );
    assert_eq!(text_of("50 700 Td (a) Tj 10 0 Td (b) Tj"), "a b");
    assert_eq!(
        text_of("50 700 Td 12 TL (one) Tj T* (two) Tj (s) ' 5 0 (three) \""),
        "one two s three"
    );
    assert_eq!(
        text_of("1 0 0 1 50 700 Tm (a) Tj 1 0 0 1 50 688 Tm (b) Tj"),
        "a b"
    );
    assert_eq!(text_of("50 700 Td (x) Tj 5 Ts (2) Tj 0 Ts (y) Tj"), "x2y");
    assert_eq!(text_of("50 700 Td 8 Tc (ab) Tj"), "a b");
    assert_eq!(text_of("0 1 -1 0 50 100 Tm (up) Tj (wards) Tj"), "upwards");
    assert_eq!(text_of("3 Tr 50 700 Td (hidden layer) Tj"), "hidden layer");
    let twice = "50 700 Td (bold) Tj 1 0 0 1 50.3 700 Tm (bold) Tj";
    assert_eq!(text_of(twice), "bold");
}

#[test]
fn marks_replace_text_or_leave_it_out() {
    let operators =
        "50 700 Td /Span <</ActualText (whole)>> BDC (wh-) Tj 0 -12 Td (ole) Tj EMC ( word) Tj";
    assert_eq!(text_of(operators), "whole word");
    let operators = "50 700 Td (text) Tj /Artifact BMC 0 -650 Td (page 3) Tj EMC";
    assert_eq!(text_of(operators), "text");
}

#[test]
fn forms_are_part_of_the_page() {
    let page = pdf(&["q 1 0 0 1 0 600 cm /X Do Q BT /F 10 Tf 50 600 Td (Page) Tj ET"]);
    assert_eq!(extract(&page).expect("read").text, "Form\n\nPage");
}

#[test]
fn lines_are_put_together_to_paragraphs() {
    let page = "BT /F 20 Tf 50 750 Td (Title) Tj /F 10 Tf 0 -40 Td 12 TL (First line is divi-) Tj T* \
        (ded here. It ends.) Tj 10 -12 Td (Indented begins) Tj -10 -12 Td (anew.) Tj \
        0 -30 Td (Far below.) Tj T* (\\267 a point) Tj T* (2. another) Tj T* \
        (2.1 Contents . . . . . . . . . 7) Tj ET";
    let document = extract(&pdf(&[page])).expect("read");
    use BlockKind::{Heading, ListItem, Paragraph};
    assert_eq!(
        blocks(&document),
        [
            (Heading(1), "Title"),
            (Paragraph, "First line is divided here. It ends."),
            (Paragraph, "Indented begins anew."),
            (Paragraph, "Far below."),
            (ListItem, "• a point"),
            (ListItem, "2. another 2.1 Contents … 7"),
        ]
    );
    assert_eq!(document.title.as_deref(), Some("Title"));
}

#[test]
fn a_sentence_goes_on_over_the_page() {
    let page = |text: &str| format!("BT /F 10 Tf 50 700 Td ({text}) Tj ET");
    let pages = [page("This goes"), page("on here."), page("This does not.")];
    let pages: Vec<_> = pages.iter().map(String::as_str).collect();
    let document = extract(&pdf(&pages)).expect("read");
    assert_eq!(document.text, "This goes on here.\n\nThis does not.");
    assert_eq!(document.metadata["pages"], 3);
}

#[test]
fn titles_that_programs_set_are_none() {
    for title in [
        "report.docx",
        "untitled",
        "Microsoft Word - a b",
        "/tmp/x/y.tex",
        "Untitled-1",
    ] {
        assert!(!is_title(title), "{title}");
    }
    for title in ["The Lamp", "Version 2.0 of all", "Dr. No", "C"] {
        assert!(is_title(title), "{title}");
    }
}
