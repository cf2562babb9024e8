//! Redeeming a join code: how a device gets its identity.
//!
//! [`Registry::redeem`] does everything in one transaction, so that one code
//! makes one identity however often and however concurrently it is presented.

use std::fmt;
use std::sync::Arc;

use ginnel_proto::id::{DeviceId, DeviceName, UserName};
use rusqlite::Connection;

use super::devices::{self, NewCertificate};
use super::error::Error;
use super::join_codes::{self, Used};
use super::pepper::{Hasher, Purpose};
use super::serial::Serial;
use super::{Registry, limits};

/// What a joining device presents.
#[derive(Clone)]
pub struct Claim {
    /// The code's public id.
    pub id: String,
    /// The code's secret.
    pub secret: Vec<u8>,
    /// The name that the device asks for.
    pub device: Option<DeviceName>,
    /// SHA-256 of the public key that the device proved to hold.
    pub public_key_hash: [u8; 32],
}

/// A certificate made for a [`Claim`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuedCertificate {
    /// Its serial.
    pub serial: Serial,
    /// When it ends, unix milliseconds.
    pub not_after_ms: i64,
    /// Its DER form.
    pub der: Vec<u8>,
}

/// A device's new identity.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Redeemed {
    /// Who the device is from now on.
    pub device: DeviceId,
    /// Its certificate's DER form.
    pub certificate_der: Vec<u8>,
}

/// Why a [`Claim`] was refused. Only [`RedeemError::Used`] consumes anything,
/// and that was done by an earlier claim.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RedeemError {
    /// There is no such code, or its secret is another: the two look alike.
    #[error("join code is not valid")]
    Unknown,
    /// The code was not used in time.
    #[error("join code has expired")]
    Expired,
    /// Another key, or this one too long ago, has used the code.
    #[error("join code has been used")]
    Used,
    /// Neither the code nor the device names the device.
    #[error(
        "the join code is for no device in particular; hint: choose a name: ginnel join CODE --name NAME"
    )]
    NameMissing,
    /// The code is for another device name.
    #[error("join code is for another device name, device={bound}")]
    NameBound {
        /// The name that the code is for.
        bound: DeviceName,
    },
    /// The user has a device of this name, and the code is not for it.
    #[error(
        "{user} has a device of this name already, device={device}; hint: choose another name, \
         or for this very device use a code from \
         ginnel-relay invite --user {user} --device {device}"
    )]
    NameInUse {
        /// Whose it is.
        user: UserName,
        /// The name.
        device: DeviceName,
    },
    /// Another user has a device of this name.
    #[error("device name is taken, device={device}")]
    NameTaken {
        /// The name.
        device: DeviceName,
    },
    /// A device of this name was revoked; the name is refused for good.
    #[error("device is revoked, choose another name, device={device}")]
    Revoked {
        /// The name.
        device: DeviceName,
    },
    /// The certificate could not be made. The code is still good.
    #[error("certificate was not issued, reason={0}")]
    NotIssued(String),
    /// The registry failed. The code is still good unless an answer was lost.
    #[error(transparent)]
    Registry(#[from] Error),
}

impl Registry {
    /// Gives the device its identity, and consumes the code.
    ///
    /// `issue` makes the certificate; it runs inside the transaction, at most
    /// once, and only for a claim that will be granted. The same key may repeat
    /// its claim for ten minutes and gets the same certificate, so that a lost
    /// answer is not a lost device. A code for a device that exists replaces
    /// its certificate; the old one is refused from then on. A code that is
    /// for no device in particular never replaces one.
    ///
    /// # Errors
    /// [`RedeemError`] says why not.
    pub async fn redeem<I>(
        &self,
        claim: Claim,
        now_ms: i64,
        issue: I,
    ) -> Result<Redeemed, RedeemError>
    where
        I: FnOnce(&UserName, &DeviceName) -> Result<IssuedCertificate, String> + Send + 'static,
    {
        if claim.id.len() > limits::CODE_ID_MAX || claim.secret.len() > limits::CODE_SECRET_MAX {
            return Err(RedeemError::Unknown);
        }
        let hasher = Arc::clone(&self.hasher);
        let answer = self.worker.run(move |database| {
            let redeemed =
                database.write(|transaction| redeem(transaction, &hasher, &claim, now_ms, issue));
            match redeemed {
                Err(RedeemError::Registry(error)) => Err(error),
                answer => Ok(answer),
            }
        });
        answer.await?
    }
}

impl fmt::Debug for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claim")
            .field("id", &self.id)
            .field("secret", &"***")
            .field("device", &self.device)
            .finish_non_exhaustive()
    }
}

