//! A model in a folder, computed by this machine.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::BoxFuture;
use ginnel_embed::{Error, Options};
use ginnel_ingest::cut::CountTokens;
use ginnel_store::id::ModelId;
use ginnel_store::model::Model;
use ginnel_store::vector::metric::Metric;

use super::{EmbedError, Embedder, Purpose, Result, Vectors, with_causes};

/// A model in a folder.
#[derive(Debug)]
pub struct Local {
    model: Model,
    counter: Counter,
}

/// Counts by the model's own tokens.
#[derive(Debug, Clone)]
struct Counter(Arc<ginnel_embed::Model>);

impl Local {
    /// Opens the model, on a thread that may block.
    ///
    /// # Errors
    /// The folder holds no model that can be computed.
    pub async fn open(folder: PathBuf) -> Result<Self> {
        let open = move || ginnel_embed::Model::open(&folder);
        let opened = tokio::task::spawn_blocking(open).await;
        let opened = opened.map_err(|_| EmbedError::Unavailable("stopping".to_owned()))?;
        let opened = opened.map_err(|error| EmbedError::Settings(with_causes(&error)))?;
        let model = Model {
            id: ModelId::from_bytes(opened.id()),
            name: opened.name().to_owned(),
            dimensions: opened.dimensions(),
            metric: Metric::Cosine,
        };
        Ok(Self {
            model,
            counter: Counter(Arc::new(opened)),
        })
    }
}

impl Embedder for Local {
    fn model(&self) -> &Model {
        &self.model
    }

    fn tokens_max(&self) -> usize {
        self.counter.0.passage_tokens_max()
    }

    fn counter(&self) -> &(dyn CountTokens + Sync) {
        &self.counter
    }

    fn embed(&self, texts: Vec<String>, purpose: Purpose) -> BoxFuture<'_, Result<Vectors>> {
        let model = Arc::clone(&self.counter.0);
        Box::pin(async move {
            let cancel = CancelOnDrop::default();
            let cancelled = Arc::clone(&cancel.0);
            let compute = move || {
                let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
                let options = Options {
                    purpose: match purpose {
                        Purpose::Passage => ginnel_embed::Purpose::Passage,
                        Purpose::Query => ginnel_embed::Purpose::Query,
                    },
                    is_cancelled: &|| cancelled.load(Ordering::Relaxed),
                    ..Options::default()
                };
                model.embed(&texts, &options)
            };
            let computed = tokio::task::spawn_blocking(compute).await;
            let computed = computed.map_err(|_| EmbedError::Unavailable("stopping".to_owned()))?;
            computed.map_err(|error| {
                if matches!(error, Error::Cancelled) {
                    return EmbedError::Unavailable(error.to_string());
                }
                EmbedError::Texts(with_causes(&error))
            })
        })
    }
}

impl CountTokens for Counter {
    fn count(&self, text: &str) -> usize {
        self.0.tokenizer().count(text)
    }
}

/// Tells the computing thread that nobody waits any more.
#[derive(Debug, Default)]
struct CancelOnDrop(Arc<AtomicBool>);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
