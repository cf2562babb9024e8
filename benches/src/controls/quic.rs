//! Bare quinn: one stream, 64 KiB writes, up to 64 slices a read.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use quinn::{RecvStream, SendStream};

use super::{Order, check_receipt};
use crate::bare;
use crate::identity::{DOMAIN, device_tls};
use crate::load::Way;
use crate::origin::BLOCK;

const WRITE_SIZE: usize = 64 * 1024;
const READ_SLICES: usize = 64;

/// Serves transfers, one connection after the other.
///
/// # Errors
/// It cannot listen.
pub async fn serve(folder: &Path, ready: impl FnOnce(SocketAddr)) -> anyhow::Result<()> {
    let endpoint = bare::server(folder)?;
    ready(endpoint.local_addr()?);
    while let Some(incoming) = endpoint.accept().await {
        let connection = incoming.await?;
        let (mut send, mut recv) = connection.accept_bi().await?;
        let mut bytes = [0; Order::SIZE];
        recv.read_exact(&mut bytes).await?;
        let order = Order::decode(&bytes)?;
        match order.way {
            Way::Down => write(&mut send, order.length).await?,
            Way::Up => {
                let received = take(&mut recv).await?;
                send.write_all(&received.to_be_bytes()).await?;
            }
        }
        send.finish()?;
        connection.closed().await;
    }
    Ok(())
}

/// Moves bytes over a fresh connection.
///
/// # Errors
/// It failed.
pub async fn transfer(
    folder: &Path,
    address: SocketAddr,
    order: Order,
) -> anyhow::Result<Duration> {
    let endpoint = bare::client()?;
    let config = bare::client_config(device_tls(folder)?)?;
    let connection = endpoint.connect_with(config, address, DOMAIN)?.await?;
    let (mut send, mut recv) = connection.open_bi().await?;
    let began = Instant::now();
    send.write_all(&order.encode()).await?;
    match order.way {
        Way::Down => {
            send.finish()?;
            let received = take(&mut recv).await?;
            ensure!(
                received == order.length,
                "bytes were lost, received={received}"
            );
        }
        Way::Up => {
            write(&mut send, order.length).await?;
            send.finish()?;
            let receipt = recv.read_to_end(8).await?;
            check_receipt(order, &receipt)?;
        }
    }
    let took = began.elapsed();
    connection.close(0_u32.into(), b"");
    endpoint.wait_idle().await;
    Ok(took)
}

async fn write(send: &mut SendStream, length: u64) -> anyhow::Result<()> {
    let block = Bytes::from_static(&BLOCK);
    let mut left = length;
    while left > 0 {
        let count = usize::try_from(left)?.min(WRITE_SIZE);
        send.write_chunk(block.slice(..count)).await?;
        left -= count as u64;
    }
    Ok(())
}

async fn take(recv: &mut RecvStream) -> anyhow::Result<u64> {
    let mut received = 0;
    let mut slices = [const { Bytes::new() }; READ_SLICES];
    while let Some(count) = recv.read_chunks(&mut slices).await? {
        let taken = slices.get(..count).context("count is of the slices")?;
        received += taken.iter().map(|slice| slice.len() as u64).sum::<u64>();
    }
    Ok(received)
}
