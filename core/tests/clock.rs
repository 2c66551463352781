//! The civil clock: what a client signs counts by it, and a machine that slept wakes with another one.

mod pair;

use std::time::Duration;

use pair::Pair;
use wse_client_core::{
    client,
    config::ClientConfig,
    security::{SigningConfig, Verification},
    server::{self, PeerConfig},
    time::{Moment, WallTime},
};

const HOUR: Duration = Duration::from_secs(60 * 60);

/// Both ends sign type `order` and insist on it.
fn connected() -> Pair {
    let mut signing = SigningConfig::new("0123456789abcdef0123456789abcdef".into());
    signing.kinds.insert("order".into());
    signing.verification = Verification::Required;
    let mut config = ClientConfig::new("ws://server/wse");
    config.security.signing = Some(signing.clone());
    Pair::connected(config, PeerConfig { signing: Some(signing), ..PeerConfig::default() }, 1)
}

/// What a clock shows that was right when the pair connected, and `ahead` from then on.
fn wall(now: Moment, ahead: Duration) -> WallTime {
    let began = Moment::from_millis(1000);
    WallTime::from_unix_ms(1_771_601_400_000 + (now.since(began) + ahead).as_millis() as u64)
}

fn refusals(pair: &Pair) -> (usize, usize) {
    let up = pair.peer_events.iter().filter(|event| matches!(event, server::Event::Rejected(_))).count();
    let down = pair.client_events.iter().filter(|event| matches!(event, client::Event::Rejected(_))).count();
    (up, down)
}

#[test]
fn signatures_are_good_again_once_a_machine_that_slept_is_told_the_time() {
    let mut pair = connected();
    // The server went on for an hour, of which the client's clock counted nothing.
    pair.peer.set_clock(wall(pair.now, HOUR), pair.now);
    pair.send_up("order", 1);
    pair.send_down("order", 2);
    pair.settle();
    assert_eq!(refusals(&pair), (1, 1), "the clocks differ by an hour");
    assert_eq!((pair.heard_up(), pair.heard_down()), (vec![], vec![]));

    pair.client.set_clock(wall(pair.now, HOUR), pair.now);
    pair.send_up("order", 3);
    pair.send_down("order", 4);
    pair.settle();
    assert_eq!(refusals(&pair), (1, 1));
    assert_eq!((pair.heard_up(), pair.heard_down()), (vec![3], vec![4]));
}

#[test]
fn stamps_follow_the_clock() {
    let mut pair = connected();
    pair.client.set_clock(wall(pair.now, HOUR), pair.now);
    pair.send_up("note", 1);
    pair.settle();
    let stamp = pair.peer_events.iter().find_map(|event| match event {
        server::Event::Message(message) => message.timestamp().map(str::to_owned),
        _ => None,
    });
    assert_eq!(stamp, Some(wall(pair.now, HOUR).to_string()));
}

#[test]
fn what_is_remembered_of_frames_and_signatures_is_counted_and_bounded() {
    let mut signing = SigningConfig::new("0123456789abcdef0123456789abcdef".into());
    signing.kinds.insert("order".into());
    let mut config = ClientConfig::new("ws://server/wse");
    config.security.encryption = true;
    config.security.signing = Some(signing.clone());
    let mut pair = Pair::connected(config, PeerConfig { signing: Some(signing), ..PeerConfig::default() }, 1);
    for number in 0..5 {
        pair.send_up("order", number);
        pair.send_down("order", number);
    }
    pair.settle();
    assert_eq!(refusals(&pair), (0, 0));
    let (up, down) = (pair.peer.held(), pair.client.held());
    assert_eq!((up.signed_nonces, down.signed_nonces), (5, 5));
    assert_eq!((up.sealed_nonces, down.sealed_nonces), (1, 1), "both ends count: the last one says it all");
    assert_eq!((up.outputs, down.outputs), (0, 0));
}
