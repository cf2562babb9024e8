//! How secrets are hashed before they are stored.
//!
//! Join codes and API keys are uniformly random, so one HMAC-SHA-256 under the
//! relay's pepper is enough: there is nothing to guess, and a slow hash would
//! only help whoever wants to keep the relay busy.

use std::fmt;

use aws_lc_rs::hmac;
use rusqlite::{Connection, OptionalExtension, params};
use subtle::ConstantTimeEq;

use super::connection::Database;
use super::error::{Error, ErrorKind, Result};

/// The relay's secret under which all other secrets are hashed: without it, a
/// copy of the database cannot even be tested against a guess.
#[derive(Clone)]
pub struct Pepper([u8; 32]);

impl Pepper {
    /// Wraps 32 random bytes.
    #[must_use]
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl fmt::Debug for Pepper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pepper(***)")
    }
}

/// What a hashed secret is for. A hash made for one purpose and id never
/// matches under another, so rows cannot be swapped.
#[derive(Debug, Clone, Copy)]
pub(super) enum Purpose {
    JoinCode,
    ApiKey,
    PepperCheck,
}

/// Hashes secrets with the pepper.
pub(super) struct Hasher(hmac::Key);

impl Hasher {
    pub(super) fn new(pepper: &Pepper) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, &pepper.0))
    }

    pub(super) fn hash(&self, purpose: Purpose, id: &str, secret: &[u8]) -> [u8; 32] {
        let label: &[u8] = match purpose {
            Purpose::JoinCode => b"ginnel join code\0",
            Purpose::ApiKey => b"ginnel api key\0",
            Purpose::PepperCheck => b"ginnel pepper check\0",
        };
        let mut context = hmac::Context::with_key(&self.0);
        context.update(label);
        context.update(&(id.len() as u64).to_be_bytes());
        context.update(id.as_bytes());
        context.update(secret);
        let tag = context.sign();
        tag.as_ref()
            .try_into()
            .expect("HMAC-SHA-256 gives 32 bytes")
    }

    /// Whether `secret` has the stored hash, in constant time. Without a
    /// stored hash it does the same work and says no.
    pub(super) fn verify(
        &self,
        purpose: Purpose,
        id: &str,
        secret: &[u8],
        stored: Option<&[u8; 32]>,
    ) -> bool {
        let computed = self.hash(purpose, id, secret);
        let equal = computed.ct_eq(stored.unwrap_or(&[0; 32]));
        bool::from(equal) && stored.is_some()
    }
}

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hasher(***)")
    }
}

/// Refuses a pepper other than the one this registry was made with: with a
/// wrong one every secret would be refused, one puzzled user at a time.
pub(super) fn check(database: &mut Database, hasher: &Hasher) -> Result<()> {
    let expected = hasher.hash(Purpose::PepperCheck, "", b"");
    if stored_check(database.connection()?)?.is_none() {
        database.write::<_, Error>(|transaction| {
            transaction.execute(
                "INSERT INTO meta (key, value) VALUES ('pepper_check', ?1)
                 ON CONFLICT (key) DO NOTHING",
                params![expected],
            )?;
            Ok(())
        })?;
    }
    let stored = stored_check(database.connection()?)?;
    if stored.is_some_and(|stored| bool::from(stored.ct_eq(expected.as_slice()))) {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Denied,
        "registry was made with another pepper",
    ))
}

fn stored_check(connection: &Connection) -> Result<Option<Vec<u8>>> {
    Ok(connection
        .query_row(
            "SELECT value FROM meta WHERE key = 'pepper_check'",
            [],
            |row| row.get(0),
        )
        .optional()?)
}
