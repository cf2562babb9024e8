//! Passages that are longer than the model reads: their ends have no part in
//! their vectors. Those that we cut fit; those that callers cut, or that were
//! cut for another model, may not.

use std::time::Duration;

use ginnel_store::error::Result;
use tokio::time::{Instant, timeout};

use super::Knowledge;
use super::embedding::State;

/// How long to wait for a model that is being opened.
const OPEN_MAX: Duration = Duration::from_secs(10);

/// How long to count: some hundred thousand passages, and nobody waits longer
/// for a line of statistics.
const COUNT_MAX: Duration = Duration::from_secs(5);

/// Passages that are read at once.
const PAGE: usize = 512;

/// How many passages are longer than the model reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLong {
    /// Tokens of a passage that the model reads.
    pub tokens_max: usize,
    /// Passages that have more.
    pub passages: u64,
    /// Whether all were looked at; there may be more if not.
    pub is_complete: bool,
}

impl Knowledge {
    /// Counts the passages that are longer than the model reads. Gives nothing
    /// without a model of our own: an endpoint does not tell how it counts.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn too_long(&self) -> Result<Option<TooLong>> {
        if !self.embedding.is_local() {
            return Ok(None);
        }
        match timeout(OPEN_MAX, self.embedding.opened()).await {
            Ok(State::Ready(embedder)) => {
                let tokens_max = embedder.tokens_max();
                let count = move |text: &str| embedder.counter().count(text);
                let counted = self.longer_than(tokens_max, COUNT_MAX, count).await;
                counted.map(Some)
            }
            Ok(State::Off | State::Opening | State::Failed(_)) | Err(_) => Ok(None),
        }
    }

    async fn longer_than(
        &self,
        tokens_max: usize,
        time_max: Duration,
        count: impl Fn(&str) -> usize + Clone + Send + 'static,
    ) -> Result<TooLong> {
        let begun = Instant::now();
        let (mut after, mut passages) = (0, 0);
        let mut is_complete = true;
        loop {
            // A token has a byte at least.
            let page = self
                .store
                .passages_longer_than(tokens_max, after, PAGE)
                .await?;
            let Some((last, _)) = page.last() else {
                break;
            };
            after = *last;
            let is_last = page.len() < PAGE;
            let count = count.clone();
            let longer = move || {
                page.iter()
                    .filter(|(_, text)| count(text) > tokens_max)
                    .count()
            };
            // A count that broke off is not one of all.
            match tokio::task::spawn_blocking(longer).await {
                Ok(longer) => passages += longer as u64,
                Err(_) => is_complete = false,
            }
            if is_last {
                break;
            }
            if begun.elapsed() >= time_max {
                is_complete = false;
                break;
            }
        }
        Ok(TooLong {
            tokens_max,
            passages,
            is_complete,
        })
    }
}

#[cfg(test)]
mod tests {
    use ginnel_store::document::{NewDocument, Span};

    use super::*;
    use crate::knowledge::tests::World;

    /// A passage of so many words, as its caller cut it.
    async fn put(world: &World, source: String, words: usize) {
        let text = "word ".repeat(words).trim_end().to_owned();
        let document = NewDocument {
            collection: "default".parse().expect("a name"),
            source: Some(source),
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
        world.knowledge.store.put(document).await.expect("stored");
    }

    fn words(text: &str) -> usize {
        text.split(' ').count()
    }

    #[tokio::test]
    async fn passages_longer_than_the_model_reads_are_counted() {
        let world = World::without_model().await;
        for (number, words) in [1, 9, 10, 11, 12, 300].into_iter().enumerate() {
            put(&world, format!("{number}.txt"), words).await;
        }
        let counted = world.knowledge.longer_than(10, COUNT_MAX, words).await;
        let expected = TooLong {
            tokens_max: 10,
            passages: 3,
            is_complete: true,
        };
        assert_eq!(counted.expect("counted"), expected);
        // What is gone does not count.
        let id = ginnel_store::id::DocumentId::of_source("default", "5.txt");
        assert!(world.knowledge.store.delete(id).await.expect("deleted"));
        let counted = world.knowledge.longer_than(10, COUNT_MAX, words).await;
        assert_eq!(counted.expect("counted").passages, 2);
        // Nobody says how others count.
        assert_eq!(world.knowledge.too_long().await.expect("read"), None);
    }

    #[tokio::test]
    async fn a_count_that_takes_too_long_says_that_it_is_not_of_all() {
        let world = World::without_model().await;
        for number in 0..=PAGE {
            put(&world, format!("{number}.txt"), 20 + number).await;
        }
        let counted = world.knowledge.longer_than(10, Duration::ZERO, words).await;
        let counted = counted.expect("counted");
        assert_eq!(
            (counted.passages, counted.is_complete),
            (PAGE as u64, false)
        );
        let counted = world.knowledge.longer_than(10, COUNT_MAX, words).await;
        let counted = counted.expect("counted");
        assert_eq!(
            (counted.passages, counted.is_complete),
            (PAGE as u64 + 1, true)
        );
    }
}
