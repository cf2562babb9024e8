//! What a proxy adds and takes away, and where requests go.

use bytes::Bytes;
use ginnel_tests::caller::{VERSIONS, text};
use ginnel_tests::lab::Lab;
use ginnel_tests::origin::Origin;
use ginnel_tests::wire::{field, fields, read_head};
use http::{Request, Version};
use http_body_util::Empty;
use tokio::io::AsyncWriteExt as _;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

fn empty() -> Empty<Bytes> {
    Empty::new()
}

#[tokio::test]
async fn fields_of_the_callers_connection_do_not_reach_the_service() {
    let lab = Lab::start().await;
    let (origin, mut heads) = Origin::canned(OK).await;
    lab.agent.share("web", &origin.target()).await;
    let head = "GET / HTTP/1.1\r\nHost: web.localhost\r\n\
                Connection: keep-alive, X-Named, x-also-named\r\nConnection: x-third\r\n\
                X-Named: 1\r\nX-Also-Named: 1\r\nX-Third: 1\r\nX-Stays: 1\r\n\
                Keep-Alive: timeout=5\r\nProxy-Connection: close\r\n\
                Proxy-Authorization: Basic x\r\nTE: gzip, trailers;q=1\r\n\r\n";
    let mut caller = lab.caller.say(head).await;
    read_head(&mut caller).await;
    let seen = heads.next().await;
    for name in [
        "x-named",
        "x-also-named",
        "x-third",
        "keep-alive",
        "proxy-connection",
        "proxy-authorization",
        "connection",
    ] {
        assert_eq!(field(&seen, name), None, "{name}");
    }
    assert_eq!(field(&seen, "x-stays"), Some("1"));
    assert!(fields(&seen, "te").all(|te| te == "trailers"), "{seen}");
}

#[tokio::test]
async fn a_caller_cannot_have_end_to_end_fields_removed() {
    let lab = Lab::start().await;
    let (origin, mut heads) = Origin::canned(OK).await;
    lab.agent.share("web", &origin.target()).await;
    let head = "GET / HTTP/1.1\r\nHost: web.localhost\r\nAuthorization: Basic x\r\n\
                Connection: authorization, host, x-forwarded-for, forwarded, \
                x-forwarded-host, x-forwarded-proto\r\n\r\n";
    let mut caller = lab.caller.say(head).await;
    read_head(&mut caller).await;
    let seen = heads.next().await;
    for name in [
        "authorization",
        "host",
        "x-forwarded-for",
        "forwarded",
        "x-forwarded-host",
        "x-forwarded-proto",
    ] {
        assert_eq!(fields(&seen, name).count(), 1, "{name}: {seen}");
    }
}

#[tokio::test]
async fn fields_of_the_services_connection_do_not_reach_the_caller() {
    let lab = Lab::start().await;
    let answer = "HTTP/1.1 200 OK\r\nConnection: close, X-Named\r\nX-Named: 1\r\nX-Stays: 1\r\n\
                  Keep-Alive: timeout=5\r\nProxy-Authenticate: Basic\r\nProxy-Connection: x\r\n\
                  Upgrade: h2c\r\nContent-Length: 0\r\n\r\n";
    let (origin, _heads) = Origin::canned(answer).await;
    lab.agent.share("web", &origin.target()).await;
    for version in VERSIONS {
        let request = lab.request_over(version, "web", "/").body(empty());
        let response = lab.caller.send_over(version, request.expect("valid")).await;
        for name in [
            "x-named",
            "keep-alive",
            "proxy-authenticate",
            "proxy-connection",
            "upgrade",
            "connection",
            "transfer-encoding",
        ] {
            assert!(!response.headers().contains_key(name), "{name}");
        }
        assert_eq!(response.headers()["x-stays"], "1");
    }
}

#[tokio::test]
async fn the_service_learns_who_calls_and_not_who_claims_to() {
    let lab = Lab::start().await;
    let (origin, mut heads) = Origin::canned(OK).await;
    lab.agent.share("web", &origin.target()).await;
    let head = "GET / HTTP/1.1\r\nHost: web.localhost:7480\r\nForwarded: for=6.6.6.6\r\n\
                X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-For: 7.7.7.7\r\n\
                X-Forwarded-Host: evil.example\r\nX-Forwarded-Proto: https\r\n\
                X-Forwarded-Port: 666\r\nX-Forwarded-Prefix: /evil\r\nX-Real-IP: 6.6.6.6\r\n\r\n";
    let mut caller = lab.caller.say(head).await;
    read_head(&mut caller).await;
    let seen = heads.next().await;
    for (name, values) in [
        (
            "forwarded",
            &["for=127.0.0.1;proto=http;host=\"web.localhost:7480\""][..],
        ),
        ("x-forwarded-for", &["127.0.0.1"]),
        ("x-forwarded-host", &["web.localhost:7480"]),
        ("x-forwarded-proto", &["http"]),
        ("x-forwarded-port", &[]),
        ("x-forwarded-prefix", &[]),
        ("x-real-ip", &[]),
        ("host", &["web.localhost:7480"]),
    ] {
        assert_eq!(fields(&seen, name).collect::<Vec<_>>(), values, "{name}");
    }
}

