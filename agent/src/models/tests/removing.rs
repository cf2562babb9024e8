//! Taking files away, by hand and to make room.

use ginnel_store::transfer::{Direction, NewTransfer, Step};

use super::*;
use crate::models::Insist;
use crate::models::room::{RelayHas, Room, Run};

impl World {
    /// Three published files of one size, `a` unused for longest.
    async fn three() -> Self {
        let world = Self::new();
        for file in ["c", "b", "a"] {
            let path = format!("models/{file}.safetensors");
            world.write(&path, &safetensors(64, 1));
            world.publish(&path).await;
        }
        for file in ["a", "b", "c"] {
            world.clock.fetch_add(1000, Ordering::Relaxed);
            let used = world.models.use_file(&name(&path(file))).await;
            used.expect("there");
        }
        world
    }

    async fn room(&self, budget: u64, run: Run) -> Room {
        let relay = self.relay_has().await;
        let made = self.models.make_room(Some(budget), run, &relay).await;
        made.expect("made")
    }

    /// A relay that has all that was ever published.
    async fn relay_has(&self) -> RelayHas {
        let entries = self.models.store().artifacts().await.expect("read");
        let published = entries
            .into_iter()
            .filter_map(|entry| Some((entry.name, entry.remote?.blob)));
        RelayHas::These(published.collect())
    }

    fn there(&self) -> Vec<&'static str> {
        let mut files = vec!["a", "b", "c"];
        files.retain(|file| self.at(&path(file)).exists());
        files
    }

    async fn refused(&self, text: &str) -> String {
        let removed = self.models.remove(&name(text), Insist::No).await;
        let error = removed.expect_err("refused");
        assert!(matches!(error, ModelsError::Refused(_)), "{error}");
        error.to_string()
    }
}

fn path(file: &str) -> String {
    format!("models/{file}.safetensors")
}

fn size() -> u64 {
    safetensors(64, 1).len() as u64
}

fn evicted(room: &Room) -> Vec<&str> {
    room.evicted.iter().map(|gone| &*gone.name).collect()
}

#[tokio::test]
async fn what_would_be_lost_is_not_removed_unless_told() {
    let world = World::new();
    world.write("models/a.safetensors", &safetensors(64, 1));
    let reason = world.refused(&path("a")).await;
    assert!(reason.contains("not published"), "{reason}");
    assert!(reason.contains("--force"), "{reason}");
    world.publish(&path("a")).await;
    world
        .models
        .pin(&name(&path("a")), true)
        .await
        .expect("pinned");
    assert!(world.refused(&path("a")).await.contains("pinned"));
    world
        .models
        .pin(&name(&path("a")), false)
        .await
        .expect("let go");
    let lease = world.models.lease(&name(&path("a")));
    assert!(world.refused(&path("a")).await.contains("in use"));
    drop(lease);
    write_before(&world.at(&path("a")), &safetensors(64, 2), 50);
    let reason = world.refused(&path("a")).await;
    assert!(
        reason.contains("another than what is published"),
        "{reason}"
    );
    assert!(world.at(&path("a")).exists());

    let removed = world.models.remove(&name(&path("a")), Insist::Yes).await;
    removed.expect("insisted");
    assert!(!world.at(&path("a")).exists());
    assert_eq!(world.state(&path("a")).await, State::Remote);
    // Now the name goes too.
    let removed = world.models.remove(&name(&path("a")), Insist::No).await;
    removed.expect("nothing is lost");
    let error = world.models.remove(&name(&path("a")), Insist::Yes).await;
    assert!(matches!(error, Err(ModelsError::Missing(_))), "{error:?}");
}

#[tokio::test]
async fn what_is_published_is_removed_without_a_word() {
    let world = World::three().await;
    let removed = world.models.remove(&name(&path("a")), Insist::No).await;
    assert_eq!(
        removed.expect("removed").stamp().expect("it was").size,
        size()
    );
    assert_eq!(world.there(), ["b", "c"]);
}

#[tokio::test]
async fn the_longest_unused_go_first() {
    let world = World::three().await;
    let dry = world.room(2 * size(), Run::Dry).await;
    assert_eq!(evicted(&dry), [path("a")]);
    assert_eq!((dry.before, dry.after), (3 * size(), 2 * size()));
    assert_eq!(world.there(), ["a", "b", "c"], "it was only told");
    let wet = world.room(2 * size(), Run::Wet).await;
    assert_eq!(wet, dry);
    assert_eq!(world.there(), ["b", "c"]);
    assert_eq!(world.state(&path("a")).await, State::Remote);
    assert_eq!(evicted(&world.room(2 * size(), Run::Wet).await), [""; 0]);
    // One byte less is one file less.
    let wet = world.room(2 * size() - 1, Run::Wet).await;
    assert_eq!(evicted(&wet), [path("b")]);
    let relay = world.relay_has().await;
    let none = world.models.make_room(None, Run::Wet, &relay).await;
    let none = none.expect("made");
    assert_eq!((none.budget, evicted(&none)), (None, Vec::new()));
    assert_eq!(world.there(), ["c"]);
}

