//! The relay and an agent as processes of their own, for what only a process
//! can show: signals, restarts and memory.
//!
//! Cargo builds the programs for their own packages only, so each process is
//! the test itself, started again to run one test, [`play`], which is the
//! program.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::process::{ExitCode, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use clap::Parser as _;
use ginnel_relay::cli::Terminal;
use http::Request;
use http_body_util::Empty;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

use crate::caller::Caller;
use crate::wait::{LOOK_AGAIN, PATIENCE, in_time};

/// Set for a child process: the program and its arguments, as JSON.
const COMMAND: &str = "GINNEL_TEST_COMMAND";

/// How long a caller waits before it tries again.
const TRY_FOR: Duration = Duration::from_millis(500);

/// The state and addresses of a relay and an agent. Both may be started,
/// ended and started again.
#[derive(Debug)]
pub struct Processes {
    /// Where callers connect.
    pub public: SocketAddr,
    admin: SocketAddr,
    link: SocketAddr,
    local: SocketAddr,
    /// The full name of the test that calls [`play`].
    child: &'static str,
    folder: TempDir,
}

impl Processes {
    /// Chooses addresses. `child` is the full name of the test that calls
    /// [`play`].
    #[must_use]
    pub fn new(child: &'static str) -> Self {
        // An address of its own, so that nobody else gets these ports while
        // a process is down.
        let address = Ipv4Addr::new(
            127,
            fastrand::u8(1..),
            fastrand::u8(..),
            fastrand::u8(1..255),
        );
        let tcp = || TcpListener::bind((address, 0)).expect("bound");
        let (public, admin, local) = (tcp(), tcp(), tcp());
        let link = UdpSocket::bind((address, 0)).expect("bound");
        let of = |listener: &TcpListener| listener.local_addr().expect("bound");
        Self {
            public: of(&public),
            admin: of(&admin),
            local: of(&local),
            link: link.local_addr().expect("bound"),
            child,
            folder: tempfile::tempdir().expect("temporary folder"),
        }
    }

    /// Starts `ginnel-relay dev` and waits until it is ready.
    pub async fn relay(&self) -> Child {
        let this = std::env::current_exe().expect("this test");
        self.relay_by(Command::new(this)).await
    }

    /// As [`Processes::relay`], with so many open files at first and at most.
    pub async fn relay_with_files(&self, soft: u32, hard: u32) -> Child {
        let mut shell = Command::new("sh");
        let limited = format!("ulimit -Sn {soft} && ulimit -Hn {hard} && exec \"$0\" \"$@\"");
        let this = std::env::current_exe().expect("this test");
        shell.arg("-c").arg(limited).arg(this);
        self.relay_by(shell).await
    }

    async fn relay_by(&self, program: Command) -> Child {
        let (link, public, admin) = (self.link, self.public, self.admin);
        let arguments = [
            "ginnel-relay",
            "dev",
            "--link",
            &link.to_string(),
            "--public",
            &public.to_string(),
            "--admin",
            &admin.to_string(),
        ];
        let relay = self.start_by(program, &arguments);
        in_time("the relay is ready", async {
            while self.ready().await != Some(200) {
                sleep(LOOK_AGAIN).await;
            }
        })
        .await;
        relay
    }

    /// What the relay answers at `/ready`, if it runs.
    pub async fn ready(&self) -> Option<u16> {
        let request = Request::get("/ready").header("host", "localhost");
        self.ask(self.admin, request).await
    }

    /// Starts `ginnel up`, which joins the relay when it runs first.
    #[must_use]
    pub fn agent(&self) -> Child {
        self.start(&["ginnel", "up", "--local", &self.local.to_string()])
    }

    /// Shares a public service by `ginnel share`: at once if the agent runs,
    /// else once it does.
    pub async fn share(&self, name: &str, target: &str) {
        let mut share = self.start(&["ginnel", "share", name, target, "--public"]);
        assert!(end(&mut share).await.success(), "{}", self.log());
    }

    /// Asks for `/` of a service until the answer is 200.
    pub async fn until_served(&self, name: &str) {
        let began = Instant::now();
        loop {
            let host = format!("{name}.localhost");
            let request = Request::get("/").header("host", host);
            let answer = timeout(TRY_FOR, self.ask(self.public, request)).await;
            if answer == Ok(Some(200)) {
                return;
            }
            let given_up = began.elapsed() > PATIENCE;
            assert!(!given_up, "last answer: {answer:?}\n{}", self.log());
            sleep(LOOK_AGAIN).await;
        }
    }

