//! What goes to one client in which order, when not all can go at once: by rate, and by how fast it reads.

mod common;

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use common::{PATIENCE, open, payload};
use serde_json::json;
use tokio::time::timeout;
use wse_client_core::{
    error::close,
    io::{Close, Frame},
    wire::{self, Limits},
};
use wse_server::{Attached, Carried, Config, ConnectionHandle, Handler, Message, Outgoing, Payload, Server};

/// Keeps the connections, so that a test can send to them.
#[derive(Clone, Default)]
struct Handles(Arc<Mutex<Vec<ConnectionHandle>>>);

impl Handler for Handles {
    fn on_messages(&self, _: &ConnectionHandle, messages: &mut Vec<Message>) {
        messages.clear();
    }

    fn on_connect(&self, connection: &ConnectionHandle) {
        self.0.lock().expect("no panic").push(connection.clone());
    }
}

/// A server, a connection that is carried in memory and reads `t`, and the application's hold on it.
async fn attached(config: Config) -> (Server, Attached, ConnectionHandle) {
    let handles = Handles::default();
    let server = Server::builder(config).handler(handles.clone()).bind().await.expect("binds");
    let mut connection = server.attach(&http::HeaderMap::new(), "compression=false", None);
    connection.on_frame(request(&["t"]));
    while connection.take().is_some() {}
    let handle = handles.0.lock().expect("no panic").last().expect("connected").clone();
    (server, connection, handle)
}

fn request(topics: &[&str]) -> Frame {
    Frame::Text(json!({ "t": "subscription_update", "p": { "topics": topics } }).to_string().into())
}

fn publish(server: &Server, topic: &str, kind: &str) {
    server.publish(topic, Outgoing::new(kind, Payload::EMPTY)).expect("there is room");
}

fn message(frame: &Frame) -> Message {
    wire::decode(frame, &Limits::default(), None).expect("decodable")
}

/// The next message, or how it ended.
async fn next(connection: &mut Attached) -> Result<Message, Close> {
    let next = async {
        loop {
            match connection.take() {
                Some(Carried::Frame(frame)) => return Ok(message(&frame)),
                Some(Carried::Close(close)) => return Err(close),
                None => connection.ready().await,
            }
        }
    };
    timeout(PATIENCE, next).await.expect("in time")
}

async fn kinds(connection: &mut Attached, count: usize) -> Vec<String> {
    let mut kinds = Vec::new();
    while kinds.len() < count {
        kinds.push(next(connection).await.expect("open").kind().to_owned());
    }
    kinds
}

/// One message at a time, a hundred in a second.
fn paced() -> Config {
    Config { outbound_rate: Some(100.0), outbound_burst: 1, ..open() }
}

#[tokio::test]
async fn messages_to_one_client_leave_its_topics_every_second_place() {
    let (server, mut connection, handle) = attached(paced()).await;
    for _ in 0..20 {
        handle.send(Outgoing::new("own", Payload::EMPTY)).expect("there is room");
        publish(&server, "t", "topic");
    }
    let kinds = kinds(&mut connection, 40).await;
    for (number, pair) in kinds.chunks(2).enumerate() {
        assert!(
            pair.iter().any(|kind| kind == "own") && pair.iter().any(|kind| kind == "topic"),
            "{number}: {kinds:?}"
        );
    }
}

#[tokio::test]
async fn states_have_their_turn_beside_messages_to_one_client() {
    let (server, mut connection, handle) = attached(paced()).await;
    (0..5).for_each(|number| publish(&server, "s", &format!("{number}_snapshot")));
    for _ in 0..50 {
        handle.send(Outgoing::new("own", Payload::EMPTY)).expect("there is room");
    }
    connection.on_frame(request(&["s"]));
    let kinds = kinds(&mut connection, 16).await;
    assert_eq!(kinds.iter().filter(|kind| kind.ends_with("_snapshot")).count(), 5, "{kinds:?}");
}

