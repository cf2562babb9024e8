//! Files: added, followed, and told when they cannot be read.

use std::time::{Duration, SystemTime};

use ginnel_store::document::{NewDocument, Span};
use ginnel_store::ingest::{Folder, Origin};

use super::*;
use crate::knowledge::add::{AddError, FileOutcome, Text};

fn outcomes(events: &[Event]) -> Vec<(String, FileOutcome)> {
    let mut outcomes = Vec::new();
    for event in events {
        if let Event::File {
            source, outcome, ..
        } = event
        {
            outcomes.push((source.clone(), *outcome));
        }
    }
    outcomes.sort_by(|a, b| a.0.cmp(&b.0));
    outcomes
}

/// Cut for a model that reads more, as it would be found after a change of
/// models.
#[tokio::test]
async fn passages_too_long_for_the_model_are_cut_again() {
    let world = World::new().await;
    let text = "A sentence of seven words is here. ".repeat(200);
    world.write("long.txt", &text);
    let path = world.root().join("long.txt");
    let an_hour_ago = SystemTime::now() - Duration::from_secs(3600);
    let opened = std::fs::File::options().append(true).open(&path);
    opened
        .and_then(|file| file.set_modified(an_hour_ago))
        .expect("set back");
    let (summary, _) = world.add().await;
    assert!(summary.passages > 2, "{summary:?}");
    let (summary, _) = world.add().await;
    assert_eq!(summary.unchanged, 1, "nothing is new");

    let folder = Folder {
        collection: "default".parse().expect("a name"),
        name: "notes".to_owned(),
    };
    let store = &world.knowledge.store;
    let file = store.files(folder.clone()).await.expect("read").remove(0);
    let origin = Origin {
        folder: folder.clone(),
        root: file.root.clone(),
        path: file.path.clone(),
    };
    let id = ginnel_store::id::DocumentId::of_source("default", "notes/long.txt");
    let (document, _) = store.document(id).await.expect("read").expect("there");
    let whole = NewDocument {
        collection: folder.collection.clone(),
        source: Some("notes/long.txt".to_owned()),
        id: None,
        title: document.title,
        mime: document.mime,
        metadata: document.metadata,
        passages: vec![Span {
            start: 0,
            end: text.len(),
        }],
        text: text.clone(),
        vectors: None,
    };
    let stored = store.put_of_file(origin, whole).await.expect("stored");
    let mut cut_for_more = file.clone();
    cut_for_more.tokens_max = 8192;
    let kept = store.keep_file(folder.clone(), cut_for_more, vec![stored.id]);
    kept.await.expect("kept");
    let passages = async || {
        let found = store.document(id).await.expect("read");
        found.expect("there").1.len()
    };
    assert_eq!(passages().await, 1);

    let (summary, _) = world.add().await;
    assert!(summary.passages > 2, "{summary:?}");
    assert!(passages().await > 2);
    assert_eq!(store.files(folder).await.expect("read"), [file]);
    let (summary, _) = world.add().await;
    assert_eq!(summary.unchanged, 1, "cut as the model reads");
}

#[tokio::test]
async fn files_are_followed() {
    let world = World::without_model().await;
    world.write("a.md", "# Alpha\n\nabout apples");
    world.write("b/c.txt", "about bananas");
    let (summary, events) = world.add().await;
    assert_eq!((summary.added, summary.passages), (2, 2));
    assert!(
        events.contains(&Event::Counted {
            files: 2,
            bytes: 34
        }),
        "{events:?}"
    );
    assert_eq!(world.found(Mode::Text, "apples").await, ["notes/a.md"]);
    assert_eq!(world.found(Mode::Text, "bananas").await, ["notes/b/c.txt"]);

    let (summary, _) = world.add().await;
    assert_eq!((summary.unchanged, summary.added + summary.changed), (2, 0));

    world.write("a.md", "# Alpha\n\nabout apricots");
    std::fs::remove_file(world.root().join("b/c.txt")).expect("removed");
    let (_, events) = world.add().await;
    assert_eq!(
        outcomes(&events),
        [
            ("notes/a.md".to_owned(), FileOutcome::Changed),
            ("notes/b/c.txt".to_owned(), FileOutcome::Removed)
        ]
    );
    assert_eq!(
        world.found(Mode::Text, "apples bananas").await,
        Vec::<String>::new()
    );
    assert_eq!(world.found(Mode::Text, "apricots").await, ["notes/a.md"]);
}

