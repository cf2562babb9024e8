//! quinn without us: the link's transport settings, sockets and certificates,
//! and nothing else. The controls that links are compared with run on it.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::Arc;

use ginnel_link::network::SOCKET_BUFFER;
use ginnel_proto::limits;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{
    ClientConfig, Endpoint, EndpointConfig, MtuDiscoveryConfig, ServerConfig, TransportConfig,
    VarInt,
};
use rustix::net::sockopt::{set_socket_recv_buffer_size_force, set_socket_send_buffer_size_force};
use socket2::{Domain, Protocol, Socket, Type};

use crate::identity::relay_tls;

/// As `ginnel_link::transport` sets it, with the streams of a welcome device.
fn transport() -> Arc<TransportConfig> {
    let idle_ms = u32::try_from(limits::IDLE_TIMEOUT.as_millis()).unwrap_or(u32::MAX);
    let mut discovery = MtuDiscoveryConfig::default();
    discovery.upper_bound(1452);
    let mut config = TransportConfig::default();
    config
        .max_concurrent_bidi_streams(limits::STREAMS_INITIAL.into())
        .max_concurrent_uni_streams(0_u32.into())
        .max_idle_timeout(Some(VarInt::from_u32(idle_ms).into()))
        .keep_alive_interval(Some(limits::KEEP_ALIVE))
        .stream_receive_window(limits::STREAM_WINDOW.into())
        .receive_window(limits::LINK_WINDOW.into())
        .send_window(limits::SEND_WINDOW)
        .initial_mtu(1200)
        .mtu_discovery_config(Some(discovery))
        .allow_spin(false)
        .enable_segmentation_offload(true);
    Arc::new(config)
}

/// The listening end.
///
/// # Errors
/// The authority's folder cannot be used, or no socket can be had.
pub fn server(folder: &Path) -> anyhow::Result<Endpoint> {
    let crypto = QuicServerConfig::try_from(relay_tls(folder)?)?;
    let mut config = ServerConfig::with_crypto(Arc::new(crypto));
    config.transport_config(transport());
    endpoint(Some(config))
}

/// The dialling end.
///
/// # Errors
/// No socket can be had.
pub fn client() -> anyhow::Result<Endpoint> {
    endpoint(None)
}

/// How the dialling end connects with these TLS settings.
///
/// # Errors
/// The TLS settings are not for QUIC.
pub fn client_config(tls: Arc<rustls::ClientConfig>) -> anyhow::Result<ClientConfig> {
    let mut config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls)?));
    config.transport_config(transport());
    Ok(config)
}

fn endpoint(server: Option<ServerConfig>) -> anyhow::Result<Endpoint> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    let forced = set_socket_recv_buffer_size_force(&socket, SOCKET_BUFFER)
        .and_then(|()| set_socket_send_buffer_size_force(&socket, SOCKET_BUFFER));
    if forced.is_err() {
        socket.set_recv_buffer_size(SOCKET_BUFFER)?;
        socket.set_send_buffer_size(SOCKET_BUFFER)?;
    }
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
    let runtime = Arc::new(quinn::TokioRuntime);
    let socket = UdpSocket::from(socket);
    Ok(Endpoint::new(
        EndpointConfig::default(),
        server,
        socket,
        runtime,
    )?)
}
