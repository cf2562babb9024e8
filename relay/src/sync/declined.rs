//! Why an artifact is not taken or not given.

use std::fmt;

use ginnel_proto::code::Code;

use super::entry::NotYours;
use crate::objects::error::{Error, ErrorKind};
use crate::registry;

/// A reason as a code for programs and a text for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declined {
    /// For programs.
    pub code: Code,
    /// For people: what happened, to which thing, and what to do.
    pub reason: String,
}

impl Declined {
    /// A reason.
    pub fn new(code: Code, reason: impl fmt::Display) -> Self {
        let reason = reason.to_string();
        Self { code, reason }
    }

    /// Whether the same may well succeed later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self.code, Code::BucketUnavailable | Code::Overloaded)
    }

    pub(super) fn conflict(why: NotYours) -> Self {
        match why {
            NotYours::Owned => Self::new(Code::Conflict, why),
            // It is not for ever.
            NotYours::Busy { .. } | NotYours::Removed { .. } => Self::new(Code::Overloaded, why),
        }
    }

    /// Another push of the name has taken over.
    pub(super) fn lost() -> Self {
        let reason = "another push of this name took over; its version is the one that counts";
        Self::new(Code::Conflict, reason)
    }

    /// Too many write the same entry.
    pub(super) fn busy() -> Self {
        let reason = "too many change this artifact at once; hint: try again";
        Self::new(Code::Overloaded, reason)
    }

    pub(super) fn missing(name: impl fmt::Display) -> Self {
        let reason = format_args!("there is no such artifact, name={name}");
        Self::new(Code::NoArtifact, reason)
    }
}

impl From<Error> for Declined {
    /// What a bucket says is for the relay's operator, who reads the log: it
    /// names hosts and keys.
    fn from(error: Error) -> Self {
        tracing::warn!(%error, "the bucket failed");
        let reason = match error.kind() {
            ErrorKind::Changed => "what is in the bucket changed meanwhile; hint: try again",
            ErrorKind::Missing => "something is gone from the bucket; hint: try again",
            ErrorKind::Denied => {
                "the bucket refuses the relay's key; hint: the relay's log says more"
            }
            ErrorKind::Unavailable => "the bucket cannot be reached; hint: try again later",
            ErrorKind::Invalid => {
                "the bucket does not do what it should; hint: the relay's log says more"
            }
        };
        let code = match error.kind() {
            ErrorKind::Denied | ErrorKind::Invalid => Code::Internal,
            ErrorKind::Changed | ErrorKind::Missing | ErrorKind::Unavailable => {
                Code::BucketUnavailable
            }
        };
        Self::new(code, reason)
    }
}

impl From<registry::error::Error> for Declined {
    /// Likewise.
    fn from(error: registry::error::Error) -> Self {
        if error.kind() == registry::error::ErrorKind::Invalid {
            return Self::new(Code::BadRequest, error);
        }
        tracing::warn!(%error, "the registry failed");
        Self::new(
            Code::Internal,
            "the relay's registry failed; hint: its log says more",
        )
    }
}

impl fmt::Display for Declined {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, code={}", self.reason, self.code)
    }
}

impl std::error::Error for Declined {}
