//! The figures of a client: their names, and that they add up.

use std::time::Duration;

use serde_json::{Map, Value, json};
use wse_client_core::{
    client::{Casing, ConnectionState, Figure, Figures, Metrics, Outgoing, Request, figures_to_json},
    config::ClientConfig,
    io::Frame,
    wire::{Payload, Priority},
};

use crate::{
    SECOND, config,
    world::{LinkFaults, World, WorldConfig},
};

fn connected(client: ClientConfig) -> World {
    let mut world = World::new(WorldConfig { client, ..WorldConfig::default() });
    world.connect();
    world.run(SECOND);
    assert_eq!(world.client.state(), ConnectionState::Connected);
    world
}

/// Names with their units, nested as the figures are.
fn names(figures: &dyn Figures) -> Value {
    let mut all = Map::new();
    figures.each(&mut |name, unit, figure| {
        let value = match figure {
            Figure::Group(group) => names(group),
            Figure::Groups(groups) => json!([names(groups[0])]),
            _ => json!(unit),
        };
        assert!(all.insert(name.to_owned(), value).is_none(), "{name} is there twice");
    });
    Value::Object(all)
}

#[test]
fn names_and_units_are_those_of_the_list() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/vectors/metrics.json");
    let listed: Value = serde_json::from_str(&std::fs::read_to_string(path).expect("readable")).expect("JSON");
    let mut world = connected(config());
    world.cut();
    world.run(10 * SECOND);
    let now = world.now();
    let own = json!({
        "metrics": names(&world.client.metrics(now)),
        "diagnostics": names(&world.client.diagnostics(now)),
    });
    for section in ["metrics", "diagnostics"] {
        assert_eq!(own[section], listed[section], "write into {path}:\n{own:#}");
    }
}

#[test]
fn both_casings_write_the_same_figures() {
    let world = connected(config());
    let diagnostics = world.client.diagnostics(world.now());
    let read = |casing| -> Value { serde_json::from_str(&figures_to_json(&diagnostics, casing)).expect("JSON") };
    let (snake, camel) = (read(Casing::Snake), read(Casing::Camel));
    assert_eq!(snake, json!(diagnostics));
    assert_eq!(snake["round_trip_time_ms"], camel["roundTripTimeMs"]);
    assert_eq!(snake["endpoints"][0]["circuit_breaker"], json!("CLOSED"));
    assert_eq!(camel["endpoints"][0]["circuitBreaker"], json!("CLOSED"));
    assert_eq!((&camel["state"], &camel["lastDisconnect"]), (&json!("connected"), &Value::Null));
    assert_eq!(snake.as_object().map(Map::len), camel.as_object().map(Map::len));
}

fn assert_adds_up(metrics: &Metrics) {
    let drops = &metrics.drops;
    let dropped = drops.queue_full + drops.expired + drops.too_large + drops.disconnected + drops.closed;
    assert_eq!(metrics.messages_dropped, dropped, "{metrics:#?}");
    let known = metrics.messages_sent + metrics.messages_dropped + metrics.messages_queued;
    assert_eq!(metrics.messages_accepted, known, "{metrics:#?}");
    let queue = &metrics.queue;
    let levels = [&queue.background, &queue.low, &queue.normal, &queue.high, &queue.critical];
    assert_eq!(levels.iter().map(|level| level.waiting).sum::<u64>(), queue.waiting);
    assert!(queue.waiting <= queue.capacity && queue.bytes <= queue.byte_capacity);
}

