//! The places where settings are found, and what was wrong in them.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::{self, Display};
use std::path::{Path, PathBuf};

use ginnel_daemon::environment::{self, Environment};
use ginnel_daemon::mistakes::Mistakes;
use ginnel_daemon::state_dir;
use ginnel_daemon::toml_file::TomlFile;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{FILE_NAME, Flags};

/// Flag, environment and file, and the mistakes found so far.
pub(super) struct Places<'a> {
    environment: Environment<'a>,
    /// The folder of everything the relay keeps.
    pub(super) state: PathBuf,
    /// The folder from which paths in the file start.
    folder: PathBuf,
    /// From the file: `link.listen` to its line and text.
    file: BTreeMap<String, Setting>,
    /// From the file: `upstream.openai` or `tcp.0` to its line.
    tables: BTreeMap<String, String>,
    /// What was wrong.
    pub(super) mistakes: Mistakes,
}

/// A setting in the file.
struct Setting {
    place: String,
    text: String,
}

/// One of several alike: an `[upstream.NAME]` or a `[[tcp]]`.
#[derive(Debug)]
pub(super) struct Part {
    /// What its settings' keys begin with.
    key: String,
    /// Its name, or its number.
    pub(super) name: String,
    /// Its line.
    pub(super) place: String,
}

impl<'a> Places<'a> {
    /// Finds the state folder and reads the file, if there is one.
    ///
    /// # Errors
    /// Neither is known, or the file is not TOML.
    pub(super) fn open(flags: &Flags, environment: Environment<'a>) -> Result<Self, Mistakes> {
        let file_flag = flags.config.clone();
        let chosen = file_flag.or_else(|| set(environment, "CONFIG").map(PathBuf::from));
        let (path, is_chosen) = match chosen {
            Some(path) => (path, true),
            None => (state_dir(flags, environment)?.join(FILE_NAME), false),
        };
        let mut mistakes = Mistakes::default();
        let read = TomlFile::read(&path)?;
        if read.is_none() && is_chosen {
            mistakes.add(path.display(), "there is no such file");
            return Err(mistakes);
        }
        let mut places = Self {
            environment,
            state: PathBuf::new(),
            folder: path.parent().unwrap_or_else(|| Path::new("")).to_owned(),
            file: BTreeMap::new(),
            tables: BTreeMap::new(),
            mistakes,
        };
        if let Some(file) = read {
            let Some(table) = file.table(&mut places.mistakes) else {
                return Err(places.mistakes);
            };
            places.gather(&file, "", &table);
        }
        places.state = places.find_state(flags)?;
        Ok(places)
    }

