//! Documents: put, get, list, delete.

use serde_json::json;

use super::*;
use crate::document::{ListRequest, Outcome};
use crate::error::ErrorKind;

#[tokio::test]
async fn a_document_is_stored_and_read_back() {
    let world = World::new();
    world.model().await;
    let mut new = document("a.md", &["one fish", "two fish"]);
    new.title = Some("Fish".to_owned());
    new.metadata = metadata(json!({"year": 1960}));
    let stored = world.store.put(new.clone()).await.expect("stored");
    assert_eq!(stored.outcome, Outcome::Added);
    assert_eq!((stored.passages, stored.new_passages), (2, 2));

    let world = world.reopened().await;
    let found = world.store.document(stored.id).await.expect("read");
    let (document, passages) = found.expect("there");
    assert_eq!(document.source.as_deref(), Some("a.md"));
    assert_eq!(document.title.as_deref(), Some("Fish"));
    assert_eq!(document.metadata, new.metadata);
    assert_eq!(document.passages, 2);
    assert_eq!(passages[1].text, "two fish");
    assert_eq!(crate::document::joined(&passages), "one fish\n\ntwo fish");
}

#[tokio::test]
async fn the_same_again_changes_nothing() {
    let world = World::new();
    world.model().await;
    let first = world.put("a.md", &["one fish", "two fish"]).await;
    let changes = *world.store.changes().borrow();
    let again = world.put("a.md", &["one fish", "two fish"]).await;
    assert_eq!(again.outcome, Outcome::Unchanged);
    assert_eq!(again.id, first.id);
    assert_eq!(*world.store.changes().borrow(), changes);
}

#[tokio::test]
async fn an_edit_keeps_the_passages_that_stay() {
    let world = World::new();
    world.model().await;
    world
        .put("a.md", &["one fish", "two fish", "red fish"])
        .await;
    let edited = world
        .put("a.md", &["new fish", "one fish", "red fish"])
        .await;
    assert_eq!(edited.outcome, Outcome::Changed);
    assert_eq!(world.store.check().await.expect("checked"), []);
    assert_eq!((edited.passages, edited.new_passages), (3, 1));
    let found = world.words("fish").await;
    assert_eq!(found.len(), 3);
    assert!(!found.contains(&"two fish".to_owned()), "{found:?}");
    assert_eq!(world.near("two fish").await.len(), 3);
    // Back again: nothing of the first time is left over.
    world.put("a.md", &["two fish"]).await;
    assert_eq!(world.near("two fish").await, ["two fish"]);
}

#[tokio::test]
async fn a_deleted_document_is_gone_and_can_come_back() {
    let world = World::new();
    world.model().await;
    let stored = world.put("a.md", &["one fish", "two fish"]).await;
    world.put("b.md", &["two fish"]).await;
    assert!(world.store.delete(stored.id).await.expect("deleted"));
    assert!(!world.store.delete(stored.id).await.expect("nothing left"));
    assert_eq!(world.store.check().await.expect("checked"), []);
    assert!(
        world
            .store
            .document(stored.id)
            .await
            .expect("read")
            .is_none()
    );
    assert_eq!(world.near("two fish").await, ["two fish"]);
    assert_eq!(world.words("one").await, Vec::<String>::new());
    // No text stays behind.
    let stats = world.store.stats().await.expect("read");
    assert_eq!(
        (stats.documents, stats.passages, stats.models[0].vectors),
        (1, 1, 1)
    );

    let again = world.put("a.md", &["one fish"]).await;
    assert_eq!(again.outcome, Outcome::Added);
    assert_eq!(again.id, stored.id);
    assert_eq!(world.words("one").await, ["one fish"]);
}

#[tokio::test]
async fn documents_without_a_source_are_new_each_time() {
    let world = World::new();
    world.model().await;
    let mut new = document("", &["a thought"]);
    new.source = None;
    let first = world.store.put(new.clone()).await.expect("stored");
    let second = world.store.put(new.clone()).await.expect("stored");
    assert_ne!(first.id, second.id);
    new.id = Some(first.id);
    let third = world.store.put(new).await.expect("stored");
    assert_eq!((third.id, third.outcome), (first.id, Outcome::Unchanged));
}

