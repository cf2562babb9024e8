//! The agent's process: starts its parts, owns their end.
//!
//! ```text
//! run ─ join if asked ─ Daemon::start ─┬─ link keeper ── serves streams
//!                                      ├─ renewal ────── warns in time
//!                                      ├─ local API ──── gateway
//!                                      ├─ opening ────── the store, however long it takes
//!                                      ├─ transfers ──── artifacts to and from the relay
//!                                      ├─ sharing ────── what is known, in step with other devices
//!                                      └─ embedding ──── vectors for what is new
//! ```
//!
//! Stop order: the local API takes no more → streams finish → Goodbye → the
//! store closes → exit.
//! A second signal means now.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, UNIX_EPOCH};

use anyhow::{Context as _, anyhow};
use ginnel_certs::device::Credentials;
use ginnel_certs::error::Error as CertsError;
use ginnel_daemon::{open_files, signal};
use ginnel_link::driver::WallClock;
use ginnel_link::transport::TransportSettings;
use ginnel_store::sync::Identity;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, info, warn};

use crate::api::{self, ApiContext, Listeners};
use crate::clock::{self, Changes};
use crate::config::Config;
use crate::gateway::Gateway;
use crate::heard::Heard;
use crate::join::{self, RelayPlace, any_network, resolve};
use crate::knowledge::opening::{Opening, Stage};
use crate::knowledge::sync::keys::KeyFile;
use crate::knowledge::sync::relay::follow;
use crate::knowledge::sync::{self, ClockOffset};
use crate::link::{CurrentLink, Keeper, Resolve};
use crate::link_report::Report;
use crate::local::Inside;
use crate::local_token::LocalToken;
use crate::renewal::Renewal;
use crate::running::{self, DaemonNote};
use crate::serve::Server;
use crate::services::Services;
use crate::status::{LinkStatus, ServiceStatus, Status, StoreStatus};

/// How long streams of replaced links may go on at the end.
const STOP_GRACE: Duration = Duration::from_secs(2);

/// Runs the daemon until it is told to stop. Joins first if `code` is given,
/// or if the device has no identity yet and a development relay of the same
/// person offers one.
///
/// # Errors
/// The daemon cannot start, or a part of it failed.
pub async fn run(config: Config, code: Option<String>) -> anyhow::Result<()> {
    let lock = running::lock(&config.state).await?;
    // Each request takes a socket or two.
    open_files::raise();
    if let Some(code) = code.or_else(|| dev_invitation(&config.state)) {
        match join::join(&config.state, &code, None).await {
            Ok(device) => info!(device, "joined"),
            // A service manager starts us with the same used code each time.
            Err(error) if Credentials::load(&config.state).is_ok() => {
                warn!("cannot join again, so the identity stays as it is: {error:#}");
            }
            Err(error) => return Err(error.context("cannot join the relay")),
        }
    }
    let daemon = Daemon::start(&config).await?;
    lock.announce(&DaemonNote {
        pid: std::process::id(),
        local: daemon.local,
    })?;
    let stop = daemon.stop.clone();
    let ended = tokio::select! {
        result = daemon.wait() => result,
        () = signalled_twice(&stop) => Err(anyhow!("stopped at once")),
    };
    // The store may still be held by the thread that opens it, which ends with
    // the process.
    lock.keep_until_exit();
    ended
}

/// Cancels `stop` when the process is told to stop, and returns when it is
/// told again.
pub(crate) async fn signalled_twice(stop: &CancellationToken) {
    signal::stop().await;
    info!("stopping; once more to stop at once");
    stop.cancel();
    signal::stop().await;
}

