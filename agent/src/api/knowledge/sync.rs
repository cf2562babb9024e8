//! Keeping in step with the user's other devices.
//!
//! ```text
//! GET  /v1/sync          how it goes; PUT stops it, or lets it go on
//! POST /v1/sync/now      looks at everything now
//! POST /v1/sync/publish  publishes everything now
//! PUT  /v1/sync/encryption  encrypts all that the relay keeps, or nothing
//! ```

use http::{Method, Request, Response, StatusCode};
use http_body::Body;
use serde::{Deserialize, Serialize};

use super::{ApiBody, NoKnowledgeRoute, Problem, QUESTION_MAX, json, read_json};
use crate::api::answer::BoxError;
use crate::knowledge::Knowledge;
use crate::knowledge::sync::KnowledgeSync;

/// What a path and method ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::api) enum SyncRoute {
    Status,
    Set,
    Now,
    Publish,
    Encrypt,
}

/// What a person wants.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SyncWanted {
    /// Whether it is stopped; lasts over restarts.
    pub paused: bool,
}

/// Whether all that the relay keeps is to be encrypted.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EncryptionWanted {
    /// Whether it is.
    pub on: bool,
    /// With a key that no device has yet.
    #[serde(default)]
    pub new_key: bool,
}

impl SyncRoute {
    /// `parts` are those of the path behind `/v1/sync`.
    pub(in crate::api) fn find(method: &Method, parts: &[&str]) -> Result<Self, NoKnowledgeRoute> {
        match parts {
            [] => match *method {
                Method::GET => Ok(Self::Status),
                Method::PUT => Ok(Self::Set),
                _ => Err(NoKnowledgeRoute::BadMethod("GET, PUT")),
            },
            ["publish"] => match *method {
                Method::POST => Ok(Self::Publish),
                _ => Err(NoKnowledgeRoute::BadMethod("POST")),
            },
            ["encryption"] => match *method {
                Method::PUT => Ok(Self::Encrypt),
                _ => Err(NoKnowledgeRoute::BadMethod("PUT")),
            },
            ["now"] => match *method {
                Method::POST => Ok(Self::Now),
                _ => Err(NoKnowledgeRoute::BadMethod("POST")),
            },
            _ => Err(NoKnowledgeRoute::Unknown),
        }
    }
}

/// Answers one request.
pub(super) async fn answer<B>(
    knowledge: &Knowledge,
    route: SyncRoute,
    request: Request<B>,
) -> Result<Response<ApiBody>, Problem>
where
    B: Body + Send + Unpin,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    let Some(shared) = knowledge.shared() else {
        let message = "devices are in step only while ginnel runs and has joined a relay";
        let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "no_relay", message);
        return Err(problem.hint("ginnel join CODE, then ginnel up"));
    };
    match route {
        SyncRoute::Status => {}
        SyncRoute::Set => {
            let SyncWanted { paused } = read_json(request, QUESTION_MAX).await?;
            shared.set_paused(paused).await?;
        }
        SyncRoute::Now => shared.now(),
        SyncRoute::Publish => shared.publish(),
        SyncRoute::Encrypt => {
            let wanted = read_json(request, QUESTION_MAX).await?;
            Box::pin(encrypt(shared, wanted)).await?;
        }
    }
    Ok(json(StatusCode::OK, &shared.status().await?))
}

/// Ends where nobody waits for the answer any more; the same question goes on.
async fn encrypt(shared: &KnowledgeSync, wanted: EncryptionWanted) -> Result<(), Problem> {
    let done = match wanted.on {
        true => shared.encrypt(wanted.new_key).await.map(drop),
        false => shared.decrypt().await,
    };
    done.map_err(|failure| Problem::new(StatusCode::CONFLICT, "not_changed", failure.reason))
}
