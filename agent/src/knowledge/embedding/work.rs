//! The work itself: passages without a vector, in batches.

use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use ginnel_store::embedding::{NewEmbedding, Unembedded};
use ginnel_store::id::{ModelId, TextHash};

use super::{Embedding, Problem};
use crate::embed::{EmbedError, EmbedSettings, Embedder, Purpose};

/// Texts of a batch: some seconds of work, which a stop loses.
const BATCH: usize = 128;

/// Changes looked at together.
const CHANGES: i64 = 1024;

/// How long to wait for more changes to come, so that documents that arrive
/// one by one share batches.
const GATHER: Duration = Duration::from_millis(20);

/// The note of the store that says whether texts were left without a vector.
const REFUSED: &str = "refused texts";

/// The cursor of a model in the change log.
pub(super) fn cursor(model: ModelId) -> String {
    format!("embed {model}")
}

impl Embedding {
    /// Embeds whatever has no vector, for ever.
    pub(super) async fn work(
        &self,
        settings: &EmbedSettings,
        embedder: &Arc<dyn Embedder>,
    ) -> Result<Infallible, Problem> {
        let cursor = cursor(embedder.model().id);
        let mut changes = self.store.changes();
        let reached = self.store.cursor(cursor.clone()).await?;
        let mut reached = match reached {
            Some(reached) if !self.is_some_refused().await? => reached,
            Some(_) | None => {
                let before = *changes.borrow_and_update();
                let failed = self.progress.borrow().failed;
                self.sweep(settings, embedder).await?;
                if self.progress.borrow().failed == failed {
                    self.note_refused(0).await?;
                }
                self.store.set_cursor(cursor.clone(), before).await?;
                before
            }
        };
        self.progress
            .send_modify(|progress| progress.has_seen_all = true);
        self.take_over(settings, embedder).await?;
        loop {
            let last = *changes.borrow_and_update();
            while reached < last {
                let mut to = last.min(reached + CHANGES);
                let model = embedder.model().id;
                let missing = self.store.unembedded_of_changes(model, reached + 1, to);
                match missing.await? {
                    Some(missing) => self.embed(settings, embedder, missing).await?,
                    // Rows came that no change names, with a published database.
                    None => {
                        self.sweep(settings, embedder).await?;
                        to = last;
                    }
                }
                self.store.set_cursor(cursor.clone(), to).await?;
                reached = to;
                self.progress.send_modify(|progress| progress.reached = to);
            }
            self.progress
                .send_modify(|progress| progress.reached = reached);
            if changes.changed().await.is_err() {
                return Err(Problem::passing("the store was closed".to_owned()));
            }
            tokio::time::sleep(GATHER).await;
        }
    }

    /// Takes the cursors of all other models away: changes would be kept for
    /// them for ever. One that comes back looks at every passage again.
    pub(super) async fn leave_changes_to(&self, own: Option<ModelId>) -> Result<(), Problem> {
        let models = self.store.models().await?;
        for model in models {
            let cursor = cursor(model.id);
            let has_one = self.store.cursor(cursor.clone()).await?;
            if Some(model.id) != own && has_one.is_some() {
                self.store.remove_cursor(cursor).await?;
            }
        }
        Ok(())
    }

    /// Looks at every passage once.
    async fn sweep(
        &self,
        settings: &EmbedSettings,
        embedder: &Arc<dyn Embedder>,
    ) -> Result<(), Problem> {
        let mut after = 0;
        loop {
            let model = embedder.model().id;
            let missing = self.store.unembedded(model, after, BATCH).await?;
            let Some(last) = missing.last() else {
                return Ok(());
            };
            after = last.passage;
            self.embed(settings, embedder, missing).await?;
        }
    }

    /// Whether texts were left without a vector. The reason may be gone, so
    /// they are tried again at the next start.
    async fn is_some_refused(&self) -> Result<bool, Problem> {
        let note = self.store.note(REFUSED.to_owned()).await?;
        Ok(note.is_some_and(|count| count != "0"))
    }

    async fn note_refused(&self, texts: usize) -> Result<(), Problem> {
        let noted = self.store.set_note(REFUSED.to_owned(), texts.to_string());
        Ok(noted.await?)
    }

    async fn embed(
        &self,
        settings: &EmbedSettings,
        embedder: &Arc<dyn Embedder>,
        missing: Vec<Unembedded>,
    ) -> Result<(), Problem> {
        let mut seen = HashSet::new();
        let mut texts: Vec<(TextHash, String)> = Vec::new();
        for missing in missing {
            if seen.insert(missing.hash) {
                texts.push((missing.hash, missing.text));
            }
        }
        for batch in texts.chunks(BATCH) {
            let vectors = vectors_of(embedder, batch).await;
            let mut vectors = vectors.map_err(|error| Problem::of_embedding(&error, settings))?;
            vectors.retain(|text, vector| is_fit(embedder, *text, vector));
            let failed = batch.len() - vectors.len();
            if failed > 0 {
                self.note_refused(failed).await?;
            }
            let stored = vectors.len();
            let embeddings = vectors.into_iter();
            let embeddings = embeddings.map(|(text, vector)| NewEmbedding { text, vector });
            let put = self
                .store
                .put_embeddings(embedder.model().id, embeddings.collect());
            put.await?;
            self.progress.send_modify(|progress| {
                progress.embedded += stored as u64;
                progress.failed += failed as u64;
                progress.problem = None;
            });
        }
        Ok(())
    }
}

/// The vectors of those texts that can be embedded.
async fn vectors_of(
    embedder: &Arc<dyn Embedder>,
    batch: &[(TextHash, String)],
) -> Result<HashMap<TextHash, Vec<f32>>, EmbedError> {
    let texts = batch.iter().map(|(_, text)| text.clone()).collect();
    match embedder.embed(texts, Purpose::Passage).await {
        Ok(vectors) => {
            let hashes = batch.iter().map(|(hash, _)| *hash);
            return Ok(hashes.zip(vectors).collect());
        }
        Err(EmbedError::Texts(problem)) => {
            tracing::debug!(problem, "batch cannot be embedded, trying one by one");
        }
        Err(error) => return Err(error),
    }
    let mut vectors = HashMap::new();
    for (hash, text) in batch {
        match embedder.embed(vec![text.clone()], Purpose::Passage).await {
            Ok(vector) => vectors.extend(vector.into_iter().map(|vector| (*hash, vector))),
            Err(EmbedError::Texts(problem)) => {
                tracing::warn!(problem, text = %hash, "text cannot be embedded, it is found by words only");
            }
            Err(error) => return Err(error),
        }
    }
    Ok(vectors)
}

/// Whether the store takes it. One that is zero or not finite is of no use.
fn is_fit(embedder: &Arc<dyn Embedder>, text: TextHash, vector: &[f32]) -> bool {
    let fit = embedder.model().prepare(vector);
    if let Err(problem) = &fit {
        tracing::warn!(%problem, %text, "vector is of no use, the text is found by words only");
    }
    fit.is_ok()
}
