//! From a message to a frame.

use bytes::Bytes;

use crate::{PROTOCOL_VERSION, io::Frame};

use super::{Category, Payload, PayloadEncoding, Priority, compress::compress, json, msgpack};

/// What an envelope says beside its payload. Members that are `None` are not written.
#[derive(Debug, Clone, Default)]
pub struct Head<'a> {
    /// `t`.
    pub kind: &'a str,
    /// Prefix in text, `c` in msgpack. `None`: [`Category::of_kind`].
    pub category: Option<Category>,
    /// `id`.
    pub id: Option<&'a str>,
    /// `seq`.
    pub sequence: Option<u64>,
    /// `ts`.
    pub timestamp: Option<&'a str>,
    /// `pri`.
    pub priority: Option<Priority>,
    /// `cid`.
    pub correlation_id: Option<&'a str>,
    /// `tp`.
    pub topic: Option<&'a str>,
    /// `e`.
    pub epoch: Option<&'a str>,
    /// `o`.
    pub offset: Option<u64>,
    /// `sig`.
    pub signature: Option<&'a str>,
    /// `traceparent`. Written as it is: see [`is_traceparent`](super::is_traceparent).
    pub traceparent: Option<&'a str>,
}

/// How a message is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Encoding {
    /// JSON in a text frame.
    Text,
    /// JSON in a binary frame: no UTF-8 pass at the receiver.
    #[default]
    Binary,
    /// `M:` and a msgpack map in a binary frame.
    Msgpack,
}

impl Encoding {
    /// The lower-case name, the same in every language.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Binary => "binary",
            Self::Msgpack => "msgpack",
        }
    }
}

/// When JSON is compressed (`C:`). msgpack never is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compression {
    /// Messages with more bytes than this are compressed. Default 1024.
    pub threshold: usize,
    /// zlib level 1–9. Default 6.
    pub level: u32,
}

impl Default for Compression {
    fn default() -> Self {
        Self { threshold: 1024, level: 6 }
    }
}

/// Encodes one message: `t` first, `p`, `id`, `seq`, `ts`, `pri`, `cid`, `tp`, `e`, `o`, `sig`, `traceparent`, `v` last.
///
/// A msgpack map has the category as member `c` after `t`; JSON has it as a prefix. A payload that is already
/// in the encoding that is written goes out byte for byte.
///
/// With `compression`, JSON over the threshold goes out as `C:` if that is smaller.
pub fn encode(head: &Head<'_>, payload: &Payload, encoding: Encoding, compression: Option<&Compression>) -> Frame {
    let text = match encoding {
        Encoding::Msgpack => return Frame::Binary(packed(head, payload).into()),
        Encoding::Text | Encoding::Binary => text(head, payload),
    };
    if let Some(compression) = compression
        && text.len() > compression.threshold
        && let Some(smaller) = compressed(&text, compression.level)
    {
        return Frame::Binary(smaller);
    }
    match encoding {
        Encoding::Text => Frame::Text(text.into()),
        Encoding::Binary | Encoding::Msgpack => Frame::Binary(text.into()),
    }
}

/// Where members of an envelope go, in the order they come. One that is `None` is left out.
trait Members {
    fn text(&mut self, name: &str, value: Option<&str>);
    fn number(&mut self, name: &str, value: Option<u64>);
}

impl Head<'_> {
    pub(super) fn category(&self) -> Category {
        self.category.unwrap_or_else(|| Category::of_kind(self.kind))
    }

    /// Bytes that the members take at most, as long as nothing in them needs an escape.
    fn size_hint(&self) -> usize {
        let texts = [
            Some(self.kind),
            self.id,
            self.timestamp,
            self.correlation_id,
            self.topic,
            self.epoch,
            self.signature,
            self.traceparent,
        ];
        128 + texts.into_iter().flatten().map(|text| text.len()).sum::<usize>()
    }

    /// Every member after the payload.
    fn write_rest(&self, members: &mut impl Members) {
        members.text("id", self.id);
        members.number("seq", self.sequence);
        members.text("ts", self.timestamp);
        members.number("pri", self.priority.map(|priority| u64::from(priority.as_number())));
        members.text("cid", self.correlation_id);
        members.text("tp", self.topic);
        members.text("e", self.epoch);
        members.number("o", self.offset);
        members.text("sig", self.signature);
        members.text("traceparent", self.traceparent);
        members.number("v", Some(PROTOCOL_VERSION));
    }
}

fn compressed(text: &[u8], level: u32) -> Option<Bytes> {
    let data = compress(text, level);
    if data.len() + 2 >= text.len() {
        return None;
    }
    let mut frame = Vec::with_capacity(data.len() + 2);
    frame.extend_from_slice(b"C:");
    frame.extend_from_slice(&data);
    Some(frame.into())
}

pub(super) fn text(head: &Head<'_>, payload: &Payload) -> Vec<u8> {
    let mut out = Vec::with_capacity(head.size_hint() + payload.bytes().len());
    out.extend_from_slice(head.category().as_str().as_bytes());
    out.extend_from_slice(b"{\"t\":");
    json::write_string(head.kind, &mut out);
    out.extend_from_slice(b",\"p\":");
    match payload.encoding() {
        PayloadEncoding::Json => out.extend_from_slice(payload.bytes()),
        PayloadEncoding::Msgpack => msgpack::write_json(payload.bytes(), &mut out),
    }
    let mut members = TextMembers(out);
    head.write_rest(&mut members);
    members.0.push(b'}');
    members.0
}

/// JSON text in the middle of an object.
struct TextMembers(Vec<u8>);

impl TextMembers {
    fn name(&mut self, name: &str) {
        self.0.extend_from_slice(b",\"");
        self.0.extend_from_slice(name.as_bytes());
        self.0.extend_from_slice(b"\":");
    }
}

