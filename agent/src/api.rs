//! The local API: what the command line and the apps of this machine ask the
//! daemon.
//!
//! ```text
//! GET    /health                      {"status":"ok"}, without the token
//! GET    /v1/status                   crate::status::Status
//! GET    /v1/services                 {"services":[…]}
//! GET    /v1/services/NAME            one of them
//! PUT    /v1/services/NAME            share: body is a ServiceSpec
//! DELETE /v1/services/NAME            unshare
//! POST   /v1/stop                     stop the daemon
//! any    /v1/…                       what this device knows, see knowledge
//! any    /upstream/NAME/…             through the link, see gateway
//! GET    /v1/tcp/[DEVICE/]SERVICE     the same, Upgrade: ginnel-tcp
//! ```
//!
//! HTTP/1.1 on a loopback address, where every request is checked for its
//! addressee and, but for `/health`, for the local token, which goes no
//! further than here; and on a unix socket that only this user can open.

pub mod answer;
pub mod knowledge;

pub(crate) mod outside;
pub(crate) mod percent;

#[cfg(test)]
mod described;
mod listen;
mod route;
mod socket;

pub use listen::serve;
pub use route::Forward;
pub use socket::Listeners;

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use ginnel_proto::id::ServiceName;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, BodyStream, LengthLimitError, Limited, StreamBody};
use hyper::body::Incoming;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use crate::knowledge::opening::Opening;
use crate::local_token::{self, LocalToken};
use crate::services::spec::{ServiceSpec, SharedService};
use crate::services::{Outcome, Services, ServicesError};
use crate::status::{ServiceStatus, Status};
use answer::{ApiBody, Problem, json};
use route::Route;

/// Largest body of a request to the API itself, in bytes. What is forwarded
/// has no limit here.
const BODY_MAX: usize = 64 * 1024;

/// Answers a request that goes on through the link.
pub type Forwarder =
    Arc<dyn Fn(Forward, Request<Incoming>) -> BoxFuture<'static, Response<ApiBody>> + Send + Sync>;

/// What the API works on.
#[derive(Clone)]
pub struct ApiContext {
    /// The allow list.
    pub services: Services,
    /// Tells the daemon's status.
    pub status: Arc<dyn Fn() -> Status + Send + Sync>,
    /// Cancelled by `POST /v1/stop`.
    pub stop: CancellationToken,
    /// Who may call.
    pub token: LocalToken,
    /// Where the API listens, as callers must address it.
    pub local: SocketAddr,
    /// The gateway.
    pub forward: Forwarder,
    /// What this device knows, once its store is open.
    pub knowledge: Opening,
}

impl fmt::Debug for ApiContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiContext")
            .field("services", &self.services)
            .field("local", &self.local)
            .finish_non_exhaustive()
    }
}

/// A shared service, as the API shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceView {
    /// Its name.
    pub name: String,
    /// How it is shared.
    #[serde(flatten)]
    pub spec: ServiceSpec,
    /// Where callers reach it, once the relay has told.
    pub url: Option<String>,
}

/// All shared services, as the API shows them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServicesView {
    /// By name.
    pub services: Vec<ServiceView>,
}

/// By which way a request came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Over TCP, which every program and web page of this machine can open.
    Tcp,
    /// Over the unix socket, which only this user can open.
    Socket,
}

/// Answers one request.
pub async fn handle(
    context: &ApiContext,
    request: Request<Incoming>,
    way: Way,
) -> Response<ApiBody> {
    answer(context, request, way)
        .await
        .unwrap_or_else(Problem::into_response)
}

