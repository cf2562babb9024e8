//! A strict reading of HTTP/1 framing, byte by byte, beside hyper's own.
//!
//! Request smuggling lives on two readers that disagree about where a message
//! ends. hyper is lenient in places (it drops a Content-Length that stands
//! beside Transfer-Encoding, takes a bare LF for a line end), so this scanner
//! looks at the same bytes first and holds them to RFC 9112 without mercy. It
//! never changes a good byte. A bad message has the byte at which it became
//! bad replaced by NUL, which hyper cannot read over: it answers 400 and
//! closes the connection, after the answers to requests before it.
//!
//! Pure: bytes in, verdict out. [`guard`](super::guard) does the I/O.

use http::uri::Authority;

/// Longest request line, in bytes (RFC 9112 §3 recommends at least 8,000).
const REQUEST_LINE_MAX: usize = 16 * 1024;

/// Longest head that is looked at, in bytes. hyper refuses longer ones.
pub const HEAD_MAX: usize = 128 * 1024;

/// Most header lines. hyper refuses more.
pub const HEADERS_MAX: usize = 100;

/// Longest chunk-size line with extensions, and longest trailer section.
const CHUNK_LINE_MAX: usize = 4 * 1024;

/// What an HTTP/2 connection begins with (RFC 9113 §3.4).
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Where a connection's bytes stand.
#[derive(Debug)]
pub struct Scanner {
    state: State,
    /// The head being collected.
    head: Vec<u8>,
    first: bool,
    /// Requests that passed and have no answer yet.
    unanswered: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Collecting a request head.
    Head,
    /// Inside a body of known length.
    Body { remaining: u64 },
    /// In a chunk-size line; `digits` were read, `seen` bytes in all.
    ChunkSize {
        size: u64,
        digits: u8,
        seen: usize,
        part: ChunkPart,
    },
    /// Inside a chunk's data.
    ChunkData { remaining: u64 },
    /// In the line end after a chunk's data; `cr` was read.
    ChunkEnd { cr: bool },
    /// In the trailer section: `line` bytes of this line, `seen` in all.
    Trailers { line: usize, cr: bool, seen: usize },
    /// An upgrade was asked for: what follows depends on the answer.
    Parked,
    /// Not HTTP/1, or no longer.
    Raw,
    /// Nothing more is let through.
    Poisoned,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ChunkPart {
    Digits,
    Extension,
    Cr,
}

/// What became of the bytes scanned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// All may pass.
    Pass,
    /// The first so many bytes may pass; the rest must wait for
    /// [`Scanner::decide`].
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
            unanswered: 0,
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
                        0 => State::Head,
                        remaining => State::Body { remaining },
                    };
                    Ok(taken)
                }
                State::ChunkData { remaining } => {
                    let (taken, left) = take(remaining, rest.len());
                    self.state = match left {
                        0 => State::ChunkEnd { cr: false },
                        remaining => State::ChunkData { remaining },
                    };
                    Ok(taken)
                }
                State::ChunkSize { .. } | State::ChunkEnd { .. } | State::Trailers { .. } => {
                    let byte = rest.first().copied().unwrap_or_default();
                    match self.chunk_byte(byte) {
                        Ok(()) => Ok(1),
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

    /// The upgrade that was asked for has been answered.
    pub fn decide(&mut self, upgraded: bool) {
        self.unanswered = self.unanswered.saturating_sub(1);
        if self.state == State::Parked && self.unanswered == 0 {
            self.state = if upgraded { State::Raw } else { State::Head };
        }
    }

    /// Whether the bytes wait for [`Scanner::decide`].
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
            let already = self.head.len();
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
            let line_start = self.line_start(already);
            if self.head.get(line_start..) == Some(b"\r\n") {
                self.first = false;
                let next = judge(&self.head);
                self.head.clear();
                self.state = next.map_err(|reason| (line_end, reason))?;
                self.unanswered += 1;
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

    /// Where the line that just ended began. All before `already` is in the
    /// head since before, so the line may begin there.
    fn line_start(&self, already: usize) -> usize {
        let before = self.head.len().saturating_sub(2);
        let head = self.head.get(..before).unwrap_or_default();
        debug_assert!(already <= self.head.len(), "the head only grows");
        memchr::memrchr(b'\n', head).map_or(0, |at| at + 1)
    }

    fn chunk_byte(&mut self, byte: u8) -> Result<(), &'static str> {
        self.state = match self.state {
            State::ChunkSize {
                size,
                digits,
                seen,
                part,
            } => {
                if seen > CHUNK_LINE_MAX {
                    return Err("chunk-size line is too long");
                }
                let seen = seen + 1;
                match (part, byte) {
                    (ChunkPart::Digits, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                        if digits == 15 {
                            return Err("chunk size is too large");
                        }
                        let digit = char::from(byte).to_digit(16).unwrap_or_default();
                        let size = size * 16 + u64::from(digit);
                        State::ChunkSize {
                            size,
                            digits: digits + 1,
                            seen,
                            part,
                        }
                    }
                    (ChunkPart::Digits, _) if digits == 0 => return Err("chunk size is missing"),
                    (ChunkPart::Digits, b';') => State::ChunkSize {
                        size,
                        digits,
                        seen,
                        part: ChunkPart::Extension,
                    },
                    (ChunkPart::Digits | ChunkPart::Extension, b'\r') => State::ChunkSize {
                        size,
                        digits,
                        seen,
                        part: ChunkPart::Cr,
                    },
                    (ChunkPart::Extension, b'\n' | 0) => {
                        return Err("chunk extension is not valid");
                    }
                    (ChunkPart::Extension, _) => State::ChunkSize {
                        size,
                        digits,
                        seen,
                        part,
                    },
                    (ChunkPart::Cr, b'\n') if size == 0 => State::Trailers {
                        line: 0,
                        cr: false,
                        seen: 0,
                    },
                    (ChunkPart::Cr, b'\n') => State::ChunkData { remaining: size },
                    (ChunkPart::Digits | ChunkPart::Cr, _) => {
                        return Err("chunk size is not valid");
                    }
                }
            }
            State::ChunkEnd { cr } => match (cr, byte) {
                (false, b'\r') => State::ChunkEnd { cr: true },
                (true, b'\n') => State::ChunkSize {
                    size: 0,
                    digits: 0,
                    seen: 0,
                    part: ChunkPart::Digits,
                },
                _ => return Err("chunk does not end with CRLF"),
            },
            State::Trailers { line, cr, seen } => {
                if seen > CHUNK_LINE_MAX {
                    return Err("trailers are too long");
                }
                let seen = seen + 1;
                match (cr, byte) {
                    (true, b'\n') if line == 0 => State::Head,
                    (true, b'\n') => State::Trailers {
                        line: 0,
                        cr: false,
                        seen,
                    },
                    (false, b'\r') => State::Trailers {
                        line,
                        cr: true,
                        seen,
                    },
                    (true, _) | (false, b'\n' | 0) => return Err("trailer line is not valid"),
                    (false, b' ' | b'\t') if line == 0 => return Err("trailer line is folded"),
                    (false, _) => State::Trailers {
                        line: line + 1,
                        cr,
                        seen,
                    },
                }
            }
            state @ (State::Head
            | State::Body { .. }
            | State::ChunkData { .. }
            | State::Parked
            | State::Raw
            | State::Poisoned) => state,
        };
        Ok(())
    }
}

/// How much of `available` a count takes, and what is left of the count.
fn take(remaining: u64, available: usize) -> (usize, u64) {
    let taken = usize::try_from(remaining).map_or(available, |count| count.min(available));
    (taken, remaining - taken as u64)
}

/// Decides what follows a head.
fn judge(head: &[u8]) -> Result<State, &'static str> {
    if memchr::memmem::find(head, b"\n ").is_some() || memchr::memmem::find(head, b"\n\t").is_some()
    {
        return Err("a header line is folded");
    }
    if memchr::memchr(b'\n', head).is_some_and(|end| end > REQUEST_LINE_MAX) {
        return Err("request line is too long");
    }
    let mut lines = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut lines);
    match request.parse(head) {
        Ok(httparse::Status::Complete(_)) => {}
        Ok(httparse::Status::Partial) => return Err("head is not complete"),
        // hyper says 431 for these and 400 for the others; let it.
        Err(httparse::Error::TooManyHeaders) => return Ok(State::Raw),
        Err(_) => return Err("head is not valid"),
    }
    let named = |name: &'static str| {
        request
            .headers
            .iter()
            .filter(move |line| line.name.eq_ignore_ascii_case(name))
            .map(|line| line.value)
    };
    check_host(
        request.version == Some(1),
        request.path.unwrap_or_default(),
        named("host"),
    )?;

    let length = content_length(named("content-length"))?;
    let mut codings = named("transfer-encoding");
    let chunked = match (codings.next(), codings.next()) {
        (None, _) => false,
        (Some(coding), None) if coding.eq_ignore_ascii_case(b"chunked") => true,
        _ => return Err("transfer-encoding is not exactly chunked"),
    };
    if chunked && length.is_some() {
        return Err("both content-length and transfer-encoding");
    }
    if chunked && request.version != Some(1) {
        return Err("transfer-encoding in HTTP/1.0");
    }
    let upgrade = named("upgrade").next().is_some();
    match (chunked, length) {
        (true, _) => Ok(State::ChunkSize {
            size: 0,
            digits: 0,
            seen: 0,
            part: ChunkPart::Digits,
        }),
        (false, Some(remaining @ 1..)) => Ok(State::Body { remaining }),
        (false, Some(0) | None) if upgrade => Ok(State::Parked),
        (false, Some(0) | None) => Ok(State::Head),
    }
}

