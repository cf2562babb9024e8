//! Who gets in and who does not: TLS handshakes between real settings, in
//! memory, with the system's clock and certificates dated around it.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use ginnel_certs::authority::Authority;
use ginnel_certs::client::{join_config, link_config};
use ginnel_certs::device::{Credentials, DeviceKey};
use ginnel_certs::error::Error;
use ginnel_certs::identity::{Identity, Leaf};
use ginnel_certs::pin::SpkiPin;
use ginnel_certs::provider::provider;
use ginnel_certs::server::{peer_leaf, relay_config};
use ginnel_certs::{ALPN_JOIN, ALPN_LINK};
use ginnel_proto::id::Domain;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{
    AlertDescription, CertificateError, CipherSuite, ClientConfig, ClientConnection, HandshakeKind,
    NamedGroup, PeerIncompatible, ProtocolVersion, RootCertStore, ServerConfig, ServerConnection,
};

const DOMAIN: &str = "relay.example";
const DAY: Duration = Duration::from_secs(24 * 3600);

#[test]
fn a_device_is_accepted_and_known() {
    let world = World::new();
    let credentials = world.join(now(), DAY);
    let (client, server) = connect(link(&credentials), world.relay(), DOMAIN).accepted();
    assert_eq!(server.alpn_protocol(), Some(ALPN_LINK));
    assert_eq!(client.alpn_protocol(), Some(ALPN_LINK));
    let leaf = peer_leaf(server.peer_certificates()).expect("a device");
    assert_eq!(leaf, *credentials.leaf());
    assert_eq!(leaf.identity, identity());
}

#[test]
fn a_device_is_accepted_on_localhost() {
    for name in ["localhost", "127.0.0.1"] {
        let domain = Domain::parse(name).expect("domain");
        let world = World::new();
        let relay = world.authority.issue_relay(&domain, now(), DAY);
        let relay = relay.expect("relay certificate");
        let relay = relay_config(relay.chain, relay.key, world.authority.certificate());
        let client = link(&world.join(now(), DAY));
        connect(client, relay.expect("settings"), name).accepted();
    }
}

#[test]
fn the_best_cryptography_is_chosen() {
    let world = World::new();
    let (client, server) = connect(link(&world.join(now(), DAY)), world.relay(), DOMAIN).accepted();
    let group = server.negotiated_key_exchange_group().expect("a group");
    assert_eq!(group.name(), NamedGroup::X25519MLKEM768);
    let suite = server.negotiated_cipher_suite().expect("a suite");
    assert_eq!(suite.suite(), CipherSuite::TLS13_AES_128_GCM_SHA256);
    assert_eq!(client.protocol_version(), Some(ProtocolVersion::TLSv1_3));
}

#[test]
fn nothing_is_resumed() {
    let world = World::new();
    let client = Arc::new(link(&world.join(now(), DAY)));
    let relay = Arc::new(world.relay());
    for _ in 0..2 {
        let (client, server) =
            connect_shared(Arc::clone(&client), Arc::clone(&relay), DOMAIN).accepted();
        assert_eq!(client.tls13_tickets_received(), 0);
        assert_eq!(client.handshake_kind(), Some(HandshakeKind::Full));
        assert_eq!(server.handshake_kind(), Some(HandshakeKind::Full));
    }

    // Nor if only one side would like to.
    let mut eager_client = (*client).clone();
    eager_client.resumption = rustls::client::Resumption::in_memory_sessions(8);
    eager_client.enable_early_data = true;
    let mut eager_relay = (*relay).clone();
    eager_relay.session_storage = rustls::server::ServerSessionMemoryCache::new(8);
    eager_relay.send_tls13_tickets = 2;
    for (client, relay, tickets) in [
        (Arc::new(eager_client), relay, 0),
        (client, Arc::new(eager_relay), 2),
    ] {
        for _ in 0..2 {
            let (client, _) =
                connect_shared(Arc::clone(&client), Arc::clone(&relay), DOMAIN).accepted();
            assert_eq!(client.tls13_tickets_received(), tickets);
            assert_eq!(client.handshake_kind(), Some(HandshakeKind::Full));
            assert!(!client.is_early_data_accepted());
        }
    }
}

#[test]
fn an_expired_device_is_refused() {
    let world = World::new();
    let credentials = world.join(now() - 31 * DAY, 30 * DAY);
    let error = connect(link(&credentials), world.relay(), DOMAIN).refused_by_relay();
    assert!(
        matches!(
            error,
            rustls::Error::InvalidCertificate(CertificateError::ExpiredContext { .. })
        ),
        "{error:?}"
    );
}

