//! What the host and the server say about the network, and what a client makes of it.

use std::time::Duration;

use wse_client_core::{
    client::{ConnectionState, Event, Fault, Input, NetworkHint, RequestId},
    config::{ClientConfig, Credentials},
    error::Code,
    io::{Close, SocketId},
    resilience::{BreakerState, Quality},
};

use crate::{
    SECOND, config,
    world::{LinkFaults, World, WorldConfig},
};

fn connected(client: ClientConfig) -> World {
    World::connected(WorldConfig { client, ..WorldConfig::default() })
}

#[test]
fn a_draining_server_names_when_to_come_back() {
    let mut world = connected(config());
    world.server_drains(5 * SECOND, 10 * SECOND);
    world.run(SECOND);
    let end = world.client.last_disconnect().expect("told").clone();
    let pause = end.retry_in.expect("it comes back");
    assert!((5 * SECOND..=15 * SECOND).contains(&pause), "{pause:?}");
    assert_eq!(end.close.expect("closed").code, 4300);
    world.run(16 * SECOND);
    assert_eq!(world.client.state(), ConnectionState::Connected);
}

#[test]
fn a_client_that_was_sent_away_stays_away_for_the_time_that_was_named() {
    let refusals = [
        (4429, r#"WSE{"t":"error","p":{"code":"RATE_LIMITED","message":"slow down","retry_after":40}}"#),
        (1013, r#"WSE{"t":"error","p":{"code":"SERVER_FULL","message":"full","retry_after":40}}"#),
        (1013, r#"WSE{"t":"rate_limit_warning","p":{"retry_after":40}}"#),
    ];
    for (code, said) in refusals {
        let mut world = connected(config());
        world.server_writes(said);
        world.run(2 * SECOND);
        let attempts = world.attempts();
        world.server_closes(Close::new(code, ""));
        let pause = world.client.last_disconnect().expect("told").retry_in.expect("it comes back");
        assert!((37 * SECOND..=42 * SECOND).contains(&pause), "{said}: {pause:?}");
        world.hint(NetworkHint::Online);
        world.run(36 * SECOND);
        assert_eq!(world.attempts(), attempts, "the server knows better than the host");
        world.run(6 * SECOND);
        assert_eq!(world.client.state(), ConnectionState::Connected);
    }
}

#[test]
fn a_named_pause_is_bounded_and_counts_for_its_close_alone() {
    let said = r#"WSE{"t":"error","p":{"code":"RATE_LIMITED","message":"slow down","retry_after":1e9}}"#;
    let mut world = connected(config());
    world.server_writes(said);
    world.run(SECOND);
    world.cut();
    let pause = world.client.last_disconnect().expect("told").retry_in.expect("it comes back");
    assert!(pause <= SECOND, "a cut link is no refusal: {pause:?}");
    world.run(2 * SECOND);
    world.server_writes(said);
    world.run(SECOND);
    world.server_closes(Close::new(4429, ""));
    let pause = world.client.last_disconnect().expect("told").retry_in.expect("it comes back");
    assert!((299 * SECOND..=302 * SECOND).contains(&pause), "{pause:?}");
}

#[test]
fn a_network_that_is_back_is_used_at_once() {
    let mut world = connected(config());
    world.faults.refuse = true;
    world.cut();
    world.run(Duration::from_secs(300));
    world.faults = LinkFaults::default();
    let attempts = world.attempts();
    world.hint(NetworkHint::Online);
    world.run(SECOND);
    assert_eq!((world.client.state(), world.attempts()), (ConnectionState::Connected, attempts + 1));
}

#[test]
fn an_offline_host_is_not_dialled_from_but_never_parked() {
    let mut world = connected(config());
    world.hint(NetworkHint::Offline);
    world.faults.refuse = true;
    world.cut();
    let attempts = world.attempts();
    world.run(25 * SECOND);
    assert_eq!(world.attempts(), attempts, "the host says that it is useless");
    world.faults = LinkFaults::default();
    world.run(Duration::from_secs(90));
    assert_eq!(world.client.state(), ConnectionState::Connected, "hosts are wrong about it, too");
}

#[test]
fn a_first_attempt_waits_for_the_network_but_not_for_ever() {
    let mut world = World::new(WorldConfig { client: config(), ..WorldConfig::default() });
    world.hint(NetworkHint::Offline);
    world.connect();
    world.run(25 * SECOND);
    assert_eq!((world.client.state(), world.attempts()), (ConnectionState::Connecting, 0));
    world.hint(NetworkHint::Online);
    world.run(SECOND);
    assert_eq!((world.client.state(), world.attempts()), (ConnectionState::Connected, 1));

    // The host has been wrong about it for long.
    world.client_closes();
    world.hint(NetworkHint::Offline);
    world.run(Duration::from_secs(300));
    world.connect();
    world.run(29 * SECOND);
    assert_eq!((world.client.state(), world.attempts()), (ConnectionState::Connecting, 1));
    world.run(2 * SECOND);
    assert_eq!((world.client.state(), world.attempts()), (ConnectionState::Connected, 2));
}

#[test]
fn a_dead_socket_is_found_out_soon_after_a_change_of_network() {
    for hint in [NetworkHint::AddressChanged, NetworkHint::Online] {
        let mut world = connected(config());
        world.faults.swallow = true;
        world.send("swallowed", 1);
        world.run(SECOND);
        world.faults = LinkFaults::default();
        world.hint(hint);
        world.run(7 * SECOND);
        assert_eq!(world.client.state(), ConnectionState::Connected, "{hint:?}");
        assert_eq!(world.attempts(), 2, "{hint:?}: a new socket within seconds");
    }
}

#[test]
fn a_machine_that_slept_does_not_call_its_server_silent() {
    let mut world = connected(config());
    world.hint(NetworkHint::Sleep);
    world.freeze_client(true);
    world.run(60 * SECOND);
    world.freeze_client(false);
    world.hint(NetworkHint::Wake);
    world.run(3 * SECOND);
    assert_eq!((world.client.state(), world.attempts()), (ConnectionState::Connected, 1));
}

#[test]
fn quality_is_unknown_until_it_is_measured() {
    let mut world = connected(config());
    assert_eq!(world.client.diagnostics(world.now()).quality, Quality::Unknown);
    world.run(40 * SECOND);
    let diagnostics = world.client.diagnostics(world.now());
    assert_eq!(diagnostics.quality, Quality::Excellent);
    assert_eq!(diagnostics.circuit_breaker, BreakerState::Closed);
    assert_eq!(diagnostics.endpoints[0].connections, 1);
    let told = |event: &Event| matches!(event, Event::QualityChanged { to: Quality::Excellent, .. });
    assert!(world.events().iter().any(told));
}

#[test]
fn a_poor_network_is_pinged_less_often_if_that_was_asked_for() {
    let pings = |adaptive_quality| {
        let mut world = connected(ClientConfig { adaptive_quality, ..config() });
        world.faults.delay = Duration::from_millis(400);
        world.run(Duration::from_secs(600));
        let adapted = world.events().iter().filter(|event| matches!(event, Event::Adapted(_))).count();
        assert_eq!(adapted, usize::from(adaptive_quality));
        world.transcript().lines().filter(|line| line.contains(" > ") && line.contains("\\\"ping\\\"")).count()
    };
    let (plain, adapted) = (pings(false), pings(true));
    assert!(adapted * 3 < plain * 2, "{adapted} pings against {plain}");
}

#[test]
fn another_endpoint_is_tried_and_the_preferred_one_is_returned_to() {
    let mut client = config();
    client.endpoints = vec!["ws://one/wse".into(), "ws://two/wse".into()];
    client.pool.preferred = Some(1);
    let mut world = connected(client);
    let endpoint = |world: &World| world.client.server().expect("connected").endpoint.clone();
    assert_eq!(endpoint(&world), "ws://two/wse");
    world.cut();
    world.run(10 * SECOND);
    assert_eq!(endpoint(&world), "ws://one/wse", "the one that has just failed is not next");
    world.cut();
    world.run(10 * SECOND);
    assert_eq!(endpoint(&world), "ws://two/wse");
}

#[test]
fn a_token_set_late_revives_a_client_whose_provider_is_stuck() {
    let client = ClientConfig { credentials: Credentials::Provider, ..config() };
    let good_token = Some("new".to_owned());
    let mut world = World::new(WorldConfig { client, good_token, ..WorldConfig::default() });
    world.provider_is_stuck = true;
    world.connect();
    world.run(3 * SECOND);
    assert_eq!(world.client.state(), ConnectionState::Connecting);
    world.set_token("new");
    world.client_hears(Input::Token(RequestId(1), Ok(Some("old".into()))));
    world.run(SECOND);
    assert_eq!((world.client.state(), world.attempts()), (ConnectionState::Connected, 1));
}

#[test]
fn a_late_answer_of_a_token_provider_is_not_taken_for_a_later_one() {
    let client = ClientConfig { credentials: Credentials::Provider, ..config() };
    let good_token = Some("new".to_owned());
    let mut world = World::new(WorldConfig { client, good_token, ..WorldConfig::default() });
    world.provider_is_stuck = true;
    world.connect();
    world.run(20 * SECOND);
    assert!(world.token_requests().len() >= 2, "asked again after a time");
    let asked = |n: usize| RequestId(n as u64);
    let last = asked(world.token_requests().len());
    world.client_hears(Input::Token(asked(1), Ok(Some("old".into()))));
    assert_eq!(world.attempts(), 0, "the first question is over");
    world.client_hears(Input::Token(last, Ok(Some("new".into()))));
    world.run(SECOND);
    assert_eq!((world.client.state(), world.attempts()), (ConnectionState::Connected, 1));
}

#[test]
fn a_host_that_never_takes_offline_back_keeps_nobody_on_a_dead_connection() {
    for hint in [NetworkHint::Offline, NetworkHint::Sleep] {
        let mut world = connected(config());
        world.hint(hint);
        world.faults = LinkFaults { swallow: true, ..LinkFaults::default() };
        world.run(Duration::from_secs(29));
        assert_eq!(world.client.state(), ConnectionState::Connected, "silence proves nothing yet");
        world.run(Duration::from_secs(60));
        assert_eq!(world.client.state(), ConnectionState::Reconnecting, "{hint:?}");
    }
}

#[test]
fn reads_that_stopped_before_there_was_a_socket_do_not_hide_the_silence_of_the_next_one() {
    let mut world = World::new(WorldConfig { client: config(), ..WorldConfig::default() });
    world.client_hears(Input::ReadsPaused(true));
    world.connect();
    world.run(SECOND);
    world.faults = LinkFaults { swallow: true, ..LinkFaults::default() };
    world.run(Duration::from_secs(41));
    assert_eq!(world.last_code(), Some(Code::PeerSilent));
}

#[test]
fn the_time_that_a_draining_server_named_counts_more_than_a_hint() {
    let mut world = connected(config());
    world.server_drains(Duration::from_secs(20), Duration::from_secs(20));
    world.run(SECOND);
    let attempts = world.attempts();
    world.hint(NetworkHint::Online);
    world.run(Duration::from_secs(15));
    assert_eq!(world.attempts(), attempts);
    world.run(Duration::from_secs(30));
    assert_eq!(world.client.state(), ConnectionState::Connected);
}

#[test]
fn a_forbidden_upgrade_is_told_apart_and_retried_slowly() {
    let mut world = World::new(WorldConfig { client: config(), ..WorldConfig::default() });
    world.connect();
    let fault = Fault { http_status: Some(403), detail: "no".into() };
    world.client_hears(Input::Failed(SocketId(1), fault));
    let end = world.client.last_disconnect().expect("told");
    assert_eq!(end.code, Code::Forbidden);
    assert!(end.retry_in.expect("never parked") >= Duration::from_secs(30));
}

fn latencies(world: &World) -> Vec<Duration> {
    let trip = |event: &Event| match event {
        Event::Latency(trip) => Some(*trip),
        _ => None,
    };
    world.events().iter().filter_map(trip).collect()
}

#[test]
fn an_answer_to_an_older_ping_is_no_quick_answer_to_the_last_one() {
    let mut world = connected(config());
    world.faults.delay = Duration::from_millis(400);
    let before = latencies(&world).len();
    for _ in 0..40 {
        world.hint(NetworkHint::Online);
        world.run(Duration::from_millis(700));
    }
    world.run(2 * SECOND);
    let after = &latencies(&world)[before..];
    assert!(!after.is_empty() && after.iter().all(|trip| *trip >= Duration::from_millis(800)), "{after:?}");
}

#[test]
fn a_ping_that_was_out_while_reading_stopped_is_not_lost() {
    let mut world = connected(config());
    world.faults.delay = Duration::from_millis(400);
    for _ in 0..40 {
        world.run(Duration::from_millis(700));
        world.pause_reads(true);
        world.run(Duration::from_millis(10));
        world.pause_reads(false);
    }
    world.run(2 * SECOND);
    assert_eq!(world.client.diagnostics(world.now()).packet_loss, 0.0);
}
