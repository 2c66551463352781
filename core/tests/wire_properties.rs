//! Properties of the wire format that must hold for any input.

use proptest::{collection::vec, option, prelude::*};
use serde::de::IgnoredAny;
use serde_json::{Map, Number, Value};
use wse_client_core::{
    error::Code,
    io::Frame,
    rng::{Rng, Seed},
    security::{Opener, Role, Sealer, channel},
    wire::{Category, Compression, Encoding, Head, Limits, Payload, Priority, decode, encode},
};

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        vec(any::<char>(), 0..12).prop_map(String::from_iter),
        vec(prop::char::range(' ', '~'), 0..40).prop_map(String::from_iter),
        Just("\u{0}\u{1f}\"\\/\u{7f}\u{2028}😀".to_owned()),
    ]
}

fn number() -> impl Strategy<Value = Number> {
    prop_oneof![
        any::<i64>().prop_map(Number::from),
        any::<u64>().prop_map(Number::from),
        (-40_000..70_000i64).prop_map(Number::from),
        any::<f64>().prop_filter_map("finite", Number::from_f64),
    ]
}

fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        number().prop_map(Value::Number),
        text().prop_map(Value::String),
    ];
    leaf.prop_recursive(6, 80, 20, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..20).prop_map(Value::Array),
            vec((text(), inner), 0..20).prop_map(|members| Value::Object(Map::from_iter(members))),
        ]
    })
}

/// Text made of what JSON is made of: mostly wrong, but wrong in interesting places.
fn json_like() -> impl Strategy<Value = Vec<u8>> {
    let pieces = prop::sample::select(vec![
        "{", "}", "[", "]", ":", ",", "\"", "\\", "\\u00", "\\n", "\\ud83d", "0", "-", "1", "12", ".", "e", "E+",
        "true", "false", "null", "nul", " ", "\n", "\t", "a", "é", "\u{1}", "\"a\"", "{\"a\":", "\"b\":1", "[]", "{}",
    ]);
    vec(pieces, 0..16).prop_map(|pieces| pieces.concat().into_bytes())
}

/// Well-formed text with one byte changed, added or taken away.
fn nearly_json() -> impl Strategy<Value = Vec<u8>> {
    (json(), any::<prop::sample::Index>(), any::<u8>(), 0..3).prop_map(|(value, at, byte, how)| {
        let mut bytes = value.to_string().into_bytes();
        let at = at.index(bytes.len());
        match how {
            0 => bytes[at] = byte,
            1 => bytes.insert(at, byte),
            _ => drop(bytes.remove(at)),
        }
        bytes
    })
}

fn serde_accepts(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_ok_and(|text| serde_json::from_str::<IgnoredAny>(text).is_ok())
}

#[derive(Debug, Clone)]
struct Members {
    kind: String,
    category: Option<Category>,
    id: Option<String>,
    sequence: Option<u64>,
    timestamp: Option<String>,
    priority: Option<Priority>,
    correlation_id: Option<String>,
    topic: Option<String>,
    epoch: Option<String>,
    offset: Option<u64>,
}

impl Members {
    fn head(&self) -> Head<'_> {
        Head {
            kind: &self.kind,
            category: self.category,
            id: self.id.as_deref(),
            sequence: self.sequence,
            timestamp: self.timestamp.as_deref(),
            priority: self.priority,
            correlation_id: self.correlation_id.as_deref(),
            topic: self.topic.as_deref(),
            epoch: self.epoch.as_deref(),
            offset: self.offset,
            signature: None,
            traceparent: None,
        }
    }
}

fn members() -> impl Strategy<Value = Members> {
    let category = prop::sample::select(vec![Category::System, Category::Snapshot, Category::Update]);
    let priority = prop::sample::select(vec![
        Priority::Background,
        Priority::Low,
        Priority::Normal,
        Priority::High,
        Priority::Critical,
    ]);
    let names = (option::of(text()), option::of(text()), option::of(text()), option::of(text()), option::of(text()));
    let numbers = (option::of(any::<u64>()), option::of(any::<u64>()));
    let kind = text().prop_filter("a type has content", |kind| !kind.is_empty());
    (kind, option::of(category), option::of(priority), names, numbers).prop_map(
        |(kind, category, priority, (id, timestamp, correlation_id, topic, epoch), (sequence, offset))| Members {
            kind,
            category,
            id,
            sequence,
            timestamp,
            priority,
            correlation_id,
            topic,
            epoch,
            offset,
        },
    )
}

fn encoding() -> impl Strategy<Value = Encoding> {
    prop::sample::select(vec![Encoding::Text, Encoding::Binary, Encoding::Msgpack])
}

fn compression() -> impl Strategy<Value = Option<Compression>> {
    option::of((0..200usize, 1..10u32).prop_map(|(threshold, level)| Compression { threshold, level }))
}

fn halves() -> (Sealer, Opener) {
    let mut rng = Rng::new(Seed::from_u64(5));
    let (sealer, _) = channel(&[7; 32], Role::Client, &mut rng);
    let (_, opener) = channel(&[7; 32], Role::Server, &mut rng);
    (sealer, opener)
}

/// Decodes without and with a key; only whether it returns matters.
fn decode_any_way(bytes: &[u8]) {
    let limits = Limits { max_inflated: 1 << 16, ..Limits::default() };
    for frame in [Frame::Text(bytes.to_vec().into()), Frame::Binary(bytes.to_vec().into())] {
        let (_, mut opener) = halves();
        for opener in [None, Some(&mut opener)] {
            if let Ok(message) = decode(&frame, &limits, opener) {
                // What a message gives out must be usable, whatever it came from.
                assert!(!message.kind().is_empty());
                assert_eq!(message.wire_len(), bytes.len());
                serde_json::from_str::<IgnoredAny>(&message.payload().to_json()).expect("a payload is JSON");
                Payload::from_msgpack(message.payload().to_msgpack().into_owned()).expect("a payload is msgpack");
            }
        }
    }
}