#[tokio::test]
async fn files_that_changed_back_are_noticed() {
    let world = World::new().await;
    for text in ["first words", "other words", "first words"] {
        world.write("a.txt", text);
        world.add().await;
        assert_eq!(world.found(Mode::Vector, text).await.len(), 1);
        let first = world.found(Mode::Text, "first").await.len();
        assert_eq!(first, usize::from(text.contains("first")), "{text}");
    }
}

#[tokio::test]
async fn one_bad_file_stops_nothing() {
    let world = World::without_model().await;
    world.write("good.txt", "all is well");
    world.write("empty.txt", "");
    world.write("picture.png", b"\x89PNG\r\n\x1a\n\0\0\0\0");
    world.write(
        "broken.txt",
        b"latin \xe4\xf6\xfc \xff\xfe\xfd text \xc0\xc1 everywhere \xf5\xf6",
    );
    world.write(
        "lines.jsonl",
        "{\"id\":\"a\",\"text\":\"first line\"}\nnonsense\n{\"text\":\"third line\"}\n{\"text\":7}\n",
    );
    let (summary, events) = world.add().await;
    assert_eq!((summary.added, summary.failed), (2, 3), "{events:?}");
    assert_eq!(summary.skipped, 2, "{events:?}");
    let told: Vec<String> = events.iter().map(|event| format!("{event:?}")).collect();
    let told = told.join("\n");
    for part in [
        "lines.jsonl:2",
        "lines.jsonl:4",
        "broken.txt",
        "picture.png",
        "empty.txt",
    ] {
        assert!(told.contains(part), "{part} in {told}");
    }
    assert_eq!(world.found(Mode::Text, "well").await, ["notes/good.txt"]);
    let mut lines = world.found(Mode::Text, "line").await;
    lines.sort();
    assert_eq!(lines, ["notes/lines.jsonl#3", "notes/lines.jsonl#a"]);

    // A line that goes takes its document along.
    world.write("lines.jsonl", "{\"id\":\"a\",\"text\":\"first line\"}\n");
    world.add().await;
    assert_eq!(
        world.found(Mode::Text, "line").await,
        ["notes/lines.jsonl#a"]
    );
}

#[tokio::test]
async fn vectors_of_records_are_taken() {
    use ginnel_store::id::ModelId;
    use ginnel_store::model::Model;
    use ginnel_store::search::Near;

    let world = World::without_model().await;
    let model = Model {
        id: ModelId::of_name("caller", "mine", 2),
        name: "mine".to_owned(),
        dimensions: 2,
        metric: Default::default(),
    };
    world
        .knowledge
        .store()
        .put_model(model.clone())
        .await
        .expect("stored");
    world.write(
        "v.jsonl",
        "{\"id\":\"x\",\"text\":\"to the right\",\"vector\":[1,0]}\n\
         {\"id\":\"y\",\"text\":\"up\",\"vector\":[0,1]}\n\
         {\"id\":\"z\",\"text\":\"too many\",\"vector\":[0,1,2]}\n",
    );
    let mut request = world.request();
    request.vectors = Some("unknown".to_owned());
    let (events, _told) = mpsc::channel(16);
    let error = world
        .knowledge
        .add(&request, &events)
        .await
        .expect_err("unknown");
    assert_eq!(
        error.to_string(),
        r#"model is not known, model="unknown"; hint: ginnel store stats lists models"#
    );
    request.vectors = Some("mine".to_owned());
    let (summary, events) = world.add_as(request).await;
    assert_eq!(summary.failed, 1, "{events:?}");
    let mut question = question(Mode::Vector, "");
    question.near = Some(Near {
        model: model.id,
        vector: vec![0.1, 2.0],
    });
    let answer = world.knowledge.search(question).await.expect("found");
    let texts: Vec<&str> = answer
        .found
        .hits
        .iter()
        .map(|hit| &*hit.passage.text)
        .collect();
    assert_eq!(texts, ["up", "to the right"]);
}

