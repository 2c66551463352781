//! A decoded message: the members of its envelope, and a payload that stays as it came.

use std::{borrow::Cow, fmt, ops::Range};

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};

use super::{Head, msgpack, trace::is_traceparent};

/// Which family a message belongs to. Source: PROTOCOL.md §2.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Category {
    /// `WSE`: the protocol's own messages.
    System,
    /// `S`: a snapshot, the whole state of something.
    Snapshot,
    /// `U`: an update, everything else.
    Update,
}

impl Category {
    /// The text on the wire: `WSE`, `S` or `U`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::System => "WSE",
            Self::Snapshot => "S",
            Self::Update => "U",
        }
    }

    /// The category written on the wire, if it is one.
    pub fn from_wire(text: &str) -> Option<Self> {
        [Self::System, Self::Snapshot, Self::Update].into_iter().find(|category| category.as_str() == text)
    }

    /// The category a message of this type is written with, when the sender names none.
    pub fn of_kind(kind: &str) -> Self {
        const SYSTEM: &[&str] = &[
            "server_ready",
            "server_hello",
            "client_hello",
            "client_hello_ack",
            "connection_state_change",
            "subscription_update",
            "error",
            "ping",
            "PING",
            "pong",
            "PONG",
            "lost",
            "draining",
            "rate_limit_warning",
        ];
        if kind.as_bytes().windows(9).any(|part| part == b"_snapshot") || kind.starts_with("snapshot_") {
            Self::Snapshot
        } else if SYSTEM.contains(&kind) {
            Self::System
        } else {
            Self::Update
        }
    }
}

/// How urgent a message is; the number is its `pri` on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Priority {
    /// 1: telemetry, statistics.
    Background,
    /// 3: updates that can wait.
    Low,
    /// 5: most messages.
    #[default]
    Normal,
    /// 8: health, configuration.
    High,
    /// 10: heartbeat, `server_ready`, errors.
    Critical,
}

impl Priority {
    /// The number on the wire.
    pub const fn as_number(self) -> u8 {
        match self {
            Self::Background => 1,
            Self::Low => 3,
            Self::Normal => 5,
            Self::High => 8,
            Self::Critical => 10,
        }
    }

    /// The nearest level; halfway goes to the higher one.
    pub const fn from_number(number: i64) -> Self {
        match number {
            i64::MIN..=1 => Self::Background,
            2..=3 => Self::Low,
            4..=6 => Self::Normal,
            7..=8 => Self::High,
            _ => Self::Critical,
        }
    }
}

/// What stands for a missing payload.
const EMPTY: &[u8] = b"{}";

/// How a payload is written in its frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PayloadEncoding {
    /// A JSON value.
    Json,
    /// A msgpack value.
    Msgpack,
}

/// A payload as it came, or as it is to go: a piece of its frame that nobody has parsed yet.
///
/// Always well formed: bytes from a peer are validated when the frame is decoded.
#[derive(Clone)]
pub struct Payload {
    encoding: PayloadEncoding,
    place: Place,
    /// What the payload is a piece of. A message has it only here.
    body: Bytes,
}

/// Where a payload is in its body.
#[derive(Debug, Clone, Copy)]
enum Place {
    /// It is all of it.
    Whole,
    /// From here to there.
    Part(u32, u32),
    /// There is none.
    Nowhere,
}

impl Payload {
    /// The empty object `{}`, which stands for a missing payload.
    pub const EMPTY: Self = Self::whole(PayloadEncoding::Json, Bytes::from_static(EMPTY));

    /// A payload that is all of `body`, which is well formed.
    pub(super) const fn whole(encoding: PayloadEncoding, body: Bytes) -> Self {
        Self { encoding, place: Place::Whole, body }
    }

