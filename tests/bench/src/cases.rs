//! Pieces of work of the core, alone: one frame read, written, or only looked over.

use std::{hint::black_box, sync::Arc};

use wse_client_core::{
    io::Frame,
    rng::{Rng, Seed},
    security::{Opener, Role, Sealer, channel},
    server::{Admission, Identity, Output, Peer, PeerConfig, UpgradeParams},
    time::{Moment, WallTime},
    topic::Acl,
    wire::{Compression, Encoding, Head, Limits, Payload, compress, decode, encode, scan},
};

/// Sizes in bytes of the plain text frame that says the same as the frame that is measured.
pub const SIZES: [usize; 4] = [64, 200, 1024, 16 * 1024];

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// `serde_json::from_slice::<Value>` of the same text, for comparison.
    Serde,
    /// The first part of decoding text: the whole of it is checked, and the envelope's members are found.
    Scan,
    /// A frame becomes a message.
    Decode,
    /// The same within the server's end of a connection: checked, counted, put into the application's list.
    Receive,
    /// A message becomes a frame.
    Encode,
}

impl Work {
    /// In results.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Serde => "serde_json",
            Self::Scan => "scan",
            Self::Decode => "decode",
            Self::Receive => "receive",
            Self::Encode => "encode",
        }
    }
}

/// How the frame is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Plain text with the category as a prefix, in a text frame.
    Text,
    /// Plain text in the dialect that has the category as the member `c`. It is read, and never written.
    Member,
    /// The text in a binary frame.
    Binary,
    /// `C:`: the text, compressed whatever its size.
    Compressed,
    /// `M:`.
    Msgpack,
    /// `E:`: the text, sealed.
    Sealed,
}

impl Form {
    /// In results.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Member => "text, c as member",
            Self::Binary => "binary",
            Self::Compressed => "C: compressed",
            Self::Msgpack => "M: msgpack",
            Self::Sealed => "E: sealed",
        }
    }
}

/// One piece of work on one form of a message of one size.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    /// What is done.
    pub work: Work,
    /// To a frame of which form.
    pub form: Form,
    /// And of which of [`SIZES`].
    pub size: usize,
}

/// Every case, for each size the comparison first.
pub fn all() -> Vec<Case> {
    use Form::{Binary, Compressed, Member, Msgpack, Sealed, Text};
    let kinds: [(Work, &[Form]); 5] = [
        (Work::Serde, &[Text]),
        (Work::Scan, &[Text]),
        (Work::Decode, &[Text, Member, Binary, Compressed, Msgpack, Sealed]),
        (Work::Receive, &[Text, Member]),
        (Work::Encode, &[Text, Binary, Compressed, Msgpack, Sealed]),
    ];
    let of_size = |size| {
        kinds.into_iter().flat_map(move |(work, forms)| forms.iter().map(move |&form| Case { work, form, size }))
    };
    SIZES.into_iter().flat_map(of_size).collect()
}

impl Case {
    /// For example `decode text 200`.
    pub fn name(&self) -> String {
        format!("{} {} {}", self.work.name(), self.form.name(), self.size)
    }

    /// Bytes of the frame that is read or written.
    pub fn frame_len(&self) -> usize {
        self.sample().frame(self.form).len()
    }

    /// The work, ready to be done again and again. What it gives is never 0, unless it failed.
    pub fn work(&self) -> Box<dyn FnMut() -> usize> {
        let sample = self.sample();
        let limits = Limits::default();
        let json = sample.frame(Form::Text).bytes().slice(1..);
        match (self.work, self.form) {
            (Work::Serde, _) => Box::new(move || {
                let value: serde_json::Value = serde_json::from_slice(black_box(&json)).unwrap_or_default();
                black_box(&value).as_object().map_or(0, serde_json::Map::len)
            }),
            (Work::Scan, _) => Box::new(move || scan(black_box(&json), &limits).unwrap_or(0)),
            (Work::Decode, Form::Sealed) => opening(&sample),
            (Work::Decode, form) => {
                let frame = sample.frame(form);
                Box::new(move || {
                    let message = decode(black_box(&frame), &limits, None);
                    black_box(&message).as_ref().map_or(0, |message| message.kind().len())
                })
            }
            (Work::Receive, form) => receiving(&sample, form),
            (Work::Encode, form) => encoding(sample, form),
        }
    }

