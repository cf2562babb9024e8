//! bore, which does not encrypt.

use std::net::SocketAddr;
use std::path::Path;

use crate::process::{Process, free_address};
use crate::subjects::{Subject, logged};

/// Starts both ends. The port by which they meet is fixed in the program.
///
/// # Errors
/// One does not start.
pub fn start(program: &Path, origin: SocketAddr, folder: &Path) -> anyhow::Result<Subject> {
    let public = free_address()?;
    let port = public.port().to_string();
    let mut server = logged(program, &folder.join("bore-server.log"))?;
    server.args(["server", "--bind-addr", "127.0.0.1"]);
    server.args(["--min-port", &port, "--max-port", &port]);
    let server = Process::start("bore server", &mut server)?;
    // The client does not try twice.
    wait_for_port()?;
    let mut client = logged(program, &folder.join("bore-client.log"))?;
    client.args(["local", &origin.port().to_string()]);
    client.args(["--to", "127.0.0.1", "--port", &port]);
    let client = Process::start("bore client", &mut client)?;
    Ok(Subject {
        name: "bore (plain)",
        public,
        processes: vec![server, client],
    })
}

fn wait_for_port() -> anyhow::Result<()> {
    const PORT: u16 = 7835;
    let began = std::time::Instant::now();
    while std::net::TcpStream::connect(("127.0.0.1", PORT)).is_err() {
        anyhow::ensure!(began.elapsed().as_secs() < 10, "bore does not listen");
        std::thread::yield_now();
    }
    Ok(())
}
