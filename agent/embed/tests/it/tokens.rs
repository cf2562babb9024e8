//! What text becomes as tokens, and where they come from.

use ginnel_embed::{Model, Token};
use proptest::prelude::*;
use serde_json::json;

use crate::tiny::{SMALL, Tiny, WORDS};

fn model() -> Model {
    let folder = Tiny::new(1, SMALL).write();
    Model::open(folder.path()).expect("a model")
}

/// The pieces of a text, with the bytes they come from.
fn pieces(model: &Model, text: &str) -> Vec<(&'static str, String)> {
    let tokens = model.tokenizer().tokens(text);
    tokens
        .map(|Token { id, range }| {
            let id = usize::try_from(id).expect("small");
            (
                WORDS[id],
                text.get(range).expect("between characters").to_owned(),
            )
        })
        .collect()
}

#[track_caller]
fn check(text: &str, expected: &[(&str, &str)]) {
    let found = pieces(&model(), text);
    let found: Vec<(&str, &str)> = found
        .iter()
        .map(|(piece, from)| (*piece, &**from))
        .collect();
    assert_eq!(found, expected, "{text:?}");
}

#[test]
fn words_become_the_longest_pieces_from_the_left() {
    check("sunlight", &[("sun", "sun"), ("##light", "light")]);
    check(
        "the shining suns",
        &[
            ("the", "the"),
            ("shin", "shin"),
            ("##ing", "ing"),
            ("sun", "sun"),
            ("##s", "s"),
        ],
    );
}

#[test]
fn a_word_with_a_part_unknown_is_unknown_as_a_whole() {
    check("sunx moon", &[("[UNK]", "sunx"), ("moon", "moon")]);
}

#[test]
fn too_long_a_word_is_unknown() {
    let fits = "e".repeat(20);
    assert_eq!(model().tokenizer().count(&fits), 20);
    check(&format!("{fits}e"), &[("[UNK]", &format!("{fits}e"))]);
}

#[test]
fn case_accents_and_control_characters_do_not_count() {
    check("su\u{fffd}n", &[("sun", "su\u{fffd}n")]);
    check("SUN", &[("sun", "SUN")]);
    check("s\u{00fc}n", &[("sun", "sün")]);
    // The accent after the last letter belongs to no token.
    check("su\u{308}n\u{308} a", &[("sun", "su\u{308}n"), ("a", "a")]);
    check("s\u{0}u\u{200b}n\u{7f}", &[("sun", "s\u{0}u\u{200b}n")]);
    check("й", &[("[UNK]", "й")]);
}

#[test]
fn punctuation_and_ideographs_are_words() {
    check(
        "sun—moon",
        &[("sun", "sun"), ("[UNK]", "—"), ("moon", "moon")],
    );
    check(
        "sun,moon!",
        &[("sun", "sun"), (",", ","), ("moon", "moon"), ("!", "!")],
    );
    check(
        "sun光moon",
        &[("sun", "sun"), ("光", "光"), ("moon", "moon")],
    );
    check(
        "a\u{2028}the\u{a0}a\tthe",
        &[("a", "a"), ("the", "the"), ("a", "a"), ("the", "the")],
    );
}

#[test]
fn special_tokens_count_where_they_stand_in_the_text() {
    check(
        "sun[MASK]s [SEP]",
        &[
            ("sun", "sun"),
            ("[MASK]", "[MASK]"),
            ("[UNK]", "s"),
            ("[SEP]", "[SEP]"),
        ],
    );
}

#[test]
fn the_longest_piece_and_the_longest_special_token_count() {
    let mut tiny = Tiny::new(1, SMALL);
    tiny.tokenizer["model"]["vocab"]["sunlight"] = json!(20);
    let mut longer = tiny.tokenizer["added_tokens"][4].clone();
    (longer["id"], longer["content"]) = (json!(21), json!("[MASK]s"));
    let added = tiny.tokenizer["added_tokens"].as_array_mut();
    added.expect("tokens").push(longer);
    let model = Model::open(tiny.write().path()).expect("a model");
    let tokens = model.tokenizer().tokens("sunlight [MASK]s");
    assert_eq!(tokens.map(|token| token.id).collect::<Vec<u32>>(), [20, 21]);
}

#[test]
fn nothing_has_no_tokens() {
    for text in ["", " ", "\n\t", "\u{0}\u{1}", "\u{301}\u{301}"] {
        check(text, &[]);
    }
}

#[test]
fn the_first_tokens_of_a_long_text_are_found_without_reading_it() {
    let model = model();
    let text = "sun moon ".repeat(1_000_000);
    let first: Vec<Token> = model.tokenizer().tokens(&text).take(2).collect();
    assert_eq!(
        first,
        [Token { id: 5, range: 0..3 }, Token { id: 6, range: 4..8 }]
    );
}

proptest! {
    #[test]
    fn tokens_come_in_order_from_between_characters(text in "\\PC{0,60}|(sun|s|\u{301}|[ \\x00-\\x20]|光|[.]|й){0,40}") {
        let model = model();
        let mut begin = 0;
        for Token { range, .. } in model.tokenizer().tokens(&text) {
            prop_assert!(text.get(range.clone()).is_some_and(|text| !text.is_empty()));
            prop_assert!(range.start >= begin);
            begin = range.start;
        }
    }
}
