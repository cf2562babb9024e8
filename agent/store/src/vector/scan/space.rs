//! Where vectors lie in an index: rotated, and moved so that the origin is
//! among them. What is near is then what has a large inner product with a
//! probe made of the query, plus a bias of its own.
//!
//! - Cosine and dot: `⟨v, q⟩ = ⟨x, Rq⟩ + constant`, where `x = Rv - origin`.
//! - Euclidean: `-|v - q|² ÷ 2 = ⟨x, Rq - origin⟩ - |x|² ÷ 2 + constant`.
//!
//! The constant is the same for all vectors, so the order is the same without.
//!
//! Queries come from somewhere too: the error of an estimate grows with the
//! length of the probe, so what probes have in common is taken off them first.

use super::bytes8::{self, Query8};
use super::code::{self, Terms};
use super::rotation::Rotation;
use super::wide::{product, sum_of, wide};
use crate::vector::metric::Metric;

/// The rotation, origin and metric of an index.
#[derive(Debug, Clone, PartialEq)]
pub struct Space {
    rotation: Rotation,
    origin: Vec<f32>,
    metric: Metric,
}

/// A query where vectors lie.
#[derive(Debug, Clone)]
pub struct Probe {
    /// Rotated, and moved if the metric is Euclidean.
    pub values: Vec<f32>,
    /// Its length.
    pub length: f32,
    metric: Metric,
    /// The same for products with bytes.
    pub bytes: Query8,
}

/// Vectors as the index keeps them.
#[derive(Debug, Clone, Default)]
pub struct Encoded {
    /// One bit a dimension, around the origin.
    pub bits: Vec<u8>,
    /// What belongs to the bits.
    pub terms: Vec<Terms>,
    /// One byte a dimension.
    pub bytes: Vec<u8>,
    /// What belongs to the bytes.
    pub scales: Vec<Scale>,
}

/// What belongs to the bytes of a vector.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scale {
    /// What one step of a byte is worth.
    pub step: f32,
    /// What is added to the product.
    pub bias: f32,
}

impl Scale {
    /// As it is stored.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 8] {
        let [a, b, c, d] = self.step.to_le_bytes();
        let [e, f, g, h] = self.bias.to_le_bytes();
        [a, b, c, d, e, f, g, h]
    }

    /// Back from [`Scale::to_bytes`].
    #[must_use]
    pub fn from_bytes([a, b, c, d, e, f, g, h]: [u8; 8]) -> Self {
        Self {
            step: f32::from_le_bytes([a, b, c, d]),
            bias: f32::from_le_bytes([e, f, g, h]),
        }
    }
}

impl Space {
    /// A space around an origin, given rotated.
    #[must_use]
    pub fn new(rotation: Rotation, origin: Vec<f32>, metric: Metric) -> Self {
        Self {
            rotation,
            origin,
            metric,
        }
    }

    /// Dimensions in this space.
    #[must_use]
    pub fn padded(&self) -> usize {
        self.rotation.padded()
    }

    /// The origin, rotated.
    #[must_use]
    pub fn origin(&self) -> &[f32] {
        &self.origin
    }

    /// What probes have in common, if vectors and queries are around a point.
    #[must_use]
    pub fn heading(&self, point: &[f32]) -> Vec<f32> {
        self.probe_at(point).values
    }

    /// The heading of what is around the origin.
    #[must_use]
    pub fn origin_heading(&self) -> Vec<f32> {
        self.heading(&vec![0.0; self.padded()])
    }

    /// What is added to the product with a vector that lies at `point`.
    #[must_use]
    pub fn bias(&self, point: &[f32]) -> f32 {
        match self.metric {
            Metric::Cosine | Metric::Dot => 0.0,
            Metric::Euclidean => -0.5 * square(point),
        }
    }

    /// Brings a query here.
    #[must_use]
    pub fn probe(&self, query: &[f32]) -> Probe {
        let mut values = vec![0.0; self.padded()];
        self.rotation.apply(query, &mut values);
        match self.metric {
            Metric::Cosine | Metric::Dot => {}
            Metric::Euclidean => subtract(&mut values, &self.origin),
        }
        Probe::new(values, self.metric)
    }

    /// The probe of a query that lies at a point.
    #[must_use]
    pub fn probe_at(&self, point: &[f32]) -> Probe {
        let mut values = point.to_vec();
        match self.metric {
            Metric::Cosine | Metric::Dot => add(&mut values, &self.origin),
            Metric::Euclidean => {}
        }
        Probe::new(values, self.metric)
    }

