//! The limits a reader of PDFs takes on itself.

use std::process::ExitStatus;

#[cfg(unix)]
pub(super) use unix::{confine, is_out_of_time};

#[cfg(not(unix))]
pub(super) fn confine() {}

#[cfg(not(unix))]
pub(super) fn is_out_of_time(_: ExitStatus) -> bool {
    false
}

#[cfg(unix)]
mod unix {
    use std::os::unix::process::ExitStatusExt as _;

    use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};

    use super::ExitStatus;
    use crate::limits::{PDF_CPU_SECONDS_MAX, PDF_MEMORY_MAX};

    /// Limits memory and processor time; no files are written, nor the memory
    /// when it breaks down. A system that refuses one is left without it: the
    /// parent's limits hold.
    pub(crate) fn confine() {
        limit(Resource::As, PDF_MEMORY_MAX);
        limit(Resource::Cpu, PDF_CPU_SECONDS_MAX);
        limit(Resource::Fsize, 0);
        limit(Resource::Core, 0);
    }

    fn limit(resource: Resource, most: u64) {
        let already = getrlimit(resource).maximum.unwrap_or(u64::MAX);
        let most = Some(most.min(already));
        let limits = Rlimit {
            current: most,
            maximum: most,
        };
        let _ = setrlimit(resource, limits);
    }

    /// Whether the system ended it for its processor time: with both limits
    /// the same, it may be killed at once.
    pub(crate) fn is_out_of_time(status: ExitStatus) -> bool {
        let signals = [Signal::XCPU, Signal::KILL];
        let signal = status.signal();
        signals.iter().any(|by| signal == Some(by.as_raw()))
    }
}