#[tokio::test]
async fn a_path_leads_to_a_service_that_learns_its_prefix() {
    let lab = Lab::start().await;
    let (origin, mut heads) = Origin::canned(OK).await;
    lab.agent.share("web", &origin.target()).await;
    for (path, seen_path) in [
        ("/t/laptop/web/a/b?c=/d", "/a/b?c=/d"),
        ("/t/laptop/web/", "/"),
        ("/t/laptop/web", "/"),
        ("/t/laptop/web?x", "/?x"),
        ("/t/laptop/web/../%2e%2e/t/other/", "/../%2e%2e/t/other/"),
    ] {
        let host = lab.caller.address;
        let request = Request::get(path).header("host", host.to_string());
        let request = request.header("x-forwarded-prefix", "/evil");
        let response = lab.caller.send(request.body(empty()).expect("valid")).await;
        assert_eq!(response.status(), 200, "{path}");
        let seen = heads.next().await;
        assert!(
            seen.starts_with(&format!("GET {seen_path} HTTP/1.1\r\n")),
            "{seen}"
        );
        assert_eq!(
            fields(&seen, "x-forwarded-prefix").collect::<Vec<_>>(),
            ["/t/laptop/web"]
        );
        assert_eq!(field(&seen, "host"), Some(&*host.to_string()));
    }
}

#[tokio::test]
async fn a_host_leads_to_a_service_of_a_device() {
    let lab = Lab::start().await;
    let desktop = lab.another_agent("alice", "desktop").await;
    for (agent, says) in [(&lab.agent, "laptop"), (&desktop, "desktop")] {
        let answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{says}",
            says.len()
        );
        let (origin, _heads) = Origin::canned(answer).await;
        agent.share("web", &origin.target()).await;
        for version in VERSIONS {
            let host = format!("WEB.{says}");
            let request = lab.request_over(version, &host, "/t/x/y").body(empty());
            let response = lab.caller.send_over(version, request.expect("valid")).await;
            assert_eq!(text(response).await, says);
        }
    }
    // The service alone no longer says which.
    let response = lab.get("web", "/").await;
    assert_eq!(response.status(), 404);
    assert_eq!(response.headers()["ginnel-reason"], "no_route");
}

#[tokio::test]
async fn addresses_that_lead_nowhere_are_404() {
    let lab = Lab::start().await;
    let (origin, mut heads) = Origin::canned(OK).await;
    lab.agent.share("web", &origin.target()).await;
    for (host, path) in [
        ("localhost", "/"),
        ("a.web.laptop.localhost", "/t/laptop/web/"),
        ("web.laptop.localhost.evil.example", "/"),
        ("evil-localhost", "/"),
        ("web_.laptop.localhost", "/"),
        ("127.0.0.1", "/t/laptop"),
        ("127.0.0.1", "/t//web/"),
        ("127.0.0.1", "/T/laptop/web/"),
        ("127.0.0.1", "/t/lap%74op/web/"),
    ] {
        let request = Request::get(path).header("host", host).body(empty());
        let response = lab.caller.send(request.expect("valid")).await;
        assert_eq!(response.status(), 404, "{host} {path}");
        assert_eq!(response.headers()["ginnel-reason"], "no_route");
    }
    assert!(heads.is_empty());
}

/// Over HTTP/2 a Host field beside `:authority` must not decide anything.
#[tokio::test]
async fn the_authority_of_http_2_beats_host() {
    let lab = Lab::start().await;
    let (origin, mut heads) = Origin::canned(OK).await;
    lab.agent.share("web", &origin.target()).await;
    let request = lab
        .request_over(Version::HTTP_2, "web", "/")
        .header("host", "evil.example");
    let response = lab
        .caller
        .send_http2(request.body(empty()).expect("valid"))
        .await;
    assert_eq!(response.status(), 200);
    let seen = heads.next().await;
    assert_eq!(fields(&seen, "host").collect::<Vec<_>>(), ["web.localhost"]);
}

#[tokio::test]
async fn many_requests_share_one_connection() {
    let (lab, origin) = Lab::by_hand().await;
    let mut caller = lab.caller.connect().await;
    let mut service = None;
    for number in 0..20 {
        let head = format!("GET /{number} HTTP/1.1\r\nHost: web.localhost\r\n\r\n");
        caller.write_all(head.as_bytes()).await.expect("sent");
        let service = match &mut service {
            None => service.insert(origin.accept().await),
            Some(service) => service,
        };
        assert!(
            read_head(service)
                .await
                .starts_with(&format!("GET /{number} "))
        );
        service.write_all(OK.as_bytes()).await.expect("sent");
        assert!(read_head(&mut caller).await.starts_with("HTTP/1.1 200 "));
    }
}
