//! Questions, where the model gives no vector of them.

use std::time::Duration;

use super::*;
use crate::embed::stub::ZERO;
use crate::knowledge::add::Text;
use crate::knowledge::search::{NoVector, SearchError};

#[tokio::test]
async fn without_a_model_words_are_compared_and_that_is_said() {
    let world = World::without_model().await;
    world.write("a.txt", "apples");
    world.add().await;
    let answer = world.search(Mode::Auto, "apples").await;
    assert_eq!(answer.mode, Mode::Text);
    assert_eq!(answer.note, Some(NoVector::NoModel));
    let refused = world
        .knowledge
        .search(question(Mode::Vector, "apples"))
        .await;
    assert!(
        refused
            .expect_err("no model")
            .to_string()
            .contains("no embedding model")
    );
}

#[tokio::test]
async fn a_question_waits_for_no_endpoint_that_hangs() {
    let world = World::new().await;
    world.write("a.txt", "apples");
    world.add().await;
    world.stub.hangs.store(true, Ordering::Relaxed);
    // The clock now goes on whenever everybody waits.
    tokio::time::pause();
    let answer = world.search(Mode::Auto, "apples").await;
    assert_eq!((answer.mode, answer.found.hits.len()), (Mode::Text, 1));
    let note = answer.note.expect("said").note();
    assert!(note.contains("only words"), "{note}");
    assert!(note.contains("no vector within 2 s"), "{note}");
    for mode in [Mode::Hybrid, Mode::Vector] {
        let late = world.knowledge.search(question(mode, "apples")).await;
        let late = late.expect_err("it was asked for").to_string();
        assert!(late.contains("no vector within 10 s"), "{late}");
    }
}

#[tokio::test]
async fn nobody_waits_for_an_endpoint_that_is_opened() {
    let world = World::hanging().await;
    let text = Text {
        collection: "default".parse().expect("a name"),
        source: None,
        id: None,
        title: None,
        file_name: "a.txt".to_owned(),
        metadata: Default::default(),
        bytes: b"apples".to_vec(),
    };
    let stored = tokio::time::timeout(Duration::from_secs(30), world.knowledge.add_text(text));
    stored.await.expect("at once").expect("stored");
    tokio::time::pause();
    let answer = world.search(Mode::Auto, "apples").await;
    assert_eq!((answer.mode, answer.found.hits.len()), (Mode::Text, 1));
    let note = answer.note.expect("said").note();
    assert!(note.contains("not open yet after 2 s"), "{note}");
}

#[tokio::test]
async fn a_vector_of_no_use_leaves_the_words() {
    let world = World::new().await;
    world.write("a.txt", "apples");
    world.add().await;
    let question_text = format!("apples {ZERO}");
    let answer = world.search(Mode::Auto, &question_text).await;
    assert_eq!((answer.mode, answer.found.hits.len()), (Mode::Text, 1));
    let note = answer.note.expect("said").note();
    assert!(note.contains("zero everywhere"), "{note}");
    let asked = question(Mode::Vector, &question_text);
    let refused = world.knowledge.search(asked).await.expect_err("of no use");
    let not_now = matches!(refused, SearchError::NoVector(NoVector::NotNow(_)));
    assert!(not_now, "{refused}");
}

#[tokio::test]
async fn an_empty_question_is_refused_with_a_model_too() {
    let world = World::new().await;
    world.write("a.txt", "apples");
    world.add().await;
    for mode in [Mode::Auto, Mode::Hybrid, Mode::Vector, Mode::Text] {
        let refused = world.knowledge.search(question(mode, " ")).await;
        let refused = refused.expect_err("empty").to_string();
        assert!(refused.contains("query is empty"), "{mode:?}: {refused}");
    }
}
