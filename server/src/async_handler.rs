//! Applications whose answers take time: one message after the other, awaited, with errors that clients are told.

use std::{
    collections::VecDeque,
    fmt,
    future::{Future, ready},
    panic::AssertUnwindSafe,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use futures_util::FutureExt as _;
use wse_client_core::{
    error::{Code, close},
    io::Close,
    wire::Message,
};

use crate::{
    handler::{ConnectionHandle, Handler, SendRefused},
    server::PublishError,
    sync::lock,
};

/// The application behind the server, in asynchronous code; given to
/// [`ServerBuilder::async_handler`](crate::ServerBuilder::async_handler). [`Handler`] is the form for code that never waits,
/// and costs less.
///
/// For one connection the calls come one after the other: [`AsyncHandler::on_connect`], each message in the order in
/// which it came, [`AsyncHandler::on_disconnect`]. Connections do not wait for each other. As long as something of a connection
/// is being handled nothing more is read from it, so that a slow application slows its senders down and nothing piles up.
/// What it publishes or sends goes out meanwhile. That a client has gone is noticed only afterwards.
///
/// A message that is answered by an error is told to its client: `error` with the code, the text, and the message's id as
/// `correlation_id`. When the application panics, the client is closed with 1011 and others notice nothing.
///
/// ```
/// use std::time::Duration;
/// use wse_server::{AsyncHandler, Carried, Code, Config, ConnectionHandle, Frame, Message, Outgoing, Payload, Refusal, Server};
///
/// /// Looks up prices.
/// struct Prices;
///
/// #[derive(Debug, thiserror::Error)]
/// enum PriceError {
///     #[error("{0:?} is not sold here")]
///     Unknown(String),
///     #[error(transparent)]
///     Send(#[from] wse_server::SendRefused),
/// }
///
/// impl From<PriceError> for Refusal {
///     fn from(error: PriceError) -> Self {
///         match error {
///             PriceError::Unknown(_) => Refusal::new(Code::InvalidRequest, error.to_string()),
///             PriceError::Send(refused) => refused.into(),
///         }
///     }
/// }
///
/// impl AsyncHandler for Prices {
///     type Error = PriceError;
///
///     async fn on_message(&self, connection: &ConnectionHandle, message: Message) -> Result<(), PriceError> {
///         tokio::time::sleep(Duration::from_millis(1)).await; // a database, say
///         if message.kind() != "apple" {
///             return Err(PriceError::Unknown(message.kind().to_owned()));
///         }
///         let payload = Payload::new(&serde_json::json!({ "euros": 2 })).expect("plain JSON");
///         connection.send(Outgoing { correlation_id: message.id().map(str::to_owned), ..Outgoing::new("price", payload) })?;
///         Ok(())
///     }
/// }
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let server = Server::builder(Config { allow_open: true, ..Config::default() }).async_handler(Prices).build()?;
/// # let mut client = server.attach(&http::HeaderMap::new(), "", None);
/// # client.on_frame(Frame::Text(r#"WSE{"t":"pear","id":"1","p":{},"v":1}"#.into()));
/// # client.on_frame(Frame::Text(r#"WSE{"t":"apple","id":"2","p":{},"v":1}"#.into()));
/// # let mut said = String::new();
/// # while !said.contains("euros") {
/// #     client.ready().await;
/// #     while let Some(Carried::Frame(frame)) = client.take() {
/// #         said += &String::from_utf8_lossy(frame.bytes());
/// #     }
/// # }
/// # assert!(said.contains(r#""pear\" is not sold here"#) && said.contains("INVALID_REQUEST"), "{said}");
/// # Ok(())
/// # }
/// ```
pub trait AsyncHandler: Send + Sync + 'static {
    /// What can go wrong, and what the client is told of it.
    type Error: Into<Refusal> + Send;

    /// A message that names no topic.
    ///
    /// # Errors
    /// What the client is told; the connection goes on.
    fn on_message(
        &self,
        connection: &ConnectionHandle,
        message: Message,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// A client was let in. None of its messages is handled before this is done. What it may read and publish is decided
    /// before, by its [`Identity`](crate::Identity). Default: nothing.
    ///
    /// # Errors
    /// What the client is told before it is closed with code 4403; none of its messages is handled then.
    fn on_connect(&self, connection: &ConnectionHandle) -> impl Future<Output = Result<(), Self::Error>> + Send {
        let _ = connection;
        ready(Ok(()))
    }

    /// A connection is over, and all its messages are handled. Called exactly once for each [`AsyncHandler::on_connect`].
    /// [`Server::shutdown`](crate::Server::shutdown) waits for it within its deadline. Default: nothing.
    fn on_disconnect(&self, connection: &ConnectionHandle, close: Close) -> impl Future<Output = ()> + Send {
        let _ = (connection, close);
        ready(())
    }
}

/// What a client is told when the application does not do what it asked for.
///
/// ```
/// use wse_server::{Code, Refusal};
///
/// let refusal = Refusal::new(Code::Forbidden, "only moderators may do this");
/// assert_eq!(refusal.to_string(), "FORBIDDEN: only moderators may do this");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct Refusal {
    /// The stable code.
    pub code: Code,
    /// One line for people. Clients see it.
    pub message: String,
}

