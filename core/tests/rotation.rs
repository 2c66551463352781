//! Keys are renewed while messages are under way in both directions: nothing is lost, whoever starts it.

mod pair;

use std::{collections::BTreeSet, time::Duration};

use pair::{Pair, numbered};
use wse_client_core::{
    client::{self, Action, Client, Input, Output},
    config::ClientConfig,
    error::Code,
    io::{Frame, SocketId},
    rng::{Rng, Seed},
    security::{Dialect, KeyPair, Role, RotateError},
    server::{self, PeerConfig},
    time::{Moment, WallTime},
    wire::{self, Limits},
};

fn config() -> ClientConfig {
    let mut config = ClientConfig::new("ws://server/wse");
    config.security.encryption = true;
    config
}

fn pair(seed: u64) -> Pair {
    Pair::connected(config(), PeerConfig::default(), seed)
}

/// How often each end said that its keys are new.
fn rotations(pair: &Pair) -> (usize, usize) {
    (
        pair.client_events.iter().filter(|event| matches!(event, client::Event::KeysRotated)).count(),
        pair.peer_events.iter().filter(|event| matches!(event, server::Event::KeysRotated)).count(),
    )
}

fn assert_nothing_refused(pair: &Pair) {
    assert!(!pair.client_events.iter().any(|event| matches!(event, client::Event::Rejected(_))));
    assert!(!pair.peer_events.iter().any(|event| matches!(event, server::Event::Rejected(_))));
}

/// No end uses a nonce twice, and nothing goes in the clear.
fn assert_nonces_are_fresh(pair: &Pair) {
    let mut seen = BTreeSet::new();
    for frame in &pair.written {
        assert!(frame.bytes().starts_with(b"E:"), "plaintext");
        assert!(seen.insert(frame.bytes()[2..14].to_vec()), "a nonce was used twice");
    }
}

/// One message each way at every step of a rotation.
fn rotate_step_by_step(start: impl Fn(&mut Pair)) {
    let mut pair = pair(1);
    let mut n = 0;
    let mut exchange = |pair: &mut Pair| {
        pair.send_up("x", n);
        pair.send_down("x", n);
        n += 1;
    };
    exchange(&mut pair);
    start(&mut pair);
    for _ in 0..6 {
        exchange(&mut pair);
        pair.deliver_up();
        exchange(&mut pair);
        pair.deliver_down();
    }
    pair.settle();
    let all: Vec<u64> = (0..13).collect();
    assert_eq!(pair.heard_up(), all);
    assert_eq!(pair.heard_down(), all);
    assert_eq!(rotations(&pair), (1, 1));
    assert_nothing_refused(&pair);
    assert_nonces_are_fresh(&pair);
}

#[test]
fn the_age_of_a_key_need_not_be_whole_milliseconds() {
    let mut config = config();
    config.security.rotate_after = Some(Duration::from_micros(1_000_500));
    let mut pair = Pair::connected(config, PeerConfig::default(), 1);
    pair.pass(Duration::from_millis(1001));
    pair.settle();
    assert_eq!(rotations(&pair), (1, 1));
}

#[test]
fn the_client_starts() {
    rotate_step_by_step(|pair| pair.client.rotate_keys(pair.now).expect("starts"));
}

#[test]
fn the_server_starts() {
    rotate_step_by_step(|pair| pair.peer.rotate_keys(pair.now).expect("starts"));
}

#[test]
fn both_start_and_the_wish_of_the_client_arrives_first() {
    rotate_step_by_step(|pair| {
        pair.client.rotate_keys(pair.now).expect("starts");
        pair.peer.rotate_keys(pair.now).expect("starts");
        pair.drain();
        while !pair.up.is_empty() {
            pair.deliver_up();
        }
    });
}

#[test]
fn both_start_and_the_wish_of_the_server_arrives_first() {
    rotate_step_by_step(|pair| {
        pair.client.rotate_keys(pair.now).expect("starts");
        pair.peer.rotate_keys(pair.now).expect("starts");
        pair.drain();
        while !pair.down.is_empty() {
            pair.deliver_down();
        }
    });
}