fn redeem(
    connection: &Connection,
    hasher: &Hasher,
    claim: &Claim,
    now_ms: i64,
    issue: impl FnOnce(&UserName, &DeviceName) -> Result<IssuedCertificate, String>,
) -> Result<Redeemed, RedeemError> {
    let code = join_codes::find(connection, &claim.id)?;
    let stored = code.as_ref().map(|code| &code.secret_hmac);
    let genuine = hasher.verify(Purpose::JoinCode, &claim.id, &claim.secret, stored);
    let Some(code) = code.filter(|_| genuine) else {
        return Err(RedeemError::Unknown);
    };
    if let Some(used) = &code.used {
        return repeat(connection, used, claim, now_ms);
    }
    if code.expires_at_ms <= now_ms {
        return Err(RedeemError::Expired);
    }
    let name = match choose_name(code.device, claim.device.as_ref())? {
        Name::Invited(name) => name,
        Name::Chosen(name) if is_own(connection, &name, &code.user)? => {
            return Err(RedeemError::NameInUse {
                user: code.user,
                device: name,
            });
        }
        Name::Chosen(name) => name,
    };
    check_name(connection, &name, &code.user)?;

    let issued = issue(&code.user, &name).map_err(RedeemError::NotIssued)?;
    if issued.der.is_empty() || issued.der.len() > limits::CERTIFICATE_MAX {
        return Err(RedeemError::NotIssued(format!(
            "certificate is empty or too large, bytes={}",
            issued.der.len()
        )));
    }
    devices::put_certificate(
        connection,
        &NewCertificate {
            name: &name,
            user: &code.user,
            serial: &issued.serial,
            public_key_hash: &claim.public_key_hash,
            not_after_ms: issued.not_after_ms,
            now_ms,
        },
    )?;
    let used = Used {
        at_ms: now_ms,
        device: name,
        public_key_hash: claim.public_key_hash,
        serial: issued.serial,
        certificate_der: issued.der,
    };
    join_codes::consume(connection, &claim.id, &used)?;
    Ok(Redeemed {
        device: DeviceId::new(code.user, used.device),
        certificate_der: used.certificate_der,
    })
}

/// Answers a code that was used: the same again for the device whose answer
/// was lost, no for all others.
fn repeat(
    connection: &Connection,
    used: &Used,
    claim: &Claim,
    now_ms: i64,
) -> Result<Redeemed, RedeemError> {
    let in_time = now_ms.saturating_sub(used.at_ms) < limits::REPEAT_WINDOW_MS;
    let same_key = used.public_key_hash == claim.public_key_hash;
    let same_name = claim
        .device
        .as_ref()
        .is_none_or(|name| *name == used.device);
    if !(in_time && same_key && same_name) {
        return Err(RedeemError::Used);
    }
    let Some(row) = devices::find(connection, &used.device)? else {
        return Err(RedeemError::Used);
    };
    if row.revoked_at_ms.is_some() {
        return Err(RedeemError::Revoked {
            device: row.id.device,
        });
    }
    // The device joined again since: the old certificate is refused anyway.
    if row.serial != used.serial {
        return Err(RedeemError::Used);
    }
    Ok(Redeemed {
        device: row.id,
        certificate_der: used.certificate_der.clone(),
    })
}

/// A device's name, by who chose it.
enum Name {
    /// The relay's operator, who may mean a device that exists.
    Invited(DeviceName),
    /// The device, which can only be new.
    Chosen(DeviceName),
}

/// The code's name wins; a device may repeat it but not ask for another.
fn choose_name(
    bound: Option<DeviceName>,
    wanted: Option<&DeviceName>,
) -> Result<Name, RedeemError> {
    match (bound, wanted) {
        (Some(bound), Some(wanted)) if bound != *wanted => Err(RedeemError::NameBound { bound }),
        (Some(bound), _) => Ok(Name::Invited(bound)),
        (None, Some(wanted)) => Ok(Name::Chosen(wanted.clone())),
        (None, None) => Err(RedeemError::NameMissing),
    }
}

/// Whether the user has a device of this name that is not revoked.
fn is_own(connection: &Connection, name: &DeviceName, user: &UserName) -> Result<bool, Error> {
    let row = devices::find(connection, name)?;
    Ok(row.is_some_and(|row| row.id.user == *user && row.revoked_at_ms.is_none()))
}

/// Whether the user may have a device of this name: new or already theirs.
pub(super) fn check_name(
    connection: &Connection,
    name: &DeviceName,
    user: &UserName,
) -> Result<(), RedeemError> {
    let Some(row) = devices::find(connection, name)? else {
        return Ok(());
    };
    let device = row.id.device;
    if row.id.user != *user {
        return Err(RedeemError::NameTaken { device });
    }
    if row.revoked_at_ms.is_some() {
        return Err(RedeemError::Revoked { device });
    }
    Ok(())
}
