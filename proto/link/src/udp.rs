//! A UDP socket that is woken only to receive.
//!
//! Whoever registers a socket for reading and writing, edge-triggered, is
//! woken each time the kernel has sent a datagram, since there is room again
//! (`epoll(7)`). A tunnel that carries small requests would be woken twice as
//! often as it has something to do. This one asks for room only after a send
//! found none; it also knows a drained socket without asking again.

use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use quinn::udp::{RecvMeta, Transmit, UdpSocketState};
use quinn::{AsyncUdpSocket, UdpPoller};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// The socket.
#[derive(Debug)]
pub(crate) struct Udp {
    socket: AsyncFd<UdpSocket>,
    offload: UdpSocketState,
    /// A send found no room, and none has been waited for since.
    full: AtomicBool,
}

impl Udp {
    /// Takes over a bound socket.
    pub(crate) fn new(socket: UdpSocket) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        Ok(Self {
            offload: UdpSocketState::new((&socket).into())?,
            socket: watch(socket, Interest::READABLE)?,
            full: AtomicBool::new(false),
        })
    }
}

/// Registers a socket with the runtime.
fn watch(socket: UdpSocket, interest: Interest) -> io::Result<AsyncFd<UdpSocket>> {
    #[expect(
        deprecated,
        reason = "sound for a UdpSocket, and what replaces it is unsafe"
    )]
    AsyncFd::with_interest(socket, interest)
}

impl AsyncUdpSocket for Udp {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(Room {
            udp: self,
            waiting: None,
        })
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        let sent = self.offload.send(self.socket.get_ref().into(), transmit);
        if let Err(error) = &sent
            && error.kind() == io::ErrorKind::WouldBlock
        {
            self.full.store(true, Ordering::Relaxed);
        }
        sent
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let slots = buffers.len().min(meta.len()).min(quinn::udp::BATCH_SIZE);
        loop {
            let mut ready = ready!(self.socket.poll_read_ready(cx))?;
            let received = self
                .offload
                .recv(self.socket.get_ref().into(), buffers, meta);
            match received {
                Ok(count) => {
                    // Fewer than there was room for: that was all. What comes
                    // after this wakes us.
                    if count < slots {
                        ready.clear_ready();
                    }
                    return Poll::Ready(Ok(count));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready.clear_ready(),
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.get_ref().local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        self.offload.max_gso_segments()
    }

    fn max_receive_segments(&self) -> usize {
        self.offload.gro_segments()
    }

    fn may_fragment(&self) -> bool {
        self.offload.may_fragment()
    }
}

/// Waits for room to send.
#[derive(Debug)]
struct Room {
    udp: Arc<Udp>,
    /// The same socket, registered for writing while there is no room.
    waiting: Option<AsyncFd<UdpSocket>>,
}

impl UdpPoller for Room {
    fn poll_writable(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.udp.full.load(Ordering::Relaxed) {
            return Poll::Ready(Ok(()));
        }
        let waiting = match self.waiting.take() {
            Some(waiting) => waiting,
            None => watch(self.udp.socket.get_ref().try_clone()?, Interest::WRITABLE)?,
        };
        if let Poll::Ready(ready) = waiting.poll_write_ready(cx) {
            self.udp.full.store(false, Ordering::Relaxed);
            return Poll::Ready(ready.map(drop));
        }
        self.waiting = Some(waiting);
        Poll::Pending
    }
}
