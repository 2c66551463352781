//! Typed questions to the server, each with exactly one outcome. Source: PROTOCOL.md §11.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::{
    channel,
    error::Code,
    record::What,
    time::Moment,
    wire::{Encoding, Head, Message, Payload, batch, control::Object},
};

use super::{
    Casing, Client, ConnectionState, Event, Notice, NoticeKind, Outgoing, RequestId, SendError, ServerError, Timer,
    metrics::{millis, written},
};

/// Requests that may be under way at the same time.
const MAX_PENDING: usize = 64;

/// Bytes that an envelope and its sealing add to a payload at most, beside its type.
const OVERHEAD: usize = 512;

/// Questions and the answers by which they are known when those do not name them.
const ANSWERS: &[(&str, &str)] = &[
    ("health_check", "health_check_response"),
    ("health_check_request", "health_check_response"),
    ("metrics_request", "metrics_response"),
    ("config_request", "config_response"),
    ("config_update", "config_update_response"),
    ("debug_request", "debug_response"),
    ("debug_handlers", "debug_handlers_response"),
    ("sequence_stats_request", "sequence_stats_response"),
    ("system_status_request", "system_status_response"),
    ("connection_state_request", "connection_state_response"),
    ("sync_request", "snapshot_complete"),
    ("encryption_request", "encryption_response"),
    ("presence_request", "presence_response"),
    ("batch_message", "batch_message_result"),
];

/// A question to the server.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Request {
    /// How is the connection? Answer: [`HealthReport`](super::HealthReport).
    Health,
    /// Figures of the server. The answer's shape is the server's.
    Metrics,
    /// How is the server set up for this client? Answer: [`ConfigReport`](super::ConfigReport).
    ServerConfig,
    /// Asks for other settings of this connection. Answer: [`ConfigUpdateReport`](super::ConfigUpdateReport).
    UpdateConfig(ConfigUpdate),
    /// What the server knows for debugging. The answer's shape is the server's.
    Debug,
    /// Which message types does the server take itself? Answer: [`HandlersReport`](super::HandlersReport).
    Handlers,
    /// The server's view of sequence numbers. Answer: [`SequenceReport`](super::SequenceReport).
    SequenceStats,
    /// How is the server? Answer: [`SystemReport`](super::SystemReport).
    SystemStatus,
    /// How does the server see this connection? Answer: [`ConnectionReport`](super::ConnectionReport).
    ConnectionState,
    /// Asks for the present state of topics. Answer: [`SnapshotReport`](super::SnapshotReport), after the snapshots.
    Sync(SyncRequest),
    /// Is this connection encrypted? Answer: [`EncryptionReport`](super::EncryptionReport).
    Encryption,
    /// Who is present at a topic? Answer: a page of them, [`PresenceReport`](super::PresenceReport).
    Presence {
        /// The topic.
        topic: String,
        /// Users up to this one are known already: [`PresenceReport::next`](super::PresenceReport::next) of the page
        /// before. `None`: from the first on.
        after: Option<String>,
        /// Most users in the page; 0: their number alone. `None`: as many as the server likes.
        limit: Option<u64>,
    },
    /// Several messages at once, with word of what became of them; an id is written only where one was given. Answer: [`BatchReport`](super::BatchReport).
    Batch(Vec<Outgoing>),
    /// A question by its type, for instance one that only the server's application knows. Where the type is one of
    /// the above the answer is known by its type, too; otherwise only by `cid`.
    Named {
        /// The type, `t`.
        kind: String,
        /// The payload, `p`.
        payload: Payload,
    },
}

/// Settings to change; what is `None` stays. A server may ignore any of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ConfigUpdate {
    /// Whether large messages are compressed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compression_enabled: Option<bool>,
    /// Size in bytes above which they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compression_threshold: Option<u64>,
    /// Messages in one batch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch_size: Option<u64>,
    /// Bound of the server's queue for this client, in messages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_queue_size: Option<u64>,
}

/// What to bring up to date.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SyncRequest {
    /// Which topics; empty means all that are subscribed to.
    pub topics: Vec<String>,
    /// Whether the present state is wanted.
    pub include_snapshots: bool,
    /// Whether past messages are wanted.
    pub include_history: bool,
    /// The last `seq` seen, if that matters to the server.
    pub last_sequence: u64,
}

