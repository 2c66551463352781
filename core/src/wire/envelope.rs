//! The members of an envelope, as they stand in a frame, and the way from there to a [`Message`].
//!
//! JSON and msgpack differ in how members are found; what they mean is decided here once.
//! Source: PROTOCOL.md §2.1.

use std::ops::Range;

use bytes::Bytes;

use crate::error::Code;

use super::{
    Category, DecodeError, Limits, Message, Payload, PayloadEncoding, Priority,
    decode::Incoming,
    json,
    message::{Member, saturated},
    msgpack,
};

/// A member of the envelope that means something. Long names are aliases: they count only where the
/// short one is absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    Category,
    Kind,
    KindAlias,
    Payload,
    PayloadAlias,
    Id,
    Sequence,
    Timestamp,
    Topic,
    TopicAlias,
    Epoch,
    EpochAlias,
    Offset,
    OffsetAlias,
    Priority,
    CorrelationId,
    Signature,
    Trace,
    Version,
}

impl Key {
    /// Number of keys.
    const COUNT: usize = Self::Version as usize + 1;

    /// Length in bytes of the longest name.
    pub(super) const LONGEST: usize = 11;

    /// The key with this name.
    pub(super) fn from_name(name: &[u8]) -> Option<Self> {
        // Patterns of single bytes compile to a decision tree; literals would be compared one after the other.
        Some(match name {
            [b't'] => Self::Kind,
            [b'p'] => Self::Payload,
            [b'c'] => Self::Category,
            [b'v'] => Self::Version,
            [b'e'] => Self::Epoch,
            [b'o'] => Self::Offset,
            [b'i', b'd'] => Self::Id,
            [b't', b's'] => Self::Timestamp,
            [b't', b'p'] => Self::Topic,
            [b's', b'e', b'q'] => Self::Sequence,
            [b'p', b'r', b'i'] => Self::Priority,
            [b'c', b'i', b'd'] => Self::CorrelationId,
            [b's', b'i', b'g'] => Self::Signature,
            [b't', b'y', b'p', b'e'] => Self::KindAlias,
            [b't', b'o', b'p', b'i', b'c'] => Self::TopicAlias,
            [b'e', b'p', b'o', b'c', b'h'] => Self::EpochAlias,
            [b'o', b'f', b'f', b's', b'e', b't'] => Self::OffsetAlias,
            [b'p', b'a', b'y', b'l', b'o', b'a', b'd'] => Self::PayloadAlias,
            [b't', b'r', b'a', b'c', b'e', b'p', b'a', b'r', b'e', b'n', b't'] => Self::Trace,
            _ => return None,
        })
    }
}

/// What kind of value a member has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Kind {
    /// There is no such member.
    #[default]
    Absent,
    /// A string; the span is its content.
    Text,
    /// A JSON string with escapes; the span is its content, still escaped.
    Escaped,
    /// A JSON number; the span is its text.
    Number,
    /// A msgpack integer; the span is the whole of it.
    Integer,
    /// Anything else.
    Other,
}

/// One member: what it is and where. The payload is always the whole value, quotes included.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Value {
    kind: Kind,
    start: u32,
    end: u32,
}

impl Value {
    /// A member of a body that passed [`check_size`].
    pub(super) const fn new(kind: Kind, start: usize, end: usize) -> Self {
        Self { kind, start: start as u32, end: end as u32 }
    }

    const fn is_present(&self) -> bool {
        !matches!(self.kind, Kind::Absent)
    }

    const fn range(&self) -> Range<usize> {
        self.start as usize..self.end as usize
    }

    const fn len(&self) -> usize {
        (self.end - self.start) as usize
    }
}

/// Checks that spans of `body` fit into [`Value`], whatever the limits are set to.
pub(super) fn check_size(body: &[u8]) -> Result<(), DecodeError> {
    match u32::try_from(body.len()) {
        Ok(_) => Ok(()),
        Err(_) => Err(DecodeError::new(Code::MessageTooLarge, "4 GiB or more")),
    }
}

/// The members found in one map. A second member of the same name replaces the first.
#[derive(Debug, Default)]
pub(super) struct Envelope([Value; Key::COUNT]);

impl Envelope {
    /// Notes a member.
    pub(super) fn set(&mut self, key: Key, value: Value) {
        self.0[key as usize] = value;
    }

    const fn get(&self, key: Key) -> Value {
        self.0[key as usize]
    }

    /// How many members there are.
    pub(super) fn count(&self) -> usize {
        self.0.iter().filter(|value| value.is_present()).count()
    }

    fn either(&self, key: Key, alias: Key) -> Value {
        let value = self.get(key);
        if value.is_present() { value } else { self.get(alias) }
    }

