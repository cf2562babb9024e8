use proptest::prelude::*;

use super::*;

#[test]
fn tokens_come_in_the_order_they_are_written() {
    let text = r#" {"a": [10, -2.5e+3, 0, true], "b\n\u0041": "x\/y", "c": {}, "d": [null]} "#;
    let expected =
        "{ key a [ 10 number 0 literal ] key b\nA text x/y key c { } key d [ literal ] }";
    assert_eq!(tokens(text.as_bytes()), expected);
}

#[test]
fn what_is_not_json_ends_the_report() {
    for (text, expected) in [
        ("[1, x, 2]", "[ 1"),
        ("[1 2]", "[ 1"),
        ("[1,]", "[ 1"),
        ("[01]", "["),
        ("[-]", "["),
        ("[+1]", "["),
        ("[1.]", "["),
        ("[1e]", "["),
        ("[1-2]", "["),
        ("{1: 2}", "{"),
        ("{\"a\" 2}", "{ key a"),
        ("{\"a\": 1,}", "{ key a 1"),
        ("[1}", "[ 1"),
        ("{\"a\": 1]", "{ key a 1"),
        ("[trux]", "["),
        ("[\"\\x\", 1]", "["),
        ("[\"\\u00g0\", 1]", "["),
        ("{} {}", "{ }"),
        ("]", ""),
        ("}", ""),
        ("[DONE]", "["),
    ] {
        assert_eq!(tokens(text.as_bytes()), expected, "{text}");
    }
}

#[test]
fn a_reset_begins_a_new_text() {
    let mut tokenizer = Tokenizer::new();
    tokenizer.feed(b"[{\"a\":[[[", |_| {});
    tokenizer.reset();
    let mut count = 0;
    tokenizer.feed(b"[1]", |_| count += 1);
    assert_eq!(count, 3);
    tokenizer.feed(b"]", |_| count += 1);
    assert_eq!(count, 3, "nothing was left open");
}

#[test]
fn everything_has_a_limit() {
    let at = "x".repeat(TEXT_MAX);
    assert_eq!(tokens(format!("\"{at}\"").as_bytes()), format!("text {at}"));
    assert_eq!(tokens(format!("[\"{at}y\", 1]").as_bytes()), "[ text ? 1 ]");

    let max = usize::try_from(DEPTH_MAX).expect("fits");
    let deep = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
    assert!(tokens(deep(max).as_bytes()).ends_with(']'));
    assert!(tokens(deep(max + 1).as_bytes()).ends_with('['));

    let long = "1".repeat(NUMBER_MAX.into());
    assert_eq!(tokens(format!("[{long}]").as_bytes()), "[ number ]");
    assert_eq!(tokens(format!("[{long}1]").as_bytes()), "[");
    assert_eq!(
        tokens(format!("[{}]", u64::MAX).as_bytes()),
        format!("[ {} ]", u64::MAX)
    );
    assert_eq!(tokens(b"[18446744073709551616]"), "[ number ]");
}

proptest! {
    #[test]
    fn any_split_gives_the_same_tokens(value in any_json(), cut: prop::sample::Index) {
        let text = value.to_string().into_bytes();
        let (front, back) = text.split_at(cut.index(text.len()));
        prop_assert_eq!(tokens_of(&[front, back]), tokens(&text));
        let bytes: Vec<&[u8]> = text.chunks(1).collect();
        prop_assert_eq!(tokens_of(&bytes), tokens(&text));
    }

    #[test]
    fn all_of_a_valid_text_is_reported(value in any_json()) {
        let pretty = serde_json::to_string_pretty(&value).expect("json");
        prop_assert_eq!(tokens(pretty.as_bytes()), written(&value));
    }

    #[test]
    fn a_text_that_serde_json_refuses_is_not_read_to_its_end(
        value in any_json(), at: prop::sample::Index, to in "[\\[\\]{}:,\"x]"
    ) {
        let mut text = serde_json::json!([value]).to_string();
        let at = at.index(text.len());
        prop_assume!(text.is_char_boundary(at) && text.is_char_boundary(at + 1));
        text.replace_range(at..=at, &to);
        let closed = ends_outside(text.as_bytes());
        if serde_json::from_str::<serde_json::Value>(&text).is_err() {
            prop_assert!(!closed, "{} was read to its end", text);
        }
    }
}

/// Small JSON values, with texts that look like JSON.
fn any_json() -> impl Strategy<Value = serde_json::Value> {
    let text = prop_oneof!["[a-z\"\\\\{}:,\\[\\]\n\u{e9}]{0,8}", "\\PC{0,8}"];
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<u64>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        (-1e9..1e9).prop_map(serde_json::Value::from),
        text.clone().prop_map(Into::into),
    ];
    leaf.prop_recursive(5, 40, 5, move |inner| {
        let member = (text.clone(), inner.clone());
        prop_oneof![
            prop::collection::vec(inner, 0..5).prop_map(serde_json::Value::Array),
            prop::collection::vec(member, 0..5)
                .prop_map(|members| serde_json::Value::Object(members.into_iter().collect())),
        ]
    })
}

/// What [`tokens`] should say about a value.
fn written(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::Null | serde_json::Value::Bool(_) => "literal".into(),
        serde_json::Value::Number(number) => number
            .as_u64()
            .map_or_else(|| "number".into(), |n| n.to_string()),
        serde_json::Value::String(text) => format!("text {text}"),
        serde_json::Value::Array(values) => {
            let inner = values.iter().map(written);
            join(
                ["[".to_owned()]
                    .into_iter()
                    .chain(inner)
                    .chain(["]".to_owned()]),
            )
        }
        serde_json::Value::Object(members) => {
            let inner = members
                .iter()
                .map(|(key, value)| format!("key {key} {}", written(value)));
            join(
                ["{".to_owned()]
                    .into_iter()
                    .chain(inner)
                    .chain(["}".to_owned()]),
            )
        }
    }
}

fn tokens(text: &[u8]) -> String {
    tokens_of(&[text])
}

fn tokens_of(pieces: &[&[u8]]) -> String {
    let mut tokenizer = Tokenizer::new();
    let mut words = Vec::new();
    let mut open = Vec::new();
    let shown = |text: Option<&[u8]>| {
        text.map_or_else(|| "?".into(), String::from_utf8_lossy)
            .into_owned()
    };
    // A number at the top ends with the text.
    for piece in pieces.iter().chain([&b" ".as_slice()]) {
        tokenizer.feed(piece, |token| {
            words.push(match token {
                Token::Open(Container::Object) => {
                    open.push("}");
                    "{".into()
                }
                Token::Open(Container::Array) => {
                    open.push("]");
                    "[".into()
                }
                Token::Close => open.pop().expect("open").into(),
                Token::Key(text) => format!("key {}", shown(text)),
                Token::Text(text) => format!("text {}", shown(text)),
                Token::Number(number) => number.map_or_else(|| "number".into(), |n| n.to_string()),
                Token::Literal => "literal".into(),
            });
        });
    }
    join(words)
}

fn ends_outside(text: &[u8]) -> bool {
    let mut tokenizer = Tokenizer::new();
    tokenizer.feed(text, |_| {});
    tokenizer.depth == 0 && matches!(tokenizer.state, State::AfterValue)
}

fn join(words: impl IntoIterator<Item = String>) -> String {
    words.into_iter().collect::<Vec<_>>().join(" ")
}
