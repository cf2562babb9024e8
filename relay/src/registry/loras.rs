//! Adapters, as people look for them: the seed's table `loras`.
//!
//! What a row says of an adapter is also in the bucket, beside it. Only
//! downloads and ratings are nowhere else.

use ginnel_proto::id::{DeviceName, LoraId, UserName};
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::error::{Error, Result, Stored};
use super::{Registry, limits};

/// What its owner says of an adapter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoraCard {
    /// Which one.
    pub id: LoraId,
    /// Whose.
    pub owner: UserName,
    /// What people call it.
    pub name: String,
    /// What it is for, in some sentences.
    pub description: Option<String>,
    /// The field that it is made for, such as `sql`.
    pub domain: String,
    /// The model that it adapts.
    pub base_model: String,
    /// Where its bytes are in the bucket.
    pub r2_key: String,
    /// Its owner's name for this version.
    pub version: String,
    /// Whether all users see and pull it.
    pub is_public: bool,
    /// What it costs; 0 for nothing.
    pub price_cents: u32,
}

/// An adapter in the registry.
#[derive(Debug, Clone, PartialEq)]
pub struct Lora {
    /// What its owner says of it.
    pub card: LoraCard,
    /// How often a device other than its owner's got a version of it.
    pub downloads: u64,
    /// The mean of its ratings, 1 to 5; `None` while there is none.
    pub rating: Option<f64>,
    /// When it was first published, unix milliseconds.
    pub created_at_ms: i64,
}

const SELECT: &str = "SELECT id, owner_id, name, description, domain, base_model, r2_key, version,
    is_public, price_cents, downloads, rating_avg, created_at FROM loras";

impl Registry {
    /// Notes what an owner says of an adapter. Downloads and ratings stay.
    ///
    /// # Errors
    /// `Invalid` if the id is another user's; `Unavailable` or `Closed`.
    pub async fn put_lora(&self, card: LoraCard, now_ms: i64) -> Result<()> {
        self.write(move |transaction| put(transaction, &card, now_ms))
            .await
    }

    /// The adapters that a user may see, by id.
    ///
    /// # Errors
    /// `Corrupt` when a row cannot be read, `Unavailable` or `Closed`.
    pub async fn loras(&self, user: UserName) -> Result<Vec<Lora>> {
        self.read(move |connection| {
            connection
                .prepare_cached(&format!(
                    "{SELECT} WHERE owner_id = ?1 OR is_public = 1 ORDER BY id LIMIT ?2"
                ))?
                .query_and_then(params![user.as_str(), limits::LORAS_LISTED_MAX], read_row)?
                .collect()
        })
        .await
    }

    /// An adapter, if the user may see it.
    ///
    /// # Errors
    /// As [`Registry::loras`].
    pub async fn lora(&self, id: LoraId, user: UserName) -> Result<Option<Lora>> {
        self.read(move |connection| find(connection, &id, &user))
            .await
    }

    /// Forgets an adapter, its downloads and its ratings.
    ///
    /// # Errors
    /// `Unavailable` or `Closed`.
    pub async fn remove_lora(&self, id: LoraId) -> Result<()> {
        self.write(move |transaction| {
            for table in [
                "loras WHERE id",
                "lora_downloads WHERE lora_id",
                "lora_ratings WHERE lora_id",
            ] {
                transaction.execute(&format!("DELETE FROM {table} = ?1"), [id.as_str()])?;
            }
            Ok(())
        })
        .await
    }

    /// A device of a user has all bytes of a version. It counts once for each
    /// device and version, and not for the owner's.
    ///
    /// # Errors
    /// `Unavailable` or `Closed`.
    pub async fn count_download(
        &self,
        id: LoraId,
        (user, device): (UserName, DeviceName),
        blob: [u8; 32],
    ) -> Result<()> {
        self.write(move |transaction| {
            let mut note = transaction.prepare_cached(
                "INSERT OR IGNORE INTO lora_downloads (lora_id, device_name, blob)
                 SELECT id, ?2, ?3 FROM loras WHERE id = ?1 AND owner_id <> ?4",
            )?;
            let row = params![id.as_str(), device.as_str(), blob, user.as_str()];
            if note.execute(row)? == 1 {
                transaction
                    .prepare_cached("UPDATE loras SET downloads = downloads + 1 WHERE id = ?1")?
                    .execute([id.as_str()])?;
            }
            Ok(())
        })
        .await
    }

