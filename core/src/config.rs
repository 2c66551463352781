//! Settings of a client, checked once before anything is dialled.

use std::time::Duration;

use crate::{
    delivery::{BatchConfig, DedupWindow, QueueLimits, RateLimit, ReorderConfig},
    error::Code,
    resilience::{BackoffStrategy, PoolConfig},
    security::{Secret, SigningConfig},
    topic,
    wire::{Compression, Encoding, Limits},
};

/// The longest pause, heartbeat or wait for an answer that can be set. Far beyond what makes sense, and far below what
/// could overflow.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// Everything a [`crate::client::Client`] can be told. Defaults are those of every SDK.
#[derive(Debug, Clone)]
pub struct ClientConfig {
    /// `ws://` or `wss://` addresses of equal servers, at least one. Another one is tried after a failure.
    pub endpoints: Vec<String>,
    /// Topics to subscribe to as soon as a connection is ready. Default none.
    pub topics: Vec<String>,
    /// Where tokens come from. Default: no token.
    pub credentials: Credentials,
    /// How the token travels. Default: in headers.
    pub token_transport: TokenTransport,
    /// Name and version of the SDK, for `client_hello`. Default `wse-client-core` and its version.
    pub client_version: String,
    /// When to come back after a connection is lost.
    pub reconnect: ReconnectConfig,
    /// Which of several endpoints is next.
    pub pool: PoolConfig,
    /// Turn down pings, compress harder and join small messages when the network is poor. Default false.
    pub adaptive_quality: bool,
    /// Encryption of messages.
    pub security: SecurityConfig,
    /// Form and size of messages.
    pub performance: PerformanceConfig,
    /// Messages that cannot be sent at once.
    pub offline: OfflineConfig,
    /// Order, repeats and recovery of what arrives.
    pub delivery: DeliveryConfig,
    /// Detection of a peer that went silent. Each length lies between 1 ms and 1 day.
    pub heartbeat: HeartbeatConfig,
    /// Bounds on waiting. Each lies between 1 ms and 1 day.
    pub timeouts: Timeouts,
    /// Bounds on what the server may send.
    pub limits: Limits,
    /// What is kept for finding faults.
    pub diagnostics: DiagnosticsConfig,
}

impl ClientConfig {
    /// The defaults, with one endpoint.
    pub fn new(endpoint: impl Into<String>) -> Self {
        Self {
            endpoints: vec![endpoint.into()],
            topics: Vec::new(),
            credentials: Credentials::default(),
            token_transport: TokenTransport::default(),
            client_version: crate::VERSION.into(),
            reconnect: ReconnectConfig::default(),
            pool: PoolConfig::default(),
            adaptive_quality: false,
            security: SecurityConfig::default(),
            performance: PerformanceConfig::default(),
            offline: OfflineConfig::default(),
            delivery: DeliveryConfig::default(),
            heartbeat: HeartbeatConfig::default(),
            timeouts: Timeouts::default(),
            limits: Limits::default(),
            diagnostics: DiagnosticsConfig::default(),
        }
    }

