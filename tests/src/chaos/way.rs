//! The way between devices and the relay: UDP is passed on both ways, counted,
//! and looks like another network when told to.
//!
//! Threads of its own, so that no packet waits for what else the process does:
//! one that is lost would travel again and be counted.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// Smaller datagrams carry no data of transfers: acknowledgements and small
/// requests. In bytes.
const CARRIES: usize = 600;

/// How often a thread looks whether it should end.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The largest datagram.
const DATAGRAM: usize = 65_536;

/// The way, until dropped.
#[derive(Debug)]
pub struct Way {
    /// Where devices connect.
    pub address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// Datagrams with data that passed, and their bytes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Passed {
    /// How many.
    pub datagrams: u64,
    /// Bytes of all of them, without UDP's head.
    pub bytes: u64,
}

#[derive(Debug)]
struct Shared {
    relay: SocketAddr,
    up: Counter,
    down: Counter,
    /// By device.
    onward: Mutex<HashMap<SocketAddr, Onward>>,
    ended: AtomicBool,
}

/// Where a device's datagrams come from, as the relay sees it.
#[derive(Debug)]
struct Onward {
    socket: Arc<UdpSocket>,
    ended: Arc<AtomicBool>,
}

#[derive(Debug, Default)]
struct Counter {
    datagrams: AtomicU64,
    bytes: AtomicU64,
}

impl Way {
    /// A way to a relay that listens there, now or later.
    ///
    /// # Errors
    /// No port can be had.
    pub fn to(relay: SocketAddr) -> io::Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.set_read_timeout(Some(LOOK_EVERY))?;
        let address = socket.local_addr()?;
        let shared = Arc::new(Shared {
            relay,
            up: Counter::default(),
            down: Counter::default(),
            onward: Mutex::default(),
            ended: AtomicBool::new(false),
        });
        let passing = Arc::clone(&shared);
        let thread = std::thread::spawn(move || passing.pass_up(&socket));
        Ok(Self {
            address,
            shared,
            thread: Some(thread),
        })
    }

    /// What passed from devices to the relay so far.
    #[must_use]
    pub fn up(&self) -> Passed {
        self.shared.up.read()
    }

    /// What passed from the relay to devices so far.
    #[must_use]
    pub fn down(&self) -> Passed {
        self.shared.down.read()
    }

    /// From now on all devices come from other ports, as after a change of
    /// network; what is on its way back is lost.
    pub fn change_network(&self) {
        self.shared.forget_all();
    }
}

impl Passed {
    /// What passed after `earlier`.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        Self {
            datagrams: self.datagrams.saturating_sub(earlier.datagrams),
            bytes: self.bytes.saturating_sub(earlier.bytes),
        }
    }
}

impl Drop for Way {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        self.shared.forget_all();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn pass_up(self: &Arc<Self>, socket: &UdpSocket) {
        let mut buffer = vec![0; DATAGRAM];
        while !self.ended.load(Ordering::Relaxed) {
            let Ok((length, device)) = socket.recv_from(&mut buffer) else {
                continue;
            };
            let datagram = buffer.get(..length).unwrap_or_default();
            self.up.count(length);
            if let Ok(onward) = self.onward(socket, device) {
                // A relay that is down takes nothing; nor does a full queue.
                let _ = onward.send(datagram);
            }
        }
    }

    /// A device's socket towards the relay, and the thread that passes back
    /// what comes there.
    fn onward(
        self: &Arc<Self>,
        socket: &UdpSocket,
        device: SocketAddr,
    ) -> io::Result<Arc<UdpSocket>> {
        let mut all = self.onward.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(onward) = all.get(&device) {
            return Ok(Arc::clone(&onward.socket));
        }
        let onward = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        onward.connect(self.relay)?;
        onward.set_read_timeout(Some(LOOK_EVERY))?;
        let onward = Arc::new(onward);
        let ended = Arc::new(AtomicBool::new(false));
        let (shared, back) = (Arc::clone(self), socket.try_clone()?);
        let (from, stop) = (Arc::clone(&onward), Arc::clone(&ended));
        // It ends by `ended`, which whoever forgets the device sets.
        std::thread::spawn(move || shared.pass_down((&from, &stop), (&back, device)));
        let socket = Arc::clone(&onward);
        all.insert(device, Onward { socket, ended });
        Ok(onward)
    }

    fn pass_down(
        &self,
        (from, ended): (&UdpSocket, &AtomicBool),
        (back, device): (&UdpSocket, SocketAddr),
    ) {
        let mut buffer = vec![0; DATAGRAM];
        while !ended.load(Ordering::Relaxed) {
            let Ok(length) = from.recv(&mut buffer) else {
                continue;
            };
            if ended.load(Ordering::Relaxed) {
                return;
            }
            self.down.count(length);
            let _ = back.send_to(buffer.get(..length).unwrap_or_default(), device);
        }
    }

    fn forget_all(&self) {
        let mut all = self.onward.lock().unwrap_or_else(PoisonError::into_inner);
        for (_, onward) in all.drain() {
            onward.ended.store(true, Ordering::Relaxed);
        }
    }
}

impl Counter {
    fn count(&self, length: usize) {
        if length >= CARRIES {
            self.datagrams.fetch_add(1, Ordering::Relaxed);
            self.bytes.fetch_add(length as u64, Ordering::Relaxed);
        }
    }

    fn read(&self) -> Passed {
        Passed {
            datagrams: self.datagrams.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
        }
    }
}
