//! A relay, its devices and the network between them, with a script of what
//! happens to them.

mod restart;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ginnel_link::transport::{Congestion, TransportSettings};
use ginnel_proto::id::{DeviceName, ServiceName, UserName};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::ask::{Answer, Ask, Asked};
use super::clock::Clock;
use super::device::{Device, SERVICE};
use super::dice::Dice;
use super::event::Event;
use super::net::SimNet;
use super::path::Quality;
use super::relay::{RelayProcess, RelayState};
use super::trace::Trace;
use super::watch::Watch;

/// No request of [`World::ask`] may take longer, whatever happens: far more
/// than any transfer needs, and than any part of the system waits.
const ASK_MAX: Duration = Duration::from_secs(120);

/// How long parts may take to stop at the end.
const END_MAX: Duration = Duration::from_secs(180);

/// How often conditions are looked at while they are waited for.
const POLL_EVERY: Duration = Duration::from_millis(5);

/// What may be chosen about a world.
#[derive(Debug, Clone, Copy)]
pub struct WorldOptions {
    /// How good a new device's path is.
    pub quality: Quality,
    /// Of both sides.
    pub congestion: Congestion,
}

impl Default for WorldOptions {
    fn default() -> Self {
        Self {
            quality: Quality::perfect(Duration::from_millis(20)),
            congestion: Congestion::default(),
        }
    }
}

/// A world. Clones are the same world.
#[derive(Debug, Clone)]
pub struct World {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    options: WorldOptions,
    net: SimNet,
    started: Instant,
    state: RelayState,
    dice: Mutex<Dice>,
    relay: Mutex<Option<Arc<RelayProcess>>>,
    /// When the relay's process started that runs now, and how many did.
    relay_up: Mutex<(Duration, usize)>,
    devices: Mutex<Vec<Arc<Device>>>,
    twins: Mutex<BTreeMap<DeviceName, Arc<Device>>>,
    script: Mutex<BTreeMap<(Duration, usize), Event>>,
    watch: Watch,
    stop: CancellationToken,
    /// Restarts under way, and processes that are to end.
    tasks: TaskTracker,
}

impl World {
    pub(super) async fn new(seed: u64, options: WorldOptions) -> Self {
        let started = Instant::now();
        super::log::begin(started);
        let mut dice = Dice::new(seed);
        let net = SimNet::new(dice.fork(), started);
        let state = RelayState::create(&mut dice, Clock::new(started)).await;
        let shared = Shared {
            options,
            net,
            started,
            state,
            dice: Mutex::new(dice),
            relay: Mutex::new(None),
            relay_up: Mutex::new((Duration::ZERO, 0)),
            devices: Mutex::default(),
            twins: Mutex::default(),
            script: Mutex::default(),
            watch: Watch::default(),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        };
        let world = Self {
            shared: Arc::new(shared),
        };
        world.start_relay().await;
        let watcher = world.clone();
        world
            .shared
            .tasks
            .spawn(async move { watcher.watch().await });
        world
    }

    /// The relay that runs now.
    ///
    /// # Panics
    /// If none does.
    #[must_use]
    pub fn relay(&self) -> Arc<RelayProcess> {
        self.running_relay().expect("a relay that runs")
    }

    fn running_relay(&self) -> Option<Arc<RelayProcess>> {
        lock(&self.shared.relay).clone()
    }

    /// When the relay's process started that runs now.
    #[must_use]
    pub fn relay_up_since(&self) -> Option<Duration> {
        self.running_relay()?;
        Some(lock(&self.shared.relay_up).0)
    }

    /// The network.
    #[must_use]
    pub fn net(&self) -> &SimNet {
        &self.shared.net
    }

