//! What a caller gets back: a device's answer as it streams in, or our own.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use ginnel_link::body::RecvBody;
use ginnel_link::chunks::Chunks;
use ginnel_link::error::StreamError;
use ginnel_link::stream::SendHalf;
use ginnel_proto::code::{Code, REASON};
use http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use tokio_util::task::AbortOnDropHandle;

use crate::metrics::Metrics;
use crate::shares::Share;

/// The body of every answer on the public side.
#[derive(Debug)]
pub enum AnswerBody {
    /// Ours, whole.
    Own(Option<Bytes>),
    /// The device's, as it arrives.
    Streamed(Box<Streamed>),
}

/// A body that arrives through the tunnel.
#[derive(Debug)]
pub struct Streamed {
    body: RecvBody,
    metrics: Arc<Metrics>,
    _share: Share,
    /// The request's body, still going up; cut off when the caller no longer
    /// reads the answer.
    _upload: Option<AbortOnDropHandle<()>>,
    /// Where a body would go that nobody asked for. Reset only at the end of
    /// the answer, which the service would break off otherwise.
    _withheld: Option<SendHalf>,
}

impl AnswerBody {
    /// The device's answer. `upload` is stopped when this is dropped.
    #[must_use]
    pub fn streamed(
        body: RecvBody,
        metrics: Arc<Metrics>,
        share: Share,
        upload: Option<AbortOnDropHandle<()>>,
        withheld: Option<SendHalf>,
    ) -> Self {
        Self::Streamed(Box::new(Streamed {
            body,
            metrics,
            _share: share,
            _upload: upload,
            _withheld: withheld,
        }))
    }
}

impl Body for AnswerBody {
    type Data = Chunks;
    type Error = StreamError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Chunks>, StreamError>>> {
        match self.get_mut() {
            Self::Own(bytes) => {
                let bytes = bytes.take().filter(|bytes| !bytes.is_empty());
                Poll::Ready(bytes.map(|bytes| Ok(Frame::data(Chunks::from(bytes)))))
            }
            Self::Streamed(streamed) => {
                let polled = Pin::new(&mut streamed.body).poll_frame(cx);
                if let Poll::Ready(Some(Ok(frame))) = &polled
                    && let Some(data) = frame.data_ref()
                {
                    let length = bytes::Buf::remaining(data) as u64;
                    streamed.metrics.bytes_down.inc_by(length);
                }
                polled
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Own(bytes) => bytes.as_ref().is_none_or(Bytes::is_empty),
            Self::Streamed(streamed) => streamed.body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Own(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64),
            Self::Streamed(_) => SizeHint::default(),
        }
    }
}

/// Why a request gets an answer of our own.
#[derive(Debug, Clone)]
pub struct Refusal {
    /// The reason as a status and for programs.
    pub code: Code,
    /// The reason for people: what happened, to which thing.
    pub message: String,
}

impl Refusal {
    /// A refusal with a message of its own.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }

    /// The answer that says so to a gRPC client, which reads no plain text.
    #[must_use]
    pub fn into_grpc_response(self) -> Response<AnswerBody> {
        // gRPC's "HTTP to gRPC Status Code Mapping".
        let status = match self.code.status().as_u16() {
            400 => "13",
            401 => "16",
            403 => "7",
            404 => "12",
            429 | 502..=504 => "14",
            _ => "2",
        };
        let message = grpc_message(&self.message);
        let mut response = self.into_response();
        *response.status_mut() = StatusCode::OK;
        *response.body_mut() = AnswerBody::Own(None);
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert("grpc-status", HeaderValue::from_static(status));
        if let Some(message) = message {
            headers.insert("grpc-message", message);
        }
        response
    }

    /// The answer that says so, in plain text and in [`REASON`].
    #[must_use]
    pub fn into_response(self) -> Response<AnswerBody> {
        let status = self.code.status();
        let text = format!("{}\n", self.message);
        let mut response = Response::new(AnswerBody::Own(Some(text.into())));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("text/plain; charset=utf-8"),
        );
        headers.insert(REASON, HeaderValue::from_static(self.code.name()));
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(
                WWW_AUTHENTICATE,
                HeaderValue::from_static("Bearer realm=\"ginnel\""),
            );
        }
        response
    }
}

/// Text as gRPC wants it: visible ASCII, all else and `%` encoded.
fn grpc_message(text: &str) -> Option<HeaderValue> {
    let mut message = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b' '..=b'~' if byte != b'%' => message.push(char::from(byte)),
            _ => message.push_str(&format!("%{byte:02X}")),
        }
    }
    HeaderValue::try_from(message).ok()
}
