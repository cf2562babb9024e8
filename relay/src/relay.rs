//! What all parts of a running relay share.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use ginnel_certs::authority::Authority;
use ginnel_daemon::tally::Tally;
use ginnel_link::driver::WallClock;
use ginnel_proto::id::{DeviceId, DeviceName, Domain, Environment, ServiceName};
use tokio::sync::Notify;
use tokio_util::task::TaskTracker;
use tracing::{error, warn};

use crate::knowledge::Knowledge;
use crate::ledger::Ledger;
use crate::links::Links;
use crate::metrics::Metrics;
use crate::objects::Bucket;
use crate::registry::Registry;
use crate::registry::key_ring::KeyRing;
use crate::registry::usage::{Amount, UsageKey};
use crate::sync::seal::SealKey;
use crate::sync::{self, Sync};
use crate::upstream::Upstreams;

/// How long a device's certificate lives, until renewal is automatic.
pub const CERTIFICATE_LIFETIME: Duration = Duration::from_secs(30 * 24 * 3600);

/// Key uses kept until they are written; later ones are not noted.
const USES_MAX: usize = 1000;

/// A running relay.
pub struct Relay {
    /// Its name, and the trust domain of its devices.
    pub domain: Domain,
    /// The stage it belongs to; devices of another are refused.
    pub environment: Environment,
    /// Signs devices' certificates.
    pub authority: Authority,
    /// Who may use it.
    pub registry: Registry,
    /// The API keys, as of the registry's last change.
    pub keys: ArcSwap<KeyRing>,
    /// Who is connected.
    pub links: Links,
    /// The cloud APIs that devices may reach.
    pub upstreams: Upstreams,
    /// Artifacts, if it keeps them.
    pub sync: Option<Sync>,
    /// What users' devices know, if it keeps artifacts.
    pub knowledge: Option<Knowledge>,
    /// What it counts.
    pub metrics: Arc<Metrics>,
    /// Joins refused since the log last told: any stranger can ask.
    pub(crate) refused_joins: Tally,
    /// Links refused since the log last told.
    pub(crate) refused_links: Tally,
    /// How callers see it.
    pub public_url: PublicUrl,
    /// Milliseconds since 1970.
    pub wall_clock: WallClock,
    /// Callers' connections, requests and streams under way.
    pub tasks: TaskTracker,
    /// Told when a device has joined.
    pub joined: Notify,
    /// When keys were last used, not yet written.
    uses: Mutex<BTreeMap<String, i64>>,
    /// When devices were last connected, not yet written.
    sightings: Mutex<BTreeMap<DeviceName, i64>>,
    /// What was used, not yet written.
    usage: Mutex<Ledger>,
    draining: AtomicBool,
}

/// What a [`Relay`] is made of.
pub struct Parts {
    /// See [`Relay::domain`].
    pub domain: Domain,
    /// See [`Relay::environment`].
    pub environment: Environment,
    /// See [`Relay::authority`].
    pub authority: Authority,
    /// See [`Relay::registry`].
    pub registry: Registry,
    /// See [`Relay::upstreams`].
    pub upstreams: Upstreams,
    /// Where artifacts are kept, if they are.
    pub artifacts: Option<Artifacts>,
    /// See [`Relay::public_url`].
    pub public_url: PublicUrl,
    /// See [`Relay::wall_clock`].
    pub wall_clock: WallClock,
}

/// Where artifacts are kept.
#[derive(Debug)]
pub struct Artifacts {
    /// The bucket.
    pub bucket: Bucket,
    /// See [`crate::sync::seal`].
    pub seal_key: SealKey,
    /// Bytes that a user's artifacts may have together.
    pub quota: u64,
}

impl Relay {
    /// Puts the parts together and reads the API keys.
    ///
    /// # Errors
    /// The registry cannot be read.
    pub async fn new(parts: Parts) -> Result<Self, crate::registry::error::Error> {
        let keys = parts.registry.key_ring().await?;
        let metrics = Arc::new(Metrics::default());
        let knowledge = parts.artifacts.as_ref();
        let knowledge =
            knowledge.map(|it| Knowledge::new(it.bucket.clone(), Arc::clone(&parts.wall_clock)));
        let sync = parts.artifacts.map(|artifacts| {
            Sync::new(sync::Parts {
                bucket: artifacts.bucket,
                seal_key: artifacts.seal_key,
                quota: artifacts.quota,
                wall_clock: Arc::clone(&parts.wall_clock),
                bytes_stored: metrics.artifact_bytes_stored.clone(),
            })
        });
        Ok(Self {
            sync,
            knowledge,
            domain: parts.domain,
            environment: parts.environment,
            authority: parts.authority,
            registry: parts.registry,
            keys: ArcSwap::from_pointee(keys),
            links: Links::default(),
            upstreams: parts.upstreams,
            metrics,
            refused_joins: Tally::default(),
            refused_links: Tally::default(),
            public_url: parts.public_url,
            wall_clock: parts.wall_clock,
            tasks: TaskTracker::new(),
            joined: Notify::new(),
            uses: Mutex::default(),
            sightings: Mutex::default(),
            usage: Mutex::default(),
            draining: AtomicBool::new(false),
        })
    }

