//! Reading what a request brings: its body and its query, in bounded time and space.

use axum::{
    body::Bytes,
    extract::{FromRequest, Query, Request, rejection::BytesRejection},
};
use http::{StatusCode, Uri};
use serde::de::DeserializeOwned;
use wse_client_core::error::Code;

use super::ApiError;
use crate::server::Server;

/// Reads the whole body.
pub(super) async fn body(server: &Server, mut request: Request) -> Result<Bytes, ApiError> {
    let limit = server.limits().max_frame;
    axum::extract::DefaultBodyLimit::max(limit).apply(&mut request);
    let reading = tokio::time::timeout(server.config().handshake_timeout, Bytes::from_request(request, &()));
    match reading.await {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(rejection)) => Err(unread(&rejection, limit)),
        Err(_) => Err(ApiError::new(StatusCode::REQUEST_TIMEOUT, Code::Timeout, "the body took too long")),
    }
}

fn unread(rejection: &BytesRejection, limit: usize) -> ApiError {
    match rejection.status() {
        status @ StatusCode::PAYLOAD_TOO_LARGE => {
            ApiError::new(status, Code::MessageTooLarge, format!("the body is over {limit} bytes"))
        }
        status => ApiError::new(status, Code::InvalidRequest, "the body could not be read"),
    }
}

/// Reads the query.
pub(super) fn query<T: DeserializeOwned>(uri: &Uri) -> Result<T, ApiError> {
    match Query::try_from_uri(uri) {
        Ok(Query(query)) => Ok(query),
        Err(rejection) => {
            let text = rejection.body_text();
            let problem = text.strip_prefix("Failed to deserialize query string: ").unwrap_or(&text);
            Err(bad(format!("query: {problem}")))
        }
    }
}

/// A request that cannot be understood.
pub(super) fn bad(message: impl Into<String>) -> ApiError {
    ApiError::new(StatusCode::BAD_REQUEST, Code::InvalidRequest, message)
}
