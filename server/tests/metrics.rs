//! `GET /wse/metrics`: every metric moves, and the pages about them tell the truth.

mod common;

use std::collections::{BTreeMap, BTreeSet};

use common::{Running, closed, http, open, token};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use wse_client_core::{
    io::Close,
    wire::{Payload, Priority},
};
use wse_server::{Config, ConnectionHandle, Handler, Message, Outgoing};

const DOCS: &str = include_str!("../../docs/metrics.md");
const DASHBOARD: &str = include_str!("../../deploy/grafana.json");

/// A report: values by name and labels as they are written, and types by name.
struct Report {
    samples: BTreeMap<String, f64>,
    types: BTreeMap<String, String>,
}

impl Report {
    async fn of(running: &Running) -> Self {
        let answer = http(running.addr(), "GET", "/wse/metrics", &[], b"").await;
        assert_eq!(answer.status, 200);
        assert!(answer.head.contains("content-type: text/plain; version=0.0.4"), "{}", answer.head);
        Self::parse(&answer.body)
    }

    fn parse(text: &str) -> Self {
        let (mut samples, mut types) = (BTreeMap::new(), BTreeMap::new());
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').expect("a name and a type");
                assert!(types.insert(name.to_owned(), kind.to_owned()).is_none(), "{name} comes twice");
            } else if !line.starts_with("# HELP ") {
                let (name, value) = line.rsplit_once(' ').expect("a name and a value");
                let value = value.parse().unwrap_or_else(|_| panic!("not a number: {line}"));
                assert!(samples.insert(name.to_owned(), value).is_none(), "{name} comes twice");
            }
        }
        Self { samples, types }
    }

    /// The value of one series; 0 when there is none yet.
    fn get(&self, series: &str) -> f64 {
        self.samples.get(series).copied().unwrap_or(0.0)
    }

    /// Names of all labels of a family.
    fn labels(&self, family: &str) -> BTreeSet<String> {
        let of_family = |name: &str| {
            let rest = name.strip_prefix(family)?;
            let rest = ["_bucket", "_sum", "_count"].iter().find_map(|s| rest.strip_prefix(s)).unwrap_or(rest);
            (rest.is_empty() || rest.starts_with('{')).then(|| rest.to_owned())
        };
        let labels = self.samples.keys().filter_map(|name| of_family(name));
        let names = labels.flat_map(|labels| {
            let pairs = labels.trim_matches(['{', '}']).split(',').map(str::to_owned).collect::<Vec<_>>();
            pairs.into_iter().filter_map(|pair| pair.split_once('=').map(|(name, _)| name.to_owned()))
        });
        names.filter(|name| name != "le").collect()
    }
}

