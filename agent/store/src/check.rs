//! Looks for damage: in the file, in the rows, and in what is derived from
//! them. Writes go on meanwhile.

mod words;

use rusqlite::Connection;

use crate::embedding::from_bytes;
use crate::error::Result;
use crate::id::TextHash;
use crate::indexes::{Indexes, ModelIndex};
use crate::model;
use crate::rows::ModelRows;
use crate::vector::{Request, Rows};
use crate::write;

/// Findings that are listed; a file with more is not worth more.
const FINDINGS_MAX: usize = 100;

/// Entries of an index that are looked for in it.
const SAMPLE: usize = 100;

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What is damaged.
    pub part: Part,
    /// In words, with the row or page.
    pub what: String,
}

/// A part of a store, and with it what helps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The file itself: a backup helps.
    File,
    /// A row: storing its document again helps.
    Row,
    /// An index: rebuilding it helps.
    Index,
}

/// Everything that is wrong. `connection` must be one that has read nothing
/// yet: some of what FTS5 read for earlier queries it takes for true.
pub(crate) fn check(connection: &Connection, indexes: &Indexes) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    if let Err(error) = check_file(connection, &mut findings) {
        findings.push(Finding {
            part: Part::File,
            what: error.to_string(),
        });
    }
    if findings.is_empty() {
        check_passages(connection, &mut findings)?;
        check_vectors(connection, &mut findings)?;
        for index in indexes.all() {
            check_index(connection, &index, &mut findings)?;
        }
        let differs = words::compare(connection)?;
        findings.extend(differs.map(|reason| Finding {
            part: Part::Index,
            what: format!("full-text index differs from the passages, {reason}"),
        }));
    }
    findings.truncate(FINDINGS_MAX);
    Ok(findings)
}

fn check_file(connection: &Connection, findings: &mut Vec<Finding>) -> Result<()> {
    let mut check = connection.prepare(&format!("PRAGMA integrity_check({FINDINGS_MAX})"))?;
    let mut rows = check.query([])?;
    while let Some(row) = rows.next()? {
        let what: String = row.get(0)?;
        if what != "ok" {
            let part = Part::File;
            findings.push(Finding { part, what });
        }
    }
    Ok(())
}

fn check_passages(connection: &Connection, findings: &mut Vec<Finding>) -> Result<()> {
    let mut all = connection
        .prepare("SELECT rowid, text, text_hash FROM passage WHERE deleted = 0 ORDER BY rowid")?;
    let mut rows = all.query([])?;
    while let Some(row) = rows.next()? {
        let text = row.get_ref(1)?.as_str().unwrap_or_default();
        let hash: TextHash = row.get(2)?;
        if TextHash::of(text) != hash && findings.len() < FINDINGS_MAX {
            findings.push(Finding {
                part: Part::Row,
                what: format!(
                    "passage is not what its hash says, row={}",
                    row.get::<_, i64>(0)?
                ),
            });
        }
    }
    Ok(())
}

fn check_vectors(connection: &Connection, findings: &mut Vec<Finding>) -> Result<()> {
    let mut all = connection.prepare(
        "SELECT rowid, vector FROM embedding WHERE model = ?1 AND deleted = 0 ORDER BY rowid",
    )?;
    for model in model::list(connection)? {
        let mut vector = vec![0.0; model.dimensions];
        let mut rows = all.query([model.id])?;
        while let Some(row) = rows.next()? {
            let bytes = row.get_ref(1)?.as_blob().unwrap_or_default();
            let whole = from_bytes(bytes, &mut vector) && vector.iter().all(|v| v.is_finite());
            if !whole && findings.len() < FINDINGS_MAX {
                findings.push(Finding {
                    part: Part::Row,
                    what: format!("vector is damaged, row={}", row.get::<_, i64>(0)?),
                });
            }
        }
    }
    Ok(())
}

/// Whether an index has as many entries as there are, and finds some of them.
/// What it took in since `connection` began to read is no damage.
fn check_index(
    connection: &Connection,
    index: &ModelIndex,
    findings: &mut Vec<Finding>,
) -> Result<()> {
    if index.is_damaged() {
        findings.push(Finding {
            part: Part::Index,
            what: format!(
                "vector index was damaged and is being made anew, searches read every row until then, model={:?}",
                index.model.name
            ),
        });
    }
    if !index.is_live() || index.holds_nothing() {
        return Ok(());
    }
    if let Err(error) = index.verify() {
        findings.push(Finding {
            part: Part::Index,
            what: format!(
                "vector index is damaged and will be made anew, {error}, model={:?}",
                index.model.name
            ),
        });
        return Ok(());
    }
    let last = write::last_change(connection)?;
    let mut wrong = |what: String| {
        if index.applied() == last {
            findings.push(Finding {
                part: Part::Index,
                what: format!("{what}, model={:?}", index.model.name),
            });
        }
    };
    let rows = ModelRows {
        connection,
        model: &index.model,
    };
    let (mut there, mut sample) = (0_u64, Vec::new());
    let held = index.stats()?.entries;
    let every = (held / SAMPLE as u64).max(1);
    rows.entries(&mut |entry| {
        if there.is_multiple_of(every) && sample.len() < SAMPLE {
            sample.push((entry.passage, entry.vector.to_vec()));
        }
        there += 1;
        std::ops::ControlFlow::Continue(())
    })?;
    if there != held {
        wrong(format!(
            "vector index has another number of entries, rows={there}, entries={held}"
        ));
    }
    for (passage, vector) in sample {
        let request = Request {
            query: &vector,
            wanted: 1,
            filter: None,
        };
        let found = index.search(connection, request)?;
        let best = index.model.metric.score(&vector, &vector);
        let near = found
            .first()
            .is_some_and(|first| first.score >= best - best.abs() * 1e-3 - 1e-6);
        if !near {
            wrong(format!(
                "vector index does not find an entry by itself, passage={passage}"
            ));
        }
    }
    Ok(())
}