    /// Checks every setting. [`crate::client::Client::new`] calls it.
    ///
    /// # Errors
    /// The first setting that cannot be used, by name, with what is allowed.
    pub fn check(&self) -> Result<(), ConfigError> {
        if self.endpoints.is_empty() {
            return Err(ConfigError::new("endpoints", "must name at least one ws:// or wss:// address"));
        }
        for endpoint in &self.endpoints {
            check_endpoint(endpoint)?;
        }
        if self.topics.len() > self.limits.max_topics {
            let limit = self.limits.max_topics;
            return Err(ConfigError::new("topics", format!("must be at most {limit}, as limits.max_topics says")));
        }
        for name in &self.topics {
            topic::check(name).map_err(|_| {
                ConfigError::new(
                    "topics",
                    format!("{name:?} must have 1 to {} bytes and no control characters", topic::MAX_LEN),
                )
            })?;
        }
        self.reconnect.check()?;
        if self.pool.preferred.is_some_and(|index| index >= self.endpoints.len()) {
            return Err(ConfigError::new("pool.preferred", "must be the index of an endpoint"));
        }
        self.offline.check()?;
        self.performance.check(&self.limits)?;
        for (name, length) in [
            ("heartbeat.interval", self.heartbeat.interval),
            ("heartbeat.timeout", self.heartbeat.timeout),
            ("timeouts.connect", self.timeouts.connect),
            ("timeouts.ready", self.timeouts.ready),
            ("timeouts.subscribe", self.timeouts.subscribe),
            ("timeouts.request", self.timeouts.request),
        ] {
            if length < Duration::from_millis(1) {
                return Err(ConfigError::new(name, "must be at least 1 ms"));
            }
            if length > LONGEST {
                return Err(ConfigError::new(name, "must be at most 1 day"));
            }
        }
        if self.security.signing.as_ref().is_some_and(|signing| !signing.is_usable()) {
            return Err(ConfigError::new("security.signing.key", "must have at least 32 bytes"));
        }
        if self.security.rotate_after.is_some_and(|length| length < Duration::from_secs(1)) {
            return Err(ConfigError::new("security.rotate_after", "must be at least 1 s"));
        }
        Ok(())
    }
}

fn check_endpoint(endpoint: &str) -> Result<(), ConfigError> {
    let refuse = |why: &str| Err(ConfigError::new("endpoints", format!("{:?} {why}", shown(endpoint))));
    let Some((scheme, rest)) = endpoint.split_once("://") else {
        return refuse("must start with ws:// or wss://");
    };
    if !matches!(scheme, "ws" | "wss") {
        return refuse("must start with ws:// or wss://");
    }
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.is_empty() || authority.starts_with(':') {
        return refuse("names no host");
    }
    if authority.contains('@') {
        return refuse("must not carry a user or password: use a token");
    }
    if rest.contains('#') {
        return refuse("must not have a fragment (#…)");
    }
    if endpoint.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return refuse("must not contain white space");
    }
    let port = authority.rsplit_once(':').filter(|(host, _)| !host.starts_with('[') || host.ends_with(']'));
    if let Some((_, port)) = port
        && port.parse::<u16>().is_err()
    {
        return refuse("has a port that is not a number from 0 to 65535");
    }
    Ok(())
}

/// What may be printed of an address: nothing that a user or password could be part of, and no query.
pub(crate) fn shown(address: &str) -> String {
    if address.contains('@') {
        return address.split_once("://").map_or_else(|| "…".to_owned(), |(scheme, _)| format!("{scheme}://…"));
    }
    address.split(['?', '#']).next().unwrap_or_default().to_owned()
}

/// Where tokens come from.
#[derive(Debug, Clone, Default)]
pub enum Credentials {
    /// No token is sent.
    #[default]
    None,
    /// This token, until [`crate::client::Client::set_token`] replaces it.
    Token(Secret),
    /// The application is asked at each attempt, with [`crate::client::Action::FetchToken`].
    Provider,
}

/// How the token travels to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TokenTransport {
    /// `Authorization: Bearer` and the cookie `access_token`; the driver sets them.
    #[default]
    Headers,
    /// The query parameter `token`, for drivers that cannot set headers (browsers).
    Query,
}

/// When to come back after a connection is lost.
#[derive(Debug, Clone, PartialEq)]
pub struct ReconnectConfig {
    /// Consecutive failures after which the client gives up with a typed event. `None` (default): never.
    pub max_retries: Option<u32>,
    /// First pause; later ones grow from it. Default 1 s.
    pub initial_delay: Duration,
    /// Longest pause. Default 30 s, at most 1 day.
    pub max_delay: Duration,
    /// Growth of the pause. Default 1.5.
    pub multiplier: f64,
    /// How the pause grows. Default exponential.
    pub strategy: BackoffStrategy,
}

