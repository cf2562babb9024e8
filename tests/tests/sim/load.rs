//! Small requests while a large body fills the path: 50 ms round trip, 100
//! Mbit/s, and a queue as long as the round trip that drops what is over.

use std::time::Duration;

use futures_util::future::join_all;
use ginnel_link::transport::Congestion;
use ginnel_tests::sim;
use ginnel_tests::sim::ask::Ask;
use ginnel_tests::sim::device::Device;
use ginnel_tests::sim::path::{Quality, Rate};
use ginnel_tests::sim::report::Times;
use ginnel_tests::sim::world::{World, WorldOptions};

const RTT: Duration = Duration::from_millis(50);

/// What a large body has, in bytes: some ten seconds of the path.
const BULK: u64 = 125_000_000;

const SECOND: Duration = Duration::from_secs(1);

/// How often a small request begins, slow start included.
const EVERY: Duration = Duration::from_millis(10);

const SMALL: Ask = Ask::Echo(200);

#[test]
fn small_requests_stay_quick_beside_a_download_with_cubic() {
    measure(Congestion::Cubic, Ask::Bytes(BULK), 3.0);
}

#[test]
fn small_requests_stay_quick_beside_an_upload_with_cubic() {
    measure(Congestion::Cubic, Ask::Upload(BULK), 3.0);
}

#[test]
fn small_requests_stay_quick_beside_a_download_with_bbr() {
    measure(Congestion::Bbr, Ask::Bytes(BULK), 4.0);
}

#[test]
fn small_requests_stay_quick_beside_an_upload_with_bbr() {
    measure(Congestion::Bbr, Ask::Upload(BULK), 4.0);
}

/// `worst` is how many times longer the slowest percent may take: three for
/// the default. BBR, which one must choose, loses more packets, and a lost
/// answer takes another round trip.
fn measure(congestion: Congestion, bulk: Ask, worst: f64) {
    let options = WorldOptions {
        quality: Quality {
            rate: Some(Rate {
                bits_per_second: 100_000_000,
                queue: 625_000,
            }),
            ..Quality::perfect(RTT / 2)
        },
        congestion,
    };
    sim::run_with(1, options, async |world| {
        let laptop = &*world.device("laptop").await;
        world.run_for(2 * SECOND).await;
        let mut idle = Times::default();
        for _ in 0..100 {
            idle.add(small(world, laptop).await);
        }
        let packets = world.net().packets();
        let large = world.ask(laptop, bulk);
        let began = world.now();
        let requests = (0..700_u32).map(|number| async move {
            world.run_for(EVERY * number).await;
            small(world, laptop).await
        });
        let (large, took) = tokio::join!(large, join_all(requests));
        assert!(large.is_right(), "{large:?}");
        let last = EVERY * 700 + SECOND;
        assert!(
            large.took > last && world.now() > began + last,
            "it went on all along"
        );
        let loaded: Times = took.into_iter().collect();
        let packets = world.net().packets() - packets;
        let ratio = loaded.permille(990).as_secs_f64() / idle.permille(990).as_secs_f64();
        let megabits = BULK as f64 * 8.0 / 1e6 / large.took.as_secs_f64();
        eprintln!(
            "{congestion:?} {bulk:?}: {megabits:.1} Mbit/s, {packets} packets\n  idle       \
             {idle}\n  loaded     {loaded}\n  p99 ratio  {ratio:.2}"
        );
        assert!(ratio <= worst, "{ratio}");
    });
}

async fn small(world: &World, laptop: &Device) -> Duration {
    let asked = world.ask(laptop, SMALL).await;
    assert!(asked.is_right(), "{asked:?}");
    asked.took
}
