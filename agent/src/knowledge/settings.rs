//! How this device keeps what it knows.

use std::path::PathBuf;

use ginnel_store::vector::engine::Engine;

use crate::embed::EmbedSettings;
use crate::models::settings::ModelsSettings;

/// The store's folder in the state folder.
pub const STORE_FOLDER: &str = "store";

/// The folder in the state folder where a model is looked for if none is named.
pub const MODEL_FOLDER: &str = "embedder";

/// How this device keeps what it knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnowledgeSettings {
    /// The store's folder.
    pub folder: PathBuf,
    /// Which vector engine to use.
    pub engine: Engine,
    /// Where the extension `sqlite-vss` is, if it is the engine.
    pub vss_dir: Option<PathBuf>,
    /// The name of this device, for the rows that it changes.
    pub origin: String,
    /// Where vectors come from; by words only if from nowhere.
    pub embed: Option<EmbedSettings>,
    /// Where models are kept.
    pub models: ModelsSettings,
}
