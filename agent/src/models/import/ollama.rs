//! Ollama's folder.
//!
//! ```text
//! manifests/HOST/NAMESPACE/MODEL/TAG   JSON: layers with media type and digest
//! blobs/sha256-DIGEST                  the bytes of a layer
//! ```

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{FILES_MAX, Seen, read_small};

/// The longest manifest, in bytes: models have ten layers.
const MANIFEST_MAX: u64 = 4 << 20;

/// Where models come from whose names are shown without it.
const LIBRARY: &str = "library";

/// What is read of a manifest.
#[derive(Debug, Deserialize)]
struct Manifest {
    #[serde(default)]
    layers: Vec<Layer>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Layer {
    media_type: String,
    digest: String,
}

pub(super) fn find(root: &Path) -> io::Result<Vec<Seen>> {
    let mut found = Vec::new();
    let manifests = root.join("manifests");
    for host in folders(&manifests)? {
        for namespace in folders(&host)? {
            for model in folders(&namespace)? {
                for tag in fs::read_dir(&model)? {
                    if found.len() >= FILES_MAX {
                        return Ok(found);
                    }
                    let name = Name::of(&namespace, &model, &tag?.path());
                    found.extend(layers(root, &name));
                }
            }
        }
    }
    Ok(found)
}

/// What a manifest is called.
struct Name {
    manifest: PathBuf,
    /// As Ollama shows it: `llama3:8b`, `ada/llama3:8b`.
    shown: String,
    /// For a file: `llama3-8b`.
    stem: String,
}

impl Name {
    fn of(namespace: &Path, model: &Path, manifest: &Path) -> Self {
        let text = |path: &Path| {
            let name = path.file_name().unwrap_or_default();
            name.to_string_lossy().into_owned()
        };
        let (namespace, model, tag) = (text(namespace), text(model), text(manifest));
        let (model, mut stem) = match namespace.as_str() {
            LIBRARY => (model.clone(), model),
            _ => (
                format!("{namespace}/{model}"),
                format!("{namespace}-{model}"),
            ),
        };
        if tag != "latest" {
            stem = format!("{stem}-{tag}");
        }
        Self {
            manifest: manifest.to_owned(),
            shown: format!("{model}:{tag}"),
            stem,
        }
    }
}

/// The layers of a model that are files of weights.
fn layers(root: &Path, name: &Name) -> Vec<Seen> {
    let seen = |part: &str, file: PathBuf, problem: Option<String>| Seen {
        origin: match part {
            "" => name.shown.clone(),
            part => format!("{}/{part}", name.shown),
        },
        stem: match part {
            "" => name.stem.clone(),
            part => format!("{}-{part}", name.stem),
        },
        file,
        problem,
    };
    let read = read_small(&name.manifest, MANIFEST_MAX);
    let manifest = read.map_err(|error| error.to_string()).and_then(|bytes| {
        serde_json::from_slice::<Manifest>(&bytes).map_err(|error| error.to_string())
    });
    let manifest = match manifest {
        Ok(manifest) => manifest,
        Err(error) => {
            let problem = format!("manifest cannot be read, {error}");
            return vec![seen("", name.manifest.clone(), Some(problem))];
        }
    };
    let mut found = Vec::new();
    for layer in manifest.layers {
        let kind = layer.media_type.rsplit('.').next().unwrap_or_default();
        let part = match kind {
            "model" => "",
            "projector" | "adapter" => kind,
            _ => continue,
        };
        let (file, problem) = match digest(&layer.digest) {
            None => {
                let problem = format!("digest is no SHA-256, digest={:?}", layer.digest);
                (name.manifest.clone(), Some(problem))
            }
            Some(digest) => {
                let file = root.join("blobs").join(format!("sha256-{digest}"));
                let is_there = file.is_file();
                let problem = (!is_there).then(|| "blob is missing; hint: ollama pull".to_owned());
                (file, problem)
            }
        };
        found.push(seen(part, file, problem));
    }
    found
}

/// The digits of a digest. It names a file, so nothing else may be in it.
fn digest(text: &str) -> Option<&str> {
    let digits = text.strip_prefix("sha256:")?;
    let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    (digits.len() == 64 && digits.bytes().all(is_digit)).then_some(digits)
}

fn folders(of: &Path) -> io::Result<Vec<PathBuf>> {
    let mut folders = Vec::new();
    for entry in fs::read_dir(of)? {
        let path = entry?.path();
        if path.is_dir() {
            folders.push(path);
        }
    }
    folders.sort();
    Ok(folders)
}
