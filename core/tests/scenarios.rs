//! A `Client` tied to a `Peer` on one virtual clock: what users rely on, over links that drop, cut and delay.

mod attempts;
mod metrics;
mod network;
mod outbound;
mod recovery;
mod requests;
mod subscriptions;
mod world;

use std::time::Duration;

use world::{LinkFaults, World, WorldConfig};
use wse_client_core::{
    client::{ConnectionState, Event, RequestId},
    config::ClientConfig,
    error::{Code, close},
    io::Close,
    wire::Encoding,
};

const SECOND: Duration = Duration::from_secs(1);

fn config() -> ClientConfig {
    ClientConfig::new("ws://server/wse")
}

fn world(client: ClientConfig) -> World {
    World::new(WorldConfig { client, ..WorldConfig::default() })
}

#[test]
fn a_client_connects_subscribes_and_hears_in_order() {
    let mut world = world(ClientConfig { topics: vec!["news".into()], ..config() });
    world.connect();
    world.run(SECOND);
    assert_eq!(world.client.state(), ConnectionState::Connected);
    for n in 0..100 {
        world.publish("news", n);
    }
    world.run(SECOND);
    assert_eq!(world.received(), (0..100).collect::<Vec<u64>>());
}

#[test]
fn every_encoding_carries_the_same_messages() {
    for encoding in [Encoding::Text, Encoding::Binary, Encoding::Msgpack] {
        for encryption in [false, true] {
            let mut client = config();
            client.topics = vec!["t".into()];
            client.performance.encoding = encoding;
            client.security.encryption = encryption;
            let mut world = world(client);
            world.connect();
            world.run(SECOND);
            let info = world.client.server().expect("connected").clone();
            assert_eq!(info.encrypted, encryption);
            world.publish("t", 7);
            world.send("order", 8);
            world.run(SECOND);
            assert_eq!(world.received(), [7], "{encoding:?}, encryption {encryption}");
            assert_eq!(world.heard_by_server(), [8], "{encoding:?}, encryption {encryption}");
            if encryption {
                assert!(world.plaintext_after_agreement().is_empty());
            }
        }
    }
}

#[test]
fn a_cut_link_is_noticed_and_everything_comes_back() {
    let mut world = world(ClientConfig { topics: vec!["t".into()], ..config() });
    world.connect();
    world.run(SECOND);
    world.cut();
    world.run(Duration::from_millis(1));
    assert_eq!(world.client.state(), ConnectionState::Reconnecting);
    world.run(2 * SECOND);
    assert_eq!(world.client.state(), ConnectionState::Connected);
    world.publish("t", 1);
    world.run(SECOND);
    assert_eq!(world.received(), [1]);
}

#[test]
fn a_link_that_swallows_everything_is_noticed_by_silence() {
    let mut world = world(config());
    world.connect();
    world.run(SECOND);
    world.faults = LinkFaults { swallow: true, ..LinkFaults::default() };
    world.run(Duration::from_secs(41));
    assert_eq!(world.last_code(), Some(Code::PeerSilent));
    world.faults = LinkFaults::default();
    world.run(Duration::from_secs(35));
    assert_eq!(world.client.state(), ConnectionState::Connected);
}

#[test]
fn a_server_that_stays_silent_is_given_up_and_tried_again() {
    let mut world = world(config());
    world.faults = LinkFaults { swallow: true, ..LinkFaults::default() };
    world.connect();
    world.run(Duration::from_secs(11));
    assert_eq!(world.last_code(), Some(Code::Timeout));
    assert_eq!(world.client.state(), ConnectionState::Reconnecting);
    world.run(Duration::from_secs(30));
    assert!(world.attempts() >= 2);
}

#[test]
fn a_server_that_only_answers_pings_is_taken_as_it_is() {
    let mut world = world(config());
    world.faults = LinkFaults { only_pongs: true, ..LinkFaults::default() };
    world.connect();
    world.run(Duration::from_millis(1900));
    assert_eq!(world.client.state(), ConnectionState::Connecting);
    world.run(Duration::from_millis(200));
    assert_eq!(world.client.state(), ConnectionState::Connected);
}

#[test]
fn with_encryption_such_a_server_is_never_taken() {
    let mut client = config();
    client.security.encryption = true;
    let mut world = world(client);
    world.faults = LinkFaults { only_pongs: true, ..LinkFaults::default() };
    world.connect();
    world.run(Duration::from_secs(60));
    assert!(!world.events().iter().any(|event| matches!(event, Event::Connected(_))));
    assert!(world.attempts() >= 2);
}

#[test]
fn a_server_without_encryption_is_refused_by_a_client_that_asked_for_it() {
    let mut client = config();
    client.security.encryption = true;
    let mut world = World::new(WorldConfig { client, server_encryption: false, ..WorldConfig::default() });
    world.connect();
    world.run(SECOND);
    assert_eq!(world.last_code(), Some(Code::KeyExchangeFailed));
    assert_ne!(world.client.state(), ConnectionState::Connected);
}

