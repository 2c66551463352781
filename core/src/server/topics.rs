//! What a client asks of topics, where only the server knows the answer. Source: PROTOCOL.md §6.7, §6.8, §11.

use serde::Deserialize;

use crate::{
    client::{PresenceReport, SnapshotReport},
    error::Code,
    time::Moment,
    topic,
    wire::Message,
};

use super::{Event, Output, Peer};

/// Who is present at a topic? Answer with [`Peer::answer_presence`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PresenceQuestion {
    /// The topic: one that the client may subscribe to.
    pub topic: String,
    /// Users up to this one are known already.
    pub after: Option<String>,
    /// Most members; `None`: as many as the server likes.
    pub limit: Option<u64>,
    /// The id of the question, repeated in the answer.
    pub id: Option<String>,
}

/// What is the state of these topics? Answer with [`Peer::answer_sync`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyncQuestion {
    /// The topics, all of which the client may subscribe to; empty: all that it is subscribed to.
    pub topics: Vec<String>,
    /// Topics refused already.
    pub refused: Vec<(String, Code)>,
    /// Whether the present state is wanted.
    pub snapshots: bool,
    /// The id of the question, repeated in the answer.
    pub id: Option<String>,
}

#[derive(Deserialize)]
struct PresencePayload {
    topic: String,
    #[serde(default)]
    after: Option<String>,
    #[serde(default)]
    limit: Option<u64>,
}

#[derive(Deserialize)]
#[serde(default)]
struct SyncPayload {
    topics: Vec<String>,
    include_snapshots: bool,
}

impl Default for SyncPayload {
    fn default() -> Self {
        Self { topics: Vec::new(), include_snapshots: true }
    }
}

impl Peer {
    /// Passes on a question that the server answers. `false`: it is for the application.
    pub(super) fn asks_server(&mut self, message: &Message, now: Moment) -> bool {
        match message.kind() {
            _ if message.topic().is_some() => return false,
            "presence_request" if self.config.presence => self.on_presence_request(message, now),
            "sync_request" if self.config.snapshots => self.on_sync_request(message, now),
            _ => return false,
        }
        true
    }

    fn on_presence_request(&mut self, message: &Message, now: Moment) {
        let Ok(PresencePayload { topic, after, limit }) = message.payload().parse_control() else {
            return self.send_error(Code::InvalidRequest, "topic must be a name", true, message.id(), now);
        };
        if topic::check(&topic).is_err() || topic::is_pattern(&topic) {
            return self.send_error(Code::InvalidTopic, "topic must be a name", true, message.id(), now);
        }
        if !self.may_read(&topic) {
            return self.send_error(Code::TopicDenied, "this topic is not allowed", true, message.id(), now);
        }
        let question = PresenceQuestion { topic, after, limit, id: message.id().map(str::to_owned) };
        self.outputs.push_back(Output::Emit(Event::Presence(question)));
    }

    fn on_sync_request(&mut self, message: &Message, now: Moment) {
        let Ok(SyncPayload { topics, include_snapshots }) = message.payload().parse_control() else {
            return self.send_error(Code::InvalidRequest, "topics must be a list of names", true, message.id(), now);
        };
        let limit = self.config.limits.max_topics;
        if topics.len() > limit {
            let text = format!("at most {limit} topics in one request");
            return self.send_error(Code::TooManyTopics, &text, true, message.id(), now);
        }
        let (mut allowed, mut refused) = (Vec::new(), Vec::new());
        for name in topics {
            match topic::check(&name) {
                Ok(()) if self.may_read(&name) => allowed.push(name),
                Ok(()) => refused.push((name, Code::TopicDenied)),
                Err(code) => refused.push((name, code)),
            }
        }
        let id = message.id().map(str::to_owned);
        if allowed.is_empty() && !refused.is_empty() {
            // Without a topic the question would mean all.
            return self.answer_sync(refused_all(&refused), id.as_deref(), now);
        }
        let question = SyncQuestion { topics: allowed, refused, snapshots: include_snapshots, id };
        self.outputs.push_back(Output::Emit(Event::Sync(question)));
    }

    /// Answers [`Event::Presence`]; `id` is that of the question.
    pub fn answer_presence(&mut self, report: &PresenceReport, id: Option<&str>, now: Moment) {
        self.send_control("presence_response", report, id, now);
    }

    /// Answers [`Event::Sync`] once the snapshots are written; `id` is that of the question. Without one it is a notice: the
    /// state of topics that the client joined could not be had.
    pub fn answer_sync(&mut self, report: SnapshotReport, id: Option<&str>, now: Moment) {
        self.send_control("snapshot_complete", &report, id, now);
    }
}

fn refused_all(refused: &[(String, Code)]) -> SnapshotReport {
    let message = format!("0 topics, {} refused", refused.len());
    SnapshotReport { success: false, message, snapshots_sent: Vec::new() }
}
