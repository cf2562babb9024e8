//! The settings of `ginnel up`.
//!
//! A setting is looked for in four places; the first that has it wins: flag,
//! environment, `config.toml` in the state folder, default. Every place is
//! checked even where another one wins, and all mistakes are told at once.
//!
//! ```toml
//! # config.toml, with the defaults
//! local = "127.0.0.1:7411"
//! log = "info"
//! log_format = "text"
//! congestion = "cubic"
//! max_requests = 4096
//! ```

use std::collections::BTreeMap;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use ginnel_daemon::environment::{Environment, set};
use ginnel_daemon::log::{self, LogFormat};
use ginnel_daemon::mistakes::Mistakes;
use ginnel_daemon::state_dir;
use ginnel_daemon::toml_file::TomlFile;
use ginnel_link::transport::Congestion;
use ginnel_proto::limits::STREAMS_MAX;
use toml::de::DeValue;

/// The settings' file in the state folder.
pub const FILE_NAME: &str = "config.toml";

/// Where the local API listens unless told otherwise.
const LOCAL: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 7411);

/// All settings of the daemon, valid.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {
    /// The folder of everything this device keeps.
    pub state: PathBuf,
    /// Where the local API and gateway listen: a loopback address.
    pub local: SocketAddr,
    /// Which events are logged, in the form of [`log::filter`].
    pub log: String,
    /// What log lines look like.
    pub log_format: LogFormat,
    /// Which algorithm decides how much may be in flight.
    pub congestion: Congestion,
    /// Requests worked on at once for the relay; more are refused.
    pub max_requests: usize,
}

/// Settings as a person gave them on the command line.
#[derive(Debug, Clone, Default)]
pub struct Flags {
    /// `--state`.
    pub state: Option<PathBuf>,
    /// `--local`.
    pub local: Option<String>,
    /// `--log`.
    pub log: Option<String>,
    /// `--log-format`.
    pub log_format: Option<String>,
    /// `--congestion`.
    pub congestion: Option<String>,
    /// `--max-requests`.
    pub max_requests: Option<String>,
}

impl Config {
    /// A state folder with every setting at its default.
    #[must_use]
    pub fn new(state: impl Into<PathBuf>) -> Self {
        Self {
            state: state.into(),
            local: LOCAL,
            log: "info".to_owned(),
            log_format: LogFormat::default(),
            congestion: Congestion::default(),
            max_requests: STREAMS_MAX as usize,
        }
    }

    /// Gathers the settings.
    ///
    /// # Errors
    /// All mistakes in all places.
    pub fn load(flags: &Flags, environment: Environment<'_>) -> Result<Self, Mistakes> {
        let state = state_dir(flags.state.as_deref(), environment)?;
        let mut places = Places::new(environment);
        let read = TomlFile::read(&state.join(FILE_NAME));
        match &read {
            Ok(Some(file)) => places.read_file(file),
            Ok(None) => {}
            Err(mistakes) => places.mistakes = mistakes.clone(),
        }
        let default = Self::new(state);
        let config = Self {
            local: places
                .find("local", &flags.local, local)
                .unwrap_or(default.local),
            log: places
                .find("log", &flags.log, log::filter)
                .unwrap_or(default.log),
            log_format: places
                .find("log_format", &flags.log_format, str::parse)
                .unwrap_or_default(),
            congestion: places
                .find("congestion", &flags.congestion, str::parse)
                .unwrap_or_default(),
            max_requests: places
                .find("max_requests", &flags.max_requests, max_requests)
                .unwrap_or(default.max_requests),
            state: default.state,
        };
        places.finish().or(config)
    }
}

/// The state folder, absolute: flag, `GINNEL_STATE`, or the platform's place.
///
/// # Errors
/// The platform's place is not known: there is no home folder.
pub fn state_dir(flag: Option<&Path>, environment: Environment<'_>) -> Result<PathBuf, Mistakes> {
    let chosen = flag.map(Path::to_owned);
    let chosen = chosen.or_else(|| set(environment, "GINNEL_STATE").map(PathBuf::from));
    state_dir::find(chosen, "ginnel", environment)
}

/// The places where settings are, and what was wrong in them.
struct Places<'a> {
    environment: Environment<'a>,
    /// From `config.toml`: key to place and text.
    file: BTreeMap<String, (String, String)>,
    mistakes: Mistakes,
}

impl<'a> Places<'a> {
    fn new(environment: Environment<'a>) -> Self {
        Self {
            environment,
            file: BTreeMap::new(),
            mistakes: Mistakes::default(),
        }
    }

    fn read_file(&mut self, file: &TomlFile) {
        let Some(table) = file.table(&mut self.mistakes) else {
            return;
        };
        for (key, value) in &table {
            let place = file.place(key.span());
            let key = key.get_ref();
            let text = match value.get_ref() {
                DeValue::String(text) => text.to_string(),
                DeValue::Integer(number) => number.to_string(),
                DeValue::Float(_)
                | DeValue::Boolean(_)
                | DeValue::Datetime(_)
                | DeValue::Array(_)
                | DeValue::Table(_) => {
                    let found = value.get_ref().type_str();
                    let what = format_args!("{key} is neither text nor a number, found={found}");
                    self.mistakes.add(place, what);
                    continue;
                }
            };
            self.file.insert(key.to_string(), (place, text));
        }
    }

    /// The setting with a key, from the first place that has it. Texts in the
    /// other places are checked too.
    fn find<T>(
        &mut self,
        key: &str,
        flag: &Option<String>,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        let mut found = None;
        let mut check = |place: &dyn fmt::Display, text: &str| match parse(text) {
            Ok(value) => found = Some(value),
            Err(error) => self.mistakes.add(place, error),
        };
        if let Some((place, text)) = self.file.remove(key) {
            check(&format_args!("{place}: {key}"), &text);
        }
        let name = format!("GINNEL_{}", key.to_uppercase());
        if let Some(value) = set(self.environment, &name) {
            check(&name, &value.to_string_lossy());
        }
        if let Some(text) = flag {
            check(&format_args!("--{}", key.replace('_', "-")), text);
        }
        found
    }

    /// What is left in the file is nobody's key.
    fn finish(mut self) -> Mistakes {
        for (key, (place, _)) in &self.file {
            self.mistakes
                .add(place, format_args!("{key} is not a known key"));
        }
        self.mistakes
    }
}

fn local(text: &str) -> Result<SocketAddr, String> {
    let Ok(address) = text.parse::<SocketAddr>() else {
        return Err(format!("is not of the form 127.0.0.1:PORT, value={text:?}"));
    };
    if !address.ip().is_loopback() {
        return Err(format!(
            "other machines could reach it, address={address}; hint: use 127.0.0.1:{}",
            address.port()
        ));
    }
    Ok(address)
}

/// More than a link has streams would be a setting without effect.
fn max_requests(text: &str) -> Result<usize, String> {
    let max = STREAMS_MAX as usize;
    match text.parse() {
        Ok(count) if (1..=max).contains(&count) => Ok(count),
        _ => Err(format!("is not a number from 1 to {max}, value={text:?}")),
    }
}

#[cfg(test)]
#[path = "config/tests.rs"]
mod tests;
