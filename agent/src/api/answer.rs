//! What the local API answers: JSON, and problems as JSON.

use std::error::Error;
use std::time::Duration;

use bytes::Bytes;
use ginnel_daemon::mistakes::Mistakes;
use ginnel_daemon::report;
use ginnel_proto::code::REASON;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use serde::{Deserialize, Serialize};

use crate::local_token::Refusal;
use crate::services::ServicesError;

/// Why a body broke off.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// Why a body broke off, as a type of its own: the compiler cannot prove that a
/// task with a bare [`BoxError`] in hyper's connection is `Send`.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct BrokenOff(pub BoxError);

/// The body of an answer. The gateway streams through it.
pub type ApiBody = UnsyncBoxBody<Bytes, BoxError>;

/// Why a request is not done, as the caller sees it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Problem {
    /// The status to answer with.
    pub status: StatusCode,
    /// The problem's name for programs.
    pub code: &'static str,
    /// What is wrong, for people.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// When it may be over, if that is known.
    pub retry_after: Option<Duration>,
}

/// A problem's form in JSON: `{"error":{"code":…,"message":…,"hint":…}}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProblemBody {
    /// The problem.
    pub error: ProblemFields,
}

/// See [`Problem`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProblemFields {
    /// The problem's name for programs.
    pub code: String,
    /// What is wrong, for people.
    pub message: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl Problem {
    /// A problem without a hint.
    #[must_use]
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
            hint: None,
            retry_after: None,
        }
    }

    /// A problem as an error tells it, with its hint.
    #[must_use]
    pub fn told(status: StatusCode, code: &'static str, text: &str) -> Self {
        let mut hints = Vec::new();
        let message = report::take_hints(text, &mut hints);
        Self {
            hint: hints.pop(),
            ..Self::new(status, code, message)
        }
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds when it may be over. Whole seconds are told (RFC 9110 §10.2.3).
    #[must_use]
    pub fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// The problem as an answer.
    #[must_use]
    pub fn into_response(self) -> Response<ApiBody> {
        let body = ProblemBody {
            error: ProblemFields {
                code: self.code.to_owned(),
                message: self.message,
                hint: self.hint,
            },
        };
        let mut response = json(self.status, &body);
        let reason = HeaderValue::from_static(self.code);
        response.headers_mut().insert(REASON, reason);
        if let Some(wait) = self.retry_after {
            let seconds = HeaderValue::from(wait.as_secs());
            response.headers_mut().insert(RETRY_AFTER, seconds);
        }
        if self.status == StatusCode::UNAUTHORIZED {
            let scheme = HeaderValue::from_static("Bearer");
            response.headers_mut().insert(WWW_AUTHENTICATE, scheme);
        }
        response
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        Self::new(refusal.status(), refusal.code(), refusal.to_string()).hint(refusal.hint())
    }
}

impl From<Mistakes> for Problem {
    fn from(mistakes: Mistakes) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "invalid_service",
            mistakes.to_string(),
        )
    }
}

impl From<ServicesError> for Problem {
    fn from(error: ServicesError) -> Self {
        let (status, code) = match &error {
            ServicesError::Full => (StatusCode::CONFLICT, "too_many_services"),
            ServicesError::Unknown(_) => (StatusCode::NOT_FOUND, "no_such_service"),
            ServicesError::Read(_) | ServicesError::Write(_) | ServicesError::Render(_) => {
                (StatusCode::INTERNAL_SERVER_ERROR, "not_stored")
            }
        };
        let chain: Vec<_> = anyhow::Error::from(error)
            .chain()
            .map(ToString::to_string)
            .collect();
        Self::new(status, code, chain.join(": "))
    }
}

/// A value as an answer.
pub(crate) fn json(status: StatusCode, value: &impl Serialize) -> Response<ApiBody> {
    // Serialising to memory fails only for maps with odd keys, which our
    // types do not have.
    let text = serde_json::to_vec(value).unwrap_or_default();
    let mut response = Response::new(full(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Bytes as a body.
pub(crate) fn full(bytes: impl Into<Bytes>) -> ApiBody {
    let body = Full::new(bytes.into());
    body.map_err(|never| match never {}).boxed_unsync()
}