impl Default for ReconnectConfig {
    fn default() -> Self {
        Self {
            max_retries: None,
            initial_delay: Duration::from_secs(1),
            max_delay: Duration::from_secs(30),
            multiplier: 1.5,
            strategy: BackoffStrategy::default(),
        }
    }
}

impl ReconnectConfig {
    fn check(&self) -> Result<(), ConfigError> {
        if self.initial_delay < Duration::from_millis(1) {
            return Err(ConfigError::new("reconnect.initial_delay", "must be at least 1 ms"));
        }
        if self.max_delay < self.initial_delay {
            return Err(ConfigError::new("reconnect.max_delay", "must not be shorter than reconnect.initial_delay"));
        }
        if self.max_delay > LONGEST {
            return Err(ConfigError::new("reconnect.max_delay", "must be at most 1 day"));
        }
        if !(1.0..=10.0).contains(&self.multiplier) {
            return Err(ConfigError::new("reconnect.multiplier", "must lie between 1 and 10"));
        }
        Ok(())
    }
}

/// Encryption of messages.
#[derive(Debug, Clone)]
pub struct SecurityConfig {
    /// Agree on a key and encrypt every message. Default false. With true, a server that cannot is refused.
    pub encryption: bool,
    /// Age at which the key of a connection is renewed in mid-session, with servers that can. Default 1 h; `None`:
    /// only before its counter is used up. Source: PROTOCOL.md §5.4.
    pub rotate_after: Option<Duration>,
    /// Signing of messages with a key that the server knows. Default none. Source: PROTOCOL.md §5.3.
    pub signing: Option<SigningConfig>,
}

impl Default for SecurityConfig {
    fn default() -> Self {
        Self { encryption: false, rotate_after: Some(Duration::from_secs(60 * 60)), signing: None }
    }
}

/// Form and size of messages.
#[derive(Debug, Clone)]
pub struct PerformanceConfig {
    /// Compress large messages, and accept compressed ones. Default true.
    pub compression: Option<Compression>,
    /// How messages are written, and how the server is asked to write. Default JSON in binary frames.
    pub encoding: Encoding,
    /// Join small messages where the server reads `batch`. Default none: each goes at once.
    pub batch: Option<BatchConfig>,
    /// Send no faster than this. Default none; the client slows down when the server asks for it.
    pub rate_limit: Option<RateLimit>,
}

impl Default for PerformanceConfig {
    fn default() -> Self {
        Self { compression: Some(Compression::default()), encoding: Encoding::Binary, batch: None, rate_limit: None }
    }
}

impl PerformanceConfig {
    fn check(&self, limits: &Limits) -> Result<(), ConfigError> {
        if let Some(batch) = &self.batch {
            if batch.size == 0 {
                return Err(ConfigError::new("performance.batch.size", "must be at least 1"));
            }
            if batch.size > limits.max_batch {
                let limit = limits.max_batch;
                let allowed = format!("must be at most {limit}, as limits.max_batch says");
                return Err(ConfigError::new("performance.batch.size", allowed));
            }
            if batch.timeout > MAX_BATCH_TIMEOUT {
                return Err(ConfigError::new("performance.batch.timeout", "must be at most 5 s"));
            }
        }
        match &self.rate_limit {
            Some(limit) if *limit != limit.clamped() => Err(ConfigError::new(
                "performance.rate_limit",
                "must have a capacity of 1 to 1000000 and refill 0.01 to 1000000 a second",
            )),
            _ => Ok(()),
        }
    }
}

/// Longest time for which messages may be held to be joined.
const MAX_BATCH_TIMEOUT: Duration = Duration::from_secs(5);

