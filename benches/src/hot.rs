//! The hot paths: what runs for every packet, frame or request.
//!
//! The micro benches time them, and [`instructions`](crate::instructions)
//! counts them. Each operation does the same work every time.

use std::hint::black_box;
use std::io::IoSlice;
use std::time::{Duration, Instant};

use bytes::{Buf as _, Bytes, BytesMut};
use ginnel_link::chunks::Chunks;
use ginnel_proto::control::{Access, Control, Register, Service, ServiceKind};
use ginnel_proto::datagram::Datagram;
use ginnel_proto::frame::{self, Decoder};
use ginnel_proto::http::RequestHead;
use ginnel_proto::id::ServiceName;
use ginnel_proto::link::heartbeat::{Heartbeat, Pulse};
use ginnel_relay::edge::scanner::{Scanner, Verdict};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue, Method};

/// A body piece, in bytes.
const BODY: usize = 64 * 1024;

/// What QUIC delivers at once, in bytes.
const SLICE: usize = 1400;

/// What a socket takes at once in [`HotPath::ChunksAdvance`], in bytes.
const WRITTEN: usize = 16 * 1024;

/// A hot path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum HotPath {
    /// A DATA frame of 64 KiB that arrives in slices of 1,400 bytes.
    DecodeData,
    /// The same bytes after REST.
    DecodeRest,
    /// A request head with 20 fields, to bytes.
    EncodeHead,
    /// A request head with 20 fields, from bytes.
    DecodeHead,
    /// A control message with four services, to bytes and back.
    ControlRoundTrip,
    /// A ping to the relay and its pong, with both state machines.
    Heartbeat,
    /// 64 KiB of slices, offered to a socket that takes 16 KiB at a time.
    ChunksAdvance,
    /// The head of an ordinary request, as the relay's edge looks at it.
    ScanRequest,
}

/// One of the things a path does.
pub type Operation = Box<dyn FnMut()>;

impl HotPath {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::DecodeData,
        Self::DecodeRest,
        Self::EncodeHead,
        Self::DecodeHead,
        Self::ControlRoundTrip,
        Self::Heartbeat,
        Self::ChunksAdvance,
        Self::ScanRequest,
    ];

    /// As on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::DecodeData => "decode-data",
            Self::DecodeRest => "decode-rest",
            Self::EncodeHead => "encode-head",
            Self::DecodeHead => "decode-head",
            Self::ControlRoundTrip => "control-round-trip",
            Self::Heartbeat => "heartbeat",
            Self::ChunksAdvance => "chunks-advance",
            Self::ScanRequest => "scan-request",
        }
    }

    /// Does it so many times.
    pub fn run(self, times: u32) {
        let mut operation = self.operation();
        for _ in 0..times {
            operation();
        }
    }

    /// Prepares it, and returns what does it once.
    #[must_use]
    pub fn operation(self) -> Operation {
        match self {
            Self::DecodeData => decode(frame::data_header(BODY)),
            Self::DecodeRest => decode(frame::REST),
            Self::EncodeHead => {
                let head = head();
                Box::new(move || {
                    black_box(head.encode()).expect("below its limit");
                })
            }
            Self::DecodeHead => {
                let payload = head().encode().expect("below its limit");
                Box::new(move || {
                    black_box(RequestHead::decode(payload.clone())).expect("just encoded");
                })
            }
            Self::ControlRoundTrip => {
                let message = message();
                Box::new(move || {
                    black_box(Control::decode(message.encode())).expect("just encoded");
                })
            }
            Self::Heartbeat => heartbeat(),
            Self::ChunksAdvance => chunks_advance(),
            Self::ScanRequest => scan_request(),
        }
    }
}

/// Decodes a body piece behind `announcement`.
fn decode(announcement: Bytes) -> Operation {
    let mut stream = BytesMut::from(&*announcement);
    stream.resize(announcement.len() + BODY, b'g');
    let slices = slices(&stream.freeze());
    Box::new(move || {
        let mut decoder = Decoder::new();
        for slice in &slices {
            let mut input = slice.clone();
            while let Some(piece) = decoder.decode(&mut input).expect("a valid frame") {
                black_box(piece);
            }
        }
    })
}