#[tokio::test]
async fn another_folder_of_the_same_name_is_refused() {
    let world = World::without_model().await;
    world.write("a.txt", "mine");
    world.add().await;
    let other = tempfile::tempdir().expect("a folder");
    let root = other.path().join("notes");
    std::fs::create_dir(&root).expect("made");
    std::fs::write(root.join("a.txt"), "theirs").expect("written");
    let mut theirs = request(&root);
    let (events, _told) = mpsc::channel(16);
    let error = world
        .knowledge
        .add(&theirs, &events)
        .await
        .expect_err("taken");
    assert!(matches!(error, AddError::Invalid(_)), "{error:?}");
    let error = error.to_string();
    assert!(error.ends_with("--as NAME or --collection NAME"), "{error}");
    theirs.name = Some("theirs".to_owned());
    let (summary, _) = world.add_as(theirs).await;
    assert_eq!(summary.added, 1);
    assert_eq!(world.found(Mode::Text, "mine").await, ["notes/a.txt"]);
    assert_eq!(world.found(Mode::Text, "theirs").await, ["theirs/a.txt"]);
}

#[cfg(unix)]
#[tokio::test]
async fn a_folder_is_the_same_by_all_its_paths() {
    let world = World::without_model().await;
    world.write("a.txt", "mine");
    world.write("deep/b.txt", "too");
    world.add().await;
    let link = world.folder.path().join("link");
    std::os::unix::fs::symlink(world.folder.path(), &link).expect("made");
    let (summary, _) = world.add_as(request(&link.join("notes"))).await;
    assert_eq!((summary.unchanged, summary.removed), (2, 0));
}

/// The name of one file is how documents of another would be named.
#[tokio::test]
async fn a_file_takes_no_document_of_another_away() {
    let world = World::without_model().await;
    world.write("a.txt", "about apples");
    world.write("a.txt#chapter1", "about bananas");
    world.write("C#/main.txt", "about cherries");
    world.write("C", "about dates");
    world.add().await;
    world.write("a.txt", "about apricots");
    world.write("C", "about figs");
    world.add().await;
    let found = world.found(Mode::Text, "apricots bananas cherries figs");
    assert_eq!(found.await.len(), 4);
    std::fs::remove_file(world.root().join("a.txt")).expect("removed");
    world.add().await;
    assert_eq!(world.found(Mode::Text, "bananas").await.len(), 1);
}

/// What was stored of a file before it could not be read on goes with it.
#[tokio::test]
async fn documents_of_a_file_that_broke_off_are_not_left_behind() {
    let world = World::without_model().await;
    world.write("a.jsonl", "{\"text\": \"about apples\"}\n");
    let folder = Folder {
        collection: "default".parse().expect("a name"),
        name: "notes".to_owned(),
    };
    // As if the process had been killed in the middle of it.
    let origin = Origin {
        folder: folder.clone(),
        root: world.root().to_str().expect("text").to_owned(),
        path: "a.jsonl".to_owned(),
    };
    let text = "about bananas".to_owned();
    let document = NewDocument {
        collection: folder.collection,
        source: Some("notes/a.jsonl#9".to_owned()),
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
    };
    let put = world.knowledge.store.put_of_file(origin, document);
    put.await.expect("stored");
    std::fs::remove_file(world.root().join("a.jsonl")).expect("removed");
    let (summary, _) = world.add().await;
    assert_eq!(summary.removed, 1);
    assert_eq!(
        world.found(Mode::Text, "bananas").await,
        Vec::<String>::new()
    );
}

#[tokio::test]
async fn a_single_file_has_its_own_name() {
    let world = World::without_model().await;
    world.write("deep/a.md", "alone");
    let (summary, _) = world.add_as(request(&world.root().join("deep/a.md"))).await;
    assert_eq!(summary.added, 1);
    assert_eq!(world.found(Mode::Text, "alone").await, ["a.md"]);
}

#[tokio::test]
async fn a_folder_that_is_away_loses_nothing() {
    let world = World::without_model().await;
    world.write("sub/a.txt", "kept");
    world.write("b.txt", "other");
    world.add().await;
    let away = world.folder.path().join("away");
    std::fs::rename(world.root(), &away).expect("moved");
    let (events, _told) = mpsc::channel(16);
    let error = world
        .knowledge
        .add(&world.request(), &events)
        .await
        .expect_err("away");
    assert!(
        error.to_string().contains("no such file or folder"),
        "{error}"
    );
    assert_eq!(world.found(Mode::Text, "kept other").await.len(), 2);
    std::fs::rename(away, world.root()).expect("moved");
    let (summary, _) = world.add().await;
    assert_eq!(summary.unchanged, 2);
}

