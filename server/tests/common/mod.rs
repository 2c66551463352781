//! A real server on a free port, and clients that speak to it over real sockets.

#![allow(dead_code, reason = "each test binary uses a part of it")]

pub(crate) mod line;

use std::{net::SocketAddr, time::Duration};

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{self, client::IntoClientRequest, handshake::client::Request},
};
use wse_client_core::{
    io::Frame,
    wire::{self, Limits},
};
use wse_server::{Config, Handler, Message, Outgoing, Payload, Server, ServerBuilder, TokenClaims, make_token};

/// Nothing in these tests takes longer, on a machine under load either.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// How long to wait before believing that nothing comes.
pub(crate) const QUIET: Duration = Duration::from_millis(150);

/// The secret of servers that ask for tokens.
pub(crate) const SECRET: &str = "a secret for tests of at least thirty-two bytes";

/// Settings for tests: a free port.
pub(crate) fn open() -> Config {
    Config { port: 0, ..Config::default() }
}

/// The same, asking for tokens.
pub(crate) fn closed() -> Config {
    Config { jwt_secret: Some(SECRET.into()), ..open() }
}

/// A server that stops with the test.
pub(crate) struct Running {
    pub(crate) server: Server,
    serving: tokio::task::JoinHandle<()>,
}

impl Running {
    pub(crate) async fn start(config: Config) -> Self {
        Self::serve(Server::builder(config).bind().await.expect("binds"))
    }

    pub(crate) async fn with_handler(config: Config, handler: impl Handler) -> Self {
        Self::serve(Server::builder(config).handler(handler).bind().await.expect("binds"))
    }

    pub(crate) async fn with_builder(builder: ServerBuilder) -> Self {
        Self::serve(builder.bind().await.expect("binds"))
    }

    pub(crate) fn serve(server: Server) -> Self {
        let serving = tokio::spawn({
            let server = server.clone();
            async move { server.serve().await.expect("serves") }
        });
        Self { server, serving }
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.server.local_addr()
    }

    pub(crate) fn url(&self, query: &str) -> String {
        format!("ws://{}/wse{query}", self.addr())
    }

    pub(crate) async fn client(&self, query: &str) -> Client {
        Client::connect(self.url(query).into_client_request().expect("a request")).await
    }

    /// A client that was let in and has read its `server_ready`.
    pub(crate) async fn ready_client(&self, query: &str) -> Client {
        let mut client = self.client(query).await;
        assert_eq!(client.message().await.kind(), "server_ready");
        client
    }

    /// A client that is subscribed to `topics`.
    pub(crate) async fn subscriber(&self, query: &str, topics: &[&str]) -> Client {
        let mut client = self.ready_client(query).await;
        client.subscribe(topics).await;
        client
    }

