//! A server without a port, behind somebody else's HTTP.

mod common;

use std::{future::IntoFuture, net::SocketAddr, time::Duration};

use axum::{
    Router,
    extract::{ConnectInfo, Request, State},
    routing::any,
};
use common::{Client, PATIENCE, SECRET, http as request, payload, token};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::json;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tokio_tungstenite::tungstenite::{self, client::IntoClientRequest as _};
use wse_server::{
    Acl, Caller, Carried, Close, Code, Config, Handler, Identity, Message, Outgoing, Payload, Server, StartError,
};

/// Settings with a key for tokens.
fn closed() -> Config {
    Config { jwt_secret: Some(SECRET.into()), ..Config::default() }
}

fn open() -> Config {
    Config { allow_open: true, ..Config::default() }
}

fn build(config: Config) -> Server {
    Server::builder(config).build().expect("builds")
}

/// Serves an application with a WebSocket at `/wse`.
async fn serve(server: &Server) -> SocketAddr {
    async fn wse(
        State(server): State<Server>,
        ConnectInfo(peer): ConnectInfo<SocketAddr>,
        request: Request,
    ) -> axum::response::Response {
        server.upgrade(request, peer).map(Into::into)
    }
    serve_app(Router::new().route("/wse", any(wse)).with_state(server.clone())).await
}

async fn serve_app(app: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let addr = listener.local_addr().expect("bound");
    tokio::spawn(axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>()).into_future());
    addr
}

