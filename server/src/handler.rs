//! What an application hooks into the server.

use std::{fmt, sync::Arc};

use wse_client_core::{client::Outgoing, error::Code, io::Close, server::Identity, wire::Message};

use crate::{
    async_handler::Work,
    hub::{Link, Refused},
    server::Server,
};

/// The application behind the server. Messages of clients that name no topic come here. For code that waits for other
/// things there is [`AsyncHandler`](crate::AsyncHandler).
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
        for message in messages.drain(..) {
            connection.publish_to_user_topic(&message);
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
    /// What waits for a client goes out by priority, in the order in which it came within one priority. When the queue is
    /// full ([`crate::Config::queue_messages`], [`crate::Config::max_queue_bytes`]), less urgent messages make room for this
    /// one: the oldest of the lowest priority first, and none above [`crate::Priority::Normal`]. They are in the answer, and the
    /// client is told how many they were.
    ///
    /// # Errors
    /// [`SendRefused`]; the message was not queued then.
    pub fn send(&self, message: Outgoing) -> Result<Queued, SendRefused> {
        let priority = message.priority;
        let checked = message.check(self.server.limits()).map_err(|why| SendRefused::Invalid { why: why.to_string() });
        let sent = if self.server.must_refuse() {
            Err(SendRefused::OutOfMemory)
        } else {
            checked.and_then(|()| self.link.send(message))
        };
        let counters = self.server.counters();
        match &sent {
            Ok(queued) => queued.displaced.iter().for_each(|gone| counters.queue_dropped(gone.priority).one()),
            Err(refused) => {
                counters.sends_refused.one();
                if matches!(refused, SendRefused::QueueFull { .. } | SendRefused::OutOfMemory) {
                    counters.queue_dropped(priority).one();
                }
            }
        }
        sent
    }

    /// Publishes a message of this client to `client:<user>:messages`, as the server does without an application: for
    /// what a handler does not know. The client is told when that is not possible.
    pub fn publish_to_user_topic(&self, message: &Message) {
        let topic = format!("client:{}:messages", self.user_id());
        if let Err(error) = self.server.publish(&topic, forwarded(message)) {
            let (kind, id) = (message.kind(), message.id());
            tracing::debug!(connection = self.id(), kind, id, %error, "message not published");
            let refused = Refused { code: error.code(), message: error.to_string(), id: id.map(str::to_owned) };
            if !self.link.tell_refused(refused) {
                self.server.counters().sends_refused.one();
            }
        }
    }

    /// Closes the connection once everything queued for it is written.
    pub fn close(&self, close: Close) {
        self.link.close(close);
    }

    /// What the application still does for it.
    pub(crate) fn work(&self) -> &Work {
        self.link.work()
    }

    /// Has the connection look at everything again.
    pub(crate) fn wake(&self) {
        self.link.wake().wake();
    }

    /// Tells the client that its message `id` was refused.
    pub(crate) fn tell_refused(&self, code: Code, why: &str, id: Option<String>) {
        if !self.link.tell_refused(Refused { code, message: why.to_owned(), id }) {
            self.server.counters().sends_refused.one();
        }
    }
}

impl fmt::Debug for ConnectionHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.link.fmt(f)
    }
}

/// A message to one connection that was queued.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Queued {
    /// Less urgent messages that had to go for it; they are not sent. Mostly none.
    pub displaced: Vec<Outgoing>,
}

/// Why a message to one connection was not queued.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendRefused {
    /// The client reads too slowly: what waits for it is at the limit already.
    #[error("the queue of this connection is full (at most {messages} messages and {bytes} bytes)")]
    QueueFull {
        /// Most messages that wait, [`crate::Config::queue_messages`].
        messages: usize,
        /// Most bytes that wait, [`crate::Config::max_queue_bytes`].
        bytes: usize,
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
