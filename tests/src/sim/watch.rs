//! What must hold at every moment, looked at with every packet.
//!
//! * A link that a newer one has replaced ends: at once if it has no streams,
//!   else when they have ended or the relay has lost patience.
//! * A link that has ended leaves `Links` at once.
//! * An agent says that it is connected only once the relay has had that very
//!   link in `Links`.
//! * The number of tasks stays bounded.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ginnel_agent::status::LinkState;
use ginnel_proto::limits::IDLE_TIMEOUT;
use ginnel_relay::links::{Connected, RETIRE_TIMEOUT};

use super::device::Device;
use super::relay::RelayProcess;

/// Looks are at least this far apart: less than a packet takes, so nothing
/// that must hold when it arrives is missed.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// A link that has ended may stay in `Links`, and one without streams beside
/// its successor, until their tasks have run.
const ENDED_MAX: Duration = Duration::from_millis(100);

/// How long an agent may believe in a link whose relay is gone: what it sends
/// again keeps it waiting, at ever longer intervals.
const BELIEVED_MAX: Duration = IDLE_TIMEOUT.saturating_mul(3);

/// Broken rules reported of one world, at most.
const VIOLATIONS_MAX: usize = 20;

/// Looks, and remembers what it saw.
#[derive(Debug, Default)]
pub(super) struct Watch {
    violations: Mutex<Vec<String>>,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    looked_at: Option<Duration>,
    /// Which relay process it was, and since when.
    relay: usize,
    relay_since: Duration,
    /// Its links that have not ended.
    live: Vec<Arc<Connected>>,
    /// The numbers of all links it has ever had, and those before it whose
    /// links an agent may still believe in.
    known: BTreeSet<u64>,
    known_before: BTreeSet<u64>,
    /// When those were first seen that have ended and are in `Links`.
    ended: BTreeMap<u64, Duration>,
    /// When those were first seen that live on beside a newer one, with and
    /// without streams.
    replaced: BTreeMap<(u64, bool), Duration>,
    tasks_max: usize,
}

impl Watch {
    /// Notes that a rule is broken.
    pub(super) fn violation(&self, now: Duration, what: &str) {
        let mut violations = lock(&self.violations);
        if violations.len() < VIOLATIONS_MAX {
            violations.push(format!("{:.3} s: {what}", now.as_secs_f64()));
        }
    }

    /// What was broken so far.
    pub(super) fn violations(&self) -> Vec<String> {
        lock(&self.violations).clone()
    }

    /// The most tasks seen at once.
    pub(super) fn tasks_max(&self) -> usize {
        lock(&self.seen).tasks_max
    }

    /// Looks at everything, unless it just did.
    pub(super) fn look(
        &self,
        now: Duration,
        relay: Option<&RelayProcess>,
        devices: &[Arc<Device>],
    ) {
        let mut seen = lock(&self.seen);
        if seen.looked_at.is_some_and(|at| now < at + LOOK_EVERY) {
            return;
        }
        seen.looked_at = Some(now);
        let tasks = tokio::runtime::Handle::current()
            .metrics()
            .num_alive_tasks();
        seen.tasks_max = seen.tasks_max.max(tasks);
        if let Some(relay) = relay {
            self.look_at_relay(&mut seen, now, relay);
        }
        for device in devices {
            self.look_at_agent(&seen, now, device);
        }
    }

    /// Looks at a relay for the last time: its Welcome may be on its way to a
    /// device, with no packet since.
    pub(super) fn remember(&self, now: Duration, relay: &RelayProcess) {
        self.look_at_relay(&mut lock(&self.seen), now, relay);
    }

    fn look_at_relay(&self, seen: &mut Seen, now: Duration, relay: &RelayProcess) {
        if seen.relay != relay.number {
            // A relay may be so short-lived that a device noticed nothing.
            if now > seen.relay_since + BELIEVED_MAX {
                seen.known_before.clear();
            }
            let known = std::mem::take(&mut seen.known);
            seen.known_before.extend(known);
            seen.relay = relay.number;
            seen.relay_since = now;
            seen.live.clear();
            seen.ended.clear();
            seen.replaced.clear();
        }
        for link in relay.relay.links.all() {
            if link.link.close_reason().is_some() {
                let since = *seen.ended.entry(link.link_id).or_insert(now);
                if now > since + ENDED_MAX {
                    self.violation(now, &format!("{} ended and is in Links", link.id));
                }
            } else if seen.known.insert(link.link_id) {
                seen.live.push(link);
            }
        }
        // Ended links are let go, so that looking does not keep them.
        seen.live.retain(|link| link.link.close_reason().is_none());
        for link in &seen.live {
            let newest = relay.relay.links.get(&link.id.device);
            if newest.is_none_or(|newest| newest.link_id <= link.link_id) {
                continue;
            }
            let key = (link.link_id, link.link.streams() > 1);
            let since = *seen.replaced.entry(key).or_insert(now);
            let allowed = if key.1 {
                RETIRE_TIMEOUT
            } else {
                Duration::ZERO
            };
            if now > since + allowed + ENDED_MAX {
                self.violation(now, &format!("{} has two live links", link.id));
            }
        }
    }

    fn look_at_agent(&self, seen: &Seen, now: Duration, device: &Device) {
        let Some(status) = device.status() else {
            return;
        };
        if status.state != LinkState::Connected {
            return;
        }
        let Some(link_id) = status.link_id else {
            return self.violation(now, &format!("{} is connected by no link", device.name));
        };
        if !seen.known.contains(&link_id) && !seen.known_before.contains(&link_id) {
            self.violation(
                now,
                &format!("{} is connected before the relay", device.name),
            );
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
