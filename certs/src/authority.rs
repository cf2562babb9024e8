//! The root of trust: the relay's own certificate authority.
//!
//! It signs two kinds of certificates and decides alone what is in them. It
//! keeps no list of what it signed: that is the relay's registry. How it is
//! kept on disk is in `authority/files.rs`, what it accepts as a request in
//! `authority/request.rs`.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::rand;
use ginnel_proto::id::Domain;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyUsagePurpose, PublicKeyData, SanType,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::error::Error;
use crate::identity::{Identity, Leaf};
use crate::key::PrivateKey;
use crate::pin::SpkiPin;
use crate::x509;

mod files;
mod request;

/// The longest certificate request, in bytes. Ours have under 200.
pub const REQUEST_MAX: usize = 4096;

/// How long an authority lives: longer than anyone wants to rejoin devices.
const LIFETIME: Duration = Duration::from_secs(3650 * 24 * 3600);

/// Certificates start this much in the past, for clocks that are behind.
const BACKDATE: Duration = Duration::from_secs(5 * 60);

/// 9999-12-31T23:59:59Z, the last date of a certificate (RFC 5280 §4.1.2.5).
const LAST_DATE: Duration = Duration::from_secs(253_402_300_799);

/// A certificate authority with its private key.
pub struct Authority {
    certificate: CertificateDer<'static>,
    not_after: SystemTime,
    pin: SpkiPin,
    issuer: Issuer<'static, PrivateKey>,
}

/// A certificate for a device.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeviceCertificate {
    /// The certificate.
    pub der: CertificateDer<'static>,
    /// Its serial number, as [`Leaf`] reads it.
    pub serial: String,
    /// The end of its life.
    pub not_after: SystemTime,
}

/// A certificate for the relay, with its key.
#[derive(Debug)]
#[non_exhaustive]
pub struct RelayCertificate {
    /// The relay's certificate, then the authority's.
    pub chain: Vec<CertificateDer<'static>>,
    /// The relay's key, in PKCS#8.
    pub key: PrivateKeyDer<'static>,
    /// The end of its life.
    pub not_after: SystemTime,
}

/// SHA-256 of the public key that a request (PKCS#10, RFC 2986) carries, by
/// which a device that repeats its request is known again.
///
/// # Errors
/// [`Error::Request`] if the request is refused, as in
/// [`Authority::issue_device`].
pub fn request_key_hash(csr_der: &[u8]) -> Result<[u8; 32], Error> {
    request::key_hash(csr_der)
}

impl Authority {
    /// Makes a new authority, in memory only.
    ///
    /// # Errors
    /// [`Error::Dates`] if the clock is not between 1970 and 9999.
    pub fn create(domain: &Domain, now: SystemTime) -> Result<Self, Error> {
        let key = PrivateKey::generate()?;
        let certificate = certify_authority(&key, domain, now)?;
        Self::from_parts(certificate, key)
    }

    /// Signs a certificate for the key in a request (PKCS#10, RFC 2986).
    ///
    /// The request must prove possession of its private key by a signature;
    /// apart from the public key its contents are ignored. The life ends with
    /// the authority's at the latest.
    ///
    /// # Errors
    /// [`Error::Request`] if the request is refused, [`Error::Dates`] if the
    /// authority has expired or the clock is wrong.
    pub fn issue_device(
        &self,
        csr_der: &[u8],
        identity: &Identity,
        now: SystemTime,
        lifetime: Duration,
    ) -> Result<DeviceCertificate, Error> {
        let key = request::public_key(csr_der)?;
        let uri = identity.to_string();
        let uri = uri.as_str().try_into().map_err(signing)?;
        let mut params = self.leaf_params(now, lifetime)?;
        params.subject_alt_names = vec![SanType::URI(uri)];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let der = self.sign(&params, &key)?;
        let leaf = Leaf::from_der(&der)?;
        Ok(DeviceCertificate {
            der,
            serial: leaf.serial,
            not_after: leaf.not_after,
        })
    }

    /// Makes a key and a certificate for the relay itself.
    ///
    /// The name may be an IP address in the dress of a domain, for development.
    ///
    /// # Errors
    /// [`Error::Dates`] if the authority has expired or the clock is wrong.
    pub fn issue_relay(
        &self,
        domain: &Domain,
        now: SystemTime,
        lifetime: Duration,
    ) -> Result<RelayCertificate, Error> {
        let key = PrivateKey::generate()?;
        let named = CertificateParams::new([domain.to_string()]).map_err(signing)?;
        let mut params = self.leaf_params(now, lifetime)?;
        params.subject_alt_names = named.subject_alt_names;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let der = self.sign(&params, &key)?;
        let not_after = x509::system_time(x509::parse(&der)?.validity().not_after)?;
        Ok(RelayCertificate {
            chain: vec![der, self.certificate.clone()],
            key: key.to_rustls(),
            not_after,
        })
    }