    /// Makes the message. `body` is what the spans refer to; a `prefix` outranks the member `c`.
    ///
    /// # Errors
    /// [`Code::InvalidEnvelope`] when there is no usable type, or a string member is too long.
    pub(super) fn to_message(
        &self,
        body: Bytes,
        encoding: PayloadEncoding,
        prefix: Option<Category>,
        incoming: &Incoming<'_>,
    ) -> Result<Message, DecodeError> {
        let mut reader = Reader { body, limits: incoming.limits, written: Vec::new() };
        let kind = reader.text("t", self.either(Key::Kind, Key::KindAlias))?;
        if kind.is_empty() {
            return Err(DecodeError::new(Code::InvalidEnvelope, "no type: member \"t\" must be a string with content"));
        }
        let payload = self.either(Key::Payload, Key::PayloadAlias);
        let message = Message {
            category: prefix.or_else(|| reader.category(self.get(Key::Category))),
            kind,
            id: reader.name("id", self.get(Key::Id))?,
            sequence: reader.unsigned(self.get(Key::Sequence)),
            timestamp: reader.text("ts", self.get(Key::Timestamp))?,
            topic: reader.text("tp", self.either(Key::Topic, Key::TopicAlias))?,
            epoch: reader.name("e", self.either(Key::Epoch, Key::EpochAlias))?,
            offset: reader.unsigned(self.either(Key::Offset, Key::OffsetAlias)),
            priority: reader.signed(self.get(Key::Priority)).map(Priority::from_number),
            correlation_id: reader.name("cid", self.get(Key::CorrelationId))?,
            signature: reader.text("sig", self.get(Key::Signature))?,
            traceparent: reader.text("traceparent", self.get(Key::Trace))?,
            version: reader.unsigned(self.get(Key::Version)).map(|version| u32::try_from(version).unwrap_or(u32::MAX)),
            wire_len: saturated(incoming.wire_len),
            encrypted: incoming.encrypted,
            payload: {
                let span = payload.is_present().then_some((payload.start, payload.end));
                let Reader { body, written, .. } = reader;
                let body = if written.is_empty() { body } else { [&body[..], &written].concat().into() };
                Payload::part(encoding, body, span)
            },
        };
        Ok(message)
    }
}

/// A number that is written in digits alone.
fn digits(text: &[u8]) -> Option<u64> {
    text.iter().try_fold(0_u64, |number, byte| match byte {
        b'0'..=b'9' => number.checked_mul(10)?.checked_add(u64::from(byte - b'0')),
        _ => None,
    })
}

/// Reads members of one body. A member of the wrong type counts as absent.
struct Reader<'a> {
    body: Bytes,
    limits: &'a Limits,
    /// Members that do not stand in the body as they are read, one behind the other: what had escapes, and numbers of msgpack.
    written: Vec<u8>,
}

impl Reader<'_> {
    /// A member that must be a string.
    fn text(&mut self, name: &str, value: Value) -> Result<Member, DecodeError> {
        match value.kind {
            Kind::Text => {
                self.check_length(name, value.len())?;
                Ok(Member::new(value.start, value.end))
            }
            Kind::Escaped => {
                let text = json::unescape(&self.body[value.range()]);
                self.check_length(name, text.len())?;
                self.write(&text)
            }
            _ => Ok(Member::ABSENT),
        }
    }

    fn check_length(&self, name: &str, length: usize) -> Result<(), DecodeError> {
        if length <= self.limits.max_member {
            return Ok(());
        }
        let detail = format!("member \"{name}\" has {length} bytes, at most {} are allowed", self.limits.max_member);
        Err(DecodeError::new(Code::InvalidEnvelope, detail))
    }

    /// Puts a member behind the body.
    fn write(&mut self, text: &str) -> Result<Member, DecodeError> {
        let start = self.body.len() + self.written.len();
        let (Ok(start), Ok(end)) = (u32::try_from(start), u32::try_from(start + text.len())) else {
            return Err(DecodeError::new(Code::MessageTooLarge, "4 GiB or more"));
        };
        self.written.extend_from_slice(text.as_bytes());
        Ok(Member::new(start, end))
    }

    /// A member that names something: a string, or a number that stands for its text.
    fn name(&mut self, name: &str, value: Value) -> Result<Member, DecodeError> {
        match value.kind {
            Kind::Number => self.text(name, Value { kind: Kind::Text, ..value }),
            Kind::Integer => {
                let text = msgpack::to_json(&self.body[value.range()]);
                self.write(&text)
            }
            _ => self.text(name, value),
        }
    }

    fn unsigned(&self, value: Value) -> Option<u64> {
        match value.kind {
            Kind::Number => digits(&self.body[value.range()]),
            Kind::Integer => u64::try_from(msgpack::integer(&self.body[value.range()])?).ok(),
            _ => None,
        }
    }

    fn signed(&self, value: Value) -> Option<i64> {
        match value.kind {
            Kind::Number => {
                let text = &self.body[value.range()];
                match text.strip_prefix(b"-") {
                    Some(text) => digits(text).and_then(|number| 0_i64.checked_sub_unsigned(number)),
                    None => digits(text).and_then(|number| i64::try_from(number).ok()),
                }
            }
            Kind::Integer => i64::try_from(msgpack::integer(&self.body[value.range()])?).ok(),
            _ => None,
        }
    }

    fn category(&self, value: Value) -> Option<Category> {
        match value.kind {
            Kind::Text => Category::from_wire(std::str::from_utf8(&self.body[value.range()]).ok()?),
            Kind::Escaped => Category::from_wire(&json::unescape(&self.body[value.range()])),
            _ => None,
        }
    }
}
