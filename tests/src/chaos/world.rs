//! A relay, two devices of one user and a bucket, each a process of its own.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use ginnel_agent::api::knowledge::transfers::view::{NewTransferView, TransferView};
use ginnel_agent::local_client::{ClientError, LocalClient};
use http::Method;
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::time::sleep;

use super::way::Way;
use crate::artifacts::R2;
use crate::caller::Caller;
use crate::processes::as_child;
use crate::wait::{LOOK_AGAIN, in_time};

/// Where the two programs come from.
#[derive(Debug, Clone)]
pub enum Programs {
    /// This process is started again to run that test, which is
    /// [`play`](crate::processes::play).
    Child(&'static str),
    /// From a folder.
    Folder(PathBuf),
}

/// How the processes reach each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Paths {
    /// By a [`Way`] to the relay and by `r2-strict` to the bucket.
    Counted,
    /// Devices straight to the relay; `r2-strict` before the bucket.
    Strict,
    /// Nothing between them.
    Bare,
}

/// What a world is made of.
#[derive(Debug, Clone)]
pub struct Setting {
    /// The programs.
    pub programs: Programs,
    /// What is between them.
    pub paths: Paths,
    /// What devices move at most, a second, as in their configuration.
    pub bandwidth: Option<&'static str>,
}

/// All processes.
#[derive(Debug)]
pub struct World {
    /// The bucket.
    pub r2: R2,
    /// Between devices and relay; unused if they do without it.
    pub way: Way,
    /// The device that pushes.
    pub laptop: Device,
    /// The device that pulls.
    pub desktop: Device,
    relay: Option<Child>,
    place: Place,
}

/// A device.
#[derive(Debug)]
pub struct Device {
    /// Its name.
    pub name: String,
    state: PathBuf,
    local: SocketAddr,
    pull: &'static str,
    running: Option<Child>,
}

/// What processes are started with.
#[derive(Debug)]
struct Place {
    programs: Programs,
    folder: TempDir,
    link: SocketAddr,
    public: SocketAddr,
    admin: SocketAddr,
    environment: Vec<(&'static str, String)>,
}

impl World {
    /// Starts all of them; `None`, told aloud, where there is no S3 server.
    ///
    /// # Panics
    /// One does not start.
    pub async fn start(setting: Setting) -> Option<Self> {
        let r2 = R2::start().await?;
        // An address of its own, so that nobody else gets these ports while a
        // process is down.
        let address = Ipv4Addr::new(127, fastrand::u8(1..), fastrand::u8(..), 1);
        let tcp = || TcpListener::bind((address, 0)).expect("bound");
        let of = |listener: &TcpListener| listener.local_addr().expect("bound");
        let (public, admin, laptop, desktop) = (tcp(), tcp(), tcp(), tcp());
        let udp = UdpSocket::bind((address, 0)).expect("bound");
        let link = udp.local_addr().expect("bound");
        let way = Way::to(link).expect("bound");
        let folder = tempfile::tempdir().expect("temporary folder");
        let place = Place {
            environment: environment(&setting, &r2, (way.address, link), folder.path()),
            programs: setting.programs,
            link,
            public: of(&public),
            admin: of(&admin),
            folder,
        };
        let device = |name, listener| Device::new(name, &place, of(listener));
        let mut world = Self {
            r2,
            way,
            laptop: device("laptop", &laptop),
            desktop: device("desktop", &desktop),
            relay: None,
            place,
        };
        drop((public, admin, laptop, desktop, udp));
        world.start_relay().await;
        for device in [&mut world.laptop, &mut world.desktop] {
            device.join(&world.place).await;
            device.start(&world.place);
        }
        Some(world)
    }

    /// Starts the relay and waits until it is ready.
    pub async fn start_relay(&mut self) {
        let place = &self.place;
        let addresses = [place.link, place.public, place.admin].map(|it| it.to_string());
        let [link, public, admin] = &addresses;
        let arguments = ["dev", "--link", link, "--public", public, "--admin", admin];
        let relay = place.command("ginnel-relay", &arguments);
        self.relay = Some(spawn(relay));
        in_time("the relay is ready", async {
            while place.ready().await != Some(200) {
                sleep(LOOK_AGAIN).await;
            }
        })
        .await;
    }

    /// Kills the relay.
    pub async fn kill_relay(&mut self) {
        kill(&mut self.relay).await;
    }

