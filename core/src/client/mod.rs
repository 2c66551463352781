//! The client end of a connection: one logical connection to one of several equal servers.
//!
//! ```text
//! connect.rs        token, socket, greeting, ready; loss, backoff, the next attempt
//! lifecycle.rs      the table of stages and transitions, and the one way through it
//! inbound.rs        what frames of the server mean
//! arrivals.rs       once, in order, or a word about what is missing
//! requests.rs       typed questions to the server, and the server's
//! catalogue.rs      shapes of answers and notices
//! outbound.rs       messages of the application, at once or from the queue; control messages
//! pacing.rs         sending no faster than the server takes
//! subscriptions.rs  wanted topics and requests under way
//! options.rs        how topics are wanted: seen there, in a queue group
//! network.rs        what the host says about the network, and how well it does
//! held.rs           what is in memory, and the bounds of it
//! rotation.rs       fresh keys in mid-session
//! heartbeat.rs      pings, and the decision that the server went silent
//! metrics.rs        how it all goes, by names that are the same in every language
//! rates.rs          messages and bytes a second
//! ```

mod arrivals;
mod catalogue;
mod connect;
mod heartbeat;
mod held;
mod inbound;
pub mod lifecycle;
mod metrics;
mod network;
mod options;
mod outbound;
mod pacing;
mod rates;
mod requests;
mod rotation;
mod subscriptions;
mod types;

pub use catalogue::*;
pub use held::Held;
pub use metrics::*;
pub use options::SubscribeOptions;
pub(crate) use options::told;
pub use outbound::Store;
pub use requests::{ConfigUpdate, Request, RequestError, RequestOutcome, SyncRequest};
pub use types::*;

use std::collections::VecDeque;

use crate::{
    config::{ClientConfig, ConfigError, Credentials},
    delivery::{DedupWindow, MemoryStore, Positions, ReorderWindow},
    error::Code,
    io::Close,
    record::{Recorder, Recording, What},
    resilience::{AdaptiveQuality, Backoff, EndpointPool, NetworkMonitor, Quality},
    rng::{Rng, Seed},
    security::{Role, RotateError, Secret, Signing},
    time::{Moment, Timers, WallClock, WallTime},
    wire::Message,
};

use connect::Link;
use lifecycle::{Cause, Lifecycle, Phase, Rest};
use outbound::Outbox;
use rates::Rates;
use requests::Requests;
use subscriptions::Subscriptions;

/// Everything that can be waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Timer {
    /// The token provider or the socket takes too long.
    Dial,
    /// The server is not ready in time.
    Ready,
    /// A server that answers but says no `server_ready` is taken as it is.
    Grace,
    /// The next ping.
    Ping,
    /// The server sent nothing after a ping.
    Silence,
    /// The connection held long enough to forget earlier failures.
    Stable,
    /// The next attempt.
    Retry,
    /// A subscription request gets no answer.
    Subscription,
    /// Queued messages may go out: a token, a full batch window, or an expired message.
    Outbound,
    /// A gap is asked about again.
    Recovery,
    /// Messages held for a gap in `seq` are let go.
    Reorder,
    /// A typed request gets no answer.
    Request,
    /// The key of the connection is to be renewed.
    Rotation,
}

const TIMERS: [Timer; 13] = [
    Timer::Dial,
    Timer::Ready,
    Timer::Grace,
    Timer::Ping,
    Timer::Silence,
    Timer::Stable,
    Timer::Retry,
    Timer::Subscription,
    Timer::Outbound,
    Timer::Recovery,
    Timer::Reorder,
    Timer::Request,
    Timer::Rotation,
];

