//! Faults: what goes wrong, for how long, and how soon all must be well again.
//!
//! Bounds start when the fault is over. They are made of what the protocol
//! waits for, in `ginnel_proto::{limits, link::backoff}` and the agent's
//! `link.rs`:
//!
//! * *exchange*: an attempt that meets no fault: two round trips to Welcome,
//!   a third to register, and on a lossy path some packets sent again;
//! * *attempt* (10 s): one may be under way that sent its last packet just
//!   before the fault ended, and then takes its whole time-out;
//! * *back-off* (30 s): the longest pause between attempts;
//! * *keep-alive* (3 s): by then a device has sent something to a restarted
//!   relay, which answers with a stateless reset.

use std::sync::Arc;
use std::time::Duration;

use ginnel_proto::limits::{IDLE_TIMEOUT, KEEP_ALIVE};
use ginnel_proto::link::backoff::CAP;

use super::device::Device;
use super::dice::Dice;
use super::event::Event;
use super::net::Way;
use super::path::{Bursts, Quality};

/// As in the agent's `link.rs`.
const ATTEMPT: Duration = Duration::from_secs(10);
const PROBE: Duration = Duration::from_secs(2);

/// The relay's grace when it drains.
const GRACE: Duration = Duration::from_secs(10);

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

/// Something that goes wrong for a while.
#[derive(Debug, Clone)]
pub struct Fault {
    /// Its kind.
    pub name: &'static str,
    /// What happens, and when after its beginning.
    pub events: Vec<(Duration, Event)>,
    /// When all it needs to be well again is there again.
    pub over: Duration,
    /// How soon after that the device must be registered.
    pub bound: Duration,
    /// When both sides must have noticed that the link is dead.
    pub dead_by: Option<Duration>,
    /// The link must live through it.
    pub harmless: bool,
}

impl Fault {
    /// Any fault, for a device with that quality of path.
    pub fn any(dice: &mut Dice, device: &Arc<Device>, quality: &Quality) -> Self {
        let all = [
            relay_crash,
            relay_drain,
            agent_kill,
            agent_stop,
            cut,
            cut_one_way,
            sleep,
            new_address,
            nat_rebind,
            clock_jump,
            storm,
            twin,
        ];
        dice.pick(&all)(dice, device, quality)
    }

    fn new(name: &'static str, over: Duration, bound: Duration) -> Self {
        Self {
            name,
            events: Vec::new(),
            over,
            bound,
            dead_by: None,
            harmless: false,
        }
    }

    fn event(mut self, at: Duration, event: Event) -> Self {
        self.events.push((at, event));
        self
    }

    /// Both at once: all must be well when both are over and the slower of
    /// them has had its time. Having met one does not help with the other.
    #[must_use]
    pub fn and(mut self, other: Self, later: Duration) -> Self {
        let shifted = other.events.into_iter();
        self.events
            .extend(shifted.map(|(at, event)| (later + at, event)));
        self.over = self.over.max(later + other.over);
        self.bound += other.bound;
        self.name = "several at once";
        self.dead_by = None;
        self.harmless &= other.harmless;
        self
    }
}

/// How long an attempt takes that meets no fault.
#[must_use]
pub fn exchange(quality: &Quality) -> Duration {
    let round_trip = quality.delay_max() * 2;
    // Three lost flights in a row: their time-outs double.
    let again = if quality.loss > 0.0 {
        8 * SECOND
    } else {
        SECOND
    };
    round_trip * 4 + again
}

/// How soon a device connects whose relay was out of reach for long.
#[must_use]
pub fn after_outage(quality: &Quality) -> Duration {
    ATTEMPT + CAP + exchange(quality)
}

/// How soon both sides know that nothing gets through: the idle timer starts
/// anew with the first keep-alive that is not answered.
#[must_use]
pub fn dead_peer(quality: &Quality) -> Duration {
    quality.delay_max() + KEEP_ALIVE + IDLE_TIMEOUT + SECOND / 10
}

fn relay_crash(dice: &mut Dice, _: &Arc<Device>, quality: &Quality) -> Fault {
    if dice.chance(0.5) {
        let down = dice.between(Duration::ZERO, SECOND);
        let bound = KEEP_ALIVE + exchange(quality);
        let fault = Fault::new("relay crash, short", down, bound);
        return fault.event(Duration::ZERO, Event::RelayCrash { down });
    }
    let down = dice.between(SECOND, 2 * MINUTE);
    let fault = Fault::new("relay crash, long", down, after_outage(quality));
    fault.event(Duration::ZERO, Event::RelayCrash { down })
}

fn relay_drain(dice: &mut Dice, _: &Arc<Device>, quality: &Quality) -> Fault {
    let down = dice.between(Duration::ZERO, 2 * SECOND);
    // Requests under way may take up the grace.
    let over = GRACE + 3 * SECOND + down;
    let fault = Fault::new("relay drain", over, exchange(quality));
    fault.event(Duration::ZERO, Event::RelayDrain { grace: GRACE, down })
}

