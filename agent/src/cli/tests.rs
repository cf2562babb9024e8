#[path = "tests/gone.rs"]
mod gone;
#[path = "tests/import_vss.rs"]
mod import_vss;
#[path = "tests/knowledge.rs"]
mod knowledge;
#[cfg(unix)]
#[path = "tests/models.rs"]
mod models;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::api::{self, ApiContext};
use crate::knowledge::opening::Opening;
use crate::local_client::ClientError;
use crate::local_token::LocalToken;
use crate::running::{self, DaemonNote};
use crate::services::Services;
use crate::status::{LinkState, LinkStatus, ServiceStatus, Status, StoreStatus};

#[test]
fn the_commands_make_sense() {
    Cli::command().debug_assert();
    for (line, accepted) in [
        ("up", true),
        (
            "up --local 127.0.0.1:0 --log debug --log-format json --congestion bbr",
            true,
        ),
        ("up --join nonsense", false),
        ("status --json --watch", true),
        ("--state x status", true),
        ("status --state x", true),
        ("share web 3000 --public", true),
        ("share web https://localhost:1 --tls-ca ca.pem", true),
        (
            "share web https://localhost:1 --tls-ca ca.pem --tls-insecure",
            false,
        ),
        ("share Web 3000", false),
        ("share web", false),
        ("unshare web", true),
        ("tcp box/db --listen 127.0.0.1:5432", true),
        ("tcp db --listen 5432", false),
        ("tcp db", false),
        ("add - --format pdf", false),
        ("add a -c No/Name", false),
        ("search a --mode fuzzy", false),
        ("search a --mode auto", true),
        ("search a --minimum-score nan", false),
        ("search a --minimum-score -1.5", true),
        ("completions zsh", true),
        ("", false),
    ] {
        let words = line.split_whitespace();
        let cli = Cli::try_parse_from(["ginnel"].into_iter().chain(words));
        assert_eq!(cli.is_ok(), accepted, "{line}");
    }
    let help = Cli::try_parse_from(["ginnel", "--help"]).expect_err("help");
    assert_eq!(help.kind(), ErrorKind::DisplayHelp);
}

#[test]
fn help_has_no_full_stops_on_single_sentences() {
    for command in Cli::command().get_subcommands() {
        let texts = command.get_arguments().filter_map(clap::Arg::get_help);
        for text in texts.chain(command.get_about()) {
            let text = text.to_string();
            assert!(!text.is_empty() && !text.ends_with('.'), "{text}");
        }
    }
}

#[test]
fn help_says_which_certificates_cannot_serve() {
    let help = Cli::try_parse_from(["ginnel", "share", "--help"]).expect_err("help");
    let help = help.to_string();
    for word in ["CaUsedAsEndEntity", "CA:FALSE", "--tls-insecure"] {
        assert!(help.contains(word), "{help}");
    }
}

#[tokio::test]
async fn settings_are_checked_before_anything_starts() {
    let state = tempfile::tempdir().expect("folder");
    let error = run_in(&state, "up --local 0.0.0.0:1 --congestion reno").await;
    let error = error.expect_err("two mistakes").to_string();
    assert!(
        error.contains("--local: ") && error.contains("--congestion: "),
        "{error}"
    );
}

#[tokio::test]
async fn without_a_daemon_sharing_is_for_the_next_one() {
    let dir = tempfile::tempdir().expect("folder");
    let said = say(&dir, "--state DIR/new share web 3000").await;
    assert_eq!(
        said,
        "Shared web (private) from the next `ginnel up` on\n\
         hint: callers need an API key; --public lets everyone in\n"
    );
    let said = say(&dir, "--state DIR/new demo --public").await;
    assert_eq!(said, "Shared demo (public) from the next `ginnel up` on\n");
    let said = say(&dir, "--state DIR/new services").await;
    assert_eq!(
        said,
        "demo  public   demo\nweb   private  http://127.0.0.1:3000\n"
    );

    let said = say(&dir, "--state DIR/new unshare web").await;
    assert_eq!(said, "Stopped sharing web\n");
    let error = run_in(&dir, "--state DIR/new unshare web").await;
    assert!(
        error
            .expect_err("gone")
            .to_string()
            .contains("no such service")
    );
    let json = say(&dir, "--state DIR/new services --json").await;
    let json: serde_json::Value = serde_json::from_str(&json).expect("json");
    assert_eq!(json["services"][0]["name"], "demo");
}