/// Waits until a series has a value.
async fn reaches(running: &Running, series: &str, value: f64) {
    for _ in 0..200 {
        if Report::of(running).await.get(series) >= value {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("{series} is {}, not {value}", Report::of(running).await.get(series));
}

/// Answers each message with as many of a size as it asks for.
struct Flood;

impl Handler for Flood {
    fn on_messages(&self, connection: &ConnectionHandle, messages: &mut Vec<Message>) {
        for message in messages.drain(..) {
            if message.kind() == "panic" {
                panic!("the application's own fault");
            }
            let wanted: Value = message.payload().parse().expect("JSON");
            let kind = wanted["kind"].as_str().unwrap_or("answer");
            let filler = "x".repeat(wanted["size"].as_u64().expect("a size") as usize);
            for _ in 0..wanted["count"].as_u64().expect("a count") {
                let payload = Payload::new(&filler).expect("JSON");
                let _ = connection.send(Outgoing { priority: Priority::High, ..Outgoing::new(kind, payload) });
            }
        }
    }
}

fn with_priority(kind: &str, priority: Priority) -> Outgoing {
    Outgoing { priority, ..Outgoing::new(kind, Payload::EMPTY) }
}

#[tokio::test]
async fn ws_connections_active() {
    let running = Running::start(open()).await;
    let client = running.ready_client("").await;
    reaches(&running, "ws_connections_active", 1.0).await;
    drop(client);
    for _ in 0..200 {
        if Report::of(&running).await.get("ws_connections_active") == 0.0 {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("the connection is counted after its end");
}

#[tokio::test]
async fn ws_connections_total() {
    let running = Running::start(open()).await;
    let _clients = (running.ready_client("").await, running.ready_client("").await);
    assert_eq!(Report::of(&running).await.get("ws_connections_total{user=\"guest\"}"), 2.0);
    let running = Running::start(closed()).await;
    let _client = running.ready_client(&format!("?token={}", token())).await;
    assert_eq!(Report::of(&running).await.get("ws_connections_total{user=\"authenticated\"}"), 1.0);
}

#[tokio::test]
async fn ws_disconnections_total() {
    let running = Running::start(open()).await;
    let mut polite = running.ready_client("").await;
    polite.socket.close(None).await.expect("closed");
    reaches(&running, "ws_disconnections_total{reason=\"normal\"}", 1.0).await;
    drop(running.ready_client("").await);
    reaches(&running, "ws_disconnections_total{reason=\"lost\"}", 1.0).await;
    assert_eq!(Report::of(&running).await.get("ws_disconnections_total{reason=\"policy\"}"), 0.0);
}

#[tokio::test]
async fn ws_messages_sent_total() {
    let running = Running::with_handler(open(), Flood).await;
    let mut client = running.subscriber("", &["t"]).await;
    for _ in 0..3 {
        running.server.publish("t", with_priority("price", Priority::High)).expect("published");
    }
    client.send_json(&json!({ "t": "ask", "p": { "size": 10, "count": 2 } })).await;
    for _ in 0..5 {
        client.message().await;
    }
    let report = Report::of(&running).await;
    let sent =
        |kind, priority| report.get(&format!("ws_messages_sent_total{{type=\"{kind}\",priority=\"{priority}\"}}"));
    assert_eq!((sent("price", "high"), sent("answer", "high")), (3.0, 2.0));
    assert_eq!((sent("server_ready", "critical"), sent("subscription_update", "critical")), (1.0, 1.0));
}

#[tokio::test]
async fn a_message_of_the_application_that_looks_like_one_of_the_server_is_counted_once() {
    let running = Running::with_handler(open(), Flood).await;
    let mut client = running.ready_client("").await;
    for kind in ["error", "lost"] {
        client.send_json(&json!({ "t": "ask", "p": { "size": 10, "count": 1, "kind": kind } })).await;
        client.message_of(kind).await;
    }
    let report = Report::of(&running).await;
    for kind in ["error", "lost"] {
        let sent = |priority| report.get(&format!("ws_messages_sent_total{{type=\"{kind}\",priority=\"{priority}\"}}"));
        assert_eq!((sent("high"), sent("critical")), (1.0, 0.0), "{kind}");
    }
}

#[tokio::test]
async fn ws_messages_sent_total_of_an_encoded_connection() {
    let running = Running::with_handler(open(), Flood).await;
    let mut client = running.subscriber("?format=msgpack", &["t"]).await;
    running.server.publish("t", with_priority("price", Priority::Low)).expect("published");
    client.message_of("price").await;
    client.send_json(&json!({ "t": "ask", "p": { "size": 5000, "count": 1 } })).await;
    client.message_of("answer").await;
    let report = Report::of(&running).await;
    assert_eq!(report.get("ws_messages_sent_total{type=\"price\",priority=\"low\"}"), 1.0);
    assert_eq!(report.get("ws_messages_sent_total{type=\"answer\",priority=\"high\"}"), 1.0);
}

#[tokio::test]
async fn states_and_notices_are_counted_by_their_type_and_have_no_latency() {
    let running = Running::start(open()).await;
    running.publish("t", "cpu_snapshot", &json!({}));
    let mut client = running.subscriber("", &["t"]).await;
    client.message_of("cpu_snapshot").await;
    let mut other = running.ready_client("").await;
    let request = json!({ "action": "subscribe", "topics": ["t"], "presence": { "t": {} } });
    other.send_json(&json!({ "t": "subscription_update", "p": request })).await;
    client.message_of("presence_join").await;
    other.message_of("cpu_snapshot").await;
    let report = Report::of(&running).await;
    let sent = |kind| report.get(&format!("ws_messages_sent_total{{type=\"{kind}\",priority=\"normal\"}}"));
    assert_eq!((sent("cpu_snapshot"), sent("other")), (2.0, 0.0));
    assert!(sent("presence_join") >= 1.0);
    assert_eq!(report.get("ws_message_send_latency_seconds_count{priority=\"normal\"}"), 0.0);
}

#[tokio::test]
async fn ws_messages_received_total() {
    let running = Running::start(open()).await;
    let mut client = running.ready_client("").await;
    for _ in 0..3 {
        client.send_json(&json!({ "t": "order", "p": {} })).await;
    }
    client.send_json(&json!({ "t": "order", "p": {}, "tp": "orders" })).await;
    client.send_text(r#"WSE{"p":{},"t":"ping"}"#).await;
    client.send_text(r#"WSE{"t":"ping","p":{"timestamp":1}}"#).await;
    client.message_of("PONG").await;
    client.subscribe(&["t"]).await;
    reaches(&running, "ws_messages_received_total{type=\"subscription_update\"}", 1.0).await;
    let report = Report::of(&running).await;
    assert_eq!(report.get("ws_messages_received_total{type=\"order\"}"), 4.0);
    assert_eq!(report.get("ws_messages_received_total{type=\"ping\"}"), 1.0);
    assert_eq!(report.get("ws_messages_received_total{type=\"control\"}"), 1.0);
}

#[tokio::test]
async fn types_are_bounded_whatever_clients_send() {
    let running = Running::start(open()).await;
    let mut client = running.ready_client("").await;
    for n in 0..300 {
        client.send_json(&json!({ "t": format!("invented{n}"), "p": {} })).await;
    }
    client.expect_alive().await;
    let report = Report::of(&running).await;
    let series = report.samples.keys().filter(|name| name.starts_with("ws_messages_received_total")).count();
    assert!(series <= 128, "{series}");
    assert!(report.get("ws_messages_received_total{type=\"other\"}") > 100.0);
}

#[tokio::test]
async fn a_type_called_other_is_no_second_series() {
    let running = Running::start(open()).await;
    let mut client = running.ready_client("").await;
    for kind in ["other", "ü"] {
        client.send_json(&json!({ "t": kind, "p": {} })).await;
    }
    client.expect_alive().await;
    // A series that comes twice fails in `Report::parse`, as it does in Prometheus.
    assert_eq!(Report::of(&running).await.get("ws_messages_received_total{type=\"other\"}"), 2.0);
}

#[tokio::test]
async fn ws_message_send_latency_seconds() {
    let running = Running::start(open()).await;
    let mut client = running.subscriber("", &["t"]).await;
    for _ in 0..4 {
        running.server.publish("t", with_priority("k", Priority::Low)).expect("published");
    }
    for _ in 0..4 {
        client.message().await;
    }
    let report = Report::of(&running).await;
    let of = |suffix: &str| report.get(&format!("ws_message_send_latency_seconds{suffix}"));
    assert_eq!(of("_count{priority=\"low\"}"), 4.0);
    assert_eq!(of("_bucket{priority=\"low\",le=\"+Inf\"}"), 4.0);
    assert_eq!(of("_bucket{priority=\"low\",le=\"10\"}"), 4.0, "within the patience of this test");
    let sum = of("_sum{priority=\"low\"}");
    assert!(sum > 0.0 && sum < 40.0, "{sum}");
    assert_eq!(of("_count{priority=\"high\"}"), 0.0);
}

#[tokio::test]
async fn ws_bytes() {
    let running = Running::start(open()).await;
    let mut client = running.subscriber("", &["t"]).await;
    let before = Report::of(&running).await;
    client.send_json(&json!({ "t": "k", "p": "x".repeat(5000) })).await;
    running.publish("t", "k", &json!("0123456789".repeat(50)));
    client.message().await;
    reaches(&running, "ws_bytes_received_total", before.get("ws_bytes_received_total") + 5000.0).await;
    assert!(Report::of(&running).await.get("ws_bytes_sent_total") >= before.get("ws_bytes_sent_total") + 500.0);
}

/// A client that reads nothing, of a server that has filled its queue.
async fn flooded(running: &Running) -> common::Raw {
    let mut client = common::Raw::connect(running.addr()).await;
    client.write_frame(0x81, br#"{"t":"ask","p":{"size":100000,"count":400}}"#).await;
    client
}

#[tokio::test]
async fn queues_of_slow_clients() {
    let config = Config { max_queue_bytes: 32 << 20, compression: None, ..open() };
    let running = Running::with_handler(config, Flood).await;
    let client = flooded(&running).await;
    reaches(&running, "ws_queue_dropped_total{connection=\"all\",priority=\"high\"}", 1.0).await;
    reaches(&running, "ws_queue_size{connection=\"all\",priority=\"high\"}", 1.0).await;
    let report = Report::of(&running).await;
    let size = report.get("ws_queue_size{connection=\"largest\",priority=\"high\"}");
    assert!((1.0..400.0).contains(&size), "{size}");
    let share = report.get("ws_queue_backpressure");
    assert!(share > 0.0 && share <= 1.0, "{share}");
    assert_eq!(report.get("ws_queue_size{connection=\"all\",priority=\"low\"}"), 0.0);
    let dropped = report.get("ws_queue_dropped_total{connection=\"all\",priority=\"high\"}");
    drop(client);
    // What still waited is dropped with the connection.
    reaches(&running, "ws_queue_dropped_total{connection=\"all\",priority=\"high\"}", dropped + 1.0).await;
}

#[tokio::test]
async fn pubsub() {
    let running = Running::start(Config { max_topics: 1, ..open() }).await;
    running.server.publish("user:1:events", with_priority("k", Priority::Critical)).expect("published");
    running.server.publish("user:1:events", with_priority("k", Priority::Critical)).expect("published");
    running.server.publish("other.topic", with_priority("k", Priority::Normal)).expect_err("there is no room");
    let report = Report::of(&running).await;
    assert_eq!(report.get("pubsub_published_total{topic=\"user\",priority=\"critical\"}"), 2.0);
    assert_eq!(report.get("pubsub_received_total{pattern=\"*\"}"), 3.0);
    assert_eq!(report.get("pubsub_handler_errors_total{pattern=\"*\",error_type=\"TOO_MANY_TOPICS\"}"), 1.0);
    assert_eq!(report.get("pubsub_publish_latency_seconds_count"), 2.0);
    assert!(report.get("pubsub_publish_latency_seconds_sum") > 0.0);
}

#[tokio::test]
async fn a_panicking_handler_is_counted() {
    let running = Running::with_handler(open(), Flood).await;
    let mut client = running.ready_client("").await;
    client.send_json(&json!({ "t": "panic", "p": {} })).await;
    client.closed().await;
    reaches(&running, "wse_handler_panics_total", 1.0).await;
    reaches(&running, "ws_connections_active", 0.0).await;
}

#[tokio::test]
async fn memory_connections_are_counted_too() {
    let running = Running::start(open()).await;
    let mut attached = running.server.attach(&http::HeaderMap::new(), "", None);
    attached.on_frame(wse_server::Frame::Text(r#"{"t":"order","p":{}}"#.into()));
    while attached.take().is_some() {}
    attached.on_closed(Close::new(1000, ""));
    drop(attached);
    let report = Report::of(&running).await;
    assert_eq!(report.get("ws_messages_received_total{type=\"order\"}"), 1.0);
    assert_eq!(report.get("ws_disconnections_total{reason=\"normal\"}"), 1.0);
    assert_eq!(report.get("ws_messages_sent_total{type=\"server_ready\",priority=\"critical\"}"), 1.0);
}

/// Name, type and labels of each metric in the tables.
fn documented() -> BTreeMap<String, (String, BTreeSet<String>)> {
    let cells = |line: &str| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
    let rows = DOCS.lines().filter(|line| line.starts_with("| `")).map(cells);
    let metrics = rows.filter(|row| row.len() == 4 && ["counter", "gauge", "histogram"].contains(&row[1].as_str()));
    let plain = |text: &str| text.trim_matches('`').to_owned();
    let labels = |text: &str| text.split(',').map(str::trim).filter(|text| !text.is_empty()).map(plain).collect();
    metrics.map(|row| (plain(&row[0]), (row[1].clone(), labels(&row[2])))).collect()
}

#[tokio::test]
async fn the_page_describes_what_is_there() {
    let running = Running::start(open()).await;
    let mut client = running.subscriber("", &["t"]).await;
    client.send_json(&json!({ "t": "k", "p": {}, "tp": "t" })).await;
    client.message_of("k").await;
    let (report, documented) = (Report::of(&running).await, documented());
    for (name, kind) in &report.types {
        let Some((documented_kind, labels)) = documented.get(name) else {
            panic!("docs/metrics.md has no row like | `{name}` | {kind} | | … |")
        };
        assert_eq!((documented_kind, labels), (kind, &report.labels(name)), "{name}");
    }
    let missing: Vec<_> = documented.keys().filter(|name| !report.types.contains_key(*name)).collect();
    assert!(missing.is_empty(), "documented, but not there: {missing:?}");
}

/// Everything in a query that is the name of one of our metrics.
fn names_in(query: &str) -> Vec<String> {
    let words = query.split(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '_'));
    let ours = words.filter(|word| ["ws_", "wse_", "pubsub_", "dlq_"].iter().any(|prefix| word.starts_with(prefix)));
    ours.map(str::to_owned).collect()
}

/// Every query of the dashboard.
fn queries(value: &Value, out: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                match member {
                    Value::String(text) if name == "expr" || name == "query" => out.push(text.clone()),
                    _ => queries(member, out),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| queries(item, out)),
        _ => {}
    }
}

#[test]
fn the_dashboard_asks_for_what_is_there() {
    let (documented, mut all) = (documented(), Vec::new());
    queries(&serde_json::from_str(DASHBOARD).expect("JSON"), &mut all);
    let mut used = BTreeSet::new();
    for query in all {
        for name in names_in(&query) {
            let family = name.strip_suffix("_bucket").unwrap_or(&name).to_owned();
            assert!(documented.contains_key(&family), "{name} in {query}");
            used.insert(family);
        }
    }
    let seed = documented.keys().filter(|name| !name.starts_with("wse_"));
    let unused: Vec<_> = seed.filter(|name| !used.contains(*name)).collect();
    assert!(unused.is_empty(), "not on the dashboard: {unused:?}");
}

#[tokio::test]
async fn a_token_in_the_url_is_in_no_report() {
    let running = Running::start(closed()).await;
    let secret = token();
    let request = running.url(&format!("?token={secret}")).into_client_request().expect("a request");
    let _client = common::Client::connect(request).await;
    let answer = http(running.addr(), "GET", "/wse/metrics", &[], b"").await;
    assert!(!answer.body.contains(&secret) && !answer.body.contains("alice"));
}
