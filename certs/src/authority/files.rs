//! Where an authority is kept: `ca.key`, for its owner only, and `ca.crt`.

use std::path::Path;
use std::time::SystemTime;

use ginnel_proto::id::Domain;

use super::{Authority, certify_authority};
use crate::error::Error;
use crate::key::PrivateKey;
use crate::{pem, private_file};

const CERTIFICATE_FILE: &str = "ca.crt";
const KEY_FILE: &str = "ca.key";

impl Authority {
    /// Loads the authority kept in `dir`.
    ///
    /// # Errors
    /// [`Error::File`] if there is none, [`Error::Exposed`] if its key is open
    /// to other users, [`Error::Damaged`] if the files do not belong together.
    pub fn load(dir: &Path) -> Result<Self, Error> {
        let key = PrivateKey::read(&dir.join(KEY_FILE))?;
        let path = dir.join(CERTIFICATE_FILE);
        let mut certificates = pem::read_certificates(&path, 1)?;
        let Some(certificate) = certificates.pop() else {
            return Err(Error::Certificate("of the authority is missing"));
        };
        Self::from_parts(certificate, key).map_err(|error| Error::Damaged {
            path,
            reason: error.to_string(),
        })
    }

    /// Loads the authority kept in `dir`, making it first if there is none.
    ///
    /// The key decides who the authority is, so it is written first. Whoever
    /// finds a key without a certificate signs one: a start that was cut short
    /// is completed, and of two starts at once both end with the same
    /// authority. A certificate without a key is never replaced, because all
    /// devices would have to join again.
    ///
    /// # Errors
    /// As [`Authority::load`] and [`Authority::create`].
    pub fn load_or_create(dir: &Path, domain: &Domain, now: SystemTime) -> Result<Self, Error> {
        private_file::create_dir_private(dir)?;
        let certificate_path = dir.join(CERTIFICATE_FILE);
        if !certificate_path.exists() {
            let key_path = dir.join(KEY_FILE);
            let key = PrivateKey::generate()?.to_pem();
            private_file::write_once(&key_path, key.as_bytes())?;
            // Perhaps an earlier key than the one just made.
            let key = PrivateKey::read(&key_path)?;
            let certificate = certify_authority(&key, domain, now)?;
            let certificate = pem::encode_certificates(&[certificate]);
            private_file::write_once(&certificate_path, certificate.as_bytes())?;
        }
        Self::load(dir)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::x509;
    use std::fs;
    use std::thread;
    use std::time::{Duration, UNIX_EPOCH};

    #[test]
    fn the_second_start_finds_the_first_authority() {
        let dir = tempfile::tempdir().expect("folder");
        let dir = dir.path().join("state/authority");
        assert!(Authority::load(&dir).expect_err("none").is_not_found());
        let first = start(&dir);
        let second = start(&dir);
        assert_eq!(first.certificate(), second.certificate());
        assert_eq!(first.spki_pin(), second.spki_pin());
        // What it signs after a restart is worth as much as before.
        let issued = second.issue_relay(&domain("relay.example"), now(), Duration::from_secs(3600));
        let leaf = issued.expect("certificate").chain.remove(0);
        let root = x509::parse(first.certificate()).expect("parsed");
        let signed = x509::parse(&leaf).expect("parsed");
        signed
            .verify_signature(Some(root.public_key()))
            .expect("signed by the root");
    }

    #[test]
    fn racing_starts_agree_on_one_authority() {
        let dir = tempfile::tempdir().expect("folder");
        let pins: Vec<_> = thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| (*start(dir.path()).certificate()).clone()))
                .collect();
            threads.into_iter().map(|t| t.join().expect("ok")).collect()
        });
        assert!(pins.iter().all(|certificate| *certificate == pins[0]));
    }

    #[test]
    fn a_start_cut_short_after_the_key_is_completed() {
        let dir = tempfile::tempdir().expect("folder");
        let first = start(dir.path());
        fs::remove_file(dir.path().join(CERTIFICATE_FILE)).expect("removed");
        assert_eq!(start(dir.path()).spki_pin(), first.spki_pin());
    }

    #[test]
    fn a_lost_key_is_reported_and_never_replaced() {
        let dir = tempfile::tempdir().expect("folder");
        start(dir.path());
        fs::remove_file(dir.path().join(KEY_FILE)).expect("removed");
        let again = Authority::load_or_create(dir.path(), &domain("relay.example"), now());
        assert!(again.expect_err("no key").is_not_found());
        assert!(!dir.path().join(KEY_FILE).exists());
    }

    #[test]
    fn files_that_do_not_belong_together_are_refused() {
        let (one, two) = (tempfile::tempdir(), tempfile::tempdir());
        let (one, two) = (one.expect("folder"), two.expect("folder"));
        start(one.path());
        start(two.path());
        let key = |dir: &Path| dir.join(KEY_FILE);
        fs::copy(key(one.path()), key(two.path())).expect("copied");
        let error = Authority::load(two.path()).expect_err("mismatch");
        assert!(error.to_string().contains("does not belong to the key"));

        fs::write(key(two.path()), "nonsense").expect("written");
        let error = Authority::load(two.path()).expect_err("nonsense");
        assert!(matches!(error, Error::Damaged { .. }), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn the_key_file_is_private() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().expect("folder");
        start(dir.path());
        let key = dir.path().join(KEY_FILE);
        let mode = fs::metadata(&key).expect("exists").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).expect("chmod");
        let error = Authority::load(dir.path()).expect_err("exposed");
        assert!(matches!(error, Error::Exposed { mode: 0o644, .. }));
    }

    fn start(dir: &Path) -> Authority {
        Authority::load_or_create(dir, &domain("relay.example"), now()).expect("authority")
    }

    fn domain(text: &str) -> Domain {
        Domain::parse(text).expect("domain")
    }

    fn now() -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_800_000_000)
    }
}
