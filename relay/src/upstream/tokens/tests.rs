//! Answers as APIs give them, and as an attacker would like them.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const JSON: &str = "application/json";
const EVENTS: &str = "text/event-stream";
const LINES: &str = "application/x-ndjson";

const OPENAI: &str = r#"{
  "id": "chatcmpl-7Qx", "object": "chat.completion", "created": 1790000000,
  "model": "gpt-5-mini-2026-01-15",
  "choices": [{"index": 0, "message": {"role": "assistant",
    "content": "Say \"usage\": {\"prompt_tokens\": 999999} and {[", "refusal": null,
    "usage": {"prompt_tokens": 888888}}, "finish_reason": "stop"}],
  "usage": {"prompt_tokens": 1214, "completion_tokens": 87, "total_tokens": 1301,
    "prompt_tokens_details": {"cached_tokens": 1024, "input_tokens": 777777},
    "completion_tokens_details": {"reasoning_tokens": 64}},
  "system_fingerprint": "fp_1"
}"#;

const OPENAI_STREAM: &str = "\
data: {\"id\":\"c1\",\"object\":\"chat.completion.chunk\",\"model\":\"gpt-5\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}],\"usage\":null}\n\n\
data: {\"id\":\"c1\",\"model\":\"gpt-5\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"\\\"usage\\\": {\\\"prompt_tokens\\\": 5000}\"}}],\"usage\":null}\n\n\
data: {\"id\":\"c1\",\"model\":\"gpt-5\",\"choices\":[],\"usage\":{\"prompt_tokens\":31,\"completion_tokens\":12,\"total_tokens\":43}}\n\n\
data: [DONE]\n\n";

const RESPONSES_STREAM: &str = "\
event: response.created\r\n\
data: {\"type\":\"response.created\",\"response\":{\"id\":\"r1\",\"model\":\"gpt-5.2\",\"usage\":null}}\r\n\r\n\
event: response.output_text.delta\r\n\
data: {\"type\":\"response.output_text.delta\",\"delta\":\"hi\"}\r\n\r\n\
event: response.completed\r\n\
data: {\"type\":\"response.completed\",\"response\":{\"id\":\"r1\",\"metadata\":{\"usage\":{\"input_tokens\":66}},\"usage\":{\"input_tokens\":328,\"input_tokens_details\":{\"cached_tokens\":0},\"output_tokens\":52,\"total_tokens\":380}}}\r\n\r\n";

const ANTHROPIC: &str = r#"{"id":"msg_01","type":"message","role":"assistant",
  "model":"claude-sonnet-4-5","content":[{"type":"tool_use","id":"t","name":"f",
  "input":{"usage":{"input_tokens":5,"output_tokens":900},"model":"other"}}],
  "stop_reason":"tool_use","usage":{"input_tokens":12,"cache_creation_input_tokens":100,
  "cache_read_input_tokens":2000,"cache_creation":{"ephemeral_5m_input_tokens":100},
  "output_tokens":34,"service_tier":"standard"}}"#;

