//! Bodies: whole, in order, at the reader's pace, and never whole when they
//! are not.

use std::time::Duration;

use bytes::Bytes;
use ginnel_tests::caller::{VERSIONS, text};
use ginnel_tests::lab::Lab;
use ginnel_tests::origin::Origin;
use ginnel_tests::pattern::{Pattern, check};
use ginnel_tests::wait::in_time;
use ginnel_tests::wire::{field, read_bytes, read_head};
use http::{Request, Response, Version};
use http_body_util::{BodyExt as _, Empty, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

const LARGE: u64 = 64 * 1024 * 1024;

/// What may be under way between a service and a caller when one of them does
/// not read: the windows of a stream and a link, and the system's buffers of
/// two TCP connections.
const IN_FLIGHT_MAX: usize = 48 * 1024 * 1024;

/// A body fed from a channel.
fn channel_body() -> (
    mpsc::Sender<Bytes>,
    impl hyper::body::Body<Data = Bytes, Error = std::convert::Infallible> + Unpin + Send + 'static,
) {
    let (feed, pieces) = mpsc::channel(1);
    let pieces = futures_util::stream::unfold(pieces, |mut pieces: mpsc::Receiver<Bytes>| async {
        let piece = pieces.recv().await?;
        Some((Ok(Frame::data(piece)), pieces))
    });
    (feed, StreamBody::new(Box::pin(pieces)))
}

#[tokio::test]
async fn large_answers_arrive_whole() {
    let lab = Lab::start().await;
    let origin = Origin::http(|request: Request<Incoming>| async move {
        Response::new(match request.uri().path() {
            "/sized" => Pattern::sized(LARGE),
            _ => Pattern::streamed(LARGE),
        })
    })
    .await;
    lab.agent.share("web", &origin.target()).await;
    for version in VERSIONS {
        for (path, length) in [("/sized", Some(LARGE)), ("/unsized", None)] {
            let request = lab
                .request_over(version, "web", path)
                .body(Empty::<Bytes>::new());
            let response = lab.caller.send_over(version, request.expect("valid")).await;
            let told = response.headers().get("content-length");
            assert_eq!(
                told.map(|told| told.as_bytes().to_vec()),
                length.map(|length| length.to_string().into_bytes())
            );
            assert_eq!(
                check(response.into_body(), LARGE).await,
                LARGE,
                "{version:?} {path}"
            );
        }
    }
}

#[tokio::test]
async fn large_uploads_arrive_whole() {
    let lab = Lab::start().await;
    let origin = Origin::http(|request: Request<Incoming>| async move {
        let length = request.headers().get("content-length").cloned();
        let seen = check(request.into_body(), LARGE).await;
        let mut response = Response::new(Full::new(Bytes::from(seen.to_string())));
        if let Some(length) = length {
            response.headers_mut().insert("x-length", length);
        }
        response
    })
    .await;
    lab.agent.share("web", &origin.target()).await;
    for version in VERSIONS {
        for body in [Pattern::sized(LARGE), Pattern::streamed(LARGE)] {
            let sized = hyper::body::Body::size_hint(&body).exact().is_some();
            let request = lab
                .request_over(version, "web", "/")
                .method("POST")
                .body(body);
            let response = lab.caller.send_over(version, request.expect("valid")).await;
            assert_eq!(
                response.headers().contains_key("x-length"),
                sized,
                "{version:?}"
            );
            assert_eq!(text(response).await, LARGE.to_string());
        }
    }
}

#[tokio::test]
async fn empty_bodies_stay_empty() {
    let (lab, origin) = Lab::by_hand().await;
    let mut caller = lab.caller.connect().await;
    let mut service = None;
    for (framing, body, answer) in [
        ("Content-Length: 0", "", "Content-Length: 0\r\n\r\n"),
        (
            "Transfer-Encoding: chunked",
            "0\r\n\r\n",
            "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ),
    ] {
        let request = format!("POST / HTTP/1.1\r\nHost: web.localhost\r\n{framing}\r\n\r\n{body}");
        caller.write_all(request.as_bytes()).await.expect("sent");
        let service = match &mut service {
            None => service.insert(origin.accept().await),
            Some(service) => service,
        };
        let seen = read_head(service).await;
        let (name, value) = framing.split_once(": ").expect("a field");
        assert_eq!(field(&seen, name), Some(value), "{seen}");
        assert_eq!(read_bytes(service, body.len()).await, body.as_bytes());
        service
            .write_all(format!("HTTP/1.1 200 OK\r\n{answer}").as_bytes())
            .await
            .expect("sent");
        let seen = read_head(&mut caller).await;
        if field(&seen, "transfer-encoding").is_some() {
            assert_eq!(read_bytes(&mut caller, 5).await, b"0\r\n\r\n");
        } else {
            assert_eq!(field(&seen, "content-length"), Some("0"), "{seen}");
        }
    }
}

#[tokio::test]
async fn a_body_that_ends_with_the_connection_is_whole() {
    let lab = Lab::start().await;
    let origin = Origin::raw(|mut stream| async move {
        read_head(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nto the end").await;
    })
    .await;
    lab.agent.share("web", &origin.target()).await;
    assert_eq!(text(lab.get("web", "/").await).await, "to the end");
}

/// Writes until the other side takes no more for a while; returns how much it
/// took.
async fn write_until_stalled(stream: &mut TcpStream) -> usize {
    let zeros = vec![0; 256 * 1024];
    let mut taken = 0;
    loop {
        let write = stream.write(&zeros);
        match tokio::time::timeout(Duration::from_millis(500), write).await {
            Ok(count) => taken += count.expect("the connection stays open"),
            Err(_) => return taken,
        }
        assert!(taken < IN_FLIGHT_MAX, "taken without being read: {taken}");
    }
}

/// Reads all that was under way, as far as it goes.
async fn read_some(stream: &mut TcpStream, count: usize) {
    let mut left = count;
    let mut buffer = vec![0; 256 * 1024];
    while left > 0 {
        let read = in_time("more of the body", stream.read(&mut buffer)).await;
        let read = read.expect("the connection stays open");
        assert!(read > 0, "the body ended");
        left = left.saturating_sub(read);
    }
}

#[tokio::test]
async fn a_caller_that_does_not_read_stops_the_service() {
    let (lab, origin) = Lab::by_hand().await;
    lab.agent.share("other", "demo").await;
    let mut caller = lab
        .caller
        .say("GET / HTTP/1.1\r\nHost: web.localhost\r\n\r\n")
        .await;
    let (mut service, _) = origin.request().await;
    let head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n";
    service.write_all(head).await.expect("sent");
    read_head(&mut caller).await;
    let taken = write_until_stalled(&mut service).await;
    // Others are not held up, and reading on goes on.
    assert_eq!(lab.get("other", "/bytes/5000000").await.status(), 200);
    read_some(&mut caller, taken).await;
    assert!(write_until_stalled(&mut service).await > 0);
}

#[tokio::test]
async fn a_service_that_does_not_read_stops_the_caller() {
    let (lab, origin) = Lab::by_hand().await;
    lab.agent.share("other", "demo").await;
    let head = "POST / HTTP/1.1\r\nHost: web.localhost\r\nContent-Length: 1000000000000\r\n\r\n";
    let mut caller = lab.caller.say(head).await;
    let (mut service, _) = origin.request().await;
    let taken = write_until_stalled(&mut caller).await;
    let request = lab.request("other", "/upload").method("POST");
    let request = request.body(Pattern::sized(5_000_000)).expect("valid");
    assert_eq!(lab.caller.send(request).await.status(), 200);
    read_some(&mut service, taken).await;
    assert!(write_until_stalled(&mut caller).await > 0);
}

/// Stalled readers hold their windows, and the link's grows with them.
#[tokio::test]
async fn twenty_stalled_answers_do_not_hold_up_another() {
    let lab = Lab::start().await;
    lab.agent.share("web", "demo").await;
    let mut stalled = Vec::new();
    for _ in 0..20 {
        let head = "GET /bytes/100000000 HTTP/1.1\r\nHost: web.localhost\r\n\r\n";
        let mut caller = lab.caller.say(head).await;
        read_head(&mut caller).await;
        stalled.push(caller);
    }
    for _ in 0..3 {
        let response = lab.get("web", "/bytes/10000000").await;
        assert_eq!(ginnel_tests::caller::body(response).await.len(), 10_000_000);
    }
}

#[tokio::test]
async fn an_answer_may_come_before_the_whole_upload() {
    let (lab, origin) = Lab::by_hand().await;
    for version in VERSIONS {
        let (feed, body) = channel_body();
        let request = lab
            .request_over(version, "web", "/")
            .method("POST")
            .body(body);
        let service = async {
            let (mut service, _) = origin.request().await;
            let answer = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 7\r\n\r\nenough!";
            service.write_all(answer).await.expect("sent");
            service
        };
        feed.send(Bytes::from_static(b"a beginning"))
            .await
            .expect("room");
        let answered = lab.caller.send_over(version, request.expect("valid"));
        let (response, _service) = tokio::join!(answered, service);
        assert_eq!(response.status(), 403, "{version:?}");
        assert_eq!(text(response).await, "enough!");
        drop(feed);
    }
}

/// A service that answers piece by piece what it is sent piece by piece.
#[tokio::test]
async fn both_bodies_flow_at_the_same_time() {
    let lab = Lab::start().await;
    let origin =
        Origin::http(
            |request: Request<Incoming>| async move { Response::new(request.into_body()) },
        )
        .await;
    lab.agent.share("web", &origin.target()).await;
    for version in VERSIONS {
        let (feed, body) = channel_body();
        let request = lab
            .request_over(version, "web", "/")
            .method("POST")
            .body(body);
        let response = lab.caller.send_over(version, request.expect("valid")).await;
        let mut echo = response.into_body();
        for number in 0..10 {
            let piece = Bytes::from(format!("piece {number}"));
            feed.send(piece.clone()).await.expect("room");
            let frame = in_time("an echo", echo.frame())
                .await
                .expect("more")
                .expect("whole");
            assert_eq!(frame.into_data().expect("data"), piece, "{version:?}");
        }
        drop(feed);
        let end = in_time("the end", echo.collect())
            .await
            .expect("a whole body");
        assert!(end.to_bytes().is_empty());
    }
}

/// HTTP allows a body in any request, announced by a length or not.
#[tokio::test]
async fn a_body_arrives_whatever_the_method() {
    let lab = Lab::start().await;
    let origin = Origin::http(|request: Request<Incoming>| async move {
        let body = request.into_body().collect().await.expect("a whole body");
        Response::builder()
            .header("seen", body.to_bytes().len())
            .body(Empty::<Bytes>::new())
            .expect("valid")
    })
    .await;
    lab.agent.share("web", &origin.target()).await;
    for version in VERSIONS {
        for method in ["GET", "HEAD", "DELETE", "OPTIONS", "POST", "QUERY"] {
            for told in [true, false] {
                let request = lab.request_over(version, "web", "/").method(method);
                let request = match told {
                    true => request.header("content-length", "5"),
                    false => request,
                };
                let (feed, body) = channel_body();
                feed.try_send(Bytes::from_static(b"hello")).expect("room");
                drop(feed);
                let mut request = request.body(body).expect("valid");
                if !told && version == Version::HTTP_11 {
                    // hyper, too, would leave the body out.
                    let chunked = http::HeaderValue::from_static("chunked");
                    request.headers_mut().insert("transfer-encoding", chunked);
                }
                let response = lab.caller.send_over(version, request).await;
                assert_eq!(
                    response.headers()["seen"],
                    "5",
                    "{version:?} {method} {told}"
                );
            }
        }
    }
}

/// RFC 9112 §6.3: the length says nothing then.
#[tokio::test]
async fn an_answer_with_a_length_and_a_coding_is_as_long_as_its_chunks() {
    let (lab, origin) = Lab::by_hand().await;
    for lines in [
        "Content-Length: 100\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 1",
    ] {
        let caller = lab
            .caller
            .exchange("GET / HTTP/1.1\r\nHost: web.localhost\r\nConnection: close\r\n\r\n");
        let service = async {
            let (mut service, _) = origin.request().await;
            let answer = format!("HTTP/1.1 200 OK\r\n{lines}\r\n\r\n2\r\nok\r\n0\r\n\r\n");
            service.write_all(answer.as_bytes()).await.expect("sent");
        };
        let (answer, ()) = tokio::join!(caller, service);
        assert!(answer.starts_with("HTTP/1.1 200 "), "{lines}: {answer}");
        assert_eq!(field(&answer, "content-length"), None, "{lines}: {answer}");
        assert!(
            answer.ends_with("2\r\nok\r\n0\r\n\r\n"),
            "{lines}: {answer}"
        );
    }
}

#[tokio::test]
async fn a_truncated_answer_never_looks_whole() {
    let (lab, origin) = Lab::by_hand().await;
    for (framing, begun) in [
        ("Content-Length: 10", "short"),
        ("Transfer-Encoding: chunked", "5\r\nshort\r\n"),
        ("Transfer-Encoding: chunked", "10\r\nshort"),
        ("Transfer-Encoding: chunked", "5\r\nshort\r\n0\r\n"),
        ("Transfer-Encoding: chunked", "5\r\nshort\r\nrubbish\r\n"),
    ] {
        for version in VERSIONS {
            let request = lab
                .request_over(version, "web", "/")
                .body(Empty::<Bytes>::new());
            let answered = lab.caller.send_over(version, request.expect("valid"));
            let service = async {
                let (mut service, _) = origin.request().await;
                let head = format!("HTTP/1.1 200 OK\r\n{framing}\r\n\r\n");
                service.write_all(head.as_bytes()).await.expect("sent");
                service
            };
            let (response, mut service) = tokio::join!(answered, service);
            service.write_all(begun.as_bytes()).await.expect("sent");
            drop(service);
            let body = in_time("the body's end", response.into_body().collect()).await;
            assert!(body.is_err(), "{version:?} {begun:?}: {body:?}");
        }
    }
}

#[tokio::test]
async fn an_aborted_upload_never_looks_whole() {
    let (lab, origin) = Lab::by_hand().await;
    for sent in [
        "Content-Length: 10\r\n\r\nshort",
        "Transfer-Encoding: chunked\r\n\r\n5\r\nshort\r\n",
        "Transfer-Encoding: chunked\r\n\r\n10\r\nshort",
    ] {
        let request = format!("POST / HTTP/1.1\r\nHost: web.localhost\r\n{sent}");
        let caller = lab.caller.say(request).await;
        let (mut service, _) = origin.request().await;
        read_bytes(&mut service, 5).await;
        drop(caller);
        assert_aborted(&mut service).await;
    }
}

#[tokio::test]
async fn an_aborted_upload_over_http_2_never_looks_whole() {
    let (lab, origin) = Lab::by_hand().await;
    let (feed, body) = channel_body();
    let request = lab
        .request_over(Version::HTTP_2, "web", "/")
        .method("POST")
        .body(body);
    feed.send(Bytes::from_static(b"short")).await.expect("room");
    let mut service = {
        let answered = lab.caller.try_send_http2(request.expect("valid"));
        tokio::select! {
            _ = answered => panic!("nobody answers"),
            (mut service, _) = origin.request() => {
                read_bytes(&mut service, 5).await;
                service
            }
        }
    };
    drop(feed);
    assert_aborted(&mut service).await;
}

/// The connection ends without the last chunk.
async fn assert_aborted(service: &mut TcpStream) {
    let rest = ginnel_tests::wire::read_all(service).await;
    assert!(
        !rest.ends_with(b"0\r\n\r\n"),
        "the body was ended: {rest:?}"
    );
    assert!(rest.len() < 10, "{rest:?}");
}