#[test]
fn a_device_is_not_accepted_before_its_time() {
    let world = World::new();
    let credentials = world.join(now() + DAY, DAY);
    let error = connect(link(&credentials), world.relay(), DOMAIN).refused_by_relay();
    assert!(
        matches!(
            error,
            rustls::Error::InvalidCertificate(CertificateError::NotValidYetContext { .. })
        ),
        "{error:?}"
    );
    // Five minutes of difference between the clocks are allowed for.
    let credentials = world.join(now() + Duration::from_secs(240), DAY);
    connect(link(&credentials), world.relay(), DOMAIN).accepted();
}

#[test]
fn a_device_of_another_authority_is_refused() {
    // Same names everywhere, another key.
    let (ours, theirs) = (World::new(), World::new());
    let credentials = theirs.join(now(), DAY);
    let (certificate, key) = theirs.device(now(), DAY);
    let client = client_showing(&ours, vec![certificate], key);
    let error = connect(client, ours.relay(), DOMAIN).refused_by_relay();
    assert!(
        matches!(error, rustls::Error::InvalidCertificate(_)),
        "{error:?}"
    );

    // And the device refuses the foreign relay before it shows anything.
    let outcome = connect(link(&credentials), ours.relay(), DOMAIN);
    assert!(
        matches!(
            outcome.client,
            Err(rustls::Error::InvalidCertificate(
                CertificateError::UnknownIssuer | CertificateError::BadSignature
            ))
        ),
        "{:?}",
        outcome.client.err()
    );
}

#[test]
fn a_relay_certificate_does_not_make_a_device() {
    let world = World::new();
    let relay = world.authority.issue_relay(&domain(), now(), DAY);
    let relay = relay.expect("relay certificate");
    let client = client_showing(&world, relay.chain, relay.key);
    let error = connect(client, world.relay(), DOMAIN).refused_by_relay();
    assert!(
        matches!(
            error,
            rustls::Error::InvalidCertificate(CertificateError::InvalidPurposeContext { .. })
        ),
        "{error:?}"
    );
}

#[test]
fn a_client_without_a_certificate_is_nobody() {
    let world = World::new();
    let mut client = join_config(world.authority.spki_pin());
    client.alpn_protocols = vec![ALPN_LINK.to_vec()];
    let (_, server) = connect(client, world.relay(), DOMAIN).accepted();
    let error = peer_leaf(server.peer_certificates()).expect_err("nobody");
    assert!(matches!(error, Error::CertificateRequired), "{error}");
}

#[test]
fn a_relay_of_another_name_is_refused() {
    let world = World::new();
    let client = link(&world.join(now(), DAY));
    let outcome = connect(client, world.relay(), "other.example");
    assert!(
        matches!(
            outcome.client,
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForNameContext { .. }
            ))
        ),
        "{:?}",
        outcome.client.err()
    );
}

#[test]
fn an_expired_relay_is_refused() {
    let world = World::new();
    let clients = [
        link(&world.join(now(), DAY)),
        join_config(world.authority.spki_pin()),
    ];
    for client in clients {
        let relay = world.relay_issued(now() - 2 * DAY, DAY);
        let outcome = connect(client, relay, DOMAIN);
        assert!(
            matches!(
                outcome.client,
                Err(rustls::Error::InvalidCertificate(
                    CertificateError::ExpiredContext { .. }
                ))
            ),
            "{:?}",
            outcome.client.err()
        );
    }
}

#[test]
fn other_protocols_are_refused() {
    let world = World::new();
    let mut client = link(&world.join(now(), DAY));
    client.alpn_protocols = vec![b"h2".to_vec()];
    let error = connect(client, world.relay(), DOMAIN).refused_by_relay();
    assert_eq!(error, rustls::Error::NoApplicationProtocol);
}

#[test]
fn joining_works_with_the_right_pin_under_any_name() {
    let world = World::new();
    for name in [DOMAIN, "192.0.2.1", "elsewhere.example"] {
        let client = join_config(world.authority.spki_pin());
        let (_, server) = connect(client, world.relay(), name).accepted();
        assert_eq!(server.alpn_protocol(), Some(ALPN_JOIN));
        assert!(server.peer_certificates().is_none());
    }
}

#[test]
fn joining_with_a_wrong_pin_is_refused() {
    let (ours, theirs) = (World::new(), World::new());
    let mut almost = ours.authority.spki_pin();
    almost.0[31] ^= 1;
    for pin in [theirs.authority.spki_pin(), almost, SpkiPin([0; 32])] {
        let outcome = connect(join_config(pin), ours.relay(), DOMAIN);
        outcome.assert_unknown_issuer();
    }
}

