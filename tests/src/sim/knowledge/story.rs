//! A story that a seed decides: eight devices edit, crash and lose their links,
//! relays die, the bucket forgets; then all is well, and all must know the same,
//! and the latest of what was done.

use std::collections::BTreeMap;
use std::time::Duration;

use ginnel_store::id::DocumentId;
use tokio::time::{Instant, sleep};

use super::cloud::{Cloud, Counts, RELAYS};
use super::device::SimDevice;
use crate::knowledge::Known;
use crate::sim::dice::Dice;

/// How many devices there are.
pub const DEVICES: usize = 8;

/// Documents that are edited again and again.
const SOURCES: u64 = 10;

/// How many things happen.
const STEPS: u32 = 60;

/// Clocks are off by at most a day.
const CLOCK_OFF_MS: u64 = 86_400_000;

/// Edits this near to each other may be taken either way: a clock that was never
/// compared may be off by so much and count as right.
const AT_ONCE: Duration = Duration::from_secs(6);

/// How long all may take to be in step once nothing fails any more.
const IN_STEP_WITHIN: Duration = Duration::from_secs(2 * 3600);

/// What was done to a document.
#[derive(Debug, Clone)]
struct Edit {
    at: Instant,
    device: usize,
    /// The word that it has since; none if it was deleted.
    word: Option<String>,
    /// The device had never been in step with others.
    is_new: bool,
}

/// What happened.
#[derive(Debug, Clone, Copy)]
pub struct Told {
    /// Edits that stores took.
    pub edits: usize,
    /// Documents whose last edit was known for sure, and stands.
    pub sure: usize,
    /// What went wrong.
    pub counts: Counts,
    /// How long it took until all were in step, in simulated time.
    pub in_step: Duration,
}

/// Lives through the story of a seed.
///
/// # Panics
/// What must hold does not.
pub fn live(seed: u64) -> Told {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    runtime.block_on(Story::new(seed).live())
}

struct Story {
    seed: u64,
    dice: Dice,
    cloud: Cloud,
    devices: Vec<SimDevice>,
    edits: BTreeMap<u64, Vec<Edit>>,
    words: u32,
}

impl Story {
    fn new(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let cloud = Cloud::new(dice.fork());
        let devices = (0..DEVICES).map(|at| {
            let off = dice.below(2 * CLOCK_OFF_MS).cast_signed();
            let off = off - CLOCK_OFF_MS.cast_signed();
            SimDevice::new(&format!("device{at}"), &cloud, off)
        });
        let devices = devices.collect();
        Self {
            seed,
            dice,
            cloud,
            devices,
            edits: BTreeMap::new(),
            words: 0,
        }
    }

    async fn live(mut self) -> Told {
        for at in 0..DEVICES {
            self.devices[at].start();
            // Some have never been linked when they are first edited.
            if self.dice.chance(0.7) {
                self.link(at);
            }
        }
        for _ in 0..STEPS {
            let (soon, late) = (Duration::from_millis(200), Duration::from_secs(40));
            sleep(self.dice.between(soon, late)).await;
            self.happen().await;
        }
        let began = Instant::now();
        let dump = self.until_in_step().await;
        let in_step = began.elapsed();
        let sure = self.check(&dump).await;
        Told {
            edits: self.edits.values().map(Vec::len).sum(),
            sure,
            counts: self.cloud.counts(),
            in_step,
        }
    }

    async fn happen(&mut self) {
        let device = self.any_device();
        let relay = self.any_relay();
        match self.dice.below(100) {
            0..50 => {
                let source = self.dice.below(SOURCES);
                self.edit(device, source).await;
                if self.dice.chance(0.2) {
                    let other = self.any_device();
                    self.edit(other, source).await;
                }
            }
            50..60 => self.devices[device].cut(),
            60..75 => self.link(device),
            75..81 => self.devices[device].crash().await,
            81..91 if self.devices[device].known().is_none() => {
                self.devices[device].start();
                self.link(device);
            }
            91..94 => self.cloud.set_down(relay, true),
            94..98 => self.cloud.set_down(relay, false),
            98..99 => {
                let name = self.devices[device].name.clone();
                self.cloud.forget_newest(&name);
            }
            _ => {}
        }
    }

