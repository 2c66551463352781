//! Questions of the client that a connection can answer by itself. Source: PROTOCOL.md §11.

use serde::Serialize;

use crate::{
    PROTOCOL_VERSION,
    client::{ConfigReport, ConnectionReport, HandlersReport, HealthReport, SequenceReport, SystemReport},
    time::Moment,
    wire::Message,
};

use super::{
    Peer, QuestionKind,
    figures::{Breaker, Sequences},
    vital::Diagnostics,
};

/// Makes the list, and a comparison with all of it that is as quick as one `match`.
macro_rules! handled {
    ($($kind:literal,)*) => {
        /// Message types of a client that the server takes itself, in the order of PROTOCOL.md §11.6. All others are for its
        /// application. Of these, the application sees what is marked so there as well. `sync_request` and `presence_request`
        /// are not among them: whether the server takes those is a setting.
        pub const HANDLED: &[&str] = &[$($kind,)*];

        /// Whether a message of this type can only be for the application or a topic, as nearly all are.
        pub(super) fn is_plain(kind: &str) -> bool {
            !matches!(kind, $($kind)|* | "sync_request" | "presence_request")
        }
    };
}

handled! {
    "ping",
    "PING",
    "pong",
    "PONG",
    "heartbeat",
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
    "key_rotation_request",
    "key_rotation_response",
    "metrics_request",
    "debug_request",
    "config_update",
    "health_check_response",
    "batch",
    "batch_message",
    "priority_message",
}

#[derive(Serialize)]
struct Health {
    #[serde(flatten)]
    report: HealthReport,
    diagnostics: Diagnostics,
    circuit_breaker: Breaker,
    sequence_stats: Sequences,
    client_info: ClientInfo,
}

#[derive(Serialize)]
struct ClientInfo {
    client_version: String,
    protocol_version: u64,
}

#[derive(Serialize)]
struct Settings {
    #[serde(flatten)]
    report: ConfigReport,
    batch_size: usize,
    /// In seconds, as `config_update` has it.
    batch_timeout: f64,
    max_queue_size: usize,
}

impl Peer {
    /// Answers the question, if it is one that needs nobody else. `false`: it is for the application.
    pub(super) fn answers(&mut self, message: &Message, now: Moment) -> bool {
        if message.topic().is_some() {
            return false;
        }
        match message.kind() {
            "health_check" | "health_check_request" => {
                self.reply("health_check_response", &self.health(now), message.id(), now)
            }
            "config_request" => self.reply("config_response", &self.settings(), message.id(), now),
            "connection_state_request" => {
                self.reply("connection_state_response", &self.connection(now), message.id(), now)
            }
            "sequence_stats_request" => {
                let next_sequence = self.channel.next_sequence();
                let report = SequenceReport { next_sequence, ..SequenceReport::default() };
                self.reply("sequence_stats_response", &report, message.id(), now)
            }
            "system_status_request" => self.reply("system_status_response", &self.system(now), message.id(), now),
            "config_update" => {
                self.on_config_update(message, now);
                true
            }
            "metrics_request" => self.ask_server(QuestionKind::Metrics, message),
            "debug_request" => self.ask_server(QuestionKind::Debug, message),
            "debug_handlers" => {
                let handlers = self.handled().into_iter().map(str::to_owned).collect();
                self.reply("debug_handlers_response", &HandlersReport { handlers }, message.id(), now)
            }
            _ => false,
        }
    }

    /// Types that do not reach the application, with this configuration.
    pub(super) fn handled(&self) -> Vec<&'static str> {
        let asked = [("presence_request", self.config.presence), ("sync_request", self.config.snapshots)];
        let asked = asked.into_iter().filter(|(_, answered)| *answered).map(|(kind, _)| kind);
        HANDLED.iter().copied().chain(asked).collect()
    }

    fn reply<T: Serialize>(&mut self, kind: &str, report: &T, question: Option<&str>, now: Moment) -> bool {
        self.send_control(kind, report, question, now);
        true
    }

    fn health(&self, now: Moment) -> Health {
        Health {
            report: HealthReport {
                status: "healthy".into(),
                connection_id: self.connection_id.clone(),
                server_version: self.config.server_version.clone(),
                timestamp: self.wall.at(now).to_string(),
                uptime_ms: self.uptime_ms(now),
            },
            diagnostics: self.vitals.diagnostics(),
            circuit_breaker: self.breaker(),
            sequence_stats: self.sequences(),
            client_info: ClientInfo {
                client_version: self.params.client_version.clone(),
                protocol_version: PROTOCOL_VERSION,
            },
        }
    }

    fn settings(&self) -> Settings {
        let compression = self.channel.compression.filter(|_| self.delivery().compression);
        let report = ConfigReport {
            compression_enabled: compression.is_some(),
            compression_threshold: compression.map(|compression| compression.threshold as u64),
            encryption_enabled: self.channel.is_encrypted(),
            protocol_version: PROTOCOL_VERSION,
            heartbeat_interval: self.config.ping_interval.as_millis() as u64,
            idle_timeout: self.config.idle_timeout.as_millis() as u64,
            max_message_size: self.config.limits.max_frame as u64,
            max_topics: self.config.limits.max_topics as u64,
        };
        Settings {
            report,
            batch_size: if self.joins_messages() { self.own.batch.size } else { 1 },
            batch_timeout: self.own.batch.timeout.as_secs_f64(),
            max_queue_size: self.own.queue_messages,
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
