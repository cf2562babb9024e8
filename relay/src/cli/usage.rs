//! `ginnel-relay usage`: who sent how much.

use std::time::Duration;

use clap::Args;
use ginnel_daemon::quantity::bytes;
use serde::Serialize;

use super::opened::Opened;
use super::table::{Align, Table};
use super::{Terminal, duration, now_ms};
use crate::config::place::RelayPlace;
use crate::registry::usage::UsageRow;

/// What `usage` is told.
#[derive(Debug, Args)]
pub struct UsageArgs {
    /// How far back to look, in whole hours; 400 days are kept
    #[arg(long, value_name = "TIME", default_value = "30d", value_parser = duration::parse)]
    since: Duration,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// One user's traffic to one upstream and model as JSON. The names are stable.
#[derive(Debug, Serialize)]
struct UsageView {
    user: String,
    upstream: String,
    model: Option<String>,
    requests: u64,
    bytes_in: u64,
    bytes_out: u64,
    input_tokens: u64,
    output_tokens: u64,
}

/// Adds up and shows the traffic.
pub(super) async fn run(
    place: &RelayPlace,
    args: &UsageArgs,
    terminal: &mut Terminal<'_>,
) -> anyhow::Result<()> {
    let opened = Opened::open(place).await?;
    let since_ms = now_ms().saturating_sub(i64::try_from(args.since.as_millis())?);
    let rows = opened.registry.usage_summary(since_ms).await?;
    opened.registry.close().await?;
    let views: Vec<UsageView> = rows.into_iter().map(view).collect();
    if args.json {
        return terminal.json(&views);
    }
    if views.is_empty() {
        let since = duration::show(args.since);
        writeln!(terminal.notes, "Nothing was sent in the last {since}")?;
        return Ok(());
    }
    let mut table = Table::new([
        ("USER", Align::Left),
        ("TO", Align::Left),
        ("MODEL", Align::Left),
        ("REQUESTS", Align::Right),
        ("IN", Align::Right),
        ("OUT", Align::Right),
        ("TOKENS READ", Align::Right),
        ("TOKENS WRITTEN", Align::Right),
    ]);
    for view in views {
        table.push([
            view.user,
            view.upstream,
            view.model.unwrap_or_default(),
            view.requests.to_string(),
            bytes(view.bytes_in),
            bytes(view.bytes_out),
            view.input_tokens.to_string(),
            view.output_tokens.to_string(),
        ]);
    }
    Ok(table.write(terminal.out)?)
}

fn view(row: UsageRow) -> UsageView {
    UsageView {
        user: row.user.to_string(),
        upstream: row.upstream.to_string(),
        model: row.model,
        requests: row.amount.requests,
        bytes_in: row.amount.bytes_in,
        bytes_out: row.amount.bytes_out,
        input_tokens: row.amount.input_tokens,
        output_tokens: row.amount.output_tokens,
    }
}
