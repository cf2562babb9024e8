//! Why a link or a stream ended.

use ginnel_proto::PayloadError;
use ginnel_proto::code::Code;
use ginnel_proto::frame::FrameError;
use ginnel_proto::link::session::Violation;
use quinn_proto::TransportErrorCode;

/// Why a link could not be opened, or ended.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// The other side closed the link and said why.
    #[error("closed by the other side, code={code}{}", reason_suffix(.reason))]
    Closed {
        /// The reason as a number.
        code: Code,
        /// The reason for people; may be empty.
        reason: String,
    },
    /// We closed it.
    #[error("closed on this side")]
    ClosedHere,
    /// TLS refused one side's certificate or offer.
    #[error("refused in the TLS handshake, reason={reason}")]
    Refused {
        /// What the alert says, in words.
        reason: String,
    },
    /// Nothing was heard from the other side for too long.
    #[error("no answer from the other side")]
    TimedOut,
    /// The relay takes no new links for now.
    #[error("the relay lets nobody in now: it is stopping or has too much to do")]
    NotNow,
    /// The other side restarted and no longer knows the link.
    #[error("the other side restarted")]
    Reset,
    /// The other side broke the protocol.
    #[error("protocol violation, {0}")]
    Violation(String),
    /// Anything else QUIC reports.
    #[error("QUIC failed, {0}")]
    Transport(String),
}

fn reason_suffix(reason: &str) -> String {
    if reason.is_empty() {
        return String::new();
    }
    format!(" reason={reason:?}")
}

impl LinkError {
    /// The code the other side closed with, if it did.
    #[must_use]
    pub fn code(&self) -> Option<Code> {
        match self {
            Self::Closed { code, .. } => Some(*code),
            Self::ClosedHere
            | Self::Refused { .. }
            | Self::TimedOut
            | Self::NotNow
            | Self::Reset
            | Self::Violation(_)
            | Self::Transport(_) => None,
        }
    }
}

impl From<quinn::ConnectionError> for LinkError {
    fn from(error: quinn::ConnectionError) -> Self {
        use quinn::ConnectionError as E;
        match error {
            E::ApplicationClosed(close) => Self::Closed {
                code: Code::from_number(close.error_code.into_inner()),
                reason: String::from_utf8_lossy(&close.reason).into_owned(),
            },
            E::ConnectionClosed(close)
                if close.error_code == TransportErrorCode::CONNECTION_REFUSED =>
            {
                Self::NotNow
            }
            E::ConnectionClosed(close) => match alert(u64::from(close.error_code)) {
                Some(alert) => Self::Refused {
                    reason: format!("the other side says: {}", alert_text(alert)),
                },
                None => Self::Transport(close.to_string()),
            },
            E::TransportError(error) => match alert(u64::from(error.code)) {
                Some(_) => Self::Refused {
                    reason: error.reason,
                },
                None => Self::Transport(error.to_string()),
            },
            E::TimedOut => Self::TimedOut,
            E::Reset => Self::Reset,
            E::LocallyClosed => Self::ClosedHere,
            E::VersionMismatch | E::CidsExhausted => Self::Transport(error.to_string()),
        }
    }
}

impl From<Violation> for LinkError {
    fn from(violation: Violation) -> Self {
        Self::Violation(violation.to_string())
    }
}

impl From<PayloadError> for LinkError {
    fn from(error: PayloadError) -> Self {
        Self::Violation(error.to_string())
    }
}

/// QUIC carries TLS alerts as 0x100 plus the alert (RFC 9001 §4.8).
fn alert(code: u64) -> Option<u64> {
    (0x100..0x200).contains(&code).then(|| code - 0x100)
}

/// TLS alerts (RFC 8446 §6.2) in words that tell what to do.
fn alert_text(alert: u64) -> String {
    let text = match alert {
        42 => "the certificate is damaged",
        43 => "the certificate is of an unsupported kind",
        44 => "the certificate was revoked",
        45 => "the certificate has expired, or the clock is wrong",
        46 => "the certificate is not acceptable",
        48 => "the certificate is not from the relay's authority",
        70 => "TLS 1.3 is required",
        116 => "a certificate is required",
        120 => "no common protocol version (ALPN)",
        other => return format!("TLS alert {other}"),
    };
    text.to_owned()
}

/// Why a stream could not be read or written on.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum StreamError {
    /// The other side reset the stream or stopped reading it.
    #[error("stopped by the other side, code={0}")]
    Stopped(Code),
    /// The link went down.
    #[error("link lost: {0}")]
    LinkLost(#[from] LinkError),
    /// A frame could not be read.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// A payload could not be read.
    #[error(transparent)]
    Payload(#[from] PayloadError),
    /// The stream ended before what was expected of it.
    #[error("stream ended too early, expected={0}")]
    Ended(&'static str),
    /// Another frame was expected.
    #[error("frame out of place, expected={0}")]
    OutOfPlace(&'static str),
    /// The reader took nothing for too long.
    #[error("the other side took no data for too long")]
    Stalled,
    /// What we were sending broke off at its source.
    #[error("source of the body failed: {0}")]
    Source(String),
}

impl StreamError {
    /// The code that says this to the other side, or to an HTTP caller.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::Stopped(code) => *code,
            Self::LinkLost(_) => Code::LinkLost,
            Self::Frame(error) => error.code(),
            Self::Payload(error) => error.code(),
            Self::Ended(_) | Self::OutOfPlace(_) => Code::Malformed,
            Self::Stalled => Code::IdleTimeout,
            Self::Source(_) => Code::ServiceFailed,
        }
    }
}

impl From<quinn::ReadError> for StreamError {
    fn from(error: quinn::ReadError) -> Self {
        use quinn::ReadError as E;
        match error {
            E::Reset(code) => Self::Stopped(Code::from_number(code.into_inner())),
            E::ConnectionLost(error) => Self::LinkLost(error.into()),
            E::ClosedStream | E::IllegalOrderedRead | E::ZeroRttRejected => {
                Self::Ended("an open stream")
            }
        }
    }
}

impl From<quinn::WriteError> for StreamError {
    fn from(error: quinn::WriteError) -> Self {
        use quinn::WriteError as E;
        match error {
            E::Stopped(code) => Self::Stopped(Code::from_number(code.into_inner())),
            E::ConnectionLost(error) => Self::LinkLost(error.into()),
            E::ClosedStream | E::ZeroRttRejected => Self::Ended("an open stream"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificate_alerts_say_what_to_do() {
        let text = alert_text(alert(0x100 + 45).expect("an alert"));
        assert!(text.contains("expired") && text.contains("clock"));
        assert_eq!(alert(0x0a), None);
    }

    #[test]
    fn an_empty_reason_leaves_no_trace() {
        let closed = |reason: &str| LinkError::Closed {
            code: Code::Superseded,
            reason: reason.into(),
        };
        assert_eq!(
            closed("").to_string(),
            "closed by the other side, code=superseded"
        );
        assert!(closed("x").to_string().ends_with("reason=\"x\""));
    }
}