#[tokio::test]
async fn a_bad_target_is_refused_with_a_hint() {
    let dir = tempfile::tempdir().expect("folder");
    let error = run_in(&dir, "share web http://10.0.0.1:80")
        .await
        .expect_err("remote");
    let text = report::render(&error, Style::plain());
    assert!(
        text.starts_with("error: target: address is not on this machine"),
        "{text}"
    );
    assert!(
        text.ends_with("hint: --allow-remote shares a service of another machine\n"),
        "{text}"
    );
    let said = say(&dir, "share web http://10.0.0.1:80 --allow-remote --public").await;
    assert!(said.starts_with("Shared web (public)"), "{said}");
}

#[tokio::test]
async fn without_a_daemon_there_is_no_status_and_nothing_to_stop() {
    let dir = tempfile::tempdir().expect("folder");
    let error = run_in(&dir, "status").await.expect_err("no daemon");
    let text = report::render(&error, Style::plain());
    assert!(text.starts_with("error: ginnel is not running"), "{text}");
    assert!(text.ends_with("hint: start it with: ginnel up\n"), "{text}");
    assert_eq!(say(&dir, "down").await, "ginnel is not running\n");
}

#[tokio::test]
async fn a_running_daemon_shares_at_once_and_tells_the_address() {
    let daemon = Daemon::start(LinkState::Connected).await;
    // The relay's address comes with the third status.
    let said = say(&daemon.state, "share web 3000 --public").await;
    assert_eq!(said, "Shared web (public) at https://web.box.example\n");
    let said = say(&daemon.state, "services").await;
    assert_eq!(
        said,
        "web  public  http://127.0.0.1:3000  https://web.box.example\n"
    );
    assert!(daemon.asked.load(Ordering::Relaxed) >= 3);
    let said = say(&daemon.state, "status").await;
    assert!(said.contains("link      connected for"), "{said}");
    say(&daemon.state, "unshare web").await;
    assert!(daemon.services.list().is_empty());
}

#[tokio::test]
async fn a_daemon_that_is_not_connected_shares_later() {
    let daemon = Daemon::start(LinkState::NotJoined).await;
    let said = say(&daemon.state, "share api 3000 --public").await;
    assert_eq!(
        said,
        "Shared api (public), once the relay is connected\nhint: ginnel status\n"
    );
    let code = run_in(&daemon.state, "status --json")
        .await
        .expect("a status")
        .0;
    assert_eq!(code, ExitCode::from(2));
}

/// It has its lock and says nothing: it starts, or stops.
#[tokio::test(start_paused = true)]
async fn down_waits_for_a_daemon_that_is_silent() {
    let dir = tempfile::tempdir().expect("folder");
    let lock = running::lock(dir.path()).await.expect("free");
    let ends = async {
        // Longer than other commands wait.
        tokio::time::sleep(std::time::Duration::from_secs(5)).await;
        drop(lock);
    };
    let (said, ()) = tokio::join!(say(&dir, "down"), ends);
    assert_eq!(said, "Stopped ginnel\n");
}

#[tokio::test]
async fn down_waits_until_the_daemon_is_gone() {
    let daemon = Daemon::start(LinkState::Connected).await;
    assert_eq!(say(&daemon.state, "down").await, "Stopped ginnel\n");
    assert!(!is_running(daemon.state.path()).expect("told"));
    assert_eq!(say(&daemon.state, "down").await, "ginnel is not running\n");
}

