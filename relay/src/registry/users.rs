//! Users: the owners of devices and keys.

use std::collections::BTreeMap;

use ginnel_proto::id::UserName;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row, params};
use serde_json::Value;

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

/// How many rows of each table were erased.
pub type ErasedRows = BTreeMap<&'static str, u64>;

/// The tables with rows of a user, and which column says whose. `users` and
/// `devices` are not among them: a device has to be known to hear that what it
/// has is erased, and a name that was given is never given to another.
const TABLES: [(&str, &str); 5] = [
    ("api_keys", "user_id"),
    ("usage_hours", "user_id"),
    ("lora_ratings", "user_id"),
    ("loras", "owner_id"),
    ("organization_members", "user_id"),
];

impl Registry {
    /// Erases the rows of a user, but for its name and those of its devices.
    ///
    /// # Errors
    /// `Unavailable` or `Closed`.
    pub async fn erase_user(&self, user: &UserName) -> Result<ErasedRows> {
        let user = user.clone();
        self.write(move |transaction| {
            let mut erased = ErasedRows::new();
            let downloads = "DELETE FROM lora_downloads WHERE lora_id IN
                                 (SELECT id FROM loras WHERE owner_id = ?1)
                              OR device_name IN (SELECT name FROM devices WHERE user_id = ?1)";
            let downloads = transaction.execute(downloads, [user.as_str()])?;
            erased.insert("lora_downloads", downloads as u64);
            // Those that were used are the proof of who a device is.
            let codes = "DELETE FROM join_codes WHERE user_id = ?1 AND used_at IS NULL";
            let codes = transaction.execute(codes, [user.as_str()])?;
            erased.insert("join_codes", codes as u64);
            for (table, column) in TABLES {
                let erase = format!("DELETE FROM {table} WHERE {column} = ?1");
                let rows = transaction.execute(&erase, [user.as_str()])?;
                erased.insert(table, rows as u64);
            }
            transaction.execute(
                "UPDATE users SET email = NULL, password_hash = NULL, last_login = NULL
                 WHERE id = ?1",
                [user.as_str()],
            )?;
            Ok(erased)
        })
        .await
    }

    /// The rows of a user, by table. What is secret is left out.
    ///
    /// # Errors
    /// `Unavailable` or `Closed`.
    pub async fn rows_of(&self, user: &UserName) -> Result<BTreeMap<&'static str, Vec<Value>>> {
        const SECRET: [&str; 5] = [
            "key_hash",
            "password_hash",
            "secret_hmac",
            "certificate",
            "public_key_hash",
        ];
        let user = user.clone();
        let tables = TABLES.into_iter().chain([
            ("users", "id"),
            ("devices", "user_id"),
            ("join_codes", "user_id"),
        ]);
        self.read(move |connection| {
            let mut all = BTreeMap::new();
            for (table, column) in tables {
                let select = format!("SELECT * FROM {table} WHERE {column} = ?1 ORDER BY 1");
                let mut find = connection.prepare(&select)?;
                let names: Vec<String> = find.column_names().map(Into::into).collect();
                let mut rows = find.query([user.as_str()])?;
                let mut found = Vec::new();
                while let Some(row) = rows.next()? {
                    let mut object = serde_json::Map::new();
                    for (at, name) in names.iter().enumerate() {
                        if !SECRET.contains(&name.as_str()) {
                            object.insert(name.clone(), as_json(row.get_ref(at)?));
                        }
                    }
                    found.push(Value::Object(object));
                }
                all.insert(table, found);
            }
            all.insert("lora_downloads", downloads_of(connection, &user)?);
            Ok(all)
        })
        .await
    }
}

/// What the user's devices downloaded, and what was downloaded of the user's adapters.
/// Which devices of others did so is theirs.
fn downloads_of(connection: &Connection, user: &UserName) -> Result<Vec<Value>> {
    let select = "SELECT lora_id, device_name, blob FROM
            (SELECT lora_id, blob, (SELECT name FROM devices
                WHERE name = device_name AND user_id = ?1) AS device_name FROM lora_downloads)
        WHERE device_name IS NOT NULL
            OR lora_id IN (SELECT id FROM loras WHERE owner_id = ?1) ORDER BY 1, 2, 3";
    let mut find = connection.prepare(select)?;
    let mut rows = find.query([user.as_str()])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(serde_json::json!({
            "lora_id": as_json(row.get_ref("lora_id")?),
            "device_name": as_json(row.get_ref("device_name")?),
            "blob": as_json(row.get_ref("blob")?),
        }));
    }
    Ok(found)
}

fn as_json(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => number.into(),
        ValueRef::Real(number) => number.into(),
        ValueRef::Text(text) => String::from_utf8_lossy(text).into(),
        ValueRef::Blob(bytes) => data_encoding::HEXLOWER.encode(bytes).into(),
    }
}
