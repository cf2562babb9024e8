//! Taking over models that other programs keep, without a second copy of
//! their bytes.

mod folder;
mod hugging_face;
mod lm_studio;
mod name;
mod ollama;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use ginnel_blob::format::Format;
use ginnel_proto::artifact::{Artifact, FileName};
use ginnel_store::artifact::LocalFile;
use ginnel_store::blob::adopt::Sharing;
use ginnel_store::blob::path::BlobPath;
use ginnel_store::blob::read::inspect;
use ginnel_store::blob::stamp::Stamp;
use tokio::sync::mpsc;

use super::event::{Candidate, Event, progress};
use super::{Models, ModelsError, Result};

/// Files that one source may have: a thousand times what people keep.
const FILES_MAX: usize = 20_000;

/// Where to look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Whose folder it is.
    pub kind: Kind,
    /// The folder; a single file too where it is nobody's.
    pub path: PathBuf,
}

/// Whose folder it is, and so how it is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Ollama's: manifests, and blobs by their SHA-256.
    Ollama,
    /// LM Studio's: publisher, repository, file.
    LmStudio,
    /// The Hugging Face cache: repositories, snapshots of links to blobs.
    HuggingFace,
    /// Nobody's: any folder of files, or one file.
    Path,
}

/// What to take over.
#[derive(Debug, Clone)]
pub struct ImportRequest {
    /// Where to look.
    pub place: Place,
    /// Only these: names as they would be here, or what they are called
    /// there. All if none is given.
    pub only: Vec<String>,
    /// What to call it; for one file.
    pub rename: Option<Artifact>,
    /// Whether a second copy may be made.
    pub sharing: Sharing,
}

/// A file that was found.
#[derive(Debug)]
struct Seen {
    /// What it is called there.
    origin: String,
    file: PathBuf,
    /// What it is to be called here, without an ending.
    stem: String,
    /// Why it cannot be taken over, if that is known already.
    problem: Option<String>,
}

/// A file that was found and looked into.
#[derive(Debug)]
struct Looked {
    candidate: Candidate,
    file: PathBuf,
    artifact: Option<Artifact>,
}

impl Kind {
    /// The kind of a folder that somebody named.
    #[must_use]
    pub fn of(path: &Path) -> Self {
        if path.join("manifests").is_dir() && path.join("blobs").is_dir() {
            Self::Ollama
        } else if hugging_face::is_cache(path) {
            Self::HuggingFace
        } else {
            Self::Path
        }
    }
}

impl Models {
    /// Looks for models of another program and tells of each.
    ///
    /// # Errors
    /// The folder is not there or cannot be read.
    pub async fn find_foreign(
        &self,
        request: &ImportRequest,
        events: &mpsc::Sender<Event>,
    ) -> Result<()> {
        let found = self.look(request).await?;
        let bad = found.iter().filter(|one| one.candidate.problem.is_some());
        let bad = bad.count() as u64;
        let good = found.len() as u64 - bad;
        for one in found {
            let _ = events.send(Event::Found(one.candidate)).await;
        }
        let _ = events.send(Event::Done { good, bad }).await;
        Ok(())
    }

    /// Takes models of another program over and reads them, so that they can
    /// be verified. Those that are here already are passed over. Tells
    /// everything, and the end last.
    ///
    /// # Errors
    /// The folder is not there or cannot be read, or nothing of that name is in
    /// it. One bad file stops none of the others.
    pub async fn import(
        &self,
        request: &ImportRequest,
        events: &mpsc::Sender<Event>,
    ) -> Result<()> {
        let found = self.look(request).await?;
        if request.rename.is_some() && found.len() != 1 {
            return Err(ModelsError::Invalid(format!(
                "a name can be given to one file, found={}; hint: say which",
                found.len()
            )));
        }
        let (mut good, mut bad) = (0, 0);
        for one in found {
            let name = one.candidate.name.clone();
            if one.candidate.present {
                good += 1;
                let _ = events.send(Event::Found(one.candidate)).await;
                continue;
            }
            let origin = one.candidate.origin.clone();
            match self.import_one(one, request.sharing, events).await {
                Ok(imported) => {
                    good += 1;
                    let _ = events.send(imported).await;
                }
                Err(error) => {
                    bad += 1;
                    let name = if name.is_empty() { origin } else { name };
                    let failed = Event::Failed {
                        name: Some(name),
                        message: error.to_string(),
                    };
                    let _ = events.send(failed).await;
                }
            }
        }
        let _ = events.send(Event::Done { good, bad }).await;
        Ok(())
    }

