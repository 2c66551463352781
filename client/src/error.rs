//! What the caller of this crate can be told. What the world does arrives as [`Event`](crate::Event)s instead.

use std::time::Duration;

use wse_client_core::{
    client::{self, Disconnect},
    config::ConfigError,
    error::Code,
    wire::PayloadError,
};

/// Why [`Builder::connect`](crate::Builder::connect) gave no client.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// let error = wse_client::Client::builder("http://example.org").connect().await.unwrap_err();
/// assert_eq!(error.code().as_str(), "INVALID_CONFIG");
/// assert!(!error.is_retryable());
/// # });
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// A setting cannot be used; nothing was dialled.
    #[error("{0}")]
    Config(#[from] ConfigError),
    /// The client gave up for a reason that time will not heal, or its retries are used up.
    #[error("{}: {}", .0.code, .0.detail)]
    Failed(Disconnect),
    /// Not connected within [`Builder::connect_timeout`](crate::Builder::connect_timeout).
    #[error("not connected after {after:?}{}", reason(.last))]
    Timeout {
        /// The limit.
        after: Duration,
        /// How the last attempt ended, if one did.
        last: Option<Disconnect>,
    },
    /// The client was closed while it connected, or its runtime is shutting down.
    #[error("closed while connecting")]
    Closed,
}

fn reason(last: &Option<Disconnect>) -> String {
    last.as_ref().map_or_else(String::new, |last| format!("; last attempt: {}: {}", last.code, last.detail))
}

impl ConnectError {
    /// The stable code, the same text in every language.
    pub const fn code(&self) -> Code {
        match self {
            Self::Config(error) => error.code(),
            Self::Failed(last) => last.code,
            Self::Timeout { .. } => Code::Timeout,
            Self::Closed => Code::ConnectionClosed,
        }
    }

    /// Whether the same call can work later without a change by the application.
    pub const fn is_retryable(&self) -> bool {
        self.code().is_retryable()
    }
}

/// Why a message was not accepted for sending. Nothing was sent then.
///
/// ```
/// let error = wse_client::SendError::QueueFull { limit: 1024 };
/// assert_eq!(error.code().as_str(), "QUEUE_FULL");
/// assert!(error.is_retryable());
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The message cannot be sent, or there is no connection at the moment.
    #[error(transparent)]
    Refused(#[from] client::SendError),
    /// The payload cannot be written.
    #[error("payload cannot be written")]
    Payload(#[from] PayloadError),
    /// So many bytes wait for the socket that no more are taken. Only from
    /// [`Client::try_send`](crate::Client::try_send); [`Client::send`](crate::Client::send) waits.
    #[error("{limit} bytes wait to be sent already")]
    QueueFull {
        /// The limit in bytes, [`Builder::send_buffer`](crate::Builder::send_buffer).
        limit: usize,
    },
}

impl SendError {
    /// The stable code, the same text in every language.
    pub const fn code(&self) -> Code {
        match self {
            Self::Refused(error) => error.code(),
            Self::Payload(_) => Code::InvalidRequest,
            Self::QueueFull { .. } => Code::QueueFull,
        }
    }

    /// Whether sending the same message later can work without a change by the application.
    pub const fn is_retryable(&self) -> bool {
        self.code().is_retryable()
    }
}

/// Why a subscription request was not accepted. Topics that the *server* refuses are no error of the call: they are
/// in [`SubscriptionOutcome::refused`](crate::SubscriptionOutcome::refused).
///
/// ```
/// assert_eq!(wse_client::SubscribeError::Closed.code().as_str(), "CONNECTION_CLOSED");
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SubscribeError {
    /// The topics cannot be asked for; nothing changed.
    #[error(transparent)]
    Refused(#[from] client::SubscribeError),
    /// The client was closed before the request came to its end.
    #[error("client is closed")]
    Closed,
}

impl SubscribeError {
    /// The stable code, the same text in every language.
    pub const fn code(&self) -> Code {
        match self {
            Self::Refused(error) => error.code(),
            Self::Closed => Code::ConnectionClosed,
        }
    }

    /// Whether the same request can work later without a change by the application.
    pub const fn is_retryable(&self) -> bool {
        self.code().is_retryable()
    }
}

/// Why nobody told who is in a topic.
///
/// ```
/// assert_eq!(wse_client::PresenceError::Timeout.code(), "TIMEOUT");
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PresenceError {
    /// It could not be asked.
    #[error(transparent)]
    NotAsked(#[from] client::RequestError),
    /// The server refused to tell.
    #[error("{code}: {message}")]
    Refused {
        /// The server's code.
        code: String,
        /// The server's words.
        message: String,
    },
    /// No answer in time.
    #[error("the server did not answer in time")]
    Timeout,
    /// The connection ended before the answer came.
    #[error("the connection ended before the answer came")]
    Disconnected,
    /// The answer is something else.
    #[error("the answer cannot be read: {0}")]
    Unreadable(#[from] PayloadError),
}

impl PresenceError {
    /// The stable code, the server's own where it gave one.
    pub fn code(&self) -> &str {
        match self {
            Self::NotAsked(error) => error.code().as_str(),
            Self::Refused { code, .. } => code,
            Self::Timeout => Code::Timeout.as_str(),
            Self::Disconnected => Code::ConnectionClosed.as_str(),
            Self::Unreadable(_) => Code::InvalidRequest.as_str(),
        }
    }
}
