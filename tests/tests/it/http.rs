//! Heads: methods, targets, fields and bodiless answers, as they were sent.

use bytes::Bytes;
use ginnel_tests::caller::{VERSIONS, text};
use ginnel_tests::lab::Lab;
use ginnel_tests::origin::Origin;
use ginnel_tests::wait::in_time;
use ginnel_tests::wire::{field, read_head};
use http::{HeaderValue, Method, Request, Response, Version};
use http_body_util::{BodyExt as _, Empty, Full};
use hyper::body::Incoming;
use tokio::io::AsyncWriteExt as _;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

fn empty() -> Empty<Bytes> {
    Empty::new()
}

/// A service that says back the fields it got whose names begin with `x-`.
async fn echo_of_fields() -> Origin {
    Origin::http(|request: Request<Incoming>| async move {
        let mut response = Response::new(empty());
        for (name, value) in request.headers() {
            if name.as_str().starts_with("x-sent") {
                response.headers_mut().append(name, value.clone());
            }
        }
        response
    })
    .await
}

#[tokio::test]
async fn any_method_arrives_as_it_was_sent() {
    let lab = Lab::start().await;
    let origin = Origin::http(|request: Request<Incoming>| async move {
        Response::builder()
            .header("x-method", request.method().as_str())
            .body(empty())
            .expect("valid")
    })
    .await;
    lab.agent.share("web", &origin.target()).await;
    for version in VERSIONS {
        for method in [
            "GET",
            "HEAD",
            "POST",
            "PUT",
            "DELETE",
            "PATCH",
            "OPTIONS",
            "TRACE",
            "PROPFIND",
            "get",
            "M-SEARCH",
            "X!#$%&'*+-.^_`|~1",
        ] {
            let request = lab.request_over(version, "web", "/").method(method);
            let request = request.body(empty()).expect("valid");
            let response = lab.caller.send_over(version, request).await;
            assert_eq!(response.status(), 200, "{method}");
            assert_eq!(response.headers()["x-method"], method);
        }
    }
}

/// gRPC-Web is plain HTTP, though its type begins like gRPC's.
#[tokio::test]
async fn grpc_web_is_plain_http() {
    let lab = Lab::start().await;
    let (origin, mut heads) = Origin::canned(OK).await;
    lab.agent.share("web", &origin.target()).await;
    for kind in [
        "application/grpc-web",
        "application/grpc-web+proto",
        "application/grpc-web-text",
    ] {
        let request = lab
            .request("web", "/")
            .method("POST")
            .header("content-type", kind);
        let response = lab.caller.send(request.body(empty()).expect("valid")).await;
        assert_eq!(response.status(), 200, "{kind}");
        let head = heads.next().await;
        assert!(head.starts_with("POST / HTTP/1.1\r\n"), "{head}");
    }
}

#[tokio::test]
async fn connect_is_refused() {
    let lab = Lab::start().await;
    let (origin, mut heads) = Origin::canned(OK).await;
    lab.agent.share("web", &origin.target()).await;
    let head = "CONNECT web.localhost:80 HTTP/1.1\r\nHost: web.localhost:80\r\n\
                Connection: close\r\n\r\n";
    let answer = lab.caller.exchange(head).await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert_eq!(field(&answer, "ginnel-reason"), Some("bad_request"));
    assert!(heads.is_empty());
}

#[tokio::test]
async fn field_values_keep_every_byte_there_and_back() {
    let lab = Lab::start().await;
    let origin = echo_of_fields().await;
    lab.agent.share("web", &origin.target()).await;
    let every: Vec<u8> = (0x21..=0x7e)
        .chain([b' ', b'\t'])
        .chain(0x80..=0xff)
        .collect();
    let every = HeaderValue::from_bytes(&every).expect("valid");
    for version in VERSIONS {
        let mut request = lab
            .request_over(version, "web", "/")
            .body(empty())
            .expect("valid");
        let headers = request.headers_mut();
        headers.insert("x-sent-bytes", every.clone());
        headers.insert("x-sent-empty", HeaderValue::from_static(""));
        for value in ["2", "1", "2", "3"] {
            headers.append("x-sent-often", HeaderValue::from_static(value));
        }
        let response = lab.caller.send_over(version, request).await;
        assert_eq!(response.headers()["x-sent-bytes"], every);
        assert_eq!(response.headers()["x-sent-empty"], "");
        let often: Vec<_> = response.headers().get_all("x-sent-often").iter().collect();
        assert_eq!(often, ["2", "1", "2", "3"], "{version:?}");
    }
}

