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

/// Asks the daemon to stop and waits until it has.
pub(super) async fn down(state: &Path, out: &mut dyn Write) -> anyhow::Result<()> {
    let client = match LocalClient::find(state).await {
        Ok(client) => client,
        Err(ClientError::NotRunning(_)) => {
            writeln!(out, "ginnel is not running")?;
            return Ok(());
        }
        Err(error) => return Err(error.into()),
    };
    match client.stop().await {
        // It has been told already.
        Ok(()) | Err(ClientError::NotListening) => {}
        Err(error) => return Err(error.into()),
    }
    let stopped = tokio::time::timeout(STOP_TIMEOUT, async {
        while is_running(state)? {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok::<_, std::io::Error>(())
    });
    let Ok(stopped) = stopped.await else {
        let pid = client.pid();
        bail!("ginnel has not stopped within 40 s, pid={pid}; hint: end the process yourself");
    };
    stopped?;
    writeln!(out, "Stopped ginnel")?;
    Ok(())
}