    /// Brings vectors here, with [`Space::origin_heading`].
    #[must_use]
    pub fn encode<'a>(&self, vectors: impl ExactSizeIterator<Item = &'a [f32]>) -> Encoded {
        let (padded, count) = (self.padded(), vectors.len());
        let mut encoded = Encoded {
            bits: vec![0; count * padded / 8],
            terms: Vec::with_capacity(count),
            bytes: vec![0; count * padded],
            scales: Vec::with_capacity(count),
        };
        let heading = self.origin_heading();
        let mut point = vec![0.0; padded];
        let bits = encoded.bits.chunks_exact_mut(padded / 8);
        let rows = bits.zip(encoded.bytes.chunks_exact_mut(padded));
        for (vector, (bits, bytes)) in vectors.zip(rows) {
            self.rotation.apply(vector, &mut point);
            subtract(&mut point, &self.origin);
            let bias = self.bias(&point);
            let step = bytes8::encode(&point, bytes);
            let factor = code::encode(&point, bits);
            encoded.scales.push(Scale { step, bias });
            let addend = dot(&point, &heading) + bias;
            encoded.terms.push(Terms { factor, addend });
        }
        encoded
    }
}

impl Probe {
    /// A probe of these values.
    #[must_use]
    pub fn new(values: Vec<f32>, metric: Metric) -> Self {
        let length = square(&values).sqrt();
        let bytes = Query8::new(&values);
        Self {
            values,
            length,
            metric,
            bytes,
        }
    }

    /// The same without what it has of a heading, and how much that was. The
    /// addends of vectors, which hold their products with the heading, are to
    /// be multiplied with that.
    #[must_use]
    pub fn without(&self, heading: &[f32]) -> (Self, f32) {
        let square = square(heading);
        let weight = match self.metric {
            // Addends hold a bias too, which is not to be multiplied.
            Metric::Euclidean => 1.0,
            Metric::Cosine | Metric::Dot if square > 0.0 => dot(&self.values, heading) / square,
            Metric::Cosine | Metric::Dot => 0.0,
        };
        let mut values = self.values.clone();
        let pairs = values.iter_mut().zip(heading);
        pairs.for_each(|(value, heading)| *value -= weight * heading);
        (Self::new(values, self.metric), weight)
    }
}

wide! {
    /// Adds one vector to another.
    pub fn add(to: &mut [f32], vector: &[f32]) {
        for (to, value) in to.iter_mut().zip(vector) {
            *to += value;
        }
    }
}

wide! {
    /// Takes one vector off another.
    pub fn subtract(from: &mut [f32], vector: &[f32]) {
        for (from, value) in from.iter_mut().zip(vector) {
            *from -= value;
        }
    }
}

wide! {
    /// The square of the length.
    pub fn square(vector: &[f32]) -> f32 {
        sum_of(vector, |value| value * value)
    }
}

wide! {
    /// The inner product.
    pub fn dot(a: &[f32], b: &[f32]) -> f32 {
        product(a, b)
    }
}

#[cfg(test)]
mod tests {
    use fastrand::Rng;

    use super::*;

    /// Keys are in the order of scores, and the heading can be taken off.
    #[test]
    fn keys_are_in_the_order_of_scores() {
        let mut random = Rng::with_seed(3);
        let mut vector =
            |middle: f32| -> Vec<f32> { (0..100).map(|_| random.f32() - 0.5 + middle).collect() };
        for metric in Metric::ALL {
            let rotation = Rotation::new(100, 7);
            let mut origin = vec![0.0; rotation.padded()];
            rotation.apply(&vector(2.0), &mut origin);
            let space = Space::new(rotation.clone(), origin, metric);
            let query = vector(2.0);
            let probe = space.probe(&query);
            let heading = space.heading(&vec![0.01; space.padded()]);
            let (rest, weight) = probe.without(&heading);
            assert!(rest.length < 0.5 * probe.length || metric == Metric::Euclidean);
            let mut scored = Vec::new();
            for _ in 0..50 {
                let vector = vector(2.0);
                let mut point = vec![0.0; space.padded()];
                rotation.apply(&vector, &mut point);
                subtract(&mut point, space.origin());
                let key = dot(&point, &probe.values) + space.bias(&point);
                let other = match metric {
                    Metric::Euclidean => {
                        dot(&point, &rest.values) + dot(&point, &heading) + space.bias(&point)
                    }
                    Metric::Cosine | Metric::Dot => {
                        dot(&point, &rest.values) + weight * dot(&point, &heading)
                    }
                };
                assert!((key - other).abs() < 1e-2, "{metric}: {key} {other}");
                scored.push((metric.score(&query, &vector), key));
            }
            scored.sort_by(|a, b| a.0.total_cmp(&b.0));
            for pair in scored.windows(2) {
                assert!(pair[0].1 <= pair[1].1 + 1e-2, "{metric}: {pair:?}");
            }
        }
    }

    #[test]
    fn what_belongs_to_bytes_is_read_back() {
        let scale = Scale {
            step: 0.25,
            bias: -7.5,
        };
        assert_eq!(Scale::from_bytes(scale.to_bytes()), scale);
    }
}