#[tokio::test]
async fn word_that_all_states_are_told_waits_for_no_turn() {
    // The next turn is in ten seconds.
    let (server, mut connection, _) = attached(Config { outbound_rate: Some(0.1), ..paced() }).await;
    publish(&server, "t", "k_snapshot");
    let began = Instant::now();
    assert_eq!(next(&mut connection).await.expect("open").kind(), "k_snapshot", "the only turn");
    connection
        .on_frame(Frame::Text(json!({ "t": "sync_request", "p": { "include_snapshots": false } }).to_string().into()));
    let told = next(&mut connection).await.expect("open");
    assert_eq!((told.kind(), payload(&told)["success"].as_bool()), ("snapshot_complete", Some(true)));
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[tokio::test]
async fn nothing_is_due_after_the_end() {
    let (server, mut connection, _) = attached(paced()).await;
    (0..5).for_each(|_| publish(&server, "t", "k"));
    assert!(connection.take().is_some() && connection.take().is_none(), "the second waits for its turn");
    connection.on_closed(Close::new(1000, "bye"));
    tokio::time::sleep(Duration::from_millis(20)).await;
    while connection.take().is_some() {}
    let mut turns = 0;
    let again = async {
        loop {
            connection.ready().await;
            turns += 1;
            assert!(turns < 3, "a wake may be left over");
        }
    };
    let forever: Result<(), _> = timeout(Duration::from_millis(50), again).await;
    assert!(forever.is_err());
}

#[tokio::test]
async fn a_drain_waits_for_what_is_paced() {
    let config = Config { drain_window: Duration::from_millis(100), ..paced() };
    let (server, mut connection, handle) = attached(config).await;
    for _ in 0..10 {
        handle.send(Outgoing::new("own", Payload::EMPTY)).expect("there is room");
        publish(&server, "t", "topic");
    }
    let drain = tokio::spawn(async move { server.drain().await });
    let (mut heard, began) = (Vec::new(), Instant::now());
    let close = loop {
        match next(&mut connection).await {
            Ok(message) => heard.push(message.kind().to_owned()),
            Err(close) => break close,
        }
    };
    assert_eq!((close.code, heard.pop().as_deref()), (close::DRAINING, Some("draining")));
    let count = |kind: &str| heard.iter().filter(|heard| *heard == kind).count();
    assert_eq!((count("own"), count("topic"), heard.len()), (10, 10, 20));
    assert!(began.elapsed() >= Duration::from_millis(150), "{:?}", began.elapsed());
    drop(connection);
    assert_eq!(timeout(PATIENCE, drain).await.expect("in time").expect("no panic"), 0);
}

/// What is published after the end was asked for is not waited for.
#[tokio::test]
async fn a_connection_that_reads_slower_than_its_topics_talk_comes_to_its_end() {
    let (server, mut connection, handle) = attached(open()).await;
    let say = |number: usize| {
        let payload = Payload::new(&json!({ "n": number, "fill": "x".repeat(1000) })).expect("plain JSON");
        server.publish("t", Outgoing::new("k", payload)).expect("there is room");
    };
    (0..300).for_each(say);
    let first = next(&mut connection).await.expect("open");
    assert_eq!(payload(&first)["n"], 0);
    handle.close(Close::new(4000, "enough"));
    let (mut said, mut heard) = (300, 1);
    let close = loop {
        (said..said + 2).for_each(say);
        said += 2;
        match next(&mut connection).await {
            Ok(message) => assert_eq!(payload(&message)["n"], heard),
            Err(close) => break close,
        }
        heard += 1;
        assert!(heard < 2000, "it ends");
    };
    assert_eq!(close.code, 4000);
    assert!((300..400).contains(&heard), "all that was there before, and little more: {heard}");
}

#[tokio::test]
async fn a_paced_connection_comes_to_its_end_however_fast_its_topics_talk() {
    let (server, mut connection, handle) = attached(paced()).await;
    (0..10).for_each(|_| publish(&server, "t", "before"));
    handle.close(Close::new(4000, "enough"));
    let mut heard = Vec::new();
    let close = loop {
        (0..5).for_each(|_| publish(&server, "t", "after"));
        match next(&mut connection).await {
            Ok(message) => heard.push(message.kind().to_owned()),
            Err(close) => break close,
        }
        assert!(heard.len() < 100, "it ends");
    };
    assert_eq!(close.code, 4000);
    assert_eq!(heard.iter().filter(|kind| *kind == "before").count(), 10);
}

/// The only member of a group that is about to end gets no more to do.
#[tokio::test]
async fn a_member_of_a_group_comes_to_its_end() {
    let (server, mut connection, handle) = attached(paced()).await;
    let joined = json!({ "t": "subscription_update", "p": { "topics": ["jobs"], "group": "g" } });
    connection.on_frame(Frame::Text(joined.to_string().into()));
    while connection.take().is_some() {}
    (0..10).for_each(|_| publish(&server, "jobs", "before"));
    handle.close(Close::new(4000, "enough"));
    let mut heard = Vec::new();
    let close = loop {
        (0..5).for_each(|_| publish(&server, "jobs", "after"));
        match next(&mut connection).await {
            Ok(message) => heard.push(message.kind().to_owned()),
            Err(close) => break close,
        }
        assert!(heard.len() < 100, "it ends");
    };
    assert_eq!(close.code, 4000);
    assert_eq!(heard.iter().filter(|kind| *kind == "before").count(), 10);
}

#[tokio::test]
async fn who_asks_without_end_is_closed_all_the_same() {
    let (server, mut connection, handle) = attached(paced()).await;
    (0..5).for_each(|number| publish(&server, "s", &format!("{number}_snapshot")));
    (0..5).for_each(|_| publish(&server, "t", "topic"));
    handle.close(Close::new(4000, "enough"));
    let mut taken = 0;
    let end = loop {
        connection.on_frame(Frame::Text(
            json!({ "t": "subscription_update", "p": { "action": "unsubscribe", "topics": ["s"] } }).to_string().into(),
        ));
        connection.on_frame(request(&["s"]));
        match next(&mut connection).await {
            Ok(_) => taken += 1,
            Err(close) => break close,
        }
        assert!(taken < 100, "it does not end");
    };
    assert_eq!((end.code, taken >= 5), (4000, true), "{taken} messages");
}
