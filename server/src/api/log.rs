//! One line of the log for each request, at `debug`. The query is left out: tokens may be in it.

use std::time::Instant;

use axum::{extract::Request, middleware::Next, response::Response};
use http::HeaderMap;
use wse_client_core::wire::{is_traceparent, trace_id};

/// Answers the request and notes it.
pub(super) async fn request(request: Request, next: Next) -> Response {
    if !tracing::enabled!(tracing::Level::DEBUG) {
        return next.run(request).await;
    }
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let trace = traceparent(request.headers()).map(str::to_owned);
    let start = Instant::now();
    let response = next.run(request).await;
    let micros = u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX);
    let trace_id = trace.as_deref().and_then(trace_id);
    tracing::debug!(%method, path, status = response.status().as_u16(), micros, trace_id, "http request");
    response
}

/// The trace that a request belongs to. One that has another form than the specification says is left out.
pub(super) fn traceparent(headers: &HeaderMap) -> Option<&str> {
    headers.get("traceparent")?.to_str().ok().filter(|text| is_traceparent(text))
}
