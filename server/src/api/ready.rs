//! `GET /wse/ready`: whether new clients should be sent here. Red before anybody is sent away.

use axum::{Json, extract::State};
use http::StatusCode;
use serde::Serialize;

use crate::server::{Server, Stage};

#[derive(Serialize)]
pub(super) struct Ready {
    ready: bool,
    /// `serving`, `leaving` (still complete, but going to stop), `draining` or `stopping`.
    stage: &'static str,
}

pub(super) async fn ready(State(server): State<Server>) -> (StatusCode, Json<Ready>) {
    let stage = server.stage();
    let ready = stage == Stage::Serving;
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(Ready { ready, stage: stage.as_str() }))
}