impl ConfigUpdate {
    fn written(&self) -> Object {
        let numbers = [
            ("batch_size", self.batch_size),
            ("compression_threshold", self.compression_threshold),
            ("max_queue_size", self.max_queue_size),
        ];
        let enabled = self.compression_enabled;
        let object = enabled.map_or_else(Object::new, |enabled| Object::new().truth("compression_enabled", enabled));
        numbers.into_iter().fold(object, |object, (name, number)| object.optional_unsigned(name, number))
    }
}

impl SyncRequest {
    fn written(&self) -> Object {
        Object::new()
            .truth("include_history", self.include_history)
            .truth("include_snapshots", self.include_snapshots)
            .unsigned("last_sequence", self.last_sequence)
            .texts("topics", &self.topics)
    }
}

impl Request {
    /// The message type of the question.
    pub fn kind(&self) -> &str {
        match self {
            Self::Health => "health_check",
            Self::Metrics => "metrics_request",
            Self::ServerConfig => "config_request",
            Self::UpdateConfig(_) => "config_update",
            Self::Debug => "debug_request",
            Self::Handlers => "debug_handlers",
            Self::SequenceStats => "sequence_stats_request",
            Self::SystemStatus => "system_status_request",
            Self::ConnectionState => "connection_state_request",
            Self::Sync(_) => "sync_request",
            Self::Encryption => "encryption_request",
            Self::Presence { .. } => "presence_request",
            Self::Batch(_) => "batch_message",
            Self::Named { kind, .. } => kind,
        }
    }

    /// The message type of the answer, by which it is known when it does not name the question. `None`: it must.
    pub fn answer_kind(&self) -> Option<&'static str> {
        ANSWERS.iter().find(|(question, _)| *question == self.kind()).map(|(_, answer)| *answer)
    }
}

/// Why a request was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// There is no connection at the moment.
    #[error("not connected (state {})", state.as_str())]
    NotConnected {
        /// The state.
        state: ConnectionState,
    },
    /// Too many requests are under way.
    #[error("{limit} requests are under way already")]
    TooMany {
        /// The limit.
        limit: usize,
    },
    /// The question is larger than a frame may be.
    #[error("a request of {size} bytes is over the limit of {limit}")]
    TooLarge {
        /// Size of its payload and type in bytes.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// The type of the question, or of a message in it, cannot be sent.
    #[error("a request cannot be made of this: {0}")]
    Unusable(#[from] SendError),
    /// Messages in a batch would go unsigned, and this client signs.
    #[error("a batch cannot be signed")]
    Unsigned,
}

impl RequestError {
    /// The stable code.
    pub const fn code(&self) -> Code {
        match self {
            Self::NotConnected { .. } => Code::NotConnected,
            Self::TooMany { .. } => Code::QueueFull,
            Self::TooLarge { .. } => Code::MessageTooLarge,
            Self::Unusable(error) => error.code(),
            Self::Unsigned => Code::InvalidRequest,
        }
    }
}

/// How a request ended.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum RequestOutcome {
    /// The server answered. Parse the payload as the shape that [`Request`] names.
    Answered(Message),
    /// The server refused.
    Refused(ServerError),
    /// No answer in time: [`Code::Timeout`].
    TimedOut,
    /// The connection ended first: [`Code::ConnectionClosed`]. The server may have acted all the same.
    Disconnected,
}

impl RequestOutcome {
    /// The stable code of a failure, the server's own where it gave one; `None` for an answer.
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Answered(_) => None,
            Self::Refused(error) => Some(&error.code),
            Self::TimedOut => Some(Code::Timeout.as_str()),
            Self::Disconnected => Some(Code::ConnectionClosed.as_str()),
        }
    }
}

struct Pending {
    request: RequestId,
    answer_kind: Option<&'static str>,
    /// The id of the message that asks.
    sent_as: String,
    deadline: Moment,
}

/// Questions under way, oldest first.
#[derive(Default)]
pub(super) struct Requests(VecDeque<Pending>);

impl Requests {
    /// Takes out the question that a message of this type answers. One that names another question, or a question
    /// that is over, answers none.
    fn answered(&mut self, kind: &str, correlation_id: Option<&str>) -> Option<RequestId> {
        let index = match correlation_id {
            Some(id) => self.0.iter().position(|pending| pending.sent_as == id)?,
            None => self.0.iter().position(|pending| pending.answer_kind == Some(kind))?,
        };
        self.0.remove(index).map(|pending| pending.request)
    }

