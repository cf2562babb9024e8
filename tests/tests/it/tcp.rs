//! Raw TCP services: from another device, and from a port of the relay.

use ginnel_agent::local_client::{ClientError, LocalClient};
use ginnel_agent::services::spec::ServiceSpec;
use ginnel_daemon::running::RunLock;
use ginnel_proto::id::{DeviceName, ServiceName};
use ginnel_tests::lab::{Lab, LabAgent};
use ginnel_tests::origin::{ManualOrigin, Origin};
use ginnel_tests::pattern::Pattern;
use ginnel_tests::wait::{in_time, promptly, until_true};
use ginnel_tests::wire::{read_all, read_bytes, read_to_reset};
use http::StatusCode;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

fn service(name: &str) -> ServiceName {
    ServiceName::parse(name).expect("valid")
}

fn device(name: &str) -> DeviceName {
    DeviceName::parse(name).expect("valid")
}

/// Shares a TCP service and waits until the relay knows it.
async fn share(lab: &Lab, agent: &LabAgent, name: &str, spec: ServiceSpec) {
    agent.share_as(name, spec).await;
    let links = &lab.relay.relay.links;
    until_true("the relay knows the service", || {
        links
            .get(&agent.device)
            .is_some_and(|device| device.service(&service(name)).is_some())
    })
    .await;
}

/// Two devices of one person. The desktop shares `db`, a TCP service that the
/// test plays itself; the laptop's programs call it.
struct Pair {
    lab: Lab,
    desktop: LabAgent,
    origin: ManualOrigin,
    client: LocalClient,
    _lock: RunLock,
}

impl Pair {
    async fn start() -> Self {
        let lab = Lab::start().await;
        let desktop = lab.another_agent("alice", "desktop").await;
        let origin = ManualOrigin::bind().await;
        share(&lab, &desktop, "db", ServiceSpec::new(origin.tcp_target())).await;
        let (client, lock) = lab.agent.client().await;
        Self {
            lab,
            desktop,
            origin,
            client,
            _lock: lock,
        }
    }

    /// A connection, at the caller's end and at the service's.
    async fn connect(
        &self,
        device: Option<&DeviceName>,
    ) -> (
        impl AsyncRead + AsyncWrite + Unpin + Send + use<>,
        TcpStream,
    ) {
        let verdict = in_time("a verdict", self.client.tcp(device, &service("db"))).await;
        let (caller, _) = verdict.expect("connects");
        (caller, self.origin.accept().await)
    }
}

/// What a daemon answers that will not connect.
fn refusal<T>(outcome: Result<T, ClientError>) -> (StatusCode, String) {
    match outcome.map(|_| ()) {
        Err(ClientError::Refused { status, code, .. }) => (status, code),
        other => panic!("not refused: {other:?}"),
    }
}

#[tokio::test]
async fn a_device_reaches_a_private_service_of_another() {
    let pair = Pair::start().await;
    for named in [Some(&device("desktop")), None] {
        let (mut caller, mut stream) = pair.connect(named).await;
        // Databases speak first.
        stream.write_all(b"hello\0").await.expect("sent");
        assert_eq!(read_bytes(&mut caller, 6).await, b"hello\0");
        caller
            .write_all(b"\0GET / HTTP/1.1\r\n\r\n")
            .await
            .expect("sent");
        caller.flush().await.expect("sent");
        assert_eq!(
            read_bytes(&mut stream, 19).await,
            b"\0GET / HTTP/1.1\r\n\r\n"
        );
    }
}

#[tokio::test]
async fn each_direction_ends_by_itself() {
    let pair = Pair::start().await;

    let (mut caller, mut stream) = pair.connect(None).await;
    caller.write_all(b"bye").await.expect("sent");
    caller.shutdown().await.expect("half closed");
    assert_eq!(promptly("the end", read_all(&mut stream)).await, b"bye");
    stream.write_all(b"not yet").await.expect("sent");
    assert_eq!(read_bytes(&mut caller, 7).await, b"not yet");
    drop(stream);
    assert_eq!(promptly("the end", read_all(&mut caller)).await, b"");

    let (mut caller, mut stream) = pair.connect(None).await;
    stream.shutdown().await.expect("half closed");
    assert_eq!(promptly("the end", read_all(&mut caller)).await, b"");
    caller.write_all(b"not yet").await.expect("sent");
    caller.flush().await.expect("sent");
    assert_eq!(read_bytes(&mut stream, 7).await, b"not yet");
    drop(caller);
    promptly("the end", read_all(&mut stream)).await;
}

