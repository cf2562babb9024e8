//! `[upstream.NAME]`: a cloud API, and where its credential is kept.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use ginnel_certs::private_file;
use ginnel_proto::id::UpstreamName;
use http::Uri;
use http::header::{AUTHORIZATION, HeaderName, HeaderValue};

use super::places::{Part, Places};
use super::{Purpose, parse};

/// The largest credential, in bytes: signed tokens have a few thousand.
const CREDENTIAL_MAX: usize = 16 * 1024;

/// What stands before the credential in `authorization`.
const BEARER: &str = "Bearer ";

/// Under which names people would write a credential into the file.
const CREDENTIAL_KEYS: [&str; 8] = [
    "api_key",
    "apikey",
    "bearer",
    "credential",
    "key",
    "password",
    "secret",
    "token",
];

/// A cloud API that devices may reach.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct UpstreamConfig {
    /// Where it is: scheme, host and path prefix.
    pub url: Uri,
    /// What it asks for; `None` if it asks for nothing.
    pub credential: Option<Credential>,
    /// Authorities that its certificate may come from beside the public ones,
    /// in PEM.
    pub ca_file: Option<PathBuf>,
}

/// What an upstream asks for, and where it stands.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Credential {
    /// The header field.
    pub header: HeaderName,
    /// Its value.
    pub value: Secret,
}

/// A header value that is never printed.
#[derive(Clone)]
pub struct Secret(HeaderValue);

impl Secret {
    /// Puts `prefix` and a credential together.
    ///
    /// # Errors
    /// It holds what no header can carry; the error does not repeat it.
    fn new(prefix: &str, credential: &str) -> Result<Self, &'static str> {
        let text = format!("{prefix}{credential}");
        let Ok(mut value) = HeaderValue::try_from(text) else {
            return Err("holds characters that no header can carry");
        };
        value.set_sensitive(true);
        Ok(Self(value))
    }

    /// The value, prefix included. It is marked sensitive.
    #[must_use]
    pub fn expose(&self) -> &HeaderValue {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}

/// All upstreams of the file.
pub(super) fn read(
    places: &mut Places<'_>,
    purpose: Purpose,
) -> BTreeMap<UpstreamName, UpstreamConfig> {
    let mut upstreams = BTreeMap::new();
    for part in places.parts("upstream") {
        let name = UpstreamName::parse(&part.name);
        let config = read_one(places, &part, purpose);
        match (name, config) {
            (Ok(name), Some(config)) => {
                upstreams.insert(name, config);
            }
            (Ok(_), None) => {}
            (Err(error), _) => places.mistakes.add(&part.place, error),
        }
    }
    upstreams
}

fn read_one(places: &mut Places<'_>, part: &Part, purpose: Purpose) -> Option<UpstreamConfig> {
    refuse_credentials(places, part);
    let allow_plain = places.find_in(part, "allow_plain", parse::boolean);
    let plain = match allow_plain {
        Some(true) => Plain::Anywhere,
        Some(false) | None => Plain::ThisMachine,
    };
    let url = places.need(part, "url", |text| check_url(text, plain));
    let header = places.find_in(part, "header", |text| {
        HeaderName::try_from(text).map_err(|_| format!("is not a header name, value={text:?}"))
    });
    let header = header.unwrap_or(AUTHORIZATION);
    let prefix = places.find_in(part, "prefix", |text| {
        Secret::new(text, "").map(|_| text.to_owned())
    });
    // Other headers, such as x-api-key, carry the bare credential.
    let usual = if header == AUTHORIZATION { BEARER } else { "" };
    let prefix = prefix.unwrap_or_else(|| usual.to_owned());
    let source = read_source(places, part);
    let ca_file = places.path_in(part, "ca_file");
    let credential = match (source, purpose) {
        (Some(source), Purpose::Run) => match resolve(places, &source, &prefix) {
            Ok(value) => Some(Credential { header, value }),
            Err(error) => {
                let what = format_args!("credential of {} {error}", part.name);
                places.mistakes.add(&part.place, what);
                None
            }
        },
        (_, Purpose::Find | Purpose::FindBucket) | (None, Purpose::Run) => None,
    };
    Some(UpstreamConfig {
        url: url?,
        credential,
        ca_file,
    })
}

