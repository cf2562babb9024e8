//! Which model questions are embedded with, while one takes over from another.

use std::path::PathBuf;
use std::sync::Arc;

use ginnel_store::id::ModelId;
use serde::{Deserialize, Serialize};

use super::{Embedding, Problem, State};
use crate::embed::endpoint::EndpointSettings;
use crate::embed::{EmbedSettings, Embedder};

/// The note of the store that says which model has seen every passage.
const NOTE: &str = "serving model";

/// Of so many passages one may be refused by a model that takes over.
const REFUSED_MAX_SHARE: u64 = 10;

/// A model that has seen every passage, and how to open it again.
#[derive(Debug, Serialize, Deserialize)]
struct Serving {
    model: String,
    /// Its folder.
    folder: Option<PathBuf>,
    /// Its endpoint, which is not asked any more once another one is set.
    #[serde(default)]
    endpoint: Option<ServingEndpoint>,
}

#[derive(Debug, Serialize, Deserialize)]
struct ServingEndpoint {
    url: String,
    /// What it calls the model.
    model: String,
}

impl Serving {
    fn new(model: ModelId, settings: &EmbedSettings) -> Self {
        let (folder, endpoint) = match settings {
            EmbedSettings::Folder(folder) => (Some(folder.clone()), None),
            EmbedSettings::Endpoint(endpoint) => {
                let url = endpoint.url.to_string();
                let model = endpoint.model.clone();
                (None, Some(ServingEndpoint { url, model }))
            }
        };
        Self {
            model: model.to_string(),
            folder,
            endpoint,
        }
    }

    /// How to open it, if what is set now leaves it to be asked.
    fn settings(&self, now: &EmbedSettings) -> Option<EmbedSettings> {
        if let Some(folder) = &self.folder {
            return Some(EmbedSettings::Folder(folder.clone()));
        }
        match (&self.endpoint, now) {
            (Some(old), EmbedSettings::Endpoint(now)) if now.url.to_string() == old.url => {
                Some(EmbedSettings::Endpoint(EndpointSettings {
                    model: old.model.clone(),
                    ..now.clone()
                }))
            }
            _ => None,
        }
    }
}

impl Embedding {
    /// Lets the new model answer, or the old one until the new one has seen
    /// every passage.
    pub(super) async fn serve(
        &self,
        settings: &EmbedSettings,
        embedder: &Arc<dyn Embedder>,
    ) -> Result<(), Problem> {
        let before = self.serving().await?;
        let before = before.filter(|before| before.model != embedder.model().id.to_string());
        let old = match before {
            Some(before) if self.is_worth_it().await => open_old(&before, settings).await,
            Some(_) | None => None,
        };
        let serves = match old {
            Some(old) => {
                tracing::info!(
                    old = old.model().name,
                    new = embedder.model().name,
                    "old model answers until the new one has seen everything"
                );
                old
            }
            None => Arc::clone(embedder),
        };
        tracing::info!(
            model = serves.model().name,
            settings = settings.describe(),
            "model serves"
        );
        self.state.send_replace(State::Ready(serves));
        Ok(())
    }

    /// The new model has seen every passage: it answers now, and the vectors
    /// of the old one go.
    pub(super) async fn take_over(
        &self,
        settings: &EmbedSettings,
        embedder: &Arc<dyn Embedder>,
    ) -> Result<(), Problem> {
        let before = self.serving().await?;
        let id = embedder.model().id.to_string();
        if before.as_ref().is_some_and(|before| before.model == id) {
            return Ok(());
        }
        if before.is_some() {
            self.check_refused(embedder).await?;
        }
        self.state.send_replace(State::Ready(Arc::clone(embedder)));
        let serving = Serving::new(embedder.model().id, settings);
        let note = serde_json::to_string(&serving);
        let note = note.map_err(|error| Problem::passing(error.to_string()))?;
        self.store.set_note(NOTE.to_owned(), note).await?;
        if let Some(old) = before.and_then(|before| before.model.parse::<ModelId>().ok()) {
            tracing::info!(new = embedder.model().name, "new model takes over");
            self.store.delete_model(old).await?;
            self.store.remove_cursor(super::work::cursor(old)).await?;
        }
        Ok(())
    }

    /// A model that refused much of what the old one knew does not take over.
    async fn check_refused(&self, embedder: &Arc<dyn Embedder>) -> Result<(), Problem> {
        let model = embedder.model();
        let refused = self.store.count_unembedded(model.id).await?;
        let passages = self.store.stats().await?.passages;
        if refused * REFUSED_MAX_SHARE <= passages {
            return Ok(());
        }
        Err(Problem::lasting(format!(
            "the new model refused too much to take over from the old one, model={} refused={refused} \
             passages={passages}; hint: the log says why; set another model, or a smaller \
             embed.tokens_max, and add the documents again",
            model.name
        )))
    }

    /// Whether questions or passages need this model: its vectors must not go.
    pub async fn needs(&self, model: ModelId) -> bool {
        let answers = match self.state() {
            State::Ready(embedder) => Some(embedder.model().id),
            State::Off | State::Opening | State::Failed(_) => None,
        };
        let makes = self.progress.borrow().model;
        if self.settings.is_none() || makes.is_some() {
            return [answers, makes].contains(&Some(model));
        }
        // It is not open yet: it will most likely be the last one again.
        let last = self.serving().await.ok().flatten();
        last.is_some_and(|last| last.model == model.to_string())
    }

    async fn serving(&self) -> Result<Option<Serving>, Problem> {
        let note = self.store.note(NOTE.to_owned()).await?;
        Ok(note.and_then(|note| serde_json::from_str(&note).ok()))
    }

    /// Whether there is anything that an old model could find.
    async fn is_worth_it(&self) -> bool {
        let collections = self.store.collections().await;
        collections.is_ok_and(|collections| !collections.is_empty())
    }
}

/// The model that served, if it can still be had: another one may have been put
/// in its place, which knows none of the vectors.
async fn open_old(before: &Serving, now: &EmbedSettings) -> Option<Arc<dyn Embedder>> {
    let settings = before.settings(now)?;
    match settings.open().await {
        Ok(old) if old.model().id.to_string() == before.model => Some(old),
        Ok(_) => {
            let place = settings.describe();
            tracing::info!(place, "old model cannot serve, another one is in its place");
            None
        }
        Err(error) => {
            tracing::info!(%error, "old model cannot serve");
            None
        }
    }
}
