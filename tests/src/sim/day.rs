//! A day of a laptop: long quiet hours, and now and then a fault or two.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::ask::Ask;
use super::device::Device;
use super::dice::Dice;
use super::fault::Fault;
use super::path::Quality;
use super::report::Times;
use super::world::World;

/// After a fault, links of before end and attempts that lost the race do.
const SETTLE: Duration = Duration::from_secs(40);

/// Tasks that one device with some requests needs, at most.
const TASKS_MAX: usize = 400;

/// What a day was like.
#[derive(Debug, Clone, Default)]
pub struct Day {
    /// From the end of a fault until the device was registered, by kind.
    pub recoveries: BTreeMap<&'static str, Times>,
    /// Requests in quiet hours.
    pub asked: usize,
}

impl Day {
    /// Adds another day.
    pub fn add(&mut self, other: Self) {
        self.asked += other.asked;
        for (kind, times) in other.recoveries {
            self.recoveries
                .entry(kind)
                .or_default()
                .extend(times.iter());
        }
    }
}

/// A path as people have them, lossy but not broken.
pub fn any_quality(dice: &mut Dice) -> Quality {
    const MILLIS: Duration = Duration::from_millis(1);
    Quality {
        jitter: dice.between(Duration::ZERO, 20 * MILLIS),
        loss: dice.pick(&[0.0, 0.0, 0.001, 0.01, 0.05]),
        reordered: dice.pick(&[0.0, 0.0, 0.02]),
        repeated: dice.pick(&[0.0, 0.0, 0.01]),
        ..Quality::perfect(dice.between(MILLIS, 150 * MILLIS))
    }
}

/// Lets `length` pass, with faults. What must hold is checked all along.
pub async fn live(world: &World, length: Duration) -> Day {
    let mut dice = world.dice();
    let mut day = Day::default();
    let mut quality = any_quality(&mut dice);
    let device = world.join("laptop", quality).await;
    world
        .registered(&device, super::fault::exchange(&quality))
        .await;
    while world.now() < length {
        quiet_time(world, &device, &mut dice, &mut day).await;
        if dice.chance(0.3) {
            quality = any_quality(&mut dice);
            world.happen(super::event::Event::Quality(Arc::clone(&device), quality));
            continue;
        }
        bad_time(world, &device, &quality, &mut dice, &mut day).await;
    }
    if world.tasks_max() > TASKS_MAX {
        world.violation(&format!("{} tasks at once", world.tasks_max()));
    }
    day
}

/// Nothing goes wrong: the link stays, and every request is answered.
async fn quiet_time(world: &World, device: &Arc<Device>, dice: &mut Dice, day: &mut Day) {
    let link = world.listed(device);
    for _ in 0..=dice.below(3) {
        let pause = dice.between(Duration::ZERO, Duration::from_secs(20 * 60));
        world.run_for(pause).await;
        let asked = world.ask(device, Ask::any(dice)).await;
        day.asked += 1;
        if !asked.is_right() {
            world.violation(&format!("failed in a quiet hour: {asked:?}"));
        }
    }
    if world.listed(device) != link {
        world.violation("the link did not live through a quiet hour");
    }
}

/// Something goes wrong while callers go on asking.
async fn bad_time(
    world: &World,
    device: &Arc<Device>,
    quality: &Quality,
    dice: &mut Dice,
    day: &mut Day,
) {
    let mut fault = Fault::any(dice, device, quality);
    if dice.chance(0.3) {
        let later = dice.between(Duration::ZERO, Duration::from_secs(20));
        fault = fault.and(Fault::any(dice, device, quality), later);
    }
    let link = world.listed(device);
    let began = world.now();
    for (at, event) in fault.events {
        world.at(began + at, event);
    }
    // Some requests are under way when it begins, some come later.
    for _ in 0..dice.below(4) {
        world.ask_later(device, Ask::any(dice));
    }
    let over = began + fault.over;
    let dead_by = fault.dead_by.map(|after| began + after);
    while world.now() < over {
        let pause = dice.between(Duration::ZERO, Duration::from_secs(60));
        let next = (world.now() + pause).min(over);
        if let Some(dead_by) = dead_by.filter(|at| world.now() < *at && *at <= next) {
            world.run_until(dead_by).await;
            if device.is_connected() || world.listed(device).is_some() {
                world.violation(&format!("{}: a dead peer is not noticed", fault.name));
            }
        }
        world.run_until(next).await;
        world.ask_later(device, Ask::any(dice));
    }
    world.run_until(over).await;
    let took = world.registered(device, fault.bound).await;
    day.recoveries.entry(fault.name).or_default().add(took);
    world.run_for(SETTLE).await;
    if !world.is_registered(device) {
        world.violation(&format!("{}: not registered for good", fault.name));
        world.registered(device, Duration::from_secs(600)).await;
    }
    if fault.harmless && world.listed(device) != link {
        world.violation(&format!("{}: the link was made anew", fault.name));
    }
}
