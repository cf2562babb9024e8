//! wstunnel over TLS. Not in the crate registry, so it runs when found.

use std::net::SocketAddr;
use std::path::Path;

use crate::process::{Process, free_address};
use crate::subjects::{Subject, logged};

/// Starts both ends.
///
/// # Errors
/// One does not start.
pub fn start(program: &Path, folder: &Path, origin: SocketAddr) -> anyhow::Result<Subject> {
    let (link, public) = (free_address()?, free_address()?);
    let mut server = logged(program, &folder.join("wstunnel-server.log"))?;
    server.args(["server", &format!("wss://{link}")]);
    let server = Process::start("wstunnel server", &mut server)?;
    let mut client = logged(program, &folder.join("wstunnel-client.log"))?;
    client.args(["client", "-R", &format!("tcp://{public}:{origin}")]);
    client.arg(format!("wss://{link}"));
    let client = Process::start("wstunnel client", &mut client)?;
    Ok(Subject {
        name: "wstunnel",
        public,
        processes: vec![server, client],
    })
}
