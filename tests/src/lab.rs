//! A relay and its agents.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use ginnel_agent::config::Config as AgentConfig;
use ginnel_agent::daemon::Daemon as Agent;
use ginnel_agent::local_client::LocalClient;
use ginnel_agent::running::{self, DaemonNote};
use ginnel_agent::services::spec::{ServiceSpec, SharedService};
use ginnel_agent::status::LinkState;
use ginnel_daemon::running::RunLock;
use ginnel_proto::id::{DeviceName, ServiceName, UserName};
use ginnel_relay::config::{Config as RelayConfig, Flags};
use ginnel_relay::daemon::Daemon as Relay;
use ginnel_relay::registry::Registry;
use ginnel_relay::registry::api_key::KeyEnvironment;
use ginnel_relay::registry::api_keys::NewKey;
use ginnel_relay::registry::join_codes::Invitation;
use ginnel_relay::state::State;
use http::{HeaderMap, Request, Response, Version};
use http_body_util::Empty;
use hyper::body::Incoming;
use tempfile::TempDir;

use crate::caller::Caller;
use crate::origin::ManualOrigin;
use crate::wait::{in_time, until, until_true};

/// A relay with one agent, `laptop` of user `alice`.
#[derive(Debug)]
pub struct Lab {
    /// The relay.
    pub relay: Relay,
    /// The agent.
    pub agent: LabAgent,
    /// Makes requests on the public side.
    pub caller: Caller,
    /// Everybody's state, until dropped.
    pub folder: TempDir,
}

/// An agent of the lab.
#[derive(Debug)]
pub struct LabAgent {
    /// The daemon.
    pub daemon: Agent,
    /// Its device name.
    pub device: DeviceName,
    /// Its state folder.
    pub state: std::path::PathBuf,
}

impl Lab {
    /// Starts a relay and an agent, and waits until they are connected.
    pub async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    /// As [`Lab::start`]; the agent shares a service as `web`, which the test
    /// plays itself.
    pub async fn by_hand() -> (Self, ManualOrigin) {
        let lab = Self::start().await;
        let origin = ManualOrigin::bind().await;
        lab.agent.share("web", &origin.target()).await;
        (lab, origin)
    }

    /// As [`Lab::start`], with a configuration file for the relay, which may
    /// name [`UPSTREAM_KEY`] as the variable of a credential.
    pub async fn start_from(file: &str) -> Self {
        let folder = tempfile::tempdir().expect("temporary folder");
        let config = folder.path().join("relay.toml");
        std::fs::write(&config, file).expect("written");
        let flags = Flags {
            config: Some(config),
            ..relay_flags(folder.path())
        };
        let environment = |name: &str| (name == UPSTREAM_KEY.0).then(|| UPSTREAM_KEY.1.into());
        let config = RelayConfig::dev(&flags, &environment).expect("valid configuration");
        let relay = Relay::start(config).await.expect("the relay starts");
        Self::around(relay, folder).await
    }

    /// As [`Lab::start`], with changes to the relay's configuration.
    pub async fn start_with(change: impl FnOnce(&mut RelayConfig)) -> Self {
        let folder = tempfile::tempdir().expect("temporary folder");
        let relay = start_relay(folder.path(), change).await;
        Self::around(relay, folder).await
    }

    async fn around(relay: Relay, folder: TempDir) -> Self {
        let agent = start_agent(&relay, folder.path(), "alice", "laptop").await;
        Self {
            caller: Caller::new(relay.public_address),
            relay,
            agent,
            folder,
        }
    }

    /// Another agent, connected.
    pub async fn another_agent(&self, user: &str, device: &str) -> LabAgent {
        start_agent(&self.relay, self.folder.path(), user, device).await
    }

    /// A GET on the public side for a service, by host.
    pub async fn get(&self, service: &str, path: &str) -> Response<Incoming> {
        let request = self
            .request(service, path)
            .body(Empty::<bytes::Bytes>::new());
        self.caller.send(request.expect("valid request")).await
    }