#[test]
fn any_order_of_arrival_and_of_wishes_loses_nothing() {
    for seed in 0..30 {
        let mut pair = pair(seed);
        let mut rng = Rng::new(Seed::from_u64(seed));
        let (mut up, mut down) = (0, 0);
        for _ in 0..150 {
            match (rng.unit() * 8.0) as u64 {
                0 => {
                    let _ = pair.client.rotate_keys(pair.now);
                }
                1 => {
                    let _ = pair.peer.rotate_keys(pair.now);
                }
                2 => {
                    pair.send_up("x", up);
                    up += 1;
                }
                3 => {
                    pair.send_down("x", down);
                    down += 1;
                }
                4 | 5 => pair.deliver_up(),
                _ => pair.deliver_down(),
            }
        }
        pair.settle();
        assert_eq!(pair.heard_up(), (0..up).collect::<Vec<u64>>(), "seed {seed}");
        assert_eq!(pair.heard_down(), (0..down).collect::<Vec<u64>>(), "seed {seed}");
        let (client, peer) = rotations(&pair);
        assert!(client == peer && client > 0, "seed {seed}: {client} and {peer} rotations");
        assert_nothing_refused(&pair);
        assert_nonces_are_fresh(&pair);
    }
}

#[test]
fn a_key_is_renewed_when_it_is_old() {
    let mut client = config();
    client.security.rotate_after = Some(Duration::from_secs(20));
    let mut pair = Pair::connected(client, PeerConfig::default(), 1);
    for _ in 0..61 {
        pair.pass(Duration::from_secs(1));
        pair.settle();
    }
    assert_eq!(rotations(&pair), (3, 3));
    pair.send_up("x", 1);
    pair.settle();
    assert_eq!(pair.heard_up(), [1]);
}

#[test]
fn one_rotation_at_a_time_and_only_with_a_key() {
    let mut pair = pair(1);
    assert_eq!(pair.client.rotate_keys(pair.now), Ok(()));
    assert_eq!(pair.client.rotate_keys(pair.now), Err(RotateError::UnderWay));
    pair.settle();
    assert_eq!(pair.client.rotate_keys(pair.now), Ok(()), "the ping after a rotation ends it at both ends");
    let mut open = Pair::connected(ClientConfig::new("ws://server/wse"), PeerConfig::default(), 1);
    assert_eq!(open.client.rotate_keys(open.now), Err(RotateError::NotEncrypted));
    assert_eq!(open.peer.rotate_keys(open.now), Err(RotateError::NotEncrypted));
}

#[test]
fn a_client_that_never_changes_is_closed() {
    let mut pair = pair(1);
    pair.client.rotate_keys(pair.now).expect("starts");
    pair.deliver_up();
    assert_eq!(rotations(&pair), (0, 1));
    pair.down.clear();
    pair.pass(Duration::from_secs(89));
    assert_eq!(pair.peer_closed, None);
    pair.peer.handle(server::Input::Alive, pair.now);
    pair.pass(Duration::from_secs(1));
    assert_eq!(pair.peer_closed.map(|close| close.reason), Some("KEY_EXCHANGE_FAILED".into()));
}

#[test]
fn a_client_that_never_answers_is_closed() {
    let mut pair = pair(1);
    pair.peer.rotate_keys(pair.now).expect("may ask");
    pair.drain();
    pair.down.clear();
    let pass = |pair: &mut Pair, seconds| {
        pair.pass(Duration::from_secs(seconds));
        pair.peer.handle(server::Input::Alive, pair.now);
    };
    (0..8).for_each(|_| pass(&mut pair, 10));
    assert_eq!((pair.peer_closed.clone(), pair.peer.rotate_keys(pair.now)), (None, Err(RotateError::UnderWay)));
    pass(&mut pair, 9);
    assert_eq!(pair.peer_closed, None, "too early");
    pass(&mut pair, 1);
    assert_eq!(pair.peer_closed.map(|close| close.reason), Some("KEY_EXCHANGE_FAILED".into()));
}

