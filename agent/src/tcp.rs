//! `ginnel tcp`: a local port for a TCP service of another device.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::Context as _;
use ginnel_proto::id::{DeviceName, ServiceName};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;

use crate::local_client::LocalClient;

/// Listens on `listen` and carries each connection to the service, through
/// the running daemon, until `stop`. `listening` is told the address.
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
    let connections = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(()),
            accepted = listener.accept() => accepted,
        };
        let (connection, _) = accepted.context("cannot accept a connection")?;
        let (state, device, service) = (state.to_owned(), device.clone(), service.clone());
        connections.spawn(async move {
            if let Err(error) = carry(&state, device.as_ref(), &service, connection).await {
                warn!("{error:#}");
            }
        });
    }
}

async fn carry(
    state: &Path,
    device: Option<&DeviceName>,
    service: &ServiceName,
    mut connection: TcpStream,
) -> anyhow::Result<()> {
    connection.set_nodelay(true)?;
    let daemon = LocalClient::find(state).await?;
    let mut tunnel = daemon.tcp(device, service).await?;
    tokio::io::copy_bidirectional(&mut connection, &mut tunnel).await?;
    Ok(())
}
