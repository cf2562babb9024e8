//! SeaweedFS as a process of its own, on loopback, with its own folder and
//! keys: the S3 server among those one can install whose conditional writes
//! are atomic.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use http::Method;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use super::client::{Ask, Bucket};
use super::sign::Keys;
use crate::wait::{LOOK_AGAIN, PATIENCE};

/// Where `tests/bucket` puts the program.
const PROGRAM: &str = "../target/bucket/seaweedfs-4.48/bin/weed";

/// Its servers, each of which gets a port.
const SERVERS: [&str; 6] = ["master", "volume", "filer", "s3", "webdav", "admin"];

/// Among these the first port is chosen. Each server takes another port that
/// is 10,000 higher, and both lie below those that the system gives out.
const FIRST_PORTS: std::ops::Range<u16> = 10_000..20_000;

/// How far a server's second port is from its first.
const SECOND_PORT: u16 = 10_000;

/// Somebody else may take a port after it was found free: so often is it
/// tried with other ports.
const TRIES: u32 = 5;

/// How much of its log a failure shows, in bytes.
const LOG_SHOWN: usize = 8_000;

/// A running SeaweedFS, until dropped.
#[derive(Debug)]
pub struct Weed {
    /// Where S3 is spoken.
    pub address: SocketAddr,
    /// With whom.
    pub keys: Keys,
    folder: TempDir,
    first_port: u16,
    running: Option<Running>,
    has_run: bool,
}

/// A process, and what ends it should this one be killed.
#[derive(Debug)]
struct Running {
    weed: Child,
    /// Waits for its input to end, which this process holds open.
    guard: Child,
}

impl Running {
    fn start(mut command: Command) -> Self {
        let weed = command.spawn().expect("it starts");
        let guard = Command::new("sh")
            .arg("-c")
            .arg(format!("cat; kill -9 {}", weed.id()))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn();
        Self {
            weed,
            guard: guard.expect("a shell"),
        }
    }

