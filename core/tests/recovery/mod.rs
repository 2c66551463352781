//! Topics with a history: exactly once and in order, or a word about what is missing.

use std::time::Duration;

use wse_client_core::{
    client::{ConnectionState, Event, RecoveryOutcome},
    config::ClientConfig,
    delivery::LostRange,
    io::Close,
};

use crate::{
    SECOND, config,
    world::{LinkFaults, World, WorldConfig},
};

/// A connected client of one topic, on a server that remembers `held` publications.
fn connected(topic: &str, held: usize) -> World {
    let client = ClientConfig { topics: vec![topic.into()], ..config() };
    World::connected(WorldConfig { client, history: Some(held), ..WorldConfig::default() })
}

fn publish(world: &mut World, topic: &str, numbers: std::ops::Range<u64>) {
    for n in numbers {
        world.publish(topic, n);
    }
    world.run(SECOND);
}

/// Cuts the connection and publishes while nobody listens.
fn publish_unheard(world: &mut World, topic: &str, numbers: std::ops::Range<u64>) {
    world.faults.refuse = true;
    world.cut();
    publish(world, topic, numbers);
    world.faults = LinkFaults::default();
    world.run(60 * SECOND);
    assert_eq!(world.client.state(), ConnectionState::Connected);
}

fn recoveries(world: &World) -> Vec<(RecoveryOutcome, u64)> {
    let all = world.events().iter();
    all.filter_map(|event| match event {
        Event::Recovery { outcome, count, .. } => Some((*outcome, *count)),
        _ => None,
    })
    .collect()
}

fn lost(world: &World) -> Vec<LostRange> {
    let all = world.events().iter();
    all.filter_map(|event| match event {
        Event::Lost { range, .. } => range.clone(),
        _ => None,
    })
    .collect()
}

#[test]
fn what_was_missed_comes_after_a_reconnect() {
    let mut world = connected("t", 100);
    publish(&mut world, "t", 0..5);
    publish_unheard(&mut world, "t", 5..9);
    publish(&mut world, "t", 9..12);
    assert_eq!(world.received(), (0..12).collect::<Vec<u64>>());
    assert_eq!(recoveries(&world), [(RecoveryOutcome::Recovered, 4)]);
    assert_eq!(lost(&world), []);
}

#[test]
fn nothing_is_missed_between_the_subscription_and_the_first_publication() {
    let mut world = connected("t", 100);
    publish_unheard(&mut world, "t", 0..3);
    assert_eq!(world.received(), [0, 1, 2]);
}

#[test]
fn what_the_history_no_longer_holds_is_named() {
    let mut world = connected("t", 3);
    publish(&mut world, "t", 0..5);
    publish_unheard(&mut world, "t", 5..12);
    assert_eq!(world.received(), [0, 1, 2, 3, 4, 9, 10, 11]);
    assert_eq!(recoveries(&world), [(RecoveryOutcome::Partial, 3)]);
    let range = lost(&world).remove(0);
    assert_eq!((range.from, range.to), (5, Some(8)));
    assert_eq!(world.client.metrics(world.now()).messages_lost, 4);
}

#[test]
fn a_history_that_begins_anew_is_told_and_goes_on() {
    let mut world = connected("t", 100);
    publish(&mut world, "t", 0..5);
    world.history.as_mut().expect("has one").forget();
    publish_unheard(&mut world, "t", 5..7);
    publish(&mut world, "t", 7..9);
    assert_eq!(world.received(), (0..9).collect::<Vec<u64>>(), "the new history still holds all of its own");
    assert_eq!(recoveries(&world), [(RecoveryOutcome::Partial, 2)]);
    let range = lost(&world).remove(0);
    assert_eq!((range.from, range.to), (5, None), "what the old one held after 4 nobody knows");
}