/// One logical connection to one of several equal servers, kept up until [`Client::close`].
///
/// Commands return an `Err` only for mistakes of the caller. What the world does is handed in by
/// [`Client::handle`]; what follows from either is taken out by [`Client::poll`].
pub struct Client {
    config: ClientConfig,
    wall: WallClock,
    rng: Rng,
    lifecycle: Lifecycle,
    link: Option<Link>,
    /// While there is no link: what signed on the last one.
    signing: Option<Signing>,
    last_socket: u64,
    pool: EndpointPool,
    network: NetworkMonitor,
    quality: Quality,
    adaptive: AdaptiveQuality,
    offline_since: Option<Moment>,
    /// The server named the time of the next attempt: hints of the host do not bring it forward.
    retry_is_named: bool,
    /// An attempt failed for want of a good token, and none worked since.
    wants_token: bool,
    asleep_since: Option<Moment>,
    renew_token: bool,
    /// Set while there is a provider: used for the next attempt, instead of asking.
    token_once: Option<Secret>,
    backoff: Backoff,
    subscriptions: Subscriptions,
    requests: Requests,
    outbox: Outbox,
    positions: Positions,
    seen: DedupWindow,
    reorder: ReorderWindow<Message>,
    /// Empty; kept for its memory.
    released: Vec<Message>,
    timers: Timers<Timer, 13>,
    outputs: VecDeque<Output>,
    metrics: Metrics,
    rates: Rates,
    made: Moment,
    /// When the present socket was last heard.
    last_frame: Option<Moment>,
    last_disconnect: Option<Disconnect>,
    ping_sent: Option<Moment>,
    awaiting_life: bool,
    reads_paused: bool,
    recorder: Recorder,
}

impl Client {
    /// A client that has not dialled yet.
    ///
    /// # Errors
    /// A setting that cannot be used.
    pub fn new(config: ClientConfig, seed: Seed, now: Moment, wall: WallTime) -> Result<Self, ConfigError> {
        Self::with_store(config, Box::new(MemoryStore::default()), seed, now, wall)
    }

    /// The same with a store for messages that wait, which may hold some of an earlier run: they are sent after the
    /// next connect, as far as `offline` has room and they are not too old; the others are told as
    /// [`Event::Dropped`]. What was written to a connection, dropped or given up by [`Client::close`] is taken out of
    /// the store. A recording knows nothing of what an earlier run left.
    ///
    /// # Errors
    /// A setting that cannot be used.
    pub fn with_store(
        config: ClientConfig,
        store: Store,
        seed: Seed,
        now: Moment,
        wall: WallTime,
    ) -> Result<Self, ConfigError> {
        config.check()?;
        let mut rng = Rng::new(seed);
        let (outbox, no_room) = Outbox::new(&config, store, now);
        let mut client = Self {
            wall: WallClock::new(wall, now),
            recorder: Recorder::new(&config, rng.choices_seed(), now, wall),
            lifecycle: Lifecycle::new(),
            link: None,
            signing: config.security.signing.clone().map(|signing| Signing::new(signing, Role::Client, &mut rng)),
            last_socket: 0,
            pool: EndpointPool::new(&config.endpoints, config.pool.clone()),
            network: NetworkMonitor::default(),
            quality: Quality::default(),
            adaptive: AdaptiveQuality::default(),
            offline_since: None,
            retry_is_named: false,
            wants_token: false,
            asleep_since: None,
            renew_token: false,
            token_once: None,
            backoff: Backoff::new(config.reconnect.clone()),
            subscriptions: Subscriptions::new(&config.topics),
            requests: Requests::default(),
            outbox,
            positions: Positions::new(Positions::DEFAULT_CAPACITY.max(config.limits.max_topics)),
            seen: DedupWindow::new(config.delivery.dedup_window, rng.bytes()),
            reorder: ReorderWindow::new(config.delivery.reorder),
            released: Vec::new(),
            rng,
            timers: Timers::new(TIMERS),
            outputs: VecDeque::new(),
            metrics: Metrics::default(),
            rates: Rates::new(now),
            made: now,
            last_frame: None,
            last_disconnect: None,
            ping_sent: None,
            awaiting_life: false,
            reads_paused: false,
            config,
        };
        client.metrics.messages_accepted = (no_room.len() + client.outbox.held().0) as u64;
        client.tell_dropped(no_room, DropReason::QueueFull);
        client.flush(now);
        Ok(client)
    }

