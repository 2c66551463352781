//! The one table of error codes and close codes. The same text in every language.
//!
//! Source: PROTOCOL.md §9.

use std::fmt;

/// Close codes and what a client does after each.
pub mod close {
    /// The application ended the connection.
    pub const NORMAL: u16 = 1000;
    /// The server is going away.
    pub const GOING_AWAY: u16 = 1001;
    /// The peer broke the WebSocket protocol itself.
    pub const PROTOCOL: u16 = 1002;
    /// No code was in the close frame.
    pub const NO_STATUS: u16 = 1005;
    /// The connection ended without a close frame.
    pub const ABNORMAL: u16 = 1006;
    /// A text message was not UTF-8.
    pub const INVALID_DATA: u16 = 1007;
    /// The peer broke a rule of this protocol.
    pub const POLICY: u16 = 1008;
    /// A message over the size limit.
    pub const TOO_BIG: u16 = 1009;
    /// The server failed.
    pub const SERVER_ERROR: u16 = 1011;
    /// The server restarts.
    pub const RESTART: u16 = 1012;
    /// The server is overloaded: come back later.
    pub const TRY_LATER: u16 = 1013;
    /// The server is draining: come back within the window it named.
    pub const DRAINING: u16 = 4300;
    /// Credentials are missing, wrong or expired.
    pub const AUTH: u16 = 4401;
    /// The origin or the user is not allowed here.
    pub const FORBIDDEN: u16 = 4403;
    /// Too many messages.
    pub const RATE_LIMITED: u16 = 4429;

    /// What a client does after the server closed.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum Reaction {
        /// Reconnect with backoff.
        Reconnect,
        /// Ask for a fresh token, then reconnect with backoff.
        RenewToken,
        /// Stop, and say so; `connect()` works again.
        Stop,
    }

    /// What a client does after the server closed with `code`. Unknown codes lead to a reconnect: a
    /// client never parks because of a code it does not know.
    pub const fn reaction(code: u16) -> Reaction {
        match code {
            AUTH => Reaction::RenewToken,
            FORBIDDEN => Reaction::Stop,
            _ => Reaction::Reconnect,
        }
    }
}

/// A stable error code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Code {
    /// No token was given where one is needed.
    AuthRequired,
    /// The token is wrong, expired or not for this server.
    AuthFailed,
    /// The request came from an origin that is not allowed.
    OriginNotAllowed,
    /// The server forbids the upgrade (HTTP 403).
    Forbidden,
    /// A message over the size limit.
    MessageTooLarge,
    /// A compressed message that would inflate over the limit.
    InflatedTooLarge,
    /// A `C:` frame that is not zlib.
    BadCompression,
    /// An `M:` frame that is not msgpack.
    BadMsgpack,
    /// An `E:` frame that does not open.
    DecryptFailed,
    /// An `E:` frame before a key was agreed.
    NoKey,
    /// Plaintext after encryption was agreed.
    EncryptionRequired,
    /// The keys could not be agreed.
    KeyExchangeFailed,
    /// A signature that is wrong, too old or was used before, or none where one is required.
    SignatureInvalid,
    /// Text that is not UTF-8.
    InvalidUtf8,
    /// Text that is not JSON.
    InvalidJson,
    /// Nested deeper than the limit.
    TooDeep,
    /// A frame that starts with no known prefix.
    UnknownPrefix,
    /// JSON or msgpack that is no envelope: not a map, or without a type.
    InvalidEnvelope,
    /// A subscription request without usable topics.
    InvalidSubscription,
    /// A subscription request with an unknown action.
    InvalidAction,
    /// A topic name that is empty, too long or has control characters.
    InvalidTopic,
    /// The token does not allow this topic.
    TopicDenied,
    /// More topics than the limit.
    TooManyTopics,
    /// The token does not allow publishing to this topic.
    PublishDenied,
    /// A request with wrong parameters.
    InvalidRequest,
    /// Too many messages.
    RateLimited,
    /// The receiver was too slow and its queue is full.
    SlowConsumer,
    /// The server is full.
    ServerFull,
    /// The server failed.
    ServerError,
    /// Could not reach the server.
    ConnectFailed,
    /// The server did not answer in time.
    Timeout,
    /// The server stopped answering.
    PeerSilent,
    /// The connection was closed.
    ConnectionClosed,
    /// There is no connection at the moment.
    NotConnected,
    /// A bounded queue is full.
    QueueFull,
    /// A setting that cannot be used.
    InvalidConfig,
    /// Reconnecting was given up after the configured number of tries.
    RetriesExhausted,
    /// The application's token provider failed.
    TokenProviderFailed,
}