    /// Time since the world began.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.shared.net.now()
    }

    /// The relay's wall clock.
    #[must_use]
    pub fn relay_clock(&self) -> &Clock {
        &self.shared.state.clock
    }

    /// Dice of this world's seed, for a story.
    #[must_use]
    pub fn dice(&self) -> Dice {
        lock(&self.shared.dice).fork()
    }

    /// The most tasks that ran at once.
    #[must_use]
    pub fn tasks_max(&self) -> usize {
        self.shared.watch.tasks_max()
    }

    /// A device of the world's usual quality, once it is registered.
    pub async fn device(&self, name: &str) -> Arc<Device> {
        let device = self.join(name, self.shared.options.quality).await;
        self.registered(&device, Duration::from_secs(30)).await;
        device
    }

    /// A device whose agent has just started.
    pub async fn join(&self, name: &str, quality: Quality) -> Arc<Device> {
        let name = DeviceName::parse(name).expect("a device name");
        let user = UserName::parse("alice").expect("a user name");
        let credentials = self.shared.state.enrol(&user, &name).await;
        let device = Device::new(
            name,
            self.net().host(quality),
            self.net(),
            &credentials,
            self.settings(),
            Clock::new(self.shared.started),
            self.dice(),
        );
        let device = Arc::new(device);
        device.start();
        lock(&self.shared.devices).push(Arc::clone(&device));
        device
    }

    fn settings(&self) -> TransportSettings {
        TransportSettings {
            congestion: self.shared.options.congestion,
            ..TransportSettings::default()
        }
    }

    /// Puts an event on the script; one of the past happens at once.
    pub fn at(&self, at: Duration, event: Event) {
        let mut script = lock(&self.shared.script);
        let number = script.len();
        script.insert((at, number), event);
    }

    /// Makes an event happen now.
    pub fn happen(&self, event: Event) {
        event.apply(self);
    }

    /// Lets time pass, and happen what the script says.
    pub async fn run_for(&self, time: Duration) {
        self.run_until(self.now() + time).await;
    }

    /// As [`World::run_for`], up to a moment.
    pub async fn run_until(&self, end: Duration) {
        loop {
            let next = lock(&self.shared.script)
                .first_key_value()
                .map(|(key, _)| *key);
            let Some(key) = next.filter(|(at, _)| *at <= end) else {
                break;
            };
            sleep_until(self.shared.started + key.0).await;
            let event = lock(&self.shared.script).remove(&key);
            if let Some(event) = event {
                event.apply(self);
            }
        }
        sleep_until(self.shared.started + end).await;
    }

    /// Whether callers reach the device, and its agent says so.
    #[must_use]
    pub fn is_registered(&self, device: &Device) -> bool {
        let Some(link_id) = self.listed(device) else {
            return false;
        };
        device.is_connected() && device.status().and_then(|s| s.link_id) == Some(link_id)
    }

    /// The number of the device's link at the relay, if it shares its
    /// services.
    #[must_use]
    pub fn listed(&self, device: &Device) -> Option<u64> {
        let relay = self.running_relay()?;
        let connected = relay.relay.links.get(&device.name)?;
        let service = ServiceName::parse(SERVICE).ok()?;
        connected.service(&service)?;
        Some(connected.link_id)
    }

    /// Waits until the device is registered, and returns how long that took.
    /// Taking longer than `bound` breaks a rule.
    pub async fn registered(&self, device: &Device, bound: Duration) -> Duration {
        let what = format!("{} is registered", device.name);
        self.until(&what, bound, || self.is_registered(device))
            .await
    }

    /// Waits until `condition` holds, and returns how long that took. Taking
    /// longer than `bound` breaks a rule.
    pub async fn until(
        &self,
        what: &str,
        bound: Duration,
        condition: impl Fn() -> bool,
    ) -> Duration {
        let began = self.now();
        while !condition() {
            if self.now() > began + bound {
                self.violation(&format!("not within {bound:?}: {what}"));
                break;
            }
            sleep(POLL_EVERY).await;
        }
        self.now() - began
    }

    /// Sends a request and waits for its end.
    pub async fn ask(&self, device: &Device, ask: Ask) -> Asked {
        let began = self.now();
        let answer = match self.running_relay() {
            Some(relay) if !relay.relay.is_draining() => {
                let (name, shared) = (device.name.clone(), Arc::clone(&relay.relay));
                // As a caller's connection, it belongs to the relay's tasks.
                let asking = relay
                    .relay
                    .tasks
                    .spawn(async move { timeout(ASK_MAX, ask.put(&shared, &name)).await });
                match asking.await.expect("judging does not panic") {
                    Ok(answer) => answer,
                    Err(_) => Answer::Wrong(format!("no end after {ASK_MAX:?}")),
                }
            }
            Some(_) | None => Answer::Failed("no relay".to_owned()),
        };
        if let Answer::Wrong(how) = &answer {
            self.violation(&format!("{ask:?} was answered wrongly: {how}"));
        }
        let took = self.now() - began;
        self.net().note(answer.name(), device.host.0, 0);
        Asked { ask, answer, took }
    }

    /// Starts a request; [`World::end`] waits for it.
    pub fn ask_later(&self, device: &Arc<Device>, ask: Ask) {
        let (world, device) = (self.clone(), Arc::clone(device));
        self.shared.tasks.spawn(async move {
            world.ask(&device, ask).await;
        });
    }

    /// Notes that a rule is broken; the story fails at its end.
    pub fn violation(&self, what: &str) {
        self.shared.watch.violation(self.now(), what);
    }

    /// What was broken so far.
    #[must_use]
    pub fn violations(&self) -> Vec<String> {
        self.shared.watch.violations()
    }

    async fn watch(&self) {
        let stop = self.shared.stop.clone();
        let activity = Arc::clone(&self.net().activity);
        while stop
            .run_until_cancelled(activity.notified())
            .await
            .is_some()
        {
            let mut devices = lock(&self.shared.devices).clone();
            devices.extend(lock(&self.shared.twins).values().cloned());
            let relay = self.running_relay();
            self.shared
                .watch
                .look(self.now(), relay.as_deref(), &devices);
        }
    }

    /// Stops everything, and checks that nothing is left.
    pub(super) async fn end(self) -> Trace {
        let devices = std::mem::take(&mut *lock(&self.shared.devices));
        for device in &devices {
            self.net().heal(device.host);
            self.net().release(device.host);
        }
        for device in lock(&self.shared.twins).values().chain(&devices) {
            self.bury(device.stop());
        }
        if let Some(relay) = self.running_relay() {
            relay.drain(Duration::from_secs(10)).await;
        }
        self.crash_relay();
        self.shared.stop.cancel();
        self.shared.tasks.close();
        if timeout(END_MAX, self.shared.tasks.wait()).await.is_err() {
            let left = self.shared.tasks.len();
            self.violation(&format!("restarts and requests do not end, left={left}"));
        }
        // Idle connections to local services go after half a minute.
        let metrics = tokio::runtime::Handle::current().metrics();
        let gone = || metrics.num_alive_tasks() == 0;
        self.until("no task is left", END_MAX, gone).await;
        let trace = self.net().trace();
        let violations = self.violations();
        assert!(
            violations.is_empty(),
            "rules were broken:\n  {}\nat the end:\n{}",
            violations.join("\n  "),
            trace.tail()
        );
        trace
    }
}

impl Answer {
    fn name(&self) -> &'static str {
        match self {
            Self::Right => "answered",
            Self::Failed(_) => "request failed",
            Self::Wrong(_) => "answered wrongly",
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
