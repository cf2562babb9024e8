//! Works on transfers: in their order, a few at once, and again those that
//! broke off.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use ginnel_link::link::Link;
use ginnel_proto::artifact::Artifact;
use ginnel_store::transfer::{Direction, Progress, State, Step, Transfer, TransferId};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::Sync;
use super::catalog::Catalog;
use super::failure::{Failure, Then};
use super::fetch::{Source, Way};
use super::pull::Pull;
use super::push::Push;
use super::schedule;

/// Models at once: one fills the link, the other what it leaves. What a user knows
/// waits for none of them, and for no schedule: devices are in step only with it.
const AT_ONCE: usize = 2;

/// How long a transfer waits after it broke off: at first, and at most. It
/// doubles.
const WAIT: Duration = Duration::from_secs(1);
const WAIT_MAX: Duration = Duration::from_secs(60);

/// How often the path's round trip is looked at while something travels.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What a transfer is told that may not travel now.
const CLOSED: &str = "it waits for the time in models.schedule";

/// How often a transfer begins anew before it is given up.
const ANEW_MAX: u32 = 3;

impl Sync {
    /// Works on transfers until `stop`.
    pub async fn run(&self, stop: CancellationToken) {
        if let Err(error) = self.store.requeue_transfers().await {
            warn!(%error, "cannot look for transfers that broke off");
        }
        let mut worker = Worker {
            sync: self.clone(),
            running: JoinSet::new(),
            stops: HashMap::new(),
            tasks: HashMap::new(),
            waits: HashMap::new(),
        };
        stop.run_until_cancelled(worker.run()).await;
        worker.running.shutdown().await;
    }
}

struct Worker {
    sync: Sync,
    running: JoinSet<(TransferId, Result<(), Failure>)>,
    /// How to stop those that run.
    stops: HashMap<TransferId, CancellationToken>,
    /// Which task works on which.
    tasks: HashMap<tokio::task::Id, TransferId>,
    /// Those that broke off.
    waits: HashMap<TransferId, Wait>,
}

/// What is known of a transfer that broke off. Forgotten with the process:
/// after a start all are tried at once.
#[derive(Debug, Clone, Copy)]
struct Wait {
    until: Instant,
    next: Duration,
    anew: u32,
}

impl Worker {
    async fn run(&mut self) {
        let mut link = self.sync.link.clone();
        let shared = Arc::clone(&self.sync.shared);
        loop {
            let mut changed = std::pin::pin!(shared.changed.notified());
            // From here on nothing is missed.
            changed.as_mut().enable();
            let next = match self.sync.transfers().await {
                Ok(transfers) => {
                    let opens = self.closed();
                    if opens.is_some() {
                        self.interrupt(&transfers).await;
                    }
                    let next = self.start(&transfers, opens.is_some());
                    [opens, next].into_iter().flatten().min()
                }
                Err(failure) => {
                    warn!(%failure, "transfers cannot be read");
                    Some(Instant::now() + WAIT_MAX)
                }
            };
            tokio::select! {
                Some(ended) = self.running.join_next() => match ended {
                    Ok((id, result)) => self.end(id, result).await,
                    Err(error) => self.lose(&error).await,
                },
                () = changed => {}
                Ok(()) = link.changed() => {
                    link.borrow_and_update();
                    self.waits.clear();
                }
                () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {}
            }
        }
    }

    /// When artifacts may travel again, if they may not now.
    fn closed(&self) -> Option<Instant> {
        let schedule = self.sync.shared.schedule?;
        let now = schedule::now();
        let closed = !schedule.allows(now);
        closed.then(|| Instant::now() + schedule.changes_in(now))
    }

