//! From a frame to a message. Every refusal has a code; nothing is allocated before its limit is checked.

use bytes::Bytes;

use crate::{error::Code, io::Frame, security::Opener};

use super::{
    Category, Limits, Message, Payload, PayloadEncoding,
    compress::inflate,
    envelope::Envelope,
    json,
    message::{Member, saturated},
    msgpack,
};

/// Why a frame was refused. Source: PROTOCOL.md §9.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {detail}")]
pub struct DecodeError {
    /// The stable code.
    pub code: Code,
    /// What was expected or where it broke; never a piece of the payload.
    pub detail: String,
}

impl DecodeError {
    pub(super) fn new(code: Code, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into() }
    }
}

/// Decodes one frame.
///
/// `opener` is the receiving half of an agreed key, if there is one. Frames are opened with it; whether
/// plaintext may still be accepted is the caller's decision, by [`Message::is_encrypted`].
///
/// Text that starts with `PING` or `WSE:PING` in any case, as old clients send it, is a message of type `ping`.
///
/// # Errors
/// [`DecodeError`] with one of the decoding codes of PROTOCOL.md §9.
pub fn decode(frame: &Frame, limits: &Limits, opener: Option<&mut Opener>) -> Result<Message, DecodeError> {
    decode_owned(frame.clone(), limits, opener)
}

/// The same for a frame that nobody needs any more: its references need not be counted.
pub(crate) fn decode_owned(frame: Frame, limits: &Limits, opener: Option<&mut Opener>) -> Result<Message, DecodeError> {
    let size = frame.len();
    if size > limits.max_frame {
        let detail = format!("{size} bytes, at most {} are allowed", limits.max_frame);
        return Err(DecodeError::new(Code::MessageTooLarge, detail));
    }
    let incoming = Incoming { limits, wire_len: size, encrypted: false };
    match frame {
        Frame::Text(bytes) => text(bytes, &incoming, Origin::Text),
        Frame::Binary(bytes) if bytes.starts_with(b"E:") => sealed(&bytes, &incoming, opener),
        Frame::Binary(bytes) => binary(bytes, &incoming, Origin::Binary),
    }
}

/// What [`decode`] does with JSON before it makes a message: checks the whole text, and finds the members of its
/// envelope. Gives the number of members that mean something. `json` has no prefix.
///
/// For measuring this part alone; nothing else needs it.
///
/// # Errors
/// [`DecodeError`], as from [`decode`].
#[doc(hidden)]
pub fn scan(json: &[u8], limits: &Limits) -> Result<usize, DecodeError> {
    json::index(json, limits.max_depth).map(|envelope| envelope.count())
}

/// What is known of a frame before it is taken apart.
pub(super) struct Incoming<'a> {
    pub(super) limits: &'a Limits,
    pub(super) wire_len: usize,
    pub(super) encrypted: bool,
}

/// `E:`: what is inside may be anything but another `E:`, so nesting ends here.
fn sealed(frame: &Bytes, incoming: &Incoming<'_>, opener: Option<&mut Opener>) -> Result<Message, DecodeError> {
    let opener = opener.ok_or_else(|| DecodeError::new(Code::NoKey, "an encrypted frame before a key was agreed"))?;
    let plain = opener.open(frame).map_err(|code| DecodeError::new(code, "the encrypted frame does not open"))?;
    binary(plain.into(), &Incoming { encrypted: true, ..*incoming }, Origin::Opened)
}

/// A binary frame that is not encrypted, or the inside of one that is.
fn binary(bytes: Bytes, incoming: &Incoming<'_>, origin: Origin) -> Result<Message, DecodeError> {
    match *bytes {
        [b'C', b':', ..] => compressed(&bytes[2..], incoming),
        [b'M', b':', ..] => packed(bytes.slice(2..), incoming),
        [0x78, 0x01 | 0x5E | 0x9C | 0xDA, ..] => compressed(&bytes, incoming),
        [0x80..=0x8F | 0xDE | 0xDF, ..] => packed(bytes, incoming),
        _ => text(bytes, incoming, origin),
    }
}

/// Compressed text. It holds text only, so nothing nests in it.
fn compressed(data: &[u8], incoming: &Incoming<'_>) -> Result<Message, DecodeError> {
    text(inflate(data, incoming.limits.max_inflated)?.into(), incoming, Origin::Compressed)
}

fn packed(bytes: Bytes, incoming: &Incoming<'_>) -> Result<Message, DecodeError> {
    let envelope = msgpack::index(&bytes, incoming.limits.max_depth)?;
    envelope.to_message(bytes, PayloadEncoding::Msgpack, None, incoming)
}

/// Where text comes from.
#[derive(Debug, Clone, Copy)]
enum Origin {
    /// A text frame.
    Text,
    /// The inside of `E:`.
    Opened,
    /// A binary frame without a marker.
    Binary,
    /// Inflated.
    Compressed,
}

impl Origin {
    const fn may_be_text_ping(self) -> bool {
        matches!(self, Self::Text | Self::Opened)
    }

    /// Whether this is text for certain, so that bytes which are not UTF-8 are bad text, not an unknown frame.
    const fn is_surely_text(self) -> bool {
        matches!(self, Self::Text | Self::Compressed)
    }
}

