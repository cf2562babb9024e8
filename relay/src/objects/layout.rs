//! Every key in the bucket.
//!
//! ```text
//! models/FILE                          all users' shelf
//! models/USER/FILE                     a user's own
//! loras/ID/adapter.safetensors         and README.md, metadata.json
//! training/datasets/JOB/dataset.jsonl
//! training/outputs/JOB/adapter.safetensors
//! …/.sync/NAME.json                    the artifact's entry in the catalog
//! …/.sync/B3.index                     the chunk index of a blob
//! knowledge/USER/embeddings.db         what the devices know, or .db.enc
//! knowledge/USER/.sync/head.json       how long the logs are
//! knowledge/USER/.sync/lease.json      who publishes
//! knowledge/USER/.sync/manifest.json   what is published
//! knowledge/USER/.sync/devices/DEVICE.json   how far a device is
//! knowledge/USER/.sync/pitr/HLC.db     and .index, .json: kept for a restore
//! knowledge/USER/.sync/log/eEPOCH/DEVICE/SEQUENCE.batch
//! ```
//!
//! Keys are made here and nowhere else, from names that are parsed and from
//! the user in a device's certificate: nothing that a peer writes can leave
//! its place.

use ginnel_blob::hash::Hash;
use ginnel_proto::artifact::Artifact;
use ginnel_proto::id::{DeviceName, LoraId, UserName};
use object_store::path::Path;

/// The folder of what is kept about artifacts, beside them.
const SYNC: &str = ".sync";

/// Where an artifact and what is known of it lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    shelf: Shelf,
    name: String,
    object: Path,
}

/// A folder of artifacts with a catalog of its own.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Shelf {
    /// `models`.
    Models,
    /// `models/USER`.
    ModelsOf(UserName),
    /// `loras`.
    Loras,
    /// `training/datasets`.
    Datasets,
    /// `training/outputs`.
    Outputs,
    /// `knowledge/USER`, of which nobody asks for a list.
    KnowledgeOf(UserName),
}

impl Shelf {
    /// The shelves on which a user may find something.
    #[must_use]
    pub fn of(user: &UserName) -> [Self; 5] {
        [
            Self::Models,
            Self::ModelsOf(user.clone()),
            Self::Loras,
            Self::Datasets,
            Self::Outputs,
        ]
    }

    /// Whether users push there beside each other, so that a name once given stays its
    /// owner's.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        match self {
            Self::Models | Self::Loras | Self::Datasets | Self::Outputs => true,
            Self::ModelsOf(_) | Self::KnowledgeOf(_) => false,
        }
    }

    /// What all keys of its catalog begin with.
    #[must_use]
    pub fn catalog(&self) -> Path {
        self.folder().join(SYNC)
    }

    /// The name of the artifact whose entry has this key; `None` if the key is
    /// no entry's.
    #[must_use]
    pub fn artifact(&self, key: &Path) -> Option<Artifact> {
        let name = key.filename()?.strip_suffix(".json")?;
        let artifact = match self {
            Self::Models => format!("models/{name}"),
            Self::ModelsOf(_) => format!("models/~/{name}"),
            Self::Loras => format!("loras/{name}"),
            Self::Datasets => format!("training/datasets/{name}"),
            Self::Outputs => format!("training/outputs/{name}"),
            Self::KnowledgeOf(_) => format!("knowledge/~/{name}"),
        };
        artifact.parse().ok()
    }

    /// What all keys on it begin with.
    #[must_use]
    pub fn all(&self) -> Path {
        self.folder()
    }

    fn folder(&self) -> Path {
        match self {
            Self::Models => path(["models"]),
            Self::ModelsOf(user) => path(["models", user.as_str()]),
            Self::Loras => path(["loras"]),
            Self::Datasets => path(["training", "datasets"]),
            Self::Outputs => path(["training", "outputs"]),
            Self::KnowledgeOf(user) => path(["knowledge", user.as_str()]),
        }
    }
}

impl Place {
    /// Where the artifact lies that a device of `user` means.
    #[must_use]
    pub fn of(artifact: &Artifact, user: &UserName) -> Self {
        let (shelf, name, within) = match artifact {
            Artifact::SharedModel(file) => (Shelf::Models, file.to_string(), None),
            Artifact::PrivateModel(file) => (Shelf::ModelsOf(user.clone()), file.to_string(), None),
            Artifact::Lora(id) => (Shelf::Loras, id.to_string(), Some(ADAPTER)),
            Artifact::Dataset(job) => (Shelf::Datasets, job.to_string(), Some("dataset.jsonl")),
            Artifact::Output(job) => (Shelf::Outputs, job.to_string(), Some(ADAPTER)),
            Artifact::Knowledge(cover) => {
                let shelf = Shelf::KnowledgeOf(user.clone());
                (shelf, cover.file_name().to_owned(), None)
            }
        };
        let folder = shelf.folder().join(name.as_str());
        let object = match within {
            Some(file) => folder.join(file),
            None => folder,
        };
        Self {
            shelf,
            name,
            object,
        }
    }

