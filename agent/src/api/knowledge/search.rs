//! Searching.

use std::time::Instant;

use ginnel_store::filter::Filter;
use ginnel_store::search::Near;
use http::{Response, StatusCode, Uri};

use super::query::Query;
use super::view::{SearchAnswer, SearchRequest};
use super::{ApiBody, Caller, Problem, invalid, json, models};
use crate::knowledge::Knowledge;
use crate::knowledge::search::{Answer, Mode, Question};

/// Hits that are given if nobody says how many.
const LIMIT: usize = 10;

/// `GET /v1/search?q=…`.
pub(super) async fn by_query(
    knowledge: &Knowledge,
    uri: &Uri,
    caller: Caller,
) -> Result<Response<ApiBody>, Problem> {
    let mut query = Query::of(uri)?;
    let request = SearchRequest {
        query: query.one("q")?.unwrap_or_default(),
        mode: query.one("mode")?,
        limit: query.parsed("limit")?,
        offset: query.parsed("offset")?.unwrap_or_default(),
        minimum_score: query.parsed("minimum_score")?,
        context: query.parsed("context")?.unwrap_or_default(),
        collections: query.all("collection"),
        conditions: query.all("where"),
        source: query.one("source")?,
        since_ms: query.parsed("since_ms")?,
        until_ms: query.parsed("until_ms")?,
        ..SearchRequest::default()
    };
    query.finish()?;
    search(knowledge, request, caller).await
}

/// `POST /v1/search`.
pub(super) async fn search(
    knowledge: &Knowledge,
    request: SearchRequest,
    caller: Caller,
) -> Result<Response<ApiBody>, Problem> {
    let answer = answer(knowledge, request, caller).await?;
    Ok(json(StatusCode::OK, &answer))
}

async fn answer(
    knowledge: &Knowledge,
    request: SearchRequest,
    caller: Caller,
) -> Result<SearchAnswer, Problem> {
    let began = Instant::now();
    let question = question(knowledge, request).await?;
    let answer = knowledge.search(question).await?;
    Ok(SearchAnswer {
        mode: answer.mode.name().to_owned(),
        note: note(&answer, caller),
        took_ms: began.elapsed().as_secs_f64() * 1000.0,
        hits: answer.found.hits.into_iter().map(Into::into).collect(),
    })
}

/// What the asker should know; what comes with a hint is last.
fn note(answer: &Answer, caller: Caller) -> Option<String> {
    let mut notes = Vec::new();
    if answer.found.without_index {
        notes.push("the vector index is not ready, so every vector was read".to_owned());
    }
    if answer.partial {
        notes.push("the model is new and has not seen all passages yet".to_owned());
    }
    if answer.found.words_cut {
        notes.push("many passages have these words, only the newest were ranked".to_owned());
    }
    notes.extend(answer.note.as_ref().map(|none| match caller {
        Caller::Local => none.note(),
        Caller::Outside => none.note_without_reason().to_owned(),
    }));
    (!notes.is_empty()).then(|| notes.join("; "))
}

async fn question(knowledge: &Knowledge, request: SearchRequest) -> Result<Question, Problem> {
    let mode = match request.mode.as_deref() {
        None => Mode::Auto,
        Some(name) => mode(name)?,
    };
    let near = match (request.vector, &request.model) {
        (None, None) => None,
        (Some(vector), Some(name)) => Some(Near {
            model: models::find(knowledge, name).await?.id,
            vector,
        }),
        (Some(_), None) => return Err(invalid("vector comes without the name of its model")),
        (None, Some(_)) => return Err(invalid("model is named, but there is no vector")),
    };
    let collections = request.collections.iter().map(|name| name.parse());
    let collections = collections.collect::<Result<_, _>>();
    let conditions = request.conditions.iter().map(|condition| condition.parse());
    Ok(Question {
        text: request.query,
        near,
        mode,
        limit: request.limit.unwrap_or(LIMIT),
        offset: request.offset,
        filter: Filter {
            collections: collections.map_err(|error| invalid(format!("{error}")))?,
            conditions: conditions.collect::<Result<_, _>>()?,
            source_prefix: request.source,
            since_ms: request.since_ms,
            until_ms: request.until_ms,
        },
        minimum_score: request.minimum_score,
        context: request.context,
    })
}

fn mode(name: &str) -> Result<Mode, Problem> {
    let all = [Mode::Auto, Mode::Hybrid, Mode::Vector, Mode::Text];
    let found = all.into_iter().find(|mode| mode.name() == name);
    found.ok_or_else(|| {
        invalid(format!(
            "mode is auto, hybrid, vector or text, found={name:?}"
        ))
    })
}

#[cfg(test)]
mod tests {
    use ginnel_store::search::Found;

    use super::*;
    use crate::knowledge::search::NoVector;

    #[test]
    fn everything_the_asker_should_know_is_noted() {
        let found = Found {
            hits: vec![],
            without_index: false,
            words_cut: false,
        };
        let mut answer = Answer {
            found,
            mode: Mode::Hybrid,
            note: None,
            partial: false,
        };
        assert_eq!(note(&answer, Caller::Local), None);
        answer.found.without_index = true;
        answer.found.words_cut = true;
        answer.partial = true;
        answer.note = Some(NoVector::NotNow("url=http://me".to_owned()));
        let told = note(&answer, Caller::Local).expect("told");
        for part in [
            "index is not ready",
            "only the newest",
            "model is new",
            "url=http://me",
        ] {
            assert!(told.contains(part), "{told}");
        }
        let told = note(&answer, Caller::Outside).expect("told");
        assert!(!told.contains("http://me"), "{told}");
    }
}
