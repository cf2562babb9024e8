//! Folders that are damaged.

use ginnel_embed::{Error, Model};
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::{Value, json};

use crate::refused::{message, use_it};
use crate::tiny::{SMALL, Tiny, file, replace};

/// The table and the numbers of a model's file.
fn parts(tiny: &Tiny) -> (Value, Vec<u8>) {
    let bytes = tiny.safetensors();
    let size: [u8; 8] = *bytes.first_chunk().expect("a size");
    let size = usize::try_from(u64::from_le_bytes(size)).expect("small");
    let (table, numbers) = bytes[8..].split_at(size);
    (
        serde_json::from_slice(table).expect("JSON"),
        numbers.to_vec(),
    )
}

#[test]
fn the_table_and_the_numbers_must_agree() {
    let tiny = Tiny::new(1, SMALL);
    let folder = tiny.write();
    let (table, numbers) = parts(&tiny);
    let check = |change: &dyn Fn(&mut Value), expected: &str| {
        let mut table = table.clone();
        change(&mut table);
        replace(
            &folder,
            "model.safetensors",
            &file(&table.to_string(), &numbers),
        );
        let message = message(&folder);
        assert!(message.starts_with(expected), "{message}");
    };
    let first = "embeddings.LayerNorm.bias";
    let second = "embeddings.LayerNorm.weight";
    check(
        &|table| table[first]["dtype"] = json!("I8"),
        "tensor of a type not supported, name=embeddings.LayerNorm.bias",
    );
    check(
        &|table| table[first]["data_offsets"] = json!([0, 64]),
        "length of a tensor, name=embeddings.LayerNorm.bias",
    );
    check(
        &|table| table[first]["data_offsets"] = json!([128, 0]),
        "length of a tensor, name=embeddings.LayerNorm.bias",
    );
    check(
        &|table| table[second]["data_offsets"] = json!([0, 128]),
        "place of a tensor",
    );
    check(
        &|table| table[second]["data_offsets"] = json!([u64::MAX - 128, u64::MAX]),
        "place of a tensor",
    );
    check(
        &|table| table[first]["shape"] = json!([u64::MAX, u64::MAX]),
        "length of a tensor",
    );
    // 128 bytes, if products wrapped around.
    check(
        &|table| table[first]["shape"] = json!([(1_u64 << 63) + 32]),
        "length of a tensor",
    );
    check(
        &|table| table[first]["shape"] = json!("x"),
        "table, name=embeddings.LayerNorm.bias",
    );
    check(&|table| *table = json!([]), "table, file=model.safetensors");
    check(
        &|table| drop(table.as_object_mut().expect("it").remove(first)),
        "place of a tensor",
    );
    let last = "encoder.layer.1.output.dense.weight";
    check(
        &|table| drop(table.as_object_mut().expect("it").remove(last)),
        "length of the file",
    );
}

#[test]
fn a_file_cut_short_anywhere_is_refused() {
    let tiny = Tiny::new(1, SMALL);
    let folder = tiny.write();
    let whole = tiny.safetensors();
    let step = whole.len() / 97;
    for length in (0..whole.len())
        .step_by(step)
        .chain([7, 8, 9, whole.len() - 1])
    {
        replace(&folder, "model.safetensors", &whole[..length]);
        assert!(use_it(&folder).is_err(), "{length} bytes");
    }
    // The one above was a byte short.
    let message_short = message(&folder);
    assert!(
        message_short.starts_with("place of a tensor, name=encoder.layer.1.output.dense.weight"),
        "{message_short}"
    );
    for length in [
        u64::MAX,
        1 << 40,
        u64::try_from(whole.len()).expect("small"),
    ] {
        let mut bytes = whole.clone();
        bytes[..8].copy_from_slice(&length.to_le_bytes());
        replace(&folder, "model.safetensors", &bytes);
        let message = message(&folder);
        assert!(
            message.starts_with("length of the table, file=model.safetensors"),
            "{message}"
        );
    }
}

#[test]
fn a_missing_file_is_named() {
    for name in [
        "config.json",
        "tokenizer.json",
        "model.safetensors",
        "1_Pooling/config.json",
    ] {
        let folder = Tiny::new(1, SMALL)
            .with_modules("mean_tokens", true)
            .write();
        std::fs::remove_file(folder.path().join(name)).expect("removed");
        assert_eq!(
            message(&folder),
            format!("cannot read a file of the model, file={name}")
        );
    }
    let error = Model::open("/nonexistent".as_ref()).expect_err("no folder");
    assert!(matches!(error, Error::Read { .. }), "{error}");
}

