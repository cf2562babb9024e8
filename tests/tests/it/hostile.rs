//! Devices that do not play by the protocol's rules: each learns why it is
//! dropped, and the others notice nothing.

use std::time::{Duration, Instant};

use bytes::Bytes;
use ginnel_link::error::{LinkError, StreamError};
use ginnel_link::link::{Link, Priority};
use ginnel_link::stream::Stream;
use ginnel_proto::code::Code;
use ginnel_proto::control::{Control, Hello};
use ginnel_proto::frame::FrameType;
use ginnel_proto::id::{ServiceName, UpstreamName};
use ginnel_proto::limits;
use ginnel_proto::open::Open;
use ginnel_proto::varint;
use ginnel_tests::caller::text;
use ginnel_tests::device::{Device, bare_head, end_of, frame_of};
use ginnel_tests::lab::Lab;
use ginnel_tests::origin::Origin;
use ginnel_tests::wait::{in_time, promptly};
use ginnel_tests::wire::read_head;
use tokio::io::AsyncWriteExt as _;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

/// A lab with an honest device and a hostile one.
async fn lab() -> (Lab, Device) {
    let lab = Lab::start().await;
    lab.agent.share("honest", "demo").await;
    let state = lab.folder.path().join("hostile");
    let device = Device::join(&lab.relay, &state, "mallory", "hostile").await;
    (lab, device)
}

/// The honest device's callers are served.
async fn assert_unharmed(lab: &Lab) {
    let response = promptly("an answer", lab.get("honest", "/echo")).await;
    assert_eq!(response.status(), 200);
    assert!(text(response).await.contains("/echo"));
}

/// An unknown frame with that type and announced length.
fn unknown(kind: u64, length: u64, payload: &[u8]) -> Bytes {
    let mut frame = Vec::new();
    varint::write(kind, &mut frame);
    varint::write(length, &mut frame);
    frame.extend_from_slice(payload);
    frame.into()
}

fn hello() -> Bytes {
    let hello = Hello {
        agent: "test".to_owned(),
        capabilities: Vec::new(),
    };
    frame_of(FrameType::Message, &Control::Hello(hello).encode())
}

#[tokio::test]
async fn another_protocol_is_refused_in_the_handshake() {
    let (lab, mut device) = lab().await;
    for alpn in [vec![], vec![b"h3".to_vec()], vec![b"ginnel/9".to_vec()]] {
        device.tls.alpn_protocols = alpn;
        let error = match device.dial().await {
            Ok(link) => end_of(&link).await,
            Err(error) => error,
        };
        assert!(matches!(error, LinkError::Refused { .. }), "{error}");
    }
    assert_unharmed(&lab).await;
}

#[tokio::test]
async fn a_link_without_a_certificate_is_told_that_it_needs_one() {
    let (lab, mut device) = lab().await;
    let pin = lab.relay.relay.authority.spki_pin();
    device.tls = ginnel_certs::client::join_config(pin);
    device.tls.alpn_protocols = vec![ginnel_certs::ALPN_LINK.to_vec()];
    let link = device.dial().await.expect("a handshake");
    assert_eq!(end_of(&link).await.code(), Some(Code::CertificateRequired));
    assert_unharmed(&lab).await;
}

#[tokio::test]
async fn a_broken_control_stream_ends_the_link_with_a_violation() {
    let (lab, device) = lab().await;
    let long = u64::try_from(limits::MESSAGE_MAX).expect("small") + 1;
    for bytes in [
        frame_of(FrameType::Message, b"\xff\xff\xff garbage"),
        frame_of(FrameType::Head, b""),
        frame_of(FrameType::Data, b"x"),
        Bytes::from_static(&[0x07]),
        unknown(0x21, 0, b""),
        unknown(0x0b, long, b""),
        unknown(0x20, limits::SKIP_MAX + 1, b""),
        [hello(), hello()].concat().into(),
        Bytes::from_static(b"GET / HTTP/1.1\r\n\r\n"),
    ] {
        let link = device.dial().await.expect("a handshake");
        let mut stream = link.open(Priority::Control).await.expect("a stream");
        let _ = stream.send.send(&mut [bytes.clone()]).await;
        let end = promptly("the verdict", end_of(&link)).await;
        assert_eq!(end.code(), Some(Code::Violation), "{bytes:?}: {end}");
    }
    assert_unharmed(&lab).await;
}

#[tokio::test]
async fn a_control_stream_that_ends_is_a_violation() {
    let (lab, device) = lab().await;
    let link = device.dial().await.expect("a handshake");
    let mut stream = link.open(Priority::Control).await.expect("a stream");
    stream.send.send(&mut [hello()]).await.expect("sent");
    stream
        .recv
        .expect(FrameType::Message, "Welcome")
        .await
        .expect("welcome");
    stream.send.finish();
    assert_eq!(end_of(&link).await.code(), Some(Code::Violation));
    assert_unharmed(&lab).await;
}

