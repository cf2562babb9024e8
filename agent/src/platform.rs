//! What only the operating system can tell: that it slept, and that its
//! addresses changed.
//!
//! Linux tells both without polling. Elsewhere, and where Linux does not allow
//! it, `portable` looks every few seconds.

#[cfg(target_os = "linux")]
mod linux;
mod portable;

use std::time::Duration;

use tokio::time::Instant;

use crate::clock::Change;

/// A change of network comes as a burst of events; this much silence ends it.
const QUIET: Duration = Duration::from_millis(200);

/// A burst is told after this long even if it goes on.
const BURST_MAX: Duration = Duration::from_secs(2);

/// Watches the clocks and the addresses of this machine.
#[derive(Debug)]
pub(crate) struct Watch {
    clocks: Clocks,
    addresses: Addresses,
    burst: Burst,
}

#[derive(Debug)]
enum Clocks {
    #[cfg(target_os = "linux")]
    Told(linux::clocks::Clocks),
    Polled(portable::Clocks),
}

#[derive(Debug)]
enum Addresses {
    #[cfg(target_os = "linux")]
    Told(linux::addresses::Addresses),
    Polled(portable::Addresses),
}

impl Watch {
    /// Starts to watch, in the best way that this system allows.
    pub(crate) fn start() -> Self {
        Self {
            clocks: Clocks::start(),
            addresses: Addresses::start(),
            burst: Burst::default(),
        }
    }

    /// Waits for the next change. Cancel-safe: what was seen is kept.
    pub(crate) async fn next(&mut self) -> Change {
        loop {
            let quiet = self.burst.ends();
            let quiet = async move {
                match quiet {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                change = self.clocks.next() => return change,
                () = self.addresses.changed() => self.burst.add(Instant::now()),
                () = quiet => {
                    self.burst = Burst::default();
                    return Change::AddressChanged;
                }
            }
        }
    }
}

impl Clocks {
    #[cfg(target_os = "linux")]
    fn start() -> Self {
        match linux::clocks::Clocks::start() {
            Ok(clocks) => Self::Told(clocks),
            Err(error) => {
                tracing::debug!(%error, "clock changes are polled");
                Self::Polled(portable::Clocks::start())
            }
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn start() -> Self {
        Self::Polled(portable::Clocks::start())
    }

    async fn next(&mut self) -> Change {
        match self {
            #[cfg(target_os = "linux")]
            Self::Told(clocks) => clocks.next().await,
            Self::Polled(clocks) => clocks.next().await,
        }
    }
}

impl Addresses {
    #[cfg(target_os = "linux")]
    fn start() -> Self {
        match linux::addresses::Addresses::start() {
            Ok(addresses) => Self::Told(addresses),
            Err(error) => {
                tracing::debug!(%error, "address changes are polled");
                Self::Polled(portable::Addresses::start())
            }
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn start() -> Self {
        Self::Polled(portable::Addresses::start())
    }

    async fn changed(&mut self) {
        match self {
            #[cfg(target_os = "linux")]
            Self::Told(addresses) => addresses.changed().await,
            Self::Polled(addresses) => addresses.changed().await,
        }
    }
}

/// Address events close together, told as one change.
#[derive(Debug, Default)]
struct Burst {
    /// The first and the newest event.
    span: Option<(Instant, Instant)>,
}

impl Burst {
    fn add(&mut self, now: Instant) {
        let first = self.span.map_or(now, |(first, _)| first);
        self.span = Some((first, now));
    }

    /// When to tell; `None` while there is nothing to.
    fn ends(&self) -> Option<Instant> {
        let (first, newest) = self.span?;
        Some((newest + QUIET).min(first + BURST_MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_burst_ends_with_silence_or_at_its_limit() {
        let start = Instant::now();
        let mut burst = Burst::default();
        assert_eq!(burst.ends(), None);
        for (at, ends) in [
            (0, 200),
            (150, 350),
            (340, 540),
            (1_900, 2_000),
            (5_000, 2_000),
        ] {
            burst.add(start + Duration::from_millis(at));
            assert_eq!(
                burst.ends(),
                Some(start + Duration::from_millis(ends)),
                "{at}"
            );
        }
    }
}
