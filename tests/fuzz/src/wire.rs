//! Targets for the wire format alone.

use serde::de::IgnoredAny;
use wse_client_core::{
    error::Code,
    io::Frame,
    rng::{Rng, Seed},
    security::{Role, channel},
    wire::{Category, Encoding, Limits, Message, Payload, PayloadEncoding, compress, decode, encode, inflate},
};

/// Small, so that a fuzzer reaches each of them.
const LIMITS: Limits =
    Limits { max_frame: 1 << 14, max_inflated: 1 << 15, max_depth: 24, max_member: 200, max_topics: 20, max_batch: 50 };

pub(crate) fn decode_text(data: &[u8]) {
    let frame = Frame::Text(data.to_vec().into());
    let Ok(message) = decode(&frame, &LIMITS, None) else { return };
    check(&message, data.len());
    assert!(!message.is_encrypted());
    // serde_json refuses lone surrogates only in strings that it must make; an ignored value is grammar alone.
    let body = data.trim_ascii_start();
    let body = [&b"WSE"[..], b"U", b"S"].iter().find_map(|prefix| body.strip_prefix(*prefix)).unwrap_or(body);
    let is_json = serde_json::from_slice::<IgnoredAny>(body).is_ok() && std::str::from_utf8(body).is_ok();
    assert!(is_json || message.kind() == "ping", "read what is no JSON");
}

/// The first byte says what is done to the rest: left as it is, compressed or sealed.
pub(crate) fn decode_binary(data: &[u8]) {
    let Some((how, rest)) = data.split_first() else { return };
    let mut rng = Rng::new(Seed::from_u64(1));
    let (mut sealer, _) = channel(&[7; 32], Role::Server, &mut rng);
    let (_, mut opener) = channel(&[7; 32], Role::Client, &mut rng);
    let frame = match how % 4 {
        0 => rest.to_vec().into(),
        1 => [b"C:", &*compress(rest, 6)].concat().into(),
        2 => sealer.seal(rest).expect("the first frame of a key"),
        _ => sealer.seal(&[b"C:", &*compress(rest, 1)].concat()).expect("the first frame of a key"),
    };
    let length = frame.len();
    let sealed = frame.starts_with(b"E:");
    match decode(&Frame::Binary(frame), &LIMITS, Some(&mut opener)) {
        Ok(message) => {
            check(&message, length);
            assert_eq!(message.is_encrypted(), sealed);
        }
        Err(error) => assert!(how % 4 < 2 || error.code != Code::DecryptFailed, "our own seal does not open"),
    }
}

/// What a message gives out must be usable and within limits, and survive being sent on.
fn check(message: &Message, length: usize) {
    assert!(!message.kind().is_empty());
    assert_eq!(message.wire_len(), length);
    let texts = [message.timestamp(), message.topic(), message.signature(), message.correlation_id(), message.id()];
    for text in texts.into_iter().flatten().chain([message.kind()]) {
        assert!(text.len() <= LIMITS.max_member, "a member over its limit");
    }
    payload(message.payload());
    for encoding in [Encoding::Text, Encoding::Binary, Encoding::Msgpack] {
        again(message, encoding);
    }
}

/// Writes the message and reads it back: its members must be the same.
fn again(message: &Message, encoding: Encoding) {
    let frame = encode(&message.head(), message.payload(), encoding, None);
    let copy = decode(&frame, &Limits::default(), None).expect("what we write, we read");
    let category = message.category().unwrap_or_else(|| Category::of_kind(message.kind()));
    assert_eq!(copy.category(), Some(category));
    assert_eq!(copy.kind(), message.kind());
    assert_eq!(copy.id(), message.id());
    assert_eq!(copy.sequence(), message.sequence());
    assert_eq!(copy.timestamp(), message.timestamp());
    assert_eq!(copy.priority(), message.priority());
    assert_eq!(copy.correlation_id(), message.correlation_id());
    assert_eq!(copy.topic(), message.topic());
    assert_eq!(copy.epoch(), message.epoch());
    assert_eq!(copy.signature(), message.signature());
    assert_eq!(copy.offset(), message.offset());
    let same_encoding = (copy.payload().encoding() == PayloadEncoding::Json) == (encoding != Encoding::Msgpack);
    assert!(same_encoding, "the payload is in the other encoding");
    if copy.payload().encoding() == message.payload().encoding() {
        assert_eq!(copy.payload(), message.payload(), "a payload is not rewritten");
    }
}

/// A payload is well formed in both encodings, and stable after one round.
fn payload(payload: &Payload) {
    let json = payload.to_json();
    assert!(serde_json::from_str::<IgnoredAny>(&json).is_ok(), "no JSON: {json}");
    let packed = Payload::from_msgpack(payload.to_msgpack().into_owned()).expect("what we write is msgpack");
    let text = Payload::from_json(packed.to_json().into_owned()).expect("what we write is JSON");
    let repacked = Payload::from_msgpack(text.to_msgpack().into_owned()).expect("what we write is msgpack");
    assert_eq!(repacked.to_json(), packed.to_json(), "JSON changes from round to round");
}

/// The bytes as a payload, in each encoding.
pub(crate) fn msgpack(data: &[u8]) {
    for made in [Payload::from_msgpack(data.to_vec()), Payload::from_json(data.to_vec())] {
        let Ok(made) = made else { continue };
        assert_eq!(made.bytes(), data, "a payload is kept as it is");
        payload(&made);
        // Parsing into a value may fail (a map with keys that are no strings, a lone surrogate), but not panic.
        let _ = made.parse::<serde_json::Value>();
    }
}

/// The first two bytes are the limit, the rest is inflated.
pub(crate) fn zlib(data: &[u8]) {
    let Some((limit, rest)) = data.split_first_chunk::<2>() else { return };
    let limit = usize::from(u16::from_be_bytes(*limit));
    match inflate(rest, limit) {
        Ok(plain) => {
            assert!(plain.len() <= limit, "over the limit");
            assert!(plain.capacity() <= (limit + 1).max(rest.len() * 4), "more was reserved than allowed");
            assert_eq!(inflate(&compress(&plain, 6), limit), Ok(plain));
        }
        Err(error) => assert!(matches!(error.code, Code::BadCompression | Code::InflatedTooLarge), "{error}"),
    }
}
