//! What the tunnel must reach, and whether it did.

use Bound::{AtLeast, AtMost};

use crate::controls::Control;
use crate::peers::rathole;
use crate::samples::{Figure, Samples, Summary};
use crate::subjects::{DIRECT, GINNEL};
use crate::tunnel::links::{LINKS, QUINN};
use crate::tunnel::{bulk, small};

/// A line that a figure may not cross.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Bound {
    /// It must not be smaller.
    AtLeast(f64),
    /// It must not be larger.
    AtMost(f64),
}

impl Bound {
    /// Whether the value is on the right side.
    #[must_use]
    pub fn holds(self, value: f64) -> bool {
        match self {
            Self::AtLeast(bound) => value >= bound,
            Self::AtMost(bound) => value <= bound,
        }
    }
}

impl std::fmt::Display for Bound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::AtLeast(bound) => write!(f, "≥ {bound}"),
            Self::AtMost(bound) => write!(f, "≤ {bound}"),
        }
    }
}

/// A figure with its bounds.
#[derive(Debug, Clone)]
pub struct Target {
    /// What it is.
    pub name: &'static str,
    /// What was measured; `None` if it was not.
    pub value: Option<Summary>,
    /// What is promised.
    pub must: Option<Bound>,
    /// What is hoped for.
    pub aim: Option<Bound>,
}

impl Target {
    pub(crate) fn new(name: &'static str, value: Option<Summary>) -> Self {
        Self {
            name,
            value,
            must: None,
            aim: None,
        }
    }

    pub(crate) fn must(self, bound: Bound) -> Self {
        Self {
            must: Some(bound),
            ..self
        }
    }

    pub(crate) fn aim(self, bound: Bound) -> Self {
        Self {
            aim: Some(bound),
            ..self
        }
    }
}

/// Every target that can be measured here.
#[must_use]
pub fn targets(samples: &Samples, peers: &[&'static str]) -> Vec<Target> {
    let mut targets = bulk_targets(samples);
    targets.extend(small_targets(samples, peers));
    targets.extend(link_targets(samples));
    targets
}

fn bulk_targets(samples: &Samples) -> Vec<Target> {
    let [(_, transport_down), (_, transport_up)] = bulk::TRANSPORT;
    let [(_, http_down), (_, http_up)] = bulk::HTTP;
    let pump = (Control::Pump.name(), QUINN);
    let own = (GINNEL, DIRECT);
    let (bytes, cpu) = (Figure::BytesPerSecond, Figure::CpuPerGb);
    // QUIC alone bounds what a tunnel over it can reach on this machine.
    let to_quinn = |figure| {
        samples.each_round(|round| {
            let value = samples.at(round, http_down, GINNEL, figure)?;
            Some(value / samples.at(round, transport_down, QUINN, figure)?)
        })
    };
    vec![
        Target::new(
            "body pump ÷ bare quinn, down",
            samples.ratio(transport_down, pump, bytes),
        )
        .must(AtLeast(0.93))
        .aim(AtLeast(0.97)),
        Target::new(
            "body pump ÷ bare quinn, up",
            samples.ratio(transport_up, pump, bytes),
        )
        .must(AtLeast(0.93))
        .aim(AtLeast(0.97)),
        Target::new(
            "HTTP 1 GiB down ÷ direct",
            samples.ratio(http_down, own, bytes),
        )
        .must(AtLeast(0.40))
        .aim(AtLeast(0.60)),
        Target::new("HTTP 1 GiB up ÷ direct", samples.ratio(http_up, own, bytes))
            .must(AtLeast(0.26))
            .aim(AtLeast(0.45)),
        Target::new("CPU s/GB, down", samples.summary(http_down, GINNEL, cpu))
            .must(AtMost(2.6))
            .aim(AtMost(2.0)),
        Target::new("CPU s/GB, up", samples.summary(http_up, GINNEL, cpu))
            .must(AtMost(2.6))
            .aim(AtMost(2.0)),
        Target::new("HTTP 1 GiB down ÷ bare quinn", to_quinn(bytes)),
        Target::new("CPU s/GB, down ÷ bare quinn's", to_quinn(cpu)),
    ]
}

fn small_targets(samples: &Samples, peers: &[&'static str]) -> Vec<Target> {
    let [(_, c1), (_, c32), (_, c256)] = small::ALONE;
    let own = (GINNEL, DIRECT);
    let rate = Figure::RequestsPerSecond;
    let added = samples.each_round(|round| {
        let of = |subject| samples.at(round, c1, subject, Figure::P50Us);
        Some(of(GINNEL)? - of(DIRECT)?)
    });
    let tail = samples.each_round(|round| {
        let of = |subject: &str| samples.at(round, c256, subject, Figure::P99Us);
        let best = peers.iter().filter_map(|peer| of(peer));
        Some(of(GINNEL)? / best.min_by(f64::total_cmp)?)
    });
    vec![
        Target::new(
            "requests/s at 32 ÷ rathole TLS",
            samples.ratio(c32, (GINNEL, rathole::NAME), rate),
        )
        .must(AtLeast(1.0)),
        Target::new("requests/s at 32 ÷ direct", samples.ratio(c32, own, rate)).aim(AtLeast(0.5)),
        Target::new("p99 at 256 ÷ best peer", tail).must(AtMost(0.3)),
        Target::new(
            "p99 at 256 ÷ direct",
            samples.ratio(c256, own, Figure::P99Us),
        )
        .aim(AtMost(2.0)),
        Target::new("latency added at 1, p50, µs", added)
            .must(AtMost(150.0))
            .aim(AtMost(80.0)),
    ]
}

fn link_targets(samples: &Samples) -> Vec<Target> {
    let slowest = samples.summary(LINKS, GINNEL, Figure::P99Us);
    vec![
        Target::new(
            "memory per idle link, KiB",
            samples.summary(LINKS, GINNEL, Figure::KibPerLink),
        )
        .must(AtMost(64.0))
        .aim(AtMost(48.0)),
        Target::new(
            "handshakes/s ÷ bare quinn",
            samples.ratio(LINKS, (GINNEL, QUINN), Figure::HandshakesPerSecond),
        )
        .must(AtLeast(0.8)),
        Target::new(
            "2,000 devices, 64 at once, p99, ms",
            slowest.map(|us| us.scale(0.001)),
        )
        .must(AtMost(300.0)),
    ]
}
