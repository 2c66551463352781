//! The page at `/console`: the server from inside, live. Its files are part of the program, and nothing is fetched from elsewhere.

use axum::{
    extract::Path,
    response::{Html, IntoResponse, Response},
};
use http::{StatusCode, header};
use wse_client_core::error::Code;

use super::ApiError;

/// Name, content type and bytes of each file; none when the program was built without the page.
const FILES: &[(&str, &str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/console.rs"));

const POLICY: &str = "default-src 'none'; style-src 'self' 'unsafe-inline'; script-src 'self' 'wasm-unsafe-eval'; \
                      connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const NOT_BUILT: &str = "<!doctype html><title>WSE console</title><p>This wse-server was built without its console page: \
                         <code>cargo xtask console</code> builds the page, then build the server again.";

pub(super) async fn page() -> Response {
    let page = file("index.html").unwrap_or_else(|| Html(NOT_BUILT).into_response());
    ([(header::CONTENT_SECURITY_POLICY, POLICY)], page).into_response()
}

pub(super) async fn asset(Path(name): Path<String>) -> Response {
    let missing = || ApiError::new(StatusCode::NOT_FOUND, Code::InvalidRequest, "no such file").into_response();
    file(&name).unwrap_or_else(missing)
}

fn file(name: &str) -> Option<Response> {
    let (_, kind, bytes) = FILES.iter().find(|(file, _, _)| *file == name)?;
    let headers = [
        (header::CONTENT_TYPE, *kind),
        // The files keep their names from version to version.
        (header::CACHE_CONTROL, "no-cache"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    Some((headers, *bytes).into_response())
}