    async fn import_one(
        &self,
        one: Looked,
        sharing: Sharing,
        events: &mpsc::Sender<Event>,
    ) -> Result<Event> {
        let candidate = one.candidate;
        let Some(name) = one.artifact.filter(|_| candidate.problem.is_none()) else {
            let problem = candidate.problem.unwrap_or_default();
            return Err(ModelsError::Invalid(problem));
        };
        let _lease = self.lease(&name);
        let path = BlobPath::of(&name)?;
        let blobs = self.blobs().await?;
        let adopt = blobs.apart(move |blobs, _| blobs.adopt(&one.file, &path, sharing));
        let adopted = adopt.await?;
        let unread = LocalFile::unread(adopted.stamp, adopted.format);
        let store = self.store();
        let kept = store.keep_artifact_file(name.clone(), unread, None).await;
        if let Err(error) = kept {
            // Nobody would know why it lies there.
            let path = BlobPath::of(&name)?;
            blobs.apart(move |blobs, _| blobs.remove(&path)).await?;
            return Err(error.into());
        }
        let tell = progress(events.clone(), name.to_string(), adopted.stamp.size);
        self.read(&name, tell).await?;
        Ok(Event::Imported {
            name: name.to_string(),
            origin: candidate.origin,
            how: adopted.shared.as_str().to_owned(),
            bytes: adopted.stamp.size,
        })
    }

    /// Everything that is asked for, looked into.
    async fn look(&self, request: &ImportRequest) -> Result<Vec<Looked>> {
        let place = request.place.clone();
        let blobs = self.blobs().await?;
        let look = blobs.apart(move |_, _| Ok(find(&place)));
        let seen = look.await?.map_err(ModelsError::Invalid)?;
        let here = self.list().await?.artifacts.into_iter();
        let here: BTreeMap<String, (Artifact, u64)> = here
            .filter(|listed| listed.found.is_some())
            .map(|listed| {
                let (name, bytes) = (listed.entry.name.clone(), listed.bytes());
                (without_case(&name), (name, bytes))
            })
            .collect();
        let rename = request.rename.clone();
        let look = blobs.apart(move |_, _| {
            let mut taken = here;
            let looked = seen.into_iter().map(|seen| {
                let looked = look_into(seen, rename.as_ref(), &taken);
                if let Some(name) = &looked.artifact {
                    // Two of one name do not fit here.
                    let one = (name.clone(), u64::MAX);
                    taken.entry(without_case(name)).or_insert(one);
                }
                looked
            });
            Ok(looked.collect::<Vec<_>>())
        });
        chosen(look.await?, &request.only)
    }
}

/// The files of a place, not looked into.
fn find(place: &Place) -> std::result::Result<Vec<Seen>, String> {
    let path = &place.path;
    let shown = path.display();
    if let Err(error) = std::fs::metadata(path) {
        return Err(format!("there is nothing to import, {error}, path={shown}"));
    }
    let found = match place.kind {
        Kind::Ollama => ollama::find(path),
        Kind::LmStudio => lm_studio::find(path),
        Kind::HuggingFace => hugging_face::find(path),
        Kind::Path => folder::find(path),
    };
    let mut found = found.map_err(|error| format!("cannot be read, {error}, path={shown}"))?;
    found.sort_by(|a, b| a.origin.cmp(&b.origin));
    Ok(found)
}