    /// Questions that wait for their answer.
    pub(super) fn held(&self) -> usize {
        self.0.len()
    }

    fn refused(&mut self, correlation_id: Option<&str>) -> Option<RequestId> {
        let index = self.0.iter().position(|pending| Some(pending.sent_as.as_str()) == correlation_id)?;
        self.0.remove(index).map(|pending| pending.request)
    }
}

impl Client {
    pub(super) fn send_typed_request(&mut self, request: &Request, now: Moment) -> Result<RequestId, RequestError> {
        let payload = self.question(request, now)?;
        let (size, limit) = (payload.bytes().len() + request.kind().len(), self.config.limits.max_frame);
        if size + OVERHEAD > limit {
            return Err(RequestError::TooLarge { size, limit });
        }
        // From here on it can be told again without the payload.
        self.recorder.note(now, &self.outputs, || What::request(request.kind(), payload.bytes().len()));
        let asked = self.ask(request, &payload, now);
        self.recorder.refused(asked.as_ref().err().map(RequestError::code), &self.outputs);
        asked
    }

    fn ask(&mut self, request: &Request, payload: &Payload, now: Moment) -> Result<RequestId, RequestError> {
        if !self.is_ready() || !self.may_send_control() {
            return Err(RequestError::NotConnected { state: self.state() });
        }
        if self.requests.0.len() >= MAX_PENDING {
            return Err(RequestError::TooMany { limit: MAX_PENDING });
        }
        let id = self.subscriptions.next_request();
        let sent_as = self.send_payload(request.kind(), payload, None, now);
        let deadline = now + self.config.timeouts.request;
        self.requests.0.push_back(Pending { request: id, answer_kind: request.answer_kind(), sent_as, deadline });
        if self.link.is_none() {
            // Writing found the key used up and dropped the connection.
            self.end_typed_requests();
        }
        self.arm_request_timer();
        Ok(id)
    }

    /// The payload of a question, or why it cannot be asked.
    fn question(&self, request: &Request, now: Moment) -> Result<Payload, RequestError> {
        let plain = match request {
            Request::UpdateConfig(update) => update.written(),
            Request::Sync(sync) => sync.written(),
            Request::Encryption => Object::new().text("action", "status"),
            Request::Presence { topic, after, limit } => Object::new()
                .text("topic", topic)
                .optional_text("after", after.as_deref())
                .optional_unsigned("limit", *limit),
            Request::Batch(messages) => return self.batch_question(messages, now),
            Request::Named { kind, payload } => {
                channel::check_outgoing(&Outgoing::new(kind.as_str(), Payload::EMPTY), &self.config.limits)?;
                return Ok(payload.clone());
            }
            Request::Health
            | Request::Metrics
            | Request::ServerConfig
            | Request::Debug
            | Request::Handlers
            | Request::SequenceStats
            | Request::SystemStatus
            | Request::ConnectionState => return Ok(Payload::EMPTY),
        };
        Ok(plain.into_payload())
    }