/// What a file held before is not found in what it holds now.
#[tokio::test]
async fn a_file_that_is_no_text_any_more_is_not_found() {
    let world = World::without_model().await;
    let cases: [(&str, &[u8], FileOutcome); 4] = [
        ("empty.txt", b"", FileOutcome::Skipped),
        ("binary.txt", b"\x7fELF\0\0\0\0", FileOutcome::Skipped),
        (
            "latin.txt",
            b"\xe4\xf6\xfc \xff\xfe\xfd text \xc0\xc1 everywhere \xf5\xf6",
            FileOutcome::Failed,
        ),
        ("lines.jsonl", b"nonsense\n", FileOutcome::Failed),
    ];
    for (name, _, _) in cases {
        world.write(name, "{\"text\": \"about apples\"}\n");
    }
    world.write("other.txt", "other apples");
    world.add().await;
    assert_eq!(world.found(Mode::Text, "apples").await.len(), 5);
    for (name, now, told) in cases {
        world.write(name, now);
        let (summary, events) = world.add().await;
        let of_file: Vec<_> = outcomes(&events)
            .into_iter()
            .filter(|(source, _)| source.contains(name))
            .map(|(_, outcome)| outcome)
            .collect();
        assert_eq!(of_file.len(), 2, "{name}: {of_file:?}");
        for outcome in [told, FileOutcome::Removed] {
            assert!(of_file.contains(&outcome), "{name}: {of_file:?}");
        }
        assert_eq!((summary.removed, summary.documents_removed), (1, 1));
        let (summary, events) = world.add().await;
        assert_eq!(summary.removed, 0, "{events:?}");
    }
    assert_eq!(world.found(Mode::Text, "apples").await, ["notes/other.txt"]);
    let (summary, _) = world.add().await;
    assert_eq!((summary.skipped, summary.failed), (2, 2), "still told");
}

/// It may be readable again: nothing says that its text is not in it.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_file_that_cannot_be_read_now_is_still_found() {
    let world = World::without_model().await;
    world.write("a.txt", "about apples");
    world.write("b.jsonl", "{\"text\": \"about apples\"}\n");
    world.add().await;
    // Rights do not bind every user; this file gives nobody its beginning.
    for name in ["a.txt", "b.jsonl"] {
        let path = world.root().join(name);
        std::fs::remove_file(&path).expect("removed");
        std::os::unix::fs::symlink("/proc/self/mem", &path).expect("linked");
    }
    let mut request = world.request();
    request.rules.follow_links = true;
    let (summary, events) = world.add_as(request).await;
    assert_eq!((summary.failed, summary.removed), (2, 0), "{events:?}");
    assert_eq!(world.found(Mode::Text, "apples").await.len(), 2);
}

/// What a walk that reached its limit has not come to is not gone.
#[tokio::test]
async fn a_walk_that_is_cut_short_removes_nothing() {
    let world = World::without_model().await;
    world.write("a/deep/apple.txt", "about apples");
    world.write("b/banana.txt", "about bananas");
    world.write("cherry.txt", "about cherries");
    world.add().await;
    std::fs::remove_file(world.root().join("cherry.txt")).expect("removed");
    let mut request = world.request();
    // Both folders at the top, and `deep`; not what is in it.
    request.rules.entries_max = 3;
    let (summary, events) = world.add_as(request).await;
    assert_eq!((summary.removed, summary.failed), (0, 1), "{events:?}");
    let told = format!("{events:?}");
    assert!(told.contains("too many files"), "{told}");
    let found = world.found(Mode::Text, "apples bananas cherries").await;
    assert_eq!(found.len(), 3, "{found:?}");

    let (summary, _) = world.add().await;
    assert_eq!((summary.unchanged, summary.removed), (2, 1));
}

