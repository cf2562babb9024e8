//! What stands between two lines of `---` (YAML) or `+++` (TOML) before a
//! document.
//!
//! Only simple pairs are taken: a key and a string, number, truth value or
//! list of such. Deeper things are nothing to filter by.

use serde_json::{Map, Number, Value};

use crate::document::tidy_title;
use crate::limits::FRONT_MATTER_BYTES_MAX;
use crate::metadata;
use crate::text::lines;

#[derive(Debug, Default, PartialEq)]
pub(super) struct FrontMatter {
    pub(super) title: Option<String>,
    pub(super) metadata: Map<String, Value>,
    /// How many bytes of the source it takes.
    pub(super) length: usize,
}

/// Reads what a document begins with. What is not closed, too long or not a
/// list of pairs is no front matter.
pub(super) fn read(source: &str) -> FrontMatter {
    let Some((pairs, length)) = split(source) else {
        return FrontMatter::default();
    };
    let mut front_matter = FrontMatter {
        length,
        ..FrontMatter::default()
    };
    for (key, value) in pairs {
        if key == "title" {
            front_matter.title = value.as_str().and_then(tidy_title);
        } else {
            metadata::add(&mut front_matter.metadata, key, value);
        }
    }
    front_matter
}

type Pairs = Vec<(String, Value)>;

fn split(source: &str) -> Option<(Pairs, usize)> {
    let fence = source
        .get(..3)
        .filter(|fence| ["---", "+++"].contains(fence))?;
    let mut lines = lines(source);
    let (_, first) = lines.next()?;
    if first.trim_end() != fence {
        return None;
    }
    let start = first.len() + 1;
    let (end, last) = lines
        .take_while(|(at, _)| *at <= FRONT_MATTER_BYTES_MAX)
        .find(|(_, line)| {
            let line = line.trim_end();
            line == fence || (fence == "---" && line == "...")
        })?;
    let content = source.get(start..end)?;
    let pairs = match fence {
        "---" => read_yaml(content)?,
        _ => read_toml(content)?,
    };
    Some((pairs, (end + last.len() + 1).min(source.len())))
}

fn read_toml(content: &str) -> Option<Pairs> {
    let table: toml::Table = content.parse().ok()?;
    let pair = |(key, value)| Some((key, toml_value(value)?));
    Some(table.into_iter().filter_map(pair).collect())
}

fn toml_value(value: toml::Value) -> Option<Value> {
    Some(match value {
        toml::Value::String(text) => Value::String(text),
        toml::Value::Integer(number) => Value::from(number),
        toml::Value::Float(number) => Value::Number(Number::from_f64(number)?),
        toml::Value::Boolean(is) => Value::Bool(is),
        toml::Value::Datetime(time) => Value::String(time.to_string()),
        toml::Value::Array(values) => {
            let is_simple = |value: &toml::Value| !value.is_array() && !value.is_table();
            let simple = values.into_iter().filter(is_simple);
            Value::Array(simple.filter_map(toml_value).collect())
        }
        toml::Value::Table(_) => return None,
    })
}

/// Reads the simple part of YAML; none if a line at the left edge is neither a
/// pair nor a comment.
fn read_yaml(content: &str) -> Option<Pairs> {
    let mut pairs = Vec::new();
    let mut lines = lines(content).map(|(_, line)| line.trim_end()).peekable();
    while let Some(line) = lines.next() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (key, rest) = yaml_pair(line)?;
        let is_inside = |line: &&str| {
            line.is_empty() || line.starts_with([' ', '\t']) || line.starts_with("- ")
        };
        let mut inside = Vec::new();
        while let Some(line) = lines.next_if(is_inside) {
            inside.push(line.trim());
        }
        pairs.extend(yaml_value(rest, &inside).map(|value| (key, value)));
    }
    Some(pairs)
}

fn yaml_pair(line: &str) -> Option<(String, &str)> {
    let (key, rest) = line.split_once(':')?;
    let is_pair = rest.is_empty() || rest.starts_with(' ');
    let key = unquote(key.trim_end());
    (is_pair && !key.is_empty() && !line.starts_with([' ', '\t', '-']))
        .then_some((key, rest.trim()))
}

/// The value after a key, `inside` being the lines below it that belong to it.
fn yaml_value(rest: &str, inside: &[&str]) -> Option<Value> {
    let is_text = |line: &&&str| !line.is_empty();
    match rest.as_bytes() {
        [] => {
            let item = |line: &&str| line.strip_prefix("- ").map(yaml_scalar);
            let items: Option<Vec<_>> = inside.iter().filter(is_text).map(item).collect();
            items.filter(|items| !items.is_empty()).map(Value::Array)
        }
        [b'|', ..] => Some(Value::String(inside.join("\n").trim().into())),
        [b'>', ..] => Some(Value::String(inside.join(" ").trim().into())),
        [b'[', ..] => {
            let items = rest.strip_prefix('[')?.strip_suffix(']')?;
            let items = items
                .split(',')
                .map(str::trim)
                .filter(|item| !item.is_empty());
            Some(Value::Array(items.map(yaml_scalar).collect()))
        }
        [b'{' | b'&' | b'*' | b'!', ..] => None,
        _ => Some(yaml_scalar(rest)),
    }
}

