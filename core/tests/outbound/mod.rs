//! Messages of the client that cannot go at once: no connection, no leave to send, or a frame that is shared.

use std::time::Duration;

use bytes::Bytes;
use wse_client_core::{
    client::{ConnectionState, DropReason, Event, LevelMetrics, Outgoing, SendError},
    config::ClientConfig,
    delivery::{BatchConfig, RateLimit},
    io::Close,
    wire::{Encoding, Payload, Priority},
};

use crate::world::{LinkFaults, World, WorldConfig};

const SECOND: Duration = Duration::from_secs(1);
const MOMENT: Duration = Duration::from_millis(20);

fn config() -> ClientConfig {
    ClientConfig::new("ws://server/wse")
}

/// A world whose client is connected.
fn connected(client: ClientConfig) -> World {
    World::connected(WorldConfig { client, ..WorldConfig::default() })
}

fn order(n: u64, priority: Priority) -> Outgoing {
    let payload = Payload::from_json(Bytes::from(format!("{{\"n\":{n}}}"))).expect("valid JSON");
    Outgoing { priority, ..Outgoing::new("order", payload) }
}

fn send(world: &mut World, n: u64, priority: Priority) -> Result<String, SendError> {
    let now = world.now();
    let sent = world.client.send(order(n, priority), now);
    world.run(Duration::ZERO);
    sent
}

fn send_all(world: &mut World, numbers: std::ops::Range<u64>) {
    for n in numbers {
        send(world, n, Priority::Normal).expect("accepted");
    }
}

fn drops(world: &World) -> Vec<(String, DropReason)> {
    let drops = world.events().iter().filter_map(|event| match event {
        Event::Dropped { id, reason, .. } => Some((id.clone(), *reason)),
        _ => None,
    });
    drops.collect()
}

/// Frames with more than one message that the client sent, in a world without encryption and compression.
fn batches(world: &World) -> usize {
    world.transcript().lines().filter(|line| line.contains('>') && line.contains("messages")).count()
}

#[test]
fn on_a_poor_network_messages_are_joined_if_that_was_asked_for() {
    let batches_of = |adaptive_quality| {
        let mut client = ClientConfig { adaptive_quality, ..config() };
        client.performance.compression = None;
        client.performance.encoding = Encoding::Text;
        let mut world = connected(client);
        world.faults.delay = Duration::from_millis(400);
        world.run(Duration::from_secs(200));
        send_all(&mut world, 0..51);
        world.run(5 * SECOND);
        assert_eq!(world.heard_by_server().len(), 51, "each once");
        let poor = batches(&world);
        world.faults.delay = Duration::ZERO;
        world.run(Duration::from_secs(3000));
        send_all(&mut world, 51..100);
        world.run(5 * SECOND);
        assert_eq!(world.heard_by_server().len(), 100);
        (poor, batches(&world) - poor)
    };
    assert_eq!(batches_of(false), (0, 0));
    assert_eq!(batches_of(true), (1, 0), "the first goes at once, fifty together; each alone when all is well again");
}

#[test]
fn what_is_sent_while_away_arrives_once_by_priority() {
    let mut world = connected(config());
    world.cut();
    for (n, priority) in
        [(1, Priority::Background), (2, Priority::Normal), (3, Priority::Critical), (4, Priority::Normal)]
    {
        send(&mut world, n, priority).expect("kept");
    }
    assert_eq!(world.client.metrics(world.now()).queue.waiting, 4);
    world.run(5 * SECOND);
    assert_eq!(world.heard_by_server(), [3, 2, 4, 1]);
    world.cut();
    world.run(5 * SECOND);
    assert_eq!(world.heard_by_server(), [3, 2, 4, 1], "nothing is sent twice");
    let metrics = world.client.metrics(world.now());
    assert_eq!((metrics.messages_sent, metrics.messages_dropped, metrics.queue.waiting), (4, 0, 0));
    assert_eq!(metrics.queue.normal, LevelMetrics { queued: 2, sent: 2, ..LevelMetrics::default() });
}

