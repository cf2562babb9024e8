//! Transfers and what is published, as the API shows them.

use ginnel_store::transfer::Transfer;
use serde::{Deserialize, Serialize};

use crate::sync::catalog::Listing;

/// A transfer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransferView {
    /// Its number.
    pub id: i64,
    /// `push` or `pull`.
    pub direction: String,
    /// The artifact.
    pub name: String,
    /// `queued`, `running`, `paused`, `failed` or `done`.
    pub state: String,
    /// Bytes of the artifact.
    pub size: u64,
    /// BLAKE3 of it.
    pub blob: String,
    /// Bytes that have to travel, those that did among them.
    pub needed: u64,
    /// Bytes that were at the other end already.
    pub reused: u64,
    /// Bytes that have arrived.
    pub sent: u64,
    /// How often it was begun.
    pub attempts: u32,
    /// Why it stopped the last time.
    pub last_error: Option<String>,
}

impl From<Transfer> for TransferView {
    fn from(transfer: Transfer) -> Self {
        Self {
            id: transfer.id.number(),
            direction: transfer.direction.as_str().to_owned(),
            name: transfer.artifact.to_string(),
            state: transfer.state.as_str().to_owned(),
            size: transfer.size,
            blob: transfer.blob.to_string(),
            needed: transfer.progress.needed,
            reused: transfer.progress.reused,
            sent: transfer.progress.sent,
            attempts: transfer.attempts,
            last_error: transfer.last_error,
        }
    }
}

/// All transfers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transfers {
    /// Those that are not done in the order in which they came, then those
    /// that are.
    pub transfers: Vec<TransferView>,
}

/// What is to be moved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewTransferView {
    /// `push` or `pull`.
    pub direction: String,
    /// The artifact.
    pub name: String,
    /// Whether a pull may replace changes that were never pushed.
    #[serde(default)]
    pub force: bool,
}

/// What a transfer should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    /// `paused` or `queued`.
    pub state: String,
}

/// What this device may pull.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published {
    /// The artifacts.
    pub artifacts: Vec<PublishedArtifact>,
    /// Whether these are all: the relay lists the user's own first, and no
    /// more than 20,000.
    pub complete: bool,
    /// Bytes that the user's artifacts have.
    pub used: u64,
    /// Bytes that they may have.
    pub quota: u64,
}

/// A published artifact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishedArtifact {
    /// Its name.
    pub name: String,
    /// Who pushed it first.
    pub owner: String,
    /// Whether that is this device's user.
    pub mine: bool,
    /// In bytes.
    pub size: u64,
    /// BLAKE3 of its bytes.
    pub blob: String,
    /// Which device pushed it.
    pub device: String,
    /// When, in milliseconds since 1970.
    pub published_unix_ms: u64,
}

impl From<Listing> for Published {
    fn from(listing: Listing) -> Self {
        let artifact = |listed: crate::sync::catalog::Listed| PublishedArtifact {
            name: listed.name,
            owner: listed.owner,
            mine: listed.mine,
            size: listed.size,
            blob: listed.blob,
            device: listed.device,
            published_unix_ms: listed.published_unix_ms,
        };
        Self {
            artifacts: listing.artifacts.into_iter().map(artifact).collect(),
            complete: listing.complete,
            used: listing.used,
            quota: listing.quota,
        }
    }
}
