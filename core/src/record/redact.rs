//! What of a message is kept, and how a message is made of it again.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use crate::{
    error::Code,
    io::Frame,
    rng::{Rng, Seed},
    security::{Dialect, KeyPair, Role},
    wire::{self, Category, DecodeError, Limits, Message, Payload},
};

use super::{Head, Heard};

/// Stands for a text that was left out.
const REDACTED: &str = "redacted";
/// Stands for a public key that is a point on the curve; the key itself is left out.
const KEY: &str = "redacted key";
/// Largest control payload that is kept.
const MAX_CONTROL: usize = 1 << 20;
/// Longest text that is kept.
const MAX_TEXT: usize = 256;
/// Longest placeholder for a payload that a replay makes.
pub(super) const MAX_PAYLOAD: usize = 64 << 20;

/// Types with the protocol's own payload beside those of [`Category::System`].
const CONTROL: &[&str] = &["heartbeat", "subscription", "key_rotation_request", "key_rotation_response"];

/// A message that holds messages.
const BATCH: &str = "batch";

/// Members of a message within a batch that are its head.
const HEAD: &[&str] = &["t", "type", "c", "id", "seq", "tp", "topic", "e", "o", "pri", "cid", "v"];

/// Members whose strings name things of the protocol, and no content.
const NAMES: &[&str] = &[
    "action",
    "topic",
    "topics",
    "success_topics",
    "failed_topics",
    "failed_subscriptions",
    "active_subscriptions",
    "already_subscribed",
    "pending_subscriptions",
    "epoch",
    "server_version",
];

/// Members whose strings are kept when they look like a code.
const CODES: &[&str] = &["code", "error", "status", "reason"];

/// An address without its query.
pub(super) fn without_query(url: &str) -> &str {
    url.split(['?', '#']).next().unwrap_or_default()
}

/// A code as it is, and anything else redacted.
pub(super) fn code(text: &str) -> &str {
    if Code::ALL.iter().any(|known| known.as_str() == text) { text } else { REDACTED }
}

/// Bytes that a value takes in memory, roughly.
pub(super) fn heap(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 32,
        Value::String(text) => 32 + text.len(),
        Value::Array(items) => 32 + items.iter().map(heap).sum::<usize>(),
        Value::Object(members) => 32 + members.iter().map(|(name, value)| 64 + name.len() + heap(value)).sum::<usize>(),
    }
}

/// The payload of a message of the protocol itself, without its secrets; `None` for messages of the application.
pub(super) fn control(message: &Message) -> Option<Value> {
    let kind = message.kind();
    let batch = kind == BATCH;
    if !(batch || is_control(kind)) || message.payload().bytes().len() > MAX_CONTROL {
        return None;
    }
    let mut value: Value = message.payload().parse_control().ok()?;
    if batch {
        redact_batch(&mut value);
    } else {
        redact(&mut value, "");
    }
    Some(value)
}

fn is_control(kind: &str) -> bool {
    Category::of_kind(kind) == Category::System || CONTROL.contains(&kind)
}

