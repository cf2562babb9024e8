//! Devices: which names are taken, by whom, and with which certificate.
//!
//! A row is made or renewed only by redeeming a join code. Rows are never
//! deleted, so a revoked name stays refused.

use ginnel_proto::id::{DeviceId, DeviceName, UserName};
use rusqlite::{Connection, Row, params};

use super::Registry;
use super::error::{Error, ErrorKind, Result, Stored};
use super::serial::Serial;

/// One device.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeviceRow {
    /// The owner and the name.
    pub id: DeviceId,
    /// The serial of the newest certificate.
    pub serial: Serial,
    /// SHA-256 of the newest certificate's public key.
    pub public_key_hash: [u8; 32],
    /// When the newest certificate ends, unix milliseconds.
    pub not_after_ms: i64,
    /// When the name was first issued, unix milliseconds.
    pub created_at_ms: i64,
    /// When the newest certificate was issued, unix milliseconds.
    pub joined_at_ms: i64,
    /// When the device was last connected, unix milliseconds.
    pub last_seen_ms: Option<i64>,
    /// When the device was revoked, unix milliseconds.
    pub revoked_at_ms: Option<i64>,
}

/// Why a device with a valid certificate may not link.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// No device of that name was ever issued here.
    #[error("device is not registered, device={0}")]
    Unknown(DeviceId),
    /// The name belongs to another user.
    #[error("device name belongs to another user, device={0}")]
    WrongUser(DeviceId),
    /// The device was revoked.
    #[error("device is revoked, device={0}")]
    Revoked(DeviceId),
    /// The device joined again since; only its newest certificate counts.
    #[error("certificate is superseded by a newer one, device={device}, serial={serial}")]
    Superseded {
        /// The device.
        device: DeviceId,
        /// The serial that was presented.
        serial: Serial,
    },
    /// The certificate has ended.
    #[error("certificate has expired, device={0}")]
    Expired(DeviceId),
    /// The registry could not say.
    #[error(transparent)]
    Registry(#[from] Error),
}

pub(super) const DEVICE_BY_NAME: &str = "SELECT name, user_id, serial, public_key_hash, not_after, \
     created_at, joined_at, last_seen, revoked_at FROM devices WHERE name = ?1";

pub(super) const MARK_SEEN: &str =
    "UPDATE devices SET last_seen = max(coalesce(last_seen, ?2), ?2) WHERE name = ?1";

impl Registry {
    /// The device of that name.
    ///
    /// # Errors
    /// `Corrupt` when its row cannot be read, `Unavailable` or `Closed`.
    pub async fn device(&self, name: &DeviceName) -> Result<Option<DeviceRow>> {
        let name = name.clone();
        self.read(move |connection| find(connection, &name)).await
    }

    /// All devices, by name, the revoked ones too.
    ///
    /// # Errors
    /// `Corrupt` when a row cannot be read, `Unavailable` or `Closed`.
    pub async fn devices(&self) -> Result<Vec<DeviceRow>> {
        self.read(|connection| {
            connection
                .prepare_cached(
                    "SELECT name, user_id, serial, public_key_hash, not_after, \
                     created_at, joined_at, last_seen, revoked_at FROM devices ORDER BY name",
                )?
                .query_and_then([], read_row)?
                .collect()
        })
        .await
    }

    /// Refuses the device and its name for good. False when there is no such
    /// device or it was revoked before.
    ///
    /// A live link is not closed by this: that is for the caller.
    ///
    /// # Errors
    /// `Unavailable` or `Closed`.
    pub async fn revoke_device(&self, name: &DeviceName, now_ms: i64) -> Result<bool> {
        let name = name.clone();
        self.write(move |transaction| {
            let rows = transaction.execute(
                "UPDATE devices SET revoked_at = ?2 WHERE name = ?1 AND revoked_at IS NULL",
                params![name.as_str(), now_ms],
            )?;
            Ok(rows == 1)
        })
        .await
    }

