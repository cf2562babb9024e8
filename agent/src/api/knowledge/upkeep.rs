//! The store's state and upkeep.

use std::path::PathBuf;

use ginnel_store::check::Part;
use ginnel_store::stats::Stats;
use http::{Response, StatusCode, Uri};

use super::query::Query;
use super::view::{
    BackupAnswer, BackupRequest, CheckAnswer, EmbedderView, FindingView, KnowledgeStatus,
    TooLongView,
};
use super::{ApiBody, Caller, Problem, invalid, json, models};
use crate::knowledge::Knowledge;
use crate::knowledge::embedding::State;

/// `GET /v1/knowledge`.
pub(super) async fn status(
    knowledge: &Knowledge,
    uri: &Uri,
    caller: Caller,
) -> Result<Response<ApiBody>, Problem> {
    let mut query = Query::of(uri)?;
    let counts_too_long = query.parsed("too_long")?.unwrap_or(false);
    query.finish()?;
    // It reads every text.
    if counts_too_long && caller == Caller::Outside {
        return Err(invalid("too_long is for callers of this machine"));
    }
    let too_long = match counts_too_long {
        true => knowledge.too_long().await?,
        false => None,
    };
    let mut status = match caller {
        Caller::Local => describe(knowledge).await?,
        Caller::Outside => describe_as(knowledge, knowledge.recent_stats().await?, caller),
    };
    status.embedder.too_long = too_long.map(|found| TooLongView {
        tokens_max: found.tokens_max,
        passages: found.passages,
        complete: found.is_complete,
    });
    if caller == Caller::Outside {
        status.embedder.settings = None;
        status.embedder.problem = None;
    }
    Ok(json(StatusCode::OK, &status))
}

/// What there is, and what makes vectors.
pub(crate) async fn describe(knowledge: &Knowledge) -> Result<KnowledgeStatus, Problem> {
    let stats = knowledge.store().stats().await?;
    Ok(describe_as(knowledge, stats, Caller::Local))
}

fn describe_as(knowledge: &Knowledge, stats: Stats, caller: Caller) -> KnowledgeStatus {
    let progress = knowledge.embedding().progress().borrow().clone();
    let (state, model, failed) = match knowledge.embedding().state() {
        State::Off => ("off", None, None),
        State::Opening => ("opening", None, None),
        State::Ready(embedder) => ("ready", Some(embedder.model().name.clone()), None),
        State::Failed(problem) => ("failed", None, Some(problem)),
    };
    KnowledgeStatus {
        documents: stats.documents,
        passages: stats.passages,
        unindexed: stats.unindexed,
        tombstones: stats.tombstones,
        database_bytes: stats.database_bytes,
        embedder: EmbedderView {
            state: state.to_owned(),
            settings: knowledge.embedding().describe(),
            model,
            problem: failed.or_else(|| progress.problem.map(|problem| problem.to_string())),
            embedded: progress.embedded,
            too_long: None,
        },
        vector_engine: stats.engine.to_string(),
        models: models::views(stats.models, caller),
    }
}

/// `POST /v1/store/check`.
pub(super) async fn check(knowledge: &Knowledge) -> Result<Response<ApiBody>, Problem> {
    Ok(json(StatusCode::OK, &findings(knowledge).await?))
}

/// Everything that is wrong.
pub(crate) async fn findings(knowledge: &Knowledge) -> Result<CheckAnswer, Problem> {
    let findings = knowledge.store().check().await?;
    let view = |finding: ginnel_store::check::Finding| FindingView {
        part: match finding.part {
            Part::File => "file",
            Part::Row => "row",
            Part::Index => "index",
        }
        .to_owned(),
        what: finding.what,
    };
    Ok(CheckAnswer {
        findings: findings.into_iter().map(view).collect(),
    })
}

/// `POST /v1/store/rebuild-index`.
pub(super) async fn rebuild_index(knowledge: &Knowledge) -> Result<Response<ApiBody>, Problem> {
    knowledge.store().rebuild_indexes().await?;
    Ok(json(StatusCode::OK, &describe(knowledge).await?))
}

/// `POST /v1/store/backup`.
pub(super) async fn backup(
    knowledge: &Knowledge,
    asked: BackupRequest,
) -> Result<Response<ApiBody>, Problem> {
    let path = PathBuf::from(&asked.path);
    if !path.is_absolute() {
        return Err(invalid(format!(
            "path is not absolute, path={:?}",
            asked.path
        )));
    }
    let bytes = knowledge.store().backup(path).await?;
    Ok(json(StatusCode::OK, &BackupAnswer { bytes }))
}