    /// Starts a device again after it was killed.
    pub fn restart(&mut self, which: Which) {
        let device = match which {
            Which::Laptop => &mut self.laptop,
            Which::Desktop => &mut self.desktop,
        };
        device.start(&self.place);
    }

    /// Restarts the desktop so that it pulls that way: `direct` or `tunnel`.
    pub async fn pull_by(&mut self, way: &'static str) {
        if self.desktop.pull != way {
            self.desktop.kill().await;
            self.desktop.pull = way;
            self.desktop.start(&self.place);
        }
    }

    /// One more device of the user, which has joined and does not run.
    ///
    /// # Panics
    /// It cannot join.
    pub async fn add(&self, name: &str) -> Device {
        let address = self.place.link.ip();
        let listener = TcpListener::bind((address, 0)).expect("bound");
        let local = listener.local_addr().expect("bound");
        drop(listener);
        let device = Device::new(name, &self.place, local);
        device.join(&self.place).await;
        device
    }

    /// Starts a device that does not run.
    pub fn start_device(&self, device: &mut Device) {
        device.start(&self.place);
    }

    /// Runs `ginnel` for a device, to its end.
    ///
    /// # Panics
    /// It does not end for too long.
    pub async fn run(&self, device: &Device, arguments: &[&str]) -> Said {
        let mut command = self.place.command("ginnel", arguments);
        command.env("GINNEL_STATE", &device.state);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let output = in_time("a command ends", command.output()).await;
        let output = output.expect("it runs");
        Said {
            success: output.status.success(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// The relay's process, while it runs.
    #[must_use]
    pub fn relay(&self) -> Option<&Child> {
        self.relay.as_ref()
    }

    /// The relay's metrics, as text.
    ///
    /// # Panics
    /// It does not answer.
    pub async fn metrics(&self) -> String {
        let request = http::Request::get("/metrics").header("host", "localhost");
        let request = request.body(http_body_util::Empty::<bytes::Bytes>::new());
        let caller = Caller::new(self.place.admin);
        crate::caller::text(caller.send(request.expect("valid")).await).await
    }

    /// What all processes have logged.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.place.folder.path().join("log")).unwrap_or_default()
    }
}

/// What a command said. As a child of a test, the test's own lines are around it.
#[derive(Debug)]
pub struct Said {
    /// Whether it ended well.
    pub success: bool,
    /// To the standard output.
    pub out: String,
    /// To the standard error.
    pub err: String,
}

impl Said {
    /// The last line that is JSON.
    ///
    /// # Panics
    /// There is none.
    #[must_use]
    pub fn json(&self) -> Value {
        let lines = self.out.lines().rev();
        let mut lines = lines.filter_map(|line| serde_json::from_str(line).ok());
        lines.next().expect("a line of JSON")
    }
}

/// One of the devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// It pushes.
    Laptop,
    /// It pulls.
    Desktop,
}

impl Device {
    fn new(name: &str, place: &Place, local: SocketAddr) -> Self {
        Self {
            name: name.to_owned(),
            state: place.folder.path().join(name),
            local,
            pull: "direct",
            running: None,
        }
    }

    /// Kills it.
    pub async fn kill(&mut self) {
        kill(&mut self.running).await;
    }

    /// Its process, while it runs.
    #[must_use]
    pub fn process(&self) -> Option<&Child> {
        self.running.as_ref()
    }

    /// The file of an artifact on the common shelf.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        let file = name.strip_prefix("models/").unwrap_or(name);
        self.state.join("models").join(file)
    }

    /// Whether it reads the bucket itself, not through the relay.
    #[must_use]
    pub fn pulls_directly(&self) -> bool {
        self.pull == "direct"
    }

    /// Where its state is.
    #[must_use]
    pub fn state(&self) -> &Path {
        &self.state
    }

    /// Begins a transfer, as soon as the device lets it.
    ///
    /// # Panics
    /// It does not for too long.
    pub async fn begin(&self, direction: &str, name: &str) -> TransferView {
        let new = NewTransferView {
            direction: direction.to_owned(),
            name: name.to_owned(),
            force: false,
        };
        in_time("a transfer begins", async {
            loop {
                match ask(&self.state, Method::POST, "/v1/transfers", &new).await {
                    Ok(begun) => return begun,
                    Err(error) => tracing::debug!(%error, "a transfer does not begin"),
                }
                sleep(LOOK_AGAIN).await;
            }
        })
        .await
    }

