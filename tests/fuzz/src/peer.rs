//! A server's end of a connection whose client says whatever the bytes say.

use std::{sync::Arc, time::Duration};

use wse_client_core::{
    client::SubscriptionAction,
    delivery::{LostRange, RateLimit},
    error::Code,
    io::{Close, Frame},
    rng::Seed,
    security::SigningConfig,
    server::{Admission, Event, Identity, Input, Output, Peer, PeerConfig, SubscriptionRequest, UpgradeParams},
    time::{Moment, WallTime},
    topic::Acl,
    wire::{Encoding, Limits},
};

use crate::{
    client::{outgoing, topics},
    source::Source,
};

/// What a client might say.
const PHRASES: &[&str] = &[
    r#"WSE{"t":"client_hello","p":{"client_version":"0.1","protocol_version":1,"features":{"full_duplex":true,"msgpack":true}}}"#,
    r#"WSE{"t":"client_hello","p":{"client_version":"1.3.9","features":{"encryption":true},"encryption_public_key":"BA=="}}"#,
    r#"WSE{"t":"client_hello","p":{"client_version":"2.5.1","encryption_public_key":"BGsX0fLhLEJH+Lzm5WOkQPJ3A32BLeszoPShOUXYmMKWT+NC4v4af5uO5+tKfA+eFivOM1drMV7Oy7ZAaDe/UfU="}}"#,
    r#"WSE{"t":"ping","p":{"timestamp":18446744073709551615}}"#,
    r#"{"c":"WSE","t":"PING","p":{"timestamp":1.5}}"#,
    "PING:1",
    r#"WSE{"t":"pong","p":{}}"#,
    r#"WSE{"t":"subscription_update","p":{"action":"subscribe","topics":["a","b","a",""]}}"#,
    r#"WSE{"t":"subscription_update","p":{"action":"unsubscribe","topics":"a"},"id":"7"}"#,
    r#"WSE{"t":"subscription","p":{"action":"none","topics":[1]}}"#,
    r#"WSE{"t":"subscription_update","p":{"action":"subscribe","topics":["a"],"recover":true,"recovery":{"a":{"epoch":"x","offset":18446744073709551615}}}}"#,
    r#"U{"t":"note","p":{"a":1},"tp":"a","id":"m","seq":1}"#,
    r#"U{"t":"note","p":{"a":1},"tp":"secret"}"#,
    r#"U{"t":"note","p":{"a":1},"tp":"*"}"#,
    r#"U{"t":"note","p":[],"sig":"00","pri":-5}"#,
    r#"U{"t":"batch","p":{"messages":[{"t":"x","p":{}},5],"count":9}}"#,
    r#"WSE{"t":"key_rotation","p":{"public_key":"BA=="}}"#,
    r#"WSE{"t":"config_request","p":{}}"#,
    r#"WSE{"t":"sync_request","p":{"topics":["a"],"last_sequence":-1}}"#,
    r#"WSE{"t":"metrics_request","p":null,"cid":"1"}"#,
    "\u{81}",
    "U{",
    "",
    r#"WSE{"t":"client_hello","p":{"client_version":"0.1","features":{"encryption":true,"full_duplex":true,"bound_keys":true,"batching":true},"encryption_public_key":"BGsX0fLhLEJH+Lzm5WOkQPJ3A32BLeszoPShOUXYmMKWT+NC4v4af5uO5+tKfA+eFivOM1drMV7Oy7ZAaDe/UfU="}}"#,
    r#"WSE{"t":"subscription_update","p":{"action":"recover","topics":["a"],"recovery":{"a":{"epoch":"x","offset":0},"secret":{"epoch":"x"}}}}"#,
    r#"WSE{"t":"subscription_update","p":{"topics":["secret"],"channel_tokens":{"secret":"bm8.bm8"}}}"#,
    r#"WSE{"t":"key_rotation_request","p":{"public_key":"BA=="}}"#,
    r#"WSE{"t":"key_rotation_response","p":{"success":true,"new_public_key":"BA=="}}"#,
    r#"WSE{"t":"encryption_request","p":{"action":"enable"}}"#,
];

