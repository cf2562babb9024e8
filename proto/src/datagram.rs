//! The heartbeat on the wire: QUIC datagrams (RFC 9221) of a fixed layout.
//!
//! ```text
//! Ping  01 · sequence u32 · time_us u64 · rtt_us u32 · queue u32            21 bytes
//! Pong  02 · sequence u32 · time_us u64 · unix_ms u64 · queue u32           25 bytes
//! ```
//!
//! All integers are big endian. `time_us` belongs to the sender of the ping
//! and comes back as it was. A longer datagram has fields of a later version
//! at its end; an unknown first byte is a datagram of a later version. Both
//! are no error.

use bytes::{Buf, BufMut, Bytes, BytesMut};

const PING: u8 = 0x01;
const PONG: u8 = 0x02;
const PING_SIZE: usize = 21;
const PONG_SIZE: usize = 25;

/// A datagram of this version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Datagram {
    /// Device to relay.
    Ping(Ping),
    /// Relay to device, at once.
    Pong(Pong),
}

/// "I am here."
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ping {
    /// Counts up by one, so that the relay sees gaps.
    pub sequence: u32,
    /// The device's own clock, microseconds since its link began.
    pub time_us: u64,
    /// The round trip of the last answered ping, microseconds; 0 before.
    pub rtt_us: u32,
    /// Requests that the device is working on.
    pub queue: u32,
}

/// "I see you."
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pong {
    /// The ping's.
    pub sequence: u32,
    /// The ping's.
    pub time_us: u64,
    /// The relay's wall clock, milliseconds since 1970.
    pub unix_ms: u64,
    /// Requests that the relay has open to this device.
    pub queue: u32,
}

impl Datagram {
    /// The bytes to send.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut to = BytesMut::with_capacity(PONG_SIZE);
        match self {
            Self::Ping(ping) => {
                to.put_u8(PING);
                to.put_u32(ping.sequence);
                to.put_u64(ping.time_us);
                to.put_u32(ping.rtt_us);
                to.put_u32(ping.queue);
            }
            Self::Pong(pong) => {
                to.put_u8(PONG);
                to.put_u32(pong.sequence);
                to.put_u64(pong.time_us);
                to.put_u64(pong.unix_ms);
                to.put_u32(pong.queue);
            }
        }
        to.freeze()
    }

    /// Reads a datagram; `None` if it is not one this version knows.
    #[must_use]
    pub fn decode(mut from: &[u8]) -> Option<Self> {
        match *from.first()? {
            PING if from.len() >= PING_SIZE => {
                from.advance(1);
                Some(Self::Ping(Ping {
                    sequence: from.get_u32(),
                    time_us: from.get_u64(),
                    rtt_us: from.get_u32(),
                    queue: from.get_u32(),
                }))
            }
            PONG if from.len() >= PONG_SIZE => {
                from.advance(1);
                Some(Self::Pong(Pong {
                    sequence: from.get_u32(),
                    time_us: from.get_u64(),
                    unix_ms: from.get_u64(),
                    queue: from.get_u32(),
                }))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn round_trip(
            pong in any::<bool>(),
            sequence: u32,
            time_us: u64,
            unix_ms: u64,
            rtt_us: u32,
            queue: u32,
            tail in prop::collection::vec(any::<u8>(), 0..20),
        ) {
            let datagram = if pong {
                Datagram::Pong(Pong { sequence, time_us, unix_ms, queue })
            } else {
                Datagram::Ping(Ping { sequence, time_us, rtt_us, queue })
            };
            let bytes = datagram.encode();
            prop_assert_eq!(Datagram::decode(&bytes), Some(datagram));
            let longer = [&bytes[..], &tail[..]].concat();
            prop_assert_eq!(Datagram::decode(&longer), Some(datagram));
            for cut in 0..bytes.len() {
                prop_assert_eq!(Datagram::decode(&bytes[..cut]), None);
            }
        }

        #[test]
        fn arbitrary_input_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = Datagram::decode(&bytes);
        }
    }
}
