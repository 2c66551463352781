//! The handle of an application.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::Stream;
use serde::Serialize;
use tokio::sync::oneshot;
use wse_client_core::{
    client::{
        ConnectionState, Diagnostics, Disconnect, Event, Input, Metrics, NetworkHint, Outgoing, PresenceReport,
        Request, RequestError, RequestId, RequestOutcome, SendError as Refusal, ServerInfo, SubscribeOptions,
        SubscriptionOutcome,
    },
    io::Close,
    security::{RotateError, Secret},
    wire::Payload,
};

use crate::{
    builder::Builder,
    error::{ConnectError, PresenceError, SendError, SubscribeError},
    shared::{Shared, Standing},
};

/// Longest wait of [`Client::close`]: the goodbye of the socket is bounded by 2 s itself.
const CLOSE_LIMIT: Duration = Duration::from_secs(5);

/// One logical connection, kept up in the background until it is closed; a [`Stream`] of [`Event`]s.
///
/// Clones share the connection and the queue of events: each event goes to exactly one of them. So clone it to send
/// from several tasks, and read in one place. When the last clone is dropped the connection is closed in the
/// background.
///
/// The stream ends (`None`) when the client was closed, or failed for good
/// ([`ConnectionState::Failed`]: forbidden, retries used up). After a failure, [`Client::reconnect`] or
/// [`Client::set_token`] starts it again, and the stream goes on.
///
/// ```no_run
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// use wse_client::{Client, Event};
///
/// let mut client = Client::builder("ws://127.0.0.1:5006/wse").connect().await?;
/// let sender = client.clone();
/// tokio::spawn(async move { sender.publish("room:1", "chat", "hello").await });
/// client.subscribe(&["room:1"]).await?;
/// while let Some(event) = client.next().await {
///     println!("{event:?}");
/// }
/// # Ok(())
/// # }
/// ```
pub struct Client {
    shared: Arc<Shared>,
    reader: u64,
    alive: Arc<CloseOnDrop>,
}

struct CloseOnDrop(Arc<Shared>);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.0.close(Close::normal());
    }
}

