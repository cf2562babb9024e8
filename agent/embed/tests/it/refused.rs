//! Folders of models that are not supported, or that cannot be.

use ginnel_embed::{Error, Model, Options};
use serde_json::json;
use tempfile::TempDir;

use crate::tiny::{SMALL, Tensor, Tiny};

#[test]
fn another_kind_of_model_is_refused() {
    refuses(
        |tiny| tiny.config["model_type"] = json!("mpnet"),
        "model_type not supported, file=config.json, expected=bert, found=mpnet",
    );
    refuses(
        |tiny| tiny.config["position_embedding_type"] = json!("relative_key"),
        "position_embedding_type not supported, file=config.json, expected=absolute, found=relative_key",
    );
    refuses(
        |tiny| tiny.config["hidden_act"] = json!("swish"),
        "hidden_act not supported, file=config.json, expected=gelu, gelu_new or relu, found=swish",
    );
    refuses(
        |tiny| tiny.config["quantization_config"] = json!({"bits": 8}),
        "quantised weights not supported, file=config.json, expected=none, found=quantization_config",
    );
    refuses(
        |tiny| tiny.tokenizer["model"]["type"] = json!("Unigram"),
        "model not supported, file=tokenizer.json, expected=WordPiece, found=Unigram",
    );
    refuses(
        |tiny| tiny.tokenizer["normalizer"] = json!(null),
        "normalizer not supported, file=tokenizer.json, expected=BertNormalizer, found=none",
    );
    refuses(
        |tiny| {
            tiny.add(
                "1_Pooling/config.json",
                json!({"pooling_mode": "lasttoken"}),
            )
        },
        "pooling not supported, file=1_Pooling/config.json, expected=one of mean, cls and max, found=another",
    );
    refuses(
        |tiny| tiny.files.get_mut("modules.json").expect("it")[2]["type"] = json!("x.Dense"),
        "modules not supported, file=modules.json, expected=Transformer, Pooling and perhaps Normalize, \
         found=Transformer, Pooling, Dense",
    );
    refuses(
        |tiny| tiny.files.get_mut("modules.json").expect("it")[1]["path"] = json!("../else"),
        "path of the Pooling not supported, file=modules.json, expected=a folder's name, found=../else",
    );
    refuses(
        |tiny| tiny.add("tokenizer_config.json", json!({"do_lower_case": false})),
        "do_lower_case is not as in tokenizer.json, file=tokenizer_config.json, expected=true, found=false",
    );
}

#[test]
fn what_would_be_computed_otherwise_is_refused() {
    refuses(
        |tiny| tiny.config["is_decoder"] = json!(true),
        "is_decoder not supported, file=config.json, expected=false, found=true",
    );
    for epsilon in [0.0, -1e-12, 1.0] {
        refuses(
            |tiny| tiny.config["layer_norm_eps"] = json!(epsilon),
            &format!(
                "layer_norm_eps out of range, file=config.json, expected=0 to 1, found={epsilon}"
            ),
        );
    }
    refuses(
        |tiny| {
            let file = tiny.files.get_mut("1_Pooling/config.json").expect("it");
            file["include_prompt"] = json!(false);
            let prompts = json!({"prompts": {"query": "sun: "}});
            tiny.add("config_sentence_transformers.json", prompts);
        },
        "pooling without the prompt not supported, file=modules.json, expected=include_prompt true, \
         found=false",
    );
    refuses(
        |tiny| {
            let prompts = json!({"prompts": {}, "default_prompt_name": "query"});
            tiny.add("config_sentence_transformers.json", prompts);
        },
        "default_prompt_name is not among the prompts, file=config_sentence_transformers.json, \
         expected=a name of a prompt, found=query",
    );
    refuses(
        |tiny| tiny.add("sentence_bert_config.json", json!({"do_lower_case": true})),
        "do_lower_case not supported, tokenizer.json says it, file=sentence_bert_config.json, \
         expected=false, found=true",
    );
    refuses(
        |tiny| {
            let file = tiny.files.get_mut("1_Pooling/config.json").expect("it");
            file["word_embedding_dimension"] = json!(8);
        },
        "embedding dimension is not hidden_size, file=1_Pooling/config.json, expected=32, found=8",
    );
    refuses(
        |tiny| tiny.add("tokenizer_config.json", json!({"truncation_side": "left"})),
        "truncation_side not supported, file=tokenizer_config.json, expected=right, found=left",
    );
    refuses(
        |tiny| tiny.tokenizer["added_tokens"][4]["lstrip"] = json!(true),
        "added token not supported, file=tokenizer.json, \
         expected=single_word, lstrip, rstrip and normalized false, found=[MASK]",
    );
    refuses(
        |tiny| tiny.tokenizer["model"]["unk_token"] = json!("?"),
        "unk_token is not in the vocabulary, file=tokenizer.json, expected=a piece, found=?",
    );
    for max in [0, 1001] {
        refuses(
            |tiny| tiny.tokenizer["model"]["max_input_chars_per_word"] = json!(max),
            &format!(
                "max_input_chars_per_word out of range, file=tokenizer.json, expected=1 to 1000, found={max}"
            ),
        );
    }
}

