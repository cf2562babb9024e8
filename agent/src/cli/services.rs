//! `ginnel services`.

use std::io::Write;
use std::path::Path;

use super::{json, table};
use crate::api::{ServiceView, ServicesView};
use crate::local_client::{ClientError, LocalClient};
use crate::services::Services;

/// What the daemon shares, or would share if it ran.
pub(super) async fn list(state: &Path) -> anyhow::Result<Vec<ServiceView>> {
    match LocalClient::find(state).await {
        Ok(client) => Ok(client.services().await?),
        Err(ClientError::NotRunning(_)) => stored(state),
        Err(error) => Err(error.into()),
    }
}

pub(super) fn write_json(services: Vec<ServiceView>, out: &mut dyn Write) -> anyhow::Result<()> {
    json::pretty(&ServicesView { services }, out)
}

pub(super) fn write_text(services: &[ServiceView], out: &mut dyn Write) -> anyhow::Result<()> {
    if services.is_empty() {
        writeln!(out, "Nothing is shared")?;
        writeln!(out, "hint: ginnel share NAME PORT")?;
        return Ok(());
    }
    Ok(table::write(
        out,
        &services.iter().map(row).collect::<Vec<_>>(),
    )?)
}

fn stored(state: &Path) -> anyhow::Result<Vec<ServiceView>> {
    let services = Services::load(state)?.list().into_iter();
    let views = services.map(|service| ServiceView {
        name: service.name.to_string(),
        spec: service.spec(),
        url: None,
    });
    Ok(views.collect())
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
