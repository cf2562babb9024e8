//! How an error is told to a person.
//!
//! ```text
//! error: cannot lock the state folder, state=/home/alice/.local/state/ginnel
//!   caused by: Permission denied (os error 13)
//! hint: …
//! ```
//!
//! Hints come from the errors' own texts, where they follow `; hint: `.

use std::fmt::Write as _;
use std::io;

use anstyle::{AnsiColor, Style as Ansi};

use crate::environment::{Environment, shows_colours};

/// What stands between a message and its hint.
const HINT: &str = "; hint: ";

/// How the first words of a line look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Style {
    error: Ansi,
    hint: Ansi,
}

impl Style {
    /// No colours.
    #[must_use]
    pub fn plain() -> Self {
        Self::default()
    }

    /// Colours, for a terminal that shows them.
    #[must_use]
    pub fn coloured() -> Self {
        Self {
            error: AnsiColor::Red.on_default().bold(),
            hint: AnsiColor::Cyan.on_default().bold(),
        }
    }

    /// Colours if standard error is a terminal that shows them and the person
    /// has not asked for none (<https://no-color.org>).
    #[must_use]
    pub fn of_stderr(environment: Environment<'_>) -> Self {
        if shows_colours(environment) {
            return Self::coloured();
        }
        Self::plain()
    }
}

/// The error, its causes and what to do, one a line. In an error of several
/// lines each line keeps its own hint.
#[must_use]
pub fn render(error: &anyhow::Error, style: Style) -> String {
    let mut hints: Vec<String> = Vec::new();
    let mut text = String::new();
    let mut told = String::new();
    for (depth, cause) in error.chain().enumerate() {
        let message = cause.to_string();
        let message = match message.contains('\n') {
            true => message.replace(HINT, &format!("\n    {0}hint:{0:#} ", style.hint)),
            false => take_hints(&message, &mut hints),
        };
        // An error that passes another one on says nothing new.
        if message == told {
            continue;
        }
        // Writing to a String cannot fail.
        let _ = match depth {
            0 => writeln!(text, "{0}error:{0:#} {message}", style.error),
            _ => writeln!(text, "  caused by: {message}"),
        };
        told = message;
    }
    for hint in hints {
        let _ = writeln!(text, "{0}hint:{0:#} {hint}", style.hint);
    }
    text
}

/// The message without its hint, which goes to the list unless it is there.
pub fn take_hints(message: &str, hints: &mut Vec<String>) -> String {
    let Some((message, hint)) = message.split_once(HINT) else {
        return message.to_owned();
    };
    if !hints.iter().any(|known| known == hint) {
        hints.push(hint.to_owned());
    }
    message.to_owned()
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
    use super::*;
    use anyhow::anyhow;

    #[test]
    fn causes_follow_and_hints_come_last() {
        let error = anyhow!("disk is full; hint: make room")
            .context("cannot write")
            .context("cannot share; hint: try again");
        assert_eq!(
            render(&error, Style::plain()),
            "error: cannot share\n  caused by: cannot write\n  caused by: disk is full\n\
             hint: try again\nhint: make room\n"
        );
    }

    #[test]
    fn nothing_is_said_twice() {
        let error = anyhow!("inner; hint: same").context("inner; hint: same");
        assert_eq!(render(&error, Style::plain()), "error: inner\nhint: same\n");
    }

    #[test]
    fn each_of_several_mistakes_keeps_its_hint() {
        let error = anyhow!("2 mistakes\n  a: wrong; hint: do x\n  b: wrong");
        assert_eq!(
            render(&error, Style::plain()),
            "error: 2 mistakes\n  a: wrong\n    hint: do x\n  b: wrong\n"
        );
    }

    #[test]
    fn a_broken_pipe_is_known() {
        let broken = io::Error::from(io::ErrorKind::BrokenPipe);
        assert!(is_broken_pipe(&anyhow::Error::from(broken).context("x")));
        assert!(!is_broken_pipe(&anyhow!("broken pipe")));
    }

    #[test]
    fn colour_adds_nothing_to_read() {
        let error = anyhow!("wrong; hint: right");
        let coloured = render(&error, Style::coloured());
        assert!(coloured.contains("\u{1b}["), "{coloured:?}");
        let mut bare = String::new();
        let mut rest = coloured.as_str();
        while let Some((before, after)) = rest.split_once('\u{1b}') {
            bare += before;
            rest = after.split_once('m').expect("an end").1;
        }
        bare += rest;
        assert_eq!(bare, render(&error, Style::plain()));
    }
}
