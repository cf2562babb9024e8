//! `ginnel-relay invite`: a join code for one device.

use std::time::Duration;

use clap::Args;
use ginnel_certs::join_code::JoinCode;
use ginnel_proto::id::{DeviceName, UserName};
use serde::Serialize;

use super::opened::Opened;
use super::{Terminal, duration, now_ms};
use crate::config::place::RelayPlace;
use crate::registry::join_codes::Invitation;

/// What `invite` is told.
#[derive(Debug, Args)]
pub struct InviteArgs {
    /// Who will own the device; made if new
    #[arg(long, value_name = "NAME")]
    user: UserName,
    /// The device's name; without it, the device chooses
    #[arg(long, value_name = "NAME")]
    device: Option<DeviceName>,
    /// How long the code can be used, at most 7d
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = duration::parse)]
    ttl: Duration,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// The code as JSON. The names are stable.
#[derive(Debug, Serialize)]
struct InviteView<'a> {
    join_code: &'a str,
    command: &'a str,
    user: &'a str,
    device: Option<&'a str>,
    relay: &'a str,
    expires_unix_ms: i64,
}

/// Makes the code and shows it, this once.
pub(super) async fn run(
    place: &RelayPlace,
    args: InviteArgs,
    terminal: &mut Terminal<'_>,
) -> anyhow::Result<()> {
    let opened = Opened::open(place).await?;
    let relay = opened.advertise(place);
    let code = JoinCode::generate(relay, opened.state.authority.spki_pin())?;
    let invitation = Invitation {
        user: args.user.clone(),
        device: args.device.clone(),
        id: code.id().to_owned(),
        secret: code.secret_bytes().to_vec(),
        ttl: args.ttl,
    };
    let now_ms = now_ms();
    opened.registry.invite(invitation, now_ms).await?;
    opened.registry.close().await?;

    let text = code.to_string();
    let command = format!("ginnel up --join {text}");
    if args.json {
        let ttl_ms = i64::try_from(args.ttl.as_millis())?;
        return terminal.json(&InviteView {
            join_code: &text,
            command: &command,
            user: args.user.as_str(),
            device: args.device.as_ref().map(DeviceName::as_str),
            relay,
            expires_unix_ms: now_ms.saturating_add(ttl_ms),
        });
    }
    let device = args.device.map_or_else(
        || format!("a device of {}", args.user),
        |device| format!("{}/{device}", args.user),
    );
    let ttl = duration::show(args.ttl);
    writeln!(
        terminal.out,
        "Join code for {device}, for one use within {ttl}:\n"
    )?;
    writeln!(terminal.out, "  {text}\n")?;
    writeln!(terminal.out, "On the device, run:\n")?;
    writeln!(terminal.out, "  {command}")?;
    if is_local(relay) {
        writeln!(
            terminal.notes,
            "\nhint: the code leads to {relay}, which only this machine reaches; \
             set link.advertise to invite devices elsewhere"
        )?;
    }
    Ok(())
}

fn is_local(advertise: &str) -> bool {
    let address = advertise.parse::<std::net::SocketAddr>();
    address.is_ok_and(|address| address.ip().is_loopback()) || advertise.starts_with("localhost:")
}