    /// A request on the public side for a service, by host.
    #[must_use]
    pub fn request(&self, service: &str, path: &str) -> http::request::Builder {
        Request::builder()
            .uri(path)
            .header("host", format!("{service}.localhost"))
    }

    /// As [`Lab::request`], for [`Caller::send_over`]: HTTP/2 carries the host
    /// in the target.
    #[must_use]
    pub fn request_over(
        &self,
        version: Version,
        service: &str,
        path: &str,
    ) -> http::request::Builder {
        if version == Version::HTTP_2 {
            return Request::builder().uri(format!("http://{service}.localhost{path}"));
        }
        self.request(service, path)
    }

    /// A new API key of `alice`.
    pub async fn key(&self, scope: &str) -> String {
        self.key_of("alice", scope).await
    }

    /// A new API key of a user.
    pub async fn key_of(&self, user: &str, scope: &str) -> String {
        self.make_key(user, scope, None).await
    }

    /// A new API key of a user that ends after a time.
    pub async fn key_for(&self, user: &str, scope: &str, lifetime: Duration) -> String {
        let lifetime_ms = i64::try_from(lifetime.as_millis()).expect("short");
        let end = self.relay.relay.now_ms() + lifetime_ms;
        self.make_key(user, scope, Some(end)).await
    }

    async fn make_key(&self, user: &str, scope: &str, expires_at_ms: Option<i64>) -> String {
        let key = NewKey {
            user: UserName::parse(user).expect("valid"),
            name: None,
            environment: KeyEnvironment::Live,
            scopes: vec![scope.parse().expect("valid scope")],
            expires_at_ms,
        };
        let registry = &self.relay.relay.registry;
        let now_ms = self.relay.relay.now_ms();
        let made = registry.create_key(key, now_ms).await.expect("key");
        // Made through the relay's own handle, which `changed` does not tell.
        let ring = registry.key_ring().await.expect("keys");
        self.relay.relay.keys.store(std::sync::Arc::new(ring));
        made.expose().to_owned()
    }

    /// The registry as the command line opens it, beside the running relay.
    pub async fn registry(&self) -> Registry {
        let state = State::open(&self.relay_state(), &self.relay.relay.domain).expect("opens");
        state.registry().await.expect("opens")
    }

    /// The relay's state folder.
    #[must_use]
    pub fn relay_state(&self) -> std::path::PathBuf {
        self.folder.path().join("relay")
    }

    /// Repeats a call until it is not answered with success; returns that
    /// answer.
    ///
    /// # Panics
    /// After [`PATIENCE`](crate::wait::PATIENCE).
    pub async fn until_refused<F>(&self, mut call: impl FnMut() -> F) -> Response<Incoming>
    where
        F: Future<Output = Response<Incoming>>,
    {
        in_time("a refusal", async {
            loop {
                let response = call().await;
                if !response.status().is_success() {
                    return response;
                }
            }
        })
        .await
    }
}

impl LabAgent {
    /// Shares a public service and waits until callers can reach it.
    pub async fn share(&self, name: &str, target: &str) {
        self.share_as(
            name,
            ServiceSpec {
                public: true,
                ..ServiceSpec::new(target)
            },
        )
        .await;
    }

    /// Shares a service and waits until the relay knows it.
    pub async fn share_as(&self, name: &str, spec: ServiceSpec) {
        let name = ServiceName::parse(name).expect("valid name");
        let service = SharedService::new(name.clone(), &spec).expect("valid service");
        let is_http = service.target.kind() == ginnel_proto::control::ServiceKind::Http;
        self.daemon.services.share(service).expect("stored");
        if is_http {
            let report = &self.daemon.report;
            until("the relay knows the service", || report.url(&name)).await;
        }
    }

    /// Waits until the link is up.
    pub async fn connected(&self) {
        until_true("the link is up", || {
            self.daemon.report.status().state == LinkState::Connected
        })
        .await;
    }

