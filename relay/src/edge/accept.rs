//! Takes TCP connections, no more at once than there is room for.

use ginnel_daemon::tally::Tally;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// When to ask a silent caller whether it is still there.
const KEEPALIVE: TcpKeepalive = TcpKeepalive::new()
    .with_time(Duration::from_secs(60))
    .with_interval(Duration::from_secs(15));

/// How long to wait after the system refused a connection, as when out of
/// file descriptors: those in use come back.
const PAUSE: Duration = Duration::from_millis(100);

/// A listening socket.
#[derive(Debug)]
pub struct Acceptor {
    listener: TcpListener,
    room: Arc<Semaphore>,
    failures: Tally,
}

/// A connection, and its place among those that may be open.
#[derive(Debug)]
pub struct Accepted {
    /// The connection.
    pub stream: TcpStream,
    /// The caller's address.
    pub address: SocketAddr,
    /// To be dropped with the connection.
    pub place: OwnedSemaphorePermit,
}

impl Acceptor {
    /// Listens on `address`. Each connection takes a place of `room`, which
    /// several acceptors may share.
    ///
    /// # Errors
    /// The address is taken or not ours.
    pub async fn bind(address: SocketAddr, room: Arc<Semaphore>) -> io::Result<Self> {
        Ok(Self {
            listener: TcpListener::bind(address).await?,
            room,
            failures: Tally::default(),
        })
    }

    /// The address it listens at.
    ///
    /// # Errors
    /// The socket is gone.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// The next connection; `None` after `stop`. While there is no room the
    /// system's backlog holds callers back.
    pub async fn next(&self, stop: &CancellationToken) -> Option<Accepted> {
        stop.run_until_cancelled(self.accept()).await
    }

    async fn accept(&self) -> Accepted {
        loop {
            let Ok(place) = Arc::clone(&self.room).acquire_owned().await else {
                // Nobody closes it; and if: no room, for ever.
                return std::future::pending().await;
            };
            match self.listener.accept().await {
                Ok((stream, address)) => {
                    // Small answers must not wait for the next one (Nagle),
                    // and a caller that vanished must not keep its streams.
                    let _ = stream.set_nodelay(true);
                    let _ = SockRef::from(&stream).set_tcp_keepalive(&KEEPALIVE);
                    return Accepted {
                        stream,
                        address,
                        place,
                    };
                }
                Err(error) => {
                    if let Some(times) = self.failures.count(Instant::now()) {
                        warn!(%error, times, "cannot accept a connection; told once a minute");
                    }
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    #[tokio::test]
    async fn acceptors_share_their_room() {
        let room = Arc::new(Semaphore::new(1));
        let bind = async || {
            let any = "127.0.0.1:0".parse().expect("valid");
            Acceptor::bind(any, Arc::clone(&room)).await.expect("bound")
        };
        let (http, tcp) = (bind().await, bind().await);
        let connect = async |to: &Acceptor| {
            let address = to.local_address().expect("bound");
            TcpStream::connect(address).await.expect("in the backlog")
        };
        let (_one, _two) = (connect(&http).await, connect(&tcp).await);
        let stop = CancellationToken::new();
        let first = timeout(PATIENCE, http.next(&stop)).await;
        let first = first.expect("in time").expect("accepted");
        let full = timeout(Duration::from_millis(100), tcp.next(&stop)).await;
        assert!(full.is_err(), "there was no room");
        drop(first);
        let second = timeout(PATIENCE, tcp.next(&stop)).await;
        assert!(second.expect("in time").is_some());
        stop.cancel();
        assert!(http.next(&stop).await.is_none());
    }
}
