//! Which vector engine an index uses.

use std::fmt;
use std::str::FromStr;

/// A vector engine, as `store.vector_engine` names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Engine {
    /// Our own: codes of one bit a dimension in a mapped file.
    #[default]
    Scan,
    /// No index: every row is read. Slow, and right by definition.
    Exact,
    /// The extension `sqlite-vec`.
    SqliteVec,
    /// The extension `sqlite-vss`, on Faiss.
    SqliteVss,
}

impl Engine {
    /// All there are.
    pub const ALL: [Self; 4] = [Self::Scan, Self::Exact, Self::SqliteVec, Self::SqliteVss];

    /// Its name in settings and file names.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Scan => "scan",
            Self::Exact => "exact",
            Self::SqliteVec => "sqlite-vec",
            Self::SqliteVss => "sqlite-vss",
        }
    }
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Engine {
    type Err = UnknownEngine;

    fn from_str(name: &str) -> Result<Self, UnknownEngine> {
        let known = Self::ALL.into_iter().find(|engine| engine.name() == name);
        known.ok_or_else(|| UnknownEngine(name.chars().take(80).collect()))
    }
}

/// A name that is no engine's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown vector engine, it is one of scan, exact, sqlite-vec, sqlite-vss, found={0:?}")]
pub struct UnknownEngine(String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        for engine in Engine::ALL {
            assert_eq!(engine.name().parse(), Ok(engine));
        }
        let error = "faiss".parse::<Engine>().expect_err("not one");
        assert!(error.to_string().contains("faiss"), "{error}");
    }
}
