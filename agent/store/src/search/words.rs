//! Search by words: FTS5's BM25 over live passages.

use rusqlite::Connection;

use crate::error::Result;
use crate::vector::Neighbour;
use crate::vector::exact::nearest::Nearest;
use crate::vector::passages::Passages;

/// Words of a query that are looked for. A longer text is better searched by
/// meaning.
const WORDS_MAX: usize = 64;

/// The passages with the most and rarest of these words, the best first.
///
/// Any word will do. Words in double quotes are looked for in that order; a
/// word that ends with `*` stands for all that begin so.
pub(super) fn search(
    connection: &Connection,
    query: &str,
    wanted: usize,
    passing: Option<&Passages>,
) -> Result<Vec<Neighbour>> {
    let Some(expression) = expression(query) else {
        return Ok(Vec::new());
    };
    let mut looked_at = wanted;
    loop {
        let (found, all) = best(connection, &expression, looked_at, passing)?;
        let live = match passing {
            // Filters let nothing through that is not live.
            Some(_) => found,
            None => only_live(connection, found)?,
        };
        if live.len() >= wanted || all {
            return Ok(live.into_iter().take(wanted).collect());
        }
        looked_at *= 2;
    }
}

/// The best so many, and whether these are all.
fn best(
    connection: &Connection,
    expression: &str,
    wanted: usize,
    passing: Option<&Passages>,
) -> Result<(Vec<Neighbour>, bool)> {
    let mut find = connection.prepare_cached(
        "SELECT rowid, bm25(passage_text_index) FROM passage_text_index
         WHERE passage_text_index MATCH ?1",
    )?;
    let mut rows = find.query([expression])?;
    let mut nearest = Nearest::new(wanted);
    let mut seen = 0;
    while let Some(row) = rows.next()? {
        let passage = row.get(0)?;
        if passing.is_none_or(|passing| passing.contains(passage)) {
            seen += 1;
            // SQLite's is negative, the best the lowest.
            let score: f32 = row.get(1)?;
            let score = -score;
            nearest.push(Neighbour { passage, score });
        }
    }
    Ok((nearest.finish(), seen <= wanted))
}

fn only_live(connection: &Connection, found: Vec<Neighbour>) -> Result<Vec<Neighbour>> {
    let mut live = connection.prepare_cached("SELECT 1 FROM live_passage WHERE rowid = ?1")?;
    let mut kept = Vec::with_capacity(found.len());
    for neighbour in found {
        if live.exists([neighbour.passage])? {
            kept.push(neighbour);
        }
    }
    Ok(kept)
}

/// The query in FTS5's language; nothing if there is no word in it.
fn expression(query: &str) -> Option<String> {
    let mut phrases = Vec::new();
    // Every second piece is in quotes.
    for (at, piece) in query.split('"').enumerate() {
        if at % 2 == 1 {
            phrases.extend(phrase(piece));
        } else {
            phrases.extend(piece.split_whitespace().filter_map(word));
        }
    }
    phrases.truncate(WORDS_MAX);
    (!phrases.is_empty()).then(|| phrases.join(" OR "))
}

fn word(word: &str) -> Option<String> {
    match word.strip_suffix('*') {
        Some(beginning) => Some(format!("{} *", phrase(beginning)?)),
        None => phrase(word),
    }
}

fn phrase(words: &str) -> Option<String> {
    let has_word = words.chars().any(char::is_alphanumeric);
    has_word.then(|| format!("\"{words}\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_put_into_words() {
        let read = |query: &str| expression(query).unwrap_or_default();
        assert_eq!(read("two words"), "\"two\" OR \"words\"");
        assert_eq!(read("\"in this order\" or"), "\"in this order\" OR \"or\"");
        assert_eq!(read("tun* NEAR(a b)"), "\"tun\" * OR \"NEAR(a\" OR \"b)\"");
        assert_eq!(read("odd \"quote"), "\"odd\" OR \"quote\"");
        assert_eq!(read(" -- ? \"\" * "), "");
    }
}
