//! What is done to requests on purpose.

use std::sync::Mutex;

use http::StatusCode;

use super::lock;
use super::operation::{Operation, Target};

/// What is done to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It is answered with this status; the server does not hear of it.
    Status(StatusCode),
    /// The server does it, and the connection is cut before the answer.
    LoseAnswer,
    /// The connection is cut when the server was sent so many bytes of the
    /// body. Bodies of that length or less, or of no known length, are left.
    CutUpload {
        /// In bytes.
        after: u64,
    },
    /// The connection is cut when the client was sent so many bytes of a
    /// successful answer's body. Shorter answers are left.
    CutDownload {
        /// In bytes.
        after: u64,
    },
    /// The byte at this offset of the object is inverted in the answer.
    /// Answers without this byte are left.
    FlipByte {
        /// In bytes from the object's start, not the range's.
        offset: u64,
    },
}

/// A fault, and which requests it is for. Every request finds at most one
/// fault on its way in and one on its way out, the oldest that fits.
#[derive(Debug, Clone)]
pub struct Rule {
    fault: Fault,
    operation: Option<Operation>,
    key: Option<String>,
    left: u64,
}

impl Rule {
    /// For the next request, whatever it is.
    #[must_use]
    pub fn new(fault: Fault) -> Self {
        Self {
            fault,
            operation: None,
            key: None,
            left: 1,
        }
    }

    /// Only for this operation.
    #[must_use]
    pub fn on(mut self, operation: Operation) -> Self {
        self.operation = Some(operation);
        self
    }

    /// Only for this key.
    #[must_use]
    pub fn key(mut self, key: &str) -> Self {
        self.key = Some(key.to_owned());
        self
    }

    /// For so many requests.
    #[must_use]
    pub fn times(mut self, times: u64) -> Self {
        self.left = times;
        self
    }

    fn is_for(&self, target: &Target) -> bool {
        self.left > 0
            && self
                .operation
                .is_none_or(|operation| operation == target.operation)
            && self.key.as_ref().is_none_or(|key| *key == target.key)
    }
}

/// The rules that have requests to find yet.
#[derive(Debug, Default)]
pub(super) struct Faults(Mutex<Vec<Rule>>);

impl Faults {
    pub(super) fn add(&self, rule: Rule) {
        lock(&self.0).push(rule);
    }

    pub(super) fn clear(&self) {
        lock(&self.0).clear();
    }

    pub(super) fn left(&self) -> u64 {
        lock(&self.0).iter().map(|rule| rule.left).sum()
    }

    /// What is done to a request with a body of this length.
    pub(super) fn before(&self, target: &Target, length: Option<u64>) -> Option<Fault> {
        self.take(target, |fault| match fault {
            Fault::Status(_) | Fault::LoseAnswer => true,
            Fault::CutUpload { after } => length.is_some_and(|length| length > after),
            Fault::CutDownload { .. } | Fault::FlipByte { .. } => false,
        })
    }

    /// What is done to a successful answer with so many bytes of an object
    /// from `start`.
    pub(super) fn after(&self, target: &Target, start: u64, length: u64) -> Option<Fault> {
        self.take(target, |fault| match fault {
            Fault::Status(_) | Fault::LoseAnswer | Fault::CutUpload { .. } => false,
            Fault::CutDownload { after } => length > after,
            Fault::FlipByte { offset } => {
                let offset = offset.checked_sub(start);
                offset.is_some_and(|offset| offset < length)
            }
        })
    }

    fn take(&self, target: &Target, fits: impl Fn(Fault) -> bool) -> Option<Fault> {
        let mut rules = lock(&self.0);
        let place = rules
            .iter()
            .position(|rule| rule.is_for(target) && fits(rule.fault))?;
        let rule = rules.get_mut(place)?;
        let fault = rule.fault;
        rule.left -= 1;
        if rule.left == 0 {
            rules.remove(place);
        }
        Some(fault)
    }
}
