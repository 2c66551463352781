//! `GET /wse/health`: whether the server works, and what it has counted.

use axum::{Json, extract::State};
use serde::Serialize;

use crate::{
    counters::Stats,
    server::{Server, Stage},
};

#[derive(Serialize)]
pub(super) struct Health {
    /// `ok`, or how far a shutdown is: `leaving`, `draining`, `stopping`.
    status: &'static str,
    version: &'static str,
    uptime_seconds: u64,
    /// Clients that are connected.
    connections: usize,
    /// Topics that are remembered.
    topics: usize,
    /// Whether new connections are welcome.
    ready: bool,
    /// Whether a token is needed.
    auth: &'static str,
    counters: Stats,
}

pub(super) async fn health(State(server): State<Server>) -> Json<Health> {
    Json(Health {
        status: match server.stage() {
            Stage::Serving => "ok",
            stage => stage.as_str(),
        },
        version: crate::VERSION,
        uptime_seconds: server.now().as_millis() / 1000,
        connections: server.connection_count(),
        topics: server.topic_count(),
        ready: server.is_ready(),
        auth: if server.is_open() { "open" } else { "jwt" },
        counters: server.stats(),
    })
}
