use proptest::prelude::*;

use super::*;
use crate::document::{Block, BlockKind};
use crate::text;

fn limits(tokens_max: usize, overlap_tokens: usize) -> Limits {
    Limits {
        tokens_max,
        overlap_tokens,
    }
}

#[track_caller]
fn cut_text<'a>(text: &'a str, blocks: &[Block], limits: Limits) -> Vec<&'a str> {
    let passages = cut(text, blocks, &Estimate, limits).expect("few");
    passages
        .iter()
        .map(|passage| &text[passage.byte_start..passage.byte_end])
        .collect()
}

fn cut_plain(text: &str, limits: Limits) -> Vec<&str> {
    cut_text(text, &text::blocks(text), limits)
}

/// `count` words that make one sentence.
fn sentence(name: &str, count: usize) -> String {
    let words: Vec<_> = (1..count).map(|_| "word").collect();
    format!("{name} {}.", words.join(" "))
}

#[test]
fn what_fits_is_one_passage() {
    assert_eq!(
        cut_plain("One thing.\n\nAnother thing.", limits(64, 8)),
        ["One thing.\n\nAnother thing."]
    );
    assert_eq!(cut_plain("", limits(64, 8)), [""; 0]);
}

#[test]
fn headings_begin_passages_and_stay_with_what_follows() {
    let text = format!(
        "TITLE\n\nPART 1\n\n{}\n\nPART 2\n\n{}",
        sentence("A", 30),
        sentence("B", 30)
    );
    let passages = cut_plain(&text, limits(40, 0));
    assert_eq!(passages.len(), 2, "{passages:#?}");
    assert!(passages[0].starts_with("TITLE\n\nPART 1\n\nA word"));
    assert!(passages[1].starts_with("PART 2\n\nB word"));
}

#[test]
fn a_heading_is_never_the_end_of_a_passage() {
    let text = format!("TITLE\n\n{}", sentence("A", 39));
    let passages = cut_plain(&text, limits(40, 0));
    assert!(passages[0].starts_with("TITLE\n\nA word"), "{passages:#?}");
}

#[test]
fn a_long_heading_stays_with_what_follows_too() {
    let heading = format!("CHAPTER {}", "WORD ".repeat(11))
        .trim_end()
        .to_owned();
    let text = format!("{heading}\n\n{} {}", sentence("A", 20), sentence("B", 20));
    let end = heading.len();
    let blocks = [
        Block {
            kind: BlockKind::Heading(1),
            start: 0,
            end,
        },
        Block {
            kind: BlockKind::Paragraph,
            start: end + 2,
            end: text.len(),
        },
    ];
    let passages = cut_text(&text, &blocks, limits(40, 0));
    assert_eq!(passages.len(), 2, "{passages:#?}");
    assert!(passages[0].ends_with("word."), "{passages:#?}");
}

#[test]
fn lines_of_code_are_not_repeated() {
    let text = "let a = b + c;\n".repeat(20);
    let text = text.trim_end();
    let block = Block {
        kind: BlockKind::Code,
        start: 0,
        end: text.len(),
    };
    let passages = cut_text(text, &[block], limits(40, 10));
    assert!(passages.len() > 2);
    assert_eq!(passages.join("\n"), text);
}

#[test]
fn small_sections_are_joined_but_not_with_a_higher_one() {
    let text = "# a\n\nx\n\n# b\n\ny\n\n# c\n\nz";
    let block = |kind, start: usize, end| Block { kind, start, end };
    let levels = |levels: [u8; 3]| {
        let [a, b, c] = levels.map(BlockKind::Heading);
        [
            block(a, 0, 3),
            block(BlockKind::Paragraph, 5, 6),
            block(b, 8, 11),
            block(BlockKind::Paragraph, 13, 14),
            block(c, 16, 19),
            block(BlockKind::Paragraph, 21, 22),
        ]
    };
    assert_eq!(cut_text(text, &levels([2, 2, 3]), limits(64, 0)).len(), 1);
    assert_eq!(
        cut_text(text, &levels([2, 2, 1]), limits(64, 0)),
        ["# a\n\nx\n\n# b\n\ny", "# c\n\nz"]
    );
    assert_eq!(
        cut_text(text, &levels([2, 2, 2]), limits(16, 0)),
        ["# a\n\nx\n\n# b\n\ny", "# c\n\nz"],
        "a quarter of the limit is enough"
    );
}