/// Whatever happens: each message that was accepted is sent, waits, or was dropped for a reason.
#[test]
fn what_was_accepted_is_accounted_for() {
    let mut client = config();
    client.offline.max_size = 5;
    client.offline.max_age = 20 * SECOND;
    client.limits.max_frame = 2000;
    let mut world = connected(client);
    let levels = [Priority::Background, Priority::Low, Priority::Normal, Priority::High, Priority::Critical];
    let mut given = 0;
    for round in 0..60_usize {
        match round % 12 {
            3 => world.faults = LinkFaults { refuse: true, ..LinkFaults::default() },
            4 => world.cut(),
            9 => world.faults = LinkFaults::default(),
            _ => {}
        }
        for step in 0..4 {
            let size = if (round + step) % 7 == 0 { 4000 } else { 10 };
            let id = (round % 5 == 0).then(|| format!("same-{round}"));
            let payload = Payload::new(&"x".repeat(size)).expect("text");
            let message = Outgoing { priority: levels[(round + step) % 5], id, ..Outgoing::new("m", payload) };
            let before = world.client.metrics(world.now());
            let taken = world.client.send(message, world.now());
            let after = world.client.metrics(world.now());
            assert_eq!(after.messages_refused - before.messages_refused, u64::from(taken.is_err()));
            given += 1;
            assert_adds_up(&after);
        }
        world.run(3 * SECOND);
        assert_adds_up(&world.client.metrics(world.now()));
    }
    let metrics = world.client.metrics(world.now());
    assert!(metrics.messages_accepted + metrics.messages_refused <= given);
    assert!(metrics.drops.expired > 0 && metrics.drops.queue_full > 0 && metrics.messages_refused > 0, "{metrics:#?}");
    assert_eq!(metrics.reconnect_count, metrics.connections - 1);
    world.client.close(wse_client_core::io::Close::normal(), world.now());
    let closed = world.client.metrics(world.now());
    assert_adds_up(&closed);
    assert_eq!(closed.messages_queued, 0);
}

#[test]
fn traffic_is_counted_and_has_a_rate() {
    let mut world = connected(config());
    let before = world.client.metrics(world.now());
    for n in 0..20 {
        world.server_sends(Outgoing::new("n", Payload::new(&n).expect("number")));
    }
    world.run(2 * SECOND);
    let after = world.client.metrics(world.now());
    assert_eq!(after.messages_received - before.messages_received, 20);
    assert_eq!(after.frames_received - before.frames_received, 20);
    assert!(after.message_rate > 2.0 && after.bandwidth > 100.0, "{after:#?}");
    assert!(after.connected_for_ms.is_some_and(|ms| ms >= 2000) && after.uptime_ms >= 3000);
    world.run(30 * SECOND);
    assert!(world.client.metrics(world.now()).message_rate < 0.01);
}

#[test]
fn a_heartbeat_of_the_server_is_counted_and_told_to_nobody() {
    let mut world = connected(config());
    world.server_sends(Outgoing::new("heartbeat", Payload::EMPTY));
    world.run(SECOND);
    assert_eq!(world.client.metrics(world.now()).heartbeats_received, 1);
    assert!(world.events().iter().all(|event| event.message().is_none()));
}

#[test]
fn requests_are_counted_as_long_as_they_wait_and_when_they_fail() {
    let mut world = connected(config());
    world.ask(&Request::Debug);
    assert_eq!(world.client.metrics(world.now()).requests_pending, 1);
    world.run(Duration::from_secs(11));
    let metrics = world.client.metrics(world.now());
    assert_eq!((metrics.requests_pending, metrics.requests_failed), (0, 1));
}

#[test]
fn a_client_that_waits_says_for_how_long() {
    let mut world = connected(config());
    world.faults = LinkFaults { refuse: true, ..LinkFaults::default() };
    world.cut();
    world.run(Duration::from_millis(10));
    let metrics = world.client.metrics(world.now());
    assert!(metrics.next_attempt_in_ms.is_some(), "{metrics:#?}");
    assert_eq!((metrics.connected_for_ms, metrics.silent_for_ms), (None, None));
    let diagnostics = world.client.diagnostics(world.now());
    assert_eq!(diagnostics.state, ConnectionState::Reconnecting);
    let last = diagnostics.last_disconnect.expect("told");
    assert!(last.retryable && last.retry_in_ms.is_some(), "{last:?}");
}

#[test]
fn a_frame_of_a_socket_that_was_given_up_is_counted() {
    use wse_client_core::{client::Input, io::SocketId};
    let mut world = connected(config());
    world.client.reconnect(world.now());
    let late = Frame::Text(r#"U{"t":"late","p":{}}"#.into());
    world.client.handle(Input::Frame(SocketId(1), late), world.now());
    assert_eq!(world.client.metrics(world.now()).frames_stale, 1);
}