/// So that later versions can add to the protocol.
#[tokio::test]
async fn unknown_frames_of_even_types_are_skipped() {
    let (lab, device) = lab().await;
    let link = device.dial().await.expect("a handshake");
    let mut stream = link.open(Priority::Control).await.expect("a stream");
    let skipped = vec![0; usize::try_from(limits::SKIP_MAX).expect("small")];
    let sent = [
        unknown(0x20, 3, b"new"),
        unknown(0x40, limits::SKIP_MAX, &skipped),
        hello(),
    ];
    for mut frame in sent {
        stream
            .send
            .send(std::slice::from_mut(&mut frame))
            .await
            .expect("sent");
    }
    let welcome = stream.recv.expect(FrameType::Message, "Welcome");
    in_time("welcome", welcome).await.expect("welcome");
    assert_unharmed(&lab).await;
}

/// How the relay ended a stream.
async fn verdict(stream: &mut Stream) -> Option<Code> {
    match promptly("the verdict", stream.recv.next()).await {
        Err(StreamError::Stopped(code)) => Some(code),
        _ => None,
    }
}

async fn open(link: &Link) -> Stream {
    in_time("a stream", link.open(Priority::Interactive))
        .await
        .expect("a stream")
}

#[tokio::test]
async fn bad_streams_are_reset_and_the_link_stays() {
    let (lab, device) = lab().await;
    let driver = device.greet().await.expect("welcome");
    let service = ServiceName::parse("honest").expect("valid");
    let upstream = UpstreamName::parse("cloud").expect("valid");
    let open_max = u64::try_from(limits::OPEN_MAX).expect("small");
    for (bytes, code) in [
        (unknown(0x21, 0, b""), Code::UnknownFrame),
        (unknown(0x01, open_max + 1, b""), Code::Malformed),
        (unknown(0x20, limits::SKIP_MAX + 1, b""), Code::Malformed),
        (frame_of(FrameType::Open, b"\xff\xff"), Code::Malformed),
        (frame_of(FrameType::Open, b""), Code::Malformed),
        (frame_of(FrameType::Head, b""), Code::Malformed),
        (frame_of(FrameType::Message, b""), Code::Malformed),
        (
            frame_of(
                FrameType::Open,
                &Open::Http {
                    service: service.clone(),
                }
                .encode(),
            ),
            Code::Denied,
        ),
        // Mallory's own services only.
        (
            frame_of(
                FrameType::Open,
                &Open::Tcp {
                    service: service.clone(),
                }
                .encode(),
            ),
            Code::UnknownService,
        ),
        (
            frame_of(
                FrameType::Open,
                &Open::Upstream {
                    upstream: upstream.clone(),
                }
                .encode(),
            ),
            Code::UnknownUpstream,
        ),
    ] {
        let mut stream = open(driver.link()).await;
        stream.send.send(&mut [bytes.clone()]).await.expect("sent");
        assert_eq!(verdict(&mut stream).await, Some(code), "{bytes:?}");
    }
    assert!(driver.link().close_reason().is_none());
    assert_unharmed(&lab).await;
}

/// The relay's connections to an upstream are shared by all devices: a request
/// that announces a body and ends without would swallow the next one.
#[tokio::test]
async fn a_request_that_could_swallow_the_next_one_reaches_no_upstream() {
    let (origin, mut heads) = Origin::canned(OK).await;
    let file = format!("[upstream.cloud]\nurl = '{}'\n", origin.target());
    let lab = Lab::start_from(&file).await;
    let state = lab.folder.path().join("hostile");
    let device = Device::join(&lab.relay, &state, "mallory", "hostile").await;
    let driver = device.greet().await.expect("welcome");
    let upstream = UpstreamName::parse("cloud").expect("valid");
    for (method, length) in [
        ("GET", "20"),
        ("POST", "20"),
        ("GET", "+5"),
        ("CONNECT", "0"),
    ] {
        let mut head = bare_head(method);
        let length = http::HeaderValue::from_static(length);
        head.headers.insert("content-length", length);
        let mut stream = open(driver.link()).await;
        let open = Open::Upstream {
            upstream: upstream.clone(),
        };
        stream.send.send_request(&open, &head).await.expect("sent");
        stream.send.finish();
        assert_eq!(
            verdict(&mut stream).await,
            Some(Code::Malformed),
            "{head:?}"
        );
    }
    assert!(heads.is_empty());
}