    /// The authority's own certificate.
    #[must_use]
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// The fingerprint of the authority's key, for join codes.
    #[must_use]
    pub fn spki_pin(&self) -> SpkiPin {
        self.pin
    }

    /// The end of the authority's life.
    #[must_use]
    pub fn not_after(&self) -> SystemTime {
        self.not_after
    }

    fn from_parts(certificate: CertificateDer<'static>, key: PrivateKey) -> Result<Self, Error> {
        let parsed = x509::parse(&certificate)?;
        if !x509::is_authority(&parsed)? {
            return Err(Error::Certificate("is not an authority's"));
        }
        if x509::public_key(&parsed) != key.public_key() {
            return Err(Error::Certificate("does not belong to the key beside it"));
        }
        let not_after = x509::system_time(parsed.validity().not_after)?;
        let pin = SpkiPin::of(&certificate)?;
        let issuer = Issuer::from_ca_cert_der(&certificate, key);
        let issuer = issuer.map_err(|e| Error::crypto("load the authority", e))?;
        Ok(Self {
            certificate,
            not_after,
            pin,
            issuer,
        })
    }

    /// What both kinds of leaves have in common: no subject (RFC 5280
    /// §4.1.2.6), no right to sign, a fresh serial.
    fn leaf_params(&self, now: SystemTime, lifetime: Duration) -> Result<CertificateParams, Error> {
        if now >= self.not_after {
            return Err(Error::Dates("the authority has expired"));
        }
        let end = now.checked_add(lifetime).unwrap_or(self.not_after);
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.serial_number = Some(random_serial()?.to_vec().into());
        params.not_before = backdate(now)?.into();
        params.not_after = end.min(self.not_after).into();
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        Ok(params)
    }

    fn sign(
        &self,
        params: &CertificateParams,
        key: &impl PublicKeyData,
    ) -> Result<CertificateDer<'static>, Error> {
        let signed = params.signed_by(key, &self.issuer).map_err(signing)?;
        Ok(signed.into())
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority")
            .field("pin", &self.pin)
            .finish_non_exhaustive()
    }
}

fn certify_authority(
    key: &PrivateKey,
    domain: &Domain,
    now: SystemTime,
) -> Result<CertificateDer<'static>, Error> {
    let not_before = backdate(now)?;
    let last = UNIX_EPOCH + (LAST_DATE - LIFETIME);
    if now > last {
        return Err(Error::Dates("the clock is past the year 9989"));
    }
    let mut name = DistinguishedName::new();
    name.push(
        DnType::CommonName,
        format!("Ginnel authority for {}", shortened(domain)),
    );
    let mut params = CertificateParams::default();
    params.distinguished_name = name;
    params.serial_number = Some(random_serial()?.to_vec().into());
    params.not_before = not_before.into();
    params.not_after = (now + LIFETIME).into();
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params.self_signed(key).map_err(signing)?.into())
}

/// As much of a domain as fits a common name: 64 characters in all
/// (RFC 5280 appendix A, ub-common-name). Nothing reads it but people.
fn shortened(domain: &Domain) -> &str {
    domain.as_str().get(..43).unwrap_or(domain.as_str())
}

/// A 128-bit serial, 126 bits of it random: the first bit is clear, since a
/// serial is positive, and the second is set, so that all have one length
/// (RFC 5280 §4.1.2.2).
fn random_serial() -> Result<[u8; 16], Error> {
    let mut serial = [0; 16];
    rand::fill(&mut serial).map_err(|e| Error::crypto("read random bytes", e))?;
    let [first, ..] = &mut serial;
    *first = (*first & 0x3f) | 0x40;
    Ok(serial)
}

fn backdate(now: SystemTime) -> Result<SystemTime, Error> {
    match now.checked_sub(BACKDATE) {
        Some(start) if start >= UNIX_EPOCH => Ok(start),
        _ => Err(Error::Dates("the clock is before the year 1970")),
    }
}

