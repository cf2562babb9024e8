//! Requests of callers, and what came of them.

use std::io;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use ginnel_link::cut::Cut;
use ginnel_proto::code::REASON;
use ginnel_proto::hop::Hop;
use ginnel_proto::id::DeviceName;
use ginnel_relay::edge::answer::AnswerBody;
use ginnel_relay::edge::proxy::{Caller, forward};
use ginnel_relay::relay::Relay;
use http::uri::Scheme;
use http::{Request, Response};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, StreamBody};

use super::device::SERVICE;
use super::dice::Dice;
use super::relay::DOMAIN;

/// What a caller asks of the demo service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    /// To get this many bytes back that it sends.
    Echo(u64),
    /// For this many bytes.
    Bytes(u64),
    /// To take this many bytes.
    Upload(u64),
    /// For an answer after a while.
    Slow(Duration),
    /// To take a body that breaks off after this many bytes. Any answer is
    /// right but that all of it came.
    Break(u64),
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// All that was asked for.
    Right,
    /// Not all, and the caller was told so, with a code.
    Failed(String),
    /// Something else, as if it were right.
    Wrong(String),
}

/// A request that is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// What was asked.
    pub ask: Ask,
    /// What came of it.
    pub answer: Answer,
    /// How long it took, to the last byte.
    pub took: Duration,
}

impl Asked {
    /// Whether the answer was right.
    #[must_use]
    pub fn is_right(&self) -> bool {
        self.answer == Answer::Right
    }
}

/// A request's body, made while it is sent.
pub type AskBody = UnsyncBoxBody<Bytes, io::Error>;

impl Ask {
    /// A small or middling request of any kind.
    pub fn any(dice: &mut Dice) -> Self {
        match dice.below(5) {
            0 => Self::Echo(dice.length(64 * 1024)),
            1 => Self::Bytes(dice.length(256 * 1024)),
            2 => Self::Upload(dice.length(256 * 1024)),
            3 => Self::Break(dice.length(256 * 1024)),
            _ => Self::Slow(dice.between(Duration::ZERO, Duration::from_secs(5))),
        }
    }

    /// The request.
    #[must_use]
    pub fn request(self, device: &DeviceName) -> Request<AskBody> {
        let (method, path, length) = match self {
            Self::Echo(length) => ("POST", "/echo".to_owned(), length),
            Self::Bytes(count) => ("GET", format!("/bytes/{count}"), 0),
            Self::Upload(length) => ("POST", "/upload".to_owned(), length),
            Self::Slow(wait) => ("GET", format!("/slow/{}", wait.as_millis()), 0),
            Self::Break(_) => ("POST", "/upload".to_owned(), 0),
        };
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", format!("{SERVICE}.{device}.{DOMAIN}"));
        if length > 0 {
            request = request.header("content-length", length);
        }
        let body = match self {
            Self::Break(length) => broken_body(length),
            Self::Echo(_) | Self::Bytes(_) | Self::Upload(_) | Self::Slow(_) => body(length),
        };
        request.body(body).expect("a request")
    }

    /// Sends it and judges the answer.
    pub(super) async fn put(self, relay: &Arc<Relay>, device: &DeviceName) -> Answer {
        let response = send(relay, self.request(device)).await;
        self.judge(response).await
    }

    async fn judge(self, response: Response<AnswerBody>) -> Answer {
        if let Self::Break(length) = self {
            return match response.status().is_success() {
                true => Answer::Wrong(format!("{length} bytes and more were taken for all")),
                false => Answer::Right,
            };
        }
        let (head, mut body) = response.into_parts();
        let mut judge = Judge::new(self);
        while let Some(frame) = body.frame().await {
            match frame {
                Err(error) => return Answer::Failed(format!("body: {}", error.code())),
                Ok(frame) => {
                    let Ok(mut data) = frame.into_data() else {
                        continue;
                    };
                    while data.has_remaining() {
                        let length = data.chunk().len();
                        judge.take(data.chunk());
                        data.advance(length);
                    }
                }
            }
        }
        if let Some(reason) = head.headers.get(REASON) {
            let reason = reason.to_str().unwrap_or_default();
            return Answer::Failed(format!("head: {reason}"));
        }
        if head.status != 200 {
            return Answer::Wrong(format!("status {}", head.status));
        }
        judge.end()
    }
}

