//! The peers that are Python packages, and the Python they run in.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};

use super::subject::Kind;

/// What is installed: the versions that are compared with.
const PACKAGES: [&str; 4] = [
    "faiss-cpu==1.15.1",
    "hnswlib==0.8.0",
    "numpy==2.4.6",
    "sqlite-vss==0.1.2",
];

/// A Python environment with all of them in `target/peers`, made if any of
/// these subjects takes it. hnswlib is compiled for this very processor.
///
/// # Errors
/// It cannot be made.
pub fn ready(subjects: &[Kind]) -> anyhow::Result<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/peers/python");
    let made = folder.join("made");
    let needed = subjects.iter().any(|kind| {
        matches!(
            kind,
            Kind::StoreVss | Kind::SqliteVss | Kind::Hnswlib | Kind::Faiss
        )
    });
    if !needed || made.exists() {
        return Ok(folder);
    }
    eprintln!("installing Python packages, once");
    let environment = Command::new("python3")
        .args(["-m", "venv"])
        .arg(&folder)
        .status()
        .context("cannot run python3")?;
    ensure!(environment.success(), "Python makes no environment");
    let installed = Command::new(folder.join("bin/pip"))
        .args(["install", "--quiet", "--disable-pip-version-check"])
        .args(PACKAGES)
        .status()?;
    ensure!(installed.success(), "Python packages cannot be installed");
    std::fs::write(made, "")?;
    Ok(folder)
}

/// The folder of sqlite-vss's files in an environment.
///
/// # Errors
/// It is not installed.
pub fn vss_folder(python: &Path) -> anyhow::Result<PathBuf> {
    let versions = std::fs::read_dir(python.join("lib"))?.flatten();
    let mut folders = versions.map(|version| version.path().join("site-packages/sqlite_vss"));
    let found = folders.find(|folder| folder.is_dir());
    found.context("sqlite-vss is not installed")
}
