//! The store, as the daemon uses it.

use std::time::Instant;

use ginnel_store::Store;
use ginnel_store::document::NewDocument;
use ginnel_store::filter::Filter;
use ginnel_store::id::ModelId;
use ginnel_store::model::Model;
use ginnel_store::options::Options;
use ginnel_store::search::{By, Near, SearchRequest};
use ginnel_store::vector::metric::Metric;
use tempfile::TempDir;
use tokio::task::JoinSet;

use super::{Material, PASSAGES};
use crate::vectors::clock::{Took, cpu};

/// Writers at a time that add one by one.
const WRITERS: usize = 32;

/// Documents under way when added in bulk.
const UNDER_WAY: usize = 8;

/// Words of a question.
const WORDS: usize = 8;

/// A store in a folder of its own.
#[derive(Debug)]
pub(super) struct Opened {
    folder: TempDir,
    store: Store,
    model: Model,
}

/// A kind of question.
#[derive(Debug, Clone, Copy)]
pub(super) enum Question {
    /// One word of a text.
    Word,
    /// Some words in a row, with those that every text has.
    Words,
    /// A vector.
    Meaning,
    /// Both of the last.
    Both,
}

impl Question {
    /// Every kind.
    pub(super) const ALL: [Self; 4] = [Self::Word, Self::Words, Self::Meaning, Self::Both];

    /// What tables call it.
    #[must_use]
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Word => "one word",
            Self::Words => "eight words",
            Self::Meaning => "a vector",
            Self::Both => "eight words and a vector",
        }
    }
}

/// Adds documents of one passage, by several writers, each of which waits until
/// its own is on disk.
///
/// # Errors
/// One cannot be added.
pub(super) async fn add(material: &Material, rows: usize) -> anyhow::Result<Took> {
    let opened = Opened::new(material).await?;
    let each = rows / WRITERS;
    let documents = |writer: usize| -> anyhow::Result<Vec<NewDocument>> {
        let rows = (writer * each)..((writer + 1) * each);
        rows.map(|row| material.document(row..row + 1, opened.model.id))
            .collect()
    };
    let documents = (0..WRITERS).map(documents);
    let documents = documents.collect::<anyhow::Result<Vec<_>>>()?;
    let start = (cpu(), Instant::now());
    let mut writers = JoinSet::new();
    for documents in documents {
        let store = opened.store.clone();
        writers.spawn(async move {
            for document in documents {
                store.put(document).await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(ended) = writers.join_next().await {
        ended??;
    }
    let took = since(start);
    opened.close().await?;
    Ok(took)
}

/// Adds documents of many passages, and ends when the store is closed and its
/// index written.
///
/// # Errors
/// One cannot be added.
pub(super) async fn bulk(material: &Material, rows: usize) -> anyhow::Result<Took> {
    let opened = Opened::new(material).await?;
    let start = (cpu(), Instant::now());
    opened.fill(material, rows).await?;
    opened.store.close().await?;
    Ok(since(start))
}

/// A store of so many passages.
///
/// # Errors
/// One cannot be added.
pub(super) async fn filled(material: &Material, rows: usize) -> anyhow::Result<Opened> {
    let opened = Opened::new(material).await?;
    opened.fill(material, rows).await?;
    Ok(opened)
}

impl Opened {
    async fn new(material: &Material) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let store = Store::open(Options::new(folder.path()))?;
        let model = Model {
            id: ModelId::of_name("bench", "bench", material.dimensions),
            name: "bench".to_owned(),
            dimensions: material.dimensions,
            metric: Metric::Cosine,
        };
        store.put_model(model.clone()).await?;
        Ok(Self {
            folder,
            store,
            model,
        })
    }

    async fn fill(&self, material: &Material, rows: usize) -> anyhow::Result<()> {
        let mut under_way = JoinSet::new();
        for first in (0..rows).step_by(PASSAGES) {
            let document = material.document(first..(first + PASSAGES).min(rows), self.model.id)?;
            if under_way.len() == UNDER_WAY
                && let Some(ended) = under_way.join_next().await
            {
                ended??;
            }
            let store = self.store.clone();
            under_way.spawn(async move { store.put(document).await });
        }
        while let Some(ended) = under_way.join_next().await {
            ended??;
        }
        Ok(())
    }

    /// CPU microseconds of each of so many questions.
    ///
    /// # Errors
    /// One cannot be answered, or has no answer.
    pub(super) async fn ask(
        &self,
        material: &Material,
        question: Question,
        count: usize,
    ) -> anyhow::Result<Vec<f64>> {
        let mut times = Vec::with_capacity(count);
        for number in 0..count {
            let request = SearchRequest {
                by: self.by(material, question, number),
                limit: 10,
                offset: 0,
                filter: Filter::default(),
                minimum_score: None,
                context: 0,
            };
            let before = cpu();
            let found = self.store.search(request).await?;
            times.push((cpu() - before).as_secs_f64() * 1e6);
            anyhow::ensure!(!found.hits.is_empty(), "a question has no answer");
        }
        Ok(times)
    }

    fn by(&self, material: &Material, question: Question, number: usize) -> By {
        // Texts far from each other.
        let text = material.texts.get(number * 977 + 13);
        let near = || Near {
            model: self.model.id,
            vector: material.query(number).to_vec(),
        };
        let words = |count| {
            let words = text
                .split(' ')
                .filter(|word| word.chars().all(char::is_alphabetic));
            let words: Vec<&str> = words.take(count).collect();
            if words.is_empty() {
                text.to_owned()
            } else {
                words.join(" ")
            }
        };
        match question {
            Question::Word => By::Words(words(1)),
            Question::Words => By::Words(words(WORDS)),
            Question::Meaning => By::Meaning(near()),
            Question::Both => By::Both(near(), words(WORDS)),
        }
    }

    /// Closes it and takes its files away.
    ///
    /// # Errors
    /// It cannot be written.
    pub(super) async fn close(self) -> anyhow::Result<()> {
        self.store.close().await?;
        self.folder.close()?;
        Ok(())
    }
}

fn since((before, start): (std::time::Duration, Instant)) -> Took {
    Took {
        cpu_s: (cpu() - before).as_secs_f64(),
        wall_s: start.elapsed().as_secs_f64(),
    }
}