    pub(crate) fn publish(&self, topic: &str, kind: &str, payload: &Value) -> usize {
        let message = Outgoing::new(kind, Payload::new(payload).expect("plain JSON"));
        self.server.publish(topic, message).expect("publishable").delivered
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// A WebSocket client that decodes what it gets.
pub(crate) struct Client {
    pub(crate) socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

/// How a connection ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Closed {
    pub(crate) code: u16,
    pub(crate) reason: String,
}

impl Client {
    pub(crate) async fn connect(request: Request) -> Self {
        let (socket, _) = timeout(PATIENCE, connect_async(request)).await.expect("in time").expect("upgraded");
        Self { socket }
    }

    pub(crate) async fn send_text(&mut self, text: impl Into<String>) {
        self.socket.send(tungstenite::Message::text(text.into())).await.expect("sent");
    }

    pub(crate) async fn send_binary(&mut self, bytes: impl Into<Vec<u8>>) {
        self.socket.send(tungstenite::Message::binary(bytes.into())).await.expect("sent");
    }

    pub(crate) async fn send_json(&mut self, value: &Value) {
        self.send_text(value.to_string()).await;
    }

    /// The next frame that is not about the WebSocket itself; `Err` when the connection is over.
    pub(crate) async fn frame(&mut self) -> Result<Frame, Closed> {
        loop {
            let next = timeout(PATIENCE, self.socket.next()).await.expect("something in time");
            return match next {
                Some(Ok(tungstenite::Message::Text(text))) => Ok(Frame::Text(text.into())),
                Some(Ok(tungstenite::Message::Binary(bytes))) => Ok(Frame::Binary(bytes)),
                Some(Ok(tungstenite::Message::Close(close))) => {
                    Err(close.map_or(Closed { code: 1005, reason: String::new() }, |close| Closed {
                        code: close.code.into(),
                        reason: close.reason.to_string(),
                    }))
                }
                Some(Ok(_)) => continue,
                Some(Err(_)) | None => Err(Closed { code: 1006, reason: String::new() }),
            };
        }
    }

    /// The next message, pings and heartbeats of the server left out.
    pub(crate) async fn message(&mut self) -> Message {
        match self.try_message().await {
            Ok(message) => message,
            Err(closed) => panic!("closed: {closed:?}"),
        }
    }

    pub(crate) async fn try_message(&mut self) -> Result<Message, Closed> {
        loop {
            let frame = self.frame().await?;
            let message = wire::decode(&frame, &Limits::default(), None).expect("decodable");
            if !matches!(message.kind(), "PING" | "heartbeat") {
                return Ok(message);
            }
        }
    }

    /// The next message of this type; others are passed over.
    pub(crate) async fn message_of(&mut self, kind: &str) -> Message {
        loop {
            let message = self.message().await;
            if message.kind() == kind {
                return message;
            }
        }
    }

    /// Subscribes and waits for the answer, which must accept all.
    pub(crate) async fn subscribe(&mut self, topics: &[&str]) {
        let answer = self.request("subscribe", topics).await;
        assert_eq!(answer["success"], true, "{answer}");
    }

    /// Sends a subscription request and gives its answer.
    pub(crate) async fn request(&mut self, action: &str, topics: &[&str]) -> Value {
        self.send_json(&json!({ "t": "subscription_update", "p": { "action": action, "topics": topics } })).await;
        payload(&self.message_of("subscription_update").await)
    }

    /// The code of the error message that comes, and how the connection ends.
    pub(crate) async fn error_and_close(&mut self) -> (String, Closed) {
        let error = self.message_of("error").await;
        (code(&error), self.closed().await)
    }

    /// How the connection ends; messages before that are passed over.
    pub(crate) async fn closed(&mut self) -> Closed {
        loop {
            if let Err(closed) = self.frame().await {
                return closed;
            }
        }
    }

    /// Nothing comes for a while.
    pub(crate) async fn expect_silence(&mut self) {
        if let Ok(next) = timeout(QUIET, self.socket.next()).await {
            panic!("unexpected: {next:?}");
        }
    }

    /// The connection works: a ping is answered.
    pub(crate) async fn expect_alive(&mut self) {
        self.send_json(&json!({ "t": "ping", "p": { "timestamp": 1 } })).await;
        self.message_of("PONG").await;
    }
}

pub(crate) fn payload(message: &Message) -> Value {
    message.payload().parse().expect("JSON")
}

pub(crate) fn code(error: &Message) -> String {
    assert_eq!(error.kind(), "error");
    payload(error)["code"].as_str().expect("a code").to_owned()
}

/// A token for `alice`.
pub(crate) fn token() -> String {
    make_token(&SECRET.into(), &TokenClaims::new("alice", Duration::from_secs(60))).expect("made")
}

/// An answer over HTTP.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    /// Status and code of an error body.
    pub(crate) fn error(&self) -> (u16, String) {
        let body = self.json();
        assert!(!body["error"]["message"].as_str().expect("a message").is_empty());
        (self.status, body["error"]["code"].as_str().expect("a code").to_owned())
    }
}

/// One HTTP request. `headers` are whole lines.
pub(crate) async fn http(addr: SocketAddr, method: &str, path: &str, headers: &[&str], body: &[u8]) -> Answer {
    let mut head = format!("{method} {path} HTTP/1.1\r\nhost: {addr}\r\nconnection: close\r\n");
    for line in headers {
        head += line;
        head += "\r\n";
    }
    head += &format!("content-length: {}\r\n\r\n", body.len());
    let mut stream = TcpStream::connect(addr).await.expect("connects");
    stream.write_all(head.as_bytes()).await.expect("sent");
    // The server may answer and close before it has read all of a body that it refuses.
    let _ = stream.write_all(body).await;
    let mut answer = Vec::new();
    let _ = timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("an answer in time");
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n").expect("an HTTP answer");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    Answer { status, head: head.to_ascii_lowercase(), body: body.to_owned() }
}

/// A socket after the opening handshake, for frames that no client library would send.
pub(crate) struct Raw {
    pub(crate) stream: TcpStream,
}

impl Raw {
    pub(crate) async fn connect(addr: SocketAddr) -> Self {
        let mut stream = TcpStream::connect(addr).await.expect("connects");
        let request = format!(
            "GET /wse HTTP/1.1\r\nHost: {addr}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(timeout(PATIENCE, stream.read_u8()).await.expect("in time").expect("an answer"));
        }
        let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
        assert!(head.starts_with("http/1.1 101"), "{head}");
        assert!(head.contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo="), "{head}");
        let mut raw = Self { stream };
        let (opcode, ready) = raw.read_frame().await.expect("server_ready");
        assert!(opcode == 1 && ready.starts_with(b"WSE{\"t\":\"server_ready\""));
        raw
    }

    /// Writes a masked frame with this first byte.
    pub(crate) async fn write_frame(&mut self, first: u8, payload: &[u8]) {
        self.stream.write_all(&client_frame(first, payload)).await.expect("sent");
    }

    /// Opcode and payload of the next frame; `None` when the socket is at its end.
    pub(crate) async fn read_frame(&mut self) -> Option<(u8, Vec<u8>)> {
        timeout(PATIENCE, async {
            let first = self.stream.read_u8().await.ok()?;
            let len = match self.stream.read_u8().await.ok()? {
                126 => usize::from(self.stream.read_u16().await.ok()?),
                127 => usize::try_from(self.stream.read_u64().await.ok()?).ok()?,
                len => usize::from(len),
            };
            let mut payload = vec![0; len];
            self.stream.read_exact(&mut payload).await.ok()?;
            Some((first & 0x0F, payload))
        })
        .await
        .expect("a frame in time")
    }

    /// Reads on to the close frame and to the end of the socket behind it; gives the code.
    pub(crate) async fn close_code(&mut self) -> u16 {
        loop {
            let (opcode, payload) = self.read_frame().await.expect("a close frame before the end");
            if opcode == 8 {
                assert!(self.read_frame().await.is_none(), "nothing follows the close frame");
                return payload.first_chunk::<2>().map_or(1005, |code| u16::from_be_bytes(*code));
            }
        }
    }
}

/// A masked frame.
pub(crate) fn client_frame(first: u8, payload: &[u8]) -> Vec<u8> {
    const KEY: [u8; 4] = [1, 2, 3, 4];
    let mut out = vec![first];
    match payload.len() {
        len @ 0..=125 => out.push(0x80 | len as u8),
        len @ 126..=0xFFFF => {
            out.push(0x80 | 126);
            out.extend((len as u16).to_be_bytes());
        }
        len => {
            out.push(0x80 | 127);
            out.extend((len as u64).to_be_bytes());
        }
    }
    out.extend(KEY);
    out.extend(payload.iter().zip(KEY.iter().cycle()).map(|(byte, key)| byte ^ key));
    out
}
