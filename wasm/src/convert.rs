//! From the engine's values to JavaScript's. Payloads cross as JSON text, to be parsed when someone looks.

use std::time::Duration;

use js_sys::{Array, Object, Reflect};
use wasm_bindgen::prelude::*;
use wse_client_core::{
    client::{Disconnect, Event, NoticeKind, RequestId, RequestOutcome, ServerError, ServerInfo, SubscriptionOutcome},
    error::Code,
    wire::Message,
};

#[wasm_bindgen(typescript_custom_section)]
const TYPES: &str = r#"
export type WireState = "idle" | "connecting" | "connected" | "reconnecting" | "failed" | "closed";
export interface WireServer {
  connectionId?: string; userId?: string; serverVersion?: string; encrypted: boolean; endpoint: string;
}
export interface WireDisconnect {
  code: string; retryable: boolean; closeCode?: number; closeReason?: string; detail: string; retryInMs?: number;
}
/** Type, payload as JSON text, id, sequence, timestamp, topic, category, priority, correlation id, notice, trace. */
export type WireMessage = [
  type: string, payload: string, id?: string, sequence?: number, timestamp?: string, topic?: string,
  category?: "WSE" | "S" | "U", priority?: number, correlationId?: string, notice?: string,
  traceparent?: string,
];
export type WireEvent =
  | ["message", WireMessage]
  | ["stateChanged", from: WireState, to: WireState]
  | ["connected", WireServer]
  | ["disconnected", WireDisconnect]
  | ["subscribed", request: number, action: "subscribe" | "unsubscribe", accepted: string[],
     refused: [topic: string, reason: string][], confirmed: boolean, present: [topic: string, users: number][]]
  | ["serverError", code: string, message: string, recoverable: boolean, source: WireMessage]
  | ["rejected", code: string, detail: string]
  | ["recovery", topic: string, outcome: "recovered" | "partial" | "lost", count: number]
  | ["lost", topic: string | undefined, count: number | undefined, epoch?: string, from?: number, to?: number]
  | ["dropped", id: string, priority: number, reason: string]
  | ["answered", request: number, answer: WireMessage]
  | ["unanswered", request: number, code: string, message: string, retryable: boolean]
  | ["latency", ms: number];
"#;

/// One event as an array whose first element names it.
pub(crate) fn event(event: &Event) -> JsValue {
    match event {
        Event::Message(message) => tuple([text("message"), self::message(message, None)]),
        Event::Notice(notice) => tuple([text("message"), message(&notice.source, Some(notice.kind))]),
        Event::Response { request, outcome } => response(*request, outcome),
        Event::StateChanged { from, to } => tuple([text("stateChanged"), text(from.as_str()), text(to.as_str())]),
        Event::Connected(info) => tuple([text("connected"), server(info)]),
        Event::Disconnected(end) => tuple([text("disconnected"), disconnect(end)]),
        Event::Subscribed(outcome) => subscribed(outcome),
        Event::ServerError(failure) => server_error(failure),
        Event::Rejected(failure) => tuple([text("rejected"), text(failure.code.as_str()), text(&failure.detail)]),
        Event::Recovery { topic, outcome, count: following } => {
            tuple([text("recovery"), text(topic), text(outcome.as_str()), count(*following)])
        }
        Event::Lost { topic, count, range } => tuple([
            text("lost"),
            optional_text(topic.as_deref()),
            optional(*count),
            optional_text(range.as_ref().map(|range| range.epoch.as_str())),
            optional(range.as_ref().map(|range| range.from)),
            optional(range.as_ref().and_then(|range| range.to)),
        ]),
        Event::Dropped { id, priority, reason } => {
            tuple([text("dropped"), text(id), count(priority.as_number().into()), text(reason.as_str())])
        }
        Event::Latency(length) => tuple([text("latency"), millis(*length)]),
        // The engine may learn events that this build does not know; the wrapper skips an unknown name.
        _ => tuple([text("unknown")]),
    }
}