    /// The setting with a key, from the first place that has it. Texts in the
    /// other places are checked too. The flag is its name and its text.
    pub(super) fn find<T, E: Display>(
        &mut self,
        key: &str,
        flag: Option<(&'static str, &str)>,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Option<T> {
        let mut found = None;
        let mut check = |place: &dyn Display, text: &str| match parse(text) {
            Ok(value) => found = Some(value),
            Err(error) => self.mistakes.add(place, error),
        };
        if let Some(Setting { place, text }) = self.file.remove(key) {
            check(&format_args!("{place}: {key}"), &text);
        }
        let variable = variable(key);
        if let Some(value) = set(self.environment, &variable) {
            let place = format_args!("{PREFIX}{variable}");
            check(&place, &value.to_string_lossy());
        }
        if let Some((name, text)) = flag {
            check(&name, text);
        }
        found
    }

    /// A setting that is a path. In the file it starts from the file's folder.
    pub(super) fn find_path(&mut self, key: &str) -> Option<PathBuf> {
        let in_file = self.file.remove(key);
        let in_file = in_file.map(|setting| self.folder.join(setting.text));
        let in_environment = set(self.environment, &variable(key)).map(PathBuf::from);
        in_environment.or(in_file)
    }

    /// Whether any place but the flags has the setting.
    pub(super) fn is_set(&self, key: &str) -> bool {
        self.file.contains_key(key) || set(self.environment, &variable(key)).is_some()
    }

    /// All `[upstream.NAME]`, or all `[[tcp]]`, in order.
    pub(super) fn parts(&self, of: &str) -> Vec<Part> {
        let inside = |key: &str| Some(key.strip_prefix(of)?.strip_prefix('.')?.to_owned());
        let part = |(key, place): (&String, &String)| {
            let name = inside(key).filter(|name| !name.contains('.'))?;
            Some(Part {
                key: key.clone(),
                name,
                place: place.clone(),
            })
        };
        let mut parts: Vec<Part> = self.tables.iter().filter_map(part).collect();
        // `tcp.10` comes after `tcp.9`.
        parts.sort_by_key(|part| part.name.parse::<usize>().unwrap_or_default());
        parts
    }

    /// A setting of a part, if it has it.
    pub(super) fn find_in<T, E: Display>(
        &mut self,
        part: &Part,
        key: &str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Option<T> {
        let key = format!("{}.{key}", part.key);
        let Setting { place, text } = self.file.remove(&key)?;
        match parse(&text) {
            Ok(value) => Some(value),
            Err(error) => {
                self.mistakes.add(format_args!("{place}: {key}"), error);
                None
            }
        }
    }

    /// A setting that a part must have.
    pub(super) fn need<T, E: Display>(
        &mut self,
        part: &Part,
        key: &str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Option<T> {
        if !self.file.contains_key(&format!("{}.{key}", part.key)) {
            let what = format_args!("{key} is missing");
            self.mistakes.add(&part.place, what);
        }
        self.find_in(part, key, parse)
    }

    /// A part's setting that is a path, from the file's folder.
    pub(super) fn path_in(&mut self, part: &Part, key: &str) -> Option<PathBuf> {
        let folder = self.folder.clone();
        let join = |text: &str| Ok::<_, std::convert::Infallible>(folder.join(text));
        self.find_in(part, key, join)
    }

    /// Takes a part's setting that may not be there; its line if it was.
    pub(super) fn refuse_in(&mut self, part: &Part, key: &str) -> Option<String> {
        let setting = self.file.remove(&format!("{}.{key}", part.key))?;
        Some(setting.place)
    }

    /// The variable's text, by its own full name.
    pub(super) fn variable(&self, name: &str) -> Option<OsString> {
        environment::set(self.environment, name)
    }

    /// What is left in the file is nobody's key.
    pub(super) fn finish(mut self) -> Mistakes {
        for (key, Setting { place, .. }) in &self.file {
            let what = format_args!("{key} is not a known key");
            self.mistakes.add(place, what);
        }
        for (table, place) in &self.tables {
            let begins = format!("{table}.");
            let has_keys = self.file.keys().any(|key| key.starts_with(&begins));
            // Its keys have been told already.
            if !has_keys && !is_known_table(table) {
                let what = format_args!("{table} is not a known table");
                self.mistakes.add(place, what);
            }
        }
        self.mistakes
    }

    /// Flattens the file: `[link]`, `listen = …` becomes `link.listen`.
    fn gather(&mut self, file: &TomlFile, prefix: &str, table: &DeTable<'_>) {
        for (key, value) in table {
            let place = file.place(key.span());
            let key = match prefix {
                "" => key.get_ref().to_string(),
                _ => format!("{prefix}.{}", key.get_ref()),
            };
            self.gather_value(file, key, place, value);
        }
    }

    fn gather_value(
        &mut self,
        file: &TomlFile,
        key: String,
        place: String,
        value: &Spanned<DeValue<'_>>,
    ) {
        let text = match value.get_ref() {
            DeValue::String(text) => text.to_string(),
            DeValue::Integer(number) => number.to_string(),
            DeValue::Boolean(boolean) => boolean.to_string(),
            DeValue::Table(table) => {
                self.gather(file, &key, table);
                self.tables.insert(key, place);
                return;
            }
            DeValue::Array(values) if key == "tcp" => {
                for (index, value) in values.iter().enumerate() {
                    let place = file.place(value.span());
                    self.gather_value(file, format!("{key}.{index}"), place, value);
                }
                return;
            }
            DeValue::Array(_) | DeValue::Float(_) | DeValue::Datetime(_) => {
                let found = value.get_ref().type_str();
                let what = format_args!("{key} cannot be of this type, found={found}");
                self.mistakes.add(place, what);
                return;
            }
        };
        self.file.insert(key, Setting { place, text });
    }

    fn find_state(&mut self, flags: &Flags) -> Result<PathBuf, Mistakes> {
        let in_file = self.file.remove("state");
        let named = in_file.map(|setting| self.folder.join(setting.text));
        let state = match (named, &flags.state, set(self.environment, "STATE")) {
            (Some(named), None, None) => named,
            _ => state_dir(flags, self.environment)?,
        };
        state_dir::absolute(&state)
    }
}

impl fmt::Debug for Places<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The file's texts may be secrets that stand there by mistake.
        f.debug_struct("Places")
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

/// The state folder, absolute: flag, `GINNEL_RELAY_STATE`, or the platform's
/// place.
///
/// # Errors
/// The platform's place is not known: there is no home folder.
pub(crate) fn state_dir(flags: &Flags, environment: Environment<'_>) -> Result<PathBuf, Mistakes> {
    let chosen = flags.state.clone();
    let chosen = chosen.or_else(|| set(environment, "STATE").map(PathBuf::from));
    state_dir::find(chosen, "ginnel-relay", environment)
}

fn is_known_table(table: &str) -> bool {
    match table.split_once('.') {
        Some(("upstream" | "tcp", part)) => !part.contains('.'),
        Some(_) => table == "public.tls",
        None => matches!(table, "admin" | "bucket" | "link" | "public" | "upstream"),
    }
}

/// What all our variables begin with.
const PREFIX: &str = "GINNEL_RELAY_";

/// `link.listen` is set by `GINNEL_RELAY_LINK_LISTEN`: what follows [`PREFIX`].
fn variable(key: &str) -> String {
    key.replace('.', "_").to_uppercase()
}

fn set(environment: Environment<'_>, name: &str) -> Option<OsString> {
    environment::set(environment, &format!("{PREFIX}{name}"))
}