/// Those that are asked for.
fn chosen(found: Vec<Looked>, only: &[String]) -> Result<Vec<Looked>> {
    if only.is_empty() {
        return Ok(found);
    }
    let is_called = |one: &Looked, text: &str| {
        let Candidate { name, origin, .. } = &one.candidate;
        name == text || name.strip_prefix("models/") == Some(text) || is_of(origin, text)
    };
    for text in only {
        if !found.iter().any(|one| is_called(one, text)) {
            return Err(ModelsError::Invalid(format!(
                "nothing of that name was found, name={text:?}; hint: --list shows what there is"
            )));
        }
    }
    let asked = |one: &Looked| only.iter().any(|text| is_called(one, text));
    Ok(found.into_iter().filter(asked).collect())
}

/// `text` is the name, or its beginning up to a tag or a slash.
fn is_of(origin: &str, text: &str) -> bool {
    let rest = origin.strip_prefix(text);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with([':', '/']))
}

/// What a file is, and whether it can be taken over.
fn look_into(
    seen: Seen,
    rename: Option<&Artifact>,
    here: &BTreeMap<String, (Artifact, u64)>,
) -> Looked {
    let mut candidate = Candidate {
        path: seen.file.display().to_string(),
        name: String::new(),
        bytes: 0,
        format: Format::Other.as_str().to_owned(),
        present: false,
        problem: seen.problem,
        origin: seen.origin,
    };
    let mut artifact = None;
    if candidate.problem.is_none() {
        match inspect_file(&seen.file) {
            Err(reason) => candidate.problem = Some(reason),
            Ok((bytes, format)) => {
                candidate.bytes = bytes;
                candidate.format = format.as_str().to_owned();
                let named = match rename {
                    Some(rename) => Ok(rename.clone()),
                    None => name_for(&seen.stem, &seen.file, format),
                };
                match named {
                    Ok(name) => {
                        candidate.name = name.to_string();
                        artifact = Some(name);
                    }
                    Err(reason) => candidate.problem = Some(reason),
                }
            }
        }
    }
    let there = artifact.as_ref();
    let there = there.and_then(|name| here.get(&without_case(name)));
    if let Some((name, size)) = there {
        candidate.present = Some(name) == artifact.as_ref() && *size == candidate.bytes;
        if !candidate.present {
            candidate.problem = Some(format!(
                "another file has that name here, name={name}; hint: --as gives it another"
            ));
        }
    }
    Looked {
        candidate,
        file: seen.file,
        artifact,
    }
}

fn inspect_file(file: &Path) -> std::result::Result<(u64, Format), String> {
    let open = |file: &Path| {
        let found = std::fs::metadata(file)?;
        let opened = if found.is_file() {
            Some(File::open(file)?)
        } else {
            None
        };
        Ok::<_, std::io::Error>((found, opened))
    };
    let (found, opened) = open(file).map_err(|error| error.to_string())?;
    let Some(mut opened) = opened else {
        return Err("not a plain file".to_owned());
    };
    // Its name there may say nothing: blobs are called by their hashes.
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let inspected = inspect(&mut opened, Stamp::of(&found), &name, file);
    let inspected = inspected.map_err(|error| error.to_string())?;
    Ok((found.len(), inspected.format))
}

/// What it is called here: as there, with the ending of its format.
fn name_for(stem: &str, file: &Path, format: Format) -> std::result::Result<Artifact, String> {
    let ending = match format {
        Format::Safetensors => Some("safetensors".to_owned()),
        Format::Gguf => Some("gguf".to_owned()),
        Format::Other => {
            let own = file.extension();
            own.map(|ending| ending.to_string_lossy().into_owned())
        }
    };
    let name = name::plain(stem, ending.as_deref());
    FileName::parse(&name)
        .map(Artifact::SharedModel)
        .map_err(|error| format!("{error}; hint: --as gives it another name"))
}

/// Disks of other devices do not tell names apart that differ in case only.
fn without_case(name: &Artifact) -> String {
    name.to_string().to_ascii_lowercase()
}

/// Reads a small file of another program.
fn read_small(path: &Path, limit: u64) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}
