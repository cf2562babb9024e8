//! A strict reading of HTTP/1 framing, byte by byte, beside hyper's own.
//!
//! Request smuggling lives on two readers that disagree about where a message
//! ends. hyper is lenient in places (it drops a Content-Length that stands
//! beside Transfer-Encoding, takes a bare LF for a line end), so this scanner
//! looks at the same bytes first and holds them to RFC 9112 without mercy. It
//! never changes a good byte. A bad message has the byte at which it became
//! bad replaced by NUL, which hyper cannot read over: it answers 400 and
//! closes the connection. It lets one request through at a time: what was sent
//! behind it waits until its answer is over.
//!
//! Pure: bytes in, verdict out. [`guard`](super::guard) does the I/O.

use super::chunks::{Chunks, Next};
use super::head::{Follows, judge};

/// Longest head that is looked at, in bytes. hyper refuses longer ones.
pub const HEAD_MAX: usize = 128 * 1024;

/// Most header lines. hyper refuses more.
pub const HEADERS_MAX: usize = 100;

/// What an HTTP/2 connection begins with (RFC 9113 §3.4).
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Where a connection's bytes stand.
#[derive(Debug)]
pub struct Scanner {
    state: State,
    /// The head being collected.
    head: Vec<u8>,
    first: bool,
    /// A request has passed and its answer is not over.
    unanswered: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Collecting a request head.
    Head,
    /// Inside a body of known length.
    Body { remaining: u64 },
    /// Between the data of chunks.
    Chunks(Chunks),
    /// Inside a chunk's data.
    ChunkData { remaining: u64 },
    /// Behind a request whose answer is not over. What follows waits: after an
    /// upgrade it is something else than HTTP, and whoever reads no further
    /// than one request notices a caller that leaves.
    Parked,
    /// Not HTTP/1, or no longer.
    Raw,
    /// Nothing more is let through.
    Poisoned,
}

/// What became of the bytes scanned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// All may pass.
    Pass,
    /// The first so many bytes may pass; the rest must wait for
    /// [`Scanner::answered`] or [`Scanner::upgraded`].
    Park(usize),
    /// The first so many bytes may pass, the last of which has been made
    /// unreadable; drop the rest and read no more.
    Poison(usize, &'static str),
}

impl Default for Scanner {
    fn default() -> Self {
        Self {
            state: State::Head,
            head: Vec::new(),
            first: true,
            unanswered: false,
        }
    }
}

impl Scanner {
    /// Looks at the next bytes of the connection.
    pub fn scan(&mut self, bytes: &mut [u8]) -> Verdict {
        let mut at = 0;
        while at < bytes.len() {
            let rest = bytes.get_mut(at..).unwrap_or_default();
            let step = match self.state {
                State::Head => self.head(rest),
                State::Body { remaining } => {
                    let (taken, left) = take(remaining, rest.len());
                    self.state = match left {
                        0 => self.after_message(),
                        remaining => State::Body { remaining },
                    };
                    Ok(taken)
                }
                State::ChunkData { remaining } => {
                    let (taken, left) = take(remaining, rest.len());
                    self.state = match left {
                        0 => State::Chunks(Chunks::after_data()),
                        remaining => State::ChunkData { remaining },
                    };
                    Ok(taken)
                }
                State::Chunks(chunks) => {
                    let byte = rest.first().copied().unwrap_or_default();
                    match chunks.byte(byte) {
                        Ok(next) => {
                            self.state = self.after_chunk_byte(next);
                            Ok(1)
                        }
                        Err(reason) => Err((1, reason)),
                    }
                }
                State::Parked => return Verdict::Park(at),
                State::Raw => return Verdict::Pass,
                State::Poisoned => return Verdict::Poison(at, "after a bad message"),
            };
            match step {
                Ok(taken) => at += taken,
                Err((taken, reason)) => {
                    self.state = State::Poisoned;
                    at += taken;
                    if let Some(last) = bytes.get_mut(at.saturating_sub(1)) {
                        *last = 0;
                    }
                    return Verdict::Poison(at, reason);
                }
            }
        }
        if self.is_parked() {
            return Verdict::Park(at);
        }
        Verdict::Pass
    }

