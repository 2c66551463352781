//! `GET /wse/openapi.json`: the description of this API. A test holds the server to it.

use axum::{
    body::Bytes,
    response::{IntoResponse, Response},
};
use http::header;

const DESCRIPTION: &str = include_str!("openapi.json");

pub(super) async fn openapi() -> Response {
    let text = DESCRIPTION.replacen("{version}", crate::VERSION, 1);
    ([(header::CONTENT_TYPE, "application/json")], Bytes::from(text)).into_response()
}
