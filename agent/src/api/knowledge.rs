//! The part of the local API that is about what this device knows.
//!
//! ```text
//! GET    /v1/knowledge                 what there is, and what makes vectors
//! GET    /v1/search?q=…                a search; POST takes all that can be asked
//! GET    /v1/collections
//! GET    /v1/documents                 a page of them; POST adds one
//! GET    /v1/documents/ID              one with its text; PUT, DELETE
//! GET    /v1/models                    PUT and DELETE /v1/models/NAME
//! POST   /v1/add                       reads a folder or text; JSON lines tell how it goes
//! GET    /v1/events                    what changes, as server-sent events
//! POST   /v1/store/{check,rebuild-index,backup}
//! any    /v1/artifacts/…              models, adapters and data sets, see artifacts
//! any    /v1/{transfers,published,loras}/…   them on their way, see transfers
//! any    /v1/sync                      in step with other devices, see sync
//! GET    /v1/openapi.json              all of this for programs
//! ```
//!
//! Callers from outside, through the relay, may look and not touch
//! ([`KnowledgeRoute::only_reads`]).

pub mod artifacts;
pub mod sync;
pub mod transfers;
pub mod view;

mod adding;
mod documents;
mod events;
mod models;
pub(in crate::api) mod openapi;
mod query;
mod route;
mod search;
mod upkeep;

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body::Body;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use serde::de::DeserializeOwned;
use tokio::sync::SemaphorePermit;
use tokio::time::timeout;

use super::answer::{ApiBody, BoxError, Problem, json};
use crate::knowledge::Knowledge;
use crate::knowledge::add::AddError;
use crate::knowledge::opening::{Opening, Stage};
use crate::knowledge::search::{NoVector, SearchError};

pub(crate) use adding::add;
#[cfg(test)]
pub(super) use artifacts::ArtifactsRoute;
pub(super) use route::{KnowledgeRoute, NoKnowledgeRoute};
#[cfg(test)]
pub(super) use sync::SyncRoute;
#[cfg(test)]
pub(super) use transfers::TransfersRoute;

/// Largest question, in bytes: a vector of 8,192 values as text.
const QUESTION_MAX: usize = 1 << 20;

/// Largest document, in bytes of JSON: its text may have half of that, the rest
/// is for escapes and vectors.
pub(crate) const DOCUMENT_MAX: usize = 128 << 20;

/// The name of the problem that the store is being opened.
pub(super) const OPENING: &str = "store_opening";

/// When to ask again for a store that is being opened: often enough that nobody
/// waits much longer than needed.
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(2);

/// How long callers from outside wait for others of them.
const ROOM_TIMEOUT: Duration = Duration::from_secs(5);

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Caller {
    /// A program of this user, on this machine.
    Local,
    /// Someone from outside: where things are on this machine is not told.
    Outside,
}

/// Answers one request, once the store is open. That is waited for a short time
/// only, and not at all by those who ask how things stand.
pub(super) async fn answer_once_open<B>(
    opening: &Opening,
    route: KnowledgeRoute,
    request: Request<B>,
    caller: Caller,
) -> Result<Response<ApiBody>, Problem>
where
    B: Body + Send + Unpin,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    if route == KnowledgeRoute::OpenApi {
        return Ok(openapi::answer());
    }
    let stage = match route == KnowledgeRoute::Status {
        true => opening.stage(),
        false => opening.wait().await,
    };
    let status = StatusCode::SERVICE_UNAVAILABLE;
    match stage {
        Stage::Open(knowledge) => answer(&knowledge, route, request, caller).await,
        Stage::Opening => Err(Problem::new(status, OPENING, "the store is being opened")
            .hint("try again; after an unclean stop all of it is checked first")
            .retry_after(TRY_AGAIN_AFTER)),
        Stage::Waiting(reason) => {
            let problem = match caller {
                Caller::Local => Problem::told(status, OPENING, &reason),
                Caller::Outside => Problem::new(status, OPENING, "the store cannot be opened yet"),
            };
            Err(problem.retry_after(TRY_AGAIN_AFTER))
        }
        Stage::Failed(reason) => Err(Problem::told(status, "store_unavailable", &reason)),
    }
}

