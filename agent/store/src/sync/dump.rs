//! What devices that agree have alike, as text.

use rusqlite::Connection;

use crate::error::Result;

/// Documents, their live passages, the vectors of those, and models.
pub(super) fn dump(connection: &Connection) -> Result<Vec<String>> {
    let mut lines = Vec::new();
    for sql in [
        "SELECT 'model', hex(id), name, dimensions, metric, hlc, origin, hex(extra), ''
         FROM model WHERE deleted = 0 ORDER BY id",
        "SELECT 'document', hex(id), collection, source, title,
             mime || metadata, hex(content_hash) || hex(extra), hlc, origin
         FROM document WHERE deleted = 0 ORDER BY id",
        "SELECT 'passage', hex(id), hex(document_id), hex(revision), position,
             byte_start || '-' || byte_end, text, hlc, origin || hex(extra)
         FROM live_passage ORDER BY id",
        "SELECT 'embedding', hex(text_hash), hex(model), hex(vector), hlc, origin, hex(extra), '', ''
         FROM embedding
         WHERE text_hash IN (SELECT text_hash FROM live_passage)
           AND model IN (SELECT id FROM model WHERE deleted = 0)
         ORDER BY text_hash, model",
    ] {
        let mut find = connection.prepare(sql)?;
        let mut rows = find.query([])?;
        while let Some(row) = rows.next()? {
            let mut line = String::new();
            for column in 0..9 {
                let value: rusqlite::types::Value = row.get(column)?;
                line.push_str(&format!("{value:?} "));
            }
            lines.push(line);
        }
    }
    Ok(lines)
}
