//! A device that a test plays itself: any certificate, any bytes.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use ginnel_certs::authority::Authority;
use ginnel_certs::device::{Credentials, DeviceKey};
use ginnel_certs::identity::Identity;
use ginnel_link::driver::DeviceDriver;
use ginnel_link::endpoint::Dialer;
use ginnel_link::error::LinkError;
use ginnel_link::link::Link;
use ginnel_link::network::Network;
use ginnel_link::transport::TransportSettings;
use ginnel_proto::control::{Access, Hello, Service, ServiceKind};
use ginnel_proto::frame::{self, FrameType};
use ginnel_proto::http::RequestHead;
use ginnel_proto::id::{DeviceId, DeviceName, Domain, Environment, ServiceName, UserName};
use ginnel_proto::link::session::DeviceEvent;
use ginnel_relay::daemon::Daemon as Relay;
use quinn::crypto::rustls::QuicClientConfig;
use rustls::ClientConfig;
use rustls::client::WebPkiServerVerifier;

use crate::lab::invite;
use crate::wait::in_time;
use http::HeaderMap;
use http::uri::{PathAndQuery, Scheme};

/// A device without an agent.
#[derive(Debug)]
pub struct Device {
    /// Its TLS settings, for a test to spoil.
    pub tls: ClientConfig,
    relay: SocketAddr,
    domain: Domain,
    dialer: Dialer,
}

impl Device {
    /// A device that the relay knows, with its credentials in `state`.
    pub async fn join(relay: &Relay, state: &Path, user: &str, name: &str) -> Self {
        let code = invite(relay, user).await;
        let name = DeviceName::parse(name).expect("valid name");
        let joined = ginnel_agent::join::join(state, &code, Some(name)).await;
        joined.expect("the device joins");
        Self::new(relay, &Credentials::load(state).expect("joined"))
    }

    /// A device with whatever credentials.
    #[must_use]
    pub fn new(relay: &Relay, credentials: &Credentials) -> Self {
        let network = Network::udp(([127, 0, 0, 1], 0).into()).expect("socket");
        Self {
            tls: ginnel_certs::client::link_config(credentials).expect("valid"),
            relay: relay.link_address,
            domain: relay.relay.domain.clone(),
            dialer: Dialer::new(network, TransportSettings::default()).expect("dialer"),
        }
    }

    /// A device with whatever credentials, that trusts this relay whichever
    /// authority its own certificate is from.
    #[must_use]
    pub fn trusting(relay: &Relay, credentials: &Credentials) -> Self {
        let mut device = Self::new(relay, credentials);
        let mut roots = rustls::RootCertStore::empty();
        let authority = relay.relay.authority.certificate().clone();
        roots.add(authority).expect("an authority");
        let provider = ginnel_certs::provider::provider();
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider);
        let verifier = verifier.build().expect("valid");
        device.tls.dangerous().set_certificate_verifier(verifier);
        device
    }

    /// Knocks at the relay.
    ///
    /// # Errors
    /// The relay refuses in the handshake.
    pub async fn dial(&self) -> Result<Link, LinkError> {
        let tls = Arc::new(self.tls.clone());
        let dialled = self.dialer.connect(self.relay, self.domain.as_str(), tls);
        in_time("a handshake", dialled).await
    }

    /// Knocks, says Hello and waits for the relay's verdict.
    ///
    /// # Errors
    /// Why the relay refuses.
    pub async fn greet(&self) -> Result<DeviceDriver, LinkError> {
        let hello = Hello {
            agent: "test".to_owned(),
            capabilities: Vec::new(),
        };
        let link = self.dial().await?;
        let mut driver = DeviceDriver::start(link, hello, Arc::new(|| 0)).await?;
        in_time("a verdict", async {
            loop {
                if let Some(DeviceEvent::Connected(_)) = driver.next().await? {
                    driver.link().grant_streams();
                    return Ok(());
                }
            }
        })
        .await
        .map(|()| driver)
    }

    /// Knocks with nothing of ours between the test and QUIC.
    pub async fn dial_raw(&self) -> quinn::Connection {
        let tls = QuicClientConfig::try_from(self.tls.clone()).expect("TLS 1.3");
        let config = quinn::ClientConfig::new(Arc::new(tls));
        let endpoint = quinn::Endpoint::client(([127, 0, 0, 1], 0).into()).expect("socket");
        let dialled = endpoint.connect_with(config, self.relay, self.domain.as_str());
        let dialled = in_time("a handshake", dialled.expect("valid")).await;
        dialled.expect("a handshake")
    }

    /// Links up and shares one public service, which the test then plays by
    /// accepting streams on the driver's link.
    pub async fn sharing(&self, name: &str) -> DeviceDriver {
        let mut driver = self.greet().await.expect("welcome");
        driver.register(vec![Service {
            name: ServiceName::parse(name).expect("valid"),
            kind: ServiceKind::Http,
            access: Access::Public,
        }]);
        in_time("registration", async {
            while !matches!(driver.next().await, Ok(Some(DeviceEvent::Registered(_)))) {}
        })
        .await;
        driver
    }
}

/// Why the other side ended a link.
pub async fn end_of(link: &Link) -> LinkError {
    in_time("the link's end", link.closed()).await
}

/// Credentials that `authority` signs for whoever is named, for a while from
/// `since` on.
#[must_use]
pub fn forge(
    authority: &Authority,
    (domain, environment): (&str, &str),
    (user, device): (&str, &str),
    (since, lifetime): (SystemTime, Duration),
) -> Credentials {
    let key = DeviceKey::generate().expect("key");
    let user = UserName::parse(user).expect("valid");
    let device = DeviceName::parse(device).expect("valid");
    let identity = Identity {
        domain: Domain::parse(domain).expect("valid"),
        environment: Environment::parse(environment).expect("valid"),
        device: DeviceId::new(user, device),
    };
    let request = key.certificate_request().expect("signed");
    let issued = authority.issue_device(&request, &identity, since, lifetime);
    let chain = vec![issued.expect("issued").der];
    Credentials::new(key, chain, authority.certificate().clone()).expect("belong together")
}

/// A frame of any kind and payload.
#[must_use]
pub fn frame_of(kind: FrameType, payload: &[u8]) -> Bytes {
    frame::whole(kind, payload)
}

/// The head of a request for `/` without fields, body or host.
#[must_use]
pub fn bare_head(method: &str) -> RequestHead {
    RequestHead {
        method: method.parse().expect("a method"),
        scheme: Scheme::HTTP,
        authority: None,
        path: PathAndQuery::from_static("/"),
        headers: HeaderMap::new(),
        upgrade: None,
        end: true,
    }
}
