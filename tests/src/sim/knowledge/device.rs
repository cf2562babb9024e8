//! A device with its store, which may be off, crash, or have no link.

use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ginnel_agent::heard::Heard;
use ginnel_agent::knowledge::sync::keys::KeyFile;
use ginnel_agent::knowledge::sync::relay::Relay;
use ginnel_agent::knowledge::sync::{KnowledgeSync, Parts};
use ginnel_proto::control::{KNOWLEDGE, Welcome};
use ginnel_proto::id::{DeviceId, DeviceName};
use ginnel_store::options::{Executor, Options};
use ginnel_store::sync::Identity;
use ginnel_store::{FILE_NAME, Store};
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::cloud::Cloud;
use crate::knowledge::Known;

/// A device.
#[derive(Debug)]
pub struct SimDevice {
    /// Its name.
    pub name: DeviceName,
    cloud: Cloud,
    folder: TempDir,
    /// By how much its clock is ahead of the relays', milliseconds.
    clock_off_ms: i64,
    /// By how much it believes that the relays' is ahead of its own; none before it
    /// was linked once.
    offset_ms: Arc<AtomicI64>,
    life: Option<Life>,
}

/// From a start to a crash.
#[derive(Debug)]
struct Life {
    known: Known,
    relay: watch::Sender<Option<Relay>>,
    heard: Heard,
    work: JoinSet<()>,
}

/// The file of a store in which nothing is.
fn empty_store() -> &'static [u8] {
    static FILE: OnceLock<Vec<u8>> = OnceLock::new();
    FILE.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a folder");
        let mut options = Options::new(folder.path());
        options.executor = Executor::Inline;
        drop(Store::open(options).expect("opened"));
        std::fs::read(folder.path().join(FILE_NAME)).expect("read")
    })
}

/// No offset is known.
const UNKNOWN: i64 = i64::MAX;

impl SimDevice {
    /// A device that is off.
    #[must_use]
    pub fn new(name: &str, cloud: &Cloud, clock_off_ms: i64) -> Self {
        // Nobody pulls a plug here, so that memory is disk enough.
        let memory = Path::new("/dev/shm");
        let folder = match memory.is_dir() {
            true => tempfile::tempdir_in(memory),
            false => tempfile::tempdir(),
        };
        let folder = folder.expect("a folder");
        // Made once: its schema takes longer to make than all that happens to it.
        std::fs::write(folder.path().join(FILE_NAME), empty_store()).expect("written");
        Self {
            name: name.parse().expect("a name"),
            cloud: cloud.clone(),
            folder,
            clock_off_ms,
            offset_ms: Arc::new(AtomicI64::new(UNKNOWN)),
            life: None,
        }
    }

    /// What it knows, while it is on.
    #[must_use]
    pub fn known(&self) -> Option<&Known> {
        self.life.as_ref().map(|life| &life.known)
    }

    /// Opens its store, as a daemon does.
    pub fn start(&mut self) {
        let mut options = Options::new(self.folder.path());
        options.origin = self.name.to_string();
        options.executor = Executor::Inline;
        let (cloud, off) = (self.cloud.clone(), self.clock_off_ms);
        let wall_clock: Arc<dyn Fn() -> u64 + Send + Sync> =
            Arc::new(move || cloud.now_ms().saturating_add_signed(off));
        options.clock = Arc::clone(&wall_clock);
        let store = Store::open(options).expect("opened");
        let heard = Heard::new();
        let (relay, relays) = watch::channel(None);
        let offset = Arc::clone(&self.offset_ms);
        let parts = Parts {
            store: store.clone(),
            identity: Identity {
                domain: "relay.test".parse().expect("a domain"),
                user: "ada".parse().expect("a name"),
                device: self.name.clone(),
            },
            relay: relays,
            heard: heard.clone(),
            clock_offset: Arc::new(move || {
                Some(offset.load(Ordering::Relaxed)).filter(|offset| *offset != UNKNOWN)
            }),
            wall_clock,
            artifacts: Arc::new(OnceLock::new()),
            keys: KeyFile::of(self.folder.path()),
        };
        let sync = KnowledgeSync::new(parts);
        let running = sync.clone();
        let mut work = JoinSet::new();
        work.spawn(async move { running.run(CancellationToken::new()).await });
        self.life = Some(Life {
            known: Known { store, sync },
            relay,
            heard,
            work,
        });
    }

    /// Stops wherever it is: what it was about to do is not done, and all that it
    /// did not write down is forgotten. Its measured offset is on disk.
    pub async fn crash(&mut self) {
        self.cloud.cut(&self.name);
        if let Some(mut life) = self.life.take() {
            // It has let go of the store then.
            life.work.shutdown().await;
        }
        self.offset_ms.store(UNKNOWN, Ordering::Relaxed);
    }

    /// Links it to a relay, if both are on. A heartbeat soon tells it the time,
    /// which is off by up to 100 ms.
    pub fn link(&self, relay: usize, jitter_ms: i64) {
        let Some(life) = &self.life else {
            return;
        };
        let Some(wire) = self.cloud.link(&self.name, relay, &life.heard) else {
            return self.cut();
        };
        self.offset_ms
            .store(jitter_ms - self.clock_off_ms, Ordering::Relaxed);
        life.heard.connected(&Welcome {
            relay: "relay".into(),
            capabilities: vec![KNOWLEDGE],
            device: DeviceId::new("ada".parse().expect("a name"), self.name.clone()),
            link: 1,
            unix_ms: self.cloud.now_ms(),
            heartbeat: Duration::from_secs(10),
        });
        life.relay.send_replace(Some(Relay::new(wire)));
    }

    /// Cuts its link.
    pub fn cut(&self) {
        self.cloud.cut(&self.name);
        if let Some(life) = &self.life {
            life.relay.send_replace(None);
        }
    }
}