    /// Stops all that run: they go on when artifacts may travel again. All that
    /// wait are told for what.
    async fn interrupt(&mut self, transfers: &[Transfer]) {
        for transfer in transfers.iter().filter(|it| !is_of_knowledge(it)) {
            let is_told = transfer.last_error.as_deref() == Some(CLOSED);
            let step = match transfer.state {
                State::Running => Some(Step::BreakOff(CLOSED.to_owned())),
                State::Queued if !is_told => Some(Step::Wait(CLOSED.to_owned())),
                State::Queued | State::Paused | State::Failed | State::Done => None,
            };
            if let (State::Running, Some(stop)) = (transfer.state, self.stops.get(&transfer.id)) {
                stop.cancel();
            }
            if let Some(step) = step
                && let Err(error) = self.sync.store.step_transfer(transfer.id, step).await
            {
                warn!(%error, transfer = %transfer.id, "cannot note why a transfer waits");
            }
        }
    }

    /// Stops those that should not run, and starts those that may: all but models
    /// where those are `closed`. Returns when the next one may that waits.
    fn start(&mut self, transfers: &[Transfer], closed: bool) -> Option<Instant> {
        for (id, stop) in &self.stops {
            let wanted = transfers
                .iter()
                .any(|it| it.id == *id && matches!(it.state, State::Running | State::Queued));
            if !wanted {
                stop.cancel();
            }
        }
        // Those that run have to be looked at again when they may not.
        let mut next = self.sync.shared.schedule.map(|schedule| {
            let now = schedule::now();
            Instant::now() + schedule.changes_in(now)
        });
        let Some(link) = self.sync.link.borrow().clone() else {
            return next;
        };
        let now = Instant::now();
        let models = transfers.iter().filter(|it| !is_of_knowledge(it));
        let mut models = models.filter(|it| self.stops.contains_key(&it.id)).count();
        for transfer in transfers {
            if transfer.state != State::Queued || self.stops.contains_key(&transfer.id) {
                continue;
            }
            let may_go = is_of_knowledge(transfer) || !closed && models < AT_ONCE;
            if !may_go {
                continue;
            }
            let until = self.waits.get(&transfer.id).map_or(now, |wait| wait.until);
            if until > now {
                next = Some(next.map_or(until, |next| next.min(until)));
                continue;
            }
            models += usize::from(!is_of_knowledge(transfer));
            let stop = CancellationToken::new();
            self.stops.insert(transfer.id, stop.clone());
            let (sync, link, transfer) = (self.sync.clone(), link.clone(), transfer.clone());
            let id = transfer.id;
            let task = self.running.spawn(Box::pin(async move {
                let id = transfer.id;
                let worked = stop.run_until_cancelled(sync.work(link, transfer)).await;
                (id, worked.unwrap_or(Ok(())))
            }));
            self.tasks.insert(task.id(), id);
        }
        next
    }

    /// A transfer's task panicked, which is our mistake: it is tried again
    /// later, as after any other break.
    async fn lose(&mut self, error: &JoinError) {
        let lost = self.tasks.remove(&error.id());
        warn!(%error, "a transfer ended without a word");
        if let Some(id) = lost {
            self.end(id, Err(Failure::retry("it broke off; the log says more")))
                .await;
        }
    }

    /// Notes how a transfer ended.
    async fn end(&mut self, id: TransferId, result: Result<(), Failure>) {
        self.stops.remove(&id);
        self.tasks.retain(|_, of| *of != id);
        let Err(failure) = result else {
            self.waits.remove(&id);
            self.sync.shared.changed.notify_waiters();
            return;
        };
        let known = self.waits.get(&id).copied();
        let mut wait = known.unwrap_or_else(|| Wait {
            until: Instant::now(),
            next: WAIT,
            anew: 0,
        });
        wait.until = Instant::now() + wait.next;
        wait.next = (wait.next * 2).min(WAIT_MAX);
        if failure.then == Then::Anew {
            wait.anew += 1;
        }
        let gives_up = failure.then == Then::Give || wait.anew > ANEW_MAX;
        let step = if gives_up {
            warn!(transfer = %id, %failure, "a transfer failed");
            self.waits.remove(&id);
            Step::Fail(failure.reason)
        } else {
            info!(transfer = %id, %failure, "a transfer broke off, and goes on later");
            self.waits.insert(id, wait);
            Step::BreakOff(failure.reason)
        };
        // One that was paused meanwhile stays so, and one may be forgotten.
        if let Ok(Some(_)) = self.sync.store.transfer(id).await
            && let Err(error) = self.sync.store.step_transfer(id, step).await
        {
            warn!(%error, transfer = %id, "cannot note how a transfer ended");
        }
        self.sync.shared.changed.notify_waiters();
    }
}

