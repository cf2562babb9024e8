//! Ginnel's protocol, in one page.
//!
//! A *device* keeps one *link*, a QUIC connection with mutual TLS, to a
//! *relay*. The first stream the device opens is the control stream. Both
//! sides then open a stream for each forwarded request.
//!
//! ```text
//! device                                   relay
//!   │── MSG Hello ─────────────────────────▶│   control stream
//!   │◀─────────────────────── MSG Welcome ──│   now the device is connected
//!   │── MSG Register(services) ────────────▶│
//!   │◀──────────────────── MSG Registered ──│   now callers can reach them
//!   │                                       │
//!   │◀───────────── OPEN http · HEAD · DATA │   a stream for each request
//!   │── HEAD · DATA · TRAILERS · FIN ──────▶│
//!   │                                       │
//!   │┄┄ datagram Ping ┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄▶│   heartbeat, every 30 s
//!   │◀┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄ datagram Pong ┄│
//! ```
//!
//! This crate turns bytes into valid values and back, and decides what to do
//! when. It never sleeps, spawns, reads a clock or draws a random number:
//! `now` and randomness are arguments. `docs/PROTOCOL.md` is the normative
//! text; `ginnel-link` runs these state machines over quinn.
//!
//! * [`frame`] cuts a stream into frames; [`varint`] is their integer.
//! * [`control`], [`open`], [`http`] and [`join`] are the frames' payloads.
//! * [`datagram`] is the heartbeat on the wire.
//! * [`link`] holds the state machines: session, heartbeat, back-off.
//! * [`id`], [`code`] and [`limits`] are names, reasons and bounds.

#![forbid(unsafe_code)]
#![cfg_attr(
    test,
    allow(
        clippy::disallowed_methods,
        reason = "a test's virtual clock begins at some instant"
    )
)]

pub mod artifact;
pub mod code;
pub mod control;
pub mod datagram;
pub mod frame;
pub mod hop;
pub mod http;
pub mod id;
pub mod join;
pub mod limits;
pub mod link;
pub mod message;
pub mod open;
pub mod push;
pub mod sync;
pub mod varint;

mod wire;

/// Why a payload is not what its frame says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PayloadError {
    /// Not the protobuf message it should be.
    #[error("payload cannot be read, message={message}: {reason}")]
    Unreadable {
        /// The message's name in the schema.
        message: &'static str,
        /// What the decoder says.
        reason: String,
    },
    /// A field is missing or breaks its rule.
    #[error("field is not valid, field={field}: {reason}")]
    Invalid {
        /// The field, as `Message.field`.
        field: &'static str,
        /// Which rule it breaks.
        reason: String,
    },
    /// A head has too many fields or is too large.
    #[error("head is over its limit, {reason}")]
    TooLarge {
        /// Which limit.
        reason: String,
    },
}

impl PayloadError {
    /// The code to reset the stream or close the link with.
    #[must_use]
    pub fn code(&self) -> code::Code {
        match self {
            Self::TooLarge { .. } => code::Code::HeadTooLarge,
            Self::Unreadable { .. } | Self::Invalid { .. } => code::Code::Malformed,
        }
    }

    fn unreadable(message: &'static str, error: &prost::DecodeError) -> Self {
        Self::Unreadable {
            message,
            reason: error.to_string(),
        }
    }

    fn invalid(field: &'static str, reason: impl ToString) -> Self {
        Self::Invalid {
            field,
            reason: reason.to_string(),
        }
    }
}
