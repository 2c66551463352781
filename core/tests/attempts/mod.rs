//! Where a client dials next, and when, after attempts that failed for its token.

use std::collections::BTreeMap;

use wse_client_core::{
    client::{Action, Client, ConnectionState, Fault, Input, Output},
    config::{ClientConfig, Credentials},
    io::SocketId,
    resilience::BalanceStrategy,
    rng::Seed,
    time::{Moment, WallTime},
};

use crate::config;

fn client(config: ClientConfig) -> Client {
    let mut client =
        Client::new(config, Seed::from_u64(1), Moment::ORIGIN, WallTime::from_unix_ms(0)).expect("good settings");
    client.connect(Moment::ORIGIN);
    client
}

/// The attempt that the client wants, with its endpoint, or when it wants to be woken.
fn next(client: &mut Client) -> Result<(SocketId, String), Option<Moment>> {
    loop {
        match client.poll() {
            Output::Act(Action::Open { socket, url, .. }) => {
                return Ok((socket, url.split('?').next().unwrap_or_default().to_owned()));
            }
            Output::Wait(at) => return Err(at),
            Output::Act(_) | Output::Emit(_) => {}
        }
    }
}

/// Fails every attempt with this status, and counts the attempts at each endpoint.
fn refuse(client: &mut Client, attempts: usize, http_status: Option<u16>) -> BTreeMap<String, usize> {
    let mut now = Moment::ORIGIN;
    let mut counts = BTreeMap::new();
    while counts.values().sum::<usize>() < attempts {
        match next(client) {
            Ok((socket, endpoint)) => {
                *counts.entry(endpoint).or_default() += 1;
                client.handle(Input::Failed(socket, Fault { http_status, detail: String::new() }), now);
            }
            Err(at) => {
                now = at.expect("never parked");
                client.handle(Input::Wake, now);
            }
        }
    }
    counts
}

#[test]
fn who_refuses_the_token_is_not_asked_twice_running_and_keeps_its_health() {
    for status in [401, 403] {
        let two = || ClientConfig { endpoints: vec!["ws://a".into(), "ws://b".into()], ..config() };
        let mut preferred = two();
        preferred.pool.preferred = Some(0);
        let mut least = two();
        least.pool.strategy = BalanceStrategy::LeastConnections;
        for config in [preferred, least, two()] {
            let mut client = client(config);
            let counts = refuse(&mut client, 20, Some(status));
            assert_eq!(counts.values().copied().collect::<Vec<_>>(), [10, 10], "{status}: {counts:?}");
            let endpoints = client.diagnostics(Moment::ORIGIN).endpoints;
            assert!(endpoints.iter().all(|endpoint| endpoint.score == 100), "a token says nothing about a server");
        }
    }
}

#[test]
fn a_token_revives_a_client_whatever_its_last_attempt_failed_for() {
    let mut config = ClientConfig { credentials: Credentials::Token("stale".into()), ..config() };
    config.reconnect.max_retries = Some(1);
    let mut client = client(config);
    refuse(&mut client, 1, Some(401));
    let now = next(&mut client).expect_err("a pause comes first").expect("never parked");
    client.handle(Input::Wake, now);
    refuse(&mut client, 1, None);
    assert_eq!(client.state(), ConnectionState::Failed);
    client.set_token(Some("fresh".into()), now);
    assert_eq!(client.state(), ConnectionState::Connecting);
    next(&mut client).expect("it dials");
}