/// Whether it moves what a user knows; of that there is one at a time.
fn is_of_knowledge(transfer: &Transfer) -> bool {
    matches!(transfer.artifact, Artifact::Knowledge(_))
}

impl Sync {
    /// Works on one transfer until it is done, or breaks off.
    async fn work(&self, link: Link, transfer: Transfer) -> Result<(), Failure> {
        let _in_use = self.models.lease(&transfer.artifact);
        let transfer = self.store.step_transfer(transfer.id, Step::Start).await?;
        self.shared.changed.notify_waiters();
        let moved = async {
            match transfer.direction {
                Direction::Push => self.push_now(&link, transfer).await,
                Direction::Pull => self.pull_now(&link, &transfer).await,
            }
        };
        tokio::select! {
            moved = moved => moved,
            never = self.watch(&link) => match never {},
        }
    }

    /// Looks at the round trip for as long as it is polled.
    async fn watch(&self, link: &Link) -> std::convert::Infallible {
        loop {
            sleep(LOOK_EVERY).await;
            self.shared.pace.look(link.stats().rtt);
        }
    }

    async fn push_now(&self, link: &Link, transfer: Transfer) -> Result<(), Failure> {
        let id = transfer.id;
        let push = Push {
            store: &self.store,
            folder: self.models.blobs().await?,
            link,
            pace: &self.shared.pace,
            transfer,
        };
        match push.run().await {
            Ok(remote) => {
                // What was packed for the way needed no more than it took.
                let now = self.store.transfer(id).await?;
                if let Some(Progress { reused, .. }) = now.map(|now| now.progress) {
                    self.store.plan_transfer(id, 0, reused).await?;
                }
                let done = self.store.finish_push(id, remote).await?;
                info!(artifact = %done.artifact, sent = done.progress.sent, "pushed");
                Ok(())
            }
            Err(failure) => {
                if failure.then == Then::Anew {
                    self.store.forget_upload(id).await?;
                }
                Err(failure)
            }
        }
    }

    async fn pull_now(&self, link: &Link, transfer: &Transfer) -> Result<(), Failure> {
        let catalog = Catalog::new(link.clone());
        let version = catalog.version(&transfer.artifact).await?;
        if version.remote.blob != transfer.blob {
            return Err(Failure::give(format_args!(
                "another version was published meanwhile, name={}; hint: pull it",
                transfer.artifact
            )));
        }
        let shared = &self.shared;
        let what = (&transfer.artifact, &*version.remote.etag);
        // A bucket that gives no URLs need not be asked for each range.
        let way = match (shared.way, version.direct) {
            (Way::Auto, false) => Way::Tunnel,
            (way, _) => way,
        };
        let pull = Pull {
            store: &self.store,
            folder: self.models.blobs().await?,
            source: Source::new(link, &shared.web, &shared.pace, what, way),
            catalog,
            version: &version,
            transfer,
            over: shared.allowed(transfer.id),
        };
        pull.run().await?;
        // Counted by the relay; it is not worth pulling again for.
        if let Artifact::Lora(_) = &transfer.artifact
            && let Err(failure) = Catalog::new(link.clone())
                .done(&transfer.artifact, &version.remote.etag)
                .await
        {
            info!(%failure, "cannot tell the relay that an adapter arrived");
        }
        info!(artifact = %transfer.artifact, "pulled");
        Ok(())
    }
}
