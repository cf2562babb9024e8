//! `/stream`: a text word by word, as language models answer.

use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::Response;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use tokio::time::{Instant, sleep_until};

use super::{DemoBody, set_type};

/// 20 tokens a second, about the pace of reading.
const PERIOD: Duration = Duration::from_millis(50);

const TEXT: &str = "A ginnel is the narrow covered passage between two houses. \
    This one joins your desktop to the cloud: these words left a process on your machine \
    one by one, and if you saw them come one by one, nothing on the way held them back.";

pub(super) fn answer() -> Response<DemoBody> {
    let start = Instant::now();
    let tokens = TEXT.split_inclusive(' ').map(token);
    let events = tokens.chain([Bytes::from_static(b"data: [DONE]\n\n")]);
    let body = stream::unfold((start, events), |(at, mut events)| async move {
        let event = events.next()?;
        // Against the clock, not the last event: a slow reader catches up.
        sleep_until(at).await;
        Some((Ok(Frame::data(event)), (at + PERIOD, events)))
    });
    let mut response = Response::new(StreamBody::new(body).boxed_unsync());
    set_type(response.headers_mut(), "text/event-stream");
    response
}

fn token(token: &str) -> Bytes {
    let event = serde_json::json!({ "token": token });
    format!("data: {event}\n\n").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn tokens_come_one_at_a_time_and_make_the_text() {
        let start = Instant::now();
        let mut body = answer().into_body();
        let mut text = String::new();
        let mut count = 0;
        while let Some(frame) = body.frame().await {
            assert_eq!(start.elapsed().as_millis() / 50, count, "{text}");
            count += 1;
            let data = frame.expect("whole").into_data().expect("data");
            let event = str::from_utf8(&data).expect("text");
            let event = event.strip_prefix("data: ").expect("an event");
            let event = event.strip_suffix("\n\n").expect("an event");
            if event == "[DONE]" {
                break;
            }
            let event: serde_json::Value = serde_json::from_str(event).expect("json");
            text += event["token"].as_str().expect("a token");
        }
        assert_eq!(text, TEXT);
        assert!(body.frame().await.is_none());
    }
}
