//! Answers that come bit by bit, and callers that go away meanwhile.

use bytes::Bytes;
use ginnel_tests::caller::VERSIONS;
use ginnel_tests::lab::Lab;
use ginnel_tests::origin::ManualOrigin;
use ginnel_tests::wait::{in_time, promptly};
use ginnel_tests::wire::{read_all, read_bytes, read_head};
use http::{Response, Version};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

const EVENTS: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";

/// A GET for the service played at `origin`, and what that begins to answer.
async fn exchange(
    lab: &Lab,
    origin: &ManualOrigin,
    version: Version,
    answer: &[u8],
) -> (Response<Incoming>, TcpStream) {
    let request = lab
        .request_over(version, "web", "/")
        .body(Empty::<Bytes>::new());
    let answered = lab.caller.send_over(version, request.expect("valid"));
    let service = async {
        let (mut service, _) = origin.request().await;
        service.write_all(answer).await.expect("sent");
        service
    };
    tokio::join!(answered, service)
}

#[tokio::test]
async fn each_token_arrives_before_the_next_is_made() {
    let (lab, origin) = Lab::by_hand().await;
    for version in VERSIONS {
        let (response, mut service) = exchange(&lab, &origin, version, EVENTS).await;
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        let mut body = response.into_body();
        for number in 0..20 {
            let event = format!("data: {number}\n\n");
            let chunk = format!("{:x}\r\n{event}\r\n", event.len());
            service.write_all(chunk.as_bytes()).await.expect("sent");
            let frame = promptly("a token", body.frame())
                .await
                .expect("more")
                .expect("whole");
            assert_eq!(frame.into_data().expect("data"), event, "{version:?}");
        }
        service.write_all(b"0\r\n\r\n").await.expect("sent");
        let end = in_time("the end", body.collect())
            .await
            .expect("a whole body");
        assert!(end.to_bytes().is_empty());
    }
}

/// The head alone is worth sending: a browser opens its event source on it.
#[tokio::test]
async fn the_head_arrives_before_the_first_token() {
    let (lab, origin) = Lab::by_hand().await;
    let mut caller = lab
        .caller
        .say("GET / HTTP/1.1\r\nHost: web.localhost\r\n\r\n")
        .await;
    let (mut service, _) = origin.request().await;
    service.write_all(EVENTS).await.expect("sent");
    let seen = promptly("the head", read_head(&mut caller)).await;
    assert!(seen.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn a_caller_that_leaves_before_the_answer_frees_the_service() {
    let (lab, origin) = Lab::by_hand().await;
    for version in VERSIONS {
        let request = lab
            .request_over(version, "web", "/")
            .body(Empty::<Bytes>::new());
        let mut service = tokio::select! {
            _ = lab.caller.send_over(version, request.expect("valid")) => panic!("no answer"),
            (service, _) = origin.request() => service,
        };
        let rest = promptly("the end of the request", read_all(&mut service)).await;
        assert_eq!(rest, b"", "{version:?}");
    }
}

/// Whatever it sent behind its request meanwhile.
#[tokio::test]
async fn a_caller_that_leaves_with_more_requests_behind_frees_the_service() {
    let (lab, origin) = Lab::by_hand().await;
    let get = "GET / HTTP/1.1\r\nHost: web.localhost\r\n\r\n";
    let post = "POST / HTTP/1.1\r\nHost: web.localhost\r\nContent-Length: 9000\r\n\r\n";
    for behind in [get.to_owned(), format!("{post}{}", "x".repeat(9000))] {
        let caller = lab.caller.say(format!("{get}{behind}")).await;
        let (mut service, _) = origin.request().await;
        drop(caller);
        let rest = promptly("the end of the request", read_all(&mut service)).await;
        assert_eq!(rest, b"");
    }
}

#[tokio::test]
async fn requests_sent_ahead_are_answered_in_order() {
    let lab = Lab::start().await;
    lab.agent.share("web", "demo").await;
    let request = |method: &str, path: &str, last: &str| {
        let body = if method == "POST" { "hello" } else { "" };
        let length = body.len();
        format!(
            "{method} {path} HTTP/1.1\r\nHost: web.localhost\r\n{last}Content-Length: {length}\r\n\r\n{body}"
        )
    };
    let all = [
        request("GET", "/bytes/70000", ""),
        request("POST", "/echo?first", ""),
        request("GET", "/echo?second", ""),
        request("POST", "/echo?third", "Connection: close\r\n"),
    ];
    let answers = lab.caller.exchange(all.concat()).await;
    assert_eq!(
        answers.matches("HTTP/1.1 200 ").count(),
        4,
        "{answers:.300}"
    );
    let at = |text: &str| answers.find(text).expect(text);
    assert!(at("?first") < at("?second") && at("?second") < at("?third"));
}

#[tokio::test]
async fn a_caller_that_leaves_amid_the_answer_frees_the_service() {
    let (lab, origin) = Lab::by_hand().await;
    for version in VERSIONS {
        let (response, mut service) = exchange(&lab, &origin, version, EVENTS).await;
        service.write_all(b"4\r\nfour\r\n").await.expect("sent");
        let mut body = response.into_body();
        in_time("a piece", body.frame())
            .await
            .expect("more")
            .expect("whole");
        drop(body);
        promptly("the end of the answer", read_all(&mut service)).await;
    }
}

#[tokio::test]
async fn a_caller_that_leaves_amid_its_upload_frees_the_service() {
    let (lab, origin) = Lab::by_hand().await;
    let head = "POST / HTTP/1.1\r\nHost: web.localhost\r\nContent-Length: 100\r\n\r\n1234";
    let caller = lab.caller.say(head).await;
    let (mut service, _) = origin.request().await;
    read_bytes(&mut service, 4).await;
    drop(caller);
    promptly("the end of the upload", read_all(&mut service)).await;
}

/// The caller's other requests on the same connection are not its business.
#[tokio::test]
async fn leaving_one_request_of_http_2_leaves_the_others_alone() {
    let (lab, origin) = Lab::by_hand().await;
    let mut sender = lab.caller.http2().await;
    let request = |path| {
        let request = lab
            .request_over(Version::HTTP_2, "web", path)
            .body(Empty::<Bytes>::new());
        request.expect("valid")
    };
    let stays = sender.send_request(request("/stays"));
    let (mut staying, _) = origin.request().await;
    let leaves = sender.send_request(request("/leaves"));
    let (mut leaving, _) = origin.request().await;
    drop(leaves);
    promptly("the end of the other", read_all(&mut leaving)).await;
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    staying.write_all(answer).await.expect("sent");
    let response = in_time("an answer", stays).await.expect("an answer");
    assert_eq!(ginnel_tests::caller::text(response).await, "ok");
}
