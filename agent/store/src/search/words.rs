//! Search by words: FTS5's BM25 over live passages.

use std::collections::HashSet;

use rusqlite::Connection;

use crate::error::Result;
use crate::vector::Neighbour;
use crate::vector::exact::nearest::Nearest;
use crate::vector::passages::Passages;

/// Words of a query that are looked for. A longer text is better searched by
/// meaning.
const WORDS_MAX: usize = 64;

/// A word that is in so many passages is common. To rank a passage takes some
/// 3 µs, so a question's stop words alone would take seconds among a million.
const COMMON: usize = 4096;

/// Passages that are ranked of those with the words that count, the newest
/// first: a fifth of a second.
const RANKED_MAX: usize = 65_536;

/// A passage takes longer to rank the more words are asked for: beyond so many
/// fewer are, so that it takes as long in all.
const WORDS_CHEAP: usize = 4;

/// Common words that are looked for: each costs a walk along all passages that
/// have it. The longest are the rarest, most likely.
const COMMON_WORDS_MAX: usize = 8;

/// Passages that have only common words and are ranked to fill a list, the
/// newest first: some 50 ms.
const FILLING_MAX: usize = 16_384;

/// When common words count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CommonWords {
    /// Where no passage has a rarer one.
    IfNothingElse,
    /// As soon as those with rarer ones are fewer than wanted.
    ToFill,
}

/// What was found by words.
#[derive(Debug, Default)]
pub(super) struct ByWords {
    /// The best first.
    pub(super) found: Vec<Neighbour>,
    /// Whether more passages have the words that count than were ranked: then
    /// only the newest were.
    pub(super) is_cut: bool,
}

/// The passages with the most and rarest of these words, the best first.
///
/// Any word will do, but common ones only count as `common` says: after those
/// with rarer words, those passages come first that have them all. Words in double quotes
/// are looked for in that order; a word that ends with `*` stands for all that
/// begin so.
pub(super) fn search(
    connection: &Connection,
    query: &str,
    wanted: usize,
    passing: Option<&Passages>,
    common: CommonWords,
) -> Result<ByWords> {
    let (mut rare_words, mut common_words) = (Vec::new(), Vec::new());
    for phrase in phrases(query) {
        match count(connection, &phrase)? {
            0 => {}
            COMMON.. => common_words.push(phrase),
            _ => rare_words.push(phrase),
        }
    }
    let mut by_words = ByWords::default();
    if !rare_words.is_empty() {
        let any = rare_words.join(" OR ");
        let ranked_max = ranked_max(RANKED_MAX, rare_words.len());
        by_words = best_live(connection, &any, wanted, ranked_max, passing)?;
    }
    let ByWords { found, .. } = &by_words;
    let is_enough = match common {
        CommonWords::IfNothingElse => !found.is_empty(),
        CommonWords::ToFill => found.len() >= wanted,
    };
    if is_enough || common_words.is_empty() {
        return Ok(by_words);
    }
    common_words.sort_by_key(|word| std::cmp::Reverse(word.len()));
    common_words.truncate(COMMON_WORDS_MAX);
    // What only fills a list may be any of them.
    let (most, only_fills) = match found.is_empty() {
        true => (RANKED_MAX, false),
        false => (FILLING_MAX, true),
    };
    let ranked_max = ranked_max(most, common_words.len());
    for between in [" AND ", " OR "] {
        if by_words.found.len() < wanted {
            let words = common_words.join(between);
            let more = best_live(connection, &words, wanted, ranked_max, passing)?;
            append(&mut by_words.found, more.found, wanted);
            by_words.is_cut |= more.is_cut && !only_fills;
        }
    }
    Ok(by_words)
}

/// How many passages are ranked by so many words.
fn ranked_max(most: usize, words: usize) -> usize {
    most * WORDS_CHEAP / words.max(WORDS_CHEAP)
}

/// Appends what is not there yet, up to `wanted` in all. What comes later is
/// worth no more than what comes before.
fn append(found: &mut Vec<Neighbour>, more: Vec<Neighbour>, wanted: usize) {
    let known: HashSet<_> = found.iter().map(|neighbour| neighbour.passage).collect();
    let least = found.last().map_or(f32::INFINITY, |last| last.score);
    let new = more
        .into_iter()
        .filter(|neighbour| !known.contains(&neighbour.passage));
    let left = wanted.saturating_sub(found.len());
    found.extend(new.take(left).map(|neighbour| Neighbour {
        score: neighbour.score.min(least),
        ..neighbour
    }));
}

