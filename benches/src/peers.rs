//! Other tunnels on the same machine, with the same origin and the same load.
//!
//! Each is set up as well as its options allow: no delay on TCP, AES-128-GCM
//! where there is a choice. They are installed into the target folder, never
//! into the user's own.

pub mod bore;
pub mod install;
pub mod openssh;
pub mod rathole;
pub mod wstunnel;

use std::net::SocketAddr;
use std::path::Path;

use anyhow::Context as _;

use crate::subjects::Subject;

/// Starts every peer that can be had. A peer that cannot is told on standard
/// error; without rathole or bore there is nothing to compare with.
///
/// # Errors
/// A peer cannot be installed or does not forward.
pub async fn start(folder: &Path, origin: SocketAddr) -> anyhow::Result<Vec<Subject>> {
    let rathole = install::from_registry("rathole", install::Lock::Newest)?;
    let bore = install::from_registry("bore", install::Lock::AsPublished)?;
    let mut peers = vec![
        rathole::start(&rathole, folder, origin).context("cannot start rathole")?,
        bore::start(&bore, origin, folder).context("cannot start bore")?,
    ];
    match install::openssh()? {
        Some(programs) => {
            let peer = openssh::start(&programs, folder, origin).await;
            peers.push(peer.context("cannot start OpenSSH")?);
        }
        None => eprintln!("OpenSSH is not measured: install openssh-server, or run as root"),
    }
    if let Some(program) = install::find("wstunnel") {
        let peer = wstunnel::start(&program, folder, origin);
        peers.push(peer.context("cannot start wstunnel")?);
    }
    for peer in &mut peers {
        peer.wait_ready().await?;
    }
    Ok(peers)
}