    /// A client that draws pauses, choices and ids as a recorded one did.
    pub(crate) fn choosing_as(
        config: ClientConfig,
        seed: Seed,
        choices_seed: [u8; 32],
        now: Moment,
        wall: WallTime,
    ) -> Result<Self, ConfigError> {
        let rng = Rng::choosing_as(seed.clone(), choices_seed);
        Ok(Self { rng, ..Self::new(config, seed, now, wall)? })
    }

    /// Starts to connect; does nothing while connected or connecting. After a failure or a close it starts anew.
    ///
    /// While the host says that it is offline, the attempt waits until it says otherwise, `reconnect.max_delay` at most.
    /// What it said longer ago than that is not believed.
    pub fn connect(&mut self, now: Moment) {
        self.recorder.note(now, &self.outputs, || What::Connect);
        self.start_anew(now);
    }

    fn start_anew(&mut self, now: Moment) {
        if matches!(self.phase(), Phase::Resting(_)) {
            self.backoff.reset();
            if self.is_offline(now) {
                self.wait_for_network(now);
            } else {
                self.start_attempt(now);
            }
        }
    }

    /// Sends a message and gives its id.
    ///
    /// While the client connects, or the rate is limited, the message waits in a bounded queue, and goes out by
    /// priority as soon as it can: with this id, its `seq` assigned when it is written. If it never can,
    /// [`Event::Dropped`] says so. An id that waits already is not queued a second time.
    ///
    /// # Errors
    /// [`SendError`]; the message was neither sent nor kept then.
    pub fn send(&mut self, message: Outgoing, now: Moment) -> Result<String, SendError> {
        self.recorder.note(now, &self.outputs, || What::send(&message));
        let sent = self.send_message(message, now);
        self.recorder.refused(sent.as_ref().err().map(SendError::code), &self.outputs);
        sent
    }

    /// The driver refused a message that the application wanted to send, before the client saw it: its own buffer is
    /// full. Counted in [`Metrics::messages_refused`].
    pub const fn note_refused(&mut self) {
        self.metrics.messages_refused += 1;
    }

    /// Asks for topics (exact names, or patterns with `*` and `?`), now and after every reconnect.
    ///
    /// Exactly one [`Event::Subscribed`] with the returned id follows, within `timeouts.subscribe`.
    ///
    /// # Errors
    /// [`SubscribeError`]; nothing changed then.
    pub fn subscribe<T: AsRef<str>>(&mut self, topics: &[T], now: Moment) -> Result<RequestId, SubscribeError> {
        self.subscribe_with(topics, &SubscribeOptions::default(), now)
    }

    /// The same, and says how to take part in the topics. For those that are subscribed it changes that.
    ///
    /// # Errors
    /// [`SubscribeError`]; nothing changed then.
    pub fn subscribe_with<T: AsRef<str>>(
        &mut self,
        topics: &[T],
        options: &SubscribeOptions,
        now: Moment,
    ) -> Result<RequestId, SubscribeError> {
        self.recorder.note(now, &self.outputs, || What::subscribe(topics, options));
        let request = self.want_topics(owned(topics), options, now);
        self.recorder.refused(request.as_ref().err().map(SubscribeError::code), &self.outputs);
        request
    }

    /// Gives up topics. Unknown ones are no error. Exactly one [`Event::Subscribed`] follows.
    ///
    /// # Errors
    /// [`SubscribeError`]; nothing changed then.
    pub fn unsubscribe<T: AsRef<str>>(&mut self, topics: &[T], now: Moment) -> Result<RequestId, SubscribeError> {
        self.recorder.note(now, &self.outputs, || What::unsubscribe(topics));
        let request = self.give_up_topics(owned(topics), now);
        self.recorder.refused(request.as_ref().err().map(SubscribeError::code), &self.outputs);
        request
    }