/// Answers one request.
async fn answer<B>(
    knowledge: &Knowledge,
    route: KnowledgeRoute,
    request: Request<B>,
    caller: Caller,
) -> Result<Response<ApiBody>, Problem>
where
    B: Body + Send + Unpin,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    let _room = match caller {
        Caller::Local => None,
        Caller::Outside => Some(room_for_outside(knowledge).await?),
    };
    let store = knowledge.store();
    match route {
        KnowledgeRoute::Status => upkeep::status(knowledge, request.uri(), caller).await,
        KnowledgeRoute::FindByQuery => search::by_query(knowledge, request.uri(), caller).await,
        KnowledgeRoute::Find => {
            let question = read_json(request, QUESTION_MAX).await?;
            search::search(knowledge, question, caller).await
        }
        KnowledgeRoute::Collections => {
            let collections = store.collections().await?;
            Ok(json(StatusCode::OK, &view::Collections::from(collections)))
        }
        KnowledgeRoute::ListDocuments => documents::list(knowledge, request.uri()).await,
        KnowledgeRoute::AddDocument => {
            let new = read_json(request, DOCUMENT_MAX).await?;
            documents::put(knowledge, None, new).await
        }
        KnowledgeRoute::PutDocument(id) => {
            let new = read_json(request, DOCUMENT_MAX).await?;
            documents::put(knowledge, Some(id), new).await
        }
        KnowledgeRoute::ShowDocument(id) => documents::show(knowledge, id).await,
        KnowledgeRoute::DeleteDocument(id) => documents::delete(knowledge, id).await,
        KnowledgeRoute::ListModels => models::list(knowledge, caller).await,
        KnowledgeRoute::PutModel(name) => {
            let new = read_json(request, QUESTION_MAX).await?;
            models::put(knowledge, name, new).await
        }
        KnowledgeRoute::DeleteModel(name) => models::delete(knowledge, &name).await,
        KnowledgeRoute::Add => {
            let asked = read_json(request, DOCUMENT_MAX).await?;
            Ok(add(knowledge.clone(), asked)?.into_response())
        }
        KnowledgeRoute::Events => Ok(events::stream(knowledge)),
        KnowledgeRoute::Check => upkeep::check(knowledge).await,
        KnowledgeRoute::RebuildIndex => upkeep::rebuild_index(knowledge).await,
        KnowledgeRoute::Backup => {
            let asked = read_json(request, QUESTION_MAX).await?;
            upkeep::backup(knowledge, asked).await
        }
        KnowledgeRoute::Artifacts(route) => artifacts::answer(knowledge, route, request).await,
        KnowledgeRoute::Transfers(route) => transfers::answer(knowledge, route, request).await,
        KnowledgeRoute::Sync(route) => sync::answer(knowledge, route, request).await,
        KnowledgeRoute::OpenApi => Ok(openapi::answer()),
    }
}

/// Room for a caller from outside, who takes none from those of this machine.
async fn room_for_outside(knowledge: &Knowledge) -> Result<SemaphorePermit<'_>, Problem> {
    let room = timeout(ROOM_TIMEOUT, knowledge.outside().acquire()).await;
    let room = room.ok().and_then(Result::ok);
    room.ok_or_else(|| {
        let what = "too many ask at once";
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "overloaded", what)
            .retry_after(TRY_AGAIN_AFTER)
    })
}

/// Asks as over the API, without a connection: for commands that have opened
/// the store themselves.
///
/// # Errors
/// As the API would answer.
pub(crate) async fn ask(
    knowledge: &Knowledge,
    method: Method,
    path: &str,
    body: &impl serde::Serialize,
) -> Result<serde_json::Value, Problem> {
    let response = exchange(knowledge, method, path, body).await?;
    let body = response.into_body().collect().await;
    let body = body.map_err(|error| invalid(error.to_string()))?.to_bytes();
    if body.is_empty() {
        return Ok(serde_json::Value::Null);
    }
    serde_json::from_slice(&body).map_err(|error| invalid(error.to_string()))
}

