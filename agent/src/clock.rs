//! Notices at once what a laptop does to a link: sleeping, waking, moving to
//! another network, having its clock set.
//!
//! [`Changes`] tells the task that keeps the link to look again now instead of
//! waiting for a timer. It says only that something may have changed, so what
//! it wakes must be cheap and harmless when nothing has.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::mpsc;

use crate::platform;

/// Sleeps shorter than this are not told: no timer has noticed them.
const SLEPT_MIN: Duration = Duration::from_secs(1);

/// Clock steps smaller than this are not told: certificates and logs do not
/// mind them.
const JUMP_MIN: Duration = Duration::from_secs(1);

/// Most changes that wait to be read in [`Changes::channel`].
const WAITING_MAX: usize = 16;

/// What happened to the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It was suspended and runs again.
    Woke {
        /// For how long it slept.
        slept: Duration,
    },
    /// An address, a route or a network interface came or went.
    AddressChanged,
    /// The wall clock was set.
    ClockJumped,
}

/// The changes of this machine, as they happen.
#[derive(Debug)]
pub struct Changes {
    source: Source,
}

#[derive(Debug)]
enum Source {
    Nothing,
    Channel(mpsc::Receiver<Change>),
    System(Box<platform::Watch>),
}

impl Changes {
    /// Watches this machine. Call it on a tokio runtime.
    #[must_use]
    pub fn watch() -> Self {
        Self {
            source: Source::System(Box::new(platform::Watch::start())),
        }
    }

    /// Nothing ever changes: for simulations.
    #[must_use]
    pub fn none() -> Self {
        Self {
            source: Source::Nothing,
        }
    }

    /// Changes that a test or a simulation makes up.
    #[must_use]
    pub fn channel() -> (mpsc::Sender<Change>, Self) {
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        let source = Source::Channel(receiver);
        (sender, Self { source })
    }

    /// Waits for the next change. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Change {
        let told = match &mut self.source {
            Source::Nothing => None,
            Source::Channel(receiver) => receiver.recv().await,
            Source::System(watch) => Some(watch.next().await),
        };
        match told {
            Some(change) => change,
            None => std::future::pending().await,
        }
    }
}

/// The wall clock, milliseconds since 1970. Not for measuring time.
#[must_use]
pub fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    u64::try_from(since.unwrap_or_default().as_millis()).unwrap_or(u64::MAX)
}

/// All clocks of the machine at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reading {
    /// Time of day, since 1970.
    pub(crate) wall: Duration,
    /// Time awake, since some moment.
    pub(crate) awake: Duration,
    /// Time awake or asleep, since some moment, where the system tells it.
    pub(crate) total: Option<Duration>,
}

impl Reading {
    /// What happened to the machine between two readings.
    ///
    /// Where the system does not tell sleep apart, a wall clock that ran ahead
    /// is taken for a sleep: the more frequent cause, with the same cure.
    pub(crate) fn change_since(&self, before: &Self) -> Option<Change> {
        let awake = self.awake.saturating_sub(before.awake);
        let wall = self.wall.saturating_sub(before.wall);
        let back = before.wall.saturating_sub(self.wall);
        let (Some(now), Some(then)) = (self.total, before.total) else {
            if wall.saturating_sub(awake) >= SLEPT_MIN {
                let slept = wall - awake;
                return Some(Change::Woke { slept });
            }
            let behind = back + awake.saturating_sub(wall);
            return (behind >= JUMP_MIN).then_some(Change::ClockJumped);
        };
        let total = now.saturating_sub(then);
        let slept = total.saturating_sub(awake);
        if slept >= SLEPT_MIN {
            return Some(Change::Woke { slept });
        }
        let off = back + wall.abs_diff(total);
        (off >= JUMP_MIN).then_some(Change::ClockJumped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Wall, awake and total of a machine long after its start.
    const BEFORE: (i64, i64, i64) = (1_700_000_000, 5_000, 9_000);

    #[test]
    fn clocks_that_agree_mean_nothing_happened() {
        for step in [0, 1, 60, 86_400] {
            assert_eq!(change(step, step, Some(step)), None);
            assert_eq!(change(step, step, None), None);
        }
    }

    #[test]
    fn sleep_is_time_that_only_the_total_clock_saw() {
        let slept = |seconds| {
            Some(Change::Woke {
                slept: Duration::from_secs(seconds),
            })
        };
        assert_eq!(change(3_605, 5, Some(3_605)), slept(3_600));
        assert_eq!(change(1, 0, Some(1)), slept(1));
        // Also if the wall clock is set on waking.
        assert_eq!(change(-500, 5, Some(3_605)), slept(3_600));
    }

    #[test]
    fn a_wall_clock_that_leaves_the_others_was_set() {
        for wall in [-86_400, -1, 4, 6, 3_605, 86_400_000] {
            assert_eq!(
                change(wall, 5, Some(5)),
                Some(Change::ClockJumped),
                "{wall}"
            );
        }
    }

    #[test]
    fn without_a_total_clock_ahead_is_sleep_and_behind_is_set() {
        let slept = Some(Change::Woke {
            slept: Duration::from_secs(3_600),
        });
        assert_eq!(change(3_605, 5, None), slept);
        assert_eq!(change(4, 5, None), Some(Change::ClockJumped));
        assert_eq!(change(-86_400, 5, None), Some(Change::ClockJumped));
    }

    #[test]
    fn small_differences_are_not_told() {
        let before = reading(BEFORE.0, BEFORE.1, Some(BEFORE.2));
        let shift = Duration::from_millis(999);
        let slept = Reading {
            total: before.total.map(|total| total + shift),
            wall: before.wall + shift,
            ..before
        };
        assert_eq!(slept.change_since(&before), None);
        let set = Reading {
            wall: before.wall + shift,
            ..before
        };
        assert_eq!(set.change_since(&before), None);
    }

    #[tokio::test(start_paused = true)]
    async fn made_up_changes_arrive_in_order() {
        let (sender, mut changes) = Changes::channel();
        let list = [Change::AddressChanged, Change::ClockJumped];
        for change in list {
            sender.send(change).await.expect("room");
        }
        assert_eq!([changes.next().await, changes.next().await], list);
        // When the test has no more, nothing ever changes.
        drop(sender);
        let wait = Duration::from_secs(86_400);
        tokio::time::timeout(wait, changes.next())
            .await
            .expect_err("silence");
        let mut none = Changes::none();
        tokio::time::timeout(wait, none.next())
            .await
            .expect_err("silence");
    }

    fn change(wall: i64, awake: i64, total: Option<i64>) -> Option<Change> {
        let before = reading(BEFORE.0, BEFORE.1, total.map(|_| BEFORE.2));
        let total = total.map(|step| BEFORE.2 + step);
        reading(BEFORE.0 + wall, BEFORE.1 + awake, total).change_since(&before)
    }

    fn reading(wall: i64, awake: i64, total: Option<i64>) -> Reading {
        let seconds = |count: i64| Duration::from_secs(count.try_into().expect("positive"));
        Reading {
            wall: seconds(wall),
            awake: seconds(awake),
            total: total.map(seconds),
        }
    }
}
