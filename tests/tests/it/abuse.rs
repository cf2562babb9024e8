//! Callers that do not play by HTTP's rules.

use std::time::{Duration, Instant};

use ginnel_tests::lab::Lab;
use ginnel_tests::origin::{Heads, Origin};
use ginnel_tests::wait::{promptly, until_true};
use ginnel_tests::wire::{field, read_all, read_head};
use tokio::io::AsyncWriteExt as _;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
const GOOD: &str = "GET /good HTTP/1.1\r\nHost: web.localhost\r\n\r\n";

async fn shared() -> (Lab, Origin, Heads) {
    let lab = Lab::start().await;
    let (origin, heads) = Origin::canned(OK).await;
    lab.agent.share("web", &origin.target()).await;
    (lab, origin, heads)
}

/// Heads that two readers might read in two ways.
const BAD_HEADS: &[&str] = &[
    // Where does the body end?
    "Host: web.localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "Host: web.localhost\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    "Host: web.localhost\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    "Host: web.localhost\r\nContent-Length: 5, 5\r\n\r\nhello",
    "Host: web.localhost\r\nContent-Length: +5\r\n\r\nhello",
    "Host: web.localhost\r\nContent-Length: -1\r\n\r\nhello",
    "Host: web.localhost\r\nContent-Length: 0x5\r\n\r\nhello",
    "Host: web.localhost\r\nContent-Length: 5 5\r\n\r\nhello",
    "Host: web.localhost\r\nContent-Length: 99999999999999999999\r\n\r\nhello",
    "Host: web.localhost\r\nContent-Length:\r\n\r\nhello",
    "Host: web.localhost\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "Host: web.localhost\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
    "Host: web.localhost\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "Host: web.localhost\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n",
    "Host: web.localhost\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "Host: web.localhost\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    // Where does a line end?
    "Host: web.localhost\nX-Bare: 1\r\n\r\n",
    "Host: web.localhost\r\nX-Bare: 1\n\n",
    "Host: web.localhost\r\nX-Folded: a\r\n b\r\n\r\n",
    "Host: web.localhost\r\nX-Folded: a\r\n\tContent-Length: 5\r\n\r\nhello",
    " Host: web.localhost\r\n\r\n",
    "Host: web.localhost\r\nX-Return: a\rb\r\n\r\n",
    "Host: web.localhost\r\nX-Nul: a\0b\r\n\r\n",
    "Host: web.localhost\r\nX-Nul\0: ab\r\n\r\n",
    "Host: web.localhost\r\nno colon\r\n\r\n",
    "Host: web.localhost\r\n: no name\r\n\r\n",
    "Host: web.localhost\r\nX Space: 1\r\n\r\n",
    // For whom is it?
    "X-No-Host: 1\r\n\r\n",
    "Host: web.localhost\r\nHost: other.localhost\r\n\r\n",
    "Host: web.localhost\r\nHost: web.localhost\r\n\r\n",
    "Host:\r\n\r\n",
    "Host: web.localhost/x\r\n\r\n",
    "Host: alice@web.localhost\r\n\r\n",
    "Host: web.localhost:port\r\n\r\n",
    "Host: web localhost\r\n\r\n",
    "Host: web.localhost, other.localhost\r\n\r\n",
];

#[tokio::test]
async fn heads_that_could_be_read_in_two_ways_are_400_and_go_no_further() {
    let (lab, _origin, mut heads) = shared().await;
    for head in BAD_HEADS {
        let answer = lab
            .caller
            .exchange(format!("POST / HTTP/1.1\r\n{head}{GOOD}"))
            .await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{head:?}: {answer:?}");
        assert_eq!(
            answer.matches("HTTP/1.1 ").count(),
            1,
            "{head:?}: {answer:?}"
        );
        assert!(heads.is_empty(), "the service saw {head:?}");
    }
}

