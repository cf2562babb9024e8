//! Looks every few seconds, with nothing but the standard library.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::clock::{Change, Reading};

/// How often to look: a link in back-off wakes no later than this.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Compares the wall clock with the monotonic one.
#[derive(Debug)]
pub(super) struct Clocks {
    start: Instant,
    before: Reading,
    ticks: Interval,
}

impl Clocks {
    pub(super) fn start() -> Self {
        let start = Instant::now();
        Self {
            start,
            before: read(start),
            ticks: ticks(),
        }
    }

    /// Cancel-safe: a reading is compared and kept without waiting.
    pub(super) async fn next(&mut self) -> Change {
        loop {
            self.ticks.tick().await;
            let now = read(self.start);
            let change = now.change_since(&self.before);
            self.before = now;
            if let Some(change) = change {
                return change;
            }
        }
    }
}

/// Compares the addresses from which the system would send to the internet.
#[derive(Debug)]
pub(super) struct Addresses {
    before: Vec<IpAddr>,
    ticks: Interval,
}

impl Addresses {
    pub(super) fn start() -> Self {
        Self {
            before: outgoing(),
            ticks: ticks(),
        }
    }

    /// Cancel-safe, as [`Clocks::next`].
    pub(super) async fn changed(&mut self) {
        loop {
            self.ticks.tick().await;
            let now = outgoing();
            if now != self.before {
                self.before = now;
                return;
            }
        }
    }
}

fn ticks() -> Interval {
    let mut ticks = interval(LOOK_EVERY);
    // After a sleep, one look is enough.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

fn read(start: Instant) -> Reading {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH);
    Reading {
        wall: wall.unwrap_or_default(),
        awake: start.elapsed(),
        total: None,
    }
}

/// Asks the routing table, by connecting a UDP socket to an address of the
/// internet. No packet is sent, and the addresses are those reserved for
/// documentation (RFC 5737, RFC 3849).
fn outgoing() -> Vec<IpAddr> {
    let somewhere: [(IpAddr, IpAddr); 2] = [
        (
            Ipv4Addr::UNSPECIFIED.into(),
            Ipv4Addr::new(192, 0, 2, 1).into(),
        ),
        (
            Ipv6Addr::UNSPECIFIED.into(),
            Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into(),
        ),
    ];
    let ask = |(from, to): (IpAddr, IpAddr)| {
        let socket = UdpSocket::bind(SocketAddr::new(from, 0)).ok()?;
        // The port matters to nobody.
        socket.connect(SocketAddr::new(to, 9)).ok()?;
        Some(socket.local_addr().ok()?.ip())
    };
    somewhere.into_iter().filter_map(ask).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_quiet_machine_is_quiet() {
        let (mut clocks, mut addresses) = (Clocks::start(), Addresses::start());
        let an_hour = Duration::from_secs(3_600);
        let waited = tokio::time::timeout(an_hour, async {
            tokio::select! {
                change = clocks.next() => panic!("{change:?}"),
                () = addresses.changed() => panic!("addresses changed"),
            }
        });
        waited.await.expect_err("nothing happened");
    }

    #[tokio::test(start_paused = true)]
    async fn a_sleep_is_told_once_within_a_look() {
        let mut clocks = Clocks::start();
        // As if the reading before had been taken an hour of sleep ago.
        clocks.before.wall -= Duration::from_secs(3_600);
        let change = tokio::time::timeout(LOOK_EVERY, clocks.next()).await;
        let Ok(Change::Woke { slept }) = change else {
            panic!("not woken: {change:?}");
        };
        assert!(slept.abs_diff(Duration::from_secs(3_600)) < Duration::from_secs(1));
        let again = tokio::time::timeout(10 * LOOK_EVERY, clocks.next()).await;
        again.expect_err("told once");
    }

    #[tokio::test(start_paused = true)]
    async fn another_address_is_told_once_within_a_look() {
        let mut addresses = Addresses::start();
        addresses.before.push(Ipv4Addr::new(203, 0, 113, 7).into());
        let changed = tokio::time::timeout(LOOK_EVERY, addresses.changed()).await;
        changed.expect("told");
        let again = tokio::time::timeout(10 * LOOK_EVERY, addresses.changed()).await;
        again.expect_err("told once");
    }
}