#[test]
fn before_the_first_connection_too_but_not_before_connect() {
    let mut world = World::new(WorldConfig { client: config(), ..WorldConfig::default() });
    let refused = send(&mut world, 0, Priority::Critical).expect_err("not even connecting");
    assert_eq!(refused, SendError::NotConnected { state: ConnectionState::Idle });
    world.connect();
    send(&mut world, 1, Priority::Normal).expect("kept");
    world.run(SECOND);
    assert_eq!(world.heard_by_server(), [1]);
}

#[test]
fn an_application_may_do_without() {
    let mut client = config();
    client.offline.enabled = false;
    let mut world = connected(client);
    world.cut();
    let refused = send(&mut world, 1, Priority::Critical).expect_err("not kept");
    assert_eq!(refused, SendError::NotConnected { state: ConnectionState::Reconnecting });
    world.run(5 * SECOND);
    send(&mut world, 2, Priority::Normal).expect("connected");
    world.run(SECOND);
    assert_eq!(world.heard_by_server(), [2]);
}

#[test]
fn an_id_that_waits_is_not_queued_again() {
    let mut world = connected(config());
    world.cut();
    let now = world.now();
    for _ in 0..3 {
        let message = Outgoing { id: Some("mine".into()), ..order(1, Priority::Normal) };
        assert_eq!(world.client.send(message, now).as_deref(), Ok("mine"));
    }
    world.run(5 * SECOND);
    assert_eq!(world.heard_by_server(), [1]);
}

#[test]
fn what_waits_too_long_is_told_and_not_sent() {
    let mut client = config();
    client.offline.max_age = 2 * SECOND;
    let mut world = connected(client);
    world.faults = LinkFaults { refuse: true, ..LinkFaults::default() };
    world.cut();
    let old = send(&mut world, 1, Priority::Critical).expect("kept");
    world.run(2 * SECOND - MOMENT);
    assert_eq!(drops(&world), []);
    world.run(2 * MOMENT);
    assert_eq!(drops(&world), [(old, DropReason::Expired)]);
    world.faults = LinkFaults::default();
    world.run(30 * SECOND);
    send(&mut world, 2, Priority::Normal).expect("connected");
    world.run(SECOND);
    assert_eq!(world.heard_by_server(), [2]);
}

#[test]
fn a_full_queue_drops_what_matters_least_and_says_so() {
    let mut client = config();
    client.offline.max_size = 2;
    let mut world = connected(client);
    world.cut();
    let low = send(&mut world, 1, Priority::Low).expect("room");
    send(&mut world, 2, Priority::High).expect("room");
    let refused = send(&mut world, 3, Priority::Background).expect_err("full");
    assert_eq!(refused, SendError::QueueFull { limit: 2, priority: Priority::Background });
    send(&mut world, 4, Priority::Normal).expect("drops one");
    assert_eq!(drops(&world), [(low, DropReason::QueueFull)]);
    let metrics = world.client.metrics(world.now());
    assert_eq!((metrics.messages_dropped, metrics.drops.queue_full, metrics.messages_refused), (1, 1, 1));
    assert_eq!((metrics.messages_accepted, metrics.messages_queued), (3, 2));
    world.run(5 * SECOND);
    assert_eq!(world.heard_by_server(), [2, 4]);
}

#[test]
fn closing_tells_what_was_not_sent() {
    let mut world = connected(config());
    world.cut();
    let first = send(&mut world, 1, Priority::Normal).expect("kept");
    let second = send(&mut world, 2, Priority::High).expect("kept");
    world.client.close(Close::normal(), world.now());
    world.run(SECOND);
    assert_eq!(drops(&world), [(first, DropReason::Closed), (second, DropReason::Closed)]);
    let ends = world.events().iter().rposition(|event| matches!(event, Event::StateChanged { .. }));
    let told = world.events().iter().rposition(|event| matches!(event, Event::Dropped { .. }));
    assert!(told < ends, "an application that stops at `closed` still hears of it");
    assert!(send(&mut world, 3, Priority::Normal).is_err());
}

#[test]
fn an_explicit_rate_is_kept_and_control_is_not_held() {
    let mut client = config();
    client.performance.rate_limit = Some(RateLimit { capacity: 2, refill: 10.0 });
    let mut world = connected(client);
    send_all(&mut world, 0..5);
    let request = world.subscribe(&["t"]);
    world.run(MOMENT);
    assert_eq!(world.heard_by_server(), [0, 1]);
    assert!(world.outcomes(request)[0].confirmed, "requests do not wait behind messages");
    send(&mut world, 9, Priority::Critical).expect("waits");
    world.run(Duration::from_millis(100));
    assert_eq!(world.heard_by_server(), [0, 1, 9]);
    world.run(SECOND);
    assert_eq!(world.heard_by_server(), [0, 1, 9, 2, 3, 4]);
}

