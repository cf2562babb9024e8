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
//!
//! [store]
//! vector_engine = "scan"
//!
//! [embed]                  # nothing by default; one of the two:
//! folder = "/models/all-MiniLM-L6-v2"
//! endpoint = "http://127.0.0.1:11434/v1"
//! model = "nomic-embed-text"
//! api_key_file = "/run/secrets/embeddings"
//! tokens_max = 254         # of a passage, with an endpoint
//!
//! [models]
//! folder = "/home/jane/models"    # the folder models of the state folder
//! budget = "200 GB"               # as much as there is
//! bandwidth = "5 MB"              # a second, both ways together; as much as there is
//! schedule = "22:00-06:30"        # local time; always
//! pull = "tunnel"                 # or "direct"; "auto" takes the direct way where it works
//! ```
//!
//! Without `embed`, a model in the folder `embedder` of the state folder is
//! used, if there is one.

mod embed;

use std::collections::BTreeMap;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use ginnel_daemon::environment::{Environment, set};
use ginnel_daemon::log::{self, LogFormat};
use ginnel_daemon::mistakes::Mistakes;
use ginnel_daemon::quantity::parse_bytes;
use ginnel_daemon::state_dir;
use ginnel_daemon::toml_file::TomlFile;
use ginnel_link::transport::Congestion;
use ginnel_proto::limits::STREAMS_MAX;
use ginnel_store::vector::engine::Engine;
use toml::de::DeValue;

use crate::embed::EmbedSettings;
use crate::knowledge::settings::{KnowledgeSettings, STORE_FOLDER};
use crate::models::settings::{MODELS_FOLDER, ModelsSettings};
use crate::sync::Settings;

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
    /// Which vector engine the store uses.
    pub vector_engine: Engine,
    /// Where the extension `sqlite-vss` is, if it is the engine.
    pub vss_dir: Option<PathBuf>,
    /// Where vectors come from.
    pub embed: Option<EmbedSettings>,
    /// Where models are.
    pub models_folder: PathBuf,
    /// Bytes that models may take.
    pub models_budget: Option<u64>,
    /// How artifacts travel.
    pub sync: Settings,
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
        let state = state.into();
        Self {
            models_folder: state.join(MODELS_FOLDER),
            models_budget: None,
            sync: Settings::default(),
            state,
            local: LOCAL,
            log: "info".to_owned(),
            log_format: LogFormat::default(),
            congestion: Congestion::default(),
            max_requests: STREAMS_MAX as usize,
            vector_engine: Engine::default(),
            vss_dir: None,
            embed: None,
        }
    }

    /// How this device keeps what it knows.
    #[must_use]
    pub fn knowledge(&self, origin: &str) -> KnowledgeSettings {
        KnowledgeSettings {
            folder: self.state.join(STORE_FOLDER),
            engine: self.vector_engine,
            vss_dir: self.vss_dir.clone(),
            origin: origin.to_owned(),
            embed: self.embed.clone(),
            models: self.models(),
        }
    }

    /// How this device keeps models.
    #[must_use]
    pub fn models(&self) -> ModelsSettings {
        ModelsSettings {
            folder: self.models_folder.clone(),
            budget: self.models_budget,
            embedder: match &self.embed {
                Some(EmbedSettings::Folder(folder)) => Some(folder.clone()),
                Some(EmbedSettings::Endpoint(_)) | None => None,
            },
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
            vector_engine: places
                .find("store.vector_engine", &None, text_of(str::parse))
                .unwrap_or_default(),
            vss_dir: places.find("store.vss_dir", &None, path),
            embed: embed::load(&mut places, &default.state),
            models_folder: places
                .find("models.folder", &None, path)
                .unwrap_or(default.models_folder),
            models_budget: places.find("models.budget", &None, parse_bytes),
            sync: Settings {
                bandwidth: places.find("models.bandwidth", &None, parse_bytes),
                way: places
                    .find("models.pull", &None, str::parse)
                    .unwrap_or_default(),
                schedule: places.find("models.schedule", &None, str::parse),
            },
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
            match value.get_ref() {
                DeValue::Table(part) => {
                    for (inner, value) in part {
                        let place = file.place(inner.span());
                        self.read_value(
                            format!("{key}.{}", inner.get_ref()),
                            place,
                            value.get_ref(),
                        );
                    }
                }
                value @ (DeValue::String(_)
                | DeValue::Integer(_)
                | DeValue::Float(_)
                | DeValue::Boolean(_)
                | DeValue::Datetime(_)
                | DeValue::Array(_)) => self.read_value(key.to_string(), place, value),
            }
        }
    }

    fn read_value(&mut self, key: String, place: String, value: &DeValue<'_>) {
        let text = match value {
            DeValue::String(text) => text.to_string(),
            DeValue::Integer(number) => number.to_string(),
            DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_)
            | DeValue::Array(_)
            | DeValue::Table(_) => {
                let found = value.type_str();
                let what = format_args!("{key} is neither text nor a number, found={found}");
                self.mistakes.add(place, what);
                return;
            }
        };
        self.file.insert(key, (place, text));
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
        let name = format!("GINNEL_{}", key.to_uppercase().replace('.', "_"));
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

/// A parser whose error is told as text.
fn text_of<T, E: fmt::Display>(
    parse: impl Fn(&str) -> Result<T, E>,
) -> impl Fn(&str) -> Result<T, String> {
    move |text| parse(text).map_err(|error| error.to_string())
}

fn path(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    match path.is_absolute() {
        true => Ok(path),
        false => Err(format!("is not an absolute path, value={text:?}")),
    }
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
