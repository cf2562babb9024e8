//! A device begins anew, and has changed what no other has heard of.

use super::published::published;
use super::*;
use crate::id::ModelId;
use crate::model::Model;
use crate::sync::Rest;
use crate::vector::metric::Metric;

const EPOCH: KnownEpoch = KnownEpoch {
    number: 2,
    key: None,
};

/// Two devices that are in step, with these documents, each of a text like its name.
async fn pair(sources: &[&str]) -> (Device, Device) {
    let mut devices = [Device::new("desk").await, Device::new("lap").await];
    devices[0].model().await;
    for source in sources {
        devices[0].put(source, &[&format!("first {source}")]).await;
    }
    exchange(&mut devices).await;
    let [desk, lap] = devices;
    (desk, lap)
}

async fn publish(device: &Device) -> std::path::PathBuf {
    let path = published(device);
    let written = device.store.write_published(path.clone()).await;
    written.expect("written");
    path
}

fn another_model() -> Model {
    Model {
        id: ModelId::of_name("test", "another", 2),
        name: "another".to_owned(),
        dimensions: 2,
        metric: Metric::Cosine,
    }
}

/// Sends what the first has to the second, in the new epoch, and compares.
async fn agree(from: &mut Device, to: &Device) {
    from.log.clear();
    from.send().await;
    to.clock.fetch_add(600_000, Ordering::Relaxed);
    for batch in &from.log {
        to.store.apply(batch.clone()).await.expect("applied");
    }
    assert_eq!(from.dump().await, to.dump().await);
    for device in [from, to] {
        assert_eq!(device.store.check().await.expect("checked"), []);
    }
}

#[tokio::test]
async fn deletions_models_and_vectors_stay_too() {
    let (desk, mut lap) = pair(&["gone.md", "stays.md", "again.md"]).await;
    let path = publish(&desk).await;
    let gone = DocumentId::of_source("notes", "gone.md");
    assert!(lap.store.delete(gone).await.expect("deleted"));
    let again = DocumentId::of_source("notes", "again.md");
    assert!(lap.store.delete(again).await.expect("deleted"));
    lap.put("again.md", &["second again.md"]).await;
    lap.store.put_model(another_model()).await.expect("stored");
    let hash = crate::id::TextHash::of("first stays.md");
    let new = NewEmbedding {
        text: hash,
        vector: vec![1.0, 2.0],
    };
    let put = lap.store.put_embeddings(another_model().id, vec![new]);
    assert_eq!(put.await.expect("stored"), 1);
    let edited = NewEmbedding {
        text: hash,
        vector: vector("quite another text"),
    };
    let put = lap.store.put_embeddings(model().id, vec![edited]);
    assert_eq!(put.await.expect("stored"), 1);
    let before = lap.dump().await;

    lap.store
        .start_over(path, Rest::Nothing)
        .await
        .expect("started over");
    lap.store.begin_logs(EPOCH).await.expect("begun");
    assert_eq!(lap.dump().await, before);
    assert_eq!(lap.words("first").await, ["first stays.md"]);
    assert_eq!(lap.near("quite another text").await[0], "first stays.md");
    agree(&mut lap, &desk).await;
}

#[tokio::test]
async fn a_model_that_was_deleted_stays_so_and_its_vectors_too() {
    let (desk, mut lap) = pair(&["stays.md"]).await;
    let path = publish(&desk).await;
    assert!(lap.store.delete_model(model().id).await.expect("deleted"));
    lap.store
        .start_over(path, Rest::Nothing)
        .await
        .expect("started over");
    lap.store.begin_logs(EPOCH).await.expect("begun");
    assert_eq!(lap.store.models().await.expect("read"), []);
    assert_eq!(lap.rows("SELECT count(*) FROM embedding"), 0);
    agree(&mut lap, &desk).await;
}

