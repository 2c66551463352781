//! `POST /wse/publish`: messages to topics from any program that speaks HTTP. Source: PROTOCOL.md §6.2.
//!
//! ```text
//! {"topic": "t", "type": "k", "payload": {…}}      type and payload; payload may be left out
//! {"topic": "t", "message": {"t": "k", "p": {…}}}  a ready envelope
//! -> 200 {"delivered": 3, "id": "…"}
//!
//! {"messages": [ any of these, … ]}                several, in this order
//! -> 200 {"published": 1, "refused": 1, "results": [{"delivered": 3, "id": "…"}, {"error": {"code": "…", "message": "…"}}]}
//! ```

use axum::{
    body::Bytes,
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use http::{HeaderValue, StatusCode, header};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use wse_client_core::{
    client::{Outgoing, SendError},
    error::Code,
    io::Frame,
    wire::{self, Payload, PayloadError},
};

use super::{
    ApiError,
    access::check_key,
    error::Refusal,
    idempotency::{self, Outcome},
    log::traceparent,
    request::{self, bad},
};
use crate::{
    handler::forwarded,
    server::{PublishError, Server},
};

/// Most messages in one request.
const MAX_BATCH: usize = 1000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    topic: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    #[serde(default, deserialize_with = "given")]
    payload: Option<Box<RawValue>>,
    message: Option<Box<RawValue>>,
    messages: Option<Vec<Box<RawValue>>>,
}

/// A payload that is `null` is a payload, not the lack of one.
fn given<'de, D: serde::Deserializer<'de>>(value: D) -> Result<Option<Box<RawValue>>, D::Error> {
    Box::<RawValue>::deserialize(value).map(Some)
}

#[derive(Serialize)]
struct Answer {
    /// Number of connections that get the message.
    delivered: usize,
    id: String,
}

#[derive(Serialize)]
struct BatchAnswer {
    published: usize,
    refused: usize,
    results: Vec<Single>,
}

/// What became of one message of several.
#[derive(Serialize)]
#[serde(untagged)]
enum Single {
    Published(Answer),
    Refused { error: Refusal },
}

pub(super) async fn publish(State(server): State<Server>, request: Request) -> Result<Response, ApiError> {
    check_key(&server, request.headers(), Code::PublishDenied)?;
    let key = idempotency::key(request.headers())?.map(str::to_owned);
    let trace = traceparent(request.headers()).map(str::to_owned);
    let body = request::body(&server, request).await?;
    let act = || act(&server, &body, trace.as_deref());
    let outcome = match key {
        None => Outcome { body: act()?, repeated: false },
        Some(key) => server.answers().once(&key, &body, server.now(), act)?,
    };
    let mut response = outcome.body.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if outcome.repeated {
        server.counters().publishes_repeated.one();
        headers.insert("idempotent-replayed", HeaderValue::from_static("true"));
    }
    Ok(response)
}

/// Publishes what the body says, as a part of `trace`, and gives the answer.
fn act(server: &Server, body: &[u8], trace: Option<&str>) -> Result<Bytes, ApiError> {
    let mut body = parse(body)?;
    let Some(messages) = body.messages.take() else { return json(&publish_one(server, body, trace)?) };
    if body.topic.is_some() || body.kind.is_some() || body.payload.is_some() || body.message.is_some() {
        return Err(bad("messages stands alone: each of them has its own topic"));
    }
    if messages.is_empty() || messages.len() > MAX_BATCH {
        return Err(bad(format!("messages must be 1 to {MAX_BATCH}")));
    }
    let results = messages.iter().map(|message| {
        match parse(message.get().as_bytes()).and_then(|body| publish_one(server, body, trace)) {
            Ok(answer) => Single::Published(answer),
            Err(error) => Single::Refused { error: error.refusal() },
        }
    });
    let results: Vec<_> = results.collect();
    let published = results.iter().filter(|result| matches!(result, Single::Published(_))).count();
    json(&BatchAnswer { published, refused: results.len() - published, results })
}

fn json(answer: &impl Serialize) -> Result<Bytes, ApiError> {
    let failed =
        |_| ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, Code::ServerError, "the answer could not be written");
    serde_json::to_vec(answer).map(Bytes::from).map_err(failed)
}

fn parse(body: &[u8]) -> Result<Body, ApiError> {
    serde_json::from_slice(body).map_err(|error| {
        let code = if error.is_data() { Code::InvalidRequest } else { Code::InvalidJson };
        ApiError::new(StatusCode::BAD_REQUEST, code, error.to_string())
    })
}

fn publish_one(server: &Server, body: Body, trace: Option<&str>) -> Result<Answer, ApiError> {
    let Some(topic) = body.topic else { return Err(bad("no topic")) };
    let mut message = match (body.kind, body.payload, body.message, body.messages) {
        (Some(kind), payload, None, None) => Outgoing::new(kind, payload.map_or(Ok(Payload::EMPTY), checked)?),
        (None, None, Some(message), None) => envelope(server, &message)?,
        _ => return Err(bad("give either type (and payload), or message")),
    };
    // What a message says itself counts more than what is said of the request.
    message.traceparent = message.traceparent.or_else(|| trace.map(str::to_owned));
    let published = server.publish(&topic, message).map_err(refused)?;
    Ok(Answer { delivered: published.delivered, id: published.id })
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