async fn exchange(
    knowledge: &Knowledge,
    method: Method,
    path: &str,
    body: &impl serde::Serialize,
) -> Result<Response<ApiBody>, Problem> {
    let uri: http::Uri = path.parse().map_err(|_| invalid("path is no path"))?;
    let parts: Vec<&str> = uri.path().split('/').collect();
    let route = match parts.as_slice() {
        ["", "v1", rest @ ..] => KnowledgeRoute::find(&method, rest),
        _ => Err(NoKnowledgeRoute::Unknown),
    };
    let route = route.map_err(|_| invalid("path leads nowhere"))?;
    let body = serde_json::to_vec(body).map_err(|error| invalid(error.to_string()))?;
    let mut request = Request::new(Full::new(Bytes::from(body)));
    *request.uri_mut() = uri;
    answer(knowledge, route, request, Caller::Local).await
}

/// Reads a body that is JSON, of at most `limit` bytes.
async fn read_json<T, B>(request: Request<B>, limit: usize) -> Result<T, Problem>
where
    T: DeserializeOwned,
    B: Body + Send + Unpin,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    let too_large = || {
        let message = format!("body is longer than {limit} bytes");
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", message)
    };
    // One that says its length need not be sent to be refused.
    if request.body().size_hint().lower() > limit as u64 {
        return Err(too_large());
    }
    let body = Limited::new(request.into_body(), limit).collect().await;
    let body = body.map_err(|error| match error.is::<LengthLimitError>() {
        true => too_large(),
        false => invalid(format!("body cannot be read, {error}")),
    })?;
    let body = body.to_bytes();
    serde_json::from_slice(&body).map_err(|error| {
        invalid(format!("body is not what is asked for, {error}"))
            .hint("GET /v1/openapi.json describes it")
    })
}

/// A request that makes no sense.
fn invalid(message: impl Into<String>) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "invalid_request", message)
}

fn missing(what: &str, id: &dyn std::fmt::Display) -> Problem {
    let message = format!("no such {what}, {what}={id}");
    Problem::new(StatusCode::NOT_FOUND, "not_there", message)
}

impl From<ginnel_store::error::Error> for Problem {
    fn from(error: ginnel_store::error::Error) -> Self {
        use ginnel_store::error::ErrorKind;
        let (status, code) = match error.kind() {
            ErrorKind::Invalid => (StatusCode::BAD_REQUEST, "invalid_request"),
            ErrorKind::Missing => (StatusCode::NOT_FOUND, "not_there"),
            ErrorKind::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "store_unavailable"),
            ErrorKind::Closed => (StatusCode::SERVICE_UNAVAILABLE, "stopping"),
            ErrorKind::Corrupt => (StatusCode::INTERNAL_SERVER_ERROR, "store_damaged"),
            ErrorKind::Denied | ErrorKind::Newer | ErrorKind::Internal | _ => {
                (StatusCode::INTERNAL_SERVER_ERROR, "store_failed")
            }
        };
        Self::told(status, code, &error.to_string())
    }
}

impl From<AddError> for Problem {
    fn from(error: AddError) -> Self {
        match error {
            AddError::Store(error) => error.into(),
            AddError::Invalid(_) | AddError::Gone(_) => Self::told(
                StatusCode::BAD_REQUEST,
                "invalid_request",
                &error.to_string(),
            ),
            AddError::BrokenOff => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "stopping",
                error.to_string(),
            ),
        }
    }
}

impl From<SearchError> for Problem {
    fn from(error: SearchError) -> Self {
        let none = match error {
            SearchError::Store(error) => return error.into(),
            SearchError::NoVector(none) => none,
        };
        let (status, code) = match &none {
            NoVector::NoModel => (StatusCode::CONFLICT, "no_model"),
            NoVector::NotNow(_) => (StatusCode::SERVICE_UNAVAILABLE, "not_embedded"),
        };
        Self::told(status, code, &none.to_string())
    }
}

#[cfg(test)]
#[path = "knowledge/tests.rs"]
mod tests;
