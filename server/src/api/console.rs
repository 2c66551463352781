//! The page at `/console`: the server's state, live. One file, part of the binary, nothing fetched from elsewhere.

use axum::response::{Html, IntoResponse};
use http::header;

const PAGE: &str = include_str!("console.html");

pub(super) async fn console() -> impl IntoResponse {
    let policy = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'";
    ([(header::CONTENT_SECURITY_POLICY, policy), (header::CACHE_CONTROL, "no-cache")], Html(PAGE))
}