impl Client {
    /// Settings of a client for one `ws://` or `wss://` address; see [`Builder`].
    ///
    /// ```
    /// let builder = wse_client::Client::builder("wss://example.org/wse").token("…").topics(["news"]);
    /// assert_eq!(builder.config().topics, ["news"]);
    /// ```
    pub fn builder(url: impl Into<String>) -> Builder {
        Builder::new(url.into())
    }

    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { reader: shared.queue.add_reader(), alive: Arc::new(CloseOnDrop(Arc::clone(&shared))), shared }
    }

    /// Waits until the connection is ready. Events stay in the queue.
    ///
    /// With `give_up_after`, that many failed attempts (one at each endpoint) are enough when the reason is one that
    /// time will not heal, such as a wrong token.
    pub(crate) async fn connected(&self, give_up_after: Option<u32>) -> Result<(), ConnectError> {
        let mut standing = self.shared.standing.subscribe();
        let mut finished = self.shared.finished.subscribe();
        loop {
            let Standing { state, failures } = *standing.borrow_and_update();
            let last = self.last_disconnect();
            match state {
                ConnectionState::Connected => return Ok(()),
                ConnectionState::Closed => return Err(ConnectError::Closed),
                ConnectionState::Failed => return Err(last.map_or(ConnectError::Closed, ConnectError::Failed)),
                ConnectionState::Idle | ConnectionState::Connecting | ConnectionState::Reconnecting => {}
            }
            if let Some(last) = last
                && give_up_after.is_some_and(|attempts| failures >= attempts)
                && !last.code.is_retryable()
            {
                return Err(ConnectError::Failed(last));
            }
            tokio::select! {
                changed = standing.changed() => changed.map_err(|_| ConnectError::Closed)?,
                _ = finished.wait_for(|finished| *finished) => return Err(ConnectError::Closed),
            }
        }
    }

    /// The next event, or `None` when the client is closed or failed. Dropping the future loses nothing.
    ///
    /// ```no_run
    /// # async fn run(mut client: wse_client::Client) {
    /// while let Some(event) = client.next().await {
    ///     println!("{event:?}");
    /// }
    /// # }
    /// ```
    pub async fn next(&mut self) -> Option<Event> {
        poll_fn(|cx| self.poll_event(cx)).await
    }

    /// Waits for events and gives all that are there, at most `max`. Empty when the client is closed or failed.
    ///
    /// One call per wake-up instead of one per event: the way to take tens of thousands of messages a second.
    ///
    /// ```no_run
    /// # async fn run(mut client: wse_client::Client) {
    /// loop {
    ///     let events = client.next_batch(1024).await;
    ///     if events.is_empty() {
    ///         break;
    ///     }
    ///     println!("{} events", events.len());
    /// }
    /// # }
    /// ```
    ///
    /// # Panics
    /// When `max` is 0.
    pub async fn next_batch(&mut self, max: usize) -> Vec<Event> {
        assert!(max > 0, "a batch holds at least one event");
        let mut events = Vec::new();
        while events.is_empty() && !self.shared.queue.is_ended() {
            poll_fn(|cx| self.shared.queue.poll_ready(self.reader, cx)).await;
            self.shared.queue.drain(max, &mut events);
        }
        events
    }

    /// The events that are there, at most `max`, without waiting.
    ///
    /// ```no_run
    /// # fn run(client: &wse_client::Client) {
    /// for event in client.try_next_batch(100) {
    ///     println!("{event:?}");
    /// }
    /// # }
    /// ```
    pub fn try_next_batch(&self, max: usize) -> Vec<Event> {
        let mut events = Vec::new();
        self.try_drain(max, &mut events);
        events
    }

    fn poll_event(&self, cx: &Context<'_>) -> Poll<Option<Event>> {
        loop {
            if let Some(event) = self.shared.queue.pop() {
                return Poll::Ready(Some(event));
            }
            if self.shared.queue.is_ended() {
                return Poll::Ready(None);
            }
            // Ready: something came in between, or another clone took it; look again.
            if self.shared.queue.poll_ready(self.reader, cx).is_pending() {
                return Poll::Pending;
            }
        }
    }

    /// Sends a message and gives its id (a UUIDv7 unless the message names one). Waits while the buffer of unsent
    /// bytes is full. Accepted means: it will be written, in order, on this connection; or, while the client
    /// reconnects, on the next one, by priority ([`Builder::offline`](crate::Builder::offline)). A message that was kept
    /// and will not be sent is an [`Event::Dropped`]. Dropping the future while it waits sends nothing.
    ///
    /// ```no_run
    /// # async fn run(client: wse_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// use wse_client::{Outgoing, Payload};
    ///
    /// let payload = Payload::new(&serde_json::json!({ "text": "hello" }))?;
    /// let id = client.send(Outgoing::new("chat", payload).to_topic("room:1")).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`SendError`]; nothing was sent then.
    pub async fn send(&self, message: Outgoing) -> Result<String, SendError> {
        let mut message = Some(message);
        loop {
            let sent = self.shared.sent.notified();
            tokio::pin!(sent);
            // Before the look at the buffer, so that no notice between the two is missed.
            sent.as_mut().enable();
            match self.shared.send(&mut message) {
                Err(SendError::QueueFull { .. }) if *self.shared.finished.borrow() => {
                    return Err(Refusal::NotConnected { state: self.state() }.into());
                }
                Err(SendError::QueueFull { .. }) => sent.await,
                result => return result,
            }
        }
    }

    /// The same without waiting.
    ///
    /// ```no_run
    /// # fn run(client: &wse_client::Client) -> Result<(), wse_client::SendError> {
    /// use wse_client::{Outgoing, Payload};
    /// let id = client.try_send(Outgoing::new("tick", Payload::EMPTY))?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`SendError`], with [`SendError::QueueFull`] when the buffer of unsent bytes is full; counted in
    /// [`Metrics::messages_refused`].
    pub fn try_send(&self, message: Outgoing) -> Result<String, SendError> {
        let sent = self.shared.send(&mut Some(message));
        if matches!(sent, Err(SendError::QueueFull { .. })) {
            self.shared.note_refused();
        }
        sent
    }

    /// Publishes a value to a topic as a message of type `kind`, and gives its id. Whether the server lets this user
    /// publish there is its decision: a refusal arrives as [`Event::ServerError`] with the code `PUBLISH_DENIED`.
    ///
    /// ```no_run
    /// # async fn run(client: wse_client::Client) -> Result<(), wse_client::SendError> {
    /// client.publish("room:1", "chat", &serde_json::json!({ "text": "hello" })).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`SendError`]; nothing was sent then.
    pub async fn publish<T>(&self, topic: &str, kind: &str, payload: &T) -> Result<String, SendError>
    where
        T: Serialize + ?Sized,
    {
        let message = Outgoing::new(kind, Payload::new(payload)?).to_topic(topic);
        self.send(message).await
    }

    /// Asks for topics (exact names, or patterns with `*` and `?`), now and after every reconnect, and waits for the
    /// outcome, at most [`Builder::subscribe_timeout`] (default 5 s). The outcome is also an [`Event::Subscribed`].
    ///
    /// Dropping the future does not take the request back.
    ///
    /// ```no_run
    /// # async fn run(client: wse_client::Client) -> Result<(), wse_client::SubscribeError> {
    /// let outcome = client.subscribe(&["room:1", "news:*"]).await?;
    /// for (topic, reason) in &outcome.refused {
    ///     eprintln!("{topic}: {reason}");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`SubscribeError`]. Refusals of the server are no error, but part of the outcome.
    pub async fn subscribe<T: AsRef<str>>(&self, topics: &[T]) -> Result<SubscriptionOutcome, SubscribeError> {
        self.subscribe_with(topics, &SubscribeOptions::default()).await
    }

    /// The same, and says how to take part in the topics: seen by others, in a queue group. For topics that are
    /// subscribed it changes that; what the options leave out stays as it is. It is said again after every reconnect.
    ///
    /// Who comes and goes arrives as [`Event::Notice`], which [`Notice::presence`](crate::Notice::presence) reads.
    ///
    /// ```no_run
    /// # async fn run(client: wse_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// use wse_client::SubscribeOptions;
    ///
    /// let seen = SubscribeOptions::default().with_presence(&serde_json::json!({ "mood": "fine" }))?;
    /// let outcome = client.subscribe_with(&["room:7"], &seen).await?;
    /// for (topic, users) in &outcome.present {
    ///     println!("{users} users are in {topic}");
    /// }
    /// client.subscribe_with(&["jobs"], &SubscribeOptions::default().with_group("workers")).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`SubscribeError`]. Refusals of the server are no error, but part of the outcome.
    pub async fn subscribe_with<T: AsRef<str>>(
        &self,
        topics: &[T],
        options: &SubscribeOptions,
    ) -> Result<SubscriptionOutcome, SubscribeError> {
        let (answer, outcome) = oneshot::channel();
        self.shared.change_topics(topics, Some(options), Some(answer))?;
        outcome.await.map_err(|_| SubscribeError::Closed)
    }

    /// Asks who is seen in a topic: a page of users in the order of their ids, those after the user `after`, at most
    /// `limit` (0: their number alone; `None`: as many as the server likes).
    ///
    /// ```no_run
    /// # async fn run(client: wse_client::Client) -> Result<(), wse_client::PresenceError> {
    /// let mut page = client.presence("room:7", None, None).await?;
    /// while let Some(after) = page.next() {
    ///     println!("{:?} of {}", page.members, page.total);
    ///     page = client.presence("room:7", Some(after), None).await?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`PresenceError`].
    pub async fn presence(
        &self,
        topic: &str,
        after: Option<&str>,
        limit: Option<u64>,
    ) -> Result<PresenceReport, PresenceError> {
        let question = Request::Presence { topic: topic.to_owned(), after: after.map(str::to_owned), limit };
        match self.request(&question).await? {
            RequestOutcome::Answered(message) => Ok(message.payload().parse()?),
            RequestOutcome::Refused(error) => Err(PresenceError::Refused { code: error.code, message: error.message }),
            RequestOutcome::TimedOut => Err(PresenceError::Timeout),
            // What a later version may add is no answer either.
            _ => Err(PresenceError::Disconnected),
        }
    }

    /// Asks the server something and waits for the outcome, at most `timeouts.request` (default 10 s). The outcome is
    /// also an [`Event::Response`].
    ///
    /// ```no_run
    /// # async fn run(client: wse_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// use wse_client::{Request, RequestOutcome, wse_client_core::client::HealthReport};
    /// if let RequestOutcome::Answered(message) = client.request(&Request::Health).await? {
    ///     println!("{}", message.payload().parse::<HealthReport>()?.status);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`RequestError`]. A refusal, a timeout and the end of the connection are no error, but outcomes.
    pub async fn request(&self, request: &Request) -> Result<RequestOutcome, RequestError> {
        let (reply, outcome) = oneshot::channel();
        self.shared.ask(request, reply)?;
        Ok(outcome.await.unwrap_or(RequestOutcome::Disconnected))
    }

    /// Gives up topics and waits for the outcome, as [`Client::subscribe`] does. Unknown topics are no error.
    ///
    /// ```no_run
    /// # async fn run(client: wse_client::Client) -> Result<(), wse_client::SubscribeError> {
    /// client.unsubscribe(&["room:1"]).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`SubscribeError`].
    pub async fn unsubscribe<T: AsRef<str>>(&self, topics: &[T]) -> Result<SubscriptionOutcome, SubscribeError> {
        let (answer, outcome) = oneshot::channel();
        self.shared.change_topics(topics, None, Some(answer))?;
        outcome.await.map_err(|_| SubscribeError::Closed)
    }

    /// Drops the present connection or attempt and dials at once; also after a failure. Does nothing once closed.
    ///
    /// ```no_run
    /// # fn run(client: &wse_client::Client) {
    /// client.reconnect(); // say, after the machine changed networks
    /// # }
    /// ```
    pub fn reconnect(&self) {
        self.shared.command(|engine, now| {
            if engine.state() != ConnectionState::Closed {
                engine.reconnect(now);
            }
        });
    }

    /// Replaces the token for the next attempt; a client that failed for its token starts again.
    ///
    /// ```no_run
    /// # fn run(client: &wse_client::Client) {
    /// client.set_token(Some("a fresh token"));
    /// # }
    /// ```
    pub fn set_token<T: Into<Secret>>(&self, token: Option<T>) {
        let token = token.map(Into::into);
        self.shared.command(|engine, now| engine.set_token(token, now));
    }

    /// Tells the client what the host knows about the network or about itself. Without hints everything works, later:
    /// `Online`, `AddressChanged` and `Wake` make a client that waits dial within half a second, and one that is
    /// connected prove it; after `Offline` the next attempt is put off.
    ///
    /// ```no_run
    /// # fn run(client: &wse_client::Client) {
    /// client.network_hint(wse_client::NetworkHint::Online);
    /// # }
    /// ```
    pub fn network_hint(&self, hint: NetworkHint) {
        self.shared.command(|engine, now| engine.handle(Input::Network(hint), now));
    }

    /// Keeps a token that lets this client subscribe to one topic, for each later request for it. `None` forgets it.
    ///
    /// ```no_run
    /// # async fn run(client: &wse_client::Client) -> Result<(), wse_client::SubscribeError> {
    /// client.set_channel_token("room:private", Some("a token that my backend gave me"))?;
    /// client.subscribe(&["room:private"]).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`SubscribeError`] when the topic is not valid, or there are more tokens than topics allowed.
    pub fn set_channel_token<T: Into<Secret>>(&self, topic: &str, token: Option<T>) -> Result<(), SubscribeError> {
        let token = token.map(Into::into);
        Ok(self.shared.change(|engine, _| engine.set_channel_token(topic, token))?)
    }

    /// Renews the keys of an encrypted connection; messages go on meanwhile, and none is lost. It happens by itself
    /// too, as [`Builder::rotate_after`] says. [`Event::KeysRotated`] follows.
    ///
    /// ```no_run
    /// # fn run(client: &wse_client::Client) -> Result<(), wse_client::RotateError> {
    /// client.rotate_keys()?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`RotateError`]; nothing changed then.
    pub fn rotate_keys(&self) -> Result<(), RotateError> {
        self.shared.change(|engine, now| engine.rotate_keys(now))
    }

    /// Where the connection stands.
    ///
    /// ```no_run
    /// # fn run(client: &wse_client::Client) {
    /// println!("{}", client.state().as_str());
    /// # }
    /// ```
    pub fn state(&self) -> ConnectionState {
        self.shared.look(|engine, _| engine.state())
    }

    /// What the server said about itself; `None` while not connected.
    ///
    /// ```no_run
    /// # fn run(client: &wse_client::Client) {
    /// if let Some(server) = client.server() {
    ///     println!("{} says we are {:?}", server.endpoint, server.user_id);
    /// }
    /// # }
    /// ```
    pub fn server(&self) -> Option<ServerInfo> {
        self.shared.look(|engine, _| engine.server().cloned())
    }

    /// Topics that are wanted, in order of first request; the refused ones are gone from it.
    ///
    /// ```no_run
    /// # fn run(client: &wse_client::Client) {
    /// println!("{}", client.topics().join(", "));
    /// # }
    /// ```
    pub fn topics(&self) -> Vec<String> {
        self.shared.look(|engine, _| engine.topics().to_vec())
    }

    /// The last end of a connection or attempt, if there was one.
    ///
    /// ```no_run
    /// # fn run(client: &wse_client::Client) {
    /// if let Some(last) = client.last_disconnect() {
    ///     println!("{}: {}", last.code, last.detail);
    /// }
    /// # }
    /// ```
    pub fn last_disconnect(&self) -> Option<Disconnect> {
        self.shared.look(|engine, _| engine.last_disconnect().cloned())
    }

    /// How much: counters and present figures.
    ///
    /// ```no_run
    /// # fn run(client: &wse_client::Client) {
    /// println!("{} messages received", client.metrics().messages_received);
    /// # }
    /// ```
    pub fn metrics(&self) -> Metrics {
        self.shared.look(|engine, now| engine.metrics(now))
    }

    /// How and why: the connection, the network and the endpoints.
    ///
    /// ```no_run
    /// # fn run(client: &wse_client::Client) {
    /// println!("the network is {}", client.diagnostics().quality.as_str());
    /// # }
    /// ```
    pub fn diagnostics(&self) -> Diagnostics {
        self.shared.look(|engine, now| engine.diagnostics(now))
    }

    /// The recording so far as a file for `wse replay`; `None` unless [`Builder::record`] was set. It has no payloads
    /// and no secrets; see [`wse_client_core::record`] for what it has.
    ///
    /// ```no_run
    /// # fn run(client: &wse_client::Client) -> std::io::Result<()> {
    /// if let Some(file) = client.recording() {
    ///     std::fs::write("flight.jsonl", file)?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn recording(&self) -> Option<Vec<u8>> {
        // Written outside of the engine's lock.
        let recording = self.shared.look(|engine, _| engine.recording());
        recording.map(|recording| recording.to_bytes())
    }

    /// Closes for good: what was accepted for sending goes out, then a close frame, and the call waits until the
    /// socket is done, a few seconds at most. Events that wait can still be read; then the stream ends.
    ///
    /// Dropping the future does not take the close back.
    ///
    /// ```no_run
    /// # async fn run(client: wse_client::Client) {
    /// client.close().await;
    /// # }
    /// ```
    pub async fn close(&self) {
        self.request_close();
        let mut finished = self.shared.finished.subscribe();
        let _ = tokio::time::timeout(CLOSE_LIMIT, finished.wait_for(|finished| *finished)).await;
    }
}