#[test]
fn impossible_sizes_are_refused_before_anything_is_allocated() {
    refuses(
        |tiny| tiny.config["num_attention_heads"] = json!(5),
        "hidden_size is no multiple of num_attention_heads, file=config.json, expected=5 × n, found=32",
    );
    refuses(
        |tiny| tiny.config["num_hidden_layers"] = json!(0),
        "num_hidden_layers out of range, file=config.json, expected=1 to 1024, found=0",
    );
    for size in [0, u64::MAX, 1 << 40] {
        for field in [
            "hidden_size",
            "vocab_size",
            "intermediate_size",
            "num_attention_heads",
        ] {
            let mut tiny = Tiny::new(1, SMALL);
            tiny.config[field] = json!(size);
            let message = message(&tiny.write());
            assert!(
                message.starts_with(&format!("{field} out of range")),
                "{message}"
            );
        }
    }
    // In range, but not what the file has.
    refuses(
        |tiny| tiny.config["vocab_size"] = json!(1 << 22),
        "tensor of another shape, name=embeddings.word_embeddings.weight, file=model.safetensors, \
         expected=[4194304, 32], found=[24, 32]",
    );
    refuses(
        |tiny| tiny.config["vocab_size"] = json!(10),
        "number of a token, file=tokenizer.json, expected=below 10, vocab_size of config.json, found=23",
    );
    let mut tiny = Tiny::new(1, SMALL);
    tiny.add("sentence_bert_config.json", json!({"max_seq_length": 2}));
    let message = message(&tiny.write());
    assert!(
        message.ends_with("expected=more than 2 tokens, found=2"),
        "{message}"
    );
}

#[test]
fn tensors_are_what_the_configuration_asks_for() {
    let name = "encoder.layer.1.output.dense.weight";
    refuses(
        |tiny| drop(tiny.tensors.remove(name)),
        "tensor missing, name=encoder.layer.1.output.dense.weight, file=model.safetensors, \
         expected=[32, 64], found=none",
    );
    refuses(
        |tiny| tiny.tensors.get_mut(name).expect("it").shape = vec![64, 32],
        "tensor of another shape, name=encoder.layer.1.output.dense.weight, file=model.safetensors, \
         expected=[32, 64], found=[64, 32]",
    );
    refuses(
        |tiny| tiny.tensors.get_mut(name).expect("it").values[5] = f32::NAN,
        "tensor with values that are not finite, name=encoder.layer.1.output.dense.weight, \
         file=model.safetensors, expected=numbers, found=infinity or none",
    );
    refuses(
        |tiny| {
            let one = Tensor {
                shape: vec![1],
                values: vec![1.0],
            };
            tiny.tensors
                .insert("embeddings.LayerNorm.gamma".to_owned(), one);
        },
        "tensor of another shape, name=embeddings.LayerNorm.gamma, file=model.safetensors, \
         expected=[32], found=[1]",
    );
}

#[track_caller]
fn refuses(change: impl FnOnce(&mut Tiny), expected: &str) {
    let mut tiny = Tiny::new(1, SMALL).with_modules("mean_tokens", true);
    change(&mut tiny);
    assert_eq!(message(&tiny.write()), expected);
}

/// Opens, and where that works embeds: nothing may panic.
pub(crate) fn use_it(folder: &TempDir) -> Result<(), Error> {
    let model = Model::open(folder.path())?;
    model.embed(&["sun light, moon", "", "a\u{301}光"], &Options::default())?;
    Ok(())
}

/// The message of the error, without the folder.
pub(crate) fn message(folder: &TempDir) -> String {
    let error = use_it(folder).expect_err("refused");
    let root = format!("{}/", folder.path().display());
    error.to_string().replace(&root, "")
}
