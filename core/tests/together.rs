//! Our client at the other end of a server that joins messages, drops some and measures round trips.

mod pair;

use std::time::Duration;

use pair::{Pair, numbered};
use wse_client_core::{
    client::{self, Outgoing},
    config::ClientConfig,
    server::PeerConfig,
    wire::Priority,
};

fn pair(encryption: bool) -> Pair {
    let mut config = ClientConfig::new("ws://server/wse");
    config.security.encryption = encryption;
    Pair::connected(config, PeerConfig::default(), 7)
}

#[test]
fn a_batch_of_the_server_is_read_as_if_each_had_come_alone() {
    for encryption in [false, true] {
        let mut pair = pair(encryption);
        let messages: Vec<Outgoing> = (0..10).map(|n| numbered("event", n)).collect();
        let count = pair.peer.next_frame(messages.iter().map(|_| 300), false, pair.now);
        assert_eq!(count, 10, "our client announces that it reads batches");
        assert!(pair.peer.send_together(&messages, pair.now).is_empty());
        pair.drain();
        assert_eq!(pair.written.len(), 1, "in one frame");
        pair.settle();
        pair.send_down("event", 10);
        pair.settle();
        assert_eq!(pair.heard_down(), (0..=10).collect::<Vec<u64>>(), "{encryption}");
    }
}

#[test]
fn the_answer_of_our_client_to_a_ping_is_a_round_trip() {
    let mut pair = pair(false);
    pair.pass(Duration::from_secs(15));
    pair.now = pair.now + Duration::from_millis(30);
    pair.settle();
    assert_eq!(pair.peer.network().latency, Some(Duration::from_millis(30)));
}

#[test]
fn our_client_tells_of_messages_that_the_server_dropped() {
    let mut pair = pair(false);
    pair.peer.tell_dropped(&[(Priority::Low, 4)], pair.now);
    pair.settle();
    let lost = pair.client_events.iter().find_map(|event| match event {
        client::Event::Lost { topic, count, .. } => Some((topic.clone(), *count)),
        _ => None,
    });
    assert_eq!(lost, Some((None, Some(4))));
}
