//! What was used, added up in memory until the registry has it.
//!
//! ```text
//! add ─▶ open sums ── batch ─▶ being written ── written ─▶ nothing
//!                                   └── batch ─▶ the same again
//! ```
//!
//! A batch stays as it is, under its number, until it was written: then the
//! registry can tell whether it has seen it.

use ginnel_daemon::tally::Tally;
use std::collections::BTreeMap;

use tokio::time::Instant;
use tracing::warn;

use crate::registry::limits::USAGE_BATCH_MAX;
use crate::registry::usage::{Amount, UsageBatch, UsageKey, UsageSum};

/// Sums kept until they are written. One is about 300 bytes, and few users ask
/// many models within a second; only while the disk is full or the registry
/// busy can there be so many.
const SUMS_MAX: usize = 100_000;

/// Usage that is not yet in the registry.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    open: BTreeMap<UsageKey, Amount>,
    writing: Option<UsageBatch>,
    /// Made with the first batch.
    run: Option<[u8; 16]>,
    /// Of the last batch.
    number: u64,
    dropped: Tally,
}

impl Ledger {
    /// Adds what was used. At the limit nothing new is noted.
    pub(crate) fn add(&mut self, key: UsageKey, amount: &Amount) {
        if let Some(sum) = self.open.get_mut(&key) {
            sum.add(amount);
        } else if self.open.len() < SUMS_MAX {
            self.open.insert(key, *amount);
        } else if let Some(times) = self.dropped.count(Instant::now()) {
            warn!(
                times,
                "usage is not being written, so it is no longer noted; told once a minute"
            );
        }
    }

    /// What is to be written now: what was given out before and not
    /// [`written`](Self::written), else the next.
    pub(crate) fn batch(&mut self) -> Option<UsageBatch> {
        if self.writing.is_none() && !self.open.is_empty() {
            self.writing = Some(self.next()?);
        }
        self.writing.clone()
    }

    /// The registry has that batch, or never will.
    pub(crate) fn written(&mut self, number: u64) {
        if self.writing.as_ref().is_some_and(|of| of.number == number) {
            self.writing = None;
        }
    }

    fn next(&mut self) -> Option<UsageBatch> {
        let run = match self.run {
            Some(run) => run,
            None => *self.run.insert(random()?),
        };
        self.number += 1;
        let mut sums = Vec::with_capacity(self.open.len().min(USAGE_BATCH_MAX));
        while sums.len() < USAGE_BATCH_MAX
            && let Some((key, amount)) = self.open.pop_first()
        {
            sums.push(UsageSum { key, amount });
        }
        Some(UsageBatch {
            run,
            number: self.number,
            sums,
        })
    }
}

/// `None` if the system has no randomness: later, then.
fn random() -> Option<[u8; 16]> {
    let mut random = [0; 16];
    aws_lc_rs::rand::fill(&mut random).ok()?;
    Some(random)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::usage::Hour;

    #[test]
    fn requests_of_one_kind_are_one_sum() {
        let mut ledger = Ledger::default();
        for _ in 0..3 {
            ledger.add(key("small", 0), &AMOUNT);
        }
        ledger.add(key("large", 0), &AMOUNT);
        ledger.add(key("small", 3_600_000), &AMOUNT);
        let batch = ledger.batch().expect("something");
        let requests: Vec<_> = batch.sums.iter().map(|sum| sum.amount.requests).collect();
        assert_eq!(requests, [1, 3, 1]);
        assert_eq!(batch.sums[1].amount.bytes_out, 30);
    }

    #[test]
    fn a_batch_stays_the_same_until_it_is_written() {
        let mut ledger = Ledger::default();
        assert_eq!(ledger.batch(), None);
        ledger.add(key("small", 0), &AMOUNT);
        let first = ledger.batch().expect("something");
        ledger.add(key("small", 0), &AMOUNT);
        assert_eq!(ledger.batch(), Some(first.clone()));
        ledger.written(first.number);
        let second = ledger.batch().expect("what came since");
        assert_eq!(second.run, first.run);
        assert!(second.number > first.number);
        // A late answer about the first says nothing of the second.
        ledger.written(first.number);
        assert_eq!(ledger.batch(), Some(second.clone()));
        ledger.written(second.number);
        assert_eq!(ledger.batch(), None);
    }

    #[test]
    fn batches_and_the_ledger_have_a_limit() {
        let mut ledger = Ledger::default();
        for n in 0..SUMS_MAX + 1 {
            ledger.add(key(&n.to_string(), 0), &AMOUNT);
        }
        let mut sums = 0;
        while let Some(batch) = ledger.batch() {
            assert!(batch.sums.len() <= USAGE_BATCH_MAX);
            sums += batch.sums.len();
            ledger.written(batch.number);
        }
        assert_eq!(sums, SUMS_MAX);
    }

    const AMOUNT: Amount = Amount {
        requests: 1,
        bytes_in: 1,
        bytes_out: 10,
        input_tokens: 0,
        output_tokens: 0,
    };

    fn key(model: &str, at_ms: i64) -> UsageKey {
        UsageKey {
            user: "alice".parse().expect("valid"),
            device: "laptop".parse().expect("valid"),
            upstream: "cloud".parse().expect("valid"),
            model: Some(model.to_owned()),
            hour: Hour::of(at_ms),
        }
    }
}
