//! Limits, at their value and one above it.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::pending;
use ginnel_link::link::Priority;
use ginnel_proto::code::Code;
use ginnel_proto::datagram::{Datagram, Ping};
use ginnel_proto::frame::FrameType;
use ginnel_proto::limits::{CAPABILITIES_MAX, DATAGRAM_MAX, TEXT_MAX};
use ginnel_tests::device::{Device, end_of, frame_of};
use ginnel_tests::lab::{Lab, LabAgent, restart_agent_with};
use ginnel_tests::origin::{ManualOrigin, Origin};
use ginnel_tests::wait::{in_time, promptly, until_true};
use ginnel_tests::wire::read_head;
use http::Version;
use http_body_util::StreamBody;
use hyper::body::Frame;
use tokio::io::AsyncWriteExt as _;
use tokio::task::JoinSet;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
const ASK: &str = "GET / HTTP/1.1\r\nHost: web.localhost\r\n\r\n";

/// How long somebody waits who is held back.
const A_WHILE: Duration = Duration::from_millis(300);

/// A lab whose agent works on so many requests at once.
async fn lab_with_room(max_requests: usize) -> Lab {
    let mut lab = Lab::start().await;
    let LabAgent { daemon, state, .. } = lab.agent;
    daemon.stop.cancel();
    daemon.wait().await.expect("stops");
    let change = |config: &mut ginnel_agent::config::Config| config.max_requests = max_requests;
    lab.agent = LabAgent {
        daemon: restart_agent_with(&state, change).await,
        device: "laptop".parse().expect("valid"),
        state,
    };
    lab.agent.connected().await;
    lab
}

#[tokio::test]
async fn an_agent_works_on_so_many_requests_and_no_more() {
    let lab = lab_with_room(3).await;
    let origin = ManualOrigin::bind().await;
    lab.agent.share("web", &origin.target()).await;
    lab.agent.share("quick", "demo").await;
    let mut served = Vec::new();
    for _ in 0..3 {
        let caller = lab.caller.say(ASK).await;
        served.push((caller, origin.request().await.0));
    }
    let refused = lab.get("quick", "/echo").await;
    assert_eq!(refused.status(), 503);
    assert_eq!(refused.headers()["ginnel-reason"], "overloaded");

    for (caller, service) in &mut served {
        service.write_all(OK.as_bytes()).await.expect("sent");
        assert!(read_head(caller).await.starts_with("HTTP/1.1 200 "));
    }
    // A place is free a little after its answer.
    in_time("there is room again", async {
        while lab.get("quick", "/echo").await.status() != 200 {}
    })
    .await;
}

#[tokio::test]
async fn a_relay_takes_so_many_connections_and_the_next_waits() {
    let lab = Lab::start_with(|config| config.public.connections_max = 2).await;
    let (origin, _heads) = Origin::canned(OK).await;
    lab.agent.share("web", &origin.target()).await;
    let mut first = lab.caller.say(ASK).await;
    assert!(read_head(&mut first).await.starts_with("HTTP/1.1 200 "));
    let mut second = lab.caller.say(ASK).await;
    assert!(read_head(&mut second).await.starts_with("HTTP/1.1 200 "));

    let mut third = lab.caller.say(ASK).await;
    let answered = tokio::time::timeout(A_WHILE, read_head(&mut third)).await;
    assert!(answered.is_err(), "{answered:?}");
    // Those who are in are served meanwhile.
    second.write_all(ASK.as_bytes()).await.expect("sent");
    let answer = promptly("an answer", read_head(&mut second)).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    drop(first);
    let answer = promptly("an answer", read_head(&mut third)).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

/// A Hello with a version of so many bytes and so many capabilities; ours
/// would be cut before it is sent.
fn hello(text: usize, capabilities: usize) -> Bytes {
    let agent = "v".repeat(text);
    let capabilities = vec![1; capabilities];
    // Hello is the first field of a message; agent and capabilities are its
    // first and second.
    let fields = [field(1, agent.as_bytes()), field(2, &capabilities)].concat();
    frame_of(FrameType::Message, &field(1, &fields))
}

/// A Protocol Buffers field with a length, of less than 16 KiB.
fn field(number: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).expect("short");
    let [high, low] = (length << 1).to_be_bytes();
    [&[number << 3 | 2, low >> 1 | 0x80, high], content].concat()
}