/// Messages that cannot be sent at once. Source: PROTOCOL.md §7.3.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OfflineConfig {
    /// Keep messages while the client connects or reconnects. Default true. With false, sending fails meanwhile.
    pub enabled: bool,
    /// Most messages that wait, for a connection or for their turn. Default 1000.
    pub max_size: usize,
    /// Most bytes that wait. Default 16 MiB.
    pub max_bytes: usize,
    /// How long a message waits at most. Default 1 h.
    pub max_age: Duration,
}

impl Default for OfflineConfig {
    fn default() -> Self {
        let QueueLimits { max_items, max_bytes } = QueueLimits::default();
        Self { enabled: true, max_size: max_items, max_bytes, max_age: Duration::from_secs(3600) }
    }
}

impl OfflineConfig {
    fn check(&self) -> Result<(), ConfigError> {
        if self.max_size == 0 {
            return Err(ConfigError::new("offline.max_size", "must be at least 1"));
        }
        if self.max_age < Duration::from_millis(1) {
            return Err(ConfigError::new("offline.max_age", "must be at least 1 ms"));
        }
        Ok(())
    }
}

/// Order, repeats and recovery of what arrives. Source: PROTOCOL.md §6.6.
#[derive(Debug, Clone)]
pub struct DeliveryConfig {
    /// Ids of messages remembered, so that one that comes again is dropped; 0: none. Default 10,000. Snapshots pass.
    pub dedup_window: usize,
    /// Hold messages for a gap in `seq`. Default no: a WebSocket keeps its order, so no such gap can fill.
    pub reorder: Option<ReorderConfig>,
    /// Keep a position in each topic whose publications carry one, and ask for what was missed. Default true.
    pub recovery: bool,
}

impl Default for DeliveryConfig {
    fn default() -> Self {
        Self { dedup_window: DedupWindow::DEFAULT_CAPACITY, reorder: None, recovery: true }
    }
}

/// Detection of a peer that went silent.
#[derive(Debug, Clone)]
pub struct HeartbeatConfig {
    /// Time between pings. Default 15 s.
    pub interval: Duration,
    /// Silence after a ping that ends the connection. Default 25 s.
    pub timeout: Duration,
}

impl Default for HeartbeatConfig {
    fn default() -> Self {
        Self { interval: Duration::from_secs(15), timeout: Duration::from_secs(25) }
    }
}

/// Bounds on waiting.
#[derive(Debug, Clone)]
pub struct Timeouts {
    /// Dialling, TLS and the WebSocket handshake; also one call of the token provider. Default 10 s.
    pub connect: Duration,
    /// From the open socket to a server that is ready. Default 10 s.
    pub ready: Duration,
    /// Answer to a subscription request. Default 5 s.
    pub subscribe: Duration,
    /// Answer to a typed request. Default 10 s.
    pub request: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            ready: Duration::from_secs(10),
            subscribe: Duration::from_secs(5),
            request: Duration::from_secs(10),
        }
    }
}

/// What is kept for finding faults.
#[derive(Debug, Clone, Default)]
pub struct DiagnosticsConfig {
    /// Keep a recording of inputs and decisions, for [`crate::client::Client::recording`]. Default `None`: off.
    pub record: Option<RecordConfig>,
}

/// Bounds of a recording. Whatever comes first makes the oldest entries go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordConfig {
    /// Most entries. Default 4096.
    pub max_entries: usize,
    /// Most bytes in memory, roughly. Default 256 KiB.
    pub max_bytes: usize,
}

impl Default for RecordConfig {
    fn default() -> Self {
        Self { max_entries: 4096, max_bytes: 256 * 1024 }
    }
}

/// A setting that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{setting} {problem}")]
pub struct ConfigError {
    /// Path of the setting, for example `reconnect.max_delay`.
    pub setting: &'static str,
    /// What is wrong, and what is allowed.
    pub problem: String,
}

impl ConfigError {
    /// An error about one setting.
    pub fn new(setting: &'static str, problem: impl Into<String>) -> Self {
        Self { setting, problem: problem.into() }
    }