    fn sample(&self) -> Sample {
        Sample::new(self.size)
    }
}

/// Opens and decodes sealed frames, each once as its key demands. When all were opened, a key that has seen nothing
/// takes over: making one is a small part of one frame in [`SEALED`].
fn opening(sample: &Sample) -> Box<dyn FnMut() -> usize> {
    const SEALED: usize = 64;
    let limits = Limits::default();
    let mut sealer = sealer();
    let frames: Vec<Frame> = (0..SEALED).map(|_| sealed(&mut sealer, sample)).collect();
    let mut rng = Rng::new(Seed::from_u64(3));
    let mut fresh = move || -> Opener { channel(&KEY, Role::Client, &mut rng).1 };
    let mut opener = fresh();
    let mut at = 0;
    Box::new(move || {
        if at == SEALED {
            opener = fresh();
            at = 0;
        }
        at += 1;
        let message = decode(black_box(&frames[at - 1]), &limits, Some(&mut opener));
        black_box(&message).as_ref().map_or(0, |message| message.kind().len())
    })
}

/// Frames of a client that go to the application, which lets go of each at once.
fn receiving(sample: &Sample, form: Form) -> Box<dyn FnMut() -> usize> {
    let head = Head { topic: None, epoch: None, offset: None, ..sample.head.clone() };
    let frame = Sample { head, payload: sample.payload.clone() }.frame(form);
    let (config, params) = (Arc::new(PeerConfig::default()), UpgradeParams::default());
    let user = Identity { user_id: "alice".into(), subscribe: Acl::default(), publish: Acl::default() };
    let (admission, wall) = (Admission::Granted(user), WallTime::from_unix_ms(1_700_000_000_000));
    let now = Moment::ORIGIN;
    let mut peer = Peer::new(config, params, admission, "c-1".into(), Seed::from_u64(4), now, wall);
    while !matches!(peer.poll(), Output::Wait(_)) {}
    let mut messages = Vec::new();
    Box::new(move || {
        peer.receive(black_box(&frame).clone(), &mut messages, now);
        messages.drain(..).map(|message| message.kind().len()).sum()
    })
}

fn encoding(sample: Sample, form: Form) -> Box<dyn FnMut() -> usize> {
    // The core sends what does not shrink as it is; the attempt is what costs.
    let compression = Compression { threshold: 0, level: LEVEL };
    let mut sealer = sealer();
    Box::new(move || {
        let Sample { head, payload } = black_box(&sample);
        let frame = match form {
            Form::Text | Form::Member => encode(head, payload, Encoding::Text, None),
            Form::Binary => encode(head, payload, Encoding::Binary, None),
            Form::Compressed => encode(head, payload, Encoding::Binary, Some(&compression)),
            Form::Msgpack => encode(head, payload, Encoding::Msgpack, None),
            Form::Sealed => sealed(&mut sealer, &sample),
        };
        black_box(&frame).len()
    })
}

const KEY: [u8; 32] = [7; 32];

/// The default level of zlib.
const LEVEL: u32 = 6;

fn sealer() -> Sealer {
    channel(&KEY, Role::Server, &mut Rng::new(Seed::from_u64(2))).0
}

/// An empty frame when the key is used up, which no run here comes near.
fn sealed(sealer: &mut Sealer, sample: &Sample) -> Frame {
    let plain = encode(&sample.head, &sample.payload, Encoding::Binary, None);
    Frame::Binary(sealer.seal(plain.bytes()).unwrap_or_default())
}

/// A publication.
struct Sample {
    head: Head<'static>,
    payload: Payload,
}

