//! Whether the full-text index says what the passages say, found by reading
//! alone.
//!
//! FTS5 compares the two itself, but only as a write, for which all other
//! writes would wait. So every passage is indexed once more, a batch at a time
//! in memory. Both indexes list each word with its passage and place; what the
//! lists have must be the same, in whatever order.

use std::hash::{DefaultHasher, Hash, Hasher};

use rusqlite::Connection;

use crate::error::Result;

/// Bytes of text that are indexed at once: some ten megabytes of memory.
const BATCH_MAX: usize = 4 << 20;

/// The list of an index, as a table that SQLite drops with the connection.
const LIST: &str = "CREATE VIRTUAL TABLE IF NOT EXISTS temp.listed_word USING fts5vocab";

/// As the store's own, without a copy of the text.
const AGAIN: &str = "CREATE VIRTUAL TABLE again USING fts5 (
    text, content = '', tokenize = 'unicode61 remove_diacritics 2'
)";

/// Tells what differs. `connection` must be one that has not read the full-text
/// index yet.
pub(super) fn compare(connection: &Connection) -> Result<Option<String>> {
    let expected = words_of_passages(connection)?;
    // A table of this connection alone, in memory.
    connection.pragma_update(None, "query_only", false)?;
    let listed = connection.execute_batch(&format!(
        "{LIST} ('main', 'passage_text_index', 'instance')"
    ));
    connection.pragma_update(None, "query_only", true)?;
    listed?;
    let mut found = Words::default();
    if let Err(error) = found.add(connection) {
        return Ok(Some(error.to_string()));
    }
    let Words { count, .. } = expected;
    Ok((found != expected).then(|| format!("words={count}, found={}", found.count)))
}

/// What an index of all passages has.
fn words_of_passages(connection: &Connection) -> Result<Words> {
    let again = Connection::open_in_memory()?;
    again.execute_batch(&format!(
        "{AGAIN}; {LIST} ('main', 'again', 'instance'); BEGIN"
    ))?;
    let mut add = again.prepare("INSERT INTO again (rowid, text) VALUES (?1, ?2)")?;
    let mut all = connection.prepare("SELECT rowid, text FROM kept_passage ORDER BY rowid")?;
    let mut rows = all.query([])?;
    let (mut words, mut bytes) = (Words::default(), 0);
    while let Some(row) = rows.next()? {
        let text = row.get_ref(1)?.as_str().unwrap_or_default();
        add.execute((row.get::<_, i64>(0)?, text))?;
        bytes += text.len();
        if bytes > BATCH_MAX {
            words.add(&again)?;
            // Taken back, it is empty again.
            again.execute_batch("ROLLBACK; BEGIN")?;
            bytes = 0;
        }
    }
    words.add(&again)?;
    Ok(words)
}

/// Words of an index, in no order: how many, and the sum of their hashes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Words {
    count: u64,
    sum: u64,
}

impl Words {
    /// Adds what the list of a connection has.
    fn add(&mut self, connection: &Connection) -> Result<()> {
        let mut all = connection.prepare("SELECT term, doc, \"offset\" FROM listed_word")?;
        let mut rows = all.query([])?;
        while let Some(row) = rows.next()? {
            let mut hasher = DefaultHasher::new();
            let word = row.get_ref(0)?.as_bytes().unwrap_or_default();
            let place: (i64, i64) = (row.get(1)?, row.get(2)?);
            (word, place).hash(&mut hasher);
            self.count += 1;
            self.sum = self.sum.wrapping_add(hasher.finish());
        }
        Ok(())
    }
}
