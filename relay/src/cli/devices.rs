//! `ginnel-relay devices`: what is registered, and what is connected now.

use std::collections::BTreeMap;

use clap::{Args, Subcommand};
use ginnel_daemon::quantity::bytes;
use ginnel_proto::id::DeviceName;
use serde::Serialize;

use super::opened::Opened;
use super::table::{Align, Table, printable};
use super::{Terminal, live, now_ms, when};
use crate::admin::LiveDevice;
use crate::config::place::RelayPlace;
use crate::registry::devices::DeviceRow;

/// What `devices` is told.
#[derive(Debug, Subcommand)]
pub enum DevicesCommand {
    /// List all devices
    Ls(LsArgs),
    /// Show one device
    Show(ShowArgs),
    /// Refuse a device and its name for good, and cut its link
    Revoke(RevokeArgs),
}

/// What `devices ls` is told.
#[derive(Debug, Args)]
pub struct LsArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What `devices show` is told.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// The device's name
    name: DeviceName,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What `devices revoke` is told.
#[derive(Debug, Args)]
pub struct RevokeArgs {
    /// The device's name
    name: DeviceName,
}

/// A device as JSON. The names are stable.
#[derive(Debug, Serialize)]
struct DeviceView {
    /// `USER/DEVICE`.
    device: String,
    status: Status,
    last_seen_unix_ms: Option<i64>,
    certificate_ends_unix_ms: i64,
    certificate_serial: String,
    public_key_sha256: String,
    created_unix_ms: i64,
    joined_unix_ms: i64,
    revoked_unix_ms: Option<i64>,
    /// While it is connected.
    live: Option<LiveDevice>,
}

/// Whether a device is connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Status {
    Connected,
    Offline,
    Revoked,
    /// No running relay could tell.
    Unknown,
}

/// Runs one of the commands.
pub(super) async fn run(
    place: &RelayPlace,
    command: DevicesCommand,
    terminal: &mut Terminal<'_>,
) -> anyhow::Result<()> {
    let opened = Opened::open(place).await?;
    match command {
        DevicesCommand::Ls(args) => ls(&opened, &args, terminal).await?,
        DevicesCommand::Show(args) => show(&opened, &args, terminal).await?,
        DevicesCommand::Revoke(args) => revoke(&opened, &args, terminal).await?,
    }
    Ok(opened.registry.close().await?)
}

async fn ls(opened: &Opened, args: &LsArgs, terminal: &mut Terminal<'_>) -> anyhow::Result<()> {
    let rows = opened.registry.devices().await?;
    let live = live::ask(opened, terminal).await?;
    let devices = merge(rows, live);
    if args.json {
        return terminal.json(&devices);
    }
    if devices.is_empty() {
        writeln!(terminal.notes, "No device has joined yet")?;
        writeln!(
            terminal.notes,
            "hint: invite one with: ginnel-relay invite --user NAME"
        )?;
        return Ok(());
    }
    let mut table = Table::new([
        ("DEVICE", Align::Left),
        ("STATUS", Align::Left),
        ("SEEN", Align::Left),
        ("RTT", Align::Right),
        ("CERTIFICATE ENDS", Align::Left),
        ("SERVICES", Align::Left),
    ]);
    let now_ms = now_ms();
    for device in &devices {
        let live = device.live.as_ref();
        table.push([
            device.device.clone(),
            device.status.shown().to_owned(),
            match device.status {
                Status::Connected => "now".to_owned(),
                Status::Offline | Status::Revoked | Status::Unknown => {
                    when::ago(now_ms, device.last_seen_unix_ms)
                }
            },
            live.map_or_else(String::new, |live| format!("{:.0} ms", live.rtt_ms)),
            when::until(now_ms, Some(device.certificate_ends_unix_ms)),
            live.map_or_else(String::new, |live| live.services.join(", ")),
        ]);
    }
    Ok(table.write(terminal.out)?)
}

async fn show(opened: &Opened, args: &ShowArgs, terminal: &mut Terminal<'_>) -> anyhow::Result<()> {
    let Some(row) = opened.registry.device(&args.name).await? else {
        return Err(unknown(&args.name));
    };
    let live = live::ask(opened, terminal).await?;
    for device in merge(vec![row], live) {
        if args.json {
            return terminal.json(&device);
        }
        for (name, value) in lines(&device) {
            writeln!(terminal.out, "{name:<18}  {}", printable(&value))?;
        }
    }
    Ok(())
}

