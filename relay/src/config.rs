//! The settings of `ginnel-relay dev` and `ginnel-relay serve`.
//!
//! A setting is looked for in four places; the first that has it wins: flag,
//! environment, `relay.toml`, default. Every place is checked even where
//! another one wins, and all mistakes are told at once. The variable of
//! `link.listen` is `GINNEL_RELAY_LINK_LISTEN`, and so on; `[[tcp]]` and
//! `[upstream.NAME]` stand in the file only.
//!
//! Credentials of upstreams never stand in the file: it names the variable or
//! the file that holds each.

pub mod bucket;
pub mod parse;
pub mod place;
pub mod upstream;

pub(crate) mod places;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ginnel_daemon::environment::Environment;
use ginnel_daemon::log::{self, LogFormat};
use ginnel_daemon::mistakes::Mistakes;
use ginnel_link::transport::Congestion;
use ginnel_proto::id::{self, DeviceName, Domain, ServiceName, UpstreamName};

use self::bucket::BucketConfig;
use self::parse::{BaseUrl, HostPort};
use self::places::Places;
use self::upstream::UpstreamConfig;
use crate::relay::PublicUrl;

/// The settings' file in the state folder.
pub const FILE_NAME: &str = "relay.toml";

/// The ports of a relay in development: HTTPS and QUIC's own need privileges.
const DEV_LINK_PORT: u16 = 7443;
const DEV_PUBLIC_PORT: u16 = 7480;
const SERVE_PORT: u16 = 443;
const ADMIN_PORT: u16 = 7490;

/// Public connections at once, unless told otherwise. Each is one open file:
/// ten times the usual soft limit of a service manager, and a small part of
/// its usual hard one. Where even that is too low, see [`crate::room`].
const CONNECTIONS_MAX: usize = 10_000;

/// How long requests may take to finish at a stop, unless told otherwise.
const GRACE: Duration = Duration::from_secs(30);

/// All settings of the relay, valid.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Config {
    /// What the relay runs for.
    pub mode: Mode,
    /// The folder of everything the relay keeps.
    pub state: PathBuf,
    /// The relay's name, and the trust domain of its devices.
    pub domain: Domain,
    /// The stage it belongs to; devices of another are refused.
    pub environment: id::Environment,
    /// Where devices connect.
    pub link: LinkConfig,
    /// Where callers connect.
    pub public: PublicConfig,
    /// Where health, metrics and live devices are asked for.
    pub admin: SocketAddr,
    /// Ports that lead to one TCP service each.
    pub tcp: Vec<TcpPort>,
    /// The cloud APIs that devices may reach.
    pub upstreams: BTreeMap<UpstreamName, UpstreamConfig>,
    /// Where artifacts are kept, and how much of them.
    pub bucket: BucketConfig,
    /// How long requests may take to finish at a stop.
    pub grace: Duration,
    /// Which events are logged, in the form of
    /// [`log::filter`].
    pub log: String,
    /// What log lines look like.
    pub log_format: LogFormat,
}

/// What a relay runs for: it decides the defaults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// One person's machine: `localhost`, no TLS for callers.
    Dev,
    /// The internet.
    Serve,
}

/// What the settings are read for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// To run the relay: all that it needs must be there.
    Run,
    /// To find it: see [`place::RelayPlace`].
    Find,
    /// To find it, and its bucket.
    FindBucket,
}

/// Where devices connect, over QUIC.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LinkConfig {
    /// The UDP address to listen at.
    pub listen: SocketAddr,
    /// What join codes say instead of the domain and the port.
    pub advertise: Option<HostPort>,
    /// Which algorithm decides how much may be in flight.
    pub congestion: Congestion,
}

/// Where callers connect, over HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PublicConfig {
    /// The TCP address to listen at.
    pub listen: SocketAddr,
    /// The certificate for callers; `None` to speak plain HTTP.
    pub tls: Option<TlsFiles>,
    /// How callers see the relay, if not as it listens.
    pub url: Option<BaseUrl>,
    /// Connections at once, if open files suffice; more have to wait.
    pub connections_max: usize,
}