    async fn edit(&mut self, device: usize, source: u64) {
        let Some(known) = self.devices[device].known().cloned() else {
            return;
        };
        let name = format!("{source}.md");
        let word = match self.dice.chance(0.25) {
            true => {
                let id = DocumentId::of_source("notes", &name);
                if !known.store.delete(id).await.expect("deleted") {
                    return;
                }
                None
            }
            false => {
                self.words += 1;
                let word = format!("word{}", self.words);
                known.put(&name, &word).await;
                Some(word)
            }
        };
        let edit = Edit {
            at: Instant::now(),
            device,
            word,
            is_new: known.store.is_new().await.expect("read"),
        };
        self.edits.entry(source).or_default().push(edit);
    }

    fn link(&mut self, device: usize) {
        let jitter = self.dice.below(200).cast_signed() - 100;
        let relay = self.any_relay();
        self.devices[device].link(relay, jitter);
    }

    fn any_device(&mut self) -> usize {
        usize::try_from(self.dice.below(DEVICES as u64)).unwrap_or_default()
    }

    fn any_relay(&mut self) -> usize {
        usize::try_from(self.dice.below(RELAYS as u64)).unwrap_or_default()
    }

    /// Nothing fails any more: gives what all know in the end.
    async fn until_in_step(&mut self) -> Vec<String> {
        self.cloud.calm_down();
        for at in 0..DEVICES {
            if self.devices[at].known().is_none() {
                self.devices[at].start();
            }
            self.link(at);
        }
        let began = Instant::now();
        loop {
            sleep(Duration::from_secs(5)).await;
            let mut is_still = true;
            for known in self.all_known() {
                let status = known.sync.status().await.expect("read");
                is_still &= status.backlog == 0 && status.behind == 0;
            }
            let is_late = began.elapsed() > IN_STEP_WITHIN;
            if !is_still && !is_late {
                continue;
            }
            let mut dumps = Vec::new();
            for known in self.all_known() {
                dumps.push(known.dump().await);
            }
            if dumps.windows(2).all(|pair| pair[0] == pair[1]) {
                return dumps.swap_remove(0);
            }
            if is_late {
                self.tell_difference(&dumps).await;
                panic!("devices are not in step, seed={}", self.seed);
            }
        }
    }

    fn all_known(&self) -> impl Iterator<Item = &Known> {
        self.devices.iter().filter_map(SimDevice::known)
    }

    async fn tell_difference(&self, dumps: &[Vec<String>]) {
        for (at, dump) in dumps.iter().enumerate() {
            let less = dumps[0].iter().filter(|row| !dump.contains(row));
            let more = dump.iter().filter(|row| !dumps[0].contains(row));
            eprintln!("device{at} lacks {:#?}", less.collect::<Vec<_>>());
            eprintln!("device{at} has {:#?}", more.collect::<Vec<_>>());
        }
        for batch in self.cloud.describe() {
            eprintln!("{batch}");
        }
        eprintln!("{:#?}", self.edits);
        for known in self.all_known() {
            eprintln!("{:?}", known.sync.status().await);
        }
    }

    /// What all know is the latest of what was done.
    async fn check(&self, dump: &[String]) -> usize {
        let known = self.all_known().next().expect("a device");
        let mut sure = 0;
        for (source, edits) in &self.edits {
            let name = format!("{source}.md");
            let last = edits.last().expect("an edit");
            // One device's edits have their order.
            let near = edits.iter().filter(|edit| {
                last.at - edit.at < AT_ONCE && (edit.device != last.device || edit.at == last.at)
            });
            let mut possible: Vec<_> = near.map(|edit| edit.word.clone()).collect();
            possible.push(last.word.clone());
            possible.dedup();
            // A deletion that all have let go is not known to whoever is new, and
            // does not count against what that one has.
            if last.word.is_none() {
                let new = edits
                    .iter()
                    .filter(|edit| edit.is_new && edit.device != last.device);
                possible.extend(new.map(|edit| edit.word.clone()));
            }
            sure += usize::from(possible.len() == 1);
            let mut found = Vec::new();
            for word in edits.iter().filter_map(|edit| edit.word.clone()) {
                if known.words(&word).await.contains(&name) {
                    found.push(word);
                }
            }
            let is_right = match &*found {
                [] => possible.contains(&None),
                [word] => possible.contains(&Some(word.clone())),
                _ => false,
            };
            if !is_right {
                self.tell_difference(&[]).await;
            }
            assert!(
                is_right,
                "{name} has {found:?}, and not one of {possible:?}, seed={}\n{edits:#?}\n{dump:#?}",
                self.seed
            );
        }
        sure
    }
}
