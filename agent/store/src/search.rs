//! Search: by meaning, by words, or by both.
//!
//! All of a search is read from one snapshot of the database.

mod fuse;
mod hit;
mod words;

use std::sync::Arc;

use rusqlite::Connection;

use crate::error::{Error, Result};
use crate::filter::Filter;
use crate::id::ModelId;
use crate::indexes::{Indexes, ModelIndex};
use crate::limits::{CONTEXT_MAX, DEPTH_MAX, QUERY_MAX, RESULTS_MAX};
use crate::vector::passages::Passages;
use crate::vector::{Neighbour, Request};

use words::CommonWords;

pub use hit::{Hit, Place, Rank};

/// How deep both lists are looked at when they are made into one.
const FUSED_DEPTH: usize = 200;

/// What to look for.
#[derive(Debug, Clone, PartialEq)]
pub struct SearchRequest {
    /// The question.
    pub by: By,
    /// At most so many hits, up to [`RESULTS_MAX`].
    pub limit: usize,
    /// Leaves out so many of the best; with `limit` at most [`DEPTH_MAX`].
    pub offset: usize,
    /// Where to look.
    pub filter: Filter,
    /// Leaves out hits with a lower score.
    pub minimum_score: Option<f32>,
    /// How many passages before and after each hit come along, up to
    /// [`CONTEXT_MAX`].
    pub context: usize,
}

/// The question of a search.
#[derive(Debug, Clone, PartialEq)]
pub enum By {
    /// What is near this vector. The score is that of the model's metric: the
    /// cosine, the inner product, or minus the distance.
    Meaning(Near),
    /// What has these words, by BM25. More is better.
    Words(String),
    /// Both lists made into one by reciprocal rank fusion; the score is from 0
    /// to 1, which is first in both.
    Both(Near, String),
}

/// A vector to be near to.
#[derive(Debug, Clone, PartialEq)]
pub struct Near {
    /// The model that made it.
    pub model: ModelId,
    /// As the model gave it.
    pub vector: Vec<f32>,
}

/// What a search found.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// The best first.
    pub hits: Vec<Hit>,
    /// Whether every row was read, because the vector index is not ready.
    pub without_index: bool,
    /// Whether so many passages have the words that only the newest of them
    /// were ranked.
    pub words_cut: bool,
}

/// A search, ready to be run on a snapshot.
#[derive(Debug)]
pub(crate) struct Search {
    request: SearchRequest,
    index: Option<Arc<ModelIndex>>,
}

impl Search {
    /// Checks the request, and finds its index.
    pub(crate) fn new(request: SearchRequest, indexes: &Indexes) -> Result<Self> {
        validate(&request)?;
        let index = match &request.by {
            By::Meaning(near) | By::Both(near, _) => Some(indexes.of(near.model)?),
            By::Words(_) => None,
        };
        Ok(Self { request, index })
    }

    pub(crate) fn run(&self, connection: &Connection, indexes: &Indexes) -> Result<Found> {
        let SearchRequest {
            by,
            limit,
            offset,
            filter,
            ..
        } = &self.request;
        let passing = match filter.is_empty() {
            true => None,
            false => Some(indexes.filters.passages(connection, filter)?),
        };
        let passing = passing.as_deref();
        let depth = limit + offset;
        let mut words_cut = false;
        let mut places = match by {
            By::Meaning(near) => {
                let found = self.near(connection, near, depth, passing)?;
                found
                    .into_iter()
                    .enumerate()
                    .map(Place::by_meaning)
                    .collect()
            }
            By::Words(words) => {
                let common = CommonWords::ToFill;
                let by_words = words::search(connection, words, depth, passing, common)?;
                words_cut = by_words.is_cut;
                let found = by_words.found.into_iter();
                found.enumerate().map(Place::by_words).collect()
            }
            By::Both(near, words) => {
                let depth = depth.max(FUSED_DEPTH);
                let near = self.near(connection, near, depth, passing)?;
                // What fills the list is found by meaning, and better.
                let common = CommonWords::IfNothingElse;
                let by_words = words::search(connection, words, depth, passing, common)?;
                words_cut = by_words.is_cut;
                fuse::fuse(&near, &by_words.found)
            }
        };
        if let Some(minimum) = self.request.minimum_score {
            places.retain(|place| place.score >= minimum);
        }
        let page = places.iter().skip(*offset).take(*limit);
        let hits = page.map(|place| hit::read(connection, place, self.request.context));
        Ok(Found {
            hits: hits.filter_map(Result::transpose).collect::<Result<_>>()?,
            without_index: self.index.as_ref().is_some_and(|index| !index.is_live()),
            words_cut,
        })
    }

    fn near(
        &self,
        connection: &Connection,
        near: &Near,
        depth: usize,
        passing: Option<&Passages>,
    ) -> Result<Vec<Neighbour>> {
        let Some(index) = &self.index else {
            return Ok(Vec::new());
        };
        let query = index.model.prepare(&near.vector)?;
        let request = Request {
            query: &query,
            wanted: depth,
            filter: passing,
        };
        index.search(connection, request)
    }
}

fn validate(request: &SearchRequest) -> Result<()> {
    let within = |what: &str, found: usize, least: usize, most: usize| {
        if (least..=most).contains(&found) {
            return Ok(());
        }
        Err(Error::invalid(format!(
            "{what} is out of bounds, found={found}, least={least}, most={most}"
        )))
    };
    within("limit", request.limit, 1, RESULTS_MAX)?;
    let depth = request.limit.saturating_add(request.offset);
    within("limit and offset", depth, 1, DEPTH_MAX)?;
    within("context", request.context, 0, CONTEXT_MAX)?;
    if let By::Words(words) | By::Both(_, words) = &request.by {
        within("length of the query", words.len(), 0, QUERY_MAX)?;
        if words.trim().is_empty() {
            return Err(Error::invalid("query is empty"));
        }
    }
    if request.minimum_score.is_some_and(f32::is_nan) {
        return Err(Error::invalid("minimum score is no number"));
    }
    request.filter.validate()
}
