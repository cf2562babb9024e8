//! Questions in words, answered by words, by meaning or by both.

use ginnel_store::filter::Filter;
use ginnel_store::search::{By, Found, Near, SearchRequest};

use super::Knowledge;
use super::embedding::State;
use crate::embed::{EmbedError, Purpose};

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
    /// What the asker should know, such as that there is no model.
    pub note: Option<String>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum SearchError {
    /// The store does not answer it.
    #[error(transparent)]
    Store(#[from] ginnel_store::error::Error),
    /// The question cannot be made into a vector now.
    #[error("question cannot be embedded, {0}")]
    Embed(#[from] EmbedError),
    /// There is no model, and it was asked for by meaning.
    #[error("{0}")]
    NoModel(String),
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
        Ok(Answer { found, mode, note })
    }

    /// How to look, with which vector, and what to say about it.
    async fn prepare(
        &self,
        question: &Question,
    ) -> Result<(Mode, Option<Near>, Option<String>), SearchError> {
        if question.mode == Mode::Text {
            return Ok((Mode::Text, None, None));
        }
        let wanted = match question.mode {
            Mode::Vector => Mode::Vector,
            Mode::Auto | Mode::Hybrid | Mode::Text => Mode::Hybrid,
        };
        if let Some(near) = &question.near {
            return Ok((wanted, Some(near.clone()), None));
        }
        let problem = match self.embedding.opened().await {
            State::Ready(embedder) => {
                let text = vec![question.text.clone()];
                match embedder.embed(text, Purpose::Query).await {
                    Ok(mut vectors) => {
                        let near = vectors.pop().map(|vector| Near {
                            model: embedder.model().id,
                            vector,
                        });
                        return Ok((wanted, near, None));
                    }
                    Err(error) if question.mode != Mode::Auto => return Err(error.into()),
                    Err(error) => format!("only words are compared, {error}"),
                }
            }
            State::Failed(problem) => format!("only words are compared, {problem}"),
            State::Off | State::Opening => NO_MODEL.to_owned(),
        };
        match question.mode {
            Mode::Auto => Ok((Mode::Text, None, Some(problem))),
            Mode::Hybrid | Mode::Vector | Mode::Text => Err(SearchError::NoModel(problem)),
        }
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
