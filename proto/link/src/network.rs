//! What carries the datagrams: a socket and the runtime that polls it.
//!
//! Links do not know what is under them. [`Network::udp`] is the real thing;
//! [`Network::custom`] takes any other, such as the simulator's network or
//! QUIC packets carried inside one TCP connection.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;

use socket2::{Domain, Protocol, Socket, Type};
use tracing::warn;

/// The receive and send buffer asked for on UDP sockets, in bytes. Linux
/// gives 208 KiB by default, which overflows when many devices connect at
/// once: the slowest percent of handshakes then takes seconds.
pub const SOCKET_BUFFER: usize = 4 * 1024 * 1024;

/// A socket that moves datagrams.
#[derive(Debug, Clone)]
pub struct Network {
    pub(crate) socket: Arc<dyn quinn::AsyncUdpSocket>,
    pub(crate) runtime: Arc<dyn quinn::Runtime>,
}

impl Network {
    /// A UDP socket bound to `address`. An IPv6 wildcard serves IPv4 too.
    ///
    /// # Errors
    /// The address is taken, not ours, or not allowed.
    pub fn udp(address: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(
            Domain::for_address(address),
            Type::DGRAM,
            Some(Protocol::UDP),
        )?;
        if address.is_ipv6() {
            socket.set_only_v6(false)?;
        }
        raise_buffers(&socket);
        socket.bind(&address.into())?;
        Ok(Self {
            socket: wrap(UdpSocket::from(socket))?,
            runtime: Arc::new(quinn::TokioRuntime),
        })
    }

    /// Any other carrier.
    #[must_use]
    pub fn custom(
        socket: Arc<dyn quinn::AsyncUdpSocket>,
        runtime: Arc<dyn quinn::Runtime>,
    ) -> Self {
        Self { socket, runtime }
    }

    /// The address it is bound to.
    ///
    /// # Errors
    /// The socket is gone.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }
}

#[cfg(target_os = "linux")]
fn wrap(socket: UdpSocket) -> io::Result<Arc<dyn quinn::AsyncUdpSocket>> {
    Ok(Arc::new(crate::udp::Udp::new(socket)?))
}

#[cfg(not(target_os = "linux"))]
fn wrap(socket: UdpSocket) -> io::Result<Arc<dyn quinn::AsyncUdpSocket>> {
    use quinn::Runtime as _;
    quinn::TokioRuntime.wrap_udp_socket(socket)
}

/// Asks for [`SOCKET_BUFFER`] both ways; a privileged process gets it past
/// the system's ceiling. When the system gives less, one line says how to
/// raise the ceiling: links work all the same, but bursts are dropped.
fn raise_buffers(socket: &Socket) {
    force_buffers(socket);
    // Errors show in what is read back.
    let _ = socket.set_recv_buffer_size(SOCKET_BUFFER);
    let _ = socket.set_send_buffer_size(SOCKET_BUFFER);
    let received = usable(socket.recv_buffer_size().unwrap_or_default());
    let sent = usable(socket.send_buffer_size().unwrap_or_default());
    if let Some(remedy) = remedy(received, sent) {
        warn!(
            receive_bytes = received,
            send_bytes = sent,
            wanted_bytes = SOCKET_BUFFER,
            "the system keeps UDP buffers small, so bursts may be dropped; to raise them: {remedy}"
        );
    }
}

/// Linux reports twice what it gives to data, for its own bookkeeping.
fn usable(reported: usize) -> usize {
    if cfg!(target_os = "linux") {
        reported / 2
    } else {
        reported
    }
}

/// The command that raises what is too small, if anything is.
fn remedy(received: usize, sent: usize) -> Option<String> {
    let mut settings = Vec::new();
    let (receive_name, send_name) = if cfg!(target_os = "linux") {
        ("net.core.rmem_max", "net.core.wmem_max")
    } else {
        ("kern.ipc.maxsockbuf", "kern.ipc.maxsockbuf")
    };
    if received < SOCKET_BUFFER {
        settings.push(format!("{receive_name}={SOCKET_BUFFER}"));
    }
    if sent < SOCKET_BUFFER {
        settings.push(format!("{send_name}={SOCKET_BUFFER}"));
    }
    settings.dedup();
    (!settings.is_empty()).then(|| format!("sysctl -w {}", settings.join(" ")))
}

#[cfg(target_os = "linux")]
fn force_buffers(socket: &Socket) {
    use rustix::net::sockopt::{
        set_socket_recv_buffer_size_force, set_socket_send_buffer_size_force,
    };
    // Only root may; the ordinary request follows for everybody else.
    let _ = set_socket_recv_buffer_size_force(socket, SOCKET_BUFFER);
    let _ = set_socket_send_buffer_size_force(socket, SOCKET_BUFFER);
}

#[cfg(not(target_os = "linux"))]
fn force_buffers(_: &Socket) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_remedy_names_what_is_too_small() {
        assert_eq!(remedy(SOCKET_BUFFER, SOCKET_BUFFER), None);
        let remedy = remedy(1, SOCKET_BUFFER).expect("too small");
        assert!(remedy.starts_with("sysctl -w ") && remedy.ends_with("=4194304"));
        assert!(!remedy.contains("wmem"));
    }

    #[tokio::test]
    async fn an_ipv6_wildcard_serves_ipv4() {
        let network = Network::udp("[::]:0".parse().expect("valid")).expect("bound");
        let port = network.local_address().expect("bound").port();
        let taken = UdpSocket::bind(("0.0.0.0", port));
        assert!(taken.is_err(), "the port is taken for IPv4 too");
    }
}