    async fn join(&self, place: &Place) {
        let invited = place
            .command("ginnel-relay", &["invite", "--user", "alice", "--json"])
            .stdout(Stdio::piped())
            .output()
            .await
            .expect("it runs");
        // As a child of a test, the test's own lines are around it.
        let text = String::from_utf8_lossy(&invited.stdout).into_owned();
        let begin = text.find('{').expect("JSON");
        let end = text.rfind('}').expect("JSON");
        let invited: Value = serde_json::from_str(&text[begin..=end]).expect("JSON");
        let code = invited["join_code"].as_str().expect("a code");
        let mut join = place.command("ginnel", &["join", code, "--name", &self.name]);
        join.env("GINNEL_STATE", &self.state);
        let joined = in_time("a device joins", join.status()).await;
        assert!(joined.expect("it runs").success());
    }

    fn start(&mut self, place: &Place) {
        let local = self.local.to_string();
        let mut up = place.command("ginnel", &["up", "--local", &local]);
        up.env("GINNEL_STATE", &self.state);
        up.env("GINNEL_MODELS_PULL", self.pull);
        self.running = Some(spawn(up));
    }
}

/// Asks a device's local API.
///
/// # Errors
/// It does not run, or does not do it.
pub async fn ask<T: serde::de::DeserializeOwned>(
    state: &Path,
    method: Method,
    path: &str,
    body: &impl serde::Serialize,
) -> Result<T, ClientError> {
    let client = LocalClient::find(state).await?;
    client.send_long(method, path, body).await
}

impl Place {
    fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let folder = self.folder.path();
        let mut command = match &self.programs {
            Programs::Folder(programs) => {
                let mut command = Command::new(programs.join(program));
                command.args(arguments);
                command
            }
            Programs::Child(test) => {
                let mut command = Command::new(std::env::current_exe().expect("this test"));
                as_child(&mut command, test, &[&[program], arguments].concat());
                command
            }
        };
        let mut options = std::fs::File::options();
        let log = options.create(true).append(true).open(folder.join("log"));
        let log = log.expect("opened");
        let environment = self.environment.iter().map(|(name, value)| (name, value));
        command
            .envs(environment)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("opened"))
            .stderr(log)
            .kill_on_drop(true);
        command
    }

    /// What the relay answers at `/ready`, if it runs.
    async fn ready(&self) -> Option<u16> {
        // A caller that expects to get through would panic.
        drop(tokio::net::TcpStream::connect(self.admin).await.ok()?);
        let request = http::Request::get("/ready").header("host", "localhost");
        let request = request.body(http_body_util::Empty::<bytes::Bytes>::new());
        let caller = Caller::new(self.admin);
        let answer = caller.try_send(request.expect("valid")).await.ok()?;
        Some(answer.status().as_u16())
    }
}

/// What all processes have in common.
fn environment(
    setting: &Setting,
    r2: &R2,
    (way, link): (SocketAddr, SocketAddr),
    folder: &Path,
) -> Vec<(&'static str, String)> {
    let inside = |name: &str| folder.join(name).display().to_string();
    let (relay, bucket) = match setting.paths {
        Paths::Counted => (way, r2.strict.address),
        Paths::Strict => (link, r2.strict.address),
        Paths::Bare => (link, r2.weed.address),
    };
    let mut all = vec![
        ("HOME", inside("home")),
        ("GINNEL_RELAY_STATE", inside("relay")),
        ("GINNEL_RELAY_LINK_ADVERTISE", relay.to_string()),
        (
            "GINNEL_RELAY_BUCKET_URL",
            format!("s3://{}", r2.bucket.name),
        ),
        ("GINNEL_RELAY_BUCKET_ENDPOINT", format!("http://{bucket}")),
        ("AWS_ACCESS_KEY_ID", r2.bucket.keys.id.clone()),
        ("AWS_SECRET_ACCESS_KEY", r2.bucket.keys.secret.clone()),
    ];
    if let Some(bandwidth) = setting.bandwidth {
        all.push(("GINNEL_MODELS_BANDWIDTH", bandwidth.to_owned()));
    }
    all
}

fn spawn(mut command: Command) -> Child {
    command.spawn().expect("it starts")
}

async fn kill(running: &mut Option<Child>) {
    if let Some(mut child) = running.take() {
        child.kill().await.expect("killed");
    }
}