#[test]
fn the_pinned_authority_must_have_signed_the_relay() {
    // A stranger shows the true authority beside a certificate of its own.
    let (ours, theirs) = (World::new(), World::new());
    let relay = theirs.authority.issue_relay(&domain(), now(), DAY);
    let relay = relay.expect("relay certificate");
    let chain = vec![
        relay.chain[0].clone(),
        ours.authority.certificate().clone(),
        theirs.authority.certificate().clone(),
    ];
    let stranger = relay_config(chain, relay.key, theirs.authority.certificate());
    let client = join_config(ours.authority.spki_pin());
    let outcome = connect(client, stranger.expect("settings"), DOMAIN);
    assert!(
        matches!(
            outcome.client,
            Err(rustls::Error::InvalidCertificate(
                CertificateError::UnknownIssuer | CertificateError::BadSignature
            ))
        ),
        "{:?}",
        outcome.client.err()
    );
}

#[test]
fn the_authority_must_be_in_the_chain() {
    let world = World::new();
    let relay = world.authority.issue_relay(&domain(), now(), DAY);
    let relay = relay.expect("relay certificate");
    let bare = vec![relay.chain[0].clone()];
    let relay = relay_config(bare, relay.key, world.authority.certificate());
    let client = join_config(world.authority.spki_pin());
    connect(client, relay.expect("settings"), DOMAIN).assert_unknown_issuer();
}

#[test]
fn a_leaf_is_no_authority_even_if_pinned() {
    let world = World::new();
    let (certificate, key) = world.device(now(), DAY);
    let pin = SpkiPin::of(&certificate).expect("pin");
    let chain = vec![certificate.clone(), certificate];
    let relay = relay_config(chain, key, world.authority.certificate());
    connect(join_config(pin), relay.expect("settings"), DOMAIN).assert_unknown_issuer();
}

#[test]
fn a_device_cannot_pose_as_the_relay() {
    let world = World::new();
    let clients = [
        link(&world.join(now(), DAY)),
        join_config(world.authority.spki_pin()),
    ];
    for client in clients {
        let (certificate, key) = world.device(now(), DAY);
        let root = world.authority.certificate();
        let posing = relay_config(vec![certificate, root.clone()], key, root);
        let outcome = connect(client, posing.expect("settings"), DOMAIN);
        assert!(
            matches!(
                outcome.client,
                Err(rustls::Error::InvalidCertificate(
                    CertificateError::InvalidPurposeContext { .. }
                        | CertificateError::NotValidForNameContext { .. }
                ))
            ),
            "{:?}",
            outcome.client.err()
        );
    }
}

#[test]
fn tls_1_2_is_refused() {
    let world = World::new();
    let mut server = ServerConnection::new(Arc::new(world.relay())).expect("server");
    server.read_tls(&mut &TLS12_CLIENT_HELLO[..]).expect("read");
    let error = server.process_new_packets().expect_err("TLS 1.2");
    assert!(
        matches!(
            error,
            rustls::Error::PeerIncompatible(
                PeerIncompatible::SupportedVersionsExtensionRequired
                    | PeerIncompatible::Tls12NotOfferedOrEnabled
            )
        ),
        "{error:?}"
    );
    let mut alert = Vec::new();
    server.write_tls(&mut alert).expect("an alert");
    let protocol_version = u8::from(AlertDescription::ProtocolVersion);
    assert_eq!(alert, [21, 3, 3, 0, 2, 2, protocol_version]);
}

/// The hello of a client that knows TLS 1.2 only (RFC 5246 §7.4.1.2).
#[rustfmt::skip]
const TLS12_CLIENT_HELLO: [u8; 78] = [
    22, 3, 1, 0, 73,                    // record: handshake
    1, 0, 0, 69,                        // client hello
    3, 3,                               // version: TLS 1.2
    7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    0,                                  // no session
    0, 2, 0xc0, 0x2b,                   // ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
    1, 0,                               // no compression
    0, 26,                              // extensions
    0, 10, 0, 4, 0, 2, 0, 29,           // groups: X25519
    0, 11, 0, 2, 1, 0,                  // points: uncompressed
    0, 13, 0, 8, 0, 6, 8, 7, 4, 3, 8, 4, // signatures: Ed25519, ECDSA, RSA-PSS
];

/// An authority and those it certifies.
struct World {
    authority: Authority,
}

impl World {
    fn new() -> Self {
        let authority = Authority::create(&domain(), now() - 100 * DAY).expect("authority");
        Self { authority }
    }

    fn relay(&self) -> ServerConfig {
        self.relay_issued(now(), DAY)
    }