impl Members for TextMembers {
    fn text(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.name(name);
            json::write_string(value, &mut self.0);
        }
    }

    fn number(&mut self, name: &str, value: Option<u64>) {
        if let Some(value) = value {
            self.name(name);
            json::write_unsigned(value, &mut self.0);
        }
    }
}

pub(super) fn packed(head: &Head<'_>, payload: &Payload) -> Vec<u8> {
    let mut out = Vec::with_capacity(head.size_hint() + payload.bytes().len());
    out.extend_from_slice(b"M:");
    let mut count = Count(3);
    head.write_rest(&mut count);
    msgpack::write_map_header(count.0, &mut out);
    let mut members = PackedMembers(out);
    members.text("t", Some(head.kind));
    members.text("c", Some(head.category().as_str()));
    msgpack::write_str("p", &mut members.0);
    match payload.encoding() {
        PayloadEncoding::Json => msgpack::write_from_json(payload.bytes(), &mut members.0),
        PayloadEncoding::Msgpack => members.0.extend_from_slice(payload.bytes()),
    }
    head.write_rest(&mut members);
    members.0
}

/// How many members there are.
struct Count(usize);

impl Members for Count {
    fn text(&mut self, _: &str, value: Option<&str>) {
        self.0 += usize::from(value.is_some());
    }

    fn number(&mut self, _: &str, value: Option<u64>) {
        self.0 += usize::from(value.is_some());
    }
}

/// A msgpack map whose header is written.
struct PackedMembers(Vec<u8>);

impl Members for PackedMembers {
    fn text(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value {
            msgpack::write_str(name, &mut self.0);
            msgpack::write_str(value, &mut self.0);
        }
    }

    fn number(&mut self, name: &str, value: Option<u64>) {
        if let Some(value) = value {
            msgpack::write_str(name, &mut self.0);
            msgpack::write_unsigned(value, &mut self.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head() -> Head<'static> {
        Head {
            kind: "chat",
            category: None,
            id: Some("m-1"),
            sequence: Some(0),
            timestamp: Some("2026-02-20T15:30:00.000Z"),
            priority: Some(Priority::High),
            correlation_id: Some("c\"1"),
            topic: Some("room"),
            epoch: Some("0000abcd"),
            offset: Some(u64::MAX),
            signature: Some("s"),
            traceparent: Some("00-1-2-3"),
        }
    }

    fn payload(text: &str) -> Payload {
        Payload::from_json(text.to_owned()).expect("well formed")
    }

    fn text_of(frame: &Frame) -> &str {
        std::str::from_utf8(frame.bytes()).expect("text")
    }

    #[test]
    fn members_come_in_the_documented_order() {
        let frame = encode(&head(), &payload(r#"{ "a":1.0}"#), Encoding::Text, None);
        let expected = concat!(
            r#"U{"t":"chat","p":{ "a":1.0},"id":"m-1","seq":0,"ts":"2026-02-20T15:30:00.000Z","pri":8,"#,
            r#""cid":"c\"1","tp":"room","e":"0000abcd","o":18446744073709551615,"sig":"s","traceparent":"00-1-2-3","v":1}"#,
        );
        assert!(matches!(frame, Frame::Text(_)));
        assert_eq!(text_of(&frame), expected);
        let binary = encode(&head(), &payload(r#"{ "a":1.0}"#), Encoding::Binary, None);
        assert!(matches!(binary, Frame::Binary(_)));
        assert_eq!(text_of(&binary), expected);
    }

    #[test]
    fn members_that_are_not_given_are_not_written() {
        let head = Head { kind: "ping", ..Head::default() };
        let frame = encode(&head, &Payload::EMPTY, Encoding::Text, None);
        assert_eq!(text_of(&frame), r#"WSE{"t":"ping","p":{},"v":1}"#);
        let head = Head { kind: "user_snapshot", ..Head::default() };
        let frame = encode(&head, &Payload::EMPTY, Encoding::Text, None);
        assert_eq!(text_of(&frame), r#"S{"t":"user_snapshot","p":{},"v":1}"#);
    }

    #[test]
    fn msgpack_carries_the_category() {
        let frame = encode(&Head { kind: "x", ..Head::default() }, &payload("[1]"), Encoding::Msgpack, None);
        assert_eq!(&**frame.bytes(), b"M:\x84\xa1t\xa1x\xa1c\xa1U\xa1p\x91\x01\xa1v\x01");
        let all = encode(&head(), &payload("{}"), Encoding::Msgpack, None);
        assert_eq!(all.bytes()[2], 0x8E);
    }

    #[test]
    fn compression_needs_size_and_gain() {
        let compression = Compression::default();
        let head = Head { kind: "x", ..Head::default() };
        let around = encode(&head, &payload("\"\""), Encoding::Text, None).len();
        let of_size = |size: usize| payload(&format!("\"{}\"", "a".repeat(size - around)));
        let at_threshold = encode(&head, &of_size(1024), Encoding::Text, Some(&compression));
        assert_eq!((at_threshold.len(), matches!(at_threshold, Frame::Text(_))), (1024, true));
        let above = encode(&head, &of_size(1025), Encoding::Text, Some(&compression));
        assert!(matches!(&above, Frame::Binary(bytes) if bytes.starts_with(b"C:\x78\x9c") && bytes.len() < 100));

        let eager = Compression { threshold: 0, level: 9 };
        let too_short_to_gain = encode(&head, &Payload::EMPTY, Encoding::Text, Some(&eager));
        assert!(matches!(too_short_to_gain, Frame::Text(_)));
        let packed = encode(&head, &of_size(5000), Encoding::Msgpack, Some(&eager));
        assert!(packed.bytes().starts_with(b"M:"));
    }
}
