use std::sync::atomic::Ordering;

use super::*;
use crate::embed::stub::{REFUSED, Stub};

async fn open(stub: &Stub, model: &str) -> Result<std::sync::Arc<dyn Embedder>> {
    stub.settings(model).open().await
}

fn texts(count: usize) -> Vec<String> {
    (0..count).map(|number| "a".repeat(number + 1)).collect()
}

#[tokio::test]
async fn vectors_come_in_the_order_of_the_texts() {
    let stub = Stub::start().await;
    let embedder = open(&stub, "letters").await.expect("opened");
    assert_eq!(embedder.model().dimensions, 26);
    assert_eq!(stub.asked.load(Ordering::Relaxed), 1);
    let vectors = embedder
        .embed(texts(130), Purpose::Passage)
        .await
        .expect("embedded");
    assert_eq!(vectors.len(), 130);
    for (number, vector) in vectors.iter().enumerate() {
        assert!(
            (vector[0] - (number as f32 + 1.01)).abs() < 1e-4,
            "{number}: {vector:?}"
        );
    }
    // 64 texts a request.
    assert_eq!(stub.asked.load(Ordering::Relaxed), 4);
}

#[tokio::test]
async fn the_same_name_at_the_same_place_is_the_same_model() {
    let stub = Stub::start().await;
    let id = async |model| open(&stub, model).await.expect("opened").model().id;
    assert_eq!(id("letters").await, id("letters").await);
    assert_ne!(id("letters").await, id("vowels").await);
}

#[tokio::test]
async fn refusals_are_told_apart() {
    let stub = Stub::start().await;
    for (model, says) in [("unknown", "no such model"), ("odd", "differ in length")] {
        let error = open(&stub, model).await.expect_err(model);
        assert!(matches!(error, EmbedError::Settings(_)), "{error:?}");
        assert!(error.to_string().contains(says), "{error}");
    }
    let embedder = open(&stub, "letters").await.expect("opened");
    let refused = embedder
        .embed(vec![REFUSED.to_owned()], Purpose::Query)
        .await;
    assert!(matches!(refused, Err(EmbedError::Texts(_))), "{refused:?}");
    stub.busy.store(true, Ordering::Relaxed);
    let busy = embedder.embed(texts(1), Purpose::Query).await;
    assert!(matches!(busy, Err(EmbedError::Unavailable(_))), "{busy:?}");
    let away = EmbedSettings::Endpoint(EndpointSettings {
        // Port 1 of this machine: nobody listens there.
        url: "http://127.0.0.1:1/v1".parse().expect("a URL"),
        model: "letters".to_owned(),
        api_key: None,
        tokens_max: TOKENS_DEFAULT,
    });
    let away = away.open().await.expect_err("away");
    assert!(matches!(away, EmbedError::Unavailable(_)), "{away:?}");
    let away = away.to_string().to_lowercase();
    assert!(away.contains("refused"), "{away}");
}

use crate::embed::EmbedSettings;

#[test]
fn keys_are_not_shown() {
    let key = ApiKey::new(" sk-secret\n").expect("a key");
    assert_eq!(key.0, "Bearer sk-secret");
    assert!(!format!("{key:?}").contains("secret"));
    let error = ApiKey::new("sk\u{1}").expect_err("no header");
    assert!(!error.contains("sk"), "{error}");
}

#[test]
fn this_machine_is_known_by_its_addresses() {
    let at = |host: &str| is_this_machine(&format!("http://{host}/v1").parse().expect("a URL"));
    for host in [
        "localhost:1",
        "127.0.0.1",
        "127.9.9.9:80",
        "[::1]:80",
        "[::ffff:127.0.0.1]",
    ] {
        assert!(at(host), "{host}");
    }
    for host in [
        "192.168.1.5",
        "localhost.example",
        "[fe80::1]",
        "embeddings.example:80",
    ] {
        assert!(!at(host), "{host}");
    }
}
