//! Answers: with and without bodies, and what is passed on as it is.

use bytes::Bytes;
use ginnel_tests::caller::{VERSIONS, body, text};
use ginnel_tests::lab::Lab;
use ginnel_tests::origin::Origin;
use ginnel_tests::wire::{field, fields, read_bytes, read_head};
use http::{HeaderValue, Version};
use http_body_util::Empty;
use tokio::io::AsyncWriteExt as _;

fn empty() -> Empty<Bytes> {
    Empty::new()
}

#[tokio::test]
async fn bodiless_answers_keep_their_fields_and_the_connection() {
    let (lab, origin) = Lab::by_hand().await;
    let mut caller = lab.caller.connect().await;
    let mut service = None;
    for (method, answer, length) in [
        ("HEAD", "200 OK\r\nContent-Length: 1000", Some("1000")),
        ("HEAD", "200 OK\r\nTransfer-Encoding: chunked", None),
        ("GET", "204 No Content", None),
        // hyper leaves the length of what is not sent out of a 304.
        (
            "GET",
            "304 Not Modified\r\nContent-Length: 5\r\nETag: \"e\"",
            None,
        ),
        ("GET", "304 Not Modified\r\nETag: \"e\"", None),
        ("GET", "200 OK\r\nContent-Length: 0", Some("0")),
    ] {
        let head = format!("{method} / HTTP/1.1\r\nHost: web.localhost\r\n\r\n");
        caller.write_all(head.as_bytes()).await.expect("sent");
        let service = match &mut service {
            None => service.insert(origin.accept().await),
            Some(service) => service,
        };
        read_head(service).await;
        let answer = format!("HTTP/1.1 {answer}\r\n\r\n");
        service.write_all(answer.as_bytes()).await.expect("sent");
        let seen = read_head(&mut caller).await;
        assert_eq!(seen.get(..12), answer.get(..12), "{seen}");
        assert_eq!(field(&seen, "content-length"), length, "{answer}: {seen}");
        assert_eq!(field(&seen, "etag"), field(&answer, "etag"));
    }
}

#[tokio::test]
async fn bodiless_answers_pass_over_http_2() {
    let lab = Lab::start().await;
    for (method, answer, length) in [
        ("HEAD", "200 OK\r\nContent-Length: 1000", Some("1000")),
        ("GET", "204 No Content", None),
        ("GET", "304 Not Modified\r\nContent-Length: 5", Some("5")),
    ] {
        let (origin, _heads) = Origin::canned(format!("HTTP/1.1 {answer}\r\n\r\n")).await;
        lab.agent.share("web", &origin.target()).await;
        let request = lab.request_over(Version::HTTP_2, "web", "/").method(method);
        let response = lab
            .caller
            .send_http2(request.body(empty()).expect("valid"))
            .await;
        let seen = response.headers().get("content-length").cloned();
        assert_eq!(
            seen.as_ref().map(HeaderValue::as_bytes),
            length.map(str::as_bytes)
        );
        assert!(body(response).await.is_empty(), "{answer}");
    }
}

#[tokio::test]
async fn ranges_are_the_services_business() {
    let (lab, origin) = Lab::by_hand().await;
    let head = "GET / HTTP/1.1\r\nHost: web.localhost\r\nRange: bytes=2-4,-1\r\n\
                If-Range: \"e\"\r\nAccept-Encoding: gzip;q=0.5\r\n\r\n";
    let mut caller = lab.caller.say(head).await;
    let (mut service, seen) = origin.request().await;
    assert_eq!(field(&seen, "range"), Some("bytes=2-4,-1"));
    assert_eq!(field(&seen, "if-range"), Some("\"e\""));
    assert_eq!(field(&seen, "accept-encoding"), Some("gzip;q=0.5"));
    let answer = b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 2-4/9\r\n\
                   Content-Length: 3\r\n\r\ncde";
    service.write_all(answer).await.expect("sent");
    let seen = read_head(&mut caller).await;
    assert!(seen.starts_with("HTTP/1.1 206 "), "{seen}");
    assert_eq!(field(&seen, "content-range"), Some("bytes 2-4/9"));
    assert_eq!(field(&seen, "content-length"), Some("3"));
    assert_eq!(read_bytes(&mut caller, 3).await, b"cde");
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let lab = Lab::start().await;
    let answer = "HTTP/1.1 302 Found\r\nLocation: /next?a=b\r\nContent-Length: 0\r\n\r\n";
    let (origin, mut heads) = Origin::canned(answer).await;
    lab.agent.share("web", &origin.target()).await;
    let response = lab.get("web", "/").await;
    assert_eq!(response.status(), 302);
    assert_eq!(response.headers()["location"], "/next?a=b");
    heads.next().await;
    assert!(heads.is_empty(), "asked twice");
}

#[tokio::test]
async fn cookies_are_joined_on_the_way_in_and_kept_apart_on_the_way_out() {
    let lab = Lab::start().await;
    let answer = "HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n\
                  Content-Length: 0\r\n\r\n";
    let (origin, mut heads) = Origin::canned(answer).await;
    lab.agent.share("web", &origin.target()).await;
    let request = lab.request_over(Version::HTTP_2, "web", "/");
    let request = request.header("cookie", "a=1").header("cookie", "b=2");
    let response = lab
        .caller
        .send_http2(request.body(empty()).expect("valid"))
        .await;
    let set: Vec<_> = response.headers().get_all("set-cookie").iter().collect();
    assert_eq!(set, ["a=1", "b=2"]);
    let seen = heads.next().await;
    assert_eq!(fields(&seen, "cookie").collect::<Vec<_>>(), ["a=1; b=2"]);
}

#[tokio::test]
async fn an_http_1_0_caller_reads_to_the_end() {
    let lab = Lab::start().await;
    let answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
                  3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
    let (origin, _heads) = Origin::canned(answer).await;
    lab.agent.share("web", &origin.target()).await;
    let answer = lab
        .caller
        .exchange("GET / HTTP/1.0\r\nHost: web.localhost\r\n\r\n")
        .await;
    assert!(answer.starts_with("HTTP/1.0 200 "), "{answer}");
    assert_eq!(field(&answer, "transfer-encoding"), None);
    assert!(answer.ends_with("\r\n\r\nabcde"), "{answer}");
}

#[tokio::test]
async fn early_hints_do_not_stand_for_the_answer() {
    let lab = Lab::start().await;
    let answer = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n\
                  HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let (origin, _heads) = Origin::canned(answer).await;
    lab.agent.share("web", &origin.target()).await;
    for version in VERSIONS {
        let request = lab.request_over(version, "web", "/").body(empty());
        let response = lab.caller.send_over(version, request.expect("valid")).await;
        assert_eq!(response.status(), 200, "{version:?}");
        assert_eq!(text(response).await, "ok");
    }
}

/// Programs rely on it to know who refused.
#[tokio::test]
async fn a_service_cannot_speak_as_the_relay() {
    let lab = Lab::start().await;
    let answer =
        "HTTP/1.1 401 Unauthorized\r\nGinnel-Reason: unauthorized\r\nContent-Length: 0\r\n\r\n";
    let (origin, _heads) = Origin::canned(answer).await;
    lab.agent.share("web", &origin.target()).await;
    let response = lab.get("web", "/").await;
    assert_eq!(response.status(), 401);
    assert!(!response.headers().contains_key("ginnel-reason"));
}
