//! What artifacts look like in JSON. The names are stable.

use std::collections::BTreeMap;

use ginnel_blob::format::Header;
use ginnel_store::artifact::Remote;
use ginnel_store::blob::find::Stray;
use serde::{Deserialize, Serialize};

use crate::models::list::{Listed, Listing, State};

/// `GET /v1/artifacts`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artifacts {
    /// The folder of the files.
    pub folder: String,
    /// By name.
    pub artifacts: Vec<ArtifactView>,
    /// What lies in the folder and is no artifact's file.
    pub strays: Vec<StrayView>,
}

/// An artifact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArtifactView {
    /// `models/FILE`, `models/~/FILE`, `loras/ID`, `training/…/JOB`.
    pub name: String,
    /// `local`, `synced`, `changed`, `remote` or `missing`.
    pub state: String,
    /// Where its file is or would be.
    pub path: String,
    /// Bytes of its file, or of what is published.
    pub bytes: u64,
    /// `safetensors`, `gguf` or `other`; if it has a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
    /// BLAKE3 of its file as it was last read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blob: Option<String>,
    /// The file was written to since.
    pub touched: bool,
    /// Chunks of it were found damaged.
    pub damaged: bool,
    /// It is never taken away to make room.
    pub pinned: bool,
    /// Someone works with it, or it makes vectors.
    pub in_use: bool,
    /// Another program has the same file.
    pub shared: bool,
    /// When it was last used, milliseconds since 1970.
    pub used_ms: u64,
    /// When it came, milliseconds since 1970.
    pub created_ms: u64,
    /// What is published, as far as this device knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote: Option<RemoteView>,
    /// What its header says; only where one is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<HeaderView>,
    /// What is wrong with its header.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// What is published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteView {
    /// BLAKE3 of it.
    pub blob: String,
    /// Its size.
    pub bytes: u64,
    /// The bucket's name for its bytes.
    pub etag: String,
}

/// What the header of a model's file says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeaderView {
    /// The kind of model, where the file says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub architecture: Option<String>,
    /// Numbers of all tensors.
    pub parameters: u64,
    /// The type of most of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quantization: Option<String>,
    /// Tokens that it reads at once, where the file says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context_length: Option<u64>,
    /// Bytes before the numbers.
    pub bytes: u64,
    /// Names and values, as texts.
    pub metadata: BTreeMap<String, String>,
    /// In the order of their places.
    pub tensors: Vec<TensorView>,
}

/// A tensor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TensorView {
    /// Its name.
    pub name: String,
    /// The type of its numbers.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its dimensions, outermost first.
    pub shape: Vec<u64>,
    /// Where it begins in the file.
    pub offset: u64,
    /// Its length.
    pub bytes: u64,
}

/// Something in the folder that is no artifact's file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StrayView {
    /// Below the folder.
    pub path: String,
    /// Why it is none.
    pub reason: String,
}

/// `PUT /v1/artifacts/NAME`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pinning {
    /// It is never taken away to make room.
    pub pinned: bool,
}

/// The answer to `DELETE /v1/artifacts/NAME`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removed {
    /// The artifact.
    pub name: String,
    /// Bytes of the file that went; 0 if there was none.
    pub bytes: u64,
    /// It is still published.
    pub published: bool,
}

/// `POST /v1/artifacts/use`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UseRequest {
    /// The artifact.
    pub name: String,
}

/// The answer to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UseAnswer {
    /// Where its file is.
    pub path: String,
}

/// `POST /v1/artifacts/gc`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RoomRequest {
    /// Bytes that models may take, in place of the setting.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget: Option<u64>,
    /// Only tell what would go.
    pub dry_run: bool,
}

/// `POST /v1/artifacts/verify`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct VerifyRequest {
    /// All if none is given.
    pub names: Vec<String>,
    /// Take files that were written to as they are.
    pub accept: bool,
}

/// `POST /v1/artifacts/repair`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RepairRequest {
    /// All if none is given.
    pub names: Vec<String>,
}

/// `POST /v1/artifacts/import`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ImportRequest {
    /// `ollama`, `lmstudio`, `huggingface` or `path`; seen from the folder if
    /// not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// The folder or file; absolute.
    pub path: String,
    /// Only these; all if none is given.
    pub only: Vec<String>,
    /// The name for a single file.
    #[serde(rename = "as", skip_serializing_if = "Option::is_none")]
    pub rename: Option<String>,
    /// Make a second copy where bytes cannot be shared.
    pub copy: bool,
    /// Only tell what there is.
    pub list: bool,
}

impl From<Listing> for Artifacts {
    fn from(listing: Listing) -> Self {
        Self {
            folder: listing.folder.display().to_string(),
            artifacts: listing.artifacts.into_iter().map(Into::into).collect(),
            strays: listing.strays.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<Stray> for StrayView {
    fn from(stray: Stray) -> Self {
        Self {
            path: stray.path,
            reason: stray.reason,
        }
    }
}

impl From<Listed> for ArtifactView {
    fn from(listed: Listed) -> Self {
        let file = listed.entry.file.as_ref();
        let stamp = listed.stamp();
        Self {
            state: listed.state().as_str().to_owned(),
            path: listed.place.display().to_string(),
            bytes: listed.bytes(),
            format: file.map(|file| file.format.as_str().to_owned()),
            blob: file.and_then(|file| file.blob).map(|blob| blob.to_string()),
            touched: file.is_some_and(|file| {
                let noted = file.stamp;
                file.blob.is_some()
                    && !noted.is_doubtful()
                    && stamp.is_some_and(|stamp| stamp != noted)
            }),
            damaged: listed.is_damaged(),
            pinned: listed.entry.is_pinned,
            in_use: listed.in_use,
            shared: listed.is_shared(),
            used_ms: listed.entry.used_ms,
            created_ms: listed.entry.created_ms,
            name: listed.entry.name.to_string(),
            remote: listed.entry.remote.map(Into::into),
            header: None,
            problem: None,
        }
    }
}

impl From<Remote> for RemoteView {
    fn from(remote: Remote) -> Self {
        Self {
            blob: remote.blob.to_string(),
            bytes: remote.size,
            etag: remote.etag,
        }
    }
}

impl From<Listed> for Removed {
    fn from(listed: Listed) -> Self {
        let published = listed.entry.remote.is_some() && listed.state() != State::Remote;
        Self {
            published,
            bytes: listed.stamp().map_or(0, |stamp| stamp.size),
            name: listed.entry.name.to_string(),
        }
    }
}

impl From<Header> for HeaderView {
    fn from(header: Header) -> Self {
        let architecture = header.architecture().map(str::to_owned);
        let context = architecture.as_ref().and_then(|architecture| {
            let key = format!("{architecture}.context_length");
            header.metadata.get(&key)?.parse().ok()
        });
        Self {
            parameters: header.parameters(),
            quantization: header.quantization().map(str::to_owned),
            context_length: context,
            bytes: header.length,
            architecture,
            metadata: header.metadata,
            tensors: header
                .tensors
                .into_iter()
                .map(|tensor| TensorView {
                    offset: tensor.place.start,
                    bytes: tensor.place.end - tensor.place.start,
                    name: tensor.name,
                    kind: tensor.kind,
                    shape: tensor.shape,
                })
                .collect(),
        }
    }
}
