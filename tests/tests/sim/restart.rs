//! The relay restarts, planned and not.

use std::sync::Arc;
use std::time::Duration;

use ginnel_tests::sim;
use ginnel_tests::sim::ask::Ask;
use ginnel_tests::sim::event::Event;
use ginnel_tests::sim::net::RELAY;
use ginnel_tests::sim::report::Times;
use ginnel_tests::sim::world::World;

const SECOND: Duration = Duration::from_secs(1);
const GRACE: Duration = Duration::from_secs(10);

/// Restarts for each test.
const RESTARTS: u64 = 200;

#[test]
fn a_planned_restart_loses_no_request_and_takes_less_than_a_second() {
    let mut times = Times::default();
    sim::run(1, async |world| {
        let laptop = world.device("laptop").await;
        let mut dice = world.dice();
        for _ in 0..RESTARTS {
            world.run_for(dice.between(5 * SECOND, 10 * SECOND)).await;
            let asks = [
                Ask::Slow(dice.between(Duration::ZERO, 5 * SECOND)),
                Ask::Slow(dice.between(Duration::ZERO, SECOND)),
                Ask::Echo(dice.length(64 * 1024)),
                Ask::Bytes(dice.length(1024 * 1024)),
            ];
            let asked = asks.map(|ask| world.ask(&laptop, ask));
            let requests = futures_util::future::join_all(asked);
            let down = dice.between(Duration::ZERO, 2 * SECOND);
            let restart = async {
                // The requests are under way.
                world
                    .run_for(dice.between(Duration::ZERO, SECOND / 10))
                    .await;
                let before = world.relay_up_since();
                world.happen(Event::RelayDrain { grace: GRACE, down });
                after_restart(world, before).await;
                world.registered(&laptop, 5 * SECOND).await
            };
            let (asked, took) = tokio::join!(requests, restart);
            for asked in asked {
                assert!(asked.is_right(), "{asked:?}");
            }
            times.add(took);
        }
    });
    eprintln!("drained, new relay listens to registered: {times}");
    assert!(times.permille(990) <= SECOND, "{times}");
}

#[test]
fn a_crash_takes_less_than_four_seconds() {
    let mut times = Times::default();
    sim::run(2, async |world| {
        let laptop = world.device("laptop").await;
        let mut dice = world.dice();
        for _ in 0..RESTARTS {
            world.run_for(dice.between(5 * SECOND, 10 * SECOND)).await;
            let down = dice.between(Duration::ZERO, SECOND);
            let before = world.relay_up_since();
            world.happen(Event::RelayCrash { down });
            after_restart(world, before).await;
            times.add(world.registered(&laptop, 4 * SECOND).await);
        }
        assert_eq!(laptop.connects(), RESTARTS + 1);
    });
    eprintln!("crashed, new relay listens to registered: {times}");
}

/// After a long outage, back-off decides. Its cap is 30 s, and an attempt may
/// be under way that still waits for its time-out of 10 s.
#[test]
fn an_outage_costs_no_more_than_the_longest_back_off() {
    let mut times = Times::default();
    sim::run(3, async |world| {
        let laptop = world.device("laptop").await;
        let mut dice = world.dice();
        for _ in 0..50 {
            world.run_for(dice.between(60 * SECOND, 90 * SECOND)).await;
            let down = dice.between(15 * SECOND, 600 * SECOND);
            let before = world.relay_up_since();
            world.happen(Event::RelayCrash { down });
            after_restart(world, before).await;
            times.add(world.registered(&laptop, 41 * SECOND).await);
        }
    });
    eprintln!("out for minutes, new relay listens to registered: {times}");
}

/// Names often lead to an IPv6 and an IPv4 address, of which one is dead. What
/// worked is tried first the next time.
#[test]
fn a_dead_address_of_the_relay_is_passed_over() {
    sim::run(5, async |world| {
        let laptop = world.device("laptop").await;
        let dead = "192.0.2.99:7443".parse().expect("an address");
        laptop.relay_is_at(vec![dead, RELAY]);
        world.happen(Event::AgentStop(Arc::clone(&laptop), Duration::ZERO));
        // One attempt waits for its whole time-out, and is followed by a pause.
        world.run_for(SECOND).await;
        world.registered(&laptop, 12 * SECOND).await;
        world.run_for(10 * SECOND).await;
        let before = world.relay_up_since();
        world.happen(Event::RelayDrain {
            grace: GRACE,
            down: Duration::ZERO,
        });
        after_restart(world, before).await;
        world.registered(&laptop, SECOND).await;
    });
}

/// Returns the moment that a relay listens again.
async fn after_restart(world: &World, before: Option<Duration>) {
    let is_new = || world.relay_up_since().is_some_and(|up| Some(up) != before);
    world
        .until("a new relay listens", 700 * SECOND, is_new)
        .await;
}

#[test]
fn an_agent_that_stops_finishes_its_requests() {
    sim::run(4, async |world| {
        let laptop = world.device("laptop").await;
        let slow = world.ask(&laptop, Ask::Slow(5 * SECOND));
        let stop = async {
            world.run_for(SECOND).await;
            world.happen(Event::AgentStop(Arc::clone(&laptop), Duration::ZERO));
        };
        let (slow, ()) = tokio::join!(slow, stop);
        assert!(slow.is_right(), "{slow:?}");
        world.registered(&laptop, 60 * SECOND).await;
    });
}