/// The JSON files of a model, and what is in them.
fn json_files() -> Vec<(String, Value)> {
    let mut tiny = Tiny::new(1, SMALL).with_modules("mean_tokens", true);
    tiny.add(
        "sentence_bert_config.json",
        json!({"max_seq_length": 20, "do_lower_case": false}),
    );
    let prompts = json!({"query": "sun: ", "document": "a "});
    let prompts = json!({"prompts": prompts, "default_prompt_name": null});
    tiny.add("config_sentence_transformers.json", prompts);
    let settings = json!({"do_lower_case": true, "model_max_length": 512});
    tiny.add("tokenizer_config.json", settings);
    let mut files: Vec<(String, Value)> = tiny.files.clone().into_iter().collect();
    files.push(("config.json".to_owned(), tiny.config));
    files.push(("tokenizer.json".to_owned(), tiny.tokenizer));
    files
}

/// Replaces the value at the `at`th place, counted depth first; gives what is
/// left of the count.
fn replace_at(value: &mut Value, at: usize, new: &Value) -> Option<usize> {
    if at == 0 {
        *value = new.clone();
        return None;
    }
    let mut left = at - 1;
    let parts: Vec<&mut Value> = match value {
        Value::Array(values) => values.iter_mut().collect(),
        Value::Object(map) => map.values_mut().collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
    };
    for part in parts {
        left = replace_at(part, left, new)?;
    }
    Some(left)
}

fn some_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(|value| json!(value)),
        any::<u64>().prop_map(|value| json!(value)),
        (0_u64..100).prop_map(|value| json!(value)),
        any::<f64>().prop_map(|value| json!(value)),
        any::<String>().prop_map(|value| json!(value)),
        Just(json!([])),
        Just(json!({})),
        Just(json!([1, 2])),
        Just(json!({"type": "WordPiece"})),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn another_value_anywhere_never_panics(
        which in any::<Index>(),
        at in any::<Index>(),
        new in some_value(),
    ) {
        let folder = Tiny::new(1, SMALL).write();
        for (at_file, (name, mut value)) in json_files().into_iter().enumerate() {
            if at_file == which.index(json_files().len()) {
                let places = 1_000_000 - replace_at(&mut value.clone(), 1_000_000, &new).unwrap_or(0);
                replace_at(&mut value, at.index(places), &new);
            }
            std::fs::create_dir_all(folder.path().join("1_Pooling")).expect("a folder");
            replace(&folder, &name, value.to_string().as_bytes());
        }
        let _ = use_it(&folder);
    }

    #[test]
    fn bytes_in_place_of_a_file_never_panic(
        which in any::<Index>(),
        bytes in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let tiny = Tiny::new(1, SMALL).with_modules("mean_tokens", true);
        let folder = tiny.write();
        let names = [
            "config.json",
            "tokenizer.json",
            "model.safetensors",
            "modules.json",
            "1_Pooling/config.json",
        ];
        replace(&folder, names[which.index(names.len())], &bytes);
        prop_assert!(use_it(&folder).is_err());
    }

    #[test]
    fn another_value_anywhere_in_the_table_never_panics(at in any::<Index>(), new in some_value()) {
        let tiny = Tiny::new(1, SMALL);
        let folder = tiny.write();
        let (mut table, numbers) = parts(&tiny);
        let places = 1_000_000 - replace_at(&mut table.clone(), 1_000_000, &new).unwrap_or(0);
        replace_at(&mut table, at.index(places), &new);
        replace(&folder, "model.safetensors", &file(&table.to_string(), &numbers));
        let _ = use_it(&folder);
    }

    #[test]
    fn a_flipped_bit_never_panics(at in any::<Index>(), bit in 0..8) {
        let tiny = Tiny::new(1, SMALL);
        let folder = tiny.write();
        let mut bytes = tiny.safetensors();
        let table = 8 + parts(&tiny).0.to_string().len();
        // Mostly where it hurts.
        let at = at.index(table + 100);
        bytes[at] ^= 1_u8 << bit;
        replace(&folder, "model.safetensors", &bytes);
        let _ = use_it(&folder);
    }
}
