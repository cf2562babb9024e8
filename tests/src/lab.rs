//! A relay and its agents.

use std::net::SocketAddr;
use std::time::Duration;

use ginnel_agent::config::Config as AgentConfig;
use ginnel_agent::daemon::Daemon as Agent;
use ginnel_agent::services::spec::{ServiceSpec, SharedService};
use ginnel_agent::status::LinkState;
use ginnel_proto::id::{DeviceName, ServiceName, UserName};
use ginnel_relay::config::{Config as RelayConfig, Flags};
use ginnel_relay::daemon::Daemon as Relay;
use ginnel_relay::registry::api_key::KeyEnvironment;
use ginnel_relay::registry::api_keys::NewKey;
use ginnel_relay::registry::join_codes::Invitation;
use http::{HeaderMap, Request, Response};
use http_body_util::Empty;
use hyper::body::Incoming;
use tempfile::TempDir;

use crate::caller::Caller;
use crate::wait::{until, until_true};

/// A relay with one agent, `laptop` of user `alice`.
#[derive(Debug)]
pub struct Lab {
    /// The relay.
    pub relay: Relay,
    /// The agent.
    pub agent: LabAgent,
    /// Makes requests on the public side.
    pub caller: Caller,
    folder: TempDir,
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

    /// As [`Lab::start`], with changes to the relay's configuration.
    pub async fn start_with(change: impl FnOnce(&mut RelayConfig)) -> Self {
        let folder = tempfile::tempdir().expect("temporary folder");
        let relay = start_relay(folder.path(), change).await;
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
        let request = self.request(service, path).body(Empty::<bytes::Bytes>::new());
        self.caller.send(request.expect("valid request")).await
    }

    /// A request on the public side for a service, by host.
    #[must_use]
    pub fn request(&self, service: &str, path: &str) -> http::request::Builder {
        Request::builder()
            .uri(path)
            .header("host", format!("{service}.localhost"))
    }

    /// A new API key of `alice`.
    pub async fn key(&self, scope: &str) -> String {
        let key = NewKey {
            user: UserName::parse("alice").expect("valid"),
            name: None,
            environment: KeyEnvironment::Live,
            scopes: vec![scope.parse().expect("valid scope")],
            expires_at_ms: None,
        };
        let registry = &self.relay.relay.registry;
        let now_ms = self.relay.relay.now_ms();
        let made = registry.create_key(key, now_ms).await.expect("key");
        // Made through the relay's own handle, which `changed` does not tell.
        let ring = registry.key_ring().await.expect("keys");
        self.relay.relay.keys.store(std::sync::Arc::new(ring));
        made.expose().to_owned()
    }
}

impl LabAgent {
    /// Shares a public service and waits until callers can reach it.
    pub async fn share(&self, name: &str, target: &str) {
        self.share_as(name, ServiceSpec {
            public: true,
            ..ServiceSpec::new(target)
        })
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

/// Starts a relay with its state under `folder`.
pub async fn start_relay(
    folder: &std::path::Path,
    change: impl FnOnce(&mut RelayConfig),
) -> Relay {
    let any_port = || Some("127.0.0.1:0".to_owned());
    let flags = Flags {
        state: Some(folder.join("relay")),
        link: any_port(),
        public: any_port(),
        admin: any_port(),
        ..Flags::default()
    };
    let mut config = RelayConfig::dev(&flags, &|_| None).expect("valid configuration");
    change(&mut config);
    Relay::start(config).await.expect("the relay starts")
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
    let mut config = AgentConfig::new(state);
    config.local = ([127, 0, 0, 1], 0).into();
    Agent::start(&config).await.expect("the agent starts")
}

/// A join code for a device of any name.
pub async fn invite(relay: &Relay, user: &str) -> String {
    let pin = relay.relay.authority.spki_pin();
    let code = ginnel_certs::join_code::JoinCode::generate(&relay.advertise, pin).expect("code");
    let invitation = Invitation {
        user: UserName::parse(user).expect("valid name"),
        device: None,
        id: code.id().to_owned(),
        secret: code.secret_bytes().to_vec(),
        ttl: Duration::from_secs(60),
    };
    let now_ms = relay.relay.now_ms();
    let invited = relay.relay.registry.invite(invitation, now_ms).await;
    invited.expect("invited");
    code.to_string()
}