    /// A part of `body`, which is well formed; without a `span`, [`Payload::EMPTY`].
    pub(super) const fn part(encoding: PayloadEncoding, body: Bytes, span: Option<(u32, u32)>) -> Self {
        match span {
            Some((start, end)) => Self { encoding, place: Place::Part(start, end), body },
            None => Self { encoding: PayloadEncoding::Json, place: Place::Nowhere, body },
        }
    }

    const fn range(&self) -> Option<Range<usize>> {
        match self.place {
            Place::Whole => Some(0..self.body.len()),
            Place::Part(start, end) => Some(start as usize..end as usize),
            Place::Nowhere => None,
        }
    }

    /// A payload from any serialisable value.
    ///
    /// # Errors
    /// When the value cannot be written as JSON, for example a map with keys that are no strings.
    pub fn new<T: Serialize + ?Sized>(value: &T) -> Result<Self, PayloadError> {
        let bytes = serde_json::to_vec(value).map_err(PayloadError::Json)?;
        Ok(Self::whole(PayloadEncoding::Json, bytes.into()))
    }

    /// A payload from JSON text, which is checked and then kept as it is, byte for byte.
    ///
    /// # Errors
    /// When it is not one JSON value, or nests deeper than 64.
    pub fn from_json(text: impl Into<Bytes>) -> Result<Self, PayloadError> {
        let bytes = text.into();
        super::json::check(&bytes, super::Limits::default().max_depth).map_err(PayloadError::Text)?;
        Ok(Self::whole(PayloadEncoding::Json, bytes))
    }

    /// A payload from msgpack bytes, which are checked and then kept as they are.
    ///
    /// # Errors
    /// When they are not exactly one msgpack value, or nest deeper than 64.
    pub fn from_msgpack(bytes: impl Into<Bytes>) -> Result<Self, PayloadError> {
        let bytes = bytes.into();
        msgpack::check(&bytes, super::Limits::default().max_depth).map_err(PayloadError::Text)?;
        Ok(Self::whole(PayloadEncoding::Msgpack, bytes))
    }

    /// A copy that no longer holds on to the frame it came in, for payloads that are kept for long.
    #[must_use]
    pub fn detached(&self) -> Self {
        Self::whole(self.encoding, Bytes::copy_from_slice(self.bytes()))
    }

    /// Whether arrays and maps nest no deeper than this.
    pub(crate) fn nests_at_most(&self, depth: usize) -> bool {
        match self.encoding {
            PayloadEncoding::Json => super::json::check(self.bytes(), depth).is_ok(),
            PayloadEncoding::Msgpack => msgpack::check(self.bytes(), depth).is_ok(),
        }
    }

    /// How [`Payload::bytes`] are written.
    pub const fn encoding(&self) -> PayloadEncoding {
        self.encoding
    }

    /// The bytes as they came.
    pub fn bytes(&self) -> &[u8] {
        self.range().map_or(EMPTY, |range| self.body.get(range).unwrap_or_default())
    }

    /// The bytes as they came, shared: nothing is copied, and they keep the frame they came in.
    pub fn to_bytes(&self) -> Bytes {
        match self.range() {
            Some(range) => self.body.slice(range),
            None => Bytes::from_static(EMPTY),
        }
    }

