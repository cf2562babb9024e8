//! For how many callers there is room: each takes an open file, and some must
//! be left for everything else.
//!
//! Without that, whoever opens connections and says nothing would use them all
//! up, and `/health`, the registry and upstreams would fail with the callers.

use ginnel_daemon::open_files;
use tracing::warn;

use crate::admin;
use crate::config::Config;

/// What the process itself has open: the standard streams, the runtime's own,
/// the sockets it listens at, the registry with its log and its index, the
/// lock, and a file that is being read or written. About half as many in fact.
const OWN_FILES: usize = 32;

/// Connections to upstreams, if there are any. HTTP/2 carries many requests on
/// each; beyond it a request to an upstream may fail, and nothing else.
const UPSTREAM_CONNECTIONS: usize = 256;

/// How many callers may be connected at once: as many as configured, if the
/// system allows so many open files. Raises the process's limit.
pub(crate) fn for_callers(config: &Config) -> usize {
    let wanted = config.public.connections_max;
    let Some(limit) = open_files::raise() else {
        return wanted;
    };
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let reserve = reserve(config);
    let room = fitting(wanted, limit, reserve);
    if room < wanted {
        let needed = wanted.saturating_add(reserve);
        warn!(
            "not enough open files for all connections, so fewer are let in at once, \
             connections_max={wanted}, connections={room}, open_files={limit}; \
             hint: LimitNOFILE={needed} in the service's unit, or ulimit -n {needed} before the start"
        );
    }
    room
}

/// Open files that are not callers'. Callers of TCP ports are callers too.
fn reserve(config: &Config) -> usize {
    let upstreams = match config.upstreams.is_empty() {
        true => 0,
        false => UPSTREAM_CONNECTIONS,
    };
    OWN_FILES + admin::CONNECTIONS + config.tcp.len() + upstreams
}

/// With very few open files half of them are the callers', so that the relay
/// can be used at all.
fn fitting(wanted: usize, limit: usize, reserve: usize) -> usize {
    let room = limit.saturating_sub(reserve).max(limit / 2).max(1);
    wanted.min(room)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callers_get_what_is_left() {
        for (wanted, limit, reserve, room) in [
            (10_000, 524_288, 96, 10_000),
            (10_000, 10_096, 96, 10_000),
            (10_000, 10_095, 96, 9_999),
            (10_000, 1024, 352, 672),
            (8, 1024, 352, 8),
            (10_000, 256, 352, 128),
            (10_000, 1, 352, 1),
        ] {
            assert_eq!(fitting(wanted, limit, reserve), room, "{limit}");
        }
    }
}
