//! `GET /wse/history`: what was published to a topic, in pages. `GET /wse/presence`: who is in it.

use axum::{
    Json,
    extract::{Request, State},
};
use http::StatusCode;
use serde::Deserialize;
use wse_client_core::{delivery::Position, error::Code, topic};

use super::{
    ApiError,
    access::check_key,
    request::{bad, query},
};
use crate::{
    history::{HistoryPage, HistoryQuery},
    presence::{PresencePage, PresenceQuery},
    server::Server,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    topic: String,
    limit: Option<usize>,
    /// With `offset`: the last message that is known already.
    epoch: Option<String>,
    offset: Option<u64>,
}

pub(super) async fn history(State(server): State<Server>, request: Request) -> Result<Json<HistoryPage>, ApiError> {
    check_key(&server, request.headers(), Code::AuthRequired)?;
    let wanted: Wanted = query(request.uri())?;
    check_topic(&wanted.topic)?;
    let after = match (wanted.epoch, wanted.offset) {
        (None, None) => None,
        (Some(epoch), offset) => Some(Position { epoch, offset }),
        (None, Some(_)) => return Err(bad("offset counts within an epoch: give both, as the last page told them")),
    };
    let limit = wanted.limit.unwrap_or(HistoryQuery::default().limit);
    let page = server.history(&wanted.topic, &HistoryQuery { after, limit }).await;
    let unavailable =
        |code| ApiError::new(StatusCode::SERVICE_UNAVAILABLE, code, "the history cannot be asked just now");
    page.map_err(unavailable)?.map(Json).ok_or_else(|| {
        let message = "nothing is known of this topic, or the server keeps no history";
        ApiError::new(StatusCode::NOT_FOUND, Code::InvalidTopic, message)
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Members {
    topic: String,
    limit: Option<usize>,
    /// Users up to this one are known already.
    after: Option<String>,
}

pub(super) async fn presence(State(server): State<Server>, request: Request) -> Result<Json<PresencePage>, ApiError> {
    check_key(&server, request.headers(), Code::AuthRequired)?;
    let wanted: Members = query(request.uri())?;
    check_topic(&wanted.topic)?;
    let limit = wanted.limit.unwrap_or(PresenceQuery::default().limit);
    Ok(Json(server.presence(&wanted.topic, &PresenceQuery { after: wanted.after, limit }).await))
}

fn check_topic(name: &str) -> Result<(), ApiError> {
    match topic::check(name) {
        Ok(()) if !topic::is_pattern(name) => Ok(()),
        _ => Err(ApiError::new(StatusCode::BAD_REQUEST, Code::InvalidTopic, "topic must be the name of one topic")),
    }
}
