//! Counters and figures of a client, taken at one moment: [`Metrics`] say how much, [`Diagnostics`] how and why.
//!
//! The names are the same in every language, up to their casing, and stand here only; bindings walk over them with
//! [`Figures::each`]. Times are milliseconds, rates are per second. `tests/vectors/metrics.json` lists names and units.

use std::time::Duration;

use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::{
    PROTOCOL_VERSION,
    resilience::{BreakerState, EndpointReport, Quality, Suggestion},
    time::Moment,
    wire::{Encoding, control::Object},
};

use super::{Client, ConnectionState, Disconnect, DropReason, Timer, connect::Link, lifecycle::Phase};

/// One figure, for whoever writes all of them.
pub enum Figure<'a> {
    /// There is none at the moment.
    Absent,
    /// Yes or no.
    Flag(bool),
    /// A whole number.
    Count(u64),
    /// Any number.
    Number(f64),
    /// A word or a sentence.
    Text(&'a str),
    /// Several words.
    Texts(Vec<&'a str>),
    /// Figures that belong together.
    Group(&'a dyn Figures),
    /// One group for each of several things.
    Groups(Vec<&'a dyn Figures>),
}

/// Called with name, unit and figure.
type See<'s> = &'s mut dyn FnMut(&'static str, &'static str, Figure<'_>);

/// A set of named figures.
pub trait Figures {
    /// Shows each figure once, in order: its name in snake case, its unit (empty for what has none) and its value.
    fn each(&self, see: See<'_>);
}

/// How names are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Casing {
    /// `messages_sent`, as in Rust and Python.
    Snake,
    /// `messagesSent`, as in TypeScript.
    Camel,
}

impl Casing {
    /// A name in snake case as this casing writes it.
    pub fn apply(self, name: &str) -> String {
        let mut out = String::with_capacity(name.len());
        let mut upper = false;
        for letter in name.chars() {
            if self == Self::Camel && letter == '_' {
                upper = true;
            } else {
                out.push(if upper { letter.to_ascii_uppercase() } else { letter });
                upper = false;
            }
        }
        out
    }
}

/// Figures as JSON text; one that is absent is `null`, and so is a number that is not finite.
pub fn figures_to_json(figures: &dyn Figures, casing: Casing) -> String {
    written(figures, casing).into_json()
}

/// Figures as the payload of a message.
pub(super) fn written(figures: &dyn Figures, casing: Casing) -> Object {
    let mut object = Some(Object::new());
    figures.each(&mut |name, _, figure| {
        object = object.take().map(|object| with(object, &casing.apply(name), &figure, casing));
    });
    object.unwrap_or_else(Object::new)
}

fn with(object: Object, name: &str, figure: &Figure<'_>, casing: Casing) -> Object {
    match figure {
        Figure::Absent => object.json(name, "null"),
        Figure::Flag(flag) => object.truth(name, *flag),
        Figure::Count(count) => object.unsigned(name, *count),
        Figure::Number(number) => object.number(name, Some(*number)),
        Figure::Text(text) => object.text(name, text),
        Figure::Texts(texts) => object.texts(name, texts),
        Figure::Group(figures) => object.object(name, written(*figures, casing)),
        Figure::Groups(groups) => {
            let groups: Vec<Object> = groups.iter().map(|figures| written(*figures, casing)).collect();
            object.objects(name, &groups)
        }
    }
}

/// Figures for `serde`, in snake case.
struct Serialized<'a>(&'a dyn Figures);

impl Serialize for Serialized<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        let mut failure = None;
        self.0.each(&mut |name, _, figure| {
            if failure.is_none() {
                failure = map.serialize_entry(name, &SerializedFigure(figure)).err();
            }
        });
        match failure {
            Some(failure) => Err(failure),
            None => map.end(),
        }
    }
}

struct SerializedFigure<'a>(Figure<'a>);

impl Serialize for SerializedFigure<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0 {
            Figure::Absent => serializer.serialize_none(),
            Figure::Flag(flag) => serializer.serialize_bool(*flag),
            Figure::Count(count) => serializer.serialize_u64(*count),
            Figure::Number(number) => serializer.serialize_f64(*number),
            Figure::Text(text) => serializer.serialize_str(text),
            Figure::Texts(texts) => serializer.collect_seq(texts),
            Figure::Group(figures) => Serialized(*figures).serialize(serializer),
            Figure::Groups(groups) => serializer.collect_seq(groups.iter().map(|figures| Serialized(*figures))),
        }
    }
}

