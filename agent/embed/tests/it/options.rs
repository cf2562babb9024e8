//! How a model is asked, and what its folder may say about it.

use std::collections::HashSet;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex};
use std::thread::{self, ThreadId};
use std::time::Duration;

use ginnel_embed::{Error, Model, Options, Purpose};
use serde_json::{Value, json};

use crate::tiny::{SMALL, Tiny};

fn open(tiny: &Tiny) -> Model {
    Model::open(tiny.write().path()).expect("a model")
}

fn embed(model: &Model, text: &str, purpose: Purpose) -> Vec<f32> {
    let options = Options {
        purpose,
        ..Options::default()
    };
    model
        .embed(&[text], &options)
        .expect("a vector")
        .swap_remove(0)
}

fn threads(threads: usize) -> Options<'static> {
    Options {
        threads: NonZeroUsize::new(threads).expect("some"),
        ..Options::default()
    }
}

#[test]
fn neither_threads_nor_company_change_a_vector() {
    let model = open(&Tiny::new(1, SMALL));
    let words = ["sun", "moon", "the star", "a", "", "sunlight shining", "!"];
    let texts: Vec<String> = (0..300)
        .map(|at| words[at % words.len()].repeat(at % 11))
        .collect();
    let texts: Vec<&str> = texts.iter().map(|text| &**text).collect();
    let alone: Vec<Vec<f32>> = texts
        .iter()
        .map(|text| embed(&model, text, Purpose::Passage))
        .collect();
    for count in [1, 2, 7, 1000] {
        assert_eq!(
            model.embed(&texts, &threads(count)).expect("vectors"),
            alone,
            "{count}"
        );
    }
    assert_eq!(
        model.embed(&[], &threads(2)).expect("none"),
        Vec::<Vec<f32>>::new()
    );
}

#[test]
fn more_texts_than_are_held_at_once_keep_their_order() {
    let model = open(&Tiny::new(1, SMALL));
    let texts: Vec<&str> = (0..5000)
        .map(|at| ["sun", "moon", "a star"][at % 3])
        .collect();
    let vectors = model.embed(&texts, &threads(2)).expect("vectors");
    assert_eq!(vectors.len(), texts.len());
    for (at, vector) in vectors.iter().enumerate() {
        assert_eq!(*vector, vectors[at % 3], "{at}");
    }
}

#[test]
fn what_does_not_fit_does_not_count() {
    let mut tiny = Tiny::new(2, SMALL);
    tiny.add(
        "sentence_bert_config.json",
        json!({"max_seq_length": 10, "do_lower_case": false}),
    );
    let model = open(&tiny);
    assert_eq!((model.tokens_max(), model.passage_tokens_max()), (10, 8));
    let fits = "sun ".repeat(8);
    assert_eq!(model.tokenizer().count(&fits), model.passage_tokens_max());
    let expected = embed(&model, &fits, Purpose::Passage);
    let long = fits.clone() + &"moon ".repeat(5_000_000);
    assert_eq!(embed(&model, &long, Purpose::Passage), expected);
    assert_ne!(embed(&model, &"sun ".repeat(7), Purpose::Passage), expected);
}

#[test]
fn the_longest_text_is_what_the_files_say_and_the_positions_allow() {
    let length = |path: &str, value: Value| {
        let mut tiny = Tiny::new(2, SMALL);
        tiny.add(path, value);
        open(&tiny).tokens_max()
    };
    assert_eq!(open(&Tiny::new(2, SMALL)).tokens_max(), 48);
    assert_eq!(
        length("sentence_bert_config.json", json!({"max_seq_length": 512})),
        48
    );
    assert_eq!(
        length("sentence_bert_config.json", json!({"max_seq_length": null})),
        48
    );
    assert_eq!(
        length("tokenizer_config.json", json!({"model_max_length": 20})),
        20
    );
    assert_eq!(
        length("tokenizer_config.json", json!({"model_max_length": 1e30})),
        48
    );
}

#[test]
fn prompts_come_before_the_texts() {
    let mut tiny = Tiny::new(3, SMALL);
    let plain = open(&tiny);
    let prompts = json!({"prompts": {"query": "moon: ", "passage": "the ", "other": "a"}});
    tiny.add("config_sentence_transformers.json", prompts);
    let model = open(&tiny);
    assert_ne!(model.id(), plain.id());
    // The longer prompt has two tokens, one of them unknown.
    assert_eq!(model.passage_tokens_max(), plain.passage_tokens_max() - 2);
    for (purpose, whole) in [(Purpose::Query, "moon: sun"), (Purpose::Passage, "the sun")] {
        let expected = embed(&plain, whole, Purpose::Passage);
        assert_eq!(embed(&model, "sun", purpose), expected);
    }
    tiny.add(
        "config_sentence_transformers.json",
        json!({"prompts": {"other": "a "}, "default_prompt_name": "other"}),
    );
    let expected = embed(&plain, "a sun", Purpose::Passage);
    assert_eq!(embed(&open(&tiny), "sun", Purpose::Query), expected);
}

#[test]
fn it_stops_on_request() {
    let model = open(&Tiny::new(4, SMALL));
    let texts = ["sun moon star"; 2000];
    // A question a text, then one a layer for each of 20 batches: at the first,
    // among the texts, at the first layer, among the layers.
    for last in [0, 1000, 2000, 2020] {
        let asked = AtomicUsize::new(0);
        let options = Options {
            is_cancelled: &|| asked.fetch_add(1, Ordering::Relaxed) >= last,
            ..threads(2)
        };
        let result = model.embed(&texts, &options);
        assert!(matches!(result, Err(Error::Cancelled)), "{last}");
        // Each thread has heard it once at most.
        assert!(asked.into_inner() <= last + 2, "{last}");
    }
}

