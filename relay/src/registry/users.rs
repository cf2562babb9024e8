//! Users: the owners of devices and keys.

use ginnel_proto::id::UserName;
use rusqlite::{Connection, Row, params};

use super::Registry;
use super::error::{Result, Stored};

/// One user.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct UserRow {
    /// The name, which is also the id.
    pub name: UserName,
    /// The mail address, if one is known.
    pub email: Option<String>,
    /// When the user was created, unix milliseconds.
    pub created_at_ms: i64,
}

impl Registry {
    /// Creates the user unless it exists.
    ///
    /// # Errors
    /// `Unavailable` or `Closed`.
    pub async fn ensure_user(&self, user: &UserName, now_ms: i64) -> Result<()> {
        let user = user.clone();
        self.write(move |transaction| ensure(transaction, &user, now_ms))
            .await
    }

    /// All users, by name.
    ///
    /// # Errors
    /// `Corrupt` when a row cannot be read, `Unavailable` or `Closed`.
    pub async fn users(&self) -> Result<Vec<UserRow>> {
        self.read(|connection| {
            connection
                .prepare_cached("SELECT id, email, created_at FROM users ORDER BY id")?
                .query_and_then([], read_row)?
                .collect()
        })
        .await
    }
}

pub(super) fn ensure(connection: &Connection, user: &UserName, now_ms: i64) -> Result<()> {
    connection.execute(
        "INSERT INTO users (id, created_at) VALUES (?1, ?2) ON CONFLICT (id) DO NOTHING",
        params![user.as_str(), now_ms],
    )?;
    Ok(())
}

pub(super) fn exists(connection: &Connection, user: &UserName) -> Result<bool> {
    Ok(connection
        .prepare_cached("SELECT 1 FROM users WHERE id = ?1")?
        .exists([user.as_str()])?)
}

fn read_row(row: &Row<'_>) -> Result<UserRow> {
    let id: String = row.get("id")?;
    let stored = Stored {
        table: "users",
        row: &id,
    };
    Ok(UserRow {
        name: stored.parse("id", &id)?,
        email: row.get("email")?,
        created_at_ms: row.get("created_at")?,
    })
}
