//! `GET /v1/events`: what changes, as server-sent events (WHATWG HTML §9.2).

use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Response};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use serde_json::json;
use tokio::sync::watch;

use super::ApiBody;
use crate::api::answer::BoxError;
use crate::knowledge::Knowledge;
use crate::knowledge::embedding::Progress;

/// Something is said at least this often, so that a broken connection shows.
const EVERY: Duration = Duration::from_secs(15);

struct Watched {
    changes: watch::Receiver<i64>,
    progress: watch::Receiver<Progress>,
}

/// Goes on until its reader or the daemon goes. A reader that is slow misses
/// states in between, never the last.
pub(super) fn stream(knowledge: &Knowledge) -> Response<ApiBody> {
    let mut watched = Watched {
        changes: knowledge.store().changes(),
        progress: knowledge.embedding().progress(),
    };
    // Both states come first, so that nobody has to ask for them.
    watched.changes.mark_changed();
    watched.progress.mark_changed();
    let events = stream::unfold(watched, |mut watched| async {
        let text = watched.next().await?;
        Some((Ok::<_, BoxError>(Frame::data(Bytes::from(text))), watched))
    });
    let mut response = Response::new(StreamBody::new(events).boxed_unsync());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

impl Watched {
    async fn next(&mut self) -> Option<String> {
        tokio::select! {
            changed = self.changes.changed() => {
                changed.ok()?;
                let seq = *self.changes.borrow_and_update();
                Some(event("change", &json!({ "seq": seq })))
            }
            changed = self.progress.changed() => {
                changed.ok()?;
                let Progress { embedded, failed, problem, .. } =
                    self.progress.borrow_and_update().clone();
                let problem = problem.map(|problem| problem.to_string());
                let progress = json!({ "embedded": embedded, "failed": failed, "problem": problem });
                Some(event("embedding", &progress))
            }
            () = tokio::time::sleep(EVERY) => Some(": still here\n\n".to_owned()),
        }
    }
}

fn event(name: &str, body: &serde_json::Value) -> String {
    format!("event: {name}\ndata: {body}\n\n")
}
