//! The damage that `r2-strict` does, each kind against the real server.

use std::time::{Duration, Instant};

use ginnel_tests::bucket::strict::{Fault, Operation, Rule};
use ginnel_tests::bucket::{Ask, Bucket, Strict, Weed};
use ginnel_tests::pattern::{self, Pattern};
use ginnel_tests::wait::in_time;
use http::{Method, StatusCode};
use http_body_util::BodyExt as _;

/// Of the object that is damaged, in bytes.
const LENGTH: u64 = 3_000_000;

/// A server, the proxy before it, and the bucket behind and before it.
async fn bench() -> Option<(Weed, Bucket, Strict, Bucket)> {
    let weed = Weed::start().await?;
    let direct = weed.bucket("models").await;
    let strict = Strict::start(weed.address).await;
    let bucket = direct.at(strict.address);
    Some((weed, direct, strict, bucket))
}

fn put(key: &str) -> Ask {
    Ask::new(Method::PUT, key).body(Pattern::sized(LENGTH))
}

#[tokio::test]
async fn answers_are_replaced_and_lost() {
    let Some((_weed, direct, strict, bucket)) = bench().await else {
        return;
    };
    let unavailable = Rule::new(Fault::Status(StatusCode::SERVICE_UNAVAILABLE));
    strict.inject(unavailable.on(Operation::Put).key("a").times(2));
    assert_eq!(bucket.ask(put("b")).await.status, 200);
    assert_eq!(bucket.ask(Ask::get("a")).await.status, 404);
    assert_eq!(strict.faults_left(), 2);
    for _ in 0..2 {
        let answer = bucket.ask(put("a")).await;
        assert_eq!(answer.status, 503);
        assert_eq!(
            answer.element("Code").as_deref(),
            Some("ServiceUnavailable")
        );
    }
    assert_eq!(direct.ask(Ask::get("a")).await.status, 404);
    assert_eq!(bucket.ask(put("a")).await.status, 200);
    assert_eq!(strict.faults_left(), 0);
    let counts = strict.counts();
    assert_eq!(
        (
            counts.requests(Operation::Put),
            counts.refused(Operation::Put)
        ),
        (4, 2)
    );
    assert_eq!(counts.received(Operation::Put), 4 * LENGTH);

    strict.inject(Rule::new(Fault::LoseAnswer).key("lost"));
    let lost = bucket.try_ask(put("lost")).await;
    assert!(lost.is_err(), "{lost:?}");
    let kept = direct.stream(Ask::get("lost")).await.expect("an answer");
    assert_eq!(pattern::check(kept.into_body(), LENGTH).await, LENGTH);

    strict.inject(Rule::new(Fault::Status(StatusCode::IM_A_TEAPOT)));
    strict.clear_faults();
    assert_eq!(bucket.ask(Ask::get("lost")).await.status, 200);
}

#[tokio::test]
async fn uploads_and_downloads_are_cut() {
    let Some((_weed, direct, strict, bucket)) = bench().await else {
        return;
    };
    strict.inject(Rule::new(Fault::CutUpload { after: 1_000_000 }));
    let cut = bucket.try_ask(put("a")).await;
    assert!(cut.is_err(), "{cut:?}");
    assert_eq!(strict.counts().received(Operation::Put), 1_000_000);
    assert_eq!(direct.ask(Ask::get("a")).await.status, 404);

    strict.inject(Rule::new(Fault::CutUpload { after: LENGTH }));
    strict.inject(Rule::new(Fault::CutDownload { after: LENGTH }));
    assert_eq!(bucket.ask(put("b")).await.status, 200);
    let whole = bucket.stream(Ask::get("b")).await.expect("an answer");
    assert_eq!(pattern::check(whole.into_body(), LENGTH).await, LENGTH);
    assert_eq!(strict.counts().sent(Operation::Get), LENGTH);
    assert_eq!(strict.faults_left(), 2, "nothing was long enough");

    strict.inject(Rule::new(Fault::CutDownload { after: 1_234_567 }));
    let response = bucket.stream(Ask::get("b")).await.expect("an answer");
    assert_eq!(response.status(), 200);
    let mut body = response.into_body();
    let mut arrived = Vec::new();
    let error = loop {
        match in_time("a frame", body.frame()).await.expect("no end") {
            Ok(frame) => arrived.extend_from_slice(&frame.into_data().expect("data")),
            Err(error) => break error,
        }
    };
    assert_eq!(arrived.len(), 1_234_567, "{error}");
    let expected = Pattern::bytes(LENGTH);
    assert!(expected.starts_with(&arrived));
}

#[tokio::test]
async fn a_byte_is_wrong_in_the_range_that_holds_it() {
    let Some((_weed, _direct, strict, bucket)) = bench().await else {
        return;
    };
    assert_eq!(bucket.ask(put("a")).await.status, 200);
    let expected = Pattern::bytes(LENGTH);
    let flip = Fault::FlipByte { offset: 2_000_000 };
    strict.inject(Rule::new(flip).on(Operation::Get));
    let range = |range: &str| Ask::get("a").header("range", range);
    let before = bucket.ask(range("bytes=0-1999999")).await;
    assert_eq!(before.status, 206);
    assert_eq!(before.body, expected[..2_000_000]);
    let after = bucket.ask(range("bytes=2000001-")).await;
    assert_eq!(after.body, expected[2_000_001..]);
    let head = bucket.ask(Ask::new(Method::HEAD, "a")).await;
    assert_eq!((head.status.as_u16(), strict.faults_left()), (200, 1));

    let spoilt = bucket.ask(range("bytes=1999990-2000010")).await.body;
    let mut wrong = expected[1_999_990..=2_000_010].to_vec();
    wrong[10] = !wrong[10];
    assert_eq!((&*spoilt, strict.faults_left()), (&*wrong, 0));
    let again = bucket.ask(Ask::get("a")).await.body;
    assert_eq!(again, expected);
}

#[tokio::test]
async fn everything_waits_or_fails() {
    let Some((mut weed, _direct, strict, bucket)) = bench().await else {
        return;
    };
    assert_eq!(bucket.ask(put("a")).await.status, 200);
    let before = strict.counts();
    strict.set_delay(Duration::from_millis(150));
    let began = Instant::now();
    assert_eq!(bucket.ask(Ask::get("a")).await.status, 200);
    assert!(began.elapsed() >= Duration::from_millis(150));
    strict.set_delay(Duration::ZERO);
    assert_eq!(strict.counts().since(&before).requests(Operation::Get), 1);
    assert_eq!(strict.counts().since(&before).requests(Operation::Put), 0);

    // A download that is under way, and more than buffers hold, is cut too.
    let big = Ask::new(Method::PUT, "big").body(Pattern::sized(10 * LENGTH));
    assert_eq!(bucket.ask(big).await.status, 200);
    let running = bucket.stream(Ask::get("big")).await.expect("an answer");
    strict.set_outage(true);
    let rest = in_time("the end", running.into_body().collect()).await;
    assert!(rest.is_err(), "{rest:?}");
    let out = bucket.try_ask(Ask::get("a")).await;
    assert!(out.is_err(), "{out:?}");
    strict.set_outage(false);
    assert_eq!(bucket.ask(Ask::get("a")).await.status, 200);

    // Without the server behind it.
    weed.stop();
    let refused = bucket.ask(Ask::get("a")).await;
    assert_eq!(refused.status, 503);
    weed.resume().await;
    assert_eq!(bucket.ask(Ask::get("a")).await.body, Pattern::bytes(LENGTH));
}
