//! What both ends share about one open connection: how messages are written, and the agreed key.

use std::time::Duration;

use crate::{
    client::{Outgoing, SendError},
    error::Code,
    io::Frame,
    security::Keyring,
    signed::Signatures,
    time::{Moment, WallTime},
    topic,
    wire::{
        self, Category, Compression, DecodeError, Encoding, Head, Limits, Message, Payload, Priority,
        control::{Object, Value},
    },
};
use bytes::Bytes;

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
    "key_rotation_request",
    "key_rotation_response",
    "batch",
];

/// How long the end that answered a rotation waits for the first frame under the new key.
pub(crate) const ROTATION_OVERLAP: Duration = Duration::from_secs(90);

/// Frames under one key after which it is renewed. Source: NIST SP 800-38D §8.3.
pub(crate) const ROTATE_AFTER_FRAMES: u64 = 1 << 32;

/// `key_rotation_request`.
#[derive(Default)]
pub(crate) struct RotationRequest {
    pub(crate) public_key: String,
}

/// `key_rotation_response`.
#[derive(Default)]
pub(crate) struct RotationResponse {
    pub(crate) success: bool,
    pub(crate) new_public_key: Option<String>,
    pub(crate) timestamp: String,
}

impl RotationRequest {
    pub(crate) fn read(payload: Value<'_>) -> Option<Self> {
        Some(Self { public_key: payload.optional("public_key", Value::text)?.unwrap_or_default() })
    }

    pub(crate) fn written(&self) -> Object {
        Object::new().text("public_key", &self.public_key)
    }
}

impl RotationResponse {
    pub(crate) fn read(payload: Value<'_>) -> Option<Self> {
        Some(Self {
            success: payload.optional("success", Value::truth)?.unwrap_or_default(),
            new_public_key: payload.optional("new_public_key", Value::text)?,
            timestamp: payload.optional("timestamp", Value::text)?.unwrap_or_default(),
        })
    }

    pub(crate) fn written(&self) -> Object {
        Object::new()
            .truth("success", self.success)
            .optional_text("new_public_key", self.new_public_key.as_deref())
            .text("timestamp", &self.timestamp)
    }
}

/// How messages are written on one connection, and the keys once they are agreed.
pub(crate) struct Channel {
    /// How application messages are written. Control is always JSON text.
    pub(crate) encoding: Encoding,
    /// Compression of application messages, if the other end reads it.
    pub(crate) compression: Option<Compression>,
    keys: Option<Keyring>,
    signing: Option<Box<dyn Signatures>>,
    next_sequence: u64,
}

impl Channel {
    pub(crate) const fn new(
        encoding: Encoding,
        compression: Option<Compression>,
        signing: Option<Box<dyn Signatures>>,
    ) -> Self {
        Self { encoding, compression, keys: None, signing, next_sequence: 0 }
    }

    /// From here on every frame is sealed.
    pub(crate) fn agree(&mut self, keys: Keyring) {
        self.keys = Some(keys);
    }

    pub(crate) const fn is_encrypted(&self) -> bool {
        self.keys.is_some()
    }

    /// The keys, once they are agreed.
    pub(crate) const fn keys(&mut self) -> Option<&mut Keyring> {
        self.keys.as_mut()
    }

    /// Opens, decodes and checks the signature of a frame that came at `now`, which is `wall` in civil time.
    pub(crate) fn decode(
        &mut self,
        frame: &Frame,
        limits: &Limits,
        now: Moment,
        wall: WallTime,
    ) -> Result<Message, DecodeError> {
        let opener = self.keys.as_mut().map(|keys| {
            keys.opener().set_now(now);
            keys.opener()
        });
        let message = wire::decode(frame, limits, opener)?;
        if let Some(signing) = &mut self.signing {
            signing.check(&message, wall)?;
        }
        Ok(message)
    }

