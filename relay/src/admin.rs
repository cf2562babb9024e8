//! The admin listener, on loopback: health, readiness, metrics, live devices.
//!
//! `/health`, `/ready` and `/metrics` are for machines that watch and need no
//! token; they name no secret. `/v1` wants the token in the state folder. All
//! are asked by a local host name; see [`host`].

mod host;

use ginnel_daemon::tally::Tally;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{ALLOW, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use self::host::Hosts;
use crate::links::Connected;
use crate::relay::Relay;

/// Connections at once: a handful of watchers.
pub(crate) const CONNECTIONS: usize = 64;

/// A request's head must be there by then.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// The registry must answer by then to be ready.
const READY_TIMEOUT: Duration = Duration::from_secs(2);

/// A connected device, as `GET /v1/devices` tells it. The names are stable.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LiveDevice {
    /// `USER/DEVICE`.
    pub device: String,
    /// Names the link in both logs.
    pub link: u64,
    /// The device's address.
    pub address: SocketAddr,
    /// The agent's version.
    pub agent: String,
    /// When it connected, milliseconds since 1970.
    pub since_unix_ms: u64,
    /// What it shares.
    pub services: Vec<String>,
    /// Round trip of its heartbeat, milliseconds; QUIC's until the first.
    pub rtt_ms: f64,
    /// Heartbeats received.
    pub heartbeats: u64,
    /// Heartbeats missed between those received.
    pub heartbeats_missed: u64,
    /// Seconds since the newest heartbeat.
    pub heartbeat_age_s: Option<f64>,
    /// Requests it is working on, as its heartbeat said.
    pub queue: u32,
    /// Streams open to it.
    pub streams: u32,
    /// UDP payload bytes sent to it.
    pub bytes_sent: u64,
    /// UDP payload bytes received from it.
    pub bytes_received: u64,
    /// Packets sent to it and lost.
    pub packets_lost: u64,
}

impl LiveDevice {
    fn of(device: &Connected) -> Self {
        let pulse = device.pulse();
        let stats = device.link.stats();
        let age = |at: Instant| {
            tokio::time::Instant::now()
                .into_std()
                .saturating_duration_since(at)
        };
        Self {
            device: device.id.to_string(),
            link: device.link_id,
            address: stats.remote,
            agent: device.agent.clone(),
            since_unix_ms: device.since_unix_ms,
            services: device
                .services()
                .iter()
                .map(|service| service.name.to_string())
                .collect(),
            rtt_ms: pulse.rtt.unwrap_or(stats.rtt).as_secs_f64() * 1000.0,
            heartbeats: pulse.received,
            heartbeats_missed: pulse.missed,
            heartbeat_age_s: pulse.received_at.map(|at| age(at).as_secs_f64()),
            queue: pulse.queue,
            streams: stats.streams_out,
            bytes_sent: stats.bytes_sent,
            bytes_received: stats.bytes_received,
            packets_lost: stats.packets_lost,
        }
    }
}

/// The admin listener.
#[derive(Debug)]
pub struct Admin {
    listener: TcpListener,
    access: Access,
}

impl Admin {
    /// Listens on `address`; `/v1` asks for `token`.
    ///
    /// # Errors
    /// The address is taken or not ours.
    pub async fn bind(address: SocketAddr, token: String) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let hosts = Hosts::of(listener.local_addr()?);
        let access = Access { token, hosts };
        Ok(Self { listener, access })
    }

    /// The address it listens at.
    ///
    /// # Errors
    /// The socket is gone.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `stop`: to the very end, so that watchers see the drain.
    pub async fn serve(self, relay: Arc<Relay>, stop: CancellationToken) {
        let room = Arc::new(Semaphore::new(CONNECTIONS));
        let connections = TaskTracker::new();
        let access = Arc::new(self.access);
        let failures = Tally::default();
        loop {
            let Ok(permit) = Arc::clone(&room).acquire_owned().await else {
                break;
            };
            let accepted = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                accepted = self.listener.accept() => accepted,
            };
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    if let Some(times) = failures.count(tokio::time::Instant::now()) {
                        warn!(%error, times, "cannot accept an admin connection; told once a minute");
                    }
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let (relay, access, stop) = (Arc::clone(&relay), Arc::clone(&access), stop.clone());
            connections.spawn(async move {
                tokio::select! {
                    () = serve_connection(relay, access, stream) => {}
                    () = stop.cancelled() => {}
                }
                drop(permit);
            });
        }
    }
}

/// Who may ask.
#[derive(Debug)]
struct Access {
    token: String,
    hosts: Hosts,
}