    /// A user rates an adapter that it may see, 1 to 5; the last rating
    /// counts. Returns what becomes of it; `None` if there is no such adapter.
    ///
    /// # Errors
    /// `Invalid` for its owner or another number; `Unavailable` or `Closed`.
    pub async fn rate_lora(&self, id: LoraId, user: UserName, stars: u8) -> Result<Option<Lora>> {
        if !(1..=5).contains(&stars) {
            return Err(Error::invalid(format!("a rating is 1 to 5, stars={stars}")));
        }
        self.write(move |transaction| {
            let Some(lora) = find(transaction, &id, &user)? else {
                return Ok(None);
            };
            if lora.card.owner == user {
                return Err(Error::invalid(format!("an owner cannot rate, lora={id}")));
            }
            transaction
                .prepare_cached(
                    "INSERT INTO lora_ratings (lora_id, user_id, stars) VALUES (?1, ?2, ?3)
                     ON CONFLICT (lora_id, user_id) DO UPDATE SET stars = excluded.stars",
                )?
                .execute(params![id.as_str(), user.as_str(), stars])?;
            transaction
                .prepare_cached(
                    "UPDATE loras SET rating_avg =
                         (SELECT avg(stars) FROM lora_ratings WHERE lora_id = ?1)
                     WHERE id = ?1",
                )?
                .execute([id.as_str()])?;
            find(transaction, &id, &user)
        })
        .await
    }
}

fn put(connection: &Connection, card: &LoraCard, now_ms: i64) -> Result<()> {
    let changed = connection
        .prepare_cached(
            "INSERT INTO loras (id, owner_id, name, description, domain, base_model, r2_key,
                 version, is_public, price_cents, created_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
             ON CONFLICT (id) DO UPDATE SET name = excluded.name,
                 description = excluded.description, domain = excluded.domain,
                 base_model = excluded.base_model, r2_key = excluded.r2_key,
                 version = excluded.version, is_public = excluded.is_public,
                 price_cents = excluded.price_cents
             WHERE owner_id = excluded.owner_id",
        )?
        .execute(params![
            card.id.as_str(),
            card.owner.as_str(),
            card.name,
            card.description,
            card.domain,
            card.base_model,
            card.r2_key,
            card.version,
            card.is_public,
            card.price_cents,
            now_ms,
        ])?;
    match changed {
        0 => Err(Error::invalid(format!(
            "the adapter is another user's, lora={}",
            card.id
        ))),
        _ => Ok(()),
    }
}

fn find(connection: &Connection, id: &LoraId, user: &UserName) -> Result<Option<Lora>> {
    let found = connection
        .prepare_cached(&format!(
            "{SELECT} WHERE id = ?1 AND (owner_id = ?2 OR is_public = 1)"
        ))?
        .query_row([id.as_str(), user.as_str()], |row| Ok(read_row(row)))
        .optional()?;
    found.transpose()
}

fn read_row(row: &Row<'_>) -> Result<Lora> {
    let id: String = row.get("id")?;
    let owner: String = row.get("owner_id")?;
    let stored = Stored {
        table: "loras",
        row: &id,
    };
    let price: i64 = row.get("price_cents")?;
    let downloads: i64 = row.get("downloads")?;
    Ok(Lora {
        downloads: stored.convert("downloads", downloads)?,
        rating: row.get("rating_avg")?,
        created_at_ms: row.get("created_at")?,
        card: LoraCard {
            id: stored.parse("id", &id)?,
            owner: stored.parse("owner_id", &owner)?,
            name: row.get("name")?,
            description: row.get("description")?,
            domain: row.get("domain")?,
            base_model: row.get("base_model")?,
            r2_key: row.get("r2_key")?,
            version: row.get("version")?,
            is_public: row.get("is_public")?,
            price_cents: stored.convert("price_cents", price)?,
        },
    })
}
