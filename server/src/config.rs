//! Settings of a server, checked once before anything is opened.

use std::{path::PathBuf, time::Duration};

use wse_client_core::{
    config::ConfigError,
    delivery::{BatchConfig, QueueLimits, RateLimit},
    security::{Secret, SigningConfig, Verification},
    server::PeerConfig,
    topic,
    wire::{Compression, Limits},
};

use crate::{
    auth::{Hosts, MIN_SECRET, check_keys},
    listen::Networks,
    memory,
    settings::size,
};

/// Everything a server can be told. The defaults run on loopback, open, with everything in memory.
///
/// ```
/// use wse_server::Config;
///
/// let config = Config {
///     port: 0, // any free port
///     jwt_secret: Some("a secret of at least thirty-two bytes".into()),
///     allowed_origins: vec!["https://app.example.com".into()],
///     ..Config::default()
/// };
/// config.check().expect("these settings can be used");
/// ```
#[derive(Debug, Clone)]
pub struct Config {
    /// Name or address to listen on. Default `127.0.0.1`.
    pub host: String,
    /// TCP port; 0 takes any free one. Default 5006.
    pub port: u16,
    /// HMAC key (HS256) of the tokens that clients must bring, at least 32 bytes. `None` (default), and no `jwt_keys`: the
    /// server is open, everyone may subscribe and publish everything; allowed on loopback only, see `allow_open`.
    pub jwt_secret: Option<Secret>,
    /// The secret that `jwt_secret` or `jwt_keys` replaced, valid beside them until it is taken out. Default none.
    pub jwt_previous_secret: Option<Secret>,
    /// Files of keys that tokens may be signed with: JWK sets (JSON, public keys for RS256 and ES256, secrets for HS256, each
    /// with its `kid`) and PEM (public keys, without `kid`). All are valid at once, 16 keys at most, and are
    /// read anew when a file changes. Default none.
    pub jwt_keys: Vec<PathBuf>,
    /// How far the clocks of who signs tokens and of the server may be apart, for `exp` and `nbf`. Default 30 s, at most
    /// 10 minutes.
    pub jwt_skew: Duration,
    /// Name of the cookie in which a token is looked for first. Default `access_token`.
    pub jwt_cookie: String,
    /// The `iss` that tokens must have. Default: not checked.
    pub jwt_issuer: Option<String>,
    /// The `aud` that tokens must have, alone or in a list. Default: not checked.
    pub jwt_audience: Option<String>,
    /// Key of the HTTP API and of the console. Without one those work only on an open server on loopback, and
    /// `POST /wse/tokens` not at all.
    pub api_key: Option<Secret>,
    /// Allow an open server on an address that others can reach. Default false.
    pub allow_open: bool,
    /// Origins from which browsers may connect, like `https://app.example.com`. Empty (default): all, but an open server on
    /// loopback takes pages of this machine only, and of `allowed_hosts`. Clients
    /// that send no `Origin` header are not browsers and always pass.
    pub allowed_origins: Vec<String>,
    /// Names by which clients may call this server (`Host` header), without port. Empty (default): any, but an open server
    /// on loopback answers to names of this machine only, so that no web page reaches it by a name of its own.
    pub allowed_hosts: Vec<String>,
    /// Certificate chain, PEM. With it and `tls_key` the port speaks TLS. Default none.
    pub tls_certificate: Option<PathBuf>,
    /// Private key of the certificate, PEM. Default none.
    pub tls_key: Option<PathBuf>,
    /// Most WebSocket connections at a time. Default 10,000.
    pub max_connections: usize,
    /// Most WebSocket connections at a time from one address. Default: no bound.
    pub max_connections_per_address: Option<usize>,
    /// Addresses and networks (`10.0.0.0/8`) of proxies whose `X-Forwarded-For` names the client. Default none.
    pub trusted_proxies: Vec<String>,
    /// Most sockets at a time that are no WebSocket (yet); more are closed at once. One address gets a quarter of them.
    /// Default 1024.
    pub max_handshakes: usize,
    /// Largest message of a client in bytes, before and after inflating. Default 1 MiB.
    pub max_message_size: usize,
    /// Most topics and patterns that one connection may subscribe to. Default 1000.
    pub max_topics_per_connection: usize,
    /// Messages a second that one client may send in the long run. Default: no bound.
    pub inbound_rate: Option<f64>,
    /// Messages that one client may send at once, where there is an `inbound_rate`. Default 100.
    pub inbound_burst: u32,
    /// Messages a second that one client is sent in the long run; more wait. Those of its topics and those to it alone take
    /// turns. Default: no bound.
    pub outbound_rate: Option<f64>,
    /// Messages that one client is sent at once, where there is an `outbound_rate`. Default 100.
    pub outbound_burst: u32,
    /// Most topics that are remembered at a time. Default 100,000.
    pub max_topics: usize,
    /// Most bytes that messages may hold in all: rings, histories and snapshots of topics, queues of connections. From 90 % on
    /// nobody new comes in; at 100 % publications and messages to single connections are refused, then the
    /// connections with the longest queues are closed. Default 1 GiB; 90 % of it must hold `history_bytes` and four times
    /// `max_message_size` together.
    pub memory_budget: usize,
    /// Most bytes that may wait for one connection alone; above it the connection is closed with 1013. Default
    /// 4 MiB, at least `max_message_size`. Topic messages do not count: they wait in shared rings.
    pub max_queue_bytes: usize,
    /// Most messages that may wait for one connection alone, unless its client asks for another bound (100 to 5000); above it
    /// less urgent ones make room (PROTOCOL.md §7.6). Default 1000.
    pub queue_messages: usize,
    /// Messages to one client that share a frame at most, when it announced that it reads batches (PROTOCOL.md §7.4).
    /// Default 10; 1: none are joined.
    pub batch_size: usize,
    /// How long messages to one client are held for each other. Default 0: only what waits anyway is joined.
    pub batch_timeout: Duration,
    /// Most messages that a topic holds for subscribers that are behind. Default 4096.
    pub ring_messages: usize,
    /// Most bytes that a topic holds for subscribers that are behind, payloads counted three times. Default 16 MiB.
    pub ring_bytes: usize,
    /// While topic messages follow each other on a connection: the least time between two writes of them. Default 3 ms;
    /// 0: each at once. The first after a pause always goes at once, and answers and messages to one connection never
    /// wait. It adds at most this, and a millisecond of the timer, to the latency of a busy topic, and spares a write
    /// for each message: see docs/performance.md.
    pub flush_interval: Duration,
    /// Publications of each topic that are kept for clients that come back (PROTOCOL.md §6.6). Default 256; 0: no
    /// history, and publications carry no position. A ring holds `ring_messages` at most, its history included.
    pub history_messages: usize,
    /// How long a publication is kept for clients that come back. Default 5 minutes.
    pub history_age: Duration,
    /// Most bytes that all topics hold together, payloads counted three times. Above it, histories of topics that were used
    /// longest ago go first, then unread messages, whose readers are told, and snapshots, of which nobody is. Default
    /// 256 MiB, at least eight times `max_message_size`: a single message that is larger would take everything else with
    /// it.
    pub history_bytes: usize,
    /// Topics (patterns, too) in which users can be seen by others, if they ask for it (PROTOCOL.md §6.7). Default `*`;
    /// empty: none.
    pub presence_topics: Vec<String>,
    /// How long a user is still seen in a topic after its last connection broke. Default 0: not at all.
    pub presence_linger: Duration,
    /// Most bytes that users who are seen take together, with what they tell about themselves; more are refused.
    /// Default 64 MiB.
    pub presence_bytes: usize,
    /// How long a client may take for a TLS handshake, or to send the head or the body of an HTTP request. Default 10 s.
    pub handshake_timeout: Duration,
    /// How long a client may take nothing of what is written to it. Default 60 s.
    pub write_timeout: Duration,
    /// Time between pings of the server. Default 15 s.
    pub ping_interval: Duration,
    /// Whether a `heartbeat` message goes out with each ping. Default true.
    pub heartbeat: bool,
    /// Time between looks at the network of each client, which is told when it has become bad or well again. Looked at
    /// with pings, and so no more often than those. Default 30 s.
    pub health_interval: Duration,
    /// Time over which the rates of each connection are measured, in whole pings. Default 60 s.
    pub metrics_interval: Duration,
    /// Silence that ends a connection. Longer than `ping_interval`. Default 90 s.
    pub idle_timeout: Duration,
    /// Compression of large messages; `None`: never. Default above 1024 bytes, level 6.
    pub compression: Option<Compression>,
    /// Whether clients that ask for encryption get it. Default true.
    pub encryption: bool,
    /// Key of signed messages (PROTOCOL.md §5.3), at least 32 bytes: clients that know it are checked. Default none:
    /// signatures are not looked at.
    pub signing_key: Option<Secret>,
    /// What is done about signatures of clients, with a `signing_key`. Default: a wrong one is refused, messages without one
    /// are taken.
    pub verification: Verification,
    /// Types of messages to single clients that are signed, with a `signing_key`. Default `priority_message`. Topic
    /// messages are written once for all who receive them, and never signed.
    pub signed_types: Vec<String>,
    /// Key of session and channel tokens (PROTOCOL.md §5.6), which only servers know: at least 32 bytes. Default none:
    /// no tokens are given out, and none is taken.
    pub token_key: Option<Secret>,
    /// Folder whose files are served at `/`. Default none: `/` leads to the console.
    pub static_dir: Option<PathBuf>,
    /// Whether the page `/console` is there. It is for who has the API key, or sits at the machine of an open server on
    /// loopback; on other servers it only says so. Default true.
    pub console: bool,
    /// At a drain: how long readiness says no before the first client is sent away. Default 0.
    pub drain_delay: Duration,
    /// At a drain: clients are sent away, and come back, spread over this time. Default 5 s.
    pub drain_window: Duration,
    /// At a drain: how long after the last client was sent away they come back. Default 1 s.
    pub drain_retry_after: Duration,
    /// At a drain: clients may come back at once, because other instances take them. Default false.
    pub drain_handover: bool,
    /// At a drain: how long clients may take to read what is queued for them. Default 10 s.
    pub shutdown_timeout: Duration,
}