/// A certificate and its key, in PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TlsFiles {
    /// The certificate, then those that lead to its authority.
    pub certificate: PathBuf,
    /// The certificate's key.
    pub key: PathBuf,
}

/// A port of the relay that leads to a public TCP service.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TcpPort {
    /// The TCP address to listen at.
    pub listen: SocketAddr,
    /// The device.
    pub device: DeviceName,
    /// The service on it.
    pub service: ServiceName,
}

/// Settings as a person gave them on the command line.
#[derive(Debug, Clone, Default)]
pub struct Flags {
    /// `--state`.
    pub state: Option<PathBuf>,
    /// `--config`.
    pub config: Option<PathBuf>,
    /// `--link`.
    pub link: Option<String>,
    /// `--public`.
    pub public: Option<String>,
    /// `--admin`.
    pub admin: Option<String>,
}

impl Config {
    /// The settings of a relay for one person's machine.
    ///
    /// # Errors
    /// All mistakes in all places.
    pub fn dev(flags: &Flags, environment: Environment<'_>) -> Result<Self, Mistakes> {
        let places = Places::open(flags, environment)?;
        Self::read(Mode::Dev, places, flags, Purpose::Run)
    }

    /// The settings of a relay for the internet: it needs a domain, and a
    /// certificate unless `plain` says that another program speaks TLS.
    ///
    /// # Errors
    /// All mistakes in all places.
    pub fn serve(flags: &Flags, environment: Environment<'_>) -> Result<Self, Mistakes> {
        let places = Places::open(flags, environment)?;
        Self::read(Mode::Serve, places, flags, Purpose::Run)
    }

    /// How callers see a relay that listens there.
    #[must_use]
    pub fn public_url(&self, listening: SocketAddr) -> PublicUrl {
        let scheme = match self.public.tls {
            Some(_) => "https",
            None => "http",
        };
        let url = self.public.url.unwrap_or_else(|| BaseUrl {
            scheme,
            port: listening.port(),
        });
        PublicUrl {
            scheme: url.scheme,
            domain: self.domain.clone(),
            port: url.shown_port(),
        }
    }

    /// What join codes say of a relay that takes links there: `HOST:PORT`.
    #[must_use]
    pub fn advertise(&self, listening: SocketAddr) -> String {
        if let Some(advertise) = &self.link.advertise {
            return advertise.to_string();
        }
        match self.mode {
            Mode::Serve => format!("{}:{}", self.domain, listening.port()),
            Mode::Dev => reachable(listening).to_string(),
        }
    }

    fn read(
        mode: Mode,
        mut places: Places<'_>,
        flags: &Flags,
        purpose: Purpose,
    ) -> Result<Self, Mistakes> {
        let state = places.state.clone();
        let domain = read_domain(mode, &mut places);
        let environment = places.find("environment", None, str::parse);
        let default = match mode {
            Mode::Dev => "dev",
            Mode::Serve => "production",
        };
        let config = Self {
            mode,
            bucket: bucket::read(&mut places, &state, purpose),
            state,
            environment: environment.unwrap_or_else(|| valid(default)),
            link: read_link(mode, &mut places, flags),
            public: read_public((mode, purpose), &mut places, flags, &domain),
            admin: places
                .find(
                    "admin.listen",
                    flag("--admin", &flags.admin),
                    parse::address,
                )
                .unwrap_or_else(|| local(ADMIN_PORT)),
            tcp: read_tcp(&mut places),
            upstreams: upstream::read(&mut places, purpose),
            grace: places.find("grace", None, parse::seconds).unwrap_or(GRACE),
            log: places
                .find("log", None, log::filter)
                .unwrap_or_else(|| "info".to_owned()),
            log_format: places
                .find("log_format", None, str::parse)
                .unwrap_or_default(),
            domain,
        };
        places.finish().or(config)
    }
}

fn read_domain(mode: Mode, places: &mut Places<'_>) -> Domain {
    let is_set = places.is_set("domain");
    let domain = places.find("domain", None, str::parse);
    if mode == Mode::Serve && !is_set {
        let hint = "make a relay.toml with: ginnel-relay init --domain DOMAIN";
        let what =
            format_args!("is missing: devices and callers find the relay by it; hint: {hint}");
        places.mistakes.add("domain", what);
    }
    domain.unwrap_or_else(|| valid("localhost"))
}

