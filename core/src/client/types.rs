//! What goes into a [`Client`](super::Client) and what comes out.

use std::{fmt, time::Duration};

use crate::{
    config::ConfigError,
    delivery::LostRange,
    error::Code,
    io::{Close, Frame, SocketId},
    resilience::{Adaptation, Quality},
    security::Secret,
    time::Moment,
    wire::{DecodeError, Message, Payload, Priority, batch},
};

use super::{Notice, RequestOutcome};

/// What the world did. Handing it over never fails; trouble comes back as an [`Event`].
#[derive(Debug)]
pub enum Input {
    /// The WebSocket handshake of this attempt succeeded.
    Opened(SocketId),
    /// A whole message arrived.
    Frame(SocketId, Frame),
    /// The socket is closed, by either side. Always the last input of a socket, unless it is `Failed`.
    Closed(SocketId, Close),
    /// The socket could not be opened, or broke.
    Failed(SocketId, Fault),
    /// The answer to the [`Action::FetchToken`] of this name: a token, none, or a failure in the application's words.
    /// One to a question that is over is dropped.
    Token(RequestId, Result<Option<Secret>, String>),
    /// What the host says about the network or about itself.
    Network(NetworkHint),
    /// The driver stopped reading because the application is slow (`true`), or reads again (`false`).
    /// While it does not read, silence of the server proves nothing. It counts for the present open socket, and is
    /// said again of the next one; without one it means nothing.
    ReadsPaused(bool),
    /// The time given by [`Output::Wait`] has come. Early calls are harmless.
    Wake,
}

/// What a host can know before its sockets do. Source: PROTOCOL.md §7.5.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NetworkHint {
    /// There is no network. Nothing is dialled for a while, and silence proves nothing.
    Offline,
    /// There is a network again.
    Online,
    /// The network is another one: sockets may be dead without a word.
    AddressChanged,
    /// The machine or the page is about to sleep.
    Sleep,
    /// It woke.
    Wake,
}

impl NetworkHint {
    /// Every hint, with the name it has in all languages and in recordings.
    const NAMES: [(&'static str, Self); 5] = [
        ("offline", Self::Offline),
        ("online", Self::Online),
        ("address_changed", Self::AddressChanged),
        ("sleep", Self::Sleep),
        ("wake", Self::Wake),
    ];

    /// Its name: `offline`, `online`, `address_changed`, `sleep` or `wake`.
    pub fn as_str(self) -> &'static str {
        Self::NAMES.iter().find(|(_, hint)| *hint == self).map_or("", |(name, _)| name)
    }

    /// The hint of this name, for bindings.
    ///
    /// # Errors
    /// [`ConfigError`] that names all of them.
    pub fn named(name: &str) -> Result<Self, ConfigError> {
        Self::NAMES.iter().find(|(known, _)| *known == name).map(|(_, hint)| *hint).ok_or_else(|| {
            let names = Self::NAMES.map(|(name, _)| name).join(", ");
            ConfigError::new("hint", format!("must be one of {names}, not {name:?}"))
        })
    }
}

/// Why a socket could not be opened, or broke.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The HTTP status, when the server answered the upgrade with something other than 101.
    pub http_status: Option<u16>,
    /// The driver's words, for the log and the [`Disconnect`]. No tokens.
    pub detail: String,
}

/// One step: call [`Client::poll`](super::Client::poll) until it answers `Wait`.
#[derive(Debug)]
pub enum Output {
    /// Do this now.
    Act(Action),
    /// Tell the application.
    Emit(Event),
    /// Nothing more to do: hand in input when it comes, and `Wake` at this moment if there is one.
    Wait(Option<Moment>),
}

/// What the driver must do. `Debug` shows no token, whichever way it travels.
pub enum Action {
    /// Ask the application for a token and hand in [`Input::Token`].
    FetchToken {
        /// The name of this question, to be repeated in the answer.
        request: RequestId,
        /// The last token was refused, so a cached one will not do.
        renew: bool,
    },
    /// Dial. `url` is complete, query included; `token` goes into the headers where the driver can set them.
    Open {
        /// The name of this attempt, to be repeated in every input about it.
        socket: SocketId,
        /// Where to dial.
        url: String,
        /// Sent as `Authorization: Bearer` and as cookie `access_token`.
        token: Option<Secret>,
    },
    /// Write one WebSocket message.
    Send {
        /// The socket.
        socket: SocketId,
        /// The message.
        frame: Frame,
    },
    /// Close (or stop dialling). No further input about this socket matters.
    Close {
        /// The socket.
        socket: SocketId,
        /// Code and reason for the close frame.
        close: Close,
    },
}