async fn lab_with_device() -> (Lab, Device) {
    let lab = Lab::start().await;
    let state = lab.folder.path().join("device");
    let device = Device::join(&lab.relay, &state, "mallory", "device").await;
    (lab, device)
}

#[tokio::test]
async fn a_hello_may_be_as_long_as_its_limits() {
    let (_lab, device) = lab_with_device().await;
    let link = device.dial().await.expect("a handshake");
    let mut stream = link.open(Priority::Control).await.expect("a stream");
    let longest = hello(TEXT_MAX, CAPABILITIES_MAX);
    stream.send.send(&mut [longest]).await.expect("sent");
    let welcome = stream.recv.expect(FrameType::Message, "Welcome");
    in_time("welcome", welcome).await.expect("welcome");

    for longer in [
        hello(TEXT_MAX + 1, CAPABILITIES_MAX),
        hello(TEXT_MAX, CAPABILITIES_MAX + 1),
    ] {
        let link = device.dial().await.expect("a handshake");
        let mut stream = link.open(Priority::Control).await.expect("a stream");
        let _ = stream.send.send(&mut [longer]).await;
        let end = promptly("the verdict", end_of(&link)).await;
        assert_eq!(end.code(), Some(Code::Violation), "{end}");
    }
}

/// A heartbeat of so many bytes: the rest is a later version's.
fn ping(sequence: u32, length: usize) -> Bytes {
    let ping = Datagram::Ping(Ping {
        sequence,
        time_us: 0,
        rtt_us: 0,
        queue: 0,
    });
    let mut bytes = ping.encode().to_vec();
    bytes.resize(length, 0);
    bytes.into()
}

#[tokio::test]
async fn a_datagram_above_its_limit_is_ignored() {
    let (_lab, device) = lab_with_device().await;
    let link = device.dial_raw().await;
    let (mut send, mut recv) = link.open_bi().await.expect("a stream");
    send.write_all(&hello(1, 0)).await.expect("sent");
    let welcome = in_time("welcome", recv.read_chunk(1, true)).await;
    assert!(welcome.expect("welcome").is_some());

    for (sequence, length) in [(1, DATAGRAM_MAX), (2, DATAGRAM_MAX + 1), (3, DATAGRAM_MAX)] {
        link.send_datagram(ping(sequence, length)).expect("sent");
    }
    for answered in [1, 3] {
        let pong = in_time("a heartbeat", link.read_datagram()).await;
        let pong = Datagram::decode(&pong.expect("the link is up"));
        let Some(Datagram::Pong(pong)) = pong else {
            panic!("not a pong: {pong:?}");
        };
        assert_eq!(pong.sequence, answered);
    }
}

/// However many callers one service has, the others are there.
#[tokio::test]
async fn a_service_cannot_take_all_of_a_devices_streams() {
    let lab = Lab::start().await;
    for name in ["flooded", "other"] {
        lab.agent.share(name, "demo").await;
    }
    let device = lab
        .relay
        .relay
        .links
        .get(&lab.agent.device)
        .expect("connected");
    let flooded = "flooded".parse().expect("valid");
    let mut callers = JoinSet::new();
    // Requests whose bodies never come, 250 on a connection.
    while device.share(&flooded).is_ok() {
        assert!(callers.len() < 4096, "there is no limit");
        let mut connection = lab.caller.http2().await;
        for _ in 0..250 {
            let request = lab
                .request_over(Version::HTTP_2, "flooded", "/echo")
                .method("POST");
            let body = StreamBody::new(pending::<Result<Frame<Bytes>, Infallible>>());
            callers.spawn(connection.send_request(request.body(body).expect("valid")));
        }
        let expected = callers.len().min(3072);
        until_true("they are under way", || {
            device.link.streams() as usize > expected
        })
        .await;
    }
    let refused = in_time("an answer", lab.get("flooded", "/")).await;
    assert_eq!(refused.status(), 503);
    assert_eq!(refused.headers()["ginnel-reason"], "overloaded");
    let served = promptly("an answer", lab.get("other", "/echo")).await;
    assert_eq!(served.status(), 200);
}
