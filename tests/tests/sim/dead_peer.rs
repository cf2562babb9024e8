//! A path that goes dead, both ways and each way alone.

use std::sync::Arc;
use std::time::Duration;

use ginnel_proto::limits::{IDLE_TIMEOUT, KEEP_ALIVE};
use ginnel_tests::sim;
use ginnel_tests::sim::event::Event;
use ginnel_tests::sim::net::Way;

/// From the last packet until its end is known: the idle timer starts anew
/// with the first keep-alive that nobody answers.
const DEAD_AFTER: Duration = Duration::from_secs(13);

/// How long packets are under way.
const DELAY: Duration = Duration::from_millis(20);

/// Timers and looks are this exact.
const EXACT: Duration = Duration::from_millis(30);

#[test]
fn a_dead_peer_is_noticed_on_both_sides() {
    assert_eq!(DEAD_AFTER, KEEP_ALIVE + IDLE_TIMEOUT);
    let (agent, relay) = noticed(Way::Both);
    eprintln!("cut both ways: agent {agent:?}, relay {relay:?}");
    assert!(agent.max(relay) <= DEAD_AFTER + DELAY + EXACT);
}

#[test]
fn whoever_no_longer_hears_notices_as_soon() {
    let (agent, relay) = noticed(Way::Up);
    eprintln!("cut up: agent {agent:?}, relay {relay:?}");
    assert!(relay <= DEAD_AFTER + DELAY + EXACT);
    // It is heard by nobody, and hears the relay until that gives up.
    assert!(agent <= 2 * (DEAD_AFTER + DELAY + EXACT));

    let (agent, relay) = noticed(Way::Down);
    eprintln!("cut down: agent {agent:?}, relay {relay:?}");
    assert!(agent <= DEAD_AFTER + DELAY + EXACT);
    assert!(relay <= 2 * (DEAD_AFTER + DELAY + EXACT));
}

/// When each side noticed: the longest of some cuts at other phases of the
/// keep-alive.
fn noticed(way: Way) -> (Duration, Duration) {
    let mut longest = (Duration::ZERO, Duration::ZERO);
    for phase in 0..20 {
        sim::run(phase, async |world| {
            let laptop = world.device("laptop").await;
            let phase = u32::try_from(phase).expect("small");
            world
                .run_for(Duration::from_secs(60) + KEEP_ALIVE * phase / 20)
                .await;
            let link = world.listed(&laptop);
            let cut = world.now();
            world.happen(Event::Cut(Arc::clone(&laptop), way));
            let (mut agent, mut relay) = (None, None);
            while agent.is_none() || relay.is_none() {
                world.run_for(Duration::from_millis(5)).await;
                let after = world.now() - cut;
                assert!(after < Duration::from_secs(60), "{agent:?} {relay:?}");
                if !laptop.is_connected() {
                    agent = agent.or(Some(after));
                }
                if world.listed(&laptop) != link {
                    relay = relay.or(Some(after));
                }
            }
            longest.0 = longest.0.max(agent.unwrap_or_default());
            longest.1 = longest.1.max(relay.unwrap_or_default());
        });
    }
    longest
}
