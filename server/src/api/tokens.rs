//! `POST /wse/tokens`: a channel token for a user, from any program that speaks HTTP. Source: PROTOCOL.md §5.6.
//!
//! ```text
//! {"user": "alice", "topic": "room:7"}
//! -> 200 {"token": "…", "expires_in": 3600}
//! ```

use axum::{
    Json,
    extract::{Request, State},
};
use http::{HeaderMap, StatusCode, header};
use serde::{Deserialize, Serialize};
use wse_client_core::{error::Code, security::tokens::CHANNEL_LIFE, topic};

use super::{ApiError, access::require_key, request};
use crate::server::Server;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    user: String,
    topic: String,
}

#[derive(Serialize)]
pub(super) struct Answer {
    token: String,
    /// Seconds.
    expires_in: u64,
}

pub(super) async fn issue(
    State(server): State<Server>,
    request: Request,
) -> Result<(HeaderMap, Json<Answer>), ApiError> {
    // Who gives out rights needs a key, on an open server too.
    require_key(&server, request.headers(), Code::AuthRequired)?;
    let off = || {
        let message = "this server gives out no tokens: it has no token_key";
        ApiError::new(StatusCode::NOT_IMPLEMENTED, Code::InvalidConfig, message)
    };
    if !server.issuer().has_key() {
        return Err(off());
    }
    let body = request::body(&server, request).await?;
    let refused = |code, message: &str| ApiError::new(StatusCode::BAD_REQUEST, code, message);
    let Body { user, topic } =
        serde_json::from_slice(&body).map_err(|error| refused(Code::InvalidRequest, &error.to_string()))?;
    if user.is_empty() {
        return Err(refused(Code::InvalidRequest, "user must not be empty"));
    }
    if topic::check(&topic).is_err() || topic::is_pattern(&topic) {
        return Err(refused(Code::InvalidTopic, "topic must be the name of one topic"));
    }
    let token = server.channel_token(&user, &topic).ok_or_else(off)?;
    let mut headers = HeaderMap::new();
    headers.insert(header::CACHE_CONTROL, http::HeaderValue::from_static("no-store"));
    Ok((headers, Json(Answer { token: token.expose().to_owned(), expires_in: CHANNEL_LIFE.as_secs() })))
}
