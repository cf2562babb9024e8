//! A device's key and what it proves itself with.
//!
//! The key is made on the device and never leaves it: there is no way to get
//! it out of these types but the device's own key file and TLS settings.

use std::fmt;
use std::path::Path;

use ginnel_proto::id::Domain;
use rcgen::{CertificateParams, DistinguishedName};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::error::Error;
use crate::identity::Leaf;
use crate::key::PrivateKey;
use crate::{pem, private_file, x509};

const KEY_FILE: &str = "device.key";
/// The key of a save under way; see [`Credentials::save`].
const NEXT_KEY_FILE: &str = "device.key.next";
const CERTIFICATE_FILE: &str = "device.crt";
const AUTHORITY_FILE: &str = "ca.crt";

/// The most certificates in a chain. Today it is one; intermediates may come.
const CHAIN_MAX: usize = 4;

/// A device's private key.
///
/// Its memory is wiped when it is dropped.
pub struct DeviceKey(PrivateKey);

impl DeviceKey {
    /// Makes a new key.
    ///
    /// # Errors
    /// [`Error::Crypto`] if the system has no randomness.
    pub fn generate() -> Result<Self, Error> {
        PrivateKey::generate().map(Self)
    }

    /// A certificate request in DER (PKCS#10, RFC 2986) with an empty subject.
    ///
    /// It says nothing but the public key and proves that the private one is
    /// here; the relay decides the rest.
    ///
    /// # Errors
    /// [`Error::Crypto`] if the key cannot sign.
    pub fn certificate_request(&self) -> Result<Vec<u8>, Error> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        let request = params.serialize_request(&self.0);
        let request = request.map_err(|e| Error::crypto("sign a certificate request", e))?;
        Ok(request.der().to_vec())
    }

    /// The public half, 32 bytes.
    #[must_use]
    pub fn public_key(&self) -> &[u8] {
        self.0.public_key()
    }
}

impl fmt::Debug for DeviceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DeviceKey(***)")
    }
}

/// All that a device needs to open a link: key, certificate and authority.
#[derive(Debug)]
pub struct Credentials {
    key: DeviceKey,
    chain: Vec<CertificateDer<'static>>,
    authority: CertificateDer<'static>,
    leaf: Leaf,
}

impl Credentials {
    /// Joins a key with the certificate issued for it and its authority.
    ///
    /// The chain starts with the device's certificate and does not hold the
    /// authority's.
    ///
    /// # Errors
    /// [`Error::Certificate`] if the certificate is not for this key, is no
    /// device certificate, or the authority's is not an authority's.
    pub fn new(
        key: DeviceKey,
        chain: Vec<CertificateDer<'static>>,
        authority: CertificateDer<'static>,
    ) -> Result<Self, Error> {
        let Some(certificate) = chain.first() else {
            return Err(Error::Certificate("is missing"));
        };
        if chain.len() > CHAIN_MAX {
            return Err(Error::Certificate("chain is longer than 4"));
        }
        let leaf = Leaf::from_der(certificate)?;
        if x509::public_key(&x509::parse(certificate)?) != key.public_key() {
            return Err(Error::Certificate("does not belong to the device's key"));
        }
        if !x509::is_authority(&x509::parse(&authority)?)? {
            return Err(Error::Certificate("of the authority is not an authority's"));
        }
        Ok(Self {
            key,
            chain,
            authority,
            leaf,
        })
    }

    /// Loads the credentials kept in `dir`.
    ///
    /// An expired certificate loads too: who asks can see it in the leaf.
    ///
    /// # Errors
    /// [`Error::NoIdentity`] if the device has not joined,
    /// [`Error::Exposed`] if its key is open to other users,
    /// [`Error::Damaged`] if the files do not belong together.
    pub fn load(dir: &Path) -> Result<Self, Error> {
        finish_save(dir)?;
        let chain = match pem::read_certificates(&dir.join(CERTIFICATE_FILE), CHAIN_MAX) {
            Err(error) if error.is_not_found() => {
                let dir = dir.to_owned();
                return Err(Error::NoIdentity { dir });
            }
            read => read?,
        };
        let key = DeviceKey(PrivateKey::read(&dir.join(KEY_FILE))?);
        let authority = pem::read_certificates(&dir.join(AUTHORITY_FILE), 1)?;
        let Some(authority) = authority.into_iter().next() else {
            return Err(Error::Certificate("of the authority is missing"));
        };
        Self::new(key, chain, authority).map_err(|error| Error::Damaged {
            path: dir.join(CERTIFICATE_FILE),
            reason: error.to_string(),
        })
    }

