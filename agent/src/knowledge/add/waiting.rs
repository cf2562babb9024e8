//! Waiting until what was added has vectors, but not for ever: a model that is
//! not there, or an endpoint that does not answer, keeps nobody from words.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use super::{AddError, Event, Summary};
use crate::knowledge::Knowledge;
use crate::knowledge::embedding::{Problem, Progress, State};

/// How long a problem may last that may pass: an endpoint that is started
/// meanwhile, or is busy, has answered by then.
const PROBLEM_MAX: Duration = Duration::from_secs(30);

/// How long nothing may happen and nothing be told. Longer than an endpoint may
/// take for a batch, and than a model takes to be read from a slow disk.
const SILENCE_MAX: Duration = Duration::from_secs(300);

/// How the waiting ended.
#[derive(Debug, Default)]
struct Waited {
    /// Texts that the model gave no vector of.
    refused: u64,
    /// Why it was not waited for the others.
    problem: Option<Problem>,
}

impl Knowledge {
    /// Waits until what is added has vectors, or none are to be had.
    pub(super) async fn embedded(
        &self,
        adding: impl Future<Output = Result<Summary, AddError>>,
        events: &mpsc::Sender<Event>,
    ) -> Result<Summary, AddError> {
        let before = self.embedding.progress().borrow().clone();
        self.embedding.try_again();
        let mut summary = adding.await?;
        if !matches!(self.embedding.state(), State::Off) {
            let waited = self.wait_for_vectors(&summary, &before, events).await;
            summary.without_vectors = waited.refused;
            summary.problem = waited.problem.map(|problem| problem.to_string());
        }
        Ok(summary)
    }

    async fn wait_for_vectors(
        &self,
        summary: &Summary,
        before: &Progress,
        events: &mpsc::Sender<Event>,
    ) -> Waited {
        let mut progress = self.embedding.progress();
        let mut told: Option<Problem> = None;
        let mut since = Instant::now();
        let mut shown = 0;
        loop {
            let now = progress.borrow_and_update().clone();
            let passages = now.embedded - before.embedded;
            let refused = now.failed - before.failed;
            let ended = |problem| Waited { refused, problem };
            let left = summary.passages.saturating_sub(passages + refused);
            let embedded = Event::Embedded { passages, left };
            if now.reached >= summary.last_change {
                // The last ones may have come together with the end.
                if passages > shown {
                    let _ = events.send(embedded).await;
                }
                return ended(None);
            }
            let is_over = |problem: &Problem| problem.is_lasting && now.failures > before.failures;
            if now.problem.as_ref().is_some_and(is_over) {
                return ended(now.problem);
            }
            shown = passages;
            let mut send = vec![embedded];
            // A problem that stays is not told again, and its time goes on.
            if now.problem.is_none() || told.is_none() {
                since = Instant::now();
            }
            if now.problem != told {
                told.clone_from(&now.problem);
                let problem = now.problem.as_ref().map(ToString::to_string);
                send.extend(problem.map(|problem| Event::Waiting { problem }));
            }
            for event in send {
                let _ = events.send(event).await;
            }
            let limit = match told {
                Some(_) => PROBLEM_MAX,
                None => SILENCE_MAX,
            };
            match timeout_at(since + limit, progress.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return ended(None),
                Err(_) => return ended(Some(told.unwrap_or_else(silence))),
            }
        }
    }
}

fn silence() -> Problem {
    let seconds = SILENCE_MAX.as_secs();
    Problem::passing(format!("the model has given no vector for {seconds} s"))
}
