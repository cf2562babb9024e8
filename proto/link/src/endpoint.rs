//! Where links come from: the relay listens, a device dials.

use std::io;
use std::net::{Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use aws_lc_rs::{hkdf, hmac};
use ginnel_proto::code::Code;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{ClientConfig, EndpointConfig, ServerConfig, VarInt};
use quinn_proto::HashedConnectionIdGenerator;
use rustls::pki_types::CertificateDer;

use crate::error::LinkError;
use crate::link::Link;
use crate::network::Network;
use crate::transport::{self, TransportSettings};

/// Handshakes that may wait for [`Listener::accept`]. Beyond, quinn drops the
/// packet and the device tries again.
const INCOMING_MAX: usize = 1024;

/// Bytes that one waiting handshake may buffer: its ClientHello with the
/// post-quantum key share takes two packets.
const INCOMING_BUFFER: u64 = 16 * 1024;

/// Bytes that all waiting handshakes may buffer together.
const INCOMING_BUFFER_TOTAL: u64 = 8 * 1024 * 1024;

/// Least time between two stateless resets. quinn's 20 ms would make a
/// thousand devices of a restarted relay wait for each other; a reset costs
/// little and is shorter than the packet it answers.
const RESET_INTERVAL: Duration = Duration::from_micros(100);

/// What a relay keeps across restarts, so that devices learn at once that
/// their links are gone: with the same keys, the restarted relay answers a
/// packet of an old link with a stateless reset (RFC 9000 §10.3).
#[derive(Clone)]
pub struct EndpointKeys {
    reset: [u8; 64],
    tokens: [u8; 32],
    connection_ids: u64,
}

impl EndpointKeys {
    /// Bytes to keep.
    pub const SIZE: usize = 32;

    /// Derives the keys from `SIZE` random bytes, which are kept secret.
    #[must_use]
    pub fn derive(secret: &[u8; Self::SIZE]) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA512, secret);
        let part = |label: &[u8]| hmac::sign(&key, label);
        Self {
            reset: first(part(b"stateless reset").as_ref()),
            tokens: first(part(b"address validation").as_ref()),
            connection_ids: u64::from_be_bytes(first(part(b"connection ids").as_ref())),
        }
    }
}

impl std::fmt::Debug for EndpointKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("EndpointKeys(***)")
    }
}

/// The first `N` bytes of a longer digest.
fn first<const N: usize>(digest: &[u8]) -> [u8; N] {
    let mut part = [0; N];
    for (to, from) in part.iter_mut().zip(digest) {
        *to = *from;
    }
    part
}

/// A relay's end: takes links.
#[derive(Debug, Clone)]
pub struct Listener {
    endpoint: quinn::Endpoint,
    keys: EndpointKeys,
    settings: TransportSettings,
    /// What links with devices on this machine are made with.
    here: Arc<ArcSwap<ServerConfig>>,
}

impl Listener {
    /// Starts to listen.
    ///
    /// # Errors
    /// The TLS settings cannot be used for QUIC, or the socket fails.
    pub fn new(
        network: Network,
        tls: Arc<rustls::ServerConfig>,
        keys: &EndpointKeys,
        settings: &TransportSettings,
    ) -> io::Result<Self> {
        let Servers { elsewhere, here } = servers(tls, keys, settings)?;
        let reset = hmac::Key::new(hmac::HMAC_SHA256, &keys.reset);
        let mut config = EndpointConfig::new(Arc::new(reset));
        config
            .rng_seed(settings.seed)
            .max_udp_payload_size(transport::MTU_MAX)
            .map_err(io::Error::other)?
            .min_reset_interval(RESET_INTERVAL);
        let connection_ids = keys.connection_ids;
        config
            .cid_generator(move || Box::new(HashedConnectionIdGenerator::from_key(connection_ids)));
        let endpoint = quinn::Endpoint::new_with_abstract_socket(
            config,
            Some(elsewhere),
            network.socket,
            network.runtime,
        )?;
        Ok(Self {
            endpoint,
            keys: keys.clone(),
            settings: *settings,
            here: Arc::new(ArcSwap::from_pointee(here)),
        })
    }

    /// Uses these TLS settings for links to come; those there are stay.
    ///
    /// # Errors
    /// The TLS settings cannot be used for QUIC.
    pub fn set_tls(&self, tls: Arc<rustls::ServerConfig>) -> io::Result<()> {
        let Servers { elsewhere, here } = servers(tls, &self.keys, &self.settings)?;
        self.here.store(Arc::new(here));
        self.endpoint.set_server_config(Some(elsewhere));
        Ok(())
    }

    /// The next handshake; `None` once closed.
    pub async fn accept(&self) -> Option<Knock> {
        let incoming = self.endpoint.accept().await?;
        let is_here = incoming.remote_address().ip().to_canonical().is_loopback();
        Some(Knock {
            here: is_here.then(|| self.here.load_full()),
            incoming,
        })
    }

    /// The address it listens at.
    ///
    /// # Errors
    /// The socket is gone.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        self.endpoint.local_addr()
    }

    /// Closes every link.
    pub fn close(&self, code: Code, reason: &str) {
        self.endpoint.close(varint(code), reason.as_bytes());
    }

    /// Waits until every closed link has told its device so.
    pub async fn wait_idle(&self) {
        self.endpoint.wait_idle().await;
    }
}

/// How links are made.
struct Servers {
    /// With devices on other machines.
    elsewhere: ServerConfig,
    /// With those on this one.
    here: ServerConfig,
}