    /// Keeps the credentials in `dir`, in place of any older ones.
    ///
    /// The certificate is written last and decides: a crash before it leaves
    /// the older identity whole, a crash after it the new one. Until then the
    /// new key waits under a name of its own, since a renewal that replaced
    /// the key first could lose both identities.
    ///
    /// # Errors
    /// [`Error::File`] if the system refuses.
    pub fn save(&self, dir: &Path) -> Result<(), Error> {
        private_file::create_dir_private(dir)?;
        finish_save(dir)?;
        let key = self.key.0.to_pem();
        private_file::write(&dir.join(NEXT_KEY_FILE), key.as_bytes())?;
        let authority = pem::encode_certificates(std::slice::from_ref(&self.authority));
        private_file::write(&dir.join(AUTHORITY_FILE), authority.as_bytes())?;
        let chain = pem::encode_certificates(&self.chain);
        private_file::write(&dir.join(CERTIFICATE_FILE), chain.as_bytes())?;
        finish_save(dir)
    }

    /// What the device's certificate says.
    #[must_use]
    pub fn leaf(&self) -> &Leaf {
        &self.leaf
    }

    /// The relay's name, which its certificate must carry.
    #[must_use]
    pub fn domain(&self) -> &Domain {
        &self.leaf.identity.domain
    }

    /// The device's certificate, then any intermediate ones.
    #[must_use]
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    /// The authority's certificate.
    #[must_use]
    pub fn authority(&self) -> &CertificateDer<'static> {
        &self.authority
    }

    /// The key, for TLS.
    pub(crate) fn tls_key(&self) -> PrivateKeyDer<'static> {
        self.key.0.to_rustls()
    }
}

