//! Artifacts in the lab: files of models, and agents that push and pull them.

use std::path::PathBuf;

use ginnel_agent::knowledge::Knowledge;
use ginnel_agent::knowledge::opening::Stage;
use ginnel_agent::sync::{Changes, Sync};
use ginnel_proto::artifact::Artifact;
use ginnel_relay::config::bucket::{BucketPlace, S3Place};
use ginnel_store::transfer::{State, Transfer, TransferId};

use crate::bucket::{Bucket, Strict, Weed};
use crate::lab::LabAgent;
use crate::wait::{LOOK_AGAIN, in_time, until};

/// A name that tests write.
///
/// # Panics
/// It is none.
#[must_use]
pub fn artifact(name: &str) -> Artifact {
    name.parse().expect("a name")
}

/// A real S3 server under R2's law.
#[derive(Debug)]
pub struct R2 {
    /// The proxy that keeps the law.
    pub strict: Strict,
    /// The bucket behind it.
    pub bucket: Bucket,
    /// The server.
    pub weed: Weed,
}

impl R2 {
    /// Starts one; `None`, told aloud, where the server is not installed.
    pub async fn start() -> Option<Self> {
        let weed = Weed::start().await?;
        let bucket = weed.bucket("models").await;
        let strict = Strict::start(weed.address).await;
        Some(Self {
            strict,
            bucket,
            weed,
        })
    }

    /// Where a relay finds it.
    #[must_use]
    pub fn place(&self) -> BucketPlace {
        BucketPlace::S3(S3Place {
            bucket: self.bucket.name.clone(),
            endpoint: format!("http://{}", self.strict.address),
            region: "auto".into(),
            ca_file: None,
            access_key_id: self.bucket.keys.id.clone(),
            secret_access_key: self.bucket.keys.secret.clone(),
        })
    }
}

/// What an agent has for artifacts.
#[derive(Debug, Clone)]
pub struct Mover {
    /// What it knows, its models among it.
    pub knowledge: Knowledge,
    /// What moves them.
    pub sync: Sync,
    folder: PathBuf,
}

impl Mover {
    /// Of an agent, once its store is open.
    ///
    /// # Panics
    /// It cannot be opened.
    pub async fn of(agent: &LabAgent) -> Self {
        let opened = until("the store", || match agent.daemon.knowledge.stage() {
            Stage::Open(knowledge) => Some(Ok(knowledge)),
            Stage::Failed(reason) => Some(Err(reason)),
            Stage::Opening | Stage::Waiting(_) => None,
        });
        let knowledge = opened
            .await
            .unwrap_or_else(|reason| panic!("no store: {reason}"));
        let sync = until("transfers", || knowledge.sync().cloned()).await;
        Self {
            knowledge,
            sync,
            folder: agent.state.join("models"),
        }
    }

    /// The same, of an agent with another folder of models.
    #[must_use]
    pub fn in_folder(self, folder: PathBuf) -> Self {
        Self { folder, ..self }
    }

    /// Where an artifact's file is.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        let path = ginnel_store::blob::path::BlobPath::of(&artifact(name));
        self.folder.join(path.expect("a path").as_str())
    }

    /// Writes an artifact's file, as a person would.
    ///
    /// # Panics
    /// The disk fails.
    pub fn write(&self, name: &str, bytes: &[u8]) {
        let file = self.file(name);
        let parent = file.parent().expect("in the folder");
        std::fs::create_dir_all(parent).expect("made");
        std::fs::write(file, bytes).expect("written");
    }

    /// An artifact's file.
    ///
    /// # Panics
    /// It is not there.
    #[must_use]
    pub fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.file(name)).expect("there")
    }

    /// Pushes, and waits until that is over.
    ///
    /// # Panics
    /// It cannot begin, or takes too long.
    pub async fn push(&self, name: &str) -> Transfer {
        let begun = self.sync.push(artifact(name)).await;
        self.over(begun.expect("begun").id).await
    }

    /// Pulls, and waits until that is over.
    ///
    /// # Panics
    /// It cannot begin, or takes too long.
    pub async fn pull(&self, name: &str) -> Transfer {
        let begun = self.sync.pull(artifact(name), Changes::Keep).await;
        self.over(begun.expect("begun").id).await
    }

    /// Waits until a transfer is done or has failed.
    ///
    /// # Panics
    /// After [`PATIENCE`](crate::wait::PATIENCE).
    pub async fn over(&self, id: TransferId) -> Transfer {
        self.until(id, |transfer| {
            matches!(transfer.state, State::Done | State::Failed)
        })
        .await
    }

    /// Waits until a transfer is as wanted.
    ///
    /// # Panics
    /// After [`PATIENCE`](crate::wait::PATIENCE).
    pub async fn until(&self, id: TransferId, wanted: impl Fn(&Transfer) -> bool) -> Transfer {
        in_time("a transfer", async {
            loop {
                let found = self.sync.transfer(id).await.expect("read");
                if let Some(transfer) = found.filter(&wanted) {
                    return transfer;
                }
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        })
        .await
    }
}

/// A file of safetensors with `tensors` of `length` bytes each, drawn by their
/// number and `seed`, and a note in its header.
///
/// # Panics
/// The header is too long.
#[must_use]
pub fn safetensors(note: &str, tensors: &[(u64, usize)]) -> Vec<u8> {
    let mut header = serde_json::Map::new();
    header.insert("__metadata__".into(), serde_json::json!({ "note": note }));
    let mut at = 0;
    let mut data = Vec::new();
    for (number, (seed, length)) in tensors.iter().enumerate() {
        header.insert(
            format!("layer.{number}.weight"),
            serde_json::json!({
                "dtype": "U8", "shape": [length], "data_offsets": [at, at + length],
            }),
        );
        at += length;
        let begin = data.len();
        data.resize(begin + length, 0);
        fastrand::Rng::with_seed(*seed).fill(&mut data[begin..]);
    }
    let header = serde_json::to_vec(&header).expect("JSON");
    let mut file = u64::try_from(header.len())
        .expect("short")
        .to_le_bytes()
        .to_vec();
    file.extend_from_slice(&header);
    file.extend_from_slice(&data);
    file
}