fn slices(stream: &Bytes) -> Vec<Bytes> {
    let starts = (0..stream.len()).step_by(SLICE);
    let slice = |start: usize| stream.slice(start..stream.len().min(start + SLICE));
    starts.map(slice).collect()
}

fn head() -> RequestHead {
    const NAMES: [&str; 20] = [
        "accept",
        "accept-encoding",
        "accept-language",
        "authorization",
        "cache-control",
        "content-encoding",
        "content-type",
        "cookie",
        "dnt",
        "forwarded",
        "if-none-match",
        "origin",
        "referer",
        "sec-fetch-mode",
        "traceparent",
        "user-agent",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-proto",
        "x-request-id",
    ];
    let value = HeaderValue::from_static("a value as long as most are");
    let line = |name| (HeaderName::from_static(name), value.clone());
    RequestHead {
        method: Method::POST,
        scheme: Scheme::HTTPS,
        authority: Some(Authority::from_static("web.laptop.relay.example")),
        path: PathAndQuery::from_static("/v1/chat/completions?stream=true"),
        headers: NAMES.into_iter().map(line).collect::<HeaderMap>(),
        upgrade: None,
        end: false,
    }
}

fn message() -> Control {
    let service = |name| Service {
        name: ServiceName::parse(name).expect("a valid name"),
        kind: ServiceKind::Http,
        access: Access::Private,
    };
    Control::Register(Register {
        generation: 7,
        services: ["api", "chat", "files", "notes"].map(service).into(),
    })
}

fn heartbeat() -> Operation {
    const INTERVAL: Duration = Duration::from_secs(30);
    let mut now = Instant::now();
    let mut device = Heartbeat::new(now, INTERVAL);
    let mut relay = Pulse::default();
    Box::new(move || {
        now += INTERVAL;
        let ping = device.handle_timeout(now, 1).expect("due every interval");
        let ping = Datagram::decode(&Datagram::Ping(ping).encode());
        let Some(Datagram::Ping(ping)) = ping else {
            return;
        };
        let pong = relay.handle_ping(now, 1, 1, ping);
        let pong = Datagram::decode(&Datagram::Pong(pong).encode());
        if let Some(Datagram::Pong(pong)) = pong {
            device.handle_pong(now, 1, pong);
        }
    })
}

fn chunks_advance() -> Operation {
    let slices = slices(&Bytes::from(vec![b'g'; BODY]));
    Box::new(move || {
        let mut chunks = Chunks::with_capacity(slices.len());
        for slice in &slices {
            chunks.push(slice.clone());
        }
        while chunks.has_remaining() {
            let mut offered = [IoSlice::new(&[]); 64];
            black_box(chunks.chunks_vectored(&mut offered));
            chunks.advance(chunks.remaining().min(WRITTEN));
        }
    })
}

fn scan_request() -> Operation {
    let mut request = b"POST /v1/chat/completions?stream=true HTTP/1.1\r\n\
        Host: web.laptop.relay.example\r\n\
        User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n\
        Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n\
        Accept-Language: en-US,en;q=0.5\r\n\
        Accept-Encoding: gzip, deflate, br\r\n\
        Authorization: Bearer 0123456789abcdef0123456789abcdef\r\n\
        Content-Type: application/json\r\n\
        Content-Length: 5\r\n\
        Connection: keep-alive\r\n\
        Cookie: session=0123456789abcdef; theme=dark\r\n\
        \r\nhello"
        .to_vec();
    let mut scanner = Scanner::default();
    Box::new(move || {
        let verdict = black_box(scanner.scan(&mut request));
        // The next one waits until the answer is over.
        assert_eq!(verdict, Verdict::Park(request.len()), "the request is good");
        scanner.answered();
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::ValueEnum as _;

    #[test]
    fn every_path_runs_under_its_name() {
        for path in HotPath::ALL {
            path.run(3);
            assert_eq!(HotPath::from_str(path.name(), false), Ok(path));
        }
        assert_eq!(HotPath::ALL.len(), HotPath::value_variants().len());
    }
}