#[tokio::test]
async fn nobody_is_waited_for_longer_than_ten_seconds() {
    let (lab, device) = lab().await;
    let silent = device.dial().await.expect("a handshake");
    let mumbling = device.dial().await.expect("a handshake");
    let mut control = mumbling.open(Priority::Control).await.expect("a stream");
    let half = || [Bytes::from_static(&[0x0b])];
    control.send.send(&mut half()).await.expect("sent");
    let driver = device.greet().await.expect("welcome");
    let mut stream = open(driver.link()).await;
    stream.send.send(&mut half()).await.expect("sent");

    let began = Instant::now();
    let ends = async { (end_of(&silent).await, end_of(&mumbling).await) };
    let verdict = in_time("the verdict", stream.recv.next());
    let ((silent, mumbling), verdict) = tokio::join!(ends, verdict);
    for end in [silent, mumbling] {
        assert_eq!(end.code(), Some(Code::HelloTimeout), "{end}");
    }
    let timed_out = matches!(verdict, Err(StreamError::Stopped(Code::HeadTimeout)));
    assert!(timed_out, "{verdict:?}");
    let took = began.elapsed();
    assert!(
        took > limits::HEAD_TIMEOUT - Duration::from_secs(1),
        "{took:?}"
    );
    assert!(
        took < limits::HEAD_TIMEOUT + Duration::from_secs(4),
        "{took:?}"
    );
    assert!(driver.link().close_reason().is_none());
    assert_unharmed(&lab).await;
}

#[tokio::test]
async fn thousands_of_streams_harm_nobody() {
    let (lab, device) = lab().await;
    let driver = device.greet().await.expect("welcome");
    let link = driver.link().clone();
    let mut streams = Vec::new();
    // Until the relay grants no more for a while.
    let patience = Duration::from_secs(2);
    while let Ok(stream) = tokio::time::timeout(patience, link.open(Priority::Interactive)).await {
        let mut stream = stream.expect("a stream");
        stream
            .send
            .send(&mut [Bytes::from_static(&[0x01])])
            .await
            .expect("sent");
        streams.push(stream);
        assert!(streams.len() <= 5000, "there is no limit");
    }
    // Grown on demand, as far as it goes and no further.
    let granted = usize::try_from(limits::STREAMS_MAX).expect("small");
    let taken = streams.len();
    assert!((granted / 2..=granted).contains(&taken), "taken={taken}");
    assert_unharmed(&lab).await;
}

#[tokio::test]
async fn a_device_that_never_reads_holds_up_its_own_callers_only() {
    let (lab, device) = lab().await;
    let driver = device.sharing("deaf").await;
    let head = "POST / HTTP/1.1\r\nHost: deaf.localhost\r\nContent-Length: 1000000000\r\n\r\n";
    let mut callers = Vec::new();
    for _ in 0..8 {
        let mut caller = lab.caller.say(head).await;
        let zeros = vec![0; 256 * 1024];
        let mut taken = 0;
        let patience = Duration::from_millis(200);
        while let Ok(count) = tokio::time::timeout(patience, caller.write(&zeros)).await {
            taken += count.expect("open");
            assert!(
                taken < 48 * 1024 * 1024,
                "taken without being read: {taken}"
            );
        }
        callers.push(caller);
    }
    assert_unharmed(&lab).await;
    let response = promptly("an answer", lab.get("honest", "/bytes/5000000")).await;
    assert_eq!(ginnel_tests::caller::body(response).await.len(), 5_000_000);
    assert!(driver.link().close_reason().is_none());
}

#[tokio::test]
async fn answers_that_cannot_be_read_are_502() {
    let (lab, device) = lab().await;
    let driver = device.sharing("babble").await;
    let head_max = u64::try_from(limits::HEAD_MAX).expect("small");
    for bytes in [
        frame_of(FrameType::Head, b"\xff\xff garbage"),
        unknown(0x03, head_max + 1, b""),
        unknown(0x21, 0, b""),
        frame_of(FrameType::Data, b"a body and no head"),
        frame_of(FrameType::Trailers, b""),
        Bytes::from_static(&[0x07]),
        Bytes::from_static(&[0x03]),
    ] {
        let mut caller = lab
            .caller
            .say("GET / HTTP/1.1\r\nHost: babble.localhost\r\n\r\n")
            .await;
        let mut stream = in_time("a request", driver.link().accept())
            .await
            .expect("a stream");
        stream.send.send(&mut [bytes.clone()]).await.expect("sent");
        stream.send.finish();
        let answer = promptly("an answer", read_head(&mut caller)).await;
        assert!(answer.starts_with("HTTP/1.1 502 "), "{bytes:?}: {answer}");
    }
    assert!(driver.link().close_reason().is_none());
    assert_unharmed(&lab).await;
}

#[tokio::test]
async fn a_device_that_vanishes_leaves_its_callers_with_502() {
    let (lab, device) = lab().await;
    let driver = device.sharing("gone").await;
    let mut caller = lab
        .caller
        .say("GET / HTTP/1.1\r\nHost: gone.localhost\r\n\r\n")
        .await;
    let _stream = in_time("a request", driver.link().accept())
        .await
        .expect("a stream");
    driver.link().close(Code::Goodbye, "gone");
    let answer = promptly("an answer", read_head(&mut caller)).await;
    assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
    assert!(answer.contains("ginnel-reason: link_lost"), "{answer}");
    assert_unharmed(&lab).await;
}
