//! Why there are no vectors, in words for people, with what to do about it.

use std::fmt;

use crate::embed::{EmbedError, EmbedSettings};

/// Why no vectors are made right now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    text: String,
    /// Whether it stays until somebody does something about it.
    pub is_lasting: bool,
}

impl Problem {
    /// What became of a model or endpoint.
    pub(super) fn of_embedding(error: &EmbedError, settings: &EmbedSettings) -> Self {
        let text = error.to_string();
        let hint = match (settings, error) {
            _ if text.contains("; hint: ") => "",
            (EmbedSettings::Folder(_), _) => {
                "; hint: put config.json, tokenizer.json and model.safetensors of a model there, or set another folder under embed in config.toml"
            }
            (EmbedSettings::Endpoint(_), EmbedError::Unavailable(_)) => {
                "; hint: start it, or set another endpoint under embed in config.toml"
            }
            (EmbedSettings::Endpoint(_), EmbedError::Settings(_) | EmbedError::Texts(_)) => {
                "; hint: see whether endpoint, model and key under embed in config.toml are right"
            }
        };
        Self {
            text: text + hint,
            is_lasting: !matches!(error, EmbedError::Unavailable(_)),
        }
    }

    /// One that stays until somebody does something about it.
    pub(super) fn lasting(text: String) -> Self {
        Self {
            text,
            is_lasting: true,
        }
    }

    /// One that passes by itself, or nobody knows.
    pub(in crate::knowledge) fn passing(text: String) -> Self {
        Self {
            text,
            is_lasting: false,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl From<ginnel_store::error::Error> for Problem {
    fn from(error: ginnel_store::error::Error) -> Self {
        Self {
            text: error.to_string(),
            is_lasting: !error.is_retryable(),
        }
    }
}