fn message(message: &Message, notice: Option<NoticeKind>) -> JsValue {
    tuple([
        text(message.kind()),
        text(&message.payload().to_json()),
        optional_text(message.id()),
        optional(message.sequence()),
        optional_text(message.timestamp()),
        optional_text(message.topic()),
        optional_text(message.category().map(|category| category.as_str())),
        optional(message.priority().map(|priority| priority.as_number().into())),
        optional_text(message.correlation_id()),
        optional_text(notice.map(NoticeKind::as_str)),
        optional_text(message.traceparent()),
    ])
}

fn subscribed(outcome: &SubscriptionOutcome) -> JsValue {
    tuple([
        text("subscribed"),
        JsValue::from(outcome.request.0 as f64),
        text(outcome.action.as_str()),
        list(outcome.accepted.iter().map(|topic| text(topic))),
        list(outcome.refused.iter().map(|(topic, reason)| tuple([text(topic), text(reason)]))),
        outcome.confirmed.into(),
        list(outcome.present.iter().map(|(topic, users)| tuple([text(topic), count(*users)]))),
    ])
}

fn response(request: RequestId, outcome: &RequestOutcome) -> JsValue {
    let request = JsValue::from(request.0 as f64);
    let failed = |code: &str, words: &str, retryable: bool| {
        tuple([text("unanswered"), request.clone(), text(code), text(words), retryable.into()])
    };
    let ours = |code: Code, words| failed(code.as_str(), words, code.is_retryable());
    match outcome {
        RequestOutcome::Answered(answer) => tuple([text("answered"), request, message(answer, None)]),
        RequestOutcome::Refused(error) => failed(&error.code, &error.message, error.recoverable),
        RequestOutcome::TimedOut => ours(Code::Timeout, "the server did not answer in time"),
        // What a later engine may add is no answer either.
        _ => ours(Code::ConnectionClosed, "the connection ended before the answer came"),
    }
}

fn server_error(failure: &ServerError) -> JsValue {
    tuple([
        text("serverError"),
        text(&failure.code),
        text(&failure.message),
        failure.recoverable.into(),
        message(&failure.source, None),
    ])
}

/// What the server said about itself.
pub(crate) fn server(info: &ServerInfo) -> JsValue {
    object([
        ("connectionId", optional_text(info.connection_id.as_deref())),
        ("userId", optional_text(info.user_id.as_deref())),
        ("serverVersion", optional_text(info.server_version.as_deref())),
        ("encrypted", info.encrypted.into()),
        ("endpoint", text(&info.endpoint)),
    ])
}

fn disconnect(end: &Disconnect) -> JsValue {
    object([
        ("code", text(end.code.as_str())),
        ("retryable", end.code.is_retryable().into()),
        ("closeCode", optional(end.close.as_ref().map(|close| close.code.into()))),
        ("closeReason", optional_text(end.close.as_ref().map(|close| close.reason.as_str()))),
        ("detail", text(&end.detail)),
        ("retryInMs", end.retry_in.map_or(JsValue::UNDEFINED, millis)),
    ])
}

fn text(value: &str) -> JsValue {
    JsValue::from_str(value)
}

fn optional_text(value: Option<&str>) -> JsValue {
    value.map_or(JsValue::UNDEFINED, text)
}

/// As a number: exact up to 2^53, which no counter of one connection reaches.
fn count(value: u64) -> JsValue {
    JsValue::from(value as f64)
}

fn optional(value: Option<u64>) -> JsValue {
    value.map_or(JsValue::UNDEFINED, count)
}

fn millis(length: Duration) -> JsValue {
    JsValue::from(length.as_secs_f64() * 1000.0)
}

fn tuple<const N: usize>(values: [JsValue; N]) -> JsValue {
    list(values.into_iter())
}

fn list(values: impl Iterator<Item = JsValue>) -> JsValue {
    values.collect::<Array>().into()
}

/// A plain object; members that are `undefined` are left out.
fn object<const N: usize>(members: [(&str, JsValue); N]) -> JsValue {
    let object = Object::new();
    for (name, value) in members {
        if !value.is_undefined() {
            // Setting a property of a fresh plain object cannot fail.
            let _ = Reflect::set(&object, &name.into(), &value);
        }
    }
    object.into()
}