/// Messages within a message: of each one the head is kept, and of its payload what would be if it came alone.
fn redact_batch(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(redact_batch),
        Value::Object(members) => {
            let kind = members.get("t").or_else(|| members.get("type")).and_then(Value::as_str).map(str::to_owned);
            let kept = |name: &str, member: &Value| {
                kind.is_some() && HEAD.contains(&name) && !member.is_object() && !member.is_array()
            };
            for (_, member) in members.iter_mut().filter(|(name, member)| !kept(name, member)) {
                match &kind {
                    None => redact_batch(member),
                    Some(kind) if is_control(kind) => redact(member, ""),
                    Some(_) => *member = filler(member.to_string().len(), false).unwrap_or_default(),
                }
            }
        }
        Value::String(text) => *text = REDACTED.to_owned(),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Recursion is bounded by the depth that the decoder lets through.
fn redact(value: &mut Value, name: &str) {
    match value {
        Value::String(text) if name.ends_with("public_key") => {
            *text = if is_public_key(text) { KEY.to_owned() } else { REDACTED.to_owned() };
        }
        Value::String(text) => {
            let keep =
                NAMES.contains(&name) && text.len() <= MAX_TEXT || CODES.contains(&name) && code(text) != REDACTED;
            if !keep {
                *text = REDACTED.to_owned();
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| redact(item, name)),
        Value::Object(members) => members.iter_mut().for_each(|(name, member)| redact(member, name)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// A key pair that protects nothing: it stands in for a peer that is not there.
fn nobody() -> KeyPair {
    KeyPair::from_secret_bytes(&[1; 32]).expect("one repeated is below the order of the curve")
}

fn is_public_key(text: &str) -> bool {
    nobody().agree(text, Dialect::V2, Role::Client, &mut Rng::new(Seed::from_u64(0))).is_ok()
}

/// Puts a usable key wherever one was left out.
fn revive(value: &mut Value) {
    match value {
        Value::String(text) if text == KEY => *text = nobody().public_base64(),
        Value::Array(items) => items.iter_mut().for_each(revive),
        Value::Object(members) => members.values_mut().for_each(revive),
        Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// What a frame was decoded to, made again. `wire_len` is the length of the frame.
///
/// # Errors
/// What makes `heard` unusable, in words.
pub(super) fn retell(heard: &Heard, wire_len: usize) -> Result<Result<Message, DecodeError>, String> {
    let (head, sealed, payload) = match heard {
        Heard::Refused(name) => {
            let code = Code::ALL.iter().find(|code| code.as_str() == name);
            let code = *code.ok_or_else(|| format!("unknown code {name:?}"))?;
            return Ok(Err(DecodeError { code, detail: "as recorded".into() }));
        }
        Heard::Message { head, sealed, control: Some(control), .. } => {
            let mut control = control.clone();
            revive(&mut control);
            (head, *sealed, control)
        }
        Heard::Message { head, sealed, len, control: None } => (head, *sealed, filler(*len, false)?),
    };
    let text = Bytes::from(envelope(head, payload).to_string());
    let limits = Limits { max_frame: usize::MAX, max_member: usize::MAX, max_depth: usize::MAX, ..Limits::default() };
    let message = wire::decode(&Frame::Text(text), &limits, None).map_err(|error| error.to_string())?;
    Ok(Ok(message.retold(wire_len, sealed)))
}

fn envelope(head: &Head, payload: Value) -> Value {
    let mut members = Map::new();
    members.insert("t".into(), json!(head.t));
    members.insert("p".into(), payload);
    let texts = [("c", &head.c), ("id", &head.id), ("tp", &head.tp), ("e", &head.e), ("cid", &head.cid)];
    for (name, text) in texts.into_iter().filter_map(|(name, text)| Some((name, text.as_ref()?))) {
        members.insert(name.into(), json!(text));
    }
    let numbers = [("seq", head.seq), ("o", head.o), ("pri", head.pri.map(u64::from))];
    for (name, number) in numbers.into_iter().filter_map(|(name, number)| Some((name, number?))) {
        members.insert(name.into(), json!(number));
    }
    Value::Object(members)
}

/// A payload of `len` bytes that says nothing, for a message to send. `stubborn` does not compress.
pub(super) fn payload(len: usize, msgpack: bool, stubborn: bool) -> Result<Payload, String> {
    let json = Payload::new(&filler(len, stubborn)?).map_err(|error| error.to_string())?;
    if !msgpack {
        return Ok(json);
    }
    Payload::from_msgpack(json.to_msgpack().into_owned()).map_err(|error| error.to_string())
}

/// A value of `len` bytes: a text and its quotes, or a number where there is no room for them.
fn filler(len: usize, stubborn: bool) -> Result<Value, String> {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    if len > MAX_PAYLOAD {
        return Err(format!("a payload of {len} bytes"));
    }
    let Some(letters) = len.checked_sub(2) else { return Ok(json!(0)) };
    if !stubborn {
        return Ok(Value::String("x".repeat(letters)));
    }
    // Six random bits in eight compress to three quarters; longer by half, the outcome is as large as recorded.
    let mut random = vec![0; letters + letters / 2];
    Rng::new(Seed::from_u64(1)).fill(&mut random);
    Ok(Value::String(random.into_iter().map(|byte| char::from(LETTERS[usize::from(byte & 63)])).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(text: &'static str) -> Message {
        wire::decode(&Frame::Text(Bytes::from_static(text.as_bytes())), &Limits::default(), None).expect("valid")
    }

    #[test]
    fn of_control_messages_only_names_numbers_and_known_codes_are_kept() {
        let text = r#"{"t":"error","p":{"code":"TOPIC_DENIED","message":"m","error":"hunter2","n":1,"topics":["a"],
            "details":{"user_id":"u","ok":true}}}"#;
        let kept = control(&message(text)).expect("control");
        let expected = json!({"code": "TOPIC_DENIED", "message": "redacted", "error": "redacted", "n": 1,
            "topics": ["a"], "details": {"user_id": "redacted", "ok": true}});
        assert_eq!(kept, expected);
    }

    #[test]
    fn of_messages_in_a_batch_the_heads_are_kept() {
        let text = r#"{"t":"batch","p":{"messages":[{"t":"chat","p":{"x":"secret"},"tp":"a","sig":"s"},
            {"t":"lost","p":{"topic":"a","count":3}}],"note":"secret"}}"#;
        let expected = json!({"messages": [{"t": "chat", "p": "xxxxxxxxxxxx", "tp": "a", "sig": "x"},
            {"t": "lost", "p": {"topic": "a", "count": 3}}], "note": "redacted"});
        assert_eq!(control(&message(text)), Some(expected));
    }

    #[test]
    fn payloads_of_the_application_are_not_kept() {
        assert_eq!(control(&message(r#"{"t":"chat","p":{"topic":"secret"}}"#)), None);
        assert_eq!(control(&message(r#"WSE{"t":"chat","p":{"topic":"secret"}}"#)), None);
    }

    #[test]
    fn a_key_is_left_out_and_another_usable_one_takes_its_place() {
        let own = KeyPair::from_secret_bytes(&[9; 32]).expect("valid");
        for (key, usable) in [(own.public_base64(), true), ("AAAA".to_owned(), false)] {
            let mut value = json!({"encryption_public_key": key});
            redact(&mut value, "");
            assert!(!value.to_string().contains(&key));
            revive(&mut value);
            let revived = value["encryption_public_key"].as_str().expect("text");
            assert_eq!(is_public_key(revived), usable);
        }
    }

    #[test]
    fn a_message_told_again_has_the_same_head_and_length() {
        let original = message(r#"U{"t":"chat","p":{"n":12345},"id":"i","seq":3,"tp":"t","e":"x","o":9,"pri":8}"#);
        let heard = Heard::of(&Ok(original.clone()));
        let again = retell(&heard, original.wire_len()).expect("usable").expect("decoded");
        assert_eq!(Heard::of(&Ok(again.clone())), heard);
        assert_eq!((again.wire_len(), again.payload().bytes().len()), (original.wire_len(), 11));
    }
}
