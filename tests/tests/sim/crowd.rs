//! Many devices lose their relay at the same moment.

use std::time::Duration;

use ginnel_tests::sim;
use ginnel_tests::sim::day::any_quality;
use ginnel_tests::sim::event::Event;
use ginnel_tests::sim::path::Quality;
use ginnel_tests::sim::report::Times;

const DEVICES: usize = 200;
const SECOND: Duration = Duration::from_secs(1);

/// A device notices by its next keep-alive, which comes within 3 s; its
/// attempt follows within 250 ms and takes three round trips. On lossy paths
/// packets are sent again. (That handshakes take CPU is not simulated.)
const MOST_BACK: Duration = Duration::from_secs(8);

/// One whose old connection id is by chance in use again (they have 24 random
/// bits) gets no stateless reset, and waits for its idle time-out.
const ALL_BACK: Duration = Duration::from_secs(21);

#[test]
fn two_hundred_devices_are_back_soon_after_a_crash() {
    sim::run(1, async |world| {
        let mut dice = world.dice();
        let mut devices = Vec::new();
        for number in 0..DEVICES {
            let quality = Quality {
                loss: dice.pick(&[0.0, 0.001, 0.01]),
                ..any_quality(&mut dice)
            };
            devices.push(world.join(&format!("device-{number}"), quality).await);
        }
        for device in &devices {
            world.registered(device, 30 * SECOND).await;
        }
        for round in 0..5 {
            world.run_for(dice.between(60 * SECOND, 70 * SECOND)).await;
            let down = dice.between(Duration::ZERO, SECOND);
            world.happen(Event::RelayCrash { down });
            world.run_for(down + Duration::from_millis(1)).await;
            let up = world.relay_up_since().expect("a relay");
            let mut times = Times::default();
            let mut waiting = devices.clone();
            while !waiting.is_empty() && world.now() < up + ALL_BACK {
                world.run_for(Duration::from_millis(10)).await;
                waiting.retain(|device| !world.is_registered(device));
                let back = devices.len() - waiting.len() - times.len();
                times.extend(std::iter::repeat_n(world.now() - up, back));
            }
            eprintln!("crash {round}, {DEVICES} devices back: {times}");
            assert!(waiting.is_empty(), "{} devices are missing", waiting.len());
            assert!(times.permille(990) <= MOST_BACK, "{times}");
        }
    });
}