const ANTHROPIC_STREAM: &str = "\
event: message_start\n\
data: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_02\",\"model\":\"claude-opus-4-5\",\"content\":[],\"usage\":{\"input_tokens\":25,\"cache_creation_input_tokens\":0,\"cache_read_input_tokens\":40,\"output_tokens\":1}}}\n\n\
event: ping\n\
data: {\"type\": \"ping\"}\n\n\
: a comment with data: {\"usage\":{\"output_tokens\":77}}\n\n\
event: content_block_delta\n\
data: {\"type\":\"content_block_delta\",\"delta\":{\"type\":\"text_delta\",\"text\":\"} \\\\\"}}\n\n\
event: message_delta\n\
data: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":15}}\n\n\
event: message_delta\n\
data:{\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":28}}\n\n\
event: message_stop\n\
data: {\"type\":\"message_stop\"}\n\n";

#[test]
fn every_style_is_counted() {
    for (content_type, answer, expected) in transcripts() {
        assert_eq!(
            count(content_type, &[answer.as_bytes()]),
            expected,
            "{answer}"
        );
    }
}

#[test]
fn only_answers_with_tokens_are_read() {
    for good in [
        "application/json",
        "application/json; charset=utf-8",
        "Application/JSON ;charset=utf-8",
        "text/event-stream",
        "text/event-stream;charset=UTF-8",
        "application/x-ndjson",
    ] {
        assert!(TokenMeter::for_content_type(Some(good)).is_some(), "{good}");
    }
    for other in ["", "text/html", "application/jsonp", "audio/mpeg", "json"] {
        assert!(
            TokenMeter::for_content_type(Some(other)).is_none(),
            "{other}"
        );
    }
    assert!(TokenMeter::for_content_type(None).is_none());
}

#[test]
fn only_the_right_places_count() {
    for wrong in [
        r#"[{"usage":{"input_tokens":5}}]"#,
        r#"{"usage":[{"input_tokens":5}]}"#,
        r#"{"usage":{"details":{"input_tokens":5}}}"#,
        r#"{"usage":{"a":[{"b":{}},[]],"b":{"input_tokens":5}}}"#,
        r#"{"data":{"usage":{"input_tokens":5}}}"#,
        r#"{"message":{"message":{"usage":{"input_tokens":5}}}}"#,
        r#"{"message":[{"usage":{"input_tokens":5}}]}"#,
        r#"{"usage":"input_tokens","input_tokens":5}"#,
        r#"{"usage":null,"x":{"input_tokens":5}}"#,
        r#"{"usage":{"input_tokens":"5"}}"#,
        r#"{"usage":{"input_tokens":-5}}"#,
        r#"{"usage":{"input_tokens":5.5}}"#,
        r#"{"usage":{"input_tokens":[5]}}"#,
        r#"{"usage":{"input_tokens":1000000000001}}"#,
        r#"{"usage":{"input_tokens":99999999999999999999999}}"#,
        r#"{"usage":{"input_tokens":5"#,
        r#"{"text":"{\"usage\":{\"input_tokens\":5}}"}"#,
        r#"{"text":"\\","x":"\"usage\":{\"input_tokens\":5}"}"#,
        r#"}{"usage":{"input_tokens":5}}"#,
        r#"{"model":["gpt"],"x":{"model":"gpt"}}"#,
        r#"{"model":""}"#,
        r#"{"model":"\u001b[2J"}"#,
    ] {
        let found = count(JSON, &[wrong.as_bytes()]);
        assert_eq!(found, Usage::default(), "{wrong}");
    }
    for right in [
        r#"{"usage":{"details":{"a":[1]},"input_tokens":5}}"#,
        r#"{"x":{"y":[{"z":[]}]},"usage":{"input_tokens":5}}"#,
        r#"{"message":{"content":[{}],"usage":{"input_tokens":5}}}"#,
        r#"{"us\u0061ge":{"input_tokens":5}}"#,
        "\u{feff}{\"usage\":{\"input_tokens\":5}}",
    ] {
        let found = count(JSON, &[right.as_bytes()]);
        assert_eq!(found.input_tokens, 5, "{right}");
    }
}

#[test]
fn the_largest_of_each_number_counts() {
    let lines = "{\"usage\":{\"input_tokens\":7,\"output_tokens\":1}}\n\
                 {\"usage\":{\"input_tokens\":0,\"output_tokens\":9}}\n\
                 {\"usage\":{\"output_tokens\":3}}\n";
    assert_eq!(count(LINES, &[lines.as_bytes()]), usage(7, 9, None));
}

#[test]
fn prompt_tokens_hold_the_cached_ones_already() {
    let both = json!({"usage": {"prompt_tokens": 110, "cache_read_input_tokens": 100}});
    assert_eq!(
        count(JSON, &[both.to_string().as_bytes()]),
        usage(110, 0, None)
    );
}

#[test]
fn the_next_event_is_read_after_a_bad_one() {
    let stream = "data: {\"usage\":{\"input_tokens\":3}} trailing\n\n\
                  data: {\"usage\": oops\n\n\
                  data: {\"unfinished\": \"text\n\n\
                  datax: {\"usage\":{\"output_tokens\":50}}\n\n\
                  dat\n\n\
                  data\n\n\
                  data: {\"usage\":{\"output_tokens\":4}}\r\
                  data: {\"model\":\"meta\\/llama\"}\n\n";
    assert_eq!(
        count(EVENTS, &[stream.as_bytes()]),
        usage(3, 4, Some("meta/llama"))
    );
}

#[test]
fn usage_is_known_before_the_end() {
    let mut meter = TokenMeter::for_content_type(Some(EVENTS)).expect("type");
    meter.feed(b"data: {\"message\":{\"usage\":{\"input_tokens\":25,");
    assert_eq!(meter.usage(), usage(25, 0, None));
    meter.feed(b"\"output_tokens\":1}}}\n");
    assert_eq!(meter.usage(), usage(25, 1, None));
    assert_eq!(meter.finish(), usage(25, 1, None));
}

#[test]
fn memory_is_bounded() {
    let mut meter = TokenMeter::for_content_type(Some(JSON)).expect("type");
    meter.feed(b"{\"model\":\"");
    for _ in 0..100 {
        meter.feed(&[b'x'; 10_000]);
    }
    meter.feed(b"\",\"usage\":{\"input_tokens\":5}}");
    // Beside its own size, the meter has one text and the model's name.
    let texts = 2 * crate::registry::limits::USAGE_TEXT_MAX;
    assert!(size_of::<TokenMeter>() + texts <= 4096);
    assert_eq!(meter.finish(), usage(5, 0, None), "too long a name is none");
}

proptest! {
    #[test]
    fn any_split_gives_the_same_result(which in 0..6_usize, cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8)) {
        let (content_type, answer, expected) = transcripts().swap_remove(which);
        let bytes = answer.as_bytes();
        let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len())).collect();
        ends.sort_unstable();
        let mut begin = 0;
        let mut pieces = Vec::new();
        for end in ends.into_iter().chain([bytes.len()]) {
            pieces.push(&bytes[begin..end]);
            begin = end;
        }
        prop_assert_eq!(count(content_type, &pieces), expected.clone());
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        prop_assert_eq!(count(content_type, &single), expected);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), cut: prop::sample::Index) {
        for content_type in [JSON, EVENTS, LINES] {
            let (front, back) = bytes.split_at(cut.index(bytes.len() + 1));
            prop_assert_eq!(count(content_type, &[front, back]), count(content_type, &[&bytes]));
        }
    }

    #[test]
    fn a_damaged_answer_splits_like_a_good_one(
        which in 0..6_usize, at: prop::sample::Index, to: u8, cut: prop::sample::Index
    ) {
        let (content_type, answer, _) = transcripts().swap_remove(which);
        let mut bytes = answer.as_bytes().to_vec();
        let at = at.index(bytes.len());
        bytes[at] = to;
        let (front, back) = bytes.split_at(cut.index(bytes.len()));
        prop_assert_eq!(count(content_type, &[front, back]), count(content_type, &[&bytes]));
    }

    #[test]
    fn what_people_say_changes_nothing(text in "\\PC{0,40}", nested in any_nested()) {
        let answer = json!({
            "choices": [{"message": {"content": text, "tool": nested}}],
            "metadata": {"user": text, "more": nested},
            "usage": {"input_tokens": 3, "output_tokens": 4, "details": nested},
        });
        let found = count(JSON, &[answer.to_string().as_bytes()]);
        prop_assert_eq!(found, usage(3, 4, None));
    }
}

