//! The network between one relay and its devices.
//!
//! ```text
//! relay ═══ everything out there ═══╤═ path up / path down ═ device
//!                                   ├═ path up / path down ═ device
//!                                   └ …
//! ```
//!
//! A packet's fate is decided when it is sent; it then waits in the mailbox of
//! the socket it will arrive at. Devices are behind a NAT: the relay sees the
//! address that the network maps a socket to, which may change.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::dice::Dice;
use super::path::{Fate, Path, Quality};
use super::socket::{Mailbox, SimSocket};
use super::trace::Trace;

/// Where the relay listens.
pub const RELAY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 7443);

/// Packets held for one device, in bytes, at most. More are dropped.
const HELD_MAX: usize = 256 * 1024;

/// A machine on the network, by number; the relay is 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Host(pub(super) usize);

/// Which way packets go, seen from a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// From the device to the relay.
    Up,
    /// From the relay to the device.
    Down,
    /// Both.
    Both,
}

/// The network. Clones are the same network.
#[derive(Debug, Clone)]
pub struct SimNet {
    inner: Arc<Mutex<Inner>>,
    /// Told with every packet.
    pub(super) activity: Arc<Notify>,
    started: Instant,
}

#[derive(Debug)]
struct Inner {
    dice: Dice,
    trace: Trace,
    machines: Vec<Machine>,
    /// Who receives what is sent to an address.
    mapped: BTreeMap<SocketAddr, Arc<Mailbox>>,
    packets: u64,
}

/// What the network knows of a host.
#[derive(Debug)]
struct Machine {
    address: IpAddr,
    next_port: u16,
    up: Path,
    down: Path,
    /// Packets that wait while the host sleeps.
    held: Option<Held>,
}

#[derive(Debug, Default)]
struct Held {
    packets: Vec<(SocketAddr, SocketAddr, Bytes)>,
    bytes: usize,
}

impl SimNet {
    /// A network with nothing but room for a relay.
    #[must_use]
    pub fn new(dice: Dice, started: Instant) -> Self {
        let quality = Quality::perfect(Duration::ZERO);
        let relay = Machine::new(RELAY.ip(), quality);
        let inner = Inner {
            dice,
            trace: Trace::default(),
            machines: vec![relay],
            mapped: BTreeMap::new(),
            packets: 0,
        };
        Self {
            inner: Arc::new(Mutex::new(inner)),
            activity: Arc::default(),
            started,
        }
    }

    /// Time since the world began.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// Connects a machine, with the same quality both ways.
    pub fn host(&self, quality: Quality) -> Host {
        let mut inner = self.lock();
        let number = inner.machines.len();
        let [high, low] = u16::try_from(number).expect("few hosts").to_be_bytes();
        let address = Ipv4Addr::new(10, high, low, 1);
        inner.machines.push(Machine::new(address.into(), quality));
        Host(number)
    }

    /// A socket of a device, at an address of the network's choice.
    #[must_use]
    pub fn socket(&self, host: Host) -> Arc<SimSocket> {
        let mut inner = self.lock();
        let address = inner.machine(host).fresh_address();
        self.open(&mut inner, host, address)
    }

    /// The relay's socket. It gets what is sent to [`RELAY`] from now on.
    #[must_use]
    pub fn relay_socket(&self) -> Arc<SimSocket> {
        self.open(&mut self.lock(), Host(0), RELAY)
    }

    fn open(&self, inner: &mut Inner, host: Host, address: SocketAddr) -> Arc<SimSocket> {
        let mailbox = Arc::new(Mailbox::new(host, address, self.started));
        inner.mapped.insert(address, Arc::clone(&mailbox));
        Arc::new(SimSocket::new(self.clone(), mailbox))
    }

    /// Takes away the host's sockets, as when its process dies: what it sends
    /// from now on goes nowhere.
    pub fn kill(&self, host: Host) {
        let mut inner = self.lock();
        inner.mapped.retain(|_, mailbox| {
            let stays = mailbox.host() != host;
            if !stays {
                mailbox.kill();
            }
            stays
        });
    }

    /// Changes how good a device's path is.
    pub fn set_quality(&self, host: Host, way: Way, quality: Quality) {
        self.on_paths(host, way, |path| path.quality = quality);
    }

    /// How good a device's path up is.
    #[must_use]
    pub fn quality(&self, host: Host) -> Quality {
        self.lock().machine(host).up.quality
    }

    /// Lets nothing through.
    pub fn cut(&self, host: Host, way: Way) {
        self.on_paths(host, way, |path| path.cut = true);
    }

    /// Lets everything through again.
    pub fn heal(&self, host: Host) {
        self.on_paths(host, Way::Both, |path| path.cut = false);
    }

    fn on_paths(&self, host: Host, way: Way, mut change: impl FnMut(&mut Path)) {
        let mut inner = self.lock();
        let machine = inner.machine(host);
        if way != Way::Down {
            change(&mut machine.up);
        }
        if way != Way::Up {
            change(&mut machine.down);
        }
    }

    /// The device falls asleep: packets to it wait. What its tasks send while
    /// they should be asleep too is lost.
    pub fn hold(&self, host: Host) {
        self.lock().machine(host).held = Some(Held::default());
    }