#[test]
fn a_gap_on_a_live_connection_is_filled() {
    let mut world = connected("t", 100);
    publish(&mut world, "t", 0..3);
    world.skip_next = true;
    publish(&mut world, "t", 3..8);
    assert_eq!(world.received(), (0..8).collect::<Vec<u64>>());
    assert_eq!(world.attempts(), 1);
    assert_eq!(lost(&world), []);
}

#[test]
fn a_gap_that_cannot_be_filled_is_told_and_the_topic_goes_on() {
    let mut world = connected("t", 2);
    publish(&mut world, "t", 0..3);
    world.skip_next = true;
    publish(&mut world, "t", 3..8);
    let heard = world.received();
    assert!(heard.starts_with(&[0, 1, 2]) && heard.ends_with(&[6, 7]), "{heard:?}");
    let missing: u64 = lost(&world).iter().filter_map(LostRange::count).sum();
    assert_eq!(heard.len() as u64 + missing, 8);
}

#[test]
fn only_the_publication_that_cannot_be_read_is_lost() {
    let mut world = connected("t", 100);
    publish(&mut world, "t", 0..3);
    world.spoiled = Some(4);
    publish(&mut world, "t", 3..6);
    assert_eq!((world.received(), lost(&world).len()), (vec![0, 1, 2, 3, 5], 1), "within a second");
    publish(&mut world, "t", 6..9);
    assert_eq!(world.received(), [0, 1, 2, 3, 5, 6, 7, 8]);
    let range = lost(&world).remove(0);
    assert_eq!((range.from, range.to), (4, Some(4)));
}

#[test]
fn the_last_publication_is_missed_although_nothing_follows_it() {
    let mut world = connected("t", 100);
    publish(&mut world, "t", 0..3);
    world.spoiled = Some(4);
    publish_unheard(&mut world, "t", 3..5);
    world.run(60 * SECOND);
    assert_eq!(world.received(), [0, 1, 2, 3]);
    let range = lost(&world).remove(0);
    assert_eq!((range.from, range.to), (4, Some(4)));
    assert_eq!(world.client.metrics(world.now()).messages_recovered, 1);
}

/// What a publisher may write into a topic never moves the client's state.
#[test]
fn publications_are_never_the_servers_own_word() {
    for kind in ["heartbeat", "lost", "error", "draining", "rate_limit_warning", "subscription_update", "pong", "batch"]
    {
        let mut world = connected("t", 100);
        world.kind = kind;
        publish(&mut world, "t", 0..3);
        let heard = world.events().iter().filter(|event| matches!(event, Event::Message(_) | Event::Notice(_))).count();
        assert_eq!((heard, world.client.state()), (3, ConnectionState::Connected), "{kind}");
        assert_eq!(world.client.metrics(world.now()).messages_received, 3, "{kind}");
    }
}

#[test]
fn topics_met_by_a_pattern_are_recovered_too() {
    let mut world = connected("room:*", 100);
    publish(&mut world, "room:1", 0..3);
    publish(&mut world, "room:2", 3..5);
    publish_unheard(&mut world, "room:1", 5..8);
    assert_eq!(world.received(), (0..8).collect::<Vec<u64>>());
}

#[test]
fn a_topic_that_was_given_up_starts_afresh() {
    let mut world = connected("t", 100);
    publish(&mut world, "t", 0..3);
    world.unsubscribe(&["t"]);
    world.run(SECOND);
    publish(&mut world, "t", 3..6);
    world.subscribe(&["t"]);
    world.run(SECOND);
    publish(&mut world, "t", 6..8);
    assert_eq!(world.received(), [0, 1, 2, 6, 7]);
    assert_eq!(recoveries(&world), []);
}