impl fmt::Debug for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FetchToken { request, renew } => {
                f.debug_struct("FetchToken").field("request", request).field("renew", renew).finish()
            }
            Self::Open { socket, url, token } => f
                .debug_struct("Open")
                .field("socket", socket)
                .field("url", &crate::config::shown(url))
                .field("token", token)
                .finish(),
            Self::Send { socket, frame } => {
                f.debug_struct("Send").field("socket", socket).field("frame", frame).finish()
            }
            Self::Close { socket, close } => {
                f.debug_struct("Close").field("socket", socket).field("close", close).finish()
            }
        }
    }
}

/// What the application is told.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Event {
    /// The state changed. Comes before the event that explains it.
    StateChanged {
        /// The state before.
        from: ConnectionState,
        /// The state from here on.
        to: ConnectionState,
    },
    /// The server is ready and all topics were asked for again.
    Connected(ServerInfo),
    /// The connection ended or an attempt failed.
    Disconnected(Disconnect),
    /// An application message, or a message of the server that the client has no own use for.
    Message(Message),
    /// A subscription request came to its end. One for each [`RequestId`].
    Subscribed(SubscriptionOutcome),
    /// The server refused something: a message of type `error`.
    ServerError(ServerError),
    /// A frame of the server was refused; the connection goes on.
    Rejected(DecodeError),
    /// After a reconnect, or after a gap, it is settled what becomes of the missed publications of a topic. An
    /// [`Event::Lost`] follows for each range that will never come, then the `count` publications that were missed.
    Recovery {
        /// The topic.
        topic: String,
        /// Whether everything comes.
        outcome: RecoveryOutcome,
        /// Publications that follow.
        count: u64,
    },
    /// Messages that will never come: the server dropped them for this client, or its history does not reach back
    /// far enough.
    Lost {
        /// The topic, when the server named one.
        topic: Option<String>,
        /// How many messages, when that is known.
        count: Option<u64>,
        /// Which ones, for a recoverable topic.
        range: Option<LostRange>,
    },
    /// A request came to its end. One for each [`RequestId`] of [`Client::request`](super::Client::request).
    Response {
        /// The request.
        request: RequestId,
        /// How it ended.
        outcome: RequestOutcome,
    },
    /// A message of the server with a known meaning that nobody asked for. It comes instead of an
    /// [`Event::Message`], in order with the others; [`Event::message`] gives the message of either.
    Notice(Notice),
    /// The keys of the connection were renewed.
    KeysRotated,
    /// A message that [`super::Client::send`] had accepted will not be sent. It is told once for each.
    Dropped {
        /// The id that `send` gave.
        id: String,
        /// Its priority.
        priority: Priority,
        /// Why.
        reason: DropReason,
    },
    /// A round trip was measured.
    Latency(Duration),
    /// The network does better or worse than before.
    QualityChanged {
        /// The judgement before.
        from: Quality,
        /// The judgement from here on.
        to: Quality,
    },
    /// What this client does was adapted to the network.
    Adapted(Adaptation),
}

impl Event {
    /// The message that the application is to see, for whoever does not tell notices from other messages.
    pub const fn message(&self) -> Option<&Message> {
        match self {
            Self::Message(message) => Some(message),
            Self::Notice(notice) => Some(&notice.source),
            _ => None,
        }
    }
}

/// Why an accepted message was dropped instead of sent. Source: PROTOCOL.md §7.3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DropReason {
    /// The queue was full, and a message at least as urgent came.
    QueueFull,
    /// It waited longer than `offline.max_age`.
    Expired,
    /// Written in the way that the server reads, it is larger than a frame may be.
    TooLarge,
    /// The connection ended while it waited for its turn, and `offline.enabled` is off.
    Disconnected,
    /// The application closed the connection.
    Closed,
}

impl DropReason {
    /// The lower-case name, the same in every language.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::Expired => "expired",
            Self::TooLarge => "too_large",
            Self::Disconnected => "disconnected",
            Self::Closed => "closed",
        }
    }
}

/// How much of what was missed comes after all. Source: PROTOCOL.md §6.6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RecoveryOutcome {
    /// All of it.
    Recovered,
    /// The later part; the rest is lost.
    Partial,
    /// Nothing: the topic goes on after the gap.
    Lost,
}

