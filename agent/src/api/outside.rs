//! What this device knows, for callers who come through the relay: the service
//! `knowledge`.
//!
//! Who they are the relay has checked. They may search and read, nothing else.

use std::convert::Infallible;
use std::time::Duration;

use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tracing::debug;

use super::answer::{ApiBody, BrokenOff, Problem, json};
use super::knowledge::{self, Caller, KnowledgeRoute, OPENING};
use super::route::NoRoute;
use crate::knowledge::opening::Opening;

/// How long the other side may take to send a request's head; it is ourselves.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// Serves one connection.
pub(crate) async fn serve_connection<T>(stream: T, knowledge: Opening)
where
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let service = service_fn(move |request: Request<Incoming>| {
        let knowledge = knowledge.clone();
        async move {
            let answered = answer(&knowledge, request).await;
            let response = answered.unwrap_or_else(Problem::into_response);
            Ok::<_, Infallible>(response.map(|body| body.map_err(BrokenOff).boxed_unsync()))
        }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = served.await {
        debug!(%error, "connection from outside ended");
    }
}

async fn answer(
    knowledge: &Opening,
    request: Request<Incoming>,
) -> Result<Response<ApiBody>, Problem> {
    let path = request.uri().path();
    if path == "/" && request.method() == Method::GET {
        let about = serde_json::json!({
            "service": "knowledge",
            "search": "/v1/search?q=…",
            "description": "/v1/openapi.json",
        });
        return Ok(json(StatusCode::OK, &about));
    }
    let parts: Vec<&str> = path.split('/').collect();
    let ["", "v1", rest @ ..] = parts.as_slice() else {
        return Ok(NoRoute::Unknown.into_response());
    };
    let route = match KnowledgeRoute::find(request.method(), rest) {
        Ok(route) => route,
        Err(no_route) => return Ok(NoRoute::from(no_route).into_response()),
    };
    if !route.only_reads() {
        let message = "knowledge can be searched and read from outside, not changed";
        return Err(Problem::new(StatusCode::FORBIDDEN, "read_only", message));
    }
    // Boxed: it is large, and most connections wait.
    let answered = Box::pin(knowledge::answer_once_open(
        knowledge,
        route,
        request,
        Caller::Outside,
    ));
    answered.await.map_err(without_reason)
}

/// What goes wrong in here may name files and addresses of this machine.
fn without_reason(problem: Problem) -> Problem {
    if !problem.status.is_server_error() || problem.code == OPENING {
        return problem;
    }
    debug!(
        code = problem.code,
        reason = problem.message,
        "cannot answer callers from outside"
    );
    let message = "this cannot be answered now";
    Problem::new(problem.status, problem.code, message)
}

#[cfg(test)]
#[path = "outside/tests.rs"]
mod tests;