/// For bindings to other languages, which poll instead of awaiting. Nothing here waits or needs a runtime, and every
/// request comes to its end as an event in the same queue.
///
/// The loop of a binding: [`Client::set_waker`] once; then [`Client::try_drain`] until it gives 0; then
/// [`Client::arm`]: on `true` wait to be woken, on `false` drain again, or stop if [`Client::is_ended`].
impl Client {
    /// Sends unless the buffer of unsent bytes is full, and gives the id; `None`: it is full, and nothing was sent. For
    /// callers who then wait with [`Client::send`]: unlike with [`Client::try_send`] this is no refusal, and not counted.
    ///
    /// ```no_run
    /// # async fn run(client: wse_client::Client, message: wse_client::Outgoing) -> Result<(), wse_client::SendError> {
    /// let id = match client.send_now(message.clone())? {
    ///     Some(id) => id,
    ///     None => client.send(message).await?,
    /// };
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`SendError`], never [`SendError::QueueFull`].
    pub fn send_now(&self, message: Outgoing) -> Result<Option<String>, SendError> {
        match self.shared.send(&mut Some(message)) {
            Err(SendError::QueueFull { .. }) => Ok(None),
            sent => sent.map(Some),
        }
    }

    /// Moves the events that are there into `out`, at most `max`, and gives how many.
    ///
    /// ```no_run
    /// # fn run(client: &wse_client::Client) {
    /// let mut events = Vec::with_capacity(1024);
    /// while client.try_drain(1024, &mut events) > 0 {
    ///     println!("{} events", events.drain(..).len());
    /// }
    /// # }
    /// ```
    pub fn try_drain(&self, max: usize, out: &mut Vec<Event>) -> usize {
        self.shared.queue.drain(max, out)
    }

    /// Sets the function that is called once after each [`Client::arm`], when events come or the stream ends.
    /// `None` removes it.
    ///
    /// It runs on the driver's thread with no lock held; it must not block. It is dropped with the client's last
    /// clone, so it must not hold one.
    ///
    /// ```no_run
    /// # fn run(client: &wse_client::Client) {
    /// client.set_waker(Some(Box::new(|| println!("events are there"))));
    /// # }
    /// ```
    pub fn set_waker(&self, wake: Option<Box<dyn Fn() + Send + Sync>>) {
        self.shared.queue.set_callback(wake.map(Into::into));
    }

    /// Asks for one call of the waker. `true`: it will come. `false`: events are there already, or the stream has
    /// ended; no call comes.
    ///
    /// ```no_run
    /// # fn run(client: &wse_client::Client) {
    /// if !client.arm() && !client.is_ended() {
    ///     // Events came in between: drain again.
    /// }
    /// # }
    /// ```
    pub fn arm(&self) -> bool {
        self.shared.queue.arm()
    }

    /// Whether the last event was taken and, unless the client is started again, none will come.
    ///
    /// ```no_run
    /// # fn run(client: &wse_client::Client) {
    /// if client.is_ended() {
    ///     println!("{}", client.state().as_str());
    /// }
    /// # }
    /// ```
    pub fn is_ended(&self) -> bool {
        self.shared.queue.is_ended()
    }

    /// [`Client::subscribe`] without waiting: the outcome is the [`Event::Subscribed`] with this id.
    ///
    /// ```no_run
    /// # fn run(client: &wse_client::Client) -> Result<(), wse_client::SubscribeError> {
    /// let request = client.request_subscribe(&["news:*"])?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`SubscribeError`]; no event follows then.
    pub fn request_subscribe<T: AsRef<str>>(&self, topics: &[T]) -> Result<RequestId, SubscribeError> {
        self.request_subscribe_with(topics, &SubscribeOptions::default())
    }

    /// [`Client::subscribe_with`] without waiting: the outcome is the [`Event::Subscribed`] with this id.
    ///
    /// ```no_run
    /// # fn run(client: &wse_client::Client) -> Result<(), wse_client::SubscribeError> {
    /// use wse_client::SubscribeOptions;
    /// let request = client.request_subscribe_with(&["jobs"], &SubscribeOptions::default().with_group("workers"))?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`SubscribeError`]; no event follows then.
    pub fn request_subscribe_with<T: AsRef<str>>(
        &self,
        topics: &[T],
        options: &SubscribeOptions,
    ) -> Result<RequestId, SubscribeError> {
        self.shared.change_topics(topics, Some(options), None)
    }

    /// [`Client::unsubscribe`] without waiting: the outcome is the [`Event::Subscribed`] with this id.
    ///
    /// ```no_run
    /// # fn run(client: &wse_client::Client) -> Result<(), wse_client::SubscribeError> {
    /// let request = client.request_unsubscribe(&["news:*"])?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`SubscribeError`]; no event follows then.
    pub fn request_unsubscribe<T: AsRef<str>>(&self, topics: &[T]) -> Result<RequestId, SubscribeError> {
        self.shared.change_topics(topics, None, None)
    }

    /// [`Client::close`] without waiting: the last events come, then [`Client::is_ended`].
    ///
    /// ```no_run
    /// # fn run(client: &wse_client::Client) {
    /// client.request_close();
    /// # }
    /// ```
    pub fn request_close(&self) {
        self.shared.close(Close::normal());
    }

    /// Waits until the connection is ready, for a client that was started without waiting. Events stay in the queue.
    ///
    /// ```no_run
    /// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
    /// let client = wse_client::Client::builder("ws://127.0.0.1:5006/wse").start()?;
    /// client.wait_connected(None).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ConnectError`], as from [`Builder::connect`]; never its timeout.
    pub async fn wait_connected(&self, give_up_after: Option<u32>) -> Result<(), ConnectError> {
        self.connected(give_up_after).await
    }

    /// Whether the background task is gone and its sockets are closed: after a close, or when its runtime was shut
    /// down.
    ///
    /// ```no_run
    /// # fn run(client: &wse_client::Client) {
    /// client.request_close();
    /// while !client.is_finished() {
    ///     std::thread::sleep(std::time::Duration::from_millis(5));
    /// }
    /// # }
    /// ```
    pub fn is_finished(&self) -> bool {
        *self.shared.finished.borrow()
    }
}

impl Stream for Client {
    type Item = Event;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        self.poll_event(cx)
    }
}

impl Clone for Client {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            reader: self.shared.queue.add_reader(),
            alive: Arc::clone(&self.alive),
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.shared.queue.remove_reader(self.reader);
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client")
            .field("state", &self.state())
            .field("clones", &Arc::strong_count(&self.alive))
            .finish_non_exhaustive()
    }
}
