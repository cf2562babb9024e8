//! Ginnel inside another program: sends the standard input to an upstream of
//! the relay and prints the answer.
//!
//! ```console
//! $ ginnel --state ./tunnel join CODE --name my-program
//! $ echo hello | cargo run --example cloud_tunnel -- ./tunnel UPSTREAM
//! ```

mod tunnel;

use std::io::{Read as _, Write as _};

use anyhow::Context as _;
use tunnel::{CloudTunnel, TunnelConfig};

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let state = arguments.next().context("which state folder?")?;
    let upstream = arguments.next().context("which upstream?")?;

    let mut tunnel = CloudTunnel::new(TunnelConfig::new(state.into(), upstream.parse()?))?;
    tunnel.connect().await?;

    let mut message = Vec::new();
    std::io::stdin().read_to_end(&mut message)?;
    let answer = tunnel.send(&message).await?;
    std::io::stdout().write_all(&answer)?;
    Ok(())
}
