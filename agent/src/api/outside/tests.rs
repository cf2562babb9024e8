//! What callers from outside get to see, and what not.

use std::sync::atomic::Ordering;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;
use crate::knowledge::tests::World;

/// The answer to a GET, head and body.
async fn get(world: &World, path: &str) -> String {
    let (mut caller, stream) = tokio::io::duplex(64 << 10);
    let opened = Opening::ended(Ok(world.knowledge.clone()));
    let served = serve_connection(stream, opened);
    let asked = async {
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        caller.write_all(request.as_bytes()).await.expect("sent");
        let mut answer = String::new();
        caller.read_to_string(&mut answer).await.expect("answered");
        answer
    };
    tokio::join!(served, asked).1
}

#[tokio::test]
async fn the_place_of_the_model_is_not_told() {
    let world = World::new().await;
    world.write("a.md", "apples");
    world.add().await;
    world.stub.busy.store(true, Ordering::Relaxed);
    for (path, status, says) in [
        ("/v1/knowledge", 200, r#""state":"ready""#),
        ("/v1/search?q=apples", 200, "the model does not answer now"),
        ("/v1/search?q=apples&mode=vector", 503, "not_embedded"),
    ] {
        let answer = get(&world, path).await;
        let begins = format!("HTTP/1.1 {status} ");
        assert!(answer.starts_with(&begins), "{path}: {answer}");
        assert!(answer.contains(says), "{path}: {answer}");
        for secret in ["127.0.0.1", "busy"] {
            assert!(!answer.contains(secret), "{path}: {answer}");
        }
    }
}

/// An engine that cannot be loaded names files of this machine.
#[tokio::test]
async fn the_place_of_the_engine_is_not_told() {
    let world = World::without_engine().await;
    let problem = world.knowledge.store().engine_problem().expect("none");
    assert!(problem.contains("vector0"), "{problem}");
    for path in ["/v1/knowledge", "/v1/models"] {
        let answer = get(&world, path).await;
        assert!(answer.contains(r#""engine":"exact""#), "{path}: {answer}");
        assert!(!answer.contains("vector0"), "{path}: {answer}");
    }
}

/// Those of this machine never wait for them.
#[tokio::test]
async fn callers_from_outside_wait_for_each_other() {
    let world = World::without_model().await;
    let all = world.knowledge.outside().acquire_many(4).await;
    let all = all.expect("open");
    let mut waiting = Box::pin(get(&world, "/v1/collections"));
    assert!(futures_util::poll!(&mut waiting).is_pending());
    let here = knowledge::ask(
        &world.knowledge,
        Method::GET,
        "/v1/collections",
        &serde_json::Value::Null,
    );
    here.await.expect("answered");
    tokio::time::pause();
    let answer = waiting.await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.contains(r#""code":"overloaded""#), "{answer}");
    drop(all);
    let answer = get(&world, "/v1/collections").await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

#[tokio::test]
async fn nothing_can_be_changed() {
    let world = World::without_model().await;
    let answer = get(&world, "/v1/events").await;
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    let answer = get(&world, "/v1/documents").await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}
