//! The one shape of errors over HTTP: `{"error":{"code","message"}}`.

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use serde_json::json;
use wse_client_core::error::Code;

/// An answer that says what went wrong.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ApiError {
    status: StatusCode,
    code: Code,
    message: String,
}

/// What went wrong, without the status.
#[derive(Debug, Serialize)]
pub(super) struct Refusal {
    code: &'static str,
    message: String,
}

impl ApiError {
    pub(crate) fn new(status: StatusCode, code: Code, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into() }
    }

    /// For an answer that holds several.
    pub(super) fn refusal(self) -> Refusal {
        Refusal { code: self.code.as_str(), message: self.message }
    }

    /// For whoever answers with something else than axum.
    pub(crate) fn response(self) -> http::Response<String> {
        let status = self.status;
        let mut response = http::Response::new(json!({ "error": self.refusal() }).to_string());
        *response.status_mut() = status;
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        self.response().map(axum::body::Body::from)
    }
}
