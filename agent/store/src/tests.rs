//! The store through its front door.

mod artifacts;
mod checking;
mod damage;
mod documents;
mod durability;
mod plans;
mod searching;
mod stock;
mod syncing;
mod transfers;

use serde_json::{Map, Value};
use tempfile::TempDir;

use crate::Store;
use crate::document::{NewDocument, NewVectors, Span};
use crate::filter::Filter;
use crate::id::ModelId;
use crate::model::Model;
use crate::options::Options;
use crate::search::{By, Found, Near, SearchRequest};
use crate::vector::metric::Metric;

/// A store in a folder of its own.
struct World {
    folder: TempDir,
    store: Store,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let store = open(&folder);
        Self { folder, store }
    }

    /// Closes the store and opens it again.
    async fn reopened(self) -> Self {
        self.store.close().await.expect("closed");
        let store = open(&self.folder);
        Self { store, ..self }
    }

    async fn model(&self) -> Model {
        let model = model();
        self.store.put_model(model.clone()).await.expect("stored");
        model
    }

    /// Stores a text with a passage and vector for each paragraph.
    async fn put(&self, source: &str, paragraphs: &[&str]) -> crate::document::Stored {
        let document = document(source, paragraphs);
        self.store.put(document).await.expect("stored")
    }

    async fn search(&self, by: By) -> Found {
        self.store.search(request(by)).await.expect("found")
    }

    /// The texts that are nearest to this one.
    async fn near(&self, text: &str) -> Vec<String> {
        texts(&self.search(By::Meaning(near(text))).await)
    }

    async fn words(&self, words: &str) -> Vec<String> {
        texts(&self.search(By::Words(words.to_owned())).await)
    }
}

fn open(folder: &TempDir) -> Store {
    let mut options = Options::new(folder.path());
    options.origin = "laptop".to_owned();
    Store::open(options).expect("opened")
}

fn texts(found: &Found) -> Vec<String> {
    let text = |hit: &crate::search::Hit| hit.passage.text.clone();
    found.hits.iter().map(text).collect()
}

fn request(by: By) -> SearchRequest {
    SearchRequest {
        by,
        limit: 10,
        offset: 0,
        filter: Filter::default(),
        minimum_score: None,
        context: 0,
    }
}

fn model() -> Model {
    Model {
        id: ModelId::of_name("test", "letters", 26),
        name: "letters".to_owned(),
        dimensions: 26,
        metric: Metric::Cosine,
    }
}

/// A model that can be foretold: how often each letter is in the text.
fn vector(text: &str) -> Vec<f32> {
    let mut counts = vec![0.01; 26];
    for byte in text.bytes().map(|byte| byte.to_ascii_lowercase()) {
        if byte.is_ascii_lowercase() {
            counts[usize::from(byte - b'a')] += 1.0;
        }
    }
    counts
}

fn near(text: &str) -> Near {
    Near {
        model: model().id,
        vector: vector(text),
    }
}

fn document(source: &str, paragraphs: &[&str]) -> NewDocument {
    let mut text = String::new();
    let mut passages = Vec::new();
    for paragraph in paragraphs {
        let start = text.len();
        text.push_str(paragraph);
        let end = text.len();
        passages.push(Span { start, end });
        text.push('\n');
    }
    let vectors = paragraphs.iter().map(|paragraph| vector(paragraph));
    NewDocument {
        collection: "notes".parse().expect("a name"),
        source: Some(source.to_owned()),
        id: None,
        title: None,
        mime: None,
        metadata: Map::new(),
        text,
        passages,
        vectors: Some(NewVectors {
            model: model().id,
            vectors: vectors.collect(),
        }),
    }
}

fn metadata(value: Value) -> Map<String, Value> {
    value.as_object().expect("an object").clone()
}
