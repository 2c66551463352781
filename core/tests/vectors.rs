//! Runs every case of `tests/vectors/*.json` against the wire format and the ciphers.
//!
//! Each test counts the cases it checked, so that a case that is added and not understood is an error. Where
//! we differ from the captured packages on purpose, the case stands in a table below, with the reason.

use std::{fs, path::Path};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hkdf::Hkdf;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use wse_client_core::{
    error::Code,
    io::Frame,
    rng::{Rng, Seed},
    security::{
        Dialect, KeyPair, Opener, Role, SignatureForm, canonical_json, channel, sign, sign_envelope, verify,
        verify_envelope,
    },
    wire::{Category, Encoding, Limits, Message, Payload, Priority, compress, decode, encode, inflate},
};

/// What we make of a frame where the published clients do something else, or drop it without a word.
enum Ours {
    /// A message of this type.
    Reads(&'static str),
    /// Refused with this code.
    Refuses(Code),
}

use Ours::{Reads, Refuses};

/// Text frames of `envelope.json`.
const TEXT_DIFFERENCES: &[(&str, Ours, &str)] = &[
    (r#"{"p":{"a":1}}"#, Refuses(Code::InvalidEnvelope), "they call it \"unknown\"; a message has a type"),
    (r#"{"t":null,"p":{}}"#, Refuses(Code::InvalidEnvelope), "they call it \"unknown\"; a message has a type"),
    (r#"{"t":5,"p":{}}"#, Refuses(Code::InvalidEnvelope), "they hand out the number; a type is a string"),
    ("{}", Refuses(Code::InvalidEnvelope), "they call it \"unknown\"; a message has a type"),
    ("[1,2]", Refuses(Code::InvalidEnvelope), "dropped by them"),
    ("U[1,2]", Refuses(Code::UnknownPrefix), "dropped by them; a prefix stands before an object"),
    (r#"S["a"]"#, Refuses(Code::UnknownPrefix), "dropped by them; a prefix stands before an object"),
    (r#"WSE[{"t":"x"}]"#, Refuses(Code::UnknownPrefix), "dropped by them; a prefix stands before an object"),
    (r#""str""#, Refuses(Code::InvalidEnvelope), "dropped by them"),
    ("null", Refuses(Code::InvalidEnvelope), "dropped by them"),
    ("123", Refuses(Code::InvalidEnvelope), "dropped by them"),
    ("", Refuses(Code::InvalidJson), "dropped by them"),
    ("WSE", Refuses(Code::UnknownPrefix), "dropped by them"),
    ("WSE{bad", Refuses(Code::InvalidJson), "dropped by them"),
    (r#"WSE {"t":"x"}"#, Refuses(Code::UnknownPrefix), "dropped by them"),
    (r#"X{"t":"x"}"#, Refuses(Code::UnknownPrefix), "dropped by them"),
    (r#"wse{"t":"x"}"#, Refuses(Code::UnknownPrefix), "dropped by them"),
    (
        "PING:1700000000000",
        Reads("ping"),
        "dropped by their clients, read by their router; one decoder serves both ends",
    ),
    ("WSE:PING:1700000000000", Reads("ping"), "dropped by their clients, read by their router"),
    ("ping", Reads("ping"), "dropped by their clients, read by their router"),
    ("PONG:1700000000000", Refuses(Code::UnknownPrefix), "dropped by them"),
    ("WSE:PONG:1700000000000", Refuses(Code::UnknownPrefix), "dropped by them"),
    ("pong", Refuses(Code::UnknownPrefix), "dropped by them"),
    (
        r#"WSE{"t":"batch","p":{"messages":[{"t":"a","p":{"i":1},"seq":1},{"type":"b","payload":{"i":2}},5,{"t":"batch","p":{"messages":[{"t":"c","p":{}}]}}],"count":4},"v":1}"#,
        Reads("batch"),
        "they flatten it while decoding; here a batch is one message, and unpacked above the wire",
    ),
    (r#"WSE{"t":"batch","p":{"messages":[]},"v":1}"#, Reads("batch"), "as above"),
];

/// Frames of `compression.json` and `router_system.json`, as hex.
const BINARY_DIFFERENCES: &[(&str, Ours, &str)] = &[
    ("433a67617262616765", Refuses(Code::BadCompression), "`C:garbage`: an exception or dropped"),
    ("433a", Refuses(Code::BadCompression), "`C:`: an exception or dropped"),
    ("4d3a82a174a178a17081a161017a7a", Reads("x"), "`M:` with bytes behind: their client refuses, their router reads"),
    ("4d3a9101", Refuses(Code::InvalidEnvelope), "`M:` with a list: dropped by their clients"),
    ("4d3a", Refuses(Code::BadMsgpack), "`M:`: an exception"),
    (
        "453a00000000000000000000000000000000000000000000000000000000000000000000000000000000",
        Refuses(Code::NoKey),
        "`E:` without a key: dropped by them",
    ),
    ("453a", Refuses(Code::NoKey), "`E:` without a key: dropped by them"),
    ("fffe", Refuses(Code::UnknownPrefix), "dropped by them"),
    ("433a789cf3b56a5a58b2b06261410300188d04c9", Refuses(Code::InvalidUtf8), "`C:` with `M:` inside: an exception"),
    ("433a789c6b5a58b2b06261410300137f0442", Refuses(Code::InvalidUtf8), "`C:` with msgpack inside: an exception"),
    // `router_system.json`: what was sent to the router to see how it fails.
    ("504f4e473a31373030303030303030303030", Refuses(Code::UnknownPrefix), "`PONG:…` as text: ignored"),
    ("5753457b626164", Refuses(Code::InvalidJson), "`WSE{bad`: ignored"),
    ("5b312c325d", Refuses(Code::InvalidEnvelope), "`[1,2]`: ignored"),
];

fn cases(file: &str) -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors").join(file);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let value: Value = serde_json::from_str(&text).expect("the file is JSON");
    value["cases"].as_array().expect("the file has cases").clone()
}

fn str_of<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_else(|| panic!("{name} is a string in {value}"))
}

fn base64_of(value: &Value, name: &str) -> Vec<u8> {
    STANDARD.decode(str_of(value, name)).expect("base64")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16).expect("hex") as u8;
    text.as_bytes().chunks_exact(2).map(|pair| digit(&pair[0]) << 4 | digit(&pair[1])).collect()
}

fn key_of(text: &str) -> [u8; 32] {
    unhex(text).try_into().expect("32 bytes")
}

fn rng() -> Rng {
    Rng::new(Seed::from_u64(1))
}

fn read(frame: &Frame) -> Result<Message, Code> {
    decode(frame, &Limits::default(), None).map_err(|error| error.code)
}

fn payload_of(message: &Message) -> Value {
    serde_json::from_str(&message.payload().to_json()).expect("a payload is JSON")
}

/// A frame as text or binary, by the recorded opcode.
fn frame_of(opcode: &str, bytes: Vec<u8>) -> Frame {
    match opcode {
        "text" => Frame::Text(bytes.into()),
        "binary" => Frame::Binary(bytes.into()),
        other => panic!("unknown opcode {other}"),
    }
}

/// Checks a frame against a table of differences. False when it is not there.
fn is_difference(frame: &Frame, ours: Option<&Ours>) -> bool {
    match ours {
        None => return false,
        Some(Reads(kind)) => assert_eq!(read(frame).expect("readable").kind(), *kind, "{frame:?}"),
        Some(Refuses(code)) => assert_eq!(read(frame).err(), Some(*code), "{frame:?}"),
    }
    true
}

fn text_difference(text: &str) -> Option<&'static Ours> {
    TEXT_DIFFERENCES.iter().find(|(frame, ..)| *frame == text).map(|(_, ours, _)| ours)
}

fn binary_difference(bytes: &[u8]) -> Option<&'static Ours> {
    BINARY_DIFFERENCES.iter().find(|(frame, ..)| unhex(frame) == bytes).map(|(_, ours, _)| ours)
}

/// Compares a message with what a published client made of the same frame.
fn assert_like_client(message: &Message, expected: &Value) {
    assert_eq!(json!(message.kind()), expected["type"], "type");
    // They wrap what is no object, and replace what is empty; here a payload stays what it was.
    let payload = match payload_of(message) {
        Value::Object(map) => Value::Object(map),
        Value::Null | Value::Bool(false) => json!({}),
        Value::Number(number) if number.as_f64() == Some(0.0) => json!({}),
        other => json!({ "data": other }),
    };
    assert_eq!(payload, expected["payload"], "payload");
    // An id that is a number is handed out as its text.
    let id = match &expected["id"] {
        Value::Number(number) => json!(number.to_string()),
        other => other.clone(),
    };
    assert_eq!(json!(message.id()), id, "id");
    // A counter that is no number is absent.
    assert_eq!(message.sequence(), expected["sequence"].as_u64(), "sequence");
    assert_eq!(json!(message.timestamp()), expected["timestamp"], "timestamp");
    // They fill in 1 where the sender wrote none.
    assert_eq!(json!(message.version().unwrap_or(1)), expected["version"], "version");
    assert_eq!(json!(message.category().map(Category::as_str)), expected["category"], "category");
    assert_eq!(message.priority(), expected["priority"].as_i64().map(Priority::from_number), "priority");
    assert_eq!(json!(message.correlation_id()), expected["correlation_id"], "correlation_id");
    assert_eq!(json!(message.signature()), expected["signature"], "signature");
    if expected.get("topic").is_some() {
        assert_eq!(json!(message.topic()), expected["topic"], "topic");
        assert_eq!(json!(message.epoch()), expected["epoch"], "epoch");
        assert_eq!(json!(message.offset()), expected["offset"], "offset");
    }
}

/// Compares a message with the members of its map, taken apart by other means than ours.
fn assert_like_members(message: &Message, prefix: Option<&str>, members: &Value) {
    let member = |name: &str, alias: &str| members.get(name).or_else(|| members.get(alias)).cloned();
    assert_eq!(Some(json!(message.kind())), member("t", "type"), "type of {members}");
    assert_eq!(payload_of(message), member("p", "payload").unwrap_or_else(|| json!({})), "payload");
    assert_eq!(json!(message.id()), members["id"], "id");
    assert_eq!(json!(message.sequence()), members["seq"], "seq");
    assert_eq!(json!(message.timestamp()), members["ts"], "ts");
    assert_eq!(json!(message.version()), members["v"], "v");
    assert_eq!(json!(message.correlation_id()), members["cid"], "cid");
    assert_eq!(json!(message.signature()), members["sig"], "sig");
    assert_eq!(json!(message.topic()), members["tp"], "tp");
    assert_eq!(json!(message.epoch()), members["e"], "e");
    assert_eq!(json!(message.offset()), members["o"], "o");
    assert_eq!(message.priority(), members["pri"].as_i64().map(Priority::from_number), "pri");
    let category = prefix.or_else(|| members["c"].as_str());
    assert_eq!(message.category().map(Category::as_str), category, "category");
}

/// Decodes a frame that is not encrypted and compares it with what serde finds in it.
fn assert_reads(frame: &Frame, bytes: &[u8]) {
    let message = read(frame).unwrap_or_else(|code| panic!("{code}: {frame:?}"));
    assert_eq!(message.wire_len(), frame.len());
    assert!(!message.is_encrypted());
    assert_content(&message, bytes);
}

/// Compares a message with the plain frame it came in.
fn assert_content(message: &Message, bytes: &[u8]) {
    if let Some(packed) = bytes.strip_prefix(b"M:") {
        return assert_like_members(message, None, &rmp_serde::from_slice(packed).expect("msgpack"));
    }
    if let Some(data) = bytes.strip_prefix(b"C:") {
        return assert_content(message, &inflate(data, 1 << 20).expect("zlib"));
    }
    let text = std::str::from_utf8(bytes).expect("text");
    let (prefix, json) = text.split_at(text.find('{').expect("an object"));
    let members = serde_json::from_str(json).expect("JSON");
    assert_like_members(message, Some(prefix).filter(|prefix| !prefix.is_empty()), &members);
}

/// Writes a message again and reads it back: nothing may change.
fn assert_writes(message: &Message) {
    for encoding in [Encoding::Text, Encoding::Binary, Encoding::Msgpack] {
        let again =
            read(&encode(&message.head(), message.payload(), encoding, None)).expect("what we write is readable");
        assert_eq!(again.kind(), message.kind());
        assert_eq!(payload_of(&again), payload_of(message));
        assert_eq!(again.category(), Some(message.category().unwrap_or_else(|| Category::of_kind(message.kind()))));
        assert_eq!(
            (again.id(), again.sequence(), again.timestamp(), again.priority(), again.correlation_id()),
            (message.id(), message.sequence(), message.timestamp(), message.priority(), message.correlation_id())
        );
        assert_eq!(
            (again.topic(), again.epoch(), again.offset()),
            (message.topic(), message.epoch(), message.offset())
        );
        assert_eq!(again.version(), Some(1));
    }
}

#[test]
fn envelope() {
    let cases = cases("envelope.json");
    let (mut decoded, mut samples, mut encoded, mut different) = (0, 0, 0, 0);
    for case in &cases {
        match str_of(case, "kind") {
            "decode" => {
                let text = str_of(case, "text");
                let frame = Frame::Text(text.to_owned().into());
                if is_difference(&frame, text_difference(text)) {
                    different += 1;
                    continue;
                }
                let expected = &case["client_2.5.1"]["result"];
                assert!(expected.is_object(), "neither a message nor a listed difference: {text}");
                let message = read(&frame).unwrap_or_else(|code| panic!("{code}: {text}"));
                assert_like_client(&message, expected);
                // The same bytes mean the same in a binary frame.
                assert_like_client(&read(&Frame::Binary(text.to_owned().into())).expect("readable"), expected);
                assert_writes(&message);
                decoded += 1;
            }
            "wire_sample" => {
                let (opcode, bytes) = match case.get("data_b64") {
                    Some(_) => (str_of(case, "frame"), base64_of(case, "data_b64")),
                    None => ("text", str_of(case, "text").as_bytes().to_vec()),
                };
                assert_reads(&frame_of(opcode, bytes.clone()), &bytes);
                samples += 1;
            }
            "encode" => {
                for name in ["client_1.3.9_text", "client_2.5.1_text"] {
                    let text = str_of(case, name);
                    let frame = Frame::Text(text.to_owned().into());
                    assert_reads(&frame, text.as_bytes());
                    let message = read(&frame).expect("readable");
                    assert_eq!(message.kind(), str_of(case, "type"));
                    assert_eq!(payload_of(&message), case["payload"]);
                    assert_writes(&message);
                }
                encoded += 1;
            }
            other => panic!("unknown kind {other}"),
        }
    }
    assert_eq!((decoded, different, samples, encoded), (26, TEXT_DIFFERENCES.len(), 89, 30));
    assert_eq!(decoded + different + samples + encoded, cases.len());
}

#[test]
fn compression() {
    let cases = cases("compression.json");
    let (mut texts, mut decoded, mut different) = (0, 0, 0);
    for case in &cases {
        let bytes = base64_of(case, "frame_b64");
        let frame = Frame::Binary(bytes.clone().into());
        if let Some(text) = case["text"].as_str() {
            let data = bytes.strip_prefix(b"C:").expect("a C: frame");
            assert_eq!(hex(&data[..2]), str_of(case, "zlib_header_hex"));
            assert_eq!(inflate(data, text.len()).expect("inflates"), text.as_bytes());
            assert_eq!(inflate(&data[2..], text.len()).expect("raw deflate inflates"), text.as_bytes());
            assert_eq!(inflate(&compress(text.as_bytes(), 6), text.len()).expect("ours inflates"), text.as_bytes());
            assert_eq!(&compress(text.as_bytes(), 6)[..2], b"\x78\x9c");
            if !text.is_empty() {
                let error = inflate(data, text.len() - 1).expect_err("over the limit");
                assert_eq!(error.code, Code::InflatedTooLarge);
            }
            if let Some(over) = case["over_1024_threshold"].as_bool() {
                assert_eq!(over, text.len() > 1024);
            }
            if text.contains("\"t\"") {
                assert_reads(&frame, &bytes);
            }
            texts += 1;
        } else if is_difference(&frame, binary_difference(&bytes)) {
            different += 1;
        } else {
            let expected = &case["client_2.5.1"]["result"];
            assert!(expected.is_object(), "neither a message nor a listed difference: {}", hex(&bytes));
            assert_like_client(&read(&frame).expect("readable"), expected);
            decoded += 1;
        }
    }
    assert_eq!((texts, decoded, different), (41, 12, 10));
    assert_eq!(texts + decoded + different, cases.len());
}

/// Replaces what stands for bytes in the file by what it is in JSON.
fn with_hex_strings(value: &Value) -> Value {
    match value {
        Value::Object(map) => match map.get("bytes_hex") {
            Some(hex) => hex.clone(),
            None => map.iter().map(|(name, value)| (name.clone(), with_hex_strings(value))).collect(),
        },
        Value::Array(items) => items.iter().map(with_hex_strings).collect(),
        other => other.clone(),
    }
}

#[test]
fn msgpack() {
    let cases = cases("msgpack.json");
    let (mut packed, mut unpacked, mut frames) = (0, 0, 0);
    for case in &cases {
        match str_of(case, "kind") {
            "pack" => {
                for name in ["server_rust_b64", "client_b64"] {
                    let bytes = base64_of(case, name);
                    let payload = Payload::from_msgpack(bytes.clone()).expect("msgpack");
                    let text = payload.to_json().into_owned();
                    assert_eq!(serde_json::from_str::<Value>(&text).expect("JSON"), case["value"]);
                    // From JSON we write the very bytes of the other implementations.
                    assert_eq!(hex(&Payload::from_json(text).expect("JSON").to_msgpack()), hex(&bytes));
                    let message = read(&Frame::Binary(bytes.into())).expect("raw msgpack is readable");
                    assert_like_members(&message, None, &case["value"]);
                }
                packed += 1;
            }
            "server_unpack" => {
                let bytes = base64_of(case, "msgpack_b64");
                let framed = Frame::Binary([b"M:".as_slice(), &bytes].concat().into());
                let payload = Payload::from_msgpack(bytes.clone());
                if bytes.ends_with(b"zz") {
                    // Bytes after the value: a payload of ours has none, a frame of others may.
                    assert!(payload.is_err());
                    assert_eq!(read(&framed).expect("readable").kind(), "x");
                } else if case["server_2.5.1"]["ok"] == json!(true) {
                    let text = payload.expect("msgpack").to_json().into_owned();
                    let value: Value = serde_json::from_str(&text).expect("JSON");
                    assert_eq!(value, with_hex_strings(&case["server_2.5.1"]["result"]));
                    assert_like_members(&read(&framed).expect("readable"), None, &value);
                } else {
                    // 1.3.9 took any depth, and the marker that msgpack never uses as nil; 2.5.1 and we do not.
                    let expected = if bytes.len() < 65 { Code::BadMsgpack } else { Code::TooDeep };
                    assert!(payload.is_err());
                    assert_eq!(read(&framed).err(), Some(expected));
                    assert_eq!(case["server_2.5.1"]["ok"], json!(false));
                }
                unpacked += 1;
            }
            "wire_frame" => {
                let bytes = base64_of(case, "frame_b64");
                let message = read(&Frame::Binary(bytes.into())).expect("readable");
                assert_like_members(&message, None, &case["value"]);
                assert_writes(&message);
                frames += 1;
            }
            other => panic!("unknown kind {other}"),
        }
    }
    assert_eq!((packed, unpacked, frames), (2, 9, 6));
    assert_eq!(packed + unpacked + frames, cases.len());
}

#[test]
fn crypto() {
    let cases = cases("crypto.json");
    let mut frames = 0;
    for case in &cases {
        let dialect = match str_of(case, "dialect") {
            "1.3.9" => Dialect::V1,
            "2.5.1" => Dialect::V2,
            other => panic!("unknown dialect {other}"),
        };
        let ours = KeyPair::from_secret_bytes(&key_of(str_of(case, "private_key_hex"))).expect("a secret");
        let peer = KeyPair::from_secret_bytes(&key_of(str_of(case, "peer_private_key_hex"))).expect("a secret");
        assert_eq!(ours.public_base64(), str_of(case, "public_key_b64"));
        assert_eq!(peer.public_base64(), str_of(case, "peer_public_key_b64"));

        // The captured parameters really lead to the captured key.
        let key = key_of(str_of(case, "aes_key_hex"));
        let salt = case["hkdf"]["salt_utf8"].as_str().map(str::as_bytes);
        let mut derived = [0; 32];
        Hkdf::<Sha256>::new(salt, &unhex(str_of(case, "ecdh_shared_secret_hex")))
            .expand(str_of(&case["hkdf"], "info_utf8").as_bytes(), &mut derived)
            .expect("32 bytes");
        assert_eq!(derived, key);
        assert_eq!(str_of(case, "aes_key_hex_from_client_package"), str_of(case, "aes_key_hex"));

        let (mut sealer, mut opener) =
            ours.agree(&peer.public_base64(), dialect, Role::Client, &mut rng()).expect("agreed");
        let (_, mut other_end) = channel(&key, Role::Server, &mut rng());
        for frame in case["frames"].as_array().expect("frames") {
            let bytes = base64_of(frame, "e_frame_b64");
            let plain = str_of(frame, "plaintext");
            assert_eq!(hex(&bytes[2..14]), str_of(frame, "iv_hex"));
            assert_eq!(opener.open(&bytes).expect("opens"), plain.as_bytes());
            assert_eq!(opener.open(&bytes), Err(Code::DecryptFailed), "a repeated frame");
            assert_eq!(
                other_end.open(&sealer.seal(plain.as_bytes()).expect("seals")).expect("opens"),
                plain.as_bytes()
            );
            frames += 1;
        }
    }
    assert_eq!((cases.len(), frames), (8, 64));
}

fn sha256_hex(text: &str) -> String {
    hex(&Sha256::digest(text))
}

/// Of `signing.json`, the session tokens are not looked at: they are the router's own affair and never cross the
/// wire. The published verifier hashes the payload alone and so refuses its own signatures (`verify_*`); ours
/// checks the whole envelope, as the signer means it. The secrets of the captured messages are unknown.
#[test]
fn signing() {
    let cases = cases("signing.json");
    let (mut raw, mut sigs, mut wire) = (0, 0, 0);
    for case in &cases {
        match str_of(case, "kind") {
            "raw" => {
                let text = str_of(case, "payload_json");
                assert_eq!(sha256_hex(text), str_of(case, "sha256_hex"));
                assert_eq!(Payload::from_json(text.to_owned()).is_ok(), !text.is_empty());
                let key = unhex(str_of(case, "secret_hex"));
                let hashed = sign(&key, text, SignatureForm::HashedHex);
                assert_eq!(hashed, str_of(case, "server_rust_sign_message_hex"));
                assert_eq!(hashed, str_of(case, "client_1.3.9_sign_hex"));
                let plain = sign(&key, text, SignatureForm::PlainBase64);
                assert_eq!(plain, str_of(case, "client_2.5.1_sign_b64"));
                assert!(verify(&key, text, &hashed) && verify(&key, text, &plain));
                assert!(!verify(b"another key", text, &hashed) && !verify(b"another key", text, &plain));
                raw += 1;
            }
            "router_1.3.9_sig" => {
                let canonical = str_of(case, "canonical_json");
                assert_eq!(sha256_hex(canonical), str_of(case, "hash"));
                assert_eq!(serde_json::from_str::<Value>(canonical).expect("JSON"), case["message"]);
                Payload::from_json(canonical.to_owned()).expect("JSON");
                assert_eq!(canonical_json(&case["message"].to_string()).as_deref(), Some(canonical));
                let key = unhex(str_of(case, "secret_hex"));
                let signature = sign_envelope(&key, canonical, str_of(case, "timestamp"), str_of(case, "nonce"));
                assert_eq!(signature, str_of(case, "sig"));
                assert!(verify_envelope(&key, canonical, &signature));
                sigs += 1;
            }
            "router_1.3.9_wire" => {
                let text = str_of(case, "text");
                let frame = Frame::Text(text.to_owned().into());
                assert_reads(&frame, text.as_bytes());
                assert_eq!(read(&frame).expect("readable").signature(), case["sig"].as_str());
                let canonical = str_of(case, "canonical_json");
                assert_eq!(sha256_hex(canonical) == str_of(case, "hash"), case["hash_matches_sig"] == json!(true));
                let json = text.get(text.find('{').expect("an object")..).expect("text");
                let mut members: Value = serde_json::from_str(json).expect("JSON");
                members.as_object_mut().expect("an object").remove("sig");
                assert_eq!(canonical_json(&members.to_string()).as_deref(), Some(canonical));
                wire += 1;
            }
            other => panic!("unknown kind {other}"),
        }
    }
    assert_eq!((raw, sigs, wire), (12, 3, 4));
    assert_eq!(raw + sigs + wire, cases.len());
}

#[test]
fn hello() {
    let cases = cases("hello.json");
    let (mut plain, mut sealed, mut keyless, mut closes) = (0, 0, 0, 0);
    for case in &cases {
        let mut openers = case["client_outcome"]["aes_key_hex"].as_str().map(|key| {
            let half = |role| channel(&key_of(key), role, &mut rng()).1;
            (half(Role::Server), half(Role::Client))
        });
        for frame in case["frames"].as_array().expect("frames") {
            let opcode = str_of(frame, "opcode");
            if opcode == "close" {
                closes += 1;
                continue;
            }
            let bytes = base64_of(frame, "data_b64");
            let ws = frame_of(opcode, bytes.clone());
            if !bytes.starts_with(b"E:") {
                assert_reads(&ws, &bytes);
                plain += 1;
                continue;
            }
            assert_eq!(read(&ws).err(), Some(Code::NoKey));
            // The router never opened what it was sent in this run, and the key was not recorded.
            let Some((server, client)) = openers.as_mut() else {
                assert!(str_of(case, "name").starts_with("a4 "), "{}", case["name"]);
                keyless += 1;
                continue;
            };
            let opener = if str_of(frame, "dir") == "c2s" { server } else { client };
            let inside = reopened(case, &bytes);
            let message = decode(&ws, &Limits::default(), Some(opener)).expect("opens and decodes");
            assert!(message.is_encrypted());
            assert_content(&message, &inside);
            sealed += 1;
        }
    }
    assert_eq!((cases.len(), plain, sealed, keyless, closes), (12, 92, 10, 2, 24));
}

/// The inside of an `E:` frame, by an opener that has seen nothing else.
fn reopened(case: &Value, frame: &[u8]) -> Vec<u8> {
    let key = key_of(str_of(&case["client_outcome"], "aes_key_hex"));
    let (_, mut opener): (_, Opener) = channel(&key, Role::Client, &mut rng());
    opener.open(frame).expect("opens")
}

#[test]
fn router_system() {
    let cases = cases("router_system.json");
    let (mut sent, mut refused, mut received, mut without_frames) = (0, 0, 0, 0);
    for case in &cases {
        let mut frames = 0;
        if let Some(note) = case["sent"]["note"].as_str() {
            let size = note.split(' ').next().and_then(|size| size.parse().ok()).expect("a size");
            assert_eq!(read(&Frame::Text(vec![b' '; size].into())).err(), Some(Code::MessageTooLarge));
            refused += 1;
            frames += 1;
        } else if case.get("sent").is_some() {
            let bytes = base64_of(&case["sent"], "data_b64");
            let frame = frame_of(str_of(&case["sent"], "opcode"), bytes.clone());
            if is_difference(&frame, binary_difference(&bytes)) {
                refused += 1;
            } else if !bytes.contains(&b'{')
                && !bytes.starts_with(b"C:")
                && !bytes.starts_with(b"M:")
                && bytes[0] < 0x80
            {
                assert_eq!(read(&frame).expect("a text ping").kind(), "ping");
                sent += 1;
            } else if bytes[0] == 0x82 {
                let members = rmp_serde::from_slice(&bytes).expect("msgpack");
                assert_like_members(&read(&frame).expect("raw msgpack is readable"), None, &members);
                sent += 1;
            } else {
                assert_reads(&frame, &bytes);
                sent += 1;
            }
            frames += 1;
        }
        for frame in case["frames"].as_array().into_iter().flatten() {
            let bytes = base64_of(frame, "data_b64");
            assert_reads(&frame_of(str_of(frame, "opcode"), bytes.clone()), &bytes);
            received += 1;
            frames += 1;
        }
        // Refused upgrades and plain closes: nothing for the wire format.
        if frames == 0 {
            assert!(case.get("error").is_some() || case.get("close_code").is_some(), "{case}");
            without_frames += 1;
        }
    }
    assert_eq!((cases.len(), sent, refused, received, without_frames), (59, 42, 4, 56, 4));
}

/// Frames of our own, good and bad: every kind of frame, every decoding code.
#[test]
fn frames() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors/frames.json");
    let file: Value = serde_json::from_str(&fs::read_to_string(path).expect("readable")).expect("JSON");
    let limit = |name: &str| file["limits"][name].as_u64().expect("a limit") as usize;
    let limits = Limits {
        max_frame: limit("max_frame"),
        max_inflated: limit("max_inflated"),
        max_depth: limit("max_depth"),
        max_member: limit("max_member"),
        ..Limits::default()
    };
    let mut codes = std::collections::BTreeSet::new();
    let cases = file["cases"].as_array().expect("cases");
    for case in cases {
        let name = str_of(case, "name");
        let frame = match case["frame"].as_object().and_then(|frame| frame.iter().next()).expect("a frame") {
            (kind, Value::String(text)) if kind == "text" => Frame::Text(text.clone().into()),
            (kind, Value::String(text)) if kind == "text_hex" => Frame::Text(unhex(text).into()),
            (kind, Value::String(text)) if kind == "binary" => Frame::Binary(unhex(text).into()),
            other => panic!("{name}: unknown frame {other:?}"),
        };
        let (_, mut opener) = channel(&key_of(str_of(&file, "aes_key_hex")), Role::Server, &mut rng());
        let opener = if case["without_key"] == json!(true) { None } else { Some(&mut opener) };
        let result = decode(&frame, &limits, opener);
        let expected = &case["expect"];
        if let Some(code) = expected["error"].as_str() {
            let error = result.expect_err(name);
            assert_eq!(error.code.as_str(), code, "{name}: {error}");
            codes.insert(code.to_owned());
            continue;
        }
        let message = result.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(message.kind(), str_of(expected, "kind"), "{name}");
        assert_eq!(json!(message.category().map(Category::as_str)), expected["category"], "{name}: category");
        assert_eq!(json!(message.id()), expected["id"], "{name}: id");
        assert_eq!(json!(message.sequence()), expected["seq"], "{name}: seq");
        assert_eq!(json!(message.timestamp()), expected["ts"], "{name}: ts");
        assert_eq!(json!(message.priority().map(Priority::as_number)), expected["pri"], "{name}: pri");
        assert_eq!(json!(message.correlation_id()), expected["cid"], "{name}: cid");
        assert_eq!(json!(message.topic()), expected["tp"], "{name}: tp");
        assert_eq!(json!(message.epoch()), expected["e"], "{name}: e");
        assert_eq!(json!(message.offset()), expected["o"], "{name}: o");
        assert_eq!(json!(message.version()), expected["v"], "{name}: v");
        assert_eq!(message.is_encrypted(), expected["encrypted"] == json!(true), "{name}: encrypted");
        if let Some(payload) = expected.get("payload") {
            assert_eq!(payload_of(&message), *payload, "{name}: payload");
        }
    }
    assert_eq!(cases.len(), 77);
    // Every code that decoding can give. ENCRYPTION_REQUIRED is the decision of those who hold the key.
    let expected = [
        Code::BadCompression,
        Code::BadMsgpack,
        Code::DecryptFailed,
        Code::InflatedTooLarge,
        Code::InvalidEnvelope,
        Code::InvalidJson,
        Code::InvalidUtf8,
        Code::MessageTooLarge,
        Code::NoKey,
        Code::TooDeep,
        Code::UnknownPrefix,
    ];
    assert!(codes.iter().map(String::as_str).eq(expected.into_iter().map(Code::as_str)), "{codes:?}");
}
