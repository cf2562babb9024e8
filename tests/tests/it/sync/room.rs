//! Memory for batches, of which no user gets all.

use bytes::Bytes;
use ginnel_agent::knowledge::sync::relay::Exchange as _;
use ginnel_link::link::Priority;
use ginnel_link::stream::Stream;
use ginnel_proto::http::RequestHead;
use ginnel_proto::open::Open;
use ginnel_tests::by_hand::ByHand;
use ginnel_tests::lab::Lab;
use ginnel_tests::wait::promptly;
use http::header::CONTENT_LENGTH;
use http::uri::Scheme;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode};

/// Announces a batch as long as they get, and sends nothing of it.
async fn announce(device: &ByHand, sequence: usize) -> Stream {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_LENGTH, HeaderValue::from(8 << 20));
    let head = RequestHead {
        method: Method::PUT,
        scheme: Scheme::HTTP,
        authority: None,
        path: format!("/log/1/{sequence}").parse().expect("a path"),
        headers,
        upgrade: None,
        end: false,
    };
    let opened = device.driver().link().open(Priority::Sync).await;
    let mut stream = opened.expect("opened");
    let sent = stream.send.send_request(&Open::Knowledge, &head).await;
    sent.expect("sent");
    stream
}

#[tokio::test]
async fn a_device_that_announces_much_and_sends_nothing_stops_nobody_else() {
    let lab = Lab::start().await;
    let mallory = ByHand::join(&lab, "mallory", "greedy").await;
    let ada = ByHand::join(&lab, "ada", "desk").await;
    let mut idle = Vec::new();
    for sequence in 1..=24 {
        idle.push(announce(&mallory, sequence).await);
    }
    // It answers what comes after them.
    let (status, _) = mallory.ask(Method::GET, "/head", None).await;
    assert_eq!(status, StatusCode::OK);
    let batch = Bytes::from(vec![7; 8 << 20]);
    let put = ada.ask(Method::PUT, "/log/1/1", Some(batch.clone()));
    let (status, said) = promptly("another user's batch", put).await;
    assert_eq!(status, StatusCode::CREATED, "{said}");
    let path = lab
        .relay_state()
        .join("bucket/knowledge/ada/.sync/log/e1/desk/0000000000000001.batch");
    assert_eq!(std::fs::read(path).expect("read"), batch);
    drop(idle);
}

#[tokio::test]
async fn a_batch_that_is_too_long_or_does_not_say_how_long_is_refused() {
    let lab = Lab::start().await;
    let ada = ByHand::join(&lab, "ada", "desk").await;
    let long = Bytes::from(vec![7; (9 << 20) + 1]);
    let request = Request::builder()
        .method(Method::PUT)
        .uri("/log/1/1")
        .header(CONTENT_LENGTH, long.len());
    let request = request.body(Some(long)).expect("a request");
    // It may end the stream while this one still sends.
    let link = ada.driver().link();
    if let Ok(answer) = promptly("an answer", link.exchange(request, 1 << 20)).await {
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
    }
    let (status, said) = ada.ask(Method::PUT, "/log/1/1", None).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{said}");
    let log = lab.relay_state().join("bucket/knowledge/ada/.sync/log");
    assert!(!log.exists());
}
