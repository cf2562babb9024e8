//! The vectors are those of the plain computation.

use ginnel_embed::{Model, Options};
use serde_json::json;

use crate::reference;
use crate::tiny::{Dtype, SMALL, Sizes, Tensor, Tiny, WORDS};

/// Texts of whole words, from none to more than fit.
fn texts(positions: usize) -> Vec<Vec<usize>> {
    let mut rng = fastrand::Rng::with_seed(1);
    let lengths = [
        0,
        1,
        2,
        3,
        4,
        5,
        6,
        7,
        13,
        14,
        15,
        16,
        17,
        30,
        positions - 2,
    ];
    let words = [5, 6, 7, 12, 13, 14, 15, 16, 17, 19];
    let text = |length| {
        (0..length)
            .map(|_| rng.choice(words).expect("some"))
            .collect()
    };
    lengths.into_iter().map(text).collect()
}

/// Compares the vectors of a model with the plain computation; gives the worst
/// cosine.
fn compare(tiny: &Tiny, pooling: &str, unit_length: bool) -> f64 {
    let folder = tiny.write();
    let model = Model::open(folder.path()).expect("a model");
    let ids = texts(model.tokens_max());
    let text = |ids: &Vec<usize>| ids.iter().map(|&id| format!("{} ", WORDS[id])).collect();
    let texts: Vec<String> = ids.iter().map(text).collect();
    let texts: Vec<&str> = texts.iter().map(|text| &**text).collect();
    let vectors = model.embed(&texts, &Options::default()).expect("vectors");
    assert_eq!(vectors.len(), ids.len());
    let mut worst = 1.0_f64;
    for (ids, vector) in ids.iter().zip(vectors) {
        let tokens = [&[2], &ids[..], &[3]].concat();
        let expected = reference::pool(pooling, unit_length, &reference::states(tiny, &tokens));
        let cosine = reference::cosine(&expected, &vector);
        assert!(cosine > 0.999_99, "{cosine} with {} tokens", tokens.len());
        for (expected, &value) in expected.iter().zip(&vector) {
            let limit = if unit_length { 2e-3 } else { 2e-2 };
            assert!(
                (expected - f64::from(value)).abs() < limit,
                "{expected} {value}"
            );
        }
        worst = worst.min(cosine);
    }
    worst
}

#[test]
fn vectors_are_those_of_the_plain_computation() {
    for pooling in ["mean_tokens", "cls_token", "max_tokens"] {
        for unit_length in [false, true] {
            let tiny = Tiny::new(11, SMALL).with_modules(pooling, unit_length);
            compare(&tiny, pooling, unit_length);
        }
    }
}

#[test]
fn each_activation_is_its_own_function() {
    for activation in ["gelu", "gelu_new", "relu"] {
        let mut tiny = Tiny::new(12, SMALL).with_modules("mean_tokens", true);
        tiny.config["hidden_act"] = json!(activation);
        compare(&tiny, "mean_tokens", true);
    }
}

#[test]
fn sizes_need_not_fill_a_processors_registers() {
    let sizes = [
        (30, 5, 3, 17),
        (33, 3, 1, 50),
        (48, 1, 2, 31),
        (6, 6, 1, 1),
        (64, 2, 1, 130),
    ];
    for (hidden, heads, layers, inner) in sizes {
        let sizes = Sizes {
            hidden,
            heads,
            layers,
            inner,
            positions: 40,
        };
        let tiny = Tiny::new(13, sizes).with_modules("mean_tokens", false);
        compare(&tiny, "mean_tokens", false);
    }
}

#[test]
fn large_values_of_some_dimensions_do_not_coarsen_the_others() {
    let mut tiny = Tiny::new(14, SMALL).with_modules("mean_tokens", true);
    for (name, tensor) in &mut tiny.tensors {
        if name.ends_with("LayerNorm.weight") {
            tensor.values[3] *= 40.0;
        }
        if name.ends_with("dense.weight") {
            tensor.values[7] *= 30.0;
        }
    }
    compare(&tiny, "mean_tokens", true);
}

