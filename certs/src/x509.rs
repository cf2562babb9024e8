//! Reading certificates: the few things the other modules ask of one.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::pki_types::CertificateDer;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;
use x509_parser::time::ASN1Time;

use crate::error::Error;

/// Parses one certificate and nothing after it.
pub(crate) fn parse<'a>(der: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, Error> {
    let Ok((rest, certificate)) = X509Certificate::from_der(der) else {
        return Err(Error::Certificate("is not a DER certificate"));
    };
    if !rest.is_empty() {
        return Err(Error::Certificate("has bytes after its end"));
    }
    Ok(certificate)
}

/// Whether a certificate may sign others (RFC 5280 §4.2.1.9).
pub(crate) fn is_authority(certificate: &X509Certificate<'_>) -> Result<bool, Error> {
    let constraints = certificate
        .basic_constraints()
        .map_err(|_| Error::Certificate("has malformed basic constraints"))?;
    Ok(constraints.is_some_and(|extension| extension.value.ca))
}

/// The raw public key, without its algorithm.
pub(crate) fn public_key<'a>(certificate: &'a X509Certificate<'_>) -> &'a [u8] {
    &certificate.public_key().subject_public_key.data
}

/// A certificate's date as system time.
pub(crate) fn system_time(time: ASN1Time) -> Result<SystemTime, Error> {
    let Ok(seconds) = u64::try_from(time.timestamp()) else {
        return Err(Error::Certificate("is dated before 1970"));
    };
    UNIX_EPOCH
        .checked_add(Duration::from_secs(seconds))
        .ok_or(Error::Certificate("is dated beyond this system's clock"))
}
