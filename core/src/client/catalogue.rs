//! Shapes of answers and notices. Both ends use them: a server writes them, a client reads them.
//!
//! Every member may be absent: published servers leave out some, and write more. What is not named here is still
//! in the message itself. Source: PROTOCOL.md §11.

use serde::{Deserialize, Serialize};

use crate::wire::{Category, Message};

/// Answer to [`Request::Health`](super::Request::Health): `health_check_response`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HealthReport {
    /// `healthy`, or the server's own word.
    pub status: String,
    /// The server's name for this connection.
    pub connection_id: String,
    /// The server's version.
    pub server_version: String,
    /// Civil time at the server, RFC 3339.
    pub timestamp: String,
    /// Age of the connection in milliseconds.
    pub uptime_ms: u64,
}

/// Answer to [`Request::ServerConfig`](super::Request::ServerConfig): `config_response`. Times in milliseconds, sizes in bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ConfigReport {
    /// Whether large messages to this client are compressed.
    pub compression_enabled: bool,
    /// Size above which they are.
    pub compression_threshold: Option<u64>,
    /// Whether this connection is encrypted.
    pub encryption_enabled: bool,
    /// The protocol version of the server.
    pub protocol_version: u64,
    /// Time between pings of the server.
    pub heartbeat_interval: u64,
    /// Silence of the client that ends the connection.
    pub idle_timeout: u64,
    /// The largest frame that the server takes.
    pub max_message_size: u64,
    /// The largest number of topics of one connection.
    pub max_topics: u64,
}

/// Answer to [`Request::ConnectionState`](super::Request::ConnectionState): `connection_state_response`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ConnectionReport {
    /// `connected`, or the server's own word.
    pub state: String,
    /// The server's name for this connection.
    pub connection_id: String,
    /// Who the server takes the client for.
    pub user_id: String,
    /// Whether the connection is encrypted.
    pub encrypted: bool,
    /// Age of the connection in milliseconds.
    pub uptime_ms: u64,
    /// Frames of this client that the server refused.
    pub rejected: u64,
    /// Civil time at the server, RFC 3339.
    pub timestamp: String,
}

/// Answer to [`Request::SequenceStats`](super::Request::SequenceStats): `sequence_stats_response`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SequenceReport {
    /// Application messages written to this client so far: the next `seq`.
    pub next_sequence: u64,
    /// Topics whose order the server tracks for this client.
    pub total_topics: u64,
    /// Messages held back for a gap.
    pub total_buffered: u64,
}

/// Answer to [`Request::SystemStatus`](super::Request::SystemStatus): `system_status_response`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SystemReport {
    /// `ok`, or the server's own word.
    pub status: String,
    /// The server's version.
    pub server_version: String,
    /// The protocol version of the server.
    pub protocol_version: u64,
    /// Civil time at the server, RFC 3339.
    pub timestamp: String,
}

/// Answer to [`Request::Handlers`](super::Request::Handlers): `debug_handlers_response`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HandlersReport {
    /// Message types that the server itself takes; all others are for its application.
    pub handlers: Vec<String>,
}

/// Answer to [`Request::Encryption`](super::Request::Encryption): `encryption_response`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct EncryptionReport {
    /// Whether the connection is encrypted.
    pub enabled: bool,
}

/// Answer to [`Request::UpdateConfig`](super::Request::UpdateConfig): `config_update_response`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ConfigUpdateReport {
    /// Whether the server took the settings.
    pub success: bool,
}

/// Answer to [`Request::Sync`](super::Request::Sync), and a notice on its own: `snapshot_complete`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SnapshotReport {
    /// Whether all snapshots were sent.
    pub success: bool,
    /// The server's words.
    pub message: String,
    /// What was sent before this message.
    pub snapshots_sent: Vec<String>,
}

/// Answer to [`Request::Presence`](super::Request::Presence): `presence_response`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PresenceReport {
    /// The topic.
    pub topic: String,
    /// How many are present; more than are listed where the server lists only some.
    pub total: u64,
    /// Who, in the order of their ids.
    pub members: Vec<PresenceChange>,
    /// Whether there are more after the last one here.
    pub more: bool,
}

impl PresenceReport {
    /// What to ask for next, as `after`; `None` when these are the last ones.
    pub fn next(&self) -> Option<&str> {
        self.members.last().filter(|_| self.more).map(|last| last.user_id.as_str())
    }
}