impl Refusal {
    /// Puts both together.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

impl From<PublishError> for Refusal {
    fn from(error: PublishError) -> Self {
        Self::new(error.code(), error.to_string())
    }
}

impl From<SendRefused> for Refusal {
    fn from(error: SendRefused) -> Self {
        Self::new(error.code(), error.to_string())
    }
}

/// What an application still has to do for one connection: one thing at a time, in order.
#[derive(Debug, Default)]
pub(crate) struct Work {
    jobs: Mutex<Jobs>,
    /// Somebody works, or will at once.
    busy: AtomicBool,
}

#[derive(Debug, Default)]
struct Jobs {
    waiting: VecDeque<Job>,
    /// The application did not want this client.
    refused: bool,
}

/// One thing to do.
#[derive(Debug)]
enum Job {
    Connected,
    Messages(Vec<Message>),
    Over(Close),
}

impl Work {
    /// Whether something is being done, so that nothing more should be read.
    pub(crate) fn is_busy(&self) -> bool {
        self.busy.load(Ordering::Acquire)
    }

    /// Adds a job. True: nobody works, and somebody has to begin.
    fn add(&self, job: Job) -> bool {
        let mut jobs = lock(&self.jobs);
        jobs.waiting.push_back(job);
        !self.busy.swap(true, Ordering::AcqRel)
    }

    /// The next job; without one the work is over.
    fn next(&self) -> Option<Job> {
        let mut jobs = lock(&self.jobs);
        let job = jobs.waiting.pop_front();
        if job.is_none() {
            // Under the lock: a job that comes now finds nobody at work.
            self.busy.store(false, Ordering::Release);
        }
        job
    }

    fn refuse(&self) {
        lock(&self.jobs).refused = true;
    }

    fn is_refused(&self) -> bool {
        lock(&self.jobs).refused
    }
}

/// Lets a task do for each connection what the server must not wait for.
pub(crate) struct Awaited<H>(Arc<H>);

impl<H: AsyncHandler> Awaited<H> {
    pub(crate) fn new(handler: H) -> Self {
        Self(Arc::new(handler))
    }

    fn add(&self, connection: &ConnectionHandle, job: Job) {
        if connection.work().add(job) {
            connection.server().begin_work();
            let work = work_off(Arc::clone(&self.0), Working(connection.clone()));
            connection.server().runtime().spawn(work);
        }
    }
}

impl<H> fmt::Debug for Awaited<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Awaited").finish_non_exhaustive()
    }
}

impl<H: AsyncHandler> Handler for Awaited<H> {
    fn on_messages(&self, connection: &ConnectionHandle, messages: &mut Vec<Message>) {
        self.add(connection, Job::Messages(std::mem::take(messages)));
    }

    fn on_connect(&self, connection: &ConnectionHandle) {
        self.add(connection, Job::Connected);
    }

    fn on_disconnect(&self, connection: &ConnectionHandle, close: &Close) {
        self.add(connection, Job::Over(close.clone()));
    }
}

/// A connection for which something is done. Dropped when all is done, or with the runtime.
struct Working(ConnectionHandle);

impl Drop for Working {
    fn drop(&mut self) {
        self.0.wake();
        self.0.server().end_work();
    }
}

/// Does what there is to do, and lets the connection be read again.
async fn work_off<H: AsyncHandler>(handler: Arc<H>, working: Working) {
    let connection = &working.0;
    while let Some(job) = connection.work().next() {
        if AssertUnwindSafe(perform(&*handler, connection, job)).catch_unwind().await.is_err() {
            connection.server().counters().handler_panics.one();
            tracing::error!(connection = connection.id(), "the application panicked");
            connection.close(Close::new(close::SERVER_ERROR, "the application failed"));
        }
    }
}

async fn perform<H: AsyncHandler>(handler: &H, connection: &ConnectionHandle, job: Job) {
    match job {
        Job::Connected => {
            if let Err(error) = handler.on_connect(connection).await {
                let Refusal { code, message } = error.into();
                tracing::debug!(connection = connection.id(), %code, message, "the application refused a client");
                connection.work().refuse();
                connection.tell_refused(code, &message, None);
                connection.close(Close::new(close::FORBIDDEN, code.as_str()));
            }
        }
        Job::Messages(messages) => {
            for message in messages {
                if connection.work().is_refused() {
                    return;
                }
                let id = message.id().map(str::to_owned);
                if let Err(error) = handler.on_message(connection, message).await {
                    let Refusal { code, message } = error.into();
                    tracing::debug!(connection = connection.id(), %code, message, ?id, "the application refused a message");
                    connection.tell_refused(code, &message, id);
                }
            }
        }
        Job::Over(close) => handler.on_disconnect(connection, close).await,
    }
}
