//! Hub and peer know no socket: thousands of connections driven through memory.

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Value, json};
use wse_client_core::{
    error::close,
    io::{Close, Frame},
    wire::{self, Encoding, Head, Limits, Payload},
};
use wse_server::{Attached, Carried, Config, Outgoing, Server};

/// Nothing here takes longer.
const PATIENCE: Duration = Duration::from_secs(10);

async fn server(config: Config) -> Server {
    Server::builder(Config { port: 0, ..config }).bind().await.expect("a free port")
}

fn attach(server: &Server) -> Attached {
    server.attach(&http::HeaderMap::new(), "client_version=1.0", None)
}

fn subscribe(connection: &mut Attached, topic: &str) {
    let payload = Payload::new(&serde_json::json!({ "action": "subscribe", "topics": [topic] })).expect("plain JSON");
    let head = Head { kind: "subscription_update", id: Some("s"), ..Head::default() };
    connection.on_frame(wire::encode(&head, &payload, Encoding::Text, None));
}

/// Everything that waits, as text.
fn said(connection: &mut Attached) -> Vec<String> {
    let mut said = Vec::new();
    while let Some(Carried::Frame(frame)) = connection.take() {
        said.push(String::from_utf8_lossy(frame.bytes()).into_owned());
    }
    said
}

#[tokio::test]
async fn two_thousand_connections_get_every_publication_in_order() {
    let server = server(Config::default()).await;
    let mut all: Vec<Attached> = (0..2000).map(|_| attach(&server)).collect();
    for connection in &mut all {
        subscribe(connection, "news");
        said(connection);
    }
    for number in 0..20 {
        let payload = Payload::new(&serde_json::json!({ "n": number })).expect("plain JSON");
        let published = server.publish("news", Outgoing::new("item", payload)).expect("there is room");
        assert_eq!(published.delivered, 2000);
    }
    for connection in &mut all {
        let heard = said(connection);
        assert_eq!(heard.len(), 20);
        assert!(heard.iter().enumerate().all(|(n, text)| text.contains(&format!("{{\"n\":{n}}}"))), "{heard:?}");
    }
    assert_eq!(server.stats().messages_delivered, 40_000);
    drop(all);
    assert_eq!(server.connection_count(), 0);
    assert_eq!(server.stats().connections_closed, 2000);
}

