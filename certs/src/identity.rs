//! The name in a device certificate, as text and as it is read at the relay.
//!
//! A device certificate carries exactly one subject alternative name, a
//! SPIFFE ID:
//!
//! ```text
//! spiffe://DOMAIN/env/ENVIRONMENT/user/USER/device/DEVICE
//! ```
//!
//! TLS proves that the authority signed the certificate; webpki does not look
//! at URI names, so this module does. The subject's common name means nothing.

use std::fmt;
use std::str::FromStr;
use std::time::SystemTime;

use data_encoding::HEXLOWER;
use ginnel_proto::id::{DeviceId, DeviceName, Domain, Environment, InvalidName, UserName};
use rustls::pki_types::CertificateDer;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;

use crate::error::Error;
use crate::x509;

/// The longest SPIFFE ID, in bytes (SPIFFE-ID §2.3).
const IDENTITY_MAX: usize = 2048;

/// The longest serial number, in bytes (RFC 5280 §4.1.2.2).
const SERIAL_MAX: usize = 20;

/// The most of a refused identity that an error repeats, in characters.
const SHOWN_MAX: usize = 200;

/// Who a certificate speaks for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Identity {
    /// The relay's domain, which is the trust domain.
    pub domain: Domain,
    /// The deployment stage.
    pub environment: Environment,
    /// The device and its owner.
    pub device: DeviceId,
}

impl Identity {
    /// Checks that the identity was issued for this domain and environment.
    ///
    /// The authority's signature alone does not say so: two environments may
    /// share an authority.
    ///
    /// # Errors
    /// [`Error::Foreign`] names what differs.
    pub fn check_trust(&self, domain: &Domain, environment: &Environment) -> Result<(), Error> {
        if self.domain != *domain {
            return Err(Error::Foreign {
                what: "domain",
                expected: domain.to_string(),
                found: self.domain.to_string(),
            });
        }
        if self.environment != *environment {
            return Err(Error::Foreign {
                what: "environment",
                expected: environment.to_string(),
                found: self.environment.to_string(),
            });
        }
        Ok(())
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            domain,
            environment,
            device: DeviceId { user, device },
        } = self;
        write!(
            f,
            "spiffe://{domain}/env/{environment}/user/{user}/device/{device}"
        )
    }
}

impl FromStr for Identity {
    type Err = Error;

    /// Parses the one spelling of an identity: no upper case, no query, no
    /// percent-encoding, no further path.
    fn from_str(text: &str) -> Result<Self, Error> {
        if text.len() > IDENTITY_MAX {
            return Err(refused(text, "is longer than 2048 bytes"));
        }
        let Some(rest) = text.strip_prefix("spiffe://") else {
            return Err(refused(text, "does not start with spiffe://"));
        };
        let parts: Vec<&str> = rest.split('/').collect();
        let [domain, "env", environment, "user", user, "device", device] = parts[..] else {
            return Err(refused(
                text,
                "is not of the form spiffe://DOMAIN/env/ENV/user/USER/device/DEVICE",
            ));
        };
        let bad_name = |error: InvalidName| refused(text, &format!("has a bad part: {error}"));
        Ok(Self {
            domain: Domain::parse(domain).map_err(bad_name)?,
            environment: Environment::parse(environment).map_err(bad_name)?,
            device: DeviceId::new(
                UserName::parse(user).map_err(bad_name)?,
                DeviceName::parse(device).map_err(bad_name)?,
            ),
        })
    }
}

/// What the relay takes out of a device certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Leaf {
    /// Who the device is.
    pub identity: Identity,
    /// The serial number in lower-case hexadecimal, by which the registry
    /// knows the certificate.
    pub serial: String,
    /// The start of its life.
    pub not_before: SystemTime,
    /// The end of its life.
    pub not_after: SystemTime,
}

impl Leaf {
    /// Reads a certificate that TLS has already verified.
    ///
    /// Signature, dates and purpose are **not** checked here. What is checked
    /// is what TLS leaves out: exactly one name, which is an identity, and no
    /// right to sign (X509-SVID §§2, 4.1, 4.3).
    ///
    /// # Errors
    /// [`Error::Certificate`] if the certificate has another form than the
    /// authority issues, [`Error::Identity`] if its name is no identity.
    pub fn from_der(der: &CertificateDer<'_>) -> Result<Self, Error> {
        let certificate = x509::parse(der)?;
        if may_sign(&certificate)? {
            return Err(Error::Certificate("may sign other certificates"));
        }
        let validity = certificate.validity();
        Ok(Self {
            identity: only_uri(&certificate)?.parse()?,
            serial: serial(&certificate)?,
            not_before: x509::system_time(validity.not_before)?,
            not_after: x509::system_time(validity.not_after)?,
        })
    }
}

fn may_sign(certificate: &X509Certificate<'_>) -> Result<bool, Error> {
    let usage = certificate
        .key_usage()
        .map_err(|_| Error::Certificate("has a malformed key usage"))?;
    let usage_signs =
        usage.is_some_and(|usage| usage.value.key_cert_sign() || usage.value.crl_sign());
    Ok(usage_signs || x509::is_authority(certificate)?)
}

