//! Everything wrong with a person's settings, said at once.

use std::fmt;

/// What is wrong, one line for each mistake. As an error it is never empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mistakes {
    lines: Vec<String>,
}

impl Mistakes {
    /// Adds one mistake: where it is, and what is wrong there.
    pub fn add(&mut self, place: impl fmt::Display, what: impl fmt::Display) {
        self.lines.push(format!("{place}: {what}"));
    }

    /// Takes over the mistakes of a part, which is at `place`.
    pub fn add_all(&mut self, place: impl fmt::Display, of: Self) {
        let lines = of.lines.into_iter();
        self.lines
            .extend(lines.map(|line| format!("{place}: {line}")));
    }

    /// Whether nothing is wrong so far.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// The value, if nothing was wrong with it.
    ///
    /// # Errors
    /// The mistakes, if there are any.
    pub fn or<T>(self, value: T) -> Result<T, Self> {
        if self.is_empty() {
            return Ok(value);
        }
        Err(self)
    }

    /// One line for each mistake.
    #[must_use]
    pub fn lines(&self) -> &[String] {
        &self.lines
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let [line] = self.lines.as_slice() {
            return f.write_str(line);
        }
        write!(f, "{} mistakes", self.lines.len())?;
        for line in &self.lines {
            write!(f, "\n  {line}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Mistakes {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_mistake_is_a_line_and_more_are_a_list() {
        let mut mistakes = Mistakes::default();
        mistakes.add("a", "is wrong");
        assert_eq!(mistakes.to_string(), "a: is wrong");
        mistakes.add("b", "too");
        assert_eq!(mistakes.to_string(), "2 mistakes\n  a: is wrong\n  b: too");
        assert_eq!(Mistakes::default().or(7), Ok(7));
        assert!(mistakes.or(7).is_err());
    }
}