#[tokio::test]
async fn lists_come_in_pages() {
    let world = World::new();
    world.model().await;
    for name in ["a/1", "a/2", "b/1"] {
        world.put(name, &["text"]).await;
    }
    let mut request = ListRequest {
        limit: 2,
        ..ListRequest::default()
    };
    let page = world.store.documents(request.clone()).await.expect("read");
    assert_eq!(page.len(), 2);
    request.after = page[1].rowid;
    let rest = world.store.documents(request).await.expect("read");
    assert_eq!(rest[0].source.as_deref(), Some("b/1"));
    let under = ListRequest {
        source_prefix: Some("a/".to_owned()),
        limit: 10,
        ..ListRequest::default()
    };
    assert_eq!(world.store.documents(under).await.expect("read").len(), 2);
    let collections = world.store.collections().await.expect("read");
    assert_eq!((collections[0].documents, collections[0].passages), (3, 3));
}

#[tokio::test]
async fn bad_documents_are_refused_by_name_and_nothing_else_is_lost() {
    let world = World::new();
    world.model().await;
    world.put("good.md", &["good"]).await;
    let refused = async |change: fn(&mut NewDocument), says: &str| {
        let mut new = document("bad.md", &["one", "two"]);
        change(&mut new);
        let error = world.store.put(new).await.expect_err(says);
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
        let text = error.to_string();
        assert!(text.contains(says) && text.contains("bad.md"), "{text}");
    };
    refused(|new| new.text = " \n ".to_owned(), "no text").await;
    refused(|new| new.passages.clear(), "no or too many passages").await;
    refused(|new| new.passages[0].end = 99, "not a part").await;
    refused(|new| new.passages[0].end = 0, "passage is empty").await;
    refused(
        |new| new.title = Some("t".repeat(5000)),
        "title is too long",
    )
    .await;
    refused(
        |new| new.metadata = metadata(json!({"k": "v".repeat(70_000)})),
        "metadata is too long",
    )
    .await;
    let mut new = document(&"s".repeat(5000), &["one"]);
    for says in ["source is too long", "title is too long"] {
        let error = world.store.put(new.clone()).await.expect_err(says);
        let text = error.to_string();
        assert!(text.contains(says) && text.len() < 250, "{text}");
        assert!(text.contains("… (5000 bytes)"), "{text}");
        new.title = new.source.take();
    }
    refused(|new| vectors(new)[1][3] = f32::NAN, "not finite").await;
    refused(|new| vectors(new)[1][3] = f32::INFINITY, "not finite").await;
    refused(|new| vectors(new)[1] = vec![0.0; 26], "no direction").await;
    refused(|new| vectors(new)[1].truncate(25), "expected=26, found=25").await;
    refused(|new| vectors(new).truncate(1), "not one vector").await;
    assert_eq!(world.words("good one two").await, ["good"]);
}

fn vectors(new: &mut NewDocument) -> &mut Vec<Vec<f32>> {
    &mut new.vectors.as_mut().expect("given").vectors
}

#[tokio::test]
async fn a_model_keeps_its_dimensions() {
    let world = World::new();
    let model = world.model().await;
    let unknown = world
        .store
        .put_embeddings(ModelId::from_bytes([7; 32]), Vec::new());
    assert_eq!(
        unknown.await.expect_err("unknown").kind(),
        ErrorKind::Missing
    );
    let other = Model {
        dimensions: 27,
        ..model.clone()
    };
    let error = world
        .store
        .put_model(other)
        .await
        .expect_err("other dimensions");
    assert!(error.to_string().contains("other dimensions"), "{error}");
    world.put("a.md", &["one"]).await;
    assert!(world.store.delete_model(model.id).await.expect("deleted"));
    assert!(world.store.models().await.expect("read").is_empty());
    let gone = world.store.search(request(By::Meaning(near("one")))).await;
    assert_eq!(gone.expect_err("gone").kind(), ErrorKind::Missing);
    assert_eq!(world.words("one").await, ["one"]);
}

#[tokio::test]
async fn texts_without_a_vector_are_told() {
    let world = World::new();
    let model = world.model().await;
    let mut new = document("a.md", &["one", "two", "one"]);
    new.vectors = None;
    world.store.put(new).await.expect("stored");
    let missing = world.store.unembedded(model.id, 0, 10).await.expect("read");
    assert_eq!(missing.len(), 3);
    assert_eq!(missing[0].hash, missing[2].hash);
    let embed = |text: &Unembedded| NewEmbedding {
        text: text.hash,
        vector: vector(&text.text),
    };
    let embeddings = missing[..2].iter().map(embed).collect();
    let stored = world.store.put_embeddings(model.id, embeddings).await;
    assert_eq!(stored.expect("stored"), 2);
    assert_eq!(
        world.store.count_unembedded(model.id).await.expect("read"),
        0
    );
    assert_eq!(world.near("one").await, ["one", "one", "two"]);
}