fn refuse_credentials(places: &mut Places<'_>, part: &Part) {
    for key in CREDENTIAL_KEYS {
        let Some(place) = places.refuse_in(part, key) else {
            continue;
        };
        let what = format_args!(
            "upstream.{name}.{key}: a credential may not stand in this file; hint: put it into \
             a variable and name that: credential_env = \"{variable}\", or a file: \
             credential_file = \"…\"",
            name = part.name,
            variable = suggested_variable(&part.name),
        );
        places.mistakes.add(place, what);
    }
}

fn suggested_variable(name: &str) -> String {
    format!("{}_API_KEY", name.replace('-', "_").to_uppercase())
}

/// Where `http://` may lead.
#[derive(Debug, Clone, Copy)]
enum Plain {
    ThisMachine,
    Anywhere,
}

fn check_url(text: &str, plain: Plain) -> Result<Uri, String> {
    // What it holds beside a host may be a credential, so it is not repeated.
    if text.contains('@') {
        return Err("holds a user name or password; hint: use credential_env".to_owned());
    }
    if text.contains(['?', '#']) {
        return Err("has a query or fragment; hint: devices send their own".to_owned());
    }
    let uri: Uri = text
        .parse()
        .map_err(|_| format!("is not a URL, value={text:?}"))?;
    let host = uri.host().unwrap_or_default();
    if host.is_empty() {
        return Err(format!("is not a URL with a host, value={text:?}"));
    }
    match (uri.scheme_str(), plain) {
        (Some("https"), _) | (Some("http"), Plain::Anywhere) => Ok(uri),
        (Some("http"), Plain::ThisMachine) if is_loopback(host) => Ok(uri),
        (Some("http"), Plain::ThisMachine) => Err(format!(
            "would send the credential in the clear, value={text:?}; \
             hint: use https://, or set allow_plain = true"
        )),
        (Some(_) | None, _) => Err(format!("is neither http:// nor https://, value={text:?}")),
    }
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let address = bare.parse::<IpAddr>();
    host.eq_ignore_ascii_case("localhost")
        || address.is_ok_and(|ip| ip.to_canonical().is_loopback())
}

/// Where a credential is kept.
#[derive(Debug)]
enum Source {
    Variable(String),
    File(PathBuf),
}

fn read_source(places: &mut Places<'_>, part: &Part) -> Option<Source> {
    let variable = places.find_in(part, "credential_env", check_variable);
    let file = places.path_in(part, "credential_file");
    match (variable, file) {
        (Some(_), Some(_)) => {
            let what = "has both credential_env and credential_file; hint: remove one of them";
            places.mistakes.add(&part.place, what);
            None
        }
        (Some(variable), None) => Some(Source::Variable(variable)),
        (None, Some(file)) => Some(Source::File(file)),
        (None, None) => None,
    }
}

/// A credential that stands here by mistake is not repeated.
fn check_variable(text: &str) -> Result<String, &'static str> {
    let is_name = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    if text.is_empty() || text.len() > 100 || !text.chars().all(is_name) {
        return Err("is not the name of a variable; hint: names are of A-Z, 0-9 and _");
    }
    Ok(text.to_owned())
}

fn resolve(places: &Places<'_>, source: &Source, prefix: &str) -> Result<Secret, String> {
    match source {
        Source::Variable(name) => {
            let Some(value) = places.variable(name) else {
                return Err(format!(
                    "is missing, variable={name}; hint: set {name} before the start, \
                     or name a file: credential_file = \"…\""
                ));
            };
            let text = value.to_str().map(str::trim);
            checked(prefix, text).map_err(|reason| format!("{reason}, variable={name}"))
        }
        Source::File(path) => read_file(path, prefix)
            .map_err(|reason| format!("{reason}, credential_file={}", path.display())),
    }
}

fn read_file(path: &Path, prefix: &str) -> Result<Secret, String> {
    let bytes = private_file::read(path, CREDENTIAL_MAX).map_err(|error| chain(&error))?;
    let text = std::str::from_utf8(&bytes).ok().map(str::trim);
    checked(prefix, text).map_err(str::to_owned)
}

fn checked(prefix: &str, text: Option<&str>) -> Result<Secret, &'static str> {
    match text {
        Some("") => Err("is empty"),
        Some(text) if text.len() > CREDENTIAL_MAX => Err("is too long"),
        Some(text) => Secret::new(prefix, text),
        None => Err("is not text"),
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}