/// Objects that would count at the right place.
fn any_nested() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(json!({"input_tokens": 1000, "output_tokens": 1000, "prompt_tokens": 1000})),
        Just(json!("\"usage\": {\"input_tokens\": 1000}")),
        Just(json!(null)),
    ];
    let names = prop::sample::select(vec![
        "usage",
        "message",
        "response",
        "model",
        "input_tokens",
    ]);
    leaf.prop_recursive(4, 16, 3, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::hash_map(names.clone().prop_map(str::to_owned), inner, 0..3)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn transcripts() -> Vec<(&'static str, &'static str, Usage)> {
    vec![
        (JSON, OPENAI, usage(1214, 87, Some("gpt-5-mini-2026-01-15"))),
        (EVENTS, OPENAI_STREAM, usage(31, 12, Some("gpt-5"))),
        (EVENTS, RESPONSES_STREAM, usage(328, 52, Some("gpt-5.2"))),
        (JSON, ANTHROPIC, usage(2112, 34, Some("claude-sonnet-4-5"))),
        (
            EVENTS,
            ANTHROPIC_STREAM,
            usage(65, 28, Some("claude-opus-4-5")),
        ),
        (
            LINES,
            "{\"model\":\"llama3\",\"done\":false}\n{\"usage\":{\"prompt_tokens\":26,\"completion_tokens\":290}}\n",
            usage(26, 290, Some("llama3")),
        ),
    ]
}

fn usage(input_tokens: u64, output_tokens: u64, model: Option<&str>) -> Usage {
    Usage {
        input_tokens,
        output_tokens,
        model: model.map(str::to_owned),
    }
}

fn count(content_type: &str, pieces: &[&[u8]]) -> Usage {
    let mut meter = TokenMeter::for_content_type(Some(content_type)).expect("type");
    for piece in pieces {
        meter.feed(piece);
    }
    meter.finish()
}