/// A value as a figure.
trait AsFigure {
    fn figure(&self) -> Figure<'_>;
}

impl AsFigure for bool {
    fn figure(&self) -> Figure<'_> {
        Figure::Flag(*self)
    }
}

impl AsFigure for u64 {
    fn figure(&self) -> Figure<'_> {
        Figure::Count(*self)
    }
}

impl AsFigure for f64 {
    fn figure(&self) -> Figure<'_> {
        Figure::Number(*self)
    }
}

impl AsFigure for String {
    fn figure(&self) -> Figure<'_> {
        Figure::Text(self)
    }
}

impl<T: AsFigure> AsFigure for Option<T> {
    fn figure(&self) -> Figure<'_> {
        self.as_ref().map_or(Figure::Absent, AsFigure::figure)
    }
}

impl AsFigure for Vec<Suggestion> {
    fn figure(&self) -> Figure<'_> {
        Figure::Texts(self.iter().map(|suggestion| suggestion.as_str()).collect())
    }
}

impl AsFigure for Vec<EndpointMetrics> {
    fn figure(&self) -> Figure<'_> {
        Figure::Groups(self.iter().map(|endpoint| endpoint as &dyn Figures).collect())
    }
}

macro_rules! words {
    ($($kind:ty),+) => {$(
        impl AsFigure for $kind {
            fn figure(&self) -> Figure<'_> {
                Figure::Text(self.as_str())
            }
        }
    )+};
}

words!(ConnectionState, Quality, BreakerState, Encoding);

