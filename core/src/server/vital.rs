//! Signs of life, round trips and rates of one connection. Source: PROTOCOL.md §7.1, §7.5.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    resilience::{NetworkMonitor, NetworkReport, Quality},
    time::{Moment, WallTime},
    wire::Message,
};

use super::{Peer, Timer};

#[derive(Serialize)]
struct PingPayload<'a> {
    timestamp: u64,
    server_time: &'a str,
}

/// Without `timestamp`: published clients take that of a heartbeat for the stamp of a ping of theirs.
#[derive(Serialize)]
struct Heartbeat<'a> {
    sequence: u64,
    server_time: &'a str,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct PongPayload {
    server_timestamp: Value,
    timestamp: Value,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ClientHealth {
    quality: Option<String>,
    diagnostics: ClientDiagnostics,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ClientDiagnostics {
    quality: Option<String>,
}

#[derive(Serialize)]
struct QualityAdvice<'a> {
    quality: &'a str,
    message: &'a str,
    suggestions: Vec<&'a str>,
    recommended_settings: Advice,
    diagnostics: Diagnostics,
}

/// What a client on such a network had better be set to; `batch_timeout` in seconds.
#[derive(Serialize)]
struct Advice {
    compression: bool,
    batch_size: u64,
    batch_timeout: f64,
}

/// What round trips say. Times in milliseconds.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Diagnostics {
    quality: &'static str,
    latency_ms: Option<f64>,
    jitter_ms: Option<f64>,
    packet_loss: f64,
    stability: f64,
}

impl From<&NetworkReport> for Diagnostics {
    fn from(report: &NetworkReport) -> Self {
        let millis = |length: Option<Duration>| length.map(|length| length.as_secs_f64() * 1000.0);
        Self {
            quality: report.quality.as_str(),
            latency_ms: millis(report.latency),
            jitter_ms: millis(report.jitter),
            packet_loss: report.loss * 100.0,
            stability: report.stability,
        }
    }
}

/// What went through a connection so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Traffic {
    /// Frames that came.
    pub frames_received: u64,
    /// Their bytes.
    pub bytes_received: u64,
    /// Frames written, topic messages included.
    pub frames_sent: u64,
    /// Their bytes.
    pub bytes_sent: u64,
}

impl Traffic {
    fn since(self, earlier: Self) -> Self {
        Self {
            frames_received: self.frames_received - earlier.frames_received,
            bytes_received: self.bytes_received - earlier.bytes_received,
            frames_sent: self.frames_sent - earlier.frames_sent,
            bytes_sent: self.bytes_sent - earlier.bytes_sent,
        }
    }
}

/// The same per second, over the last whole `metrics_interval`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub(super) struct Rates {
    frames_received_per_second: f64,
    bytes_received_per_second: f64,
    frames_sent_per_second: f64,
    bytes_sent_per_second: f64,
}

impl Rates {
    fn over(traffic: Traffic, length: Duration) -> Self {
        let per_second = |count: u64| count as f64 / length.as_secs_f64().max(0.001);
        Self {
            frames_received_per_second: per_second(traffic.frames_received),
            bytes_received_per_second: per_second(traffic.bytes_received),
            frames_sent_per_second: per_second(traffic.frames_sent),
            bytes_sent_per_second: per_second(traffic.bytes_sent),
        }
    }
}

/// The last ping, until it is answered.
#[derive(Debug)]
struct SentPing {
    at: Moment,
    wall: WallTime,
}

/// How a connection does.
#[derive(Debug)]
pub(super) struct Vitals {
    pub(super) traffic: Traffic,
    pub(super) rates: Rates,
    network: NetworkMonitor,
    ping: Option<SentPing>,
    heartbeats: u64,
    /// What the client was told last of the network.
    told: Quality,
    measured: (Moment, Traffic),
    examined: Moment,
}

impl Vitals {
    pub(super) fn new(now: Moment) -> Self {
        Self {
            traffic: Traffic::default(),
            rates: Rates::default(),
            network: NetworkMonitor::default(),
            ping: None,
            heartbeats: 0,
            told: Quality::Unknown,
            measured: (now, Traffic::default()),
            examined: now,
        }
    }

    pub(super) fn diagnostics(&self) -> Diagnostics {
        (&self.network.report()).into()
    }

    pub(super) const fn note_received(&mut self, bytes: usize) {
        self.traffic.frames_received += 1;
        self.traffic.bytes_received += bytes as u64;
    }

    pub(super) const fn note_sent(&mut self, frames: u64, bytes: u64) {
        self.traffic.frames_sent += frames;
        self.traffic.bytes_sent += bytes;
    }