#[test]
fn cuts_are_between_paragraphs_if_that_leaves_a_quarter() {
    let [a, b, c] = [("A", 12), ("B", 12), ("C", 30)].map(|(name, count)| sentence(name, count));
    let text = format!("{a}\n\n{b}\n\n{c}");
    assert_eq!(
        cut_plain(&text, limits(40, 0)),
        [format!("{a}\n\n{b}"), c.clone()]
    );
    let a = sentence("A", 8);
    let text = format!("{a}\n\n{b} {b} {b} {b}");
    assert_eq!(
        cut_plain(&text, limits(40, 0)),
        [format!("{a}\n\n{b} {b}"), format!("{b} {b}")]
    );
}

#[test]
fn a_passage_repeats_the_last_sentences_of_the_one_before() {
    let text: Vec<_> = (0..8)
        .map(|name| sentence(&format!("N{name}"), 9))
        .collect();
    let text = text.join(" ");
    let passages = cut_plain(&text, limits(40, 10));
    assert!(passages.len() > 2, "{passages:#?}");
    for pair in passages.windows(2) {
        let first = pair[1].split_inclusive('.').next().expect("a sentence");
        assert!(pair[0].ends_with(first), "{passages:#?}");
    }
    assert!(text.starts_with(passages[0]));
}

#[test]
fn nothing_is_repeated_across_sections() {
    let text = format!(
        "PART 1\n\n{}\n\nPART 2\n\n{}",
        sentence("A", 30),
        sentence("B", 30)
    );
    let passages = cut_plain(&text, limits(40, 40));
    assert!(passages[1].starts_with("PART 2"), "{passages:#?}");
}

#[test]
fn the_last_passage_is_not_a_few_words() {
    let text: Vec<_> = (0..11)
        .map(|name| sentence(&format!("N{name}"), 9))
        .collect();
    let text = text.join(" ");
    let passages = cut_plain(&text, limits(100, 0));
    assert_eq!(passages.len(), 2);
    assert!(passages[1].len() * 2 > passages[0].len(), "{passages:#?}");
}

#[test]
fn a_giant_word_is_cut_between_characters() {
    let family = "👨‍👩‍👧‍👦";
    let text = family.repeat(40);
    let passages = cut_plain(&text, limits(16, 0));
    assert!(passages.len() > 20);
    assert_eq!(passages.concat(), text);
    for passage in passages {
        assert_eq!(passage.len() % family.len(), 0, "{passage}");
    }
    let text = "x".repeat(100_000);
    assert_eq!(cut_plain(&text, limits(64, 8)).concat(), text);
}

#[test]
fn one_endless_character_is_cut_too() {
    let text = format!("a{}", "\u{301}".repeat(50_000));
    let passages = cut_plain(&text, limits(64, 8));
    assert_eq!(passages.concat(), text);
    assert!(passages.iter().all(|passage| passage.len() <= 64 * 16));
}

#[test]
fn a_counter_that_takes_any_word_for_one_token_is_not_believed() {
    let words = |text: &str| text.split_whitespace().count();
    let text = format!("short {} short", "y".repeat(1_000_000));
    let blocks = text::blocks(&text);
    for passage in cut(&text, &blocks, &words, limits(64, 8)).expect("few") {
        assert!(passage.byte_end - passage.byte_start <= 64 * BYTES_PER_TOKEN_MAX);
    }
}

