//! The relay's process: starts its parts, owns their end.
//!
//! ```text
//! run ─ Daemon::start ─┬─ links ──── devices' QUIC
//!                      ├─ edge ───── callers' HTTP
//!                      ├─ tcp ────── callers' raw TCP
//!                      ├─ admin ──── /health /ready /metrics
//!                      └─ upkeep ─── notices changes, writes what was noted
//! ```
//!
//! Stop order: `/ready` says no → Drain to every device → requests finish, for
//! at most the grace → links are closed with a code → usage is written → exit.
//! A second signal means now.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, anyhow, bail};
use ginnel_certs::authority::Authority;
use ginnel_certs::join_code::JoinCode;
use ginnel_certs::private_file;
use ginnel_daemon::running::RunLock;
use ginnel_daemon::signal;
use ginnel_link::endpoint::Listener;
use ginnel_link::network::Network;
use ginnel_link::transport::TransportSettings;
use ginnel_proto::id::{Domain, UpstreamName, UserName};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use crate::admin::Admin;
use crate::config::bucket::{BucketConfig, BucketPlace};
use crate::config::upstream::UpstreamConfig;
use crate::config::{Config, Mode, PublicConfig, reachable};
use crate::drain::drain;
use crate::edge::accept::Acceptor;
use crate::edge::listen::Edge;
use crate::objects::Bucket;
use crate::objects::s3::S3;
use crate::registry::devices::Refusal;
use crate::registry::join_codes::Invitation;
use crate::registry::serial::Serial;
use crate::relay::{Artifacts, Parts, Relay, system_clock};
use crate::running::{self, RelayNote};
use crate::state::State;
use crate::sync::seal::SealKey;
use crate::upstream::{Upstream, Upstreams, connect};
use crate::{dial, link, room};

/// How long the relay's own certificate for QUIC lives. It is made anew at
/// each start and every [`RENEW_EVERY`].
const RELAY_CERTIFICATE_LIFETIME: Duration = Duration::from_secs(30 * 24 * 3600);
const RENEW_EVERY: Duration = Duration::from_secs(24 * 3600);

/// How often the registry is asked whether it has changed: a revoked device
/// is cut off within a second.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// By when a running relay has noticed a change in the registry, unless its
/// machine is very busy.
pub const NOTICED_AFTER: Duration = LOOK_EVERY.saturating_add(Duration::from_millis(50));

/// How often noted usage is written.
const WRITE_EVERY: Duration = Duration::from_secs(1);

/// How often old usage is looked for.
const PRUNE_EVERY: Duration = Duration::from_secs(60);

/// How long a development join code lives, and when it is made anew.
const DEV_CODE_TTL: Duration = Duration::from_secs(3600);
const DEV_CODE_EVERY: Duration = Duration::from_secs(1800);

/// How long parts may take to end by themselves.
const END_TIMEOUT: Duration = Duration::from_secs(2);

/// Runs the relay until it is told to stop.
///
/// # Errors
/// The relay cannot start, or a part of it failed.
pub async fn run(config: Config) -> anyhow::Result<()> {
    let grace = config.grace;
    let mut daemon = Daemon::start(config).await?;
    let failed = tokio::select! {
        () = signal::stop() => {
            info!("stopping; once more to stop at once");
            None
        }
        failed = daemon.part_failed() => Some(failed),
    };
    tokio::select! {
        result = daemon.stop(grace) => result?,
        () = signal::stop() => bail!("stopped at once"),
    }
    failed.map_or(Ok(()), Err)
}

/// A running relay process.
#[derive(Debug)]
pub struct Daemon {
    /// What its parts share.
    pub relay: Arc<Relay>,
    /// Where devices connect.
    pub link_address: SocketAddr,
    /// Where callers connect.
    pub public_address: SocketAddr,
    /// Where the admin listener is.
    pub admin_address: SocketAddr,
    /// The address that join codes carry.
    pub advertise: String,
    /// While it lives no other relay runs on the state folder.
    lock: RunLock,
    listener: Listener,
    parts: JoinSet<&'static str>,
    stops: Stops,
}