    /// The payload as JSON text; msgpack is rewritten. Binary strings become lower-case hex, as the
    /// published servers write them.
    pub fn to_json(&self) -> Cow<'_, str> {
        match self.encoding {
            PayloadEncoding::Json => String::from_utf8_lossy(self.bytes()),
            PayloadEncoding::Msgpack => Cow::Owned(msgpack::to_json(self.bytes())),
        }
    }

    /// The payload as msgpack; JSON is rewritten.
    pub fn to_msgpack(&self) -> Cow<'_, [u8]> {
        match self.encoding {
            PayloadEncoding::Json => Cow::Owned(msgpack::from_json(self.bytes())),
            PayloadEncoding::Msgpack => Cow::Borrowed(self.bytes()),
        }
    }

    /// Parses the payload of a message of the protocol itself. Those hold no binary strings, so msgpack is read
    /// by way of JSON: one parser for each shape instead of two, which is a good part of the browser's module.
    pub(crate) fn parse_control<T: DeserializeOwned>(&self) -> Result<T, PayloadError> {
        serde_json::from_str(&self.to_json()).map_err(PayloadError::Json)
    }

    /// Parses the payload into `T`.
    ///
    /// # Errors
    /// When the payload does not have the shape of `T`.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, PayloadError> {
        match self.encoding {
            PayloadEncoding::Json => serde_json::from_slice(self.bytes()).map_err(PayloadError::Json),
            PayloadEncoding::Msgpack => rmp_serde::from_slice(self.bytes()).map_err(PayloadError::Msgpack),
        }
    }
}

impl PartialEq for Payload {
    fn eq(&self, other: &Self) -> bool {
        (self.encoding, self.bytes()) == (other.encoding, other.bytes())
    }
}

impl Eq for Payload {}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Payload").field("encoding", &self.encoding).field("bytes", &self.to_bytes()).finish()
    }
}

