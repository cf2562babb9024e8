//! What knowledge looks like in JSON: requests as they are asked, answers as
//! they are given. The names are stable.

use ginnel_proto::id::CollectionName;
use ginnel_store::document::{Collection, Document, Outcome, Passage, Stored, joined};
use ginnel_store::search::{Hit, Rank};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// `POST /v1/search`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SearchRequest {
    /// The question in words.
    pub query: String,
    /// A vector of the caller's own; needs `model`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vector: Option<Vec<f32>>,
    /// The name of the model that made the vector.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// `auto`, `hybrid`, `vector` or `text`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// At most so many hits; 10 if not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// Leaves out so many of the best.
    pub offset: usize,
    /// Leaves out hits with a lower score.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub minimum_score: Option<f32>,
    /// Passages before and after each hit.
    pub context: usize,
    /// Only in these collections.
    pub collections: Vec<String>,
    /// Only where the metadata says so: `author=Jane`, `year>=2020`.
    #[serde(rename = "where")]
    pub conditions: Vec<String>,
    /// Only where the source begins so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Only what was added or changed since, milliseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since_ms: Option<u64>,
    /// Only what was added or changed before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until_ms: Option<u64>,
}

/// The answer to a search.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SearchAnswer {
    /// How it was looked for: `hybrid`, `vector` or `text`.
    pub mode: String,
    /// What the asker should know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Milliseconds that it took.
    pub took_ms: f64,
    /// The best first.
    pub hits: Vec<HitView>,
}

/// A passage that was found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HitView {
    /// How good it is.
    pub score: f32,
    /// Its rank and score by meaning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vector: Option<RankView>,
    /// Its rank and score by words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub words: Option<RankView>,
    /// The document's id.
    pub document: String,
    /// The passage's id.
    pub passage: String,
    /// The collection.
    pub collection: String,
    /// Where the document comes from.
    pub source: Option<String>,
    /// What people call it.
    pub title: Option<String>,
    /// The type of what it was made from.
    pub mime: Option<String>,
    /// The document's metadata.
    pub metadata: Map<String, Value>,
    /// When it was last changed, milliseconds since 1970.
    pub changed_ms: u64,
    /// The passage's place in the document.
    pub position: u32,
    /// Where it is in the document's text, in bytes.
    pub start: usize,
    /// The byte after its last.
    pub end: usize,
    /// The passage.
    pub text: String,
    /// What stands right before it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub before: String,
    /// What stands right after it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub after: String,
}

/// A rank in one list.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RankView {
    /// From 1.
    pub rank: u32,
    /// The score of that list.
    pub score: f32,
}

/// `POST /v1/documents` and `PUT /v1/documents/ID`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NewDocument {
    /// Where it goes; `default` if not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub collection: Option<String>,
    /// What its caller calls it: the same again is the same document.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// What people call it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// `text`, `markdown`, `html` or `code`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
    /// What filters can ask for.
    pub metadata: Map<String, Value>,
    /// Its text, which will be cut into passages.
    pub text: String,
    /// Or its passages, cut by the caller.
    pub passages: Vec<NewPassage>,
    /// The name of the model that made the passages' vectors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
}

/// A passage, cut by the caller.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NewPassage {
    /// Its text.
    pub text: String,
    /// Its vector.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vector: Option<Vec<f32>>,
}

/// What storing a document came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredView {
    /// Its id.
    pub id: String,
    /// `added`, `changed` or `unchanged`.
    pub outcome: String,
    /// How many passages it has.
    pub passages: usize,
    /// How many of them are new.
    pub new_passages: usize,
}

/// A document.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DocumentView {
    /// Its id.
    pub id: String,
    /// The collection.
    pub collection: String,
    /// Where it comes from.
    pub source: Option<String>,
    /// What people call it.
    pub title: Option<String>,
    /// The type of what it was made from.
    pub mime: Option<String>,
    /// What filters can ask for.
    pub metadata: Map<String, Value>,
    /// When it was last changed, milliseconds since 1970.
    pub changed_ms: u64,
    /// How many passages it has.
    pub passages: u64,
    /// Its text; only where one document is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

/// A page of documents.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Documents {
    /// In the order in which they came.
    pub documents: Vec<DocumentView>,
    /// Ask for what comes after this; absent at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<i64>,
}

/// All collections.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Collections {
    /// By name.
    pub collections: Vec<CollectionView>,
}

/// A collection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CollectionView {
    /// Its name.
    pub name: String,
    /// How many documents it has.
    pub documents: u64,
    /// How many passages those have.
    pub passages: u64,
}

/// `PUT /v1/models/NAME`: a model of the caller's own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewModel {
    /// Values of a vector.
    pub dimensions: usize,
    /// `cosine`, `dot` or `euclidean`; `cosine` if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric: Option<String>,
}

/// `POST /v1/add`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AddRequest {
    /// A folder or file of this machine, absolute.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub path: String,
    /// Or a text, which will be a document.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// What people call the text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// See [`NewDocument::format`], for the text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
    /// Where its documents go; `default` if not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub collection: Option<String>,
    /// What their sources begin with; the folder's name if not given. For a
    /// text, its source.
    #[serde(rename = "as", skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Also files whose names begin with a dot.
    pub hidden: bool,
    /// Also files that `.gitignore` names.
    pub ignored: bool,
    /// Goes where links lead.
    pub follow_links: bool,
    /// Goes on when something changes, until the caller goes.
    pub watch: bool,
    /// Does not wait until there are vectors.
    pub no_wait: bool,
    /// The name of the model that made the vectors of records.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vectors: Option<String>,
}

