//! The text of a message that its signature is made over. Source: PROTOCOL.md §5.3.

use crate::{
    PROTOCOL_VERSION,
    wire::{self, Head, Message, Payload, control::Object},
};

/// The canonical JSON of a message that is about to be written. `None` when its payload nests too deep.
pub(crate) fn of_outgoing(head: &Head<'_>, payload: &Payload) -> Option<String> {
    canonical(head, Some(PROTOCOL_VERSION), payload)
}

/// The canonical JSON of a message that arrived: its known members without `sig`, `c` and `traceparent`, which whoever passes a message on may change.
pub(crate) fn of_message(message: &Message) -> Option<String> {
    canonical(&message.head(), message.version(), message.payload())
}

/// `category` and `signature` of `head` are no part of the text.
fn canonical(head: &Head<'_>, version: Option<u64>, payload: &Payload) -> Option<String> {
    let priority = head.priority.map(|priority| u64::from(priority.as_number()));
    let texts =
        [("id", head.id), ("ts", head.timestamp), ("cid", head.correlation_id), ("tp", head.topic), ("e", head.epoch)];
    let numbers = [("seq", head.sequence), ("pri", priority), ("o", head.offset), ("v", version)];
    // By way of JSON also for msgpack, so that both encodings of a message have one text.
    let envelope = Object::new().text("t", head.kind).json("p", &payload.to_json());
    let envelope = texts.into_iter().fold(envelope, |envelope, (name, value)| envelope.optional_text(name, value));
    let envelope =
        numbers.into_iter().fold(envelope, |envelope, (name, value)| envelope.optional_unsigned(name, value));
    wire::canonical(&envelope.into_json())
}