#[tokio::test]
async fn the_later_change_wins_against_what_is_published() {
    let (mut desk, mut lap) = pair(&["earlier.md", "later.md", "revived.md", "gone.md"]).await;
    for source in ["earlier.md", "gone.md"] {
        lap.put(source, &[&format!("lap {source}")]).await;
    }
    desk.clock.fetch_add(60_000, Ordering::Relaxed);
    for source in ["earlier.md", "later.md"] {
        desk.put(source, &[&format!("desk {source}")]).await;
    }
    for source in ["revived.md", "gone.md"] {
        let id = DocumentId::of_source("notes", source);
        assert!(desk.store.delete(id).await.expect("deleted"));
    }
    desk.send().await;
    let path = publish(&desk).await;
    lap.clock.fetch_add(120_000, Ordering::Relaxed);
    for source in ["later.md", "revived.md"] {
        lap.put(source, &[&format!("lap {source}")]).await;
    }
    lap.store
        .start_over(path, Rest::Nothing)
        .await
        .expect("started over");
    lap.store.begin_logs(EPOCH).await.expect("begun");
    assert_eq!(lap.words("desk").await, ["desk earlier.md"]);
    let mut later = lap.words("lap").await;
    later.sort();
    assert_eq!(later, ["lap later.md", "lap revived.md"]);
    agree(&mut lap, &desk).await;
}

/// A batch of the epoch before has one of the documents, and nobody has the other.
#[tokio::test]
async fn documents_in_doubt_wait_for_what_follows() {
    let (mut desk, mut lap) = pair(&["a.md"]).await;
    let path = publish(&desk).await;
    lap.read(&desk).await;
    // In batches that are not published.
    let already = lap.log.len();
    for source in ["here.md", "undone.md", "newer.md", "gone.md"] {
        lap.put(source, &[&format!("sent {source}")]).await;
        lap.send().await;
    }
    let [here, _undone, newer, gone] = &lap.log[already..] else {
        panic!("{} batches", lap.log.len());
    };
    let (here, newer, gone) = (here.clone(), newer.clone(), gone.clone());
    desk.store.apply(newer.clone()).await.expect("applied");
    // And then changed, which no other hears of.
    for source in ["here.md", "undone.md", "newer.md"] {
        lap.put(source, &[&format!("edited {source}")]).await;
    }
    let id = DocumentId::of_source("notes", "gone.md");
    assert!(lap.store.delete(id).await.expect("deleted"));
    desk.clock.fetch_add(60_000, Ordering::Relaxed);
    desk.put("newer.md", &["edited later newer.md"]).await;
    let before = desk.log.len();
    desk.send().await;
    let later = desk.log[before..].to_vec();

    lap.clock.fetch_add(120_000, Ordering::Relaxed);
    lap.store
        .start_over(path.clone(), Rest::BatchesOfBefore)
        .await
        .expect("started over");
    // It breaks off, and begins once more.
    assert_eq!(lap.words("edited").await.len(), 3);
    lap.store
        .start_over(path, Rest::BatchesOfBefore)
        .await
        .expect("started over");
    for batch in [here, newer, gone].into_iter().chain(later) {
        let applied = lap.store.apply_of_before(batch, NOW + 600_000).await;
        applied.expect("applied");
    }
    lap.store.begin_logs(EPOCH).await.expect("begun");
    let mut edited = lap.words("edited").await;
    edited.sort();
    assert_eq!(edited, ["edited here.md", "edited later newer.md"]);
    assert!(lap.words("sent").await.is_empty());
    assert!(lap.words("undone").await.is_empty());
    assert_eq!(lap.rows("SELECT count(*) FROM doubt"), 0);
    assert_eq!(
        lap.rows("SELECT count(*) FROM document WHERE source = 'undone.md'"),
        0
    );
    assert_eq!(lap.store.check().await.expect("checked"), []);
}

/// It had read files and never met the others, whose epoch is a later one.
#[tokio::test]
async fn what_was_there_before_joining_stays() {
    let (desk, _) = pair(&["a.md"]).await;
    let path = publish(&desk).await;
    let mut lap = Device::alone("lap");
    lap.model().await;
    for at in 0..50 {
        lap.put(&format!("{at}.md"), &[&format!("of lap {at}")])
            .await;
    }
    lap.begin().await.expect("begun");
    let before = lap.rows("SELECT count(*) FROM fresh");
    assert_eq!(before, 50);
    lap.store
        .start_over(path, Rest::Nothing)
        .await
        .expect("started over");
    lap.store.begin_logs(EPOCH).await.expect("begun");
    assert_eq!(lap.words("lap").await.len(), 10);
    assert_eq!(
        lap.rows("SELECT count(*) FROM document WHERE deleted = 0"),
        51
    );
    assert!(lap.near("of lap 7").await[0].starts_with("of lap"));
    agree(&mut lap, &desk).await;
    assert_eq!(lap.rows("SELECT count(*) FROM fresh"), 0);
}