    /// Always [`Code::InvalidConfig`].
    pub const fn code(&self) -> Code {
        Code::InvalidConfig
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_checked_and_the_message_names_the_fault() {
        for good in ["ws://a", "wss://a.b:443/wse?x=1", "ws://[::1]:5006/wse", "ws://127.0.0.1:0"] {
            assert_eq!(ClientConfig::new(good).check(), Ok(()), "{good}");
        }
        for (bad, why) in [
            ("http://a", "ws:// or wss://"),
            ("localhost:5006", "ws:// or wss://"),
            ("ws://", "no host"),
            ("ws://:80", "no host"),
            ("ws://a:port", "port"),
            ("ws://a:99999", "port"),
            ("ws://u:p@a", "token"),
            ("ws://a/#x", "fragment"),
            ("ws://a b", "white space"),
        ] {
            let error = ClientConfig::new(bad).check().expect_err(bad);
            assert_eq!(error.setting, "endpoints");
            assert!(error.problem.contains(why), "{error}");
        }
    }

    #[test]
    fn a_refused_address_is_not_printed_with_its_secrets() {
        for bad in [
            "wss://bob:hunter2@a/wse",
            "wss://bob:hun/hunter2@a",
            "wss://bob:x?hunter2@a",
            "bob:hunter2@a",
            "wss://a b/wse?key=hunter2",
            "wss://a#hunter2",
        ] {
            let error = ClientConfig::new(bad).check().expect_err(bad).to_string();
            assert!(!error.contains("hunter2"), "{error}");
        }
        let error = ClientConfig::new("wss://a b/wse?key=x").check().expect_err("a space").to_string();
        assert!(error.contains("wss://a b/wse"), "what is no secret helps to find the fault: {error}");
    }

    #[test]
    fn numbers_are_checked_by_name() {
        let mut config = ClientConfig::new("ws://a");
        config.reconnect.multiplier = 0.5;
        assert_eq!(config.check().expect_err("too small").setting, "reconnect.multiplier");
        let mut config = ClientConfig::new("ws://a");
        config.heartbeat.interval = Duration::ZERO;
        assert_eq!(config.check().expect_err("zero").setting, "heartbeat.interval");
        let mut config = ClientConfig::new("ws://a");
        config.topics = (0..1001).map(|n| format!("t{n}")).collect();
        assert_eq!(config.check().expect_err("more than may be asked for").setting, "topics");
        config.topics.pop();
        assert_eq!(config.check(), Ok(()));
        for (size, good) in [(0, false), (1, true), (1000, true), (1001, false)] {
            config.performance.batch = Some(BatchConfig { size, ..BatchConfig::default() });
            let refused = config.check().map_err(|error| error.setting);
            assert_eq!(refused, if good { Ok(()) } else { Err("performance.batch.size") }, "{size}");
        }
    }

    #[test]
    fn lengths_that_would_overflow_are_refused_by_name() {
        type Setting = fn(&mut ClientConfig) -> &mut Duration;
        let too_long: [(&str, Setting); 7] = [
            ("reconnect.max_delay", |config| &mut config.reconnect.max_delay),
            ("heartbeat.interval", |config| &mut config.heartbeat.interval),
            ("heartbeat.timeout", |config| &mut config.heartbeat.timeout),
            ("timeouts.connect", |config| &mut config.timeouts.connect),
            ("timeouts.ready", |config| &mut config.timeouts.ready),
            ("timeouts.subscribe", |config| &mut config.timeouts.subscribe),
            ("timeouts.request", |config| &mut config.timeouts.request),
        ];
        for (name, setting) in too_long {
            let mut config = ClientConfig::new("ws://a");
            *setting(&mut config) = LONGEST;
            assert_eq!(config.check(), Ok(()), "{name}");
            *setting(&mut config) = LONGEST + Duration::from_nanos(1);
            assert_eq!(config.check().expect_err(name).setting, name);
        }
    }
}