/// The parts end one after the other.
#[derive(Debug, Default)]
struct Stops {
    edge: CancellationToken,
    links: CancellationToken,
    rest: CancellationToken,
}

impl Daemon {
    /// Starts every part.
    ///
    /// # Errors
    /// The state folder cannot be used, or an address is taken.
    pub async fn start(config: Config) -> anyhow::Result<Self> {
        let state = State::open(&config.state, &config.domain)?;
        let lock = running::lock(&config.state).await?;
        let registry = state.registry().await.context("cannot open the registry")?;
        let network = Network::udp(config.link.listen).with_context(|| {
            format!("cannot listen for devices, address={}", config.link.listen)
        })?;
        let tls = relay_tls(&state.authority, &config.domain)?;
        let settings = TransportSettings {
            congestion: config.link.congestion,
            ..TransportSettings::default()
        };
        let listener = Listener::new(network, tls, &state.endpoint_keys, &settings)?;
        let public = &config.public;
        let tls = public_tls(public)?;
        let room = Arc::new(Semaphore::new(room::for_callers(&config)));
        let acceptor = Acceptor::bind(public.listen, Arc::clone(&room))
            .await
            .with_context(|| format!("cannot listen for callers, address={}", public.listen))?;
        let edge = Edge::new(acceptor, tls);
        let link_address = listener.local_address()?;
        let public_address = edge.local_address()?;
        let admin_token = state.admin_token.clone();
        let dev_join_file = (config.mode == Mode::Dev).then(|| state.dev_join_file());
        let relay = Relay::new(Parts {
            public_url: config.public_url(public_address),
            upstreams: upstreams(&config)?,
            artifacts: Some(artifacts(&config, state.seal_key.clone())?),
            domain: config.domain.clone(),
            environment: config.environment.clone(),
            authority: state.authority,
            registry,
            wall_clock: system_clock(),
        })
        .await?;
        let relay = Arc::new(relay);
        let advertise = config.advertise(link_address);
        if let Some(file) = &dev_join_file {
            dev_invitation(&relay, &advertise, file).await?;
        }
        // Last: who reaches the admin listener finds everything else there.
        let admin = Admin::bind(config.admin, admin_token)
            .await
            .with_context(|| format!("cannot listen, address={}", config.admin))?;
        let admin_address = admin.local_address()?;
        lock.announce(&RelayNote {
            pid: std::process::id(),
            advertise: advertise.clone(),
            admin: reachable(admin_address),
        })?;

        let mut daemon = Self {
            relay,
            link_address,
            public_address,
            admin_address,
            advertise,
            lock,
            listener,
            parts: JoinSet::new(),
            stops: Stops::default(),
        };
        daemon.spawn_parts(edge, admin);
        daemon.spawn_tcp(&config, &room).await?;
        if let Some(file) = dev_join_file {
            daemon.spawn_dev_invitations(file);
        }
        info!(
            link = %daemon.link_address,
            public = %daemon.public_address,
            admin = %daemon.admin_address,
            domain = %config.domain,
            "relay listens"
        );
        Ok(daemon)
    }

    fn spawn_parts(&mut self, edge: Edge, admin: Admin) {
        let (relay, listener) = (Arc::clone(&self.relay), self.listener.clone());
        let stop = self.stops.links.clone();
        self.parts.spawn(async move {
            link::serve(relay, listener, stop).await;
            "links"
        });
        let (relay, stop) = (Arc::clone(&self.relay), self.stops.edge.clone());
        self.parts.spawn(async move {
            edge.serve(relay, stop).await;
            "edge"
        });
        let (relay, stop) = (Arc::clone(&self.relay), self.stops.rest.clone());
        self.parts.spawn(async move {
            admin.serve(relay, stop).await;
            "admin"
        });
        let (relay, listener) = (Arc::clone(&self.relay), self.listener.clone());
        let stop = self.stops.rest.clone();
        self.parts.spawn(async move {
            stop.run_until_cancelled(upkeep(&relay, &listener)).await;
            "upkeep"
        });
    }

