//! What agents of the lab know, and whether they agree.

use ginnel_agent::knowledge::Knowledge;
use ginnel_agent::knowledge::opening::Stage;
use ginnel_agent::knowledge::sync::KnowledgeSync;
use ginnel_store::Store;
use ginnel_store::document::{NewDocument, NewVectors, Span};
use ginnel_store::filter::Filter;
use ginnel_store::id::{DocumentId, ModelId};
use ginnel_store::model::Model;
use ginnel_store::search::{By, Near, SearchRequest};
use ginnel_store::vector::metric::Metric;

use crate::lab::LabAgent;
use crate::wait::{LOOK_AGAIN, in_time, until};

/// What an agent knows.
#[derive(Debug, Clone)]
pub struct Known {
    /// The rows.
    pub store: Store,
    /// What keeps them in step.
    pub sync: KnowledgeSync,
}

impl Known {
    /// Of an agent, once its store is open and shared.
    ///
    /// # Panics
    /// It cannot be opened.
    pub async fn of(agent: &LabAgent) -> Self {
        let opened = until("the store", || match agent.daemon.knowledge.stage() {
            Stage::Open(knowledge) => Some(Ok(knowledge)),
            Stage::Failed(reason) => Some(Err(reason)),
            Stage::Opening | Stage::Waiting(_) => None,
        });
        let knowledge: Knowledge = opened
            .await
            .unwrap_or_else(|reason| panic!("no store: {reason}"));
        let sync = until("sharing", || knowledge.shared().cloned()).await;
        Self {
            store: knowledge.store().clone(),
            sync,
        }
    }

    /// Stores a document of one passage, with a vector of its own.
    ///
    /// # Panics
    /// It cannot be stored.
    pub async fn put(&self, source: &str, text: &str) -> DocumentId {
        self.store.put_model(model()).await.expect("stored");
        let new = NewDocument {
            collection: "notes".parse().expect("a name"),
            source: Some(source.to_owned()),
            id: None,
            title: None,
            mime: None,
            metadata: serde_json::Map::new(),
            text: text.to_owned(),
            passages: vec![Span {
                start: 0,
                end: text.len(),
            }],
            vectors: Some(NewVectors {
                model: model().id,
                vectors: vec![vector(text)],
            }),
        };
        self.store.put(new).await.expect("stored").id
    }

    /// The sources of the documents whose passages have these words.
    ///
    /// # Panics
    /// It cannot be searched.
    pub async fn words(&self, words: &str) -> Vec<String> {
        self.search(By::Words(words.to_owned())).await
    }

    /// The sources of the documents nearest to a text, the nearest first.
    ///
    /// # Panics
    /// It cannot be searched.
    pub async fn near(&self, text: &str) -> Vec<String> {
        let near = Near {
            model: model().id,
            vector: vector(text),
        };
        self.search(By::Meaning(near)).await
    }

    async fn search(&self, by: By) -> Vec<String> {
        let request = SearchRequest {
            by,
            limit: 10,
            offset: 0,
            filter: Filter::default(),
            minimum_score: None,
            context: 0,
        };
        let found = self.store.search(request).await.expect("found");
        let source = |hit: ginnel_store::search::Hit| hit.source.unwrap_or_default();
        found.hits.into_iter().map(source).collect()
    }

    /// All that devices which agree have alike.
    ///
    /// # Panics
    /// It cannot be read.
    pub async fn dump(&self) -> Vec<String> {
        self.store.logical_dump().await.expect("read")
    }

    /// Waits until it has begun a later epoch.
    ///
    /// # Panics
    /// After [`PATIENCE`](crate::wait::PATIENCE).
    pub async fn until_epoch(&self, number: u64) {
        self.sync.now();
        in_time("another epoch", async {
            loop {
                let known = self.store.epoch().await.expect("read");
                if known.is_some_and(|known| known.number == number) {
                    return;
                }
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        })
        .await;
    }

    /// Waits until these words are found.
    ///
    /// # Panics
    /// After [`PATIENCE`](crate::wait::PATIENCE).
    pub async fn until_found(&self, words: &str) {
        in_time("a document of another device", async {
            while self.words(words).await.is_empty() {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        })
        .await;
    }
}

/// Waits until all know the same, and something; gives that.
///
/// # Panics
/// After [`PATIENCE`](crate::wait::PATIENCE).
pub async fn in_step(all: &[&Known]) -> Vec<String> {
    in_time("devices in step", async {
        loop {
            let mut dumps = Vec::new();
            for known in all {
                dumps.push(known.dump().await);
            }
            let alike = dumps.windows(2).all(|pair| pair[0] == pair[1]);
            let sent = async {
                let mut backlog = 0;
                for known in all {
                    backlog += known.store.outgoing_backlog().await.expect("read");
                }
                backlog == 0
            };
            if alike && sent.await && !dumps[0].is_empty() {
                return dumps.swap_remove(0);
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    })
    .await
}

/// A model that can be foretold: how often each letter is in a text.
#[must_use]
pub fn model() -> Model {
    Model {
        id: ModelId::of_name("test", "letters", 26),
        name: "letters".to_owned(),
        dimensions: 26,
        metric: Metric::Cosine,
    }
}

fn vector(text: &str) -> Vec<f32> {
    let mut counts = vec![0.01; 26];
    for byte in text.bytes().map(|byte| byte.to_ascii_lowercase()) {
        if byte.is_ascii_lowercase() {
            counts[usize::from(byte - b'a')] += 1.0;
        }
    }
    counts
}