#[test]
fn messages_that_only_wait_for_their_turn_go_with_their_connection_when_none_may_wait() {
    let mut client = config();
    client.offline.enabled = false;
    client.performance.rate_limit = Some(RateLimit { capacity: 1, refill: 1.0 });
    let mut world = connected(client);
    send(&mut world, 1, Priority::Normal).expect("at once");
    let late = send(&mut world, 2, Priority::Normal).expect("waits");
    world.run(MOMENT);
    world.cut();
    world.run(10 * SECOND);
    assert_eq!(drops(&world), [(late, DropReason::Disconnected)]);
    assert_eq!(world.heard_by_server(), [1]);
}

#[test]
fn a_server_that_asks_for_a_pause_gets_it() {
    for (kind, payload) in [
        ("rate_limit_warning", r#"{"retry_after":2,"limit":10,"remaining":1}"#),
        ("rate_limit_warning", r#"{"retry_after":2.0,"limit":50,"window":5}"#),
        ("error", r#"{"code":"RATE_LIMITED","message":"too many","retry_after":2,"limit":10}"#),
    ] {
        let mut world = connected(config());
        world.server_says(kind, payload);
        world.run(MOMENT);
        send_all(&mut world, 0..4);
        world.run(Duration::from_millis(1900));
        assert!(world.heard_by_server().is_empty(), "{payload}");
        world.run(Duration::from_millis(150));
        assert_eq!(world.heard_by_server(), [0], "no burst after the pause: {payload}");
        world.run(SECOND);
        assert_eq!(world.heard_by_server(), [0, 1, 2, 3], "{payload}");
        world.run(62 * SECOND);
        send_all(&mut world, 4..500);
        world.run(MOMENT);
        assert_eq!(world.heard_by_server().len(), 500, "the word of a server does not count for ever: {payload}");
    }
}

#[test]
fn strange_words_about_limits_do_no_harm() {
    for payload in
        [r#"{"retry_after":"soon","limit":-1}"#, r#"{"retry_after":-5,"window":0}"#, "[]", r#"{"limit":null}"#]
    {
        let mut world = connected(config());
        world.server_says("rate_limit_warning", payload);
        world.run(MOMENT);
        send_all(&mut world, 0..200);
        world.run(MOMENT);
        assert_eq!(world.heard_by_server().len(), 200, "{payload}");
    }
    let mut world = connected(config());
    world.server_says("rate_limit_warning", r#"{"retry_after":1e300,"limit":1e300,"window":1e-300}"#);
    world.run(MOMENT);
    send_all(&mut world, 0..1);
    world.run(301 * SECOND);
    assert_eq!(world.heard_by_server(), [0], "no server may ask for more than five minutes");
}

#[test]
fn small_messages_share_a_frame_where_the_server_reads_it() {
    for encoding in [Encoding::Text, Encoding::Binary, Encoding::Msgpack] {
        for encryption in [false, true] {
            let mut client = config();
            client.performance.batch = Some(BatchConfig::default());
            client.performance.encoding = encoding;
            client.performance.compression = None;
            client.security.encryption = encryption;
            let mut world = connected(client);
            send_all(&mut world, 0..6);
            world.run(MOMENT);
            assert_eq!(world.heard_by_server(), [0], "the first goes at once");
            world.run(Duration::from_millis(100));
            assert_eq!(world.heard_by_server(), (0..6).collect::<Vec<u64>>());
            send_all(&mut world, 6..16);
            world.run(MOMENT);
            assert_eq!(world.heard_by_server().len(), 16, "a full frame does not wait");
            send_all(&mut world, 16..18);
            send(&mut world, 18, Priority::High).expect("accepted");
            world.run(MOMENT);
            assert_eq!(world.heard_by_server()[16..], [18, 16, 17], "an urgent one takes the others along");
            if !encryption {
                assert_eq!(batches(&world), 3, "{encoding:?}");
            }
        }
    }
}

#[test]
fn sequence_numbers_follow_the_order_of_writing() {
    let mut client = config();
    client.performance.batch = Some(BatchConfig::default());
    client.performance.encoding = Encoding::Text;
    client.performance.compression = None;
    let mut world = connected(client);
    world.cut();
    send(&mut world, 1, Priority::Low).expect("kept");
    send(&mut world, 2, Priority::High).expect("kept");
    world.run(5 * SECOND);
    assert_eq!(world.heard_by_server(), [2, 1]);
    let frame = world.transcript().lines().find(|line| line.contains("messages")).expect("a batch").replace('\\', "");
    let places = [r#""p":{"n":2}"#, r#""seq":0"#, r#""p":{"n":1}"#, r#""seq":1"#].map(|part| frame.find(part));
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{frame}");
}

#[test]
fn a_server_that_announces_no_batching_gets_single_messages() {
    let mut client = config();
    client.performance.batch = Some(BatchConfig::default());
    client.performance.encoding = Encoding::Text;
    let mut world = World::new(WorldConfig { client, ..WorldConfig::default() });
    world.faults = LinkFaults { only_pongs: true, ..LinkFaults::default() };
    world.connect();
    world.run(3 * SECOND);
    send_all(&mut world, 0..20);
    world.run(MOMENT);
    assert_eq!(world.heard_by_server().len(), 20);
    assert_eq!(batches(&world), 0);
}

#[test]
fn payloads_that_nest_too_deep_for_a_batch_go_alone() {
    let mut client = config();
    client.performance.batch = Some(BatchConfig::default());
    client.performance.encoding = Encoding::Text;
    client.performance.compression = None;
    let mut world = connected(client);
    let now = world.now();
    for n in 0..4 {
        let nested = format!("{{\"n\":{n},\"x\":{}{}}}", "[".repeat(62), "]".repeat(62));
        let payload = Payload::from_json(nested).expect("63 levels");
        world.client.send(Outgoing::new("order", payload), now).expect("accepted");
    }
    world.run(SECOND);
    assert_eq!(world.heard_by_server(), [0, 1, 2, 3]);
    assert_eq!(batches(&world), 0);
}

#[test]
fn the_client_takes_a_batch_apart() {
    let mut world = connected(config());
    world.server_says("wrapped", r#"{"n":0}"#);
    // `batch` is reserved for `Peer::send` too, so the frame is written by hand.
    world.server_writes(
        r#"WSE{"t":"batch","p":{"count":4,"messages":[{"t":"a","p":{"n":1}},{"t":"batch","p":{"messages":[]}},5,
           {"t":"b","p":{"n":2}}]},"v":1}"#,
    );
    world.run(MOMENT);
    assert_eq!(world.received(), [0, 1, 2]);
    let refused = world.events().iter().filter(|event| matches!(event, Event::Rejected(_))).count();
    assert_eq!(refused, 2);
}

/// Messages sent in all weather: none arrives twice or out of order, and once the weather is clear, all do.
#[test]
fn no_weather_makes_a_message_come_twice() {
    for seed in 0..60 {
        let mut client = config();
        client.security.encryption = seed % 2 == 0;
        client.performance.batch = (seed % 3 == 0).then(BatchConfig::default);
        client.performance.rate_limit = (seed % 5 == 0).then_some(RateLimit { capacity: 3, refill: 5.0 });
        let mut world = World::new(WorldConfig { client, seed, ..WorldConfig::default() });
        world.connect();
        let mut n = 0;
        for _ in 0..10 {
            send_all(&mut world, n..n + 20);
            n += 20;
            world.storm(Duration::from_secs(10));
        }
        world.run(90 * SECOND);
        let before = n;
        send_all(&mut world, n..n + 20);
        world.run(60 * SECOND);
        let heard = world.heard_by_server();
        assert!(heard.is_sorted_by(|a, b| a < b), "seed {seed}: doubled or out of order: {heard:?}");
        let late: Vec<u64> = heard.iter().copied().filter(|heard| *heard >= before).collect();
        assert_eq!(late, (before..before + 20).collect::<Vec<u64>>(), "seed {seed}");
        assert_eq!(world.client.metrics(world.now()).queue.waiting, 0, "seed {seed}");
        assert!(world.plaintext_after_agreement().is_empty(), "seed {seed}");
    }
}
