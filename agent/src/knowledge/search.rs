//! Questions in words, answered by words, by meaning or by both.

use std::time::Duration;

use ginnel_store::filter::Filter;
use ginnel_store::search::{By, Found, Near, SearchRequest};
use tokio::time::timeout;

use super::Knowledge;
use super::embedding::State;
use crate::embed::Purpose;

/// How long a question may wait for its vector where words alone will do: a
/// model on this machine takes some hundredths of it, most endpoints some
/// tenths.
const VECTOR_TIMEOUT: Duration = Duration::from_secs(2);

/// The same where meaning was asked for: the model may have to be opened first.
const WANTED_VECTOR_TIMEOUT: Duration = Duration::from_secs(10);

/// A question.
#[derive(Debug, Clone, PartialEq)]
pub struct Question {
    /// In words; may be empty where there is a vector.
    pub text: String,
    /// A vector of the caller's own, in place of one made of the words.
    pub near: Option<Near>,
    /// How to look.
    pub mode: Mode,
    /// See [`SearchRequest::limit`].
    pub limit: usize,
    /// See [`SearchRequest::offset`].
    pub offset: usize,
    /// Where to look.
    pub filter: Filter,
    /// See [`SearchRequest::minimum_score`].
    pub minimum_score: Option<f32>,
    /// See [`SearchRequest::context`].
    pub context: usize,
}

/// How to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// By both if there is a model, else by words.
    #[default]
    Auto,
    /// By meaning and by words.
    Hybrid,
    /// By meaning.
    Vector,
    /// By words.
    Text,
}

/// An answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// What was found.
    pub found: Found,
    /// How it was looked for in the end; never `Auto`.
    pub mode: Mode,
    /// Why only words were compared, though meaning could have been.
    pub note: Option<NoVector>,
    /// Whether many passages may have no vector yet: the model is new.
    pub partial: bool,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum SearchError {
    /// The store does not answer it.
    #[error(transparent)]
    Store(#[from] ginnel_store::error::Error),
    /// It was asked for by meaning, and there is no vector of it.
    #[error(transparent)]
    NoVector(#[from] NoVector),
}

/// Why there is no vector of a question.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoVector {
    /// No model is set.
    #[error("no embedding model is set; hint: see embed in docs/STORE.md")]
    NoModel,
    /// The model gives none now, for this reason.
    #[error("question cannot be embedded now, {0}")]
    NotNow(String),
}

impl NoVector {
    /// What is said with an answer that words alone gave.
    #[must_use]
    pub fn note(&self) -> String {
        match self {
            Self::NoModel => NO_MODEL.to_owned(),
            Self::NotNow(reason) => format!("only words are compared, {reason}"),
        }
    }

    /// As [`NoVector::note`], for those whom the reason does not concern: it
    /// may name folders and endpoints.
    #[must_use]
    pub fn note_without_reason(&self) -> &'static str {
        match self {
            Self::NoModel => NO_MODEL,
            Self::NotNow(_) => "only words are compared, the model does not answer now",
        }
    }
}

/// What people are told who have no model.
pub const NO_MODEL: &str =
    "no embedding model is set, so only words are compared; hint: see embed in docs/STORE.md";

impl Knowledge {
    /// Answers a question.
    ///
    /// # Errors
    /// The question makes no sense, or needs a model and there is none.
    pub async fn search(&self, question: Question) -> Result<Answer, SearchError> {
        let (mode, near, note) = self.prepare(&question).await?;
        let partial = near
            .as_ref()
            .is_some_and(|near| !self.embedding.has_seen_all(near.model));
        let by = match (mode, near) {
            (Mode::Vector, Some(near)) => By::Meaning(near),
            (Mode::Hybrid, Some(near)) if question.text.trim().is_empty() => By::Meaning(near),
            (Mode::Hybrid, Some(near)) => By::Both(near, question.text),
            (Mode::Auto | Mode::Hybrid | Mode::Vector | Mode::Text, _) => By::Words(question.text),
        };
        let request = SearchRequest {
            by,
            limit: question.limit,
            offset: question.offset,
            filter: question.filter,
            minimum_score: question.minimum_score,
            context: question.context,
        };
        let found = self.store.search(request).await?;
        Ok(Answer {
            found,
            mode,
            note,
            partial,
        })
    }

    /// How to look, with which vector, and why without one.
    async fn prepare(
        &self,
        question: &Question,
    ) -> Result<(Mode, Option<Near>, Option<NoVector>), SearchError> {
        let (mode, limit) = match question.mode {
            Mode::Text => return Ok((Mode::Text, None, None)),
            Mode::Auto => (Mode::Hybrid, VECTOR_TIMEOUT),
            Mode::Hybrid => (Mode::Hybrid, WANTED_VECTOR_TIMEOUT),
            Mode::Vector => (Mode::Vector, WANTED_VECTOR_TIMEOUT),
        };
        if let Some(near) = &question.near {
            return Ok((mode, Some(near.clone()), None));
        }
        // The vector of nothing finds anything; the store refuses no words.
        if question.text.trim().is_empty() {
            return Ok((Mode::Text, None, None));
        }
        let made = timeout(limit, self.vector_of(&question.text)).await;
        match made.unwrap_or_else(|_| Err(self.late(limit))) {
            Ok(near) => Ok((mode, Some(near), None)),
            Err(none) if question.mode == Mode::Auto => Ok((Mode::Text, None, Some(none))),
            Err(none) => Err(none.into()),
        }
    }

    async fn vector_of(&self, text: &str) -> Result<Near, NoVector> {
        let embedder = match self.embedding.opened().await {
            State::Ready(embedder) => embedder,
            State::Failed(problem) => return Err(NoVector::NotNow(problem)),
            State::Off | State::Opening => return Err(NoVector::NoModel),
        };
        let made = embedder.embed(vec![text.to_owned()], Purpose::Query).await;
        let made = made.map_err(|error| NoVector::NotNow(error.to_string()))?;
        let vector = made.into_iter().next().unwrap_or_default();
        // The store would refuse it as a mistake of the asker.
        let fit = embedder.model().prepare(&vector);
        fit.map_err(|error| NoVector::NotNow(error.to_string()))?;
        Ok(Near {
            model: embedder.model().id,
            vector,
        })
    }

    fn late(&self, limit: Duration) -> NoVector {
        let seconds = limit.as_secs();
        NoVector::NotNow(match self.embedding.state() {
            State::Opening => format!("the model is not open yet after {seconds} s"),
            State::Off | State::Ready(_) | State::Failed(_) => {
                format!("the model has given no vector within {seconds} s")
            }
        })
    }
}

impl Mode {
    /// Its name in the API and on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Hybrid => "hybrid",
            Self::Vector => "vector",
            Self::Text => "text",
        }
    }
}