async fn connect(addr: SocketAddr, query: &str, headers: &[(&'static str, &str)]) -> Client {
    let mut request = format!("ws://{addr}/wse{query}").into_client_request().expect("a request");
    for (name, value) in headers {
        request.headers_mut().insert(*name, value.parse().expect("a value"));
    }
    Client::connect(request).await
}

/// The head of a request for a WebSocket.
fn head() -> http::request::Parts {
    let request = http::Request::get("/wse")
        .header("connection", "Upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
    request.body(()).expect("a request").into_parts().0
}

fn identity(user: &str) -> Identity {
    Identity {
        user_id: user.into(),
        subscribe: Acl { allow: vec!["mine".into()], deny: Vec::new() },
        publish: Acl::nothing(),
    }
}

fn known(user: &str) -> Caller {
    Caller { address: None, identity: Some(identity(user)) }
}

fn publish(server: &Server, topic: &str) -> usize {
    let message = Outgoing::new("k", Payload::new(&json!({ "n": 1 })).expect("plain JSON"));
    server.publish(topic, message).expect("publishable").delivered
}

/// Until a count is what it should be.
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
async fn tokens_and_origins_are_looked_at_as_on_a_port_of_its_own() {
    let server = build(Config { allowed_origins: vec!["https://good.example".into()], ..closed() });
    let addr = serve(&server).await;
    let (code, end) = connect(addr, "", &[]).await.error_and_close().await;
    assert_eq!((&*code, end.code), ("AUTH_REQUIRED", 4401));
    let (code, end) = connect(addr, "?token=nonsense", &[]).await.error_and_close().await;
    assert_eq!((&*code, end.code), ("AUTH_FAILED", 4401));
    let query = format!("?token={}", token());
    let (code, end) = connect(addr, &query, &[("origin", "https://evil.example")]).await.error_and_close().await;
    assert_eq!((&*code, end.code), ("ORIGIN_NOT_ALLOWED", 4403));
    let mut client = connect(addr, &query, &[("origin", "https://good.example")]).await;
    let ready = client.message().await;
    assert_eq!((ready.kind(), &payload(&ready)["details"]["user_id"]), ("server_ready", &json!("alice")));
    client.subscribe(&["t"]).await;
    assert_eq!(publish(&server, "t"), 1);
    assert_eq!(client.message().await.kind(), "k");
    let stats = server.stats();
    assert_eq!((stats.refused_auth_required, stats.refused_auth_failed, stats.refused_origin), (1, 1, 1));
    assert_eq!((stats.connections_accepted, server.connection_count()), (1, 1));
}

#[tokio::test]
async fn nobody_is_a_guest_unless_that_is_wanted() {
    let server = build(Config::default());
    assert!(!server.is_open());
    let handshake = server.handshake(&head(), Caller::default()).expect("in order");
    assert_eq!(handshake.refusal(), Some(Code::AuthRequired));
    let handshake = server.handshake(&head(), known("carol")).expect("in order");
    assert_eq!((handshake.refusal(), server.connection_count()), (None, 1));
    drop(handshake);
    assert_eq!(server.connection_count(), 0, "its place is free again");
    let mut carried = server.attach(&http::HeaderMap::new(), "", known("carol"));
    assert!(matches!(carried.take(), Some(Carried::Frame(_))) && !carried.is_closed());
    let guests = build(open());
    assert!(guests.is_open());
    assert_eq!(guests.handshake(&head(), Caller::default()).expect("in order").refusal(), None);
}

#[tokio::test]
async fn an_identity_of_the_application_counts_with_its_topics_but_not_from_a_foreign_page() {
    let server = build(Config { allowed_origins: vec!["https://good.example".into()], ..closed() });
    let mut foreign = head();
    foreign.headers.insert("origin", "https://evil.example".parse().expect("a value"));
    let refused = server.handshake(&foreign, known("carol")).expect("in order").refusal();
    assert_eq!(refused, Some(Code::OriginNotAllowed));

    let (near, far) = tokio::io::duplex(4096);
    let running = tokio::spawn(server.handshake(&head(), known("carol")).expect("in order").run(near));
    let role = tungstenite::protocol::Role::Client;
    let mut socket = tokio_tungstenite::WebSocketStream::from_raw_socket(far, role, None).await;
    let request = json!({ "t": "subscription_update", "p": { "action": "subscribe", "topics": ["mine", "yours"] } });
    socket.send(tungstenite::Message::text(request.to_string())).await.expect("sent");
    until(|| publish(&server, "mine") == 1).await;
    assert_eq!(publish(&server, "yours"), 0);
    let mut said = String::new();
    while !said.contains(r#""t":"k""#) {
        said += &socket.next().await.expect("open").expect("a message").into_text().expect("text");
    }
    assert!(said.contains("carol"), "{said}");
    drop(socket);
    timeout(PATIENCE, running).await.expect("in time").expect("no panic");
    assert_eq!((server.connection_count(), server.stats().connections_closed), (0, 1));
}

/// Sends everything back.
struct Echo;

impl Handler for Echo {
    fn on_messages(&self, connection: &wse_server::ConnectionHandle, messages: &mut Vec<Message>) {
        for message in messages.drain(..) {
            if connection.send(Outgoing::new("echo", message.payload().clone())).is_err() {
                connection.close(Close::new(1011, "too slow"));
            }
        }
    }
}

#[tokio::test]
async fn a_narrow_pipe_carries_everything_in_order() {
    let server = Server::builder(open()).handler(Echo).build().expect("builds");
    // Narrower than a frame, so that every write and every read stops in between.
    let (near, far) = tokio::io::duplex(700);
    let mut head = head();
    head.uri = http::Uri::from_static("/wse?compression=false");
    tokio::spawn(server.handshake(&head, Caller::default()).expect("in order").run(near));
    let role = tungstenite::protocol::Role::Client;
    let socket = tokio_tungstenite::WebSocketStream::from_raw_socket(far, role, None).await;
    let (mut sink, mut stream) = socket.split();
    let filler = "y".repeat(3000);
    let sending = async {
        for n in 0..300 {
            let message = json!({ "t": "k", "p": { "n": n, "filler": filler } });
            sink.send(tungstenite::Message::text(message.to_string())).await.expect("sent");
        }
    };
    let receiving = async {
        let mut next = 0;
        while next < 300 {
            let bytes = stream.next().await.expect("open").expect("a message").into_data();
            let text = String::from_utf8_lossy(&bytes);
            if text.contains(r#""t":"echo""#) {
                assert!(text.contains(&format!("\"n\":{next}}}")), "{next}: {text}");
                next += 1;
            }
        }
    };
    timeout(PATIENCE, async { tokio::join!(sending, receiving) }).await.expect("in time");
}

/// Asks for a WebSocket, and says something right behind the request.
async fn speaks_at_once(mut socket: impl AsyncRead + AsyncWrite + Unpin) {
    let request = "GET /wse?compression=false HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                   Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let message = json!({ "t": "k", "p": { "said": "at once" } }).to_string();
    let bytes = [request.as_bytes(), &common::client_frame(0x81, message.as_bytes())].concat();
    socket.write_all(&bytes).await.expect("sent");
    let mut said = Vec::new();
    timeout(PATIENCE, async {
        while !String::from_utf8_lossy(&said).contains("at once") {
            assert_ne!(socket.read_buf(&mut said).await.expect("readable"), 0, "{}", String::from_utf8_lossy(&said));
        }
    })
    .await
    .expect("in time");
}

#[tokio::test]
async fn what_comes_right_behind_the_request_is_not_lost() {
    let server = Server::builder(open()).handler(Echo).build().expect("builds");
    // A socket that is known, within what axum makes of it.
    speaks_at_once(TcpStream::connect(serve(&server).await).await.expect("connects")).await;
    // Hyper by itself, over a socket, and over something that nobody has heard of.
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let far = TcpStream::connect(listener.local_addr().expect("bound")).await.expect("connects");
    let (near, _) = listener.accept().await.expect("accepts");
    tokio::join!(serve_by_hyper(&server, near), speaks_at_once(far));
    let (near, far) = tokio::io::duplex(4096);
    tokio::join!(serve_by_hyper(&server, near), speaks_at_once(far));
    assert_eq!(server.stats().messages_handled, 3);
}

/// Answers one request.
async fn serve_by_hyper(server: &Server, io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
    let answer = hyper::service::service_fn(async |request| {
        Ok::<_, std::convert::Infallible>(server.upgrade::<hyper::body::Incoming>(request, Caller::default()))
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .serve_connection(hyper_util::rt::TokioIo::new(io), answer)
        .with_upgrades();
    connection.await.expect("served");
}

#[tokio::test]
async fn limits_hold_for_sockets_and_for_connections() {
    let config = Config { max_handshakes: 2, max_connections_per_address: Some(1), ..open() };
    let server = build(config);
    let address = |text: &str| Caller { address: text.parse().ok(), identity: None };
    let first = server.handshake(&head(), address("192.0.2.1:1")).expect("room");
    let refused = server.handshake(&head(), address("192.0.2.1:2")).expect_err("its part of the handshakes is taken");
    assert_eq!((refused.status(), refused.code()), (http::StatusCode::SERVICE_UNAVAILABLE, Code::ServerFull));
    let (near, _far) = tokio::io::duplex(4096);
    tokio::spawn(first.run(near));
    until(|| server.stats().connections_accepted == 1).await;
    let second = server.handshake(&head(), address("192.0.2.1:3")).expect("the handshake is over");
    assert_eq!(second.refusal(), Some(Code::ServerFull), "but it has its connection");
    let other = server.handshake(&head(), address("192.0.2.2:1")).expect("room");
    assert_eq!(other.refusal(), None);
    assert_eq!(server.handshake(&head(), Caller::default()).expect_err("all taken").code(), Code::ServerFull);
    let stats = server.stats();
    assert_eq!((stats.refused_address, stats.refused_sockets), (1, 2));
}

#[tokio::test]
async fn what_is_no_handshake_gets_an_answer() {
    let server = build(Config { allowed_hosts: vec!["app.example".into()], ..open() });
    let addr = serve(&server).await;
    let host = "host: app.example";
    let upgrade = [
        "connection: Upgrade",
        "upgrade: websocket",
        "sec-websocket-version: 13",
        "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==",
    ];
    // The common client names the address as its host.
    assert_eq!(request(addr, "GET", "/wse", &upgrade, b"").await.error(), (421, "FORBIDDEN".into()));
    assert_eq!(server.stats().refused_hosts, 1);
    let mut plain = head();
    plain.headers.remove("upgrade");
    plain.headers.insert("host", host[6..].parse().expect("a value"));
    let refused = server.handshake(&plain, Caller::default()).expect_err("refused");
    let response = refused.response();
    assert_eq!(response.status(), 426);
    assert_eq!(response.headers()["upgrade"], "websocket");
    assert_eq!(response.headers()["sec-websocket-version"], "13");
    let mut old = head();
    old.headers.insert("sec-websocket-version", "8".parse().expect("a value"));
    assert_eq!(server.handshake(&old, Caller::default()).expect_err("refused").status(), 426);
    let mut broken = head();
    broken.headers.remove("sec-websocket-key");
    assert_eq!(server.handshake(&broken, Caller::default()).expect_err("refused").status(), 400);
    // An HTTP server that cannot upgrade.
    let request = http::Request::from_parts(head(), ());
    assert_eq!(server.upgrade(request, Caller::default()).status(), 500);
    assert_eq!(server.connection_count(), 0);
}

#[tokio::test]
async fn a_drain_and_a_shutdown_reach_everyone() {
    let server = build(Config { drain_window: Duration::from_millis(100), ..open() });
    let addr = serve(&server).await;
    let mut client = connect(addr, "", &[]).await;
    assert_eq!(client.message().await.kind(), "server_ready");
    let draining = tokio::spawn({
        let server = server.clone();
        async move { server.drain().await }
    });
    client.message_of("draining").await;
    assert_eq!(client.closed().await.code, 4300);
    drop(client);
    assert_eq!(timeout(PATIENCE, draining).await.expect("in time").expect("no panic"), 0);
    let refused = server.handshake(&head(), Caller::default()).expect_err("it is over");
    assert_eq!(refused.status(), http::StatusCode::SERVICE_UNAVAILABLE);

    let server = build(open());
    let mut client = connect(serve(&server).await, "", &[]).await;
    assert_eq!(client.message().await.kind(), "server_ready");
    let ending = tokio::spawn({
        let server = server.clone();
        async move { server.shutdown(PATIENCE).await }
    });
    assert_eq!(client.closed().await.code, 1001);
    drop(client);
    assert_eq!(timeout(PATIENCE, ending).await.expect("in time").expect("no panic"), 0);
}

#[tokio::test]
async fn the_http_api_can_be_asked_and_needs_its_key() {
    let server = build(Config { api_key: Some("a key for the tests".into()), ..closed() });
    let api = server.http_api();
    let ask = async |method: &str, path: &str, key: &str| {
        let request = http::Request::builder().method(method).uri(path).header("x-api-key", key);
        let body = bytes::Bytes::from_static(br#"{"topic":"t","type":"k"}"#);
        api.respond(request.body(body).expect("a request")).await
    };
    assert_eq!(ask("GET", "/wse/ready", "").await.status(), 200);
    assert_eq!(ask("POST", "/wse/publish", "a guess").await.status(), 401);
    let published = ask("POST", "/wse/publish", "a key for the tests").await;
    assert_eq!(published.status(), 200);
    assert!(published.body().starts_with(br#"{"delivered":0"#), "{:?}", published.body());
    assert_eq!(ask("GET", "/nowhere", "").await.status(), 404);
    let without_key = build(open()).http_api();
    let request = http::Request::post("/wse/publish").body(bytes::Bytes::new()).expect("a request");
    assert_eq!(without_key.respond(request).await.status(), 403, "it does not know who can reach it");
}

#[cfg(feature = "axum")]
#[tokio::test]
async fn the_router_brings_everything() {
    let server = build(closed());
    let app = Router::new().route("/", any(async || "mine")).merge(server.router());
    let addr = serve_app(app).await;
    assert_eq!(request(addr, "GET", "/", &[], b"").await.body, "mine");
    assert_eq!(request(addr, "GET", "/wse/health", &[], b"").await.json()["status"], "ok");
    let mut client = connect(addr, &format!("?token={}", token()), &[]).await;
    assert_eq!(client.message().await.kind(), "server_ready");
    assert_eq!(connect(addr, "", &[]).await.error_and_close().await.0, "AUTH_REQUIRED");
}

#[tokio::test]
async fn a_server_without_a_port_says_so() {
    let server = build(open());
    assert_eq!((server.local_addr().port(), server.is_on_loopback()), (0, false));
    assert!(matches!(server.serve().await, Err(StartError::NoPort)));
}

#[test]
fn without_a_runtime_there_is_no_server() {
    assert!(matches!(Server::builder(open()).build(), Err(StartError::NoRuntime)));
}