    fn batch_question(&self, messages: &[Outgoing], now: Moment) -> Result<Payload, RequestError> {
        if self.config.security.signing.is_some() {
            return Err(RequestError::Unsigned);
        }
        if messages.len() > self.config.limits.max_batch {
            return Err(RequestError::TooMany { limit: self.config.limits.max_batch });
        }
        for message in messages {
            channel::check_outgoing(message, &self.config.limits)?;
        }
        let timestamp = self.wall.at(now).to_string();
        let items: Vec<(Head<'_>, &Payload)> = messages
            .iter()
            .map(|message| (channel::head_of(message, message.id.as_deref(), &timestamp), &message.payload))
            .collect();
        Ok(batch::join(&items, Encoding::Text))
    }

    /// Hands a message to the application as what it is: an answer, a notice, or just a message.
    pub(super) fn hand_over(&mut self, message: Message, now: Moment) {
        let answered = match message.topic() {
            // Published by somebody, not said to us by the server.
            Some(_) => None,
            None => self.requests.answered(message.kind(), message.correlation_id()),
        };
        if let Some(request) = answered {
            self.end_request(request, RequestOutcome::Answered(message));
            return;
        }
        match message.kind() {
            "health_check" | "health_check_request" | "metrics_request" | "sync_request" => {
                self.answer_server(&message, now);
            }
            batch::PRIORITY_KIND => {
                let inner = batch::unwrap_priority(message.clone(), &self.config.limits);
                // What may not be published may not be published in a wrapper either.
                let told = inner.topic().is_none() || channel::is_publishable(inner.kind());
                self.emit(Event::Message(if told { inner } else { message }));
                return;
            }
            _ => {}
        }
        match NoticeKind::of_message(&message) {
            Some(kind) => self.emit(Event::Notice(Notice { kind, source: message })),
            None => self.emit(Event::Message(message)),
        }
    }

    /// An `error` that names a question is its outcome; gives back one that does not.
    pub(super) fn end_refused_request(&mut self, error: ServerError) -> Option<ServerError> {
        match self.requests.refused(error.source.correlation_id()) {
            Some(request) => {
                self.end_request(request, RequestOutcome::Refused(error));
                None
            }
            None => Some(error),
        }
    }

    pub(super) fn on_request_timeout(&mut self, now: Moment) {
        // All deadlines are the same time away, so the oldest question is due first.
        while self.requests.0.front().is_some_and(|pending| pending.deadline <= now) {
            let Some(pending) = self.requests.0.pop_front() else { break };
            self.end_request(pending.request, RequestOutcome::TimedOut);
        }
        self.arm_request_timer();
    }

    pub(super) fn end_typed_requests(&mut self) {
        while let Some(pending) = self.requests.0.pop_front() {
            self.end_request(pending.request, RequestOutcome::Disconnected);
        }
    }

    fn end_request(&mut self, request: RequestId, outcome: RequestOutcome) {
        self.metrics.requests_failed += u64::from(outcome.code().is_some());
        self.emit(Event::Response { request, outcome });
        self.arm_request_timer();
    }

    fn arm_request_timer(&mut self) {
        match self.requests.0.front() {
            Some(oldest) => self.timers.set(Timer::Request, oldest.deadline),
            None => self.timers.clear(Timer::Request),
        }
    }

    /// Answers a question of the server with what the client knows by itself. The application sees the question, too.
    fn answer_server(&mut self, question: &Message, now: Moment) {
        if !self.is_ready() || !self.may_send_control() || question.topic().is_some() {
            return;
        }
        let (kind, payload) = match question.kind() {
            "metrics_request" => ("metrics_response", written(&self.metrics(now), Casing::Snake)),
            "sync_request" => ("sync_response", Object::new().texts("topics", self.topics())),
            _ => {
                let network = self.network.report();
                let diagnostics = Object::new()
                    .number("jitter_ms", network.jitter.map(millis))
                    .number("latency_ms", network.latency.map(millis))
                    .number("packet_loss", Some(network.loss * 100.0))
                    .text("quality", network.quality.as_str());
                ("health_check_response", Object::new().object("diagnostics", diagnostics).text("status", "healthy"))
            }
        };
        self.send_answer(kind, payload, question.id(), now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        client::{Action, Input, Output},
        config::ClientConfig,
        io::{Frame, SocketId},
        rng::Seed,
        time::WallTime,
        wire,
    };

    const NOW: Moment = Moment::from_millis(5);

    /// A connected client, and the news since then.
    struct Bench {
        client: Client,
        sent: Vec<Message>,
        outcomes: Vec<(RequestId, RequestOutcome)>,
        others: Vec<Event>,
    }

    impl Bench {
        fn new() -> Self {
            let config = ClientConfig::new("ws://a");
            let mut client =
                Client::new(config, Seed::from_u64(1), NOW, WallTime::from_unix_ms(0)).expect("good settings");
            client.connect(NOW);
            client.handle(Input::Opened(SocketId(1)), NOW);
            let mut bench = Self { client, sent: Vec::new(), outcomes: Vec::new(), others: Vec::new() };
            bench.hear(r#"WSE{"t":"server_ready","p":{}}"#);
            bench.sent.clear();
            bench.others.clear();
            bench
        }

        fn hear(&mut self, text: &str) {
            self.client.handle(Input::Frame(SocketId(1), Frame::Text(text.to_owned().into())), NOW);
            self.drain();
        }

        fn ask(&mut self, request: &Request) -> (RequestId, String) {
            let id = self.client.request(request, NOW).expect("connected");
            self.drain();
            (id, self.sent.last().and_then(Message::id).expect("the question was written").to_owned())
        }

        fn drain(&mut self) {
            loop {
                match self.client.poll() {
                    Output::Act(Action::Send { frame, .. }) => {
                        let message = wire::decode(&frame, &self.client.config.limits, None).expect("our own frame");
                        self.sent.push(message);
                    }
                    Output::Emit(Event::Response { request, outcome }) => self.outcomes.push((request, outcome)),
                    Output::Emit(event) => self.others.push(event),
                    Output::Act(_) => {}
                    Output::Wait(_) => return,
                }
            }
        }

        fn ended(&self) -> Vec<RequestId> {
            self.outcomes.iter().map(|(id, _)| *id).collect()
        }
    }

    #[test]
    fn an_answer_without_a_name_is_for_the_oldest_question_of_its_kind() {
        let mut bench = Bench::new();
        let (_health, _) = bench.ask(&Request::Health);
        let (first, _) = bench.ask(&Request::Metrics);
        let (second, _) = bench.ask(&Request::Metrics);
        bench.hear(r#"U{"t":"metrics_response","p":{}}"#);
        assert_eq!(bench.ended(), [first]);
        bench.hear(r#"U{"t":"metrics_response","p":{}}"#);
        assert_eq!(bench.ended(), [first, second]);
        assert!(bench.others.is_empty());
    }

    #[test]
    fn an_answer_that_names_its_question_is_for_that_one_and_for_no_other() {
        let mut bench = Bench::new();
        bench.ask(&Request::Metrics);
        let (second, name) = bench.ask(&Request::Metrics);
        bench.hear(&format!(r#"U{{"t":"metrics_response","cid":"{name}","p":{{}}}}"#));
        assert_eq!(bench.ended(), [second]);
        bench.hear(&format!(r#"U{{"t":"metrics_response","cid":"{name}","p":{{}}}}"#));
        assert_eq!(bench.ended(), [second]);
        assert!(matches!(bench.others[..], [Event::Message(_)]), "{:?}", bench.others);
    }

    #[test]
    fn an_error_that_names_a_question_ends_it_with_the_servers_code() {
        let mut bench = Bench::new();
        let (id, name) = bench.ask(&Request::Debug);
        bench.hear(&format!(r#"WSE{{"t":"error","cid":"{name}","p":{{"code":"NOPE","message":"no"}}}}"#));
        assert_eq!(bench.ended(), [id]);
        assert_eq!(bench.outcomes[0].1.code(), Some("NOPE"));
        bench.hear(r#"WSE{"t":"error","p":{"code":"OTHER","message":"no"}}"#);
        assert!(matches!(&bench.others[..], [Event::ServerError(error)] if error.code == "OTHER"));
    }

    #[test]
    fn questions_are_bounded_and_need_a_connection() {
        let mut bench = Bench::new();
        for _ in 0..MAX_PENDING {
            bench.ask(&Request::Health);
        }
        let refused = bench.client.request(&Request::Health, NOW).expect_err("too many");
        assert_eq!(refused.code(), Code::QueueFull);
        bench.client.close(crate::io::Close::new(1000, ""), NOW);
        bench.drain();
        assert_eq!(bench.outcomes.len(), MAX_PENDING);
        assert!(bench.outcomes.iter().all(|(_, outcome)| outcome.code() == Some("CONNECTION_CLOSED")));
        let refused = bench.client.request(&Request::Health, NOW).expect_err("closed");
        assert_eq!(refused.code(), Code::NotConnected);
    }

    #[test]
    fn an_unasked_answer_is_a_notice_with_its_message() {
        let mut bench = Bench::new();
        bench.hear(r#"U{"t":"config_response","p":{"max_topics":7}}"#);
        let [Event::Notice(notice)] = &bench.others[..] else { panic!("{:?}", bench.others) };
        assert_eq!(notice.kind, NoticeKind::Config);
        let report: super::super::ConfigReport = notice.source.payload().parse().expect("shape");
        assert_eq!(report.max_topics, 7);
    }
}
