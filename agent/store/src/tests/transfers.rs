//! Transfers: what they go on with, and that they never go backwards.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use ginnel_blob::hash::Hash;
use ginnel_blob::plan::Chosen;
use ginnel_proto::push::Upload;

use super::World;
use super::artifacts::{file, index, name, remote};
use crate::artifact::State as ArtifactState;
use crate::error::ErrorKind;
use crate::options::Options;
use crate::transfer::{Direction, NewTransfer, Piece, State, Step, Transfer, TransferId};
use crate::{FILE_NAME, Store};

const PHI: &str = "models/phi.gguf";

/// Set for the process that is killed: its store's folder.
const VICTIM: &str = "GINNEL_TRANSFER_TEST_VICTIM";

fn new(direction: Direction, bytes: &[u8]) -> NewTransfer {
    NewTransfer {
        direction,
        artifact: name(PHI),
        blob: Hash::of(bytes),
        size: bytes.len() as u64,
        index: Some(index(bytes)),
    }
}

fn upload(id: &str) -> Upload {
    Upload {
        id: id.to_owned(),
        fence: 4,
        part_size: 5 << 20,
    }
}

fn part(number: u32, travelled: u64) -> Piece {
    Piece {
        number,
        tag: format!("sealed {number}"),
        travelled,
    }
}

impl World {
    async fn begin(&self, direction: Direction, bytes: &[u8]) -> Transfer {
        let begun = self.store.begin_transfer(new(direction, bytes)).await;
        begun.expect("begun")
    }

    async fn step(&self, id: TransferId, step: Step) -> Transfer {
        self.store.step_transfer(id, step).await.expect("taken")
    }
}

#[tokio::test]
async fn a_push_goes_on_after_a_restart_and_ends() {
    let world = World::new();
    let id = world.begin(Direction::Push, b"phi").await.id;
    let begun = world.step(id, Step::Start).await;
    assert_eq!((begun.state, begun.attempts), (State::Running, 1));
    world
        .store
        .plan_transfer(id, 100, 20)
        .await
        .expect("planned");
    let etag = Some("\"base\"".to_owned());
    world
        .store
        .keep_upload(id, upload("u1"), etag.clone())
        .await
        .expect("kept");
    let parts = vec![part(0, 60), part(1, 0)];
    world.store.keep_parts(id, parts).await.expect("kept");
    let world = world.reopened().await;
    assert_eq!(world.store.requeue_transfers().await.expect("queued"), 1);
    let found = world.begin(Direction::Push, b"phi").await;
    assert_eq!((found.id, found.state), (id, State::Queued));
    assert_eq!((found.upload, found.etag), (Some(upload("u1")), etag));
    let progress = found.progress;
    assert_eq!(
        (progress.needed, progress.reused, progress.sent),
        (100, 20, 60)
    );
    let tags = world.store.transfer_parts(id).await.expect("read");
    assert_eq!(tags, ["sealed 0", "sealed 1"]);
    let done = world.store.finish_push(id, remote(b"phi", "\"e\"")).await;
    let done = done.expect("finished");
    assert_eq!((done.state, done.upload), (State::Done, None));
    let entry = world.store.artifact(name(PHI)).await.expect("read");
    assert_eq!(entry.expect("noted").remote, Some(remote(b"phi", "\"e\"")));
    assert!(
        world
            .store
            .transfer_parts(id)
            .await
            .expect("read")
            .is_empty()
    );
}