    fn measure(&mut self, every: Duration, now: Moment) {
        let (since, before) = self.measured;
        let length = now.since(since);
        if length >= every {
            self.rates = Rates::over(self.traffic.since(before), length);
            self.measured = (now, self.traffic);
        }
    }
}

impl Peer {
    /// What went through this connection so far.
    pub const fn traffic(&self) -> Traffic {
        self.vitals.traffic
    }

    /// What round trips of the server's own pings say about the network to this client.
    pub fn network(&self) -> NetworkReport {
        self.vitals.network.report()
    }

    /// Tells that shared frames were written to this client, which did not pass through the peer.
    pub const fn note_delivered(&mut self, frames: u64, bytes: u64) {
        self.vitals.note_sent(frames, bytes);
    }

    /// The beat of a connection: a ping, and whatever else is due. One timer for all, so that an idle connection
    /// wakes once for them.
    pub(super) fn beat(&mut self, now: Moment) {
        let unanswered = self.vitals.ping.is_some() && !self.reads_paused;
        if unanswered {
            self.vitals.network.unanswered();
        }
        self.ping(now);
        self.vitals.measure(self.config.metrics_interval, now);
        if now.since(self.vitals.examined) >= self.config.health_interval {
            self.vitals.examined = now;
            self.tell_quality(self.vitals.network.report().quality, now);
        }
        self.rotate_used_key(now);
    }

    pub(super) fn ping(&mut self, now: Moment) {
        let wall = self.wall.at(now);
        // First, because a ping that cannot be sealed ends the connection and clears every timer.
        self.timers.set(Timer::Ping, now + self.config.ping_interval);
        self.vitals.ping = Some(SentPing { at: now, wall });
        let server_time = &*wall.to_string();
        // Upper case: the one form that every published client answers.
        self.send_control("PING", &PingPayload { timestamp: wall.as_unix_ms(), server_time }, None, now);
        if self.config.heartbeat {
            let sequence = self.vitals.heartbeats;
            self.vitals.heartbeats += 1;
            self.send_control("heartbeat", &Heartbeat { sequence, server_time }, None, now);
        }
    }

    /// Takes the round trip, when the answer repeats a stamp of the last ping: as the number (our clients, and 1.x
    /// under another name) or as the text (2.x).
    pub(super) fn on_pong(&mut self, message: &Message, now: Moment) {
        let pong: PongPayload = message.payload().parse_control().unwrap_or_default();
        let repeats = |ping: &SentPing| match if pong.server_timestamp.is_null() {
            &pong.timestamp
        } else {
            &pong.server_timestamp
        } {
            Value::String(text) => *text == ping.wall.to_string(),
            stamp => stamp.as_u64() == Some(ping.wall.as_unix_ms()),
        };
        if let Some(ping) = self.vitals.ping.take_if(|ping| repeats(ping)) {
            self.vitals.network.answered(now.since(ping.at));
        }
    }

    /// A client that was asked how it is: when it finds its network bad, it is told what would help. The answer itself
    /// is for the application as well, which may have asked.
    pub(super) fn on_client_health(&mut self, message: &Message, now: Moment) {
        let health: ClientHealth = message.payload().parse_control().unwrap_or_default();
        match health.diagnostics.quality.or(health.quality).as_deref() {
            Some("poor") => self.advise(Quality::Poor, now),
            Some("fair") => self.advise(Quality::Fair, now),
            _ => {}
        }
    }

    /// Tells of a network that got worse, or well again; not of one that stays as it is.
    fn tell_quality(&mut self, quality: Quality, now: Moment) {
        let was_bad = matches!(self.vitals.told, Quality::Poor | Quality::Fair);
        let is_bad = matches!(quality, Quality::Poor | Quality::Fair);
        if quality != self.vitals.told && (is_bad || was_bad) && quality != Quality::Unknown {
            self.advise(quality, now);
        }
    }

    fn advise(&mut self, quality: Quality, now: Moment) {
        self.vitals.told = quality;
        let report = self.vitals.network.report();
        let (message, compression, batch_size, batch_timeout) = match quality {
            Quality::Poor => ("the network is poor", true, 50, 0.5),
            Quality::Fair => ("the network is fair", true, 20, 0.2),
            _ => ("the network is well", true, 10, 0.1),
        };
        let advice = QualityAdvice {
            quality: quality.as_str(),
            message,
            suggestions: report.suggestions.iter().map(|suggestion| suggestion.as_str()).collect(),
            recommended_settings: Advice { compression, batch_size, batch_timeout },
            diagnostics: Diagnostics::from(&report),
        };
        self.send_control("connection_quality", &advice, None, now);
    }
}