/// How many passages match, up to [`COMMON`].
fn count(connection: &Connection, expression: &str) -> Result<usize> {
    let mut count = connection.prepare_cached(
        "SELECT count(*) FROM (SELECT 1 FROM passage_text_index
             WHERE passage_text_index MATCH ?1 LIMIT ?2)",
    )?;
    Ok(count.query_row((expression, COMMON), |row| row.get(0))?)
}

fn best_live(
    connection: &Connection,
    expression: &str,
    wanted: usize,
    ranked_max: usize,
    passing: Option<&Passages>,
) -> Result<ByWords> {
    let mut looked_at = wanted;
    loop {
        let (found, seen) = best(connection, expression, looked_at, ranked_max, passing)?;
        let live = match passing {
            // Filters let nothing through that is not live.
            Some(_) => found,
            None => only_live(connection, found)?,
        };
        if live.len() >= wanted || seen <= looked_at {
            return Ok(ByWords {
                found: live.into_iter().take(wanted).collect(),
                is_cut: seen == ranked_max,
            });
        }
        looked_at *= 2;
    }
}

/// The best so many, and how many were ranked.
fn best(
    connection: &Connection,
    expression: &str,
    wanted: usize,
    ranked_max: usize,
    passing: Option<&Passages>,
) -> Result<(Vec<Neighbour>, usize)> {
    let mut find = connection.prepare_cached(
        "SELECT rowid, bm25(passage_text_index) FROM passage_text_index
         WHERE passage_text_index MATCH ?1 ORDER BY rowid DESC",
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
        if seen == ranked_max {
            break;
        }
    }
    Ok((nearest.finish(), seen))
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

/// The words of a query in FTS5's language.
fn phrases(query: &str) -> Vec<String> {
    // FTS5 reads up to a NUL, which is in no word, as other control characters.
    let query = query.replace(char::is_control, " ");
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
    phrases
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
    fn more_words_rank_fewer_passages() {
        assert_eq!(ranked_max(RANKED_MAX, 1), RANKED_MAX);
        assert_eq!(ranked_max(RANKED_MAX, WORDS_CHEAP), RANKED_MAX);
        assert_eq!(ranked_max(RANKED_MAX, WORDS_MAX), RANKED_MAX / 16);
    }

    #[test]
    fn a_list_says_when_only_the_newest_were_ranked() {
        let connection = Connection::open_in_memory().expect("opened");
        let made = connection.execute_batch(
            "CREATE VIRTUAL TABLE passage_text_index USING fts5(text);
             CREATE VIEW live_passage AS SELECT rowid FROM passage_text_index;
             INSERT INTO passage_text_index (text) VALUES ('a tunnel'), ('tunnel b'), ('tunnel c');",
        );
        made.expect("made");
        let ranked = |most: usize| {
            let found = best_live(&connection, "tunnel", 2, most, None).expect("found");
            let mut passages: Vec<i64> = found.found.iter().map(|found| found.passage).collect();
            passages.sort_unstable();
            (passages, found.is_cut)
        };
        assert_eq!(ranked(2), (vec![2, 3], true));
        assert!(!ranked(4).1);
        assert_eq!(ranked(4).0.len(), 2);
    }

    #[test]
    fn queries_are_put_into_words() {
        let read = |query: &str| phrases(query).join(" OR ");
        assert_eq!(read("two words"), "\"two\" OR \"words\"");
        assert_eq!(read("\"in this order\" or"), "\"in this order\" OR \"or\"");
        assert_eq!(read("tun* NEAR(a b)"), "\"tun\" * OR \"NEAR(a\" OR \"b)\"");
        assert_eq!(read("odd \"quote"), "\"odd\" OR \"quote\"");
        assert_eq!(read(" -- ? \"\" * "), "");
        assert_eq!(read("a\0b\u{1b}c"), "\"a\" OR \"b\" OR \"c\"");
        assert_eq!(read("\"a\0b\" \0"), "\"a b\"");
    }
}