#[tokio::test]
async fn a_pull_goes_on_with_its_chunks_and_ends() {
    let world = World::new();
    let id = world.begin(Direction::Pull, b"phi").await.id;
    let mut chunks = Chosen::none(12);
    chunks.add(3);
    let kept = world.store.keep_chunks(id, "e1".into(), chunks.clone(), 10);
    kept.await.expect("kept");
    let world = world.reopened().await;
    let of = |etag: &str| world.store.transfer_chunks(id, etag.into(), 12);
    assert_eq!(of("e1").await.expect("read"), chunks);
    assert_eq!(of("e2").await.expect("read"), Chosen::none(12));
    chunks.add(11);
    let kept = world.store.keep_chunks(id, "e1".into(), chunks.clone(), 5);
    assert_eq!(kept.await.expect("kept").progress.sent, 15);
    // Chunks are not unlearned, unless they are another version's.
    let mut fewer = Chosen::none(12);
    fewer.add(11);
    let kept = world.store.keep_chunks(id, "e1".into(), fewer.clone(), 0);
    assert_eq!(kept.await.expect_err("fewer").kind(), ErrorKind::Invalid);
    let kept = world.store.keep_chunks(id, "e2".into(), fewer, 0);
    assert_eq!(kept.await.expect("another version").progress.sent, 15);
    let other = world
        .store
        .finish_pull(id, file(b"other"), remote(b"phi", "e2"));
    assert_eq!(other.await.expect_err("other").kind(), ErrorKind::Internal);
    let done = world
        .store
        .finish_pull(id, file(b"phi"), remote(b"phi", "e2"));
    assert_eq!(done.await.expect("finished").state, State::Done);
    let entry = world.store.artifact(name(PHI)).await.expect("read");
    assert_eq!(entry.expect("noted").state(), ArtifactState::Synced);
    // The index came with the transfer and stays with the artifact.
    let found = world.store.chunk_index(Hash::of(b"phi")).await;
    assert_eq!(found.expect("read"), Some(index(b"phi")));
}

#[tokio::test]
async fn another_blob_takes_the_place_of_what_waits() {
    let world = World::new();
    let first = world.begin(Direction::Push, b"one").await.id;
    let pull = world.begin(Direction::Pull, b"one").await.id;
    let second = world.begin(Direction::Push, b"two").await.id;
    let ids: Vec<TransferId> = world.ids().await;
    assert_eq!(ids, [pull, second]);
    assert!(second > first, "numbers are not used again");
    assert_eq!(world.store.transfer(first).await.expect("read"), None);
    assert!(world.store.forget_transfer(pull).await.expect("forgotten"));
    let found = world.store.chunk_index(Hash::of(b"one")).await;
    assert_eq!(found.expect("read"), None);
    let mut empty = new(Direction::Push, b"");
    empty.index = None;
    let begun = world.store.begin_transfer(empty).await;
    assert_eq!(begun.expect_err("empty").kind(), ErrorKind::Invalid);
}

impl World {
    async fn ids(&self) -> Vec<TransferId> {
        let transfers = self.store.transfers().await.expect("read");
        transfers.iter().map(|transfer| transfer.id).collect()
    }
}

#[tokio::test]
async fn parts_follow_each_other() {
    let world = World::new();
    let id = world.begin(Direction::Push, b"phi").await.id;
    let early = world.store.keep_parts(id, vec![part(0, 1)]).await;
    assert_eq!(early.expect_err("no upload").kind(), ErrorKind::Invalid);
    let kept = world.store.keep_upload(id, upload("u1"), None).await;
    kept.expect("kept");
    for wrong in [
        vec![part(1, 1)],
        vec![part(0, 1), part(2, 1)],
        vec![Piece {
            tag: String::new(),
            ..part(0, 1)
        }],
        vec![Piece {
            tag: "x".repeat(257),
            ..part(0, 1)
        }],
    ] {
        let kept = world.store.keep_parts(id, wrong).await;
        assert_eq!(kept.expect_err("wrong").kind(), ErrorKind::Invalid);
    }
    let found = world
        .store
        .transfer(id)
        .await
        .expect("read")
        .expect("there");
    assert_eq!(found.progress.sent, 0);
    assert!(
        world
            .store
            .transfer_parts(id)
            .await
            .expect("read")
            .is_empty()
    );
    let kept = world.store.keep_parts(id, vec![part(0, 7)]).await;
    kept.expect("kept");
    // The same upload keeps its parts, another one does not.
    let kept = world.store.keep_upload(id, upload("u1"), None).await;
    kept.expect("kept");
    assert_eq!(world.store.transfer_parts(id).await.expect("read").len(), 1);
    let kept = world.store.keep_upload(id, upload("u2"), None).await;
    assert_eq!(kept.expect("kept").progress.sent, 7);
    assert!(
        world
            .store
            .transfer_parts(id)
            .await
            .expect("read")
            .is_empty()
    );
    let forgotten = world.store.forget_upload(id).await.expect("forgotten");
    assert_eq!((forgotten.upload, forgotten.progress.sent), (None, 7));
    let kept = world
        .store
        .keep_upload(id, upload(&"x".repeat(2000)), None)
        .await;
    assert_eq!(kept.expect_err("long").kind(), ErrorKind::Invalid);
}