#[tokio::test]
async fn a_head_of_60_kib_passes_both_ways() {
    let lab = Lab::start().await;
    let origin = echo_of_fields().await;
    lab.agent.share("web", &origin.target()).await;
    for version in VERSIONS {
        let mut request = lab.request_over(version, "web", "/");
        for name in 0..15 {
            request = request.header(format!("x-sent-{name}"), "v".repeat(4096));
        }
        let request = request.body(empty()).expect("valid");
        let response = lab.caller.send_over(version, request).await;
        assert_eq!(response.status(), 200, "{version:?}");
        let sent = response
            .headers()
            .iter()
            .filter(|(_, value)| value.len() == 4096);
        assert_eq!(sent.count(), 15);
    }
}

#[tokio::test]
async fn a_head_above_64_kib_is_431() {
    let lab = Lab::start().await;
    let (origin, mut heads) = Origin::canned(OK).await;
    lab.agent.share("web", &origin.target()).await;
    // Up to 128 KiB it is read and answered by the relay itself. A stream of
    // HTTP/2 that ended with REFUSED_STREAM instead would be tried again.
    for (version, count) in VERSIONS.into_iter().flat_map(|v| [(v, 17), (v, 30)]) {
        let mut request = lab.request_over(version, "web", "/");
        for name in 0..count {
            request = request.header(format!("x-{name}"), "v".repeat(4096));
        }
        let request = request.body(empty()).expect("valid");
        let response = lab.caller.send_over(version, request).await;
        assert_eq!(response.status(), 431, "{version:?} {count}");
        let reason = response.headers().get("ginnel-reason");
        assert!(
            reason.is_some_and(|reason| reason == "head_too_large"),
            "{version:?} {count}: {reason:?}"
        );
        assert!(text(response).await.contains("too large"), "{version:?}");
    }
    assert!(heads.is_empty(), "the service was asked");
}

#[tokio::test]
async fn ninety_fields_pass_and_more_than_100_are_431() {
    let lab = Lab::start().await;
    let origin = echo_of_fields().await;
    lab.agent.share("web", &origin.target()).await;
    for (version, count, status) in [
        (Version::HTTP_11, 90, 200),
        (Version::HTTP_2, 90, 200),
        (Version::HTTP_11, 101, 431),
        (Version::HTTP_2, 101, 431),
    ] {
        let mut request = lab.request_over(version, "web", "/");
        for _ in 0..count {
            request = request.header("x-sent", "v");
        }
        let response = lab
            .caller
            .send_over(version, request.body(empty()).expect("valid"));
        assert_eq!(response.await.status(), status, "{version:?} {count}");
    }
}

#[tokio::test]
async fn targets_arrive_byte_for_byte() {
    let lab = Lab::start().await;
    let (origin, mut heads) = Origin::canned(OK).await;
    lab.agent.share("web", &origin.target()).await;
    for target in [
        "/",
        "//",
        "/a//b/",
        "/%2e%2E/%2f",
        "/a/../b/./c",
        "/%00%0d%0a",
        "/a;b=c;d",
        "/?",
        "/??",
        "/a?b=c&b=d&%26=+",
        "/~!$&'()*+,;=:@",
        "/{a}|^\"",
        "/a?http://b/c?d",
    ] {
        let head = format!("GET {target} HTTP/1.1\r\nHost: web.localhost\r\n\r\n");
        let mut caller = lab.caller.say(head).await;
        assert!(
            read_head(&mut caller).await.starts_with("HTTP/1.1 200 "),
            "{target}"
        );
        let seen = heads.next().await;
        assert!(
            seen.starts_with(&format!("GET {target} HTTP/1.1\r\n")),
            "{target}: {seen}"
        );
    }
}