/// Completes a save that stopped after its certificate was written: puts the
/// waiting key in place if it is the certificate's. Otherwise does nothing.
fn finish_save(dir: &Path) -> Result<(), Error> {
    let next = dir.join(NEXT_KEY_FILE);
    if !next.exists() {
        return Ok(());
    }
    let Ok(chain) = pem::read_certificates(&dir.join(CERTIFICATE_FILE), CHAIN_MAX) else {
        return Ok(());
    };
    let key = match PrivateKey::read(&next) {
        // Another process was faster.
        Err(error) if error.is_not_found() => return Ok(()),
        read => read?,
    };
    let belongs = match chain.first() {
        Some(certificate) => x509::public_key(&x509::parse(certificate)?) == key.public_key(),
        None => false,
    };
    if !belongs {
        return Ok(());
    }
    match private_file::rename(&next, &dir.join(KEY_FILE)) {
        Err(error) if error.is_not_found() => Ok(()),
        renamed => renamed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authority::Authority;
    use std::fs;
    use std::time::{Duration, UNIX_EPOCH};
    use x509_parser::certification_request::X509CertificationRequest;
    use x509_parser::prelude::FromDer;

    #[test]
    fn a_request_says_nothing_but_the_key() {
        let key = DeviceKey::generate().expect("key");
        let der = key.certificate_request().expect("request");
        let (rest, request) = X509CertificationRequest::from_der(&der).expect("parsed");
        assert!(rest.is_empty());
        request.verify_signature().expect("signed by its own key");
        let asked = request.certification_request_info;
        assert_eq!(asked.subject.to_string(), "");
        assert_eq!(asked.subject_pki.subject_public_key.data, key.public_key());
        assert_eq!(asked.iter_attributes().count(), 0);
        assert!(der.len() < 200, "{} bytes", der.len());
    }

    #[test]
    fn saved_credentials_load_again() {
        let dir = tempfile::tempdir().expect("folder");
        let dir = dir.path().join("a/b");
        let credentials = join("laptop");
        credentials.save(&dir).expect("saved");
        assert_same(&Credentials::load(&dir).expect("loaded"), &credentials);
        assert_eq!(files(&dir), ["ca.crt", "device.crt", "device.key"]);
        assert_eq!(credentials.domain().as_str(), "relay.example");
    }

    #[test]
    fn newer_credentials_replace_older_ones() {
        let dir = tempfile::tempdir().expect("folder");
        join("laptop").save(dir.path()).expect("saved");
        let newer = join("desktop");
        newer.save(dir.path()).expect("saved");
        assert_same(&Credentials::load(dir.path()).expect("loaded"), &newer);
        assert_eq!(files(dir.path()), ["ca.crt", "device.crt", "device.key"]);
    }

    #[test]
    fn without_an_identity_the_error_says_what_to_do() {
        let dir = tempfile::tempdir().expect("folder");
        for dir in [dir.path().to_owned(), dir.path().join("absent")] {
            let error = Credentials::load(&dir).expect_err("no identity");
            let expected = format!("no identity in {}; hint: ginnel join CODE", dir.display());
            assert_eq!(error.to_string(), expected);
        }
    }

    #[test]
    fn a_save_cut_short_leaves_the_old_or_the_new_identity() {
        let scratch = tempfile::tempdir().expect("folder");
        let (old, new) = (join("laptop"), join("desktop"));
        let whole = scratch.path().join("whole");
        new.save(&whole).expect("saved");

        // The steps of a save, each in turn the last before the crash.
        let steps = [
            (KEY_FILE, NEXT_KEY_FILE),
            (AUTHORITY_FILE, AUTHORITY_FILE),
            (CERTIFICATE_FILE, CERTIFICATE_FILE),
        ];
        for first in [true, false] {
            for done in 0..=steps.len() {
                let dir = scratch.path().join(format!("{first}-{done}"));
                fs::create_dir(&dir).expect("folder");
                if !first {
                    old.save(&dir).expect("saved");
                }
                for (from, to) in &steps[..done] {
                    fs::copy(whole.join(from), dir.join(to)).expect("copied");
                }
                let loaded = Credentials::load(&dir);
                match (done == steps.len(), first) {
                    (true, _) => {
                        assert_same(&loaded.expect("the new"), &new);
                        assert!(!files(&dir).contains(&NEXT_KEY_FILE.to_owned()));
                    }
                    (false, true) => {
                        assert!(matches!(loaded, Err(Error::NoIdentity { .. })));
                    }
                    (false, false) => {
                        let loaded = loaded.expect("the old");
                        assert_eq!(loaded.leaf, old.leaf);
                        assert_eq!(loaded.key.public_key(), old.key.public_key());
                    }
                }
                new.save(&dir).expect("a later save succeeds");
                assert_same(&Credentials::load(&dir).expect("loaded"), &new);
            }
        }
    }

    #[test]
    fn a_save_that_fails_after_one_cut_short_loses_nothing() {
        let dir = tempfile::tempdir().expect("folder");
        let dir = dir.path();
        let (old, new) = (join("laptop"), join("desktop"));
        new.save(dir).expect("saved");
        // The state after the new certificate and before the rename of its key.
        fs::rename(dir.join(KEY_FILE), dir.join(NEXT_KEY_FILE)).expect("renamed");
        private_file::write(&dir.join(KEY_FILE), old.key.0.to_pem().as_bytes()).expect("written");
        let authority = fs::read(dir.join(AUTHORITY_FILE)).expect("read");

        // A folder in the way makes the next save fail after its first step.
        fs::remove_file(dir.join(AUTHORITY_FILE)).expect("removed");
        fs::create_dir(dir.join(AUTHORITY_FILE)).expect("folder");
        join("third").save(dir).expect_err("a folder is in the way");
        fs::remove_dir(dir.join(AUTHORITY_FILE)).expect("removed");
        fs::write(dir.join(AUTHORITY_FILE), authority).expect("written");
        assert_same(&Credentials::load(dir).expect("loaded"), &new);
    }

    #[test]
    fn a_certificate_for_another_key_is_refused() {
        let dir = tempfile::tempdir().expect("folder");
        let other = tempfile::tempdir().expect("folder");
        join("laptop").save(dir.path()).expect("saved");
        join("laptop").save(other.path()).expect("saved");
        let key = |dir: &Path| dir.join(KEY_FILE);
        fs::copy(key(other.path()), key(dir.path())).expect("copied");
        let error = Credentials::load(dir.path()).expect_err("mismatch");
        let text = error.to_string();
        assert!(
            text.contains("does not belong to the device's key"),
            "{text}"
        );
        assert!(text.ends_with("device.crt"), "{text}");
    }

    #[test]
    fn damaged_files_are_named() {
        for name in [KEY_FILE, CERTIFICATE_FILE, AUTHORITY_FILE] {
            let dir = tempfile::tempdir().expect("folder");
            join("laptop").save(dir.path()).expect("saved");
            for content in [&b""[..], b"nonsense", &[b'a'; 100_000]] {
                fs::write(dir.path().join(name), content).expect("written");
                let error = Credentials::load(dir.path()).expect_err("damaged");
                assert!(matches!(error, Error::Damaged { .. }), "{error}");
                assert!(error.to_string().ends_with(name), "{error}");
            }
        }
    }

    #[test]
    fn parts_of_the_wrong_kind_are_refused() {
        let good = join("laptop");
        let key = || DeviceKey(PrivateKey::from_pem(good.key.0.to_pem().as_bytes()).expect("key"));
        let leaf = good.chain[0].clone();
        let root = good.authority.clone();
        Credentials::new(key(), vec![leaf.clone()], root.clone()).expect("as issued");
        for (chain, authority) in [
            (vec![], root.clone()),
            (vec![root.clone()], root.clone()),
            (vec![leaf.clone(); CHAIN_MAX + 1], root),
            (vec![leaf.clone()], leaf),
        ] {
            let error = Credentials::new(key(), chain, authority).expect_err("wrong parts");
            assert!(matches!(error, Error::Certificate(_)), "{error}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_key_open_to_others_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().expect("folder");
        join("laptop").save(dir.path()).expect("saved");
        let key = dir.path().join(KEY_FILE);
        let mode = fs::metadata(&key).expect("exists").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);

        fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).expect("chmod");
        let error = Credentials::load(dir.path()).expect_err("exposed");
        let cure = format!("hint: chmod 600 {}", key.display());
        assert!(error.to_string().ends_with(&cure), "{error}");

        // Certificates are public: a copy with any mode will do.
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).expect("chmod");
        for name in [CERTIFICATE_FILE, AUTHORITY_FILE] {
            let open = fs::Permissions::from_mode(0o644);
            fs::set_permissions(dir.path().join(name), open).expect("chmod");
        }
        Credentials::load(dir.path()).expect("loaded");
    }

    #[test]
    fn debug_hides_the_key() {
        let credentials = join("laptop");
        assert_eq!(format!("{:?}", credentials.key), "DeviceKey(***)");
        assert!(format!("{credentials:?}").contains("DeviceKey(***)"));
    }

    fn join(device: &str) -> Credentials {
        let now = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let domain = Domain::parse("relay.example").expect("domain");
        let authority = Authority::create(&domain, now).expect("authority");
        let key = DeviceKey::generate().expect("key");
        let request = key.certificate_request().expect("request");
        let identity = format!("spiffe://{domain}/env/dev/user/alice/device/{device}");
        let identity = identity.parse().expect("identity");
        let issued = authority.issue_device(&request, &identity, now, Duration::from_secs(3600));
        let chain = vec![issued.expect("certificate").der];
        Credentials::new(key, chain, authority.certificate().clone()).expect("credentials")
    }

    fn assert_same(a: &Credentials, b: &Credentials) {
        assert_eq!(a.key.public_key(), b.key.public_key());
        assert_eq!(a.chain, b.chain);
        assert_eq!(a.authority, b.authority);
        assert_eq!(a.leaf, b.leaf);
    }

    fn files(dir: &Path) -> Vec<String> {
        let entries = fs::read_dir(dir).expect("folder");
        let names = entries.map(|e| e.expect("entry").file_name().into_string());
        let mut names: Vec<_> = names.map(|name| name.expect("utf-8")).collect();
        names.sort();
        names
    }
}