    async fn ask(&self, address: SocketAddr, request: http::request::Builder) -> Option<u16> {
        // A caller that expects to get through would panic.
        drop(TcpStream::connect(address).await.ok()?);
        let request = request.body(Empty::<bytes::Bytes>::new()).expect("valid");
        let answer = Caller::new(address).try_send(request).await.ok()?;
        Some(answer.status().as_u16())
    }

    /// Whether the relay offers agents of the same person a way to join.
    #[must_use]
    pub fn invites(&self) -> bool {
        self.folder.path().join("relay/dev.join").exists()
    }

    /// What all processes have logged.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    fn start(&self, command: &[&str]) -> Child {
        let this = std::env::current_exe().expect("this test");
        self.start_by(Command::new(this), command)
    }

    fn start_by(&self, mut program: Command, command: &[&str]) -> Child {
        let folder = self.folder.path();
        let mut options = std::fs::File::options();
        let log = options.create(true).append(true).open(folder.join("log"));
        let log = log.expect("opened");
        as_child(&mut program, self.child, command);
        program
            .env("GINNEL_STATE", folder.join("agent"))
            .env("GINNEL_RELAY_STATE", folder.join("relay"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("opened"))
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .expect("starts")
    }
}

/// Lets this test, started again, be a program with its arguments. `child` is
/// the full name of the test that calls [`play`].
pub fn as_child(test: &mut Command, child: &str, command: &[&str]) {
    let command = serde_json::to_string(command).expect("JSON");
    test.args(["--exact", child, "--nocapture"])
        .env(COMMAND, command);
}

/// Sends SIGTERM, as service managers do.
pub async fn terminate(process: &Child) {
    let pid = process.id().expect("it runs").to_string();
    let told = Command::new("kill").arg(pid).status().await;
    assert!(told.expect("kill").success());
}

/// Waits for a process to end.
pub async fn end(process: &mut Child) -> ExitStatus {
    in_time("the end of a process", process.wait())
        .await
        .expect("waited for")
}

/// Changes how many files a running process may have open.
#[cfg(target_os = "linux")]
pub fn limit_files(process: &Child, soft: u64, hard: u64) {
    use rustix::process::{Pid, Resource, Rlimit, prlimit};
    let id = process.id().and_then(|id| i32::try_from(id).ok());
    let limit = Rlimit {
        current: Some(soft),
        maximum: Some(hard),
    };
    let pid = id.and_then(Pid::from_raw).expect("it runs");
    prlimit(Some(pid), Resource::Nofile, limit).expect("allowed");
}

/// The most memory that a process has had so far, in bytes, with what it sees of files.
#[must_use]
pub fn peak_memory(process: &Child) -> u64 {
    memory(process, "VmHWM:")
}

/// The memory that a process has now, in bytes, without what it sees of files: the
/// system takes that back when others need it.
#[must_use]
pub fn private_memory(process: &Child) -> u64 {
    memory(process, "RssAnon:")
}

fn memory(process: &Child, which: &str) -> u64 {
    let pid = process.id().expect("it runs");
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix(which));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
    let kib: u64 = kib.and_then(|kib| kib.parse().ok()).expect("a size");
    kib * 1024
}

/// What a child process does: a program with its arguments. Does nothing in
/// any other process.
pub fn play() -> ExitCode {
    let Ok(command) = std::env::var(COMMAND) else {
        return ExitCode::SUCCESS;
    };
    let command: Vec<String> = serde_json::from_str(&command).expect("JSON");
    match command.first().map(String::as_str) {
        Some("ginnel-relay") => play_relay(&command),
        _ => play_agent(&command),
    }
}

fn play_relay(command: &[String]) -> ExitCode {
    let cli = ginnel_relay::cli::Cli::parse_from(command);
    let environment = |name: &str| std::env::var_os(name);
    let mut terminal = Terminal {
        out: &mut std::io::stdout(),
        notes: &mut std::io::stderr(),
    };
    match ginnel_relay::cli::run(cli, &environment, &mut terminal) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn play_agent(command: &[String]) -> ExitCode {
    let cli = ginnel_agent::cli::Cli::parse_from(command);
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(ginnel_agent::cli::run(cli))
}