/// A running daemon.
#[derive(Debug)]
pub struct Daemon {
    /// Where the local API listens.
    pub local: SocketAddr,
    /// What this device shares.
    pub services: Services,
    /// How the link is.
    pub report: Report,
    /// What this device knows, once its store is open. One that cannot be
    /// opened does not keep the tunnel from working.
    pub knowledge: Opening,
    /// Ends the daemon when cancelled.
    pub stop: CancellationToken,
    parts: JoinSet<(&'static str, anyhow::Result<()>)>,
    tasks: TaskTracker,
}

impl Daemon {
    /// Starts every part. A device that has not joined has no link, and does
    /// all the rest.
    ///
    /// # Errors
    /// The identity is damaged, the address is taken, or the services cannot
    /// be read.
    pub async fn start(config: &Config) -> anyhow::Result<Self> {
        let joined = Joined::load(&config.state)?;
        let services = Services::load(&config.state)?;
        let token = LocalToken::open(&config.state)?;
        let listener = TcpListener::bind(config.local)
            .await
            .with_context(|| format!("cannot listen, address={}", config.local))?;
        let local = listener.local_addr()?;
        let listeners = listeners(listener, &config.state);
        let origin = joined.as_ref().map(Joined::device).unwrap_or_default();
        let knowledge = Opening::begin(config.knowledge(&origin));

        let wall_clock: WallClock = Arc::new(clock::unix_ms);
        let report = Report::new(Arc::clone(&wall_clock));
        let stop = CancellationToken::new();
        let tasks = TaskTracker::new();
        let current: CurrentLink = watch::Sender::new(None);
        let heard = Heard::new();
        let gateway = Gateway::new(current.subscribe(), tasks.clone());
        let describe = Describe {
            began: Instant::now(),
            joined: joined.as_ref().map(Joined::describe),
            services: services.clone(),
            report: report.clone(),
            knowledge: knowledge.clone(),
        };
        let context = ApiContext {
            services: services.clone(),
            status: Arc::new(move || describe.status()),
            stop: stop.clone(),
            token,
            local,
            forward: Arc::new(move |to, request| gateway.forward(to, request)),
            knowledge: knowledge.clone(),
        };

        let mut parts = JoinSet::new();
        if let Some(joined) = joined {
            let inside = Inside {
                tasks: tasks.clone(),
                knowledge: knowledge.clone(),
            };
            let server = Server::new(services.clone(), config.max_requests, inside);
            let renewal = joined.renewal();
            let keeper = Keeper {
                networks: Arc::new(any_network),
                resolve: joined.resolve(),
                domain: joined.credentials.domain().clone(),
                tls: Arc::new(ginnel_certs::client::link_config(&joined.credentials)?),
                settings: TransportSettings {
                    congestion: config.congestion,
                    ..TransportSettings::default()
                },
                server: Arc::new(server),
                services: services.clone(),
                changes: Changes::watch(),
                wall_clock: Arc::clone(&wall_clock),
                report: report.clone(),
                heard: heard.clone(),
                random: fastrand::Rng::new(),
                tasks: tasks.clone(),
            };
            let (sharing, ended) = (knowledge.clone(), stop.clone());
            let (follower, relay) = watch::channel(None);
            tasks.spawn(follow(current.subscribe(), follower));
            let identity = joined.identity();
            let offset = report.clone();
            let clock_offset: ClockOffset = Arc::new(move || offset.clock_offset_ms());
            let keys = KeyFile::of(&config.state);
            parts.spawn(async move {
                let with = |store, artifacts| sync::Parts {
                    store,
                    artifacts,
                    identity,
                    relay,
                    heard,
                    clock_offset,
                    wall_clock,
                    keys,
                };
                sharing.keep_sharing(with, ended).await;
                ("sharing", Ok(()))
            });
            let (moving, link, ended) = (knowledge.clone(), current.subscribe(), stop.clone());
            let settings = config.sync.clone();
            parts.spawn(async move {
                moving.keep_moving(link, settings, ended).await;
                ("transfers", Ok(()))
            });
            let ended = stop.clone();
            parts.spawn(async move {
                let result = keeper.run(current, ended).await;
                ("link", result.context("cannot open a UDP socket"))
            });
            let ended = stop.clone();
            parts.spawn(async move {
                renewal.remind(ended).await;
                ("renewal", Ok(()))
            });
        } else {
            info!("not joined to a relay; hint: ginnel join CODE, then start again");
        }
        let ended = stop.clone();
        parts.spawn(async move {
            api::serve(listeners, Arc::new(context), ended).await;
            ("local API", Ok(()))
        });
        let (opening, ended) = (knowledge.clone(), stop.clone());
        parts.spawn(async move {
            opening.keep_embedding(ended).await;
            ("embedding", Ok(()))
        });
        info!(%local, "the local API listens");
        Ok(Self {
            local,
            services,
            report,
            knowledge,
            stop,
            parts,
            tasks,
        })
    }

