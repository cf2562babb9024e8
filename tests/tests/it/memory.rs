//! What passes through is not kept: memory while large bodies stream.

use std::time::{Duration, Instant};

use bytes::Bytes;
use ginnel_proto::limits::STREAM_WINDOW;
use ginnel_tests::caller::Caller;
use ginnel_tests::origin::{ManualOrigin, Origin};
use ginnel_tests::pattern::Pattern;
use ginnel_tests::processes::peak_memory;
use http::{Method, Request, Response};
use http_body_util::{BodyExt as _, Either, Full};
use hyper::body::Incoming;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Child;

use crate::processes::started;

const MIB: u64 = 1 << 20;

/// What passes through, each way.
const LARGE: u64 = 512 * MIB;

/// What a process may need for it beyond what it had.
const GROWTH: u64 = 32 * MIB;

/// Callers that do not read what they asked for.
const STALLED: u64 = 16;

/// What the relay may keep for each of them: a stream's window, and as much
/// again for packets that came in pieces or twice.
const EACH: u64 = 2 * STREAM_WINDOW as u64;

/// A body's length, without keeping it.
async fn length(body: Incoming) -> u64 {
    let mut body = body;
    let mut total = 0;
    while let Some(frame) = body.frame().await {
        total += frame
            .expect("a whole body")
            .data_ref()
            .map_or(0, Bytes::len) as u64;
    }
    total
}

#[tokio::test]
async fn large_bodies_are_not_kept() {
    let (processes, relay, agent, _origin) = started().await;
    let origin = Origin::http(|request: Request<Incoming>| async move {
        Response::new(if request.method() == Method::GET {
            Either::Left(Pattern::streamed(LARGE))
        } else {
            let total = length(request.into_body()).await;
            Either::Right(Full::new(Bytes::from(total.to_string())))
        })
    })
    .await;
    processes.share("large", &origin.target()).await;
    let caller = Caller::new(processes.public);
    let before = [peak_memory(&relay), peak_memory(&agent)];
    let request = |method| {
        Request::builder()
            .method(method)
            .header("host", "large.localhost")
    };

    let began = Instant::now();
    let get = request("GET").body(Pattern::sized(0)).expect("valid");
    assert_eq!(length(caller.send(get).await.into_body()).await, LARGE);
    let down = began.elapsed();
    let began = Instant::now();
    let post = request("POST")
        .body(Pattern::streamed(LARGE))
        .expect("valid");
    let sent = caller.try_send(post).await.expect("an answer");
    assert_eq!(ginnel_tests::caller::text(sent).await, LARGE.to_string());
    eprintln!(
        "{} MiB down in {down:?}, up in {:?}",
        LARGE / MIB,
        began.elapsed()
    );

    assert_grown_less(&relay, before[0], GROWTH, "relay");
    assert_grown_less(&agent, before[1], GROWTH, "agent");
}

fn assert_grown_less(process: &Child, before: u64, allowed: u64, name: &str) {
    let peak = peak_memory(process);
    let (before, peak) = (before / MIB, peak / MIB);
    eprintln!("{name}: {before} MiB before, {peak} MiB at most");
    assert!(
        peak < before + allowed / MIB,
        "{name}: {before}, then {peak}"
    );
}

#[tokio::test]
async fn a_caller_that_does_not_read_has_little_kept_for_it() {
    let (processes, relay, agent, _origin) = started().await;
    let origin = ManualOrigin::bind().await;
    processes.share("large", &origin.target()).await;
    let caller = Caller::new(processes.public);
    let before = [peak_memory(&relay), peak_memory(&agent)];
    let mut stalled = Vec::new();
    for _ in 0..STALLED {
        let ask = "GET / HTTP/1.1\r\nHost: large.localhost\r\n\r\n";
        let caller = caller.say(ask).await;
        let (mut service, _) = origin.request().await;
        let head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n";
        service.write_all(head).await.expect("sent");
        let zeros = vec![0; 256 * 1024];
        let mut taken = 0;
        let patience = Duration::from_millis(200);
        while let Ok(count) = tokio::time::timeout(patience, service.write(&zeros)).await {
            taken += count.expect("open");
            assert!(taken < 64 << 20, "taken without being read: {taken}");
        }
        stalled.push((caller, service));
    }
    assert_grown_less(&relay, before[0], STALLED * EACH, "relay");
    assert_grown_less(&agent, before[1], GROWTH, "agent");
    processes.until_served("web").await;
}