#[tokio::test]
async fn bad_request_lines_are_400_and_go_no_further() {
    let (lab, _origin, mut heads) = shared().await;
    let long = format!("GET /{} HTTP/1.1", "a".repeat(17 * 1024));
    for line in [
        "GET http://other.localhost/ HTTP/1.1",
        "GET http://web.localhost:81/ HTTP/1.1",
        "GET http://alice@web.localhost/ HTTP/1.1",
        "GET  / HTTP/1.1",
        "GET / HTTP/1.1 ",
        "GET /a b HTTP/1.1",
        "GET /\0 HTTP/1.1",
        "GET / HTTP/1.2",
        "GET / HTTP/2.0",
        "GET / http/1.1",
        "GET /",
        "GET\t/\tHTTP/1.1",
        "G\x01T / HTTP/1.1",
        "PRI * HTTP/2.0",
        &long,
    ] {
        let answer = lab
            .caller
            .exchange(format!("{line}\r\nHost: web.localhost\r\n\r\n"))
            .await;
        let shown = line.get(..40).unwrap_or(line);
        let status = answer.get(..13).unwrap_or_default();
        assert!(
            ["HTTP/1.1 400 ", "HTTP/1.1 414 "].contains(&status),
            "{shown:?}: {answer:?}"
        );
        assert!(heads.is_empty(), "the service saw {shown:?}");
    }
}

/// They are no requests, so `requests` does not count them.
#[tokio::test]
async fn refused_messages_are_counted_by_reason() {
    let (lab, _origin, mut heads) = shared().await;
    let many = "X-Line: 1\r\n".repeat(101);
    for (fields, status, reason, count) in [
        ("Host: a\r\nHost: b\r\n", 400, "more than one host", 1),
        (
            "Host: a\r\nContent-Length: x\r\n",
            400,
            "content-length is not a number",
            1,
        ),
        (&*format!("Host: a\r\n{many}"), 431, "head is too large", 1),
        ("Host: c\r\nHost: d\r\n", 400, "more than one host", 2),
    ] {
        let head = format!("GET / HTTP/1.1\r\n{fields}\r\n");
        let answer = lab.caller.exchange(head).await;
        let expected = format!("HTTP/1.1 {status} ");
        assert!(answer.starts_with(&expected), "{reason}: {answer}");
        let line = format!("ginnel_messages_refused_total{{reason=\"{reason}\"}} {count}\n");
        until_true(&line, || metrics(&lab).contains(&line)).await;
    }
    assert_eq!(lab.get("web", "/").await.status(), 200);
    let metrics = metrics(&lab);
    assert_eq!(
        metrics.matches("\nginnel_messages_refused_total{").count(),
        3
    );
    assert_eq!(metrics.matches("\nrequests_total{").count(), 1, "{metrics}");
    assert!(heads.next().await.starts_with("GET / "));
    assert!(heads.is_empty());
}

fn metrics(lab: &Lab) -> String {
    let relay = &lab.relay.relay;
    relay.metrics.render(&relay.links)
}

/// Whoever is asked at all is asked by then.
const A_WHILE: Duration = Duration::from_millis(500);

#[tokio::test]
async fn chunks_that_could_be_read_in_two_ways_never_look_whole() {
    let (lab, origin) = Lab::by_hand().await;
    for body in [
        "x\r\nhello\r\n0\r\n\r\n",
        "-5\r\nhello\r\n0\r\n\r\n",
        "+5\r\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "5 \r\nhello\r\n0\r\n\r\n",
        " 5\r\nhello\r\n0\r\n\r\n",
        "\r\nhello\r\n0\r\n\r\n",
        "5\nhello\r\n0\r\n\r\n",
        "5\r\nhello0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "5\r\nhello!\r\n0\r\n\r\n",
        "10000000000000005\r\nhello\r\n0\r\n\r\n",
        "5;a\nb\r\nhello\r\n0\r\n\r\n",
        "5;a\0b\r\nhello\r\n0\r\n\r\n",
        "5\r\nhello\r\n0\r\nX: a\n\r\n",
        "5\r\nhello\r\n0\r\nX: a\r\n b\r\n\r\n",
    ] {
        let head = "POST / HTTP/1.1\r\nHost: web.localhost\r\nTransfer-Encoding: chunked\r\n\r\n";
        let mut caller = lab.caller.say(format!("{head}{body}{GOOD}")).await;
        // The head alone was good, so the service may be asked.
        let service = async {
            let (mut service, _) = origin.request().await;
            read_all(&mut service).await
        };
        let service = tokio::time::timeout(A_WHILE, service);
        let (seen, answer) = tokio::join!(service, read_all(&mut caller));
        let seen = seen.unwrap_or_default();
        assert!(!answer.starts_with(b"HTTP/1.1 2"), "{body:?} was answered");
        assert!(!seen.ends_with(b"0\r\n\r\n"), "{body:?} looked whole");
        assert!(
            !String::from_utf8_lossy(&seen).contains("GET /good"),
            "{body:?} smuggled"
        );
    }
}

