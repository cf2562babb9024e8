//! Makes vectors of texts, so that they are found by what they mean.
//!
//! Two ways ship: a model in a folder, computed here ([`local`]), and any
//! endpoint that speaks as OpenAI's does ([`endpoint`]). Callers of the API may
//! bring vectors of their own, which needs none.

pub mod endpoint;
pub mod local;
#[cfg(test)]
pub(crate) mod stub;

use std::fmt::Debug;
use std::path::PathBuf;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use ginnel_ingest::cut::CountTokens;
use ginnel_store::model::Model;

use endpoint::EndpointSettings;

/// Makes vectors of texts. Cheap to share; used by many at once.
pub trait Embedder: Debug + Send + Sync {
    /// What its vectors are of.
    fn model(&self) -> &Model;

    /// The most tokens of a passage that count.
    fn tokens_max(&self) -> usize;

    /// How long a text is for it.
    fn counter(&self) -> &(dyn CountTokens + Sync);

    /// A vector for each text, in their order. Dropped, it stops soon.
    fn embed(&self, texts: Vec<String>, purpose: Purpose) -> BoxFuture<'_, Result<Vectors>>;
}

/// A vector for each text.
pub type Vectors = Vec<Vec<f32>>;

/// What texts are for. Some models put other words before each kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To be found.
    Passage,
    /// To find with.
    Query,
}

/// A result with an [`EmbedError`].
pub type Result<T> = std::result::Result<T, EmbedError>;

/// Why there are no vectors.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EmbedError {
    /// Later it may work: the endpoint is away or busy.
    #[error("{0}")]
    Unavailable(String),
    /// It never will with these settings.
    #[error("{0}")]
    Settings(String),
    /// It will not with these texts.
    #[error("{0}")]
    Texts(String),
}

/// Where vectors come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EmbedSettings {
    /// A model in a folder.
    Folder(PathBuf),
    /// An endpoint.
    Endpoint(EndpointSettings),
}

impl EmbedSettings {
    /// Opens the model, or asks the endpoint what its vectors are like.
    ///
    /// # Errors
    /// The folder holds no model that can be computed, or the endpoint does not
    /// answer as it should.
    pub async fn open(&self) -> Result<Arc<dyn Embedder>> {
        match self {
            Self::Folder(folder) => Ok(Arc::new(local::Local::open(folder.clone()).await?)),
            Self::Endpoint(settings) => Ok(Arc::new(endpoint::Endpoint::open(settings).await?)),
        }
    }

    /// What people know it by.
    #[must_use]
    pub fn describe(&self) -> String {
        match self {
            Self::Folder(folder) => folder.display().to_string(),
            Self::Endpoint(settings) => format!("{} at {}", settings.model, settings.url),
        }
    }
}

/// An error and what lies behind it, the last cause last.
fn with_causes(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let mut texts: Vec<String> = causes.map(ToString::to_string).collect();
    // An error that passes another one on says nothing new.
    texts.dedup();
    texts.join(": ")
}
