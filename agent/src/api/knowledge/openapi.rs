//! The description of the API, for programs.

use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response};

use super::ApiBody;
use crate::api::answer::full;

/// OpenAPI 3.1. The tests hold it to the routes and to what they answer.
pub(crate) const DESCRIPTION: &str = include_str!("openapi.json");

pub(super) fn answer() -> Response<ApiBody> {
    let mut response = Response::new(full(DESCRIPTION));
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}
