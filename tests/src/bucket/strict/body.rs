//! A body that passes through: counted, cut or spoilt on its way.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;

/// Why a connection is cut.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Cut(String);

impl Cut {
    /// A test wants it.
    pub(super) fn on_purpose() -> Self {
        Self("cut on purpose".to_owned())
    }
}

impl From<hyper::Error> for Cut {
    fn from(error: hyper::Error) -> Self {
        Self(error.to_string())
    }
}

impl From<Box<dyn std::error::Error + Send + Sync>> for Cut {
    fn from(error: Box<dyn std::error::Error + Send + Sync>) -> Self {
        Self(error.to_string())
    }
}

/// A body, whatever became of it.
pub(super) type PassedBody = UnsyncBoxBody<Bytes, Cut>;

/// A body that passes through.
#[derive(Debug)]
pub(super) struct Passed<B> {
    body: B,
    counter: Arc<AtomicU64>,
    passed: u64,
    cut: Option<u64>,
    cutting: bool,
    flip: Option<u64>,
}

impl<B> Passed<B> {
    /// Counts its bytes.
    pub(super) fn new(body: B, counter: Arc<AtomicU64>) -> Self {
        Self {
            body,
            counter,
            passed: 0,
            cut: None,
            cutting: false,
            flip: None,
        }
    }

    /// Fails after so many bytes, in the place of the next one.
    pub(super) fn cut(mut self, after: u64) -> Self {
        self.cut = Some(after);
        self
    }

    /// Inverts the byte at this offset.
    pub(super) fn flip(mut self, offset: u64) -> Self {
        self.flip = Some(offset);
        self
    }

    /// Bytes so far.
    pub(super) fn passed(&self) -> u64 {
        self.passed
    }

    /// What becomes of the next bytes.
    fn pass(&mut self, mut bytes: Bytes) -> Bytes {
        let left = self.cut.map(|cut| cut.saturating_sub(self.passed));
        if let Some(left) = left.and_then(|left| usize::try_from(left).ok())
            && bytes.len() > left
        {
            bytes.truncate(left);
            self.cutting = true;
        }
        let offset = self.flip.and_then(|flip| flip.checked_sub(self.passed));
        if let Some(offset) = offset.and_then(|offset| usize::try_from(offset).ok())
            && offset < bytes.len()
        {
            let mut spoilt = BytesMut::from(&*bytes);
            if let Some(byte) = spoilt.get_mut(offset) {
                *byte = !*byte;
            }
            bytes = spoilt.freeze();
        }
        self.passed = self.passed.saturating_add(bytes.len() as u64);
        self.counter
            .fetch_add(bytes.len() as u64, Ordering::Relaxed);
        bytes
    }
}

impl<B> Body for Passed<B>
where
    B: Body<Data = Bytes> + Unpin,
    Cut: From<B::Error>,
{
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        let this = self.get_mut();
        if this.cutting {
            // The second time: what came before it is written by then.
            if this.cut.take().is_some() {
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            return Poll::Ready(Some(Err(Cut::on_purpose())));
        }
        let frame = ready!(Pin::new(&mut this.body).poll_frame(context));
        Poll::Ready(frame.map(|frame| Ok(frame?.map_data(|bytes| this.pass(bytes)))))
    }

    fn is_end_stream(&self) -> bool {
        !self.cutting && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