/// Sends any request, as the public side would.
pub async fn send(relay: &Arc<Relay>, request: Request<AskBody>) -> Response<AnswerBody> {
    let caller = Caller {
        cut: Cut::default(),
        hop: Hop::new(([198, 51, 100, 7], 50_000).into(), Scheme::HTTPS),
    };
    forward(relay, &caller, request).await
}

/// Compares an answer's bytes as they come.
struct Judge {
    ask: Ask,
    /// How many came.
    count: u64,
    /// The newest of them, as many as the answer ends with.
    tail: Vec<u8>,
    problem: Option<String>,
}

impl Judge {
    fn new(ask: Ask) -> Self {
        Self {
            ask,
            count: 0,
            tail: Vec::new(),
            problem: None,
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        match self.ask {
            Ask::Bytes(_) => {
                if !is_pattern(self.count, bytes) {
                    self.problem = Some(format!("other bytes near {}", self.count));
                }
            }
            Ask::Echo(_) | Ask::Upload(_) | Ask::Slow(_) | Ask::Break(_) => {
                self.tail.extend_from_slice(bytes)
            }
        }
        self.count += bytes.len() as u64;
    }

    fn end(self) -> Answer {
        if let Some(problem) = self.problem {
            return Answer::Wrong(problem);
        }
        let right = match self.ask {
            Ask::Bytes(count) => self.count == count,
            Ask::Upload(length) => self.tail == format!("{{\"bytes\":{length}}}").into_bytes(),
            Ask::Slow(_) => self.tail == b"done\n",
            Ask::Break(_) => false,
            Ask::Echo(length) => {
                let start = self.count.checked_sub(length);
                let echoed = start.and_then(|start| self.tail.get(usize::try_from(start).ok()?..));
                echoed.is_some_and(|echoed| is_pattern(0, echoed))
                    && self.tail.starts_with(b"POST /echo HTTP/1.1\n")
            }
        };
        if right {
            return Answer::Right;
        }
        Answer::Wrong(format!("{} bytes that are not the answer", self.count))
    }
}

/// The bytes of `/bytes/N`, again and again; the bodies sent are the same.
static PATTERN: LazyLock<Bytes> = LazyLock::new(|| {
    let byte = |at: usize| u8::try_from((at ^ (at >> 8)) & 0xff).unwrap_or_default();
    (0..64 * 1024).map(byte).collect()
});

fn is_pattern(from: u64, mut bytes: &[u8]) -> bool {
    let block = PATTERN.len() as u64;
    let mut at = from;
    while !bytes.is_empty() {
        let start = usize::try_from(at % block).unwrap_or_default();
        let expected = &PATTERN[start..];
        let length = bytes.len().min(expected.len());
        if bytes[..length] != expected[..length] {
            return false;
        }
        bytes = &bytes[length..];
        at += length as u64;
    }
    true
}

fn body(length: u64) -> AskBody {
    if length == 0 {
        return http_body_util::Empty::new()
            .map_err(|never| match never {})
            .boxed_unsync();
    }
    StreamBody::new(futures_util::stream::iter(blocks(length))).boxed_unsync()
}

/// A body whose caller goes away before its end.
fn broken_body(length: u64) -> AskBody {
    let broken = std::iter::once(Err(io::ErrorKind::ConnectionReset.into()));
    StreamBody::new(futures_util::stream::iter(blocks(length).chain(broken))).boxed_unsync()
}

fn blocks(length: u64) -> impl Iterator<Item = io::Result<Frame<Bytes>>> {
    let mut left = length;
    std::iter::from_fn(move || {
        let block = usize::try_from(left)
            .unwrap_or(usize::MAX)
            .min(PATTERN.len());
        left -= block as u64;
        (block > 0).then(|| Ok(Frame::data(PATTERN.slice(..block))))
    })
}