    /// The answer to the last request is over.
    pub fn answered(&mut self) {
        self.unanswered = false;
        if self.state == State::Parked {
            self.state = State::Head;
        }
    }

    /// The last request has switched the connection to another protocol.
    pub fn upgraded(&mut self) {
        self.state = State::Raw;
    }

    /// Whether the bytes wait for an answer to be over.
    #[must_use]
    pub fn is_parked(&self) -> bool {
        self.state == State::Parked
    }

    /// Takes bytes into the head, up to its end. The error tells how many
    /// bytes were looked at, the last being the bad one.
    fn head(&mut self, bytes: &[u8]) -> Result<usize, (usize, &'static str)> {
        let mut begin = 0;
        for newline in memchr::memchr_iter(b'\n', bytes) {
            let line_end = newline + 1;
            self.head
                .extend_from_slice(bytes.get(begin..line_end).unwrap_or_default());
            begin = line_end;
            if !self.head.ends_with(b"\r\n") {
                return Err((line_end, "a line ends without CR"));
            }
            if self.first && self.head == PREFACE.get(..self.head.len()).unwrap_or_default() {
                // "PRI * HTTP/2.0": not a head of HTTP/1, whatever follows.
                self.state = State::Raw;
                return Ok(bytes.len());
            }
            if self.head == b"\r\n" {
                // Empty lines before a request are let pass (RFC 9112 §2.2).
                self.head.clear();
                continue;
            }
            if self.head.len() > HEAD_MAX {
                return Err((line_end, "head is too large"));
            }
            let line_start = self.line_start();
            if self.head.get(line_start..) == Some(b"\r\n") {
                self.first = false;
                let follows = judge(&self.head);
                self.head.clear();
                self.unanswered = true;
                self.state = match follows {
                    Ok(Follows::Request) => self.after_message(),
                    Ok(Follows::Body(remaining)) => State::Body { remaining },
                    Ok(Follows::Chunks) => State::Chunks(Chunks::start()),
                    Ok(Follows::Unread) => State::Raw,
                    Err(reason) => return Err((line_end, reason)),
                };
                return Ok(line_end);
            }
        }
        self.head
            .extend_from_slice(bytes.get(begin..).unwrap_or_default());
        if self.head.len() > HEAD_MAX {
            return Err((bytes.len(), "head is too large"));
        }
        Ok(bytes.len())
    }

    /// A message is over; its answer may be, too.
    fn after_message(&self) -> State {
        match self.unanswered {
            true => State::Parked,
            false => State::Head,
        }
    }

    fn after_chunk_byte(&self, next: Next) -> State {
        match next {
            Next::Framing(chunks) => State::Chunks(chunks),
            Next::Data(remaining) => State::ChunkData { remaining },
            Next::Done => self.after_message(),
        }
    }

    /// Where the line that just ended began.
    fn line_start(&self) -> usize {
        let before = self.head.len().saturating_sub(2);
        let head = self.head.get(..before).unwrap_or_default();
        memchr::memrchr(b'\n', head).map_or(0, |at| at + 1)
    }
}

