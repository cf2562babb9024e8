//! Why a transfer stopped, and what becomes of it.

use std::fmt;

use ginnel_link::error::{LinkError, StreamError};
use ginnel_proto::code::Code;
use ginnel_store::error::{Error, ErrorKind};

use crate::models::ModelsError;

/// Why a transfer stopped.
#[derive(Debug)]
pub struct Failure {
    /// What becomes of it.
    pub then: Then,
    /// For people: what happened, to which thing, and what to do.
    pub reason: String,
}

/// What becomes of a transfer that stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// It is tried again after a while.
    Retry,
    /// It begins anew: what it would go on with is gone.
    Anew,
    /// It cannot go on by itself.
    Give,
}

impl Failure {
    /// It cannot go on by itself.
    pub fn give(reason: impl fmt::Display) -> Self {
        Self::new(Then::Give, reason)
    }

    /// It is tried again after a while.
    pub fn retry(reason: impl fmt::Display) -> Self {
        Self::new(Then::Retry, reason)
    }

    fn new(then: Then, reason: impl fmt::Display) -> Self {
        let reason = reason.to_string();
        Self { then, reason }
    }

    /// What the relay says in its own words.
    pub fn of_relay(code: Code, reason: impl fmt::Display) -> Self {
        const FOR_GOOD: [Code; 7] = [
            Code::Conflict,
            Code::QuotaExceeded,
            Code::TooLarge,
            Code::Denied,
            Code::BadRequest,
            Code::Malformed,
            Code::Violation,
        ];
        let then = if code == Code::NoArtifact {
            Then::Anew
        } else if FOR_GOOD.contains(&code) {
            Then::Give
        } else {
            Then::Retry
        };
        Self::new(then, reason)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        if matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Closed) {
            Self::retry(error)
        } else {
            Self::give(error)
        }
    }
}

impl From<ModelsError> for Failure {
    fn from(error: ModelsError) -> Self {
        match error {
            ModelsError::Store(error) => error.into(),
            ModelsError::Missing(_)
            | ModelsError::NoFile(_)
            | ModelsError::Refused(_)
            | ModelsError::Invalid(_) => Self::give(error),
        }
    }
}

impl From<StreamError> for Failure {
    fn from(error: StreamError) -> Self {
        if matches!(error, StreamError::Stopped(_)) {
            let code = error.code();
            return Self::of_relay(code, format_args!("the relay broke off, code={code}"));
        }
        Self::retry(error)
    }
}

impl From<LinkError> for Failure {
    fn from(error: LinkError) -> Self {
        Self::retry(error)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl std::error::Error for Failure {}
