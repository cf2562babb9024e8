//! A device: its agent's process, which starts, stops and is killed.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ginnel_agent::clock::{Change, Changes};
use ginnel_agent::heard::Heard;
use ginnel_agent::knowledge::opening::Opening;
use ginnel_agent::link::Keeper;
use ginnel_agent::link_report::Report;
use ginnel_agent::local::Inside;
use ginnel_agent::serve::Server;
use ginnel_agent::services::Services;
use ginnel_agent::services::spec::{ServiceSpec, SharedService};
use ginnel_agent::status::{LinkState, LinkStatus};
use ginnel_certs::device::Credentials;
use ginnel_link::link::Link;
use ginnel_link::transport::TransportSettings;
use ginnel_proto::id::{DeviceName, Domain, ServiceName};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::clock::Clock;
use super::dice::Dice;
use super::net::{Host, RELAY, SimNet};

/// The service that every device shares.
pub const SERVICE: &str = "web";

/// Requests that an agent works on at once.
const REQUESTS_MAX: usize = 4096;

/// A device of the world, whether its agent runs or not.
#[derive(Debug)]
pub struct Device {
    /// Its name.
    pub name: DeviceName,
    /// Where it is on the network.
    pub host: Host,
    /// Its wall clock.
    pub clock: Clock,
    net: SimNet,
    domain: Domain,
    tls: Arc<rustls::ClientConfig>,
    settings: TransportSettings,
    /// Where the relay's name leads.
    relay: Arc<Mutex<Vec<SocketAddr>>>,
    dice: Mutex<Dice>,
    run: Mutex<Option<Run>>,
    fell_asleep: Mutex<Option<Instant>>,
}

/// The agent's process.
#[derive(Debug)]
struct Run {
    report: Report,
    link: watch::Receiver<Option<Link>>,
    changes: mpsc::Sender<Change>,
    stop: CancellationToken,
    keeper: JoinHandle<()>,
    tasks: TaskTracker,
}

/// What is left of a process that was told to end.
#[derive(Debug)]
pub(super) struct Remains {
    keeper: Option<JoinHandle<()>>,
    tasks: TaskTracker,
}

impl Device {
    pub(super) fn new(
        name: DeviceName,
        host: Host,
        net: &SimNet,
        credentials: &Credentials,
        settings: TransportSettings,
        clock: Clock,
        dice: Dice,
    ) -> Self {
        let tls = ginnel_certs::client::link_config(credentials).expect("TLS settings");
        Self {
            name,
            host,
            clock,
            net: net.clone(),
            domain: credentials.domain().clone(),
            tls: Arc::new(tls),
            settings,
            relay: Arc::new(Mutex::new(vec![RELAY])),
            dice: Mutex::new(dice),
            run: Mutex::new(None),
            fell_asleep: Mutex::new(None),
        }
    }

    /// The relay's name leads to these addresses from now on, in this order.
    pub fn relay_is_at(&self, addresses: Vec<SocketAddr>) {
        *lock(&self.relay) = addresses;
    }

    /// Another machine with a copy of this device's identity.
    pub(super) fn twin(&self, host: Host) -> Self {
        Self {
            name: self.name.clone(),
            host,
            clock: self.clock.clone(),
            net: self.net.clone(),
            domain: self.domain.clone(),
            tls: Arc::clone(&self.tls),
            settings: self.settings,
            relay: Arc::clone(&self.relay),
            dice: Mutex::new(lock(&self.dice).fork()),
            run: Mutex::new(None),
            fell_asleep: Mutex::new(None),
        }
    }