#[test]
fn an_answer_in_time_ends_the_wait() {
    let mut pair = pair(1);
    for _ in 0..2 {
        pair.peer.rotate_keys(pair.now).expect("may ask");
        pair.settle();
        for _ in 0..10 {
            pair.pass(Duration::from_secs(8));
            pair.peer.handle(server::Input::Alive, pair.now);
            pair.settle();
        }
    }
    pair.pass(Duration::from_secs(30));
    assert_eq!((pair.peer_closed.clone(), rotations(&pair)), (None, (2, 2)));
}

#[test]
fn an_encryption_request_is_answered_with_how_it_stands() {
    for encryption in [false, true] {
        let mut client = config();
        client.security.encryption = encryption;
        let mut pair = Pair::connected(client, PeerConfig::default(), 1);
        pair.client.send(numbered("encryption_request", 1), pair.now).expect("connected");
        pair.settle();
        let answer = pair
            .client_events
            .iter()
            .find_map(|event| match event {
                client::Event::Message(message) if message.kind() == "encryption_response" => Some(message.payload()),
                _ => None,
            })
            .expect("an answer");
        let status: serde_json::Value = answer.parse().expect("an object");
        assert_eq!(status["enabled"], encryption);
        assert_eq!(status["algorithms"]["encryption"], "AES-GCM-256");
    }
}

#[test]
fn a_server_that_never_answers_is_left() {
    let mut pair = pair(1);
    pair.client.rotate_keys(pair.now).expect("may ask");
    pair.drain();
    pair.up.clear();
    for _ in 0..8 {
        pair.pass(Duration::from_secs(10));
        pair.settle();
    }
    assert!(!pair.client_closed, "too early");
    assert_eq!(pair.client.rotate_keys(pair.now), Err(RotateError::UnderWay));
    pair.pass(Duration::from_secs(10));
    assert!(pair.client_closed);
    let end = pair.client.last_disconnect().expect("told");
    assert_eq!(end.code, Code::KeyExchangeFailed);
}

/// A server of the test's own: it agrees on a key, and refuses to renew it.
#[test]
fn a_refusal_is_told_and_leaves_the_keys() {
    let now = Moment::from_millis(5);
    let mut client = Client::new(config(), Seed::from_u64(1), now, WallTime::from_unix_ms(0)).expect("config");
    client.connect(now);
    client.handle(Input::Opened(SocketId(1)), now);
    let mut sent = Vec::new();
    let mut events = drain(&mut client, &mut sent);
    let hello = sent.iter().find_map(|frame| {
        let message = wire::decode(frame, &Limits::default(), None).ok()?;
        message.payload().parse::<serde_json::Value>().ok()?.get("encryption_public_key")?.as_str().map(str::to_owned)
    });
    let mut rng = Rng::new(Seed::from_u64(2));
    let own = KeyPair::generate(&mut rng);
    let (mut sealer, _) =
        own.agree(&hello.expect("a hello with a key"), Dialect::V2, Role::Server, &mut rng).expect("agreed");
    let answer = format!(
        r#"WSE{{"t":"server_hello","p":{{"features":{{"full_duplex":true}},"encryption_public_key":"{}"}}}}"#,
        own.public_base64()
    );
    client.handle(Input::Frame(SocketId(1), Frame::Text(answer.into())), now);
    client.rotate_keys(now).expect("connected and encrypted");
    events.extend(drain(&mut client, &mut sent));
    let refusal = sealer.seal(br#"WSE{"t":"key_rotation_response","p":{"success":false}}"#).expect("seals");
    client.handle(Input::Frame(SocketId(1), Frame::Binary(refusal)), now);
    events.extend(drain(&mut client, &mut sent));
    let refused = events.iter().filter(
        |event| matches!(event, client::Event::ServerError(error) if error.code == Code::KeyExchangeFailed.as_str()),
    );
    assert_eq!(refused.count(), 1, "{events:?}");
    assert!(!events.iter().any(|event| matches!(event, client::Event::KeysRotated)));
    client.rotate_keys(now).expect("may ask again");
}

fn drain(client: &mut Client, sent: &mut Vec<Frame>) -> Vec<client::Event> {
    let mut events = Vec::new();
    loop {
        match client.poll() {
            Output::Act(Action::Send { frame, .. }) => sent.push(frame),
            Output::Act(_) => {}
            Output::Emit(event) => events.push(event),
            Output::Wait(_) => return events,
        }
    }
}