#[tokio::test]
async fn texts_need_no_file() {
    let world = World::new().await;
    let text = |bytes: &[u8]| Text {
        collection: "default".parse().expect("a name"),
        source: Some("mail:7".to_owned()),
        id: None,
        title: Some("A mail".to_owned()),
        file_name: "a.md".to_owned(),
        metadata: Default::default(),
        bytes: bytes.to_vec(),
    };
    let stored = world
        .knowledge
        .add_text(text(b"# Hello\n\nfrom afar"))
        .await
        .expect("stored");
    let again = world
        .knowledge
        .add_text(text(b"# Hello\n\nfrom near"))
        .await
        .expect("stored");
    assert_eq!(stored.id, again.id);
    assert_eq!(world.found(Mode::Text, "afar").await, Vec::<String>::new());
    for bad in [&b""[..], b" \n ", b"\0\0\0"] {
        let error = world
            .knowledge
            .add_text(text(bad))
            .await
            .expect_err("no text");
        assert!(matches!(error, AddError::Invalid(_)), "{error:?}");
    }
}

const VECTORS: &str = concat!(
    "{\"id\":\"a\",\"text\":\"one\",\"vector\":[1,0]}\n",
    "{\"id\":\"b\",\"text\":\"two\",\"vector\":[0,1]}\n",
);

impl World {
    /// With lines that bring vectors, and a model that may have made them.
    async fn with_vectors(text: &str) -> (Self, AddRequest) {
        let world = Self::without_model().await;
        world.put_mine().await;
        world.write("v.jsonl", text);
        let file = std::fs::File::options()
            .write(true)
            .open(world.root().join("v.jsonl"));
        let before = SystemTime::now() - Duration::from_secs(100);
        let set = file.expect("opened").set_modified(before);
        set.expect("set");
        let request = AddRequest {
            vectors: Some("mine".to_owned()),
            ..world.request()
        };
        (world, request)
    }

    async fn put_mine(&self) -> ModelId {
        let model = Model {
            id: ModelId::of_name("caller", "mine", 2),
            name: "mine".to_owned(),
            dimensions: 2,
            metric: Default::default(),
        };
        let id = model.id;
        self.knowledge
            .store()
            .put_model(model)
            .await
            .expect("stored");
        id
    }

    /// How many vectors the caller's model has.
    async fn vectors(&self) -> u64 {
        let stats = self.knowledge.store().stats().await.expect("read");
        stats.models[0].vectors
    }
}

#[tokio::test]
async fn vectors_of_a_file_that_is_known_are_taken_when_they_are_wanted() {
    let (world, wanted) = World::with_vectors(VECTORS).await;
    world.add().await;
    assert_eq!(world.vectors().await, 0);
    world.add_as(wanted.clone()).await;
    assert_eq!(world.vectors().await, 2);
    let (_, events) = world.add_as(wanted.clone()).await;
    let unchanged = ("notes/v.jsonl".to_owned(), FileOutcome::Unchanged);
    assert_eq!(outcomes(&events), [unchanged]);
    // The model goes with its vectors, and comes back.
    let id = world.put_mine().await;
    let gone = world.knowledge.store().delete_model(id).await;
    assert!(gone.expect("deleted"));
    world.put_mine().await;
    assert_eq!(world.vectors().await, 0);
    world.add_as(wanted).await;
    assert_eq!(world.vectors().await, 2);
}

#[tokio::test]
async fn lines_that_are_wrong_are_told_each_time() {
    let wrong = VECTORS.replace("[0,1]", "[0,1,2]");
    let (world, wanted) = World::with_vectors(&wrong).await;
    for _ in 0..2 {
        let (summary, events) = world.add_as(wanted.clone()).await;
        assert_eq!(summary.failed, 1, "{events:?}");
    }
    assert_eq!(world.vectors().await, 1);
}

#[tokio::test]
async fn a_line_that_goes_wrong_loses_its_document_and_that_is_told() {
    let (world, wanted) = World::with_vectors(VECTORS).await;
    world.add_as(wanted.clone()).await;
    assert_eq!(world.found(Mode::Text, "two").await.len(), 1);
    world.write("v.jsonl", VECTORS.replace("[0,1]", "[0,1,2]"));
    let (summary, events) = world.add_as(wanted).await;
    assert_eq!(
        (summary.failed, summary.documents_removed),
        (1, 1),
        "{events:?}"
    );
    assert_eq!(world.found(Mode::Text, "two").await.len(), 0);
    assert_eq!(world.found(Mode::Text, "one").await.len(), 1);
}
