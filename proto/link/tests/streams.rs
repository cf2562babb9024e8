//! Two ends of a link over loopback.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests fail by panicking"
)]

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::{BufMut as _, Bytes, BytesMut};
use ginnel_certs::authority::Authority;
use ginnel_certs::device::{Credentials, DeviceKey};
use ginnel_certs::identity::Identity;
use ginnel_link::body::send_body;
use ginnel_link::endpoint::{Dialer, EndpointKeys, Listener};
use ginnel_link::error::StreamError;
use ginnel_link::link::{Link, Priority};
use ginnel_link::network::Network;
use ginnel_link::transport::{MTU_MAX, TransportSettings};
use ginnel_proto::code::Code;
use ginnel_proto::frame::FrameType;
use ginnel_proto::http::ResponseHead;
use ginnel_proto::id::{DeviceId, DeviceName, Domain, Environment, UserName};
use ginnel_proto::limits;
use http::StatusCode;
use http_body_util::{BodyExt as _, Full};
use tokio::task::JoinSet;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Far longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// A link: the relay's end, then the device's. The device may be asked for
/// streams; both endpoints live as long as this.
struct Pair {
    relay: Link,
    device: Link,
    _endpoints: (Listener, Dialer),
}

impl Pair {
    /// Both sides let the other open streams.
    async fn new() -> Self {
        let pair = Self::unproved().await;
        pair.relay.grant_streams();
        pair.device.grant_streams();
        pair
    }

    /// As before Welcome.
    async fn unproved() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let domain = Domain::parse("localhost").expect("valid");
        let now = SystemTime::now();
        let authority =
            Authority::load_or_create(folder.path(), &domain, now).expect("an authority");
        let own = authority.issue_relay(&domain, now, DAY).expect("issued");
        let accepts =
            ginnel_certs::server::relay_config(own.chain, own.key, authority.certificate())
                .expect("settings");
        let dials = ginnel_certs::client::link_config(&device(&authority, now)).expect("settings");

        let loopback = || Network::udp("127.0.0.1:0".parse().expect("valid")).expect("a socket");
        let keys = EndpointKeys::derive(&[7; EndpointKeys::SIZE]);
        let settings = TransportSettings::default();
        let listener =
            Listener::new(loopback(), Arc::new(accepts), &keys, &settings).expect("listens");
        let dialer = Dialer::new(loopback(), settings).expect("a dialer");
        let address = listener.local_address().expect("bound");
        let accept = async {
            let knock = listener.accept().await.expect("a knock");
            knock.handshake().await.expect("a handshake").link
        };
        let dial = dialer.connect(address, "localhost", Arc::new(dials));
        let (relay, device) = tokio::join!(accept, dial);
        let device = device.expect("connected");
        Self {
            relay,
            device,
            _endpoints: (listener, dialer),
        }
    }
}

fn device(authority: &Authority, now: SystemTime) -> Credentials {
    let user = UserName::parse("me").expect("valid");
    let name = DeviceName::parse("laptop").expect("valid");
    let identity = Identity {
        domain: Domain::parse("localhost").expect("valid"),
        environment: Environment::parse("dev").expect("valid"),
        device: DeviceId::new(user, name),
    };
    let key = DeviceKey::generate().expect("a key");
    let request = key.certificate_request().expect("a request");
    let issued = authority
        .issue_device(&request, &identity, now, DAY)
        .expect("issued");
    Credentials::new(key, vec![issued.der], authority.certificate().clone()).expect("credentials")
}

/// Answers each stream, whose request is a message, with a body.
async fn answer_all(link: Link, answer: Bytes) {
    while let Ok(mut stream) = link.accept().await {
        let asked = stream.recv.expect(FrameType::Message, "a request").await;
        asked.expect("a request");
        let head = ResponseHead {
            status: StatusCode::OK,
            ..ResponseHead::continue_100()
        };
        stream.send.send_response(&head).await.expect("sent");
        send_body(&mut stream.send, Full::new(answer.clone()))
            .await
            .expect("sent");
    }
}

/// Sends a request and reads `length` bytes of its answer, and not its end:
/// just so does HTTP/1 with a body whose length it knows.
async fn ask(link: &Link, length: usize) -> Bytes {
    let mut stream = link.open(Priority::Interactive).await.expect("opened");
    let asked = stream.send.send_frame(FrameType::Message, b"?").await;
    asked.expect("sent");
    stream.send.finish();
    stream.recv.response().await.expect("a head");
    let mut body = stream.recv.into_body();
    let mut got = BytesMut::new();
    while got.len() < length {
        let frame = body.frame().await.expect("more").expect("good");
        got.put(frame.into_data().expect("data"));
    }
    got.freeze()
}