fn agent_kill(dice: &mut Dice, device: &Arc<Device>, quality: &Quality) -> Fault {
    let down = dice.between(Duration::ZERO, MINUTE);
    let fault = Fault::new("agent kill", down, exchange(quality));
    fault.event(Duration::ZERO, Event::AgentKill(Arc::clone(device), down))
}

fn agent_stop(dice: &mut Dice, device: &Arc<Device>, quality: &Quality) -> Fault {
    let down = dice.between(Duration::ZERO, MINUTE);
    // Streams under way, links of before and quinn's farewell come first.
    let over = 40 * SECOND + down;
    let fault = Fault::new("agent stop", over, exchange(quality));
    fault.event(Duration::ZERO, Event::AgentStop(Arc::clone(device), down))
}

fn cut(dice: &mut Dice, device: &Arc<Device>, quality: &Quality) -> Fault {
    let most = dice.pick(&[15 * SECOND, MINUTE, 30 * MINUTE]);
    let lasts = dice.between(SECOND, most);
    let dead_by = dead_peer(quality);
    let mut fault = Fault::new("cut", lasts, after_outage(quality))
        .event(Duration::ZERO, Event::Cut(Arc::clone(device), Way::Both))
        .event(lasts, Event::Heal(Arc::clone(device)));
    fault.dead_by = (dead_by < lasts).then_some(dead_by);
    fault
}

fn cut_one_way(dice: &mut Dice, device: &Arc<Device>, quality: &Quality) -> Fault {
    let lasts = dice.between(SECOND, 5 * MINUTE);
    let way = dice.pick(&[Way::Up, Way::Down]);
    // The side that hears notices when the deaf one has given up. If it had
    // more to send than it may, its keep-alives wait too; what it repeats
    // comes at ever longer intervals, and starts the idle timer anew.
    let dead_by = dead_peer(quality) + quality.delay_max() + 2 * IDLE_TIMEOUT;
    let mut fault = Fault::new("cut, one way", lasts, after_outage(quality))
        .event(Duration::ZERO, Event::Cut(Arc::clone(device), way))
        .event(lasts, Event::Heal(Arc::clone(device)));
    // While only the way back is cut, the relay hears of each new attempt.
    fault.dead_by = (dead_by < lasts && way == Way::Up).then_some(dead_by);
    fault
}

fn sleep(dice: &mut Dice, device: &Arc<Device>, quality: &Quality) -> Fault {
    let most = dice.pick(&[20 * SECOND, 2 * 60 * MINUTE]);
    let lasts = dice.between(SECOND, most);
    Fault::new("sleep", lasts, ATTEMPT + exchange(quality))
        .event(Duration::ZERO, Event::Sleep(Arc::clone(device)))
        .event(lasts, Event::Wake(Arc::clone(device)))
}

fn new_address(_: &mut Dice, device: &Arc<Device>, quality: &Quality) -> Fault {
    let fault = Fault::new("new address", Duration::ZERO, PROBE + exchange(quality));
    fault.event(Duration::ZERO, Event::NewAddress(Arc::clone(device)))
}

fn nat_rebind(_: &mut Dice, device: &Arc<Device>, quality: &Quality) -> Fault {
    let mut fault = Fault::new("NAT rebind", Duration::ZERO, exchange(quality));
    fault.harmless = true;
    fault.event(Duration::ZERO, Event::NatRebind(Arc::clone(device)))
}

fn clock_jump(dice: &mut Dice, device: &Arc<Device>, quality: &Quality) -> Fault {
    const YEAR_MS: i64 = 365 * 24 * 3600 * 1000;
    let by = i64::try_from(dice.below(2 * YEAR_MS.unsigned_abs())).unwrap_or_default() - YEAR_MS;
    let mut fault = Fault::new("clock jump", Duration::ZERO, exchange(quality));
    fault.harmless = true;
    if dice.chance(0.5) {
        return fault.event(Duration::ZERO, Event::RelayClockJump(by / 365));
    }
    fault.event(Duration::ZERO, Event::ClockJump(Arc::clone(device), by))
}

fn storm(dice: &mut Dice, device: &Arc<Device>, quality: &Quality) -> Fault {
    let lasts = dice.between(SECOND, 3 * MINUTE);
    let stormy = Quality {
        loss: 0.1 + dice.fraction() / 3.0,
        bursts: Some(Bursts {
            begin: 0.02,
            end: 0.1,
        }),
        ..*quality
    };
    Fault::new("storm", lasts, after_outage(quality))
        .event(Duration::ZERO, Event::Quality(Arc::clone(device), stormy))
        .event(lasts, Event::Quality(Arc::clone(device), *quality))
}

fn twin(dice: &mut Dice, device: &Arc<Device>, quality: &Quality) -> Fault {
    let lasts = dice.between(SECOND, 5 * MINUTE);
    Fault::new("twin", lasts, after_outage(quality))
        .event(Duration::ZERO, Event::Twin(Arc::clone(device)))
        .event(lasts, Event::TwinKill(Arc::clone(device)))
}