impl RecoveryOutcome {
    /// The lower-case name, the same in every language.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Recovered => "recovered",
            Self::Partial => "partial",
            Self::Lost => "lost",
        }
    }
}

/// Where a connection stands. Source: PROTOCOL.md §8.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ConnectionState {
    /// `connect()` was not called yet.
    #[default]
    Idle,
    /// The first attempt is under way.
    Connecting,
    /// Messages flow.
    Connected,
    /// The connection was lost or an attempt failed; the next attempt is on the clock or under way.
    Reconnecting,
    /// Given up for a reason that time will not heal; `connect()` works again.
    Failed,
    /// The application called `close()`; `connect()` works again.
    Closed,
}

impl ConnectionState {
    /// The lower-case name, the same in every language.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Connecting => "connecting",
            Self::Connected => "connected",
            Self::Reconnecting => "reconnecting",
            Self::Failed => "failed",
            Self::Closed => "closed",
        }
    }
}

/// What the server said about itself. Empty where it said nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServerInfo {
    /// The server's name for this connection.
    pub connection_id: Option<String>,
    /// Who the server takes us for.
    pub user_id: Option<String>,
    /// The server's version.
    pub server_version: Option<String>,
    /// Whether messages are encrypted.
    pub encrypted: bool,
    /// Whether the server announced a key for signatures. Where it did not, nobody checks what this client signs, and
    /// what it requires to be signed will not come signed. Source: PROTOCOL.md §5.3.
    pub signing: bool,
    /// The endpoint in use.
    pub endpoint: String,
}

/// The end of a connection or of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disconnect {
    /// Why, as a stable code.
    pub code: Code,
    /// The WebSocket close, if there was one.
    pub close: Option<Close>,
    /// One line for people.
    pub detail: String,
    /// Pause before the next attempt; `None` when there will be none.
    pub retry_in: Option<Duration>,
}

/// Names one request, so that its outcome can be told. `RequestId(0)` is the client's own request for all its topics
/// after each (re)connect; topics that are refused after their request timed out are told under it, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// How a subscription request ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscriptionOutcome {
    /// The request.
    pub request: RequestId,
    /// Subscribed, or unsubscribed.
    pub action: SubscriptionAction,
    /// Topics the server accepted. When it did not answer: topics that were asked for.
    pub accepted: Vec<String>,
    /// Topics the server refused, with its reason. They are not asked for again.
    pub refused: Vec<(String, String)>,
    /// Whether the server answered. Some servers never do, and while there is no connection nobody can;
    /// the topics stay wanted and are asked for at the next connection.
    pub confirmed: bool,
    /// The topics where this user is seen, each with the number of users there. A topic that is missing though its presence was asked
    /// for is one where the server shows nobody. Source: PROTOCOL.md §6.7.
    pub present: Vec<(String, u64)>,
}

/// Direction of a subscription request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SubscriptionAction {
    /// Topics were added.
    Subscribe,
    /// Topics were removed.
    Unsubscribe,
}

impl SubscriptionAction {
    /// The text on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Subscribe => "subscribe",
            Self::Unsubscribe => "unsubscribe",
        }
    }
}

/// A message of type `error`.
#[derive(Debug, Clone)]
pub struct ServerError {
    /// The server's code.
    pub code: String,
    /// The server's words.
    pub message: String,
    /// Whether the connection goes on.
    pub recoverable: bool,
    /// The whole message.
    pub source: Message,
}

/// A message to send.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// The type, `t`.
    pub kind: String,
    /// The payload, `p`.
    pub payload: Payload,
    /// Publish to this topic instead of sending to the server's application. Default none.
    pub topic: Option<String>,
    /// The id; by default a UUIDv7 is made.
    pub id: Option<String>,
    /// The id of the message this one answers. Default none.
    pub correlation_id: Option<String>,
    /// The priority. Default normal, which is not written.
    pub priority: Priority,
    /// The trace that it belongs to, in the form of W3C Trace Context; what has another form is not written. Default none.
    pub traceparent: Option<String>,
}

impl Outgoing {
    /// A message of this type with this payload, and defaults for the rest.
    pub fn new(kind: impl Into<String>, payload: Payload) -> Self {
        Self {
            kind: kind.into(),
            payload,
            topic: None,
            id: None,
            correlation_id: None,
            priority: Priority::default(),
            traceparent: None,
        }
    }

