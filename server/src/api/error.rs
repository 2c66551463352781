//! The one shape of errors over HTTP: `{"error":{"code","message"}}`.

use axum::{
    Json,
    response::{IntoResponse, Response},
};
use http::StatusCode;
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
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = self.status;
        (status, Json(json!({ "error": self.refusal() }))).into_response()
    }
}
