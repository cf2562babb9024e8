//! A text that is added as a folder is: with events, and waiting for vectors.

use super::*;
use crate::knowledge::add::{Event, FileOutcome};

/// Nothing here takes as long.
const IN_TIME: Duration = Duration::from_secs(30);

fn text(text: &str) -> view::AddRequest {
    view::AddRequest {
        text: Some(text.to_owned()),
        name: Some("mail:1".to_owned()),
        format: Some("markdown".to_owned()),
        ..Default::default()
    }
}

/// What is told, the end last.
async fn told(world: &World, asked: view::AddRequest) -> Vec<Event> {
    let mut told = Vec::new();
    let adding = add(world.knowledge.clone(), asked).expect("it makes sense");
    let run = adding.run(|event| {
        told.push(event);
        Ok(())
    });
    let ended = timeout(IN_TIME, run).await;
    ended.expect("in time").expect("told");
    told
}

fn file(outcome: FileOutcome, passages: u64) -> Event {
    Event::File {
        source: "mail:1".to_owned(),
        outcome,
        passages,
        reason: None,
    }
}

#[tokio::test]
async fn texts_are_told_as_files_are_and_have_vectors_in_the_end() {
    let world = World::new().await;
    let events = told(&world, text("# Ferry\n\nleaves at noon")).await;
    let counted = Event::Counted {
        files: 1,
        bytes: 23,
    };
    assert_eq!(events.first(), Some(&counted), "{events:?}");
    assert_eq!(events.get(1), Some(&file(FileOutcome::Added, 1)));
    let is_embedded = |event: &Event| matches!(event, Event::Embedded { .. });
    assert!(events.iter().any(is_embedded), "{events:?}");
    let Some(Event::Done(summary)) = events.last() else {
        panic!("{events:?}");
    };
    assert_eq!((summary.added, summary.passages), (1, 1));
    let stats = world.knowledge.store().stats().await.expect("read");
    let models: Vec<_> = stats
        .models
        .iter()
        .map(|model| (model.vectors, model.missing))
        .collect();
    assert_eq!(models, [(1, 0)]);

    let events = told(&world, text("# Ferry\n\nleaves at noon")).await;
    assert_eq!(events.get(1), Some(&file(FileOutcome::Unchanged, 0)));
    let events = told(&world, text("# Ferry\n\nleaves at one")).await;
    assert_eq!(events.get(1), Some(&file(FileOutcome::Changed, 1)));
}

#[tokio::test]
async fn nobody_has_to_wait_for_vectors() {
    let world = World::new().await;
    world
        .stub
        .hangs
        .store(true, std::sync::atomic::Ordering::Relaxed);
    let asked = view::AddRequest {
        no_wait: true,
        name: None,
        ..text("x")
    };
    let events = told(&world, asked).await;
    let Some(Event::File { source, .. }) = events.get(1) else {
        panic!("{events:?}");
    };
    // Without a source, that is the way to find it.
    let path = format!("/v1/documents/{source}");
    let found = ask(&world.knowledge, Method::GET, &path, &Value::Null).await;
    assert_eq!(found.expect("there")["text"], "x");
    assert!(matches!(events.get(2), Some(Event::Done(_))), "{events:?}");
}

#[tokio::test]
async fn texts_that_make_no_sense_are_refused() {
    let world = World::without_model().await;
    for (asked, says) in [
        (
            view::AddRequest {
                path: "/x".to_owned(),
                ..text("x")
            },
            "without path",
        ),
        (
            view::AddRequest {
                watch: true,
                ..text("x")
            },
            "without path",
        ),
        (
            view::AddRequest {
                vectors: Some("m".to_owned()),
                ..text("x")
            },
            "without path",
        ),
        (
            view::AddRequest {
                format: Some("pdf".to_owned()),
                ..text("x")
            },
            "found=\"pdf\"",
        ),
        (
            view::AddRequest {
                collection: Some("a b".to_owned()),
                ..text("x")
            },
            "name",
        ),
    ] {
        let refused = add(world.knowledge.clone(), asked).expect_err(says);
        assert_eq!(refused.status, 400, "{refused}");
        assert!(refused.message.contains(says), "{refused}");
    }
    let events = told(&world, text(" ")).await;
    let Some(Event::Failed { message }) = events.last() else {
        panic!("{events:?}");
    };
    assert_eq!(message, "no text in it, source=\"mail:1\"");
    let unnamed = view::AddRequest {
        name: None,
        ..text(" ")
    };
    let events = told(&world, unnamed).await;
    let message = "no text in it".to_owned();
    assert_eq!(events.last(), Some(&Event::Failed { message }));
}