    fn relay_issued(&self, at: SystemTime, lifetime: Duration) -> ServerConfig {
        let relay = self.authority.issue_relay(&domain(), at, lifetime);
        let relay = relay.expect("relay certificate");
        relay_config(relay.chain, relay.key, self.authority.certificate()).expect("settings")
    }

    fn join(&self, at: SystemTime, lifetime: Duration) -> Credentials {
        let key = DeviceKey::generate().expect("key");
        let request = key.certificate_request().expect("request");
        let issued = self.issue(&request, at, lifetime);
        let authority = self.authority.certificate().clone();
        Credentials::new(key, vec![issued], authority).expect("credentials")
    }

    /// A device certificate with a key for settings other than ours.
    fn device(
        &self,
        at: SystemTime,
        lifetime: Duration,
    ) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).expect("key");
        let request = rcgen::CertificateParams::default().serialize_request(&key);
        let issued = self.issue(request.expect("request").der(), at, lifetime);
        Leaf::from_der(&issued).expect("a device certificate");
        (issued, key.into())
    }

    fn issue(&self, request: &[u8], at: SystemTime, lifetime: Duration) -> CertificateDer<'static> {
        let issued = self
            .authority
            .issue_device(request, &identity(), at, lifetime);
        issued.expect("device certificate").der
    }
}

/// How a handshake ended on both sides.
struct Outcome {
    client: Result<ClientConnection, rustls::Error>,
    server: Result<ServerConnection, rustls::Error>,
}

impl Outcome {
    fn accepted(self) -> (ClientConnection, ServerConnection) {
        (
            self.client.expect("the client accepts"),
            self.server.expect("the relay accepts"),
        )
    }

    /// The relay's reason. The client must have been told as well.
    fn refused_by_relay(self) -> rustls::Error {
        let told = self.client.expect_err("the client is told");
        assert!(matches!(told, rustls::Error::AlertReceived(_)), "{told:?}");
        self.server.expect_err("the relay refuses")
    }

    fn assert_unknown_issuer(&self) {
        let unknown = rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer);
        assert_eq!(self.client.as_ref().err(), Some(&unknown));
    }
}

fn link(credentials: &Credentials) -> ClientConfig {
    link_config(credentials).expect("settings")
}

/// A client that trusts our relay and shows any certificate one likes.
fn client_showing(
    world: &World,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    let root = world.authority.certificate().clone();
    roots.add(root).expect("a root");
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3")
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)
        .expect("a certificate");
    config.alpn_protocols = vec![ALPN_LINK.to_vec()];
    config
}

fn connect(client: ClientConfig, server: ServerConfig, name: &str) -> Outcome {
    connect_shared(Arc::new(client), Arc::new(server), name)
}

/// Carries bytes to and fro until nobody has any left to say.
fn connect_shared(client: Arc<ClientConfig>, server: Arc<ServerConfig>, name: &str) -> Outcome {
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    let mut client = ClientConnection::new(client, name).expect("client");
    let mut server = ServerConnection::new(server).expect("server");
    let (mut client_error, mut server_error) = (None, None);
    loop {
        let to_server = drain(&mut client);
        let to_client = drain(&mut server);
        if to_server.is_empty() && to_client.is_empty() {
            break;
        }
        deliver(&mut server, &to_server, &mut server_error);
        deliver(&mut client, &to_client, &mut client_error);
    }
    if client_error.is_none() && server_error.is_none() {
        assert!(!client.is_handshaking() && !server.is_handshaking());
    }
    Outcome {
        client: client_error.map_or(Ok(client), Err),
        server: server_error.map_or(Ok(server), Err),
    }
}

fn drain<S>(from: &mut impl std::ops::DerefMut<Target = rustls::ConnectionCommon<S>>) -> Vec<u8>
where
    S: rustls::SideData,
{
    let mut bytes = Vec::new();
    while from.wants_write() {
        from.write_tls(&mut bytes).expect("memory");
    }
    bytes
}

fn deliver<S>(
    to: &mut impl std::ops::DerefMut<Target = rustls::ConnectionCommon<S>>,
    mut bytes: &[u8],
    error: &mut Option<rustls::Error>,
) where
    S: rustls::SideData,
{
    while !bytes.is_empty() && error.is_none() {
        to.read_tls(&mut bytes).expect("memory");
        *error = to.process_new_packets().err();
    }
}

fn identity() -> Identity {
    let text = "spiffe://relay.example/env/dev/user/alice/device/laptop";
    text.parse().expect("identity")
}

fn domain() -> Domain {
    Domain::parse(DOMAIN).expect("domain")
}

fn now() -> SystemTime {
    SystemTime::now()
}
