//! One HTTP exchange with the relay itself, over the link.

use std::time::Duration;

use bytes::Bytes;
use ginnel_link::body::RecvBody;
use ginnel_link::link::{Link, Priority};
use ginnel_link::stream::Stream;
use ginnel_proto::code::Code;
use ginnel_proto::frame;
use ginnel_proto::http::{RequestHead, ResponseHead};
use ginnel_proto::open::Open;
use http::uri::Scheme;
use http::{HeaderMap, Method, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use serde::Deserialize;
use tokio::time::timeout;

use super::failure::{Failure, Then};

/// How long the relay may take until its answer begins: it asks the bucket,
/// and tries again there for half a minute.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// Asks, and gives the answer's head and body.
pub(crate) async fn ask(
    link: &Link,
    purpose: &Open,
    (method, path): (Method, &str),
    headers: HeaderMap,
    body: Option<Bytes>,
) -> Result<(ResponseHead, RecvBody), Failure> {
    let head = RequestHead {
        method,
        scheme: Scheme::HTTP,
        authority: None,
        path: path.parse().map_err(unreadable)?,
        headers,
        upgrade: None,
        end: body.is_none(),
    };
    let exchange = async {
        let Stream { mut send, mut recv } = link.open(Priority::Sync).await?;
        send.send_request(purpose, &head).await?;
        if let Some(body) = body {
            send.send(&mut [frame::data_header(body.len()), body])
                .await?;
        }
        send.finish();
        let head = recv.response().await?;
        Ok((head, recv.into_body()))
    };
    match timeout(ANSWER_TIMEOUT, exchange).await {
        Ok(answered) => answered,
        Err(_) => Err(Failure::retry("the relay does not answer")),
    }
}

/// All of an answer.
pub(crate) async fn collect(body: RecvBody, limit: usize) -> Result<Bytes, Failure> {
    let collected = timeout(ANSWER_TIMEOUT, Limited::new(body, limit).collect());
    match collected.await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) => Err(Failure::retry(format_args!(
            "the answer broke off: {error}"
        ))),
        Err(_) => Err(Failure::retry("the relay's answer stands still")),
    }
}

/// What the relay says instead.
pub(crate) async fn declined(status: StatusCode, body: RecvBody) -> Failure {
    match collect(body, DECLINED_MAX).await {
        Ok(bytes) => told(status, &bytes),
        Err(failure) => failure,
    }
}

/// The longest of these, in bytes.
pub(crate) const DECLINED_MAX: usize = 64 << 10;

/// The same of a body that was read.
pub(crate) fn told(status: StatusCode, body: &[u8]) -> Failure {
    #[derive(Deserialize)]
    struct Told {
        error: String,
        reason: String,
    }
    match serde_json::from_slice(body) {
        Ok(Told { error, reason }) => {
            let code = Code::ALL.iter().find(|code| code.name() == reason);
            let code = code.copied().unwrap_or(Code::Internal);
            Failure::of_relay(code, error)
        }
        Err(_) => Failure::retry(format_args!("the relay answered with {status}")),
    }
}

/// An answer that is JSON.
pub(crate) fn json<'a, T: Deserialize<'a>>(bytes: &'a Bytes) -> Result<T, Failure> {
    serde_json::from_slice(bytes).map_err(unreadable)
}

/// The answer makes no sense.
pub(crate) fn unreadable(error: impl std::fmt::Display) -> Failure {
    Failure {
        then: Then::Give,
        reason: format!("the relay's answer cannot be read: {error}"),
    }
}