    /// A message of the protocol itself: text, sealed if a key was agreed.
    pub(crate) fn control(&mut self, head: &Head<'_>, payload: &Payload) -> Result<Frame, Code> {
        let head = Head { category: Some(Category::System), ..head.clone() };
        self.seal_if_agreed(wire::encode(&head, payload, Encoding::Text, None))
    }

    /// A message of the application, with the next sequence number.
    ///
    /// `timestamp` says when the application sent it, `wall` is the time of its signature, if it is to have one.
    pub(crate) fn application(
        &mut self,
        message: &Outgoing,
        id: &str,
        timestamp: &str,
        wall: WallTime,
    ) -> Result<Frame, Code> {
        let mut head = head_of(message, id, timestamp, self.next_sequence);
        let signature = match &mut self.signing {
            Some(signing) => signing.sign(&head, &message.payload, wall)?,
            None => None,
        };
        head.signature = signature.as_deref();
        let frame = wire::encode(&head, &message.payload, self.encoding, self.compression.as_ref());
        self.seal_if_agreed(frame)
    }

    /// Several messages of the application (id, stamp, message) in one `batch`, with the next sequence numbers.
    pub(crate) fn batch(&mut self, messages: &[(&str, &str, &Outgoing)]) -> Result<Frame, Code> {
        let numbered = (self.next_sequence..).zip(messages);
        let joined: Vec<(Head<'_>, &Payload)> = numbered
            .map(|(sequence, (id, timestamp, message))| (head_of(message, id, timestamp, sequence), &message.payload))
            .collect();
        let payload = wire::batch::join(&joined, self.encoding);
        let head = Head { kind: wire::batch::KIND, ..Head::default() };
        self.seal_if_agreed(wire::encode(&head, &payload, self.encoding, self.compression.as_ref()))
    }

    /// Whether messages may have to be signed: such go out one by one.
    pub(crate) const fn signs(&self) -> bool {
        self.signing.is_some()
    }

    /// Checks the signature of a message that came inside another one.
    pub(crate) fn check(&mut self, message: &Message, wall: WallTime) -> Result<(), DecodeError> {
        match &mut self.signing {
            Some(signing) => signing.check(message, wall),
            None => Ok(()),
        }
    }

    /// Counts the last application message; call it once it was accepted.
    pub(crate) const fn advance(&mut self) {
        self.next_sequence += 1;
    }

    /// The number of the next application message.
    pub(crate) const fn next_sequence(&self) -> u64 {
        self.next_sequence
    }

    /// Seals a ready frame.
    pub(crate) fn seal(&mut self, plain: &[u8]) -> Result<Bytes, Code> {
        self.keys.as_mut().ok_or(Code::NoKey)?.seal(plain)
    }

    fn seal_if_agreed(&mut self, frame: Frame) -> Result<Frame, Code> {
        if self.keys.is_none() {
            return Ok(frame);
        }
        self.seal(frame.bytes()).map(Frame::Binary)
    }
}

fn head_of<'a>(message: &'a Outgoing, id: &'a str, timestamp: &'a str, sequence: u64) -> Head<'a> {
    Head {
        kind: &message.kind,
        id: Some(id),
        sequence: Some(sequence),
        timestamp: Some(timestamp),
        priority: (message.priority != Priority::default()).then_some(message.priority),
        correlation_id: message.correlation_id.as_deref(),
        topic: message.topic.as_deref(),
        ..Head::default()
    }
}

/// Whether an application may publish messages of this type to a topic: what servers say themselves is not for others
/// to say. Source: PROTOCOL.md §6.3.
pub(crate) fn is_publishable(kind: &str) -> bool {
    !RESERVED.contains(&kind)
        && Category::of_kind(kind) != Category::System
        && kind != "heartbeat"
        && !kind.starts_with("presence_")
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
    if message.topic.is_some() && !is_publishable(kind) {
        return refuse("what is published to a topic cannot have this type, which only the server uses");
    }
    match &message.topic {
        Some(name) if topic::check(name).is_err() || topic::is_pattern(name) => {
            Err(SendError::InvalidTopic { topic: name.clone() })
        }
        _ => Ok(()),
    }
}
