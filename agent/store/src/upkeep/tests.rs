use tokio::task::JoinSet;

use super::*;
use crate::document::{NewDocument, Span};
use crate::id::ModelId;
use crate::limits::WRITES_MAX;
use crate::model::Model;
use crate::options::Options;
use crate::vector::metric::Metric;
use crate::write::Writer;

/// Indexes hear of a commit when it is done, so upkeep must not forget changes
/// that are made in the same one.
///
/// Whether they are in the same one is a matter of milliseconds: it takes some
/// rounds.
#[tokio::test]
async fn changes_are_told_before_they_are_forgotten() {
    for _ in 0..12 {
        put_a_model_beside_upkeep().await;
    }
}

async fn put_a_model_beside_upkeep() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::open(Options::new(folder.path())).expect("opened");
    // Nothing else may come between: the store's own upkeep has not begun yet.
    if let Some(task) = lock(&store.inner.upkeep.0).take() {
        task.abort();
    }
    let (release, held) = std::sync::mpsc::channel::<()>();
    let (holding, is_held) = tokio::sync::oneshot::channel();
    let first = store.clone();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let hold = move |_: &mut Turn<'_>| {
            let _ = holding.send(());
            let _ = held.recv();
            Ok(())
        };
        first.inner.writer.run(hold).await
    });
    is_held.await.expect("the writer is busy");

    // In this order, in the commit after that one: a model, a document whose
    // change is the last, and upkeep.
    let model = Model {
        id: ModelId::of_name("test", "small", 2),
        name: "small".to_owned(),
        dimensions: 2,
        metric: Metric::Cosine,
    };
    let (putting, of_model) = (store.clone(), model.clone());
    tasks.spawn(async move { putting.put_model(of_model).await });
    wait_for(&store, 1).await;
    let putting = store.clone();
    tasks.spawn(async move { putting.put(document()).await.map(|_| ()) });
    wait_for(&store, 2).await;
    let inner = Arc::clone(&store.inner);
    let upkeep = tokio::task::spawn_blocking(move || inner.write_indexes());
    wait_for(&store, 3).await;
    release.send(()).expect("it waits");

    while let Some(ended) = tasks.join_next().await {
        ended.expect("no panic").expect("done");
    }
    upkeep.await.expect("no panic").expect("written");
    store.inner.indexes.of(model.id).expect("it has an index");
}

/// Until so many jobs wait for the writer.
async fn wait_for(store: &Store, jobs: usize) {
    let Writer::Thread { jobs: queue, .. } = &store.inner.writer else {
        panic!("no thread");
    };
    while queue.capacity() + jobs > WRITES_MAX {
        tokio::task::yield_now().await;
    }
}

fn document() -> NewDocument {
    let text = "a text".to_owned();
    NewDocument {
        collection: "notes".parse().expect("a name"),
        source: None,
        id: None,
        title: None,
        mime: None,
        metadata: serde_json::Map::new(),
        passages: vec![Span {
            start: 0,
            end: text.len(),
        }],
        text,
        vectors: None,
    }
}
