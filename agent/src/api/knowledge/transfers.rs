//! Artifacts on their way, and what the relay has.
//!
//! ```text
//! GET    /v1/transfers                 all of them
//! POST   /v1/transfers                 begins one
//! GET    /v1/transfers/ID              one; PUT pauses it or lets it go on, DELETE forgets it
//! GET    /v1/published                 what this device may pull
//! DELETE /v1/published/NAME            takes it away from the relay
//! GET    /v1/loras                     adapters that the relay knows of
//! GET    /v1/loras/ID                  one; PUT describes it, POST to /rating rates it
//! ```

pub mod view;

mod route;

use ginnel_proto::artifact::Artifact;
use ginnel_store::transfer::TransferId;
use http::{Method, Request, Response, StatusCode};
use http_body::Body;

use super::{ApiBody, Problem, QUESTION_MAX, invalid, json, read_json};
use crate::api::answer::BoxError;
use crate::knowledge::Knowledge;
use crate::sync::failure::{Failure, Then};
use crate::sync::{Changes, Sync};
use view::{NewTransferView, Published, TransferView, Transfers, Wanted};

pub(in crate::api) use route::TransfersRoute;

/// Answers one request.
pub(super) async fn answer<B>(
    knowledge: &Knowledge,
    route: TransfersRoute,
    request: Request<B>,
) -> Result<Response<ApiBody>, Problem>
where
    B: Body + Send + Unpin,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    let Some(sync) = knowledge.sync() else {
        let message = "artifacts travel only while ginnel runs and has joined a relay";
        let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "no_relay", message);
        return Err(problem.hint("ginnel join CODE, then ginnel up"));
    };
    match route {
        TransfersRoute::List => {
            let transfers = sync.transfers().await?;
            let transfers = transfers.into_iter().map(TransferView::from).collect();
            Ok(json(StatusCode::OK, &Transfers { transfers }))
        }
        TransfersRoute::Begin => begin(sync, read_json(request, QUESTION_MAX).await?).await,
        TransfersRoute::Show(id) => Ok(json(StatusCode::OK, &show(sync, id).await?)),
        TransfersRoute::Set(id) => {
            let Wanted { state } = read_json(request, QUESTION_MAX).await?;
            show(sync, id).await?;
            let transfer = match &*state {
                "paused" => sync.pause(id).await?,
                "queued" => sync.resume(id).await?,
                other => {
                    let message = format!("state is paused or queued, found={other:?}");
                    return Err(invalid(message));
                }
            };
            Ok(json(StatusCode::OK, &TransferView::from(transfer)))
        }
        TransfersRoute::Forget(id) => {
            let was = show(sync, id).await?;
            sync.cancel(id).await?;
            Ok(json(StatusCode::OK, &was))
        }
        TransfersRoute::Published => {
            let listing = sync.list().await?;
            Ok(json(StatusCode::OK, &Published::from(listing)))
        }
        TransfersRoute::Withdraw(name) => {
            sync.remove_remote(name.clone()).await?;
            let removed = serde_json::json!({ "removed": name.to_string() });
            Ok(json(StatusCode::OK, &removed))
        }
        TransfersRoute::Loras => lora(sync, Method::GET, "", None).await,
        TransfersRoute::ShowLora(id) => lora(sync, Method::GET, &format!("/{id}"), None).await,
        TransfersRoute::DescribeLora(id) => {
            let described: serde_json::Value = read_json(request, QUESTION_MAX).await?;
            lora(sync, Method::PUT, &format!("/{id}"), Some(described)).await
        }
        TransfersRoute::RateLora(id) => {
            let rated: serde_json::Value = read_json(request, QUESTION_MAX).await?;
            lora(sync, Method::POST, &format!("/{id}/rating"), Some(rated)).await
        }
    }
}

/// What the relay says of adapters. It checks what is said of them.
async fn lora(
    sync: &Sync,
    method: Method,
    path: &str,
    body: Option<serde_json::Value>,
) -> Result<Response<ApiBody>, Problem> {
    let body = body.map(|body| body.to_string().into());
    let answer = sync.catalog()?.loras(method, path, body).await?;
    Ok(json(StatusCode::OK, &answer))
}

async fn begin(sync: &Sync, asked: NewTransferView) -> Result<Response<ApiBody>, Problem> {
    let name: Artifact = asked
        .name
        .parse()
        .map_err(|error: ginnel_proto::id::InvalidName| invalid(error.to_string()))?;
    let over = match asked.force {
        true => Changes::Replace,
        false => Changes::Keep,
    };
    let transfer = match &*asked.direction {
        "push" => sync.push(name).await?,
        "pull" => sync.pull(name, over).await?,
        other => {
            let message = format!("direction is push or pull, found={other:?}");
            return Err(invalid(message));
        }
    };
    Ok(json(StatusCode::ACCEPTED, &TransferView::from(transfer)))
}

async fn show(sync: &Sync, id: TransferId) -> Result<TransferView, Problem> {
    match sync.transfer(id).await? {
        Some(transfer) => Ok(transfer.into()),
        None => {
            let message = format!("no such transfer, transfer={id}");
            let problem = Problem::new(StatusCode::NOT_FOUND, "not_there", message);
            Err(problem.hint("ginnel models transfers"))
        }
    }
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        let (status, code) = match failure.then {
            Then::Retry => (StatusCode::SERVICE_UNAVAILABLE, "try_again"),
            Then::Anew => (StatusCode::NOT_FOUND, "not_there"),
            Then::Give => (StatusCode::CONFLICT, "refused"),
        };
        Self::told(status, code, &failure.reason)
    }
}
