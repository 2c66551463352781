//! Starting, stopping, and clients that take their time.

mod common;

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use common::{Closed, PATIENCE, Raw, Running, http, open, payload};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use wse_server::{Close, Config, ConnectionHandle, Handler, Message, Outgoing, Payload, Server, StartError};

#[tokio::test]
async fn shutdown_flushes_what_is_queued_and_closes_with_1001() {
    let running = Running::start(open()).await;
    let mut client = running.subscriber("", &["t"]).await;
    for number in 0..200 {
        running.publish("t", "k", &json!({ "n": number }));
    }
    let server = running.server.clone();
    let stopping = tokio::spawn(async move { server.shutdown(PATIENCE).await });
    for number in 0..200 {
        assert_eq!(payload(&client.message().await), json!({ "n": number }));
    }
    let closed = client.closed().await;
    assert_eq!(closed, Closed { code: 1001, reason: "server shutting down".into() });
    drop(client);
    assert_eq!(timeout(PATIENCE, stopping).await.expect("in time").expect("no panic"), 0);
    assert!(TcpStream::connect(running.addr()).await.is_err(), "no new connections");
    let refused = running.server.publish("t", Outgoing::new("k", Payload::EMPTY)).expect_err("stopped");
    assert_eq!(refused.code().as_str(), "SERVER_ERROR");
}

#[tokio::test]
async fn a_shutdown_may_have_no_deadline() {
    let running = Running::start(open()).await;
    assert_eq!(timeout(PATIENCE, running.server.shutdown(Duration::MAX)).await.expect("in time"), 0);
}

#[tokio::test]
async fn shutdown_does_not_wait_for_clients_that_do_not_read() {
    let running = Running::start(open()).await;
    let _stuck = Raw::connect(running.addr()).await;
    let mut subscriber = running.subscriber("?compression=false", &["t"]).await;
    for _ in 0..3000 {
        running.publish("t", "k", &json!({ "filler": "x".repeat(10_000) }));
        // The reader keeps up with nothing: it only takes the first few messages.
    }
    subscriber.message().await;
    let began = Instant::now();
    let cut = running.server.shutdown(Duration::from_millis(300)).await;
    assert!(cut >= 1, "the subscriber still had messages to read");
    assert!(began.elapsed() < Duration::from_secs(3));
}

#[tokio::test]
async fn an_open_server_refuses_to_run_where_others_reach_it() {
    let public = Config { host: "0.0.0.0".into(), ..open() };
    let error = Server::builder(public.clone()).bind().await.expect_err("refused");
    assert!(matches!(error, StartError::OpenToOthers { .. }));
    let text = error.to_string();
    for way_out in ["--jwt-secret", "--host 127.0.0.1", "--allow-open"] {
        assert!(text.contains(way_out), "{text}");
    }
    Server::builder(Config { allow_open: true, ..public }).bind().await.expect("allowed when told");
    let localhost = Config { host: "localhost".into(), ..open() };
    Server::builder(localhost).bind().await.expect("a name for loopback is fine");
}

#[tokio::test]
async fn a_taken_port_is_an_error_that_names_it() {
    let running = Running::start(open()).await;
    let error = Server::builder(Config { port: running.addr().port(), ..open() }).bind().await.expect_err("taken");
    assert!(error.to_string().contains(&running.addr().port().to_string()));
}

#[tokio::test]
async fn slow_request_heads_and_bodies_time_out() {
    let running = Running::start(Config { handshake_timeout: Duration::from_millis(200), ..open() }).await;
    let mut stream = TcpStream::connect(running.addr()).await.expect("connects");
    stream.write_all(b"GET /wse HTTP/1.1\r\nHost: localhost\r\nX-Slow: ").await.expect("sent");
    let mut rest = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("closed in time").expect("closed in order");
    assert!(rest.is_empty() || rest.starts_with(b"HTTP/1.1 408"), "{}", String::from_utf8_lossy(&rest));

    let mut stream = TcpStream::connect(running.addr()).await.expect("connects");
    let head = "POST /wse/publish HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{";
    stream.write_all(head.as_bytes()).await.expect("sent");
    let mut answer = vec![0; 12];
    timeout(PATIENCE, stream.read_exact(&mut answer)).await.expect("in time").expect("an answer");
    assert_eq!(answer, b"HTTP/1.1 408");
    let health = http(running.addr(), "GET", "/wse/health", &[], b"").await;
    assert_eq!(health.status, 200);
}