    /// The wall clock as the registry wants it.
    #[must_use]
    pub fn now_ms(&self) -> i64 {
        i64::try_from((self.wall_clock)()).unwrap_or(i64::MAX)
    }

    /// The wall clock as certificates want it.
    #[must_use]
    pub fn now(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis((self.wall_clock)())
    }

    /// Notes that a device is or was connected just now; written by
    /// [`Relay::write_down`]. No more are kept than there are devices.
    pub fn seen(&self, device: &DeviceId) {
        lock(&self.sightings).insert(device.device.clone(), self.now_ms());
    }

    /// Notes that an API key was used; written by [`Relay::write_down`].
    pub fn key_used(&self, id: &str, now_ms: i64) {
        let mut uses = lock(&self.uses);
        if let Some(at) = uses.get_mut(id) {
            *at = now_ms;
        } else if uses.len() < USES_MAX {
            uses.insert(id.to_owned(), now_ms);
        }
    }

    /// Notes what was used; written by [`Relay::write_down`].
    pub fn used(&self, key: UsageKey, amount: &Amount) {
        lock(&self.usage).add(key, amount);
    }

    /// Writes what was noted in memory: once a second, and at the end.
    pub async fn write_down(&self) {
        let uses = take(&self.uses);
        if !uses.is_empty()
            && let Err(error) = self.registry.touch_keys(uses.into_iter().collect()).await
        {
            warn!(%error, "cannot note when API keys were used");
        }
        let sightings = take(&self.sightings);
        if let Err(error) = self.registry.seen(sightings.into_iter().collect()).await {
            warn!(%error, "cannot note when devices were connected");
        }
        self.write_usage().await;
    }

    /// What could not be written stays, for the next time. So does what was
    /// being written when this is dropped half-way: the registry knows it.
    async fn write_usage(&self) {
        loop {
            let Some(batch) = lock(&self.usage).batch() else {
                return;
            };
            let (number, sums) = (batch.number, batch.sums.len());
            match self.registry.record_usage(batch).await {
                Ok(()) => {}
                Err(error) if error.is_retryable() => {
                    warn!(%error, "cannot record usage now");
                    return;
                }
                // It will not be better next time.
                Err(error) => error!(%error, sums, "usage is lost"),
            }
            lock(&self.usage).written(number);
        }
    }

    /// From now on no device is let in, and `/ready` says no.
    pub fn begin_drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Whether the relay is about to stop.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }
}

impl std::fmt::Debug for Relay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Relay")
            .field("domain", &self.domain)
            .field("environment", &self.environment)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Parts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parts")
            .field("domain", &self.domain)
            .finish_non_exhaustive()
    }
}

fn take<T: Default>(from: &Mutex<T>) -> T {
    std::mem::take(&mut *lock(from))
}

/// Nothing under these locks panics half-way.
fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How callers see the relay: the parts of a service's URL that do not depend
/// on the service.
#[derive(Debug, Clone)]
pub struct PublicUrl {
    /// `http` or `https`.
    pub scheme: &'static str,
    /// The relay's domain.
    pub domain: Domain,
    /// The port, unless it is the scheme's own.
    pub port: Option<u16>,
}

impl PublicUrl {
    /// The URL of a device's service.
    #[must_use]
    pub fn of(&self, service: &ServiceName, device: &DeviceName) -> String {
        let Self { scheme, domain, .. } = self;
        let port = self
            .port
            .map_or_else(String::new, |port| format!(":{port}"));
        format!("{scheme}://{service}.{device}.{domain}{port}")
    }
}

/// Milliseconds since 1970, as the registry wants them; 0 before.
#[must_use]
pub fn unix_ms(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// The system's wall clock.
#[must_use]
pub fn system_clock() -> WallClock {
    Arc::new(|| u64::try_from(unix_ms(SystemTime::now())).unwrap_or_default())
}
