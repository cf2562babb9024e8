//! Errors as R2 writes them.

use http::StatusCode;

/// An error in R2's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) code: &'static str,
    pub(super) message: String,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, code: &'static str, message: String) -> Self {
        Self {
            status,
            code,
            message,
        }
    }

    pub(super) fn bad(code: &'static str, message: String) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }

    /// R2 has not built it, or this cannot keep it.
    pub(super) fn not_implemented(what: &str) -> Self {
        let message = format!("{what} not implemented");
        Self::new(StatusCode::NOT_IMPLEMENTED, "NotImplemented", message)
    }

    pub(super) fn no_upload(upload: &str) -> Self {
        let message = format!("The specified multipart upload does not exist: {upload}");
        Self::new(StatusCode::NOT_FOUND, "NoSuchUpload", message)
    }

    pub(super) fn invalid_part(message: String) -> Self {
        Self::bad("InvalidPart", message)
    }

    /// On purpose.
    pub(super) fn injected(status: StatusCode) -> Self {
        let code = match status {
            StatusCode::INTERNAL_SERVER_ERROR => "InternalError",
            StatusCode::SERVICE_UNAVAILABLE => "ServiceUnavailable",
            StatusCode::TOO_MANY_REQUESTS => "TooManyRequests",
            _ => "Injected",
        };
        Self::new(status, code, "On purpose.".to_owned())
    }

    /// The server does not answer.
    pub(super) fn unavailable() -> Self {
        let message = "The server behind r2-strict does not answer.".to_owned();
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "ServiceUnavailable",
            message,
        )
    }

    /// The answer's body.
    pub(super) fn document(&self) -> String {
        let message = self.message.replace('&', "&amp;").replace('<', "&lt;");
        let code = self.code;
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
             <Error><Code>{code}</Code><Message>{message}</Message></Error>"
        )
    }
}