/// How much of `available` a count takes, and what is left of the count.
fn take(remaining: u64, available: usize) -> (usize, u64) {
    let taken = usize::try_from(remaining).map_or(available, |count| count.min(available));
    (taken, remaining - taken as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::chunks::CHUNK_LINE_MAX;
    use crate::edge::head::REQUEST_LINE_MAX;
    use proptest::prelude::*;

    #[track_caller]
    fn passes(wire: &str) {
        // Up to the next request, which waits: the framing was understood.
        let next = "GET / HTTP/1.1\r\n\r\n";
        let whole = format!("{wire}{next}");
        let mut scanner = Scanner::default();
        let parked = scanner.scan(&mut whole.as_bytes().to_vec());
        assert_eq!(parked, Verdict::Park(wire.len()), "{wire:?}");
        scanner.answered();
        let Verdict::Poison(_, reason) = scanner.scan(&mut next.as_bytes().to_vec()) else {
            panic!("passed: {whole:?}");
        };
        assert_eq!(reason, "host is missing");
    }

    #[track_caller]
    fn poisons(wire: &str, because: &str) {
        let mut bytes = wire.as_bytes().to_vec();
        match Scanner::default().scan(&mut bytes) {
            Verdict::Poison(at, reason) => {
                assert_eq!(reason, because, "{wire:?}");
                assert_eq!(bytes[at - 1], 0);
            }
            other @ (Verdict::Pass | Verdict::Park(_)) => panic!("{other:?}: {wire:?}"),
        }
    }

    #[test]
    fn good_requests_pass() {
        for wire in [
            "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "\r\nGET / HTTP/1.1\r\nHost: a:80\r\n\r\n",
            "GET / HTTP/1.0\r\n\r\n",
            "GET http://a.b/c?d HTTP/1.1\r\nHost: A.b\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: [::1]:7480\r\nContent-Length: 5\r\n\r\nhello",
            "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: Chunked\r\n\r\n5;x=\"y\"\r\nhello\r\nA\r\n0123456789\r\n0\r\nT: v\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
        ] {
            passes(wire);
        }
    }

    #[test]
    fn smuggling_is_poisoned() {
        let post = |lines: &str| format!("POST / HTTP/1.1\r\nHost: a\r\n{lines}\r\n");
        for (lines, because) in [
            (
                "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
                "both content-length and transfer-encoding",
            ),
            (
                "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
                "both content-length and transfer-encoding",
            ),
            (
                "Content-Length: 5\r\nContent-Length: 5\r\n",
                "more than one content-length",
            ),
            ("Content-Length: 5, 5\r\n", "content-length is not a number"),
            ("Content-Length: +5\r\n", "content-length is not a number"),
            (
                "Content-Length: 99999999999999999999\r\n",
                "content-length is too large",
            ),
            (
                "Transfer-Encoding: gzip, chunked\r\n",
                "transfer-encoding is not exactly chunked",
            ),
            (
                "Transfer-Encoding: xchunked\r\n",
                "transfer-encoding is not exactly chunked",
            ),
            (
                "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
                "transfer-encoding is not exactly chunked",
            ),
            ("Transfer-Encoding : chunked\r\n", "head is not valid"),
            ("X: a\r\n b\r\n", "a header line is folded"),
            ("X: a\nY: b\r\n", "a line ends without CR"),
            ("X: a\0b\r\n", "head is not valid"),
            ("X: a\rb\r\n", "head is not valid"),
            ("Host: b\r\n", "more than one host"),
        ] {
            poisons(&post(lines), because);
        }
        poisons("GET / HTTP/1.1\r\n\r\n", "host is missing");
        poisons("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", "host is not valid");
        poisons("GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", "host is not valid");
        poisons("GET / HTTP/1.1\r\nHost:\r\n\r\n", "host is not valid");
        poisons(
            "GET http://a/ HTTP/1.1\r\nHost: b\r\n\r\n",
            "host differs from the request target",
        );
        poisons(
            "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
            "transfer-encoding in HTTP/1.0",
        );
    }

    #[test]
    fn bad_chunks_are_poisoned() {
        let chunked = |body: &str| {
            format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{body}")
        };
        for (body, because) in [
            ("\r\n", "chunk size is missing"),
            ("0x5\r\n", "chunk size is not valid"),
            ("5 \r\n", "chunk size is not valid"),
            ("5\n", "chunk size is not valid"),
            ("1234567890123456\r\n", "chunk size is too large"),
            ("5;a\nb\r\n", "chunk extension is not valid"),
            ("5\r\nhelloX", "chunk does not end with CRLF"),
            ("5\r\nhello\n", "chunk does not end with CRLF"),
            ("0\r\nX: a\n\r\n", "trailer line is not valid"),
            ("0\r\n X: a\r\n\r\n", "trailer line is folded"),
        ] {
            poisons(&chunked(body), because);
        }
        let long = format!("5;{}", "x".repeat(2 * CHUNK_LINE_MAX));
        poisons(&chunked(&long), "chunk-size line is too long");
    }

    #[test]
    fn http_2_is_none_of_our_business() {
        let mut wire = PREFACE.to_vec();
        wire.extend_from_slice(b"\n\0anything\nat all");
        assert_eq!(Scanner::default().scan(&mut wire), Verdict::Pass);
        // Not at the start of a connection, it is no preface.
        let late = b"GET / HTTP/1.1\r\nHost: a\r\n\r\nPRI * HTTP/2.0\r\n\r\n";
        let (_, reason) = outcome(late, &[]);
        assert_eq!(reason, Some("head is not valid"));
    }

    #[test]
    fn what_follows_an_upgrade_is_not_http() {
        let request =
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
        let mut wire = format!("{request}\nraw").into_bytes();
        let mut scanner = Scanner::default();
        assert_eq!(scanner.scan(&mut wire), Verdict::Park(request.len()));
        scanner.upgraded();
        assert_eq!(scanner.scan(&mut wire[request.len()..]), Verdict::Pass);

        let mut refused = Scanner::default();
        assert_eq!(refused.scan(&mut wire), Verdict::Park(request.len()));
        refused.answered();
        let verdict = refused.scan(&mut wire[request.len()..]);
        assert!(matches!(verdict, Verdict::Poison(1, _)), "{verdict:?}");
    }

    /// A service may answer without having read the whole request.
    #[test]
    fn an_answer_may_be_over_before_the_request_is() {
        let mut scanner = Scanner::default();
        let mut begun = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nab".to_vec();
        assert_eq!(scanner.scan(&mut begun), Verdict::Pass);
        scanner.answered();
        let mut rest = b"cdGET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec();
        let whole = rest.len();
        assert_eq!(scanner.scan(&mut rest), Verdict::Park(whole));
    }

    #[test]
    fn endless_heads_are_cut_off() {
        let wire = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}", "x".repeat(HEAD_MAX));
        poisons(&wire, "head is too large");
        let line = format!(
            "GET /{} HTTP/1.1\r\nHost: a\r\n\r\n",
            "x".repeat(REQUEST_LINE_MAX)
        );
        poisons(&line, "request line is too long");
    }

    proptest! {
        /// The verdict does not depend on how the bytes were cut.
        #[test]
        fn cuts_change_nothing(
            which in 0_usize..6,
            flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
            cuts in prop::collection::vec(1_usize..20, 0..60),
        ) {
            let good = [
                "GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: b\r\n\r\n",
                "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcGET / HTTP/1.1\r\nHost: a\r\n\r\n",
                "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
                "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nA: b\r\n\r\n",
                "\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\nUpgrade: x\r\n\r\nraw",
                "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nwhatever",
            ];
            let mut wire = good[which].as_bytes().to_vec();
            for (at, value) in flips {
                let at = at.index(wire.len());
                wire[at] = value;
            }
            let whole = outcome(&wire, &[]);
            let split = outcome(&wire, &cuts);
            prop_assert_eq!(whole, split);
        }

        #[test]
        fn arbitrary_bytes_never_panic(mut wire in prop::collection::vec(any::<u8>(), 0..400)) {
            Scanner::default().scan(&mut wire);
        }
    }

    /// The bytes that pass when every answer comes at once, and why they stop.
    fn outcome(wire: &[u8], cuts: &[usize]) -> (Vec<u8>, Option<&'static str>) {
        let mut scanner = Scanner::default();
        let mut passed = Vec::new();
        let mut rest = wire.to_vec();
        for cut in cuts.iter().copied().chain([usize::MAX]) {
            let mut piece: Vec<u8> = rest.drain(..cut.min(rest.len())).collect();
            loop {
                match scanner.scan(&mut piece) {
                    Verdict::Pass => {
                        passed.append(&mut piece);
                        break;
                    }
                    Verdict::Park(at) => {
                        passed.extend(piece.drain(..at));
                        scanner.answered();
                    }
                    Verdict::Poison(at, reason) => {
                        passed.extend(&piece[..at]);
                        return (passed, Some(reason));
                    }
                }
            }
        }
        (passed, None)
    }
}
