//! Every limit of the protocol, each with its reason.
//!
//! Both sides hold each other to these. What happens at a limit is said here,
//! counted where it happens, and tested at the limit and one above it.

use std::time::Duration;

/// Largest payload of a HEAD or TRAILERS frame, in bytes. Larger: reset with
/// [`Code::HeadTooLarge`](crate::code::Code::HeadTooLarge), which callers see
/// as 431. Twice what nginx and hyper's HTTP/2 allow by default.
pub const HEAD_MAX: usize = 64 * 1024;

/// Most header lines in a head or in trailers. Larger: as [`HEAD_MAX`]. The
/// 100 that HTTP/1 parsers stop at, and room for what the hops add.
pub const HEADERS_MAX: usize = 128;

/// Largest payload of a MSG frame, in bytes: the addresses of a full service
/// list fit, with the longest names.
pub const MESSAGE_MAX: usize = 128 * 1024;

/// Largest payload of an OPEN frame, in bytes: two names fit many times.
pub const OPEN_MAX: usize = 1024;

/// Largest payload of a frame of an unknown, skippable type, in bytes. It is
/// never buffered; the limit only stops a peer from hiding a stall.
pub const SKIP_MAX: u64 = 1024 * 1024;

/// Most services one device may register.
pub const SERVICES_MAX: usize = 256;

/// Most optional capabilities in Hello and Welcome.
pub const CAPABILITIES_MAX: usize = 64;

/// Longest text meant for people in a message (version, reason), in bytes.
pub const TEXT_MAX: usize = 256;

/// Longest certificate request, in bytes (an Ed25519 one has about 150).
pub const CERTIFICATE_REQUEST_MAX: usize = 4096;

/// Most artifacts that an offer names as bases. More would not be read: the
/// version before and a model of the same family are what helps.
pub const BASES_MAX: usize = 8;

/// Longest name that a bucket gives to an upload, in bytes. S3's have up to
/// 200, R2's up to 400.
pub const UPLOAD_ID_MAX: usize = 1024;

/// Longest name that a bucket gives to the bytes of a part, in bytes; an MD5
/// in quotes in S3, and longer in R2.
pub const PART_TAG_MAX: usize = 256;

/// Most parts in one message, so that it stays below [`MESSAGE_MAX`].
pub const PARTS_IN_MESSAGE: usize = 400;

/// Most parts of an upload, and so of bits and tags to believe in.
pub const PARTS_MAX: u32 = 10_000;

/// Most chunks of a blob. Their bits fit into a message.
pub const CHUNKS_MAX: usize = 512 * 1024;

/// How long each side waits for the other's first control message. A device
/// on a slow path needs two round trips.
pub const HELLO_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a stream's opener may take to send OPEN and HEAD.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// QUIC keep-alive (RFC 9000 §10.1.2): three go out before the idle time-out.
pub const KEEP_ALIVE: Duration = Duration::from_secs(3);

/// QUIC idle time-out. It restarts at the first packet sent after the last
/// one received, so a dead peer shows within `KEEP_ALIVE + IDLE_TIMEOUT`.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(10);

/// How often a device sends a heartbeat datagram, unless the relay's Welcome
/// says otherwise.
pub const HEARTBEAT: Duration = Duration::from_secs(30);

/// Shortest and longest heartbeat a device accepts from a Welcome.
pub const HEARTBEAT_RANGE: (Duration, Duration) =
    (Duration::from_secs(1), Duration::from_secs(300));

/// Streams a peer may have open at first. quinn allocates for each allowed
/// stream, so this decides the memory of an idle link.
pub const STREAMS_INITIAL: u32 = 64;

/// Streams a peer may have open after raising on demand. 1,000 slow requests
/// leave room for as many quick ones.
pub const STREAMS_MAX: u32 = 4096;

/// Flow-control window of one stream, in bytes: a full 1 Gbit/s at 16 ms
/// round trip or 100 Mbit/s at 160 ms. The most that one stalled reader holds.
pub const STREAM_WINDOW: u32 = 2 * 1024 * 1024;

/// Flow-control window of a link before Welcome, in bytes: room for the one
/// message that is due. The most that a peer makes us hold that has proved
/// nothing.
pub const WINDOW_BEFORE_WELCOME: u32 = 256 * 1024;

/// Flow-control window of a link, in bytes, with few streams open.
pub const LINK_WINDOW: u32 = 16 * 1024 * 1024;

/// Flow-control window of a link, in bytes, at most. It grows with the
/// streams open, so that stalled readers cannot starve the others; this is
/// the most memory a hostile peer can make us hold for a link.
pub const LINK_WINDOW_MAX: u32 = 256 * 1024 * 1024;

/// Bytes a link may have sent and not yet seen acknowledged.
pub const SEND_WINDOW: u64 = 16 * 1024 * 1024;

/// A stream that has sent this many bytes becomes bulk, so that small
/// answers overtake it.
pub const BULK_AFTER: u64 = 1024 * 1024;

/// Largest datagram payload we read, in bytes. Longer ones are ignored.
pub const DATAGRAM_MAX: usize = 64;
