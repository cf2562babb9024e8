//! How many files, sockets among them, the process may have open.
//!
//! Systems start a process with a low soft limit, for the sake of programs
//! that count files in a fixed table, and leave it to the process to raise it
//! as far as the hard one. Each daemon does so once, at its start.

/// Where the raising ends: more than the most connections that can be
/// configured. Some systems have no hard limit at all.
#[cfg(unix)]
const ENOUGH: u64 = 1 << 20;

/// What macOS accepts whatever its hard limit says.
#[cfg(unix)]
const MODEST: u64 = 10_240;

/// Raises the limit as far as the system allows, and returns it; `None` where
/// there is none.
#[cfg(unix)]
pub fn raise() -> Option<u64> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let before = getrlimit(Resource::Nofile);
    for most in [ENOUGH, MODEST] {
        let wanted = before.maximum.map_or(most, |hard| hard.min(most));
        if before.current.is_none_or(|soft| soft >= wanted) {
            break;
        }
        let raised = Rlimit {
            current: Some(wanted),
            maximum: before.maximum,
        };
        if setrlimit(Resource::Nofile, raised).is_ok() {
            break;
        }
    }
    // Asked again: some systems take a number and keep a lower one.
    getrlimit(Resource::Nofile).current
}

/// Windows has no such limit.
#[cfg(not(unix))]
pub fn raise() -> Option<u64> {
    None
}

#[cfg(all(test, unix))]
mod tests {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    use super::*;

    #[test]
    fn the_soft_limit_is_raised_to_the_hard_one() {
        let hard = getrlimit(Resource::Nofile).maximum;
        let low = Rlimit {
            current: Some(128),
            maximum: hard,
        };
        setrlimit(Resource::Nofile, low).expect("lowered");
        let raised = raise().expect("a limit");
        assert!(raised > 128, "{raised}");
        let most = hard.map_or(ENOUGH, |hard| hard.min(ENOUGH));
        if cfg!(target_os = "linux") {
            assert_eq!(raised, most);
        }
        assert_eq!(getrlimit(Resource::Nofile).current, Some(raised));
        assert_eq!(raise(), Some(raised), "once is enough");
    }
}
