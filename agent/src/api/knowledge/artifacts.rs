//! Models, adapters and data sets of this device.
//!
//! ```text
//! GET    /v1/artifacts                 what there is
//! GET    /v1/artifacts/NAME            one with its header; PUT pins, DELETE takes its file away
//! POST   /v1/artifacts/use             where a file is, for someone who uses it from now on
//! POST   /v1/artifacts/{verify,repair} read files again; JSON lines tell how it goes
//! POST   /v1/artifacts/gc              make room
//! POST   /v1/artifacts/import          take over files of other programs; JSON lines
//! ```
//!
//! A NAME has slashes: `models/phi.gguf`. None of this is for callers from
//! outside.

pub mod view;

mod route;

use std::path::PathBuf;

use ginnel_proto::artifact::Artifact;
use ginnel_proto::id::InvalidName;
use ginnel_store::blob::adopt::Sharing;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body::Body;
use tokio::sync::mpsc;

use super::adding::lines;
use super::query::Query;
use super::{ApiBody, Problem, QUESTION_MAX, invalid, json, read_json};
use crate::api::answer::BoxError;
use crate::knowledge::Knowledge;
use crate::models::event::Event;
use crate::models::import::{ImportRequest, Kind, Place};
use crate::models::room::{RelayHas, Run};
use crate::models::verify::Changes;
use crate::models::{Insist, Models, ModelsError};
use view::{ArtifactView, Artifacts, Pinning, Removed, UseAnswer};

pub(in crate::api) use route::{ArtifactsRoute, artifact};

/// Events that wait for their reader; a slow one slows the work down.
const EVENTS: usize = 64;

/// Work that takes long and tells how it goes.
#[derive(Debug, Clone)]
pub(crate) enum Work {
    /// See [`Models::verify_all`].
    Verify(view::VerifyRequest),
    /// See [`Models::repair_all`].
    Repair(view::RepairRequest),
    /// See [`Models::import`].
    Import(view::ImportRequest),
}

/// Answers one request.
pub(super) async fn answer<B>(
    knowledge: &Knowledge,
    route: ArtifactsRoute,
    request: Request<B>,
) -> Result<Response<ApiBody>, Problem>
where
    B: Body + Send + Unpin,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    let models = knowledge.models();
    match route {
        ArtifactsRoute::List => {
            let listing = models.list().await?;
            Ok(json(StatusCode::OK, &Artifacts::from(listing)))
        }
        ArtifactsRoute::Show(name) => show(models, &name).await,
        ArtifactsRoute::Set(name) => {
            let Pinning { pinned } = read_json(request, QUESTION_MAX).await?;
            let listed = models.pin(&name, pinned).await?;
            Ok(json(StatusCode::OK, &ArtifactView::from(listed)))
        }
        ArtifactsRoute::Remove(name) => {
            let mut query = Query::of(request.uri())?;
            let force = query.parsed::<bool>("force")?.unwrap_or_default();
            query.finish()?;
            let insist = if force { Insist::Yes } else { Insist::No };
            let removed = models.remove(&name, insist).await?;
            Ok(json(StatusCode::OK, &Removed::from(removed)))
        }
        ArtifactsRoute::Use => {
            let view::UseRequest { name } = read_json(request, QUESTION_MAX).await?;
            let path = models.use_file(&parse(&name)?).await?;
            let path = path.display().to_string();
            Ok(json(StatusCode::OK, &UseAnswer { path }))
        }
        ArtifactsRoute::MakeRoom => {
            let asked: view::RoomRequest = read_json(request, QUESTION_MAX).await?;
            let run = if asked.dry_run { Run::Dry } else { Run::Wet };
            let relay = match knowledge.sync() {
                Some(sync) => sync.relay_has().await,
                None => RelayHas::Unknown,
            };
            let room = models.make_room(asked.budget, run, &relay).await?;
            Ok(json(StatusCode::OK, &room))
        }
        ArtifactsRoute::Verify => {
            let work = Work::Verify(read_json(request, QUESTION_MAX).await?);
            work.into_response(models.clone())
        }
        ArtifactsRoute::Repair => {
            let work = Work::Repair(read_json(request, QUESTION_MAX).await?);
            work.into_response(models.clone())
        }
        ArtifactsRoute::Import => {
            let work = Work::Import(read_json(request, QUESTION_MAX).await?);
            work.into_response(models.clone())
        }
    }
}

async fn show(models: &Models, name: &Artifact) -> Result<Response<ApiBody>, Problem> {
    let listed = models.find(name).await?;
    let mut view = ArtifactView::from(listed.clone());
    if listed.found.is_some() {
        match models.header(name).await? {
            Ok(header) => view.header = header.map(Into::into),
            Err(problem) => view.problem = Some(problem),
        }
    }
    Ok(json(StatusCode::OK, &view))
}

