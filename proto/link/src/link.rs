//! A live link: opens and accepts streams, and grows its limits on demand.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use ginnel_proto::code::Code;
use ginnel_proto::datagram::Datagram;
use ginnel_proto::limits;

use crate::endpoint::varint;
use crate::error::LinkError;
use crate::pace::{Pace, Path};
use crate::stream::{RecvHalf, SendHalf, Stream};

/// A live link. Clones are the same link.
#[derive(Debug, Clone)]
pub struct Link {
    connection: quinn::Connection,
    load: Arc<Load>,
    pace: Arc<Pace>,
}

/// How urgent a stream's data is when a link cannot send all at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    /// Models and other files. A stream opened so also keeps the path's queue
    /// short, and is slow where others fill it.
    Bulk = 0,
    /// Changes of documents and embeddings.
    Sync = 1,
    /// What a person waits for.
    Interactive = 2,
    /// The control stream.
    Control = 3,
}

/// Streams in use, and what was granted to the other side for them.
#[derive(Debug, Default)]
struct Load {
    /// Streams the other side has open.
    inbound: AtomicU32,
    /// Streams we have open.
    outbound: AtomicU32,
    /// Streams the other side may have open; 0 before the first grant.
    granted: AtomicU32,
    /// Streams that the link's receive window was last sized for.
    window_for: AtomicU32,
}

/// Counts a stream for as long as either half lives.
#[derive(Debug)]
pub(crate) struct Slot {
    link: Link,
    direction: Direction,
}

#[derive(Debug, Clone, Copy)]
enum Direction {
    Inbound,
    Outbound,
}

impl Link {
    pub(crate) fn new(connection: quinn::Connection) -> Self {
        Self {
            connection,
            load: Arc::new(Load::default()),
            pace: Arc::new(Pace::new()),
        }
    }

    /// Lets the other side open streams beyond the first and send more than
    /// [`limits::WINDOW_BEFORE_WELCOME`] at once. A relay calls this when it
    /// has welcomed the device, a device when it has read so.
    pub fn grant_streams(&self) {
        self.grant(limits::STREAMS_INITIAL);
        self.widen();
    }

    /// Opens a stream. Waits while the other side allows no more; the caller
    /// sets the time limit.
    ///
    /// # Errors
    /// The link is down.
    pub async fn open(&self, priority: Priority) -> Result<Stream, LinkError> {
        let (send, recv) = self.connection.open_bi().await?;
        let slot = self.slot(Direction::Outbound);
        Ok(Self::stream(send, recv, slot, priority))
    }

    /// The next stream that the other side opens.
    ///
    /// # Errors
    /// The link is down.
    pub async fn accept(&self) -> Result<Stream, LinkError> {
        let (send, recv) = self.connection.accept_bi().await?;
        let slot = self.slot(Direction::Inbound);
        self.raise_grant();
        Ok(Self::stream(send, recv, slot, Priority::Interactive))
    }

    fn stream(
        send: quinn::SendStream,
        recv: quinn::RecvStream,
        slot: Slot,
        priority: Priority,
    ) -> Stream {
        let slot = Arc::new(slot);
        Stream {
            send: SendHalf::new(send, Arc::clone(&slot), priority),
            recv: RecvHalf::new(recv, slot),
        }
    }

    /// Sends a datagram, or drops it if the link is down or full: a heartbeat
    /// that comes late is worth nothing.
    pub fn send_datagram(&self, datagram: &Datagram) {
        let _ = self.connection.send_datagram(datagram.encode());
    }

    /// The next datagram, whatever it holds.
    ///
    /// # Errors
    /// The link is down.
    pub async fn read_datagram(&self) -> Result<Bytes, LinkError> {
        Ok(self.connection.read_datagram().await?)
    }

    /// Closes the link at once and says why. Streams in flight break.
    pub fn close(&self, code: Code, reason: &str) {
        let end = reason.floor_char_boundary(limits::TEXT_MAX);
        let reason = reason.get(..end).unwrap_or_default();
        self.connection.close(varint(code), reason.as_bytes());
    }

    /// Waits for the link's end.
    pub async fn closed(&self) -> LinkError {
        self.connection.closed().await.into()
    }

    /// Whether, and why, the link is down.
    #[must_use]
    pub fn close_reason(&self) -> Option<LinkError> {
        self.connection.close_reason().map(LinkError::from)
    }