    /// Asks the server something. Exactly one [`Event::Response`] with the returned id follows, within
    /// `timeouts.request`. A question is not kept for the next connection.
    ///
    /// # Errors
    /// [`RequestError`]; nothing was sent then.
    pub fn request(&mut self, request: &Request, now: Moment) -> Result<RequestId, RequestError> {
        self.send_typed_request(request, now)
    }

    /// Renews the keys of an encrypted connection; messages go on meanwhile, and none is lost.
    ///
    /// [`Event::KeysRotated`] follows; or an [`Event::ServerError`] with [`Code::KeyExchangeFailed`] when the server
    /// refuses, and the keys stay; or the end of the connection with that code, when it does not answer within 90 s.
    /// Rotation happens by itself too, as `security.rotate_after` says.
    ///
    /// # Errors
    /// [`RotateError`]; nothing changed then.
    pub fn rotate_keys(&mut self, now: Moment) -> Result<(), RotateError> {
        self.recorder.note(now, &self.outputs, || What::RotateKeys);
        self.start_rotation(now)
    }

    /// Keeps a token that lets this client subscribe to one topic; it goes with each later request for the topic.
    /// `None` forgets it. Source: PROTOCOL.md §5.6.
    ///
    /// # Errors
    /// [`SubscribeError`] when the topic is not valid, or there are more tokens than topics allowed.
    pub fn set_channel_token(&mut self, topic: &str, token: Option<Secret>) -> Result<(), SubscribeError> {
        self.recorder.note_timeless(&self.outputs, || What::set_channel_token(topic, token.as_ref()));
        let kept = self.keep_channel_token(topic, token);
        self.recorder.refused(kept.as_ref().err().map(SubscribeError::code), &self.outputs);
        kept
    }

    /// Replaces the token for the next attempt. A client that waits or failed for its token tries at once, one that
    /// waits for its token provider stops waiting. With a provider the token counts for one attempt.
    pub fn set_token(&mut self, token: Option<Secret>, now: Moment) {
        self.recorder.note(now, &self.outputs, || What::set_token(token.as_ref()));
        if matches!(self.config.credentials, Credentials::Provider) {
            self.token_once = token;
            if self.token_once.is_some() && matches!(self.phase(), Phase::FetchingToken { .. }) {
                // What the provider still answers is older than this.
                self.start_attempt(now);
                return;
            }
        } else {
            self.config.credentials = token.map_or(Credentials::None, Credentials::Token);
        }
        let stuck = matches!(self.phase(), Phase::Waiting) || self.state() == ConnectionState::Failed;
        if self.wants_token && stuck {
            self.dial_anew(now);
        }
    }

    /// Drops the present connection or attempt and dials at once, whatever the host says. Where there is none, it is
    /// [`Client::connect`].
    pub fn reconnect(&mut self, now: Moment) {
        self.recorder.note(now, &self.outputs, || What::Reconnect);
        self.dial_anew(now);
    }

    fn dial_anew(&mut self, now: Moment) {
        if matches!(self.phase(), Phase::Resting(_)) {
            // A fresh start: failures before it count no more.
            self.start_anew(now);
            return;
        }
        let was_connected = self.state() == ConnectionState::Connected;
        self.abandon(Close::new(crate::error::close::NORMAL, "reconnect"));
        // A pause of no length: the next attempt starts below.
        self.enter(Phase::Waiting, Cause::Reconnect);
        if was_connected {
            self.tell_disconnected(Disconnect {
                code: Code::ConnectionClosed,
                close: None,
                detail: "the application asked for a new connection".into(),
                retry_in: Some(std::time::Duration::ZERO),
            });
        }
        self.start_attempt(now);
    }

    /// Ends the connection for good. The state is [`ConnectionState::Closed`] at once.
    pub fn close(&mut self, close: Close, now: Moment) {
        self.recorder.note(now, &self.outputs, || What::close(&close));
        if self.state() == ConnectionState::Closed {
            return;
        }
        self.abandon(close.clone());
        self.drop_waiting(DropReason::Closed);
        self.end_requests();
        self.enter(Phase::Resting(Rest::Closed), Cause::Close);
        self.tell_disconnected(Disconnect {
            code: Code::ConnectionClosed,
            close: Some(close),
            detail: "closed by the application".into(),
            retry_in: None,
        });
    }

