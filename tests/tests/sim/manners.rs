//! Small requests while an artifact fills the path: 50 ms round trip, 100
//! Mbit/s, and a queue of a quarter of a second, as home routers have. Nothing
//! is lost there: who fills the queue makes all others wait.
//!
//! The relay, the link and both ways through them are what ships; only the
//! agent's files and database are left out.

use std::cell::Cell;
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use futures_util::future::join_all;
use futures_util::stream::{StreamExt as _, iter};
use ginnel_agent::sync::catalog::Catalog;
use ginnel_agent::sync::pace::Pace;
use ginnel_blob::index::ChunkIndex;
use ginnel_blob::pack::{Codec, record_head};
use ginnel_blob::plan::{Chosen, ranges};
use ginnel_link::link::{Link, Priority};
use ginnel_link::stream::{RecvHalf, Stream};
use ginnel_proto::artifact::Artifact;
use ginnel_proto::frame::{self, FrameType};
use ginnel_proto::open::Open;
use ginnel_proto::push::{Offer, PushAnswer, PushRequest};
use ginnel_tests::sim;
use ginnel_tests::sim::ask::Ask;
use ginnel_tests::sim::device::Device;
use ginnel_tests::sim::path::{Quality, Rate};
use ginnel_tests::sim::report::Times;
use ginnel_tests::sim::world::{World, WorldOptions};
use http_body_util::BodyExt as _;

const SECOND: Duration = Duration::from_secs(1);
const RTT: Duration = Duration::from_millis(50);
const BITS_PER_SECOND: u64 = 100_000_000;

/// A quarter of a second.
const QUEUE: u64 = BITS_PER_SECOND / 8 / 4;

/// What the artifact has, in bytes: some seven seconds of the path.
const SIZE: usize = 80 << 20;

/// How often a small request begins, slow start included.
const EVERY: Duration = Duration::from_millis(10);
const SMALL: Ask = Ask::Echo(1500);

/// As the agent pulls: the longest range, and how many at once.
const RANGE_MAX: u64 = 8 << 20;
const RANGES: usize = 4;

#[test]
fn requests_take_less_than_twice_as_long_beside_a_push() {
    in_world(1, async |world, laptop, link, file| {
        let idle = idle(world, laptop).await;
        let pushed = push(link, file);
        let (loaded, took) = beside(world, laptop, pushed).await;
        judge("push", &idle, &loaded, took);
    });
}

#[test]
fn requests_take_less_than_twice_as_long_beside_a_pull() {
    in_world(2, async |world, laptop, link, file| {
        push(link, file).await;
        world.run_for(5 * SECOND).await;
        let idle = idle(world, laptop).await;
        let pulled = pull(link, file);
        let (loaded, took) = beside(world, laptop, pulled).await;
        judge("pull", &idle, &loaded, took);
    });
}

fn in_world(seed: u64, story: impl AsyncFnOnce(&World, &Device, &Link, &File)) {
    let file = File::random(seed);
    let rate = Rate {
        bits_per_second: BITS_PER_SECOND,
        queue: QUEUE,
    };
    let options = WorldOptions {
        quality: Quality {
            rate: Some(rate),
            ..Quality::perfect(RTT / 2)
        },
        ..WorldOptions::default()
    };
    sim::run_with(seed, options, async |world| {
        let laptop = &*world.device("laptop").await;
        world.run_for(2 * SECOND).await;
        let link = laptop.link().expect("it is up");
        story(world, laptop, &link, &file).await;
    });
}

/// What small requests take when nothing else is under way.
async fn idle(world: &World, laptop: &Device) -> Times {
    let mut times = Times::default();
    for _ in 0..200 {
        times.add(small(world, laptop).await);
        world.run_for(EVERY).await;
    }
    times
}

/// What small requests take that begin while a transfer is under way, and how
/// long that takes.
async fn beside(
    world: &World,
    laptop: &Device,
    transfer: impl Future<Output = ()>,
) -> (Times, Duration) {
    let began = world.now();
    let ended = Cell::new(None);
    let transfer = async {
        transfer.await;
        ended.set(Some(world.now() - began));
    };
    let requests = (0..3000_u32).map(|number| {
        let ended = &ended;
        async move {
            world.run_for(EVERY * number).await;
            match ended.get() {
                None => Some(small(world, laptop).await),
                Some(_) => None,
            }
        }
    });
    let ((), took) = tokio::join!(transfer, join_all(requests));
    let lasted = ended.get().expect("it ended");
    assert!(lasted < EVERY * 3000, "requests began all along");
    (took.into_iter().flatten().collect(), lasted)
}