/// Work that was checked as far as can be without a disk.
enum Ready {
    Verify(Vec<Artifact>, Changes),
    Repair(Vec<Artifact>),
    Find(ImportRequest),
    Import(ImportRequest),
}

impl Work {
    /// Where it is asked for.
    pub(crate) fn path(&self) -> &'static str {
        match self {
            Self::Verify(_) => "/v1/artifacts/verify",
            Self::Repair(_) => "/v1/artifacts/repair",
            Self::Import(_) => "/v1/artifacts/import",
        }
    }

    /// How it is asked for.
    pub(crate) fn body(&self) -> serde_json::Result<serde_json::Value> {
        match self {
            Self::Verify(request) => serde_json::to_value(request),
            Self::Repair(request) => serde_json::to_value(request),
            Self::Import(request) => serde_json::to_value(request),
        }
    }

    /// Does it, and calls `each` with every event.
    ///
    /// # Errors
    /// It makes no sense, or what `each` fails with.
    pub(crate) async fn run(
        self,
        models: Models,
        mut each: impl FnMut(Event) -> Result<(), BoxError>,
    ) -> Result<(), Problem> {
        let ready = self.ready()?;
        let (events, mut told) = mpsc::channel(EVENTS);
        let listen = async {
            while let Some(event) = told.recv().await {
                each(event).map_err(|error| invalid(error.to_string()))?;
            }
            Ok(())
        };
        let ((), listened) = tokio::join!(ready.tell(models, events), listen);
        listened
    }

    fn into_response(self, models: Models) -> Result<Response<ApiBody>, Problem> {
        let ready = self.ready()?;
        let (events, told) = mpsc::channel(EVENTS);
        let mut response = Response::new(lines(told, ready.tell(models, events)));
        let headers = response.headers_mut();
        let kind = HeaderValue::from_static("application/x-ndjson");
        headers.insert(CONTENT_TYPE, kind);
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Ok(response)
    }

    fn ready(self) -> Result<Ready, Problem> {
        match self {
            Self::Verify(request) => {
                let changes = match request.accept {
                    true => Changes::Accept,
                    false => Changes::Tell,
                };
                Ok(Ready::Verify(names(&request.names)?, changes))
            }
            Self::Repair(request) => Ok(Ready::Repair(names(&request.names)?)),
            Self::Import(request) => import(request),
        }
    }
}

impl Ready {
    /// Does it. A failure is told as the last event.
    async fn tell(self, models: Models, events: mpsc::Sender<Event>) {
        let done = match self {
            Self::Verify(names, changes) => models.verify_all(names, changes, &events).await,
            Self::Repair(names) => models.repair_all(names, &events).await,
            Self::Find(request) => models.find_foreign(&request, &events).await,
            Self::Import(request) => models.import(&request, &events).await,
        };
        if let Err(error) = done {
            let failed = Event::Failed {
                name: None,
                message: error.to_string(),
            };
            let _ = events.send(failed).await;
        }
    }
}

fn import(request: view::ImportRequest) -> Result<Ready, Problem> {
    let path = PathBuf::from(&request.path);
    if !path.is_absolute() {
        let message = format!("path is not absolute, path={:?}", request.path);
        return Err(invalid(message));
    }
    let kind = match request.kind.as_deref() {
        None => Kind::of(&path),
        Some("ollama") => Kind::Ollama,
        Some("lmstudio") => Kind::LmStudio,
        Some("huggingface") => Kind::HuggingFace,
        Some("path") => Kind::Path,
        Some(other) => {
            return Err(invalid(format!(
                "kind is ollama, lmstudio, huggingface or path, found={other:?}"
            )));
        }
    };
    let list = request.list;
    let request = ImportRequest {
        place: Place { kind, path },
        only: request.only,
        rename: request.rename.as_deref().map(parse).transpose()?,
        sharing: match request.copy {
            true => Sharing::OrCopy,
            false => Sharing::Required,
        },
    };
    Ok(match list {
        true => Ready::Find(request),
        false => Ready::Import(request),
    })
}

fn names(texts: &[String]) -> Result<Vec<Artifact>, Problem> {
    texts.iter().map(|text| parse(text)).collect()
}

fn parse(text: &str) -> Result<Artifact, Problem> {
    text.parse()
        .map_err(|error: InvalidName| invalid(error.to_string()))
}

impl From<ModelsError> for Problem {
    fn from(error: ModelsError) -> Self {
        let (status, code) = match error {
            ModelsError::Store(error) => return error.into(),
            ModelsError::Missing(_) | ModelsError::NoFile(_) => {
                (StatusCode::NOT_FOUND, "not_there")
            }
            ModelsError::Refused(_) => (StatusCode::CONFLICT, "would_be_lost"),
            ModelsError::Invalid(_) => (StatusCode::BAD_REQUEST, "invalid_request"),
        };
        Self::told(status, code, &error.to_string())
    }
}