#[test]
fn it_computes_with_as_many_threads_as_asked_for() {
    let model = open(&Tiny::new(4, SMALL));
    let texts = ["sun moon star"; 2000];
    for count in [1, 3] {
        let asked = AtomicUsize::new(0);
        let (seen, changed) = (Mutex::new(HashSet::<ThreadId>::new()), Condvar::new());
        let is_cancelled = || {
            let mut seen = seen.lock().expect("a lock");
            seen.insert(thread::current().id());
            changed.notify_all();
            // Once all texts are cut, nobody goes on before all are there.
            if asked.fetch_add(1, Ordering::Relaxed) >= texts.len() {
                let limit = Duration::from_secs(60);
                let waited = changed.wait_timeout_while(seen, limit, |seen| seen.len() < count);
                return waited.expect("a lock").1.timed_out();
            }
            false
        };
        let options = Options {
            is_cancelled: &is_cancelled,
            ..threads(count)
        };
        let vectors = model.embed(&texts, &options).expect("vectors");
        assert_eq!(vectors.len(), texts.len());
        let seen = seen.into_inner().expect("a lock");
        assert_eq!(seen.len(), count);
        assert!(seen.contains(&thread::current().id()), "{count}");
    }
}

#[test]
fn a_vector_that_is_not_finite_is_an_error_with_the_texts_number() {
    let mut tiny = Tiny::new(5, SMALL);
    let words = &mut tiny
        .tensors
        .get_mut("embeddings.word_embeddings.weight")
        .expect("words");
    // The row of "moon": its sum of squares is beyond the largest float.
    words.values[6 * 32..7 * 32].fill(3e38);
    words.values[6 * 32] = -3e38;
    let model = open(&tiny);
    let mut texts = vec!["sun"; 100];
    assert!(model.embed(&texts, &threads(1)).is_ok());
    texts[70] = "the moon";
    let error = model.embed(&texts, &threads(2)).expect_err("infinite");
    assert!(matches!(error, Error::NotFinite { text: 70 }), "{error}");
    assert_eq!(error.to_string(), "embedding is not finite, text=70");
    // The number counts from the first text, not from the first of those that
    // are held at once.
    let mut texts = vec!["sun"; 5000];
    texts[4321] = "moon";
    let error = model.embed(&texts, &threads(2)).expect_err("infinite");
    assert!(matches!(error, Error::NotFinite { text: 4321 }), "{error}");
}

#[test]
fn the_id_is_of_what_is_computed() {
    let id = |change: &dyn Fn(&mut Tiny)| {
        let mut tiny = Tiny::new(6, SMALL).with_modules("mean_tokens", true);
        change(&mut tiny);
        open(&tiny).id()
    };
    let same = id(&|_| {});
    // Neither names of folders, nor what is not used.
    assert_eq!(id(&|tiny| tiny.config["use_cache"] = json!(true)), same);
    assert_eq!(id(&|tiny| tiny.tokenizer["padding"] = json!(null)), same);
    let changes: [&dyn Fn(&mut Tiny); 9] = [
        &|tiny| tiny.config["hidden_act"] = json!("relu"),
        &|tiny| tiny.config["hidden_act"] = json!("gelu_new"),
        &|tiny| tiny.config["layer_norm_eps"] = json!(1e-5),
        &|tiny| tiny.config["num_attention_heads"] = json!(8),
        &|tiny| tiny.tokenizer["normalizer"]["strip_accents"] = json!(false),
        &|tiny| tiny.tokenizer["model"]["vocab"]["new"] = json!(7),
        &|tiny| tiny.add("sentence_bert_config.json", json!({"max_seq_length": 20})),
        &|tiny| tiny.add("1_Pooling/config.json", json!({"pooling_mode": "cls"})),
        &|tiny| tiny.tensors.values_mut().next().expect("one").values[0] += 1.0,
    ];
    let mut ids: Vec<[u8; 32]> = changes.iter().map(|change| id(change)).collect();
    ids.push(same);
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), changes.len() + 1);
}

#[test]
fn what_is_left_out_has_the_values_of_the_reference() {
    let mut said = Tiny::new(7, SMALL);
    said.config["position_embedding_type"] = json!("absolute");
    said.config["is_decoder"] = json!(false);
    said.config["quantization_config"] = json!(null);
    said.tokenizer["normalizer"]["strip_accents"] = json!(true);
    let mut unsaid = Tiny::new(7, SMALL);
    let config = unsaid.config.as_object_mut().expect("fields");
    for field in ["type_vocab_size", "hidden_act", "layer_norm_eps"] {
        config.remove(field);
    }
    assert_eq!(open(&unsaid).id(), open(&said).id());
}

#[test]
fn the_newer_way_to_say_the_pooling_counts() {
    let id = |pooling: &str, newer: Option<Value>| {
        let mut tiny = Tiny::new(7, SMALL).with_modules(pooling, true);
        if let Some(newer) = newer {
            let file = tiny.files.get_mut("1_Pooling/config.json").expect("it");
            file["pooling_mode"] = newer;
        }
        open(&tiny).id()
    };
    assert_ne!(id("cls_token", None), id("mean_tokens", None));
    for newer in [json!("cls"), json!(["cls"])] {
        assert_eq!(id("mean_tokens", Some(newer)), id("cls_token", None));
    }
}

#[test]
fn a_model_is_shared_between_threads() {
    fn is_shared<T: Send + Sync>() {}
    is_shared::<Model>();
}
