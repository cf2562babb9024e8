//! Models through their front door: the folder, the catalog, and other
//! programs' folders.

mod importing;
mod removing;
mod verifying;

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use ginnel_proto::artifact::Artifact;
use ginnel_store::Store;
use ginnel_store::artifact::Remote;
use ginnel_store::blob::path::BlobPath;
use ginnel_store::options::Options;
use tempfile::TempDir;
use tokio::sync::mpsc;

use super::event::Event;
use super::list::{Listed, State};
use super::settings::ModelsSettings;
use super::{Models, ModelsError};

/// A store, a models folder, and a place beside both.
struct World {
    folder: TempDir,
    models: Models,
    /// What the store takes for the time, milliseconds since 1970.
    clock: Arc<AtomicU64>,
}

impl World {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(set: impl FnOnce(&mut ModelsSettings)) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let clock = Arc::new(AtomicU64::new(1000));
        let mut options = Options::new(folder.path().join("store"));
        let now = Arc::clone(&clock);
        options.clock = Arc::new(move || now.load(Ordering::Relaxed));
        let store = Store::open(options).expect("opened");
        let mut settings = ModelsSettings::new(folder.path().join("models"));
        set(&mut settings);
        let models = Models::new(store, settings);
        Self {
            folder,
            models,
            clock,
        }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    /// Writes a file, as some time ago.
    fn write(&self, path: &str, bytes: &[u8]) {
        write_before(&self.at(path), bytes, 100);
    }

    async fn listed(&self, text: &str) -> Listed {
        self.models.find(&name(text)).await.expect(text)
    }

    async fn state(&self, text: &str) -> State {
        self.listed(text).await.state()
    }

    /// As after a push: what is published is the file, as it was read.
    async fn publish(&self, text: &str) {
        let (entry, index) = self.models.index(&name(text), |_| {}).await.expect(text);
        let remote = Remote {
            blob: index.blob(),
            size: index.size(),
            etag: "e".to_owned(),
            fence: None,
        };
        let store = self.models.store();
        let kept = store.keep_artifact_remote(entry.name, remote, None);
        kept.await.expect("kept");
    }
}

/// Everything that some work tells.
async fn told<F: Future<Output = super::Result<()>>>(
    work: impl FnOnce(mpsc::Sender<Event>) -> F,
) -> super::Result<Vec<Event>> {
    let (events, mut told) = mpsc::channel(1);
    let collect = async {
        let mut all = Vec::new();
        while let Some(event) = told.recv().await {
            if !matches!(event, Event::Progress { .. }) {
                all.push(event);
            }
        }
        all
    };
    let (done, all) = tokio::join!(work(events), collect);
    done.map(|()| all)
}

fn write_before(place: &PathBuf, bytes: &[u8], seconds: u64) {
    fs::create_dir_all(place.parent().expect("a folder")).expect("made");
    fs::write(place, bytes).expect("written");
    let file = fs::File::options().write(true).open(place).expect("opened");
    let before = SystemTime::now() - Duration::from_secs(seconds);
    file.set_modified(before).expect("set");
}

fn name(text: &str) -> Artifact {
    text.parse().expect(text)
}

/// A model of two tensors; each is as many numbers as there are bytes in the
/// other tests' chunks.
pub(crate) fn safetensors(numbers: usize, seed: u64) -> Vec<u8> {
    let half = 2 * numbers;
    // So long that it is a chunk of its own.
    let note = "x".repeat(1100);
    let table = format!(
        r#"{{"__metadata__":{{"note":"{note}"}},
            "a":{{"dtype":"F32","shape":[{}],"data_offsets":[0,{half}]}},
            "b":{{"dtype":"F32","shape":[{}],"data_offsets":[{half},{}]}}}}"#,
        numbers / 2,
        numbers / 2,
        2 * half
    );
    let mut bytes = (table.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(table.as_bytes());
    for seed in [0, seed] {
        let mut random = fastrand::Rng::with_seed(seed);
        bytes.extend(std::iter::repeat_with(|| random.u8(..)).take(half));
    }
    bytes
}

