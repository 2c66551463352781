//! The file: JSON lines. The first is the header, each further one an entry.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    config::{ClientConfig, Credentials, OfflineConfig, TokenTransport},
    delivery::{BatchConfig, RateLimit, ReorderConfig},
    resilience::{BackoffStrategy, BalanceStrategy},
    security::Secret,
    time::{Moment, WallTime},
    wire::{Compression, Encoding, Limits},
};

use super::{Entry, redact, why};

/// Names the format in the header.
pub const FORMAT: &str = "wse-flight";

/// The version this crate writes, and the only one it reads.
pub const VERSION: u32 = 2;

/// The last moment that a file may name, in milliseconds: 285,000 years, so that sums do not overflow.
const LAST_MOMENT: u64 = 1 << 53;

/// Largest count in the settings of a file: memory is taken for some of them.
const MOST: usize = 1 << 30;

/// What was recorded, or read from a file.
#[derive(Debug, Clone, PartialEq)]
pub struct Recording {
    pub(super) header: Header,
    pub(super) entries: Vec<Entry>,
}

/// Why a file cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordingError {
    /// It is no recording at all.
    #[error("not a recording: {problem}")]
    NoRecording {
        /// What the first line is instead.
        problem: String,
    },
    /// It was written by a version whose format is another one.
    #[error("version {found} of the format; this is for version {VERSION}")]
    UnknownVersion {
        /// The version in the header.
        found: u64,
    },
    /// A line is broken.
    #[error("line {line}: {problem}")]
    BadLine {
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        problem: String,
    },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Header {
    pub(super) format: String,
    pub(super) version: u32,
    /// Version of the crate that wrote it.
    pub(super) core: String,
    /// Entries that were dropped from the front.
    pub(super) truncated: u64,
    /// Whether `settings` holds every setting that is not the default.
    pub(super) settings_complete: bool,
    pub(super) settings: Settings,
    /// Where the choices started, as hex. See [`crate::rng::Rng`].
    pub(super) choices_seed: String,
    /// When the client was made: the driver's clock, and Unix milliseconds.
    pub(super) at: u64,
    pub(super) wall: u64,
}

/// A line after the header.
#[derive(Serialize, Deserialize)]
struct Line {
    #[serde(flatten)]
    entry: Entry,
    /// For readers of the file; a replay finds its own.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    why: Option<String>,
}

