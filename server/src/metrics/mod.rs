//! What operators see of a running server: counters, and the Prometheus report that is made of them.
//!
//! ```text
//! shard.rs       a set of counters for each worker thread
//! names.rs       label values that clients choose, bounded
//! histogram.rs   times
//! tally.rs       what one turn of a connection counts before it adds it up here
//! text.rs        the text format
//! report.rs      which metric is made of what; described in docs/metrics.md
//! ```
//!
//! Counting must cost the path of a message nothing: a connection tallies its turn in local numbers, and adds
//! them once, to atomics that only its thread writes.

mod histogram;
mod names;
mod report;
mod shard;
mod tally;
mod text;

use std::{collections::BTreeMap, sync::Mutex};

use serde::Serialize;
use wse_client_core::{
    error::{Code, close},
    io::Close,
    wire::Priority,
};

use crate::{
    counters::{Counter, Counters, Stats},
    sync::lock,
};
use histogram::{Histogram, Times};
use names::Names;
pub(crate) use report::report;
pub(crate) use shard::Sharded;
pub(crate) use tally::{Deliveries, KindRun, Opening};
pub(crate) use text::CONTENT_TYPE;

/// Message types that have a series of their own.
const KINDS: usize = 127;

/// First parts of topics that have a series of their own.
const NAMESPACES: usize = 63;

/// Types of the protocol, which never have to share the series `other` with what clients invent.
const KNOWN_KINDS: &[&str] = &[
    "ping",
    "PING",
    "pong",
    "PONG",
    "client_hello",
    "client_hello_ack",
    "server_ready",
    "server_hello",
    "subscription",
    "subscription_update",
    "error",
    "lost",
    "draining",
    "rate_limit_warning",
    "connection_state_change",
    "connection_state_request",
    "sync_request",
    "health_check",
    "health_check_request",
    "health_check_response",
    "metrics_request",
    "metrics_response",
    "config_update",
    "config_request",
    "config_response",
    "priority_message",
    "batch",
    "batch_message",
    "debug_handlers",
    "debug_request",
    "sequence_stats_request",
    "encryption_request",
    "encryption_response",
    "key_rotation_request",
    "key_rotation_response",
    "system_status_request",
    "heartbeat",
    "control",
];

/// Priorities by number, as labels.
const PRIORITIES: [&str; 5] = ["background", "low", "normal", "high", "critical"];

/// Why connections end, as labels; the last is everything else.
const REASONS: [&str; 15] = [
    "normal",
    "going_away",
    "protocol_error",
    "lost",
    "invalid_data",
    "policy",
    "too_big",
    "server_error",
    "try_later",
    "draining",
    "auth",
    "origin",
    "rate_limit",
    "idle",
    "other",
];

/// A number for each type and each priority.
#[derive(Debug)]
struct Grid<const ROWS: usize>(Box<[[Counter; 5]]>);

impl<const ROWS: usize> Default for Grid<ROWS> {
    fn default() -> Self {
        Self((0..ROWS).map(|_| Default::default()).collect())
    }
}

impl<const ROWS: usize> Grid<ROWS> {
    fn at(&self, row: u16, priority: Priority) -> &Counter {
        &self.0[usize::from(row)][priority as usize]
    }
}

/// What one worker thread adds to.
#[derive(Debug, Default)]
struct Shard {
    counters: Counters,
    sent: Grid<{ KINDS + 1 }>,
    /// By type; the priority of what comes in is not looked at.
    received: Grid<{ KINDS + 1 }>,
    latency: [Histogram; 5],
    dropped: [Counter; 5],
    reasons: [Counter; REASONS.len()],
    published: Grid<{ NAMESPACES + 1 }>,
    publish_latency: Histogram,
    bus_received: Counter,
}

/// Everything a server counts.
#[derive(Debug)]
pub(crate) struct Metrics {
    shards: Sharded<Shard>,
    kinds: Names,
    namespaces: Names,
    /// Publications that the hub refused, by pattern of the bus and by code. Rare, so a lock does.
    bus_errors: Mutex<BTreeMap<(&'static str, Code), u64>>,
}

/// The bus in `GET /wse/debug`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct BusFigures {
    /// Which one it is.
    bus: &'static str,
    /// Messages that it took.
    published: u64,
    /// Messages that it brought to this instance.
    received: u64,
    /// Messages that could not be handed on, by code.
    errors: BTreeMap<&'static str, u64>,
    /// `None` before the first.
    mean_publish_seconds: Option<f64>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            shards: Sharded::default(),
            kinds: Names::new(KINDS, KNOWN_KINDS),
            namespaces: Names::new(NAMESPACES, &[]),
            bus_errors: Mutex::default(),
        }
    }
}

impl Metrics {
    /// This thread's set of plain counters.
    pub(crate) fn counters(&self) -> &Counters {
        &self.shards.here().counters
    }

    /// The plain counters of all threads.
    pub(crate) fn stats(&self) -> Stats {
        let mut stats = Stats::default();
        self.shards.all().for_each(|shard| shard.counters.add_to(&mut stats));
        stats
    }