fn yaml_scalar(text: &str) -> Value {
    let text = text.trim();
    if text.starts_with(['"', '\'']) {
        return Value::String(unquote(text));
    }
    let text = text.split(" #").next().unwrap_or(text).trim_end();
    match text {
        "" | "~" | "null" => return Value::Null,
        "true" => return Value::Bool(true),
        "false" => return Value::Bool(false),
        _ => {}
    }
    // «007» and «1e3» are names more often than numbers.
    let is_number = text.bytes().all(|byte| b"-.0123456789".contains(&byte));
    let has_zero = text.trim_start_matches('-').len() > 1
        && text.trim_start_matches('-').starts_with('0')
        && !text.contains('.');
    if !is_number || has_zero {
        return Value::String(text.into());
    }
    if let Ok(number) = text.parse::<i64>() {
        return Value::from(number);
    }
    let number = text.parse().ok().and_then(Number::from_f64);
    number.map_or_else(|| Value::String(text.into()), Value::Number)
}

/// A quoted text without its quotes; of escapes only those of quotes.
fn unquote(text: &str) -> String {
    let inner = |quote: char| {
        let (inner, _) = text.strip_prefix(quote)?.rsplit_once(quote)?;
        Some(inner)
    };
    if let Some(inner) = inner('"') {
        return inner.replace("\\\"", "\"");
    }
    inner('\'').map_or_else(|| text.into(), |inner| inner.replace("''", "'"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{METADATA_KEYS_MAX, METADATA_VALUE_BYTES_MAX};
    use serde_json::json;

    fn read_pairs(source: &str) -> (Option<String>, Value, &str) {
        let read = read(source);
        (
            read.title,
            Value::Object(read.metadata),
            &source[read.length..],
        )
    }

    #[test]
    fn yaml_pairs_become_metadata() {
        let source = "---\n# about\ntitle: \"A \\\"b\\\": c\"\ndate: 2024-05-01\nversion: 3 # third\n\
            price: 2.5\ndraft: false\nid: 007\ntags: [one, 'two, three', 3]\nauthors:\n  - Ann\n- Bob\n\
            url: http://x.y/z\nnested:\n  a: 1\nabout: >\n  long\n  text\nnone: ~\n---\nText";
        let (title, metadata, rest) = read_pairs(source);
        assert_eq!(title.as_deref(), Some("A \"b\": c"));
        assert_eq!(rest, "Text");
        assert_eq!(
            metadata,
            json!({"date": "2024-05-01", "version": 3, "price": 2.5, "draft": false, "id": "007",
                "tags": ["one", "'two", "three'", 3], "authors": ["Ann", "Bob"],
                "url": "http://x.y/z", "about": "long text"})
        );
    }

    #[test]
    fn toml_pairs_become_metadata() {
        let source = "+++\ntitle = 'T'\ndate = 2024-05-01\nweight = 3\ntags = ['a', 'b']\n\
            [extra]\nx = 1\n+++\n\nText";
        let (title, metadata, rest) = read_pairs(source);
        assert_eq!(title.as_deref(), Some("T"));
        assert_eq!(
            metadata,
            json!({"date": "2024-05-01", "weight": 3, "tags": ["a", "b"]})
        );
        assert_eq!(rest, "\nText");
    }

    #[test]
    fn what_is_no_front_matter_stays_text() {
        for source in [
            "---\nA sentence under a rule.\n---\n",
            "---\nnever: closed\n",
            "--- \n: x\n---",
            "----\na: b\n----\n",
            "+++\nnot toml\n+++\n",
            "text\n---\na: b\n---\n",
            "",
        ] {
            assert_eq!(read(source), FrontMatter::default(), "{source}");
        }
        let long = format!("---\na: {}\n---\n", "x".repeat(FRONT_MATTER_BYTES_MAX));
        assert_eq!(read(&long).length, 0);
    }

    #[test]
    fn keys_and_values_are_limited() {
        let keys = METADATA_KEYS_MAX;
        let lines: String = (0..=keys).map(|key| format!("k{key}: v\n")).collect();
        assert_eq!(read(&format!("---\n{lines}---")).metadata.len(), keys);
        let value = "x".repeat(METADATA_VALUE_BYTES_MAX - 1);
        assert_eq!(read(&format!("---\na: {value}\n---")).metadata.len(), 1);
        assert_eq!(read(&format!("---\na: {value}y\n---")).metadata.len(), 0);
    }
}