    /// As the command line finds the daemon; the lock is the daemon's.
    pub async fn client(&self) -> (LocalClient, RunLock) {
        let lock = running::lock(&self.state).await.expect("not taken");
        let file = DaemonNote {
            pid: std::process::id(),
            local: self.local(),
        };
        lock.announce(&file).expect("announced");
        (LocalClient::find(&self.state).await.expect("found"), lock)
    }

    /// The local API's address.
    #[must_use]
    pub fn local(&self) -> SocketAddr {
        self.daemon.local
    }

    /// The local token.
    #[must_use]
    pub fn token(&self) -> HeaderMap {
        let token = ginnel_agent::local_token::LocalToken::read(&self.state).expect("token");
        let mut headers = HeaderMap::new();
        headers.insert("authorization", token.to_header());
        headers
    }
}

/// The variable that holds a credential of an upstream, and the credential.
pub const UPSTREAM_KEY: (&str, &str) = ("UPSTREAM_KEY", "sk-of-the-cloud");

/// Starts a relay with its state under `folder`.
pub async fn start_relay(folder: &std::path::Path, change: impl FnOnce(&mut RelayConfig)) -> Relay {
    let flags = relay_flags(folder);
    let mut config = RelayConfig::dev(&flags, &|_| None).expect("valid configuration");
    change(&mut config);
    // The port of a relay that ended may be another test's for a while.
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        match Relay::start(config.clone()).await {
            Ok(relay) => return relay,
            Err(error) if format!("{error:?}").contains("in use") && Instant::now() < until => {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            Err(error) => panic!("the relay does not start: {error:?}"),
        }
    }
}

fn relay_flags(folder: &std::path::Path) -> Flags {
    let any_port = || Some("127.0.0.1:0".to_owned());
    Flags {
        state: Some(folder.join("relay")),
        link: any_port(),
        public: any_port(),
        admin: any_port(),
        ..Flags::default()
    }
}

/// Invites, joins and starts an agent, and waits until it is connected.
pub async fn start_agent(
    relay: &Relay,
    folder: &std::path::Path,
    user: &str,
    device: &str,
) -> LabAgent {
    let state = folder.join(format!("agent-{device}"));
    let code = invite(relay, user).await;
    let name = DeviceName::parse(device).expect("valid name");
    ginnel_agent::join::join(&state, &code, Some(name.clone()))
        .await
        .expect("the device joins");
    let agent = LabAgent {
        daemon: restart_agent(&state).await,
        device: name,
        state,
    };
    agent.connected().await;
    agent
}

/// Starts an agent that has joined before.
pub async fn restart_agent(state: &std::path::Path) -> Agent {
    restart_agent_with(state, |_| {}).await
}

/// As [`restart_agent`], with changes to the agent's configuration.
pub async fn restart_agent_with(
    state: &std::path::Path,
    change: impl FnOnce(&mut AgentConfig),
) -> Agent {
    let mut config = AgentConfig::new(state);
    config.local = ([127, 0, 0, 1], 0).into();
    change(&mut config);
    Agent::start(&config).await.expect("the agent starts")
}

/// A join code for a device of any name.
pub async fn invite(relay: &Relay, user: &str) -> String {
    invite_with(relay, user, None, Duration::from_secs(60)).await
}

/// A join code that may be bound to a name, and lives so long.
pub async fn invite_with(relay: &Relay, user: &str, device: Option<&str>, ttl: Duration) -> String {
    let pin = relay.relay.authority.spki_pin();
    let code = ginnel_certs::join_code::JoinCode::generate(&relay.advertise, pin).expect("code");
    let invitation = Invitation {
        user: UserName::parse(user).expect("valid name"),
        device: device.map(|name| DeviceName::parse(name).expect("valid name")),
        id: code.id().to_owned(),
        secret: code.secret_bytes().to_vec(),
        ttl,
    };
    let now_ms = relay.relay.now_ms();
    let invited = relay.relay.registry.invite(invitation, now_ms).await;
    invited.expect("invited");
    code.to_string()
}
