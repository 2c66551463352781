//! One message to a topic, and its encodings, each made once for all subscribers.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use wse_client_core::{
    client::{Outgoing, SendError},
    io::Frame,
    server::Delivery,
    wire::{self, Category, Compression, Encoding, Head, Payload, Priority},
};

use crate::connection::frames::framed_message;

/// Most bytes that come to a frame after its size was checked: its place in the history, and what seals it. Also what the
/// rest of an envelope takes at most beside its names.
const BESIDE: usize = 512;

/// A WebSocket frame that is ready to be written to any number of sockets.
#[derive(Debug, Clone)]
pub(crate) struct Framed {
    bytes: Bytes,
    header_len: usize,
    is_text: bool,
}

impl Framed {
    fn new(frame: &Frame) -> Self {
        let (bytes, header_len) = framed_message(frame);
        Self { bytes, header_len, is_text: matches!(frame, Frame::Text(_)) }
    }

    /// Header and payload.
    pub(crate) const fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Whether it goes out as a text message.
    pub(crate) const fn is_text(&self) -> bool {
        self.is_text
    }

    /// The payload alone, for connections that seal it.
    pub(crate) fn payload(&self) -> &[u8] {
        &self.bytes[self.header_len..]
    }

    /// The message without its header, for what makes its own.
    pub(crate) fn frame(&self) -> Frame {
        let payload = self.bytes.slice(self.header_len..);
        if self.is_text { Frame::Text(payload) } else { Frame::Binary(payload) }
    }
}

/// A message to a topic.
#[derive(Debug)]
pub(crate) struct Publication {
    topic: Arc<str>,
    kind: String,
    category: Category,
    id: String,
    timestamp: String,
    correlation_id: Option<String>,
    priority: Priority,
    /// Of the usual form, if there is one.
    traceparent: Option<String>,
    payload: Payload,
    /// Epoch and offset, once it is in the ring of a topic with a history.
    position: OnceLock<(Arc<str>, u64)>,
    compression: Option<Compression>,
    /// What it is counted as, and when it was published, in nanoseconds of the server's clock. What the server says by itself,
    /// and states, are not measured.
    measured: Option<(u16, u64)>,
    text: OnceLock<Framed>,
    binary: OnceLock<Framed>,
    msgpack: OnceLock<Framed>,
    /// `None` inside when compressing does not pay.
    compressed: OnceLock<Option<Framed>>,
}

impl Publication {
    /// Stamps a message. The payload is copied, so that the ring never holds on to a read buffer.
    pub(crate) fn new(
        topic: &str,
        message: Outgoing,
        id: String,
        timestamp: String,
        compression: Option<Compression>,
    ) -> Self {
        Self {
            topic: topic.into(),
            category: Category::of_kind(&message.kind),
            kind: message.kind,
            id,
            timestamp,
            correlation_id: message.correlation_id,
            priority: message.priority,
            traceparent: message.traceparent.filter(|text| wire::is_traceparent(text)),
            payload: message.payload.detached(),
            position: OnceLock::new(),
            compression,
            measured: None,
            text: OnceLock::new(),
            binary: OnceLock::new(),
            msgpack: OnceLock::new(),
            compressed: OnceLock::new(),
        }
    }

    /// Notes what it is counted as, and when it was published.
    pub(crate) fn measured(self, kind: u16, at: u64) -> Self {
        Self { measured: Some((kind, at)), ..self }
    }

    /// The number of its type in the metrics, and when it was published, if that was noted.
    pub(crate) const fn measure(&self) -> Option<(u16, u64)> {
        self.measured
    }

    /// How urgent it is.
    pub(crate) const fn priority(&self) -> Priority {
        self.priority
    }

    /// Notes where it stands in its topic, before anybody can see it.
    pub(crate) fn stamp(&self, epoch: &Arc<str>, offset: u64) {
        let _ = self.position.set((Arc::clone(epoch), offset));
    }

    /// The same without a position: the state of a topic, told outside its order.
    pub(crate) fn without_position(&self) -> Self {
        Self {
            topic: Arc::clone(&self.topic),
            kind: self.kind.clone(),
            category: self.category,
            id: self.id.clone(),
            timestamp: self.timestamp.clone(),
            correlation_id: self.correlation_id.clone(),
            priority: self.priority,
            traceparent: self.traceparent.clone(),
            payload: self.payload.clone(),
            position: OnceLock::new(),
            compression: self.compression,
            measured: None,
            text: OnceLock::new(),
            binary: OnceLock::new(),
            msgpack: OnceLock::new(),
            compressed: OnceLock::new(),
        }
    }