/// Bytes that no text holds: msgpack with and without marker, zlib, something sealed.
const PIECES: &[&[u8]] = &[
    b"M:\x82\xa1t\xa1x\xa1p\x80",
    b"\x82\xa1t\xa4ping\xa1p\x81\xa9timestamp\x01",
    b"M:\x82\xa1t\xa4ping\xa1p\x81\x81\x81\x81\x81\x81\x81\x81\x81\x81\x81\x81\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01",
    b"C:\x78\x9c\xab\x56\x2a\x51\xb2\x52\xaa\x50\xaa\x05\x00\x0c\xb2\x02\xb8",
    b"E:0123456789abcdefghijklmnopqrstuvwxyz",
    b"\xff\xfe",
];

const MOST_STEPS: usize = 400;
const MOST_OUTPUTS: usize = 10_000;

/// A driver that watches one peer.
#[derive(Default)]
struct Watch {
    requests: Vec<(SubscriptionAction, SubscriptionRequest)>,
    deadline: Option<Moment>,
    told_closed: bool,
    closed: bool,
}

pub(crate) fn run(data: &[u8]) {
    let mut source = Source::new(data);
    let mut now = Moment::from_millis(1000);
    let mut peer = peer(&mut source, now);
    let mut watch = Watch::default();
    watch.drain(&mut peer);
    for _ in 0..MOST_STEPS {
        if source.is_empty() {
            break;
        }
        now = step(&mut source, &mut peer, &mut watch, now);
        watch.drain(&mut peer);
    }
    peer.close(Close::normal(), now);
    watch.drain(&mut peer);
    assert!(watch.told_closed, "the end was not told");
    peer.handle(Input::Frame(Frame::Text(PHRASES[0].as_bytes().into())), now);
    watch.drain(&mut peer);
}

fn peer(source: &mut Source<'_>, now: Moment) -> Peer {
    let (flags, more) = (source.byte(), source.byte());
    let limits = Limits { max_frame: 4096, max_inflated: 8192, max_topics: 8, ..Limits::default() };
    let mut config =
        PeerConfig { limits, encryption: flags & 1 == 0, max_rejected: u32::from(flags) + 1, ..PeerConfig::default() };
    config.recovery = more & 0x20 != 0;
    config.inbound_rate = (flags & 2 != 0).then_some(RateLimit { capacity: 5, refill: 300.0 });
    if more & 0x40 != 0 {
        config.signing = Some(SigningConfig::new("0123456789abcdef0123456789abcdef".into()));
        config.token_key = Some("another 32 bytes of randomness...".into());
    }
    if more & 0x80 != 0 {
        config.ping_interval = Duration::from_micros(3300);
        config.idle_timeout = Duration::from_micros(5500);
    }
    let mut params = UpgradeParams {
        encoding: [Encoding::Binary, Encoding::Text, Encoding::Msgpack][usize::from(more & 3) % 3],
        encryption: more & 4 != 0,
        compression: more & 8 == 0,
        ..UpgradeParams::default()
    };
    if more & 0x10 != 0 {
        params = UpgradeParams::parse(&source.text()).unwrap_or(params);
    }
    let admission = if flags == 0xFF {
        Admission::Denied { code: Code::AuthFailed, message: "no".into() }
    } else {
        let acl = Acl { allow: Vec::new(), deny: vec!["secret".into()] };
        Admission::Granted(Identity { user_id: "u".into(), subscribe: acl.clone(), publish: acl })
    };
    let wall = WallTime::from_unix_ms(1_700_000_000_000);
    Peer::new(Arc::new(config), params, admission, "c-1".into(), Seed::from_u64(2), now, wall)
}