impl Sample {
    /// One whose plain text frame has exactly `size` bytes.
    fn new(size: usize) -> Self {
        let mut head = Head { kind: "chat", topic: Some("room:7"), sequence: Some(42), ..Head::default() };
        if size >= 200 {
            // Every member that a server writes.
            head.id = Some("01a20ac0-9103-7c43-8a31-8ef03146392a");
            head.timestamp = Some("2026-02-20T15:30:00.000Z");
            (head.epoch, head.offset) = (Some("0000abcd"), Some(1234));
        }
        let empty = Payload::EMPTY;
        let envelope = encode(&head, &empty, Encoding::Text, None).len() - empty.bytes().len();
        Self { head, payload: payload(size - envelope) }
    }

    /// The frame that is read, or what is written for it.
    fn frame(&self, form: Form) -> Frame {
        let plain = |encoding| encode(&self.head, &self.payload, encoding, None);
        match form {
            Form::Text => plain(Encoding::Text),
            Form::Member => {
                let text = plain(Encoding::Text);
                Frame::Text([br#"{"c":"U","#, &text.bytes()[2..]].concat().into())
            }
            Form::Binary => plain(Encoding::Binary),
            Form::Compressed => {
                let text = plain(Encoding::Text);
                Frame::Binary([b"C:", &*compress(text.bytes(), LEVEL)].concat().into())
            }
            Form::Msgpack => plain(Encoding::Msgpack),
            Form::Sealed => sealed(&mut sealer(), self),
        }
    }
}

/// JSON of exactly `size` bytes, 11 at least: a text, and as many small objects in a list as fit.
fn payload(size: usize) -> Payload {
    const TEXT_ALONE: usize = r#"{"text":""}"#.len();
    const WITH_LIST: usize = r#"{"text":"","list":[]}"#.len();
    let mut items = String::new();
    for n in 0_u32.. {
        let comma = if n == 0 { "" } else { "," };
        let item = format!(r#"{comma}{{"n":{n},"x":{}.5,"on":true}}"#, n.wrapping_mul(7919) % 1000);
        if WITH_LIST + items.len() + item.len() > size {
            break;
        }
        items.push_str(&item);
    }
    let text = |used: usize| "word ".chars().cycle().take(size - used).collect::<String>();
    let json = if items.is_empty() {
        format!(r#"{{"text":"{}"}}"#, text(TEXT_ALONE))
    } else {
        format!(r#"{{"text":"{}","list":[{items}]}}"#, text(WITH_LIST + items.len()))
    };
    Payload::from_json(json).unwrap_or(Payload::EMPTY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_does_its_work_again_and_again() {
        for case in all() {
            let mut work = case.work();
            assert!((0..70).all(|_| work() > 0), "{case:?} fails");
        }
    }

    #[test]
    fn frames_are_what_their_names_say() {
        for size in SIZES {
            let sample = Sample::new(size);
            assert_eq!(sample.frame(Form::Text).len(), size);
            let starts = |form, start: &[u8]| assert!(sample.frame(form).bytes().starts_with(start), "{form:?}");
            starts(Form::Text, b"U{");
            starts(Form::Member, br#"{"c":"U","t":"chat","#);
            starts(Form::Binary, b"U{");
            starts(Form::Compressed, b"C:\x78");
            starts(Form::Msgpack, b"M:");
            starts(Form::Sealed, b"E:");
            assert!(matches!(sample.frame(Form::Text), Frame::Text(_)));
        }
    }

    /// What is decoded from each form is the message that was encoded.
    #[test]
    fn every_form_says_the_same() {
        let sample = Sample::new(200);
        let limits = Limits::default();
        for form in [Form::Text, Form::Member, Form::Binary, Form::Compressed, Form::Msgpack, Form::Sealed] {
            let (_, mut opener) = channel(&KEY, Role::Client, &mut Rng::new(Seed::from_u64(3)));
            let message = decode(&sample.frame(form), &limits, Some(&mut opener)).expect("readable");
            assert_eq!((message.kind(), message.offset()), ("chat", Some(1234)), "{form:?}");
            assert_eq!(message.payload().to_json(), sample.payload.to_json(), "{form:?}");
        }
    }
}
