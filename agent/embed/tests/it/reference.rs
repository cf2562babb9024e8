//! BERT again, plainly and in `f64`: one text, one token, one value at a time.

use crate::tiny::{Tensor, Tiny};

type Row = Vec<f64>;

/// The states of all tokens after the last layer.
pub(crate) fn states(model: &Tiny, tokens: &[usize]) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for (position, &token) in tokens.iter().enumerate() {
        let part = |name: &str, row: usize| {
            row_of(tensor(model, &format!("embeddings.{name}.weight")), row)
        };
        let word = part("word_embeddings", token);
        let place = part("position_embeddings", position);
        let kind = part("token_type_embeddings", 0);
        let sum = word
            .iter()
            .zip(place)
            .zip(kind)
            .map(|((a, b), c)| a + b + c);
        rows.push(norm(model, "embeddings.LayerNorm", &sum.collect::<Row>()));
    }
    for layer in 0..size(model, "num_hidden_layers") {
        rows = layer_of(model, &format!("encoder.layer.{layer}"), &rows);
    }
    rows
}

/// How the states become a vector.
pub(crate) fn pool(pooling: &str, unit_length: bool, states: &[Row]) -> Row {
    let column = |at: usize| states.iter().map(move |row| row[at]);
    let mut vector: Row = (0..states[0].len())
        .map(|at| match pooling {
            "cls_token" => states[0][at],
            "mean_tokens" => column(at).sum::<f64>() / states.len() as f64,
            "max_tokens" => column(at).fold(f64::NEG_INFINITY, f64::max),
            other => unreachable!("{other}"),
        })
        .collect();
    if unit_length {
        let length = dot(&vector, &vector).sqrt();
        vector.iter_mut().for_each(|value| *value /= length);
    }
    vector
}

pub(crate) fn cosine(a: &[f64], b: &[f32]) -> f64 {
    let b: Row = b.iter().map(|&value| value.into()).collect();
    dot(a, &b) / (dot(a, a) * dot(&b, &b)).sqrt()
}

fn layer_of(model: &Tiny, name: &str, rows: &[Row]) -> Vec<Row> {
    let part = |part: &str, rows: &[Row]| -> Vec<Row> {
        rows.iter()
            .map(|row| dense(model, &format!("{name}.{part}"), row))
            .collect()
    };
    let [queries, keys, values] =
        ["query", "key", "value"].map(|kind| part(&format!("attention.self.{kind}"), rows));
    let (hidden, heads) = (
        size(model, "hidden_size"),
        size(model, "num_attention_heads"),
    );
    let mut mixed = vec![vec![0.0; hidden]; rows.len()];
    for head in 0..heads {
        let own = head * hidden / heads..(head + 1) * hidden / heads;
        for (token, query) in queries.iter().enumerate() {
            let root = (own.len() as f64).sqrt();
            let scores = keys
                .iter()
                .map(|key| dot(&query[own.clone()], &key[own.clone()]) / root);
            let scores: Row = scores.collect();
            let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let weights: Row = scores.iter().map(|score| (score - largest).exp()).collect();
            let sum: f64 = weights.iter().sum();
            for at in own.clone() {
                let column: Row = values.iter().map(|value| value[at]).collect();
                mixed[token][at] = dot(&weights, &column) / sum;
            }
        }
    }
    let attended = part("attention.output.dense", &mixed);
    let rows = add_norm(
        model,
        &format!("{name}.attention.output.LayerNorm"),
        rows,
        &attended,
    );
    let mut inner = part("intermediate.dense", &rows);
    let kind = model.config["hidden_act"].as_str().expect("a name");
    inner
        .iter_mut()
        .flatten()
        .for_each(|value| *value = activate(kind, *value));
    let thought = part("output.dense", &inner);
    add_norm(model, &format!("{name}.output.LayerNorm"), &rows, &thought)
}

fn add_norm(model: &Tiny, name: &str, rows: &[Row], more: &[Row]) -> Vec<Row> {
    let pairs = rows.iter().zip(more);
    let sums = pairs.map(|(row, more)| row.iter().zip(more).map(|(a, b)| a + b).collect::<Row>());
    sums.map(|sum| norm(model, name, &sum)).collect()
}

fn norm(model: &Tiny, name: &str, row: &[f64]) -> Row {
    let count = row.len() as f64;
    let mean = row.iter().sum::<f64>() / count;
    let variance = row.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count;
    let epsilon = model.config["layer_norm_eps"].as_f64().expect("a number");
    let weight = tensor(model, &format!("{name}.weight"));
    let bias = tensor(model, &format!("{name}.bias"));
    let scaled = row
        .iter()
        .map(|value| (value - mean) / (variance + epsilon).sqrt());
    let parts = weight.values.iter().zip(&bias.values);
    scaled
        .zip(parts)
        .map(|(value, (&a, &b))| value * f64::from(a) + f64::from(b))
        .collect()
}

fn dense(model: &Tiny, name: &str, row: &[f64]) -> Row {
    let weight = tensor(model, &format!("{name}.weight"));
    let bias = tensor(model, &format!("{name}.bias"));
    let columns = (0..weight.shape[0]).map(|column| dot(&row_of(weight, column), row));
    columns
        .zip(&bias.values)
        .map(|(sum, &bias)| sum + f64::from(bias))
        .collect()
}

fn activate(kind: &str, x: f64) -> f64 {
    match kind {
        "gelu" => 0.5 * x * (1.0 + erf(x / 2_f64.sqrt())),
        "gelu_new" => {
            let u = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x.powi(3));
            0.5 * x * (1.0 + u.tanh())
        }
        "relu" => x.max(0.0),
        other => unreachable!("{other}"),
    }
}

/// 2/√π e^(−x²) Σ 2^n x^(2n+1) / (1·3·…·(2n+1)); all terms have one sign.
fn erf(x: f64) -> f64 {
    if x.abs() > 6.0 {
        return x.signum();
    }
    let (mut term, mut sum) = (x, x);
    for n in 1..300 {
        term *= 2.0 * x * x / (2.0 * f64::from(n) + 1.0);
        sum += term;
    }
    2.0 / std::f64::consts::PI.sqrt() * (-x * x).exp() * sum
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn tensor<'a>(model: &'a Tiny, name: &str) -> &'a Tensor {
    model.tensors.get(name).expect("a tensor")
}

fn row_of(tensor: &Tensor, row: usize) -> Row {
    let width = tensor.shape[1];
    tensor.values[row * width..][..width]
        .iter()
        .map(|&value| value.into())
        .collect()
}

fn size(model: &Tiny, name: &str) -> usize {
    let size = model.config[name].as_u64().expect("a size");
    usize::try_from(size).expect("small")
}