#[test]
fn large_scores_of_all_tokens_do_not_overflow() {
    let mut tiny = Tiny::new(18, SMALL).with_modules("mean_tokens", true);
    for (name, tensor) in &mut tiny.tensors {
        // Adds the same to what a token's query gives with every key.
        if name.ends_with("key.bias") {
            tensor.values.iter_mut().for_each(|value| *value += 300.0);
        }
    }
    compare(&tiny, "mean_tokens", true);
}

#[test]
fn a_large_epsilon_counts() {
    let mut tiny = Tiny::new(19, SMALL).with_modules("mean_tokens", false);
    tiny.config["layer_norm_eps"] = json!(0.3);
    compare(&tiny, "mean_tokens", false);
}

#[test]
fn a_vector_of_zeros_stays_so() {
    let mut tiny = Tiny::new(20, SMALL).with_modules("mean_tokens", true);
    for part in ["weight", "bias"] {
        let name = format!("encoder.layer.1.output.LayerNorm.{part}");
        let tensor = tiny.tensors.get_mut(&name).expect("a tensor");
        tensor.values.fill(0.0);
    }
    assert_eq!(first_vector(&tiny), [0.0; 32]);
}

#[test]
fn without_modules_it_is_the_mean() {
    compare(&Tiny::new(15, SMALL), "mean_tokens", false);
}

#[test]
fn names_of_a_whole_model_and_of_old_files_are_known() {
    let tiny = Tiny::new(16, SMALL);
    let expected = first_vector(&tiny);
    let mut renamed = Tiny::new(16, SMALL);
    renamed.tensors = tiny
        .tensors
        .iter()
        .map(|(name, tensor)| {
            let name = name.replace("LayerNorm.weight", "LayerNorm.gamma");
            let name = name.replace("LayerNorm.bias", "LayerNorm.beta");
            (format!("bert.{name}"), tensor.clone())
        })
        .collect();
    let head = Tensor {
        shape: vec![2],
        values: vec![1.0, 2.0],
    };
    renamed
        .tensors
        .insert("cls.predictions.bias".to_owned(), head);
    assert_eq!(first_vector(&renamed), expected);
}

#[test]
fn half_floats_are_read_as_the_numbers_they_are() {
    for dtype in [Dtype::F16, Dtype::Bf16] {
        let mut tiny = Tiny::new(17, SMALL).with_modules("mean_tokens", true);
        for value in tiny
            .tensors
            .values_mut()
            .flat_map(|tensor| &mut tensor.values)
        {
            // Seven bits of fraction, and nothing below the normal numbers.
            *value = f32::from_bits(value.to_bits() & 0xffff_0000);
            if value.abs() < 1e-4 {
                *value = 0.0;
            }
        }
        tiny.dtype = dtype;
        compare(&tiny, "mean_tokens", true);
    }
}

#[test]
fn half_floats_below_the_normal_numbers_are_read_too() {
    let mut tiny = Tiny::new(21, SMALL).with_modules("mean_tokens", true);
    for (name, tensor) in &mut tiny.tensors {
        for value in &mut tensor.values {
            // Steps of 2^-24, made large by the first norm: up to 1023 are below
            // the normal numbers, and the others are beside them.
            *value = match &**name {
                "embeddings.word_embeddings.weight" => (*value * 1000.0).trunc() / 16_777_216.0,
                "embeddings.position_embeddings.weight" => {
                    (*value * 1000.0 + 1024.0_f32.copysign(*value)).trunc() / 16_777_216.0
                }
                "embeddings.token_type_embeddings.weight" => 0.0,
                _ => (*value * 64.0).round() / 64.0,
            };
        }
    }
    tiny.dtype = Dtype::F16;
    compare(&tiny, "mean_tokens", true);
}

fn first_vector(tiny: &Tiny) -> Vec<f32> {
    let folder = tiny.write();
    let model = Model::open(folder.path()).expect("a model");
    let vectors = model.embed(&["the sun"], &Options::default());
    vectors.expect("vectors").swap_remove(0)
}