fn step(source: &mut Source<'_>, peer: &mut Peer, watch: &mut Watch, now: Moment) -> Moment {
    match source.byte() % 24 {
        0 => peer.handle(Input::Closed(Close::abnormal()), now),
        1 => peer.handle(Input::Alive, now),
        2 => peer.handle(Input::ReadsPaused(source.byte() & 1 == 1), now),
        3 => {
            // Refusals are fine: what the peer does is what counts.
            let _ = peer.send(&outgoing(source), now);
        }
        4 => {
            let _ = peer.seal(source.chunk());
        }
        5 => {
            if let Some((action, request)) = watch.requests.pop() {
                peer.answer_subscription(action, request, Vec::new(), &topics(source), now);
            }
        }
        6 => peer.tell_lost("a", u64::from(source.byte()), now),
        7 => peer.close(Close::new(1012, source.text()), now),
        8 | 9 => {
            let later =
                if source.byte() & 1 == 0 { now + source.pause() } else { watch.deadline.unwrap_or(now).max(now) };
            peer.handle(Input::Wake, later);
            watch.drain(peer);
            assert!(watch.deadline.is_none_or(|deadline| deadline > later), "woken in vain");
            return later;
        }
        16 => peer.drain(source.pause(), source.pause(), now),
        17 => {
            let _ = peer.rotate_keys(now);
        }
        18 => {
            let to = (source.byte() & 1 == 0).then(|| u64::from(source.byte()));
            peer.tell_lost_range("a", &LostRange { epoch: "x".into(), from: 1, to }, now);
        }
        19 => {
            let _ = peer.channel_token("a", now);
            let _ = peer.session_token(now);
        }
        21 => peer.set_clock(source.wall(), now),
        20 => peer.tell_error(Code::RateLimited, "slowly", Some("7"), now),
        _ => peer.handle(Input::Frame(frame(source)), now),
    }
    now
}

fn frame(source: &mut Source<'_>) -> Frame {
    let kind = source.byte();
    let mut bytes = match kind >> 1 & 3 {
        0 => source.pick(PHRASES).as_bytes().to_vec(),
        1 => source.pick(PIECES).to_vec(),
        2 => source.chunk().to_vec(),
        _ => source.pick(PHRASES).as_bytes().to_vec(),
    };
    if kind & 8 != 0 {
        let at = usize::from(source.byte()).min(bytes.len());
        let end = (at + usize::from(source.byte() % 16)).min(bytes.len());
        bytes.splice(at..end, source.chunk().iter().copied());
    }
    if kind & 1 == 0 { Frame::Text(bytes.into()) } else { Frame::Binary(bytes.into()) }
}

impl Watch {
    fn drain(&mut self, peer: &mut Peer) {
        for _ in 0..MOST_OUTPUTS {
            match peer.poll() {
                Output::Send(_) => assert!(!self.told_closed, "sent after the end"),
                Output::Close(_) => {
                    assert!(!self.closed, "closed twice");
                    self.closed = true;
                }
                Output::Emit(event) => self.note(event),
                Output::Wait(deadline) => {
                    assert!(self.told_closed == deadline.is_none(), "waits for ever, or waits after the end");
                    self.deadline = deadline;
                    let held = peer.held();
                    let bounded = held.outputs == 0 && held.sealed_nonces <= 2 * 40_000 && held.signed_nonces <= 10_000;
                    assert!(bounded, "{held:?}");
                    return;
                }
            }
        }
        panic!("poll goes on and on");
    }

    fn note(&mut self, event: Event) {
        assert!(!self.told_closed, "an event after the last one");
        match event {
            Event::Subscribe(request) => self.requests.push((SubscriptionAction::Subscribe, request)),
            Event::Unsubscribe(request) => self.requests.push((SubscriptionAction::Unsubscribe, request)),
            Event::Closed(_) => self.told_closed = true,
            Event::Publish(message) => assert_ne!(message.topic(), Some("secret"), "published where it may not"),
            _ => {}
        }
    }
}
