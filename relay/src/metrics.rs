//! What the relay counts. Every name is listed in `docs/METRICS.md`, which a
//! test compares.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use http::{Method, StatusCode};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::links::Links;

/// The relay's counters.
#[derive(Debug)]
pub struct Metrics {
    requests: Family<RequestLabels, Counter>,
    latency: Family<MethodLabel, Histogram, fn() -> Histogram>,
    messages_refused: Family<ReasonLabel, Counter>,
    connections: Gauge,
    devices: Gauge,
    /// Body bytes from callers to devices.
    pub bytes_up: Counter,
    /// Body bytes from devices to callers.
    pub bytes_down: Counter,
    /// Links refused after their handshake.
    pub links_refused: Counter,
    /// Handshakes that failed.
    pub handshakes_failed: Counter,
    /// Handshakes refused because too many waited.
    pub handshakes_refused: Counter,
    /// Join requests refused.
    pub joins_refused: Counter,
    /// Bytes of artifacts that the bucket has taken.
    pub artifact_bytes_stored: Counter,
    upstream_requests: Family<UpstreamLabels, Counter>,
    upstream_bytes: Family<UpstreamDirectionLabels, Counter>,
    upstream_tokens: Family<UpstreamDirectionLabels, Counter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    method: &'static str,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct MethodLabel {
    method: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabel {
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct UpstreamLabels {
    upstream: String,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct UpstreamDirectionLabels {
    upstream: String,
    direction: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DeviceLabel {
    device: String,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            requests: Family::default(),
            latency: Family::new_with_constructor(latency_histogram),
            messages_refused: Family::default(),
            connections: Gauge::default(),
            devices: Gauge::default(),
            bytes_up: Counter::default(),
            bytes_down: Counter::default(),
            links_refused: Counter::default(),
            handshakes_failed: Counter::default(),
            handshakes_refused: Counter::default(),
            joins_refused: Counter::default(),
            artifact_bytes_stored: Counter::default(),
            upstream_requests: Family::default(),
            upstream_bytes: Family::default(),
            upstream_tokens: Family::default(),
        }
    }
}

/// Milliseconds, from a fast local answer to a slow model.
fn latency_histogram() -> Histogram {
    Histogram::new([
        0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2500.0, 10_000.0,
    ])
}

impl Metrics {
    /// A public request was answered; `took` is the time to the answer's head.
    pub fn request(&self, method: &Method, status: StatusCode, took: Duration) {
        let method = method_label(method);
        let status = status.as_u16();
        self.requests
            .get_or_create(&RequestLabels { method, status })
            .inc();
        self.latency
            .get_or_create(&MethodLabel { method })
            .observe(took.as_secs_f64() * 1000.0);
    }

    /// A caller's message was not even a request; `reason` is one of ours.
    pub fn message_refused(&self, reason: &'static str) {
        let labels = ReasonLabel { reason };
        self.messages_refused.get_or_create(&labels).inc();
    }

    /// A caller's connection, counted until dropped.
    #[must_use]
    pub fn connection(&self) -> Counted {
        Counted::new(self.connections.clone())
    }

    /// A device's link, counted until dropped.
    #[must_use]
    pub fn device(&self) -> Counted {
        Counted::new(self.devices.clone())
    }

    /// A request to an upstream is over.
    pub fn upstream(&self, upstream: &str, status: u16, sums: &crate::registry::usage::Amount) {
        let labels = UpstreamLabels {
            upstream: upstream.to_owned(),
            status,
        };
        self.upstream_requests.get_or_create(&labels).inc();
        let direction = |direction| UpstreamDirectionLabels {
            upstream: upstream.to_owned(),
            direction,
        };
        for (family, label, amount) in [
            (&self.upstream_bytes, "in", sums.bytes_in),
            (&self.upstream_bytes, "out", sums.bytes_out),
            (&self.upstream_tokens, "in", sums.input_tokens),
            (&self.upstream_tokens, "out", sums.output_tokens),
        ] {
            family.get_or_create(&direction(label)).inc_by(amount);
        }
    }

    /// Everything in the OpenMetrics text format.
    #[must_use]
    pub fn render(&self, links: &Links) -> String {
        let mut registry = Registry::default();
        self.register(&mut registry);
        register_links(&mut registry, links);
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = encode(&mut text, &registry);
        text
    }

    fn register(&self, registry: &mut Registry) {
        registry.register(
            "requests",
            "Public requests answered",
            self.requests.clone(),
        );
        registry.register(
            "request_latency_ms",
            "Milliseconds from a public request to its answer's head",
            self.latency.clone(),
        );
        registry.register(
            "ginnel_messages_refused",
            "Messages of callers that were no HTTP/1 as it should be",
            self.messages_refused.clone(),
        );
        registry.register(
            "active_connections",
            "Callers' connections open now",
            self.connections.clone(),
        );
        registry.register(
            "ginnel_devices_connected",
            "Devices connected now",
            self.devices.clone(),
        );
        for (name, help, counter) in [
            (
                "ginnel_body_bytes_up",
                "Body bytes from callers to devices",
                &self.bytes_up,
            ),
            (
                "ginnel_body_bytes_down",
                "Body bytes from devices to callers",
                &self.bytes_down,
            ),
            (
                "ginnel_links_refused",
                "Links refused after their handshake",
                &self.links_refused,
            ),
            (
                "ginnel_handshakes_failed",
                "Handshakes that failed",
                &self.handshakes_failed,
            ),
            (
                "ginnel_handshakes_refused",
                "Handshakes refused because too many waited",
                &self.handshakes_refused,
            ),
            (
                "ginnel_joins_refused",
                "Join requests refused",
                &self.joins_refused,
            ),
            (
                "ginnel_artifact_bytes_stored",
                "Bytes of artifacts that the bucket has taken",
                &self.artifact_bytes_stored,
            ),
        ] {
            registry.register(name, help, counter.clone());
        }
        registry.register(
            "ginnel_upstream_requests",
            "Requests of devices to upstreams",
            self.upstream_requests.clone(),
        );
        registry.register(
            "ginnel_upstream_bytes",
            "Body bytes to (in) and from (out) upstreams",
            self.upstream_bytes.clone(),
        );
        registry.register(
            "ginnel_upstream_tokens",
            "Tokens that upstreams read (in) and wrote (out)",
            self.upstream_tokens.clone(),
        );
    }
}

/// What each live link says of itself, as gauges of the moment.
fn register_links(registry: &mut Registry, links: &Links) {
    type Gauges = Family<DeviceLabel, Gauge<f64, AtomicU64>>;
    let rtt = Gauges::default();
    let missed = Gauges::default();
    let queue = Gauges::default();
    let streams = Gauges::default();
    for device in links.all() {
        let label = DeviceLabel {
            device: device.id.to_string(),
        };
        let pulse = device.pulse();
        let stats = device.link.stats();
        let round_trip = pulse.rtt.unwrap_or(stats.rtt);
        rtt.get_or_create(&label)
            .set(round_trip.as_secs_f64() * 1000.0);
        let expected = (pulse.received + pulse.missed).max(1);
        let share = ratio(pulse.missed, expected);
        missed.get_or_create(&label).set(share);
        queue.get_or_create(&label).set(f64::from(pulse.queue));
        streams
            .get_or_create(&label)
            .set(f64::from(stats.streams_out));
    }
    registry.register(
        "ginnel_link_rtt_ms",
        "Round trip to the device, milliseconds",
        rtt,
    );
    registry.register(
        "ginnel_link_heartbeat_loss_ratio",
        "Share of the device's heartbeats that did not arrive",
        missed,
    );
    registry.register(
        "ginnel_link_queue",
        "Requests the device is working on, as its heartbeat says",
        queue,
    );
    registry.register("ginnel_link_streams", "Streams open to the device", streams);
}

/// A share, exact enough for counts below 2^32.
fn ratio(part: u64, whole: u64) -> f64 {
    let small = |count: u64| f64::from(u32::try_from(count).unwrap_or(u32::MAX));
    small(part) / small(whole)
}

/// A registered method, or `other`: callers must not be able to make labels.
fn method_label(method: &Method) -> &'static str {
    const KNOWN: [(Method, &str); 9] = [
        (Method::GET, "GET"),
        (Method::POST, "POST"),
        (Method::PUT, "PUT"),
        (Method::DELETE, "DELETE"),
        (Method::HEAD, "HEAD"),
        (Method::OPTIONS, "OPTIONS"),
        (Method::PATCH, "PATCH"),
        (Method::CONNECT, "CONNECT"),
        (Method::TRACE, "TRACE"),
    ];
    KNOWN
        .iter()
        .find(|(known, _)| known == method)
        .map_or("other", |(_, label)| label)
}

/// Raises a gauge for as long as it lives.
#[derive(Debug)]
pub struct Counted(Gauge);

impl Counted {
    fn new(gauge: Gauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seed_names_are_exported() {
        let metrics = Metrics::default();
        metrics.request(&Method::GET, StatusCode::OK, Duration::from_millis(3));
        let made_up = Method::from_bytes(b"MADEUP").expect("token");
        metrics.request(&made_up, StatusCode::OK, Duration::ZERO);
        let connection = metrics.connection();
        let text = metrics.render(&Links::default());
        for line in [
            "requests_total{method=\"GET\",status=\"200\"} 1",
            "requests_total{method=\"other\",status=\"200\"} 1",
            "request_latency_ms_bucket{le=\"5.0\",method=\"GET\"} 1",
            "active_connections 1",
        ] {
            assert!(text.contains(line), "{line} is missing:\n{text}");
        }
        drop(connection);
        assert!(
            metrics
                .render(&Links::default())
                .contains("active_connections 0")
        );
    }

    #[test]
    fn every_metric_is_documented() {
        let documented = include_str!("../../docs/METRICS.md");
        let text = Metrics::default().render(&Links::default());
        let names = text
            .lines()
            .filter_map(|line| line.strip_prefix("# TYPE "))
            .filter_map(|line| line.split(' ').next());
        for name in names {
            assert!(
                documented.contains(name),
                "{name} is not in docs/METRICS.md"
            );
        }
    }
}
