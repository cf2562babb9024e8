//! How often each operation was asked for, and how many bytes of bodies went
//! each way.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http_body::Body;

use super::body::{Cut, Passed};
use super::operation::Operation;

const OPERATIONS: usize = Operation::ALL.len();

/// What was asked and moved, up to one moment. Bytes are those of bodies
/// only, and count as they pass, so that half a body is half counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts([Count; OPERATIONS]);

/// Of one operation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Count {
    requests: u64,
    ranged: u64,
    refused: u64,
    received: u64,
    sent: u64,
}

impl Counts {
    /// Requests whose head arrived, answered or not.
    #[must_use]
    pub fn requests(&self, operation: Operation) -> u64 {
        self.of(operation).requests
    }

    /// Those of them that asked for a range.
    #[must_use]
    pub fn ranged(&self, operation: Operation) -> u64 {
        self.of(operation).ranged
    }

    /// Those of them that the proxy refused in the server's place, by law or
    /// by an injected fault.
    #[must_use]
    pub fn refused(&self, operation: Operation) -> u64 {
        self.of(operation).refused
    }

    /// Bytes from clients.
    #[must_use]
    pub fn received(&self, operation: Operation) -> u64 {
        self.of(operation).received
    }

    /// Bytes to clients.
    #[must_use]
    pub fn sent(&self, operation: Operation) -> u64 {
        self.of(operation).sent
    }

    /// What came after `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let mut counts = *self;
        for (count, before) in counts.0.iter_mut().zip(&earlier.0) {
            count.requests = count.requests.saturating_sub(before.requests);
            count.ranged = count.ranged.saturating_sub(before.ranged);
            count.refused = count.refused.saturating_sub(before.refused);
            count.received = count.received.saturating_sub(before.received);
            count.sent = count.sent.saturating_sub(before.sent);
        }
        counts
    }

    fn of(&self, operation: Operation) -> Count {
        self.0.get(operation as usize).copied().unwrap_or_default()
    }
}

/// A line for each operation that was asked for.
impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for operation in Operation::ALL {
            let count = self.of(operation);
            if count.requests > 0 {
                writeln!(
                    f,
                    "{operation}: {} requests, {} for ranges, {} refused, {} B received, {} B sent",
                    count.requests, count.ranged, count.refused, count.received, count.sent
                )?;
            }
        }
        Ok(())
    }
}

/// Counts while requests run.
#[derive(Debug, Default)]
pub(super) struct Counters([Counter; OPERATIONS]);

#[derive(Debug, Default)]
struct Counter {
    requests: AtomicU64,
    ranged: AtomicU64,
    refused: AtomicU64,
    received: Arc<AtomicU64>,
    sent: Arc<AtomicU64>,
}

impl Counters {
    pub(super) fn request(&self, operation: Operation) {
        self.of(operation).requests.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn ranged(&self, operation: Operation) {
        self.of(operation).ranged.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn refused(&self, operation: Operation) {
        self.of(operation).refused.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a request's body.
    pub(super) fn upload<B: Body>(&self, operation: Operation, body: B) -> Passed<B>
    where
        Cut: From<B::Error>,
    {
        Passed::new(body, Arc::clone(&self.of(operation).received))
    }

    /// Counts an answer's body.
    pub(super) fn download<B: Body>(&self, operation: Operation, body: B) -> Passed<B>
    where
        Cut: From<B::Error>,
    {
        Passed::new(body, Arc::clone(&self.of(operation).sent))
    }

    pub(super) fn read(&self) -> Counts {
        let mut counts = Counts::default();
        for (count, counter) in counts.0.iter_mut().zip(&self.0) {
            *count = Count {
                requests: counter.requests.load(Ordering::Relaxed),
                ranged: counter.ranged.load(Ordering::Relaxed),
                refused: counter.refused.load(Ordering::Relaxed),
                received: counter.received.load(Ordering::Relaxed),
                sent: counter.sent.load(Ordering::Relaxed),
            };
        }
        counts
    }

    fn of(&self, operation: Operation) -> &Counter {
        self.0.get(operation as usize).expect("one for each")
    }
}
