//! Many requests to one device do not starve the others.

use std::time::Duration;

use ginnel_tests::sim;
use ginnel_tests::sim::ask::{Ask, send};
use http_body_util::BodyExt as _;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_thousand_slow_requests_do_not_hold_up_a_quick_one() {
    sim::run(1, async |world| {
        let laptop = world.device("laptop").await;
        for _ in 0..1000 {
            world.ask_later(&laptop, Ask::Slow(60 * SECOND));
        }
        for _ in 0..20 {
            let asked = world.ask(&laptop, Ask::Echo(1000)).await;
            assert!(asked.is_right() && asked.took <= SECOND, "{asked:?}");
            world.run_for(SECOND).await;
        }
        let agent = laptop.status().expect("it runs");
        assert!(
            agent.queue >= 1000,
            "all of them are under way: {}",
            agent.queue
        );
        world.run_for(60 * SECOND).await;
        assert_eq!(laptop.connects(), 1);
    });
}

#[test]
fn readers_that_stop_reading_do_not_hold_up_others() {
    sim::run(2, async |world| {
        let laptop = world.device("laptop").await;
        let relay = world.relay();
        let mut stuck = Vec::new();
        for _ in 0..32 {
            let request = Ask::Bytes(64 << 20).request(&laptop.name);
            let mut response = send(&relay.relay, request).await;
            let frame = response.body_mut().frame().await.expect("a body");
            assert!(frame.expect("whole").is_data());
            stuck.push(response);
        }
        world.run_for(5 * SECOND).await;
        for round in 0..20 {
            let asked = world.ask(&laptop, Ask::Echo(1000)).await;
            assert!(asked.is_right() && asked.took <= SECOND, "{asked:?}");
            // More than every window together, were they not each its own.
            let asked = world.ask(&laptop, Ask::Bytes(4 << 20)).await;
            assert!(
                asked.is_right() && asked.took <= 2 * SECOND,
                "{round}: {asked:?}"
            );
            world.run_for(SECOND).await;
        }
        // The device does not keep them for ever.
        world.run_for(120 * SECOND).await;
        let agent = laptop.status().expect("it runs");
        assert_eq!(agent.queue, 0, "no request is left");
        for mut response in stuck {
            let mut ended = None;
            while let Some(frame) = response.body_mut().frame().await {
                ended = frame.err();
            }
            assert!(ended.is_some(), "a part was passed off as the whole");
        }
        assert_eq!(laptop.connects(), 1);
    });
}