    /// The same inside a `priority_message`, for servers that route by that type; both ends of this crate open it
    /// again. Its priority is that of this message. Source: PROTOCOL.md §11.4.
    #[must_use]
    pub fn wrapped(self) -> Self {
        let head = crate::wire::Head {
            kind: &self.kind,
            id: self.id.as_deref(),
            correlation_id: self.correlation_id.as_deref(),
            topic: self.topic.as_deref(),
            traceparent: self.traceparent.as_deref(),
            ..crate::wire::Head::default()
        };
        let payload = batch::wrap_priority(&head, &self.payload, self.priority);
        Self { priority: self.priority, ..Self::new(batch::PRIORITY_KIND, payload) }
    }

    /// Checks type and topic, as [`super::Client::send`] and a server's publish do.
    ///
    /// # Errors
    /// [`SendError::InvalidKind`], [`SendError::InvalidTopic`].
    pub fn check(&self, limits: &crate::wire::Limits) -> Result<(), SendError> {
        crate::channel::check_outgoing(self, limits)
    }

    /// The same, published to a topic.
    #[must_use]
    pub fn to_topic(mut self, topic: impl Into<String>) -> Self {
        self.topic = Some(topic.into());
        self
    }
}

/// Why a message was not accepted for sending.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// There is no connection, and messages are not kept for one: the client is idle, closed or has failed, or
    /// `offline.enabled` is off.
    #[error("not connected (state {})", state.as_str())]
    NotConnected {
        /// The state.
        state: ConnectionState,
    },
    /// The encoded message is larger than a frame may be.
    #[error("message of {size} bytes is over the limit of {limit}")]
    TooLarge {
        /// Encoded size in bytes.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// The queue is full, and nothing in it may be dropped for this message.
    #[error("the queue of {limit} messages is full, and nothing in it may be dropped for priority {}", priority.as_number())]
    QueueFull {
        /// Most messages in the queue. It can also be full by bytes.
        limit: usize,
        /// The priority of the refused message.
        priority: Priority,
    },
    /// The type is empty, too long or belongs to the protocol itself.
    #[error("message type {kind:?} cannot be sent: {why}")]
    InvalidKind {
        /// The type.
        kind: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The topic is empty, too long, has control characters or is a pattern.
    #[error("topic {topic:?} cannot be published to: 1 to 256 bytes, no control characters, no * or ?")]
    InvalidTopic {
        /// The topic.
        topic: String,
    },
}

impl SendError {
    /// The stable code.
    pub const fn code(&self) -> Code {
        match self {
            Self::NotConnected { .. } => Code::NotConnected,
            Self::TooLarge { .. } => Code::MessageTooLarge,
            Self::QueueFull { .. } => Code::QueueFull,
            Self::InvalidKind { .. } => Code::InvalidRequest,
            Self::InvalidTopic { .. } => Code::InvalidTopic,
        }
    }
}

/// Why a subscription request was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SubscribeError {
    /// A topic is empty, too long or has control characters.
    #[error("topic {topic:?} cannot be subscribed to: 1 to 256 bytes, no control characters")]
    InvalidTopic {
        /// The topic.
        topic: String,
    },
    /// More topics than the limit.
    #[error("more than {limit} topics")]
    TooMany {
        /// The limit.
        limit: usize,
    },
    /// No topic was given.
    #[error("no topic given")]
    Empty,
    /// The name of the group is empty, too long or has control characters.
    #[error("a group has a name of 1 to 64 bytes, no control characters")]
    InvalidGroup,
    /// Nobody can be seen in a pattern.
    #[error("topic {topic:?} is a pattern: nobody is seen there")]
    PresenceInPattern {
        /// The pattern.
        topic: String,
    },
    /// The user tells too much about itself.
    #[error("presence of {size} bytes is over the limit of 4096")]
    PresenceTooLarge {
        /// Its size in bytes of JSON.
        size: usize,
    },
    /// What the user tells nests too deep.
    #[error("presence nests too deep")]
    PresenceTooDeep,
}

impl SubscribeError {
    /// The stable code.
    pub const fn code(&self) -> Code {
        match self {
            Self::InvalidTopic { .. } | Self::PresenceInPattern { .. } => Code::InvalidTopic,
            Self::TooMany { .. } => Code::TooManyTopics,
            Self::Empty | Self::InvalidGroup => Code::InvalidSubscription,
            Self::PresenceTooLarge { .. } => Code::MessageTooLarge,
            Self::PresenceTooDeep => Code::TooDeep,
        }
    }
}