    /// Ends both: the guard first, since the other's number may be given out
    /// again.
    fn stop(&mut self) {
        for child in [&mut self.guard, &mut self.weed] {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Weed {
    /// Starts one and waits until it answers. `None`, and a note, where it is
    /// not installed.
    ///
    /// # Panics
    /// When it does not start, or is not installed and `GINNEL_REQUIRE_BUCKET`
    /// or `CI=true` says that it must be.
    pub async fn start() -> Option<Self> {
        let program = program()?;
        for _ in 0..TRIES {
            let first_port = free_ports();
            let s3 = SERVERS.iter().position(|server| *server == "s3");
            let s3 = u16::try_from(s3.expect("a server")).expect("a few");
            let mut weed = Self {
                address: (Ipv4Addr::LOCALHOST, first_port + s3).into(),
                keys: Keys {
                    id: "ginnel".into(),
                    secret: format!("{:032x}", fastrand::u128(..)),
                },
                folder: tempfile::tempdir().expect("temporary folder"),
                first_port,
                running: None,
                has_run: false,
            };
            if weed.run(&program).await {
                return Some(weed);
            }
            eprintln!("a port was taken, first={first_port}");
        }
        panic!("SeaweedFS finds no ports");
    }

    /// A new bucket.
    ///
    /// # Panics
    /// When it cannot be made.
    pub async fn bucket(&self, name: &str) -> Bucket {
        let bucket = Bucket::new(self.address, name, self.keys.clone());
        let made = bucket.ask(Ask::new(Method::PUT, "")).await;
        assert_eq!(made.status, 200, "{made:?}");
        bucket
    }

    /// Ends it at once, as a power cut would.
    pub fn stop(&mut self) {
        if let Some(mut running) = self.running.take() {
            running.stop();
        }
    }

    /// Starts it again after [`Weed::stop`], with the same address, keys and
    /// objects.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn resume(&mut self) {
        assert!(self.running.is_none(), "it runs");
        let program = program().expect("it was installed");
        assert!(self.run(&program).await, "it ended: {}", self.log());
    }

    /// The end of what it has logged.
    #[must_use]
    pub fn log(&self) -> String {
        let log = std::fs::read(self.folder.path().join("log")).unwrap_or_default();
        let end = log.len().saturating_sub(LOG_SHOWN);
        String::from_utf8_lossy(log.get(end..).unwrap_or_default()).into_owned()
    }

    /// Its process, while it runs.
    #[must_use]
    pub fn process(&self) -> Option<u32> {
        self.running.as_ref().map(|running| running.weed.id())
    }

    /// Whether it runs and answers; not if it ended, as it does when a port
    /// is taken.
    async fn run(&mut self, program: &Path) -> bool {
        self.running = Some(Running::start(self.command(program)));
        let deadline = Instant::now() + PATIENCE;
        while !self.is_ready().await {
            let running = self.running.as_mut().expect("started");
            if running.weed.try_wait().expect("its own child").is_some() {
                self.stop();
                return false;
            }
            let late = Instant::now() > deadline;
            assert!(!late, "SeaweedFS does not answer: {}", self.log());
            sleep(LOOK_AGAIN).await;
        }
        self.has_run = true;
        true
    }

    /// Whether objects can be written and read. S3 is spoken before the
    /// servers behind it have found each other, and after a pause, what was
    /// written before it is found later than what is new.
    async fn is_ready(&self) -> bool {
        let bucket = Bucket::new(self.address, "ready", self.keys.clone());
        let is = async |ask: Ask, expected: &[u16]| {
            let asked = bucket.try_ask(ask).await;
            asked.is_ok_and(|answer| expected.contains(&answer.status.as_u16()))
        };
        is(Ask::new(Method::PUT, ""), &[200, 409]).await
            && (!self.has_run || is(Ask::get("ready"), &[200]).await)
            && is(Ask::put("ready", "ready"), &[200]).await
            && is(Ask::get("ready"), &[200]).await
    }

    fn command(&self, program: &Path) -> Command {
        let folder = self.folder.path();
        let mut options = File::options();
        let log = options.create(true).append(true).open(folder.join("log"));
        let log = log.expect("opened");
        let objects = folder.join("objects");
        std::fs::create_dir_all(&objects).expect("made");
        let mut command = Command::new(program);
        command
            .arg("mini")
            .arg(format!("-dir={}", objects.display()))
            .args(["-ip=127.0.0.1", "-ip.bind=127.0.0.1"])
            .args(["-webdav=false", "-admin.ui=false"])
            // Else both are fixed, and a second SeaweedFS ends at once.
            .args(["-s3.port.iceberg=0", "-s3.port.lance=0"])
            .env("AWS_ACCESS_KEY_ID", &self.keys.id)
            .env("AWS_SECRET_ACCESS_KEY", &self.keys.secret)
            // It logs there too, and reads settings from its home.
            .env("TMPDIR", folder)
            .env("HOME", folder)
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("opened"))
            .stderr(log);
        for (port, server) in (self.first_port..).zip(SERVERS) {
            command.arg(format!("-{server}.port={port}"));
        }
        command
    }
}

impl Drop for Weed {
    fn drop(&mut self) {
        self.stop();
        if std::thread::panicking() {
            eprintln!("SeaweedFS logged:\n{}", self.log());
        }
    }
}

/// The program, or a note that it is not here.
fn program() -> Option<PathBuf> {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join(PROGRAM);
    if program.exists() {
        return Some(program);
    }
    let message = format!("SeaweedFS is not at {}", program.display());
    let required = std::env::var_os("GINNEL_REQUIRE_BUCKET").is_some()
        || std::env::var_os("CI").is_some_and(|value| value == "true");
    assert!(!required, "{message}; hint: run tests/bucket");
    eprintln!("skipped: {message}; hint: run tests/bucket");
    None
}

/// The first of so many ports in a row that all are free, as are the second
/// ports.
fn free_ports() -> u16 {
    let servers = u16::try_from(SERVERS.len()).expect("a few");
    let free = |port: u16| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
    loop {
        let first = fastrand::u16(FIRST_PORTS.start..FIRST_PORTS.end - servers);
        let mut ports = (first..first + servers).flat_map(|port| [port, port + SECOND_PORT]);
        if ports.all(free) {
            return first;
        }
    }
}
