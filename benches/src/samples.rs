//! What was measured, round by round.

use serde::Serialize;

/// What a figure says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Figure {
    /// Body bytes a second.
    BytesPerSecond,
    /// CPU seconds for 10⁹ body bytes.
    CpuPerGb,
    /// Answers a second.
    RequestsPerSecond,
    /// Half of the answers took at most this many microseconds.
    P50Us,
    /// The slowest percent took at least this many microseconds.
    P99Us,
    /// CPU microseconds for each answer.
    CpuUs,
    /// Half of the answers took at most this many CPU microseconds.
    CpuP50Us,
    /// The slowest percent took at least this many CPU microseconds.
    CpuP99Us,
    /// The share of the true neighbours that was found.
    Recall,
    /// Queries a second.
    QueriesPerSecond,
    /// Requests or devices that failed.
    Failed,
    /// Memory of the listening end for each idle link, in KiB.
    KibPerLink,
    /// Full handshakes a second.
    HandshakesPerSecond,
}

/// One figure of one subject in one round.
#[derive(Debug, Clone, Serialize)]
pub struct Sample {
    /// Counts from one.
    pub round: u32,
    /// What was done.
    pub measure: &'static str,
    /// By whom.
    pub subject: &'static str,
    /// What it says.
    pub figure: Figure,
    /// The figure.
    pub value: f64,
}

/// All samples of a run.
#[derive(Debug, Default, Serialize)]
#[serde(transparent)]
pub struct Samples(Vec<Sample>);

/// Where the rounds lie.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Summary {
    /// The one in the middle.
    pub median: f64,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
}

impl Samples {
    /// Notes figures of one measurement.
    pub fn add(
        &mut self,
        round: u32,
        measure: &'static str,
        subject: &'static str,
        figures: &[(Figure, f64)],
    ) {
        self.0.extend(figures.iter().map(|(figure, value)| Sample {
            round,
            measure,
            subject,
            figure: *figure,
            value: *value,
        }));
    }

    /// The figure in a round.
    #[must_use]
    pub fn at(&self, round: u32, measure: &str, subject: &str, figure: Figure) -> Option<f64> {
        let mut found = self.0.iter().filter(|sample| {
            sample.round == round
                && sample.measure == measure
                && sample.subject == subject
                && sample.figure == figure
        });
        found.next().map(|sample| sample.value)
    }

    /// The figure over all rounds.
    #[must_use]
    pub fn summary(&self, measure: &str, subject: &str, figure: Figure) -> Option<Summary> {
        self.each_round(|round| self.at(round, measure, subject, figure))
    }

    /// The figure as a multiple of another subject's in the same round.
    #[must_use]
    pub fn ratio(
        &self,
        measure: &str,
        (subject, base): (&str, &str),
        figure: Figure,
    ) -> Option<Summary> {
        self.each_round(|round| {
            let value = self.at(round, measure, subject, figure)?;
            Some(value / self.at(round, measure, base, figure)?)
        })
    }

    /// Anything that can be computed for a round, over the rounds that have
    /// it.
    #[must_use]
    pub fn each_round(&self, compute: impl Fn(u32) -> Option<f64>) -> Option<Summary> {
        let last = self.0.iter().map(|sample| sample.round).max()?;
        Summary::of((1..=last).filter_map(compute).collect())
    }
}

impl Summary {
    /// `None` of nothing.
    #[must_use]
    pub fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        let upper = *values.get(middle)?;
        let median = if values.len().is_multiple_of(2) {
            f64::midpoint(*values.get(middle.checked_sub(1)?)?, upper)
        } else {
            upper
        };
        Some(Self {
            median,
            min: *values.first()?,
            max: *values.last()?,
        })
    }

    /// The same in another unit.
    #[must_use]
    pub fn scale(self, factor: f64) -> Self {
        Self {
            median: self.median * factor,
            min: self.min * factor,
            max: self.max * factor,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_is_taken_within_each_round() {
        let mut samples = Samples::default();
        for (round, base, own) in [(1, 10.0, 5.0), (2, 100.0, 40.0), (3, 1.0, 0.6)] {
            samples.add(round, "m", "base", &[(Figure::P50Us, base)]);
            samples.add(round, "m", "own", &[(Figure::P50Us, own)]);
        }
        let ratio = samples.ratio("m", ("own", "base"), Figure::P50Us);
        assert_eq!(ratio, Summary::of(vec![0.5, 0.4, 0.6]));
        assert_eq!(ratio.map(|ratio| ratio.median), Some(0.5));
        assert_eq!(samples.summary("m", "nobody", Figure::P50Us), None);
    }

    #[test]
    fn the_median_of_an_even_number_lies_between() {
        let summary = Summary::of(vec![4.0, 1.0, 3.0, 2.0]).expect("not empty");
        assert_eq!((summary.min, summary.median, summary.max), (1.0, 2.5, 4.0));
    }
}