    /// The key of its bytes.
    #[must_use]
    pub fn object(&self) -> &Path {
        &self.object
    }

    /// The key of its entry in the catalog.
    #[must_use]
    pub fn entry(&self) -> Path {
        self.shelf.catalog().join(format!("{}.json", self.name))
    }

    /// The key of the chunk index of a blob that it has or had.
    #[must_use]
    pub fn index(&self, blob: &Hash) -> Path {
        self.shelf.catalog().join(format!("{blob}.index"))
    }

    /// The shelf that it is on.
    #[must_use]
    pub fn shelf(&self) -> &Shelf {
        &self.shelf
    }
}

/// What lies beside an adapter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beside {
    /// `README.md`.
    Readme,
    /// `metadata.json`, written last: what makes an adapter complete.
    Metadata,
}

/// The key of what lies beside an adapter.
#[must_use]
pub fn beside(lora: &LoraId, what: Beside) -> Path {
    let file = match what {
        Beside::Readme => "README.md",
        Beside::Metadata => "metadata.json",
    };
    path(["loras", lora.as_str(), file])
}

const ADAPTER: &str = "adapter.safetensors";

/// Where a user's knowledge lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnowledgePlace {
    folder: Path,
}

impl KnowledgePlace {
    /// The place of a user.
    #[must_use]
    pub fn of(user: &UserName) -> Self {
        Self {
            folder: path(["knowledge", user.as_str(), SYNC]),
        }
    }

    /// What all keys of a user's knowledge begin with.
    #[must_use]
    pub fn all(user: &UserName) -> Path {
        path(["knowledge", user.as_str()])
    }

    /// The key that says how long the logs are.
    #[must_use]
    pub fn head(&self) -> Path {
        self.folder.clone().join("head.json")
    }

    /// The key that says who publishes.
    #[must_use]
    pub fn lease(&self) -> Path {
        self.folder.clone().join("lease.json")
    }

    /// The key that says what is published.
    #[must_use]
    pub fn manifest(&self) -> Path {
        self.folder.clone().join("manifest.json")
    }

    /// What the keys of all devices' words begin with.
    #[must_use]
    pub fn words(&self) -> Path {
        self.folder.clone().join("devices")
    }

    /// The key of what a device says of how far it is.
    #[must_use]
    pub fn word(&self, device: &DeviceName) -> Path {
        self.words().join(format!("{device}.json"))
    }

    /// What the keys of all that is kept for a restore begin with.
    #[must_use]
    pub fn kept(&self) -> Path {
        self.folder.clone().join("pitr")
    }

    /// The key of a part of what was kept at a time, milliseconds since 1970: its
    /// stamp, so that names are in their order.
    #[must_use]
    pub fn kept_at(&self, unix_ms: u64, part: KeptPart) -> Path {
        let ending = match part {
            KeptPart::Database => "db",
            KeptPart::Index => "index",
            KeptPart::About => "json",
        };
        let stamp = u128::from(unix_ms) << 16;
        self.kept().join(format!("{stamp:016x}.{ending}"))
    }

    /// When that was kept which this key says something about; `None` if it does
    /// not.
    #[must_use]
    pub fn kept_time(key: &Path) -> Option<u64> {
        let stamp = key.filename()?.strip_suffix(".json")?;
        Some(u64::from_str_radix(stamp, 16).ok()? >> 16)
    }

    /// What the keys of all logs of all epochs begin with.
    #[must_use]
    pub fn all_logs(&self) -> Path {
        self.folder.clone().join("log")
    }

    /// Which epoch has its logs in this folder; `None` if none has.
    #[must_use]
    pub fn epoch(folder: &Path) -> Option<u64> {
        folder.filename()?.strip_prefix('e')?.parse().ok()
    }

    /// What the keys of all logs of an epoch begin with.
    #[must_use]
    pub fn logs(&self, epoch: u64) -> Path {
        self.all_logs().join(format!("e{epoch}"))
    }

    /// What the keys of a device's log begin with.
    #[must_use]
    pub fn log(&self, epoch: u64, device: &DeviceName) -> Path {
        self.logs(epoch).join(device.as_str())
    }

    /// The key of a batch. Those of one log are in their order.
    #[must_use]
    pub fn batch(&self, epoch: u64, device: &DeviceName, sequence: u64) -> Path {
        self.log(epoch, device)
            .join(format!("{sequence:016x}.batch"))
    }