    /// Hands in what the world did.
    pub fn handle(&mut self, input: Input, now: Moment) {
        self.recorder.heard(&input, now, &self.outputs);
        // Input comes first: a driver that was held up may bring a frame and a deadline at once, and the
        // frame proves that the server lives.
        self.on_input(input, now);
        self.fire_timers(now);
    }

    /// Tells what the host's civil clock shows: stamps and signatures depend on it. A driver calls it before each input
    /// and each command that it hands in, since the clock behind `now` may have stood still while the machine slept,
    /// and the civil one may have been set. What differs by less than a second from what is known changes nothing; more
    /// than a minute that nobody counted is a sleep as far as tokens are concerned.
    pub fn set_clock(&mut self, wall: WallTime, now: Moment) {
        let uncounted = wall.as_unix_ms().saturating_sub(self.wall.at(now).as_unix_ms());
        if self.wall.set(wall, now) {
            self.note_sleep(std::time::Duration::from_millis(uncounted));
            self.recorder.note(now, &self.outputs, || What::Clock { wall: wall.as_unix_ms() });
        }
    }

    /// The next thing to do. Call until it answers [`Output::Wait`].
    pub fn poll(&mut self) -> Output {
        self.recorder.polled(&self.outputs);
        self.outputs.pop_front().unwrap_or_else(|| Output::Wait(self.timers.next()))
    }

    /// Where the connection stands.
    pub const fn state(&self) -> ConnectionState {
        self.lifecycle.state()
    }

    /// What the server said about itself; `None` while not connected.
    pub fn server(&self) -> Option<&ServerInfo> {
        self.link.as_ref().filter(|_| self.is_ready()).map(|link| &link.info)
    }

    /// Topics that are wanted, in order of first request.
    pub fn topics(&self) -> &[String] {
        self.subscriptions.wanted()
    }

    /// The last end of a connection or attempt, if there was one.
    pub const fn last_disconnect(&self) -> Option<&Disconnect> {
        self.last_disconnect.as_ref()
    }

    /// Consecutive failed attempts.
    pub const fn failed_attempts(&self) -> u32 {
        self.backoff.failures()
    }

    /// What happened so far, without payloads and secrets; `None` unless `diagnostics.record` is set.
    pub fn recording(&self) -> Option<Recording> {
        self.recorder.recording(&self.outputs)
    }

    pub(crate) const fn recorder(&mut self) -> &mut Recorder {
        &mut self.recorder
    }

    fn fire_timers(&mut self, now: Moment) {
        while let Some(timer) = self.timers.expired(now) {
            self.recorder.fired(&timer, now, &self.outputs);
            match timer {
                Timer::Dial => self.on_dial_timeout(now),
                Timer::Ready => self.on_ready_timeout(now),
                Timer::Grace => self.on_grace_over(now),
                Timer::Ping => self.on_ping_due(now),
                Timer::Silence => self.on_silence(now),
                Timer::Stable => self.backoff.reset(),
                Timer::Retry => self.on_retry(now),
                Timer::Subscription => self.on_subscription_timeout(now),
                Timer::Outbound => self.flush(now),
                Timer::Recovery => self.on_recovery_timeout(now),
                Timer::Reorder => self.on_reorder_timeout(now),
                Timer::Request => self.on_request_timeout(now),
                Timer::Rotation => self.on_rotation_due(now),
            }
        }
    }

    fn emit(&mut self, event: Event) {
        self.outputs.push_back(Output::Emit(event));
    }
}

fn owned<T: AsRef<str>>(topics: &[T]) -> Vec<String> {
    topics.iter().map(|name| name.as_ref().to_owned()).collect()
}
