//! What both ends share about one open connection: how messages are written, and the agreed key.

use bytes::Bytes;

use crate::{
    client::{Outgoing, SendError},
    error::Code,
    io::Frame,
    security::{Keyring, Signing, Subject},
    signed,
    time::{Moment, WallTime},
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
    "key_rotation_request",
    "key_rotation_response",
    "batch",
];

/// Why a message was not signed, where [`Channel::application`] answers [`Code::TooDeep`].
pub(crate) const UNSIGNABLE: &str = "its payload cannot be signed: it nests too deep, or has half of a surrogate pair";

/// How messages are written on one connection, and the keys once they are agreed.
pub(crate) struct Channel {
    /// How application messages are written. Control is always JSON text.
    pub(crate) encoding: Encoding,
    /// Compression of application messages, if the other end reads it.
    pub(crate) compression: Option<Compression>,
    /// Apart, as most connections of a server have none, and what is large here is large ten thousand times.
    keys: Option<Box<Keyring>>,
    signing: Option<Box<Signing>>,
    next_sequence: u64,
}

impl Channel {
    pub(crate) fn new(encoding: Encoding, compression: Option<Compression>, signing: Option<Signing>) -> Self {
        Self { encoding, compression, keys: None, signing: signing.map(Box::new), next_sequence: 0 }
    }

    /// From here on every frame is sealed.
    pub(crate) fn agree(&mut self, keys: Keyring) {
        self.keys = Some(Box::new(keys));
    }

    pub(crate) const fn is_encrypted(&self) -> bool {
        self.keys.is_some()
    }

    /// The keys, once they are agreed.
    pub(crate) fn keys(&mut self) -> Option<&mut Keyring> {
        self.keys.as_deref_mut()
    }

    /// Nonces that are remembered: of sealed frames, and of signatures.
    pub(crate) fn held(&self) -> (usize, usize) {
        (self.keys.as_deref().map_or(0, Keyring::held), self.signing.as_deref().map_or(0, Signing::held))
    }

    /// Opens, decodes and checks the signature of a frame that came at `now`, which is `wall` in civil time.
    pub(crate) fn decode(
        &mut self,
        frame: Frame,
        limits: &Limits,
        now: Moment,
        wall: WallTime,
    ) -> Result<Message, DecodeError> {
        let opener = self.keys.as_mut().map(|keys| {
            keys.opener().set_now(now);
            keys.opener()
        });
        // Moving a message costs as much as a part of reading it, so it goes straight through where nothing is signed.
        let Some(signing) = &mut self.signing else { return wire::decode_owned(frame, limits, opener) };
        let message = wire::decode_owned(frame, limits, opener)?;
        check_signature(signing, &message, wall)?;
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
        let mut head = Head { sequence: Some(self.next_sequence), ..head_of(message, Some(id), timestamp) };
        let subject = Subject { kind: &message.kind, is_publication: message.topic.is_some() };
        let signature = match self.signing.as_mut().filter(|signing| signing.selects(subject)) {
            Some(signing) => {
                let canonical = signed::of_outgoing(&head, &message.payload).ok_or(Code::TooDeep)?;
                Some(signing.sign(&canonical, wall))
            }
            None => None,
        };
        head.signature = signature.as_deref();
        let frame = wire::encode(&head, &message.payload, self.encoding, self.compression.as_ref());
        self.seal_if_agreed(frame)
    }

    /// Several messages of the application (id, stamp, message) in one `batch`, with the next sequence numbers.
    ///
    /// # Errors
    /// [`Code::TooDeep`]: one of them fits only alone. Others: nothing can be sealed any more.
    pub(crate) fn batch(&mut self, messages: &[(&str, &str, &Outgoing)], limits: &Limits) -> Result<Frame, Code> {
        let deepest = limits.max_depth.saturating_sub(wire::batch::NESTING);
        if !messages.iter().all(|(_, _, message)| message.payload.nests_at_most(deepest)) {
            return Err(Code::TooDeep);
        }
        let numbered = (self.next_sequence..).zip(messages);
        let joined: Vec<(Head<'_>, &Payload)> = numbered
            .map(|(sequence, (id, timestamp, message))| {
                let head = Head { sequence: Some(sequence), ..head_of(message, Some(id), timestamp) };
                (head, &message.payload)
            })
            .collect();
        let payload = wire::batch::join(&joined, self.encoding);
        let head = Head { kind: wire::batch::KIND, ..Head::default() };
        self.seal_if_agreed(wire::encode(&head, &payload, self.encoding, self.compression.as_ref()))
    }

    /// Whether messages may have to be signed: such go out one by one.
    pub(crate) const fn signs(&self) -> bool {
        self.signing.is_some()
    }

    /// Binds signatures to the connection of this name.
    pub(crate) fn bind_signatures(&mut self, connection: &str) {
        if let Some(signing) = &mut self.signing {
            signing.bind(connection);
        }
    }

    /// What signed here, for the next connection of the same end: it knows what was seen.
    pub(crate) fn into_signing(self) -> Option<Signing> {
        self.signing.map(|mut signing| {
            signing.unbind();
            *signing
        })
    }

    /// Checks the signature of a message that came inside another one.
    pub(crate) fn check(&mut self, message: &Message, wall: WallTime) -> Result<(), DecodeError> {
        match &mut self.signing {
            Some(signing) => check_signature(signing, message, wall),
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

fn check_signature(signing: &mut Signing, message: &Message, wall: WallTime) -> Result<(), DecodeError> {
    let subject = Subject { kind: message.kind(), is_publication: message.topic().is_some() };
    let canonical = || signed::of_message(message);
    let payload = || message.payload().to_json().into_owned();
    signing.check(subject, message.signature(), canonical, payload, wall).map_err(|code| {
        let detail = match message.signature() {
            Some(_) => "the signature is wrong, too old or was used before",
            None => "a message of this type must be signed",
        };
        DecodeError { code, detail: detail.to_owned() }
    })
}

/// What the envelope of a message says, without its number.
pub(crate) fn head_of<'a>(message: &'a Outgoing, id: Option<&'a str>, timestamp: &'a str) -> Head<'a> {
    Head {
        kind: &message.kind,
        id,
        timestamp: Some(timestamp),
        priority: (message.priority != Priority::default()).then_some(message.priority),
        correlation_id: message.correlation_id.as_deref(),
        topic: message.topic.as_deref(),
        traceparent: message.traceparent.as_deref().filter(|text| wire::is_traceparent(text)),
        ..Head::default()
    }
}

/// Whether a type belongs to the protocol itself.
pub(crate) fn is_reserved(kind: &str) -> bool {
    RESERVED.contains(&kind)
}

/// Whether an application may publish messages of this type to a topic: what servers say themselves is not for others
/// to say. Source: PROTOCOL.md §6.3.
pub(crate) fn is_publishable(kind: &str) -> bool {
    !is_reserved(kind)
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
    if is_reserved(kind) {
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
