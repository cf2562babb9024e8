//! The key ring: all API keys in memory, for the request path.
//!
//! A ring is a snapshot: it never changes. Whoever holds it loads a new one
//! when [`Registry::changed`] says so and after its own writes.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use ginnel_proto::id::{DeviceName, ServiceName, UserName};
use rusqlite::Row;

use super::Registry;
use super::api_key::{ApiKey, KeyEnvironment};
use super::error::{Result, Stored};
use super::pepper::{Hasher, Purpose};
use super::scope::Scope;

/// All API keys as they were when the ring was loaded.
#[derive(Clone)]
pub struct KeyRing {
    hasher: Arc<Hasher>,
    entries: HashMap<Box<str>, KeyEntry>,
}

/// One API key's rights.
///
/// A key belongs to a user and a forward scope reaches only that user's
/// devices: the caller compares `user` with the owner of the device before it
/// asks [`KeyEntry::allows`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyEntry {
    /// The key's public id.
    pub id: Box<str>,
    /// Whose key it is.
    pub user: UserName,
    /// What it is for.
    pub environment: KeyEnvironment,
    /// What it may do.
    pub scopes: Vec<Scope>,
    /// When it ends, unix milliseconds.
    pub expires_at_ms: Option<i64>,
    /// When it was revoked, unix milliseconds.
    pub revoked_at_ms: Option<i64>,
    hash: [u8; 32],
}

/// Why an API key does not open anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyRefusal {
    /// There is no such key, or its secret is another: the two look alike.
    #[error("api key is not valid")]
    Unknown,
    /// The key was revoked.
    #[error("api key is revoked")]
    Revoked,
    /// The key has ended.
    #[error("api key has expired")]
    Expired,
}

impl KeyRing {
    /// The rights of the key that a request carries.
    ///
    /// Takes the same time for an unknown id and a wrong secret. Only who
    /// knows the secret learns that a key is revoked or expired.
    ///
    /// # Errors
    /// [`KeyRefusal`] says why it has none.
    pub fn check(&self, key: &ApiKey, now_ms: i64) -> std::result::Result<&KeyEntry, KeyRefusal> {
        let entry = self.entries.get(key.id());
        let stored = entry.map(|entry| &entry.hash);
        let secret = key.expose().as_bytes();
        let genuine = self
            .hasher
            .verify(Purpose::ApiKey, key.id(), secret, stored);
        let Some(entry) = entry.filter(|_| genuine) else {
            return Err(KeyRefusal::Unknown);
        };
        if entry.revoked_at_ms.is_some() {
            return Err(KeyRefusal::Revoked);
        }
        if entry.expires_at_ms.is_some_and(|end| end <= now_ms) {
            return Err(KeyRefusal::Expired);
        }
        Ok(entry)
    }

    /// How many keys are on the ring, the revoked and expired ones too.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are no keys at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

impl KeyEntry {
    /// Whether a scope reaches this service on a device of this name, which
    /// must belong to the key's user.
    #[must_use]
    pub fn allows(&self, device: &DeviceName, service: &ServiceName) -> bool {
        self.scopes
            .iter()
            .any(|scope| scope.allows(device, service))
    }

    /// Whether the key may administer the relay.
    #[must_use]
    pub fn is_admin(&self) -> bool {
        self.scopes.contains(&Scope::Admin)
    }
}

impl Registry {
    /// Loads all API keys.
    ///
    /// # Errors
    /// `Corrupt` when a row cannot be read, `Unavailable` or `Closed`.
    pub async fn key_ring(&self) -> Result<KeyRing> {
        let hasher = Arc::clone(&self.hasher);
        let entries = self
            .read(|connection| {
                connection
                    .prepare_cached(
                        "SELECT id, user_id, key_hash, scopes, environment, expires_at, revoked_at
                         FROM api_keys",
                    )?
                    .query_and_then([], read_entry)?
                    .map(|entry| entry.map(|entry| (entry.id.clone(), entry)))
                    .collect::<Result<_>>()
            })
            .await?;
        Ok(KeyRing { hasher, entries })
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyRing")
            .field("keys", &self.entries.len())
            .finish_non_exhaustive()
    }
}

fn read_entry(row: &Row<'_>) -> Result<KeyEntry> {
    let id: String = row.get("id")?;
    let stored = Stored {
        table: "api_keys",
        row: &id,
    };
    let user: String = row.get("user_id")?;
    let environment: String = row.get("environment")?;
    let scopes: String = row.get("scopes")?;
    let hash: String = row.get("key_hash")?;
    Ok(KeyEntry {
        user: stored.parse("user_id", &user)?,
        environment: stored.parse("environment", &environment)?,
        scopes: read_scopes(stored, &scopes)?,
        expires_at_ms: row.get("expires_at")?,
        revoked_at_ms: row.get("revoked_at")?,
        hash: read_hash(stored, &hash)?,
        id: id.as_str().into(),
    })
}

/// Reads the stored JSON array of scopes.
pub(super) fn read_scopes(stored: Stored<'_>, json: &str) -> Result<Vec<Scope>> {
    let texts: Vec<String> =
        serde_json::from_str(json).map_err(|reason| stored.corrupt("scopes", &reason))?;
    texts
        .iter()
        .map(|text| stored.parse("scopes", text))
        .collect()
}

fn read_hash(stored: Stored<'_>, hex: &str) -> Result<[u8; 32]> {
    let bytes = data_encoding::HEXLOWER
        .decode(hex.as_bytes())
        .map_err(|reason| stored.corrupt("key_hash", &reason))?;
    bytes
        .try_into()
        .map_err(|_| stored.corrupt("key_hash", &"is not 32 bytes"))
}
