//! The link's body pump: `send_body` on one end, `RecvBody` on the other.

use std::convert::Infallible;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use bytes::{Buf as _, Bytes};
use ginnel_link::body::{RecvBody, send_body};
use ginnel_link::endpoint::{Dialer, EndpointKeys, Listener};
use ginnel_link::link::{Link, Priority};
use ginnel_link::network::Network;
use ginnel_link::transport::TransportSettings;
use ginnel_proto::code::Code;
use ginnel_proto::frame::FrameType;
use http_body::{Body, Frame, SizeHint};

use super::{Order, check_receipt};
use crate::identity::{DOMAIN, device_tls, relay_tls};
use crate::load::Way;
use crate::origin::BLOCK;

const WRITE_SIZE: usize = 64 * 1024;

/// Serves transfers, one link after the other.
///
/// # Errors
/// It cannot listen.
pub async fn serve(folder: &Path, ready: impl FnOnce(SocketAddr)) -> anyhow::Result<()> {
    let network = Network::udp("127.0.0.1:0".parse()?)?;
    let keys = EndpointKeys::derive(&[7; EndpointKeys::SIZE]);
    let settings = TransportSettings::default();
    let listener = Listener::new(network, relay_tls(folder)?, &keys, &settings)?;
    ready(listener.local_address()?);
    while let Some(knock) = listener.accept().await {
        let link = knock.handshake().await?.link;
        link.grant_streams();
        answer(&link).await?;
    }
    Ok(())
}

async fn answer(link: &Link) -> anyhow::Result<()> {
    let mut stream = link.accept().await?;
    let payload = stream.recv.expect(FrameType::Message, "an order").await?;
    let order = Order::decode(&payload)?;
    match order.way {
        Way::Down => {
            send_body(&mut stream.send, Blocks(order.length)).await?;
        }
        Way::Up => {
            let received = take(stream.recv.into_body()).await?;
            let receipt = received.to_be_bytes();
            stream.send.send_frame(FrameType::Message, &receipt).await?;
            stream.send.finish();
        }
    }
    link.closed().await;
    Ok(())
}

/// Moves bytes over a fresh link.
///
/// # Errors
/// It failed.
pub async fn transfer(
    folder: &Path,
    address: SocketAddr,
    order: Order,
) -> anyhow::Result<Duration> {
    let network = Network::udp("127.0.0.1:0".parse()?)?;
    let dialer = Dialer::new(network, TransportSettings::default())?;
    let link = dialer.connect(address, DOMAIN, device_tls(folder)?).await?;
    link.grant_streams();
    let mut stream = link.open(Priority::Interactive).await?;
    let began = Instant::now();
    let asked = order.encode();
    stream.send.send_frame(FrameType::Message, &asked).await?;
    match order.way {
        Way::Down => {
            stream.send.finish();
            let received = take(stream.recv.into_body()).await?;
            ensure!(
                received == order.length,
                "bytes were lost, received={received}"
            );
        }
        Way::Up => {
            send_body(&mut stream.send, Blocks(order.length)).await?;
            let receipt = stream.recv.expect(FrameType::Message, "a receipt").await?;
            check_receipt(order, &receipt)?;
        }
    }
    let took = began.elapsed();
    link.close(Code::Done, "");
    dialer.wait_idle().await;
    Ok(took)
}

async fn take(body: RecvBody) -> anyhow::Result<u64> {
    let mut body = pin!(body);
    let mut received = 0;
    while let Some(frame) = poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
        let data = frame?.into_data().ok().context("only data was sent")?;
        received += data.remaining() as u64;
    }
    Ok(received)
}

/// A body of so many bytes, of known length.
struct Blocks(u64);

impl Body for Blocks {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.0 == 0 {
            return Poll::Ready(None);
        }
        let left = usize::try_from(self.0).unwrap_or(usize::MAX);
        let count = left.min(WRITE_SIZE);
        self.0 -= count as u64;
        let slice = Bytes::from_static(&BLOCK).slice(..count);
        Poll::Ready(Some(Ok(Frame::data(slice))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0)
    }
}
