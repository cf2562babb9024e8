//! Relays that share a bucket and nothing else, and what lies between them and
//! devices.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use ginnel_agent::heard::Heard;
use ginnel_agent::knowledge::sync::relay::Exchange;
use ginnel_agent::sync::failure::Failure;
use ginnel_proto::control::News;
use ginnel_proto::id::DeviceName;
use ginnel_proto::sync::batch::{BatchPlace, decode};
use ginnel_proto::sync::head::Head;
use ginnel_proto::sync::horizon::Word;
use ginnel_proto::sync::lease::Lease;
use ginnel_proto::sync::manifest::{FIRST_EPOCH, Manifest};
use http::{Method, Request, Response, StatusCode};
use serde_json::json;
use tokio::time::{Instant, sleep};
use tokio_util::task::TaskTracker;

use crate::sim::dice::Dice;

/// When the simulation begins by the relays' clock, milliseconds since 1970.
pub const BEGIN_MS: u64 = 1_790_000_000_000;

/// How many relays there are.
pub const RELAYS: usize = 3;

/// The cloud. Clones are the same.
#[derive(Debug, Clone)]
pub struct Cloud {
    state: Arc<Mutex<State>>,
    began: Instant,
    /// What comes late, or twice.
    late: TaskTracker,
}

#[derive(Debug)]
struct State {
    dice: Dice,
    /// Batches, by device and sequence.
    log: BTreeMap<(DeviceName, u64), Bytes>,
    head: Head,
    words: BTreeMap<DeviceName, Word>,
    lease: Option<Lease>,
    relays: [RelayState; RELAYS],
    /// Who is linked to which relay.
    links: BTreeMap<DeviceName, (usize, Heard)>,
    /// No faults any more.
    calm: bool,
    counts: Counts,
}

#[derive(Debug, Clone, Copy, Default)]
struct RelayState {
    is_down: bool,
    /// Which life it is: what it had not written is lost with it.
    life: u64,
}

/// What went wrong, so that nobody takes a quiet day for a hard one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests that never arrived.
    pub lost: u64,
    /// Answers that were lost: what was asked was done.
    pub unanswered: u64,
    /// Requests that arrived a second time, later.
    pub repeated: u64,
    /// Answers 429 and 503.
    pub refused: u64,
    /// Writes that were lost after they were answered.
    pub forgotten: u64,
    /// Requests that were answered.
    pub answered: u64,
}

impl Cloud {
    /// Empty, with all relays up.
    #[must_use]
    pub fn new(dice: Dice) -> Self {
        let state = State {
            dice,
            log: BTreeMap::new(),
            head: Head::default(),
            words: BTreeMap::new(),
            lease: None,
            relays: [RelayState::default(); RELAYS],
            links: BTreeMap::new(),
            calm: false,
            counts: Counts::default(),
        };
        Self {
            state: Arc::new(Mutex::new(state)),
            began: Instant::now(),
            late: TaskTracker::new(),
        }
    }