#[tokio::test]
async fn what_is_done_stays_done() {
    let world = World::new();
    let id = world.begin(Direction::Push, b"phi").await.id;
    world.step(id, Step::Start).await;
    let failed = world.step(id, Step::Fail("é".repeat(600))).await;
    assert_eq!(failed.state, State::Failed);
    assert_eq!(failed.last_error.expect("kept").len(), 1024);
    let paused = world.step(id, Step::Pause).await;
    assert!(paused.last_error.is_some());
    let queued = world
        .step(id, Step::Queue(Some("relay is away".into())))
        .await;
    assert_eq!(queued.last_error.as_deref(), Some("relay is away"));
    let other = world.store.finish_push(id, remote(b"other", "e")).await;
    assert_eq!(other.expect_err("other").kind(), ErrorKind::Internal);
    let done = world.store.finish_push(id, remote(b"phi", "e")).await;
    done.expect("finished");
    let stepped = world.store.step_transfer(id, Step::Start).await;
    assert_eq!(stepped.expect_err("done").kind(), ErrorKind::Invalid);
    let planned = world.store.plan_transfer(id, 1, 0).await;
    assert_eq!(planned.expect_err("done").kind(), ErrorKind::Invalid);
    // A new push of the same bytes is another transfer.
    assert_ne!(world.begin(Direction::Push, b"phi").await.id, id);
}

#[tokio::test]
async fn the_database_itself_goes_only_forward() {
    let world = World::new();
    let id = world.begin(Direction::Pull, b"phi").await.id;
    let kept = world.store.keep_chunks(id, "e".into(), Chosen::none(1), 9);
    kept.await.expect("kept");
    let raw = rusqlite::Connection::open(world.folder.path().join(FILE_NAME)).expect("opened");
    for back in [
        "UPDATE transfer SET sent = 8",
        "UPDATE transfer SET needed = 8",
        "UPDATE transfer SET artifact = 'models/other'",
        "UPDATE transfer SET direction = 'push'",
        "UPDATE transfer SET blob = zeroblob(32)",
    ] {
        assert!(raw.execute(back, []).is_err(), "{back}");
    }
    let finish = world
        .store
        .finish_pull(id, file(b"phi"), remote(b"phi", "e"));
    finish.await.expect("finished");
    for back in [
        "UPDATE transfer SET state = 'running'",
        "UPDATE transfer SET sent = sent - 1",
    ] {
        assert!(raw.execute(back, []).is_err(), "{back}");
    }
}

#[tokio::test]
async fn only_the_last_ones_are_remembered() {
    let world = World::new();
    let waiting = world.begin(Direction::Pull, b"phi").await.id;
    for number in 0..crate::limits::TRANSFERS_KEPT + 5 {
        let bytes = number.to_string();
        let id = world.begin(Direction::Push, bytes.as_bytes()).await.id;
        let done = world.store.finish_push(id, remote(bytes.as_bytes(), "e"));
        done.await.expect("finished");
    }
    let ids = world.ids().await;
    assert_eq!(ids.len(), crate::limits::TRANSFERS_KEPT + 1);
    assert_eq!(ids[0], waiting);
    assert!(ids[1] > ids[2], "{:?}", &ids[..3]);
}