fn signing(error: rcgen::Error) -> Error {
    Error::crypto("sign a certificate", error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::DeviceKey;
    use x509_parser::certificate::X509Certificate;
    use x509_parser::oid_registry::OID_SIG_ED25519;

    const DAY: Duration = Duration::from_secs(24 * 3600);

    #[test]
    fn the_root_has_the_agreed_form() {
        let authority = authority();
        let root = x509::parse(authority.certificate()).expect("parsed");
        assert_eq!(
            root.subject().to_string(),
            "CN=Ginnel authority for relay.example"
        );
        assert_eq!(root.issuer(), root.subject());
        assert_eq!(root.signature_algorithm.algorithm, OID_SIG_ED25519);
        let constraints = root.basic_constraints().expect("valid").expect("present");
        assert!(constraints.critical && constraints.value.ca);
        assert_eq!(constraints.value.path_len_constraint, Some(0));
        let usage = root.key_usage().expect("valid").expect("present");
        assert!(usage.critical);
        assert_eq!(usage.value.to_string(), "Key Cert Sign, CRL Sign");
        assert_eq!(root.raw_serial().len(), 16);
        let validity = root.validity();
        assert_eq!(time(validity.not_before), now() - BACKDATE);
        assert_eq!(time(validity.not_after), now() + 3650 * DAY);
        assert_eq!(authority.not_after(), now() + 3650 * DAY);
    }

    #[test]
    fn a_long_domain_fits_the_common_name() {
        let long = format!("{}.example", "a".repeat(60));
        let authority = Authority::create(&domain(&long), now()).expect("authority");
        let root = x509::parse(authority.certificate()).expect("parsed");
        let name = root.subject().iter_common_name().next().expect("a name");
        assert!(name.as_str().expect("text").len() <= 64);
    }

    #[test]
    fn a_device_certificate_has_the_agreed_form() {
        let authority = authority();
        let key = DeviceKey::generate().expect("key");
        let issued =
            issue(&authority, &key.certificate_request().expect("request")).expect("a certificate");
        let leaf = x509::parse(&issued.der).expect("parsed");
        assert_eq!(public_key(&leaf), key.public_key());
        assert_device_form(&leaf);

        let root = x509::parse(authority.certificate()).expect("parsed");
        leaf.verify_signature(Some(root.public_key()))
            .expect("signed by the root");
        assert_eq!(leaf.issuer(), root.subject());
        assert_eq!(key_identifiers(&leaf).1, key_identifiers(&root).0);
        assert!(key_identifiers(&leaf).1.is_some());

        let read = Leaf::from_der(&issued.der).expect("a leaf");
        assert_eq!(read.identity, identity());
        assert_eq!(read.serial, issued.serial);
        assert_eq!(issued.serial.len(), 32);
        assert_eq!(read.not_before, now() - BACKDATE);
        assert_eq!(read.not_after, now() + 30 * DAY);
        assert_eq!(issued.not_after, now() + 30 * DAY);
    }

    #[test]
    fn serials_differ() {
        let authority = authority();
        let request = DeviceKey::generate().expect("key").certificate_request();
        let request = request.expect("request");
        let serial = || issue(&authority, &request).expect("certificate").serial;
        assert_ne!(serial(), serial());
    }

    #[test]
    fn what_a_request_asks_for_is_discarded() {
        let key = PrivateKey::generate().expect("key");
        let mut greedy =
            CertificateParams::new(["relay.example".to_owned(), "127.0.0.1".to_owned()])
                .expect("params");
        greedy.subject_alt_names.push(SanType::URI(
            "spiffe://relay.example/env/dev/user/root/device/all"
                .try_into()
                .expect("ia5"),
        ));
        greedy.distinguished_name.push(DnType::CommonName, "root");
        greedy.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        greedy.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        greedy.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::Any,
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::CodeSigning,
        ];
        let unknown = rcgen::CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![5, 0]);
        greedy.custom_extensions.push(unknown);
        let request = greedy.serialize_request(&key).expect("request");

        let issued = issue(&authority(), request.der()).expect("a certificate");
        let leaf = x509::parse(&issued.der).expect("parsed");
        assert_eq!(public_key(&leaf), key.public_key());
        assert_device_form(&leaf);
    }

    #[test]
    fn a_relay_certificate_has_the_agreed_form() {
        let authority = authority();
        for name in ["relay.example", "localhost"] {
            let issued = authority.issue_relay(&domain(name), now(), 30 * DAY);
            let issued = issued.expect("a certificate");
            assert_eq!(issued.chain.len(), 2);
            assert_eq!(issued.chain[1], *authority.certificate());
            assert_eq!(issued.not_after, now() + 30 * DAY);
            let leaf = x509::parse(&issued.chain[0]).expect("parsed");
            let names = leaf.subject_alternative_name().expect("valid");
            let names = names.expect("present").value.general_names.clone();
            assert_eq!(format!("{names:?}"), format!("[DNSName({name:?})]"));
            let usage = leaf.extended_key_usage().expect("valid").expect("present");
            assert!(usage.value.server_auth);
            assert!(!usage.value.client_auth && !usage.value.any);
            assert!(!x509::is_authority(&leaf).expect("valid"));
            assert!(!format!("{issued:?}").contains("[48, 46"), "shows its key");
        }
    }

    #[test]
    fn a_leaf_does_not_outlive_its_authority() {
        let authority = authority();
        let request = DeviceKey::generate().expect("key").certificate_request();
        let request = request.expect("request");
        for lifetime in [4000 * DAY, Duration::MAX] {
            let issued = authority.issue_device(&request, &identity(), now(), lifetime);
            assert_eq!(
                issued.expect("certificate").not_after,
                authority.not_after()
            );
        }
        let later = authority.not_after();
        let issued = authority.issue_device(&request, &identity(), later, DAY);
        assert!(matches!(issued, Err(Error::Dates(_))));
    }

    #[test]
    fn only_a_root_certificate_makes_an_authority() {
        let key = PrivateKey::generate().expect("key");
        let params = authority().leaf_params(now(), DAY).expect("params");
        let leaf = params.self_signed(&key).expect("signed").into();
        let error = Authority::from_parts(leaf, key).expect_err("a leaf");
        assert_eq!(error.to_string(), "certificate is not an authority's");
    }

    #[test]
    fn a_mad_clock_is_an_error() {
        let early = UNIX_EPOCH + Duration::from_secs(10);
        let late = UNIX_EPOCH + LAST_DATE;
        for clock in [UNIX_EPOCH - DAY, early, late] {
            let made = Authority::create(&domain("relay.example"), clock);
            assert!(matches!(made, Err(Error::Dates(_))), "{clock:?}");
        }
        Authority::create(&domain("relay.example"), late - LIFETIME).expect("the last moment");
    }

    #[test]
    fn debug_hides_the_key() {
        let authority = authority();
        assert_eq!(
            format!("{authority:?}"),
            format!("Authority {{ pin: {:?}, .. }}", authority.spki_pin())
        );
    }

    /// A device's purpose and nothing more.
    fn assert_device_form(leaf: &X509Certificate<'_>) {
        assert_eq!(leaf.subject().to_string(), "");
        let names = leaf.subject_alternative_name().expect("valid");
        let names = names.expect("present").value.general_names.clone();
        let expected = format!("[URI({:?})]", identity().to_string());
        assert_eq!(format!("{names:?}"), expected);
        let constraints = leaf.basic_constraints().expect("valid").expect("present");
        assert!(!constraints.value.ca);
        let usage = leaf.key_usage().expect("valid").expect("present");
        assert_eq!(usage.value.to_string(), "Digital Signature");
        let purposes = leaf.extended_key_usage().expect("valid").expect("present");
        let purposes = purposes.value;
        assert!(purposes.client_auth);
        assert!(!purposes.any && !purposes.server_auth && !purposes.code_signing);
        assert!(purposes.other.is_empty());
        // Names, purposes, usage, constraints, both key identifiers.
        assert_eq!(leaf.extensions().len(), 6);
    }

    type KeyIdentifiers = (Option<Vec<u8>>, Option<Vec<u8>>);

    /// The subject's and the authority's key identifier.
    fn key_identifiers(certificate: &X509Certificate<'_>) -> KeyIdentifiers {
        use x509_parser::extensions::ParsedExtension::{
            AuthorityKeyIdentifier, SubjectKeyIdentifier,
        };
        let (mut subject, mut authority) = (None, None);
        for extension in certificate.extensions() {
            if let SubjectKeyIdentifier(id) = extension.parsed_extension() {
                subject = Some(id.0.to_vec());
            }
            if let AuthorityKeyIdentifier(id) = extension.parsed_extension() {
                authority = id.key_identifier.as_ref().map(|id| id.0.to_vec());
            }
        }
        (subject, authority)
    }

    fn authority() -> Authority {
        Authority::create(&domain("relay.example"), now()).expect("authority")
    }

    fn issue(authority: &Authority, request: &[u8]) -> Result<DeviceCertificate, Error> {
        authority.issue_device(request, &identity(), now(), 30 * DAY)
    }

    fn identity() -> Identity {
        let text = "spiffe://relay.example/env/dev/user/alice/device/laptop";
        text.parse().expect("identity")
    }

    fn domain(text: &str) -> Domain {
        Domain::parse(text).expect("domain")
    }

    fn now() -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_800_000_000)
    }

    fn time(time: x509_parser::time::ASN1Time) -> SystemTime {
        x509::system_time(time).expect("a date")
    }

    fn public_key<'a>(certificate: &'a X509Certificate<'_>) -> &'a [u8] {
        x509::public_key(certificate)
    }
}