/// JSON with or without a prefix.
fn text(bytes: Bytes, incoming: &Incoming<'_>, origin: Origin) -> Result<Message, DecodeError> {
    let start = bytes.iter().position(|byte| !matches!(byte, b' ' | b'\t' | b'\n' | b'\r')).unwrap_or(bytes.len());
    let (prefix, skip) = match &bytes[start..] {
        [b'{', ..] => (None, 0),
        [b'U', b'{', ..] => (Some(Category::Update), 1),
        [b'S', b'{', ..] => (Some(Category::Snapshot), 1),
        [b'W', b'S', b'E', b'{', ..] => (Some(Category::System), 3),
        rest if origin.may_be_text_ping() && is_text_ping(rest) => return ping(rest, incoming),
        rest => return Err(no_envelope(rest, incoming, origin)),
    };
    let body = if start + skip == 0 { bytes } else { bytes.slice(start + skip..) };
    let mut envelope = Envelope::default();
    json::index_into(&mut envelope, &body, incoming.limits.max_depth)?;
    envelope.to_message(body, PayloadEncoding::Json, prefix, incoming)
}

fn is_text_ping(text: &[u8]) -> bool {
    let starts_with = |word: &[u8]| text.get(..word.len()).is_some_and(|head| head.eq_ignore_ascii_case(word));
    starts_with(b"PING") || starts_with(b"WSE:PING")
}

fn ping(text: &[u8], incoming: &Incoming<'_>) -> Result<Message, DecodeError> {
    const KIND: &[u8] = b"ping";
    json::check_utf8(text)?;
    Ok(Message {
        payload: Payload::part(PayloadEncoding::Json, Bytes::from_static(KIND), None),
        category: None,
        kind: Member::new(0, KIND.len() as u32),
        id: Member::ABSENT,
        sequence: None,
        timestamp: Member::ABSENT,
        topic: Member::ABSENT,
        epoch: Member::ABSENT,
        offset: None,
        priority: None,
        correlation_id: Member::ABSENT,
        signature: Member::ABSENT,
        traceparent: Member::ABSENT,
        version: None,
        wire_len: saturated(incoming.wire_len),
        encrypted: incoming.encrypted,
    })
}

/// Finds the right code for text that does not start like an envelope.
fn no_envelope(text: &[u8], incoming: &Incoming<'_>, origin: Origin) -> DecodeError {
    let is_json_start = matches!(text.first(), Some(b'[' | b'"' | b'-' | b'0'..=b'9'));
    let is_word = matches!(text.trim_ascii_end(), b"true" | b"false" | b"null");
    if text.is_empty() || is_json_start || is_word {
        return match json::index(text, incoming.limits.max_depth) {
            Ok(_) => DecodeError::new(Code::InvalidEnvelope, "the message is no object"),
            Err(error) => error,
        };
    }
    match json::check_utf8(text) {
        Err(error) if origin.is_surely_text() => error,
        _ => DecodeError::new(Code::UnknownPrefix, "the frame starts with no known prefix"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text_frame(text: &str) -> Frame {
        Frame::Text(Bytes::copy_from_slice(text.as_bytes()))
    }

    fn code(frame: &Frame, limits: &Limits) -> Option<Code> {
        decode(frame, limits, None).err().map(|error| error.code)
    }

    #[test]
    fn a_payload_is_a_slice_of_its_frame() {
        let frame = text_frame(r#"U{"t":"x","p":{ "a" : 1.0 },"id":"m-1"}"#);
        let message = decode(&frame, &Limits::default(), None).expect("readable");
        assert_eq!(message.payload().bytes(), br#"{ "a" : 1.0 }"#);
        let frame_bytes = frame.bytes().as_ptr_range();
        assert!(frame_bytes.contains(&message.payload().bytes().as_ptr()));
        assert!(frame_bytes.contains(&message.id().expect("an id").as_ptr()));
    }

    #[test]
    fn limits_hold_at_their_edge() {
        let limits = Limits { max_frame: 30, max_depth: 2, max_member: 3, ..Limits::default() };
        assert_eq!(code(&text_frame(r#"{"t":"abc","p":[[1]],"x":0}"#), &limits), None);
        assert_eq!(code(&text_frame(r#"{"t":"x","p":[[1]],"xxxxx":0} "#), &limits), None);
        assert_eq!(code(&text_frame(r#"{"t":"x","p":[[1]],"xxxxx":0}  "#), &limits), Some(Code::MessageTooLarge));
        assert_eq!(code(&text_frame(r#"{"t":"x","p":[[[]]]}"#), &limits), Some(Code::TooDeep));
        assert_eq!(code(&text_frame(r#"{"t":"abcd"}"#), &limits), Some(Code::InvalidEnvelope));
        assert_eq!(code(&text_frame(r#"{"t":"x","sig":"abcd"}"#), &limits), Some(Code::InvalidEnvelope));
        // Three bytes of text from eighteen of escapes.
        assert_eq!(code(&text_frame(r#"{"t":"\u0061\u0061\u0061"}"#), &limits), None);
    }

    #[test]
    fn an_error_tells_nothing_of_the_payload() {
        let frame = text_frame(r#"{"t":"x","p":{"password":"secret"oops}}"#);
        let error = decode(&frame, &Limits::default(), None).expect_err("not JSON");
        assert_eq!(error.to_string(), r#"INVALID_JSON: expected "," or "}" at byte 33"#);
    }
}
