//! The paths of knowledge.

use ginnel_store::id::DocumentId;
use http::Method;

use super::artifacts::ArtifactsRoute;
use super::sync::SyncRoute;
use super::transfers::TransfersRoute;
use crate::api::percent;

/// What a path and method ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::api) enum KnowledgeRoute {
    Status,
    FindByQuery,
    Find,
    Collections,
    ListDocuments,
    AddDocument,
    ShowDocument(DocumentId),
    PutDocument(DocumentId),
    DeleteDocument(DocumentId),
    ListModels,
    PutModel(String),
    DeleteModel(String),
    Add,
    Events,
    Check,
    RebuildIndex,
    Backup,
    Artifacts(ArtifactsRoute),
    Transfers(TransfersRoute),
    Sync(SyncRoute),
    OpenApi,
}

/// Why a path of knowledge leads nowhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::api) enum NoKnowledgeRoute {
    /// It is no path of knowledge.
    Unknown,
    /// The path has other methods.
    BadMethod(&'static str),
    /// A part of it is no id.
    BadId(String),
}

type Found = Result<KnowledgeRoute, NoKnowledgeRoute>;

impl KnowledgeRoute {
    /// `parts` are those of the path behind `/v1/`.
    pub(in crate::api) fn find(method: &Method, parts: &[&str]) -> Found {
        match parts {
            ["knowledge"] => only_get(method, Self::Status),
            ["collections"] => only_get(method, Self::Collections),
            ["events"] => only_get(method, Self::Events),
            ["openapi.json"] => only_get(method, Self::OpenApi),
            ["models"] => only_get(method, Self::ListModels),
            ["search"] => match *method {
                Method::GET => Ok(Self::FindByQuery),
                Method::POST => Ok(Self::Find),
                _ => Err(NoKnowledgeRoute::BadMethod("GET, POST")),
            },
            ["documents"] => match *method {
                Method::GET => Ok(Self::ListDocuments),
                Method::POST => Ok(Self::AddDocument),
                _ => Err(NoKnowledgeRoute::BadMethod("GET, POST")),
            },
            ["documents", id] => {
                let id = id.parse().map_err(|error: ginnel_store::id::NotHex| {
                    NoKnowledgeRoute::BadId(error.to_string())
                })?;
                match *method {
                    Method::GET => Ok(Self::ShowDocument(id)),
                    Method::PUT => Ok(Self::PutDocument(id)),
                    Method::DELETE => Ok(Self::DeleteDocument(id)),
                    _ => Err(NoKnowledgeRoute::BadMethod("GET, PUT, DELETE")),
                }
            }
            // Names of models often have a slash: `org/model`.
            ["models", name @ ..] => {
                let name = name.join("/");
                let name = percent::decode(&name).ok_or_else(|| {
                    let message = format!("name is not encoded well, or not UTF-8, name={name:?}");
                    NoKnowledgeRoute::BadId(message)
                })?;
                match *method {
                    Method::PUT => Ok(Self::PutModel(name)),
                    Method::DELETE => Ok(Self::DeleteModel(name)),
                    _ => Err(NoKnowledgeRoute::BadMethod("PUT, DELETE")),
                }
            }
            ["artifacts", name @ ..] => ArtifactsRoute::find(method, name).map(Self::Artifacts),
            ["transfers", id @ ..] => TransfersRoute::find(method, id).map(Self::Transfers),
            ["published", name @ ..] => {
                TransfersRoute::find_published(method, name).map(Self::Transfers)
            }
            ["loras", id @ ..] => TransfersRoute::find_loras(method, id).map(Self::Transfers),
            ["sync", what @ ..] => SyncRoute::find(method, what).map(Self::Sync),
            ["add"] => only_post(method, Self::Add),
            ["store", "check"] => only_post(method, Self::Check),
            ["store", "rebuild-index"] => only_post(method, Self::RebuildIndex),
            ["store", "backup"] => only_post(method, Self::Backup),
            _ => Err(NoKnowledgeRoute::Unknown),
        }
    }

    /// Whether the answer may go on until its caller goes.
    pub(in crate::api) fn goes_on(&self) -> bool {
        matches!(self, Self::Events | Self::Add)
            || matches!(self, Self::Artifacts(route) if route.goes_on())
    }

    /// Whether callers from outside may ask for it.
    pub(in crate::api) fn only_reads(&self) -> bool {
        match self {
            Self::Status
            | Self::FindByQuery
            | Self::Find
            | Self::Collections
            | Self::ListDocuments
            | Self::ShowDocument(_)
            | Self::ListModels
            | Self::OpenApi => true,
            Self::AddDocument
            | Self::PutDocument(_)
            | Self::DeleteDocument(_)
            | Self::PutModel(_)
            | Self::DeleteModel(_)
            | Self::Add
            | Self::Events
            | Self::Check
            | Self::RebuildIndex
            | Self::Backup
            | Self::Artifacts(_)
            | Self::Transfers(_)
            | Self::Sync(_) => false,
        }
    }
}

fn only_get(method: &Method, route: KnowledgeRoute) -> Found {
    match *method {
        Method::GET => Ok(route),
        _ => Err(NoKnowledgeRoute::BadMethod("GET")),
    }
}

fn only_post(method: &Method, route: KnowledgeRoute) -> Found {
    match *method {
        Method::POST => Ok(route),
        _ => Err(NoKnowledgeRoute::BadMethod("POST")),
    }
}