async fn answer(
    context: &ApiContext,
    mut request: Request<Incoming>,
    way: Way,
) -> Result<Response<ApiBody>, Problem> {
    if way == Way::Tcp {
        local_token::check_origin(request.uri(), request.headers(), context.local)?;
    }
    let route = Route::find(request.method(), request.uri().path());
    if route == Ok(Route::Health) {
        return Ok(json(StatusCode::OK, &serde_json::json!({ "status": "ok" })));
    }
    if way == Way::Tcp {
        // Before anything is told, even that a path does not exist.
        context.token.authorize(request.headers())?;
    }
    local_token::strip(request.headers_mut());
    let route = match route {
        Ok(route) => route,
        Err(no_route) => return Ok(no_route.into_response()),
    };
    debug!(?route, "local request");
    match route {
        Route::Health | Route::Status => Ok(json(StatusCode::OK, &(context.status)())),
        Route::ListServices => Ok(json(StatusCode::OK, &view_all(context))),
        Route::ShowService(name) => match context.services.find(&name) {
            Some(service) => Ok(json(StatusCode::OK, &view(&service, &urls(context)))),
            None => Err(ServicesError::Unknown(name).into()),
        },
        Route::Share(name) => share(context, name, request).await,
        Route::Unshare(name) => unshare(context, name).await,
        Route::Stop => {
            info!("told to stop by the local API");
            context.stop.cancel();
            Ok(json(
                StatusCode::ACCEPTED,
                &serde_json::json!({ "status": "stopping" }),
            ))
        }
        Route::Knowledge(route) => {
            // Boxed: it is large, and most connections wait.
            let goes_on = route.goes_on();
            let caller = knowledge::Caller::Local;
            let answer = knowledge::answer_once_open(&context.knowledge, route, request, caller);
            let answer = Box::pin(answer).await?;
            Ok(match goes_on {
                true => answer.map(|body| until(&context.stop, body)),
                false => answer,
            })
        }
        Route::Forward(Forward::Tcp { .. }) if way == Way::Socket => {
            let message = "raw connections need the TCP address of the API";
            Err(Problem::new(StatusCode::BAD_REQUEST, "needs_tcp", message))
        }
        Route::Forward(forward) => Ok((context.forward)(forward, request).await),
    }
}

/// The body, which ends at the latest when the daemon does.
fn until(stop: &CancellationToken, body: ApiBody) -> ApiBody {
    let stopped = stop.clone().cancelled_owned();
    let frames = BodyStream::new(body).take_until(Box::pin(stopped));
    StreamBody::new(frames).boxed_unsync()
}

async fn share(
    context: &ApiContext,
    name: ServiceName,
    request: Request<Incoming>,
) -> Result<Response<ApiBody>, Problem> {
    let body = read_body(request).await?;
    let spec: ServiceSpec = serde_json::from_slice(&body).map_err(|error| {
        let message = format!("body is not a service, {error}");
        Problem::new(StatusCode::BAD_REQUEST, "invalid_service", message)
            .hint(r#"send {"target":"http://127.0.0.1:3000"}"#)
    })?;
    let service = SharedService::new(name, &spec)?;
    let view = view(&service, &urls(context));
    let outcome = on_disk(&context.services, move |services| services.share(service)).await?;
    info!(
        service = view.name,
        target = view.spec.target,
        public = view.spec.public,
        "shared"
    );
    let status = match outcome {
        Outcome::Added => StatusCode::CREATED,
        Outcome::Replaced | Outcome::Unchanged => StatusCode::OK,
    };
    Ok(json(status, &view))
}

async fn unshare(context: &ApiContext, name: ServiceName) -> Result<Response<ApiBody>, Problem> {
    let gone = name.clone();
    on_disk(&context.services, move |services| services.unshare(&gone)).await?;
    info!(service = %name, "unshared");
    let mut response = Response::new(answer::full(""));
    *response.status_mut() = StatusCode::NO_CONTENT;
    Ok(response)
}

/// Changes the list on a thread that may block.
async fn on_disk<T: Send + 'static>(
    services: &Services,
    change: impl FnOnce(&Services) -> Result<T, ServicesError> + Send + 'static,
) -> Result<T, Problem> {
    let services = services.clone();
    let changed = tokio::task::spawn_blocking(move || change(&services)).await;
    let stopping = |_| Problem::new(StatusCode::SERVICE_UNAVAILABLE, "stopping", "ginnel stops");
    Ok(changed.map_err(stopping)??)
}

async fn read_body(request: Request<Incoming>) -> Result<bytes::Bytes, Problem> {
    let body = Limited::new(request.into_body(), BODY_MAX).collect().await;
    let body = body.map_err(|error| {
        if error.is::<LengthLimitError>() {
            let message = format!("body is longer than {BODY_MAX} bytes");
            return Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", message);
        }
        let message = format!("body cannot be read, {error}");
        Problem::new(StatusCode::BAD_REQUEST, "invalid_body", message)
    })?;
    Ok(body.to_bytes())
}

fn view_all(context: &ApiContext) -> ServicesView {
    let urls = urls(context);
    let list = context.services.list();
    ServicesView {
        services: list.iter().map(|service| view(service, &urls)).collect(),
    }
}

fn view(service: &SharedService, urls: &[ServiceStatus]) -> ServiceView {
    let name = service.name.to_string();
    let told = urls.iter().find(|status| status.name == name);
    ServiceView {
        url: told.and_then(|status| status.url.clone()),
        spec: service.spec(),
        name,
    }
}

/// What the relay has told about each service.
fn urls(context: &ApiContext) -> Vec<ServiceStatus> {
    (context.status)().services
}

#[cfg(test)]
#[path = "api/tests.rs"]
mod tests;
