//! What passes through is not kept: memory while large bodies stream.

use std::time::Instant;

use bytes::Bytes;
use ginnel_tests::caller::Caller;
use ginnel_tests::origin::Origin;
use ginnel_tests::pattern::Pattern;
use ginnel_tests::processes::peak_memory;
use http::{Method, Request, Response};
use http_body_util::{BodyExt as _, Either, Full};
use hyper::body::Incoming;

use crate::processes::started;

const MIB: u64 = 1 << 20;

/// What passes through, each way.
const LARGE: u64 = 1024 * MIB;

/// What a process may need for it beyond what it had.
const GROWTH: u64 = 32 * MIB;

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

    for (name, process, before) in [("relay", &relay, before[0]), ("agent", &agent, before[1])] {
        let peak = peak_memory(process);
        eprintln!(
            "{name}: {} MiB before, {} MiB at most",
            before / MIB,
            peak / MIB
        );
        assert!(
            peak < before + GROWTH,
            "{name}: {before} before, {peak} at most"
        );
    }
}