#[test]
fn more_passages_than_the_limit_are_refused() {
    let text = "a\n".repeat(2 * PASSAGES_MAX + 2);
    let block = |line: usize| Block {
        kind: match line % 2 {
            0 => BlockKind::Heading(1),
            _ => BlockKind::Paragraph,
        },
        start: 2 * line,
        end: 2 * line + 1,
    };
    // Heavy enough that no section is joined.
    let heavy = |text: &str| 3 * text.len();
    let cut_sections = |count: usize| {
        let blocks: Vec<_> = (0..2 * count).map(block).collect();
        cut(&text, &blocks, &heavy, limits(16, 0)).map(|passages| passages.len())
    };
    assert_eq!(cut_sections(PASSAGES_MAX), Ok(PASSAGES_MAX));
    assert_eq!(cut_sections(PASSAGES_MAX + 1), Err(TooManyPassages));
}

/// Counts as a byte-pair tokenizer might: not additive, up or down.
fn uneven(text: &str) -> usize {
    text.len().div_ceil(3) + text.matches(". ").count() * 2 + usize::from(text.len() > 90) * 7
}

/// A document of sections, each of more than a quarter of 64 tokens.
fn section_texts() -> impl Strategy<Value = Vec<String>> {
    let paragraph = prop::collection::vec("[A-Za-z]{1,9}( [a-z]{1,9}){4,14}[.?!]", 2..9)
        .prop_map(|sentences| sentences.join(" "));
    let section = prop::collection::vec(paragraph, 1..5)
        .prop_map(|paragraphs| paragraphs.join("\n\n"))
        .prop_filter("not small", |text| estimate_tokens(text) >= 16);
    prop::collection::vec(section, 2..6)
}

fn document(sections: &[String]) -> String {
    let number = |(at, text): (usize, &String)| format!("PART {}\n\n{text}\n\n", at + 1);
    sections.iter().enumerate().map(number).collect()
}

proptest! {
    #[test]
    fn passages_hold_all_that_shows_and_are_never_too_large(
        text in "([A-Za-z.,]{1,12}|[ \n\t.]{1,4}|[é漢\u{301}🙂。]{1,3}|[x=]{30,60}){0,80}",
        tokens_max in 16_usize..80,
        overlap in 0_usize..40,
        is_uneven: bool,
    ) {
        let counter: &dyn CountTokens = if is_uneven { &uneven } else { &Estimate };
        let blocks = text::blocks(&text);
        let passages = cut(&text, &blocks, counter, limits(tokens_max, overlap)).expect("few");
        let mut covered = 0;
        let mut last_start = 0;
        for (position, passage) in passages.iter().enumerate() {
            let slice = &text[passage.byte_start..passage.byte_end];
            prop_assert_eq!(passage.position, position);
            prop_assert!(!slice.trim().is_empty());
            prop_assert!(counter.count(slice) <= tokens_max, "{:?}", slice);
            prop_assert!(position == 0 || last_start < passage.byte_start);
            last_start = passage.byte_start;
            if covered < passage.byte_start {
                prop_assert!(text[covered..passage.byte_start].trim().is_empty());
            }
            covered = covered.max(passage.byte_end);
        }
        prop_assert!(text[covered..].trim().is_empty());
    }

    #[test]
    fn an_edit_leaves_the_passages_of_other_sections(
        sections in section_texts(),
        at: prop::sample::Index,
        edit in "[A-Z][a-z]{1,9}( [a-z]{1,9}){10,60}[.]",
    ) {
        let before = document(&sections);
        let mut edited = sections.clone();
        let at = at.index(sections.len());
        edited[at] = format!("{edit} {}\n\n{edit}", sections[at]);
        let after = document(&edited);
        let kept: String = sections
            .iter()
            .enumerate()
            .filter(|(other, _)| *other != at)
            .map(|(other, text)| format!("PART {}\n\n{text}\n\n", other + 1))
            .collect();
        let expected: Vec<_> = cut_plain(&before, limits(64, 12));
        let expected = expected.into_iter().filter(|passage| kept.contains(passage));
        let found = cut_plain(&after, limits(64, 12));
        for passage in expected {
            prop_assert!(found.contains(&passage), "{:?} is lost", passage);
        }
    }
}
