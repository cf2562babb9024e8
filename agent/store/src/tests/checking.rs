//! Checks of the whole store.

use std::sync::Arc;

use super::*;
use crate::check::{self, Finding, Part};

#[tokio::test]
async fn writes_go_on_while_a_check_does() {
    let world = World::new();
    world.model().await;
    world.put("a.md", &["one fish", "two fish"]).await;
    let (checked, is_checked) = tokio::sync::oneshot::channel();
    let (release, released) = std::sync::mpsc::channel();
    let indexes = Arc::clone(&world.store.inner.indexes);
    let check = move |connection: &_| {
        let findings = check::check(connection, &indexes)?;
        let _ = checked.send(());
        // All that it takes hold of it still holds.
        let _ = released.recv();
        let again = check::check(connection, &indexes)?;
        Ok((findings, again))
    };
    let store = world.store.clone();
    let mut checking = tokio::task::JoinSet::new();
    checking.spawn(async move { store.inner.readers.run_anew(check).await });
    is_checked.await.expect("it checks");
    world.put("b.md", &["red fish"]).await;
    assert_eq!(world.words("red").await, ["red fish"]);
    release.send(()).expect("it waits");
    let ended = checking.join_next().await.expect("one");
    let findings = ended.expect("no panic").expect("checked");
    assert_eq!(findings, (vec![], vec![]));
    assert_eq!(world.store.check().await.expect("checked"), []);
}

#[tokio::test]
async fn a_check_does_not_wait_for_writers() {
    let world = World::new();
    world.model().await;
    world.put("a.md", &["one fish"]).await;
    let other = rusqlite::Connection::open(world.folder.path().join(crate::FILE_NAME));
    let other = other.expect("opened");
    other.execute_batch("BEGIN IMMEDIATE").expect("locked");
    assert_eq!(world.store.check().await.expect("checked"), []);
}

/// More than are indexed at once, in letters that are folded.
#[tokio::test]
async fn a_word_that_the_index_does_not_have_is_found() {
    let world = World::new();
    world.model().await;
    let long = "Çа va? 今日は été ".repeat(40_000);
    for number in 0..6 {
        let text = format!("{number} {long}");
        world.put(&format!("{number}.md"), &[&text]).await;
    }
    world.put("last.md", &["the last one"]).await;
    assert_eq!(world.store.check().await.expect("checked"), []);

    let swap = "INSERT INTO passage_text_index (passage_text_index, rowid, text)
                VALUES ('delete', 7, 'the last one');
                INSERT INTO passage_text_index (rowid, text) VALUES (7, 'the one last');";
    let spoil = move |turn: &mut crate::write::Turn<'_>| Ok(turn.connection.execute_batch(swap)?);
    world.store.inner.writer.run(spoil).await.expect("spoiled");
    let findings = world.store.check().await.expect("checked");
    let [Finding { part, what }] = &findings[..] else {
        panic!("{findings:?}");
    };
    assert_eq!(*part, Part::Index);
    assert!(what.contains("full-text index differs"), "{what}");
    world.store.rebuild_indexes().await.expect("made");
    assert_eq!(world.store.check().await.expect("checked"), []);
}
