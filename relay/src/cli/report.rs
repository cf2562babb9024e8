//! How an error looks to a person.
//!
//! ```text
//! error: cannot open the registry
//!   caused by: registry is busy
//! hint: …
//! ```
//!
//! An error may carry its hint at the end of its message, after `; hint: `.

use std::fmt::Write as _;
use std::io;

/// What stands between a message and its hint.
const HINT: &str = "; hint: ";

/// The lines that tell a person what went wrong and what to do.
#[must_use]
pub fn report(error: &anyhow::Error) -> String {
    let mut text = String::new();
    let mut hints: Vec<String> = Vec::new();
    let mut last = String::new();
    for cause in error.chain() {
        let message = cause.to_string();
        // Transparent errors say the same as their cause.
        if message == last {
            continue;
        }
        let shown = match message.split_once(HINT) {
            Some((before, hint)) if !message.contains('\n') => {
                hints.push(hint.to_owned());
                before.to_owned()
            }
            _ => message.replace(HINT, "\n    hint: "),
        };
        let label = if text.is_empty() {
            "error"
        } else {
            "  caused by"
        };
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{label}: {shown}");
        last = message;
    }
    for hint in hints {
        let _ = writeln!(text, "hint: {hint}");
    }
    text
}

/// Whether the reader of our output has gone.
#[must_use]
pub fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let cause = cause.downcast_ref::<io::Error>();
        cause.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    })
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    #[test]
    fn causes_follow_and_hints_come_last() {
        let error = anyhow!("no such file; hint: chmod 600 x").context("cannot open the registry");
        assert_eq!(
            report(&error),
            "error: cannot open the registry\n  caused by: no such file\nhint: chmod 600 x\n"
        );
    }

    #[test]
    fn what_is_said_twice_is_shown_once() {
        let error = anyhow!("the same").context("the same").context("first");
        assert_eq!(report(&error), "error: first\n  caused by: the same\n");
    }

    #[test]
    fn each_of_several_mistakes_keeps_its_hint() {
        let error = anyhow!("2 mistakes\n  a: wrong; hint: do x\n  b: wrong");
        assert_eq!(
            report(&error),
            "error: 2 mistakes\n  a: wrong\n    hint: do x\n  b: wrong\n"
        );
    }

    #[test]
    fn a_broken_pipe_is_known() {
        let broken = io::Error::from(io::ErrorKind::BrokenPipe);
        assert!(is_broken_pipe(&anyhow::Error::from(broken).context("x")));
        assert!(!is_broken_pipe(&anyhow!("broken pipe")));
    }
}