async fn serve_connection(relay: Arc<Relay>, access: Arc<Access>, stream: TcpStream) {
    let service = service_fn(|request| {
        let (relay, access) = (Arc::clone(&relay), Arc::clone(&access));
        async move { Ok::<_, std::convert::Infallible>(answer(&relay, &access, &request).await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        debug!(%error, "an admin connection ended");
    }
}

/// The answer to GET; hyper leaves its body out for HEAD.
async fn answer<B>(relay: &Relay, access: &Access, request: &Request<B>) -> Response<Full<Bytes>> {
    if !access.hosts.allow(request.uri(), request.headers()) {
        return text(StatusCode::FORBIDDEN, "the host is not local\n".into());
    }
    let path = request.uri().path();
    // Before anything is told, even that a path does not exist.
    if path.starts_with("/v1/") && !has_token(request, &access.token) {
        return text(
            StatusCode::UNAUTHORIZED,
            "the admin token is needed\n".into(),
        );
    }
    let Some(route) = Route::find(path) else {
        return text(StatusCode::NOT_FOUND, "not found\n".into());
    };
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "only GET\n".into());
        let allowed = HeaderValue::from_static("GET, HEAD");
        response.headers_mut().insert(ALLOW, allowed);
        return response;
    }
    match route {
        Route::Health => json(StatusCode::OK, &Health { status: "ok" }),
        Route::Ready => ready(relay).await,
        Route::Metrics => {
            let mut response = text(StatusCode::OK, relay.metrics.render(&relay.links));
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            let kind = HeaderValue::from_static(kind);
            response.headers_mut().insert(CONTENT_TYPE, kind);
            response
        }
        Route::Devices => {
            let devices: Vec<_> = relay
                .links
                .all()
                .iter()
                .map(|device| LiveDevice::of(device))
                .collect();
            json(StatusCode::OK, &devices)
        }
    }
}

/// What can be asked for.
#[derive(Debug, Clone, Copy)]
enum Route {
    Health,
    Ready,
    Metrics,
    Devices,
}

impl Route {
    fn find(path: &str) -> Option<Self> {
        match path {
            "/health" => Some(Self::Health),
            "/ready" => Some(Self::Ready),
            "/metrics" => Some(Self::Metrics),
            "/v1/devices" => Some(Self::Devices),
            _ => None,
        }
    }
}

#[derive(Serialize)]
struct Health {
    status: &'static str,
}

/// Readiness, part by part. Reasons stay in the log.
#[derive(Serialize)]
struct Ready {
    status: &'static str,
    timestamp: u64,
    services: Parts,
}

#[derive(Serialize)]
struct Parts {
    registry: Part,
    links: Part,
}

#[derive(Serialize)]
struct Part {
    status: &'static str,
    latency_ms: f64,
}

async fn ready(relay: &Relay) -> Response<Full<Bytes>> {
    let began = Instant::now();
    let users = tokio::time::timeout(READY_TIMEOUT, relay.registry.users()).await;
    let registry = matches!(users, Ok(Ok(_)));
    let latency_ms = began.elapsed().as_secs_f64() * 1000.0;
    let links = !relay.is_draining();
    let word = |good| if good { "ok" } else { "unavailable" };
    let all = registry && links;
    let body = Ready {
        status: word(all),
        timestamp: (relay.wall_clock)(),
        services: Parts {
            registry: Part {
                status: word(registry),
                latency_ms,
            },
            links: Part {
                status: if links { "ok" } else { "draining" },
                latency_ms: 0.0,
            },
        },
    };
    let status = if all {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    json(status, &body)
}

fn has_token<B>(request: &Request<B>, token: &str) -> bool {
    request
        .headers()
        .get(AUTHORIZATION)
        .and_then(|value| value.as_bytes().strip_prefix(b"Bearer "))
        .is_some_and(|given| given.ct_eq(token.as_bytes()).into())
}

fn json(status: StatusCode, body: &impl Serialize) -> Response<Full<Bytes>> {
    // Plain structs of ours always serialize.
    let bytes = serde_json::to_vec(body).unwrap_or_default();
    respond(status, "application/json", bytes.into())
}

fn text(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    respond(status, "text/plain; charset=utf-8", body.into())
}

fn respond(status: StatusCode, kind: &'static str, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_must_match_exactly() {
        let with = |value: &'static str| {
            let request = Request::builder().header("authorization", value);
            has_token(&request.body(()).expect("valid"), "secret")
        };
        assert!(with("Bearer secret"));
        for wrong in ["Bearer secre", "Bearer secrets", "secret", "Bearer ", ""] {
            assert!(!with(wrong), "{wrong:?} was accepted");
        }
        assert!(!has_token(&Request::new(()), "secret"));
    }
}