    /// The topic.
    pub(crate) const fn topic(&self) -> &Arc<str> {
        &self.topic
    }

    /// The type.
    pub(crate) fn kind(&self) -> &str {
        &self.kind
    }

    /// The id.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// When it was published, RFC 3339.
    pub(crate) fn timestamp(&self) -> &str {
        &self.timestamp
    }

    /// The id of the message that it answers.
    pub(crate) fn correlation_id(&self) -> Option<&str> {
        self.correlation_id.as_deref()
    }

    /// What the publisher said.
    pub(crate) const fn payload(&self) -> &Payload {
        &self.payload
    }

    /// The trace that it belongs to, as it goes out.
    pub(crate) fn traceparent(&self) -> Option<&str> {
        self.traceparent.as_deref()
    }

    /// The trace that it belongs to: 32 hex digits.
    pub(crate) fn trace_id(&self) -> Option<&str> {
        wire::trace_id(self.traceparent.as_deref()?)
    }

    /// Whether it holds the whole state of something, for those who come later.
    pub(crate) const fn is_snapshot(&self) -> bool {
        matches!(self.category, Category::Snapshot)
    }

    /// What a publication counts beside its bytes. Measured in resident memory, each read once as text: 1217, 1598 and 4896 bytes
    /// for payloads of 50, 175 and 2000; unread ones have half of that, and further forms are more.
    pub(crate) const FIXED_COST: usize = 1024;

    /// What it counts in a ring: the payload, one encoding of it by itself and one in a block, and the rest of the
    /// entry.
    pub(crate) fn cost(&self) -> usize {
        Self::FIXED_COST + 3 * (self.payload.bytes().len() + self.topic.len() + self.kind.len())
    }

    /// The size of its frames, at least where it is over `limit`: no client would read on behind one that is too large.
    pub(crate) fn check_size(&self, limit: usize) -> Result<(), SendError> {
        // Nothing becomes longer than by this when it is written as JSON: a zero in text, `false`.
        const MOST: usize = 8;
        let payload = self.payload.bytes().len();
        let names = [Some(&*self.kind), Some(&self.id), self.correlation_id.as_deref(), Some(&self.topic)];
        let names: usize = names.into_iter().flatten().map(str::len).sum();
        if MOST * (payload + names) + BESIDE <= limit {
            return Ok(());
        }
        let size = self.encode(Encoding::Binary, None).payload().len() + BESIDE;
        if size <= limit { Ok(()) } else { Err(SendError::TooLarge { size, limit }) }
    }

    /// The frame in the form that a connection wants. A large one that is larger as msgpack is JSON all the same, so that
    /// [`Publication::check_size`] holds for it.
    pub(crate) fn frame(&self, delivery: Delivery) -> &Framed {
        if delivery.encoding == Encoding::Msgpack {
            return self.msgpack.get_or_init(|| {
                let packed = self.encode(Encoding::Msgpack, None);
                let plain = (packed.payload().len() > BESIDE).then(|| self.encode(Encoding::Binary, None));
                plain.filter(|plain| plain.payload().len() < packed.payload().len()).unwrap_or(packed)
            });
        }
        let plain = match delivery.encoding {
            Encoding::Text => self.text.get_or_init(|| self.encode(Encoding::Text, None)),
            _ => self.binary.get_or_init(|| self.encode(Encoding::Binary, None)),
        };
        match self.compression {
            Some(compression) if delivery.compression && plain.payload().len() > compression.threshold => {
                self.compressed.get_or_init(|| self.compress(&compression)).as_ref().unwrap_or(plain)
            }
            _ => plain,
        }
    }

    fn compress(&self, compression: &Compression) -> Option<Framed> {
        let framed = self.encode(Encoding::Binary, Some(compression));
        framed.payload().starts_with(b"C:").then_some(framed)
    }

    fn encode(&self, encoding: Encoding, compression: Option<&Compression>) -> Framed {
        let head = Head {
            kind: &self.kind,
            category: Some(self.category),
            id: Some(&self.id),
            timestamp: Some(&self.timestamp),
            priority: (self.priority != Priority::Normal).then_some(self.priority),
            correlation_id: self.correlation_id.as_deref(),
            topic: Some(&self.topic),
            epoch: self.position.get().map(|(epoch, _)| &**epoch),
            offset: self.position.get().map(|(_, offset)| *offset),
            traceparent: self.traceparent.as_deref(),
            ..Head::default()
        };
        Framed::new(&wire::encode(&head, &self.payload, encoding, compression))
    }
}