#[tokio::test]
async fn options_may_ask_for_everything() {
    let lab = Lab::start().await;
    let (origin, mut heads) = Origin::canned(OK).await;
    lab.agent.share("web", &origin.target()).await;
    let head = "OPTIONS * HTTP/1.1\r\nHost: web.localhost\r\n\r\n";
    let mut caller = lab.caller.say(head).await;
    assert!(read_head(&mut caller).await.starts_with("HTTP/1.1 200 "));
    let seen = heads.next().await;
    assert!(seen.starts_with("OPTIONS * HTTP/1.1\r\n"), "{seen}");
}

#[tokio::test]
async fn an_absolute_target_becomes_a_path() {
    let lab = Lab::start().await;
    let (origin, mut heads) = Origin::canned(OK).await;
    lab.agent.share("web", &origin.target()).await;
    let head = "GET http://web.localhost/a?b HTTP/1.1\r\nHost: web.localhost\r\n\r\n";
    let mut caller = lab.caller.say(head).await;
    assert!(read_head(&mut caller).await.starts_with("HTTP/1.1 200 "));
    let seen = heads.next().await;
    assert!(seen.starts_with("GET /a?b HTTP/1.1\r\n"), "{seen}");
    assert_eq!(field(&seen, "host"), Some("web.localhost"));
}

/// Answers without a body leave the connection in step: the answers after
/// them are read right.
#[tokio::test]
async fn one_http_2_connection_carries_many_requests_at_once() {
    let lab = Lab::start().await;
    let all_here = std::sync::Arc::new(tokio::sync::Barrier::new(50));
    let origin = Origin::http(move |request: Request<Incoming>| {
        let all_here = std::sync::Arc::clone(&all_here);
        async move {
            all_here.wait().await;
            let body = request.into_body().collect().await.expect("a whole body");
            Response::new(Full::new(body.to_bytes()))
        }
    })
    .await;
    lab.agent.share("web", &origin.target()).await;
    let mut sender = lab.caller.http2().await;
    let answers: Vec<_> = (0..50)
        .map(|number: u32| {
            let request = lab
                .request_over(Version::HTTP_2, "web", "/")
                .method(Method::POST);
            let body = Full::new(Bytes::from(number.to_string()));
            sender.send_request(request.body(body).expect("valid"))
        })
        .collect();
    for (number, answer) in (0..50).zip(answers) {
        assert_eq!(
            text(in_time("an answer", answer).await.expect("an answer")).await,
            format!("{number}")
        );
    }
}

#[cfg(unix)]
#[tokio::test]
async fn a_service_may_listen_at_a_unix_socket() {
    let lab = Lab::start().await;
    let folder = tempfile::tempdir().expect("temporary folder");
    let path = folder.path().join("web.sock");
    let listener = tokio::net::UnixListener::bind(&path).expect("bound");
    lab.agent
        .share("web", &format!("unix:{}", path.display()))
        .await;
    for version in VERSIONS {
        let request = lab.request_over(version, "web", "/a?b").body(empty());
        let answered = lab.caller.send_over(version, request.expect("valid"));
        let service = async {
            let (mut stream, _) = in_time("a request", listener.accept())
                .await
                .expect("accepted");
            let seen = read_head(&mut stream).await;
            assert!(seen.starts_with("GET /a?b HTTP/1.1\r\n"), "{seen}");
            assert_eq!(field(&seen, "host"), Some("web.localhost"));
            // Closed then, so that the next request connects too.
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
            stream.write_all(answer).await.expect("sent");
        };
        let (response, ()) = tokio::join!(answered, service);
        assert_eq!(response.status(), 200);
        assert_eq!(text(response).await, "ok");
    }
}