#[tokio::test]
async fn a_connection_that_rests_between_requests_ends_without_an_error() {
    let running = Running::start(Config { handshake_timeout: Duration::from_millis(200), ..open() }).await;
    for (then, errors) in [("", 0), ("GET /wse/", 1)] {
        let mut stream = TcpStream::connect(running.addr()).await.expect("connects");
        let request = "POST /wse/publish HTTP/1.1\r\nHost: localhost\r\nContent-Length: 22\r\n\r\n";
        stream.write_all(request.as_bytes()).await.expect("sent");
        tokio::time::sleep(Duration::from_millis(20)).await;
        stream.write_all(br#"{"topic":"t","type":"k"}"#.get(..22).expect("cut")).await.expect("sent");
        let mut answer = [0; 1024];
        assert!(stream.read(&mut answer).await.expect("an answer") > 0);
        stream.write_all(then.as_bytes()).await.expect("sent");
        let mut rest = Vec::new();
        timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("ends in time").expect("readable");
        assert_eq!(running.server.stats().http_errors, errors, "{then:?}");
    }
}

#[tokio::test]
async fn silent_clients_are_pinged_and_then_closed() {
    let config =
        Config { ping_interval: Duration::from_millis(50), idle_timeout: Duration::from_millis(400), ..open() };
    let running = Running::start(config).await;
    let mut client = running.client("").await;
    let mut pings = 0;
    let closed = loop {
        match client.frame().await {
            Ok(frame) if frame.bytes().starts_with(b"WSE{\"t\":\"PING\"") => pings += 1,
            Ok(_) => {}
            Err(closed) => break closed,
        }
    };
    assert_eq!(closed.code, 1001);
    assert!(pings >= 3, "{pings}");
}

/// Notes who comes and goes.
#[derive(Default)]
struct Register {
    connected: AtomicUsize,
    closes: Mutex<Vec<u16>>,
}

struct Registering(Arc<Register>);

impl Handler for Registering {
    fn on_messages(&self, connection: &ConnectionHandle, messages: &mut Vec<Message>) {
        if messages.iter().any(|message| message.kind() == "panic") {
            panic!("a handler that fails, as the test wants it");
        }
        connection.close(Close::new(4000, "seen enough"));
    }

    fn on_connect(&self, connection: &ConnectionHandle) {
        assert!(!connection.id().is_empty() && connection.user_id().starts_with("guest-"));
        self.0.connected.fetch_add(1, Ordering::SeqCst);
    }

    fn on_disconnect(&self, _: &ConnectionHandle, close: &Close) {
        self.0.closes.lock().expect("whole").push(close.code);
    }
}

#[tokio::test]
async fn the_handler_is_told_of_every_connection_once_and_a_panic_hurts_only_its_own() {
    let register = Arc::new(Register::default());
    let running = Running::with_handler(open(), Registering(Arc::clone(&register))).await;
    let mut healthy = running.subscriber("", &["t"]).await;
    let mut closed_by_handler = running.ready_client("").await;
    closed_by_handler.send_json(&json!({ "t": "k", "p": {} })).await;
    assert_eq!(closed_by_handler.closed().await, Closed { code: 4000, reason: "seen enough".into() });
    drop(closed_by_handler);
    let mut panics = running.ready_client("").await;
    panics.send_json(&json!({ "t": "panic", "p": {} })).await;
    assert_eq!(panics.closed().await.code, 1006);
    let vanishes = running.ready_client("").await;
    drop(vanishes);
    let until = Instant::now() + PATIENCE;
    while register.closes.lock().expect("whole").len() < 3 {
        assert!(Instant::now() < until, "not told");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let mut closes = register.closes.lock().expect("whole").clone();
    closes.sort_unstable();
    assert_eq!(closes, [1006, 1006, 4000]);
    assert_eq!(register.connected.load(Ordering::SeqCst), 4);
    assert_eq!(running.publish("t", "k", &json!({})), 1);
    assert_eq!(healthy.message().await.topic(), Some("t"));
    assert_eq!(running.server.connection_count(), 1);
}
