//! The members of an envelope, as they stand in a frame, and the way from there to a [`Message`].
//!
//! JSON and msgpack differ in how members are found; what they mean is decided here once.
//! Source: PROTOCOL.md §2.1.

use std::ops::Range;

use bytes::Bytes;

use crate::error::Code;

use super::{Category, DecodeError, Limits, Message, Payload, PayloadEncoding, json, message::Member};

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
    Version,
}

impl Key {
    /// Number of keys.
    const COUNT: usize = Self::Version as usize + 1;

    /// Length in bytes of the longest name.
    pub(super) const LONGEST: usize = 7;

    /// The key with this name.
    pub(super) fn from_name(name: &[u8]) -> Option<Self> {
        Some(match name {
            b"t" => Self::Kind,
            b"p" => Self::Payload,
            b"c" => Self::Category,
            b"id" => Self::Id,
            b"seq" => Self::Sequence,
            b"ts" => Self::Timestamp,
            b"v" => Self::Version,
            b"tp" => Self::Topic,
            b"e" => Self::Epoch,
            b"o" => Self::Offset,
            b"pri" => Self::Priority,
            b"cid" => Self::CorrelationId,
            b"sig" => Self::Signature,
            b"type" => Self::KindAlias,
            b"payload" => Self::PayloadAlias,
            b"topic" => Self::TopicAlias,
            b"epoch" => Self::EpochAlias,
            b"offset" => Self::OffsetAlias,
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
    /// A msgpack integer of zero or more.
    Unsigned(u64),
    /// A msgpack integer below zero.
    Negative(i64),
    /// Anything else.
    Other,
}

/// One member: what it is and where. The payload is always the whole value, quotes included.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Value {
    pub(super) kind: Kind,
    pub(super) start: usize,
    pub(super) end: usize,
}

impl Value {
    const fn is_present(&self) -> bool {
        !matches!(self.kind, Kind::Absent)
    }

    const fn range(&self) -> Range<usize> {
        self.start..self.end
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

    fn either(&self, key: Key, alias: Key) -> Value {
        let value = self.get(key);
        if value.is_present() { value } else { self.get(alias) }
    }

    /// Makes the message. `body` is what the spans refer to; a `prefix` outranks the member `c`.
    ///
    /// # Errors
    /// [`Code::InvalidEnvelope`] when there is no usable type, or a string member is too long.
    pub(super) fn into_message(
        self,
        body: &Bytes,
        encoding: PayloadEncoding,
        prefix: Option<Category>,
        limits: &Limits,
    ) -> Result<Message, DecodeError> {
        let reader = Reader { body, limits };
        let kind = reader.text("t", self.either(Key::Kind, Key::KindAlias))?;
        if kind.as_str().is_none_or(str::is_empty) {
            return Err(DecodeError::new(Code::InvalidEnvelope, "no type: member \"t\" must be a string with content"));
        }
        let payload = self.either(Key::Payload, Key::PayloadAlias);
        Ok(Message {
            category: prefix.or_else(|| reader.category(self.get(Key::Category))),
            kind,
            id: reader.name("id", self.get(Key::Id))?,
            sequence: reader.unsigned(self.get(Key::Sequence)),
            timestamp: reader.text("ts", self.get(Key::Timestamp))?,
            topic: reader.text("tp", self.either(Key::Topic, Key::TopicAlias))?,
            epoch: reader.name("e", self.either(Key::Epoch, Key::EpochAlias))?,
            offset: reader.unsigned(self.either(Key::Offset, Key::OffsetAlias)),
            priority: reader.signed(self.get(Key::Priority)),
            correlation_id: reader.name("cid", self.get(Key::CorrelationId))?,
            signature: reader.text("sig", self.get(Key::Signature))?,
            version: reader.unsigned(self.get(Key::Version)),
            payload: if payload.is_present() {
                Payload { encoding, bytes: body.slice(payload.range()) }
            } else {
                Payload::EMPTY
            },
            wire_len: body.len(),
            encrypted: false,
        })
    }
}

/// Reads members of one body. A member of the wrong type counts as absent.
struct Reader<'a> {
    body: &'a Bytes,
    limits: &'a Limits,
}

impl Reader<'_> {
    /// A member that must be a string.
    fn text(&self, name: &str, value: Value) -> Result<Member, DecodeError> {
        let member = match value.kind {
            Kind::Text => Member::Slice(self.body.slice(value.range())),
            Kind::Escaped => Member::Owned(json::unescape(&self.body[value.range()]).into_boxed_str()),
            _ => return Ok(Member::Absent),
        };
        let length = member.as_str().map_or(0, str::len);
        if length > self.limits.max_member {
            let detail =
                format!("member \"{name}\" has {length} bytes, at most {} are allowed", self.limits.max_member);
            return Err(DecodeError::new(Code::InvalidEnvelope, detail));
        }
        Ok(member)
    }

    /// A member that names something: a string, or a number that stands for its text.
    fn name(&self, name: &str, value: Value) -> Result<Member, DecodeError> {
        match value.kind {
            Kind::Number => self.text(name, Value { kind: Kind::Text, ..value }),
            Kind::Unsigned(number) => Ok(Member::Owned(number.to_string().into_boxed_str())),
            Kind::Negative(number) => Ok(Member::Owned(number.to_string().into_boxed_str())),
            _ => self.text(name, value),
        }
    }

    fn unsigned(&self, value: Value) -> Option<u64> {
        match value.kind {
            Kind::Unsigned(number) => Some(number),
            Kind::Number => self.number(value),
            _ => None,
        }
    }

    fn signed(&self, value: Value) -> Option<i64> {
        match value.kind {
            Kind::Unsigned(number) => Some(i64::try_from(number).unwrap_or(i64::MAX)),
            Kind::Negative(number) => Some(number),
            Kind::Number => self.number(value),
            _ => None,
        }
    }

    fn number<T: std::str::FromStr>(&self, value: Value) -> Option<T> {
        std::str::from_utf8(&self.body[value.range()]).ok()?.parse().ok()
    }

    fn category(&self, value: Value) -> Option<Category> {
        match value.kind {
            Kind::Text => Category::from_wire(std::str::from_utf8(&self.body[value.range()]).ok()?),
            Kind::Escaped => Category::from_wire(&json::unescape(&self.body[value.range()])),
            _ => None,
        }
    }
}
