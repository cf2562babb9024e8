//! Join codes: one-time invitations by which a device gets its certificate.
//!
//! Their rows, and how they are made. The text of a code is made and parsed
//! elsewhere; here a code is a public id and a secret. How one is used is in
//! [`super::redeem`].

use std::fmt;
use std::time::Duration;

use ginnel_proto::id::{DeviceName, UserName};
use rusqlite::{Connection, Row, params};

use super::error::{Error, ErrorKind, Result, Stored};
use super::pepper::Purpose;
use super::redeem::{RedeemError, check_name};
use super::serial::Serial;
use super::{Registry, limits, users};

/// A new invitation.
#[derive(Clone)]
pub struct Invitation {
    /// Who will own the device; created if new.
    pub user: UserName,
    /// The device's name, or `None` to let the device choose.
    pub device: Option<DeviceName>,
    /// The code's public id.
    pub id: String,
    /// The code's secret: random bytes.
    pub secret: Vec<u8>,
    /// How long the code can be used.
    pub ttl: Duration,
}

pub(super) const CODE_BY_ID: &str = "SELECT id, user_id, device_name, secret_hmac, expires_at, used_at, used_by_device, \
     used_key_hash, used_serial, certificate FROM join_codes WHERE id = ?1";

pub(super) const PRUNE_CODES: &str = "DELETE FROM join_codes WHERE expires_at < ?1";

impl Registry {
    /// Stores an invitation, creating its user if new, and forgets codes that
    /// expired long ago.
    ///
    /// # Errors
    /// `Invalid` when a limit is broken, `Conflict` when the id exists or the
    /// device name is another user's, `Denied` when the device name is
    /// revoked, `Unavailable` or `Closed`.
    pub async fn invite(&self, invitation: Invitation, now_ms: i64) -> Result<()> {
        let expires_at_ms = check_invitation(&invitation, now_ms)?;
        let hash = self
            .hasher
            .hash(Purpose::JoinCode, &invitation.id, &invitation.secret);
        self.write(move |transaction| {
            users::ensure(transaction, &invitation.user, now_ms)?;
            if let Some(name) = &invitation.device {
                check_name(transaction, name, &invitation.user).map_err(refused_invitation)?;
            }
            transaction.execute(PRUNE_CODES, [now_ms.saturating_sub(limits::CODE_KEPT_MS)])?;
            transaction.execute(
                "INSERT INTO join_codes (id, user_id, device_name, secret_hmac, created_at, expires_at)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                params![
                    invitation.id,
                    invitation.user.as_str(),
                    invitation.device.as_ref().map(DeviceName::as_str),
                    hash,
                    now_ms,
                    expires_at_ms,
                ],
            )?;
            Ok(())
        })
        .await
    }
}

impl fmt::Debug for Invitation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Invitation")
            .field("user", &self.user)
            .field("device", &self.device)
            .field("id", &self.id)
            .field("secret", &"***")
            .field("ttl", &self.ttl)
            .finish()
    }
}

/// Checks the limits and returns when the code expires.
fn check_invitation(invitation: &Invitation, now_ms: i64) -> Result<i64> {
    let Invitation {
        id, secret, ttl, ..
    } = invitation;
    if id.is_empty() || id.len() > limits::CODE_ID_MAX {
        return Err(Error::invalid(format!(
            "join code id is empty or too long, bytes={}",
            id.len()
        )));
    }
    if !(limits::CODE_SECRET_MIN..=limits::CODE_SECRET_MAX).contains(&secret.len()) {
        return Err(Error::invalid(format!(
            "join code secret is too short or too long, bytes={}",
            secret.len()
        )));
    }
    if ttl.is_zero() || *ttl > limits::INVITATION_TTL_MAX {
        return Err(Error::invalid(format!(
            "join code must live between 1 ms and {} s, ttl={ttl:?}",
            limits::INVITATION_TTL_MAX.as_secs()
        )));
    }
    let ttl_ms = i64::try_from(ttl.as_millis())
        .map_err(|_| Error::invalid(format!("join code lives too long, ttl={ttl:?}")))?;
    Ok(now_ms.saturating_add(ttl_ms.max(1)))
}

fn refused_invitation(refusal: RedeemError) -> Error {
    let kind = match refusal {
        RedeemError::Registry(error) => return error,
        RedeemError::NameTaken { .. } | RedeemError::NameInUse { .. } => ErrorKind::Conflict,
        RedeemError::Revoked { .. } => ErrorKind::Denied,
        RedeemError::Unknown
        | RedeemError::Expired
        | RedeemError::Used
        | RedeemError::NameMissing
        | RedeemError::NameBound { .. }
        | RedeemError::NotIssued(_) => ErrorKind::Invalid,
    };
    Error::new(kind, refusal.to_string())
}

/// One stored join code.
pub(super) struct Code {
    pub(super) user: UserName,
    pub(super) device: Option<DeviceName>,
    pub(super) secret_hmac: [u8; 32],
    pub(super) expires_at_ms: i64,
    pub(super) used: Option<Used>,
}

/// How a join code was used.
pub(super) struct Used {
    pub(super) at_ms: i64,
    pub(super) device: DeviceName,
    pub(super) public_key_hash: [u8; 32],
    pub(super) serial: Serial,
    pub(super) certificate_der: Vec<u8>,
}

pub(super) fn find(connection: &Connection, id: &str) -> Result<Option<Code>> {
    connection
        .prepare_cached(CODE_BY_ID)?
        .query_and_then([id], read_row)?
        .next()
        .transpose()
}

/// Notes how the code was used; from then on nobody else can.
pub(super) fn consume(connection: &Connection, id: &str, used: &Used) -> Result<()> {
    connection.execute(
        "UPDATE join_codes SET used_at = ?2, used_by_device = ?3, used_key_hash = ?4,
             used_serial = ?5, certificate = ?6
         WHERE id = ?1",
        params![
            id,
            used.at_ms,
            used.device.as_str(),
            used.public_key_hash,
            used.serial.as_bytes(),
            used.certificate_der,
        ],
    )?;
    Ok(())
}

fn read_row(row: &Row<'_>) -> Result<Code> {
    let id: String = row.get("id")?;
    let stored = Stored {
        table: "join_codes",
        row: &id,
    };
    let user: String = row.get("user_id")?;
    let device: Option<String> = row.get("device_name")?;
    let used_at: Option<i64> = row.get("used_at")?;
    Ok(Code {
        user: stored.parse("user_id", &user)?,
        device: device
            .map(|name| stored.parse("device_name", &name))
            .transpose()?,
        secret_hmac: row.get("secret_hmac")?,
        expires_at_ms: row.get("expires_at")?,
        used: used_at
            .map(|at_ms| read_used(row, stored, at_ms))
            .transpose()?,
    })
}

fn read_used(row: &Row<'_>, stored: Stored<'_>, at_ms: i64) -> Result<Used> {
    let device: String = row.get("used_by_device")?;
    let serial: Vec<u8> = row.get("used_serial")?;
    Ok(Used {
        at_ms,
        device: stored.parse("used_by_device", &device)?,
        public_key_hash: row.get("used_key_hash")?,
        serial: stored.convert("used_serial", serial)?,
        certificate_der: row.get("certificate")?,
    })
}
