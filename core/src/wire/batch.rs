//! Several messages in one: `{"messages":[envelopes],"count":n}`. Source: PROTOCOL.md §7.4.

use crate::{error::Code, io::Frame};

use super::{
    DecodeError, Encoding, Head, Limits, Message, Payload, PayloadEncoding, Priority,
    control::Value,
    decode::{Incoming, decode},
    encode::{packed, text},
    json, msgpack,
};

/// The type of a message that carries others.
pub(crate) const KIND: &str = "batch";

/// Levels of nesting that a batch puts around the payload of each message in it.
pub(crate) const NESTING: usize = 3;

/// The payload of a batch, in the encoding in which it is going to be written.
pub(crate) fn join(messages: &[(Head<'_>, &Payload)], encoding: Encoding) -> Payload {
    match encoding {
        Encoding::Msgpack => Payload::whole(PayloadEncoding::Msgpack, join_packed(messages).into()),
        Encoding::Text | Encoding::Binary => Payload::whole(PayloadEncoding::Json, join_text(messages).into()),
    }
}

fn join_text(messages: &[(Head<'_>, &Payload)]) -> Vec<u8> {
    let mut out = b"{\"messages\":[".to_vec();
    for (at, (head, payload)) in messages.iter().enumerate() {
        let category = head.category().as_str();
        if at > 0 {
            out.push(b',');
        }
        // Within a frame the category is a member, as a prefix would be no JSON.
        out.extend_from_slice(b"{\"c\":\"");
        out.extend_from_slice(category.as_bytes());
        out.extend_from_slice(b"\",");
        out.extend_from_slice(&text(head, payload)[category.len() + 1..]);
    }
    out.extend_from_slice(b"],\"count\":");
    json::write_unsigned(messages.len() as u64, &mut out);
    out.push(b'}');
    out
}

fn join_packed(messages: &[(Head<'_>, &Payload)]) -> Vec<u8> {
    let mut out = Vec::new();
    msgpack::write_map_header(2, &mut out);
    msgpack::write_str("messages", &mut out);
    msgpack::write_array_header(messages.len(), &mut out);
    for (head, payload) in messages {
        out.extend_from_slice(&packed(head, payload)[b"M:".len()..]);
    }
    msgpack::write_str("count", &mut out);
    msgpack::write_unsigned(messages.len() as u64, &mut out);
    out
}

/// Takes a batch apart: each message in it, or why that one cannot be read. A batch within a batch is refused.
///
/// # Errors
/// When there is no array `messages`, or it has more than `limits.max_batch` items.
pub(crate) fn split(batch: &Message, limits: &Limits) -> Result<Vec<Result<Message, DecodeError>>, DecodeError> {
    let payload = batch.payload();
    let spans = match payload.encoding() {
        PayloadEncoding::Json => json::items_of(payload.bytes(), "messages", limits.max_batch),
        PayloadEncoding::Msgpack => msgpack::items_of(payload.bytes(), "messages", limits.max_batch),
    };
    let spans =
        spans.ok_or_else(|| DecodeError::new(Code::InvalidEnvelope, "a batch without an array \"messages\""))?;
    if spans.len() > limits.max_batch {
        let detail = format!("a batch of more than {} messages", limits.max_batch);
        return Err(DecodeError::new(Code::InvalidRequest, detail));
    }
    Ok(spans
        .into_iter()
        .map(|span| {
            let body = payload.to_bytes().slice(span);
            let incoming = Incoming { limits, wire_len: body.len(), encrypted: batch.is_encrypted() };
            let envelope = match payload.encoding() {
                PayloadEncoding::Json => json::index(&body, limits.max_depth),
                PayloadEncoding::Msgpack => msgpack::index(&body, limits.max_depth),
            }?;
            let message = envelope.to_message(body, payload.encoding(), None, &incoming)?;
            if message.kind() == KIND {
                return Err(DecodeError::new(Code::InvalidEnvelope, "a batch within a batch"));
            }
            Ok(message)
        })
        .collect())
}

/// The type of a message that says how urgent another one is.
pub(crate) const PRIORITY_KIND: &str = "priority_message";

/// The payload of a `priority_message` around another message. Source: PROTOCOL.md §11.4.
pub(crate) fn wrap_priority(head: &Head<'_>, payload: &Payload, priority: Priority) -> Payload {
    let category = head.category().as_str();
    let mut out = b"{\"message\":".to_vec();
    out.extend_from_slice(&text(head, payload)[category.len()..]);
    out.extend_from_slice(b",\"priority\":");
    json::write_unsigned(priority.as_number().into(), &mut out);
    out.push(b'}');
    Payload::whole(PayloadEncoding::Json, out.into())
}

/// The message inside a `priority_message`, or the message itself when there is none. It is opened once: what lies
/// within is never another one, or the next end would open that.
pub(crate) fn unwrap_priority(outer: Message, limits: &Limits) -> Message {
    let inner = outer.payload().read_control(|payload| {
        let text = payload.member("message").and_then(Value::object)?.as_json().to_owned();
        decode(&Frame::Text(text.into()), limits, None).ok().filter(|inner| inner.kind() != PRIORITY_KIND)
    });
    match inner {
        Some(inner) => inner.arrived_with(&outer),
        None => outer,
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::wire::{Category, encode};

    fn batch_of(payload: &Payload, encoding: Encoding) -> Message {
        let frame = encode(&Head { kind: KIND, ..Head::default() }, payload, encoding, None);
        decode(&frame, &Limits::default(), None).expect("readable")
    }

    fn read(json: &str) -> Message {
        decode(&Frame::Text(Bytes::copy_from_slice(json.as_bytes())), &Limits::default(), None).expect("readable")
    }

    #[test]
    fn what_was_joined_comes_apart_in_every_encoding() {
        let payloads = [
            Payload::from_json(r#"{"n":1}"#),
            Payload::from_msgpack(b"\xc4\x01\x07".as_slice()),
            Payload::from_json("[]"),
        ];
        let payloads = payloads.map(|payload| payload.expect("valid"));
        let heads = [("a", Some(4)), ("x_snapshot", Some(5)), ("b\"c", None)].map(|(kind, sequence)| Head {
            kind,
            sequence,
            id: Some("m"),
            topic: Some("t"),
            ..Head::default()
        });
        let messages: Vec<_> = heads.into_iter().zip(&payloads).collect();
        for encoding in [Encoding::Text, Encoding::Binary, Encoding::Msgpack] {
            let batch = batch_of(&join(&messages, encoding), encoding);
            let items = split(&batch, &Limits::default()).expect("a batch");
            let items: Vec<Message> = items.into_iter().map(|item| item.expect("readable")).collect();
            assert_eq!(items.iter().map(Message::kind).collect::<Vec<_>>(), ["a", "x_snapshot", "b\"c"]);
            assert_eq!(items.iter().map(Message::sequence).collect::<Vec<_>>(), [Some(4), Some(5), None]);
            assert_eq!(items[1].category(), Some(Category::Snapshot));
            assert_eq!((items[0].topic(), items[0].id()), (Some("t"), Some("m")));
            assert_eq!(items[0].payload().to_json(), r#"{"n":1}"#);
            let binary = if encoding == Encoding::Msgpack { b"\xc4\x01\x07".as_slice() } else { b"\"07\"" };
            assert_eq!(items[1].payload().bytes(), binary, "{encoding:?}");
        }
    }

    #[test]
    fn one_bad_message_does_not_spoil_the_others() {
        let batch = read(r#"{"t":"batch","p":{"count":9,"messages":[{"t":"a"}, 7 ,{"p":1},{"t":"batch"},{"t":"b"}]}}"#);
        let items = split(&batch, &Limits::default()).expect("a batch");
        let kinds: Vec<_> = items
            .iter()
            .map(|item| item.as_ref().map(|message| message.kind().to_owned()).map_err(|error| error.code))
            .collect();
        let bad = Err(Code::InvalidEnvelope);
        assert_eq!(kinds, [Ok("a".to_owned()), bad.clone(), bad.clone(), bad, Ok("b".to_owned())]);
    }

    #[test]
    fn what_is_no_batch_is_refused() {
        for payload in ["{}", "[]", "1", r#"{"messages":{}}"#, r#"{"message":[]}"#, r#"{"a":{"messages":[]}}"#] {
            let batch = read(&format!(r#"{{"t":"batch","p":{payload}}}"#));
            assert_eq!(split(&batch, &Limits::default()).expect_err(payload).code, Code::InvalidEnvelope);
            let packed = batch_of(batch.payload(), Encoding::Msgpack);
            assert_eq!(split(&packed, &Limits::default()).expect_err(payload).code, Code::InvalidEnvelope);
        }
        let empty = read(r#"{"t":"batch","p":{"messages":[ ]}}"#);
        assert!(split(&empty, &Limits::default()).expect("nothing in it").is_empty());
    }

    #[test]
    fn a_wrapper_decides_about_the_topic_and_holds_no_other_wrapper() {
        let open = |json: &str| unwrap_priority(read(json), &Limits::default());
        let inner = open(
            r#"{"t":"priority_message","tp":"chat","e":"a","o":3,"p":{"message":{"t":"k","tp":"admin","o":9,"p":1}}}"#,
        );
        assert_eq!(
            (inner.kind(), inner.topic(), inner.epoch(), inner.offset()),
            ("k", Some("chat"), Some("a"), Some(3))
        );
        let silent = open(r#"{"t":"priority_message","tp":"chat","p":{"message":{"t":"k"}}}"#);
        assert_eq!((silent.kind(), silent.topic()), ("k", Some("chat")));
        let direct = open(r#"{"t":"priority_message","p":{"message":{"t":"k","tp":"room"}}}"#);
        assert_eq!((direct.kind(), direct.topic()), ("k", Some("room")));
        let nested = open(r#"{"t":"priority_message","tp":"chat","p":{"message":{"t":"priority_message","p":{}}}}"#);
        assert_eq!((nested.kind(), nested.payload().to_json().contains("message")), (PRIORITY_KIND, true));
    }

    #[test]
    fn the_number_of_messages_is_bounded() {
        let limits = Limits { max_batch: 2, ..Limits::default() };
        for (items, fits) in [(r#"{"t":"a"},{"t":"a"}"#, true), (r#"{"t":"a"},{"t":"a"},{"t":"a"}"#, false)] {
            let batch = read(&format!(r#"{{"t":"batch","p":{{"messages":[{items}]}}}}"#));
            for batch in [&batch, &batch_of(batch.payload(), Encoding::Msgpack)] {
                assert_eq!(split(batch, &limits).is_ok(), fits);
            }
        }
    }
}
