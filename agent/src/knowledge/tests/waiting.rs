//! What is added where the model gives no vectors: words are found, and nobody
//! waits for ever.

use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::*;
use crate::embed::endpoint::{EndpointSettings, TOKENS_DEFAULT};

/// What an addition may take that waits for nothing.
const IN_TIME: Duration = Duration::from_secs(20);

async fn world_with(embed: EmbedSettings) -> World {
    let stub = Arc::new(Stub::start().await);
    let world = World::open(tempfile::tempdir().expect("a folder"), stub, Some(embed)).await;
    world.write("a.txt", "about apples");
    world
}

#[tokio::test]
async fn a_model_that_is_not_there_is_not_waited_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let gone = EmbedSettings::Folder(folder.path().join("gone"));
    std::fs::write(folder.path().join("config.json"), "{").expect("written");
    let damaged = EmbedSettings::Folder(folder.path().to_owned());
    for (settings, says) in [(gone, "gone/config.json"), (damaged, "config.json")] {
        let world = world_with(settings).await;
        // The second time it is known from the beginning.
        for _ in 0..2 {
            let added = timeout(IN_TIME, world.add()).await;
            let (summary, events) = added.expect("it ends");
            let problem = summary.problem.clone().expect("told");
            assert!(problem.contains(says), "{problem}");
            assert!(problem.contains("; hint: put config.json, "), "{problem}");
            assert_eq!(world.found(Mode::Text, "apples").await, ["notes/a.txt"]);
            drop(events);
        }
    }
}

#[tokio::test]
async fn an_endpoint_that_is_away_is_waited_for_some_time() {
    let world = world_with(EmbedSettings::Endpoint(EndpointSettings {
        // Port 1 of this machine: nobody listens there.
        url: "http://127.0.0.1:1/v1".parse().expect("a URL"),
        model: "letters".to_owned(),
        api_key: None,
        tokens_max: TOKENS_DEFAULT,
    }))
    .await;
    let (events, mut told) = mpsc::channel(16);
    let request = world.request();
    let adding = async {
        let summary = world.knowledge.add_and_embed(&request, &events).await;
        drop(events);
        summary.expect("added")
    };
    let listening = async {
        let (mut waiting, mut since) = (0, None);
        while let Some(event) = told.recv().await {
            if let Event::Waiting { problem } = event {
                assert!(problem.contains("127.0.0.1:1"), "{problem}");
                waiting += 1;
                since = Some(Instant::now());
                // What is left is sleep.
                tokio::time::pause();
            }
        }
        (waiting, since.expect("told").elapsed())
    };
    let (summary, (waiting, waited)) = tokio::join!(adding, listening);
    assert_eq!(waiting, 1, "the same is told once");
    let seconds = waited.as_secs();
    assert!((29..=31).contains(&seconds), "{seconds}");
    let problem = summary.problem.expect("told");
    assert!(problem.contains("; hint: start it"), "{problem}");
    tokio::time::resume();
    assert_eq!(world.found(Mode::Text, "apples").await, ["notes/a.txt"]);
}

/// The next try of its own would be minutes later.
#[tokio::test]
async fn what_failed_is_tried_again_when_somebody_waits() {
    let stub = Arc::new(Stub::start().await);
    stub.busy.store(true, Ordering::Relaxed);
    let embed = Some(stub.settings("letters"));
    let world = World::open(tempfile::tempdir().expect("a folder"), stub, embed).await;
    tokio::time::pause();
    let mut progress = world.knowledge.embedding().progress();
    let often = progress.wait_for(|progress| progress.failures == 9);
    often.await.expect("it fails");
    tokio::time::resume();
    world.stub.busy.store(false, Ordering::Relaxed);
    world.write("a.txt", "about apples");
    let (summary, _) = timeout(IN_TIME, world.add()).await.expect("at once");
    assert_eq!(summary.problem, None);
    assert_eq!(world.found(Mode::Vector, "apples").await, ["notes/a.txt"]);
}
