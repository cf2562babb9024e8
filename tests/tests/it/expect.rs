//! `Expect: 100-continue`: the service decides whether a body is sent.

use std::time::{Duration, Instant};

use bytes::Bytes;
use ginnel_tests::caller::VERSIONS;
use ginnel_tests::lab::Lab;
use ginnel_tests::origin::Origin;
use ginnel_tests::wire::{field, read_all, read_bytes, read_head};
use http_body_util::{BodyExt as _, Full};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

const HEAD: &str = "POST / HTTP/1.1\r\nHost: web.localhost\r\nExpect: 100-continue\r\n\
                    Content-Length: 5\r\n\r\n";
const CONTINUE: &str = "HTTP/1.1 100 Continue\r\n\r\n";
const NO_CONTENT: &str = "HTTP/1.1 204 No Content\r\n\r\n";

#[tokio::test]
async fn the_body_is_asked_for_when_the_service_asks() {
    let (lab, origin) = Lab::by_hand().await;
    lab.agent.share("other", "demo").await;
    let mut caller = lab.caller.say(HEAD).await;
    let (mut service, seen) = origin.request().await;
    assert_eq!(field(&seen, "expect"), Some("100-continue"));
    // Another request takes its time meanwhile, but less than a second.
    let began = Instant::now();
    assert_eq!(lab.get("other", "/slow/300").await.status(), 200);
    let early = caller.try_read(&mut [0; 64]);
    let in_time = began.elapsed() < Duration::from_millis(900);
    assert!(
        early.is_err() || !in_time,
        "the relay asked by itself: {early:?}"
    );

    service.write_all(CONTINUE.as_bytes()).await.expect("sent");
    assert_eq!(read_head(&mut caller).await, CONTINUE);
    hello_is_answered(&mut caller, &mut service).await;
}

/// The five bytes of the body come through, and their answer back.
async fn hello_is_answered(caller: &mut TcpStream, service: &mut TcpStream) {
    caller.write_all(b"hello").await.expect("sent");
    assert_eq!(read_bytes(service, 5).await, b"hello");
    service
        .write_all(NO_CONTENT.as_bytes())
        .await
        .expect("sent");
    assert!(read_head(caller).await.starts_with("HTTP/1.1 204 "));
}

#[tokio::test]
async fn a_service_that_refuses_is_not_sent_the_body() {
    for status in ["417 Expectation Failed", "401 Unauthorized"] {
        let (lab, origin) = Lab::by_hand().await;
        let mut caller = lab.caller.say(HEAD).await;
        let (mut service, _) = origin.request().await;
        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\nno");
        service.write_all(answer.as_bytes()).await.expect("sent");

        let seen = read_head(&mut caller).await;
        assert!(seen.starts_with(&format!("HTTP/1.1 {}", status.get(..3).unwrap_or_default())));
        assert_eq!(read_bytes(&mut caller, 2).await, b"no");
        drop(caller);
        assert_eq!(read_all(&mut service).await, b"", "a body was sent");
    }
}

/// The body that is not sent must not cut off the refusal.
#[tokio::test]
async fn a_long_refusal_arrives_whole() {
    const LENGTH: usize = 8 * 1024 * 1024;
    let (lab, origin) = Lab::by_hand().await;
    let mut caller = lab.caller.say(HEAD).await;
    let (mut service, _) = origin.request().await;
    let refuse = async {
        let head = format!("HTTP/1.1 413 Too Large\r\nContent-Length: {LENGTH}\r\n\r\n");
        service.write_all(head.as_bytes()).await.expect("sent");
        service.write_all(&vec![b'n'; LENGTH]).await.expect("sent");
        service
    };
    let read = async {
        assert!(read_head(&mut caller).await.starts_with("HTTP/1.1 413 "));
        read_bytes(&mut caller, LENGTH).await
    };
    let (_service, refusal) = tokio::join!(refuse, read);
    assert!(refusal.iter().all(|byte| *byte == b'n'));
}

#[tokio::test]
async fn a_service_that_never_asks_gets_the_body_after_a_second() {
    let (lab, origin) = Lab::by_hand().await;
    let mut caller = lab.caller.say(HEAD).await;
    let (mut service, _) = origin.request().await;
    let began = Instant::now();
    assert_eq!(read_head(&mut caller).await, CONTINUE);
    assert!(
        began.elapsed() > Duration::from_millis(900),
        "{:?}",
        began.elapsed()
    );
    hello_is_answered(&mut caller, &mut service).await;
}

/// RFC 9110 §10.1.1: a caller need not wait for the 100.
#[tokio::test]
async fn a_body_that_comes_unasked_is_taken() {
    let lab = Lab::start().await;
    let origin = Origin::http(|request: http::Request<hyper::body::Incoming>| async move {
        let body = request.into_body().collect().await.expect("a whole body");
        http::Response::new(Full::new(body.to_bytes()))
    })
    .await;
    lab.agent.share("web", &origin.target()).await;
    for version in VERSIONS {
        let request = lab.request_over(version, "web", "/").method("POST");
        let request = request
            .header("expect", "100-Continue")
            .body(Full::<Bytes>::from("hello"));
        let response = lab.caller.send_over(version, request.expect("valid")).await;
        assert_eq!(ginnel_tests::caller::text(response).await, "hello");
    }
}

#[tokio::test]
async fn the_connection_goes_on_after_an_expected_body() {
    let (lab, origin) = Lab::by_hand().await;
    let mut caller = lab.caller.connect().await;
    let mut service = None;
    for _ in 0..3 {
        caller.write_all(HEAD.as_bytes()).await.expect("sent");
        let service = match &mut service {
            None => service.insert(origin.accept().await),
            Some(service) => service,
        };
        read_head(service).await;
        service.write_all(CONTINUE.as_bytes()).await.expect("sent");
        assert_eq!(read_head(&mut caller).await, CONTINUE);
        caller.write_all(b"hello").await.expect("sent");
        assert_eq!(read_bytes(service, 5).await, b"hello");
        service
            .write_all(NO_CONTENT.as_bytes())
            .await
            .expect("sent");
        assert!(read_head(&mut caller).await.starts_with("HTTP/1.1 204 "));
    }
}
