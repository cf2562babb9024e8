//! Why Cubic is the default and BBR a setting: what a large download gets at
//! each rate of loss, and what it costs. `docs/adr/0009` rests on this.

use std::time::Duration;

use ginnel_link::transport::Congestion;
use ginnel_tests::sim;
use ginnel_tests::sim::ask::Ask;
use ginnel_tests::sim::path::{Quality, Rate};
use ginnel_tests::sim::world::WorldOptions;

const SEEDS: std::ops::Range<u64> = 1..6;
const BULK: u64 = 25_000_000;

/// Least packets of full size that carry it.
const PACKETS: f64 = BULK as f64 / 1400.0;

/// What a download got, in the median of all seeds.
#[derive(Debug, Clone, Copy)]
struct Got {
    megabits: f64,
    /// Packets both ways for each that was needed.
    packets: f64,
}

#[test]
fn cubic_is_best_on_clean_paths_and_bbr_on_lossy_ones() {
    let clean = compare(0.0);
    assert!(clean.cubic.megabits > 80.0 && clean.cubic.packets < clean.bbr.packets);
    let lossy = compare(0.001);
    assert!(lossy.bbr.megabits > 1.5 * lossy.cubic.megabits);
    let worse = compare(0.01);
    assert!(worse.bbr.megabits > 5.0 * worse.cubic.megabits);
}

struct Compared {
    cubic: Got,
    bbr: Got,
}

fn compare(loss: f64) -> Compared {
    let [cubic, bbr] = [Congestion::Cubic, Congestion::Bbr].map(|congestion| {
        let got = median(congestion, loss);
        eprintln!(
            "loss {:4.1} %, {congestion:?}: {:5.1} Mbit/s, {:.2} packets for each needed",
            loss * 100.0,
            got.megabits,
            got.packets
        );
        got
    });
    Compared { cubic, bbr }
}

fn median(congestion: Congestion, loss: f64) -> Got {
    let mut all: Vec<Got> = SEEDS.map(|seed| download(seed, congestion, loss)).collect();
    all.sort_by(|a, b| a.megabits.total_cmp(&b.megabits));
    all[all.len() / 2]
}

/// 50 ms there and back, 100 Mbit/s, a queue as long as the round trip.
fn download(seed: u64, congestion: Congestion, loss: f64) -> Got {
    let options = WorldOptions {
        quality: Quality {
            loss,
            rate: Some(Rate {
                bits_per_second: 100_000_000,
                queue: 625_000,
            }),
            ..Quality::perfect(Duration::from_millis(25))
        },
        congestion,
    };
    let mut got = None;
    sim::run_with(seed, options, async |world| {
        let laptop = &*world.device("laptop").await;
        world.run_for(Duration::from_secs(2)).await;
        let before = world.net().packets();
        let asked = world.ask(laptop, Ask::Bytes(BULK)).await;
        assert!(asked.is_right(), "{asked:?}");
        got = Some(Got {
            megabits: BULK as f64 * 8.0 / 1e6 / asked.took.as_secs_f64(),
            packets: (world.net().packets() - before) as f64 / PACKETS,
        });
    });
    got.expect("measured")
}
