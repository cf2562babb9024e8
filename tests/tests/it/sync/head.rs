//! What devices ask now and then, in case they heard nothing.

use bytes::Bytes;
use ginnel_agent::knowledge::sync::relay::Exchange as _;
use ginnel_tests::by_hand::ByHand;
use ginnel_tests::lab::Lab;
use ginnel_tests::wait::{LOOK_AGAIN, in_time, promptly};
use http::header::{ETAG, IF_NONE_MATCH};
use http::{HeaderValue, Method, Request, Response, StatusCode};

async fn head(device: &ByHand, known: Option<&HeaderValue>) -> Response<Bytes> {
    let mut request = Request::builder().method(Method::GET).uri("/head");
    if let Some(known) = known {
        request = request.header(IF_NONE_MATCH, known);
    }
    let request = request.body(None).expect("a request");
    let link = device.driver().link();
    let answer = promptly("an answer", link.exchange(request, 1 << 20));
    answer.await.expect("an answer")
}

#[tokio::test]
async fn who_knows_the_head_gets_it_only_when_it_is_another() {
    let lab = Lab::start().await;
    let desk = ByHand::join(&lab, "ada", "desk").await;
    let batch = |sequence: u64| {
        desk.ask(
            Method::PUT,
            // Not looked into.
            ["/log/1/1", "/log/1/2"][usize::from(sequence == 2)],
            Some(Bytes::from_static(b"a batch")),
        )
    };
    assert_eq!(batch(1).await.0, StatusCode::CREATED);
    // It is written now and then, for many batches together.
    let tag = in_time("a head", async {
        loop {
            let first = head(&desk, None).await;
            assert_eq!(first.status(), StatusCode::OK);
            if let Some(tag) = first.headers().get(ETAG) {
                return tag.clone();
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    })
    .await;
    let same = head(&desk, Some(&tag)).await;
    assert_eq!(
        (same.status(), same.body().len()),
        (StatusCode::NOT_MODIFIED, 0)
    );
    assert_eq!(batch(2).await.0, StatusCode::CREATED);
    let next = in_time("another head", async {
        loop {
            let next = head(&desk, Some(&tag)).await;
            if next.status() == StatusCode::OK {
                return next;
            }
            assert_eq!(next.status(), StatusCode::NOT_MODIFIED);
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    })
    .await;
    let said: serde_json::Value = serde_json::from_slice(next.body()).expect("JSON");
    assert_eq!(said["devices"]["desk"], 2, "{said}");
}
