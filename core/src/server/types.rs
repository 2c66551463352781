//! What goes into a [`Peer`](super::Peer) and what comes out.

use std::{collections::BTreeMap, time::Duration};

use super::{PresenceQuestion, SyncQuestion};
use crate::{
    config::ConfigError,
    delivery::{BatchConfig, Position, RateLimit, TopicRecovery},
    error::Code,
    io::{Close, Frame},
    security::{Secret, SigningConfig, tokens},
    time::Moment,
    topic::Acl,
    wire::{Compression, DecodeError, Encoding, Limits, Message},
};

use super::Question;

/// What every connection of a server shares. [`PeerConfig::check`] tells whether it can be used.
#[derive(Debug, Clone)]
pub struct PeerConfig {
    /// Announced in `server_hello`.
    pub server_version: String,
    /// Bounds on what a client may send.
    pub limits: Limits,
    /// Compression of large messages; `None`: never.
    pub compression: Option<Compression>,
    /// Whether clients that ask for it are given encryption. Default true.
    pub encryption: bool,
    /// Signing of messages with a key that clients know. Default none. Source: PROTOCOL.md §5.3.
    pub signing: Option<SigningConfig>,
    /// The key of session and channel tokens, which only the server knows: at least 32 bytes, of randomness.
    /// Default none: no tokens are given out, and none is taken. Source: PROTOCOL.md §5.6.
    pub token_key: Option<Secret>,
    /// Joining of messages to one client that announced `batching`: how many share a frame, and how long they are held
    /// for each other. Default 10 messages, 64 KiB, not held at all: only what waits anyway is joined. A size of 1 turns it
    /// off. Source: PROTOCOL.md §7.4.
    pub batch: BatchConfig,
    /// Most messages that may wait for one client alone, until it asks for another bound. Default 1000.
    pub queue_messages: usize,
    /// Time between pings of the server. Default 15 s.
    pub ping_interval: Duration,
    /// Whether a `heartbeat` goes out with each ping. Default true.
    pub heartbeat: bool,
    /// Time between looks at the network of a client, which is told when it has become bad or well again. Done with
    /// pings, and so no more often than those. Default 30 s.
    pub health_interval: Duration,
    /// Time over which rates are measured, in whole pings. Default 60 s.
    pub metrics_interval: Duration,
    /// Silence that ends a connection. Must be longer than `ping_interval`. Default 90 s.
    pub idle_timeout: Duration,
    /// Whether the server keeps a history of topics, and fills [`SubscriptionRequest::recovery`]. Default false.
    pub recovery: bool,
    /// Whether the server tells who is in a topic: it gets [`Event::Presence`] and
    /// [`SubscriptionRequest::presence`]. Default false: `presence_request` goes to the application.
    pub presence: bool,
    /// Whether the server tells the state of topics: it gets [`Event::Sync`]. Default false: `sync_request` goes to the
    /// application.
    pub snapshots: bool,
    /// Refused frames after which a connection is closed with 1008. Default 100.
    pub max_rejected: u32,
    /// How fast a client may send messages; see PROTOCOL.md §7.3 for what happens above it. Default: no bound.
    pub inbound_rate: Option<RateLimit>,
}

impl PeerConfig {
    /// Checks what every connection relies on; a server calls it once, before it takes any.
    ///
    /// # Errors
    /// The first setting that cannot be used, by name, with what is allowed.
    pub fn check(&self) -> Result<(), ConfigError> {
        if self.signing.as_ref().is_some_and(|signing| !signing.is_usable()) {
            return Err(ConfigError::new("signing.key", "must have at least 32 bytes"));
        }
        if self.token_key.as_ref().is_some_and(|key| key.expose().len() < tokens::MIN_KEY) {
            return Err(ConfigError::new("token_key", "must have at least 32 bytes"));
        }
        if self.ping_interval < Duration::from_millis(1) {
            return Err(ConfigError::new("ping_interval", "must be at least 1 ms"));
        }
        if self.batch.size == 0 {
            return Err(ConfigError::new("batch.size", "must be at least 1"));
        }
        if self.queue_messages == 0 {
            return Err(ConfigError::new("queue_messages", "must be at least 1"));
        }
        if self.idle_timeout <= self.ping_interval {
            return Err(ConfigError::new("idle_timeout", "must be longer than ping_interval"));
        }
        Ok(())
    }
}

impl Default for PeerConfig {
    fn default() -> Self {
        Self {
            server_version: crate::VERSION.into(),
            limits: Limits::default(),
            compression: Some(Compression::default()),
            encryption: true,
            signing: None,
            token_key: None,
            batch: BatchConfig { timeout: Duration::ZERO, ..BatchConfig::default() },
            queue_messages: 1000,
            ping_interval: Duration::from_secs(15),
            heartbeat: true,
            health_interval: Duration::from_secs(30),
            metrics_interval: Duration::from_secs(60),
            idle_timeout: Duration::from_secs(90),
            recovery: false,
            presence: false,
            snapshots: false,
            max_rejected: 100,
            inbound_rate: None,
        }
    }
}

