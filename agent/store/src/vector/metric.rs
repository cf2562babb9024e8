//! What near means.

use std::fmt;
use std::str::FromStr;

/// How two vectors are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Metric {
    /// By the angle. Vectors are stored with length 1, so the product is the
    /// cosine.
    #[default]
    Cosine,
    /// By the inner product.
    Dot,
    /// By the distance.
    Euclidean,
}

impl Metric {
    /// All there are.
    pub const ALL: [Self; 3] = [Self::Cosine, Self::Dot, Self::Euclidean];

    /// Its name in the database.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Cosine => "cosine",
            Self::Dot => "dot",
            Self::Euclidean => "euclidean",
        }
    }

    /// How near two vectors of the same length are: the cosine from -1 to 1,
    /// the inner product, or minus the distance. More is nearer.
    #[must_use]
    pub fn score(self, query: &[f32], vector: &[f32]) -> f32 {
        match self {
            Self::Cosine | Self::Dot => sum_of(query, vector, |a, b| a * b),
            Self::Euclidean => -sum_of(query, vector, |a, b| (a - b) * (a - b)).sqrt(),
        }
    }
}

/// Adds up in eight lanes, which the compiler can do at once, and in the same
/// order everywhere.
fn sum_of(a: &[f32], b: &[f32], term: impl Fn(f32, f32) -> f32) -> f32 {
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    let mut lanes = [0.0; 8];
    for (a, b) in a.iter().zip(b) {
        for (lane, (a, b)) in lanes.iter_mut().zip(a.iter().zip(b)) {
            *lane += term(*a, *b);
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| term(*a, *b)).sum();
    lanes.iter().sum::<f32>() + rest
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Metric {
    type Err = UnknownMetric;

    fn from_str(name: &str) -> Result<Self, UnknownMetric> {
        let known = Self::ALL.into_iter().find(|metric| metric.name() == name);
        known.ok_or_else(|| UnknownMetric(name.chars().take(80).collect()))
    }
}

/// A name that is no metric's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown metric, it is one of cosine, dot, euclidean, found={0:?}")]
pub struct UnknownMetric(String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores() {
        let a: Vec<f32> = (0..19).map(|value| value as f32).collect();
        let b = vec![2.0; 19];
        assert_eq!(Metric::Dot.score(&a, &b), 342.0);
        assert_eq!(Metric::Cosine.score(&a, &b), 342.0);
        assert_eq!(
            Metric::Euclidean.score(&a[..5], &b[..5]),
            -(10.0_f32.sqrt())
        );
        assert_eq!(Metric::Euclidean.score(&a, &a), 0.0);
    }

    #[test]
    fn names_are_read_back() {
        for metric in Metric::ALL {
            assert_eq!(metric.name().parse(), Ok(metric));
        }
        assert!("hamming".parse::<Metric>().is_err());
    }
}
