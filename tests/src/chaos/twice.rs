//! How many bytes of chunks travelled, told from datagrams.
//!
//! Each datagram has some bytes that are QUIC's: its head, its seal and the
//! heads of frames. How many, on the average, an undisturbed transfer shows,
//! of which is known what travelled.

use super::way::Passed;

/// Tells chunks from what is around them.
#[derive(Debug, Default)]
pub(super) struct Meter {
    /// Bytes of each datagram that are QUIC's.
    around_up: f64,
    around_down: f64,
}

impl Meter {
    /// From a push and a pull of so many bytes that nothing disturbed.
    pub(super) fn calibrated(bytes: u64, up: Passed, down: Passed) -> Self {
        let meter = Self {
            around_up: around(bytes, up),
            around_down: around(bytes, down),
        };
        eprintln!(
            "chaos: a datagram has {:.1} B around its data up, {:.1} B down",
            meter.around_up, meter.around_down
        );
        meter
    }

    pub(super) fn up(&self, passed: Passed) -> u64 {
        within(passed, self.around_up)
    }

    pub(super) fn down(&self, passed: Passed) -> u64 {
        within(passed, self.around_down)
    }
}

fn around(bytes: u64, passed: Passed) -> f64 {
    let extra = passed.bytes.saturating_sub(bytes);
    as_float(extra) / as_float(passed.datagrams.max(1))
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "bytes that passed are no more than 2^53, and not below zero"
)]
fn within(passed: Passed, around: f64) -> u64 {
    (as_float(passed.bytes) - around * as_float(passed.datagrams)).max(0.0) as u64
}

/// Exact below 2^53, which no number of bytes here comes near.
#[expect(clippy::cast_precision_loss, reason = "no more than 2^53")]
fn as_float(number: u64) -> f64 {
    number as f64
}
