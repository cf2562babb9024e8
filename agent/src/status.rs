//! What the daemon knows about itself, as people and programs see it.
//!
//! [`LinkStatus`] is written by the task that keeps the link and read by the
//! local API; `ginnel status` prints it. The JSON names are stable.

use serde::{Deserialize, Serialize};

/// The daemon at one moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The agent's version.
    pub version: String,
    /// Process id.
    pub pid: u32,
    /// Seconds since the daemon started.
    pub uptime_s: u64,
    /// `USER/DEVICE`; `None` before the device has joined.
    pub device: Option<String>,
    /// The relay's address, `HOST:PORT`.
    pub relay: Option<String>,
    /// When the certificate ends, milliseconds since 1970.
    pub certificate_ends_unix_ms: Option<u64>,
    /// What will go wrong soon, and what to do.
    #[serde(default)]
    pub warning: Option<String>,
    /// The link to the relay.
    pub link: LinkStatus,
    /// The store of what this device knows.
    #[serde(default)]
    pub store: StoreStatus,
    /// What this device shares.
    pub services: Vec<ServiceStatus>,
}

/// The link at one moment.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct LinkStatus {
    /// Where it stands.
    pub state: LinkState,
    /// What went wrong last, and what to do; `None` while all is well.
    pub problem: Option<String>,
    /// Milliseconds since 1970 when `state` began.
    pub since_unix_ms: u64,
    /// Attempts to connect that failed in a row.
    pub failures: u32,
    /// Times the link came up since the daemon started.
    pub connects: u64,
    /// Names this link in the relay's log too.
    pub link_id: Option<u64>,
    /// From dialling to Welcome, milliseconds.
    pub connect_ms: Option<f64>,
    /// Round trip of the newest heartbeat, milliseconds.
    pub heartbeat_rtt_ms: Option<f64>,
    /// Heartbeats lost among the newest 64, percent.
    pub heartbeat_loss_percent: Option<f64>,
    /// Seconds since the newest answered heartbeat.
    pub heartbeat_age_s: Option<u64>,
    /// Smoothed round trip of QUIC, milliseconds.
    pub rtt_ms: Option<f64>,
    /// Requests being worked on for the relay.
    pub queue: u32,
    /// Bytes sent on this link.
    pub bytes_sent: u64,
    /// Bytes received on this link.
    pub bytes_received: u64,
}

/// Where a link stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkState {
    /// The device has not joined a relay yet.
    #[default]
    NotJoined,
    /// Waiting before the next attempt.
    Waiting,
    /// Dialling, or waiting for Welcome.
    Connecting,
    /// Welcome has arrived.
    Connected,
    /// The relay answered and refused the device; attempts go on, slowly.
    Refused,
}

/// The store at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum StoreStatus {
    /// It is being opened; after an unclean stop all of it is read first.
    Opening,
    /// It answers.
    #[default]
    Open,
    /// Something is in the way that may pass; it is tried again.
    Waiting {
        /// What, and what to do.
        problem: String,
    },
    /// It answers, but slowly: its vector index is not of the engine that was
    /// chosen.
    Slow {
        /// Why, and what to do.
        problem: String,
    },
    /// It cannot be opened.
    Failed {
        /// Why, and what to do.
        problem: String,
    },
}

/// A service that this device shares.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServiceStatus {
    /// Its name.
    pub name: String,
    /// What it forwards to.
    pub target: String,
    /// Whether callers need no API key.
    pub public: bool,
    /// Where callers reach it, once the relay has told.
    pub url: Option<String>,
}