/// One packet there, one back. Whoever asks the other side to stop sending
/// what has ended already doubles that.
#[tokio::test]
async fn a_small_request_takes_a_packet_each_way() {
    const REQUESTS: u64 = 200;
    let pair = Pair::new().await;
    let mut answering = JoinSet::new();
    answering.spawn(answer_all(pair.device.clone(), Bytes::from_static(b"!")));
    // The path's size is probed first.
    for _ in 0..50 {
        ask(&pair.relay, 1).await;
    }
    let before = (pair.relay.stats(), pair.device.stats());
    for _ in 0..REQUESTS {
        assert_eq!(&*ask(&pair.relay, 1).await, b"!");
        // Whatever is to be said now goes by itself, not with the next.
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let there = pair.relay.stats().packets_sent - before.0.packets_sent;
    let back = pair.device.stats().packets_sent - before.1.packets_sent;
    // A fifth more, for grants of further streams and late acknowledgements.
    let most = REQUESTS * 6 / 5;
    assert!(there <= most && back <= most, "{there} there, {back} back");
}

#[tokio::test]
async fn a_body_that_is_not_read_to_its_end_is_stopped() {
    let pair = Pair::new().await;
    let read = async {
        let mut stream = pair
            .relay
            .open(Priority::Interactive)
            .await
            .expect("opened");
        let asked = stream.send.send_frame(FrameType::Message, b"?").await;
        asked.expect("sent");
        let mut body = stream.recv.into_body();
        let first = body.frame().await.expect("some").expect("good");
        assert!(first.is_data());
    };
    let send = async {
        let mut stream = pair.device.accept().await.expect("accepted");
        let large = Full::new(Bytes::from(vec![7; 64 * 1024 * 1024]));
        send_body(&mut stream.send, large).await
    };
    let both = async { tokio::join!(read, send) };
    let ((), sent) = tokio::time::timeout(PATIENCE, both).await.expect("ends");
    assert!(
        matches!(sent, Err(StreamError::Stopped(Code::Cancelled))),
        "{sent:?}"
    );
}

#[tokio::test]
async fn half_a_body_never_looks_whole() {
    let pair = Pair::new().await;
    let read = async {
        let mut stream = pair
            .relay
            .open(Priority::Interactive)
            .await
            .expect("opened");
        stream.send.finish();
        stream.recv.into_body().collect().await.map(drop)
    };
    let send = async {
        let mut stream = pair.device.accept().await.expect("accepted");
        let block = Bytes::from_static(&[7; 1024]);
        stream.send.send(&mut [block]).await.expect("sent");
        drop(stream);
    };
    let both = async { tokio::join!(read, send) };
    let (read, ()) = tokio::time::timeout(PATIENCE, both).await.expect("ends");
    assert!(read.is_err(), "{read:?}");
}

#[tokio::test]
async fn megabytes_arrive_whole() {
    let pair = Pair::new().await;
    let sent: Bytes = (0..=255).cycle().take(8 << 20).collect::<Vec<u8>>().into();
    let mut answering = JoinSet::new();
    answering.spawn(answer_all(pair.device.clone(), sent.clone()));
    let got = tokio::time::timeout(PATIENCE, ask(&pair.relay, sent.len())).await;
    assert!(got.expect("in time") == sent);
}

/// Before Welcome a peer has proved nothing, and must not fill our memory.
#[tokio::test]
async fn little_is_held_for_a_peer_before_welcome() {
    let pair = Pair::unproved().await;
    let most = u64::from(limits::WINDOW_BEFORE_WELCOME);
    let sent = Bytes::from(vec![7; 4 << 20]);
    let mut sending = JoinSet::new();
    let (device, body) = (pair.device.clone(), Full::new(sent.clone()));
    sending.spawn(async move {
        let mut stream = device.open(Priority::Interactive).await.expect("opened");
        send_body(&mut stream.send, body).await.expect("sent");
        stream.recv.into_body().collect().await.map(drop)
    });
    let mut stream = pair.relay.accept().await.expect("accepted");
    // Headers of packets and frames come on top.
    let received = || pair.relay.stats().bytes_received;
    while received() < most {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(received() < most * 5 / 4, "{}", received());

    pair.relay.grant_streams();
    stream.send.finish();
    let read = stream.recv.into_body().collect();
    let got = tokio::time::timeout(PATIENCE, read).await.expect("in time");
    assert!(got.expect("whole").to_bytes() == sent);
}

/// TCP does so too: most of the time would go into small packets.
#[tokio::test]
async fn packets_are_large_within_one_machine() {
    let pair = Pair::new().await;
    let grown = async {
        while pair.relay.stats().mtu < MTU_MAX || pair.device.stats().mtu < MTU_MAX {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let grown = tokio::time::timeout(PATIENCE, grown).await;
    let (relay, device) = (pair.relay.stats().mtu, pair.device.stats().mtu);
    assert!(grown.is_ok(), "relay={relay} device={device}");
}