impl Default for Config {
    fn default() -> Self {
        let peer = PeerConfig::default();
        Self {
            host: "127.0.0.1".into(),
            port: 5006,
            jwt_secret: None,
            jwt_previous_secret: None,
            jwt_keys: Vec::new(),
            jwt_skew: Duration::from_secs(30),
            jwt_cookie: "access_token".into(),
            jwt_issuer: None,
            jwt_audience: None,
            api_key: None,
            allow_open: false,
            allowed_origins: Vec::new(),
            allowed_hosts: Vec::new(),
            tls_certificate: None,
            tls_key: None,
            max_connections: 10_000,
            max_connections_per_address: None,
            trusted_proxies: Vec::new(),
            max_handshakes: 1024,
            max_message_size: peer.limits.max_frame,
            max_topics_per_connection: peer.limits.max_topics,
            inbound_rate: None,
            inbound_burst: 100,
            outbound_rate: None,
            outbound_burst: 100,
            max_topics: 100_000,
            memory_budget: 1 << 30,
            max_queue_bytes: 4 << 20,
            queue_messages: peer.queue_messages,
            batch_size: peer.batch.size,
            batch_timeout: peer.batch.timeout,
            ring_messages: 4096,
            ring_bytes: 16 << 20,
            flush_interval: Duration::from_millis(3),
            history_messages: 256,
            history_age: Duration::from_secs(300),
            history_bytes: 256 << 20,
            presence_topics: vec!["*".into()],
            presence_linger: Duration::ZERO,
            presence_bytes: 64 << 20,
            handshake_timeout: Duration::from_secs(10),
            write_timeout: Duration::from_secs(60),
            ping_interval: peer.ping_interval,
            heartbeat: peer.heartbeat,
            health_interval: peer.health_interval,
            metrics_interval: peer.metrics_interval,
            idle_timeout: peer.idle_timeout,
            compression: peer.compression,
            encryption: peer.encryption,
            signing_key: None,
            verification: Verification::default(),
            signed_types: vec!["priority_message".into()],
            token_key: None,
            static_dir: None,
            console: true,
            drain_delay: Duration::ZERO,
            drain_window: Duration::from_secs(5),
            drain_retry_after: Duration::from_secs(1),
            drain_handover: false,
            shutdown_timeout: Duration::from_secs(10),
        }
    }
}

