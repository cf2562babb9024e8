//! `ginnel share`, `ginnel unshare` and `ginnel demo`.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use ginnel_certs::private_file::create_dir_private;
use ginnel_proto::control::ServiceKind;
use ginnel_proto::id::ServiceName;
use tokio::time::Instant;

use super::services::access;
use crate::local_client::{ClientError, LocalClient};
use crate::services::Services;
use crate::services::spec::{ServiceSpec, SharedService};
use crate::status::{LinkState, Status};

/// How long to wait for the relay to tell a service's address.
const ADDRESS_TIMEOUT: Duration = Duration::from_secs(5);

/// How often to ask for it.
const ASK_EVERY: Duration = Duration::from_millis(100);

/// Shares a service by the daemon, or for the next one.
pub(super) async fn share(
    state: &Path,
    name: ServiceName,
    spec: &ServiceSpec,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    let service = SharedService::new(name.clone(), spec)?;
    let access = access(spec.public);
    let is_tcp = service.target.kind() == ServiceKind::Tcp;
    match LocalClient::find(state).await {
        Ok(client) if is_tcp => {
            client.share(&name, &service.spec()).await?;
            writeln!(out, "Shared {name} ({access})")?;
        }
        Ok(client) => {
            client.share(&name, &service.spec()).await?;
            match wait_for_address(&client, &name).await? {
                Some(url) => writeln!(out, "Shared {name} ({access}) at {url}")?,
                None => {
                    writeln!(out, "Shared {name} ({access}), once the relay is connected")?;
                    writeln!(out, "hint: ginnel status")?;
                }
            }
        }
        Err(ClientError::NotRunning(_)) => {
            create_dir_private(state)?;
            Services::load(state)?.share(service)?;
            writeln!(out, "Shared {name} ({access}) from the next `ginnel up` on")?;
        }
        Err(error) => return Err(error.into()),
    }
    if is_tcp {
        writeln!(
            out,
            "hint: from another device of yours: ginnel tcp {name} --listen 127.0.0.1:PORT"
        )?;
    } else if !spec.public {
        writeln!(
            out,
            "hint: callers need an API key; --public lets everyone in"
        )?;
    }
    Ok(())
}

/// Stops sharing a service.
pub(super) async fn unshare(
    state: &Path,
    name: &ServiceName,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    match LocalClient::find(state).await {
        Ok(client) => client.unshare(name).await?,
        Err(ClientError::NotRunning(_)) => Services::load(state)?.unshare(name)?,
        Err(error) => return Err(error.into()),
    }
    writeln!(out, "Stopped sharing {name}")?;
    Ok(())
}

/// Asks until the relay has told the address; not at all if it will not.
async fn wait_for_address(
    client: &LocalClient,
    name: &ServiceName,
) -> Result<Option<String>, ClientError> {
    let deadline = Instant::now() + ADDRESS_TIMEOUT;
    loop {
        let status = client.status().await?;
        let url = address(&status, name);
        let hopeless = match status.link.state {
            LinkState::NotJoined | LinkState::Refused => true,
            LinkState::Waiting | LinkState::Connecting | LinkState::Connected => false,
        };
        if url.is_some() || hopeless || Instant::now() >= deadline {
            return Ok(url);
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
}

fn address(status: &Status, name: &ServiceName) -> Option<String> {
    let mut services = status.services.iter();
    services.find(|s| s.name == name.as_str())?.url.clone()
}
