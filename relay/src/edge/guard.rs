//! The [`Scanner`] in front of a connection's reads.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::scanner::{PREFACE, Scanner, Verdict};

/// What follows a message that was made unreadable: hyper reads a head only
/// once it has its end.
const END_OF_HEAD: &[u8] = b"\r\n\r\n";

/// Most that is read behind an upgrade request, in bytes.
const HELD_MAX: usize = 64 * 1024;

/// A connection whose requests were held to RFC 9112 before hyper sees them.
#[derive(Debug)]
pub struct Guarded<IO> {
    io: IO,
    gate: Gate,
    /// Read and not yet let through: what came behind an upgrade request.
    held: Vec<u8>,
    closed: bool,
    /// Bytes that began like [`PREFACE`], until some did not.
    preface: Option<usize>,
}

/// Tells a [`Guarded`] connection how an upgrade was answered.
#[derive(Debug, Clone, Default)]
pub struct Gate {
    state: Arc<Mutex<GateState>>,
    begun: CancellationToken,
}

#[derive(Debug, Default)]
struct GateState {
    scanner: Scanner,
    waiting: Option<Waker>,
}

impl Gate {
    /// The connection now carries what was upgraded to, or HTTP as before.
    pub fn decide(&self, upgraded: bool) {
        let mut state = self.lock();
        state.scanner.decide(upgraded);
        if let Some(waiting) = state.waiting.take() {
            waiting.wake();
        }
    }

    /// Waits until the version of HTTP is known.
    pub async fn begun(&self) {
        self.begun.cancelled().await;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, GateState> {
        // Nothing under this lock panics half-way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<IO> Guarded<IO> {
    /// Guards `io`. The gate is for whoever answers upgrades.
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
                self.closed = true;
                self.held = END_OF_HEAD.to_vec();
                buffer.set_filled(from + passed);
            }
        }
    }
}

impl<IO: AsyncRead + Unpin> Guarded<IO> {
    /// Reads on behind an upgrade request, so that a caller that leaves is
    /// noticed; lets nothing through.
    fn poll_parked(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut room = [0; 4096];
        while self.held.len() < HELD_MAX {
            let mut buffer = ReadBuf::new(&mut room);
            ready!(Pin::new(&mut self.io).poll_read(cx, &mut buffer))?;
            if buffer.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            self.held.extend_from_slice(buffer.filled());
        }
        Poll::Pending
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
        let parked = {
            let mut state = self.gate.lock();
            let parked = state.scanner.is_parked();
            if parked {
                state.waiting = Some(cx.waker().clone());
            }
            parked
        };
        if parked {
            return self.poll_parked(cx);
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
