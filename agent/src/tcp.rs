//! `ginnel tcp`: a local port for a TCP service of another device.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use ginnel_daemon::tally::Tally;
use ginnel_link::cut::{Cut, Cuttable};
use ginnel_proto::id::{DeviceName, ServiceName};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;

use crate::accept::{CONNECTIONS_MAX, accept};
use crate::local_client::LocalClient;

/// How long connections may go on after the command was told to stop.
const STOP_GRACE: Duration = Duration::from_secs(5);

/// Listens on `listen` and carries each connection to the service, through
/// the running daemon, until `stop`; those under way may then go on for a
/// little. `listening` is told the address.
///
/// # Errors
/// The address is taken, or no daemon runs.
pub async fn listen(
    state: &Path,
    device: Option<DeviceName>,
    service: ServiceName,
    listen: SocketAddr,
    stop: CancellationToken,
    listening: impl FnOnce(SocketAddr),
) -> anyhow::Result<()> {
    // Said now rather than at the first connection.
    LocalClient::find(state).await?;
    let listener = TcpListener::bind(listen)
        .await
        .with_context(|| format!("cannot listen, address={listen}"))?;
    listening(listener.local_addr()?);
    let carry = |connection| {
        let (state, device, service) = (state.to_owned(), device.clone(), service.clone());
        async move { carry(&state, device.as_ref(), &service, connection).await }
    };
    carry_all(listener, stop, carry).await;
    Ok(())
}

/// Carries connections until `stop`, then lets them finish for a while.
/// Returns when none is left.
async fn carry_all<F>(
    listener: TcpListener,
    stop: CancellationToken,
    carry: impl Fn(TcpStream) -> F,
) where
    F: Future<Output = anyhow::Result<()>> + Send + 'static,
{
    let connections = TaskTracker::new();
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let now = CancellationToken::new();
    let failures = Tally::default();
    let accept_all = async {
        // The semaphore is never closed, so there is always a place in time.
        while let Ok(place) = Arc::clone(&places).acquire_owned().await {
            let connection = carry(accept(&listener, &failures).await);
            let now = now.clone();
            connections.spawn(async move {
                let _place = place;
                if let Some(Err(error)) = now.run_until_cancelled(connection).await {
                    warn!("{error:#}");
                }
            });
        }
    };
    stop.run_until_cancelled(accept_all).await;
    drop(listener);
    connections.close();
    if timeout(STOP_GRACE, connections.wait()).await.is_err() {
        warn!(left = connections.len(), "connections cut off");
        now.cancel();
        connections.wait().await;
    }
}

async fn carry(
    state: &Path,
    device: Option<&DeviceName>,
    service: &ServiceName,
    connection: TcpStream,
) -> anyhow::Result<()> {
    connection.set_nodelay(true)?;
    let mut connection = Cuttable::new(connection);
    let daemon = LocalClient::find(state).await?;
    let (mut tunnel, cut) = daemon.tcp(device, service).await?;
    // Until both directions have ended well, neither end must take what it got
    // for the whole.
    let ends = [connection.cut(), cut];
    ends.iter().for_each(Cut::cut);
    tokio::io::copy_bidirectional(&mut connection, &mut tunnel).await?;
    ends.iter().for_each(Cut::spare);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::sync::Notify;
    use tokio::time::Instant;

    async fn listener() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let address = listener.local_addr().expect("bound");
        (listener, address)
    }

    #[tokio::test]
    async fn connections_finish_after_the_stop() {
        let (listener, address) = listener().await;
        let stop = CancellationToken::new();
        let carry = async |mut connection: TcpStream| {
            let (mut reader, mut writer) = connection.split();
            tokio::io::copy(&mut reader, &mut writer).await?;
            Ok(())
        };
        let carry = |connection| async move { carry(connection).await };
        let client = async {
            let mut client = TcpStream::connect(address).await.expect("connected");
            let mut answer = [0; 4];
            client.write_all(b"ping").await.expect("sent");
            client.read_exact(&mut answer).await.expect("before");
            stop.cancel();
            while TcpStream::connect(address).await.is_ok() {}
            client.write_all(b"pong").await.expect("sent");
            client.read_exact(&mut answer).await.expect("after");
            answer
        };
        let (answer, ()) = tokio::join!(client, carry_all(listener, stop.clone(), carry));
        assert_eq!(&answer, b"pong");
    }

    #[tokio::test]
    async fn no_more_connections_than_there_are_places() {
        let (listener, address) = listener().await;
        let stop = CancellationToken::new();
        let begun = Arc::new(AtomicUsize::new(0));
        let done = Arc::new(Notify::new());
        let carry = |connection: TcpStream| {
            let (begun, done) = (Arc::clone(&begun), Arc::clone(&done));
            async move {
                let _connection = connection;
                begun.fetch_add(1, Ordering::Relaxed);
                done.notified().await;
                Ok(())
            }
        };
        let until_begun = async |count| {
            while begun.load(Ordering::Relaxed) < count {
                tokio::task::yield_now().await;
            }
        };
        let clients = async {
            let mut clients = Vec::new();
            for _ in 0..=CONNECTIONS_MAX {
                clients.push(TcpStream::connect(address).await.expect("connected"));
            }
            until_begun(CONNECTIONS_MAX).await;
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
            assert_eq!(begun.load(Ordering::Relaxed), CONNECTIONS_MAX);
            done.notify_one();
            until_begun(CONNECTIONS_MAX + 1).await;
            stop.cancel();
            done.notify_waiters();
        };
        tokio::join!(clients, carry_all(listener, stop.clone(), carry));
    }

    #[tokio::test]
    async fn a_connection_that_goes_on_is_cut_off_in_the_end() {
        let (listener, address) = listener().await;
        let stop = CancellationToken::new();
        let client = async {
            let mut client = TcpStream::connect(address).await.expect("connected");
            assert_eq!(client.read(&mut [0]).await.expect("begun"), 1);
            tokio::time::pause();
            stop.cancel();
            assert_eq!(client.read(&mut [0]).await.expect("cut off"), 0);
        };
        let began = Instant::now();
        let carry = |mut connection: TcpStream| async move {
            connection.write_all(b"x").await?;
            std::future::pending().await
        };
        tokio::join!(client, carry_all(listener, stop.clone(), carry));
        assert!(began.elapsed() >= STOP_GRACE);
    }
}
