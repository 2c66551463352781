//! Questions whose answer needs figures that only the server has. Source: PROTOCOL.md §11.1.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{
    PROTOCOL_VERSION,
    delivery::LevelCounters,
    time::Moment,
    wire::{Message, Priority},
};

use super::{
    Event, Output, Peer,
    vital::{Diagnostics, Rates, Traffic},
};

/// Levels from the most to the least urgent.
const LEVELS: [Priority; 5] =
    [Priority::Critical, Priority::High, Priority::Normal, Priority::Low, Priority::Background];

/// Most topics that an answer lists.
const MOST_TOPICS: usize = 100;

/// What a [`Question`] asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QuestionKind {
    /// `metrics_request`.
    Metrics,
    /// `debug_request`.
    Debug,
}

/// A question for figures of the server; to be answered with [`Peer::answer_question`].
#[derive(Debug)]
pub struct Question {
    /// What is asked for.
    pub kind: QuestionKind,
    /// The id of the question, repeated in the answer.
    pub id: Option<String>,
}

/// What only the server knows about a connection.
#[derive(Debug, Clone, Default)]
pub struct Figures {
    /// Topics and patterns that the connection is subscribed to. The answer lists the first 100, and counts all.
    pub subscriptions: Vec<String>,
    /// What waits for this connection alone.
    pub queue: QueueFigures,
    /// Sums of the whole server, by name: for `metrics_request`.
    pub server: BTreeMap<&'static str, u64>,
}

/// A connection's queue of direct messages.
#[derive(Debug, Clone, Copy, Default)]
pub struct QueueFigures {
    /// Messages that wait.
    pub messages: usize,
    /// Their bytes.
    pub bytes: usize,
    /// Most messages that may wait.
    pub capacity: usize,
    /// What became of the messages of each level, from [`Priority::Background`] to [`Priority::Critical`].
    pub levels: [LevelCounters; 5],
}

/// The members of both answers; what is empty in one is left out.
#[derive(Serialize)]
struct Answer<'a> {
    connection_stats: ConnectionStats<'a>,
    subscriptions: Subscriptions<'a>,
    queue_stats: QueueStats,
    circuit_breaker: Breaker,
    diagnostics: Diagnostics,
    sequence_stats: Sequences,
    compression_stats: CompressionStats,
    security: SecurityStats,
    uptime: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_bus_stats: Option<&'a BTreeMap<&'static str, u64>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    handlers: Vec<&'static str>,
    timestamp: &'a str,
}

#[derive(Serialize)]
struct ConnectionStats<'a> {
    connection_id: &'a str,
    user_id: &'a str,
    client_version: &'a str,
    protocol_version: u64,
    #[serde(flatten)]
    traffic: Traffic,
    #[serde(flatten)]
    rates: Rates,
}

#[derive(Serialize)]
struct Subscriptions<'a> {
    count: usize,
    topics: &'a [String],
}

#[derive(Serialize)]
struct QueueStats {
    size: usize,
    bytes: usize,
    capacity: usize,
    /// By the number of the priority, as text.
    priorities: BTreeMap<String, LevelStats>,
}

#[derive(Serialize)]
struct LevelStats {
    queued: u64,
    sent: u64,
    dropped: u64,
    refused: u64,
}

/// Refused frames end a connection: that is its breaker.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Breaker {
    state: &'static str,
    failures: u32,
    threshold: u32,
}

#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Sequences {
    next_sequence: u64,
}

#[derive(Serialize)]
struct CompressionStats {
    enabled: bool,
    threshold: Option<usize>,
}

#[derive(Serialize)]
struct SecurityStats {
    encryption_enabled: bool,
    signing_enabled: bool,
}

impl Peer {
    pub(super) fn ask_server(&mut self, kind: QuestionKind, message: &Message) -> bool {
        let question = Question { kind, id: message.id().map(str::to_owned) };
        self.outputs.push_back(Output::Emit(Event::Question(question)));
        true
    }

    /// Answers [`Event::Question`].
    pub fn answer_question(&mut self, question: &Question, figures: &Figures, now: Moment) {
        let debug = question.kind == QuestionKind::Debug;
        let compression = self.channel.compression.filter(|_| self.delivery().compression);
        let (connection_id, client_version) = (self.connection_id.clone(), self.params.client_version.clone());
        let user_id = self.identity.as_ref().map(|identity| identity.user_id.clone()).unwrap_or_default();
        let answer = Answer {
            connection_stats: ConnectionStats {
                connection_id: &connection_id,
                user_id: &user_id,
                client_version: &client_version,
                protocol_version: PROTOCOL_VERSION,
                traffic: self.vitals.traffic,
                rates: self.vitals.rates,
            },
            subscriptions: Subscriptions {
                count: figures.subscriptions.len(),
                topics: &figures.subscriptions[..figures.subscriptions.len().min(MOST_TOPICS)],
            },
            queue_stats: queue_stats(&figures.queue),
            circuit_breaker: self.breaker(),
            diagnostics: self.vitals.diagnostics(),
            sequence_stats: self.sequences(),
            compression_stats: CompressionStats {
                enabled: compression.is_some(),
                threshold: compression.map(|compression| compression.threshold),
            },
            security: SecurityStats {
                encryption_enabled: self.channel.is_encrypted(),
                signing_enabled: self.channel.signs(),
            },
            uptime: now.since(self.opened).as_secs_f64(),
            event_bus_stats: (!debug).then_some(&figures.server),
            handlers: if debug { self.handled() } else { Vec::new() },
            timestamp: &self.wall.at(now).to_string(),
        };
        let kind = if debug { "debug_response" } else { "metrics_response" };
        self.send_control(kind, &answer, question.id.as_deref(), now);
    }

    pub(super) fn breaker(&self) -> Breaker {
        Breaker { state: "closed", failures: self.rejected, threshold: self.config.max_rejected }
    }

    pub(super) const fn sequences(&self) -> Sequences {
        Sequences { next_sequence: self.channel.next_sequence() }
    }
}

fn queue_stats(queue: &QueueFigures) -> QueueStats {
    let level = |priority: Priority| {
        let LevelCounters { queued, sent, dropped, refused } = queue.levels[priority as usize];
        (priority.as_number().to_string(), LevelStats { queued, sent, dropped, refused })
    };
    QueueStats {
        size: queue.messages,
        bytes: queue.bytes,
        capacity: queue.capacity,
        priorities: LEVELS.into_iter().map(level).collect(),
    }
}
