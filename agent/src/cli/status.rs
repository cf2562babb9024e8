//! `ginnel status`: one screen.

use std::io::{self, IsTerminal as _, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use ginnel_daemon::quantity::bytes;
use ginnel_daemon::report;

use super::services::access;
use super::{json, printable, table};
use crate::clock;
use crate::local_client::{ClientError, LocalClient};
use crate::renewal;
use crate::status::{LinkState, LinkStatus, ServiceStatus, Status, StoreStatus};

/// Clears the screen and goes to its first line.
const CLEAR: &str = "\u{1b}[2J\u{1b}[H";

/// How often `--watch` shows the status again.
const SHOW_EVERY: Duration = Duration::from_secs(1);

/// 0 when connected, 2 when not. That there is no daemon is an error: 1.
pub(super) async fn status(
    state: &Path,
    flags: super::Status,
    out: &mut dyn Write,
) -> anyhow::Result<ExitCode> {
    if !flags.watch {
        let status = ask(state).await?;
        write(&status, flags, out)?;
        return Ok(exit_code(status.link.state));
    }
    let clear = !flags.json && io::stdout().is_terminal();
    loop {
        let asked = ask(state).await;
        if clear {
            write!(out, "{CLEAR}")?;
        }
        match asked {
            Ok(status) => write(&status, flags, out)?,
            Err(error) if error.is_not_running() => writeln!(out, "ginnel is not running")?,
            Err(error) => return Err(error.into()),
        }
        out.flush()?;
        tokio::time::sleep(SHOW_EVERY).await;
    }
}

async fn ask(state: &Path) -> Result<Status, ClientError> {
    LocalClient::find(state).await?.status().await
}

fn exit_code(state: LinkState) -> ExitCode {
    match state {
        LinkState::Connected => ExitCode::SUCCESS,
        LinkState::NotJoined | LinkState::Waiting | LinkState::Connecting | LinkState::Refused => {
            ExitCode::from(2)
        }
    }
}

fn write(status: &Status, flags: super::Status, out: &mut dyn Write) -> anyhow::Result<()> {
    if flags.json {
        // One line for each when watching, so that programs can read along.
        return match flags.watch {
            true => json::line(status, out),
            false => json::pretty(status, out),
        };
    }
    Ok(write_screen(status, clock::unix_ms(), out)?)
}

fn write_screen(status: &Status, now_ms: u64, out: &mut dyn Write) -> io::Result<()> {
    let link = &status.link;
    let none = || "none".to_owned();
    let mut rows = vec![
        ["device", &status.device.clone().unwrap_or_else(none)].map(String::from),
        ["relay", &status.relay.clone().unwrap_or_else(none)].map(String::from),
        ["link", &link_text(link, now_ms)].map(String::from),
    ];
    let mut hints = Vec::new();
    let mut row = |name: &str, text: String| rows.push([name.to_owned(), text]);
    if let Some(problem) = &link.problem {
        row("problem", report::take_hints(problem, &mut hints));
    }
    if let Some(text) = round_trip(link) {
        row("round trip", text);
    }
    if link.state == LinkState::Connected {
        row("requests", format!("{} under way", link.queue));
        let (sent, received) = (bytes(link.bytes_sent), bytes(link.bytes_received));
        row("traffic", format!("{sent} sent, {received} received"));
    }
    if let Some(ends) = status.certificate_ends_unix_ms {
        row("certificate", renewal::end(ends, now_ms));
    }
    if let Some(warning) = &status.warning {
        row("warning", report::take_hints(warning, &mut hints));
    }
    match &status.store {
        StoreStatus::Open => {}
        StoreStatus::Opening => row("store", "being opened".to_owned()),
        StoreStatus::Waiting { problem } => {
            let problem = report::take_hints(problem, &mut hints);
            row("store", format!("{problem}; tried again"));
        }
        StoreStatus::Slow { problem } => {
            let problem = report::take_hints(problem, &mut hints);
            row("store", format!("every row is read: {problem}"));
        }
        StoreStatus::Failed { problem } => row("store", report::take_hints(problem, &mut hints)),
    }
    let up = duration(Duration::from_secs(status.uptime_s));
    row(
        "ginnel",
        format!("{}, up {up}, pid {}", status.version, status.pid),
    );
    table::write(out, &rows)?;
    writeln!(out)?;
    if status.services.is_empty() {
        writeln!(out, "Nothing is shared")?;
    } else {
        table::write(
            out,
            &status.services.iter().map(service).collect::<Vec<_>>(),
        )?;
    }
    if link.state == LinkState::NotJoined && hints.is_empty() {
        hints.push("ginnel join CODE".to_owned());
    }
    for hint in hints {
        writeln!(out, "hint: {}", printable::line(&hint))?;
    }
    Ok(())
}

fn link_text(link: &LinkStatus, now_ms: u64) -> String {
    let state = match link.state {
        LinkState::NotJoined => return "not joined to a relay".to_owned(),
        LinkState::Waiting => "waiting to try again",
        LinkState::Connecting => "connecting",
        LinkState::Connected => "connected",
        LinkState::Refused => "refused by the relay",
    };
    let since = Duration::from_millis(now_ms.saturating_sub(link.since_unix_ms));
    let mut text = format!("{state} for {}", duration(since));
    if link.failures > 0 {
        text += &format!(", {} failed attempts", link.failures);
    }
    text
}

fn round_trip(link: &LinkStatus) -> Option<String> {
    let mut parts = Vec::new();
    if let Some(rtt) = link.rtt_ms {
        parts.push(format!("{rtt:.1} ms"));
    }
    if let Some(rtt) = link.heartbeat_rtt_ms {
        parts.push(format!("heartbeat {rtt:.1} ms"));
    }
    if let Some(loss) = link.heartbeat_loss_percent {
        parts.push(format!("{loss:.0} % lost"));
    }
    (!parts.is_empty()).then(|| parts.join(", "))
}

fn service(service: &ServiceStatus) -> [String; 4] {
    [
        service.name.clone(),
        access(service.public).to_owned(),
        service.target.clone(),
        service.url.clone().unwrap_or_default(),
    ]
}

/// The two largest units: `3h 12m`.
fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m {}s", seconds % 60),
        (0, _, _) => format!("{hours}h {}m", minutes % 60),
        _ => format!("{days}d {}h", hours % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_screen_tells_all() {
        let status = Status {
            version: "0.1.0".into(),
            pid: 7,
            uptime_s: 11_520,
            device: Some("alice/box".into()),
            relay: Some("relay.example:7443".into()),
            certificate_ends_unix_ms: Some(29 * 86_400_000 + 1_000_000),
            warning: None,
            store: StoreStatus::Open,
            link: LinkStatus {
                state: LinkState::Connected,
                since_unix_ms: 1_000_000 - 192_000,
                rtt_ms: Some(12.34),
                heartbeat_rtt_ms: Some(14.0),
                heartbeat_loss_percent: Some(0.0),
                queue: 3,
                bytes_sent: 1_572_864,
                bytes_received: 1_023,
                ..LinkStatus::default()
            },
            services: vec![ServiceStatus {
                name: "web".into(),
                target: "http://127.0.0.1:3000".into(),
                public: false,
                url: Some("https://web.box.relay.example".into()),
            }],
        };
        assert_eq!(
            screen(&status),
            "device       alice/box\n\
             relay        relay.example:7443\n\
             link         connected for 3m 12s\n\
             round trip   12.3 ms, heartbeat 14.0 ms, 0 % lost\n\
             requests     3 under way\n\
             traffic      1.5 MB sent, 1.0 kB received\n\
             certificate  ends in 29 days\n\
             ginnel       0.1.0, up 3h 12m, pid 7\n\
             \n\
             web  private  http://127.0.0.1:3000  https://web.box.relay.example\n"
        );
    }

    #[test]
    fn a_device_in_trouble_is_told_what_to_do() {
        let status = Status {
            version: "0.1.0".into(),
            pid: 7,
            uptime_s: 1,
            device: None,
            relay: None,
            certificate_ends_unix_ms: None,
            warning: None,
            link: LinkStatus::default(),
            store: StoreStatus::Open,
            services: vec![],
        };
        let mut refused = status.clone();
        refused.link.state = LinkState::Refused;
        refused.link.problem = Some("certificate expired; hint: join again".into());
        let text = screen(&refused);
        assert!(text.contains("problem  certificate expired\n"), "{text}");
        assert!(text.ends_with("\nhint: join again\n"), "{text}");
        let mut ending = status.clone();
        ending.link.state = LinkState::Connected;
        ending.warning = Some("the certificate ends in 6 days; hint: join again".into());
        let text = screen(&ending);
        assert!(
            text.contains("warning   the certificate ends in 6 days\n"),
            "{text}"
        );
        assert!(text.ends_with("\nhint: join again\n"), "{text}");
        let mut opening = status.clone();
        opening.store = StoreStatus::Opening;
        let text = screen(&opening);
        assert!(text.contains("store   being opened\n"), "{text}");
        let problem = "the store cannot be opened: no luck; hint: try".to_owned();
        opening.store = StoreStatus::Failed { problem };
        let text = screen(&opening);
        assert!(
            text.contains("store   the store cannot be opened: no luck\n"),
            "{text}"
        );
        assert!(text.ends_with("\nhint: try\n"), "{text}");
        let problem = "sqlite-vss cannot be loaded; hint: set store.vss_dir".to_owned();
        opening.store = StoreStatus::Slow { problem };
        let text = screen(&opening);
        assert!(
            text.contains("store   every row is read: sqlite-vss cannot be loaded\n"),
            "{text}"
        );
        assert!(text.ends_with("\nhint: set store.vss_dir\n"), "{text}");
        let text = screen(&status);
        assert!(!text.contains("store"), "{text}");
        assert!(text.contains("link    not joined to a relay\n"), "{text}");
        assert!(
            text.ends_with("Nothing is shared\nhint: ginnel join CODE\n"),
            "{text}"
        );
    }

    #[test]
    fn numbers_are_short() {
        for (seconds, text) in [
            (0, "0s"),
            (59, "59s"),
            (60, "1m 0s"),
            (3_599, "59m 59s"),
            (3_600, "1h 0m"),
            (90_000, "1d 1h"),
        ] {
            assert_eq!(duration(Duration::from_secs(seconds)), text);
        }
    }

    #[test]
    fn scripts_can_tell_states_apart() {
        assert_eq!(exit_code(LinkState::Connected), ExitCode::SUCCESS);
        for state in [LinkState::NotJoined, LinkState::Waiting, LinkState::Refused] {
            assert_eq!(exit_code(state), ExitCode::from(2));
        }
    }

    fn screen(status: &Status) -> String {
        let mut out = Vec::new();
        write_screen(status, 1_000_000, &mut out).expect("written");
        String::from_utf8(out).expect("text")
    }
}