fn servers(
    tls: Arc<rustls::ServerConfig>,
    keys: &EndpointKeys,
    settings: &TransportSettings,
) -> io::Result<Servers> {
    let crypto = QuicServerConfig::try_from(tls).map_err(io::Error::other)?;
    let tokens = hkdf::Salt::new(hkdf::HKDF_SHA256, &[]).extract(&keys.tokens);
    let mut server = ServerConfig::new(Arc::new(crypto), Arc::new(tokens));
    server
        .transport_config(transport::config(settings, Ipv6Addr::UNSPECIFIED.into()))
        .max_incoming(INCOMING_MAX)
        .incoming_buffer_size(INCOMING_BUFFER)
        .incoming_buffer_size_total(INCOMING_BUFFER_TOTAL);
    let mut here = server.clone();
    here.transport_config(transport::config(settings, Ipv6Addr::LOCALHOST.into()));
    Ok(Servers {
        elsewhere: server,
        here,
    })
}

/// A device at the door: the first packet of a handshake.
#[derive(Debug)]
pub struct Knock {
    incoming: quinn::Incoming,
    /// How a link is made with it if it is on this machine.
    here: Option<Arc<ServerConfig>>,
}

impl Knock {
    /// Where it says it is.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.incoming.remote_address()
    }

    /// Whether it has proved that it can receive there.
    #[must_use]
    pub fn is_validated(&self) -> bool {
        self.incoming.remote_address_validated()
    }

    /// Makes it prove its address before any work is done for it (RFC 9000
    /// §8.1.2); it comes back with [`Knock::is_validated`].
    pub fn retry(self) {
        // Fails only for a validated address, whose handshake is then dropped.
        let _ = self.incoming.retry();
    }

    /// Says no.
    pub fn refuse(self) {
        self.incoming.refuse();
    }

    /// Runs the handshake. The caller sets the time limit.
    ///
    /// # Errors
    /// The handshake failed.
    pub async fn handshake(self) -> Result<Arrival, LinkError> {
        let connecting = match self.here {
            Some(here) => self.incoming.accept_with(here)?,
            None => self.incoming.accept()?,
        };
        let connection = connecting.await?;
        let alpn = connection
            .handshake_data()
            .and_then(|data| data.downcast::<quinn::crypto::rustls::HandshakeData>().ok())
            .and_then(|data| data.protocol)
            .unwrap_or_default();
        let certificates = connection
            .peer_identity()
            .and_then(|identity| identity.downcast::<Vec<CertificateDer<'static>>>().ok())
            .map(|certificates| *certificates);
        Ok(Arrival {
            link: Link::new(connection),
            alpn,
            certificates,
        })
    }
}

/// A finished handshake, not yet judged.
#[derive(Debug)]
pub struct Arrival {
    /// The link, on which only one stream may be opened so far.
    pub link: Link,
    /// The protocol agreed on.
    pub alpn: Vec<u8>,
    /// The device's certificates, verified up to the authority; `None` if it
    /// presented none.
    pub certificates: Option<Vec<CertificateDer<'static>>>,
}

/// A device's end: makes links.
#[derive(Debug, Clone)]
pub struct Dialer {
    endpoint: quinn::Endpoint,
    settings: TransportSettings,
}

impl Dialer {
    /// Ready to dial over `network`.
    ///
    /// # Errors
    /// The socket fails.
    pub fn new(network: Network, settings: TransportSettings) -> io::Result<Self> {
        let mut config = EndpointConfig::default();
        config
            .rng_seed(settings.seed)
            .max_udp_payload_size(transport::MTU_MAX)
            .map_err(io::Error::other)?;
        let endpoint = quinn::Endpoint::new_with_abstract_socket(
            config,
            None,
            network.socket,
            network.runtime,
        )?;
        Ok(Self { endpoint, settings })
    }

    /// Connects to the relay at `address`, which must prove to be
    /// `server_name`. The handshake ends for a device before the relay has
    /// judged its certificate: being connected takes a Welcome.
    ///
    /// # Errors
    /// The relay cannot be reached or is not who it should be.
    pub async fn connect(
        &self,
        address: SocketAddr,
        server_name: &str,
        tls: Arc<rustls::ClientConfig>,
    ) -> Result<Link, LinkError> {
        let crypto = QuicClientConfig::try_from(tls)
            .map_err(|error| LinkError::Transport(error.to_string()))?;
        let mut config = ClientConfig::new(Arc::new(crypto));
        config.transport_config(transport::config(&self.settings, address.ip()));
        let connecting = self
            .endpoint
            .connect_with(config, address, server_name)
            .map_err(|error| LinkError::Transport(error.to_string()))?;
        Ok(Link::new(connecting.await?))
    }

    /// Moves every link to another socket, for when the machine's address has
    /// changed. The links live on (RFC 9000 §9).
    ///
    /// # Errors
    /// The socket fails.
    pub fn rebind(&self, network: Network) -> io::Result<()> {
        self.endpoint.rebind_abstract(network.socket)
    }

    /// The local address.
    ///
    /// # Errors
    /// The socket is gone.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        self.endpoint.local_addr()
    }

    /// Waits until every closed link has told its relay so.
    pub async fn wait_idle(&self) {
        self.endpoint.wait_idle().await;
    }
}

pub(crate) fn varint(code: Code) -> VarInt {
    VarInt::from_u64(code.number()).unwrap_or(VarInt::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_depend_on_the_secret_and_differ_from_each_other() {
        let one = EndpointKeys::derive(&[1; 32]);
        let again = EndpointKeys::derive(&[1; 32]);
        let two = EndpointKeys::derive(&[2; 32]);
        assert_eq!(one.reset, again.reset);
        assert_ne!(one.reset, two.reset);
        assert_ne!(one.reset[..32], one.tokens);
        assert_eq!(format!("{one:?}"), "EndpointKeys(***)");
    }
}
