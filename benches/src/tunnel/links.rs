//! Many idle links: what connecting costs, and what each keeps.

use std::path::Path;
use std::time::Duration;

use tokio::time::sleep;

use super::Bench;
use crate::devices::Connected;
use crate::process::Process;
use crate::samples::Figure;
use crate::subjects::GINNEL;

/// What is measured.
pub const LINKS: &str = "links";

/// The control's name.
pub const QUINN: &str = "bare quinn";

/// Handshakes under way at once, as many as a relay works on.
const AT_ONCE: &str = "64";

/// Devices that connect before memory is looked at, so that what the first
/// ones cost once is not counted.
const FIRST: u32 = 16;

/// What links need to become idle: MTU discovery, the last acknowledgements.
const SETTLE: Duration = Duration::from_secs(2);

/// Devices of a run.
#[must_use]
pub fn count(quick: bool) -> u32 {
    if quick { 200 } else { 2000 }
}

/// A fresh relay and a fresh bare quinn, each with its devices.
///
/// # Errors
/// Devices cannot connect.
pub async fn measure(bench: &mut Bench, round: u32) -> anyhow::Result<()> {
    let count = count(bench.plan.quick);
    let folder = bench.folder.path().join(format!("links-{round}"));
    std::fs::create_dir(&folder)?;

    let relay = bench.programs.relay(&folder).await?;
    let to = To {
        peer: "relay",
        address: relay.link.to_string(),
        folder: &relay.state,
        process: &relay.process,
    };
    bench
        .samples
        .add(round, LINKS, GINNEL, &to.measure(count).await?);
    drop(relay);

    let (process, address) = Process::own(&["part", "keeper", bench.authority()?])?;
    let to = To {
        peer: "quinn",
        address,
        folder: bench.folder.path(),
        process: &process,
    };
    bench
        .samples
        .add(round, LINKS, QUINN, &to.measure(count).await?);
    Ok(())
}

/// Whom devices connect to.
struct To<'a> {
    peer: &'a str,
    address: String,
    folder: &'a Path,
    process: &'a Process,
}

impl To<'_> {
    async fn measure(&self, count: u32) -> anyhow::Result<Vec<(Figure, f64)>> {
        drop(self.connect(FIRST)?);
        let before = self.process.resident()?;
        let (_devices, connected) = self.connect(count)?;
        sleep(SETTLE).await;
        let grown = self.process.resident()?.saturating_sub(before);
        let Connected {
            count,
            failed,
            seconds,
            p50_ms,
            p99_ms,
        } = connected;
        Ok(vec![
            (Figure::HandshakesPerSecond, count as f64 / seconds),
            (Figure::P50Us, p50_ms * 1000.0),
            (Figure::P99Us, p99_ms * 1000.0),
            (Figure::Failed, failed as f64),
            (Figure::KibPerLink, grown as f64 / 1024.0 / count as f64),
        ])
    }

    fn connect(&self, count: u32) -> anyhow::Result<(Process, Connected)> {
        let folder = self.folder.to_string_lossy();
        let count = count.to_string();
        let (devices, line) = Process::own(&[
            "part",
            "devices",
            self.peer,
            &self.address,
            &folder,
            &count,
            AT_ONCE,
        ])?;
        Ok((devices, serde_json::from_str(&line)?))
    }
}