    /// Whether a device that proved to hold the certificate with this serial
    /// may link now.
    ///
    /// # Errors
    /// [`Refusal`] says why not.
    pub async fn authorize_link(
        &self,
        device: &DeviceId,
        serial: &Serial,
        now_ms: i64,
    ) -> std::result::Result<DeviceRow, Refusal> {
        let Some(row) = self.device(&device.device).await? else {
            return Err(Refusal::Unknown(device.clone()));
        };
        if row.id.user != device.user {
            return Err(Refusal::WrongUser(device.clone()));
        }
        if row.revoked_at_ms.is_some() {
            return Err(Refusal::Revoked(device.clone()));
        }
        if row.serial != *serial {
            return Err(Refusal::Superseded {
                device: device.clone(),
                serial: serial.clone(),
            });
        }
        if row.not_after_ms <= now_ms {
            return Err(Refusal::Expired(device.clone()));
        }
        Ok(row)
    }

    /// Notes when devices were connected, in milliseconds since 1970. Unknown
    /// names are passed over. Costs an fsync: collect what a second brings.
    ///
    /// # Errors
    /// `Unavailable` or `Closed`.
    pub async fn seen(&self, devices: Vec<(DeviceName, i64)>) -> Result<()> {
        if devices.is_empty() {
            return Ok(());
        }
        self.write(move |transaction| {
            let mut mark = transaction.prepare_cached(MARK_SEEN)?;
            for (name, at_ms) in &devices {
                mark.execute(params![name.as_str(), at_ms])?;
            }
            Ok(())
        })
        .await
    }
}

pub(super) fn find(connection: &Connection, name: &DeviceName) -> Result<Option<DeviceRow>> {
    connection
        .prepare_cached(DEVICE_BY_NAME)?
        .query_and_then([name.as_str()], read_row)?
        .next()
        .transpose()
}

/// Makes the device's row, or gives it a newer certificate.
///
/// The caller has checked the owner and that it is not revoked; a row that
/// changed since then is left alone and reported.
pub(super) fn put_certificate(connection: &Connection, device: &NewCertificate<'_>) -> Result<()> {
    let rows = connection.execute(
        "INSERT INTO devices (name, user_id, serial, public_key_hash, not_after, created_at, joined_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6)
         ON CONFLICT (name) DO UPDATE SET serial = excluded.serial,
             public_key_hash = excluded.public_key_hash, not_after = excluded.not_after,
             joined_at = excluded.joined_at
         WHERE user_id = excluded.user_id AND revoked_at IS NULL",
        params![
            device.name.as_str(),
            device.user.as_str(),
            device.serial.as_bytes(),
            device.public_key_hash,
            device.not_after_ms,
            device.now_ms,
        ],
    )?;
    if rows == 1 {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Conflict,
        format!("device name is taken or revoked, device={}", device.name),
    ))
}

/// What [`put_certificate`] writes.
pub(super) struct NewCertificate<'a> {
    pub(super) name: &'a DeviceName,
    pub(super) user: &'a UserName,
    pub(super) serial: &'a Serial,
    pub(super) public_key_hash: &'a [u8; 32],
    pub(super) not_after_ms: i64,
    pub(super) now_ms: i64,
}

fn read_row(row: &Row<'_>) -> Result<DeviceRow> {
    let name: String = row.get("name")?;
    let user: String = row.get("user_id")?;
    let stored = Stored {
        table: "devices",
        row: &name,
    };
    let id = DeviceId::new(
        stored.parse("user_id", &user)?,
        stored.parse("name", &name)?,
    );
    let serial: Vec<u8> = row.get("serial")?;
    Ok(DeviceRow {
        id,
        serial: stored.convert("serial", serial)?,
        public_key_hash: row.get("public_key_hash")?,
        not_after_ms: row.get("not_after")?,
        created_at_ms: row.get("created_at")?,
        joined_at_ms: row.get("joined_at")?,
        last_seen_ms: row.get("last_seen")?,
        revoked_at_ms: row.get("revoked_at")?,
    })
}