/// A model of one tensor and some text.
pub(crate) fn gguf() -> Vec<u8> {
    let text = |text: &str| [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat();
    let mut bytes = b"GGUF\x03\0\0\0".to_vec();
    bytes.extend(1_u64.to_le_bytes());
    bytes.extend(2_u64.to_le_bytes());
    bytes.extend(text("general.architecture"));
    bytes.extend(8_u32.to_le_bytes());
    bytes.extend(text("llama"));
    bytes.extend(text("llama.context_length"));
    bytes.extend(4_u32.to_le_bytes());
    bytes.extend(4096_u32.to_le_bytes());
    bytes.extend(text("token_embd.weight"));
    bytes.extend(2_u32.to_le_bytes());
    bytes.extend(32_u64.to_le_bytes());
    bytes.extend(2_u64.to_le_bytes());
    bytes.extend(8_u32.to_le_bytes());
    bytes.extend(0_u64.to_le_bytes());
    bytes.resize(bytes.len().next_multiple_of(32), 0);
    bytes.resize(bytes.len() + 2 * 34, 7);
    bytes
}

#[tokio::test]
async fn files_that_are_put_there_are_found() {
    let world = World::new();
    world.write("models/phi.gguf", &gguf());
    world.write("models/private/mini.safetensors", &safetensors(64, 1));
    world.write("models/bad.pt", b"anything");
    world.write("models/two words.gguf", &gguf());
    let listing = world.models.list().await.expect("listed");
    let names: Vec<String> = listing
        .artifacts
        .iter()
        .map(|listed| listed.entry.name.to_string())
        .collect();
    assert_eq!(names, ["models/phi.gguf", "models/~/mini.safetensors"]);
    let strays: Vec<&str> = listing.strays.iter().map(|stray| &*stray.path).collect();
    assert_eq!(strays, ["bad.pt", "two words.gguf"]);
    assert!(listing.strays[0].reason.contains("pickle"), "{listing:?}");
    let header = world.models.header(&name("models/phi.gguf")).await;
    let header = header.expect("read").expect("whole").expect("one");
    assert_eq!(header.architecture(), Some("llama"));
    assert_eq!(header.quantization(), Some("Q8_0"));
    let error = world.models.find(&name("models/none")).await;
    assert!(matches!(error, Err(ModelsError::Missing(_))), "{error:?}");
}

#[tokio::test]
async fn a_file_is_read_again_only_when_it_was_written_to() {
    let world = World::new();
    let phi = name("models/phi.safetensors");
    world.write("models/phi.safetensors", &safetensors(1000, 1));
    let (entry, index) = world.models.index(&phi, |_| {}).await.expect("read");
    assert_eq!(entry.file.expect("noted").blob, Some(index.blob()));
    // The bytes are others; nothing tells, so what is noted is believed.
    let place = world.at("models/phi.safetensors");
    let written = fs::metadata(&place).expect("there").modified();
    fs::write(&place, safetensors(1000, 2)).expect("written");
    let file = fs::File::options()
        .write(true)
        .open(&place)
        .expect("opened");
    file.set_modified(written.expect("known")).expect("set");
    let (_, again) = world.models.index(&phi, |_| {}).await.expect("known");
    assert_eq!(again, index);
    write_before(&place, &safetensors(1000, 2), 50);
    let (_, other) = world.models.index(&phi, |_| {}).await.expect("read");
    assert_ne!(other.blob(), index.blob());
    // Written this very moment: read now, and again the next time.
    fs::write(&place, safetensors(1000, 3)).expect("written");
    world.models.index(&phi, |_| {}).await.expect("read");
    let listed = world.listed("models/phi.safetensors").await;
    let noted = listed.entry.file.clone().expect("noted");
    assert!(noted.stamp.is_doubtful() && noted.blob.is_some());
}

#[tokio::test]
async fn states_follow_the_folder() {
    let world = World::new();
    let phi = "models/phi.safetensors";
    world.write(phi, &safetensors(1000, 1));
    assert_eq!(world.state(phi).await, State::Local);
    world.publish(phi).await;
    assert_eq!(world.state(phi).await, State::Synced);
    write_before(&world.at(phi), &safetensors(1000, 2), 50);
    assert_eq!(world.state(phi).await, State::Changed);
    world.models.index(&name(phi), |_| {}).await.expect("read");
    assert_eq!(world.state(phi).await, State::Changed);
    fs::remove_file(world.at(phi)).expect("removed");
    assert_eq!(world.state(phi).await, State::Missing);
    let used = world.models.use_file(&name(phi)).await;
    assert!(matches!(used, Err(ModelsError::NoFile(_))), "{used:?}");
    let gone = world.models.store().drop_artifact_file(name(phi)).await;
    gone.expect("noted");
    assert_eq!(world.state(phi).await, State::Remote);
}

#[tokio::test]
async fn a_use_is_noted() {
    let world = World::new();
    world.write("models/phi.gguf", &gguf());
    let before = world.listed("models/phi.gguf").await.entry;
    world.clock.fetch_add(5, Ordering::Relaxed);
    let place = world.models.use_file(&name("models/phi.gguf")).await;
    let path = BlobPath::of(&name("models/phi.gguf")).expect("a path");
    let blobs = world.models.blobs().await.expect("opened");
    assert_eq!(place.expect("there"), blobs.place_of(&path));
    let after = world.listed("models/phi.gguf").await.entry;
    assert_eq!(after.used_ms, before.used_ms + 5);
}