#[tokio::test]
async fn good_requests_before_a_bad_one_are_answered() {
    let (lab, _origin, mut heads) = shared().await;
    let bad = "GET /bad HTTP/1.1\r\nHost: web.localhost\r\nContent-Length: x\r\n\r\n";
    let answers = lab
        .caller
        .exchange(format!("{GOOD}{GOOD}{bad}{GOOD}"))
        .await;
    assert_eq!(answers.matches("HTTP/1.1 200 ").count(), 2, "{answers}");
    assert_eq!(answers.matches("HTTP/1.1 400 ").count(), 1, "{answers}");
    for _ in 0..2 {
        assert!(heads.next().await.starts_with("GET /good "));
    }
    assert!(heads.is_empty());
}

#[tokio::test]
async fn good_bodies_in_any_pieces_keep_requests_apart() {
    let lab = Lab::start().await;
    let origin = Origin::http(|request: http::Request<hyper::body::Incoming>| async move {
        use http_body_util::BodyExt as _;
        let body = request.into_body().collect().await.expect("a whole body");
        http::Response::new(http_body_util::Full::new(body.to_bytes()))
    })
    .await;
    lab.agent.share("web", &origin.target()).await;
    let chunked = "POST / HTTP/1.1\r\nHost: web.localhost\r\nTransfer-Encoding: chunked\r\n\r\n\
                   3;ext=\"x;y\"\r\none\r\n00004\r\n\r\n0\r\r\n0;last\r\nX-Sum: 1\r\n\r\n";
    let sized = "\r\nPOST / HTTP/1.1\r\nHost: web.localhost\r\nContent-Length: 18\r\n\r\n\
                 GET /x HTTP/1.1\r\n\r";
    let last = "POST / HTTP/1.1\r\nHost: web.localhost\r\nConnection: close\r\n\
                Content-Length: 3\r\n\r\nend";
    let requests = format!("{chunked}{sized}{last}");
    for size in [1, 7, 1000] {
        let mut caller = lab.caller.connect().await;
        for piece in requests.as_bytes().chunks(size) {
            caller.write_all(piece).await.expect("sent");
        }
        let answers = String::from_utf8_lossy(&read_all(&mut caller).await).into_owned();
        assert_eq!(answers.matches("HTTP/1.1 200 ").count(), 3, "{answers}");
        for body in ["one\r\n0\r", "GET /x HTTP/1.1\r\n\r", "end"] {
            assert!(answers.contains(body), "{body:?} is missing: {answers}");
        }
    }
}

/// A head of half a minute costs a connection, not a request.
#[tokio::test]
async fn a_head_that_does_not_come_is_not_waited_for() {
    let (lab, _origin, mut heads) = shared().await;
    let ends = [
        "",
        "GET",
        "PRI * HTTP/2.0\r\n",
        "GET / HTTP/1.1\r\nHost: web.localhost\r\nX-",
    ];
    let waits = ends.map(|beginning| {
        let lab = &lab;
        async move {
            let mut caller = lab.caller.say(beginning).await;
            let began = Instant::now();
            read_all(&mut caller).await;
            (beginning, began.elapsed())
        }
    });
    for (beginning, took) in futures_util::future::join_all(waits).await {
        let expected = Duration::from_secs(9)..Duration::from_secs(14);
        assert!(
            expected.contains(&took),
            "{beginning:?} was held for {took:?}"
        );
    }
    assert!(heads.is_empty());
}

/// A reader of one byte at a time holds up nobody else.
#[tokio::test]
async fn slow_callers_do_not_hold_up_others() {
    let (lab, _origin, _heads) = shared().await;
    let mut slow = Vec::new();
    for _ in 0..200 {
        slow.push(
            lab.caller
                .say("GET / HTTP/1.1\r\nHost: web.localhost\r\nX-")
                .await,
        );
    }
    for _ in 0..20 {
        let response = promptly("an answer", lab.get("web", "/")).await;
        assert_eq!(response.status(), 200);
    }
}

#[tokio::test]
async fn a_connection_that_is_refused_is_closed() {
    let (lab, _origin, _heads) = shared().await;
    let bad = "GET / HTTP/1.1\r\nHost: a b\r\n\r\n";
    let mut caller = lab.caller.say(bad).await;
    let answer = promptly("the end", read_head(&mut caller)).await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert_eq!(field(&answer, "connection"), Some("close"));
    promptly("the end", read_all(&mut caller)).await;
    let metrics = &lab.relay.relay.metrics;
    let links = &lab.relay.relay.links;
    until_true("the connection is let go", || {
        metrics.render(links).contains("active_connections 0")
    })
    .await;
}