/// Its requests get to finish; meanwhile it listens no more.
#[tokio::test]
async fn a_daemon_that_is_stopping_is_told_from_a_broken_one() {
    let state = tempfile::tempdir().expect("folder");
    let lock = running::lock(state.path()).await.expect("free");
    LocalToken::open(state.path()).expect("made");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let local = listener.local_addr().expect("bound");
    lock.announce(&DaemonNote { pid: 7, local })
        .expect("written");
    drop(listener);
    let told = run_in(&state, "services").await.expect_err("no answer");
    assert!(
        told.to_string().contains("starting or stopping"),
        "{told:#}"
    );
    let mut ending = JoinSet::new();
    ending.spawn(async move {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        drop(lock);
    });
    assert_eq!(say(&state, "down").await, "Stopped ginnel\n");
}

#[tokio::test]
async fn completions_and_manuals_are_made() {
    let dir = tempfile::tempdir().expect("folder");
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = say(&dir, &format!("completions {shell}")).await;
        assert!(script.contains("unshare"), "{shell}");
    }
    assert!(say(&dir, "man").await.contains(".TH ginnel 1"));
    say(&dir, "man DIR/man").await;
    for page in ["ginnel.1", "ginnel-share.1"] {
        assert!(dir.path().join("man").join(page).is_file(), "{page}");
    }
}

/// What a command prints; `DIR` in it is the folder.
async fn say(dir: &TempDir, line: &str) -> String {
    run_in(dir, line).await.expect(line).1
}

async fn run_in(dir: &TempDir, line: &str) -> anyhow::Result<(ExitCode, String)> {
    let folder = dir.path().to_str().expect("utf-8");
    let words = line.split(' ').map(|word| word.replace("DIR", folder));
    let cli = Cli::try_parse_from(["ginnel".to_owned()].into_iter().chain(words))?;
    let environment = |name: &str| (name == "GINNEL_STATE").then(|| folder.into());
    let mut out = Vec::new();
    let code = execute(cli, &environment, &mut out).await?;
    Ok((code, String::from_utf8(out)?))
}

/// A daemon that has no link: it says what a test wants.
struct Daemon {
    state: TempDir,
    services: Services,
    asked: Arc<AtomicU32>,
    _serving: JoinSet<()>,
}

impl Daemon {
    async fn start(link: LinkState) -> Self {
        let state = tempfile::tempdir().expect("folder");
        let lock = running::lock(state.path()).await.expect("free");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let local = listener.local_addr().expect("bound");
        lock.announce(&DaemonNote { pid: 7, local })
            .expect("written");
        let services = Services::load(state.path()).expect("empty");
        let asked = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&asked);
        let context = ApiContext {
            services: services.clone(),
            status: Arc::new(move || told(link, count.fetch_add(1, Ordering::Relaxed))),
            stop: CancellationToken::new(),
            token: LocalToken::open(state.path()).expect("made"),
            local,
            forward: Arc::new(|_, _| Box::pin(std::future::pending())),
            knowledge: Opening::ended(Err(
                "the store cannot be opened: no luck; hint: try".to_owned()
            )),
        };
        let stop = context.stop.clone();
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let _lock = lock;
            api::serve(listener.into(), Arc::new(context), stop).await;
        });
        Self {
            state,
            services,
            asked,
            _serving: serving,
        }
    }
}

fn told(state: LinkState, asked: u32) -> Status {
    let url =
        (state == LinkState::Connected && asked >= 2).then(|| "https://web.box.example".to_owned());
    Status {
        version: "1".into(),
        pid: 7,
        uptime_s: 1,
        device: None,
        relay: None,
        certificate_ends_unix_ms: None,
        warning: None,
        link: LinkStatus {
            state,
            ..LinkStatus::default()
        },
        store: StoreStatus::Open,
        services: vec![ServiceStatus {
            name: "web".into(),
            target: "http://127.0.0.1:3000".into(),
            public: true,
            url,
        }],
    }
}
