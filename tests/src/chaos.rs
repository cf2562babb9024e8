//! Chaos: a model is trained on and moved, over and over, and each time
//! something breaks at a random moment. Real processes: relay, two devices,
//! SeaweedFS behind `r2-strict`. The function to read is [`Chaos::round`].
//!
//! What is looked at after each fault: the bucket's object and the other
//! device's file, byte for byte; progress, which never goes backwards; and how
//! many bytes travelled twice. Those are counted from outside: on the [`way`]
//! between device and relay, and at the proxy before the bucket for what
//! devices read there directly.

mod fault;
mod model;
mod report;
mod twice;
mod watch;
pub mod way;
pub mod world;

use std::time::Duration;

use fastrand::Rng;
use tokio::time::{Instant, sleep};

pub use self::fault::Fault;
use self::model::Model;
pub use self::report::{Direction, Hit, Report};
use self::twice::Meter;
pub use self::watch::{Seen, Watch};
use self::world::{Paths, Programs, Setting, Which, World};
use crate::bucket::Ask;

/// What is moved.
const NAME: &str = "models/chaos.safetensors";

/// What devices move at most, a second: fast enough to be done soon, slow
/// enough that most kills find them at it.
const BANDWIDTH: &str = "40 MB";

/// How long a transfer may take, with whatever breaks: the longest wait
/// between two attempts is a minute, the longest for an answer is three.
const OVER: Duration = Duration::from_secs(300);

/// Faults come up to so much later than an undisturbed transfer would be done.
const LATER: Duration = Duration::from_millis(200);

/// What broke is gone for up to so long.
const GONE: Duration = Duration::from_millis(1500);

/// So often, of 256 pushes, is the version before read meanwhile.
const READS: u8 = 64;

/// What a pull is told whose version was replaced before it was read.
const REPLACED: [&str; 2] = [
    "another version was published meanwhile",
    "another version is published by now",
];

/// What is to be done.
#[derive(Debug, Clone)]
pub struct Plan {
    /// All is drawn from it but the moment's chance.
    pub seed: u64,
    /// How many faults must find a transfer at work.
    pub hits: u32,
    /// The programs.
    pub programs: Programs,
}

struct Chaos {
    world: World,
    dice: Rng,
    model: Model,
    meter: Meter,
    /// How long pushes and pulls take, undisturbed, for each MiB that changed.
    pace: Duration,
    report: Report,
}

/// Breaks transfers until enough were hit. `None`, told aloud, where there is
/// no S3 server.
///
/// # Panics
/// A process does not start, or a transfer is never over.
pub async fn run(plan: Plan) -> Option<Report> {
    let Plan {
        seed,
        hits,
        programs,
    } = plan;
    eprintln!("chaos: seed={seed}");
    let setting = Setting {
        programs,
        paths: Paths::Counted,
        bandwidth: Some(BANDWIDTH),
    };
    let world = World::start(setting).await?;
    let mut dice = Rng::with_seed(seed);
    let model = Model::first(&mut dice);
    let mut chaos = Chaos {
        world,
        dice,
        model,
        meter: Meter::default(),
        pace: Duration::ZERO,
        report: Report::default(),
    };
    chaos.begin().await;
    while chaos.report.hits.len() < hits as usize && chaos.report.wrong.is_empty() {
        chaos.round().await;
    }
    if !chaos.report.wrong.is_empty() {
        eprintln!("{}", chaos.world.log());
    }
    Some(chaos.report)
}

impl Chaos {
    /// The whole model, undisturbed: what is measured here is what travels for
    /// a byte, and how fast.
    async fn begin(&mut self) {
        self.world.pull_by("tunnel").await;
        let begun = Instant::now();
        let before = self.world.way.up();
        self.write();
        self.push(None).await;
        let up = self.world.way.up().since(before);
        let before = self.world.way.down();
        self.pull(None).await;
        let down = self.world.way.down().since(before);
        self.meter = Meter::calibrated(self.model.changed, up, down);
        self.pace = begun.elapsed() / 2 / mib(self.model.changed).max(1);
    }

    /// A new version, pushed and pulled, and a fault for each.
    async fn round(&mut self) {
        let ways = ["direct", "tunnel"];
        let way = self.dice.choice(ways).unwrap_or("direct");
        self.world.pull_by(way).await;
        let before = std::mem::take(&mut self.model.file);
        self.model = self.model.train(&mut self.dice);
        self.write();
        let fault = Fault::draw(&mut self.dice);
        self.push(Some((fault, before))).await;
        // What follows from something wrong says nothing.
        if self.report.wrong.is_empty() {
            let fault = Fault::draw(&mut self.dice);
            self.pull(Some(fault)).await;
        }
    }

    fn write(&self) {
        let file = self.world.laptop.file(NAME);
        if let Some(folder) = file.parent() {
            std::fs::create_dir_all(folder).expect("made");
        }
        std::fs::write(file, &self.model.file).expect("written");
    }

    /// Pushes the version; in its middle comes a fault, and then the version
    /// before is what everybody reads, or already this one.
    async fn push(&mut self, fault: Option<(Fault, Vec<u8>)>) {
        let begun = self.world.laptop.begin("push", NAME).await;
        let mut watch = Watch::new(self.world.laptop.state(), &begun);
        let up = self.world.way.up();
        let mut hit = None;
        if let Some((fault, before)) = fault {
            hit = self.disturb(fault, Which::Laptop, &mut watch).await;
            self.look_at_object(Some(&before)).await;
            if self.dice.u8(..) < READS {
                self.read_meanwhile(&before).await;
            }
        }
        let last = self.over(watch, "push").await;
        if let (Some(fault), Some(last)) = (hit, last) {
            let travelled = self.meter.up(self.world.way.up().since(up));
            let twice = travelled.saturating_sub(self.model.changed);
            self.hit(fault, Direction::Push, twice, &last);
        }
        if self.report.wrong.is_empty() {
            self.look_at_object(None).await;
        }
    }

