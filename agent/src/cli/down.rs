//! `ginnel down`.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use anyhow::bail;

use crate::local_client::{ClientError, LocalClient};
use crate::running::is_running;

/// How long the daemon may take: its requests get 30 s to finish.
const STOP_TIMEOUT: Duration = Duration::from_secs(40);

/// How often to look whether it has stopped.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Asks the daemon to stop and waits until it has. One that has just started is
/// waited for, and so is one that stops already.
pub(super) async fn down(state: &Path, out: &mut dyn Write) -> anyhow::Result<()> {
    if !is_running(state)? {
        writeln!(out, "ginnel is not running")?;
        return Ok(());
    }
    let mut pid = None;
    match tokio::time::timeout(STOP_TIMEOUT, stop(state, &mut pid)).await {
        Ok(stopped) => stopped?,
        Err(_) => {
            let pid = pid.map_or(String::new(), |pid| format!(", pid={pid}"));
            bail!("ginnel has not stopped within 40 s{pid}; hint: end the process yourself");
        }
    }
    writeln!(out, "Stopped ginnel")?;
    Ok(())
}

async fn stop(state: &Path, pid: &mut Option<u32>) -> anyhow::Result<()> {
    loop {
        match LocalClient::find(state).await {
            Ok(client) => {
                *pid = Some(client.pid());
                match client.stop().await {
                    // It has been told already.
                    Ok(()) | Err(ClientError::NotListening) => break,
                    Err(error) => return Err(error.into()),
                }
            }
            Err(ClientError::NotListening) => {}
            Err(ClientError::NotRunning(_)) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
    while is_running(state)? {
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Ok(())
}
