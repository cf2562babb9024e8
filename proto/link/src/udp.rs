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
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use quinn::udp::{RecvMeta, Transmit, UdpSocketState};
use quinn::{AsyncUdpSocket, UdpPoller};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::sleep;

/// How long to wait when the system cannot tell us of room to send: by then
/// the kernel has sent hundreds of packets.
const BLIND_WAIT: Duration = Duration::from_millis(1);

/// The socket.
#[derive(Debug)]
pub(crate) struct Udp {
    socket: AsyncFd<UdpSocket>,
    offload: UdpSocketState,
    /// A send found no room, and none has been waited for since.
    full: AtomicBool,
    /// The same socket, to be registered for writing while there is no room.
    spare: Arc<UdpSocket>,
    /// That registration, as long as somebody waits.
    room: Mutex<Weak<Room>>,
}

/// The socket, registered for writing.
type Room = AsyncFd<Arc<UdpSocket>>;

impl Udp {
    /// Takes over a bound socket.
    pub(crate) fn new(socket: UdpSocket) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        Ok(Self {
            offload: UdpSocketState::new((&socket).into())?,
            spare: Arc::new(socket.try_clone()?),
            socket: watch(socket, Interest::READABLE)?,
            full: AtomicBool::new(false),
            room: Mutex::default(),
        })
    }

    /// Waits until a send may find room. Never fails: quinn would give the
    /// link up without a word.
    async fn wait_for_room(self: Arc<Self>) {
        match self.room() {
            Ok(room) => {
                // Fails only when the runtime ends.
                let _ = room.writable().await;
                // It stays ready for ever: the next to wait registers anew.
                *self.lock_room() = Weak::new();
            }
            Err(_) => sleep(BLIND_WAIT).await,
        }
        self.full.store(false, Ordering::Relaxed);
    }

    fn room(&self) -> io::Result<Arc<Room>> {
        let mut shared = self.lock_room();
        if let Some(room) = shared.upgrade() {
            return Ok(room);
        }
        let room = Arc::new(watch(Arc::clone(&self.spare), Interest::WRITABLE)?);
        *shared = Arc::downgrade(&room);
        Ok(room)
    }

    fn lock_room(&self) -> std::sync::MutexGuard<'_, Weak<Room>> {
        // Nothing under this lock panics half-way.
        self.room.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Registers a socket with the runtime.
fn watch<T: std::os::fd::AsRawFd>(socket: T, interest: Interest) -> io::Result<AsyncFd<T>> {
    #[expect(
        deprecated,
        reason = "sound for a UdpSocket, and what replaces it is unsafe"
    )]
    AsyncFd::with_interest(socket, interest)
}

impl AsyncUdpSocket for Udp {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(Poller {
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

/// Waits for room to send, for one link.
struct Poller {
    udp: Arc<Udp>,
    waiting: Option<Pin<Box<dyn Future<Output = ()> + Send + Sync>>>,
}

impl UdpPoller for Poller {
    fn poll_writable(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.udp.full.load(Ordering::Relaxed) {
            let udp = Arc::clone(&self.udp);
            let waiting = &mut self.waiting;
            let waiting = waiting.get_or_insert_with(|| Box::pin(udp.wait_for_room()));
            ready!(waiting.as_mut().poll(cx));
        }
        // Or another link has found that there is room.
        self.waiting = None;
        Poll::Ready(Ok(()))
    }
}

impl std::fmt::Debug for Poller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Poller").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::time::timeout;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    fn full() -> Arc<Udp> {
        let udp = Udp::new(UdpSocket::bind("127.0.0.1:0").expect("bound")).expect("registered");
        udp.full.store(true, Ordering::Relaxed);
        Arc::new(udp)
    }

    async fn wait(udp: &Arc<Udp>) {
        let mut poller = Arc::clone(udp).create_io_poller();
        let room = poll_fn(|cx| poller.as_mut().poll_writable(cx));
        timeout(PATIENCE, room)
            .await
            .expect("there is room")
            .expect("never fails");
    }

    #[tokio::test]
    async fn room_is_waited_for_again_and_again() {
        let udp = full();
        for _ in 0..3 {
            udp.full.store(true, Ordering::Relaxed);
            wait(&udp).await;
            assert!(!udp.full.load(Ordering::Relaxed));
            assert!(udp.lock_room().upgrade().is_none(), "nothing is left over");
        }
    }

    #[tokio::test]
    async fn several_links_wait_together() {
        let udp = full();
        tokio::join!(wait(&udp), wait(&udp), wait(&udp));
    }

    /// No descriptor left, or another in the way: it waits all the same.
    #[tokio::test]
    async fn a_system_that_cannot_tell_is_waited_for_blindly() {
        let udp = full();
        let in_the_way = watch(Arc::clone(&udp.spare), Interest::WRITABLE).expect("registered");
        assert!(udp.room().is_err());
        wait(&udp).await;
        drop(in_the_way);
    }

    #[tokio::test]
    async fn what_arrives_after_all_was_read_wakes() {
        let udp = full();
        let from = UdpSocket::bind("127.0.0.1:0").expect("bound");
        let mut buffers = [[0; 64], [0; 64]];
        for text in [b"one", b"two"] {
            let receive = async {
                poll_fn(|cx| {
                    let [a, b] = &mut buffers;
                    let mut slots = [IoSliceMut::new(a), IoSliceMut::new(b)];
                    let mut meta = [RecvMeta::default(); 2];
                    udp.poll_recv(cx, &mut slots, &mut meta)
                        .map(|count| (count.expect("received"), meta[0].len))
                })
                .await
            };
            let send = async {
                tokio::task::yield_now().await;
                let to = udp.local_addr().expect("bound");
                from.send_to(text, to).expect("sent");
            };
            let both = async { tokio::join!(receive, send) };
            let (received, ()) = timeout(PATIENCE, both).await.expect("woken");
            assert_eq!(received, (1, 3));
            assert_eq!(&buffers[0][..3], text);
        }
    }
}
