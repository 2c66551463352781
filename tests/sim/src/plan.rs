//! What a world is made of, drawn from its seed.

use std::{collections::BTreeSet, time::Duration};

use wse_client_core::{
    config::{ClientConfig, Credentials, TokenTransport},
    delivery::{BatchConfig, RateLimit, ReorderConfig},
    resilience::{BackoffStrategy, BalanceStrategy},
    security::{Secret, SigningConfig, SigningForm, Verification},
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

/// Patterns over them.
pub(crate) const PATTERNS: &[&str] = &["t*", "u*", "?1"];

/// How a server and the clients that come to it speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// As both ends of this engine do.
    Own,
    /// Full duplex, with keys that are not bound to the exchange.
    Unbound,
    /// As the published 2.x: each end takes the other for one of them.
    Published2,
    /// As the published 1.x.
    Published1,
}

impl Dialect {
    /// What of a feature list is not announced.
    pub(crate) const fn hides(self) -> &'static [&'static str] {
        match self {
            Self::Own => &[],
            Self::Unbound => &["\"bound_keys\":true"],
            Self::Published2 | Self::Published1 => &["\"bound_keys\":true", "\"full_duplex\":true"],
        }
    }

    pub(crate) const fn is_published(self) -> bool {
        matches!(self, Self::Published1 | Self::Published2)
    }

    pub(crate) fn settings(self, peer: &PeerConfig) -> PeerConfig {
        let mut settings = peer.clone();
        if self == Self::Published1 {
            settings.server_version = "1.4.2".into();
        }
        settings
    }
}

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
    /// One for each server.
    pub(crate) dialects: Vec<Dialect>,
    /// Longest delay of the bus between servers, in milliseconds.
    pub(crate) bus_ms: u64,
    /// Longest time that a server needs to look up a history, in milliseconds.
    pub(crate) lookup_ms: u64,
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
        let mut clients: Vec<ClientConfig> = (0..1 + dice.below(6)).map(|_| client(servers, dice)).collect();
        let signs = dice.chance(25);
        if signs {
            for client in &mut clients {
                client.security.signing = dice.chance(80).then(|| signing(false, dice));
            }
        }
        let everyone = clients.iter().all(|client| client.security.signing.is_some());
        let peer = PeerConfig {
            signing: signs
                .then(|| SigningConfig { kinds: BTreeSet::from(["direct".to_owned()]), ..signing(everyone, dice) }),
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
            dialects: (0..servers).map(|_| dialect(dice)).collect(),
            bus_ms: [0, 20, 300, 3_000][dice.below(4)],
            lookup_ms: [0, 10, 500][dice.below(3)],
            ring: [4, 16, 64, 256][dice.below(4)],
            storm: dice.millis(20_000, 90_000),
            calm_ms: [800, 2_000, 5_000][dice.below(3)],
        }
    }
}

fn dialect(dice: &mut Dice) -> Dialect {
    use Dialect::{Own, Published1, Published2, Unbound};
    [Own, Own, Own, Own, Own, Own, Own, Unbound, Published2, Published1][dice.below(10)]
}

fn client(servers: usize, dice: &mut Dice) -> ClientConfig {
    use BackoffStrategy::{Adaptive, Exponential, Fibonacci, Linear};
    use BalanceStrategy::{LeastConnections, RoundRobin, WeightedRandom};
    let mut config = ClientConfig::new("ws://s0/wse");
    // Each client starts with another server, and knows them all.
    let first = dice.below(servers);
    config.endpoints = (0..servers).map(|n| format!("ws://s{}/wse", (first + n) % servers)).collect();
    config.topics = RECOVERABLE.iter().chain(PLAIN).filter(|_| dice.chance(30)).map(|name| (*name).into()).collect();
    config.topics.extend(PATTERNS.iter().filter(|_| dice.chance(10)).map(|name| String::from(*name)));
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
    config.pool.breaker.failures = [1, 3, 5][dice.below(3)];
    config.pool.breaker.pause = dice.millis(1_000, 60_000);
    config.adaptive_quality = dice.chance(30);
    config.reconnect.max_retries = dice.chance(10).then(|| 1 + dice.below(6) as u32);
    draw_queue(&mut config, dice);
    config.delivery.reorder = dice
        .chance(20)
        .then(|| ReorderConfig { max_held: [1, 10, 100][dice.below(3)], max_wait: dice.millis(10, 1_000) });
    config.delivery.dedup_window = [1_000, 10_000][dice.below(2)];
    if dice.chance(60) {
        config.security.rotate_after = Some(dice.millis(1_000, 60_000));
    }
    config
}

/// What becomes of messages that cannot go at once.
fn draw_queue(config: &mut ClientConfig, dice: &mut Dice) {
    config.offline.enabled = dice.chance(80);
    config.offline.max_size = [1, 3, 20, 1000][dice.below(4)];
    config.offline.max_bytes = [600, 4_000, 16 << 20][dice.below(3)];
    config.offline.max_age = [500, 5_000, 60_000, 3_600_000].map(Duration::from_millis)[dice.below(4)];
    config.performance.batch = dice.chance(30).then(|| BatchConfig {
        size: 1 + dice.below(10),
        timeout: dice.millis(0, 500),
        max_bytes: [300, 64 << 10][dice.below(2)],
    });
    // Fast enough for the longest queue to be empty before the last word.
    config.performance.rate_limit = dice
        .chance(20)
        .then(|| RateLimit { capacity: 1 + dice.below(20) as u32, refill: 10.0 + dice.below(40) as f64 });
}

/// One key for everybody, as signatures have it; how each end signs and what it asks for is its own affair.
fn signing(required: bool, dice: &mut Dice) -> SigningConfig {
    let key = Secret::from("a key of at least thirty-two bytes for tests");
    let mut kinds: BTreeSet<String> = BTreeSet::from(["priority_message".to_owned()]);
    if dice.chance(50) {
        kinds.extend(["note".to_owned(), "direct".to_owned()]);
    }
    SigningConfig {
        form: if dice.chance(50) { SigningForm::Hmac } else { SigningForm::Jwt },
        kinds,
        verification: if required { Verification::Required } else { Verification::IfPresent },
        ..SigningConfig::new(key)
    }
}