    /// Whose log a batch with this key is in; `None` if it is none.
    #[must_use]
    pub fn device(key: &Path) -> Option<DeviceName> {
        let steps: Vec<_> = key.parts().collect();
        let [.., device, _] = &*steps else {
            return None;
        };
        device.as_ref().parse().ok()
    }

    /// Which batch of its log has this key; `None` if it is none, or one that no
    /// device could note that it has read.
    #[must_use]
    pub fn sequence(key: &Path) -> Option<u64> {
        let digits = key.filename()?.strip_suffix(".batch")?;
        let sequence = u64::from_str_radix(digits, 16).ok()?;
        let is_one = digits.len() == 16 && i64::try_from(sequence).is_ok();
        is_one.then_some(sequence)
    }
}

/// A part of what is kept for a restore.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeptPart {
    /// The database.
    Database,
    /// Its chunk index.
    Index,
    /// What it is; written last.
    About,
}

fn path<const N: usize>(steps: [&str; N]) -> Path {
    Path::from_iter(steps)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(artifact: &str) -> Place {
        let user: UserName = "ada".parse().expect("a name");
        Place::of(&artifact.parse().expect("an artifact"), &user)
    }

    #[test]
    fn keys_are_those_of_the_published_layout() {
        for (artifact, object, entry) in [
            (
                "models/phi.gguf",
                "models/phi.gguf",
                "models/.sync/phi.gguf.json",
            ),
            (
                "models/~/phi.gguf",
                "models/ada/phi.gguf",
                "models/ada/.sync/phi.gguf.json",
            ),
            (
                "loras/sql",
                "loras/sql/adapter.safetensors",
                "loras/.sync/sql.json",
            ),
            (
                "training/datasets/j1",
                "training/datasets/j1/dataset.jsonl",
                "training/datasets/.sync/j1.json",
            ),
            (
                "training/outputs/j1",
                "training/outputs/j1/adapter.safetensors",
                "training/outputs/.sync/j1.json",
            ),
        ] {
            let place = place(artifact);
            assert_eq!(place.object().as_ref(), object);
            assert_eq!(place.entry().as_ref(), entry);
            let named = place.shelf().artifact(&place.entry());
            assert_eq!(
                named.map(|name| name.to_string()).as_deref(),
                Some(artifact)
            );
        }
        let index = place("models/phi.gguf").index(&Hash::of(b""));
        let expected =
            "models/.sync/af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262.index";
        assert_eq!(index.as_ref(), expected);
        let lora = "sql".parse().expect("an id");
        assert_eq!(
            beside(&lora, Beside::Readme).as_ref(),
            "loras/sql/README.md"
        );
        let metadata = beside(&lora, Beside::Metadata);
        assert_eq!(metadata.as_ref(), "loras/sql/metadata.json");
    }

    #[test]
    fn knowledge_lies_where_the_published_layout_says() {
        let place = KnowledgePlace::of(&"ada".parse().expect("a name"));
        assert_eq!(place.head().as_ref(), "knowledge/ada/.sync/head.json");
        let device = "laptop".parse().expect("a name");
        let batch = place.batch(2, &device, 300);
        assert_eq!(
            batch.as_ref(),
            "knowledge/ada/.sync/log/e2/laptop/000000000000012c.batch"
        );
        assert_eq!(KnowledgePlace::sequence(&batch), Some(300));
        assert_eq!(
            KnowledgePlace::device(&batch),
            Some("laptop".parse().expect("a name"))
        );
        assert_eq!(KnowledgePlace::epoch(&place.logs(12)), Some(12));
        assert_eq!(KnowledgePlace::epoch(&place.all_logs()), None);
        let last = place.batch(2, &device, i64::MAX.cast_unsigned());
        assert!(KnowledgePlace::sequence(&last).is_some());
        for other in [
            "12c.batch",
            "000000000000012c",
            "head.json",
            "8000000000000000.batch",
            "ffffffffffffffff.batch",
        ] {
            let key = place.log(2, &device).join(other);
            assert_eq!(KnowledgePlace::sequence(&key), None, "{other}");
        }
    }

    #[test]
    fn what_is_no_entry_names_no_artifact() {
        for key in [
            "models/.sync/b3.index",
            "models/.sync/.json",
            "models/.sync/..json",
            "models/.sync",
        ] {
            let key = Path::parse(key).expect("a key");
            assert_eq!(Shelf::Models.artifact(&key), None, "{key}");
        }
    }

    #[test]
    fn names_go_into_keys_unchanged() {
        // What a bucket's client would have to escape is in no name.
        let all = "models/aZ09._-+=@x";
        assert_eq!(place(all).object().as_ref(), all);
    }
}