    /// The device is awake again: what waited arrives.
    pub fn release(&self, host: Host) {
        let mut inner = self.lock();
        let Some(held) = inner.machine(host).held.take() else {
            return;
        };
        let now = self.now();
        for (from, to, packet) in held.packets {
            inner.send(now, host, from, to, packet);
        }
    }

    /// The device moves to another network and sends from an address there,
    /// as sockets do that are bound to no address of their own. What is sent
    /// to the old address is lost.
    pub fn move_host(&self, host: Host) {
        let mut inner = self.lock();
        let machine = inner.machine(host);
        if let IpAddr::V4(address) = machine.address {
            let [a, b, c, d] = address.octets();
            machine.address = Ipv4Addr::new(a, b, c, d % 250 + 1).into();
        }
        inner.remap(host);
    }

    /// The NAT forgets the device's sockets and maps them to other ports.
    pub fn remap(&self, host: Host) {
        self.lock().remap(host);
    }

    /// Notes an event in the trace.
    pub fn note(&self, what: &'static str, who: usize, size: usize) {
        let now = self.now();
        self.lock().trace.note(now, what, who, size);
    }

    /// What happened so far.
    #[must_use]
    pub fn trace(&self) -> Trace {
        self.lock().trace.clone()
    }

    /// Packets sent so far.
    #[must_use]
    pub fn packets(&self) -> u64 {
        self.lock().packets
    }

    /// The most bytes that ever waited in front of a device's slow path.
    #[must_use]
    pub fn queue_peak(&self, host: Host) -> u64 {
        let mut inner = self.lock();
        let machine = inner.machine(host);
        machine.up.queue_peak.max(machine.down.queue_peak)
    }

    /// A socket sends a packet.
    pub(super) fn send(&self, mailbox: &Arc<Mailbox>, to: SocketAddr, packet: Bytes) {
        let now = self.now();
        let mut inner = self.lock();
        let from = mailbox.address();
        inner.packets += 1;
        // A socket of a dead process does not.
        let speaks = inner
            .mapped
            .get(&from)
            .is_some_and(|mapped| Arc::ptr_eq(mapped, mailbox));
        if !speaks {
            inner
                .trace
                .note(now, "sent into nothing", mailbox.host().0, packet.len());
            return;
        }
        let Some(device) = inner.device(mailbox.host(), to) else {
            inner
                .trace
                .note(now, "nobody there", mailbox.host().0, packet.len());
            return;
        };
        match &mut inner.machine(device).held {
            Some(_) if to == RELAY => {}
            Some(held) => held.push(from, to, packet),
            None => inner.send(now, device, from, to, packet),
        }
        drop(inner);
        self.activity.notify_one();
    }

    /// A socket is closed.
    pub(super) fn close(&self, mailbox: &Arc<Mailbox>) {
        let mut inner = self.lock();
        inner
            .mapped
            .retain(|_, mapped| !Arc::ptr_eq(mapped, mailbox));
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn machine(&mut self, host: Host) -> &mut Machine {
        &mut self.machines[host.0]
    }

    fn remap(&mut self, host: Host) {
        let of_host = |mailbox: &Arc<Mailbox>| mailbox.host() == host;
        let mailboxes: Vec<_> = self
            .mapped
            .values()
            .filter(|m| of_host(m))
            .cloned()
            .collect();
        self.mapped.retain(|_, mailbox| !of_host(mailbox));
        for mailbox in mailboxes {
            let address = self.machine(host).fresh_address();
            mailbox.set_address(address);
            self.mapped.insert(address, mailbox);
        }
    }

    /// The device whose path a packet takes: its sender, or the one that the
    /// relay sends to.
    fn device(&self, sender: Host, to: SocketAddr) -> Option<Host> {
        if sender != Host(0) {
            return Some(sender);
        }
        self.mapped.get(&to).map(|mailbox| mailbox.host())
    }

    fn send(
        &mut self,
        now: Duration,
        device: Host,
        from: SocketAddr,
        to: SocketAddr,
        packet: Bytes,
    ) {
        let length = packet.len();
        let (up, what) = (to == RELAY, if to == RELAY { "up" } else { "down" });
        let machine = &mut self.machines[device.0];
        let path = if up {
            &mut machine.up
        } else {
            &mut machine.down
        };
        match path.carry(now, length, &mut self.dice) {
            Fate::Lost(why) => self.trace.note(now, why, device.0, length),
            Fate::Arrives { at, again_at } => {
                self.trace.note(at, what, device.0, length);
                let Some(mailbox) = self.mapped.get(&to) else {
                    return;
                };
                if let Some(again_at) = again_at {
                    mailbox.deliver(again_at, from, packet.clone());
                }
                mailbox.deliver(at, from, packet);
            }
        }
    }
}

impl Machine {
    fn new(address: IpAddr, quality: Quality) -> Self {
        Self {
            address,
            next_port: 10_000,
            up: Path::new(quality),
            down: Path::new(quality),
            held: None,
        }
    }

    fn fresh_address(&mut self) -> SocketAddr {
        self.next_port = self.next_port.checked_add(1).unwrap_or(10_000);
        SocketAddr::new(self.address, self.next_port)
    }
}

impl Held {
    fn push(&mut self, from: SocketAddr, to: SocketAddr, packet: Bytes) {
        if self.bytes + packet.len() <= HELD_MAX {
            self.bytes += packet.len();
            self.packets.push((from, to, packet));
        }
    }
}
