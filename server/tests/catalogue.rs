//! Every message type of a client, in the dialects of all clients there are, and what the server does with it.
//! Source: PROTOCOL.md §11.6.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use http::HeaderMap;
use serde_json::{Value, json};
use wse_client_core::{
    client::Request,
    io::Frame,
    server::HANDLED,
    wire::{self, Category, Encoding, Head, Limits, Payload},
};
use wse_server::{Attached, Carried, Config, ConnectionHandle, Handler, Message, Server};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// How clients write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dialect {
    /// `wse-client` 1.x: the category as prefix.
    One,
    /// `wse-client` 2.x: the category as member `c`.
    Two,
    /// Clients of this repository.
    Own,
    /// The same, written in msgpack.
    Packed,
}

use Dialect::{One, Own, Packed, Two};

/// What a message leads to.
#[derive(Debug, Clone, Copy)]
enum Then {
    /// A message of this type to the client, with these members in its payload and the id of the question as `cid`.
    Answer(&'static str, &'static [&'static str]),
    /// The same without `cid`: it answers no question.
    Says(&'static str, &'static [&'static str]),
    /// An `error` with this code.
    Error(&'static str),
    /// Nothing to anyone.
    Nothing,
    /// The application gets it, under this type.
    Application(&'static str),
    /// The client is told this, and the application gets it too.
    Both(&'static str),
}

use Then::{Answer, Application, Both, Nothing, Says};

/// Every type: its payload, and what it leads to in each dialect. Where the three differ, a type has more than one row.
fn table() -> Vec<(&'static str, Value, &'static [Dialect], Then)> {
    let all: &[Dialect] = &[One, Two, Own, Packed];
    let pong: &[&str] = &["client_timestamp", "server_timestamp", "latency", "connection_id"];
    let hello: &[&str] =
        &["server_version", "protocol_version", "features", "supported_features", "limits", "ping_interval"];
    let subscribed: &[&str] = &[
        "action",
        "success",
        "message",
        "topics",
        "success_topics",
        "failed_topics",
        "already_subscribed",
        "pending_subscriptions",
        "failed_subscriptions",
        "active_subscriptions",
        "subscription_limits",
        "timestamp",
    ];
    let health: &[&str] = &["status", "diagnostics", "circuit_breaker", "sequence_stats", "client_info", "uptime_ms"];
    let config: &[&str] = &[
        "compression_enabled",
        "compression_threshold",
        "encryption_enabled",
        "batch_size",
        "batch_timeout",
        "max_queue_size",
        "protocol_version",
        "heartbeat_interval",
        "idle_timeout",
    ];
    let metrics: &[&str] = &[
        "connection_stats",
        "subscriptions",
        "event_bus_stats",
        "queue_stats",
        "circuit_breaker",
        "diagnostics",
        "sequence_stats",
        "compression_stats",
        "security",
        "uptime",
    ];
    let debug: &[&str] = &["connection_stats", "subscriptions", "queue_stats", "handlers", "uptime"];
    let inner = json!({"t": "chat", "p": {"n": 1}});
    vec![
        ("ping", json!({"timestamp": 5}), all, Says("PONG", pong)),
        ("PING", json!({"timestamp": 5}), all, Says("PONG", pong)),
        ("pong", json!({}), all, Nothing),
        ("PONG", json!({"timestamp": 5}), all, Nothing),
        ("heartbeat", json!({}), all, Nothing),
        ("client_hello", json!({"client_version": "1.3.8", "protocol_version": 1}), all, Says("server_hello", hello)),
        (
            "connection_state_request",
            json!({}),
            all,
            Answer("connection_state_response", &["state", "connection_id", "user_id"]),
        ),
        (
            "subscription",
            json!({"action": "subscribe", "topics": ["a"]}),
            all,
            Answer("subscription_update", subscribed),
        ),
        (
            "subscription_update",
            json!({"action": "unsubscribe", "topics": ["a"]}),
            all,
            Answer("subscription_update", subscribed),
        ),
        ("subscription_update", json!({"action": "wish", "topics": ["a"]}), all, Then::Error("INVALID_ACTION")),
        ("subscription_update", json!({"action": "subscribe", "topics": []}), all, Then::Error("INVALID_SUBSCRIPTION")),
        (
            "sync_request",
            json!({"topics": []}),
            all,
            Answer("snapshot_complete", &["success", "message", "snapshots_sent"]),
        ),
        ("presence_request", json!({"topic": "a"}), all, Answer("presence_response", &["topic", "total", "members"])),
        ("health_check", json!({}), all, Answer("health_check_response", health)),
        ("health_check_request", json!({}), all, Answer("health_check_response", health)),
        (
            "health_check_response",
            json!({"diagnostics": {"quality": "good"}}),
            all,
            Application("health_check_response"),
        ),
        ("health_check_response", json!({"diagnostics": {"quality": "poor"}}), all, Both("connection_quality")),
        ("health_check_response", json!({"quality": "fair"}), all, Both("connection_quality")),
        ("metrics_request", json!({}), all, Answer("metrics_response", metrics)),
        ("metrics_response", json!({"a": 1}), all, Application("metrics_response")),
        ("sync_response", json!({"topics": []}), all, Application("sync_response")),
        ("config_request", json!({}), all, Answer("config_response", config)),
        (
            "config_update",
            json!({"batch_size": 5}),
            all,
            Answer("config_update_response", &["success", "updated_settings", "timestamp"]),
        ),
        ("priority_message", json!({"message": inner, "priority": 8}), all, Application("chat")),
        ("priority_message", json!({"content": 1, "priority": 8}), all, Application("priority_message")),
        (
            "batch_message",
            json!({"messages": [inner]}),
            all,
            Answer("batch_message_result", &["total", "successful", "failed", "results"]),
        ),
        ("batch", json!({"messages": [inner], "count": 1}), all, Application("chat")),
        ("debug_handlers", json!({}), all, Answer("debug_handlers_response", &["handlers"])),
        ("debug_request", json!({}), all, Answer("debug_response", debug)),
        (
            "sequence_stats_request",
            json!({}),
            all,
            Answer("sequence_stats_response", &["total_topics", "total_buffered"]),
        ),
        (
            "encryption_request",
            json!({"action": "enable"}),
            all,
            Answer("encryption_response", &["enabled", "algorithms"]),
        ),
        ("key_rotation_request", json!({}), all, Then::Error("ENCRYPTION_REQUIRED")),
        ("key_rotation_response", json!({}), all, Nothing),
        ("system_status_request", json!({}), all, Answer("system_status_response", &["status", "server_version"])),
        ("order_placed", json!({"n": 1}), all, Application("order_placed")),
        ("request_snapshot", json!({}), all, Application("request_snapshot")),
    ]
}

/// The types that the first design of the protocol names.
const NAMED: &[&str] = &[
    "ping",
    "PING",
    "pong",
    "PONG",
    "client_hello",
    "connection_state_request",
    "subscription",
    "subscription_update",
    "sync_request",
    "health_check",
    "health_check_request",
    "health_check_response",
    "metrics_request",
    "metrics_response",
    "config_update",
    "config_request",
    "priority_message",
    "batch_message",
    "debug_handlers",
    "debug_request",
    "sequence_stats_request",
    "encryption_request",
    "key_rotation_request",
    "system_status_request",
];

/// Notes what reaches the application, and passes it on as the program does.
#[derive(Clone, Default)]
struct Notes(Arc<Mutex<Vec<String>>>);

impl Handler for Notes {
    fn on_messages(&self, connection: &ConnectionHandle, messages: &mut Vec<Message>) {
        for message in messages.drain(..) {
            self.0.lock().expect("not poisoned").push(message.kind().to_owned());
            connection.publish_to_user_topic(&message);
        }
    }
}

async fn server() -> (Server, Notes) {
    let notes = Notes::default();
    let config = Config { port: 0, ..Config::default() };
    (Server::builder(config).handler(notes.clone()).bind().await.expect("binds"), notes)
}

fn join(server: &Server, dialect: Dialect) -> Attached {
    let version = match dialect {
        One => "1.3.8",
        Two => "2.0.7",
        Own | Packed => "0.1.0",
    };
    let query = format!("client_version={version}&protocol_version=1&compression=true&encryption=false");
    let mut connection = server.attach(&HeaderMap::new(), &query, None);
    let features = json!({"batching": true, "full_duplex": matches!(dialect, Own | Packed)});
    say(&mut connection, dialect, "client_hello", &json!({"client_version": version, "features": features}));
    assert!(heard(&mut connection).iter().any(|message| message.kind() == "server_hello"));
    connection
}

fn say(connection: &mut Attached, dialect: Dialect, kind: &str, payload: &Value) {
    let category = match Category::of_kind(kind) {
        Category::System => "WSE",
        Category::Snapshot => "S",
        _ => "U",
    };
    if dialect == Packed {
        let head = Head { kind, id: Some("q1"), ..Head::default() };
        let payload = Payload::new(payload).expect("plain JSON");
        return connection.on_frame(wire::encode(&head, &payload, Encoding::Msgpack, None));
    }
    let text = match dialect {
        Two => json!({"c": category, "t": kind, "p": payload, "id": "q1", "v": 1}).to_string(),
        _ => format!("{category}{}", json!({"t": kind, "p": payload, "id": "q1", "v": 1})),
    };
    connection.on_frame(Frame::Text(text.into()));
}

fn heard(connection: &mut Attached) -> Vec<Message> {
    let mut messages = Vec::new();
    while let Some(carried) = connection.take() {
        let Carried::Frame(frame) = carried else { panic!("closed") };
        messages.push(wire::decode(&frame, &Limits::default(), None).expect("decodable"));
    }
    messages
}

#[tokio::test]
async fn every_type_leads_to_what_the_table_says_in_every_dialect() {
    let (server, notes) = server().await;
    for (kind, payload, dialects, then) in table() {
        for &dialect in dialects {
            let mut connection = join(&server, dialect);
            say(&mut connection, dialect, kind, &payload);
            let mut answers = heard(&mut connection);
            if kind == "sync_request" && answers.is_empty() {
                // The states of topics come from the application, in its own time.
                let ready = tokio::time::timeout(PATIENCE, connection.ready());
                ready.await.expect("answered in time");
                answers = heard(&mut connection);
            }
            let application = std::mem::take(&mut *notes.0.lock().expect("not poisoned"));
            let what = format!("{kind} {payload} {dialect:?}");
            check(&what, then, &answers, &application);
            assert!(!connection.is_closed(), "{what}: closed");
        }
    }
}

fn check(what: &str, then: Then, answers: &[Message], application: &[String]) {
    let said: Vec<&str> = answers.iter().map(Message::kind).collect();
    let payload = |index: usize| answers[index].payload().parse::<Value>().expect("JSON");
    match then {
        Answer(kind, members) | Says(kind, members) => {
            assert_eq!(said, [kind], "{what}");
            let payload = payload(0);
            for member in members {
                assert!(payload.get(member).is_some(), "{what}: {member} is missing in {payload}");
            }
            // All answers name their question, those of the handshake excepted.
            let named = answers[0].correlation_id() == Some("q1");
            assert!(named || matches!(then, Says(..)), "{what}: without cid");
            let passed_on = if kind == "batch_message_result" { &["chat"][..] } else { &[] };
            assert_eq!(application, passed_on, "{what}");
        }
        Then::Error(code) => {
            assert_eq!(said, ["error"], "{what}");
            assert_eq!(payload(0)["code"], code, "{what}");
            assert_eq!(answers[0].correlation_id(), Some("q1"), "{what}");
            assert!(application.is_empty(), "{what}: {application:?}");
        }
        Nothing => assert!(said.is_empty() && application.is_empty(), "{what}: {said:?} {application:?}"),
        Application(kind) => {
            assert_eq!(application, [kind], "{what}");
            assert!(said.is_empty(), "{what}: {said:?}");
        }
        Both(kind) => {
            assert_eq!(said, [kind], "{what}");
            assert_eq!(application.len(), 1, "{what}");
        }
    }
}

#[test]
fn the_table_has_every_type() {
    let table = table();
    let has = |kind: &str| table.iter().any(|row| row.0 == kind);
    let missing: Vec<&&str> = HANDLED.iter().chain(NAMED).filter(|kind| !has(kind)).collect();
    assert_eq!(missing, Vec::<&&str>::new());
    let questions = [
        Request::Health,
        Request::Metrics,
        Request::ServerConfig,
        Request::Debug,
        Request::Handlers,
        Request::SequenceStats,
        Request::SystemStatus,
        Request::ConnectionState,
        Request::Encryption,
        Request::Presence { topic: "a".into(), after: None, limit: Some(5) },
        Request::Batch(Vec::new()),
    ];
    for question in questions {
        assert!(has(question.kind()), "{}", question.kind());
        let answer = question.answer_kind().expect("known");
        for row in table.iter().filter(|row| row.0 == question.kind()) {
            // Our own clients know an answer by its type, so it must be that one.
            assert!(!matches!(row.3, Answer(kind, _) if kind != answer), "{}", row.0);
        }
    }
}

/// Taken by the server as long as a setting does not say otherwise.
const BY_SETTING: &[&str] = &["sync_request", "presence_request"];

/// Taken by the server, which hands on what is in them, or the message itself.
const HANDED_ON: &[&str] = &["batch", "batch_message", "priority_message", "health_check_response"];

#[test]
fn what_the_server_takes_itself_is_what_it_says_it_does() {
    for (kind, _, dialects, then) in table() {
        assert_eq!(dialects.len(), 4, "{kind} is not said for every dialect");
        let taken = !matches!(then, Application(_)) || HANDED_ON.contains(&kind);
        assert_eq!(HANDLED.contains(&kind) || BY_SETTING.contains(&kind), taken, "{kind}");
    }
}

#[tokio::test]
async fn what_no_handler_knows_reaches_who_listens_to_the_users_topic() {
    let (server, _) = server().await;
    for dialect in [One, Two, Own, Packed] {
        let mut listener = join(&server, Own);
        say(&mut listener, Own, "subscription", &json!({"topics": ["client:*:messages"]}));
        let mut connection = join(&server, dialect);
        say(&mut connection, dialect, "order_placed", &json!({"n": 1}));
        let got = heard(&mut listener);
        let order = got.iter().find(|message| message.kind() == "order_placed").expect("published");
        assert!(order.topic().is_some_and(|topic| topic.starts_with("client:") && topic.ends_with(":messages")));
    }
}