/// Answer to [`Request::Batch`](super::Request::Batch): `batch_message_result`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BatchReport {
    /// Messages in the batch.
    pub total: u64,
    /// Messages that were read. Whether a publication was allowed is told apart from this, by an `error` as ever.
    pub successful: u64,
    /// Messages that were not.
    pub failed: u64,
    /// One for each message, in order.
    pub results: Vec<BatchItemReport>,
}

/// What became of one message of a batch.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BatchItemReport {
    /// Its id, if it could be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Whether it was read.
    pub success: bool,
    /// Why not, as a stable code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// A change of presence: `presence_join`, `presence_leave`, `presence_update`. The topic is that of the message.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PresenceChange {
    /// Who.
    pub user_id: String,
    /// What the user told about itself.
    pub data: serde_json::Value,
}

/// `connection_quality`: what the server thinks of the network between the two.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct QualityReport {
    /// `excellent`, `good`, `fair`, `poor`, or the server's own word.
    pub quality: String,
    /// The server's words.
    pub message: String,
    /// What would help, in the server's words.
    pub suggestions: Vec<String>,
}

/// `connection_state_change`: how the server sees this connection.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ServerStateChange {
    /// The state before.
    pub old_state: String,
    /// The state from here on.
    pub new_state: String,
    /// The server's name for this connection.
    pub connection_id: String,
}

/// What a [`Notice`] is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum NoticeKind {
    /// `presence_join`; reads as [`PresenceChange`].
    PresenceJoin,
    /// `presence_leave`; reads as [`PresenceChange`].
    PresenceLeave,
    /// `presence_update`; reads as [`PresenceChange`].
    PresenceUpdate,
    /// `snapshot_complete`; reads as [`SnapshotReport`].
    SnapshotComplete,
    /// `connection_quality`; reads as [`QualityReport`].
    ConnectionQuality,
    /// `connection_state_change`; reads as [`ServerStateChange`].
    ServerState,
    /// `config_response` that nobody asked for; reads as [`ConfigReport`].
    Config,
    /// `system_status`; reads as [`SystemReport`].
    SystemStatus,
    /// `config_update`: the server wishes for other settings; reads as [`ConfigUpdate`](super::ConfigUpdate).
    ConfigUpdate,
    /// A message of category `S`: the state of something as a whole. What its payload is, its type tells.
    Snapshot,
}

impl NoticeKind {
    /// The notice that this message type is, if it is one.
    pub fn of(kind: &str) -> Option<Self> {
        Some(match kind {
            "presence_join" => Self::PresenceJoin,
            "presence_leave" => Self::PresenceLeave,
            "presence_update" => Self::PresenceUpdate,
            "snapshot_complete" => Self::SnapshotComplete,
            "connection_quality" => Self::ConnectionQuality,
            "connection_state_change" => Self::ServerState,
            "config_response" => Self::Config,
            "system_status" | "system_status_response" => Self::SystemStatus,
            "config_update" => Self::ConfigUpdate,
            _ => return None,
        })
    }

    /// The same for a whole message: beside its type, its category tells.
    pub fn of_message(message: &Message) -> Option<Self> {
        let snapshot = message.category() == Some(Category::Snapshot);
        Self::of(message.kind()).or(snapshot.then_some(Self::Snapshot))
    }

    /// Whether it is about somebody in a topic.
    pub const fn is_presence(self) -> bool {
        matches!(self, Self::PresenceJoin | Self::PresenceLeave | Self::PresenceUpdate)
    }

    /// The lower-case name, the same in every language.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PresenceJoin => "presence_join",
            Self::PresenceLeave => "presence_leave",
            Self::PresenceUpdate => "presence_update",
            Self::SnapshotComplete => "snapshot_complete",
            Self::ConnectionQuality => "connection_quality",
            Self::ServerState => "server_state",
            Self::Config => "config",
            Self::SystemStatus => "system_status",
            Self::ConfigUpdate => "config_update",
            Self::Snapshot => "snapshot",
        }
    }
}

/// A message of the server with a known meaning that nobody asked for. Its payload is parsed when asked for:
/// `notice.source.payload().parse::<PresenceChange>()`.
#[derive(Debug, Clone)]
pub struct Notice {
    /// What it is about, and so the shape of its payload.
    pub kind: NoticeKind,
    /// The message itself.
    pub source: Message,
}

impl Notice {
    /// Who came, went or tells something else, and what; `None` for a notice of another kind. The topic is that of
    /// [`Notice::source`].
    pub fn presence(&self) -> Option<PresenceChange> {
        if !self.kind.is_presence() {
            return None;
        }
        self.source.payload().parse().ok()
    }
}
