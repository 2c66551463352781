//! What is noted: one entry per cause (command, input, timer) or decision.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use crate::{
    client::{Action, Event, Input, Outgoing, Output, SubscribeOptions, told},
    io::{Close, Frame, SocketId},
    security::Secret,
    wire::{self, DecodeError, Limits, Message, Payload, PayloadEncoding},
};

use super::redact;

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// When, in milliseconds of the driver's clock.
    pub at: u64,
    /// What.
    #[serde(flatten)]
    pub what: What,
}

impl Entry {
    /// Bytes in memory, roughly.
    pub(super) fn size(&self) -> usize {
        size_of::<Self>() + self.what.heap()
    }
}

/// How a user is to be seen in topics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Presence {
    /// Seen without telling anything, or not seen.
    Seen(bool),
    /// Seen, telling as many bytes of JSON.
    Tells(usize),
}

/// What happened. First commands of the application, then inputs, a timer, and decisions from [`What::FetchToken`] on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
#[non_exhaustive]
pub enum What {
    /// `connect()`.
    Connect,
    /// `reconnect()`.
    Reconnect,
    /// `close()`.
    CloseCommand {
        /// The close code.
        code: u16,
    },
    /// `set_token()`.
    SetToken {
        /// Whether there was a token.
        given: bool,
    },
    /// `send()`.
    Send {
        /// Type, topic and so on, as the application gave them.
        head: Head,
        /// Bytes of the payload.
        len: usize,
        /// Whether the payload is msgpack.
        msgpack: bool,
    },
    /// `subscribe()`.
    Subscribe {
        /// The topics.
        topics: Vec<String>,
        /// Whether the user is to be seen there.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        presence: Option<Presence>,
        /// The queue group.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        group: Option<String>,
    },
    /// `unsubscribe()`.
    Unsubscribe {
        /// The topics.
        topics: Vec<String>,
    },
    /// `rotate_keys()`.
    RotateKeys,
    /// `request()`.
    Request {
        /// The type of the question.
        kind: String,
        /// Bytes of the payload.
        len: usize,
    },
    /// `set_channel_token()`.
    SetChannelToken {
        /// The topic.
        topic: String,
        /// Whether there was a token.
        given: bool,
    },

    /// The host's civil clock was set, or went on while the machine slept.
    Clock {
        /// What it shows, in Unix milliseconds.
        wall: u64,
    },
    /// The socket is open.
    Opened {
        /// The socket.
        socket: u64,
    },
    /// A frame came.
    Frame {
        /// The socket.
        socket: u64,
        /// Text or binary.
        frame: FrameKind,
        /// Bytes of the frame.
        len: usize,
        /// What it was decoded to; `None` when nobody looked at it, because its socket was given up.
        heard: Option<Heard>,
    },
    /// The socket is closed. The reason is free text and not kept.
    Closed {
        /// The socket.
        socket: u64,
        /// The close code.
        code: u16,
    },
    /// The socket could not be opened, or broke. The driver's words are not kept.
    Failed {
        /// The socket.
        socket: u64,
        /// The HTTP status, if there was one.
        status: Option<u16>,
    },
    /// The token provider answered.
    Token {
        /// The name of the question.
        request: u64,
        /// How.
        answer: TokenAnswer,
    },
    /// Reading stopped or went on.
    ReadsPaused {
        /// It stopped.
        paused: bool,
    },
    /// The host says something about the network or about itself.
    Network {
        /// What, as one of `offline`, `online`, `address_changed`, `sleep`, `wake`.
        hint: String,
    },
    /// The driver woke the client.
    Woke,

    /// A timer fired.
    Timer {
        /// Its name.
        name: String,
    },

    /// The token provider is asked.
    FetchToken {
        /// The name of the question.
        request: u64,
        /// For a fresh token.
        renew: bool,
    },
    /// A socket is dialled.
    Open {
        /// The socket.
        socket: u64,
        /// The address without its query.
        url: String,
        /// Whether a token goes along in the headers.
        token: bool,
    },
    /// A frame is written.
    Write {
        /// The socket.
        socket: u64,
        /// Text or binary.
        frame: FrameKind,
        /// Bytes of the frame. Not compared in a replay.
        len: usize,
        /// Whether it is an `E:` frame.
        sealed: bool,
        /// What it says; of a sealed frame only the type, if it is known.
        head: Option<Head>,
    },
    /// A socket is closed.
    HangUp {
        /// The socket.
        socket: u64,
        /// The close code.
        code: u16,
    },
    /// The state changed.
    State {
        /// Before.
        from: String,
        /// From here on.
        to: String,
    },
    /// The application is told something else.
    Event {
        /// The event's name.
        name: String,
        /// What of it is no payload.
        facts: BTreeMap<String, String>,
    },
    /// The command before was refused.
    Refused {
        /// The stable code.
        code: String,
    },
}

