//! What the tunnel is compared with: the same bytes over less.
//!
//! Each control has a server, in a process of its own, and a client, in the
//! main process. The client asks with nine bytes: a letter for the way, and
//! the length. What goes up is answered with eight bytes: the length again.

pub mod link;
pub mod quic;
pub mod stream;

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, ensure};

use crate::load::Way;

/// What bytes travel over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Control {
    /// One TCP connection.
    Tcp,
    /// TLS over one TCP connection.
    Tls,
    /// One stream of a bare quinn connection.
    Quinn,
    /// The body pump over one stream of a link.
    Pump,
}

impl Control {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Tcp, Self::Tls, Self::Quinn, Self::Pump];

    /// As in tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::Tls => "TLS over TCP",
            Self::Quinn => "bare quinn",
            Self::Pump => "link's body pump",
        }
    }

    /// As on the command line.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Quinn => "quinn",
            Self::Pump => "pump",
        }
    }

    /// Serves until the process ends, with certificates of the authority in
    /// `folder`; `ready` is told the address.
    ///
    /// # Errors
    /// It cannot listen.
    pub async fn serve(self, folder: &Path, ready: impl FnOnce(SocketAddr)) -> anyhow::Result<()> {
        match self {
            Self::Tcp => stream::serve_tcp(ready).await,
            Self::Tls => stream::serve_tls(folder, ready).await,
            Self::Quinn => quic::serve(folder, ready).await,
            Self::Pump => link::serve(folder, ready).await,
        }
    }

    /// Moves `length` bytes on a fresh connection. Returns the time it took,
    /// without connecting.
    ///
    /// # Errors
    /// It failed.
    pub async fn transfer(
        self,
        folder: &Path,
        address: SocketAddr,
        order: Order,
    ) -> anyhow::Result<Duration> {
        match self {
            Self::Tcp => stream::transfer_tcp(address, order).await,
            Self::Tls => stream::transfer_tls(folder, address, order).await,
            Self::Quinn => quic::transfer(folder, address, order).await,
            Self::Pump => link::transfer(folder, address, order).await,
        }
    }
}

/// What to move.
#[derive(Debug, Clone, Copy)]
pub struct Order {
    /// Which way.
    pub way: Way,
    /// How many bytes.
    pub length: u64,
}

impl Order {
    /// How long an order is.
    pub const SIZE: usize = 9;

    /// The order as bytes.
    #[must_use]
    pub fn encode(self) -> [u8; Self::SIZE] {
        let mut bytes = [0; Self::SIZE];
        let (letter, length) = bytes.split_at_mut(1);
        letter.fill(match self.way {
            Way::Down => b'd',
            Way::Up => b'u',
        });
        length.copy_from_slice(&self.length.to_be_bytes());
        bytes
    }

    /// The order from bytes.
    ///
    /// # Errors
    /// They are no order.
    pub fn decode(bytes: &[u8]) -> anyhow::Result<Self> {
        let (letter, length) = bytes.split_first().context("order is empty")?;
        let length = u64::from_be_bytes(length.try_into()?);
        let way = match letter {
            b'd' => Way::Down,
            b'u' => Way::Up,
            _ => anyhow::bail!("order has no way"),
        };
        Ok(Self { way, length })
    }
}

/// Checks the answer to what went up.
///
/// # Errors
/// The other side received another length.
pub fn check_receipt(order: Order, receipt: &[u8]) -> anyhow::Result<()> {
    let received = u64::from_be_bytes(receipt.try_into()?);
    ensure!(
        received == order.length,
        "bytes were lost, received={received}"
    );
    Ok(())
}
