//! What both ends share about one open connection: how messages are written, and the agreed key.

use bytes::Bytes;

use crate::{
    client::{Outgoing, SendError},
    error::Code,
    io::Frame,
    security::{Opener, Sealer},
    topic,
    wire::{self, Category, Compression, DecodeError, Encoding, Head, Limits, Message, Payload, Priority},
};

/// Types that belong to the protocol itself: an application cannot send them.
const RESERVED: &[&str] = &[
    "client_hello",
    "server_hello",
    "server_ready",
    "draining",
    "subscription",
    "subscription_update",
    "ping",
    "PING",
    "pong",
    "PONG",
];

/// How messages are written on one connection, and the keys once they are agreed.
pub(crate) struct Channel {
    /// How application messages are written. Control is always JSON text.
    pub(crate) encoding: Encoding,
    /// Compression of application messages, if the other end reads it.
    pub(crate) compression: Option<Compression>,
    keys: Option<(Sealer, Opener)>,
    next_sequence: u64,
}

impl Channel {
    pub(crate) const fn new(encoding: Encoding, compression: Option<Compression>) -> Self {
        Self { encoding, compression, keys: None, next_sequence: 0 }
    }

    /// From here on every frame is sealed.
    pub(crate) fn agree(&mut self, keys: (Sealer, Opener)) {
        self.keys = Some(keys);
    }

    pub(crate) const fn is_encrypted(&self) -> bool {
        self.keys.is_some()
    }

    pub(crate) fn decode(&mut self, frame: &Frame, limits: &Limits) -> Result<Message, DecodeError> {
        wire::decode(frame, limits, self.keys.as_mut().map(|(_, opener)| opener))
    }

    /// A message of the protocol itself: text, sealed if a key was agreed.
    pub(crate) fn control(&mut self, head: &Head<'_>, payload: &Payload) -> Result<Frame, Code> {
        let head = Head { category: Some(Category::System), ..head.clone() };
        self.seal_if_agreed(wire::encode(&head, payload, Encoding::Text, None))
    }

    /// A message of the application, with the next sequence number.
    pub(crate) fn application(&mut self, message: &Outgoing, id: &str, timestamp: &str) -> Result<Frame, Code> {
        let head = Head {
            kind: &message.kind,
            id: Some(id),
            sequence: Some(self.next_sequence),
            timestamp: Some(timestamp),
            priority: (message.priority != Priority::default()).then_some(message.priority),
            correlation_id: message.correlation_id.as_deref(),
            topic: message.topic.as_deref(),
            ..Head::default()
        };
        let frame = wire::encode(&head, &message.payload, self.encoding, self.compression.as_ref());
        self.seal_if_agreed(frame)
    }

    /// Counts the last application message; call it once it was accepted.
    pub(crate) const fn advance(&mut self) {
        self.next_sequence += 1;
    }

    /// Seals a ready frame.
    pub(crate) fn seal(&mut self, plain: &[u8]) -> Result<Bytes, Code> {
        let (sealer, _) = self.keys.as_mut().ok_or(Code::NoKey)?;
        sealer.seal(plain)
    }

    fn seal_if_agreed(&mut self, frame: Frame) -> Result<Frame, Code> {
        if self.keys.is_none() {
            return Ok(frame);
        }
        self.seal(frame.bytes()).map(Frame::Binary)
    }
}

/// Checks what an application wants to send, before anything is written.
pub(crate) fn check_outgoing(message: &Outgoing, limits: &Limits) -> Result<(), SendError> {
    let kind = &message.kind;
    let refuse = |why| Err(SendError::InvalidKind { kind: kind.clone(), why });
    if kind.is_empty() {
        return refuse("it is empty");
    }
    if kind.len() > limits.max_member {
        return refuse("it is too long");
    }
    if RESERVED.contains(&kind.as_str()) {
        return refuse("it belongs to the protocol");
    }
    match &message.topic {
        Some(name) if topic::check(name).is_err() || topic::is_pattern(name) => {
            Err(SendError::InvalidTopic { topic: name.clone() })
        }
        _ => Ok(()),
    }
}
