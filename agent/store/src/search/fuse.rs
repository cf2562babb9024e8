//! Two ranked lists made into one: reciprocal rank fusion (Cormack, Clarke and
//! Büttcher, SIGIR 2009). Scores of different kinds cannot be added; ranks can.

use std::collections::HashMap;

use super::hit::{Place, Rank};
use crate::vector::Neighbour;

/// The constant of the paper: how little the first rank is above the second.
const K: f32 = 60.0;

/// The score of what is first in both lists, before it is scaled to 1.
const BEST: f32 = 2.0 / (K + 1.0);

/// The best first. Of the same score, what has the words comes first: a rare
/// word is found on purpose, a neighbour may be a distant one.
pub(super) fn fuse(meaning: &[Neighbour], words: &[Neighbour]) -> Vec<Place> {
    let mut places: HashMap<i64, Place> = HashMap::new();
    for (rank, found) in ranked(meaning) {
        let place = places.entry(found).or_insert_with(|| Place::nowhere(found));
        place.score += share(rank);
        place.meaning = Some(rank);
    }
    for (rank, found) in ranked(words) {
        let place = places.entry(found).or_insert_with(|| Place::nowhere(found));
        place.score += share(rank);
        place.words = Some(rank);
    }
    let mut places: Vec<Place> = places.into_values().collect();
    places.sort_unstable_by(|a, b| {
        let by_score = b.score.total_cmp(&a.score);
        let by_words = b.words.is_some().cmp(&a.words.is_some());
        by_score.then(by_words).then(a.passage.cmp(&b.passage))
    });
    places
}

fn ranked(found: &[Neighbour]) -> impl Iterator<Item = (Rank, i64)> + '_ {
    let rank = |(at, found): (u32, &Neighbour)| {
        let rank = Rank {
            rank: at,
            score: found.score,
        };
        (rank, found.passage)
    };
    (1..).zip(found).map(rank)
}

fn share(rank: Rank) -> f32 {
    1.0 / (K + rank.rank as f32) / BEST
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(passages: &[i64]) -> Vec<Neighbour> {
        let score = 0.5;
        let neighbour = |passage: &i64| Neighbour {
            passage: *passage,
            score,
        };
        passages.iter().map(neighbour).collect()
    }

    #[test]
    fn what_both_lists_have_comes_first() {
        let fused = fuse(&list(&[1, 2, 3]), &list(&[4, 3]));
        let order: Vec<i64> = fused.iter().map(|place| place.passage).collect();
        assert_eq!(order, [3, 4, 1, 2]);
        let first = &fused[0];
        assert_eq!(first.meaning.map(|rank| rank.rank), Some(3));
        assert_eq!(first.words.map(|rank| rank.rank), Some(2));
        assert!((first.score - (1.0 / 63.0 + 1.0 / 62.0) / (2.0 / 61.0)).abs() < 1e-6);
    }

    #[test]
    fn first_in_both_is_one() {
        let fused = fuse(&list(&[7]), &list(&[7]));
        assert!((fused[0].score - 1.0).abs() < 1e-6);
        assert!(fuse(&[], &[]).is_empty());
    }
}
