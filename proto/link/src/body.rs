//! The one body pump: bodies onto streams and off them, without a copy.
//!
//! A body whose length is known goes as REST, everything to FIN; any other
//! goes as DATA frames, so that trailers can follow. Slices stay the slices
//! that the socket or QUIC delivered, all the way.

use std::fmt::Display;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use ginnel_proto::frame::{self, FrameType, Piece};
use ginnel_proto::http::{decode_trailers, encode_trailers};
use http::HeaderMap;
use http_body::{Body, Frame};

use crate::chunks::Chunks;
use crate::error::StreamError;
use crate::stream::{RecvHalf, SendHalf};

/// How many slices are read at once: as many as one vectored write takes.
const READ_SLICES: usize = 64;

/// Sends a body and its trailers, and finishes the stream. Returns the body's
/// length in bytes.
///
/// # Errors
/// [`StreamError::Source`] if the body breaks off: reset the stream with the
/// code that fits. Otherwise as [`SendHalf::send`].
pub async fn send_body<B>(send: &mut SendHalf, body: B) -> Result<u64, StreamError>
where
    B: Body,
    B::Error: Display,
{
    let mut body = pin!(body);
    let mut framing = Framing::of(&*body);
    let mut total = 0;
    while let Some(frame) = next_frame(send, body.as_mut()).await? {
        match frame.into_data() {
            Ok(data) => {
                let length = data.remaining();
                if length == 0 {
                    continue;
                }
                total += length as u64;
                let mut slices = framing.slices(data, length);
                send.send(&mut slices).await?;
            }
            Err(frame) => {
                // REST has no room for trailers, and a body of known length
                // cannot have them in HTTP/1.
                if let (Framing::Data, Ok(trailers)) = (&framing, frame.into_trailers()) {
                    let payload = encode_trailers(&trailers)?;
                    send.send_frame(FrameType::Trailers, &payload).await?;
                }
            }
        }
    }
    send.finish();
    Ok(total)
}

/// How a body is framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    /// REST, not announced yet.
    RestFirst,
    /// REST, announced.
    Rest,
    /// DATA frames.
    Data,
}

impl Framing {
    fn of(body: &impl Body) -> Self {
        match body.size_hint().exact() {
            Some(_) => Self::RestFirst,
            None => Self::Data,
        }
    }

    /// The slices to send for `length` bytes of `data`, and what goes first.
    fn slices(&mut self, mut data: impl Buf, length: usize) -> Vec<Bytes> {
        let mut slices = Vec::with_capacity(2);
        match self {
            Self::RestFirst => {
                *self = Self::Rest;
                slices.push(frame::REST);
            }
            Self::Rest => {}
            Self::Data => slices.push(frame::data_header(length)),
        }
        while data.has_remaining() {
            // A whole slice at a time, which is handed over and not copied.
            let slice = data.chunk().len();
            slices.push(data.copy_to_bytes(slice));
        }
        slices
    }
}

/// The body's next frame, or the end of the other side's interest. That is
/// looked at only while the body has nothing.
async fn next_frame<B>(
    send: &SendHalf,
    mut body: Pin<&mut B>,
) -> Result<Option<Frame<B::Data>>, StreamError>
where
    B: Body,
    B::Error: Display,
{
    let mut stopped = pin!(None);
    poll_fn(|cx| {
        if let Poll::Ready(frame) = body.as_mut().poll_frame(cx) {
            let frame = frame.transpose();
            return Poll::Ready(frame.map_err(|error| StreamError::Source(error.to_string())));
        }
        if stopped.is_none() {
            stopped.set(Some(send.stopped()));
        }
        match stopped.as_mut().as_pin_mut() {
            Some(stopped) => stopped.poll(cx).map(Err),
            None => Poll::Pending,
        }
    })
    .await
}

/// The body that arrives on a stream, with its trailers.
///
/// Dropping it before its end tells the sender to stop.
#[derive(Debug)]
pub struct RecvBody {
    recv: RecvHalf,
    trailers: Option<HeaderMap>,
    done: bool,
}

impl RecvBody {
    pub(crate) fn new(recv: RecvHalf) -> Self {
        Self {
            recv,
            trailers: None,
            done: false,
        }
    }

    /// Decodes one slice as it came off the wire onto the end of `out`.
    fn take(&mut self, slice: Bytes, out: &mut Chunks) -> Result<(), StreamError> {
        if self.recv.decoder.in_rest() {
            out.push(slice);
            return Ok(());
        }
        self.recv.pending = slice;
        while let Some(piece) = self.recv.decoder.decode(&mut self.recv.pending)? {
            match piece {
                Piece::Body(slice) if self.trailers.is_none() => out.push(slice),
                Piece::RestBegins if self.trailers.is_none() => {}
                Piece::Whole(FrameType::Trailers, payload) if self.trailers.is_none() => {
                    self.trailers = Some(decode_trailers(payload)?);
                }
                Piece::Whole(..) | Piece::Body(_) | Piece::RestBegins | _ => {
                    return Err(StreamError::OutOfPlace(
                        "a body, then trailers, then the end",
                    ));
                }
            }
        }
        Ok(())
    }

    fn poll_chunks(&mut self, cx: &mut Context<'_>) -> Poll<Result<Chunks, StreamError>> {
        let mut out = Chunks::default();
        if !self.recv.pending.is_empty() {
            let pending = std::mem::take(&mut self.recv.pending);
            self.take(pending, &mut out)?;
        }
        while out.is_empty() && !self.recv.ended {
            let mut slices = [const { Bytes::new() }; READ_SLICES];
            // The future holds no state of its own: dropped while pending, it
            // has left its waker with the connection.
            let read = {
                let read = pin!(self.recv.stream.read_chunks(&mut slices));
                ready!(read.poll(cx))
            };
            match read {
                Ok(Some(count)) => {
                    out = Chunks::with_capacity(count);
                    for slice in slices.into_iter().take(count) {
                        self.take(slice, &mut out)?;
                    }
                }
                Ok(None) => {
                    self.recv.ended = true;
                    self.recv.decoder.finish()?;
                }
                Err(error) => {
                    self.recv.ended = true;
                    return Poll::Ready(Err(error.into()));
                }
            }
        }
        Poll::Ready(Ok(out))
    }
}

impl Body for RecvBody {
    type Data = Chunks;
    type Error = StreamError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Chunks>, StreamError>>> {
        if self.done {
            return Poll::Ready(None);
        }
        match ready!(self.poll_chunks(cx)) {
            Ok(chunks) if !chunks.is_empty() => Poll::Ready(Some(Ok(Frame::data(chunks)))),
            Ok(_) => {
                self.done = true;
                let trailers = self.trailers.take();
                Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))))
            }
            Err(error) => {
                self.done = true;
                self.recv.stop(error.code());
                Poll::Ready(Some(Err(error)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.done || (self.recv.ended && self.recv.pending.is_empty() && self.trailers.is_none())
    }
}