    /// Pulls the version to the other device.
    async fn pull(&mut self, fault: Option<Fault>) {
        let begun = self.world.desktop.begin("pull", NAME).await;
        let mut watch = Watch::new(self.world.desktop.state(), &begun);
        let (down, read) = (self.world.way.down(), self.world.r2.strict.counts());
        let mut hit = None;
        if let Some(fault) = fault {
            hit = self.disturb(fault, Which::Desktop, &mut watch).await;
        }
        let last = self.over(watch, "pull").await;
        if let (Some(fault), Some(last)) = (hit, last) {
            let mut travelled = self.meter.down(self.world.way.down().since(down));
            if self.world.desktop.pulls_directly() {
                let read = self.world.r2.strict.counts().since(&read);
                travelled += read.sent(crate::bucket::strict::Operation::Get);
            }
            let twice = travelled.saturating_sub(self.model.changed);
            self.hit(fault, Direction::Pull, twice, &last);
        }
        let file = std::fs::read(self.world.desktop.file(NAME)).expect("there");
        if self.report.wrong.is_empty() && file != self.model.file {
            self.wrong("the file that was pulled is another");
        }
    }

    /// Pulls while a version is pushed, to a device that has lost its file: it
    /// gets the version before, or the one that is pushed, or is told that one
    /// took the other's place.
    async fn read_meanwhile(&mut self, before: &[u8]) {
        let file = self.world.desktop.file(NAME);
        std::fs::remove_file(&file).expect("there");
        let begun = self.world.desktop.begin("pull", NAME).await;
        let mut watch = Watch::new(self.world.desktop.state(), &begun);
        match watch.until_over(OVER).await {
            Ok(_) => {
                let read = std::fs::read(&file).expect("there");
                self.report.read_meanwhile += 1;
                if read == self.model.file {
                    return;
                }
                if read != before {
                    self.wrong("what was pulled during a push is no version");
                }
            }
            Err(error) if REPLACED.iter().any(|told| error.contains(told)) => {}
            Err(error) => self.wrong(&format!("a pull during a push is not done: {error}")),
        }
        // The next pull should be of what was changed, and no more.
        std::fs::write(&file, before).expect("written");
    }

    /// Waits for a random moment, breaks something, and mends it after a
    /// while. Returns the fault if the transfer was at work.
    async fn disturb(&mut self, fault: Fault, at: Which, watch: &mut Watch) -> Option<Fault> {
        let longest = self.pace * mib(self.model.changed) + LATER;
        sleep(longest.mul_f64(self.dice.f64())).await;
        let was_at_work = !watch.look().await.is_some_and(|seen| seen.is_over());
        let gone = GONE.mul_f64(self.dice.f64());
        match fault {
            Fault::Agent => {
                self.device(at).kill().await;
                sleep(gone).await;
                self.world.restart(at);
            }
            Fault::Relay => {
                self.world.kill_relay().await;
                sleep(gone).await;
                self.world.start_relay().await;
            }
            Fault::Server => {
                self.world.r2.weed.stop();
                sleep(gone).await;
                self.world.r2.weed.resume().await;
            }
            Fault::Outage => {
                self.world.r2.strict.set_outage(true);
                sleep(gone).await;
                self.world.r2.strict.set_outage(false);
            }
            Fault::Network => self.world.way.change_network(),
        }
        was_at_work.then_some(fault)
    }

    fn device(&mut self, which: Which) -> &mut world::Device {
        match which {
            Which::Laptop => &mut self.world.laptop,
            Which::Desktop => &mut self.world.desktop,
        }
    }

    /// Waits until a transfer is over, and looks at it all the while.
    async fn over(&mut self, mut watch: Watch, what: &str) -> Option<Seen> {
        let last = watch.until_over(OVER).await;
        if let Some(went) = watch.went_backwards() {
            self.wrong(&format!("progress of a {what} went backwards: {went}"));
        }
        match last {
            Ok(last) => return Some(last),
            Err(error) => self.wrong(&format!("a {what} is not done: {error}")),
        }
        None
    }

    /// The bucket's object is this version, or that one.
    async fn look_at_object(&mut self, or: Option<&[u8]>) {
        let read = self.world.r2.bucket.try_ask(Ask::get(NAME)).await;
        let Ok(read) = read else {
            return self.wrong("the object cannot be read");
        };
        if read.status != 200 {
            return self.wrong(&format!("the object cannot be read: {}", read.status));
        }
        let is_this = read.body == self.model.file;
        if !is_this && or.is_none_or(|or| read.body != or) {
            self.wrong("the bucket's object is another");
        }
    }

    fn hit(&mut self, fault: Fault, direction: Direction, twice: u64, last: &Seen) {
        let hit = Hit {
            fault,
            direction,
            twice,
            attempts: last.attempts,
        };
        eprintln!("{:>4} {hit}", self.report.hits.len() + 1);
        self.report.hits.push(hit);
    }

    fn wrong(&mut self, what: &str) {
        let number = self.report.hits.len() + 1;
        eprintln!("wrong at {number}: {what}");
        self.report.wrong.push(what.to_owned());
    }
}

/// In whole MiB.
fn mib(bytes: u64) -> u32 {
    u32::try_from(bytes >> 20).unwrap_or(u32::MAX)
}
