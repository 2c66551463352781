//! Pieces of work of the core, alone: one frame read, written, or only looked over.

use std::hint::black_box;

use wse_client_core::{
    io::Frame,
    rng::{Rng, Seed},
    security::{Opener, Role, Sealer, channel},
    wire::{Compression, Encoding, Head, Limits, Payload, decode, encode},
};

/// Payload sizes in bytes.
pub(crate) const SIZES: [usize; 4] = [64, 200, 1024, 16 * 1024];

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    /// A frame becomes a message.
    Decode,
    /// A message becomes a frame.
    Encode,
    /// What `decode` does at least with plain JSON: the text as a payload, checked and not parsed.
    Scan,
    /// The same text by `serde_json::from_slice::<Value>`, for comparison.
    Serde,
}

/// How the frame is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Text,
    Binary,
    Compressed,
    Msgpack,
    Sealed,
}

/// One piece of work on one form of a message of one size.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Case {
    pub(crate) work: Work,
    pub(crate) form: Form,
    pub(crate) size: usize,
}

/// Every case, and the comparison for each size last.
pub(crate) fn all() -> Vec<Case> {
    let forms = [Form::Text, Form::Binary, Form::Compressed, Form::Msgpack, Form::Sealed];
    let mut cases = Vec::new();
    for size in SIZES {
        for work in [Work::Decode, Work::Encode] {
            cases.extend(forms.map(|form| Case { work, form, size }));
        }
        cases.extend([Work::Scan, Work::Serde].map(|work| Case { work, form: Form::Text, size }));
    }
    cases
}

impl Case {
    /// For example `decode-sealed-200`.
    pub(crate) fn name(&self) -> String {
        format!("{:?}-{:?}-{}", self.work, self.form, self.size).to_lowercase()
    }

    /// The work, ready to be done again and again.
    pub(crate) fn work(&self) -> Box<dyn FnMut() -> usize> {
        let payload = payload(self.size);
        match self.work {
            Work::Decode => decoding(&payload, self.form),
            Work::Encode => encoding(payload, self.form),
            Work::Scan => {
                let text = written(&payload, Form::Text).bytes().slice(1..);
                Box::new(move || Payload::from_json(black_box(text.clone())).map_or(0, |payload| payload.bytes().len()))
            }
            Work::Serde => {
                let text = written(&payload, Form::Text).bytes().slice(1..);
                Box::new(move || {
                    let value: serde_json::Value = serde_json::from_slice(black_box(&text)).unwrap_or_default();
                    black_box(&value).as_object().map_or(0, serde_json::Map::len)
                })
            }
        }
    }
}

fn decoding(payload: &Payload, form: Form) -> Box<dyn FnMut() -> usize> {
    let limits = Limits::default();
    let frame = written(payload, form);
    if form != Form::Sealed {
        return Box::new(move || decode(black_box(&frame), &limits, None).map_or(0, |message| message.wire_len()));
    }
    // A frame opens once, so a key half that has seen nothing is needed each time. Making it expands the key: that is
    // part of the figure, and the same for each size.
    let mut rng = Rng::new(Seed::from_u64(3));
    Box::new(move || {
        let (_, mut opener): (Sealer, Opener) = channel(&[7; 32], Role::Client, &mut rng);
        decode(black_box(&frame), &limits, Some(&mut opener)).map_or(0, |message| message.wire_len())
    })
}

fn encoding(payload: Payload, form: Form) -> Box<dyn FnMut() -> usize> {
    let compression = Compression { threshold: 0, level: 6 };
    let mut sealer = sealer();
    Box::new(move || {
        let payload = black_box(&payload);
        match form {
            Form::Text => encode(&head(), payload, Encoding::Text, None).len(),
            Form::Binary => encode(&head(), payload, Encoding::Binary, None).len(),
            Form::Compressed => encode(&head(), payload, Encoding::Binary, Some(&compression)).len(),
            Form::Msgpack => encode(&head(), payload, Encoding::Msgpack, None).len(),
            Form::Sealed => {
                let plain = encode(&head(), payload, Encoding::Binary, None);
                sealer.seal(plain.bytes()).map_or(0, |frame| frame.len())
            }
        }
    })
}

fn written(payload: &Payload, form: Form) -> Frame {
    let compression = Compression { threshold: 0, level: 6 };
    let plain = |encoding, compression| encode(&head(), payload, encoding, compression);
    match form {
        Form::Text => plain(Encoding::Text, None),
        Form::Binary => plain(Encoding::Binary, None),
        Form::Compressed => plain(Encoding::Binary, Some(&compression)),
        Form::Msgpack => plain(Encoding::Msgpack, None),
        Form::Sealed => {
            let plain = plain(Encoding::Binary, None);
            Frame::Binary(sealer().seal(plain.bytes()).unwrap_or_default())
        }
    }
}

fn sealer() -> Sealer {
    channel(&[7; 32], Role::Server, &mut Rng::new(Seed::from_u64(2))).0
}

/// A publication: every member that a server writes.
fn head() -> Head<'static> {
    Head {
        kind: "chat",
        id: Some("01a20ac0-9103-7c43-8a31-8ef03146392a"),
        sequence: Some(42),
        timestamp: Some("2026-02-20T15:30:00.000Z"),
        topic: Some("room:7"),
        epoch: Some("0000abcd"),
        offset: Some(1234),
        ..Head::default()
    }
}

/// JSON of about `size` bytes: text, numbers, a list and a flag, as applications send it.
fn payload(size: usize) -> Payload {
    let mut items = String::new();
    let mut n = 0_u32;
    loop {
        let item = format!(r#"{{"n":{n},"x":{}.5,"s":"word {n}","b":true}}"#, n.wrapping_mul(7919) % 1000);
        if !items.is_empty() && items.len() + item.len() + 12 > size {
            break;
        }
        if !items.is_empty() {
            items.push(',');
        }
        items.push_str(&item);
        n += 1;
    }
    Payload::from_json(format!(r#"{{"list":[{items}]}}"#)).unwrap_or(Payload::EMPTY)
}