#[test]
fn weather_costs_nothing_while_the_history_reaches() {
    for seed in 0..100 {
        let mut client = ClientConfig { topics: vec!["t".into()], ..config() };
        client.security.encryption = seed % 2 == 0;
        let mut world = World::new(WorldConfig { client, seed, history: Some(10_000), ..WorldConfig::default() });
        world.connect();
        world.run(SECOND);
        let before = world.published("t");
        world.storm(Duration::from_secs(120));
        world.run(Duration::from_secs(90));
        let all: Vec<u64> = (0..world.published("t") - before).collect();
        assert_eq!(world.received(), all, "seed {seed}");
        assert_eq!(lost(&world), [], "seed {seed}");
        world.check_invariants(seed);
    }
}

#[test]
fn weather_and_a_short_history_leave_nothing_unsaid() {
    for seed in 0..100 {
        let client = ClientConfig { topics: vec!["t".into()], ..config() };
        let mut world = World::new(WorldConfig { client, seed, history: Some(3), ..WorldConfig::default() });
        world.connect();
        world.run(SECOND);
        world.storm(Duration::from_secs(120));
        world.run(Duration::from_secs(90));
        // A new connection settles what the last gap on the old one left open.
        world.server_closes(Close::new(1012, "restart"));
        world.run(Duration::from_secs(90));
        let missing: u64 = lost(&world).iter().filter_map(LostRange::count).sum();
        assert_eq!(world.received().len() as u64 + missing, world.published("t"), "seed {seed}");
        world.check_invariants(seed);
    }
}

#[test]
fn a_loss_that_is_told_does_not_cover_what_can_still_be_had() {
    let mut world = connected("t", 100);
    publish(&mut world, "t", 0..3);
    world.skip_next = true;
    world.publish("t", 3);
    world.skip_next = true;
    world.publish("t", 4);
    world.tell_lost("t", 4..=4);
    publish(&mut world, "t", 5..7);
    assert_eq!((world.received(), lost(&world)), ((0..7).collect::<Vec<u64>>(), vec![]), "the history holds all of it");
}

#[test]
fn a_history_that_begins_anew_in_mid_stream_is_heard_from_its_start() {
    let mut world = connected("t", 100);
    publish(&mut world, "t", 0..3);
    world.history.as_mut().expect("has one").forget();
    world.skip_next = true;
    publish(&mut world, "t", 3..6);
    assert_eq!(world.received(), (0..6).collect::<Vec<u64>>());
    let ranges: Vec<(u64, Option<u64>)> = lost(&world).iter().map(|range| (range.from, range.to)).collect();
    assert_eq!(ranges, [(3, None)], "only what the old one held after 2");
}

#[test]
fn a_gap_is_not_given_up_while_no_answer_can_be_read() {
    let mut world = connected("t", 100);
    publish(&mut world, "t", 0..3);
    world.skip_next = true;
    world.publish("t", 3);
    world.publish("t", 4);
    // The message behind the gap arrives after 5 ms, the answer to the question about it after 10 more.
    world.run(Duration::from_millis(8));
    world.pause_reads(true);
    world.run(85 * SECOND);
    world.pause_reads(false);
    world.run(10 * SECOND);
    assert_eq!((world.received(), lost(&world)), ((0..5).collect::<Vec<u64>>(), vec![]));
}

#[test]
fn a_client_that_wants_no_recovery_is_told_of_no_losses_by_an_answer() {
    let mut client = ClientConfig { topics: vec!["t".into()], ..config() };
    client.delivery.recovery = false;
    let mut world = World::connected(WorldConfig { client, history: Some(100), ..WorldConfig::default() });
    publish(&mut world, "t", 0..3);
    // Answers that nobody asked for, and a promise that is not kept.
    for answer in [
        r#"WSE{"t":"subscription_update","p":{"recovery":{"t":{"epoch":"e","offset":2,"count":0}}}}"#,
        r#"WSE{"t":"subscription_update","p":{"recovery":{"t":{"epoch":"e","offset":9,"count":7}}}}"#,
    ] {
        world.server_writes(answer);
        world.run(SECOND);
    }
    world.run(120 * SECOND);
    assert_eq!((world.received(), lost(&world), recoveries(&world)), (vec![0, 1, 2], vec![], vec![]));
}
