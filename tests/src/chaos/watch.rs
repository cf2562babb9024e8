//! A transfer, looked at from outside for as long as it takes.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use ginnel_agent::api::knowledge::transfers::view::TransferView;
use http::Method;
use serde_json::Value;
use tokio::time::{Instant, sleep, timeout};

use super::world::ask;

/// How often it is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(30);

/// A device that was killed does not answer.
const ANSWER: Duration = Duration::from_secs(3);

/// Looks at one transfer.
#[derive(Debug)]
pub struct Watch {
    state: PathBuf,
    id: i64,
    last: Option<Seen>,
    /// What was seen when it went backwards.
    backwards: Option<String>,
}

/// What was seen.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Bytes that have arrived.
    pub sent: u64,
    /// How often it was begun.
    pub attempts: u32,
    state: String,
    /// Why it stopped the last time, if it did.
    error: String,
}

impl Seen {
    /// Done or failed.
    #[must_use]
    pub fn is_over(&self) -> bool {
        matches!(&*self.state, "done" | "failed")
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            sent,
            attempts,
            state,
            error,
        } = self;
        write!(f, "{state} sent={sent} attempts={attempts} error={error:?}")
    }
}

impl Watch {
    /// Looks at a transfer of the device whose state is there.
    #[must_use]
    pub fn new(state: &std::path::Path, begun: &TransferView) -> Self {
        Self {
            state: state.to_owned(),
            id: begun.id,
            last: None,
            backwards: None,
        }
    }

    /// Looks once; `None` if the device does not answer.
    pub async fn look(&mut self) -> Option<Seen> {
        let path = format!("/v1/transfers/{}", self.id);
        let asked = ask::<TransferView>(&self.state, Method::GET, &path, &Value::Null);
        let view = timeout(ANSWER, asked).await.ok()?.ok()?;
        let seen = Seen {
            sent: view.sent,
            attempts: view.attempts,
            state: view.state,
            error: view.last_error.unwrap_or_default(),
        };
        if let Some(last) = &self.last
            && seen.sent < last.sent
        {
            self.backwards = Some(format!("{last}, then {seen}"));
        }
        self.last = Some(seen.clone());
        Some(seen)
    }

    /// Looks until it is done.
    ///
    /// # Errors
    /// It failed, or is not done in time.
    pub async fn until_over(&mut self, limit: Duration) -> Result<Seen, String> {
        let deadline = Instant::now() + limit;
        while Instant::now() < deadline {
            match self.look().await {
                Some(seen) if seen.state == "done" => return Ok(seen),
                Some(seen) if seen.is_over() => return Err(seen.to_string()),
                Some(_) | None => sleep(LOOK_EVERY).await,
            }
        }
        let last = self.last.as_ref().map(Seen::to_string);
        Err(format!("not in time: {}", last.unwrap_or_default()))
    }

    /// What was seen when progress went backwards, if it did.
    #[must_use]
    pub fn went_backwards(&self) -> Option<&str> {
        self.backwards.as_deref()
    }
}
