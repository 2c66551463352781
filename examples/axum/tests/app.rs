//! The application on a real port, and the native client.

use std::{net::SocketAddr, path::Path, time::Duration};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::oneshot,
    task::JoinHandle,
    time::timeout,
};
use wse_client::{Client, Code, ConnectError, Disconnect, Event};
use wse_example_axum::{App, Chat, Users};
use wse_server::{Config, Server};

const PATIENCE: Duration = Duration::from_secs(10);
const KEY: &str = "authorization: Bearer wonderland";

struct Running {
    addr: SocketAddr,
    wse: Server,
    /// Begins the end.
    stop: oneshot::Sender<()>,
    serving: JoinHandle<std::io::Result<()>>,
}

impl Running {
    async fn start(config: Config) -> Self {
        let wse = Server::builder(config).async_handler(Chat).build().expect("builds");
        let users = [("alice", "wonderland"), ("bob", "builder")].map(|(name, key)| (name.to_owned(), key.to_owned()));
        let app = App::new(wse.clone(), Users::new(users)).router(Path::new("no-such-folder"));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let addr = listener.local_addr().expect("bound");
        let (stop, stopped) = oneshot::channel();
        let server = wse.clone();
        let serving = tokio::spawn(async move {
            axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>())
                .with_graceful_shutdown(async move {
                    let _ = stopped.await;
                    server.drain().await;
                })
                .await
        });
        Self { addr, wse, stop, serving }
    }

    fn url(&self) -> String {
        format!("ws://{}/wse", self.addr)
    }

    async fn client(&self, key: &str) -> Result<Client, ConnectError> {
        Client::builder(self.url()).token(key).topics(["room:lobby"]).connect().await
    }

    /// One request; gives the status and the body.
    async fn http(&self, method: &str, path: &str, header: &str, body: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.addr).await.expect("connects");
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\ncontent-type: application/json\r\n{header}\r\n\
             content-length: {}\r\n\r\n{body}",
            self.addr,
            body.len()
        );
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut answer = String::new();
        timeout(PATIENCE, stream.read_to_string(&mut answer)).await.expect("in time").expect("an answer");
        let (head, body) = answer.split_once("\r\n\r\n").expect("an HTTP answer");
        (head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status"), body.to_owned())
    }
}

/// The first event of which `pick` makes something.
async fn next<T>(client: &mut Client, pick: impl Fn(Event) -> Option<T>) -> T {
    timeout(PATIENCE, async {
        loop {
            if let Some(found) = pick(client.next().await.expect("not at its end")) {
                return found;
            }
        }
    })
    .await
    .expect("in time")
}

/// The next thing that is said.
async fn said(client: &mut Client) -> (String, Value) {
    next(client, |event| match event {
        Event::Message(message) => Some((message.kind().to_owned(), message.payload().parse().expect("JSON"))),
        _ => None,
    })
    .await
}

fn disconnected(event: Event) -> Option<Disconnect> {
    match event {
        Event::Disconnected(end) => Some(end),
        _ => None,
    }
}

async fn in_the_room(client: &mut Client) {
    next(client, |event| matches!(event, Event::Subscribed(_)).then_some(())).await;
}

#[tokio::test]
async fn what_rest_and_other_clients_say_arrives() {
    let running = Running::start(Config::default()).await;
    let mut alice = running.client("wonderland").await.expect("connects");
    in_the_room(&mut alice).await;
    let (status, body) = running.http("POST", "/rooms/lobby", KEY, r#"{"text":"hello"}"#).await;
    let told: Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!((status, &told["delivered"]), (200, &json!(1)));
    assert_eq!(said(&mut alice).await, ("said".into(), json!({ "from": "alice", "text": "hello" })));

    let bob = running.client("builder").await.expect("connects");
    let message = wse_client::Payload::new(&json!({ "room": "lobby", "text": "hi" })).expect("JSON");
    bob.send(wse_client::Outgoing::new("say", message)).await.expect("sent");
    assert_eq!(said(&mut alice).await, ("said".into(), json!({ "from": "bob", "text": "hi" })));
    assert_eq!(running.http("POST", "/rooms/lobby", "x: y", r#"{"text":"?"}"#).await.0, 401);
}

#[tokio::test]
async fn what_cannot_be_understood_is_told() {
    let running = Running::start(Config::default()).await;
    let mut alice = running.client("wonderland").await.expect("connects");
    let id = alice.send(wse_client::Outgoing::new("shout", wse_client::Payload::EMPTY)).await.expect("sent");
    let error = next(&mut alice, |event| match event {
        Event::ServerError(error) => Some(error),
        _ => None,
    })
    .await;
    assert_eq!(error.code, "INVALID_REQUEST");
    assert_eq!(error.source.correlation_id(), Some(&*id));
}

#[tokio::test]
async fn who_is_no_user_gets_401_and_the_client_knows_why() {
    let running = Running::start(Config::default()).await;
    let error = running.client("a guess").await.expect_err("refused");
    assert_eq!(error.code(), Code::AuthFailed, "{error}");
    assert!(error.to_string().contains("401"), "{error}");
    assert_eq!(running.wse.stats().connections_accepted, 0);
    assert_eq!(running.http("POST", "/login", "x: y", r#"{"key":"a guess"}"#).await.0, 401);
    assert_eq!(running.http("POST", "/login", "x: y", r#"{"key":"builder"}"#).await, (200, "bob".into()));
}

#[tokio::test]
async fn a_request_that_is_no_upgrade_is_told_so() {
    let running = Running::start(Config::default()).await;
    let (status, body) = running.http("GET", "/wse", KEY, "").await;
    let error: Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!((status, &error["error"]["code"]), (426, &json!("INVALID_REQUEST")));
    assert!(error["error"]["message"].as_str().expect("a text").contains("WebSocket"));
    assert_eq!(running.http("GET", "/wse/health", "x: y", "").await.0, 200);
    assert_eq!(running.http("GET", "/wse/nothing", "x: y", "").await.0, 404);
    let (status, page) = running.http("GET", "/", "x: y", "").await;
    assert!(status == 200 && page.contains("WseClient"));
}

#[tokio::test]
async fn one_address_gets_no_more_than_its_connections() {
    let running = Running::start(Config { max_connections_per_address: Some(1), ..Config::default() }).await;
    let alice = running.client("wonderland").await.expect("connects");
    let mut bob = Client::builder(running.url()).token("builder").start().expect("starts");
    let end = next(&mut bob, disconnected).await;
    assert_eq!((end.code, end.close.map(|close| close.code)), (Code::ServerFull, Some(1013)));
    assert!(running.wse.stats().refused_address >= 1);
    alice.close().await;
    // It comes back by itself.
    timeout(PATIENCE, bob.wait_connected(None)).await.expect("in time").expect("a place is free again");
}

#[tokio::test]
async fn a_drain_sends_everyone_away_and_then_the_port_closes() {
    let config = Config { drain_window: Duration::from_millis(100), ..Config::default() };
    let running = Running::start(config).await;
    let mut alice = running.client("wonderland").await.expect("connects");
    running.stop.send(()).expect("still serving");
    let end = next(&mut alice, disconnected).await;
    assert_eq!(end.close.expect("a close frame").code, 4300);
    assert!(end.retry_in.is_some_and(|pause| pause >= Duration::from_millis(500)), "{:?}", end.retry_in);
    timeout(PATIENCE, running.serving).await.expect("in time").expect("no panic").expect("served");
    assert_eq!(running.wse.connection_count(), 0);
}