/// The settings without their secrets. Lengths of time in microseconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Settings {
    endpoints: Vec<String>,
    topics: Vec<String>,
    credentials: CredentialsKind,
    token_in_query: bool,
    client_version: String,
    max_retries: Option<u32>,
    initial_delay: u64,
    max_delay: u64,
    multiplier: f64,
    backoff: String,
    balance: String,
    preferred: Option<usize>,
    breaker_failures: u32,
    breaker_pause: u64,
    breaker_successes: u32,
    adaptive_quality: bool,
    encryption: bool,
    rotate_after: Option<u64>,
    /// Threshold and level.
    compression: Option<(usize, u32)>,
    encoding: EncodingName,
    /// Messages, longest wait and bytes.
    batch: Option<(usize, u64, usize)>,
    /// At once, and in a second.
    rate_limit: Option<(u32, f64)>,
    offline: bool,
    offline_size: usize,
    offline_bytes: usize,
    offline_age: u64,
    dedup_window: usize,
    /// Messages held and longest time.
    reorder: Option<(usize, u64)>,
    recovery: bool,
    heartbeat_interval: u64,
    heartbeat_timeout: u64,
    connect_timeout: u64,
    ready_timeout: u64,
    subscribe_timeout: u64,
    request_timeout: u64,
    max_frame: usize,
    max_inflated: usize,
    max_depth: usize,
    max_member: usize,
    max_topics: usize,
    max_batch: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum CredentialsKind {
    None,
    Token,
    Provider,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum EncodingName {
    Text,
    Binary,
    Msgpack,
}

const BACKOFFS: [(&str, BackoffStrategy); 4] = [
    ("exponential", BackoffStrategy::Exponential),
    ("linear", BackoffStrategy::Linear),
    ("fibonacci", BackoffStrategy::Fibonacci),
    ("adaptive", BackoffStrategy::Adaptive),
];

const BALANCES: [(&str, BalanceStrategy); 3] = [
    ("weighted_random", BalanceStrategy::WeightedRandom),
    ("least_connections", BalanceStrategy::LeastConnections),
    ("round_robin", BalanceStrategy::RoundRobin),
];

/// The name of a choice; empty for one that this version has no name for, which makes the settings incomplete.
fn named<T: Copy + PartialEq>(names: &[(&str, T)], choice: T) -> String {
    names.iter().find(|(_, known)| *known == choice).map_or_else(String::new, |(name, _)| (*name).to_owned())
}

fn by_name<T: Copy + Default>(names: &[(&str, T)], name: &str) -> T {
    names.iter().find(|(known, _)| *known == name).map(|(_, choice)| *choice).unwrap_or_default()
}

/// The token of a replay.
pub(super) fn no_token() -> Secret {
    Secret::new("redacted")
}

fn micros(length: Duration) -> u64 {
    u64::try_from(length.as_micros()).unwrap_or(u64::MAX)
}

impl Settings {
    fn of(config: &ClientConfig) -> Self {
        Self {
            endpoints: config.endpoints.iter().map(|url| redact::without_query(url).to_owned()).collect(),
            topics: config.topics.clone(),
            credentials: match config.credentials {
                Credentials::None => CredentialsKind::None,
                Credentials::Token(_) => CredentialsKind::Token,
                Credentials::Provider => CredentialsKind::Provider,
            },
            token_in_query: config.token_transport == TokenTransport::Query,
            client_version: config.client_version.clone(),
            max_retries: config.reconnect.max_retries,
            initial_delay: micros(config.reconnect.initial_delay),
            max_delay: micros(config.reconnect.max_delay),
            multiplier: config.reconnect.multiplier,
            backoff: named(&BACKOFFS, config.reconnect.strategy),
            balance: named(&BALANCES, config.pool.strategy),
            preferred: config.pool.preferred,
            breaker_failures: config.pool.breaker.failures,
            breaker_pause: micros(config.pool.breaker.pause),
            breaker_successes: config.pool.breaker.successes,
            adaptive_quality: config.adaptive_quality,
            encryption: config.security.encryption,
            rotate_after: config.security.rotate_after.map(micros),
            compression: config.performance.compression.map(|how| (how.threshold, how.level)),
            encoding: match config.performance.encoding {
                Encoding::Text => EncodingName::Text,
                Encoding::Binary => EncodingName::Binary,
                Encoding::Msgpack => EncodingName::Msgpack,
            },
            batch: config.performance.batch.map(|batch| (batch.size, micros(batch.timeout), batch.max_bytes)),
            rate_limit: config.performance.rate_limit.map(|limit| (limit.capacity, limit.refill)),
            offline: config.offline.enabled,
            offline_size: config.offline.max_size,
            offline_bytes: config.offline.max_bytes,
            offline_age: micros(config.offline.max_age),
            dedup_window: config.delivery.dedup_window,
            reorder: config.delivery.reorder.map(|bounds| (bounds.max_held, micros(bounds.max_wait))),
            recovery: config.delivery.recovery,
            heartbeat_interval: micros(config.heartbeat.interval),
            heartbeat_timeout: micros(config.heartbeat.timeout),
            connect_timeout: micros(config.timeouts.connect),
            ready_timeout: micros(config.timeouts.ready),
            subscribe_timeout: micros(config.timeouts.subscribe),
            request_timeout: micros(config.timeouts.request),
            max_frame: config.limits.max_frame,
            max_inflated: config.limits.max_inflated,
            max_depth: config.limits.max_depth,
            max_member: config.limits.max_member,
            max_topics: config.limits.max_topics,
            max_batch: config.limits.max_batch,
        }
    }

    /// The settings of a replay.
    pub(super) fn to_config(&self) -> ClientConfig {
        let mut config = ClientConfig::new("");
        config.endpoints.clone_from(&self.endpoints);
        config.topics.clone_from(&self.topics);
        config.credentials = match self.credentials {
            CredentialsKind::None => Credentials::None,
            CredentialsKind::Token => Credentials::Token(no_token()),
            CredentialsKind::Provider => Credentials::Provider,
        };
        config.token_transport = if self.token_in_query { TokenTransport::Query } else { TokenTransport::Headers };
        config.client_version.clone_from(&self.client_version);
        config.reconnect.max_retries = self.max_retries;
        config.reconnect.initial_delay = Duration::from_micros(self.initial_delay);
        config.reconnect.max_delay = Duration::from_micros(self.max_delay);
        config.reconnect.multiplier = self.multiplier;
        config.reconnect.strategy = by_name(&BACKOFFS, &self.backoff);
        config.pool.strategy = by_name(&BALANCES, &self.balance);
        config.pool.preferred = self.preferred;
        config.pool.breaker.failures = self.breaker_failures;
        config.pool.breaker.pause = Duration::from_micros(self.breaker_pause);
        config.pool.breaker.successes = self.breaker_successes;
        config.adaptive_quality = self.adaptive_quality;
        config.security.encryption = self.encryption;
        config.security.rotate_after = self.rotate_after.map(Duration::from_micros);
        config.performance.compression = self.compression.map(|(threshold, level)| Compression { threshold, level });
        config.performance.encoding = match self.encoding {
            EncodingName::Text => Encoding::Text,
            EncodingName::Binary => Encoding::Binary,
            EncodingName::Msgpack => Encoding::Msgpack,
        };
        config.performance.batch = self.batch.map(|(size, timeout, max_bytes)| BatchConfig {
            size,
            timeout: Duration::from_micros(timeout),
            max_bytes,
        });
        config.performance.rate_limit = self.rate_limit.map(|(capacity, refill)| RateLimit { capacity, refill });
        config.offline = OfflineConfig {
            enabled: self.offline,
            max_size: self.offline_size,
            max_bytes: self.offline_bytes,
            max_age: Duration::from_micros(self.offline_age),
        };
        config.delivery.dedup_window = self.dedup_window;
        config.delivery.reorder = self
            .reorder
            .map(|(max_held, max_wait)| ReorderConfig { max_held, max_wait: Duration::from_micros(max_wait) });
        config.delivery.recovery = self.recovery;
        config.heartbeat.interval = Duration::from_micros(self.heartbeat_interval);
        config.heartbeat.timeout = Duration::from_micros(self.heartbeat_timeout);
        config.timeouts.connect = Duration::from_micros(self.connect_timeout);
        config.timeouts.ready = Duration::from_micros(self.ready_timeout);
        config.timeouts.subscribe = Duration::from_micros(self.subscribe_timeout);
        config.timeouts.request = Duration::from_micros(self.request_timeout);
        config.limits = Limits {
            max_frame: self.max_frame,
            max_inflated: self.max_inflated,
            max_depth: self.max_depth,
            max_member: self.max_member,
            max_topics: self.max_topics,
            max_batch: self.max_batch,
        };
        config
    }

    fn largest_count(&self) -> usize {
        let held = self.reorder.map_or(0, |(max_held, _)| max_held);
        self.dedup_window.max(self.max_topics).max(self.max_batch).max(held)
    }

    /// Whether a client with these settings is set as one with `config` is, but for secrets.
    fn covers(&self, config: &ClientConfig) -> bool {
        let mut open = config.clone();
        open.endpoints.clone_from(&self.endpoints);
        // A key is no part of a file. Signatures that arrive are judged in decoding, which a replay leaves out.
        open.security.signing = None;
        open.diagnostics = crate::config::DiagnosticsConfig::default();
        // `Debug` names every setting, those that are added later too, and hides secrets.
        format!("{open:?}") == format!("{:?}", self.to_config())
    }
}

impl Header {
    pub(super) fn new(config: &ClientConfig, choices_seed: [u8; 32], now: Moment, wall: WallTime) -> Self {
        let settings = Settings::of(config);
        Self {
            format: FORMAT.into(),
            version: VERSION,
            core: crate::VERSION.into(),
            truncated: 0,
            settings_complete: settings.covers(config),
            settings,
            choices_seed: choices_seed.iter().map(|byte| format!("{byte:02x}")).collect(),
            at: now.as_millis(),
            wall: wall.as_unix_ms(),
        }
    }

    pub(super) fn seed(&self) -> Option<[u8; 32]> {
        let mut seed = [0; 32];
        if self.choices_seed.len() != 64 {
            return None;
        }
        for (at, byte) in seed.iter_mut().enumerate() {
            *byte = u8::from_str_radix(self.choices_seed.get(2 * at..2 * at + 2)?, 16).ok()?;
        }
        Some(seed)
    }

    fn read(text: &str) -> Result<Self, RecordingError> {
        #[derive(Deserialize)]
        struct Name {
            format: String,
            version: u64,
        }
        let no_recording = |problem: String| RecordingError::NoRecording { problem };
        let name: Name = serde_json::from_str(text).map_err(|error| no_recording(format!("no header: {error}")))?;
        if name.format != FORMAT {
            return Err(no_recording(format!("the format is {:?}", name.format)));
        }
        if name.version != u64::from(VERSION) {
            return Err(RecordingError::UnknownVersion { found: name.version });
        }
        let bad = |problem: String| RecordingError::BadLine { line: 1, problem };
        let header: Self = serde_json::from_str(text).map_err(|error| bad(error.to_string()))?;
        if header.at > LAST_MOMENT || header.wall > LAST_MOMENT {
            return Err(bad("a time is out of range".into()));
        }
        if header.settings.largest_count() > MOST {
            return Err(bad("a setting is out of range".into()));
        }
        if header.seed().is_none() {
            return Err(bad("choices_seed must be 64 hex digits".into()));
        }
        Ok(header)
    }
}

impl Recording {
    /// What happened, oldest first.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Entries that were dropped from the front because the ring was full. Unless 0, a replay checks nothing.
    pub const fn truncated(&self) -> u64 {
        self.header.truncated
    }

    /// When the client was made, in Unix milliseconds.
    pub const fn started(&self) -> WallTime {
        WallTime::from_unix_ms(self.header.wall)
    }

    /// Version of the crate that wrote it.
    pub fn core_version(&self) -> &str {
        &self.header.core
    }

    /// The moment at which the client was made.
    pub const fn origin(&self) -> Moment {
        Moment::from_millis(self.header.at)
    }

    /// Each entry with the reason for it, if it is a decision.
    pub fn explained(&self) -> impl Iterator<Item = (&Entry, Option<String>)> {
        let mut cause = None;
        self.entries.iter().map(move |entry| {
            if !entry.what.is_decision() {
                cause = Some(&entry.what);
                return (entry, None);
            }
            (entry, Some(why::why(cause, &entry.what)))
        })
    }

    /// The file.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut line = |text: Result<Vec<u8>, serde_json::Error>| {
            out.extend(text.expect("entries are plain structs"));
            out.push(b'\n');
        };
        line(serde_json::to_vec(&self.header));
        for (entry, why) in self.explained() {
            line(serde_json::to_vec(&Line { entry: entry.clone(), why }));
        }
        out
    }

    /// Reads a file. Empty lines are skipped.
    ///
    /// # Errors
    /// [`RecordingError`]: not a recording, a version this crate does not know, or a broken line by its number.
    pub fn from_bytes(file: &[u8]) -> Result<Self, RecordingError> {
        let mut lines = file.split(|byte| *byte == b'\n').enumerate().filter(|(_, line)| !line.trim_ascii().is_empty());
        let empty = || RecordingError::NoRecording { problem: "it is empty".into() };
        let (_, first) = lines.next().ok_or_else(empty)?;
        let first = std::str::from_utf8(first)
            .map_err(|_| RecordingError::NoRecording { problem: "the first line is no text".into() })?;
        let header = Header::read(first)?;
        let mut entries = Vec::new();
        for (at, line) in lines {
            let bad = |problem: String| RecordingError::BadLine { line: at + 1, problem };
            let line: Line = serde_json::from_slice(line).map_err(|error| bad(error.to_string()))?;
            if line.entry.at > LAST_MOMENT {
                return Err(bad("the time is out of range".into()));
            }
            entries.push(line.entry);
        }
        Ok(Self { header, entries })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::What;

    fn recording() -> Recording {
        let header =
            Header::new(&ClientConfig::new("ws://a/x?q=1"), [7; 32], Moment::ORIGIN, WallTime::from_unix_ms(5));
        let whats = [What::Connect, What::Open { socket: 1, url: "ws://a/x".into(), token: false }];
        Recording { header, entries: whats.into_iter().map(|what| Entry { at: 3, what }).collect() }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let recording = recording();
        let file = recording.to_bytes();
        assert_eq!(Recording::from_bytes(&file).expect("our own"), recording);
        let text = String::from_utf8(file).expect("text");
        assert!(text.lines().nth(2).expect("line 3").contains(r#""why":"the application asked: connect""#), "{text}");
    }

    #[test]
    fn other_files_other_versions_and_broken_lines_are_refused_by_name() {
        let text = String::from_utf8(recording().to_bytes()).expect("text");
        let refused = |text: &str| Recording::from_bytes(text.as_bytes()).expect_err("refused").to_string();
        assert_eq!(refused(""), "not a recording: it is empty");
        assert!(refused("hello").starts_with("not a recording: no header"));
        assert_eq!(refused(r#"{"format":"pcap","version":1}"#), r#"not a recording: the format is "pcap""#);
        for other in [1, 3] {
            let header = text.replacen(r#""version":2"#, &format!(r#""version":{other}"#), 1);
            assert_eq!(refused(&header), format!("version {other} of the format; this is for version 2"));
        }
        let broken = text.replace(r#""socket":1"#, r#""socket":"one""#);
        assert!(refused(&broken).starts_with("line 3: "), "{}", refused(&broken));
        let far = text.replace(r#""at":3"#, &format!(r#""at":{}"#, u64::MAX));
        assert_eq!(refused(&far), "line 2: the time is out of range");
        let unknown = text.replace(r#""what":"connect""#, r#""what":"teleport""#);
        assert!(refused(&unknown).contains("line 2: unknown variant `teleport`"), "{}", refused(&unknown));
    }

    #[test]
    fn settings_that_the_file_cannot_hold_are_noticed() {
        let mut config = ClientConfig::new("ws://a");
        config.reconnect.max_retries = Some(3);
        config.limits.max_topics = 5;
        config.performance.encoding = Encoding::Msgpack;
        config.performance.batch = Some(BatchConfig { size: 7, ..BatchConfig::default() });
        config.performance.rate_limit = Some(RateLimit { capacity: 3, refill: 0.5 });
        config.offline = OfflineConfig { enabled: false, max_size: 2, max_bytes: 3, max_age: Duration::from_secs(4) };
        config.timeouts.request = Duration::from_secs(2);
        let settings = Settings::of(&config);
        assert!(settings.covers(&config));
        assert!(!Settings { max_topics: 6, ..settings }.covers(&config));
    }
}