    /// Starts the ports for raw TCP, which share the callers' `room`.
    async fn spawn_tcp(&mut self, config: &Config, room: &Arc<Semaphore>) -> anyhow::Result<()> {
        for port in &config.tcp {
            let acceptor = Acceptor::bind(port.listen, Arc::clone(room))
                .await
                .with_context(|| format!("cannot listen for TCP, address={}", port.listen))?;
            let (relay, stop) = (Arc::clone(&self.relay), self.stops.edge.clone());
            let (device, service) = (port.device.clone(), port.service.clone());
            info!(address = %port.listen, %device, %service, "TCP port listens");
            self.parts.spawn(async move {
                dial::listen(relay, acceptor, device, service, stop).await;
                "tcp"
            });
        }
        Ok(())
    }

    fn spawn_dev_invitations(&mut self, file: PathBuf) {
        let (relay, advertise) = (Arc::clone(&self.relay), self.advertise.clone());
        let stop = self.stops.rest.clone();
        self.parts.spawn(async move {
            let inviting = dev_invitations(&relay, &advertise, &file);
            stop.run_until_cancelled(inviting).await;
            let _ = std::fs::remove_file(&file);
            "dev invitations"
        });
    }

    /// Waits until a part ends that should not: none does before it is told.
    pub async fn part_failed(&mut self) -> anyhow::Error {
        match self.parts.join_next().await {
            Some(Ok(part)) => anyhow!("a part of the relay ended by itself, part={part}"),
            Some(Err(error)) => anyhow!("a part of the relay failed: {error}"),
            None => anyhow!("no part of the relay runs"),
        }
    }

    /// Stops every part, giving requests under way at most `grace`.
    ///
    /// # Errors
    /// The registry could not be closed.
    pub async fn stop(mut self, grace: Duration) -> anyhow::Result<()> {
        let Stops { edge, links, .. } = &self.stops;
        drain(&self.relay, &self.listener, edge, links, grace).await;
        // Before the admin listener closes: then others may listen there.
        self.lock.retract();
        self.stops.rest.cancel();
        let ended = async { while self.parts.join_next().await.is_some() {} };
        if timeout(END_TIMEOUT, ended).await.is_err() {
            self.parts.shutdown().await;
        }
        self.relay.write_down().await;
        self.relay
            .registry
            .close()
            .await
            .context("cannot close the registry")?;
        info!("stopped");
        Ok(())
    }
}

/// The relay's TLS settings for QUIC, with a fresh certificate.
fn relay_tls(authority: &Authority, domain: &Domain) -> anyhow::Result<Arc<rustls::ServerConfig>> {
    let own = authority.issue_relay(domain, SystemTime::now(), RELAY_CERTIFICATE_LIFETIME)?;
    let tls = ginnel_certs::server::relay_config(own.chain, own.key, authority.certificate())?;
    Ok(Arc::new(tls))
}

/// The public side's TLS settings, unless it is plain.
fn public_tls(public: &PublicConfig) -> anyhow::Result<Option<Arc<rustls::ServerConfig>>> {
    let Some(files) = &public.tls else {
        return Ok(None);
    };
    let tls = ginnel_certs::web::server_config(&files.certificate, &files.key)?;
    Ok(Some(Arc::new(tls)))
}

fn upstreams(config: &Config) -> anyhow::Result<Upstreams> {
    let one = |(name, upstream): (&UpstreamName, &UpstreamConfig)| {
        let credential = upstream.credential.as_ref();
        let credential =
            credential.map(|given| (given.header.clone(), given.value.expose().clone()));
        let made = Upstream::new(
            upstream.url.clone(),
            credential,
            upstream.ca_file.as_deref(),
        );
        let made = made.with_context(|| format!("cannot use an upstream, upstream={name}"))?;
        Ok((name.clone(), made))
    };
    config.upstreams.iter().map(one).collect()
}

/// Opens the bucket. Nothing is sent to it yet: a relay forwards requests also
/// while its bucket is away.
fn artifacts(config: &Config, seal_key: SealKey) -> anyhow::Result<Artifacts> {
    let bucket = open_bucket(&config.bucket)?;
    info!(bucket = bucket.name(), "artifacts are kept");
    Ok(Artifacts {
        bucket,
        seal_key,
        quota: config.bucket.quota,
    })
}

