//! API keys as rows: made, listed, revoked.
//!
//! Requests are judged by the [`super::key_ring`], never by a query.

use std::sync::Arc;

use ginnel_proto::id::UserName;
use rusqlite::{Connection, Row, params};

use super::api_key::{ApiKey, KeyEnvironment};
use super::error::{Error, ErrorKind, Result, Stored};
use super::key_ring::read_scopes;
use super::pepper::{Hasher, Purpose};
use super::scope::Scope;
use super::{Registry, limits, users};

/// What a new API key shall be.
#[derive(Debug, Clone)]
pub struct NewKey {
    /// Whose key it will be.
    pub user: UserName,
    /// A note for people.
    pub name: Option<String>,
    /// What it is for.
    pub environment: KeyEnvironment,
    /// What it may do; at least one.
    pub scopes: Vec<Scope>,
    /// When it ends, unix milliseconds.
    pub expires_at_ms: Option<i64>,
}

/// One API key without its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyRow {
    /// The public id.
    pub id: String,
    /// Whose key it is.
    pub user: UserName,
    /// A note for people.
    pub name: Option<String>,
    /// What it is for.
    pub environment: KeyEnvironment,
    /// What it may do.
    pub scopes: Vec<Scope>,
    /// When it was made, unix milliseconds.
    pub created_at_ms: i64,
    /// When it was last used, unix milliseconds; written now and then.
    pub last_used_ms: Option<i64>,
    /// When it ends, unix milliseconds.
    pub expires_at_ms: Option<i64>,
    /// When it was revoked, unix milliseconds.
    pub revoked_at_ms: Option<i64>,
}

pub(super) const LIVE_KEYS_OF_USER: &str = "SELECT count(*) FROM api_keys WHERE user_id = ?1 \
     AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > ?2)";

pub(super) const TOUCH_KEY: &str =
    "UPDATE api_keys SET last_used = max(coalesce(last_used, ?2), ?2) WHERE id = ?1";

impl Registry {
    /// Makes an API key. Its secret is in the answer and nowhere else.
    ///
    /// # Errors
    /// `Invalid` when the user does not exist or a limit is broken,
    /// `Unavailable` or `Closed`.
    pub async fn create_key(&self, key: NewKey, now_ms: i64) -> Result<ApiKey> {
        check_new_key(&key, now_ms)?;
        let hasher = Arc::clone(&self.hasher);
        self.write(move |transaction| create(transaction, &hasher, &key, now_ms))
            .await
    }

    /// All API keys, oldest first, the revoked ones too.
    ///
    /// # Errors
    /// `Corrupt` when a row cannot be read, `Unavailable` or `Closed`.
    pub async fn keys(&self) -> Result<Vec<KeyRow>> {
        self.read(|connection| {
            connection
                .prepare_cached(
                    "SELECT id, user_id, name, environment, scopes, created_at, last_used,
                         expires_at, revoked_at
                     FROM api_keys ORDER BY created_at, id",
                )?
                .query_and_then([], read_row)?
                .collect()
        })
        .await
    }

    /// Refuses the key from now on. False when there is no such key or it was
    /// revoked before.
    ///
    /// # Errors
    /// `Unavailable` or `Closed`.
    pub async fn revoke_key(&self, id: &str, now_ms: i64) -> Result<bool> {
        let id = id.to_owned();
        self.write(move |transaction| {
            let rows = transaction.execute(
                "UPDATE api_keys SET revoked_at = ?2 WHERE id = ?1 AND revoked_at IS NULL",
                params![id, now_ms],
            )?;
            Ok(rows == 1)
        })
        .await
    }

    /// Notes when keys were last used, given as (id, unix milliseconds).
    ///
    /// Costs an fsync: collect the uses of a minute or so. Ids that do not
    /// exist are passed over.
    ///
    /// # Errors
    /// `Unavailable` or `Closed`.
    pub async fn touch_keys(&self, uses: Vec<(String, i64)>) -> Result<()> {
        if uses.is_empty() {
            return Ok(());
        }
        self.write(move |transaction| {
            let mut touch = transaction.prepare_cached(TOUCH_KEY)?;
            for (id, at_ms) in &uses {
                touch.execute(params![id, at_ms])?;
            }
            Ok(())
        })
        .await
    }
}

fn check_new_key(key: &NewKey, now_ms: i64) -> Result<()> {
    let scopes = key.scopes.len();
    if scopes == 0 || scopes > limits::SCOPES_MAX {
        return Err(Error::invalid(format!(
            "api key needs 1 to {} scopes, scopes={scopes}",
            limits::SCOPES_MAX
        )));
    }
    let name = key.name.as_deref().unwrap_or_default();
    if name.len() > limits::KEY_NAME_MAX || name.chars().any(char::is_control) {
        return Err(Error::invalid(format!(
            "api key name is longer than {} bytes or holds control characters, bytes={}",
            limits::KEY_NAME_MAX,
            name.len()
        )));
    }
    if let Some(end) = key.expires_at_ms.filter(|end| *end <= now_ms) {
        return Err(Error::invalid(format!(
            "api key would expire at once, expires_at={end}"
        )));
    }
    Ok(())
}

fn create(connection: &Connection, hasher: &Hasher, key: &NewKey, now_ms: i64) -> Result<ApiKey> {
    let user = key.user.as_str();
    if !users::exists(connection, &key.user)? {
        return Err(Error::invalid(format!("no such user, user={user}")));
    }
    let live: i64 =
        connection.query_row(LIVE_KEYS_OF_USER, params![user, now_ms], |row| row.get(0))?;
    if live >= limits::KEYS_PER_USER_MAX {
        return Err(Error::invalid(format!(
            "user has too many api keys, user={user}, keys={live}"
        )));
    }
    let texts: Vec<String> = key.scopes.iter().map(ToString::to_string).collect();
    let scopes = serde_json::to_string(&texts)
        .map_err(|reason| Error::new(ErrorKind::Internal, format!("scopes, reason={reason}")))?;
    for _ in 0..limits::KEY_ID_TRIES {
        let made = ApiKey::generate(key.environment)?;
        let hash = hasher.hash(Purpose::ApiKey, made.id(), made.expose().as_bytes());
        let rows = connection.execute(
            "INSERT INTO api_keys (id, user_id, key_hash, name, scopes, created_at, expires_at, environment)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT (id) DO NOTHING",
            params![
                made.id(),
                user,
                data_encoding::HEXLOWER.encode(&hash),
                key.name,
                scopes,
                now_ms,
                key.expires_at_ms,
                key.environment.to_string(),
            ],
        )?;
        if rows == 1 {
            return Ok(made);
        }
    }
    Err(Error::new(
        ErrorKind::Internal,
        format!("found no free api key id, tries={}", limits::KEY_ID_TRIES),
    ))
}

fn read_row(row: &Row<'_>) -> Result<KeyRow> {
    let id: String = row.get("id")?;
    let stored = Stored {
        table: "api_keys",
        row: &id,
    };
    let user: String = row.get("user_id")?;
    let environment: String = row.get("environment")?;
    let scopes: String = row.get("scopes")?;
    Ok(KeyRow {
        user: stored.parse("user_id", &user)?,
        name: row.get("name")?,
        environment: stored.parse("environment", &environment)?,
        scopes: read_scopes(stored, &scopes)?,
        created_at_ms: row.get("created_at")?,
        last_used_ms: row.get("last_used")?,
        expires_at_ms: row.get("expires_at")?,
        revoked_at_ms: row.get("revoked_at")?,
        id,
    })
}
