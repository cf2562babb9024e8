//! Folders and files that are followed while they change.

use std::path::Path;
use std::time::Duration;

use super::*;
use crate::knowledge::add::{AddError, FileOutcome};

/// Long before a folder is read again anyway.
const IN_TIME: Duration = Duration::from_secs(30);

/// An addition that goes on.
struct Watching {
    told: mpsc::Receiver<Event>,
    _going_on: JoinSet<AddError>,
}

impl Watching {
    fn start(world: &World, path: &Path) -> Self {
        let (events, told) = mpsc::channel(16);
        let (knowledge, request) = (world.knowledge.clone(), request(path));
        let mut going_on = JoinSet::new();
        going_on.spawn(async move {
            let ended = knowledge.add_and_watch(&request, &events).await;
            let Err(error) = ended;
            error
        });
        Self {
            told,
            _going_on: going_on,
        }
    }

    async fn next(&mut self) -> Event {
        let event = tokio::time::timeout(IN_TIME, self.told.recv()).await;
        event.expect("in time").expect("it goes on")
    }

    /// Waits until a file is told to have become this, and all is done.
    async fn wait_for(&mut self, wanted: &str, became: FileOutcome) {
        loop {
            let event = self.next().await;
            let Event::File {
                source, outcome, ..
            } = event
            else {
                continue;
            };
            if (&*source, outcome) == (wanted, became) {
                break;
            }
        }
        while !matches!(self.next().await, Event::Done(_)) {}
    }
}

#[tokio::test]
async fn a_folder_is_followed() {
    let world = World::without_model().await;
    world.write("a.txt", "before");
    let mut watching = Watching::start(&world, &world.root());
    watching.wait_for("notes/a.txt", FileOutcome::Added).await;
    world.write("b.txt", "after");
    watching.wait_for("notes/b.txt", FileOutcome::Added).await;
    std::fs::remove_file(world.root().join("a.txt")).expect("removed");
    watching.wait_for("notes/a.txt", FileOutcome::Removed).await;
    assert_eq!(
        world.found(Mode::Text, "before after").await,
        ["notes/b.txt"]
    );
}

/// As most editors save: a new file takes the place of the old one.
#[tokio::test]
async fn a_file_is_followed_however_it_is_saved() {
    let world = World::without_model().await;
    world.write("a.txt", "first");
    let file = world.root().join("a.txt");
    let mut watching = Watching::start(&world, &file);
    watching.wait_for("a.txt", FileOutcome::Added).await;
    for word in ["second", "third"] {
        world.write("new", word);
        std::fs::rename(world.root().join("new"), &file).expect("renamed");
        watching.wait_for("a.txt", FileOutcome::Changed).await;
        assert_eq!(world.found(Mode::Text, word).await, ["a.txt"]);
    }
    world.write("a.txt", "fourth in place");
    watching.wait_for("a.txt", FileOutcome::Changed).await;
    assert_eq!(world.found(Mode::Text, "place").await, ["a.txt"]);
}

#[tokio::test]
async fn a_folder_that_was_away_is_followed_on() {
    let world = World::without_model().await;
    world.write("a.txt", "first");
    let mut watching = Watching::start(&world, &world.root());
    watching.wait_for("notes/a.txt", FileOutcome::Added).await;
    let away = world.folder.path().join("away");
    std::fs::rename(world.root(), &away).expect("moved");
    loop {
        let event = watching.next().await;
        if let Event::Waiting { problem } = event {
            assert!(problem.contains("no such file or folder"), "{problem}");
            break;
        }
    }
    assert_eq!(world.found(Mode::Text, "first").await, ["notes/a.txt"]);
    // Another folder comes in its place.
    world.write("a.txt", "second");
    watching.wait_for("notes/a.txt", FileOutcome::Changed).await;
    world.write("a.txt", "third");
    watching.wait_for("notes/a.txt", FileOutcome::Changed).await;
    assert_eq!(world.found(Mode::Text, "third").await, ["notes/a.txt"]);
}

#[tokio::test]
async fn what_is_not_there_at_first_is_refused() {
    let world = World::without_model().await;
    let (events, _told) = mpsc::channel(16);
    let request = world.request();
    let Err(error) = world.knowledge.add_and_watch(&request, &events).await;
    assert!(matches!(error, AddError::Gone(_)), "{error:?}");
}
