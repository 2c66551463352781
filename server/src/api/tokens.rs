//! `POST /wse/tokens`: a channel token for a user, from any program that speaks HTTP. Source: PROTOCOL.md §5.6.
//!
//! ```text
//! {"user": "alice", "topic": "room:7"}
//! -> 200 {"token": "…", "expires_in": 3600}
//! ```

use axum::{Json, extract::State};
use http::{HeaderMap, StatusCode, header};
use serde::{Deserialize, Serialize};
use wse_client_core::{error::Code, security::tokens::CHANNEL_LIFE, topic};

use super::ApiError;
use crate::{auth::ApiKeyCheck, server::Server};

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
    headers: HeaderMap,
    body: String,
) -> Result<(HeaderMap, Json<Answer>), ApiError> {
    check_key(&server, &headers)?;
    let refused = |code, message: &str| ApiError::new(StatusCode::BAD_REQUEST, code, message);
    let Body { user, topic } =
        serde_json::from_str(&body).map_err(|error| refused(Code::InvalidRequest, &error.to_string()))?;
    if user.is_empty() {
        return Err(refused(Code::InvalidRequest, "user must not be empty"));
    }
    if topic::check(&topic).is_err() || topic::is_pattern(&topic) {
        return Err(refused(Code::InvalidTopic, "topic must be the name of one topic"));
    }
    let Some(token) = server.channel_token(&user, &topic) else {
        let message = "this server gives out no tokens: it has no token_key";
        return Err(ApiError::new(StatusCode::FORBIDDEN, Code::InvalidConfig, message));
    };
    let mut headers = HeaderMap::new();
    headers.insert(header::CACHE_CONTROL, http::HeaderValue::from_static("no-store"));
    Ok((headers, Json(Answer { token: token.expose().to_owned(), expires_in: CHANNEL_LIFE.as_secs() })))
}

/// Who gives out rights needs a key, on an open server too.
fn check_key(server: &Server, headers: &HeaderMap) -> Result<(), ApiError> {
    match server.auth().check_api_key(headers) {
        ApiKeyCheck::Right => Ok(()),
        ApiKeyCheck::Missing => {
            let message = "send the API key as Authorization: Bearer KEY or X-API-Key: KEY";
            Err(ApiError::new(StatusCode::UNAUTHORIZED, Code::AuthRequired, message))
        }
        ApiKeyCheck::Wrong => Err(ApiError::new(StatusCode::UNAUTHORIZED, Code::AuthFailed, "the API key is wrong")),
        ApiKeyCheck::NotConfigured => {
            let message = "tokens are given out to who has the API key, and this server has none";
            Err(ApiError::new(StatusCode::FORBIDDEN, Code::AuthFailed, message))
        }
    }
}