proptest! {
    #[test]
    fn the_scanner_and_serde_agree_on_pieces(bytes in json_like()) {
        prop_assert_eq!(Payload::from_json(bytes.clone()).is_ok(), serde_accepts(&bytes));
    }

    #[test]
    fn the_scanner_and_serde_agree_on_near_misses(bytes in nearly_json()) {
        prop_assert_eq!(Payload::from_json(bytes.clone()).is_ok(), serde_accepts(&bytes));
    }

    #[test]
    fn the_scanner_and_serde_agree_on_bytes(bytes in vec(any::<u8>(), 0..24)) {
        prop_assert_eq!(Payload::from_json(bytes.clone()).is_ok(), serde_accepts(&bytes));
    }

    #[test]
    fn the_scanner_takes_what_serde_writes(value in json()) {
        for text in [value.to_string(), serde_json::to_string_pretty(&value).expect("JSON")] {
            let payload = Payload::from_json(text.clone()).expect("well formed");
            prop_assert_eq!(payload.bytes(), text.as_bytes());
        }
    }

    #[test]
    fn json_survives_msgpack(value in json()) {
        let payload = Payload::from_json(value.to_string()).expect("well formed");
        let packed = Payload::from_msgpack(payload.to_msgpack().into_owned()).expect("what we write is msgpack");
        prop_assert_eq!(&packed.parse::<Value>().expect("msgpack"), &value);
        prop_assert_eq!(&serde_json::from_str::<Value>(&packed.to_json()).expect("JSON"), &value);
        // Both are in their shortest form, so another round changes nothing.
        let again = Payload::from_json(packed.to_json().into_owned()).expect("well formed");
        prop_assert_eq!(again.to_msgpack(), packed.to_msgpack());
    }

    #[test]
    fn what_is_encoded_is_decoded(
        members in members(),
        value in json(),
        is_packed in any::<bool>(),
        encoding in encoding(),
        compression in compression(),
        is_sealed in any::<bool>(),
    ) {
        let json = Payload::from_json(value.to_string()).expect("well formed");
        let payload = if is_packed { Payload::from_msgpack(json.to_msgpack().into_owned()).expect("msgpack") } else { json };
        let mut frame = encode(&members.head(), &payload, encoding, compression.as_ref());
        let (mut sealer, mut opener) = halves();
        if is_sealed {
            frame = Frame::Binary(sealer.seal(frame.bytes()).expect("seals"));
        }
        let message = decode(&frame, &Limits::default(), Some(&mut opener)).expect("what we write is readable");
        prop_assert_eq!(message.kind(), &members.kind);
        prop_assert_eq!(message.category(), Some(members.category.unwrap_or_else(|| Category::of_kind(&members.kind))));
        prop_assert_eq!(message.id(), members.id.as_deref());
        prop_assert_eq!(message.sequence(), members.sequence);
        prop_assert_eq!(message.timestamp(), members.timestamp.as_deref());
        prop_assert_eq!(message.priority(), members.priority);
        prop_assert_eq!(message.correlation_id(), members.correlation_id.as_deref());
        prop_assert_eq!(message.topic(), members.topic.as_deref());
        prop_assert_eq!(message.epoch(), members.epoch.as_deref());
        prop_assert_eq!(message.offset(), members.offset);
        prop_assert_eq!(message.version(), Some(1));
        prop_assert_eq!(message.wire_len(), frame.len());
        prop_assert_eq!(message.is_encrypted(), is_sealed);
        prop_assert_eq!(&serde_json::from_str::<Value>(&message.payload().to_json()).expect("JSON"), &value);
        if message.payload().encoding() == payload.encoding() {
            prop_assert_eq!(message.payload().bytes(), payload.bytes());
        }
    }

    #[test]
    fn no_bytes_break_the_decoder(
        start in prop::sample::select(vec!["", "C:", "M:", "E:", "U{", "WSE{\"t\":\"", "{\"t\":\"x\",\"p\":", "M:\u{1}", "x\u{1}", "PING"]),
        rest in vec(any::<u8>(), 0..80),
    ) {
        decode_any_way(&[start.as_bytes(), &rest].concat());
    }

    #[test]
    fn damaged_frames_break_nothing(
        members in members(),
        value in json(),
        encoding in encoding(),
        compression in compression(),
        at in any::<prop::sample::Index>(),
        bit in 0..8u8,
        is_cut in any::<bool>(),
    ) {
        let payload = Payload::from_json(value.to_string()).expect("well formed");
        let mut bytes = encode(&members.head(), &payload, encoding, compression.as_ref()).bytes().to_vec();
        let damage = |bytes: &mut Vec<u8>| {
            let at = at.index(bytes.len());
            if is_cut { bytes.truncate(at) } else { bytes[at] ^= 1 << bit }
        };
        let (mut sealer, mut opener) = halves();
        let mut sealed = sealer.seal(&bytes).expect("seals").to_vec();
        damage(&mut bytes);
        decode_any_way(&bytes);

        damage(&mut sealed);
        let is_marked = sealed.starts_with(b"E:");
        let result = decode(&Frame::Binary(sealed.into()), &Limits::default(), Some(&mut opener));
        let code = result.expect_err("damaged").code;
        prop_assert!(!is_marked || code == Code::DecryptFailed, "{code}");
    }
}
