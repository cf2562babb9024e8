//! quinn's socket and runtime over the simulated network.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use ginnel_link::network::Network;
use quinn::udp::{RecvMeta, Transmit};
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_util::task::TaskTracker;

use super::net::{Host, SimNet};

/// Bytes on their way to a socket, at most; more are dropped. A full receive
/// buffer and a long fat path together hold less.
const MAILBOX_MAX: usize = 16 * 1024 * 1024;

/// A timer that never fires.
const NEVER: Duration = Duration::from_secs(365 * 24 * 3600);

/// A UDP socket on the simulated network.
#[derive(Debug)]
pub struct SimSocket {
    net: SimNet,
    mailbox: Arc<Mailbox>,
    /// What the process takes for its address; a NAT may have another.
    local: SocketAddr,
}

impl SimSocket {
    pub(super) fn new(net: SimNet, mailbox: Arc<Mailbox>) -> Self {
        let local = mailbox.address();
        Self {
            net,
            mailbox,
            local,
        }
    }

    /// The socket as links take it. `tasks` will own quinn's.
    #[must_use]
    pub fn network(self: Arc<Self>, tasks: &TaskTracker) -> Network {
        let tasks = tasks.clone();
        Network::custom(self, Arc::new(SimRuntime { tasks }))
    }
}

impl quinn::AsyncUdpSocket for SimSocket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn quinn::UdpPoller>> {
        Box::pin(AlwaysWritable)
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        let length = transmit.contents.len().max(1);
        let segment = transmit.segment_size.unwrap_or(length).max(1);
        for packet in transmit.contents.chunks(segment) {
            let packet = Bytes::copy_from_slice(packet);
            self.net.send(&self.mailbox, transmit.destination, packet);
        }
        Ok(())
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        self.mailbox.poll(cx, buffers, meta)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.local)
    }

    fn max_transmit_segments(&self) -> usize {
        10
    }

    fn may_fragment(&self) -> bool {
        false
    }
}

impl Drop for SimSocket {
    fn drop(&mut self) {
        self.net.close(&self.mailbox);
    }
}

#[derive(Debug)]
struct AlwaysWritable;

impl quinn::UdpPoller for AlwaysWritable {
    fn poll_writable(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// tokio's clock, and an owner for quinn's tasks.
#[derive(Debug)]
struct SimRuntime {
    tasks: TaskTracker,
}

impl quinn::Runtime for SimRuntime {
    fn new_timer(&self, at: std::time::Instant) -> Pin<Box<dyn quinn::AsyncTimer>> {
        Box::pin(sleep_until(at.into()))
    }

    fn spawn(&self, future: Pin<Box<dyn Future<Output = ()> + Send>>) {
        self.tasks.spawn(future);
    }

    fn wrap_udp_socket(
        &self,
        _: std::net::UdpSocket,
    ) -> io::Result<Arc<dyn quinn::AsyncUdpSocket>> {
        Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "there are no real sockets here",
        ))
    }

    fn now(&self) -> std::time::Instant {
        Instant::now().into_std()
    }
}

/// What is on its way to a socket.
#[derive(Debug)]
pub(super) struct Mailbox {
    host: Host,
    started: Instant,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// Where the network delivers to this mailbox.
    address: SocketAddr,
    packets: BinaryHeap<Reverse<Packet>>,
    bytes: usize,
    /// Numbers packets, so that those of one moment keep their order.
    sequence: u64,
    /// Fires when the first packet arrives.
    timer: Pin<Box<Sleep>>,
    waker: Option<Waker>,
    dead: bool,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Packet {
    at: Duration,
    sequence: u64,
    from: SocketAddr,
    payload: Bytes,
}

impl Mailbox {
    pub(super) fn new(host: Host, address: SocketAddr, started: Instant) -> Self {
        let inner = Inner {
            address,
            packets: BinaryHeap::new(),
            bytes: 0,
            sequence: 0,
            timer: Box::pin(sleep_until(started + NEVER)),
            waker: None,
            dead: false,
        };
        Self {
            host,
            started,
            inner: Mutex::new(inner),
        }
    }

    pub(super) fn host(&self) -> Host {
        self.host
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.lock().address
    }

    pub(super) fn set_address(&self, address: SocketAddr) {
        self.lock().address = address;
    }

    /// A packet will arrive.
    pub(super) fn deliver(&self, at: Duration, from: SocketAddr, payload: Bytes) {
        let mut inner = self.lock();
        if inner.bytes + payload.len() > MAILBOX_MAX {
            return;
        }
        let is_first = inner
            .packets
            .peek()
            .is_none_or(|Reverse(first)| at < first.at);
        inner.bytes += payload.len();
        inner.sequence += 1;
        let sequence = inner.sequence;
        inner.packets.push(Reverse(Packet {
            at,
            sequence,
            from,
            payload,
        }));
        if is_first {
            // Whoever polled last is woken then.
            let at = self.started + at;
            inner.timer.as_mut().reset(at);
        }
    }

    /// The socket's process is gone: receiving fails, which ends quinn's
    /// tasks.
    pub(super) fn kill(&self) {
        let mut inner = self.lock();
        inner.dead = true;
        if let Some(waker) = inner.waker.take() {
            waker.wake();
        }
    }

    fn poll(
        &self,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let mut inner = self.lock();
        if inner.dead {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        loop {
            let received = inner.take(self.started.elapsed(), buffers, meta);
            if received > 0 {
                return Poll::Ready(Ok(received));
            }
            let next = match inner.packets.peek() {
                Some(Reverse(packet)) => packet.at,
                None => NEVER,
            };
            let next = self.started + next;
            inner.timer.as_mut().reset(next);
            if inner.timer.as_mut().poll(cx).is_pending() {
                inner.waker = Some(cx.waker().clone());
                return Poll::Pending;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Takes what has arrived, one packet a buffer.
    fn take(
        &mut self,
        now: Duration,
        buffers: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> usize {
        let mut received = 0;
        for (buffer, meta) in buffers.iter_mut().zip(meta) {
            match self.packets.peek() {
                Some(Reverse(packet)) if packet.at <= now => {}
                Some(_) | None => break,
            }
            let Some(Reverse(packet)) = self.packets.pop() else {
                break;
            };
            let length = packet.payload.len();
            self.bytes -= length;
            buffer[..length].copy_from_slice(&packet.payload);
            *meta = RecvMeta {
                addr: packet.from,
                len: length,
                stride: length,
                ecn: None,
                dst_ip: None,
            };
            received += 1;
        }
        received
    }
}