    /// What is known of the path and the streams.
    #[must_use]
    pub fn stats(&self) -> LinkStats {
        let stats = self.connection.stats();
        LinkStats {
            remote: self.connection.remote_address(),
            rtt: self.connection.rtt(),
            bytes_sent: stats.udp_tx.bytes,
            bytes_received: stats.udp_rx.bytes,
            packets_sent: stats.path.sent_packets,
            packets_lost: stats.path.lost_packets,
            window: stats.path.cwnd,
            mtu: stats.path.current_mtu,
            streams_in: self.load.inbound.load(Ordering::Relaxed),
            streams_out: self.load.outbound.load(Ordering::Relaxed),
        }
    }

    /// Streams in use in both directions.
    #[must_use]
    pub fn streams(&self) -> u32 {
        let inbound = self.load.inbound.load(Ordering::Relaxed);
        inbound + self.load.outbound.load(Ordering::Relaxed)
    }

    /// Whether both are the same link, not only the same peer.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        self.connection.stable_id() == other.connection.stable_id()
    }

    fn slot(&self, direction: Direction) -> Slot {
        self.load.counter(direction).fetch_add(1, Ordering::Relaxed);
        self.widen();
        Slot {
            link: self.clone(),
            direction,
        }
    }

    /// Doubles what the other side may open once three quarters are in use.
    fn raise_grant(&self) {
        let granted = self.load.granted.load(Ordering::Relaxed);
        let inbound = self.load.inbound.load(Ordering::Relaxed);
        if granted > 0 && granted < limits::STREAMS_MAX && inbound > granted / 4 * 3 {
            self.grant((granted * 2).min(limits::STREAMS_MAX));
        }
    }

    fn grant(&self, streams: u32) {
        self.load.granted.store(streams, Ordering::Relaxed);
        self.connection
            .set_max_concurrent_bi_streams(streams.into());
    }

    /// Sizes the link's receive window for the streams in use. Every stream
    /// may hold a window of unread data when its reader stalls; the link's
    /// window must exceed their sum, or the stalled ones starve the others.
    fn widen(&self) {
        if self.load.granted.load(Ordering::Relaxed) == 0 {
            return;
        }
        let inbound = self.load.inbound.load(Ordering::Relaxed);
        let streams = inbound + self.load.outbound.load(Ordering::Relaxed);
        let sized_for = self.load.window_for.load(Ordering::Relaxed);
        // In steps, so that the connection's lock is seldom taken.
        if streams <= sized_for && sized_for > 0 {
            return;
        }
        let target = streams.next_power_of_two().max(8);
        self.load.window_for.store(target, Ordering::Relaxed);
        self.connection.set_receive_window(window(target).into());
    }
}

/// The receive window of a link with `streams` streams, in bytes.
fn window(streams: u32) -> u32 {
    limits::STREAM_WINDOW
        .saturating_mul(streams)
        .clamp(limits::LINK_WINDOW, limits::LINK_WINDOW_MAX)
}

impl Load {
    fn counter(&self, direction: Direction) -> &AtomicU32 {
        match direction {
            Direction::Inbound => &self.inbound,
            Direction::Outbound => &self.outbound,
        }
    }
}

impl Slot {
    /// Waits until a bulk stream may send, and returns how many bytes of
    /// `length`.
    pub(crate) async fn turn(&self, length: usize) -> usize {
        let path = || {
            let stats = self.link.connection.stats();
            Path {
                rtt: stats.path.rtt,
                window: stats.path.cwnd,
            }
        };
        self.link.pace.turn(length, path).await
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.link
            .load
            .counter(self.direction)
            .fetch_sub(1, Ordering::Relaxed);
    }
}

/// What is known of a link's path and streams.
#[derive(Debug, Clone, Copy)]
pub struct LinkStats {
    /// The other side's address.
    pub remote: std::net::SocketAddr,
    /// The smoothed round trip of QUIC.
    pub rtt: Duration,
    /// UDP payload bytes sent.
    pub bytes_sent: u64,
    /// UDP payload bytes received.
    pub bytes_received: u64,
    /// Packets sent.
    pub packets_sent: u64,
    /// Packets sent and taken for lost.
    pub packets_lost: u64,
    /// The congestion window, in bytes.
    pub window: u64,
    /// The largest UDP payload in use, in bytes.
    pub mtu: u16,
    /// Streams the other side has open.
    pub streams_in: u32,
    /// Streams we have open.
    pub streams_out: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_grows_with_the_streams_and_stops() {
        assert_eq!(window(0), limits::LINK_WINDOW);
        assert_eq!(window(8), limits::LINK_WINDOW);
        assert_eq!(window(64), 64 * limits::STREAM_WINDOW);
        assert_eq!(window(u32::MAX), limits::LINK_WINDOW_MAX);
    }

    #[test]
    fn control_comes_first_and_bulk_last() {
        assert!(Priority::Control > Priority::Interactive);
        assert!(Priority::Interactive > Priority::Sync);
        assert!(Priority::Sync > Priority::Bulk);
    }
}