/// A struct, its names and its units, written once.
macro_rules! figures {
    ($($(#[$about:meta])* struct $group:ident { $($(#[$doc:meta])* $name:ident: $kind:ty = $unit:literal,)+ })+) => {$(
        $(#[$about])*
        #[derive(Debug, Clone, Default, PartialEq)]
        pub struct $group {
            $($(#[$doc])* pub $name: $kind,)+
        }

        impl Figures for $group {
            fn each(&self, see: See<'_>) {
                $(see(stringify!($name), $unit, self.$name.figure());)+
            }
        }

        impl AsFigure for $group {
            fn figure(&self) -> Figure<'_> {
                Figure::Group(self)
            }
        }

        impl Serialize for $group {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                Serialized(self).serialize(serializer)
            }
        }
    )+};
}

figures! {
    /// How much: counters since the client was made, and present figures.
    ///
    /// At any moment `messages_accepted = messages_sent + messages_dropped + messages_queued`, and
    /// `messages_dropped` is the sum of [`Metrics::drops`].
    struct Metrics {
        /// Application messages handed to the application, answers to requests included.
        messages_received: u64 = "messages",
        /// Application messages that [`Client::send`] took.
        messages_accepted: u64 = "messages",
        /// Application messages written to a connection.
        messages_sent: u64 = "messages",
        /// Application messages that wait for a connection, or for their turn.
        messages_queued: u64 = "messages",
        /// Application messages that were accepted and will not be sent; [`Metrics::drops`] says why.
        messages_dropped: u64 = "messages",
        /// Application messages that [`Client::send`] refused with an error, whatever the error.
        messages_refused: u64 = "messages",
        /// Messages of the server that will never come, as far as they were counted.
        messages_lost: u64 = "messages",
        /// Messages that came again and were dropped.
        messages_duplicate: u64 = "messages",
        /// Publications that came ahead of a gap and were dropped, to come again with what is missing.
        messages_deferred: u64 = "messages",
        /// Missed publications that the server sent after all.
        messages_recovered: u64 = "messages",
        /// Times that a topic was found to have a gap, and the server was asked for what is missing.
        gaps: u64 = "gaps",
        /// Why accepted messages were dropped.
        drops: DropMetrics = "",
        /// The messages that wait.
        queue: QueueMetrics = "",
        /// What the sequence numbers of the present connection tell.
        sequence: SequenceMetrics = "",
        /// Frames received on the present socket of their time.
        frames_received: u64 = "frames",
        /// Frames written.
        frames_sent: u64 = "frames",
        /// Frames, or messages in a batch, that were refused.
        frames_rejected: u64 = "frames",
        /// Frames of a socket that was given up before they arrived; nobody looked at them.
        frames_stale: u64 = "frames",
        /// Bytes of all frames received.
        bytes_received: u64 = "bytes",
        /// Bytes of all frames sent.
        bytes_sent: u64 = "bytes",
        /// Application messages received a second, over the last 10 s.
        message_rate: f64 = "messages/s",
        /// Bytes a second in both directions, over the last 10 s.
        bandwidth: f64 = "bytes/s",
        /// Messages of type `heartbeat`: a sign of life, and nothing else.
        heartbeats_received: u64 = "messages",
        /// Requests of [`Client::request`] that wait for their answer.
        requests_pending: u64 = "requests",
        /// Requests that ended without an answer.
        requests_failed: u64 = "requests",
        /// Sockets that were asked for.
        connection_attempts: u64 = "attempts",
        /// Times a connection became ready.
        connections: u64 = "connections",
        /// Times a connection became ready after the first.
        reconnect_count: u64 = "connections",
        /// Consecutive failed attempts.
        failed_attempts: u64 = "attempts",
        /// Ends of a connection or attempt for want of a good token, or of the right to be here.
        auth_failures: u64 = "attempts",
        /// Times the keys of a connection were renewed.
        keys_rotated: u64 = "rotations",
        /// The last round trip. Absent before the first, as are the next three without samples.
        last_latency_ms: Option<f64> = "ms",
        /// Mean round trip of the last pings.
        avg_latency_ms: Option<f64> = "ms",
        /// Shortest of them.
        min_latency_ms: Option<f64> = "ms",
        /// Longest of them.
        max_latency_ms: Option<f64> = "ms",
        /// Age of the client.
        uptime_ms: u64 = "ms",
        /// How long the present connection has been ready. Absent while there is none, as is the next one.
        connected_for_ms: Option<u64> = "ms",
        /// When it became ready, by the wall clock.
        connected_since_ms: Option<u64> = "ms since 1970",
        /// Time since the last frame of the present socket. Absent before the first.
        silent_for_ms: Option<u64> = "ms",
        /// Time until the next attempt. Absent unless one is on the clock.
        next_attempt_in_ms: Option<u64> = "ms",
    }

    /// Accepted messages that were dropped, by [`DropReason`].
    struct DropMetrics {
        /// The queue was full, and a message at least as urgent came.
        queue_full: u64 = "messages",
        /// They waited longer than `offline.max_age`.
        expired: u64 = "messages",
        /// Written in the way that the server reads, they are larger than a frame may be.
        too_large: u64 = "messages",
        /// The connection ended while they waited for their turn, and `offline.enabled` is off.
        disconnected: u64 = "messages",
        /// The application closed the connection.
        closed: u64 = "messages",
    }

    /// The queue of messages that could not be sent at once, and what became of them by priority.
    struct QueueMetrics {
        /// Messages that wait at present.
        waiting: u64 = "messages",
        /// Most messages that may wait.
        capacity: u64 = "messages",
        /// Bytes that the waiting messages count for.
        bytes: u64 = "bytes",
        /// Most bytes that may wait.
        byte_capacity: u64 = "bytes",
        /// How long the oldest of them has waited. Absent when there is none.
        oldest_ms: Option<u64> = "ms",
        /// Priority 1.
        background: LevelMetrics = "",
        /// Priority 3.
        low: LevelMetrics = "",
        /// Priority 5.
        normal: LevelMetrics = "",
        /// Priority 8.
        high: LevelMetrics = "",
        /// Priority 10.
        critical: LevelMetrics = "",
    }

    /// What became of the messages of one priority that had to wait.
    struct LevelMetrics {
        /// Wait at present.
        waiting: u64 = "messages",
        /// Taken in.
        queued: u64 = "messages",
        /// Taken out to be sent.
        sent: u64 = "messages",
        /// Dropped after they were taken in.
        dropped: u64 = "messages",
        /// Not taken in.
        refused: u64 = "messages",
    }

    /// What the sequence numbers of one connection tell.
    struct SequenceMetrics {
        /// Messages with a number.
        numbered: u64 = "messages",
        /// Numbers that were jumped over.
        missing: u64 = "messages",
        /// Messages whose number was behind the one expected.
        late: u64 = "messages",
        /// Messages held at present until what is before them comes.
        held: u64 = "messages",
        /// The number expected next. Absent before the first.
        expected: Option<u64> = "",
    }

    /// How and why: the connection, the network and the endpoints.
    struct Diagnostics {
        /// Where the connection stands.
        state: ConnectionState = "",
        /// The endpoint in use, or tried last.
        endpoint: String = "",
        /// The server's name for this connection. Absent while there is none, as are the next two.
        connection_id: Option<String> = "",
        /// Who the server takes us for.
        user_id: Option<String> = "",
        /// The server's version.
        server_version: Option<String> = "",
        /// The protocol version of this client.
        protocol_version: u64 = "",
        /// Whether the server reads every frame kind of this page. False while not connected, as are the next ones.
        full_duplex: bool = "",
        /// Whether the server keeps a history of topics.
        recovery: bool = "",
        /// Whether the server reads several messages in one frame.
        batching: bool = "",
        /// Whether frames are encrypted.
        encrypted: bool = "",
        /// Whether this client signs, and checks signatures.
        signing: bool = "",
        /// How this client writes: `text`, `binary` or `msgpack`. Absent while not connected.
        encoding: Option<Encoding> = "",
        /// zlib level of what this client writes. Absent while it compresses nothing.
        compression_level: Option<u64> = "",
        /// How well the network does; `unknown` without samples.
        quality: Quality = "",
        /// 1 is steady, 0 is not.
        stability: f64 = "",
        /// Mean difference between one round trip and the next. Absent with fewer than two.
        jitter_ms: Option<f64> = "ms",
        /// Share of pings without an answer.
        packet_loss: f64 = "%",
        /// Mean round trip. Absent without samples.
        round_trip_time_ms: Option<f64> = "ms",
        /// What would help, as stable codes.
        suggestions: Vec<Suggestion> = "",
        /// The circuit breaker of the endpoint in use.
        circuit_breaker: BreakerState = "",
        /// The host says that there is no network.
        offline: bool = "",
        /// The host said that it goes to sleep, and not that it woke.
        asleep: bool = "",
        /// The application is slow, and reading has stopped.
        reads_paused: bool = "",
        /// Present pause between two pings.
        heartbeat_interval_ms: u64 = "ms",
        /// Most messages that may be sent at once. Absent without a limit on the rate, as is the next one.
        rate_capacity: Option<u64> = "messages",
        /// Messages that may be sent in the long run.
        rate_refill: Option<f64> = "messages/s",
        /// Whether the limit is the server's.
        rate_by_server: bool = "",
        /// Topics and patterns that are wanted.
        topics: u64 = "topics",
        /// Most topics and patterns.
        max_topics: u64 = "topics",
        /// Topics whose position is known, so that what is missed can be asked for.
        topic_positions: u64 = "topics",
        /// Each endpoint, in the order of the configuration.
        endpoints: Vec<EndpointMetrics> = "",
        /// The last end of a connection or attempt. Absent before the first.
        last_disconnect: Option<DisconnectMetrics> = "",
    }

    /// How one endpoint does.
    struct EndpointMetrics {
        /// Its address.
        url: String = "",
        /// Health, from 10 (worst) to 100.
        score: u64 = "",
        /// Its circuit breaker.
        circuit_breaker: BreakerState = "",
        /// Connections that this client made to it.
        connections: u64 = "connections",
        /// Whether it is in use, or was tried last.
        active: bool = "",
    }

    /// The end of a connection or attempt.
    struct DisconnectMetrics {
        /// Why, as a stable code.
        code: String = "",
        /// Whether the same again later can work.
        retryable: bool = "",
        /// The WebSocket close code. Absent when there was no close, as is the next one.
        close_code: Option<u64> = "",
        /// The reason in the close.
        close_reason: Option<String> = "",
        /// One line for people.
        detail: String = "",
        /// The pause that followed. Absent when there was to be no other attempt.
        retry_in_ms: Option<u64> = "ms",
    }
}

impl DropMetrics {
    pub(super) const fn count(&mut self, reason: DropReason) {
        *match reason {
            DropReason::QueueFull => &mut self.queue_full,
            DropReason::Expired => &mut self.expired,
            DropReason::TooLarge => &mut self.too_large,
            DropReason::Disconnected => &mut self.disconnected,
            DropReason::Closed => &mut self.closed,
        } += 1;
    }
}

impl From<&Disconnect> for DisconnectMetrics {
    fn from(end: &Disconnect) -> Self {
        Self {
            code: end.code.as_str().to_owned(),
            retryable: end.code.is_retryable(),
            close_code: end.close.as_ref().map(|close| close.code.into()),
            close_reason: end.close.as_ref().map(|close| close.reason.clone()),
            detail: end.detail.clone(),
            retry_in_ms: end.retry_in.map(whole_millis),
        }
    }
}

impl Client {
    /// How much: counters and present figures.
    pub fn metrics(&self, now: Moment) -> Metrics {
        let ready_since = match self.phase() {
            Phase::Ready { since } => Some(since),
            Phase::Resting(_)
            | Phase::FetchingToken { .. }
            | Phase::Opening { .. }
            | Phase::Greeting
            | Phase::Waiting => None,
        };
        let queue = self.outbox.metrics(now);
        let network = self.network.report();
        let (message_rate, bandwidth) = self.rates.per_second(now);
        let sequence = self.reorder.stats();
        let retry = self.timers.armed().find(|(timer, _)| *timer == Timer::Retry);
        Metrics {
            messages_queued: queue.waiting,
            queue,
            sequence: SequenceMetrics {
                numbered: sequence.numbered,
                missing: sequence.missing,
                late: sequence.late,
                held: self.reorder.held() as u64,
                expected: sequence.expected,
            },
            message_rate,
            bandwidth,
            requests_pending: self.requests.pending() as u64,
            connection_attempts: self.last_socket,
            reconnect_count: self.metrics.connections.saturating_sub(1),
            failed_attempts: self.failed_attempts().into(),
            avg_latency_ms: network.latency.map(millis),
            min_latency_ms: network.latency_min.map(millis),
            max_latency_ms: network.latency_max.map(millis),
            uptime_ms: whole_millis(now.since(self.made)),
            connected_for_ms: ready_since.map(|since| whole_millis(now.since(since))),
            connected_since_ms: ready_since.map(|since| self.wall.at(since).as_unix_ms()),
            silent_for_ms: self.last_frame.map(|at| whole_millis(now.since(at))),
            next_attempt_in_ms: retry.map(|(_, at)| whole_millis(at.since(now))),
            ..self.metrics.clone()
        }
    }

    /// How and why: the connection, the network and the endpoints.
    pub fn diagnostics(&self, now: Moment) -> Diagnostics {
        let link = self.link.as_ref();
        let server = self.server();
        let network = self.network.report();
        let limit = self.outbox.pacer.as_ref().map(crate::delivery::TokenBucket::limit);
        Diagnostics {
            state: self.state(),
            endpoint: self.pool.current().to_owned(),
            connection_id: server.and_then(|server| server.connection_id.clone()),
            user_id: server.and_then(|server| server.user_id.clone()),
            server_version: server.and_then(|server| server.server_version.clone()),
            protocol_version: PROTOCOL_VERSION,
            full_duplex: link.is_some_and(|link| link.full_duplex),
            recovery: link.is_some_and(|link| link.recovery),
            batching: link.is_some_and(|link| link.batching),
            encrypted: link.is_some_and(|link| link.channel.is_encrypted()),
            signing: link.is_some_and(|link| link.channel.signs()),
            encoding: link.map(|link| link.channel.encoding),
            compression_level: link.and_then(compression_level),
            quality: network.quality,
            stability: network.stability,
            jitter_ms: network.jitter.map(millis),
            packet_loss: network.loss * 100.0,
            round_trip_time_ms: network.latency.map(millis),
            suggestions: network.suggestions,
            circuit_breaker: self.pool.breaker(now),
            offline: self.offline_since.is_some(),
            asleep: self.asleep_since.is_some(),
            reads_paused: self.reads_paused,
            heartbeat_interval_ms: whole_millis(self.ping_interval()),
            rate_capacity: limit.map(|limit| limit.capacity.into()),
            rate_refill: limit.map(|limit| limit.refill),
            rate_by_server: self.outbox.paced_until.is_some(),
            topics: self.topics().len() as u64,
            max_topics: self.config.limits.max_topics as u64,
            topic_positions: self.positions.iter().count() as u64,
            endpoints: self.pool.report(now).into_iter().map(EndpointMetrics::from).collect(),
            last_disconnect: self.last_disconnect.as_ref().map(DisconnectMetrics::from),
        }
    }
}

impl From<EndpointReport> for EndpointMetrics {
    fn from(report: EndpointReport) -> Self {
        let EndpointReport { url, score, breaker, connections, active } = report;
        Self { url, score: score.into(), circuit_breaker: breaker, connections, active }
    }
}

fn compression_level(link: &Link) -> Option<u64> {
    link.channel.compression.map(|compression| compression.level.into())
}

pub(super) fn millis(length: Duration) -> f64 {
    length.as_secs_f64() * 1000.0
}

pub(super) fn whole_millis(length: Duration) -> u64 {
    u64::try_from(length.as_millis()).unwrap_or(u64::MAX)
}