    /// Starts the agent, unless it runs already: faults may overlap. As its
    /// daemon does, but for the local API.
    pub(super) fn start(&self) {
        if lock(&self.run).is_some() {
            return;
        }
        let mut dice = lock(&self.dice);
        let services = Services::in_memory();
        let spec = ServiceSpec {
            public: true,
            ..ServiceSpec::new("demo")
        };
        let name = ServiceName::parse(SERVICE).expect("valid");
        let demo = SharedService::new(name, &spec).expect("valid");
        services.share(demo).expect("room");

        let tasks = TaskTracker::new();
        let inside = Inside {
            tasks: tasks.clone(),
            knowledge: Opening::ended(Err("no store here".to_owned())),
        };
        let (changes_in, changes) = Changes::channel();
        let report = Report::new(self.clock.wall_clock());
        let (net, host, owner) = (self.net.clone(), self.host, tasks.clone());
        let relay = Arc::clone(&self.relay);
        let keeper = Keeper {
            networks: Arc::new(move || Ok(net.socket(host).network(&owner))),
            resolve: Arc::new(move || {
                let found = lock(&relay).clone();
                Box::pin(async { Ok(found) })
            }),
            domain: self.domain.clone(),
            tls: Arc::clone(&self.tls),
            settings: TransportSettings {
                seed: Some(dice.bytes()),
                ..self.settings
            },
            server: Arc::new(Server::new(services.clone(), REQUESTS_MAX, inside)),
            services,
            changes,
            wall_clock: self.clock.wall_clock(),
            report: report.clone(),
            heard: Heard::new(),
            random: fastrand::Rng::with_seed(dice.any()),
            tasks: tasks.clone(),
        };
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let current = watch::Sender::new(None);
        let link = current.subscribe();
        let keeping = tasks.spawn(async move {
            keeper.run(current, stopped).await.expect("sockets");
        });
        let run = Run {
            report,
            link,
            changes: changes_in,
            stop,
            keeper: keeping,
            tasks,
        };
        *lock(&self.run) = Some(run);
    }

    /// The agent dies: its sockets go, and nobody is told.
    pub(super) fn kill(&self) -> Option<Remains> {
        let run = lock(&self.run).take()?;
        run.keeper.abort();
        self.net.kill(self.host);
        Some(Remains {
            keeper: None,
            tasks: run.tasks,
        })
    }

    /// The agent is told to stop.
    pub(super) fn stop(&self) -> Option<Remains> {
        let run = lock(&self.run).take()?;
        run.stop.cancel();
        Some(Remains {
            keeper: Some(run.keeper),
            tasks: run.tasks,
        })
    }

    /// Tells the agent what happened to its machine.
    pub(super) fn tell(&self, change: Change) {
        if let Some(run) = &*lock(&self.run) {
            // An agent that does not listen has not lost anything yet.
            let _ = run.changes.try_send(change);
        }
    }

    /// The machine falls asleep.
    pub(super) fn sleep(&self) {
        *lock(&self.fell_asleep) = Some(Instant::now());
        self.net.hold(self.host);
    }

    /// The machine wakes.
    pub(super) fn wake(&self) {
        let Some(since) = lock(&self.fell_asleep).take() else {
            return;
        };
        self.net.release(self.host);
        self.tell(Change::Woke {
            slept: since.elapsed(),
        });
    }

    /// The agent's link, if it has one.
    #[must_use]
    pub fn link(&self) -> Option<Link> {
        let run = lock(&self.run);
        run.as_ref().and_then(|run| run.link.borrow().clone())
    }

    /// How the agent says its link is; `None` while it does not run.
    #[must_use]
    pub fn status(&self) -> Option<LinkStatus> {
        let report = lock(&self.run).as_ref().map(|run| run.report.clone());
        report.map(|report| report.status())
    }

    /// Whether the agent says that it is connected.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.status()
            .is_some_and(|status| status.state == LinkState::Connected)
    }

    /// How often the link came up since the agent started.
    #[must_use]
    pub fn connects(&self) -> u64 {
        self.status().map_or(0, |status| status.connects)
    }
}

impl Remains {
    /// Waits until nothing of the process runs any more.
    pub(super) async fn ended(self) {
        if let Some(keeper) = self.keeper {
            keeper.await.expect("the keeper ends");
        }
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// How long what an agent left may go on: streams of replaced links end with
/// their links.
pub(super) const REMAINS_MAX: Duration = Duration::from_secs(90);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
