//! Counts one request to an upstream: bytes and tokens, noted at its end.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use ginnel_link::body::RecvBody;
use ginnel_link::chunks::Chunks;
use ginnel_link::error::StreamError;
use ginnel_proto::id::{DeviceId, UpstreamName};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, StatusCode};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::tokens::TokenMeter;
use crate::registry::usage::{Amount, Hour, UsageKey};
use crate::relay::Relay;

/// Counts one request. Notes it when dropped, however the request ended.
#[derive(Debug)]
pub struct Meter {
    relay: Arc<Relay>,
    device: DeviceId,
    upstream: UpstreamName,
    /// 0 until the upstream has answered.
    status: u16,
    bytes_in: Arc<AtomicU64>,
    bytes_out: u64,
    tokens: Option<TokenMeter>,
}

impl Meter {
    /// A request begins.
    #[must_use]
    pub fn new(relay: &Arc<Relay>, device: DeviceId, upstream: UpstreamName) -> Self {
        Self {
            relay: Arc::clone(relay),
            device,
            upstream,
            status: 0,
            bytes_in: Arc::default(),
            bytes_out: 0,
            tokens: None,
        }
    }

    /// The request's body, counted as it passes.
    #[must_use]
    pub fn watch_request(&self, body: RecvBody) -> Uploaded {
        Uploaded {
            body,
            bytes: Arc::clone(&self.bytes_in),
        }
    }

    /// The upstream has answered.
    pub fn begin(&mut self, status: StatusCode, headers: &HeaderMap) {
        self.status = status.as_u16();
        let content_type = headers
            .get(CONTENT_TYPE)
            .and_then(|value| value.to_str().ok());
        self.tokens = TokenMeter::for_content_type(content_type);
    }

    /// The answer's body, counted as it passes.
    pub fn watch(&mut self, body: Incoming) -> Watched<'_> {
        Watched { meter: self, body }
    }

    fn count(&mut self, data: &[u8]) {
        self.bytes_out += data.len() as u64;
        if let Some(tokens) = &mut self.tokens {
            tokens.feed(data);
        }
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        let usage = self
            .tokens
            .take()
            .map(TokenMeter::finish)
            .unwrap_or_default();
        let amount = Amount {
            requests: 1,
            bytes_in: self.bytes_in.load(Ordering::Relaxed),
            bytes_out: self.bytes_out,
            input_tokens: usage.input_tokens,
            output_tokens: usage.output_tokens,
        };
        let metrics = &self.relay.metrics;
        metrics.upstream(self.upstream.as_str(), self.status, &amount);
        let key = UsageKey {
            user: self.device.user.clone(),
            device: self.device.device.clone(),
            upstream: self.upstream.clone(),
            model: usage.model,
            hour: Hour::of(self.relay.now_ms()),
        };
        self.relay.used(key, &amount);
    }
}

/// A body whose bytes a [`Meter`] sees.
#[derive(Debug)]
pub struct Watched<'a> {
    meter: &'a mut Meter,
    body: Incoming,
}

impl Body for Watched<'_> {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let Some(data) = frame.data_ref()
        {
            this.meter.count(data.chunk());
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A request's body on its way to an upstream.
#[derive(Debug)]
pub struct Uploaded {
    body: RecvBody,
    bytes: Arc<AtomicU64>,
}

impl Body for Uploaded {
    type Data = Chunks;
    type Error = StreamError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Chunks>, StreamError>>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let Some(data) = frame.data_ref()
        {
            let length = data.remaining() as u64;
            this.bytes.fetch_add(length, Ordering::Relaxed);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
}
