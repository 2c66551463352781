//! `GET /wse/metrics`: everything that is counted, as Prometheus reads it.

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use http::header;

use crate::{
    metrics::{self, CONTENT_TYPE},
    server::Server,
};

pub(super) async fn metrics(State(server): State<Server>) -> Response {
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], metrics::report(&server)).into_response()
}
