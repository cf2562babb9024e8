//! The relay's state folder: everything that must survive a restart.
//!
//! ```text
//! ca.crt ca.key    the authority
//! relay.db         the registry
//! pepper.key       under which the registry hashes secrets
//! endpoint.key     from which the QUIC endpoint derives its keys
//! seal.key         seals tags of uploaded parts
//! bucket/          artifacts, unless they are kept elsewhere
//! admin.token      for the admin listener's /v1
//! dev.join         in development: a join code for agents of the same person
//! relay.lock       held by the relay that runs
//! relay.json       where that relay listens, for the command line
//! ```
//!
//! The folder is made 0700 and each file 0600.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::Context as _;
use ginnel_certs::authority::Authority;
use ginnel_certs::private_file;
use ginnel_link::endpoint::EndpointKeys;
use ginnel_proto::id::Domain;

use crate::registry::connection::Location;
use crate::registry::executor::Executor;
use crate::registry::pepper::Pepper;
use crate::registry::{OpenOptions, Registry};
use crate::sync::seal::SealKey;

/// A relay's state folder, opened.
pub struct State {
    folder: PathBuf,
    /// Signs certificates.
    pub authority: Authority,
    /// What the QUIC endpoint derives its keys from.
    pub endpoint_keys: EndpointKeys,
    /// Seals tags of uploaded parts.
    pub seal_key: SealKey,
    /// What the admin listener's `/v1` asks for.
    pub admin_token: String,
    pepper: Pepper,
}

impl State {
    /// Opens the folder, and makes what is missing: all of it at first start.
    ///
    /// # Errors
    /// A file cannot be read, written or used; the error names it.
    pub fn open(folder: &Path, domain: &Domain) -> anyhow::Result<Self> {
        private_file::create_dir_private(folder)?;
        let authority = Authority::load_or_create(folder, domain, SystemTime::now())
            .context("cannot open the relay's certificate authority")?;
        Ok(Self {
            authority,
            endpoint_keys: EndpointKeys::derive(&secret(folder, "endpoint.key")?),
            seal_key: SealKey::new(secret(folder, "seal.key")?),
            admin_token: token(folder, "admin.token")?,
            pepper: Pepper::new(secret(folder, "pepper.key")?),
            folder: folder.to_owned(),
        })
    }

    /// Opens the registry.
    ///
    /// # Errors
    /// The file cannot be made, or as [`Registry::open`].
    pub async fn registry(&self) -> anyhow::Result<Registry> {
        let file = self.folder.join("relay.db");
        // SQLite would let everybody read it, and gives its log the same mode.
        private_file::create_empty(&file)?;
        let options = OpenOptions {
            location: Location::File(file),
            pepper: self.pepper.clone(),
            executor: Executor::Thread,
        };
        Ok(Registry::open(options).await?)
    }

    /// Where the development join code is kept.
    #[must_use]
    pub fn dev_join_file(&self) -> PathBuf {
        self.folder.join("dev.join")
    }
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State")
            .field("folder", &self.folder)
            .finish_non_exhaustive()
    }
}

/// 32 random bytes, made at first start.
fn secret(folder: &Path, name: &str) -> anyhow::Result<[u8; 32]> {
    let path = folder.join(name);
    let bytes = private_file::read_or_create(&path, 64, || private_file::random(32))?;
    let bytes = bytes.as_slice().try_into();
    bytes.with_context(|| format!("file must hold 32 bytes, path={}", path.display()))
}

/// 32 random bytes as text, made at first start.
fn token(folder: &Path, name: &str) -> anyhow::Result<String> {
    let path = folder.join(name);
    let text = private_file::read_or_create(&path, 128, || {
        let random = private_file::random(32)?;
        Ok(data_encoding::HEXLOWER.encode(&random).into_bytes().into())
    })?;
    let text = std::str::from_utf8(&text).map(|text| text.trim().to_owned());
    text.with_context(|| format!("file must hold text, path={}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_start_finds_what_the_first_made() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let domain = Domain::parse("localhost").expect("valid");
        let first = State::open(folder.path(), &domain).expect("made");
        let second = State::open(folder.path(), &domain).expect("found");
        assert_eq!(first.authority.spki_pin(), second.authority.spki_pin());
        assert_eq!(first.admin_token, second.admin_token);
        assert_eq!(first.admin_token.len(), 64);
    }

    #[test]
    fn a_damaged_secret_is_named() {
        let folder = tempfile::tempdir().expect("temporary folder");
        private_file::write(&folder.path().join("endpoint.key"), b"short").expect("written");
        let domain = Domain::parse("localhost").expect("valid");
        let error = State::open(folder.path(), &domain).expect_err("too short");
        assert!(format!("{error:#}").contains("endpoint.key"), "{error:#}");
    }
}
