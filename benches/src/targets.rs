//! What the tunnel must reach, and whether it did.

use crate::controls::Control;
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

use Bound::{AtLeast, AtMost};

/// Every target that can be measured here.
#[must_use]
pub fn targets(samples: &Samples, peers: &[&'static str]) -> Vec<Target> {
    let [(_, transport_down), (_, transport_up)] = bulk::TRANSPORT;
    let [(_, http_down), (_, http_up)] = bulk::HTTP;
    let [(_, c1), (_, c32), (_, c256)] = small::ALONE;
    let pump = (Control::Pump.name(), Control::Quinn.name());
    let own = (GINNEL, DIRECT);
    let target = |name, value, must, aim| Target {
        name,
        value,
        must,
        aim,
    };
    let bytes = Figure::BytesPerSecond;
    let added = samples.each_round(|round| {
        let of = |subject| samples.at(round, c1, subject, Figure::P50Us);
        Some(of(GINNEL)? - of(DIRECT)?)
    });
    // QUIC alone bounds what any tunnel over it can reach on this machine.
    let across = |(measure, subject), (base_measure, base), figure| {
        samples.each_round(|round| {
            let value = samples.at(round, measure, subject, figure)?;
            Some(value / samples.at(round, base_measure, base, figure)?)
        })
    };
    let tail = samples.each_round(|round| {
        let of = |subject: &str| samples.at(round, c256, subject, Figure::P99Us);
        let best = peers
            .iter()
            .filter_map(|peer| of(peer))
            .min_by(f64::total_cmp);
        Some(of(GINNEL)? / best?)
    });
    vec![
        target(
            "body pump ÷ bare quinn, down",
            samples.ratio(transport_down, pump, bytes),
            Some(AtLeast(0.93)),
            Some(AtLeast(0.97)),
        ),
        target(
            "body pump ÷ bare quinn, up",
            samples.ratio(transport_up, pump, bytes),
            Some(AtLeast(0.93)),
            Some(AtLeast(0.97)),
        ),
        target(
            "HTTP 1 GiB down ÷ direct",
            samples.ratio(http_down, own, bytes),
            Some(AtLeast(0.40)),
            Some(AtLeast(0.60)),
        ),
        target(
            "HTTP 1 GiB up ÷ direct",
            samples.ratio(http_up, own, bytes),
            Some(AtLeast(0.26)),
            Some(AtLeast(0.45)),
        ),
        target(
            "CPU s/GB, down",
            samples.summary(http_down, GINNEL, Figure::CpuPerGb),
            Some(AtMost(2.6)),
            Some(AtMost(2.0)),
        ),
        target(
            "CPU s/GB, up",
            samples.summary(http_up, GINNEL, Figure::CpuPerGb),
            Some(AtMost(2.6)),
            Some(AtMost(2.0)),
        ),
        target(
            "HTTP 1 GiB down ÷ bare quinn",
            across((http_down, GINNEL), (transport_down, QUINN), bytes),
            None,
            None,
        ),
        target(
            "CPU s/GB, down ÷ bare quinn's",
            across(
                (http_down, GINNEL),
                (transport_down, QUINN),
                Figure::CpuPerGb,
            ),
            None,
            None,
        ),
        target(
            "requests/s at 32 ÷ rathole TLS",
            samples.ratio(c32, (GINNEL, "rathole TLS"), Figure::RequestsPerSecond),
            Some(AtLeast(1.0)),
            None,
        ),
        target(
            "requests/s at 32 ÷ direct",
            samples.ratio(c32, own, Figure::RequestsPerSecond),
            None,
            Some(AtLeast(0.5)),
        ),
        target("p99 at 256 ÷ best peer", tail, Some(AtMost(0.3)), None),
        target(
            "p99 at 256 ÷ direct",
            samples.ratio(c256, own, Figure::P99Us),
            None,
            Some(AtMost(2.0)),
        ),
        target(
            "latency added at 1, p50, µs",
            added,
            Some(AtMost(150.0)),
            Some(AtMost(80.0)),
        ),
        target(
            "memory per idle link, KiB",
            samples.summary(LINKS, GINNEL, Figure::KibPerLink),
            Some(AtMost(64.0)),
            Some(AtMost(48.0)),
        ),
        target(
            "handshakes/s ÷ bare quinn",
            samples.ratio(LINKS, (GINNEL, QUINN), Figure::HandshakesPerSecond),
            Some(AtLeast(0.8)),
            None,
        ),
        target(
            "2,000 devices, 64 at once, p99, ms",
            samples
                .summary(LINKS, GINNEL, Figure::P99Us)
                .map(|us| us.scale(0.001)),
            Some(AtMost(300.0)),
            None,
        ),
    ]
}
