//! The two halves of a stream: frames out, pieces in.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use ginnel_proto::code::Code;
use ginnel_proto::frame::{self, Decoder, FrameType, Piece};
use ginnel_proto::http::{RequestHead, ResponseHead};
use ginnel_proto::limits::BULK_AFTER;
use ginnel_proto::open::Open;
use tokio::time::timeout;

use crate::body::RecvBody;
use crate::endpoint::varint;
use crate::error::StreamError;
use crate::link::{Priority, Slot};

/// How long the other side may take nothing while we have data for it. Then
/// the stream is reset, so that a reader who forgot us frees its memory. Long
/// enough for a laptop that roams between networks.
pub const STALL_TIMEOUT: Duration = Duration::from_secs(60);

/// A bidirectional stream. Dropping a half tells the other side so: the
/// sender resets unless finished, the receiver asks for no more.
#[derive(Debug)]
pub struct Stream {
    /// What we send.
    pub send: SendHalf,
    /// What we receive.
    pub recv: RecvHalf,
}

/// The sending half.
#[derive(Debug)]
pub struct SendHalf {
    stream: quinn::SendStream,
    ended: bool,
    sent: u64,
    priority: Priority,
    /// Keeps the path's queue short. An answer that only grew long does not:
    /// somebody waits for it.
    is_paced: bool,
    slot: Arc<Slot>,
}

impl SendHalf {
    pub(crate) fn new(stream: quinn::SendStream, slot: Arc<Slot>, priority: Priority) -> Self {
        // Fails only on a stream that is already closed; writing tells.
        let _ = stream.set_priority(priority as i32);
        Self {
            stream,
            ended: false,
            sent: 0,
            priority,
            is_paced: priority == Priority::Bulk,
            slot,
        }
    }

    /// Makes way for all else from here on, as a stream does that was opened
    /// with [`Priority::Bulk`]: it comes last, and goes no faster than keeps
    /// the path's queue short.
    pub fn make_bulk(&mut self) {
        self.priority = Priority::Bulk;
        self.is_paced = true;
        // Fails only on a stream that is already closed; writing tells.
        let _ = self.stream.set_priority(Priority::Bulk as i32);
    }

    /// Sends slices in order, without copying them. Waits while the other
    /// side or the path takes no more.
    ///
    /// # Errors
    /// The other side stopped reading, takes nothing for [`STALL_TIMEOUT`], or
    /// the link is down. If the call is dropped part of it may have been sent:
    /// drop the half too.
    pub async fn send(&mut self, slices: &mut [Bytes]) -> Result<(), StreamError> {
        let length: usize = slices.iter().map(Bytes::len).sum();
        if self.is_paced {
            self.write_in_turns(slices).await?;
        } else {
            self.write(slices).await?;
        }
        self.count(length);
        Ok(())
    }

    /// Writes piece by piece, each when it is its turn.
    async fn write_in_turns(&mut self, slices: &mut [Bytes]) -> Result<(), StreamError> {
        for slice in slices {
            while !slice.is_empty() {
                let length = self.slot.turn(slice.len()).await;
                self.write(&mut [slice.split_to(length)]).await?;
            }
        }
        Ok(())
    }

    async fn write(&mut self, slices: &mut [Bytes]) -> Result<(), StreamError> {
        let mut left = slices;
        while !left.is_empty() {
            let write = self.stream.write_chunks(left);
            let Ok(written) = timeout(STALL_TIMEOUT, write).await else {
                self.reset(Code::IdleTimeout);
                return Err(StreamError::Stalled);
            };
            let (_, rest) = left.split_at_mut(written?.chunks);
            left = rest;
        }
        Ok(())
    }

    /// Sends a whole frame.
    ///
    /// # Errors
    /// As [`SendHalf::send`].
    pub async fn send_frame(&mut self, kind: FrameType, payload: &[u8]) -> Result<(), StreamError> {
        self.send(&mut [frame::whole(kind, payload)]).await
    }

    /// Sends a response head.
    ///
    /// # Errors
    /// The head is over its limit, or as [`SendHalf::send`].
    pub async fn send_response(&mut self, head: &ResponseHead) -> Result<(), StreamError> {
        self.send_frame(FrameType::Head, &head.encode()?).await
    }

    /// Sends what the stream is for and the request head, in one piece.
    ///
    /// # Errors
    /// The head is over its limit, or as [`SendHalf::send`].
    pub async fn send_request(
        &mut self,
        open: &Open,
        head: &RequestHead,
    ) -> Result<(), StreamError> {
        let open = frame::whole(FrameType::Open, &open.encode());
        let head = frame::whole(FrameType::Head, &head.encode()?);
        self.send(&mut [open, head]).await
    }

    /// Ends the stream: all that was sent is all there is.
    pub fn finish(&mut self) {
        self.ended = true;
        // Fails only if the other side stopped reading, which is fine.
        let _ = self.stream.finish();
    }

    /// Breaks the stream off and says why.
    pub fn reset(&mut self, code: Code) {
        if !self.ended {
            self.ended = true;
            let _ = self.stream.reset(varint(code));
        }
    }