/// Publishes once as a client, and reads until it has so many publications of its topic. Carries as another web server
/// would: takes only when something is ready.
async fn talk(mut connection: Attached, topic: String, number: usize, expected: usize) -> (String, Vec<u64>) {
    let message = json!({ "t": "note", "tp": topic, "p": { "n": number } });
    connection.on_frame(Frame::Text(message.to_string().into()));
    let mut heard = Vec::new();
    while heard.len() < expected {
        connection.ready().await;
        while let Some(carried) = connection.take() {
            let Carried::Frame(frame) = carried else { panic!("closed") };
            let message = wire::decode(&frame, &Limits::default(), None).expect("decodable");
            assert_eq!((message.kind(), message.topic()), ("note", Some(&*topic)));
            heard.push(message.payload().parse::<Value>().expect("JSON")["n"].as_u64().expect("a number"));
        }
    }
    assert!(connection.take().is_none(), "nothing twice");
    (topic, heard)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_two_thousand_clients_publish_at_once_reaches_each_of_its_topic_once_and_in_one_order() {
    const TOPICS: usize = 40;
    const MEMBERS: usize = 50;
    // No ping comes in between, however slow the machine is.
    let server = server(Config { ping_interval: Duration::from_secs(80), ..Config::default() }).await;
    let topic = |number: usize| format!("t:{}", number % TOPICS);
    let mut all = Vec::new();
    for number in 0..TOPICS * MEMBERS {
        let mut connection = attach(&server);
        subscribe(&mut connection, &topic(number));
        said(&mut connection);
        all.push(connection);
    }
    let mut talks = tokio::task::JoinSet::new();
    for (number, connection) in all.into_iter().enumerate() {
        talks.spawn(talk(connection, topic(number), number, MEMBERS));
    }
    let heard = tokio::time::timeout(6 * PATIENCE, talks.join_all()).await.expect("in time");
    let mut orders: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for (topic, heard) in heard {
        assert_eq!(&heard, orders.entry(topic).or_insert_with(|| heard.clone()));
    }
    let mut ledger: Vec<u64> = orders.into_values().flatten().collect();
    ledger.sort_unstable();
    assert_eq!(ledger, (0..(TOPICS * MEMBERS) as u64).collect::<Vec<_>>());
    let stats = server.stats();
    assert_eq!((stats.messages_published, stats.publishes_refused, stats.messages_lost), (2000, 0, 0));
    assert_eq!(stats.messages_delivered, (TOPICS * MEMBERS * MEMBERS) as u64);
    assert_eq!((server.connection_count(), stats.connections_closed), (0, 2000));
}

#[tokio::test]
async fn a_publication_makes_a_waiting_connection_ready() {
    let server = server(Config::default()).await;
    let mut connection = attach(&server);
    subscribe(&mut connection, "news");
    said(&mut connection);
    let publish = async {
        tokio::task::yield_now().await;
        server.publish("news", Outgoing::new("item", Payload::EMPTY)).expect("there is room");
    };
    tokio::join!(connection.ready(), publish);
    assert_eq!(said(&mut connection).len(), 1);
}

#[tokio::test]
async fn who_may_not_come_in_is_told_and_closed() {
    let secret = "a secret of at least thirty-two bytes".into();
    let server = server(Config { jwt_secret: Some(secret), ..Config::default() }).await;
    let mut connection = attach(&server);
    connection.ready().await;
    let Some(Carried::Frame(error)) = connection.take() else { panic!("the reason comes first") };
    assert!(String::from_utf8_lossy(error.bytes()).contains("AUTH_REQUIRED"));
    let Some(Carried::Close(told)) = connection.take() else { panic!("then the close") };
    assert_eq!(told.code, close::AUTH);
    assert_eq!(connection.take(), None, "once");
    assert!(connection.is_closed());
}

#[tokio::test]
async fn what_a_client_does_wrong_is_counted_and_its_end_is_noted() {
    let server = server(Config::default()).await;
    let mut connection = attach(&server);
    connection.on_frame(Frame::Binary("?".into()));
    assert!(said(&mut connection).iter().any(|text| text.contains("UNKNOWN_PREFIX")));
    assert_eq!(server.stats().frames_rejected, 1);
    connection.on_closed(Close::new(1000, "bye"));
    assert!(connection.is_closed());
    drop(connection);
    assert_eq!(server.stats().connections_closed, 1);
}

/// Messages that a busy connection was not told of yet go out before the close.
#[tokio::test]
async fn a_shutdown_sends_what_was_held_back() {
    let flush_interval = Duration::from_secs(3600);
    let server = server(Config { flush_interval, ..Config::default() }).await;
    let mut connection = attach(&server);
    subscribe(&mut connection, "news");
    said(&mut connection);
    server.publish("news", Outgoing::new("first", Payload::EMPTY)).expect("there is room");
    assert_eq!(said(&mut connection).len(), 1);
    server.publish("news", Outgoing::new("second", Payload::EMPTY)).expect("there is room");
    let carry = async {
        tokio::task::yield_now().await;
        let Some(Carried::Frame(frame)) = connection.take() else { panic!("the second comes before the close") };
        assert!(String::from_utf8_lossy(frame.bytes()).contains("second"));
        assert!(matches!(connection.take(), Some(Carried::Close(close)) if close.code == close::GOING_AWAY));
        drop(connection);
    };
    let (late, ()) = tokio::join!(server.shutdown(PATIENCE), carry);
    assert_eq!(late, 0);
}

/// To look through all subscriptions is dear where there are many: it is done once until nothing is left.
#[tokio::test]
async fn what_it_was_not_told_of_is_looked_for_once_for_each_emptying() {
    let flush_interval = Duration::from_secs(3600);
    let server = server(Config { flush_interval, ..Config::default() }).await;
    let mut connection = attach(&server);
    for topic in ["a", "b"] {
        subscribe(&mut connection, topic);
        said(&mut connection);
    }
    let publish = |topic: &str| server.publish(topic, Outgoing::new("item", Payload::EMPTY)).expect("there is room");
    publish("a");
    assert_eq!(said(&mut connection).len(), 1);
    publish("a");
    assert!(matches!(connection.take(), Some(Carried::Frame(_))), "who asks gets what it was not told of");
    publish("b");
    assert_eq!(connection.take(), None, "it was looked for already");
    assert!(matches!(connection.take(), Some(Carried::Frame(_))), "who asks again gets it");
}

#[tokio::test]
async fn a_shutdown_waits_for_attached_connections_and_cuts_those_that_are_late() {
    let server = server(Config::default()).await;
    let (mut late, mut done) = (attach(&server), attach(&server));
    said(&mut late);
    subscribe(&mut late, "news");
    let carry = async {
        while !matches!(done.take(), Some(Carried::Close(close)) if close.code == close::GOING_AWAY) {
            done.ready().await;
        }
        drop(done);
    };
    let (cut, ()) = tokio::join!(server.shutdown(Duration::from_millis(50)), carry);
    assert_eq!(cut, 1);
    // Whoever carries learns of it, and once; what waits is dropped.
    late.ready().await;
    assert!(matches!(late.take(), Some(Carried::Close(close)) if close.code == close::GOING_AWAY));
    assert_eq!(late.take(), None);
    assert!(late.is_closed());
    let mut turns = 0;
    let again = async {
        loop {
            late.ready().await;
            turns += 1;
            assert!(turns < 3, "a wake may be left over, but nothing is ready after the end");
        }
    };
    let forever: Result<(), _> = tokio::time::timeout(Duration::from_millis(50), again).await;
    assert!(forever.is_err());
}

#[tokio::test]
async fn reads_pause_as_soon_as_answers_pile_up() {
    let server = server(Config { max_queue_bytes: 1 << 20, ..Config::default() }).await;
    let mut connection = attach(&server);
    let ping = Frame::Text(r#"WSE{"t":"debug_request","id":"q","p":{}}"#.into());
    while !connection.reads_paused() {
        connection.on_frame(ping.clone());
        assert!(!connection.is_closed(), "paused long before it is too much");
    }
    said(&mut connection);
    assert!(!connection.reads_paused());
}

#[tokio::test]
async fn a_server_that_only_attaches_keeps_house() {
    let server = server(Config { history_age: Duration::from_millis(1), ..Config::default() }).await;
    server.publish("news", Outgoing::new("item", Payload::EMPTY)).expect("there is room");
    let held = server.topic_bytes();
    let let_go = async {
        while server.topic_bytes() >= held {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, let_go).await.expect("a history ends");
}

#[tokio::test]
async fn a_message_that_cannot_be_published_is_refused_like_every_other() {
    let server = server(Config { max_topics: 1, ..Config::default() }).await;
    server.publish("news", Outgoing::new("item", Payload::EMPTY)).expect("there is room");
    let mut connection = attach(&server);
    said(&mut connection);
    connection.on_frame(Frame::Text(r#"{"t":"note","id":"n","p":{}}"#.into()));
    let said = said(&mut connection).join("");
    for member in ["TOO_MANY_TOPICS", r#""cid":"n""#, "severity", "timestamp", "connection_id"] {
        assert!(said.contains(member), "{member}: {said}");
    }
}