/// For every close code: the state changes, an event says so, and the next attempt is on the clock unless
/// the code means that time will not help.
#[test]
fn every_close_code_leads_somewhere() {
    let expected = [
        (close::NORMAL, Code::ConnectionClosed, ConnectionState::Reconnecting),
        (close::GOING_AWAY, Code::ConnectionClosed, ConnectionState::Reconnecting),
        (close::PROTOCOL, Code::ConnectionClosed, ConnectionState::Reconnecting),
        (close::INVALID_DATA, Code::ConnectionClosed, ConnectionState::Reconnecting),
        (close::NO_STATUS, Code::ConnectionClosed, ConnectionState::Reconnecting),
        (close::ABNORMAL, Code::ConnectionClosed, ConnectionState::Reconnecting),
        (close::POLICY, Code::ConnectionClosed, ConnectionState::Reconnecting),
        (close::TOO_BIG, Code::MessageTooLarge, ConnectionState::Reconnecting),
        (close::SERVER_ERROR, Code::ServerError, ConnectionState::Reconnecting),
        (close::RESTART, Code::ConnectionClosed, ConnectionState::Reconnecting),
        (close::TRY_LATER, Code::ServerFull, ConnectionState::Reconnecting),
        (close::DRAINING, Code::ConnectionClosed, ConnectionState::Reconnecting),
        (close::AUTH, Code::AuthFailed, ConnectionState::Reconnecting),
        (close::FORBIDDEN, Code::OriginNotAllowed, ConnectionState::Failed),
        (close::RATE_LIMITED, Code::RateLimited, ConnectionState::Reconnecting),
        (4999, Code::ConnectionClosed, ConnectionState::Reconnecting),
    ];
    for (close_code, code, state) in expected {
        let mut world = world(config());
        world.connect();
        world.run(SECOND);
        world.server_closes(Close::new(close_code, ""));
        world.run(Duration::from_millis(1));
        assert_eq!(world.client.state(), state, "after {close_code}");
        assert_eq!(world.last_code(), Some(code), "after {close_code}");
        let back = world.client.last_disconnect().expect("told").retry_in.is_some();
        assert_eq!(back, state == ConnectionState::Reconnecting, "after {close_code}");
        if state == ConnectionState::Failed {
            world.connect();
        }
        world.run(2 * SECOND);
        assert_eq!(world.client.state(), ConnectionState::Connected, "after {close_code}");
    }
}

#[test]
fn a_refused_token_is_renewed_and_the_client_comes_in() {
    let mut client = config();
    client.credentials = wse_client_core::config::Credentials::Provider;
    let mut world = World::new(WorldConfig { client, good_token: Some("second".into()), ..WorldConfig::default() });
    world.tokens = ["first".into(), "second".into()].into();
    world.connect();
    world.run(5 * SECOND);
    assert_eq!(world.client.state(), ConnectionState::Connected);
    assert_eq!(world.token_requests(), [false, true]);
}

#[test]
fn a_token_set_late_revives_the_client_at_once() {
    let mut client = config();
    client.credentials = wse_client_core::config::Credentials::Token("stale".into());
    client.reconnect.initial_delay = Duration::from_secs(3600);
    client.reconnect.max_delay = Duration::from_secs(3600);
    let mut world = World::new(WorldConfig { client, good_token: Some("fresh".into()), ..WorldConfig::default() });
    world.connect();
    world.run(SECOND);
    assert_eq!(world.last_code(), Some(Code::AuthFailed));
    world.client.set_token(Some("fresh".into()), world.now());
    world.run(SECOND);
    assert_eq!(world.client.state(), ConnectionState::Connected);
}

#[test]
fn a_finite_number_of_retries_ends_in_a_typed_event() {
    let mut client = config();
    client.reconnect.max_retries = Some(3);
    let mut world = world(client);
    world.faults = LinkFaults { refuse: true, ..LinkFaults::default() };
    world.connect();
    world.run(Duration::from_secs(60));
    assert_eq!(world.client.state(), ConnectionState::Failed);
    assert_eq!(world.last_code(), Some(Code::RetriesExhausted));
    assert_eq!(world.attempts(), 4);
    world.faults = LinkFaults::default();
    world.connect();
    world.run(SECOND);
    assert_eq!(world.client.state(), ConnectionState::Connected);
}

#[test]
fn paused_reads_do_not_look_like_a_dead_server() {
    let mut world = world(config());
    world.connect();
    world.run(SECOND);
    world.pause_reads(true);
    world.run(Duration::from_secs(300));
    assert_eq!(world.client.state(), ConnectionState::Connected);
    world.pause_reads(false);
    world.run(SECOND);
    assert_eq!(world.client.state(), ConnectionState::Connected);
}