#[tokio::test]
async fn what_is_pinned_in_use_or_unsynced_stays() {
    let world = World::three().await;
    world
        .models
        .pin(&name(&path("a")), true)
        .await
        .expect("pinned");
    let _lease = world.models.lease(&name(&path("b")));
    write_before(&world.at(&path("c")), &safetensors(64, 2), 50);
    world.write("models/d.safetensors", &safetensors(64, 1));
    let room = world.room(0, Run::Wet).await;
    assert_eq!(evicted(&room), [""; 0]);
    assert_eq!((room.kept.pinned, room.kept.in_use), (size(), size()));
    assert_eq!(room.kept.unsynced, 2 * size());
    assert_eq!(room.after, 4 * size());
    assert_eq!(world.there(), ["a", "b", "c"]);
}

/// Another device may have taken it away, or the relay be away itself.
#[tokio::test]
async fn what_the_relay_does_not_have_now_stays() {
    let world = World::three().await;
    let RelayHas::These(mut these) = world.relay_has().await else {
        unreachable!("it was asked");
    };
    these.retain(|(artifact, _)| *artifact == name(&path("b")));
    for (relay, gone) in [
        (RelayHas::Unknown, vec![]),
        (RelayHas::These(these), vec![path("b")]),
    ] {
        let room = world.models.make_room(Some(0), Run::Wet, &relay).await;
        let room = room.expect("made");
        assert_eq!(evicted(&room), gone);
        let left = 3 - gone.len() as u64;
        assert_eq!(room.kept.unconfirmed, left * size());
    }
    assert_eq!(world.there(), ["a", "c"]);
}

#[tokio::test]
async fn what_is_damaged_or_shared_stays() {
    let world = World::three().await;
    let mut bad = ginnel_blob::plan::Chosen::none(1);
    bad.add(0);
    let store = world.models.store();
    let marked = store.mark_artifact(name(&path("a")), Some(bad)).await;
    marked.expect("marked");
    let second = world.at("second");
    fs::hard_link(world.at(&path("b")), second).expect("linked");
    let room = world.room(0, Run::Wet).await;
    assert_eq!(evicted(&room), [path("c")]);
    assert_eq!(room.before, 2 * size(), "what is shared takes no room");
    assert_eq!(world.there(), ["a", "b"]);
    assert!(world.listed(&path("b")).await.is_shared());
}

#[tokio::test]
async fn the_model_that_makes_vectors_is_in_use() {
    let world = World::with(|settings| {
        let beside = settings.folder.with_file_name("embedder");
        settings.embedder = Some(beside);
    });
    world.write("models/mini.safetensors", &safetensors(64, 1));
    world.publish("models/mini.safetensors").await;
    let mini = "models/mini.safetensors";
    assert!(!world.listed(mini).await.in_use);
    fs::create_dir(world.at("embedder")).expect("made");
    let link = world.at("embedder/model.safetensors");
    std::os::unix::fs::symlink(world.at(mini), link).expect("linked");
    assert!(world.listed(mini).await.in_use);
    assert!(world.refused(mini).await.contains("in use"));
    assert_eq!(evicted(&world.room(0, Run::Wet).await), [""; 0]);
}

#[tokio::test]
async fn what_is_on_its_way_is_in_use() {
    let world = World::three().await;
    let (_, index) = world
        .models
        .index(&name(&path("a")), |_| {})
        .await
        .expect("read");
    let new = NewTransfer {
        direction: Direction::Push,
        artifact: name(&path("a")),
        blob: index.blob(),
        size: index.size(),
        index: None,
    };
    let store = world.models.store();
    let id = store.begin_transfer(new).await.expect("begun").id;
    assert!(world.refused(&path("a")).await.contains("in use"));
    let room = world.room(2 * size(), Run::Dry).await;
    assert_eq!(evicted(&room), [path("b")]);
    assert_eq!(room.kept.in_use, size());
    let paused = store.step_transfer(id, Step::Pause).await;
    paused.expect("paused");
    assert_eq!(
        evicted(&world.room(2 * size(), Run::Dry).await),
        [path("a")]
    );
}

#[tokio::test]
async fn the_setting_is_the_budget_unless_another_is_given() {
    let world = World::with(|settings| settings.budget = Some(0));
    world.write("models/a.safetensors", &safetensors(64, 1));
    world.publish(&path("a")).await;
    assert_eq!(evicted(&world.room(size(), Run::Dry).await), [""; 0]);
    let relay = world.relay_has().await;
    let room = world.models.make_room(None, Run::Dry, &relay).await;
    let room = room.expect("made");
    assert_eq!(evicted(&room), [path("a")]);
}
