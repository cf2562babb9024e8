//! Tests of the registry through its public door, and what they share.

mod durability;
mod joining;
mod keys;
mod linking;
mod loras;
mod model;
mod opening;
mod plans;
mod usage;

use std::path::Path;
use std::time::Duration;

use ginnel_proto::id::{DeviceId, DeviceName, UserName};

use super::connection::Location;
use super::error::Result;
use super::executor::Executor;
use super::join_codes::Invitation;
use super::pepper::Pepper;
use super::redeem::{Claim, IssuedCertificate, RedeemError, Redeemed};
use super::serial::Serial;
use super::{OpenOptions, Registry};

/// Any moment will do; no test reads a clock.
const NOW: i64 = 1_750_000_000_000;
const SECOND: i64 = 1000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
const TTL: Duration = Duration::from_hours(1);
/// When the certificates made by [`issue`] end, after they were issued.
const CERTIFICATE_LIFE: i64 = 30 * 24 * HOUR;

fn options(location: Location) -> OpenOptions {
    OpenOptions {
        location,
        pepper: Pepper::new([7; 32]),
        executor: Executor::Thread,
    }
}

async fn open_file(path: &Path) -> Result<Registry> {
    Registry::open(options(Location::File(path.into()))).await
}

async fn open_memory() -> Registry {
    Registry::open(options(Location::Memory))
        .await
        .expect("an empty registry opens")
}

fn user(name: &str) -> UserName {
    UserName::parse(name).expect("a user name")
}

fn device(name: &str) -> DeviceName {
    DeviceName::parse(name).expect("a device name")
}

fn id(user_and_device: &str) -> DeviceId {
    user_and_device.parse().expect("a device id")
}

fn serial(number: u8) -> Serial {
    Serial::from_bytes(&[number]).expect("a serial")
}

fn secret_of(code: &str) -> Vec<u8> {
    format!("the 25 byte secret of {code}").into_bytes()
}

fn invitation(owner: &str, name: Option<&str>, code: &str) -> Invitation {
    Invitation {
        user: user(owner),
        device: name.map(device),
        id: code.into(),
        secret: secret_of(code),
        ttl: TTL,
    }
}

fn claim(code: &str, name: Option<&str>, key: u8) -> Claim {
    Claim {
        id: code.into(),
        secret: secret_of(code),
        device: name.map(device),
        public_key_hash: [key; 32],
    }
}

/// Makes a pretended certificate with this serial.
fn issue(
    number: u8,
    now_ms: i64,
) -> impl FnOnce(&UserName, &DeviceName) -> std::result::Result<IssuedCertificate, String> + Send {
    move |user, device| {
        Ok(IssuedCertificate {
            serial: serial(number),
            not_after_ms: now_ms + CERTIFICATE_LIFE,
            der: format!("{user}/{device} {number}").into_bytes(),
        })
    }
}

/// Redeems with a certificate that has the key's number as its serial.
async fn redeem(
    registry: &Registry,
    code: &str,
    name: Option<&str>,
    key: u8,
    now_ms: i64,
) -> std::result::Result<Redeemed, RedeemError> {
    registry
        .redeem(claim(code, name, key), now_ms, issue(key, now_ms))
        .await
}

/// Invites and joins; the key's number is also the certificate's serial.
async fn join(registry: &Registry, owner: &str, name: &str, code: &str, key: u8) {
    registry
        .invite(invitation(owner, Some(name), code), NOW)
        .await
        .expect("invited");
    redeem(registry, code, None, key, NOW)
        .await
        .expect("joined");
}
