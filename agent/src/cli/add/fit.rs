//! Which flags and paths of `ginnel add` do not fit together: none of them is
//! passed over in silence.

use super::Add;
use super::stdin::is_stdin;

impl Add {
    /// Whether all that was asked for can be done together.
    ///
    /// # Errors
    /// What does not fit, for a person.
    pub fn check(&self) -> Result<(), String> {
        let stdin = self.paths.iter().filter(|path| is_stdin(path)).count();
        let (has_stdin, only_stdin) = (stdin > 0, stdin == self.paths.len());
        if stdin > 1 {
            return Err("the standard input (-) is read once".to_owned());
        }
        if let Some(empty) = self.paths.iter().find(|path| path.as_os_str().is_empty()) {
            return Err(format!("a path is empty, path={empty:?}"));
        }
        if self.name.as_deref() == Some("") {
            return Err("--as needs a name, and this one is empty".to_owned());
        }
        if self.name.is_some() && self.paths.len() > 1 {
            return Err("--as names one path: of several, each would take the other's documents for its own".to_owned());
        }
        for (flag, is_given) in [
            ("--title", self.title.is_some()),
            ("--format", self.format.is_some()),
        ] {
            if is_given && !has_stdin {
                return Err(format!(
                    "{flag} is for a text from the standard input (-); files say themselves what they are"
                ));
            }
        }
        for (flag, is_given) in [
            ("--watch", self.watch),
            ("--vectors", self.vectors.is_some()),
        ] {
            if is_given && has_stdin {
                return Err(format!("{flag} does not go with the standard input (-)"));
            }
        }
        for (flag, is_given) in [
            ("--hidden", self.hidden),
            ("--ignored", self.ignored),
            ("--follow-links", self.follow_links),
        ] {
            if is_given && only_stdin {
                return Err(format!(
                    "{flag} is for folders, not for the standard input (-)"
                ));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use crate::cli::Cli;

    /// The reason why a line is refused.
    fn refused(line: &str) -> Option<String> {
        let words = ["ginnel", "add"].into_iter().chain(line.split(' '));
        let cli = Cli::try_parse_from(words).expect(line);
        let error = cli.check().err()?;
        assert_eq!(error.exit_code(), 2);
        Some(error.to_string())
    }

    #[test]
    fn what_does_not_fit_together_is_refused_with_a_reason() {
        for (line, says) in [
            ("- -", "is read once"),
            (
                "a --title T",
                "--title is for a text from the standard input",
            ),
            ("a b --format html", "--format is for a text"),
            ("- --watch", "--watch does not go with"),
            ("a - --watch", "--watch does not go with"),
            ("- --vectors m", "--vectors does not go with"),
            ("- --hidden", "--hidden is for folders"),
            ("- --ignored", "--ignored is for folders"),
            ("- --follow-links", "--follow-links is for folders"),
            ("a b --as n", "--as names one path"),
            ("a - --as n", "--as names one path"),
            ("a --watch --as=", "--as needs a name"),
            ("a --as=", "--as needs a name"),
        ] {
            let reason = refused(line).unwrap_or_default();
            assert!(reason.contains(says), "{line}: {reason}");
            assert!(reason.contains("Usage: ginnel add "), "{line}: {reason}");
        }
        for line in [
            "-",
            "- --title T --format markdown --as n --no-wait",
            "a - --title T",
            "a - --hidden",
            "a b --watch --hidden --ignored --follow-links",
            "a.jsonl --vectors m --as n",
        ] {
            assert_eq!(refused(line), None, "{line}");
        }
    }
}