/// Opens a bucket. Nothing is sent to it yet.
///
/// # Errors
/// Its folder cannot be made, or its settings make no sense.
pub fn open_bucket(config: &BucketConfig) -> anyhow::Result<Bucket> {
    Ok(match &config.at {
        BucketPlace::Folder(folder) => {
            private_file::create_dir_private(folder)?;
            Bucket::folder(folder)
                .with_context(|| format!("cannot use the bucket, path={}", folder.display()))?
        }
        BucketPlace::S3(place) => Bucket::s3(S3 {
            bucket: place.bucket.clone(),
            endpoint: place.endpoint.clone(),
            region: place.region.clone(),
            access_key_id: place.access_key_id.clone(),
            secret_access_key: place.secret_access_key.clone(),
            roots: connect::roots(place.ca_file.as_deref())?,
        })?,
    })
}

/// Notices what the command line changed, and writes down what was noted.
async fn upkeep(relay: &Relay, listener: &Listener) {
    let mut look = tokio::time::interval(LOOK_EVERY);
    let mut write = tokio::time::interval(WRITE_EVERY);
    let mut prune = tokio::time::interval(PRUNE_EVERY);
    let mut renew = tokio::time::interval(RENEW_EVERY);
    renew.reset();
    loop {
        tokio::select! {
            biased;
            _ = look.tick() => match relay.registry.changed().await {
                Ok(true) => reread(relay).await,
                Ok(false) => {}
                Err(error) => error!(%error, "cannot ask the registry"),
            },
            _ = write.tick() => relay.write_down().await,
            _ = prune.tick() => match relay.registry.prune_usage(relay.now_ms()).await {
                Ok(0) => {}
                Ok(rows) => debug!(rows, "old usage is forgotten"),
                Err(error) => warn!(%error, "cannot forget old usage now"),
            },
            _ = renew.tick() => match relay_tls(&relay.authority, &relay.domain) {
                Ok(tls) => {
                    if let Err(error) = listener.set_tls(tls) {
                        error!(%error, "cannot use the relay's new certificate");
                    }
                }
                Err(error) => error!("cannot renew the relay's certificate: {error:#}"),
            },
        }
    }
}

/// Takes over new API keys, and closes the links of devices that may no
/// longer be connected.
async fn reread(relay: &Relay) {
    match relay.registry.key_ring().await {
        Ok(keys) => relay.keys.store(Arc::new(keys)),
        Err(error) => error!(%error, "cannot read the API keys"),
    }
    for device in relay.links.all_and_retiring() {
        let serial: &Serial = &device.serial;
        let judged = relay
            .registry
            .authorize_link(&device.id, serial, relay.now_ms())
            .await;
        match judged {
            Ok(_) => {}
            Err(Refusal::Registry(error)) => error!(%error, "cannot ask about a device"),
            Err(refusal) => {
                info!(device = %device.id, %refusal, "closing a link");
                device
                    .link
                    .close(link::refusal_code(&refusal), &refusal.to_string());
            }
        }
    }
}

/// Keeps a fresh join code in a file that agents of the same person find.
async fn dev_invitations(relay: &Relay, advertise: &str, file: &Path) {
    loop {
        // The first code was left at the start.
        let _ = timeout(DEV_CODE_EVERY, relay.joined.notified()).await;
        if let Err(error) = dev_invitation(relay, advertise, file).await {
            warn!("cannot leave a join code for local agents: {error:#}");
        }
    }
}

async fn dev_invitation(relay: &Relay, advertise: &str, file: &Path) -> anyhow::Result<()> {
    let code = JoinCode::generate(advertise, relay.authority.spki_pin())?;
    let invitation = Invitation {
        user: UserName::parse("dev")?,
        device: None,
        id: code.id().to_owned(),
        secret: code.secret_bytes().to_vec(),
        ttl: DEV_CODE_TTL,
    };
    relay.registry.invite(invitation, relay.now_ms()).await?;
    private_file::write(file, code.to_string().as_bytes())?;
    Ok(())
}

#[cfg(test)]
mod tests;
