//! Rows that are not here yet, of a large batch: written without triggers, and what
//! those would do is done here.
//!
//! A statement with a trigger may fail half-way, so SQLite keeps each page that it
//! changes as it was before. With ids that follow no order those are several pages
//! for each row, and that takes longer than writing the row.

use std::collections::HashSet;

use ginnel_proto::sync::row::{Embedding, Passage};
use rusqlite::Connection;
use rusqlite::config::DbConfig;

use super::Apply;
use crate::error::Result;
use crate::id::TextHash;

/// Fewer rows than these are written one by one: without triggers, all statements
/// are prepared anew.
pub(super) const MANY: usize = 512;

/// Triggers do not fire while it lives.
struct WithoutTriggers<'a>(&'a Connection);

impl<'a> WithoutTriggers<'a> {
    fn of(connection: &'a Connection) -> Result<Self> {
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false)?;
        Ok(Self(connection))
    }
}

impl Drop for WithoutTriggers<'_> {
    fn drop(&mut self) {
        let fires = self
            .0
            .set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, true);
        // It only sets a flag.
        debug_assert!(matches!(fires, Ok(true)), "triggers stay away: {fires:?}");
    }
}

/// Writes those of the passages and embeddings that are new, and takes them out of
/// the lists.
pub(super) fn rows(
    apply: &mut Apply<'_>,
    passages: &mut Vec<Passage>,
    embeddings: &mut Vec<Embedding>,
    waits: bool,
) -> Result<()> {
    let _without = WithoutTriggers::of(apply.connection)?;
    let mut texts = HashSet::with_capacity(passages.len());
    let mut known = Vec::new();
    for row in passages.drain(..) {
        if apply.is_dead(&row)? {
            apply.count(false);
        } else if has_passage(apply.connection, &row)? {
            known.push(row);
        } else {
            texts.insert(passage(apply, &row, waits)?);
        }
    }
    *passages = known;
    let mut known = Vec::new();
    for row in embeddings.drain(..) {
        if row.hlc <= apply.floor(&row.model)? {
            apply.count(false);
        } else if has_embedding(apply.connection, &row)? {
            known.push(row);
        } else {
            let text = embedding(apply, &row)?;
            if !texts.contains(&text) {
                apply.released.push(text);
            }
        }
    }
    *embeddings = known;
    Ok(())
}

fn has_passage(connection: &Connection, row: &Passage) -> Result<bool> {
    let mut find = connection.prepare_cached("SELECT 1 FROM passage WHERE id = ?1")?;
    Ok(find.exists([row.id])?)
}

fn has_embedding(connection: &Connection, row: &Embedding) -> Result<bool> {
    let mut find =
        connection.prepare_cached("SELECT 1 FROM embedding WHERE text_hash = ?1 AND model = ?2")?;
    Ok(find.exists((row.text.as_bytes(), row.model.as_bytes()))?)
}

fn passage(apply: &mut Apply<'_>, row: &Passage, waits: bool) -> Result<TextHash> {
    let connection = apply.connection;
    let text = TextHash::of(&row.text);
    apply.put_passage(add_passage!(""), row, text)?;
    let rowid = connection.last_insert_rowid();
    note_change(connection, "passage", rowid)?;
    connection
        .prepare_cached("INSERT INTO unindexed VALUES (?1)")?
        .execute([rowid])?;
    if waits {
        apply.keep_vectors(text)?;
    }
    apply.count(true);
    Ok(text)
}

fn embedding(apply: &mut Apply<'_>, row: &Embedding) -> Result<TextHash> {
    let connection = apply.connection;
    let text = TextHash::from_bytes(*row.text.as_bytes());
    apply.put_embedding(add_embedding!(""), row)?;
    note_change(connection, "embedding", connection.last_insert_rowid())?;
    apply.count(true);
    Ok(text)
}

fn note_change(connection: &Connection, table: &str, rowid: i64) -> Result<()> {
    let mut note =
        connection.prepare_cached("INSERT INTO change (\"table\", key) VALUES (?1, ?2)")?;
    note.execute((table, rowid))?;
    Ok(())
}
