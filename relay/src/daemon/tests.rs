//! Parts that fail, and what is left behind.

use std::path::Path;

use ginnel_proto::id::DeviceName;
use tempfile::TempDir;

use clap::Parser as _;
use serde_json::{Value, json};

use super::*;
use crate::cli::{self, Cli, Terminal};
use crate::config::Flags;
use crate::registry::usage::{Amount, Hour, UsageKey};

/// Far longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(30);

fn config(state: &Path) -> Config {
    let any_port = || Some("127.0.0.1:0".to_owned());
    let flags = Flags {
        state: Some(state.to_owned()),
        link: any_port(),
        public: any_port(),
        admin: any_port(),
        ..Flags::default()
    };
    Config::dev(&flags, &|_| None).expect("valid configuration")
}

async fn start(state: &Path) -> Daemon {
    Daemon::start(config(state)).await.expect("starts")
}

/// A relay that lost a part must not look well: whoever restarts it would
/// never know.
#[tokio::test]
async fn a_part_that_fails_is_noticed() {
    let folder = TempDir::new().expect("a folder");
    let mut daemon = start(&folder.path().join("state")).await;
    let quiet = timeout(Duration::from_millis(50), daemon.part_failed()).await;
    assert!(quiet.is_err(), "nothing has failed yet");
    daemon.parts.spawn(async { panic!("on purpose") });
    let failed = timeout(PATIENCE, daemon.part_failed()).await;
    let told = failed.expect("noticed").to_string();
    assert!(told.contains("a part of the relay failed"), "{told}");
    daemon.parts.spawn(async { "upkeep" });
    let ended = timeout(PATIENCE, daemon.part_failed()).await;
    let told = ended.expect("noticed").to_string();
    assert!(told.contains("part=upkeep"), "{told}");
    daemon.stop(Duration::ZERO).await.expect("stops");
}

#[tokio::test]
async fn a_stopped_relay_leaves_no_join_code_behind() {
    let folder = TempDir::new().expect("a folder");
    let state = folder.path().join("state");
    let daemon = start(&state).await;
    assert!(state.join("dev.join").exists());
    daemon.stop(Duration::ZERO).await.expect("stops");
    assert!(!state.join("dev.join").exists());
}

#[cfg(unix)]
#[tokio::test]
async fn nobody_else_reads_the_state() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = TempDir::new().expect("a folder");
    let state = folder.path().join("state");
    let daemon = start(&state).await;
    for entry in std::fs::read_dir(&state).expect("readable") {
        let entry = entry.expect("an entry");
        let name = entry.file_name();
        let mode = entry.metadata().expect("exists").permissions().mode();
        let public = name.to_string_lossy().ends_with(".crt");
        assert!(public || mode & 0o077 == 0, "{name:?}: {mode:o}");
    }
    daemon.stop(Duration::ZERO).await.expect("stops");
}

#[tokio::test]
async fn there_is_one_relay_for_each_state_folder() {
    let folder = TempDir::new().expect("a folder");
    let state = folder.path().join("state");
    let daemon = start(&state).await;
    let second = Daemon::start(config(&state)).await.expect_err("refused");
    assert!(
        second.to_string().contains("runs on this state folder"),
        "{second:#}"
    );
    daemon.stop(Duration::ZERO).await.expect("stops");
    let next = start(&state).await;
    next.stop(Duration::ZERO).await.expect("stops");
}

/// A relay that was told by flags where to listen is found all the same.
#[tokio::test]
async fn the_command_line_finds_where_the_relay_listens() {
    let folder = TempDir::new().expect("a folder");
    let state = folder.path().join("state");
    let daemon = start(&state).await;
    let view = command(&state, "invite --user alice --json").await;
    assert_eq!(view["relay"], daemon.advertise.as_str());
    let file = std::fs::read(state.join("relay.json")).expect("announced");
    let file: Value = serde_json::from_slice(&file).expect("JSON");
    assert_eq!(file["admin"], daemon.admin_address.to_string());
    assert_eq!(command(&state, "devices ls --json").await, json!([]));
    daemon.stop(Duration::ZERO).await.expect("stops");
    assert!(!state.join("relay.json").exists());
}

/// Runs `ginnel-relay` beside the running relay. It notes nothing.
async fn command(state: &Path, words: &str) -> Value {
    let words = format!("ginnel-relay {words} --state {}", state.display());
    let run = move || {
        let cli = Cli::parse_from(words.split(' '));
        let (mut out, mut notes) = (Vec::new(), Vec::new());
        let mut terminal = Terminal {
            out: &mut out,
            notes: &mut notes,
        };
        cli::run(cli, &|_| None, &mut terminal).expect("runs");
        assert_eq!(String::from_utf8_lossy(&notes), "");
        serde_json::from_slice(&out).expect("JSON")
    };
    let ran = tokio::task::spawn_blocking(run);
    timeout(PATIENCE, ran).await.expect("in time").expect("ran")
}

/// What could not be written is written later.
#[tokio::test]
async fn usage_outlives_a_registry_that_is_busy() {
    let folder = TempDir::new().expect("a folder");
    let state = folder.path().join("state");
    let daemon = start(&state).await;
    let user = UserName::parse("dev").expect("valid");
    let now_ms = daemon.relay.now_ms();
    let other = rusqlite::Connection::open(state.join("relay.db")).expect("opens");
    other.execute_batch("BEGIN IMMEDIATE").expect("locked");
    let key = UsageKey {
        user: user.clone(),
        device: DeviceName::parse("laptop").expect("valid"),
        upstream: UpstreamName::parse("cloud").expect("valid"),
        model: None,
        hour: Hour::of(now_ms),
    };
    let amount = Amount {
        requests: 1,
        ..Amount::default()
    };
    for _ in 0..3 {
        daemon.relay.used(key.clone(), &amount);
    }
    daemon.relay.write_down().await;
    other.execute_batch("ROLLBACK").expect("unlocked");
    let recorded = async {
        loop {
            daemon.relay.write_down().await;
            let summary = daemon.relay.registry.usage_summary(0).await;
            if let Some(row) = summary.expect("read").first() {
                return row.amount.requests;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let requests = timeout(PATIENCE, recorded).await.expect("written");
    assert_eq!(requests, 3);
    daemon.stop(Duration::ZERO).await.expect("stops");
}
