//! What devices get back from the catalog: JSON, an index, or bytes of a blob as
//! they come from the bucket.

use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use ginnel_link::body::send_body;
use ginnel_link::error::StreamError;
use ginnel_link::stream::SendHalf;
use ginnel_proto::code::REASON;
use ginnel_proto::http::ResponseHead;
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG};
use http::{HeaderMap, HeaderValue, StatusCode};
use http_body::{Body, Frame, SizeHint};
use serde_json::{Value, json};
use tokio::sync::OwnedSemaphorePermit;

use super::declined::Declined;
use super::shares::Share;
use crate::objects::Etag;
use crate::objects::error;

/// What the device gets back.
pub(crate) struct Answer {
    head: ResponseHead,
    body: AnswerBody,
    /// Room that it takes until it is sent.
    room: Option<OwnedSemaphorePermit>,
    share: Option<Share>,
}

/// How long a device may take to read an answer, and the least speed of what
/// takes longer, in bytes a second: who reads more slowly takes room that
/// others of the same user wait for. Four ranges at once come by over a line of
/// 16 kB/s.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(300);
const SPEED_LEAST: u64 = 4_000;

enum AnswerBody {
    Whole(Option<Bytes>),
    Ranged {
        stream: BoxStream<'static, error::Result<Bytes>>,
        left: u64,
    },
}

impl Answer {
    fn whole(status: StatusCode, kind: &'static str, bytes: Bytes) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        headers.insert(CONTENT_LENGTH, HeaderValue::from(bytes.len()));
        Self {
            head: ResponseHead {
                status,
                headers,
                upgrade: None,
                end: bytes.is_empty(),
            },
            body: AnswerBody::Whole(Some(bytes)),
            room: None,
            share: None,
        }
    }

    pub(crate) fn json(value: &Value) -> Self {
        let bytes = value.to_string().into();
        Self::whole(StatusCode::OK, "application/json", bytes)
    }

    /// Nothing but a status.
    pub(crate) fn empty(status: StatusCode) -> Self {
        Self::whole(status, "application/octet-stream", Bytes::new())
    }

    /// The same, with what the bucket calls it.
    pub(crate) fn tagged(mut self, etag: &Etag) -> Self {
        if let Ok(value) = HeaderValue::from_str(etag.as_str()) {
            self.head.headers.insert(ETAG, value);
        }
        self
    }

    pub(crate) fn bytes(bytes: Bytes) -> Self {
        Self::whole(StatusCode::OK, "application/octet-stream", bytes)
    }

    pub(crate) fn declined(declined: Declined) -> Self {
        let Declined { code, reason } = declined;
        let body = json!({ "error": reason, "reason": code.name() });
        let bytes = body.to_string().into();
        let mut answer = Self::whole(code.status(), "application/json", bytes);
        let name = HeaderValue::from_static(code.name());
        answer.head.headers.insert(REASON, name);
        answer
    }

    pub(crate) fn ranged(
        stream: BoxStream<'static, error::Result<Bytes>>,
        place: Range<u64>,
        size: u64,
        etag: &Etag,
    ) -> Self {
        let left = place.end - place.start;
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_LENGTH, HeaderValue::from(left));
        let range = format!("bytes {}-{}/{size}", place.start, place.end - 1);
        for (name, text) in [(CONTENT_RANGE, &*range), (ETAG, etag.as_str())] {
            if let Ok(value) = HeaderValue::from_str(text) {
                headers.insert(name, value);
            }
        }
        Self {
            head: ResponseHead {
                status: StatusCode::PARTIAL_CONTENT,
                headers,
                upgrade: None,
                end: false,
            },
            body: AnswerBody::Ranged { stream, left },
            room: None,
            share: None,
        }
    }

    /// The same, which takes as many MiB of that room as it has until it is
    /// sent.
    pub(crate) fn keeping(self, mut room: OwnedSemaphorePermit) -> Self {
        let mib = self.body.size_hint().lower().div_ceil(1 << 20);
        let mib = usize::try_from(mib).unwrap_or(usize::MAX);
        let room = room.split(mib.min(room.num_permits()));
        Self { room, ..self }
    }

    /// The same, which takes that share of a user until it is sent.
    pub(crate) fn sharing(self, share: Share) -> Self {
        let share = Some(share);
        Self { share, ..self }
    }

    /// How long sending it may take.
    pub(crate) fn time(&self) -> Duration {
        let bytes = self.body.size_hint().lower();
        ANSWER_TIMEOUT + Duration::from_secs(bytes / SPEED_LEAST)
    }

    pub(crate) async fn send(self, send: &mut SendHalf) -> Result<(), StreamError> {
        send.send_response(&self.head).await?;
        if let AnswerBody::Ranged { .. } = self.body {
            send.make_bulk();
        }
        send_body(send, self.body).await?;
        drop((self.room, self.share));
        Ok(())
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = error::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, error::Error>>> {
        match self.get_mut() {
            Self::Whole(bytes) => {
                let bytes = bytes.take().filter(|bytes| !bytes.is_empty());
                Poll::Ready(bytes.map(|bytes| Ok(Frame::data(bytes))))
            }
            Self::Ranged { stream, left } => {
                let polled = stream.poll_next_unpin(context);
                if let Poll::Ready(Some(Ok(piece))) = &polled {
                    *left = left.saturating_sub(piece.len() as u64);
                }
                polled.map(|piece| piece.map(|piece| piece.map(Frame::data)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.as_ref().is_none_or(Bytes::is_empty),
            Self::Ranged { left, .. } => *left == 0,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64),
            Self::Ranged { left, .. } => SizeHint::with_exact(*left),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_line_is_given_time() {
        let stream = || futures_util::stream::empty().boxed();
        let range = Answer::ranged(stream(), 0..(8 << 20), 8 << 20, &Etag::new("\"e\""));
        assert_eq!(range.time().as_secs(), 300 + 2097);
        assert_eq!(Answer::json(&json!({})).time().as_secs(), 300);
    }
}