impl Code {
    /// Every code, in the order of PROTOCOL.md §9.1.
    pub const ALL: &'static [Self] = &[
        Self::AuthRequired,
        Self::AuthFailed,
        Self::OriginNotAllowed,
        Self::Forbidden,
        Self::MessageTooLarge,
        Self::InflatedTooLarge,
        Self::BadCompression,
        Self::BadMsgpack,
        Self::DecryptFailed,
        Self::NoKey,
        Self::EncryptionRequired,
        Self::KeyExchangeFailed,
        Self::SignatureInvalid,
        Self::InvalidUtf8,
        Self::InvalidJson,
        Self::TooDeep,
        Self::UnknownPrefix,
        Self::InvalidEnvelope,
        Self::InvalidSubscription,
        Self::InvalidAction,
        Self::InvalidTopic,
        Self::TopicDenied,
        Self::TooManyTopics,
        Self::PublishDenied,
        Self::InvalidRequest,
        Self::RateLimited,
        Self::SlowConsumer,
        Self::ServerFull,
        Self::ServerError,
        Self::ConnectFailed,
        Self::Timeout,
        Self::PeerSilent,
        Self::ConnectionClosed,
        Self::NotConnected,
        Self::QueueFull,
        Self::InvalidConfig,
        Self::RetriesExhausted,
        Self::TokenProviderFailed,
    ];

    /// The text that goes on the wire and into logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AuthRequired => "AUTH_REQUIRED",
            Self::AuthFailed => "AUTH_FAILED",
            Self::OriginNotAllowed => "ORIGIN_NOT_ALLOWED",
            Self::Forbidden => "FORBIDDEN",
            Self::MessageTooLarge => "MESSAGE_TOO_LARGE",
            Self::InflatedTooLarge => "INFLATED_TOO_LARGE",
            Self::BadCompression => "BAD_COMPRESSION",
            Self::BadMsgpack => "BAD_MSGPACK",
            Self::DecryptFailed => "DECRYPT_FAILED",
            Self::NoKey => "NO_KEY",
            Self::EncryptionRequired => "ENCRYPTION_REQUIRED",
            Self::KeyExchangeFailed => "KEY_EXCHANGE_FAILED",
            Self::SignatureInvalid => "SIGNATURE_INVALID",
            Self::InvalidUtf8 => "INVALID_UTF8",
            Self::InvalidJson => "INVALID_JSON",
            Self::TooDeep => "TOO_DEEP",
            Self::UnknownPrefix => "UNKNOWN_PREFIX",
            Self::InvalidEnvelope => "INVALID_ENVELOPE",
            Self::InvalidSubscription => "INVALID_SUBSCRIPTION",
            Self::InvalidAction => "INVALID_ACTION",
            Self::InvalidTopic => "INVALID_TOPIC",
            Self::TopicDenied => "TOPIC_DENIED",
            Self::TooManyTopics => "TOO_MANY_TOPICS",
            Self::PublishDenied => "PUBLISH_DENIED",
            Self::InvalidRequest => "INVALID_REQUEST",
            Self::RateLimited => "RATE_LIMITED",
            Self::SlowConsumer => "SLOW_CONSUMER",
            Self::ServerFull => "SERVER_FULL",
            Self::ServerError => "SERVER_ERROR",
            Self::ConnectFailed => "CONNECT_FAILED",
            Self::Timeout => "TIMEOUT",
            Self::PeerSilent => "PEER_SILENT",
            Self::ConnectionClosed => "CONNECTION_CLOSED",
            Self::NotConnected => "NOT_CONNECTED",
            Self::QueueFull => "QUEUE_FULL",
            Self::InvalidConfig => "INVALID_CONFIG",
            Self::RetriesExhausted => "RETRIES_EXHAUSTED",
            Self::TokenProviderFailed => "TOKEN_PROVIDER_FAILED",
        }
    }

    /// Whether doing the same again later can work without a change by the application.
    pub const fn is_retryable(self) -> bool {
        matches!(
            self,
            Self::RateLimited
                | Self::SlowConsumer
                | Self::ServerFull
                | Self::ServerError
                | Self::ConnectFailed
                | Self::Timeout
                | Self::PeerSilent
                | Self::ConnectionClosed
                | Self::NotConnected
                | Self::QueueFull
                | Self::TokenProviderFailed
        )
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