#[test]
fn a_client_that_falls_silent_is_let_go_by_the_server() {
    let mut world = world(config());
    world.connect();
    world.run(SECOND);
    world.freeze_client(true);
    world.run(Duration::from_secs(95));
    assert!(world.server_connections_ended() >= 1);
    world.freeze_client(false);
    world.run(Duration::from_secs(40));
    assert_eq!(world.client.state(), ConnectionState::Connected);
}

#[test]
fn a_topic_that_is_refused_late_is_not_asked_for_again() {
    let mut client = config();
    client.timeouts.subscribe = SECOND;
    let mut world = World::new(WorldConfig { client, deny: vec!["secret*".into()], ..WorldConfig::default() });
    world.connect();
    world.run(SECOND);
    world.faults = LinkFaults { delay: SECOND, ..LinkFaults::default() };
    let request = world.subscribe(&["open", "secret:1"]);
    world.run(Duration::from_millis(1500));
    let [timed_out] = &world.outcomes(request)[..] else { panic!("one outcome") };
    assert!(!timed_out.confirmed);
    // Asked for again before the first answer: the answer to this request decides about it.
    world.subscribe(&["open"]);
    world.run(3 * SECOND);
    assert_eq!(world.client.topics(), ["open"]);
    let told = world.outcomes(RequestId(0)).pop().expect("told");
    assert_eq!(told.refused, [("secret:1".to_owned(), "TOPIC_DENIED".to_owned())]);
    assert!(told.confirmed && told.accepted.is_empty());
}

#[test]
fn every_subscription_request_ends_once_in_bounded_time() {
    let mut world = world(config());
    let early = world.subscribe(&["a"]);
    world.connect();
    let during = world.subscribe(&["b"]);
    world.run(SECOND);
    let late = world.subscribe(&["c", "a"]);
    world.cut();
    let cut = world.subscribe(&["d"]);
    world.run(10 * SECOND);
    for request in [early, during, late, cut] {
        let ends = world.outcomes(request);
        assert_eq!(ends.len(), 1, "{request:?}");
        assert!(ends[0].confirmed, "{request:?}");
    }
    assert_eq!(world.client.topics(), ["a", "b", "c", "d"]);
    assert_eq!(world.server_topics(), ["a", "b", "c", "d"]);
}

#[test]
fn a_refused_topic_is_told_and_not_asked_for_again() {
    let mut world =
        World::new(WorldConfig { client: config(), deny: vec!["secret*".into()], ..WorldConfig::default() });
    world.connect();
    world.run(SECOND);
    let request = world.subscribe(&["open", "secret:1"]);
    world.run(SECOND);
    let outcome = world.outcomes(request).remove(0);
    assert_eq!(outcome.accepted, ["open"]);
    assert_eq!(outcome.refused, [("secret:1".to_owned(), "TOPIC_DENIED".to_owned())]);
    assert_eq!(world.client.topics(), ["open"]);
}

#[test]
fn close_ends_everything_and_connect_starts_anew() {
    let mut world = world(config());
    world.connect();
    world.run(SECOND);
    world.client.close(Close::normal(), world.now());
    assert_eq!(world.client.state(), ConnectionState::Closed);
    world.run(120 * SECOND);
    assert_eq!(world.client.state(), ConnectionState::Closed);
    assert_eq!(world.attempts(), 1);
    world.connect();
    world.run(SECOND);
    assert_eq!(world.client.state(), ConnectionState::Connected);
}

/// Hundreds of seeded worlds with links that cut, swallow, delay and refuse. After the weather clears, every
/// client is connected again, knows its topics, and hears what is published from then on once and in order.
#[test]
fn clients_survive_any_weather() {
    for seed in 0..300 {
        let mut client = config();
        client.topics = vec!["t".into()];
        client.security.encryption = seed % 3 == 0;
        client.performance.encoding =
            [Encoding::Text, Encoding::Binary, Encoding::Msgpack][usize::try_from(seed % 3).expect("small")];
        let mut world = World::new(WorldConfig { client, seed, ..WorldConfig::default() });
        world.connect();
        world.storm(Duration::from_secs(120));
        world.run(Duration::from_secs(90));
        assert_eq!(world.client.state(), ConnectionState::Connected, "seed {seed}");
        let before = world.received().len();
        for n in 1000..1050 {
            world.publish("t", n);
        }
        world.run(10 * SECOND);
        assert_eq!(world.received()[before..], (1000..1050).collect::<Vec<u64>>(), "seed {seed}");
        world.check_invariants(seed);
    }
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    let run = |seed| {
        let mut world = World::new(WorldConfig {
            client: ClientConfig { topics: vec!["t".into()], ..config() },
            seed,
            ..WorldConfig::default()
        });
        world.connect();
        world.storm(Duration::from_secs(60));
        world.run(30 * SECOND);
        world.transcript().to_owned()
    };
    assert_eq!(run(5), run(5));
    assert_ne!(run(5), run(6));
}
