//! The text of a message that its signature is made over. Source: PROTOCOL.md §5.3.

use serde_json::{Map, Value};

use crate::{
    PROTOCOL_VERSION,
    security::canonical_json,
    wire::{Head, Message, Payload},
};

/// The canonical JSON of a message that is about to be written. `None` when its payload nests too deep.
pub(crate) fn of_outgoing(head: &Head<'_>, payload: &Payload) -> Option<String> {
    canonical(head, Some(PROTOCOL_VERSION), payload)
}

/// The canonical JSON of a message that arrived: its known members without `sig` and `c`.
pub(crate) fn of_message(message: &Message) -> Option<String> {
    canonical(&message.head(), message.version(), message.payload())
}

/// `category` and `signature` of `head` are no part of the text.
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