/// Text or binary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FrameKind {
    /// A text message.
    Text,
    /// A binary message.
    Binary,
}

/// How a token provider answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenAnswer {
    /// With a token.
    Given,
    /// With none.
    None,
    /// With a failure.
    Failed,
}

/// The head of a message: its envelope without the payload. Members that were not there are left out.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Head {
    /// `t`.
    pub t: String,
    /// Prefix, or `c`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub c: Option<String>,
    /// `id`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub id: Option<String>,
    /// `seq`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub seq: Option<u64>,
    /// `tp`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub tp: Option<String>,
    /// `e`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub e: Option<String>,
    /// `o`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub o: Option<u64>,
    /// `pri`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub pri: Option<u8>,
    /// `cid`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub cid: Option<String>,
    /// `traceparent`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub traceparent: Option<String>,
}

/// What a frame was decoded to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Heard {
    /// A message.
    Message {
        /// Its head.
        head: Box<Head>,
        /// Whether it came in an `E:` frame.
        sealed: bool,
        /// Bytes of the payload.
        len: usize,
        /// The payload of a message of the protocol itself, without its secrets.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        control: Option<serde_json::Value>,
    },
    /// Refused with this code.
    Refused(String),
}

impl What {
    /// Whether it comes from outside, and is not a decision or a timer.
    pub(super) const fn is_cause(&self) -> bool {
        !self.is_decision() && !matches!(self, Self::Timer { .. })
    }

    /// Whether the client decided it.
    pub const fn is_decision(&self) -> bool {
        matches!(
            self,
            Self::FetchToken { .. }
                | Self::Open { .. }
                | Self::Write { .. }
                | Self::HangUp { .. }
                | Self::State { .. }
                | Self::Event { .. }
                | Self::Refused { .. }
        )
    }

    pub(crate) fn send(message: &Outgoing) -> Self {
        let head = Head {
            t: message.kind.clone(),
            id: message.id.clone(),
            tp: message.topic.clone(),
            pri: Some(message.priority.as_number()),
            cid: message.correlation_id.clone(),
            traceparent: message.traceparent.clone(),
            ..Head::default()
        };
        let msgpack = message.payload.encoding() == PayloadEncoding::Msgpack;
        Self::Send { head, len: message.payload.bytes().len(), msgpack }
    }

    pub(crate) fn request(kind: &str, len: usize) -> Self {
        Self::Request { kind: kind.to_owned(), len }
    }

    pub(crate) const fn close(close: &Close) -> Self {
        Self::CloseCommand { code: close.code }
    }

    pub(crate) const fn set_token(token: Option<&Secret>) -> Self {
        Self::SetToken { given: token.is_some() }
    }

    pub(crate) fn set_channel_token(topic: &str, token: Option<&Secret>) -> Self {
        Self::SetChannelToken { topic: topic.to_owned(), given: token.is_some() }
    }

    pub(crate) fn subscribe<T: AsRef<str>>(topics: &[T], options: &SubscribeOptions) -> Self {
        Self::Subscribe {
            topics: topics.iter().map(|name| name.as_ref().to_owned()).collect(),
            presence: options.presence.as_ref().map(Presence::of),
            group: options.group.clone(),
        }
    }

    pub(crate) fn unsubscribe<T: AsRef<str>>(topics: &[T]) -> Self {
        Self::Unsubscribe { topics: topics.iter().map(|name| name.as_ref().to_owned()).collect() }
    }

