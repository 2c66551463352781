//! Trace ids travel with messages, from whoever publishes to whoever receives.

mod common;

use common::{Running, http, open, payload};
use serde_json::json;
use wse_client_core::wire::Payload;
use wse_server::{Config, ConnectionHandle, Handler, Message, Outgoing};

const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const OTHER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";

#[tokio::test]
async fn from_http_to_every_form_of_connection() {
    let running = Running::start(open()).await;
    for query in ["", "?format=text", "?format=msgpack"] {
        let mut client = running.subscriber(query, &["t"]).await;
        let header = format!("traceparent: {TRACE}");
        let body = json!({ "messages": [
            { "topic": "t", "type": "of_the_request" },
            { "topic": "t", "message": { "t": "its_own", "traceparent": OTHER } },
        ] });
        let headers = ["content-type: application/json", &header];
        let answer = http(running.addr(), "POST", "/wse/publish", &headers, body.to_string().as_bytes()).await;
        assert_eq!(answer.json()["published"], 2, "{}", answer.body);
        let (first, second) = (client.message().await, client.message().await);
        assert_eq!((first.kind(), first.traceparent()), ("of_the_request", Some(TRACE)), "{query}");
        assert_eq!((second.kind(), second.traceparent()), ("its_own", Some(OTHER)), "{query}");
    }
}

#[tokio::test]
async fn from_client_to_client_and_from_the_application() {
    let running = Running::start(Config { compression: None, ..open() }).await;
    let mut client = running.subscriber("", &["t"]).await;
    client.send_json(&json!({ "t": "k", "p": {}, "tp": "t", "traceparent": TRACE })).await;
    assert_eq!(client.message_of("k").await.traceparent(), Some(TRACE));
    let message = Outgoing { traceparent: Some(OTHER.into()), ..Outgoing::new("app", Payload::EMPTY) };
    running.server.publish("t", message).expect("published");
    assert_eq!(client.message_of("app").await.traceparent(), Some(OTHER));
}

#[tokio::test]
async fn what_is_no_trace_goes_no_further() {
    let running = Running::start(open()).await;
    let mut client = running.subscriber("?format=text", &["t"]).await;
    client.send_json(&json!({ "t": "k", "p": {}, "tp": "t", "traceparent": "00-my-secret-01" })).await;
    let headers = ["content-type: application/json", "traceparent: nonsense"];
    let body = json!({ "topic": "t", "type": "k" }).to_string();
    http(running.addr(), "POST", "/wse/publish", &headers, body.as_bytes()).await;
    for _ in 0..2 {
        let frame = client.frame().await.expect("a frame");
        let text = String::from_utf8_lossy(frame.bytes()).into_owned();
        assert!(text.contains("\"t\":\"k\"") && !text.contains("trace"), "{text}");
    }
}

/// Answers with the trace that it was asked with.
struct Echo;

impl Handler for Echo {
    fn on_messages(&self, connection: &ConnectionHandle, messages: &mut Vec<Message>) {
        for message in messages.drain(..) {
            let answer = Payload::new(&message.traceparent()).expect("JSON");
            let traceparent = message.traceparent().map(str::to_owned);
            connection.send(Outgoing { traceparent, ..Outgoing::new("echo", answer) }).expect("queued");
        }
    }
}

#[tokio::test]
async fn to_the_application_and_back() {
    let running = Running::with_handler(open(), Echo).await;
    let mut client = running.ready_client("").await;
    client.send_json(&json!({ "t": "k", "p": {}, "traceparent": TRACE })).await;
    let answer = client.message_of("echo").await;
    assert_eq!((payload(&answer), answer.traceparent()), (json!(TRACE), Some(TRACE)));
}