/// Sends the pattern and reads it back at the same time.
async fn exchange(stream: impl AsyncRead + AsyncWrite + Unpin, sent: &[u8]) {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let mut seen = Vec::new();
    let write = async {
        writer.write_all(sent).await.expect("sent");
        writer.shutdown().await.expect("half closed");
    };
    let read = async { reader.read_to_end(&mut seen).await.expect("whole") };
    tokio::join!(write, read);
    assert!(seen == sent, "the bytes differ, got {} bytes", seen.len());
}

#[tokio::test]
async fn megabytes_pass_both_ways_at_once() {
    let pair = Pair::start().await;
    let (caller, stream) = pair.connect(None).await;
    let sent = Pattern::bytes(16 * 1024 * 1024);
    let both = async { tokio::join!(exchange(caller, &sent), exchange(stream, &sent)) };
    in_time("all bytes", both).await;
}

#[tokio::test]
async fn another_users_device_looks_like_one_that_is_not_there() {
    let lab = Lab::start().await;
    let bobs = lab.another_agent("bob", "bobs").await;
    let origin = ManualOrigin::bind().await;
    let public = ServiceSpec {
        public: true,
        ..ServiceSpec::new(origin.tcp_target())
    };
    share(&lab, &bobs, "db", public).await;
    let (client, _lock) = lab.agent.client().await;
    let db = service("db");
    let bobs = refusal(in_time("a verdict", client.tcp(Some(&device("bobs")), &db)).await);
    let nobodys = refusal(in_time("a verdict", client.tcp(Some(&device("nobodys")), &db)).await);
    assert_eq!(bobs, nobodys);
    assert_eq!(
        bobs,
        (StatusCode::SERVICE_UNAVAILABLE, "device_offline".into())
    );
    let (status, code) = refusal(in_time("a verdict", client.tcp(None, &db)).await);
    assert_eq!((status.as_u16(), &*code), (404, "unknown_service"));
}

#[tokio::test]
async fn a_service_that_cannot_be_had_says_why() {
    let lab = Lab::start().await;
    let desktop = lab.another_agent("alice", "desktop").await;
    share(
        &lab,
        &desktop,
        "closed",
        ServiceSpec::new("tcp://127.0.0.1:1"),
    )
    .await;
    share(
        &lab,
        &desktop,
        "web",
        ServiceSpec::new("http://127.0.0.1:1"),
    )
    .await;
    let (client, _lock) = lab.agent.client().await;
    for (name, status, reason) in [
        ("closed", 502, "service_unreachable"),
        ("web", 421, "wrong_kind"),
        ("other", 404, "unknown_service"),
    ] {
        let outcome = in_time(
            "a verdict",
            client.tcp(Some(&device("desktop")), &service(name)),
        )
        .await;
        let (seen, code) = refusal(outcome);
        assert_eq!((seen.as_u16(), &*code), (status, reason), "{name}");
    }
}

#[tokio::test]
async fn a_connection_that_is_reset_ends_at_both_ends() {
    let pair = Pair::start().await;
    let (mut caller, stream) = pair.connect(None).await;
    // An abrupt end, as of a killed process.
    stream.set_zero_linger().expect("set");
    drop(stream);
    promptly("the caller's end", read_to_reset(&mut caller)).await;
    // The relay and both agents have let go.
    let links = pair.lab.relay.relay.links.all();
    until_true("the streams are gone", || {
        links.iter().all(|device| device.link.streams() <= 1)
    })
    .await;
}

#[tokio::test]
async fn a_connection_ends_with_its_share() {
    let pair = Pair::start().await;
    let (mut caller, mut stream) = pair.connect(None).await;
    caller.write_all(b"ping").await.expect("sent");
    assert_eq!(read_bytes(&mut stream, 4).await, b"ping");
    // Another service comes and goes.
    let services = &pair.desktop.daemon.services;
    pair.desktop.share("web", "demo").await;
    services.unshare(&service("web")).expect("stored");
    stream.write_all(b"pong").await.expect("sent");
    assert_eq!(read_bytes(&mut caller, 4).await, b"pong");

    services.unshare(&service("db")).expect("stored");
    promptly("the service's end", read_to_reset(&mut stream)).await;
    promptly("the caller's end", read_to_reset(&mut caller)).await;
}