    pub(super) fn of_input(input: &Input) -> Self {
        match input {
            Input::Opened(SocketId(socket)) => Self::Opened { socket: *socket },
            Input::Frame(SocketId(socket), frame) => {
                Self::Frame { socket: *socket, frame: FrameKind::of(frame), len: frame.len(), heard: None }
            }
            Input::Closed(SocketId(socket), close) => Self::Closed { socket: *socket, code: close.code },
            Input::Failed(SocketId(socket), fault) => Self::Failed { socket: *socket, status: fault.http_status },
            Input::Token(request, answer) => Self::Token {
                request: request.0,
                answer: match answer {
                    Ok(Some(_)) => TokenAnswer::Given,
                    Ok(None) => TokenAnswer::None,
                    Err(_) => TokenAnswer::Failed,
                },
            },
            Input::ReadsPaused(paused) => Self::ReadsPaused { paused: *paused },
            Input::Network(hint) => Self::Network { hint: hint.as_str().to_owned() },
            Input::Wake => Self::Woke,
        }
    }

    /// `said` is the type of the message that is written, if it is known.
    pub(super) fn of_output(output: &Output, said: Option<&str>, limits: &Limits) -> Option<Self> {
        match output {
            Output::Act(action) => Some(Self::of_action(action, said, limits)),
            Output::Emit(Event::StateChanged { from, to }) => {
                Some(Self::State { from: from.as_str().to_owned(), to: to.as_str().to_owned() })
            }
            Output::Emit(event) => Some(Self::Event { name: variant_name(event), facts: facts(event) }),
            Output::Wait(_) => None,
        }
    }

    fn of_action(action: &Action, said: Option<&str>, limits: &Limits) -> Self {
        match action {
            Action::FetchToken { request, renew } => Self::FetchToken { request: request.0, renew: *renew },
            Action::Open { socket, url, token } => {
                Self::Open { socket: socket.0, url: redact::without_query(url).to_owned(), token: token.is_some() }
            }
            Action::Send { socket, frame } => {
                let sealed = frame.bytes().starts_with(b"E:");
                let head = if sealed {
                    said.map(|kind| Head { t: kind.to_owned(), ..Head::default() })
                } else {
                    wire::decode(frame, limits, None).ok().as_ref().map(Head::of)
                };
                Self::Write { socket: socket.0, frame: FrameKind::of(frame), len: frame.len(), sealed, head }
            }
            Action::Close { socket, close } => Self::HangUp { socket: socket.0, code: close.code },
        }
    }

    /// Bytes outside of the entry itself, roughly.
    fn heap(&self) -> usize {
        match self {
            Self::Send { head, .. } | Self::Write { head: Some(head), .. } => head.heap(),
            Self::Subscribe { topics, group, .. } => group.as_ref().map_or(0, String::len) + names(topics),
            Self::Unsubscribe { topics } => names(topics),
            Self::Frame { heard: Some(Heard::Message { head, control, .. }), .. } => {
                head.heap() + control.as_ref().map_or(0, redact::heap)
            }
            Self::Open { url, .. } => url.len(),
            Self::SetChannelToken { topic, .. } => topic.len(),
            Self::Request { kind, .. } => kind.len(),
            Self::Event { facts, .. } => facts.iter().map(|(name, value)| name.len() + value.len() + 64).sum(),
            _ => 16,
        }
    }
}

impl Presence {
    fn of(presence: &Payload) -> Self {
        match told(presence).as_deref() {
            None => Self::Seen(false),
            Some("null") => Self::Seen(true),
            Some(told) => Self::Tells(told.len()),
        }
    }
}

/// Bytes of a list of names.
fn names(names: &[String]) -> usize {
    names.iter().map(|name| name.len() + size_of::<String>()).sum()
}

impl FrameKind {
    const fn of(frame: &Frame) -> Self {
        match frame {
            Frame::Text(_) => Self::Text,
            Frame::Binary(_) => Self::Binary,
        }
    }
}

impl Head {
    fn of(message: &Message) -> Self {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        Self {
            t: message.kind().to_owned(),
            c: message.category().map(|category| category.as_str().to_owned()),
            id: owned(message.id()),
            seq: message.sequence(),
            tp: owned(message.topic()),
            e: owned(message.epoch()),
            o: message.offset(),
            pri: message.priority().map(wire::Priority::as_number),
            cid: owned(message.correlation_id()),
            traceparent: owned(message.traceparent()),
        }
    }

    fn heap(&self) -> usize {
        let texts = [&self.c, &self.id, &self.tp, &self.e, &self.cid, &self.traceparent];
        self.t.len() + texts.into_iter().flatten().map(String::len).sum::<usize>()
    }
}