use crate::embedding::{NewEmbedding, Unembedded};

#[tokio::test]
async fn files_are_remembered_with_their_documents() {
    let world = World::new();
    world.model().await;
    let folder = Folder {
        collection: "notes".parse().expect("a name"),
        name: "dir".to_owned(),
    };
    let file = |path: &str, hash| File {
        path: path.to_owned(),
        root: "/home/x/dir".to_owned(),
        size: 3,
        mtime_ns: 5,
        hash: [hash; 32],
        tokens_max: 200 + u32::from(hash),
        vectors: None,
    };
    let put = async |path: &str, source: &str, text: &str| {
        let origin = Origin {
            folder: folder.clone(),
            root: "/home/x/dir".to_owned(),
            path: path.to_owned(),
        };
        let put = world.store.put_of_file(origin, document(source, &[text]));
        put.await.expect("stored").id
    };
    let one = put("a.jsonl", "dir/a.jsonl#1", "one").await;
    let two = put("a.jsonl", "dir/a.jsonl#2", "two").await;
    // Known at once, and as one that is to be read again.
    let files = world.store.files(folder.clone()).await.expect("read");
    assert_eq!((files.len(), files[0].mtime_ns), (1, i64::MIN));
    // Of other files, or of none, whatever their names are.
    put("a.jsonl#b.md", "dir/a.jsonl#b.md", "another file").await;
    world.put("dir/a.jsonl#c", &["another caller"]).await;
    // What two files have stays until both are without it.
    put("a.jsonl", "dir/a.jsonl#b.md", "another file").await;
    let keep = world
        .store
        .keep_file(folder.clone(), file("a.jsonl", 1), vec![one, two]);
    assert_eq!(keep.await.expect("kept"), 0);
    // Read again with a line less.
    let keep = world
        .store
        .keep_file(folder.clone(), file("a.jsonl", 2), vec![one]);
    assert_eq!(keep.await.expect("kept"), 1);
    assert_eq!(world.words("one two another").await.len(), 3);
    let files = world.store.files(folder.clone()).await.expect("read");
    assert_eq!(files[0], file("a.jsonl", 2));
    let forgotten = world
        .store
        .forget_file(folder.clone(), "a.jsonl".to_owned())
        .await;
    assert_eq!(forgotten.expect("forgotten"), 1);
    let files = world.store.files(folder.clone()).await.expect("read");
    assert_eq!(files.len(), 1);
    assert_eq!(world.words("one two another").await.len(), 2);
    let forgotten = world.store.forget_file(folder, "a.jsonl#b.md".to_owned());
    assert_eq!(forgotten.await.expect("forgotten"), 1);
    assert_eq!(world.words("one two another").await, ["another caller"]);
}

#[tokio::test]
async fn a_file_is_read_again_when_its_document_is_not_what_it_says() {
    let world = World::new();
    world.model().await;
    let folder = Folder {
        collection: "notes".parse().expect("a name"),
        name: "dir".to_owned(),
    };
    let origin = Origin {
        folder: folder.clone(),
        root: "/dir".to_owned(),
        path: "a.md".to_owned(),
    };
    let file = File {
        path: "a.md".to_owned(),
        root: "/dir".to_owned(),
        size: 3,
        mtime_ns: 5,
        hash: [1; 32],
        tokens_max: 254,
        vectors: None,
    };
    let add = async || {
        let put = world
            .store
            .put_of_file(origin.clone(), document("dir/a.md", &["of the file"]));
        let id = put.await.expect("stored").id;
        let keep = world
            .store
            .keep_file(folder.clone(), file.clone(), vec![id]);
        keep.await.expect("kept");
        id
    };
    let known_at = async || {
        let files = world.store.files(folder.clone()).await.expect("read");
        files[0].mtime_ns
    };
    let id = add().await;
    // The same once more changes nothing.
    world.put("dir/a.md", &["of the file"]).await;
    assert_eq!(known_at().await, 5);
    world.put("dir/a.md", &["of another caller"]).await;
    assert_eq!(known_at().await, i64::MIN);
    add().await;
    assert_eq!(known_at().await, 5);
    assert!(world.store.delete(id).await.expect("deleted"));
    assert_eq!(known_at().await, i64::MIN);
}

