//! Where the peers' programs come from.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};

/// Which versions of its dependencies a program is built with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lock {
    /// Those it was published with.
    AsPublished,
    /// The newest that fit, because those it was published with no longer
    /// compile.
    Newest,
}

/// A program of the crate registry, built into `target/peers` if missing.
///
/// # Errors
/// It does not build.
pub fn from_registry(program: &str, lock: Lock) -> anyhow::Result<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/peers");
    let path = root.join("bin").join(program);
    if path.exists() {
        return Ok(path);
    }
    let package = match program {
        "bore" => "bore-cli",
        other => other,
    };
    eprintln!("building {package}, once");
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .args(["install", "--quiet", package, "--root"])
        .arg(&root)
        // Away from the workspace's own build and its lock.
        .env("CARGO_TARGET_DIR", root.join("build"));
    if lock == Lock::AsPublished {
        command.arg("--locked");
    }
    let built = command.status().context("cannot run cargo")?;
    ensure!(built.success(), "{package} does not build");
    Ok(path)
}

/// OpenSSH's programs.
#[derive(Debug, Clone)]
pub struct OpenSsh {
    /// The server.
    pub sshd: PathBuf,
    /// The client.
    pub ssh: PathBuf,
    /// Makes keys.
    pub keygen: PathBuf,
}

/// OpenSSH, installed from the system's packages if missing and allowed;
/// `None` if not.
///
/// # Errors
/// The packages cannot be installed.
pub fn openssh() -> anyhow::Result<Option<OpenSsh>> {
    if let Some(found) = find_openssh() {
        return Ok(Some(found));
    }
    if !rustix::process::geteuid().is_root() || find("apt-get").is_none() {
        return Ok(None);
    }
    eprintln!("installing OpenSSH, once");
    let installed = Command::new("apt-get")
        .args([
            "install",
            "--yes",
            "-qq",
            "openssh-server",
            "openssh-client",
        ])
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdout(Stdio::null())
        .status()?;
    ensure!(installed.success(), "OpenSSH cannot be installed");
    Ok(find_openssh())
}

fn find_openssh() -> Option<OpenSsh> {
    Some(OpenSsh {
        sshd: find("sshd")?,
        ssh: find("ssh")?,
        keygen: find("ssh-keygen")?,
    })
}

/// A program on the path, or where system daemons are.
#[must_use]
pub fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&path).chain(["/usr/sbin".into()]);
    folders
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}