/// API keys below this many bytes are warned about.
pub const SHORT_API_KEY: usize = 16;

impl Config {
    /// Checks every setting. [`crate::ServerBuilder::bind`] calls it.
    ///
    /// # Errors
    /// The first setting that cannot be used, by name, with what is allowed.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.check_credentials()?;
        for origin in &self.allowed_origins {
            check_origin(origin)?;
        }
        if let Some(host) = self.allowed_hosts.iter().find(|host| !Hosts::is_name(host)) {
            let problem =
                format!("{host:?} must be a name or an address like app.example.com, without scheme, port or path");
            return Err(ConfigError::new("allowed_hosts", problem));
        }
        if let Some(pattern) = self.presence_topics.iter().find(|pattern| topic::check(pattern).is_err()) {
            let problem = format!("{pattern:?} must be 1 to {} bytes without control characters", topic::MAX_LEN);
            return Err(ConfigError::new("presence_topics", problem));
        }
        for (name, value) in [
            ("max_connections", self.max_connections),
            ("max_message_size", self.max_message_size),
            ("max_connections_per_address", self.max_connections_per_address.unwrap_or(1)),
            ("max_handshakes", self.max_handshakes),
            ("max_topics", self.max_topics),
            ("max_topics_per_connection", self.max_topics_per_connection),
            ("queue_messages", self.queue_messages),
            ("batch_size", self.batch_size),
            ("ring_messages", self.ring_messages),
            ("ring_bytes", self.ring_bytes),
        ] {
            if value == 0 {
                return Err(ConfigError::new(name, "must be at least 1"));
            }
        }
        if self.max_message_size > MAX_MESSAGE_SIZE {
            return Err(ConfigError::new("max_message_size", format!("must be at most {MAX_MESSAGE_SIZE} bytes")));
        }
        if self.max_queue_bytes < self.max_message_size {
            return Err(ConfigError::new("max_queue_bytes", "must not be smaller than max_message_size"));
        }
        for (name, length) in [("handshake_timeout", self.handshake_timeout), ("write_timeout", self.write_timeout)] {
            if length < Duration::from_millis(1) {
                return Err(ConfigError::new(name, "must be at least 1 ms"));
            }
        }
        self.check_operations()?;
        self.check_memory()?;
        self.check_lengths()?;
        self.peer().check()?;
        match &self.static_dir {
            Some(folder) if !folder.is_dir() => {
                Err(ConfigError::new("static", format!("{} is not a folder", folder.display())))
            }
            _ => Ok(()),
        }
    }

    fn check_operations(&self) -> Result<(), ConfigError> {
        if self.tls_certificate.is_some() != self.tls_key.is_some() {
            let (missing, given) =
                if self.tls_key.is_some() { ("tls_certificate", "tls_key") } else { ("tls_key", "tls_certificate") };
            return Err(ConfigError::new(missing, format!("is needed beside {given}")));
        }
        for (name, rate, burst) in [
            ("inbound_rate", self.inbound_rate, self.inbound_burst),
            ("outbound_rate", self.outbound_rate, self.outbound_burst),
        ] {
            if rate.is_some_and(|rate| !(0.01..=1e6).contains(&rate) || burst == 0) {
                return Err(ConfigError::new(name, "must be from 0.01 to 1000000 a second, and its burst at least 1"));
            }
        }
        Networks::parse(&self.trusted_proxies).map_err(|problem| ConfigError::new("trusted_proxies", problem))?;
        Ok(())
    }

    fn check_memory(&self) -> Result<(), ConfigError> {
        // A snapshot is held twice, and counted three times over in each place.
        if self.history_bytes < self.max_message_size.saturating_mul(8) {
            let (is, least) = (size(self.history_bytes), size(self.max_message_size.saturating_mul(8)));
            let problem = format!("is {is}, and must be at least {least}: eight times max_message_size");
            return Err(ConfigError::new("history_bytes", problem));
        }
        // Histories that are full must leave room for clients that are new.
        let kept = self.history_bytes.saturating_add(self.max_message_size.saturating_mul(4));
        if memory::high(self.memory_budget) < kept {
            let least = kept.div_ceil(9).saturating_mul(10);
            let (is, least) =
                (size(self.memory_budget), size(least.checked_next_multiple_of(1 << 20).unwrap_or(least)));
            let problem = format!(
                "is {is}, and must be at least {least}: 90 % of it have to hold history_bytes and four times \
                 max_message_size, or full histories would keep new clients out"
            );
            return Err(ConfigError::new("memory_budget", problem));
        }
        Ok(())
    }

    fn check_lengths(&self) -> Result<(), ConfigError> {
        for (name, length) in [
            ("batch_timeout", self.batch_timeout),
            ("flush_interval", self.flush_interval),
            ("history_age", self.history_age),
            ("presence_linger", self.presence_linger),
            ("handshake_timeout", self.handshake_timeout),
            ("write_timeout", self.write_timeout),
            ("ping_interval", self.ping_interval),
            ("health_interval", self.health_interval),
            ("metrics_interval", self.metrics_interval),
            ("idle_timeout", self.idle_timeout),
            ("drain_delay", self.drain_delay),
            ("drain_window", self.drain_window),
            ("drain_retry_after", self.drain_retry_after),
            ("shutdown_timeout", self.shutdown_timeout),
        ] {
            if length > MAX_LENGTH {
                return Err(ConfigError::new(name, "must be at most 36500 days"));
            }
        }
        Ok(())
    }

    /// Whether everyone may come in: no token can be checked.
    pub(crate) fn is_open(&self) -> bool {
        self.jwt_secret.is_none() && self.jwt_keys.is_empty()
    }

    fn check_tokens(&self) -> Result<(), ConfigError> {
        if let Some(secret) = &self.jwt_secret {
            check_secret("jwt_secret", secret)?;
        }
        if let Some(secret) = &self.jwt_previous_secret {
            check_secret("jwt_previous_secret", secret)?;
            if self.is_open() {
                return Err(ConfigError::new("jwt_previous_secret", "has no effect without jwt_secret or jwt_keys"));
            }
        }
        for (name, value) in [("jwt_issuer", &self.jwt_issuer), ("jwt_audience", &self.jwt_audience)] {
            let Some(value) = value else { continue };
            if value.is_empty() {
                return Err(ConfigError::new(name, "must not be empty: leave it out to accept any"));
            }
            if self.is_open() {
                return Err(ConfigError::new(name, "has no effect without jwt_secret or jwt_keys"));
            }
        }
        if self.jwt_skew > MAX_SKEW {
            return Err(ConfigError::new("jwt_skew", "must be at most 10 minutes"));
        }
        // Source: RFC 6265 §4.1.1.
        let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        if self.jwt_cookie.is_empty() || !self.jwt_cookie.bytes().all(is_token) {
            return Err(ConfigError::new("jwt_cookie", "must be the name of a cookie"));
        }
        check_keys(self)
    }

    fn check_credentials(&self) -> Result<(), ConfigError> {
        self.check_tokens()?;
        if self.signing_key.clone().is_some_and(|key| !SigningConfig::new(key).is_usable()) {
            return Err(ConfigError::new("signing_key", "must have at least 32 bytes"));
        }
        if self.verification == Verification::Required && self.signing_key.is_none() {
            return Err(ConfigError::new("verification", "has no effect without signing_key"));
        }
        match &self.api_key {
            Some(key) if key.expose().is_empty() => Err(ConfigError::new("api_key", "must not be empty")),
            Some(key) if !fits_into_header(key.expose()) => {
                Err(ConfigError::new("api_key", "must be ASCII without control characters or spaces at its ends"))
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn limits(&self) -> Limits {
        Limits {
            max_frame: self.max_message_size,
            max_inflated: self.max_message_size,
            max_topics: self.max_topics_per_connection,
            ..Limits::default()
        }
    }

    /// Bounds of what waits for one connection alone.
    pub(crate) const fn inbox(&self) -> QueueLimits {
        QueueLimits { max_items: self.queue_messages, max_bytes: self.max_queue_bytes }
    }

    pub(crate) fn peer(&self) -> PeerConfig {
        PeerConfig {
            server_version: crate::VERSION.into(),
            limits: self.limits(),
            compression: self.compression,
            encryption: self.encryption,
            signing: self.signing_key.clone().map(|key| SigningConfig {
                verification: self.verification,
                kinds: self.signed_types.iter().cloned().collect(),
                ..SigningConfig::new(key)
            }),
            token_key: self.token_key.clone(),
            batch: BatchConfig { size: self.batch_size, timeout: self.batch_timeout, ..BatchConfig::default() },
            queue_messages: self.queue_messages,
            ping_interval: self.ping_interval,
            heartbeat: self.heartbeat,
            health_interval: self.health_interval,
            metrics_interval: self.metrics_interval,
            idle_timeout: self.idle_timeout,
            recovery: self.history_messages > 0,
            inbound_rate: rate(self.inbound_rate, self.inbound_burst),
            presence: !self.presence_topics.is_empty(),
            snapshots: true,
            ..PeerConfig::default()
        }
    }
}

/// A rate, if there is one.
pub(crate) fn rate(refill: Option<f64>, capacity: u32) -> Option<RateLimit> {
    refill.map(|refill| RateLimit { capacity, refill })
}

/// Frames are joined in memory, so their size stays far below what a 32-bit length can say.
const MAX_MESSAGE_SIZE: usize = 256 << 20;

/// Longest time that a setting may be: a sum with the time of day is always one, too.
pub(crate) const MAX_LENGTH: Duration = Duration::from_secs(36_500 * 24 * 3600);

/// Above this, `exp` would say little.
const MAX_SKEW: Duration = Duration::from_secs(600);

/// Checks the length of a JWT secret.
pub(crate) fn check_secret(setting: &'static str, secret: &Secret) -> Result<(), ConfigError> {
    let len = secret.expose().len();
    if len < MIN_SECRET {
        let problem =
            format!("has {len} bytes, at least {MIN_SECRET} are needed; `openssl rand -hex 32` prints a good one");
        return Err(ConfigError::new(setting, problem));
    }
    Ok(())
}

/// Whether a client can send a key so that it arrives as it is.
fn fits_into_header(key: &str) -> bool {
    key == key.trim() && key.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic())
}

fn check_origin(origin: &str) -> Result<(), ConfigError> {
    let host = origin.split_once("://").filter(|(scheme, _)| !scheme.is_empty()).map_or("", |(_, host)| host);
    if host.is_empty() || host.contains('/') || origin.contains('*') {
        let problem = format!("{origin:?} must be a scheme and a host like https://app.example.com, without path or *");
        return Err(ConfigError::new("allowed_origins", problem));
    }
    let default = if origin.starts_with("https:") { ":443" } else { ":80" };
    if host.ends_with(default) {
        let problem = format!("{origin:?} must leave out {default}, as browsers do");
        return Err(ConfigError::new("allowed_origins", problem));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(change: impl FnOnce(&mut Config)) -> &'static str {
        let mut config = Config::default();
        change(&mut config);
        config.check().expect_err("cannot be used").setting
    }

    #[test]
    fn the_defaults_can_be_used() {
        assert_eq!(Config::default().check(), Ok(()));
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        assert_eq!(refused(|config| config.jwt_secret = Some("short".into())), "jwt_secret");
        assert_eq!(refused(|config| config.jwt_issuer = Some("me".into())), "jwt_issuer");
        assert_eq!(refused(|config| config.jwt_previous_secret = Some("x".repeat(32).into())), "jwt_previous_secret");
        assert_eq!(refused(|config| config.jwt_keys = vec!["/no/such/file".into()]), "jwt_keys");
        assert_eq!(refused(|config| config.jwt_skew = Duration::from_secs(601)), "jwt_skew");
        assert_eq!(refused(|config| config.jwt_cookie = "a b".into()), "jwt_cookie");
        for key in ["", "clé", " key", "key\n"] {
            assert_eq!(refused(|config| config.api_key = Some(key.into())), "api_key", "{key:?}");
        }
        assert_eq!(refused(|config| config.signing_key = Some("short".into())), "signing_key");
        assert_eq!(refused(|config| config.token_key = Some("short".into())), "token_key");
        assert_eq!(refused(|config| config.verification = Verification::Required), "verification");
        assert_eq!(refused(|config| config.queue_messages = 0), "queue_messages");
        assert_eq!(refused(|config| config.batch_size = 0), "batch_size");
        assert_eq!(refused(|config| config.allowed_origins = vec!["app.example.com".into()]), "allowed_origins");
        assert_eq!(refused(|config| config.allowed_origins = vec!["https://a/b".into()]), "allowed_origins");
        assert_eq!(refused(|config| config.allowed_origins = vec!["https://a:443".into()]), "allowed_origins");
        assert_eq!(refused(|config| config.allowed_origins = vec!["http://a:80".into()]), "allowed_origins");
        for host in ["https://a.example", "a.example:443", "a/b", "*.example", "", "[::1]:80"] {
            assert_eq!(refused(|config| config.allowed_hosts = vec![host.into()]), "allowed_hosts", "{host:?}");
        }
        assert_eq!(refused(|config| config.write_timeout = Duration::MAX), "write_timeout");
        assert_eq!(refused(|config| config.shutdown_timeout = Duration::from_secs(u64::MAX / 2)), "shutdown_timeout");
        assert_eq!(refused(|config| config.max_connections = 0), "max_connections");
        assert_eq!(refused(|config| config.max_queue_bytes = 1), "max_queue_bytes");
        assert_eq!(refused(|config| config.tls_key = Some("k".into())), "tls_certificate");
        assert_eq!(refused(|config| config.tls_certificate = Some("c".into())), "tls_key");
        assert_eq!(refused(|config| config.inbound_rate = Some(0.0)), "inbound_rate");
        assert_eq!(refused(|config| (config.outbound_rate, config.outbound_burst) = (Some(1.0), 0)), "outbound_rate");
        assert_eq!(refused(|config| config.memory_budget = 1), "memory_budget");
        assert_eq!(refused(|config| config.history_bytes = 8 * config.max_message_size - 1), "history_bytes");
        assert_eq!(refused(|config| config.trusted_proxies = vec!["10.0.0.0/33".into()]), "trusted_proxies");
        assert_eq!(refused(|config| config.idle_timeout = Duration::from_secs(1)), "idle_timeout");
        assert_eq!(refused(|config| config.static_dir = Some("/no/such/folder".into())), "static");
    }

    #[test]
    fn full_histories_leave_room_for_new_clients() {
        let config = |memory_budget| Config { memory_budget, history_bytes: 256 << 20, ..Config::default() };
        let error = config(260 << 20).check().expect_err("at 234 MiB nobody comes in").to_string();
        assert!(error.contains("memory_budget is 260MiB, and must be at least 289MiB"), "{error}");
        assert_eq!(config(289 << 20).check(), Ok(()));
    }

    #[test]
    fn names_and_origins_that_clients_send_can_be_listed() {
        let allowed_hosts = ["app.example.com", "localhost", "127.0.0.1", "::1", "[::1]"].map(String::from).to_vec();
        let allowed_origins =
            ["https://a:8443", "http://a:443", "https://a", "http://[::1]:5173"].map(String::from).to_vec();
        let config = Config { allowed_hosts, allowed_origins, api_key: Some("a b".into()), ..Config::default() };
        assert_eq!(config.check(), Ok(()));
    }

    #[test]
    fn files_of_keys_can_replace_a_secret() {
        let keys = concat!(env!("CARGO_MANIFEST_DIR"), "/src/auth/testdata/rsa-public.pem");
        let before = Some("the secret that was used before them".into());
        let config = Config { jwt_keys: vec![keys.into()], jwt_previous_secret: before, ..Config::default() };
        assert_eq!(config.check(), Ok(()));
    }

    #[test]
    fn secrets_are_not_printed() {
        let config = Config {
            jwt_secret: Some("very-secret".into()),
            jwt_previous_secret: Some("very-secret-before".into()),
            api_key: Some("very-secret-too".into()),
            ..Config::default()
        };
        assert!(!format!("{config:?}").contains("very-secret"));
    }
}
