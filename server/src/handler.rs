//! What an application hooks into the server.

use std::{fmt, sync::Arc};

use wse_client_core::{client::Outgoing, error::Code, io::Close, server::Identity, wire::Message};

use crate::{hub::Link, server::Server};

/// The application behind the server. Messages of clients that name no topic come here.
///
/// All methods are called on a worker thread of the runtime, never two at a time for one connection: they must
/// not block. While `on_messages` runs, its connection is not read, so a slow handler slows its sender down and
/// loses nothing.
///
/// ```
/// use wse_server::{ConnectionHandle, Handler, Message, Outgoing};
///
/// /// Answers every message with its own payload.
/// struct Echo;
///
/// impl Handler for Echo {
///     fn on_messages(&self, connection: &ConnectionHandle, messages: &mut Vec<Message>) {
///         for message in messages.drain(..) {
///             let mut answer = Outgoing::new("echo", message.payload().clone());
///             answer.correlation_id = message.id().map(str::to_owned);
///             // A client that does not read its answers is not worth more of our memory.
///             if let Err(refused) = connection.send(answer) {
///                 eprintln!("{}: {refused}", connection.id());
///             }
///         }
///     }
/// }
/// # let _ = Echo;
/// ```
pub trait Handler: Send + Sync + 'static {
    /// Messages of one connection, in the order they came: all that one read from its socket brought. What is
    /// left in `messages` afterwards is dropped.
    fn on_messages(&self, connection: &ConnectionHandle, messages: &mut Vec<Message>);

    /// A client was let in. Nothing of it has been handled yet.
    fn on_connect(&self, connection: &ConnectionHandle) {
        let _ = connection;
    }

    /// A connection is over. Called exactly once for each [`Handler::on_connect`].
    fn on_disconnect(&self, connection: &ConnectionHandle, close: &Close) {
        let _ = (connection, close);
    }
}

/// The handler of the binary: publishes what a client sends to the topic `client:<user>:messages`.
///
/// ```
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// use wse_server::{Config, PublishToUserTopic, Server};
///
/// // The default, written out.
/// let server = Server::builder(Config { port: 0, ..Config::default() }).handler(PublishToUserTopic).bind().await?;
/// # drop(server);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct PublishToUserTopic;

impl Handler for PublishToUserTopic {
    fn on_messages(&self, connection: &ConnectionHandle, messages: &mut Vec<Message>) {
        let topic = format!("client:{}:messages", connection.user_id());
        for message in messages.drain(..) {
            let (kind, id) = (message.kind().to_owned(), message.id().map(str::to_owned));
            if let Err(error) = connection.server().publish(&topic, forwarded(&message)) {
                tracing::debug!(connection = connection.id(), %kind, ?id, %error, "message not published");
                connection.tell_refused(error.code(), &error.to_string(), id);
            }
        }
    }
}

/// A client's message on its way to a topic: type, payload, id, correlation id, priority and trace stay.
pub(crate) fn forwarded(message: &Message) -> Outgoing {
    Outgoing {
        id: message.id().map(str::to_owned),
        correlation_id: message.correlation_id().map(str::to_owned),
        priority: message.priority().unwrap_or_default(),
        traceparent: message.traceparent().map(str::to_owned),
        ..Outgoing::new(message.kind(), message.payload().clone())
    }
}

/// One connection, as the application sees it. Cheap to clone, and usable from any thread.
///
/// ```
/// use wse_server::{ConnectionHandle, Outgoing, Payload};
///
/// fn greet(connection: &ConnectionHandle) {
///     let payload = Payload::new(&serde_json::json!({ "hello": connection.user_id() })).expect("plain JSON");
///     if let Err(refused) = connection.send(Outgoing::new("greeting", payload)) {
///         eprintln!("{}: {refused}", refused.code());
///     }
/// }
/// # let _ = greet;
/// ```
#[derive(Clone)]
pub struct ConnectionHandle {
    link: Arc<Link>,
    server: Server,
}

impl ConnectionHandle {
    pub(crate) const fn new(link: Arc<Link>, server: Server) -> Self {
        Self { link, server }
    }

    /// The connection's name, which the client knows too (`connection_id` of `server_ready`).
    pub fn id(&self) -> &str {
        self.link.id()
    }

    /// The user: the token's `sub`, or a random name on an open server.
    pub fn user_id(&self) -> &str {
        &self.link.identity().user_id
    }

    /// Who is on the other end, and which topics it may use.
    pub fn identity(&self) -> &Identity {
        self.link.identity()
    }

    /// The server, for example to publish.
    pub const fn server(&self) -> &Server {
        &self.server
    }

    /// Sends a message to this client alone. [`Outgoing::topic`] is written as it is and leads nowhere.
    ///
    /// # Errors
    /// [`SendRefused`]; the message was not queued then.
    pub fn send(&self, message: Outgoing) -> Result<(), SendRefused> {
        let checked = message.check(self.server.limits()).map_err(|why| SendRefused::Invalid { why: why.to_string() });
        let priority = message.priority;
        let sent = if self.server.must_refuse() {
            Err(SendRefused::OutOfMemory)
        } else {
            checked.and_then(|()| self.link.send(message))
        };
        if let Err(refused) = &sent {
            self.server.counters().sends_refused.one();
            if matches!(refused, SendRefused::QueueFull { .. } | SendRefused::OutOfMemory) {
                self.server.metrics().dropped(priority, 1);
            }
        }
        sent
    }

    /// Closes the connection once everything queued for it is written.
    pub fn close(&self, close: Close) {
        self.link.close(close);
    }

    /// Tells the client that its message `id` was refused.
    fn tell_refused(&self, code: Code, why: &str, id: Option<String>) {
        let fields = serde_json::json!({ "code": code.as_str(), "message": why, "recoverable": true });
        let Ok(payload) = wse_client_core::wire::Payload::new(&fields) else { return };
        let message = Outgoing { correlation_id: id, ..Outgoing::new("error", payload) };
        // The refusal is counted; if the client's queue is full too, the connection is about to end.
        let _ = self.send(message);
    }
}

impl fmt::Debug for ConnectionHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.link.fmt(f)
    }
}

/// Why a message to one connection was not queued.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendRefused {
    /// The client reads too slowly: what waits for it is at the limit already.
    #[error("the queue of this connection is full ({limit} bytes)")]
    QueueFull {
        /// The limit in bytes, [`crate::Config::max_queue_bytes`].
        limit: usize,
    },
    /// The server holds as many bytes of messages as it may.
    #[error("the server is short of memory, try again later")]
    OutOfMemory,
    /// The connection is over, or about to be.
    #[error("the connection is closed")]
    Closed,
    /// The message itself cannot be sent.
    #[error("{why}")]
    Invalid {
        /// What is wrong with it.
        why: String,
    },
}

impl SendRefused {
    /// The stable code.
    pub const fn code(&self) -> Code {
        match self {
            Self::QueueFull { .. } => Code::QueueFull,
            Self::OutOfMemory => Code::ServerFull,
            Self::Closed => Code::ConnectionClosed,
            Self::Invalid { .. } => Code::InvalidRequest,
        }
    }
}