/// `GET /v1/knowledge`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KnowledgeStatus {
    /// Documents.
    pub documents: u64,
    /// Passages that can be found.
    pub passages: u64,
    /// Passages that a search by words does not find yet: they came with a
    /// published database, and their words are being indexed.
    #[serde(default)]
    pub unindexed: u64,
    /// Rows that were deleted and are kept for other devices.
    pub tombstones: u64,
    /// Bytes of the database.
    pub database_bytes: u64,
    /// What makes vectors.
    pub embedder: EmbedderView,
    /// The vector engine that was chosen.
    #[serde(default)]
    pub vector_engine: String,
    /// Every model with its index.
    pub models: Vec<ModelView>,
}

/// What makes vectors.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EmbedderView {
    /// `off`, `opening`, `ready` or `failed`.
    pub state: String,
    /// The folder or endpoint that was set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settings: Option<String>,
    /// The model that answers now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Why it does not go on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// Texts that got a vector since the start.
    pub embedded: u64,
    /// Passages that are longer than the model reads; only if asked for, and
    /// of a model in a folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub too_long: Option<TooLongView>,
}

/// Passages that are longer than the model reads: their ends have no part in
/// their vectors.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TooLongView {
    /// Tokens of a passage that the model reads.
    pub tokens_max: usize,
    /// Passages that have more.
    pub passages: u64,
    /// Whether all were looked at; there may be more if not.
    pub complete: bool,
}

/// A model with its index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelView {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Values of a vector.
    pub dimensions: usize,
    /// What near means.
    pub metric: String,
    /// Texts it has a vector of.
    pub vectors: u64,
    /// Passages it has no vector of.
    pub missing: u64,
    /// The engine of its index.
    pub engine: String,
    /// Why that is not the engine that was chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine_problem: Option<String>,
    /// Whether the index has every change; if not, every row is read.
    pub ready: bool,
    /// Bytes of the index's files.
    pub index_bytes: u64,
    /// Bytes of the index in memory.
    pub memory_bytes: u64,
}

/// All models.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Models {
    /// In the order in which they came.
    pub models: Vec<ModelView>,
}

/// `POST /v1/store/check`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckAnswer {
    /// Everything that is wrong.
    pub findings: Vec<FindingView>,
}

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FindingView {
    /// `file`, `row` or `index`.
    pub part: String,
    /// In words.
    pub what: String,
}

/// `POST /v1/store/backup`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackupRequest {
    /// A file that is not there yet, absolute.
    pub path: String,
}

/// The answer to a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupAnswer {
    /// Its bytes.
    pub bytes: u64,
}

/// The collection of documents that name none.
#[must_use]
pub fn default_collection() -> CollectionName {
    // A name by the rules, as the tests show.
    "default"
        .parse()
        .unwrap_or_else(|_| unreachable!("it is a name"))
}

impl From<Hit> for HitView {
    fn from(hit: Hit) -> Self {
        let rank = |rank: Rank| RankView {
            rank: rank.rank,
            score: rank.score,
        };
        Self {
            score: hit.place.score,
            vector: hit.place.meaning.map(rank),
            words: hit.place.words.map(rank),
            document: hit.document.to_string(),
            passage: hit.id.to_string(),
            collection: hit.collection,
            source: hit.source,
            title: hit.title,
            mime: hit.mime,
            metadata: hit.metadata,
            changed_ms: hit.changed_ms,
            position: hit.passage.position,
            start: hit.passage.start,
            end: hit.passage.end,
            text: hit.passage.text,
            before: hit.before,
            after: hit.after,
        }
    }
}

impl From<Stored> for StoredView {
    fn from(stored: Stored) -> Self {
        let outcome = match stored.outcome {
            Outcome::Added => "added",
            Outcome::Changed => "changed",
            Outcome::Unchanged => "unchanged",
        };
        Self {
            id: stored.id.to_string(),
            outcome: outcome.to_owned(),
            passages: stored.passages,
            new_passages: stored.new_passages,
        }
    }
}

impl DocumentView {
    /// A document without its text.
    #[must_use]
    pub fn brief(document: Document) -> Self {
        Self {
            id: document.id.to_string(),
            collection: document.collection,
            source: document.source,
            title: document.title,
            mime: document.mime,
            metadata: document.metadata,
            changed_ms: document.changed_ms,
            passages: document.passages,
            text: None,
        }
    }

    /// A document with its text.
    #[must_use]
    pub fn whole(document: Document, passages: &[Passage]) -> Self {
        Self {
            text: Some(joined(passages)),
            ..Self::brief(document)
        }
    }
}

impl From<Vec<Collection>> for Collections {
    fn from(collections: Vec<Collection>) -> Self {
        let view = |collection: Collection| CollectionView {
            name: collection.name,
            documents: collection.documents,
            passages: collection.passages,
        };
        Self {
            collections: collections.into_iter().map(view).collect(),
        }
    }
}