    /// The relays' clock, milliseconds since 1970.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        let since = self.began.elapsed().as_millis();
        BEGIN_MS + u64::try_from(since).unwrap_or(u64::MAX)
    }

    /// What went wrong so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.lock().counts
    }

    /// From here on nothing fails, and all relays are up.
    pub fn calm_down(&self) {
        let mut state = self.lock();
        state.calm = true;
        for relay in &mut state.relays {
            relay.is_down = false;
        }
    }

    /// A relay dies, or is there again.
    pub fn set_down(&self, relay: usize, is_down: bool) {
        let mut state = self.lock();
        let relay = &mut state.relays[relay];
        relay.is_down = is_down;
        relay.life += 1;
    }

    /// The bucket loses the newest write of a device.
    pub fn forget_newest(&self, device: &DeviceName) {
        let mut state = self.lock();
        let newest = state.log.keys().rfind(|(of, _)| of == device).cloned();
        if let Some(newest) = newest {
            state.log.remove(&newest);
            state.counts.forgotten += 1;
        }
    }

    /// Links a device to a relay, if that is up.
    #[must_use]
    pub fn link(&self, device: &DeviceName, relay: usize, heard: &Heard) -> Option<Wire> {
        let mut state = self.lock();
        if state.relays[relay].is_down {
            return None;
        }
        state.links.insert(device.clone(), (relay, heard.clone()));
        let life = state.relays[relay].life;
        let dice = state.dice.fork();
        Some(Wire {
            cloud: self.clone(),
            device: device.clone(),
            relay,
            life,
            dice: Arc::new(Mutex::new(dice)),
        })
    }

    /// What the bucket has, in words.
    #[must_use]
    pub fn describe(&self) -> Vec<String> {
        let state = self.lock();
        let log = state.log.iter().map(|((device, sequence), bytes)| {
            let place = BatchPlace {
                user: "ada".parse().expect("a name"),
                epoch: FIRST_EPOCH,
                device: device.clone(),
                sequence: *sequence,
            };
            let rows = decode(bytes, &place).map(|batch| batch.rows.documents);
            let rows = rows.unwrap_or_default().into_iter().map(|row| {
                let state = row.state.map(|state| state.source.unwrap_or_default());
                let what = state.unwrap_or_else(|| "deleted".to_owned());
                format!(
                    "{:02x}{:02x} at {:?}: {what}",
                    row.id[0], row.id[1], row.hlc
                )
            });
            format!("{device} {sequence}: {:?}", rows.collect::<Vec<_>>())
        });
        log.collect()
    }

    /// Cuts a device off.
    pub fn cut(&self, device: &DeviceName) {
        self.lock().links.remove(device);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The link of a device to a relay.
#[derive(Debug, Clone)]
pub struct Wire {
    cloud: Cloud,
    device: DeviceName,
    relay: usize,
    life: u64,
    dice: Arc<Mutex<Dice>>,
}

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Answered,
    Lost,
    Unanswered,
    Repeated,
    Refused,
}

impl Exchange for Wire {
    fn exchange(
        &self,
        request: Request<Option<Bytes>>,
        _most: usize,
    ) -> BoxFuture<'_, Result<Response<Bytes>, Failure>> {
        Box::pin(async move {
            let fate = self.fate();
            sleep(self.delay(40)).await;
            if fate == Fate::Lost {
                return Err(Failure::retry("the request was lost"));
            }
            if fate == Fate::Refused {
                return Ok(answer(StatusCode::SERVICE_UNAVAILABLE, Bytes::new()));
            }
            self.is_up()?;
            let answered = self.carry_out(&request);
            if fate == Fate::Repeated {
                let (again, later) = (self.clone(), self.delay(20_000));
                self.cloud.late.spawn(async move {
                    sleep(later).await;
                    if again.is_up().is_ok() {
                        again.carry_out(&request);
                    }
                });
            }
            sleep(self.delay(40)).await;
            self.is_up()?;
            if fate == Fate::Unanswered {
                return Err(Failure::retry("the answer was lost"));
            }
            self.cloud.lock().counts.answered += 1;
            Ok(answered)
        })
    }
}

impl Wire {
    fn fate(&self) -> Fate {
        let thrown = self.dice().below(100);
        let mut state = self.cloud.lock();
        if state.calm {
            return Fate::Answered;
        }
        let counts = &mut state.counts;
        let (fate, count) = match thrown {
            0..4 => (Fate::Lost, &mut counts.lost),
            4..10 => (Fate::Unanswered, &mut counts.unanswered),
            10..15 => (Fate::Repeated, &mut counts.repeated),
            15..19 => (Fate::Refused, &mut counts.refused),
            _ => return Fate::Answered,
        };
        *count += 1;
        fate
    }

    /// Some time up to `most` milliseconds: requests overtake one another.
    fn delay(&self, most: u64) -> Duration {
        Duration::from_millis(1 + self.dice().below(most))
    }

    fn dice(&self) -> MutexGuard<'_, Dice> {
        self.dice.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_up(&self) -> Result<(), Failure> {
        let state = self.cloud.lock();
        let relay = state.relays[self.relay];
        let linked = state.links.get(&self.device);
        let is_mine = linked.is_some_and(|(relay, _)| *relay == self.relay);
        match is_mine && !relay.is_down && relay.life == self.life {
            true => Ok(()),
            false => Err(Failure::retry("the link is cut")),
        }
    }

