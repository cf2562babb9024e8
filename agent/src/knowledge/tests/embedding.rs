//! Vectors: made for what is new, and for all when the model changes.

use ginnel_store::Store;
use ginnel_store::document::{NewDocument, Span};
use ginnel_store::id::ModelId;
use ginnel_store::model::Model;
use ginnel_store::options::Options;
use ginnel_store::sync::Rest;

use super::*;
use crate::embed::stub::REFUSED;
use crate::knowledge::embedding::State;

#[tokio::test]
async fn what_is_added_is_found_by_meaning() {
    let world = World::new().await;
    world.write("a.txt", "aaaa bbbb");
    world.write("z.txt", "zzzz yyyy");
    let (_, events) = world.add().await;
    assert!(
        events.contains(&Event::Embedded {
            passages: 2,
            left: 0
        }),
        "{events:?}"
    );
    assert_eq!(
        world.found(Mode::Vector, "zy").await,
        ["notes/z.txt", "notes/a.txt"]
    );
    let answer = world.search(Mode::Auto, "aaaa").await;
    assert_eq!((answer.mode, answer.note), (Mode::Hybrid, None));
}

#[tokio::test]
async fn the_same_text_is_embedded_once() {
    let world = World::new().await;
    for name in ["a.txt", "b.txt", "c.txt"] {
        world.write(name, "the same text");
    }
    world.add().await;
    assert_eq!(world.knowledge.embedding().progress().borrow().embedded, 1);
    assert_eq!(world.found(Mode::Vector, "same").await.len(), 3);
    let asked = world.stub.asked.load(Ordering::Relaxed);
    world.add().await;
    assert_eq!(
        world.stub.asked.load(Ordering::Relaxed),
        asked,
        "nothing is new"
    );
}

#[tokio::test]
async fn a_text_that_is_refused_keeps_nobody_waiting_and_is_tried_again() {
    let world = World::new().await;
    // Its first look at everything is over: it would try the text twice.
    let mut progress = world.knowledge.embedding().progress();
    let begun = progress.wait_for(|progress| progress.reached > 0);
    begun.await.expect("begun");
    world.write("a.txt", "apples");
    world.write("bad.txt", REFUSED);
    world.write("c.txt", "cherries");
    let (summary, _) = world.add().await;
    assert_eq!((summary.passages, summary.without_vectors), (3, 1));
    let now = progress.borrow().clone();
    assert_eq!((now.embedded, now.failed), (2, 1));
    assert_eq!(world.found(Mode::Text, "refuse").await, ["notes/bad.txt"]);
    assert_eq!(world.found(Mode::Vector, "apples").await.len(), 2);
    let (summary, _) = world.add().await;
    assert_eq!(summary.without_vectors, 0, "told once");

    // Refused once more, and then no more.
    let world = world.reopened("letters").await;
    let mut progress = world.knowledge.embedding().progress();
    let again = progress.wait_for(|progress| progress.failed == 1);
    again.await.expect("tried");
    world.stub.refuses.store(false, Ordering::Relaxed);
    let world = world.reopened("letters").await;
    let mut progress = world.knowledge.embedding().progress();
    let again = progress.wait_for(|progress| progress.embedded == 1);
    again.await.expect("embedded");
    assert_eq!(world.found(Mode::Vector, "apples").await.len(), 3);
    let asked = world.stub.asked.load(Ordering::Relaxed);
    let world = world.reopened("letters").await;
    world.add().await;
    let opening = 1;
    assert_eq!(world.stub.asked.load(Ordering::Relaxed), asked + opening);
}

#[tokio::test]
async fn a_busy_endpoint_is_waited_for() {
    let world = World::new().await;
    let opened = world.knowledge.embedding().opened().await;
    assert!(matches!(opened, State::Ready(_)));
    world.stub.busy.store(true, Ordering::Relaxed);
    world.write("a.txt", "apples");
    let (events, mut told) = mpsc::channel(16);
    let request = world.request();
    let adding = world.knowledge.add_and_embed(&request, &events);
    let listening = async {
        while let Some(event) = told.recv().await {
            if let Event::Waiting { problem } = event {
                assert!(problem.contains("busy"), "{problem}");
                // Words are found meanwhile.
                assert_eq!(world.found(Mode::Text, "apples").await, ["notes/a.txt"]);
                let answer = world.search(Mode::Auto, "apples").await;
                assert!(answer.note.expect("said").note().contains("busy"));
                world.stub.busy.store(false, Ordering::Relaxed);
                return;
            }
        }
    };
    let (summary, ()) = tokio::join!(adding, listening);
    summary.expect("added");
    assert_eq!(world.found(Mode::Vector, "apples").await, ["notes/a.txt"]);
}