/// What the server learned before the WebSocket was open.
#[derive(Debug, Clone)]
pub enum Admission {
    /// The client may come in.
    Granted(Identity),
    /// It may not: the peer says why and closes.
    Denied {
        /// [`Code::AuthRequired`], [`Code::AuthFailed`], [`Code::OriginNotAllowed`] or [`Code::ServerFull`].
        code: Code,
        /// One line for the client; generic, nothing about keys or claims.
        message: String,
    },
}

/// Who is on the other end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identity {
    /// The user: the token's `sub`, or a random name on an open server.
    pub user_id: String,
    /// Topics it may subscribe to.
    pub subscribe: Acl,
    /// Topics it may publish to.
    pub publish: Acl,
}

/// What the driver hands in.
#[derive(Debug)]
pub enum Input {
    /// A whole message arrived.
    Frame(Frame),
    /// The socket is closed or broken. Always the last input.
    Closed(Close),
    /// A WebSocket ping or pong arrived: the client is there.
    Alive,
    /// The driver stopped reading for backpressure (`true`), or reads again (`false`).
    ReadsPaused(bool),
    /// The time given by [`Output::Wait`] has come. Early calls are harmless.
    Wake,
}

/// One step: call [`Peer::poll`](super::Peer::poll) until it answers `Wait`.
#[derive(Debug)]
pub enum Output {
    /// Write one WebSocket message.
    Send(Frame),
    /// Write everything sent so far, then close. No input matters after it.
    Close(Close),
    /// Tell the server.
    Emit(Event),
    /// Nothing more to do: hand in input when it comes, and `Wake` at this moment if there is one.
    Wait(Option<Moment>),
}

/// What the server is told.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// The client said hello. The way messages are to be written is settled from here on.
    Hello {
        /// The client's version, as it announced it.
        client_version: String,
    },
    /// The client asks for topics that its ACL allows. Answer with
    /// [`Peer::answer_subscription`](super::Peer::answer_subscription).
    Subscribe(SubscriptionRequest),
    /// The client found a gap in topics that it has subscribed to, and wants what is missing. Answer likewise, with
    /// [`SubscriptionRequest::recovery`]; no subscription changes.
    Recover(SubscriptionRequest),
    /// The client gives up topics. Answer likewise.
    Unsubscribe(SubscriptionRequest),
    /// The client asks who is in a topic. Answer with [`Peer::answer_presence`](super::Peer::answer_presence).
    Presence(PresenceQuestion),
    /// The client asks for the state of topics. Answer with [`Peer::answer_sync`](super::Peer::answer_sync).
    Sync(SyncQuestion),
    /// The client publishes to a topic that its ACL allows ([`Message::topic`]).
    Publish(Message),
    /// A message for the application.
    Message(Message),
    /// The client asks for figures of the server. Answer with
    /// [`Peer::answer_question`](super::Peer::answer_question).
    Question(Question),
    /// The client wants that at most so many messages wait for it alone.
    QueueSize(usize),
    /// The keys of the connection were renewed.
    KeysRotated,
    /// A frame was refused; the client has been told.
    Rejected(DecodeError),
    /// The connection is over. Always the last event, exactly once.
    Closed(Close),
}

/// A subscription request whose topics were checked.
#[derive(Debug)]
pub struct SubscriptionRequest {
    /// Topics to act on: valid, allowed, without duplicates.
    pub topics: Vec<String>,
    /// Topics refused already, with the reason.
    pub refused: Vec<(String, Code)>,
    /// The id of the request, repeated in the answer.
    pub id: Option<String>,
    /// The first request of a connection can come from its URL (`topics=`).
    pub from_url: bool,
    /// The client wants what it missed since its positions.
    pub recover: bool,
    /// Where the client stands, by topic; with a pattern among the topics also names that it met. A name that the
    /// client may not subscribe to is not among them.
    pub positions: BTreeMap<String, Position>,
    /// For the server to fill before it answers: what follows, by topic.
    pub recovery: BTreeMap<String, TopicRecovery>,
    /// The queue group that the client joins in these topics. Source: PROTOCOL.md §6.8.
    pub group: Option<String>,
    /// Exact topics of the request that the client wants to be seen in, and what it tells there about itself, at most
    /// [`MAX_PRESENCE`](crate::topic::MAX_PRESENCE) bytes of JSON. Source: PROTOCOL.md §6.7.
    pub presence: BTreeMap<String, serde_json::Value>,
    /// For the server to fill before it answers: the number of users in topics where the client is seen.
    pub present: BTreeMap<String, u64>,
}

/// How the shared encodings of topic messages must look for one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivery {
    /// Text, binary or msgpack.
    pub encoding: Encoding,
    /// Whether `C:` may be used.
    pub compression: bool,
    /// Whether each frame must pass [`Peer::seal`](super::Peer::seal) before it is written.
    pub encrypted: bool,
}
