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
use std::io::{self, IsTerminal as _};

use clap::builder::styling::{AnsiColor, Style as Ansi};

use crate::config::Environment;

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
        let refused = environment("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = environment("TERM").is_none_or(|term| term == "dumb");
        if refused || dumb || cfg!(windows) || !io::stderr().is_terminal() {
            return Self::plain();
        }
        Self::coloured()
    }
}

/// The error, its causes and what to do, one a line.
#[must_use]
pub fn render(error: &anyhow::Error, style: Style) -> String {
    let mut hints: Vec<String> = Vec::new();
    let mut text = String::new();
    let mut told = String::new();
    for (depth, cause) in error.chain().enumerate() {
        let message = take_hints(&cause.to_string(), &mut hints);
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

/// The message without its hints, which go to the list, each once.
pub(super) fn take_hints(message: &str, hints: &mut Vec<String>) -> String {
    let lines = message.lines().map(|line| {
        let Some((line, hint)) = line.split_once("; hint: ") else {
            return line;
        };
        if !hints.iter().any(|known| known == hint) {
            hints.push(hint.to_owned());
        }
        line
    });
    lines.collect::<Vec<_>>().join("\n")
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
        let list = anyhow!("2 mistakes\n  a: x; hint: same\n  b: y; hint: same");
        assert_eq!(
            render(&list, Style::plain()),
            "error: 2 mistakes\n  a: x\n  b: y\nhint: same\n"
        );
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
