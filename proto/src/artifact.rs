//! Names of artifacts: models, adapters and data sets in the bucket.
//!
//! A name says which artifact a device means, never where it lies: the relay
//! makes the bucket's key from it and from the user in the device's
//! certificate.

use std::fmt;
use std::str::FromStr;

use crate::id::{InvalidName, JobId, LoraId};

/// The longest file name, in bytes. Buckets take keys of 1,024, and file
/// systems names of 255, of which temporary files need some.
pub const FILE_NAME_MAX: usize = 200;

/// Something with a name and bytes that devices push and pull.
///
/// As text: `models/FILE`, `models/~/FILE` for a private one,
/// `loras/ID`, `training/datasets/JOB`, `training/outputs/JOB`,
/// `knowledge/~/embeddings.db` or with `.enc` behind it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Artifact {
    /// A model that all users see; who pushed the name first owns it.
    SharedModel(FileName),
    /// A model of the user who asks.
    PrivateModel(FileName),
    /// An adapter, with what the registry knows of it.
    Lora(LoraId),
    /// What a job trains on.
    Dataset(JobId),
    /// What a job made.
    Output(JobId),
    /// What the devices of the user who asks know, as one database.
    Knowledge(Cover),
}

/// Whether knowledge can be read by whoever has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cover {
    /// It is a plain database.
    Plain,
    /// Only the user's devices can read it.
    Sealed,
}

impl Cover {
    /// What the database is called.
    #[must_use]
    pub fn file_name(self) -> &'static str {
        match self {
            Self::Plain => "embeddings.db",
            Self::Sealed => "embeddings.db.enc",
        }
    }

    /// The cover of a database that is called so.
    #[must_use]
    pub fn of(file_name: &str) -> Option<Self> {
        let all = [Self::Plain, Self::Sealed];
        all.into_iter().find(|it| it.file_name() == file_name)
    }
}

/// The name of a file that is safe on every file system and in every URL.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileName(Box<str>);

impl FileName {
    /// Parses a name of letters, digits and `.` `_` `-` `+` `=` `@`, that
    /// begins with a letter or digit, does not end with a dot, has no two dots
    /// in a row, and is no name that Windows keeps for devices.
    ///
    /// # Errors
    /// [`InvalidName`] says which rule the text breaks.
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        let wrong = |reason| Err(InvalidName::new("file name", reason, text));
        let bytes = text.as_bytes();
        let Some(first) = bytes.first() else {
            return wrong("is empty");
        };
        if bytes.len() > FILE_NAME_MAX {
            return wrong("is longer than 200 characters");
        }
        if !first.is_ascii_alphanumeric() {
            return wrong("does not begin with a letter or a digit");
        }
        let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"._-+=@".contains(byte);
        if !bytes.iter().all(allowed) {
            return wrong("may hold only letters, digits and . _ - + = @");
        }
        if text.contains("..") || text.ends_with('.') {
            return wrong("has dots in a row or at its end");
        }
        if is_device(text) {
            return wrong("is one that Windows keeps for a device");
        }
        Ok(Self(text.into()))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether opening a file of this name on Windows opens something else.
/// <https://learn.microsoft.com/windows/win32/fileio/naming-a-file>
fn is_device(name: &str) -> bool {
    let stem = name.split_once('.').map_or(name, |(stem, _)| stem);
    let stem = stem.to_ascii_uppercase();
    let numbered = |prefix: &str| {
        let digit = stem.strip_prefix(prefix).map(str::as_bytes);
        matches!(digit, Some([b'0'..=b'9']))
    };
    matches!(&*stem, "CON" | "PRN" | "AUX" | "NUL") || numbered("COM") || numbered("LPT")
}

impl FromStr for FileName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        Self::parse(text)
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &self.0)
    }
}

impl FromStr for Artifact {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let mut steps = text.split('/');
        let named = [steps.next(), steps.next(), steps.next(), steps.next()];
        match named {
            [Some("models"), Some("~"), Some(file), None] => {
                FileName::parse(file).map(Self::PrivateModel)
            }
            [Some("models"), Some(file), None, None] => {
                FileName::parse(file).map(Self::SharedModel)
            }
            [Some("loras"), Some(id), None, None] => LoraId::parse(id).map(Self::Lora),
            [Some("training"), Some("datasets"), Some(job), None] => {
                JobId::parse(job).map(Self::Dataset)
            }
            [Some("training"), Some("outputs"), Some(job), None] => {
                JobId::parse(job).map(Self::Output)
            }
            [Some("knowledge"), Some("~"), Some(file), None] if Cover::of(file).is_some() => {
                Ok(Self::Knowledge(Cover::of(file).unwrap_or(Cover::Plain)))
            }
            _ => Err(InvalidName::new(
                "artifact",
                "is none of models/FILE, models/~/FILE, loras/ID, training/datasets/JOB, training/outputs/JOB, knowledge/~/embeddings.db",
                text,
            )),
        }
    }
}

impl fmt::Display for Artifact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SharedModel(file) => write!(f, "models/{file}"),
            Self::PrivateModel(file) => write!(f, "models/~/{file}"),
            Self::Lora(id) => write!(f, "loras/{id}"),
            Self::Dataset(job) => write!(f, "training/datasets/{job}"),
            Self::Output(job) => write!(f, "training/outputs/{job}"),
            Self::Knowledge(cover) => write!(f, "knowledge/~/{}", cover.file_name()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_of_real_models_are_names() {
        for name in [
            "phi-3-mini-4k-instruct-q4.gguf",
            "Meta-Llama-3.1-8B-Instruct-Q4_K_M.gguf",
            "model-00001-of-00003.safetensors",
            "bge-micro-v1.5.gguf",
            "console.gguf",
            "com10.gguf",
            &"a".repeat(FILE_NAME_MAX),
        ] {
            let parsed = FileName::parse(name).expect(name);
            assert_eq!(parsed.to_string(), name);
        }
    }

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        for name in [
            "",
            ".",
            "..",
            "../phi.gguf",
            "a/b",
            "a\\b",
            "..phi",
            "a..b",
            "a.",
            ".sync",
            "-rf",
            "~",
            "%2e%2e",
            "a%2fb",
            "a\0b",
            "a b",
            "ä.gguf",
            "con.gguf",
            "NUL",
            "lpt1.txt",
            "a:b",
            &"a".repeat(FILE_NAME_MAX + 1),
            &"a".repeat(2048),
        ] {
            assert!(FileName::parse(name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn artifacts_round_trip_as_text() {
        for text in [
            "models/phi.gguf",
            "models/~/phi.gguf",
            "loras/sql-helper",
            "training/datasets/job-7",
            "training/outputs/job-7",
            "knowledge/~/embeddings.db",
            "knowledge/~/embeddings.db.enc",
        ] {
            let artifact: Artifact = text.parse().expect(text);
            assert_eq!(artifact.to_string(), text);
        }
        for wrong in [
            "",
            "models",
            "models/",
            "/models/a",
            "models/ada/a",
            "models/~/a/b",
            "models/../a",
            "loras/UP",
            "loras/a/adapter.safetensors",
            "training/a",
            "training/datasets",
            "knowledge/ada/embeddings.db",
            "knowledge/~/head.json",
            "knowledge/~",
        ] {
            assert!(wrong.parse::<Artifact>().is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics(text in ".{0,80}") {
            if let Ok(artifact) = text.parse::<Artifact>() {
                prop_assert_eq!(artifact.to_string(), text);
            }
        }
    }
}