async fn revoke(
    opened: &Opened,
    args: &RevokeArgs,
    terminal: &mut Terminal<'_>,
) -> anyhow::Result<()> {
    let Some(row) = opened.registry.device(&args.name).await? else {
        return Err(unknown(&args.name));
    };
    if opened.registry.revoke_device(&args.name, now_ms()).await? {
        writeln!(terminal.out, "Revoked {}", row.id)?;
        writeln!(
            terminal.notes,
            "hint: its name stays refused; invite the machine again under another one"
        )?;
    } else {
        writeln!(terminal.notes, "{} was revoked before", row.id)?;
    }
    Ok(())
}

fn unknown(name: &DeviceName) -> anyhow::Error {
    anyhow::anyhow!(
        "there is no device of that name, device={name}; \
         hint: list them with: ginnel-relay devices ls"
    )
}

/// Joins what is registered with what is connected.
fn merge(rows: Vec<DeviceRow>, live: Option<Vec<LiveDevice>>) -> Vec<DeviceView> {
    let is_known = live.is_some();
    let live = live.unwrap_or_default().into_iter();
    let mut live: BTreeMap<String, LiveDevice> =
        live.map(|live| (live.device.clone(), live)).collect();
    let view = |row: DeviceRow| {
        let device = row.id.to_string();
        let live = live.remove(&device);
        let status = match (&row.revoked_at_ms, &live) {
            (Some(_), _) => Status::Revoked,
            (None, Some(_)) => Status::Connected,
            (None, None) if is_known => Status::Offline,
            (None, None) => Status::Unknown,
        };
        DeviceView {
            device,
            status,
            last_seen_unix_ms: row.last_seen_ms,
            certificate_ends_unix_ms: row.not_after_ms,
            certificate_serial: row.serial.to_string(),
            public_key_sha256: data_encoding::HEXLOWER.encode(&row.public_key_hash),
            created_unix_ms: row.created_at_ms,
            joined_unix_ms: row.joined_at_ms,
            revoked_unix_ms: row.revoked_at_ms,
            live,
        }
    };
    rows.into_iter().map(view).collect()
}

fn lines(device: &DeviceView) -> Vec<(&'static str, String)> {
    let mut lines = vec![
        ("device", device.device.clone()),
        ("status", device.status.shown().to_owned()),
        ("first joined", when::utc(device.created_unix_ms)),
        ("last joined", when::utc(device.joined_unix_ms)),
        ("last seen", moment(device.last_seen_unix_ms)),
        (
            "certificate ends",
            when::utc(device.certificate_ends_unix_ms),
        ),
        ("serial", device.certificate_serial.clone()),
        ("public key SHA-256", device.public_key_sha256.clone()),
    ];
    if device.revoked_unix_ms.is_some() {
        lines.push(("revoked", moment(device.revoked_unix_ms)));
    }
    let Some(live) = &device.live else {
        return lines;
    };
    let since = i64::try_from(live.since_unix_ms).ok();
    lines.extend([
        ("connected", moment(since)),
        ("address", live.address.to_string()),
        ("agent", live.agent.clone()),
        ("link", live.link.to_string()),
        ("round trip", format!("{:.1} ms", live.rtt_ms)),
        (
            "heartbeats",
            format!(
                "{} received, {} missed",
                live.heartbeats, live.heartbeats_missed
            ),
        ),
        ("requests", live.queue.to_string()),
        ("streams", live.streams.to_string()),
        ("sent", bytes(live.bytes_sent)),
        ("received", bytes(live.bytes_received)),
        ("packets lost", live.packets_lost.to_string()),
        ("services", live.services.join(", ")),
    ]);
    lines
}

fn moment(unix_ms: Option<i64>) -> String {
    unix_ms.map_or_else(|| when::NEVER.to_owned(), when::utc)
}

impl Status {
    fn shown(self) -> &'static str {
        match self {
            Self::Connected => "connected",
            Self::Offline => "offline",
            Self::Revoked => "revoked",
            Self::Unknown => "unknown",
        }
    }
}