/// Exactly one Host in HTTP/1.1 (RFC 9112 §3.2), a valid one, and the same as
/// in an absolute request target.
fn check_host<'a>(
    required: bool,
    target: &str,
    mut hosts: impl Iterator<Item = &'a [u8]>,
) -> Result<(), &'static str> {
    let (host, more) = (hosts.next(), hosts.next());
    if more.is_some() {
        return Err("more than one host");
    }
    let Some(host) = host else {
        return if required {
            Err("host is missing")
        } else {
            Ok(())
        };
    };
    if host.contains(&b'@') {
        return Err("host is not valid");
    }
    let host = Authority::try_from(host).map_err(|_| "host is not valid")?;
    let (_, port) = host.as_str().split_at(host.host().len());
    if port.len() > 1 && host.port_u16().is_none() {
        return Err("host is not valid");
    }
    if let Some((_, after)) = target.split_once("://")
        && !target.starts_with('/')
    {
        let end = after.find(['/', '?']).unwrap_or(after.len());
        let named = after.get(..end).unwrap_or_default();
        if !named.eq_ignore_ascii_case(host.as_str()) {
            return Err("host differs from the request target");
        }
    }
    Ok(())
}

/// At most one Content-Length, of digits only (RFC 9112 §6.3).
fn content_length<'a>(
    mut values: impl Iterator<Item = &'a [u8]>,
) -> Result<Option<u64>, &'static str> {
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err("more than one content-length");
    }
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return Err("content-length is not a number");
    }
    std::str::from_utf8(value)
        .ok()
        .and_then(|digits| digits.parse().ok())
        .map(Some)
        .ok_or("content-length is too large")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn verdict(wire: &str) -> Verdict {
        Scanner::default().scan(&mut wire.as_bytes().to_vec())
    }

    #[track_caller]
    fn passes(wire: &str) {
        assert_eq!(verdict(wire), Verdict::Pass, "{wire:?}");
        // The next request is read as one: the framing was understood.
        let wire = format!("{wire}GET / HTTP/1.1\r\n\r\n");
        let Verdict::Poison(_, reason) = verdict(&wire) else {
            panic!("lost the framing: {wire:?}");
        };
        assert_eq!(reason, "host is missing", "{wire:?}");
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
        poisons(
            "GET / HTTP/1.1\r\nHost: a\r\n\r\nPRI * HTTP/2.0\r\n\r\n",
            "head is not valid",
        );
    }

    #[test]
    fn an_upgrade_parks_until_it_is_answered() {
        let request =
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
        let mut wire = format!("{request}\nraw").into_bytes();
        let mut scanner = Scanner::default();
        assert_eq!(scanner.scan(&mut wire), Verdict::Park(request.len()));
        scanner.decide(true);
        assert_eq!(scanner.scan(&mut wire[request.len()..]), Verdict::Pass);

        let mut refused = Scanner::default();
        assert_eq!(refused.scan(&mut wire), Verdict::Park(request.len()));
        refused.decide(false);
        let verdict = refused.scan(&mut wire[request.len()..]);
        assert!(matches!(verdict, Verdict::Poison(1, _)), "{verdict:?}");
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

    /// The bytes that pass, and why they stop.
    fn outcome(wire: &[u8], cuts: &[usize]) -> (Vec<u8>, Option<&'static str>) {
        let mut scanner = Scanner::default();
        let mut passed = Vec::new();
        let mut rest = wire.to_vec();
        for cut in cuts.iter().copied().chain([usize::MAX]) {
            let mut piece: Vec<u8> = rest.drain(..cut.min(rest.len())).collect();
            match scanner.scan(&mut piece) {
                Verdict::Pass => passed.extend(piece),
                Verdict::Park(at) => {
                    passed.extend(&piece[..at]);
                    return (passed, None);
                }
                Verdict::Poison(at, reason) => {
                    passed.extend(&piece[..at]);
                    return (passed, Some(reason));
                }
            }
        }
        (passed, None)
    }
}