#[tokio::test]
async fn texts_without_a_vector_are_found_by_changes_too() {
    let world = World::new();
    let model = world.model().await;
    world.put("a.md", &["one"]).await;
    let before = *world.store.changes().borrow();
    // Or upkeep may forget them.
    let keeps = world.store.set_cursor("keeps".to_owned(), before);
    keeps.await.expect("written");
    let mut new = document("b.md", &["two", "one"]);
    new.vectors = None;
    world.store.put(new).await.expect("stored");
    let last = *world.store.changes().borrow();
    let missing = world
        .store
        .unembedded_of_changes(model.id, before + 1, last)
        .await;
    let missing = missing.expect("read").expect("all changes are there");
    let texts: Vec<String> = missing.into_iter().map(|m| m.text).collect();
    assert_eq!(texts, ["two"]);
    assert_eq!(
        world.store.cursor("c".to_owned()).await.expect("read"),
        None
    );
    world
        .store
        .set_cursor("c".to_owned(), 7)
        .await
        .expect("set");
    world
        .store
        .set_cursor("c".to_owned(), 8)
        .await
        .expect("set");
    assert_eq!(
        world.store.cursor("c".to_owned()).await.expect("read"),
        Some(8)
    );
    world
        .store
        .remove_cursor("c".to_owned())
        .await
        .expect("removed");
    assert_eq!(
        world.store.cursor("c".to_owned()).await.expect("read"),
        None
    );
    world
        .store
        .set_note("k".to_owned(), "v".to_owned())
        .await
        .expect("set");
    assert_eq!(
        world
            .store
            .note("k".to_owned())
            .await
            .expect("read")
            .as_deref(),
        Some("v")
    );
}

use crate::ingest::{File, Folder, Origin};

/// It was deleted while its vector was made.
#[tokio::test]
async fn no_vector_is_kept_of_a_text_that_is_gone() {
    let world = World::new();
    let model = world.model().await;
    let text = document("a.md", &["here and gone"]);
    let without = NewDocument {
        vectors: None,
        ..text
    };
    let stored = world.store.put(without).await.expect("stored");
    let missing = world.store.unembedded(model.id, 0, 10).await.expect("read");
    world.store.delete(stored.id).await.expect("deleted");
    let embedding = NewEmbedding {
        text: missing[0].hash,
        vector: vector("here and gone"),
    };
    let put = world.store.put_embeddings(model.id, vec![embedding]).await;
    assert_eq!(put.expect("not an error"), 0);
    let stats = world.store.stats().await.expect("read");
    assert_eq!(stats.models[0].vectors, 0);
}

#[tokio::test]
async fn the_vectors_of_a_model_go_with_it_even_after_a_stop() {
    let world = World::new();
    let model = world.model().await;
    let paragraphs: Vec<String> = (0..9000).map(|at| format!("passage {at}")).collect();
    let paragraphs: Vec<&str> = paragraphs.iter().map(String::as_str).collect();
    world.put("a.md", &paragraphs[..4500]).await;
    world.put("b.md", &paragraphs[4500..]).await;
    let live = |world: &World| -> i64 {
        let connection = rusqlite::Connection::open(world.folder.path().join(crate::FILE_NAME));
        let sql = "SELECT count(*) FROM embedding WHERE deleted = 0 OR vector <> x''";
        let counted = connection
            .expect("opened")
            .query_row(sql, [], |row| row.get(0));
        counted.expect("counted")
    };
    assert_eq!(live(&world), 9000);
    // The stop comes after the first of its transactions.
    let id = model.id;
    let deleted = world
        .store
        .inner
        .writer
        .run(move |turn| crate::model::delete(turn, id));
    assert!(deleted.await.expect("deleted"));
    assert_eq!(live(&world), 9000);
    let world = world.reopened().await;
    let purged = async {
        while live(&world) > 0 {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    let purged = tokio::time::timeout(std::time::Duration::from_secs(60), purged).await;
    purged.expect("upkeep goes on with it");
    // And without one.
    let world = world.reopened().await;
    let model = world.model().await;
    assert!(world.store.models().await.expect("read").contains(&model));
    world.put("c.md", &["one more"]).await;
    assert_eq!(live(&world), 1);
    assert!(world.store.delete_model(model.id).await.expect("deleted"));
    assert_eq!(live(&world), 0);
    assert!(!world.store.delete_model(model.id).await.expect("read"));
}