fn read_link(mode: Mode, places: &mut Places<'_>, flags: &Flags) -> LinkConfig {
    let default = match mode {
        Mode::Dev => local(DEV_LINK_PORT),
        Mode::Serve => everywhere(SERVE_PORT),
    };
    LinkConfig {
        listen: places
            .find("link.listen", flag("--link", &flags.link), parse::address)
            .unwrap_or(default),
        advertise: places.find("link.advertise", None, str::parse),
        congestion: places
            .find("link.congestion", None, str::parse)
            .unwrap_or_default(),
    }
}

fn read_public(
    (mode, purpose): (Mode, Purpose),
    places: &mut Places<'_>,
    flags: &Flags,
    domain: &Domain,
) -> PublicConfig {
    let default = match mode {
        Mode::Dev => local(DEV_PUBLIC_PORT),
        Mode::Serve => everywhere(SERVE_PORT),
    };
    let url = |text: &str| BaseUrl::parse(text, domain);
    PublicConfig {
        listen: places
            .find(
                "public.listen",
                flag("--public", &flags.public),
                parse::address,
            )
            .unwrap_or(default),
        tls: read_tls((mode, purpose), places),
        url: places.find("public.url", None, url),
        connections_max: places
            .find("public.connections_max", None, parse::connections)
            .unwrap_or(CONNECTIONS_MAX),
    }
}

fn read_tls(of: (Mode, Purpose), places: &mut Places<'_>) -> Option<TlsFiles> {
    let certificate = places.find_path("public.tls.certificate");
    let key = places.find_path("public.tls.key");
    let plain = places
        .find("public.plain", None, parse::boolean)
        .unwrap_or(false);
    let mistakes = &mut places.mistakes;
    match (certificate, key) {
        (Some(certificate), Some(key)) => {
            if plain {
                let what = "cannot be true beside public.tls; hint: remove one of them";
                mistakes.add("public.plain", what);
            }
            return Some(TlsFiles { certificate, key });
        }
        (Some(_), None) => mistakes.add("public.tls", "has a certificate and no key"),
        (None, Some(_)) => mistakes.add("public.tls", "has a key and no certificate"),
        (None, None) if of == (Mode::Serve, Purpose::Run) && !plain => mistakes.add(
            "public.tls",
            "is missing, so callers would speak plain HTTP; hint: name the PEM files: \
             tls = { certificate = \"…\", key = \"…\" }, or set plain = true if a proxy \
             in front speaks TLS",
        ),
        (None, None) => {}
    }
    None
}

fn read_tcp(places: &mut Places<'_>) -> Vec<TcpPort> {
    let mut ports: Vec<TcpPort> = Vec::new();
    for part in places.parts("tcp") {
        let listen = places.need(&part, "listen", parse::address);
        let device = places.need(&part, "device", str::parse);
        let service = places.need(&part, "service", str::parse);
        let (Some(listen), Some(device), Some(service)) = (listen, device, service) else {
            continue;
        };
        let is_taken = listen.port() != 0 && ports.iter().any(|port| port.listen == listen);
        if is_taken {
            let what = format_args!("listen is that of another [[tcp]], listen={listen}");
            places.mistakes.add(&part.place, what);
            continue;
        }
        ports.push(TcpPort {
            listen,
            device,
            service,
        });
    }
    ports
}

fn flag<'a>(name: &'static str, text: &'a Option<String>) -> Option<(&'static str, &'a str)> {
    Some((name, text.as_deref()?))
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}

/// All of the machine's addresses, IPv4 too.
fn everywhere(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), port)
}

/// Where this machine itself reaches a socket that listens there.
pub(crate) fn reachable(listening: SocketAddr) -> SocketAddr {
    let ip = match listening.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip @ (IpAddr::V4(_) | IpAddr::V6(_)) => ip,
    };
    SocketAddr::new(ip, listening.port())
}

/// A name that is written in this file.
fn valid<T: std::str::FromStr>(name: &str) -> T
where
    T::Err: std::fmt::Debug,
{
    name.parse().expect("our defaults are valid names")
}
