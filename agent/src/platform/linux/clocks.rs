//! Waking and clock steps, by a timer that never fires.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::io::Errno;
use rustix::time::{
    ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, clock_gettime,
    timerfd_create, timerfd_settime,
};
use tokio::io::unix::AsyncFd;

use crate::clock::{Change, Reading};

/// When the timer would fire, seconds since 1970: in the year 2242.
const NEVER: i64 = 1 << 33;

/// A timer on the wall clock that the kernel cancels when that clock is set,
/// which it also is after each sleep (`timerfd_create(2)`,
/// `TFD_TIMER_CANCEL_ON_SET`).
#[derive(Debug)]
pub(in crate::platform) struct Clocks {
    timer: AsyncFd<OwnedFd>,
    before: Reading,
}

impl Clocks {
    #[expect(
        deprecated,
        reason = "sound for an OwnedFd, and what replaces it is unsafe"
    )]
    pub(in crate::platform) fn start() -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Realtime, flags)?;
        let never = Itimerspec {
            it_interval: seconds(0),
            it_value: seconds(NEVER),
        };
        let flags = TimerfdTimerFlags::ABSTIME | TimerfdTimerFlags::CANCEL_ON_SET;
        timerfd_settime(&timer, flags, &never)?;
        Ok(Self {
            timer: AsyncFd::new(timer)?,
            before: read_clocks(),
        })
    }

    /// Cancel-safe: between the cancelled timer and the return nothing waits.
    pub(in crate::platform) async fn next(&mut self) -> Change {
        loop {
            let Ok(mut ready) = self.timer.readable().await else {
                // The runtime shuts down.
                return std::future::pending().await;
            };
            let read = ready.try_io(|timer| {
                let mut expirations = [0; 8];
                Ok(rustix::io::read(timer, &mut expirations)?)
            });
            let Ok(read) = read else {
                continue;
            };
            let set =
                read.is_err_and(|error| Errno::from_io_error(&error) == Some(Errno::CANCELED));
            let now = read_clocks();
            let change = now.change_since(&self.before);
            self.before = now;
            if let Some(change) = change.filter(|_| set) {
                return change;
            }
        }
    }
}

fn read_clocks() -> Reading {
    Reading {
        wall: to_duration(clock_gettime(ClockId::Realtime)),
        awake: to_duration(clock_gettime(ClockId::Monotonic)),
        total: Some(to_duration(clock_gettime(ClockId::Boottime))),
    }
}

fn to_duration(time: Timespec) -> Duration {
    Duration::try_from(time).unwrap_or_default()
}

fn seconds(count: i64) -> Timespec {
    Timespec {
        tv_sec: count,
        tv_nsec: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clocks_of_this_machine_agree() {
        let before = read_clocks();
        assert!(before.wall > Duration::from_secs(1_600_000_000));
        assert!(before.total >= Some(before.awake));
        assert_eq!(read_clocks().change_since(&before), None);
    }

    #[tokio::test]
    async fn the_timer_is_silent_while_nothing_happens() {
        let mut clocks = Clocks::start().expect("allowed");
        let wait = tokio::time::timeout(Duration::from_millis(50), clocks.next());
        wait.await.expect_err("nothing happened");
    }
}