    /// Waits until the other side stops reading, or the link is down. Does not
    /// return while it reads on. The future does not borrow the half.
    pub fn stopped(&self) -> impl Future<Output = StreamError> + Send + Sync + 'static {
        let stopped = self.stream.stopped();
        async move {
            match stopped.await {
                Ok(Some(code)) => StreamError::Stopped(Code::from_number(code.into_inner())),
                // All was delivered after `finish`: nobody can stop it now.
                Ok(None) => std::future::pending().await,
                Err(quinn::StoppedError::ConnectionLost(error)) => {
                    StreamError::LinkLost(error.into())
                }
                Err(quinn::StoppedError::ZeroRttRejected) => StreamError::Ended("an open stream"),
            }
        }
    }

    /// Counts what was sent; a long answer becomes bulk, so that short ones
    /// overtake it.
    fn count(&mut self, length: usize) {
        self.sent = self.sent.saturating_add(length as u64);
        if self.sent > BULK_AFTER && self.priority == Priority::Interactive {
            self.priority = Priority::Bulk;
            let _ = self.stream.set_priority(Priority::Bulk as i32);
        }
    }
}

impl Drop for SendHalf {
    /// quinn would finish the stream, and half a body would look whole.
    fn drop(&mut self) {
        self.reset(Code::Cancelled);
    }
}

/// The receiving half.
#[derive(Debug)]
pub struct RecvHalf {
    pub(crate) stream: quinn::RecvStream,
    pub(crate) decoder: Decoder,
    /// Received and not yet decoded.
    pub(crate) pending: Bytes,
    /// Whether FIN or a reset was seen, or `stop` called.
    pub(crate) ended: bool,
    _slot: Arc<Slot>,
}

impl RecvHalf {
    pub(crate) fn new(stream: quinn::RecvStream, slot: Arc<Slot>) -> Self {
        Self {
            stream,
            decoder: Decoder::new(),
            pending: Bytes::new(),
            ended: false,
            _slot: slot,
        }
    }

    /// The next piece; `None` at the end of the stream. Cancel-safe.
    ///
    /// # Errors
    /// The stream was reset, cannot be decoded, or the link is down.
    pub async fn next(&mut self) -> Result<Option<Piece>, StreamError> {
        loop {
            if let Some(piece) = self.decoder.decode(&mut self.pending)? {
                return Ok(Some(piece));
            }
            if self.ended {
                return Ok(None);
            }
            match self.stream.read_chunk(usize::MAX, true).await {
                Ok(Some(chunk)) => self.pending = chunk.bytes,
                Ok(None) => {
                    self.ended = true;
                    self.decoder.finish()?;
                }
                Err(error) => {
                    self.ended = true;
                    return Err(error.into());
                }
            }
        }
    }

    /// The payload of the next frame, which must be of that kind.
    ///
    /// # Errors
    /// As [`RecvHalf::next`], or another piece came.
    pub async fn expect(
        &mut self,
        kind: FrameType,
        expected: &'static str,
    ) -> Result<Bytes, StreamError> {
        match self.next().await? {
            Some(Piece::Whole(found, payload)) if found == kind => Ok(payload),
            Some(_) => Err(StreamError::OutOfPlace(expected)),
            None => Err(StreamError::Ended(expected)),
        }
    }

    /// What the stream is for: to be read first on an accepted stream.
    ///
    /// # Errors
    /// As [`RecvHalf::expect`], or the payload is not valid.
    pub async fn open(&mut self) -> Result<Open, StreamError> {
        let payload = self.expect(FrameType::Open, "OPEN").await?;
        Ok(Open::decode(payload)?)
    }

    /// A request head.
    ///
    /// # Errors
    /// As [`RecvHalf::expect`], or the payload is not valid.
    pub async fn request(&mut self) -> Result<RequestHead, StreamError> {
        let payload = self.expect(FrameType::Head, "HEAD").await?;
        Ok(RequestHead::decode(payload)?)
    }

    /// A response head, interim or final.
    ///
    /// # Errors
    /// As [`RecvHalf::expect`], or the payload is not valid.
    pub async fn response(&mut self) -> Result<ResponseHead, StreamError> {
        let payload = self.expect(FrameType::Head, "HEAD").await?;
        Ok(ResponseHead::decode(payload)?)
    }

    /// Waits for REST: from here on, all is raw bytes. Returns at once if it
    /// has begun.
    ///
    /// # Errors
    /// As [`RecvHalf::next`], or another piece came.
    pub async fn rest_begins(&mut self) -> Result<(), StreamError> {
        if self.decoder.in_rest() {
            return Ok(());
        }
        match self.next().await? {
            Some(Piece::RestBegins) => Ok(()),
            Some(_) => Err(StreamError::OutOfPlace("REST")),
            None => Err(StreamError::Ended("REST")),
        }
    }

    /// What follows, as a body.
    #[must_use]
    pub fn into_body(self) -> RecvBody {
        RecvBody::new(self)
    }

    /// Asks the other side to send no more, and says why.
    pub fn stop(&mut self, code: Code) {
        if !self.ended {
            self.ended = true;
            let _ = self.stream.stop(varint(code));
        }
    }

    /// Whether all has arrived and been read, which a reader that knows the
    /// length does not look for. Asking such a sender to stop would cost two
    /// packets.
    fn is_at_end(&mut self) -> bool {
        let read = std::pin::pin!(self.stream.read_chunk(usize::MAX, true));
        let polled = read.poll(&mut Context::from_waker(Waker::noop()));
        matches!(polled, Poll::Ready(Ok(None) | Err(_)))
    }
}

impl Drop for RecvHalf {
    fn drop(&mut self) {
        if !self.ended && !self.is_at_end() {
            self.stop(Code::Cancelled);
        }
    }
}