    /// The number of a message type, for the methods below.
    pub(crate) fn kind(&self, kind: &str) -> u16 {
        self.kinds.number(kind)
    }

    /// Messages of one type came in.
    pub(crate) fn received(&self, kind: u16, count: usize) {
        self.shards.here().received.at(kind, Priority::Normal).add(count);
    }

    /// Messages of one type go out.
    pub(crate) fn sent(&self, kind: u16, priority: Priority, count: usize) {
        self.shards.here().sent.at(kind, priority).add(count);
    }

    /// `count` messages waited `nanos` together, each about as long as the others.
    pub(crate) fn waited(&self, priority: Priority, bucket: usize, count: u64, nanos: u64) {
        self.shards.here().latency[priority as usize].add(bucket, count, nanos);
    }

    /// Messages to one connection that it did not get.
    pub(crate) fn dropped(&self, priority: Priority, count: usize) {
        self.shards.here().dropped[priority as usize].add(count);
    }

    /// Messages of each priority that were queued for a connection and never written. Answers how many they are.
    pub(crate) fn unsent(&self, counts: [u32; 5]) -> usize {
        let shard = self.shards.here();
        let counts = counts.map(|count| count as usize);
        shard.dropped.iter().zip(counts).for_each(|(dropped, count)| dropped.add(count));
        let sum = counts.iter().sum();
        shard.counters.sends_refused.add(sum);
        sum
    }

    /// A connection that was let in is over.
    pub(crate) fn disconnected(&self, close: &Close) {
        self.shards.here().reasons[reason(close)].one();
    }

    /// The bus took a message.
    pub(crate) fn published(&self, topic: &str, priority: Priority, nanos: u64) {
        let shard = self.shards.here();
        shard.published.at(self.namespaces.number(namespace(topic)), priority).one();
        shard.publish_latency.one(nanos);
    }

    /// The bus brought a message to this instance.
    pub(crate) fn bus_received(&self) {
        self.shards.here().bus_received.one();
    }

    /// What the bus brought could not be handed to the hub.
    pub(crate) fn bus_refused(&self, pattern: &'static str, code: Code) {
        *lock(&self.bus_errors).entry((pattern, code)).or_default() += 1;
    }

    /// What the bus did.
    pub(crate) fn bus_figures(&self) -> BusFigures {
        let times = self.times(|shard| &shard.publish_latency);
        let errors = lock(&self.bus_errors).iter().map(|((_, code), count)| (code.as_str(), *count)).collect();
        BusFigures {
            bus: "memory",
            published: times.count(),
            received: self.sum(|shard| shard.bus_received.read()),
            errors,
            mean_publish_seconds: (times.count() > 0).then(|| times.nanos as f64 / times.count() as f64 / 1e9),
        }
    }

    fn sum(&self, of: impl Fn(&Shard) -> u64) -> u64 {
        self.shards.all().map(of).sum()
    }

    fn times(&self, of: impl Fn(&Shard) -> &Histogram) -> Times {
        let mut times = Times::default();
        self.shards.all().for_each(|shard| of(shard).add_to(&mut times));
        times
    }
}

/// The part of a topic before the first `:`, `.` or `/`: what stands behind it is often a name of something, without
/// an end.
fn namespace(topic: &str) -> &str {
    topic.split([':', '.', '/']).next().unwrap_or(topic)
}

fn reason(close: &Close) -> usize {
    let name = match close.code {
        close::GOING_AWAY if close.reason == "idle timeout" => "idle",
        1000 | 1005 => "normal",
        close::GOING_AWAY => "going_away",
        1002 | 1003 => "protocol_error",
        1006 => "lost",
        1007 => "invalid_data",
        close::POLICY => "policy",
        1009 => "too_big",
        1011 => "server_error",
        close::TRY_LATER => "try_later",
        close::DRAINING => "draining",
        4401 => "auth",
        4403 => "origin",
        4429 => "rate_limit",
        _ => "other",
    };
    REASONS.iter().position(|reason| *reason == name).unwrap_or(REASONS.len() - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_told_apart() {
        for (code, text, expected) in [
            (1000, "", "normal"),
            (1001, "", "going_away"),
            (1001, "idle timeout", "idle"),
            (1006, "", "lost"),
            (1013, "SLOW_CONSUMER", "try_later"),
            (4300, "", "draining"),
            (4999, "", "other"),
        ] {
            assert_eq!(REASONS[reason(&Close::new(code, text))], expected, "{code} {text}");
        }
    }

    #[test]
    fn the_first_part_of_a_topic_is_its_namespace() {
        for (topic, expected) in [("user:1:events", "user"), ("a.b", "a"), ("a/b", "a"), ("news", "news")] {
            assert_eq!(namespace(topic), expected);
        }
    }

    #[test]
    fn types_of_the_protocol_have_room_beside_others() {
        assert!(KNOWN_KINDS.len() < KINDS / 2);
        let metrics = Metrics::default();
        for n in 0..1000 {
            metrics.kind(&format!("flood{n}"));
        }
        assert_ne!(metrics.kind("ping"), 0);
        assert_eq!(metrics.kind("late"), 0);
    }
}
