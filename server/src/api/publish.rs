//! `POST /wse/publish`: a message to a topic from any program that speaks HTTP. Source: PROTOCOL.md §6.2.
//!
//! ```text
//! {"topic": "t", "type": "k", "payload": {…}}      type and payload; payload may be left out
//! {"topic": "t", "message": {"t": "k", "p": {…}}}  a ready envelope
//! -> 200 {"delivered": 3, "id": "…"}
//! ```

use axum::{
    Json,
    body::Bytes,
    extract::{FromRequest, Request, State, rejection::BytesRejection},
};
use http::{HeaderMap, StatusCode, header};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use wse_client_core::{
    client::{Outgoing, SendError},
    error::Code,
    io::Frame,
    wire::{self, Payload, PayloadError},
};

use super::ApiError;
use crate::{
    auth::ApiKeyCheck,
    handler::forwarded,
    server::{PublishError, Server},
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    topic: String,
    #[serde(rename = "type")]
    kind: Option<String>,
    #[serde(default, deserialize_with = "given")]
    payload: Option<Box<RawValue>>,
    message: Option<Box<RawValue>>,
}

/// A payload that is `null` is a payload, not the lack of one.
fn given<'de, D: serde::Deserializer<'de>>(value: D) -> Result<Option<Box<RawValue>>, D::Error> {
    Box::<RawValue>::deserialize(value).map(Some)
}

#[derive(Serialize)]
pub(super) struct Answer {
    /// Number of connections that get the message.
    delivered: usize,
    id: String,
}

pub(super) async fn publish(State(server): State<Server>, request: Request) -> Result<Json<Answer>, ApiError> {
    check_key(&server, request.headers())?;
    let body = read_body(&server, request).await?;
    let (topic, message) = parse(&server, &body)?;
    let published = server.publish(&topic, message).map_err(refused)?;
    Ok(Json(Answer { delivered: published.delivered, id: published.id }))
}

fn check_key(server: &Server, headers: &HeaderMap) -> Result<(), ApiError> {
    match server.auth().check_api_key(headers) {
        ApiKeyCheck::Right => Ok(()),
        ApiKeyCheck::Missing => Err(ApiError::new(
            StatusCode::UNAUTHORIZED,
            Code::AuthRequired,
            "send the API key as Authorization: Bearer KEY or X-API-Key: KEY",
        )),
        ApiKeyCheck::Wrong => Err(ApiError::new(StatusCode::UNAUTHORIZED, Code::AuthFailed, "the API key is wrong")),
        ApiKeyCheck::NotConfigured if server.is_open() && server.is_on_loopback() => check_page(headers),
        ApiKeyCheck::NotConfigured => Err(ApiError::new(
            StatusCode::FORBIDDEN,
            Code::PublishDenied,
            "publishing over HTTP is off: start the server with --api-key KEY (WSE_API_KEY)",
        )),
    }
}

/// A page of another origin may not publish on a server that asks for no key: browsers name the page's origin
/// with every such request, other programs name none.
fn check_page(headers: &HeaderMap) -> Result<(), ApiError> {
    let Some(origin) = headers.get(header::ORIGIN) else { return Ok(()) };
    let own = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let page = origin.to_str().ok().and_then(|origin| origin.split_once("://")).map(|(_, authority)| authority);
    if page.is_some() && page == own {
        return Ok(());
    }
    let message = "pages of other origins may not publish here: start the server with --api-key KEY, and send the key";
    Err(ApiError::new(StatusCode::FORBIDDEN, Code::OriginNotAllowed, message))
}

/// Reads the whole body, in bounded time and space.
async fn read_body(server: &Server, mut request: Request) -> Result<Bytes, ApiError> {
    let limit = server.limits().max_frame;
    axum::extract::DefaultBodyLimit::max(limit).apply(&mut request);
    let reading = tokio::time::timeout(server.config().handshake_timeout, Bytes::from_request(request, &()));
    match reading.await {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(rejection)) => Err(unread(&rejection, limit)),
        Err(_) => Err(ApiError::new(StatusCode::REQUEST_TIMEOUT, Code::Timeout, "the body took too long")),
    }
}

fn unread(rejection: &BytesRejection, limit: usize) -> ApiError {
    match rejection.status() {
        status @ StatusCode::PAYLOAD_TOO_LARGE => {
            ApiError::new(status, Code::MessageTooLarge, format!("the body is over {limit} bytes"))
        }
        status => ApiError::new(status, Code::InvalidRequest, "the body could not be read"),
    }
}

fn parse(server: &Server, body: &[u8]) -> Result<(String, Outgoing), ApiError> {
    let body: Body = serde_json::from_slice(body).map_err(|error| {
        let code = if error.is_data() { Code::InvalidRequest } else { Code::InvalidJson };
        ApiError::new(StatusCode::BAD_REQUEST, code, error.to_string())
    })?;
    let message = match (body.kind, body.payload, body.message) {
        (Some(kind), payload, None) => Outgoing::new(kind, payload.map_or(Ok(Payload::EMPTY), checked)?),
        (None, None, Some(message)) => envelope(server, &message)?,
        _ => {
            let message = "give either type (and payload), or message";
            return Err(ApiError::new(StatusCode::BAD_REQUEST, Code::InvalidRequest, message));
        }
    };
    Ok((body.topic, message))
}

fn checked(payload: Box<RawValue>) -> Result<Payload, ApiError> {
    let text = Box::<str>::from(payload).into_string().into_bytes();
    Payload::from_json(text).map_err(|error| {
        let (code, message) = match &error {
            PayloadError::Text(why) => (why.code, why.detail.clone()),
            other => (Code::InvalidJson, other.to_string()),
        };
        ApiError::new(StatusCode::BAD_REQUEST, code, format!("payload: {message}"))
    })
}

fn envelope(server: &Server, message: &RawValue) -> Result<Outgoing, ApiError> {
    let frame = Frame::Text(Bytes::copy_from_slice(message.get().as_bytes()));
    match wire::decode(&frame, server.limits(), None) {
        Ok(message) => Ok(forwarded(&message)),
        Err(error) => Err(ApiError::new(StatusCode::BAD_REQUEST, error.code, format!("message: {}", error.detail))),
    }
}

fn refused(error: PublishError) -> ApiError {
    let status = match &error {
        PublishError::Invalid(SendError::TooLarge { .. }) => StatusCode::PAYLOAD_TOO_LARGE,
        PublishError::Invalid(_) => StatusCode::BAD_REQUEST,
        PublishError::TooManyTopics { .. } | PublishError::OutOfMemory | PublishError::ShuttingDown => {
            StatusCode::SERVICE_UNAVAILABLE
        }
    };
    ApiError::new(status, error.code(), error.to_string())
}
