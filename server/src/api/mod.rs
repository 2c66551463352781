//! What is served beside the WebSocket, on the same port. Described for machines in `openapi.json`.

mod access;
mod compression;
mod console;
mod debug;
mod embedded;
mod error;
mod health;
mod history;
mod idempotency;
mod log;
mod metrics;
mod openapi;
mod publish;
mod ready;
mod request;
mod tokens;

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    middleware::{self, Next},
    response::{IntoResponse, Redirect, Response},
    routing::{any, get, post},
};
use http::StatusCode;
use tower_http::services::ServeDir;
use wse_client_core::error::Code;

pub use embedded::HttpApi;
pub(crate) use error::ApiError;
pub(crate) use idempotency::Answers;

use crate::server::Server;

/// All routes. Files of `static_dir` are what nothing else matches; without it `/` leads to the console, if that is on.
pub(crate) fn routes(server: &Server) -> Router {
    let console = server.config().console;
    let router = match &server.config().static_dir {
        Some(folder) => endpoints(server).fallback_service(ServeDir::new(folder)),
        None if !console => endpoints(server).fallback(not_found),
        None => endpoints(server).route("/", get(async || Redirect::temporary("/console"))).fallback(not_found),
    };
    layered(server, router)
}

/// What has a fixed name.
fn endpoints(server: &Server) -> Router<Server> {
    let compression_test = get(compression::samples).post(compression::posted);
    let console = if server.config().console { console::routes() } else { Router::new() };
    console
        .route("/wse", any(upgrade))
        .route("/wse/health", get(health::health).fallback(method_not_allowed))
        .route("/wse/metrics", get(metrics::metrics).fallback(method_not_allowed))
        .route("/wse/debug", get(debug::debug).fallback(method_not_allowed))
        .route("/wse/compression-test", compression_test.fallback(method_not_allowed))
        .route("/wse/ready", get(ready::ready).fallback(method_not_allowed))
        .route("/wse/publish", post(publish::publish).fallback(method_not_allowed))
        .route("/wse/history", get(history::history).fallback(method_not_allowed))
        .route("/wse/presence", get(history::presence).fallback(method_not_allowed))
        .route("/wse/tokens", post(tokens::issue).fallback(method_not_allowed))
        .route("/wse/openapi.json", get(openapi::openapi).fallback(method_not_allowed))
}

/// What holds for every request.
fn layered(server: &Server, router: Router<Server>) -> Router {
    let router = router.layer(middleware::from_fn_with_state(server.clone(), check_host));
    router.layer(middleware::from_fn(log::request)).with_state(server.clone())
}

/// Whoever calls the server by a name that is not its own is a web page that should not reach it.
async fn check_host(State(server): State<Server>, request: Request, next: Next) -> Response {
    if server.hosts().allow(request.headers()) {
        return next.run(request).await;
    }
    server.counters().refused_hosts.one();
    let message = "this server does not answer to that host name: see --allowed-hosts";
    ApiError::new(StatusCode::MISDIRECTED_REQUEST, Code::Forbidden, message).into_response()
}

/// The WebSocket.
async fn upgrade(State(server): State<Server>, request: Request) -> Response {
    server.upgrade_own(request.into_parts().0).map(Body::from)
}

async fn not_found() -> Response {
    let message = "nothing here: /wse (WebSocket), /console, and what /wse/openapi.json describes";
    ApiError::new(StatusCode::NOT_FOUND, Code::InvalidRequest, message).into_response()
}

async fn method_not_allowed() -> Response {
    let message = "not with this method: /wse/openapi.json says which";
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, Code::InvalidRequest, message).into_response()
}
