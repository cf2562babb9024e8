//! How this device keeps models.

use std::path::PathBuf;

/// The folder in the state folder where models are if none is named.
pub const MODELS_FOLDER: &str = "models";

/// How this device keeps models.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelsSettings {
    /// The folder of their files.
    pub folder: PathBuf,
    /// Bytes that they may take before the ones longest unused make room;
    /// as many as there are if not set.
    pub budget: Option<u64>,
    /// The folder of the model that makes vectors: files in it are in use.
    pub embedder: Option<PathBuf>,
}

impl ModelsSettings {
    /// In this folder, without a budget.
    #[must_use]
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
            budget: None,
            embedder: None,
        }
    }
}
