//! The [`Scanner`] in front of a connection's reads.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use http_body::{Body, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::scanner::{PREFACE, Scanner, Verdict};

/// What follows a message that was made unreadable: hyper reads a head only
/// once it has its end.
const END_OF_HEAD: &[u8] = b"\r\n\r\n";

/// Most that a caller may send behind a request before its answer is over, in
/// bytes. Reading on is how a caller that leaves is noticed, so one that sends
/// more is cut off. Hardly any sends anything.
const AHEAD_MAX: usize = 64 * 1024;

/// A connection whose requests were held to RFC 9112 before hyper sees them.
#[derive(Debug)]
pub struct Guarded<IO> {
    io: IO,
    gate: Gate,
    /// Read and not yet let through: what came behind a request.
    held: Vec<u8>,
    closed: bool,
    /// Bytes that began like [`PREFACE`], until some did not.
    preface: Option<usize>,
}

/// Tells a [`Guarded`] connection how far its last request has come.
#[derive(Debug, Clone, Default)]
pub struct Gate {
    state: Arc<Mutex<GateState>>,
    begun: CancellationToken,
}

#[derive(Debug, Default)]
struct GateState {
    scanner: Scanner,
    waiting: Option<Waker>,
    refused: Option<&'static str>,
}

impl Gate {
    /// The connection now carries what was upgraded to.
    pub fn upgraded(&self) {
        let mut state = self.lock();
        state.scanner.upgraded();
        state.wake();
    }

    /// The answer to the last request is over.
    fn answered(&self) {
        let mut state = self.lock();
        state.scanner.answered();
        state.wake();
    }

    /// Waits until the version of HTTP is known.
    pub async fn begun(&self) {
        self.begun.cancelled().await;
    }

    /// What was wrong with the message that the connection ended with.
    pub fn refused(&self) -> Option<&'static str> {
        self.lock().refused
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, GateState> {
        // Nothing under this lock panics half-way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl GateState {
    fn wake(&mut self) {
        if let Some(waiting) = self.waiting.take() {
            waiting.wake();
        }
    }
}

impl<IO> Guarded<IO> {
    /// Guards `io`. The gate is for whoever answers.
    pub fn new(io: IO) -> (Self, Gate) {
        let gate = Gate::default();
        let guarded = Self {
            io,
            gate: gate.clone(),
            held: Vec::new(),
            closed: false,
            preface: Some(0),
        };
        (guarded, gate)
    }

    /// Scans what `buffer` holds from `from` on and cuts off what may not
    /// pass yet or ever.
    fn judge(&mut self, buffer: &mut ReadBuf<'_>, from: usize) {
        let fresh = buffer.filled_mut().get_mut(from..).unwrap_or_default();
        if let Some(seen) = self.preface {
            let rest = PREFACE.get(seen..).unwrap_or_default();
            let alike = fresh.iter().zip(rest).take_while(|(a, b)| a == b).count();
            self.preface = (alike == fresh.len() && alike < rest.len()).then_some(seen + alike);
            if self.preface.is_none() {
                self.gate.begun.cancel();
            }
        }
        let mut state = self.gate.lock();
        match state.scanner.scan(fresh) {
            Verdict::Pass => {}
            Verdict::Park(passed) => {
                let held = fresh.get(passed..).unwrap_or_default();
                self.held.extend_from_slice(held);
                buffer.set_filled(from + passed);
            }
            Verdict::Poison(passed, reason) => {
                debug!(reason, "a bad HTTP/1 message is refused");
                state.refused = Some(reason);
                self.closed = true;
                self.held = END_OF_HEAD.to_vec();
                buffer.set_filled(from + passed);
            }
        }
    }
}

impl<IO: AsyncRead + Unpin> Guarded<IO> {
    /// Reads on behind a request, so that a caller that leaves is noticed; lets
    /// nothing through.
    fn poll_parked(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut room = [0; 4096];
        loop {
            let mut buffer = ReadBuf::new(&mut room);
            ready!(Pin::new(&mut self.io).poll_read(cx, &mut buffer))?;
            if buffer.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            self.held.extend_from_slice(buffer.filled());
            if self.held.len() > AHEAD_MAX {
                return Poll::Ready(Err(io::Error::other("too much ahead of an answer")));
            }
        }
    }

    /// Whether the scanner waits for an answer. It wakes us when it no longer
    /// does, if something is held; else what comes next does.
    fn is_parked(&mut self, cx: &Context<'_>) -> bool {
        let mut state = self.gate.lock();
        let parked = state.scanner.is_parked();
        if parked && !self.held.is_empty() {
            state.waiting = Some(cx.waker().clone());
        }
        parked
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Guarded<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.closed {
            let count = self.held.len().min(buffer.remaining());
            let held: Vec<u8> = self.held.drain(..count).collect();
            buffer.put_slice(&held);
            return Poll::Ready(Ok(()));
        }
        while self.is_parked(cx) {
            if let Poll::Ready(ended) = self.poll_parked(cx) {
                return Poll::Ready(ended);
            }
            // What came meanwhile may have to be woken for.
            if self.is_parked(cx) {
                return Poll::Pending;
            }
        }
        let from = buffer.filled().len();
        if self.held.is_empty() {
            ready!(Pin::new(&mut self.io).poll_read(cx, buffer))?;
        } else {
            let count = self.held.len().min(buffer.remaining());
            let held: Vec<u8> = self.held.drain(..count).collect();
            buffer.put_slice(&held);
        }
        if buffer.filled().len() > from {
            self.judge(buffer, from);
        }
        Poll::Ready(Ok(()))
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Guarded<IO> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

pin_project_lite::pin_project! {
    /// An answer that tells the [`Gate`] when it is over, one way or another.
    #[derive(Debug)]
    pub struct Answer<B> {
        #[pin]
        body: B,
        over: Over,
    }
}

/// Says so when dropped.
#[derive(Debug)]
struct Over(Option<Gate>);

impl<B> Answer<B> {
    /// The body of an answer to the last request of the connection of `gate`.
    /// HTTP/2, which has many at once, needs none.
    pub fn new(body: B, gate: Option<Gate>) -> Self {
        let over = Over(gate);
        Self { body, over }
    }
}

impl Drop for Over {
    fn drop(&mut self) {
        if let Some(gate) = &self.0 {
            gate.answered();
        }
    }
}

impl<B: Body> Body for Answer<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        self.project().body.poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
