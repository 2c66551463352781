//! What is served beside the WebSocket, on the same port.

mod console;
mod error;
mod health;
mod publish;

use axum::{
    Router,
    response::{IntoResponse, Redirect, Response},
    routing::{any, get, post},
};
use http::StatusCode;
use tower_http::services::ServeDir;
use wse_client_core::error::Code;

pub(crate) use error::ApiError;

use crate::{listen, server::Server};

/// All routes. Files of `static_dir` are what nothing else matches; without it `/` leads to the console.
pub(crate) fn routes(server: &Server) -> Router {
    let router = Router::new()
        .route("/wse", any(listen::upgrade))
        .route("/wse/health", get(health::health).fallback(method_not_allowed))
        .route("/wse/publish", post(publish::publish).fallback(method_not_allowed))
        .route("/console", get(console::page).fallback(method_not_allowed))
        .route("/console/{file}", get(console::asset).fallback(method_not_allowed));
    let router = match &server.config().static_dir {
        Some(folder) => router.fallback_service(ServeDir::new(folder)),
        None => router.route("/", get(async || Redirect::temporary("/console"))).fallback(not_found),
    };
    router.with_state(server.clone())
}

async fn not_found() -> Response {
    let message = "nothing here: /wse (WebSocket), /wse/health, /wse/publish, /console";
    ApiError::new(StatusCode::NOT_FOUND, Code::InvalidRequest, message).into_response()
}

async fn method_not_allowed() -> Response {
    let message = "GET /wse/health, POST /wse/publish, GET /console";
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, Code::InvalidRequest, message).into_response()
}