fn only_uri<'a>(certificate: &'a X509Certificate<'_>) -> Result<&'a str, Error> {
    let names = certificate
        .subject_alternative_name()
        .map_err(|_| Error::Certificate("has malformed alternative names"))?;
    let Some(names) = names else {
        return Err(Error::Certificate("carries no identity"));
    };
    match names.value.general_names[..] {
        [GeneralName::URI(uri)] => Ok(uri),
        [] => Err(Error::Certificate("carries no identity")),
        [_] => Err(Error::Certificate("carries a name that is not a URI")),
        _ => Err(Error::Certificate("carries more than one name")),
    }
}

fn serial(certificate: &X509Certificate<'_>) -> Result<String, Error> {
    let bytes = certificate.raw_serial();
    if bytes.len() > SERIAL_MAX {
        return Err(Error::Certificate("has a serial longer than 20 bytes"));
    }
    // DER puts a zero before a number whose first bit is set.
    let first = bytes.iter().position(|byte| *byte != 0);
    let digits = bytes.get(first.unwrap_or(bytes.len())..);
    Ok(HEXLOWER.encode(digits.unwrap_or_default()))
}

fn refused(identity: &str, reason: &str) -> Error {
    Error::Identity {
        reason: reason.to_owned(),
        identity: identity.chars().take(SHOWN_MAX).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::PrivateKey;
    use proptest::prelude::*;
    use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyUsagePurpose, SanType};
    use std::time::{Duration, UNIX_EPOCH};

    const GOOD: &str = "spiffe://relay.example/env/dev/user/alice/device/laptop";

    #[test]
    fn identities_round_trip() {
        for text in [
            GOOD,
            "spiffe://localhost/env/0/user/a-b/device/9",
            "spiffe://a.b.c/env/env/user/user/device/device",
        ] {
            let identity: Identity = text.parse().expect(text);
            assert_eq!(identity.to_string(), text);
        }
        let identity: Identity = GOOD.parse().expect("valid");
        assert_eq!(identity.domain.as_str(), "relay.example");
        assert_eq!(identity.environment.as_str(), "dev");
        assert_eq!(identity.device.to_string(), "alice/laptop");
    }

    #[test]
    fn only_one_spelling_is_accepted() {
        for bad in [
            "",
            "spiffe://",
            "https://relay.example/env/dev/user/alice/device/laptop",
            "SPIFFE://relay.example/env/dev/user/alice/device/laptop",
            "spiffe:/relay.example/env/dev/user/alice/device/laptop",
            "spiffe:///env/dev/user/alice/device/laptop",
            "spiffe://Relay.example/env/dev/user/alice/device/laptop",
            "spiffe://relay.example:1/env/dev/user/alice/device/laptop",
            "spiffe://x@relay.example/env/dev/user/alice/device/laptop",
            "spiffe://relay.example/ENV/dev/user/alice/device/laptop",
            "spiffe://relay.example/env/Dev/user/alice/device/laptop",
            "spiffe://relay.example/env/dev/user/Alice/device/laptop",
            "spiffe://relay.example/env/dev/user/alice/device/Laptop",
            "spiffe://relay.example/env/dev/user/alice/device/",
            "spiffe://relay.example/env/dev/user//device/laptop",
            "spiffe://relay.example/env//user/alice/device/laptop",
            "spiffe://relay.example/env/dev/user/alice/device/laptop/",
            "spiffe://relay.example/env/dev/user/alice/device/laptop/more",
            "spiffe://relay.example//env/dev/user/alice/device/laptop",
            "spiffe://relay.example/env/dev/user/alice/device/laptop?a=b",
            "spiffe://relay.example/env/dev/user/alice/device/laptop#a",
            "spiffe://relay.example/env/dev/user/alice/device/lap%74op",
            "spiffe://relay.example/env/dev/user/../device/laptop",
            "spiffe://relay.example/user/alice/env/dev/device/laptop",
            "spiffe://relay.example/env/dev/user/alice",
            "spiffe://relay.example/env/dev/user/alice/device/laptop\0",
            " spiffe://relay.example/env/dev/user/alice/device/laptop",
        ] {
            let error = bad.parse::<Identity>().expect_err(bad);
            assert!(matches!(error, Error::Identity { .. }), "{bad:?}: {error}");
        }
    }

    #[test]
    fn errors_stay_short() {
        for text in ["x".repeat(100_000), format!("spiffe://{}", "é".repeat(900))] {
            let error = text.parse::<Identity>().expect_err("invalid");
            assert!(error.to_string().len() < 600);
        }
    }

    #[test]
    fn another_domain_or_environment_is_foreign() {
        let identity: Identity = GOOD.parse().expect("valid");
        let domain = |text| Domain::parse(text).expect("domain");
        let environment = |text| Environment::parse(text).expect("environment");
        let relay = domain("relay.example");
        let dev = environment("dev");
        identity.check_trust(&relay, &dev).expect("its own");
        let error = identity
            .check_trust(&domain("other.example"), &dev)
            .expect_err("foreign");
        assert_eq!(
            error.to_string(),
            "identity belongs to another domain, expected=other.example, found=relay.example"
        );
        let error = identity
            .check_trust(&relay, &environment("production"))
            .expect_err("foreign");
        assert_eq!(
            error.to_string(),
            "identity belongs to another environment, expected=production, found=dev"
        );
    }

    #[test]
    fn a_leaf_is_read_from_its_certificate() {
        let mut params = with_names(vec![uri(GOOD)]);
        params.serial_number = Some(vec![0x80, 0x01].into());
        params.not_before = (UNIX_EPOCH + Duration::from_secs(1_000_000)).into();
        params.not_after = (UNIX_EPOCH + Duration::from_secs(2_000_000)).into();
        let leaf = Leaf::from_der(&sign(&params)).expect("valid");
        assert_eq!(leaf.identity.to_string(), GOOD);
        assert_eq!(leaf.serial, "8001");
        assert_eq!(leaf.not_before, UNIX_EPOCH + Duration::from_secs(1_000_000));
        assert_eq!(leaf.not_after, UNIX_EPOCH + Duration::from_secs(2_000_000));
    }

    #[test]
    fn a_leaf_has_exactly_one_name_and_it_is_a_uri() {
        let dns = || SanType::DnsName("relay.example".try_into().expect("ia5"));
        let ip = || SanType::IpAddress([127, 0, 0, 1].into());
        let mail = || SanType::Rfc822Name("a@relay.example".try_into().expect("ia5"));
        for (names, reason) in [
            (vec![], "carries no identity"),
            (vec![dns()], "carries a name that is not a URI"),
            (vec![mail()], "carries a name that is not a URI"),
            (vec![uri(GOOD), uri(GOOD)], "carries more than one name"),
            (vec![uri(GOOD), dns()], "carries more than one name"),
            (vec![dns(), uri(GOOD)], "carries more than one name"),
            (vec![uri(GOOD), ip()], "carries more than one name"),
            (vec![uri(GOOD), mail()], "carries more than one name"),
        ] {
            let error = Leaf::from_der(&sign(&with_names(names.clone()))).expect_err(reason);
            assert_eq!(
                error.to_string(),
                format!("certificate {reason}"),
                "{names:?}"
            );
        }
    }

    #[test]
    fn a_second_extension_of_names_is_refused() {
        // The same object identifier twice, which RFC 5280 §4.2 forbids.
        let mut params = with_names(vec![uri(GOOD)]);
        let names = [0x30, 0x03, 0x82, 0x01, b'a'].to_vec();
        let again = rcgen::CustomExtension::from_oid_content(&[2, 5, 29, 17], names);
        params.custom_extensions.push(again);
        let error = Leaf::from_der(&sign(&params)).expect_err("two extensions");
        assert!(matches!(error, Error::Certificate(_)), "{error}");
    }

    #[test]
    fn a_certificate_with_the_right_to_sign_is_no_leaf() {
        let mut authority = with_names(vec![uri(GOOD)]);
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let mut signer = with_names(vec![uri(GOOD)]);
        signer.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        for params in [authority, signer] {
            let error = Leaf::from_der(&sign(&params)).expect_err("may sign");
            assert_eq!(error.to_string(), "certificate may sign other certificates");
        }
        let mut plain = with_names(vec![uri(GOOD)]);
        plain.is_ca = IsCa::ExplicitNoCa;
        plain.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        Leaf::from_der(&sign(&plain)).expect("a leaf");
    }

    #[test]
    fn a_serial_is_at_most_20_bytes_long() {
        for (len, accepted) in [(20, true), (21, false)] {
            let mut params = with_names(vec![uri(GOOD)]);
            params.serial_number = Some(vec![0x7f; len].into());
            assert_eq!(Leaf::from_der(&sign(&params)).is_ok(), accepted, "{len}");
        }
    }

    #[test]
    fn bytes_after_the_certificate_are_refused() {
        let mut der = sign(&with_names(vec![uri(GOOD)])).to_vec();
        Leaf::from_der(&der.clone().into()).expect("valid");
        der.push(0);
        assert!(Leaf::from_der(&der.into()).is_err());
    }

    proptest! {
        #[test]
        fn no_text_panics(text in ".{0,100}") {
            let _ = text.parse::<Identity>();
        }

        #[test]
        fn no_damaged_certificate_panics(position: prop::sample::Index, byte: u8, cut: prop::sample::Index) {
            let mut der = sign(&with_names(vec![uri(GOOD)])).to_vec();
            let position = position.index(der.len());
            der[position] = byte;
            let _ = Leaf::from_der(&der.clone().into());
            der.truncate(cut.index(der.len()));
            prop_assert!(Leaf::from_der(&der.into()).is_err());
        }
    }

    fn uri(text: &str) -> SanType {
        SanType::URI(text.try_into().expect("ia5"))
    }

    fn with_names(names: Vec<SanType>) -> CertificateParams {
        let mut params = CertificateParams::default();
        params.subject_alt_names = names;
        params
    }

    fn sign(params: &CertificateParams) -> CertificateDer<'static> {
        let key = PrivateKey::generate().expect("key");
        params.self_signed(&key).expect("signed").into()
    }
}
