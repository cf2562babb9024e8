//! `ginnel services`.

use std::io::Write;
use std::path::Path;

use super::table;
use crate::api::{ServiceView, ServicesView};
use crate::local_client::{ClientError, LocalClient};
use crate::services::Services;

/// Lists what the daemon shares, or would share if it ran.
pub(super) async fn services(state: &Path, json: bool, out: &mut dyn Write) -> anyhow::Result<()> {
    let services = match LocalClient::find(state).await {
        Ok(client) => client.services().await?,
        Err(ClientError::NotRunning(_)) => stored(state)?,
        Err(error) => return Err(error.into()),
    };
    if json {
        serde_json::to_writer_pretty(&mut *out, &ServicesView { services })?;
        writeln!(out)?;
    } else if services.is_empty() {
        writeln!(out, "Nothing is shared")?;
        writeln!(out, "hint: ginnel share NAME PORT")?;
    } else {
        table::write(out, &services.iter().map(row).collect::<Vec<_>>())?;
    }
    Ok(())
}

fn stored(state: &Path) -> anyhow::Result<Vec<ServiceView>> {
    let services = Services::load(state)?.list();
    let view = |service: &std::sync::Arc<crate::services::spec::SharedService>| ServiceView {
        name: service.name.to_string(),
        spec: service.spec(),
        url: None,
    };
    Ok(services.iter().map(view).collect())
}

fn row(service: &ServiceView) -> [String; 4] {
    [
        service.name.clone(),
        access(service.spec.public).to_owned(),
        service.spec.target.clone(),
        service.url.clone().unwrap_or_default(),
    ]
}

/// Who may call, in a word.
pub(super) fn access(public: bool) -> &'static str {
    if public { "public" } else { "private" }
}