/// A payload that could not be made or parsed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PayloadError {
    /// Not writable as JSON, or not of the wanted shape.
    #[error("json payload")]
    Json(#[source] serde_json::Error),
    /// Not of the wanted shape.
    #[error("msgpack payload")]
    Msgpack(#[source] rmp_serde::decode::Error),
    /// Not well formed.
    #[error("payload is not well formed")]
    Text(#[source] super::DecodeError),
}

/// Where a string member of an envelope stands in the body. Messages are moved often, and have eight of these.
#[derive(Debug, Clone, Copy)]
pub(super) struct Member {
    start: u32,
    end: u32,
}

impl Member {
    /// There is none. A body has less than 4 GiB.
    pub(super) const ABSENT: Self = Self { start: u32::MAX, end: u32::MAX };

    pub(super) const fn new(start: u32, end: u32) -> Self {
        Self { start, end }
    }

    pub(super) const fn is_empty(self) -> bool {
        self.start == self.end
    }

    fn in_body(self, body: &[u8]) -> Option<&str> {
        std::str::from_utf8(body.get(self.start as usize..self.end as usize)?).ok()
    }
}

/// One decoded message. Cloning copies no payload.
///
/// A server that is flooded moves these all the time, so it is kept small.
#[derive(Debug, Clone)]
pub struct Message {
    /// Its body is what the members are in, too: the text of the frame, and behind it what had to be written anew.
    pub(super) payload: Payload,
    pub(super) category: Option<Category>,
    pub(super) kind: Member,
    pub(super) id: Member,
    pub(super) sequence: Option<u64>,
    pub(super) timestamp: Member,
    pub(super) topic: Member,
    pub(super) epoch: Member,
    pub(super) offset: Option<u64>,
    pub(super) priority: Option<Priority>,
    pub(super) correlation_id: Member,
    pub(super) signature: Member,
    pub(super) traceparent: Member,
    /// The largest stands for all that are larger.
    pub(super) version: Option<u32>,
    /// Bytes of the frame it came in; 4 GiB stands for more.
    pub(super) wire_len: u32,
    /// Whether it came in an `E:` frame.
    pub(super) encrypted: bool,
}

/// A length, as messages remember it.
pub(super) fn saturated(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

impl Message {
    /// The type, `t`. Never empty.
    pub fn kind(&self) -> &str {
        self.kind.in_body(&self.payload.body).unwrap_or_default()
    }

    /// The category, by prefix or member `c`. `None` when the sender wrote neither.
    pub const fn category(&self) -> Option<Category> {
        self.category
    }

    /// The message id.
    pub fn id(&self) -> Option<&str> {
        self.id.in_body(&self.payload.body)
    }

    /// `seq`: the sender's counter on this connection, from 0. Not an order of topics.
    pub const fn sequence(&self) -> Option<u64> {
        self.sequence
    }

    /// `ts`: when the sender wrote it, RFC 3339.
    pub fn timestamp(&self) -> Option<&str> {
        self.timestamp.in_body(&self.payload.body)
    }

    /// `tp`: the topic it was published to.
    pub fn topic(&self) -> Option<&str> {
        self.topic.in_body(&self.payload.body)
    }

    /// `e`: the life of the topic's history that `offset` counts in.
    pub fn epoch(&self) -> Option<&str> {
        self.epoch.in_body(&self.payload.body)
    }

    /// `o`: position in the topic, from 0.
    pub const fn offset(&self) -> Option<u64> {
        self.offset
    }

    /// `pri`: the sender's priority.
    pub const fn priority(&self) -> Option<Priority> {
        self.priority
    }

    /// `cid`: the id of the message this one answers.
    pub fn correlation_id(&self) -> Option<&str> {
        self.correlation_id.in_body(&self.payload.body)
    }

    /// `sig`: the signature as text.
    pub fn signature(&self) -> Option<&str> {
        self.signature.in_body(&self.payload.body)
    }

    /// `traceparent`: the trace that the message belongs to, in the form of W3C Trace Context. What has another form
    /// is not there.
    pub fn traceparent(&self) -> Option<&str> {
        self.traceparent.in_body(&self.payload.body).filter(|text| is_traceparent(text))
    }

    /// `v`: protocol version the sender wrote.
    pub fn version(&self) -> Option<u64> {
        self.version.map(u64::from)
    }

    /// What its envelope says, for writing it again. `v` is not part of it: what is written bears our own.
    pub fn head(&self) -> Head<'_> {
        Head {
            kind: self.kind(),
            category: self.category(),
            id: self.id(),
            sequence: self.sequence(),
            timestamp: self.timestamp(),
            priority: self.priority(),
            correlation_id: self.correlation_id(),
            topic: self.topic(),
            epoch: self.epoch(),
            offset: self.offset(),
            signature: self.signature(),
            traceparent: self.traceparent(),
        }
    }

    /// `p`: the payload, not parsed yet. [`Payload::EMPTY`] when there was none.
    pub const fn payload(&self) -> &Payload {
        &self.payload
    }

    /// Size in bytes of the frame it came in, before inflating or opening.
    pub const fn wire_len(&self) -> usize {
        self.wire_len as usize
    }

    /// The same message as if it had come in another frame; for replays, which have no frame any more.
    #[must_use]
    pub(crate) fn retold(self, wire_len: usize, encrypted: bool) -> Self {
        Self { wire_len: saturated(wire_len), encrypted, ..self }
    }

    /// A message that lay inside `outer`: it came the same way, to the same topic if that has one, whatever it says of
    /// itself, and with the same priority if it has none.
    pub(crate) fn arrived_with(mut self, outer: &Self) -> Self {
        if let Some(topic) = outer.topic() {
            // Members are places in a body, and the two have different ones.
            self.topic = self.write(topic);
            self.epoch = outer.epoch().map_or(Member::ABSENT, |epoch| self.write(epoch));
            self.offset = outer.offset();
        }
        self.encrypted = outer.encrypted;
        self.wire_len = outer.wire_len;
        if self.priority.is_none() {
            self.priority = outer.priority;
        }
        self
    }

    /// Puts a member behind the body.
    fn write(&mut self, text: &str) -> Member {
        let body = &self.payload.body;
        let (start, end) = (body.len(), body.len() + text.len());
        let (Ok(start), Ok(end)) = (u32::try_from(start), u32::try_from(end)) else { return Member::ABSENT };
        self.payload.body = [&body[..], text.as_bytes()].concat().into();
        Member::new(start, end)
    }

    /// Whether it came in an `E:` frame.
    pub const fn is_encrypted(&self) -> bool {
        self.encrypted
    }
}