#[tokio::test]
async fn another_model_embeds_all_again_and_takes_over() {
    let world = World::new().await;
    world.write("a.txt", "aaaa");
    world.write("e.txt", "eeee");
    world.add().await;
    let world = world.reopened("vowels").await;
    let mut progress = world.knowledge.embedding().progress();
    progress
        .wait_for(|progress| progress.embedded == 2)
        .await
        .expect("embedded");
    // The old model goes when the new one has seen everything.
    let mut changes = world.knowledge.store().changes();
    while world.knowledge.store().models().await.expect("read").len() > 1 {
        changes.changed().await.expect("it goes on");
    }
    let State::Ready(embedder) = world.knowledge.embedding().opened().await else {
        panic!("it answers");
    };
    assert_eq!(embedder.model().dimensions, 5);
    assert_eq!(
        world.found(Mode::Vector, "ee").await,
        ["notes/e.txt", "notes/a.txt"]
    );
    let stats = world.knowledge.store().stats().await.expect("read");
    assert_eq!((stats.models[0].vectors, stats.models[0].missing), (2, 0));
    assert_eq!(world.knowledge.store().check().await.expect("checked"), []);
}

#[tokio::test]
async fn a_model_is_needed_before_it_is_open_and_until_it_is_replaced() {
    let world = World::new().await;
    world.write("a.txt", "aaaa");
    world.add().await;
    let needs = async |world: &World| {
        let models = world.knowledge.store().models().await.expect("read");
        let mut needed = Vec::new();
        for model in models {
            if world.knowledge.embedding().needs(model.id).await {
                needed.push(model.name);
            }
        }
        needed
    };
    assert_eq!(needs(&world).await, ["letters"]);
    world.stub.hangs.store(true, Ordering::Relaxed);
    let world = world.reopened("letters").await;
    assert_eq!(needs(&world).await, ["letters"]);
    world.stub.hangs.store(false, Ordering::Relaxed);
    let world = world.reopened("vowels").await;
    let mut progress = world.knowledge.embedding().progress();
    let taken_over = progress.wait_for(|progress| progress.embedded == 1);
    taken_over.await.expect("embedded");
    let other = Model {
        id: ModelId::of_name("caller", "mine", 2),
        name: "mine".to_owned(),
        dimensions: 2,
        metric: Default::default(),
    };
    let put = world.knowledge.store().put_model(other).await;
    put.expect("stored");
    let needed = needs(&world).await;
    assert!(needed.contains(&"vowels".to_owned()), "{needed:?}");
    assert!(!needed.contains(&"mine".to_owned()), "{needed:?}");
}

#[tokio::test]
async fn changes_are_not_kept_for_a_model_that_is_set_no_more() {
    let world = World::new().await;
    world.write("a.txt", "aaaa");
    world.add().await;
    let models = world.knowledge.store().models().await.expect("read");
    let cursor = format!("embed {}", models[0].id);
    let kept = world.knowledge.store().cursor(cursor.clone()).await;
    assert!(kept.expect("read").is_some());
    let world = world.reopened_with(None).await;
    let gone = async {
        while let Ok(Some(_)) = world.knowledge.store().cursor(cursor.clone()).await {
            tokio::task::yield_now().await;
        }
    };
    let gone = tokio::time::timeout(std::time::Duration::from_secs(30), gone).await;
    gone.expect("taken away");
    // Back again, it finds what came in between.
    world.write("e.txt", "eeee");
    world.add().await;
    let world = world.reopened("letters").await;
    world.write("i.txt", "iiii");
    world.add().await;
    assert_eq!(world.found(Mode::Vector, "ee").await.len(), 3);
}

/// What a device begins anew with is in no log of changes.
#[tokio::test]
async fn what_comes_with_a_published_database_is_embedded_too() {
    let elsewhere = tempfile::tempdir().expect("a folder");
    let mut options = Options::new(elsewhere.path());
    options.origin = "desk".to_owned();
    let desk = Store::open(options).expect("opened");
    for text in ["aaaa bbbb", "zzzz yyyy"] {
        let new = NewDocument {
            collection: "notes".parse().expect("a name"),
            source: Some(text.to_owned()),
            id: None,
            title: None,
            mime: None,
            metadata: serde_json::Map::new(),
            text: text.to_owned(),
            passages: vec![Span { start: 0, end: 9 }],
            vectors: None,
        };
        desk.put(new).await.expect("stored");
    }
    let path = elsewhere.path().join("published.db");
    desk.write_published(path.clone()).await.expect("written");
    let world = World::new().await;
    let mut progress = world.knowledge.embedding().progress();
    let begun = progress.wait_for(|progress| progress.has_seen_all);
    begun.await.expect("begun");
    let store = world.knowledge.store();
    let begun = store.start_over(path, Rest::Nothing).await;
    begun.expect("begun anew");
    let embedded = progress.wait_for(|progress| progress.embedded == 2);
    let embedded = tokio::time::timeout(std::time::Duration::from_secs(20), embedded).await;
    embedded.expect("in time").expect("embedded");
    assert_eq!(
        world.found(Mode::Vector, "zy").await,
        ["zzzz yyyy", "aaaa bbbb"]
    );
}
