//! The relay's process: starts, drains, crashes.
//!
//! What outlives a process is in [`RelayState`], as it is on disk in
//! production: the authority, the registry and the endpoint's keys.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use ginnel_certs::authority::Authority;
use ginnel_certs::device::{Credentials, DeviceKey};
use ginnel_certs::identity::Identity;
use ginnel_link::endpoint::{EndpointKeys, Listener};
use ginnel_link::transport::TransportSettings;
use ginnel_proto::id::{DeviceId, DeviceName, Domain, Environment, UserName};
use ginnel_relay::drain::drain;
use ginnel_relay::objects::Bucket;
use ginnel_relay::registry::connection::Location;
use ginnel_relay::registry::executor::Executor;
use ginnel_relay::registry::join_codes::Invitation;
use ginnel_relay::registry::pepper::Pepper;
use ginnel_relay::registry::redeem::{Claim, IssuedCertificate};
use ginnel_relay::registry::{OpenOptions, Registry};
use ginnel_relay::relay::{Artifacts, Parts, PublicUrl, Relay, unix_ms};
use ginnel_relay::sync::seal::SealKey;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::clock::Clock;
use super::dice::Dice;
use super::net::SimNet;

/// The relay's name.
pub const DOMAIN: &str = "relay.example";

/// Longer than any story.
const CERTIFICATE_LIFETIME: Duration = Duration::from_secs(3000 * 24 * 3600);

/// What a relay keeps on disk.
#[derive(Debug)]
pub(super) struct RelayState {
    folder: TempDir,
    registry: Registry,
    bucket: Bucket,
    endpoint_secret: [u8; 32],
    domain: Domain,
    environment: Environment,
    pub(super) clock: Clock,
}

/// A running relay.
#[derive(Debug)]
pub struct RelayProcess {
    /// How many there were before it.
    pub(super) number: usize,
    /// What its parts share.
    pub relay: Arc<Relay>,
    /// Until it has ended.
    listener: Mutex<Option<Listener>>,
    links: CancellationToken,
    /// The link tasks, and quinn's.
    tasks: TaskTracker,
}

impl RelayState {
    pub(super) async fn create(dice: &mut Dice, clock: Clock) -> Self {
        let registry = Registry::open(OpenOptions {
            location: Location::Memory,
            pepper: Pepper::new(dice.bytes()),
            executor: Executor::Inline,
        });
        Self {
            folder: tempfile::tempdir().expect("temporary folder"),
            registry: registry.await.expect("a registry in memory"),
            bucket: Bucket::memory(),
            endpoint_secret: dice.bytes(),
            domain: DOMAIN.parse().expect("valid"),
            environment: "simulation".parse().expect("valid"),
            clock,
        }
    }

    fn authority(&self) -> Authority {
        Authority::load_or_create(self.folder.path(), &self.domain, SystemTime::now())
            .expect("an authority")
    }

    /// Starts a process with this state.
    pub(super) async fn start(
        &self,
        net: &SimNet,
        settings: TransportSettings,
        number: usize,
    ) -> Arc<RelayProcess> {
        let authority = self.authority();
        let own = authority.issue_relay(&self.domain, SystemTime::now(), CERTIFICATE_LIFETIME);
        let own = own.expect("a certificate");
        let tls = ginnel_certs::server::relay_config(own.chain, own.key, authority.certificate());
        let tasks = TaskTracker::new();
        let listener = Listener::new(
            net.relay_socket().network(&tasks),
            Arc::new(tls.expect("TLS settings")),
            &EndpointKeys::derive(&self.endpoint_secret),
            &settings,
        );
        let relay = Relay::new(Parts {
            domain: self.domain.clone(),
            environment: self.environment.clone(),
            authority,
            registry: self.registry.clone(),
            upstreams: std::collections::BTreeMap::new(),
            artifacts: Some(Artifacts {
                bucket: self.bucket.clone(),
                seal_key: SealKey::new(self.endpoint_secret),
                quota: u64::MAX,
            }),
            public_url: PublicUrl {
                scheme: "https",
                domain: self.domain.clone(),
                port: None,
            },
            wall_clock: self.clock.wall_clock(),
        });
        let relay = Arc::new(relay.await.expect("the registry can be read"));
        let listener = listener.expect("a listener");
        let links = CancellationToken::new();
        let serving =
            ginnel_relay::link::serve(Arc::clone(&relay), listener.clone(), links.clone());
        tasks.spawn(serving);
        Arc::new(RelayProcess {
            number,
            relay,
            listener: Mutex::new(Some(listener)),
            links,
            tasks,
        })
    }

    /// Gives a device its identity, as joining would.
    pub(super) async fn enrol(&self, user: &UserName, device: &DeviceName) -> Credentials {
        let now_ms = i64::try_from(self.clock.unix_ms()).expect("this century");
        let (id, secret) = (format!("code-{device}"), vec![7; 32]);
        let invitation = Invitation {
            user: user.clone(),
            device: Some(device.clone()),
            id: id.clone(),
            secret: secret.clone(),
            ttl: Duration::from_secs(60),
        };
        let invited = self.registry.invite(invitation, now_ms).await;
        invited.expect("invited");

        let key = DeviceKey::generate().expect("a key");
        let csr = key.certificate_request().expect("a request");
        let claim = Claim {
            id,
            secret,
            device: Some(device.clone()),
            public_key_hash: ginnel_certs::authority::request_key_hash(&csr).expect("a request"),
        };
        let authority = self.authority();
        let root = authority.certificate().clone();
        let (domain, environment) = (self.domain.clone(), self.environment.clone());
        let issue = move |user: &UserName, device: &DeviceName| {
            let identity = Identity {
                domain,
                environment,
                device: DeviceId::new(user.clone(), device.clone()),
            };
            let issued = authority
                .issue_device(&csr, &identity, SystemTime::now(), CERTIFICATE_LIFETIME)
                .map_err(|error| error.to_string())?;
            Ok(IssuedCertificate {
                serial: issued.serial.parse().expect("a serial"),
                not_after_ms: unix_ms(issued.not_after),
                der: issued.der.to_vec(),
            })
        };
        let redeemed = self.registry.redeem(claim, now_ms, issue).await;
        let chain = vec![redeemed.expect("redeemed").certificate_der.into()];
        Credentials::new(key, chain, root).expect("credentials")
    }
}

impl RelayProcess {
    /// Stops as the daemon does, but for what has sockets on the public side.
    pub(super) async fn drain(&self, grace: Duration) {
        if let Some(listener) = self.take_listener() {
            let edge = CancellationToken::new();
            drain(&self.relay, &listener, &edge, &self.links, grace).await;
        }
        self.relay.write_down().await;
    }

    /// Waits until nothing of the process runs any more.
    pub(super) async fn ended(&self) {
        drop(self.take_listener());
        self.tasks.close();
        self.relay.tasks.close();
        self.tasks.wait().await;
        self.relay.tasks.wait().await;
    }

    fn take_listener(&self) -> Option<Listener> {
        let mut listener = self.listener.lock().unwrap_or_else(PoisonError::into_inner);
        listener.take()
    }
}
