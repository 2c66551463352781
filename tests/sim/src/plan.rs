//! What a world is made of, drawn from its seed.

use std::time::Duration;

use wse_client_core::{
    config::{ClientConfig, Credentials, TokenTransport},
    resilience::{BackoffStrategy, BalanceStrategy},
    server::PeerConfig,
    wire::Encoding,
};

use crate::dice::Dice;

/// Topics with a history, which are recovered.
pub(crate) const RECOVERABLE: &[&str] = &["t0", "t1", "t2", "t3"];

/// Topics without one.
pub(crate) const PLAIN: &[&str] = &["u0", "u1"];

/// A topic that no token allows.
pub(crate) const DENIED: &str = "denied";

/// How long every client may take to be well again after the weather cleared: a server that hears nothing closes
/// after its idle timeout (at most 60 s here), then comes the longest pause (20 s), a dial and a greeting.
pub(crate) const SETTLING: Duration = Duration::from_secs(200);

/// The parts of one world.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) clients: Vec<ClientConfig>,
    pub(crate) servers: usize,
    pub(crate) peer: PeerConfig,
    /// Publications that a topic's history holds.
    pub(crate) ring: usize,
    /// How long the weather is bad.
    pub(crate) storm: Duration,
    /// Longest pause between two turns of the weather, in milliseconds.
    pub(crate) calm_ms: u64,
}

impl Plan {
    pub(crate) fn draw(seed: u64, dice: &mut Dice) -> Self {
        let servers = 1 + dice.below(3);
        let clients = (0..1 + dice.below(6)).map(|_| client(servers, dice)).collect();
        let peer = PeerConfig {
            encryption: true,
            recovery: true,
            ping_interval: dice.millis(5_000, 20_000),
            idle_timeout: dice.millis(25_000, 60_000),
            ..PeerConfig::default()
        };
        Self {
            seed,
            clients,
            servers,
            peer,
            ring: [4, 16, 64, 256][dice.below(4)],
            storm: dice.millis(20_000, 90_000),
            calm_ms: [800, 2_000, 5_000][dice.below(3)],
        }
    }
}

fn client(servers: usize, dice: &mut Dice) -> ClientConfig {
    use BackoffStrategy::{Adaptive, Exponential, Fibonacci, Linear};
    use BalanceStrategy::{LeastConnections, RoundRobin, WeightedRandom};
    let mut config = ClientConfig::new("ws://s0/wse");
    // Each client starts with another server, and knows them all.
    let first = dice.below(servers);
    config.endpoints = (0..servers).map(|n| format!("ws://s{}/wse", (first + n) % servers)).collect();
    config.topics = RECOVERABLE.iter().chain(PLAIN).filter(|_| dice.chance(30)).map(|name| (*name).into()).collect();
    config.credentials = if dice.chance(50) { Credentials::Provider } else { Credentials::Token("".into()) };
    config.token_transport = if dice.chance(50) { TokenTransport::Headers } else { TokenTransport::Query };
    config.security.encryption = dice.chance(40);
    config.performance.encoding = [Encoding::Text, Encoding::Binary, Encoding::Msgpack][dice.below(3)];
    config.heartbeat.interval = dice.millis(3_000, 15_000);
    config.heartbeat.timeout = dice.millis(5_000, 25_000);
    config.reconnect.max_delay = dice.millis(2_000, 20_000);
    config.reconnect.strategy = [Exponential, Linear, Fibonacci, Adaptive][dice.below(4)];
    config.pool.strategy = [WeightedRandom, LeastConnections, RoundRobin][dice.below(3)];
    config.pool.preferred = dice.chance(30).then(|| dice.below(servers));
    config.adaptive_quality = dice.chance(30);
    if dice.chance(5) {
        config.reconnect.max_retries = Some(3);
    }
    config
}
