//! Environment variables, and what they say of a terminal.

use std::ffi::OsString;
use std::io::{self, IsTerminal as _};

/// Looks up an environment variable: [`std::env::var_os`], or a test's own.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// A variable's value; an empty one counts as none.
#[must_use]
pub fn set(environment: Environment<'_>, name: &str) -> Option<OsString> {
    environment(name).filter(|value| !value.is_empty())
}

/// Whether standard error is a terminal that shows colours and the person has
/// not asked for none (<https://no-color.org>).
#[must_use]
pub fn shows_colours(environment: Environment<'_>) -> bool {
    wants_colours(environment) && !cfg!(windows) && io::stderr().is_terminal()
}

fn wants_colours(environment: Environment<'_>) -> bool {
    let refused = set(environment, "NO_COLOR").is_some();
    let dumb = environment("TERM").is_none_or(|term| term == "dumb");
    !refused && !dumb
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_for_terminals_whose_person_wants_them() {
        for (no_color, term, wanted) in [
            (None, Some("xterm"), true),
            (Some(""), Some("xterm"), true),
            (Some("1"), Some("xterm"), false),
            (None, Some("dumb"), false),
            (None, None, false),
        ] {
            let environment = |name: &str| match name {
                "NO_COLOR" => no_color.map(OsString::from),
                "TERM" => term.map(OsString::from),
                _ => None,
            };
            assert_eq!(wants_colours(&environment), wanted, "{no_color:?} {term:?}");
        }
    }
}
