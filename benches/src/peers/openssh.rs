//! OpenSSH's remote forwarding, with AES-128-GCM.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use tokio::net::TcpStream;
use tokio::time::sleep;

use super::install::OpenSsh;
use crate::process::{Process, free_address};
use crate::subjects::{Subject, logged};

/// Starts a server of our own and a client. They listen on loopback only and
/// know no key but the one made here.
///
/// # Errors
/// One does not start.
pub async fn start(
    programs: &OpenSsh,
    folder: &Path,
    origin: SocketAddr,
) -> anyhow::Result<Subject> {
    let folder = folder.join("openssh");
    fs::create_dir(&folder)?;
    for key in ["host", "user"] {
        make_key(programs, &folder.join(key))?;
    }
    if rustix::process::geteuid().is_root() {
        // Where the server locks up what it does before a user is known.
        fs::create_dir_all("/run/sshd")?;
    }
    let (link, public) = (free_address()?, free_address()?);
    let path = |name: &str| folder.join(name).display().to_string();
    let config = format!(
        "ListenAddress {link}\nHostKey {}\nAuthorizedKeysFile {}\nPidFile none\n\
         StrictModes no\nUsePAM no\nPasswordAuthentication no\nAllowTcpForwarding yes\n\
         PermitRootLogin prohibit-password\nMaxSessions 100\nMaxStartups 100\n",
        path("host"),
        path("user.pub"),
    );
    fs::write(folder.join("sshd_config"), config)?;
    let mut server = logged(&programs.sshd, &folder.join("server.log"))?;
    server
        .args(["-D", "-e", "-f"])
        .arg(folder.join("sshd_config"));
    let mut server = Process::start("sshd", &mut server)?;
    let began = Instant::now();
    while TcpStream::connect(link).await.is_err() {
        server.check()?;
        ensure!(
            began.elapsed() < Duration::from_secs(10),
            "sshd does not listen"
        );
        sleep(Duration::from_millis(20)).await;
    }
    let mut client = logged(&programs.ssh, &folder.join("client.log"))?;
    client
        .args(["-F", "none", "-N", "-c", "aes128-gcm@openssh.com"])
        .args(["-o", "StrictHostKeyChecking=no", "-o", "BatchMode=yes"])
        .args(["-o", "ExitOnForwardFailure=yes", "-o", "IdentitiesOnly=yes"])
        .args(["-o", &format!("UserKnownHostsFile={}", path("known"))])
        .args(["-i", &path("user"), "-p", &link.port().to_string()])
        .args(["-R", &format!("{public}:{origin}"), "-l", &user()?])
        .arg("127.0.0.1");
    let client = Process::start("ssh", &mut client)?;
    Ok(Subject {
        name: "ssh -R (AES-128-GCM)",
        public,
        processes: vec![server, client],
    })
}

fn make_key(programs: &OpenSsh, file: &Path) -> anyhow::Result<()> {
    let made = Command::new(&programs.keygen)
        .args(["-q", "-t", "ed25519", "-N", "", "-f"])
        .arg(file)
        .stdin(Stdio::null())
        .status()?;
    ensure!(made.success(), "ssh-keygen failed");
    Ok(())
}

fn user() -> anyhow::Result<String> {
    let output = Command::new("id").arg("-un").output()?;
    let name = String::from_utf8(output.stdout).context("user name is not text")?;
    Ok(name.trim().to_owned())
}