fn judge(what: &str, idle: &Times, loaded: &Times, took: Duration) {
    let millis = |times: &Times| times.permille(990).as_secs_f64();
    let ratio = millis(loaded) / millis(idle);
    let share = SIZE as f64 * 8.0 / BITS_PER_SECOND as f64 / took.as_secs_f64();
    eprintln!(
        "{what}: {:.0} % of the line\n  idle       {idle}\n  loaded     {loaded}\n  \
         p99 ratio  {ratio:.2}",
        share * 100.0
    );
    assert!(loaded.len() > 500, "{}", loaded.len());
    assert!(ratio <= 2.0, "{ratio}");
    assert!(share >= 0.8, "{share}");
}

async fn small(world: &World, laptop: &Device) -> Duration {
    let asked = world.ask(laptop, SMALL).await;
    assert!(asked.is_right(), "{asked:?}");
    asked.took
}

/// An artifact.
struct File {
    artifact: Artifact,
    index: ChunkIndex,
    bytes: Bytes,
}

impl File {
    fn random(seed: u64) -> Self {
        let mut bytes = vec![0; SIZE];
        fastrand::Rng::with_seed(seed).fill(&mut bytes);
        let go_on = |_| std::ops::ControlFlow::Continue(());
        let index = ChunkIndex::build(&mut &*bytes, SIZE as u64, None, go_on);
        Self {
            artifact: "models/random.bin".parse().expect("a name"),
            index: index.expect("an index"),
            bytes: bytes.into(),
        }
    }

    fn slice(&self, place: std::ops::Range<u64>) -> Bytes {
        let at = |offset| usize::try_from(offset).expect("in memory");
        self.bytes.slice(at(place.start)..at(place.end))
    }
}

/// As the agent pushes (`agent/src/sync/push.rs`): chunk by chunk, on a bulk
/// stream.
async fn push(link: &Link, file: &File) {
    let stream = link.open(Priority::Bulk).await.expect("a stream");
    let Stream { mut send, mut recv } = stream;
    let encoded = file.index.encode();
    let offer = PushRequest::Offer(Offer {
        artifact: file.artifact.clone(),
        blob: *file.index.blob().as_bytes(),
        size: file.index.size(),
        index_length: u32::try_from(encoded.len()).expect("short"),
        bases: Vec::new(),
        resume: None,
    });
    let mut offered = [
        frame::whole(FrameType::Open, &Open::Push.encode()),
        frame::whole(FrameType::Message, &offer.encode()),
        frame::data_header(encoded.len()),
        encoded,
    ];
    send.send(&mut offered).await.expect("sent");
    let PushAnswer::Want(want) = next(&mut recv).await else {
        panic!("the relay wants nothing");
    };
    let chosen = Chosen::decode(&want.chunks, file.index.chunks().len());
    let pace = Pace::new(None);
    let sending = async {
        for number in chosen.expect("chunks").numbers() {
            let chunk = file.index.chunks()[number];
            let mut record = BytesMut::from(&record_head(Codec::Raw, chunk.length)[..]);
            record.extend_from_slice(&file.slice(chunk.place()));
            pace.take(record.len() as u64).await;
            let mut record = [frame::data_header(record.len()), record.freeze()];
            send.send(&mut record).await.expect("sent");
        }
        send.finish();
    };
    let hearing = async {
        loop {
            match next(&mut recv).await {
                PushAnswer::Stored { .. } => {}
                PushAnswer::Published { .. } => break,
                answer @ (PushAnswer::Want(_) | PushAnswer::Declined { .. }) => {
                    panic!("{answer:?}")
                }
            }
        }
    };
    tokio::join!(sending, hearing);
}

async fn next(recv: &mut RecvHalf) -> PushAnswer {
    let payload = recv.expect(FrameType::Message, "MSG").await.expect("read");
    PushAnswer::decode(payload).expect("an answer")
}

/// As the agent pulls through the tunnel (`agent/src/sync/pull.rs`): a few
/// ranges at once.
async fn pull(link: &Link, file: &File) {
    let catalog = Catalog::new(link.clone());
    let version = catalog.version(&file.artifact).await.expect("a version");
    let etag = &version.remote.etag;
    let pace = Pace::new(None);
    let wanted = ranges(&file.index, |_| true, 0, RANGE_MAX);
    let pulled = iter(wanted).map(|range| {
        let (catalog, pace) = (&catalog, &pace);
        async move {
            let chunks = &file.index.chunks()[range];
            let place = chunks[0].offset..chunks[chunks.len() - 1].end();
            let mut body = catalog
                .range(&file.artifact, etag, &place)
                .await
                .expect("a range");
            let mut at = place.start;
            while let Some(frame) = body.frame().await {
                let Ok(mut data) = frame.expect("whole").into_data() else {
                    continue;
                };
                let length = data.remaining();
                let piece = data.copy_to_bytes(length);
                let end = at + length as u64;
                assert!(piece == file.slice(at..end), "other bytes, at={at}");
                pace.take(length as u64).await;
                at = end;
            }
            assert_eq!(at, place.end);
        }
    });
    pulled.buffer_unordered(RANGES).collect::<Vec<()>>().await;
}