    /// Waits for the end: of all parts, once one of them has ended.
    ///
    /// # Errors
    /// What the first part failed with.
    pub async fn wait(mut self) -> anyhow::Result<()> {
        let mut result = Ok(());
        while let Some(ended) = self.parts.join_next().await {
            let (part, ended) = ended.context("a part of the daemon panicked")?;
            if let Err(error) = ended {
                error!(part, "{error:#}");
                result = result.and(Err(error));
            }
            self.stop.cancel();
        }
        // What still runs belongs to links that are being replaced.
        self.tasks.close();
        let _ = tokio::time::timeout(STOP_GRACE, self.tasks.wait()).await;
        result.and(self.knowledge.close().await)
    }
}

/// What a device has that joined a relay.
struct Joined {
    credentials: Credentials,
    place: RelayPlace,
}

impl Joined {
    fn load(state: &Path) -> anyhow::Result<Option<Self>> {
        let credentials = match Credentials::load(state) {
            Err(CertsError::NoIdentity { .. }) => return Ok(None),
            credentials => credentials?,
        };
        let place = RelayPlace::load(state)?;
        Ok(Some(Self { credentials, place }))
    }

    fn device(&self) -> String {
        self.identity().device.to_string()
    }

    fn identity(&self) -> Identity {
        let device = &self.credentials.leaf().identity.device;
        Identity {
            domain: self.credentials.domain().clone(),
            user: device.user.clone(),
            device: device.device.clone(),
        }
    }

    fn renewal(&self) -> Renewal {
        Renewal {
            device: self.credentials.leaf().identity.device.clone(),
            ends_unix_ms: unix_ms(self.credentials.leaf().not_after),
        }
    }

    fn describe(&self) -> (Renewal, String) {
        (self.renewal(), self.place.address.clone())
    }

    /// Finds the relay's addresses, each time anew.
    fn resolve(&self) -> Resolve {
        let address: Arc<str> = self.place.address.clone().into();
        Arc::new(move || {
            let address = Arc::clone(&address);
            Box::pin(async move { resolve(&address).await })
        })
    }
}

/// Both ways to the local API; the socket is left out where it cannot be made.
fn listeners(tcp: TcpListener, state: &Path) -> Listeners {
    match Listeners::from(tcp).with_socket(state) {
        Ok(listeners) => listeners,
        Err((listeners, error)) => {
            warn!(%error, state = %state.display(), "no unix socket for the local API");
            listeners
        }
    }
}

/// Describes the daemon, for `ginnel status`.
struct Describe {
    began: Instant,
    /// The device, and where its relay is.
    joined: Option<(Renewal, String)>,
    services: Services,
    report: Report,
    knowledge: Opening,
}

impl Describe {
    fn status(&self) -> Status {
        let link: LinkStatus = self.report.status();
        let services = self.services.list();
        let renewal = self.joined.as_ref().map(|(renewal, _)| renewal);
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            uptime_s: self.began.elapsed().as_secs(),
            device: renewal.map(|renewal| renewal.device.to_string()),
            relay: self.joined.as_ref().map(|(_, relay)| relay.clone()),
            certificate_ends_unix_ms: renewal.map(|renewal| renewal.ends_unix_ms),
            warning: renewal.and_then(|renewal| renewal.warning(clock::unix_ms())),
            link,
            store: match self.knowledge.stage() {
                Stage::Opening => StoreStatus::Opening,
                Stage::Waiting(problem) => StoreStatus::Waiting { problem },
                Stage::Open(knowledge) => match knowledge.store().engine_problem() {
                    Some(problem) => StoreStatus::Slow { problem },
                    None => StoreStatus::Open,
                },
                Stage::Failed(problem) => StoreStatus::Failed { problem },
            },
            services: services
                .iter()
                .map(|service| ServiceStatus {
                    name: service.name.to_string(),
                    target: service.target.to_string(),
                    public: service.access == ginnel_proto::control::Access::Public,
                    url: self.report.url(&service.name),
                })
                .collect(),
        }
    }
}

/// The join code that a development relay of the same person left, if this
/// device has no identity yet.
fn dev_invitation(state: &Path) -> Option<String> {
    if Credentials::load(state).is_ok() {
        return None;
    }
    let file = relay_state(state)?.join("dev.join");
    let code = ginnel_certs::private_file::read(&file, 1024).ok()?;
    info!(file = %file.display(), "found a development relay");
    let code = std::str::from_utf8(&code).ok()?;
    Some(code.trim().to_owned())
}

/// Where a relay of the same person keeps its state: beside the agent's.
fn relay_state(state: &Path) -> Option<PathBuf> {
    match std::env::var_os("GINNEL_RELAY_STATE") {
        Some(folder) => Some(folder.into()),
        None => Some(state.parent()?.join("ginnel-relay")),
    }
}

fn unix_ms(time: std::time::SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