/// Half a file must not look whole where its end is the connection's.
#[tokio::test]
async fn a_lost_link_resets_the_connections_at_both_ends() {
    let (lab, port, origin) = lab_with_public_port().await;
    let desktop = lab.another_agent("alice", "desktop").await;
    let (client, _lock) = desktop.client().await;
    let mut at_port = TcpStream::connect(port).await.expect("connects");
    let mut first = origin.accept().await;
    let verdict = in_time("a verdict", client.tcp(None, &service("db"))).await;
    let (mut at_agent, _) = verdict.expect("connects");
    let mut second = origin.accept().await;
    for (service, caller) in [
        (&mut first, &mut at_port as &mut (dyn Both + Unpin)),
        (&mut second, &mut at_agent),
    ] {
        service.write_all(b"half").await.expect("sent");
        assert_eq!(read_bytes(caller, 4).await, b"half");
    }
    let registry = lab.registry().await;
    let now_ms = lab.relay.relay.now_ms();
    let revoked = registry.revoke_device(&lab.agent.device, now_ms).await;
    assert!(revoked.expect("revoked"));
    promptly("the port's caller", read_to_reset(&mut at_port)).await;
    promptly("the agent's caller", read_to_reset(&mut at_agent)).await;
    promptly("the first service", read_to_reset(&mut first)).await;
    promptly("the second service", read_to_reset(&mut second)).await;
}

trait Both: AsyncRead + AsyncWrite {}
impl<T: AsyncRead + AsyncWrite> Both for T {}

/// As [`lab_with_port`]; the laptop shares `db` as public, which the test plays
/// itself.
async fn lab_with_public_port() -> (Lab, std::net::SocketAddr, ManualOrigin) {
    let (lab, port) = lab_with_port().await;
    let origin = ManualOrigin::bind().await;
    let public = ServiceSpec {
        public: true,
        ..ServiceSpec::new(origin.tcp_target())
    };
    share(&lab, &lab.agent, "db", public).await;
    (lab, port, origin)
}

/// A lab whose relay has a TCP port for `db` of the laptop.
async fn lab_with_port() -> (Lab, std::net::SocketAddr) {
    let free = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let port = free.local_addr().expect("bound");
    drop(free);
    let file = format!("[[tcp]]\nlisten = '{port}'\ndevice = 'laptop'\nservice = 'db'\n");
    (Lab::start_from(&file).await, port)
}

#[tokio::test]
async fn a_port_of_the_relay_leads_to_a_public_service() {
    let (_lab, port, origin) = lab_with_public_port().await;
    let mut caller = TcpStream::connect(port).await.expect("connects");
    let mut stream = origin.accept().await;
    stream.write_all(b"hello").await.expect("sent");
    assert_eq!(read_bytes(&mut caller, 5).await, b"hello");
    caller.write_all(b"bye").await.expect("sent");
    caller.shutdown().await.expect("half closed");
    assert_eq!(promptly("the end", read_all(&mut stream)).await, b"bye");
    stream.write_all(b"not yet").await.expect("sent");
    assert_eq!(read_bytes(&mut caller, 7).await, b"not yet");
    drop(stream);
    assert_eq!(promptly("the end", read_all(&mut caller)).await, b"");
}

#[tokio::test]
async fn a_port_of_the_relay_does_not_lead_to_a_private_service() {
    let (lab, port) = lab_with_port().await;
    // Nothing is shared yet.
    let mut caller = TcpStream::connect(port).await.expect("connects");
    assert_eq!(promptly("the end", read_all(&mut caller)).await, b"");

    let origin = Origin::raw(|mut stream| async move {
        let _ = stream.write_all(b"secret").await;
    })
    .await;
    let private = ServiceSpec::new(format!("tcp://{}", origin.address));
    share(&lab, &lab.agent, "db", private).await;
    let mut caller = TcpStream::connect(port).await.expect("connects");
    assert_eq!(promptly("the end", read_all(&mut caller)).await, b"");
}
