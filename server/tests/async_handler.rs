//! Applications that take their time.

mod common;

use std::sync::{Arc, Mutex};

use common::{PATIENCE, Running, closed, code, open, payload};
use serde_json::json;
use tokio::{sync::Semaphore, time::timeout};
use wse_server::{AsyncHandler, Close, Code, ConnectionHandle, Message, Outgoing, Payload, Refusal, Server};

/// Handles a message for each permit, and writes down what happens.
#[derive(Clone)]
struct Slow {
    permits: Arc<Semaphore>,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Slow {
    fn new() -> Self {
        Self { permits: Arc::new(Semaphore::new(0)), seen: Arc::default() }
    }

    fn note(&self, what: impl Into<String>) {
        self.seen.lock().expect("no panic").push(what.into());
    }

    fn seen(&self) -> Vec<String> {
        self.seen.lock().expect("no panic").clone()
    }

    async fn wait(&self) {
        self.permits.acquire().await.expect("open").forget();
    }
}

impl AsyncHandler for Slow {
    type Error = Refusal;

    async fn on_connect(&self, connection: &ConnectionHandle) -> Result<(), Refusal> {
        self.note("in");
        tokio::task::yield_now().await;
        if connection.user_id() == "alice" {
            return Err(Refusal::new(Code::Forbidden, "not today"));
        }
        Ok(())
    }

    async fn on_message(&self, connection: &ConnectionHandle, message: Message) -> Result<(), Refusal> {
        match message.kind() {
            "panic" => panic!("as the test wants it"),
            "bad" => return Err(Refusal::new(Code::InvalidRequest, "that is bad")),
            _ => {}
        }
        self.wait().await;
        let n = &payload(&message)["n"];
        connection.send(Outgoing::new("done", Payload::new(&json!({ "n": n })).expect("plain JSON")))?;
        self.note(n.to_string());
        Ok(())
    }

    async fn on_disconnect(&self, _: &ConnectionHandle, close: Close) {
        self.note(format!("out {}", close.code));
    }
}

async fn start(handler: &Slow) -> Running {
    Running::with_builder(Server::builder(open()).async_handler(handler.clone())).await
}

async fn until(what: impl Fn() -> bool) {
    timeout(PATIENCE, async {
        while !what() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("in time");
}

#[tokio::test]
async fn a_slow_application_is_not_given_more_and_loses_nothing() {
    let slow = Slow::new();
    let running = start(&slow).await;
    let mut client = running.ready_client("?compression=false").await;
    // More than all buffers between the two hold: what is not read yet waits at the client.
    let filler = "x".repeat(10_000);
    let sending = tokio::spawn(async move {
        for n in 0..2000 {
            client.send_json(&json!({ "t": "k", "p": { "n": n, "filler": filler } })).await;
        }
        client
    });
    until(|| running.server.stats().messages_handled > 0).await;
    tokio::time::sleep(common::QUIET).await;
    let taken = running.server.stats().messages_handled;
    assert!(taken < 100 && !sending.is_finished(), "{taken} messages were taken while the first one waits");
    slow.permits.add_permits(2000);
    let mut client = timeout(PATIENCE, sending).await.expect("in time").expect("no panic");
    for n in 0..2000 {
        assert_eq!(payload(&client.message_of("done").await)["n"], n);
    }
    drop(client);
    until(|| slow.seen().len() == 2002).await;
    let expected = ["in".to_owned()].into_iter().chain((0..2000).map(|n| n.to_string())).chain(["out 1006".to_owned()]);
    assert!(slow.seen().into_iter().eq(expected), "in order, with a beginning and an end");
}

#[tokio::test]
async fn connections_do_not_wait_for_each_other_and_publications_go_on() {
    let slow = Slow::new();
    let running = start(&slow).await;
    let mut stuck = running.subscriber("", &["t"]).await;
    stuck.send_json(&json!({ "t": "k", "p": { "n": 1 } })).await;
    until(|| running.server.stats().messages_handled == 1).await;
    assert_eq!(running.publish("t", "news", &json!({})), 1);
    assert_eq!(stuck.message().await.kind(), "news");
    let mut other = running.ready_client("").await;
    other.send_json(&json!({ "t": "bad", "p": {}, "id": "7" })).await;
    let error = other.message_of("error").await;
    assert_eq!((&*code(&error), error.correlation_id()), ("INVALID_REQUEST", Some("7")));
    assert_eq!(payload(&error)["message"], "that is bad");
    slow.permits.add_permits(1);
    assert_eq!(stuck.message_of("done").await.kind(), "done");
    other.expect_alive().await;
}

#[tokio::test]
async fn who_is_refused_is_told_and_nothing_of_it_is_handled() {
    let slow = Slow::new();
    let running = Running::with_builder(Server::builder(closed()).async_handler(slow.clone())).await;
    let mut client = running.client(&format!("?token={}", common::token())).await;
    client.send_json(&json!({ "t": "k", "p": { "n": 1 } })).await;
    let (code, closed) = client.error_and_close().await;
    assert_eq!((&*code, closed.code), ("FORBIDDEN", 4403));
    slow.permits.add_permits(1);
    until(|| slow.seen().len() == 2).await;
    assert_eq!(slow.seen(), ["in", "out 4403"]);
}

#[tokio::test]
async fn a_panic_ends_its_connection_and_no_other() {
    let slow = Slow::new();
    let running = start(&slow).await;
    let mut other = running.ready_client("").await;
    let mut client = running.ready_client("").await;
    client.send_json(&json!({ "t": "panic", "p": {} })).await;
    assert_eq!(client.closed().await.code, 1011);
    drop(client);
    until(|| slow.seen().len() == 3).await;
    assert_eq!((&*slow.seen()[2], running.server.stats().handler_panics), ("out 1011", 1));
    other.expect_alive().await;
}

#[tokio::test]
async fn a_shutdown_waits_for_what_is_still_to_be_done() {
    let slow = Slow::new();
    let running = start(&slow).await;
    let mut client = running.ready_client("").await;
    client.send_json(&json!({ "t": "k", "p": { "n": 1 } })).await;
    until(|| running.server.stats().messages_handled == 1).await;
    let server = running.server.clone();
    let mut ending = tokio::spawn(async move { server.shutdown(PATIENCE).await });
    assert_eq!(client.closed().await.code, 1001);
    drop(client);
    assert!(timeout(common::QUIET, &mut ending).await.is_err(), "the message is still being handled");
    slow.permits.add_permits(1);
    assert_eq!(timeout(PATIENCE, ending).await.expect("in time").expect("no panic"), 0);
    assert_eq!(slow.seen(), ["in", "out 1001"], "nobody was there any more to be told that it is done");
}

#[tokio::test]
async fn carried_messages_wait_too() {
    let slow = Slow::new();
    let running = start(&slow).await;
    let mut client = running.server.attach(&http::HeaderMap::new(), "", None);
    let frame = wse_server::Frame::Text(r#"WSE{"t":"k","p":{"n":1},"v":1}"#.into());
    until(|| slow.seen().len() == 1).await;
    while client.take().is_some() {}
    client.on_frame(frame);
    while client.take().is_some() {}
    assert!(client.reads_paused());
    slow.permits.add_permits(1);
    while client.reads_paused() {
        timeout(PATIENCE, client.ready()).await.expect("woken");
        while client.take().is_some() {}
    }
    assert_eq!(slow.seen(), ["in", "1"]);
}
