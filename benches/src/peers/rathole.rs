//! rathole with its TLS transport.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};

use crate::process::{Process, free_address};
use crate::subjects::{Subject, logged};

/// As in tables.
pub const NAME: &str = "rathole TLS";

const PASSWORD: &str = "bench";

/// Starts both ends.
///
/// # Errors
/// One does not start.
pub fn start(program: &Path, folder: &Path, origin: SocketAddr) -> anyhow::Result<Subject> {
    let folder = folder.join("rathole");
    fs::create_dir(&folder)?;
    certify(&folder).context("cannot make certificates")?;
    let (link, public) = (free_address()?, free_address()?);
    let path = |name: &str| folder.join(name).display().to_string();
    let server = format!(
        r#"[server]
bind_addr = "{link}"
default_token = "bench"
[server.transport]
type = "tls"
[server.transport.tcp]
nodelay = true
[server.transport.tls]
pkcs12 = "{identity}"
pkcs12_password = "{PASSWORD}"
[server.services.bench]
bind_addr = "{public}"
nodelay = true
"#,
        identity = path("leaf.pfx"),
    );
    let client = format!(
        r#"[client]
remote_addr = "{link}"
default_token = "bench"
[client.transport]
type = "tls"
[client.transport.tcp]
nodelay = true
[client.transport.tls]
trusted_root = "{root}"
hostname = "localhost"
[client.services.bench]
local_addr = "{origin}"
nodelay = true
"#,
        root = path("ca.crt"),
    );
    fs::write(folder.join("server.toml"), server)?;
    fs::write(folder.join("client.toml"), client)?;
    let start = |end: &str| {
        let mut command = logged(program, &folder.join(format!("{end}.log")))?;
        command
            .arg(format!("--{end}"))
            .arg(folder.join(format!("{end}.toml")))
            .env("RUST_LOG", "warn");
        Process::start(&format!("rathole {end}"), &mut command)
    };
    Ok(Subject {
        name: NAME,
        public,
        processes: vec![start("server")?, start("client")?],
    })
}

/// An authority, and a server certificate of it as PKCS#12. The two need
/// different names.
fn certify(folder: &Path) -> anyhow::Result<()> {
    fs::write(folder.join("san"), "subjectAltName=DNS:localhost\n")?;
    let steps = [
        "req -x509 -newkey rsa:2048 -nodes -days 7 -subj /CN=bench-ca -keyout ca.key -out ca.crt",
        "req -newkey rsa:2048 -nodes -subj /CN=localhost -keyout leaf.key -out leaf.csr",
        "x509 -req -in leaf.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 7 -extfile san \
         -out leaf.crt",
        "pkcs12 -export -inkey leaf.key -in leaf.crt -certfile ca.crt -passout pass:bench \
         -out leaf.pfx",
    ];
    for step in steps {
        let done = Command::new("openssl")
            .args(step.split_whitespace())
            .current_dir(folder)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .context("cannot run openssl")?;
        ensure!(done.success(), "openssl failed: {step}");
    }
    Ok(())
}