/// Kills the process that notes parts again and again: all it was told are
/// kept are there, and the count of bytes is that of the parts.
#[test]
fn nothing_acknowledged_is_lost_by_a_kill() {
    let folder = tempfile::tempdir().expect("a folder");
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let mut acknowledged = 0;
    for _ in 0..6 {
        let mut victim = Command::new(std::env::current_exe().expect("this test"))
            .args(["--exact", "tests::transfers::victim", "--nocapture"])
            .env(VICTIM, folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .expect("started");
        let lines = BufReader::new(victim.stdout.take().expect("piped")).lines();
        let mut wanted = random.u64(1..60);
        for line in lines {
            let Ok(line) = line else { break };
            if let Some(count) = line.strip_prefix("kept ") {
                acknowledged = count.parse::<u64>().expect("a count");
                wanted = wanted.saturating_sub(1);
            }
            if wanted == 0 {
                // It dies in the midst of the next ones, and what it said
                // before counts too.
                victim.kill().expect("killed");
            }
        }
        victim.wait().expect("gone");
        assert!(expect_whole(folder.path()) >= acknowledged);
    }
    assert!(acknowledged > 6, "{acknowledged}");
}

/// How many parts there are.
fn expect_whole(folder: &Path) -> u64 {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(async {
        let store = Store::open(Options::new(folder)).expect("opened");
        let transfers = store.transfers().await.expect("read");
        let [transfer] = &transfers[..] else {
            panic!("{transfers:?}");
        };
        let tags = store.transfer_parts(transfer.id).await.expect("read");
        assert_eq!(transfer.progress.sent, 10 * tags.len() as u64);
        assert_eq!(transfer.upload, Some(upload("u1")));
        store.close().await.expect("closed");
        tags.len() as u64
    })
}

/// Notes parts for ever, where it is asked to.
#[test]
fn victim() {
    let Some(folder) = std::env::var_os(VICTIM) else {
        return;
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(async {
        let store = Store::open(Options::new(folder)).expect("opened");
        let begun = store.begin_transfer(new(Direction::Push, b"phi")).await;
        let id = begun.expect("begun").id;
        store
            .keep_upload(id, upload("u1"), None)
            .await
            .expect("kept");
        let mut next = store.transfer_parts(id).await.expect("read").len();
        loop {
            let number = u32::try_from(next).expect("few");
            store
                .keep_parts(id, vec![part(number, 10)])
                .await
                .expect("kept");
            next += 1;
            println!("kept {next}");
            std::io::stdout().flush().expect("told");
        }
    });
}

/// Who works on it finds out about a pause later.
#[tokio::test]
async fn what_is_paused_stays_paused() {
    let world = World::new();
    let id = world.begin(Direction::Push, b"phi").await.id;
    world.step(id, Step::Pause).await;
    let started = world.store.step_transfer(id, Step::Start).await;
    assert_eq!(started.expect_err("paused").kind(), ErrorKind::Invalid);
    let reason = || "because".to_owned();
    for step in [
        Step::Wait(reason()),
        Step::BreakOff(reason()),
        Step::Fail(reason()),
    ] {
        let still = world.step(id, step.clone()).await;
        assert_eq!(
            (still.state, still.last_error),
            (State::Paused, None),
            "{step:?}"
        );
    }
    let queued = world.step(id, Step::Queue(None)).await;
    assert_eq!(queued.state, State::Queued);
    let waits = world.step(id, Step::Wait(reason())).await;
    assert_eq!(
        (waits.state, waits.last_error),
        (State::Queued, Some(reason()))
    );
    world.step(id, Step::Start).await;
    let broken = world.step(id, Step::BreakOff(reason())).await;
    assert_eq!(
        (broken.state, broken.last_error),
        (State::Queued, Some(reason()))
    );
}
