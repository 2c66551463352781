//! Questions of the client that a connection can answer by itself. Source: PROTOCOL.md §11.

use serde::Serialize;

use crate::{
    PROTOCOL_VERSION,
    client::{ConfigReport, ConnectionReport, HandlersReport, HealthReport, SequenceReport, SystemReport},
    time::Moment,
    wire::Message,
};

use super::Peer;

/// Message types that never reach the application.
const HANDLED: &[&str] = &[
    "ping",
    "pong",
    "client_hello",
    "subscription",
    "subscription_update",
    "health_check",
    "health_check_request",
    "config_request",
    "connection_state_request",
    "sequence_stats_request",
    "system_status_request",
    "debug_handlers",
    "encryption_request",
    "batch_message",
    "key_rotation_request",
    "key_rotation_response",
];

impl Peer {
    /// Answers the question, if it is one that needs nobody else. `false`: it is for the application.
    pub(super) fn answers(&mut self, message: &Message, now: Moment) -> bool {
        if message.topic().is_some() {
            return false;
        }
        let id = message.id();
        match message.kind() {
            "health_check" | "health_check_request" => self.reply("health_check_response", &self.health(now), id, now),
            "config_request" => self.reply("config_response", &self.settings(), id, now),
            "connection_state_request" => self.reply("connection_state_response", &self.connection(now), id, now),
            "sequence_stats_request" => {
                let next_sequence = self.channel.next_sequence();
                let report = SequenceReport { next_sequence, ..SequenceReport::default() };
                self.reply("sequence_stats_response", &report, id, now)
            }
            "system_status_request" => self.reply("system_status_response", &self.system(now), id, now),
            "debug_handlers" => {
                let asked = [("presence_request", self.config.presence), ("sync_request", self.config.snapshots)];
                let asked = asked.iter().filter(|(_, answered)| *answered).map(|(kind, _)| kind);
                let handlers = HANDLED.iter().chain(asked).map(|&kind| kind.to_owned()).collect();
                self.reply("debug_handlers_response", &HandlersReport { handlers }, id, now)
            }
            _ => false,
        }
    }

    fn reply<T: Serialize>(&mut self, kind: &str, report: &T, question: Option<&str>, now: Moment) -> bool {
        self.send_control(kind, report, question, now);
        true
    }

    fn health(&self, now: Moment) -> HealthReport {
        HealthReport {
            status: "healthy".into(),
            connection_id: self.connection_id.clone(),
            server_version: self.config.server_version.clone(),
            timestamp: self.wall.at(now).to_string(),
            uptime_ms: self.uptime_ms(now),
        }
    }

    fn settings(&self) -> ConfigReport {
        let compression = self.config.compression.filter(|_| self.delivery().compression);
        ConfigReport {
            compression_enabled: compression.is_some(),
            compression_threshold: compression.map(|compression| compression.threshold as u64),
            encryption_enabled: self.channel.is_encrypted(),
            protocol_version: PROTOCOL_VERSION,
            heartbeat_interval: self.config.ping_interval.as_millis() as u64,
            idle_timeout: self.config.idle_timeout.as_millis() as u64,
            max_message_size: self.config.limits.max_frame as u64,
            max_topics: self.config.limits.max_topics as u64,
        }
    }

    fn connection(&self, now: Moment) -> ConnectionReport {
        ConnectionReport {
            state: "connected".into(),
            connection_id: self.connection_id.clone(),
            user_id: self.identity.as_ref().map(|identity| identity.user_id.clone()).unwrap_or_default(),
            encrypted: self.channel.is_encrypted(),
            uptime_ms: self.uptime_ms(now),
            rejected: u64::from(self.rejected),
            timestamp: self.wall.at(now).to_string(),
        }
    }

    fn system(&self, now: Moment) -> SystemReport {
        SystemReport {
            status: "ok".into(),
            server_version: self.config.server_version.clone(),
            protocol_version: PROTOCOL_VERSION,
            timestamp: self.wall.at(now).to_string(),
        }
    }

    fn uptime_ms(&self, now: Moment) -> u64 {
        now.since(self.opened).as_millis() as u64
    }
}
