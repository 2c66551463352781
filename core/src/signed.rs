//! Signatures of whole messages: which are signed, and the text that the signature is made over.
//! Source: PROTOCOL.md §5.3.

use serde_json::{Map, Value};

use crate::{
    PROTOCOL_VERSION,
    error::Code,
    security::{Signing, Subject, canonical_json},
    time::WallTime,
    wire::{DecodeError, Head, Message, Payload},
};

/// Signs what goes out on one connection, and checks what comes in.
pub(crate) trait Signatures: Send + Sync {
    /// The member `sig` of a message that is about to be written, if it is to have one.
    ///
    /// # Errors
    /// [`Code::TooDeep`] when its payload nests too deep to be signed.
    fn sign(&mut self, head: &Head<'_>, payload: &Payload, now: WallTime) -> Result<Option<String>, Code>;

    /// Checks a message that arrived.
    ///
    /// # Errors
    /// When it is not signed as it has to be.
    fn check(&mut self, message: &Message, now: WallTime) -> Result<(), DecodeError>;
}

impl Signatures for Signing {
    fn sign(&mut self, head: &Head<'_>, payload: &Payload, now: WallTime) -> Result<Option<String>, Code> {
        if !self.selects(Subject { kind: head.kind, is_publication: head.topic.is_some() }) {
            return Ok(None);
        }
        let canonical = of_outgoing(head, payload).ok_or(Code::TooDeep)?;
        Ok(Some(self.sign(&canonical, now)))
    }

    fn check(&mut self, message: &Message, now: WallTime) -> Result<(), DecodeError> {
        let subject = Subject { kind: message.kind(), is_publication: message.topic().is_some() };
        let canonical = || of_message(message);
        let payload = || message.payload().to_json().into_owned();
        self.check(subject, message.signature(), canonical, payload, now).map_err(|code| {
            let detail = match message.signature() {
                Some(_) => "the signature is wrong, too old or was used before",
                None => "a message of this type must be signed",
            };
            DecodeError { code, detail: detail.to_owned() }
        })
    }
}

/// The canonical JSON of a message that is about to be written. `None` when its payload nests too deep.
fn of_outgoing(head: &Head<'_>, payload: &Payload) -> Option<String> {
    let head = Head { category: None, ..head.clone() };
    canonical(&head, Some(PROTOCOL_VERSION), payload)
}

/// The canonical JSON of a message that arrived: its known members without `sig` and `c`.
fn of_message(message: &Message) -> Option<String> {
    let head = Head {
        kind: message.kind(),
        category: None,
        id: message.id(),
        sequence: message.sequence(),
        timestamp: message.timestamp(),
        priority: message.priority(),
        correlation_id: message.correlation_id(),
        topic: message.topic(),
        epoch: message.epoch(),
        offset: message.offset(),
        signature: None,
    };
    canonical(&head, message.version(), message.payload())
}

fn canonical(head: &Head<'_>, version: Option<u64>, payload: &Payload) -> Option<String> {
    // By way of JSON also for msgpack, so that both encodings of a message have one text.
    let payload: Value = serde_json::from_str(&payload.to_json()).ok()?;
    let texts = [
        ("t", Some(head.kind)),
        ("id", head.id),
        ("ts", head.timestamp),
        ("cid", head.correlation_id),
        ("tp", head.topic),
        ("e", head.epoch),
    ];
    let priority = head.priority.map(|priority| u64::from(priority.as_number()));
    let numbers = [("seq", head.sequence), ("pri", priority), ("o", head.offset), ("v", version)];
    let texts = texts.into_iter().filter_map(|(name, value)| Some((name, Value::from(value?))));
    let numbers = numbers.into_iter().filter_map(|(name, value)| Some((name, Value::from(value?))));
    let mut envelope: Map<String, Value> = texts.chain(numbers).map(|(name, value)| (name.to_owned(), value)).collect();
    envelope.insert("p".to_owned(), payload);
    Some(canonical_json(&Value::Object(envelope)))
}
