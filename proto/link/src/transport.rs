//! Every timer and limit of QUIC, set on purpose.

use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use ginnel_proto::limits;
use quinn::{IdleTimeout, MtuDiscoveryConfig, TransportConfig, VarInt, congestion};

/// Which algorithm decides how much may be in flight.
///
/// Cubic is the default: on clean paths it is as fast as any and shares
/// fairly. BBR holds throughput at 0.1 % loss and above, where Cubic falls to
/// a tenth, but sends up to twice the bytes to do so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Congestion {
    /// RFC 9438.
    #[default]
    Cubic,
    /// quinn's BBR, version 1.
    Bbr,
}

impl FromStr for Congestion {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "cubic" => Ok(Self::Cubic),
            "bbr" => Ok(Self::Bbr),
            _ => Err(format!("is neither cubic nor bbr, value={text:?}")),
        }
    }
}

/// What may be chosen about the transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TransportSettings {
    /// See [`Congestion`].
    pub congestion: Congestion,
    /// The largest UDP payload to probe for, in bytes: 1452 fits the internet,
    /// up to [`MTU_MAX`] a network with jumbo frames. Inside one machine it is
    /// always that.
    pub mtu_max: u16,
    /// Streams the other side may have open before it is welcome. One is
    /// enough for the control or join stream.
    pub streams_before_welcome: u32,
    /// Where QUIC's random numbers start from, for simulation; otherwise the
    /// system gives them.
    pub seed: Option<[u8; 32]>,
}

impl Default for TransportSettings {
    fn default() -> Self {
        Self {
            congestion: Congestion::default(),
            mtu_max: 1452,
            streams_before_welcome: 1,
            seed: None,
        }
    }
}

/// The round trip assumed before one is measured. RFC 9002 says 333 ms, which
/// makes the first retransmission wait a second; most paths are far shorter,
/// and on longer ones a spare copy of one packet is all it costs.
const INITIAL_RTT: Duration = Duration::from_millis(100);

/// The largest UDP payload that is ever sent or taken, in bytes: quinn sends
/// ten at a time, and one call to the system takes less than 64 KiB.
pub const MTU_MAX: u16 = 6500;

/// The largest UDP payload to probe for on the way to an address. TCP fills
/// packets of 64 KiB inside one machine; with small ones most of the time goes
/// into them.
fn mtu_to(settings: &TransportSettings, address: IpAddr) -> u16 {
    match address.to_canonical().is_loopback() {
        true => MTU_MAX,
        false => settings.mtu_max.min(MTU_MAX),
    }
}

/// quinn's configuration for both sides, for links with somebody at this
/// address.
pub(crate) fn config(settings: &TransportSettings, address: IpAddr) -> Arc<TransportConfig> {
    let mut config = TransportConfig::default();
    config
        .max_concurrent_bidi_streams(settings.streams_before_welcome.into())
        .max_concurrent_uni_streams(0_u32.into())
        .max_idle_timeout(idle_timeout())
        .keep_alive_interval(Some(limits::KEEP_ALIVE))
        .stream_receive_window(limits::STREAM_WINDOW.into())
        .receive_window(limits::WINDOW_BEFORE_WELCOME.into())
        .send_window(limits::SEND_WINDOW)
        .initial_rtt(INITIAL_RTT)
        .initial_mtu(1200)
        .datagram_receive_buffer_size(Some(16 * limits::DATAGRAM_MAX))
        .datagram_send_buffer_size(16 * limits::DATAGRAM_MAX)
        .crypto_buffer_size(16 * 1024)
        .allow_spin(false)
        .enable_segmentation_offload(true);
    let mtu = mtu_to(settings, address);
    let mut discovery = MtuDiscoveryConfig::default();
    discovery.upper_bound(mtu);
    config.mtu_discovery_config(Some(discovery));
    // Ten packets (RFC 9002 §7.2), of the size that they may come to have. With a
    // smaller window two probes of a large one fill it, and quinn then holds back
    // even what closes a connection: the other side never hears why.
    let window = (10 * u64::from(mtu)).max(14_720);
    match settings.congestion {
        Congestion::Cubic => {
            let mut cubic = congestion::CubicConfig::default();
            cubic.initial_window(window);
            config.congestion_controller_factory(Arc::new(cubic))
        }
        Congestion::Bbr => {
            let mut bbr = congestion::BbrConfig::default();
            bbr.initial_window(window);
            config.congestion_controller_factory(Arc::new(bbr))
        }
    };
    Arc::new(config)
}

fn idle_timeout() -> Option<IdleTimeout> {
    let millis = u32::try_from(limits::IDLE_TIMEOUT.as_millis()).unwrap_or(u32::MAX);
    Some(VarInt::from_u32(millis).into())
}
