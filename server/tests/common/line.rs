//! A client that reaches the server over a socket or through memory: what holds for one must hold for the other.

use serde_json::{Value, json};
use tokio::time::timeout;
use wse_client_core::{
    io::{Close, Frame},
    rng::{Rng, Seed},
    security::{Dialect, KeyPair, Opener, Role, Sealer},
    wire::{self, Limits},
};
use wse_server::{Attached, Carried, Message};

use super::{Client, PATIENCE, QUIET, Running, payload};

/// How a client reaches the server.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Way {
    Socket,
    Memory,
}

/// Both.
pub(crate) const WAYS: [Way; 2] = [Way::Socket, Way::Memory];

/// A client that was let in.
pub(crate) enum Line {
    Socket(Box<Client>),
    Memory(Box<Attached>),
}

impl Line {
    pub(crate) async fn open(running: &Running, way: Way, query: &str) -> Self {
        let mut line = match way {
            Way::Socket => Self::Socket(Box::new(running.client(&format!("?{query}")).await)),
            Way::Memory => Self::Memory(Box::new(running.server.attach(&http::HeaderMap::new(), query, None))),
        };
        assert_eq!(line.message().await.kind(), "server_ready");
        line
    }

    /// A client that is `user`, of a server that asks for tokens.
    pub(crate) async fn of(running: &Running, way: Way, token: &str) -> Self {
        Self::open(running, way, &format!("token={token}")).await
    }

    pub(crate) async fn say(&mut self, message: &Value) {
        self.say_frame(Frame::Text(message.to_string().into())).await;
    }

    pub(crate) async fn say_frame(&mut self, frame: Frame) {
        match (self, frame) {
            (Self::Memory(attached), frame) => attached.on_frame(frame),
            (Self::Socket(client), Frame::Text(text)) => client.send_text(String::from_utf8_lossy(&text)).await,
            (Self::Socket(client), Frame::Binary(bytes)) => client.send_binary(bytes).await,
        }
    }

    /// The next frame.
    pub(crate) async fn frame(&mut self) -> Frame {
        match self {
            Self::Socket(client) => client.frame().await.expect("open"),
            Self::Memory(attached) => loop {
                match attached.take() {
                    Some(Carried::Frame(frame)) => return frame,
                    Some(Carried::Close(close)) => panic!("closed: {close:?}"),
                    None => timeout(PATIENCE, attached.ready()).await.expect("something in time"),
                }
            },
        }
    }

    /// The next message, pings left out.
    pub(crate) async fn message(&mut self) -> Message {
        loop {
            let message = wire::decode(&self.frame().await, &Limits::default(), None).expect("decodable");
            if message.kind() != "PING" {
                return message;
            }
        }
    }

    /// The next message, which has this type.
    pub(crate) async fn expect(&mut self, kind: &str) -> Message {
        let message = self.message().await;
        assert_eq!(message.kind(), kind, "{:?}", message.payload().to_json());
        message
    }

    /// Asks, and gives the payload of the answer, which comes next.
    pub(crate) async fn ask(&mut self, kind: &str, question: Value, answer: &str) -> Value {
        self.say(&json!({ "t": kind, "id": "q", "p": question })).await;
        let message = self.expect(answer).await;
        assert_eq!(message.correlation_id(), Some("q"));
        payload(&message)
    }

    pub(crate) async fn subscribe(&mut self, request: Value) -> Value {
        self.ask("subscription_update", request, "subscription_update").await
    }

    /// Says hello with a key, and waits for the other half.
    pub(crate) async fn agree(&mut self) -> (Sealer, Opener) {
        let mut rng = Rng::new(Seed::from_u64(1));
        let pair = KeyPair::generate(&mut rng);
        let features = json!({ "encryption": true, "full_duplex": true });
        let key = pair.public_base64();
        let hello = json!({ "client_version": "test", "features": features, "encryption_public_key": key });
        self.say(&json!({ "t": "client_hello", "p": hello })).await;
        let hello = payload(&self.expect("server_hello").await);
        let key = hello["encryption_public_key"].as_str().expect("a key");
        pair.agree(key, Dialect::V2, Role::Client, &mut rng).expect("agreed")
    }

    /// Nothing comes for a while.
    pub(crate) async fn expect_silence(&mut self) {
        if let Ok(message) = timeout(QUIET, self.message()).await {
            panic!("unexpected: {} {}", message.kind(), message.payload().to_json());
        }
    }

    /// Goes away without a word.
    pub(crate) fn cut(self) {
        match self {
            Self::Socket(client) => drop(client),
            Self::Memory(mut attached) => attached.on_closed(Close::abnormal()),
        }
    }
}
