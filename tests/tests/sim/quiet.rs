//! A link that nobody uses and nothing happens to.

use std::time::Duration;

use ginnel_tests::sim;
use ginnel_tests::sim::path::Quality;
use ginnel_tests::sim::world::WorldOptions;

const DAY: Duration = Duration::from_secs(24 * 3600);

#[test]
fn a_quiet_link_lives_on_a_perfect_path() {
    a_quiet_day(0.0);
}

#[test]
fn a_quiet_link_lives_at_one_percent_loss() {
    a_quiet_day(0.01);
}

#[test]
fn a_quiet_link_lives_at_five_percent_loss() {
    a_quiet_day(0.05);
}

fn a_quiet_day(loss: f64) {
    let options = WorldOptions {
        quality: Quality {
            loss,
            jitter: Duration::from_millis(15),
            ..Quality::perfect(Duration::from_millis(20))
        },
        ..WorldOptions::default()
    };
    sim::run_with(1, options, async |world| {
        let laptop = world.device("laptop").await;
        let link = world.listed(&laptop);
        world.run_for(DAY).await;
        assert_eq!(laptop.connects(), 1);
        assert_eq!(world.listed(&laptop), link);
    });
}
