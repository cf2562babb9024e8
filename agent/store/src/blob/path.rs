//! Where an artifact's file lies in the models folder.

use std::fmt;

use ginnel_proto::artifact::{Artifact, Cover, FileName};
use ginnel_proto::id::{JobId, LoraId};

use crate::error::{Error, Quoted, Result};

/// Folders of the models folder, so that no model's file has such a name.
const FOLDERS: [&str; 4] = ["private", "loras", "training", "knowledge"];

/// The path of an artifact's file below the models folder, its steps with `/`
/// between them. Each artifact has one, and each such path is of one artifact.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlobPath(Box<str>);

impl BlobPath {
    /// The path of an artifact's file.
    ///
    /// # Errors
    /// A model is called as a folder is that lies there.
    pub fn of(artifact: &Artifact) -> Result<Self> {
        let path = match artifact {
            Artifact::SharedModel(file) => {
                let is_it = |folder: &&str| folder.eq_ignore_ascii_case(file.as_str());
                if FOLDERS.iter().any(is_it) {
                    return Err(Error::invalid(format!(
                        "the models folder has a folder of that name, name={file}; hint: choose another name"
                    )));
                }
                file.to_string()
            }
            Artifact::PrivateModel(file) => format!("private/{file}"),
            Artifact::Lora(id) => format!("loras/{id}/adapter.safetensors"),
            Artifact::Dataset(job) => format!("training/datasets/{job}/dataset.jsonl"),
            Artifact::Output(job) => format!("training/outputs/{job}/adapter.safetensors"),
            Artifact::Knowledge(cover) => format!("knowledge/{}", cover.file_name()),
        };
        Ok(Self(path.into()))
    }

    /// Reads a path, and tells of which artifact it is.
    ///
    /// # Errors
    /// It is the path of no artifact; says why.
    pub fn parse(text: &str) -> Result<(Self, Artifact)> {
        let wrong =
            |reason: &dyn fmt::Display| Error::invalid(format!("{reason}, path={}", Quoted(text)));
        let steps: Vec<&str> = text.splitn(5, '/').collect();
        let artifact = match steps.as_slice() {
            [file] => FileName::parse(file).map(Artifact::SharedModel),
            ["private", file] => FileName::parse(file).map(Artifact::PrivateModel),
            ["loras", id, "adapter.safetensors"] => LoraId::parse(id).map(Artifact::Lora),
            ["training", "datasets", job, "dataset.jsonl"] => {
                JobId::parse(job).map(Artifact::Dataset)
            }
            ["training", "outputs", job, "adapter.safetensors"] => {
                JobId::parse(job).map(Artifact::Output)
            }
            ["knowledge", file] if Cover::of(file).is_some() => {
                Ok(Artifact::Knowledge(Cover::of(file).unwrap_or(Cover::Plain)))
            }
            _ => return Err(wrong(&"not where an artifact's file can be")),
        };
        let artifact = artifact.map_err(|error| wrong(&error))?;
        Ok((Self::of(&artifact)?, artifact))
    }

    /// The path as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name of the file.
    #[must_use]
    pub fn file_name(&self) -> &str {
        self.0.rsplit_once('/').map_or(&*self.0, |(_, name)| name)
    }
}

impl fmt::Display for BlobPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn artifacts_and_paths_belong_together() {
        for (name, path) in [
            ("models/phi.gguf", "phi.gguf"),
            ("models/~/phi.gguf", "private/phi.gguf"),
            ("models/~/loras", "private/loras"),
            ("loras/sql", "loras/sql/adapter.safetensors"),
            ("training/datasets/j1", "training/datasets/j1/dataset.jsonl"),
            (
                "training/outputs/j1",
                "training/outputs/j1/adapter.safetensors",
            ),
        ] {
            let artifact: Artifact = name.parse().expect(name);
            let placed = BlobPath::of(&artifact).expect(name);
            assert_eq!(placed.as_str(), path);
            assert_eq!(BlobPath::parse(path).expect(path), (placed, artifact));
        }
    }

    #[test]
    fn paths_that_lead_elsewhere_are_refused() {
        for path in [
            "",
            "..",
            "../phi.gguf",
            "/phi.gguf",
            "private/../phi.gguf",
            "private/a/b",
            "private",
            "Loras",
            "a\0b",
            ".hidden",
            "loras/UP/adapter.safetensors",
            "loras/a/other.safetensors",
            "training/datasets/j/dataset.jsonl/x",
            "%2e%2e",
            &"a".repeat(2048),
        ] {
            assert!(BlobPath::parse(path).is_err(), "{path:?}");
        }
        let long = BlobPath::parse(&"a".repeat(2048)).expect_err("long");
        assert!(long.to_string().contains("longer than 200"), "{long}");
        for name in ["models/loras", "models/Training", "models/PRIVATE"] {
            let artifact: Artifact = name.parse().expect(name);
            assert!(BlobPath::of(&artifact).is_err(), "{name}");
        }
    }
}
