//! Many devices in one process: how fast they connect, and what they cost
//! the other side while idle.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use ginnel_link::driver::{DeviceDriver, WallClock};
use ginnel_link::endpoint::Dialer;
use ginnel_link::network::Network;
use ginnel_link::transport::TransportSettings;
use ginnel_proto::control::Hello;
use ginnel_proto::link::session::DeviceEvent;
use ginnel_relay::relay::system_clock;
use hdrhistogram::Histogram;
use quinn::Endpoint;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::bare;
use crate::identity::{DOMAIN, device_tls, enrol};

/// A device that is not connected by then has failed.
const PATIENCE: Duration = Duration::from_secs(30);

/// What they connect to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Peer {
    /// A relay, with Hello and Welcome.
    Relay,
    /// Bare quinn, with one byte there and back.
    Quinn,
}

/// How connecting went.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Connected {
    /// Devices connected.
    pub count: u64,
    /// Devices that failed.
    pub failed: u64,
    /// How long all of them took.
    pub seconds: f64,
    /// From the first packet to being welcome, in milliseconds.
    pub p50_ms: f64,
    /// The same for the slowest percent.
    pub p99_ms: f64,
}

/// Devices to connect.
#[derive(Debug)]
pub struct Crowd<'a> {
    /// Whom to.
    pub peer: Peer,
    /// Where.
    pub address: SocketAddr,
    /// The relay's state, or the authority's folder.
    pub folder: &'a Path,
    /// How many.
    pub count: u32,
    /// How many at once.
    pub at_once: usize,
}

impl Crowd<'_> {
    /// Connects all, tells how it went, and keeps them until `stop` ends.
    ///
    /// # Errors
    /// They cannot be enrolled, or no socket can be had.
    pub async fn run(
        &self,
        told: impl FnOnce(Connected),
        stop: impl Future<Output = ()>,
    ) -> anyhow::Result<()> {
        let dial = self.dial().await?;
        let room = Arc::new(Semaphore::new(self.at_once));
        let times = Histogram::<u64>::new_with_bounds(1, 60_000_000, 3)?;
        let times = Arc::new(Mutex::new(times));
        let began = Instant::now();
        let mut connecting = JoinSet::new();
        for number in 0..self.count as usize {
            let (dial, room) = (Arc::clone(&dial), Arc::clone(&room));
            let times = Arc::clone(&times);
            connecting.spawn(async move {
                let _place = room.acquire().await?;
                let began = Instant::now();
                let held = timeout(PATIENCE, dial.connect(number)).await??;
                let took = u64::try_from(began.elapsed().as_micros())?;
                let mut times = times.lock().unwrap_or_else(PoisonError::into_inner);
                times.saturating_record(took);
                anyhow::Ok(held)
            });
        }
        let mut held = JoinSet::new();
        let mut failed = 0;
        while let Some(ended) = connecting.join_next().await {
            match ended? {
                Ok(device) => {
                    held.spawn(device.hold());
                }
                Err(error) => {
                    eprintln!("a device cannot connect: {error:#}");
                    failed += 1;
                }
            }
        }
        let seconds = began.elapsed().as_secs_f64();
        let connected = {
            let times = times.lock().unwrap_or_else(PoisonError::into_inner);
            let ms = |quantile| times.value_at_quantile(quantile) as f64 / 1000.0;
            Connected {
                count: times.len(),
                failed,
                seconds,
                p50_ms: ms(0.5),
                p99_ms: ms(0.99),
            }
        };
        told(connected);
        stop.await;
        Ok(())
    }

    async fn dial(&self) -> anyhow::Result<Arc<Dial>> {
        let (address, here) = (self.address, "127.0.0.1:0".parse()?);
        Ok(Arc::new(match self.peer {
            Peer::Relay => Dial::Relay {
                devices: enrol(self.folder, self.count).await?,
                dialer: Dialer::new(Network::udp(here)?, TransportSettings::default())?,
                wall_clock: system_clock(),
                address,
            },
            Peer::Quinn => Dial::Quinn {
                tls: device_tls(self.folder)?,
                endpoint: bare::client()?,
                address,
            },
        }))
    }
}

/// How to connect.
enum Dial {
    Relay {
        devices: Vec<Arc<rustls::ClientConfig>>,
        dialer: Dialer,
        wall_clock: WallClock,
        address: SocketAddr,
    },
    Quinn {
        tls: Arc<rustls::ClientConfig>,
        endpoint: Endpoint,
        address: SocketAddr,
    },
}

impl Dial {
    async fn connect(&self, number: usize) -> anyhow::Result<Device> {
        match self {
            Self::Relay {
                devices,
                dialer,
                wall_clock,
                address,
            } => {
                let tls = devices.get(number).context("enrolled before")?;
                let link = dialer.connect(*address, DOMAIN, Arc::clone(tls)).await?;
                let hello = Hello {
                    agent: "bench".to_owned(),
                    capabilities: Vec::new(),
                };
                let mut driver = DeviceDriver::start(link, hello, Arc::clone(wall_clock)).await?;
                while !matches!(driver.next().await?, Some(DeviceEvent::Connected(_))) {}
                Ok(Device::Link(Box::new(driver)))
            }
            Self::Quinn {
                tls,
                endpoint,
                address,
            } => {
                let config = bare::client_config(Arc::clone(tls))?;
                let connection = endpoint.connect_with(config, *address, DOMAIN)?.await?;
                let (mut send, mut recv) = connection.open_bi().await?;
                send.write_all(b"?").await?;
                recv.read_exact(&mut [0]).await?;
                Ok(Device::Connection(connection))
            }
        }
    }
}

/// A connected device.
enum Device {
    Link(Box<DeviceDriver>),
    Connection(quinn::Connection),
}

impl Device {
    /// Lives until it is cut off.
    async fn hold(self) {
        match self {
            Self::Link(mut driver) => while driver.next().await.is_ok() {},
            Self::Connection(connection) => {
                connection.closed().await;
            }
        }
    }
}

/// The other end of [`Peer::Quinn`]: takes connections, answers one byte on
/// each, and keeps them.
///
/// # Errors
/// It cannot listen.
pub async fn serve_quinn(folder: &Path, ready: impl FnOnce(SocketAddr)) -> anyhow::Result<()> {
    let endpoint = bare::server(folder)?;
    ready(endpoint.local_addr()?);
    let mut connections = JoinSet::new();
    while let Some(incoming) = endpoint.accept().await {
        connections.spawn(async move {
            let connection = incoming.await?;
            let (mut send, mut recv) = connection.accept_bi().await?;
            recv.read_exact(&mut [0]).await?;
            send.write_all(b"!").await?;
            connection.closed().await;
            anyhow::Ok(())
        });
        while connections.try_join_next().is_some() {}
    }
    Ok(())
}
