//! Models: what there is, and those of callers that bring their own vectors.

use ginnel_store::id::ModelId;
use ginnel_store::model::Model;
use ginnel_store::stats::ModelStats;
use ginnel_store::vector::metric::UnknownMetric;
use http::{Response, StatusCode};

use super::view::{ModelView, Models, NewModel};
use super::{ApiBody, Caller, Problem, invalid, json, missing};
use crate::api::answer::full;
use crate::knowledge::Knowledge;

/// What sets the ids of such models apart from those of endpoints.
const KIND: &str = "caller";

/// The model of a name.
pub(super) async fn find(knowledge: &Knowledge, name: &str) -> Result<Model, Problem> {
    let models = knowledge.store().models().await?;
    let found = models.into_iter().find(|model| model.name == name);
    found.ok_or_else(|| missing("model", &name).hint("PUT /v1/models/NAME makes it known"))
}

/// `GET /v1/models`.
pub(super) async fn list(
    knowledge: &Knowledge,
    caller: Caller,
) -> Result<Response<ApiBody>, Problem> {
    let stats = match caller {
        Caller::Local => knowledge.store().stats().await?,
        Caller::Outside => knowledge.recent_stats().await?,
    };
    let models = views(stats.models, caller);
    Ok(json(StatusCode::OK, &Models { models }))
}

/// As a caller may see them.
pub(super) fn views(models: Vec<ModelStats>, caller: Caller) -> Vec<ModelView> {
    let view = |model| {
        let mut view = ModelView::from(model);
        if caller == Caller::Outside {
            // It names paths of this machine.
            view.engine_problem = None;
        }
        view
    };
    models.into_iter().map(view).collect()
}

/// `PUT /v1/models/NAME`.
pub(super) async fn put(
    knowledge: &Knowledge,
    name: String,
    new: NewModel,
) -> Result<Response<ApiBody>, Problem> {
    let metric = new.metric.as_deref().map(str::parse).transpose();
    let model = Model {
        id: ModelId::of_name(KIND, &name, new.dimensions),
        name: name.clone(),
        dimensions: new.dimensions,
        metric: metric
            .map_err(|error: UnknownMetric| invalid(error.to_string()))?
            .unwrap_or_default(),
    };
    if let Ok(known) = find(knowledge, &name).await
        && known.id != model.id
    {
        return Err(Problem::new(
            StatusCode::CONFLICT,
            "other_model",
            format!(
                "another model has that name, model={name:?}, its dimensions={}, asked for={}",
                known.dimensions, new.dimensions
            ),
        )
        .hint("delete it first, or choose another name"));
    }
    knowledge.store().put_model(model).await?;
    Ok(json(StatusCode::OK, &new))
}

/// `DELETE /v1/models/NAME`.
pub(super) async fn delete(
    knowledge: &Knowledge,
    name: &str,
) -> Result<Response<ApiBody>, Problem> {
    let model = find(knowledge, name).await?;
    if knowledge.embedding().needs(model.id).await {
        return Err(Problem::new(
            StatusCode::CONFLICT,
            "model_in_use",
            format!("model is the embedder's own, model={name:?}"),
        )
        .hint("set another model, or none, under embed in config.toml"));
    }
    knowledge.store().delete_model(model.id).await?;
    let mut response = Response::new(full(""));
    *response.status_mut() = StatusCode::NO_CONTENT;
    Ok(response)
}

impl From<ModelStats> for ModelView {
    fn from(stats: ModelStats) -> Self {
        Self {
            id: stats.model.id.to_string(),
            name: stats.model.name,
            dimensions: stats.model.dimensions,
            metric: stats.model.metric.to_string(),
            vectors: stats.vectors,
            missing: stats.missing,
            engine: stats.engine.to_string(),
            engine_problem: stats.engine_problem,
            ready: stats.ready,
            index_bytes: stats.index.file_bytes,
            memory_bytes: stats.index.memory_bytes,
        }
    }
}
