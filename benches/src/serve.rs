//! What runs in processes of its own: this program, started again.
//!
//! Each prints one line when it is ready and ends when its standard input
//! does, so that none outlives the run.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::Subcommand;

use crate::controls::Control;
use crate::devices::{Crowd, Peer, serve_quinn};
use crate::{load, origin, vectors};

/// A part of a run.
#[derive(Debug, Subcommand)]
pub enum Part {
    /// The local service.
    Origin,
    /// A control's server.
    Control {
        /// Which.
        control: Control,
        /// The authority's folder.
        folder: PathBuf,
    },
    /// Bare quinn that keeps connections.
    Keeper {
        /// The authority's folder.
        folder: PathBuf,
    },
    /// Many devices.
    Devices {
        /// Whom they connect to.
        peer: Peer,
        /// Where.
        address: SocketAddr,
        /// The relay's state, or the authority's folder.
        folder: PathBuf,
        /// How many.
        count: u32,
        /// How many at once.
        at_once: usize,
    },
    /// A subject of `vectors`.
    Vectors(vectors::serve::Place),
    /// Small requests to any address, to look at a tunnel with other tools.
    Load {
        /// Where.
        address: SocketAddr,
        /// Connections, each with one request at a time.
        connections: usize,
        /// For how long.
        seconds: u64,
    },
}

/// Runs the part until standard input ends.
///
/// # Errors
/// It failed.
pub async fn run(part: Part) -> anyhow::Result<()> {
    if let Part::Vectors(place) = &part {
        // It is asked by standard input, so it does not only wait for its end.
        return vectors::serve::run(place);
    }
    let ready = |address: SocketAddr| println!("{address}");
    let serving = async {
        match part {
            Part::Origin => origin::serve(ready).await,
            Part::Control { control, folder } => control.serve(&folder, ready).await,
            Part::Keeper { folder } => serve_quinn(&folder, ready).await,
            Part::Devices {
                peer,
                address,
                folder,
                count,
                at_once,
            } => {
                let crowd = Crowd {
                    peer,
                    address,
                    folder: &folder,
                    count,
                    at_once,
                };
                let told = |connected| {
                    let line = serde_json::to_string(&connected);
                    println!("{}", line.unwrap_or_default());
                };
                crowd.run(told, std::future::pending()).await
            }
            Part::Vectors(_) => Ok(()),
            Part::Load {
                address,
                connections,
                seconds,
            } => {
                let span = Duration::from_secs(seconds);
                let small = load::small(address, connections, span).await?;
                let [p50, p99] = [0.5, 0.99].map(|quantile| small.quantile_us(quantile));
                let rate = small.rate();
                println!("{rate:.0} requests/s, p50 {p50:.0} µs, p99 {p99:.0} µs");
                Ok(())
            }
        }
    };
    tokio::select! {
        served = Box::pin(serving) => served.context("a part of the run failed"),
        () = input_ends() => Ok(()),
    }
}

/// In a thread, because a runtime waits for a read of its own at its end.
async fn input_ends() {
    let (ended, end) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        let _ = ended.send(());
    });
    let _ = end.await;
}
