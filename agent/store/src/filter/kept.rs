//! Answers of filters, kept and brought up to date by each commit.
//!
//! Asking SQLite for all passages that pass costs more than the search that
//! wants to know. Looking again at the few passages that a commit touched is
//! cheap.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};

use super::{Filter, Sql};
use crate::error::Result;
use crate::vector::passages::Passages;
use crate::write;

/// Filters whose answers are kept: a person or program uses few. At a million
/// passages each takes 125 KB.
const KEPT_MAX: usize = 32;

/// A commit that touches more passages than this makes all answers forgotten:
/// asking anew is no dearer.
const TOUCHED_MAX: usize = 2000;

/// Conditions that are looked at for one commit, each some 2 µs, while its
/// callers wait: beyond that all answers are forgotten.
const LOOKS_MAX: usize = 8192;

/// The answers of the filters that were used last.
#[derive(Debug, Default)]
pub(crate) struct Filters(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    /// The one used last at the end.
    answers: Vec<Answer>,
    /// The number of the last change that all of them know.
    known: i64,
}

#[derive(Debug)]
struct Answer {
    filter: Filter,
    passages: Arc<Passages>,
}

impl Filters {
    /// The live passages that pass.
    pub(crate) fn passages(
        &self,
        connection: &Connection,
        filter: &Filter,
    ) -> Result<Arc<Passages>> {
        if let Some(passages) = self.lock().find(filter) {
            return Ok(passages);
        }
        let seen = write::last_change(connection)?;
        let passages = Arc::new(filter.passages(connection)?);
        let mut kept = self.lock();
        // A commit may have come meanwhile that these do not know.
        if seen >= kept.known {
            kept.keep(filter.clone(), Arc::clone(&passages));
        }
        Ok(passages)
    }

    /// Looks again at the passages that the changes numbered `from` to `to`
    /// touch.
    pub(crate) fn follow(&self, connection: &Connection, from: i64, to: i64) -> Result<()> {
        let mut kept = self.lock();
        kept.known = kept.known.max(to);
        if kept.answers.is_empty() {
            return Ok(());
        }
        if !write::reaches_back(connection, from)? {
            kept.answers.clear();
            return Ok(());
        }
        let touched = touched(connection, from, to)?;
        let conditions = kept.answers.iter().map(|answer| answer.filter.parts());
        let looks = touched.len().saturating_mul(conditions.sum());
        if touched.len() > TOUCHED_MAX || looks > LOOKS_MAX {
            kept.answers.clear();
            return Ok(());
        }
        for answer in &mut kept.answers {
            answer.look_again(connection, &touched)?;
        }
        Ok(())
    }

    /// Forgets all answers.
    pub(crate) fn forget(&self) {
        self.lock().answers.clear();
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn find(&mut self, filter: &Filter) -> Option<Arc<Passages>> {
        let at = self
            .answers
            .iter()
            .position(|answer| answer.filter == *filter)?;
        let answer = self.answers.remove(at);
        let passages = Arc::clone(&answer.passages);
        self.answers.push(answer);
        Some(passages)
    }

    fn keep(&mut self, filter: Filter, passages: Arc<Passages>) {
        if self.answers.len() >= KEPT_MAX {
            self.answers.remove(0);
        }
        self.answers.push(Answer { filter, passages });
    }
}

impl Answer {
    fn look_again(&mut self, connection: &Connection, touched: &[i64]) -> Result<()> {
        let Sql { mut text, values } = self.filter.sql();
        let place = values.len() + 1;
        text.push_str(&format!(" AND live.rowid = ?{place}"));
        let mut passes = connection.prepare_cached(&text)?;
        // Searches that use the answer right now keep the one they have.
        let passages = Arc::make_mut(&mut self.passages);
        for passage in touched {
            let values = values.iter().cloned().chain([Value::Integer(*passage)]);
            if passes.exists(params_from_iter(values))? {
                passages.insert(*passage);
            } else {
                passages.remove(*passage);
            }
        }
        Ok(())
    }
}

/// Passages that changes 1 to 2 touch, at most 3.
pub(crate) const TOUCHED: &str = "
SELECT key FROM change WHERE seq BETWEEN ?1 AND ?2 AND \"table\" = 'passage'
UNION
SELECT passage.rowid FROM change
JOIN document ON document.rowid = change.key
JOIN passage ON passage.document_id = document.id
WHERE change.seq BETWEEN ?1 AND ?2 AND change.\"table\" = 'document'
LIMIT ?3";

fn touched(connection: &Connection, from: i64, to: i64) -> Result<Vec<i64>> {
    let mut touched = connection.prepare_cached(TOUCHED)?;
    let rows = touched.query_map((from, to, TOUCHED_MAX + 1), |row| row.get(0))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}
