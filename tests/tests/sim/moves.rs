//! What laptops do: they sleep and wake, and move between networks.

use std::sync::Arc;
use std::time::Duration;

use ginnel_tests::sim;
use ginnel_tests::sim::ask::Ask;
use ginnel_tests::sim::device::Device;
use ginnel_tests::sim::event::Event;
use ginnel_tests::sim::net::Way;
use ginnel_tests::sim::report::Times;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_laptop_that_wakes_is_back_within_a_second() {
    let mut times = Times::default();
    for seed in 0..50 {
        sim::run(seed, async |world| {
            let laptop = world.device("laptop").await;
            let lasts = world.dice().between(5 * SECOND, 600 * SECOND);
            world.happen(Event::Sleep(Arc::clone(&laptop)));
            world.run_for(lasts).await;
            let connects = laptop.connects();
            world.happen(Event::Wake(Arc::clone(&laptop)));
            let what = "the laptop has a new link";
            let is_back = || laptop.connects() > connects && world.is_registered(&laptop);
            times.add(world.until(what, SECOND, is_back).await);
        });
    }
    eprintln!("awake to registered: {times}");
}

#[test]
fn a_laptop_that_wakes_while_it_dials_is_back_within_a_second() {
    let mut times = Times::default();
    for seed in 0..20 {
        sim::run(seed, async |world| {
            let laptop = world.device("laptop").await;
            world.happen(Event::Cut(Arc::clone(&laptop), Way::Both));
            world
                .run_for(world.dice().between(20 * SECOND, 120 * SECOND))
                .await;
            world.happen(Event::Sleep(Arc::clone(&laptop)));
            world.happen(Event::Heal(Arc::clone(&laptop)));
            world.happen(Event::Wake(Arc::clone(&laptop)));
            times.add(world.registered(&laptop, SECOND).await);
        });
    }
    eprintln!("awake while dialling to registered: {times}");
}

#[test]
fn a_new_address_costs_no_request_and_no_link() {
    moved(|laptop| Event::NewAddress(Arc::clone(laptop)));
}

#[test]
fn a_nat_that_forgets_costs_no_request_and_no_link() {
    moved(|laptop| Event::NatRebind(Arc::clone(laptop)));
}

/// Requests go on, one every 50 ms, while the device moves.
fn moved(event: impl Fn(&Arc<Device>) -> Event) {
    let mut worst = Times::default();
    for seed in 0..20 {
        sim::run(seed, async |world| {
            let laptop = world.device("laptop").await;
            world
                .run_for(world.dice().between(10 * SECOND, 13 * SECOND))
                .await;
            let slow = world.ask(&laptop, Ask::Slow(2 * SECOND));
            let requests = async {
                let mut took = Times::default();
                for round in 0..60 {
                    if round == 20 {
                        world.happen(event(&laptop));
                    }
                    let asked = world.ask(&laptop, Ask::Echo(100)).await;
                    assert!(asked.is_right(), "{asked:?}");
                    took.add(asked.took);
                    world.run_for(Duration::from_millis(5)).await;
                }
                took
            };
            let (slow, took) = tokio::join!(slow, requests);
            assert!(slow.is_right(), "{slow:?}");
            let usual = took.permille(500);
            let delayed = took.iter().filter(|took| *took > 2 * usual).count();
            assert!(delayed <= 1, "{delayed} requests were delayed: {took}");
            worst.add(took.max());
            assert_eq!(laptop.connects(), 1);
        });
    }
    eprintln!("slowest of 60 requests while moving, 20 times: {worst}");
}