impl Heard {
    pub(super) fn of(result: &Result<Message, DecodeError>) -> Self {
        match result {
            Ok(message) => Self::Message {
                head: Box::new(Head::of(message)),
                sealed: message.is_encrypted(),
                len: message.payload().bytes().len(),
                control: redact::control(message),
            },
            Err(error) => Self::Refused(error.code.as_str().to_owned()),
        }
    }
}

/// What of an event may be kept.
fn facts(event: &Event) -> BTreeMap<String, String> {
    let mut facts = BTreeMap::new();
    let mut fact = |name: &str, value: String| facts.insert(name.to_owned(), value);
    match event {
        Event::Connected(server) => {
            fact("encrypted", server.encrypted.to_string());
        }
        Event::Disconnected(end) => {
            fact("code", end.code.as_str().to_owned());
            if let Some(close) = &end.close {
                fact("close", close.code.to_string());
            }
            if let Some(pause) = end.retry_in {
                fact("retry_in_ms", pause.as_millis().to_string());
            }
        }
        Event::Message(message) => {
            fact("type", message.kind().to_owned());
            if let Some(topic) = message.topic() {
                fact("topic", topic.to_owned());
            }
            if let Some(offset) = message.offset() {
                fact("offset", offset.to_string());
            }
        }
        Event::Subscribed(outcome) => {
            fact("request", outcome.request.0.to_string());
            fact("action", outcome.action.as_str().to_owned());
            fact("accepted", outcome.accepted.len().to_string());
            fact("refused", outcome.refused.len().to_string());
            fact("confirmed", outcome.confirmed.to_string());
        }
        Event::ServerError(error) => {
            fact("code", redact::code(&error.code).to_owned());
        }
        Event::Rejected(error) => {
            fact("code", error.code.as_str().to_owned());
        }
        Event::Recovery { topic, outcome, count } => {
            fact("topic", topic.clone());
            fact("outcome", outcome.as_str().to_owned());
            fact("count", count.to_string());
        }
        Event::Lost { topic, count, range } => {
            fact("topic", topic.clone().unwrap_or_default());
            if let Some(count) = count {
                fact("count", count.to_string());
            }
            if let Some(range) = range {
                fact("from", range.from.to_string());
            }
        }
        Event::Dropped { id, priority, reason } => {
            fact("id", id.clone());
            fact("priority", priority.as_number().to_string());
            fact("reason", reason.as_str().to_owned());
        }
        Event::QualityChanged { from, to } => {
            fact("from", from.as_str().to_owned());
            fact("to", to.as_str().to_owned());
        }
        Event::Adapted(adaptation) => {
            fact("heartbeat", adaptation.heartbeat.to_string());
        }
        Event::Latency(latency) => {
            fact("ms", latency.as_millis().to_string());
        }
        // Told by name only, until somebody decides which of its members are no payload.
        _ => {}
    }
    facts
}

/// The name of an enum's variant, from its `Debug` form; what it holds is never written.
pub(super) fn variant_name(value: &impl fmt::Debug) -> String {
    struct Name(String);
    impl fmt::Write for Name {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            let end = text.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(text.len());
            self.0.push_str(&text[..end]);
            if end < text.len() { Err(fmt::Error) } else { Ok(()) }
        }
    }
    let mut name = Name(String::new());
    // The error is how the rest is cut off.
    let _ = fmt::write(&mut name, format_args!("{value:?}"));
    name.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::NetworkHint;

    #[test]
    fn every_hint_has_a_name() {
        for name in ["offline", "online", "address_changed", "sleep", "wake"] {
            assert_eq!(NetworkHint::named(name).map(NetworkHint::as_str), Ok(name));
        }
        let refused = NetworkHint::named("earthquake").expect_err("no hint").to_string();
        assert_eq!(refused, "hint must be one of offline, online, address_changed, sleep, wake, not \"earthquake\"");
    }

    #[test]
    fn a_variant_is_named_without_what_it_holds() {
        let input = Input::Frame(SocketId(1), Frame::Text(bytes::Bytes::from_static(b"secret")));
        assert_eq!(variant_name(&input), "Frame");
        assert_eq!(variant_name(&Input::Wake), "Wake");
        assert_eq!(variant_name(&Event::Lost { topic: Some("x".into()), count: None, range: None }), "Lost");
    }
}
