//! TCP, bare and under TLS.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::{Order, check_receipt};
use crate::identity::{DOMAIN, device_tls, relay_tls};
use crate::load::Way;
use crate::origin::write_block;

const READ_SIZE: usize = 256 * 1024;

/// Serves TCP.
///
/// # Errors
/// It cannot listen.
pub async fn serve_tcp(ready: impl FnOnce(SocketAddr)) -> anyhow::Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    ready(listener.local_addr()?);
    loop {
        let (mut stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        answer(&mut stream).await?;
    }
}

/// Serves TLS.
///
/// # Errors
/// It cannot listen.
pub async fn serve_tls(folder: &Path, ready: impl FnOnce(SocketAddr)) -> anyhow::Result<()> {
    let acceptor = TlsAcceptor::from(relay_tls(folder)?);
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    ready(listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let mut stream = acceptor.accept(stream).await?;
        answer(&mut stream).await?;
    }
}

/// Carries out one order. Connections come one at a time.
async fn answer(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> anyhow::Result<()> {
    let mut bytes = [0; Order::SIZE];
    stream.read_exact(&mut bytes).await?;
    let order = Order::decode(&bytes)?;
    match order.way {
        Way::Down => write_block(stream, order.length).await?,
        Way::Up => {
            let received = take(stream, order.length).await?;
            stream.write_all(&received.to_be_bytes()).await?;
        }
    }
    stream.flush().await?;
    // The client closes, so that no byte is lost.
    let _ = stream.read(&mut bytes).await;
    Ok(())
}

/// Moves bytes over TCP.
///
/// # Errors
/// It failed.
pub async fn transfer_tcp(address: SocketAddr, order: Order) -> anyhow::Result<Duration> {
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    ask(&mut stream, order).await
}

/// Moves bytes over TLS.
///
/// # Errors
/// It failed.
pub async fn transfer_tls(
    folder: &Path,
    address: SocketAddr,
    order: Order,
) -> anyhow::Result<Duration> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let connector = TlsConnector::from(device_tls(folder)?);
    let name = ServerName::try_from(DOMAIN)?;
    let mut stream = connector.connect(name, stream).await?;
    ask(&mut stream, order).await
}

async fn ask(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    order: Order,
) -> anyhow::Result<Duration> {
    let began = Instant::now();
    stream.write_all(&order.encode()).await?;
    match order.way {
        Way::Down => {
            stream.flush().await?;
            let received = take(stream, order.length).await?;
            ensure!(received == order.length, "too many bytes");
        }
        Way::Up => {
            write_block(stream, order.length).await?;
            stream.flush().await?;
            let mut receipt = [0; 8];
            stream.read_exact(&mut receipt).await?;
            check_receipt(order, &receipt)?;
        }
    }
    Ok(began.elapsed())
}

async fn take(stream: &mut (impl AsyncRead + Unpin), length: u64) -> anyhow::Result<u64> {
    let mut scratch = vec![0; READ_SIZE];
    let mut received = 0;
    while received < length {
        match stream.read(&mut scratch).await? {
            0 => bail!("transfer broke off, received={received}"),
            count => received += count as u64,
        }
    }
    Ok(received)
}