    fn carry_out(&self, request: &Request<Option<Bytes>>) -> Response<Bytes> {
        let path = request.uri().path().trim_start_matches('/');
        let steps: Vec<&str> = path.split('/').collect();
        let body = request.body().clone().unwrap_or_default();
        let now_ms = self.cloud.now_ms();
        let mut state = self.cloud.lock();
        match (request.method(), &*steps) {
            (&Method::GET, ["head"]) => of_json(&json!(state.head)),
            (&Method::POST, ["logs"]) => {
                let known: BTreeMap<DeviceName, u64> =
                    serde_json::from_slice(&body).expect("a question");
                let mut logs: BTreeMap<DeviceName, Vec<u64>> = BTreeMap::new();
                for (device, sequence) in state.log.keys() {
                    if *sequence > known.get(device).copied().unwrap_or_default() {
                        logs.entry(device.clone()).or_default().push(*sequence);
                    }
                }
                of_json(&json!({ "epoch": FIRST_EPOCH, "logs": logs }))
            }
            (&Method::GET, ["log", _, device, sequence]) => {
                let key = (name(device), sequence.parse().expect("a number"));
                match state.log.get(&key) {
                    Some(batch) => answer(StatusCode::OK, batch.clone()),
                    None => answer(StatusCode::NOT_FOUND, Bytes::new()),
                }
            }
            (&Method::PUT, ["log", _, sequence]) => {
                let sequence = sequence.parse().expect("a number");
                let key = (self.device.clone(), sequence);
                let status = match state.log.contains_key(&key) {
                    true => StatusCode::PRECONDITION_FAILED,
                    false => {
                        state.log.insert(key, body);
                        StatusCode::CREATED
                    }
                };
                drop(state);
                self.tell(sequence);
                answer(status, Bytes::new())
            }
            (&Method::PUT, ["word"]) => {
                let mut word: Word = serde_json::from_slice(&body).expect("a word");
                word.unix_ms = now_ms;
                state.words.insert(self.device.clone(), word);
                answer(StatusCode::CREATED, Bytes::new())
            }
            (&Method::GET, ["words"]) => {
                of_json(&json!({ "unix_ms": now_ms, "words": state.words }))
            }
            (&Method::GET, ["manifest"]) => of_json(&json!(Manifest::first())),
            (&Method::POST, ["lease", _]) => {
                let first = Manifest::first();
                match Lease::take(state.lease.as_ref(), &self.device, &first, now_ms) {
                    Ok(lease) => {
                        let said = of_json(&json!(lease));
                        state.lease = Some(lease);
                        said
                    }
                    Err(_) => answer(StatusCode::SERVICE_UNAVAILABLE, Bytes::new()),
                }
            }
            (method, _) => panic!("nobody asks {method} {path}"),
        }
    }

    /// The relay tells the devices that are linked to it, and soon writes a head,
    /// unless it dies before. News get lost, come late, and come twice.
    fn tell(&self, sequence: u64) {
        let news = News {
            device: self.device.clone(),
            epoch: FIRST_EPOCH,
            sequence,
        };
        let others: Vec<Heard> = {
            let state = self.cloud.lock();
            let others = state.links.iter();
            let others = others
                .filter(|(device, (relay, _))| **device != self.device && *relay == self.relay);
            others.map(|(_, (_, heard))| heard.clone()).collect()
        };
        for heard in others {
            let times = self.dice().below(3);
            for _ in 0..times {
                let (heard, news, late) = (heard.clone(), news.clone(), self.delay(500));
                self.cloud.late.spawn(async move {
                    sleep(late).await;
                    heard.news(news);
                });
            }
        }
        let (wire, head) = (
            self.clone(),
            Head::of(FIRST_EPOCH, self.device.clone(), sequence),
        );
        self.cloud.late.spawn(async move {
            sleep(Duration::from_secs(2)).await;
            let mut state = wire.cloud.lock();
            if state.relays[wire.relay].life == wire.life {
                state.head.merge(&head);
            }
        });
    }
}

fn name(name: &str) -> DeviceName {
    name.parse().expect("a name")
}

fn of_json(value: &serde_json::Value) -> Response<Bytes> {
    answer(StatusCode::OK, value.to_string().into())
}

fn answer(status: StatusCode, body: Bytes) -> Response<Bytes> {
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    answer
}
