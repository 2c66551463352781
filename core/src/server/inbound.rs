//! What frames of the client mean. Source: PROTOCOL.md §4–§7.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    channel::{is_publishable, is_reserved},
    client::{BatchItemReport, BatchReport},
    delivery::Position,
    error::{Code, close},
    io::{Close, Frame},
    time::Moment,
    topic,
    wire::{DecodeError, Message, batch},
};

use super::{Event, Output, Peer, SubscriptionRequest, requests::is_plain};

#[derive(Deserialize, Default)]
#[serde(default)]
struct PingPayload {
    timestamp: serde_json::Value,
}

#[derive(Serialize)]
struct Pong<'a> {
    client_timestamp: u64,
    server_timestamp: u64,
    latency: u64,
    connection_id: &'a str,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct RequestPayload {
    action: Option<String>,
    topics: Topics,
    recover: bool,
    recovery: BTreeMap<String, Position>,
    channel_tokens: BTreeMap<String, String>,
    group: Option<String>,
    presence: BTreeMap<String, serde_json::Value>,
}

/// What a request is about, before anything is checked.
#[derive(Default)]
pub(super) struct RequestedTopics {
    pub(super) topics: Vec<String>,
    pub(super) recover: bool,
    pub(super) positions: BTreeMap<String, Position>,
    pub(super) group: Option<String>,
    pub(super) presence: BTreeMap<String, serde_json::Value>,
}

/// What a request wants.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Subscribe,
    Unsubscribe,
    Recover,
}

/// A list; one name alone is understood too.
#[derive(Deserialize)]
#[serde(untagged)]
enum Topics {
    Many(Vec<String>),
    One(String),
}

impl Default for Topics {
    fn default() -> Self {
        Self::Many(Vec::new())
    }
}

impl Peer {
    pub(super) fn on_frame(&mut self, frame: Frame, now: Moment) {
        self.last_inbound = now;
        self.vitals.note_received(frame.len());
        if !self.count_frame(now) {
            return;
        }
        let limits = self.config.limits;
        let is_text = matches!(frame, Frame::Text(_));
        match self.channel.decode(frame, &limits, now, self.wall.at(now)) {
            Ok(message) if self.accepts(&message) => self.on_message(message, now),
            Ok(message) => {
                let detail = "this connection agreed on encryption".to_owned();
                self.reject(DecodeError { code: Code::EncryptionRequired, detail }, message.id(), now);
            }
            Err(error) => self.on_bad_frame(is_text, error, now),
        }
    }

    /// After a key was agreed plaintext is refused. Published clients send some between their hello and the
    /// moment they read ours, so for them it is over with their first sealed frame.
    fn accepts(&mut self, message: &Message) -> bool {
        self.sealed_seen |= message.is_encrypted();
        let over = self.channel.is_encrypted() && (self.full_duplex || self.sealed_seen);
        message.is_encrypted() || !over
    }

    fn on_bad_frame(&mut self, is_text: bool, error: DecodeError, now: Moment) {
        let fatal = match error.code {
            Code::MessageTooLarge => Some(close::TOO_BIG),
            Code::InvalidUtf8 if is_text => Some(close::INVALID_DATA),
            _ => None,
        };
        let Some(close_code) = fatal else { return self.reject(error, None, now) };
        self.send_error(error.code, &error.detail, false, None, now);
        let reason = error.code.as_str();
        self.outputs.push_back(Output::Emit(Event::Rejected(error)));
        self.close(Close::new(close_code, reason), now);
    }

    /// Refuses one frame and says so; a client that sends nothing but such frames is closed.
    fn reject(&mut self, error: DecodeError, id: Option<&str>, now: Moment) {
        self.rejected += 1;
        self.send_error(error.code, &error.detail, true, id, now);
        self.outputs.push_back(Output::Emit(Event::Rejected(error)));
        if self.rejected >= self.config.max_rejected {
            self.close(Close::new(close::POLICY, "too many refused frames"), now);
        }
    }

    fn on_message(&mut self, message: Message, now: Moment) {
        match message.kind() {
            kind if is_plain(kind) => {
                let _told = self.on_application_message(message, now);
            }
            "ping" | "PING" => self.on_ping(&message, now),
            "pong" | "PONG" => self.on_pong(&message, now),
            // A sign of life, which it was by coming.
            "heartbeat" if message.topic().is_none() => {}
            "health_check_response" if message.topic().is_none() => {
                self.on_client_health(&message, now);
                let _told = self.on_application_message(message, now);
            }
            "client_hello" => self.on_hello(&message, now),
            "encryption_request" => self.on_encryption_request(&message, now),
            "key_rotation_request" => self.on_rotation_request(&message, now),
            "key_rotation_response" => self.on_rotation_response(&message, now),
            "subscription" | "subscription_update" => self.on_subscription(&message, now),
            batch::KIND => self.on_batch(&message, now),
            "batch_message" if message.topic().is_none() => self.on_batch_message(&message, now),
            batch::PRIORITY_KIND => {
                let inner = batch::unwrap_priority(message, &self.config.limits);
                let _told = self.on_application_message(inner, now);
            }
            _ if self.answers(&message, now) || self.asks_server(&message, now) => {}
            _ => {
                let _told = self.on_application_message(message, now);
            }
        }
    }

    /// Each message in it counts like one that came alone; a refused one is named by the id of the batch.
    fn on_batch(&mut self, message: &Message, now: Moment) {
        let items = match batch::split(message, &self.config.limits) {
            Ok(items) => items,
            Err(error) => return self.reject(error, message.id(), now),
        };
        let wall = self.wall.at(now);
        for item in items {
            match item.and_then(|item| self.channel.check(&item, wall).map(|()| item)) {
                _ if self.over => return,
                Ok(item) => self.on_message(item, now),
                Err(error) => self.reject(error, message.id(), now),
            }
        }
    }

    /// As a batch, with word of what became of each message in it.
    fn on_batch_message(&mut self, message: &Message, now: Moment) {
        let items = match batch::split(message, &self.config.limits) {
            Ok(items) => items,
            Err(error) => return self.reject(error, message.id(), now),
        };
        let wall = self.wall.at(now);
        let mut report = BatchReport { total: items.len() as u64, ..BatchReport::default() };
        for item in items {
            let checked = item.and_then(|item| self.channel.check(&item, wall).map(|()| item));
            let checked = checked.and_then(|item| self.plain(item));
            if self.over {
                return;
            }
            report.results.push(match checked {
                Ok(item) => {
                    let id = item.id().map(str::to_owned);
                    let outcome = self.on_application_message(item, now);
                    let error = outcome.err().map(|code| code.as_str().to_owned());
                    BatchItemReport { id, success: error.is_none(), error }
                }
                Err(error) => {
                    self.rejected += 1;
                    let code = error.code.as_str().to_owned();
                    self.outputs.push_back(Output::Emit(Event::Rejected(error)));
                    BatchItemReport { id: None, success: false, error: Some(code) }
                }
            });
        }
        report.successful = report.results.iter().filter(|result| result.success).count() as u64;
        report.failed = report.total - report.successful;
        self.send_control("batch_message_result", &report, message.id(), now);
        if self.rejected >= self.config.max_rejected {
            self.close(Close::new(close::POLICY, "too many refused frames"), now);
        }
    }

    /// A message that is the application's, opened if it is wrapped: the protocol's own go alone.
    fn plain(&self, message: Message) -> Result<Message, DecodeError> {
        let kind = message.kind();
        if kind == batch::PRIORITY_KIND {
            return Ok(batch::unwrap_priority(message, &self.config.limits));
        }
        if is_reserved(kind) || self.handled().contains(&kind) {
            let detail = format!("a message of type {kind} within a batch");
            return Err(DecodeError { code: Code::InvalidRequest, detail });
        }
        Ok(message)
    }

    fn on_ping(&mut self, message: &Message, now: Moment) {
        let ping: PingPayload = message.payload().parse_control().unwrap_or_default();
        let server_timestamp = self.wall.at(now).as_unix_ms();
        // A float or a missing stamp counts as zero, as published servers answer it.
        let client_timestamp = ping.timestamp.as_u64().unwrap_or(0);
        let latency = if client_timestamp == 0 { 0 } else { server_timestamp.saturating_sub(client_timestamp) };
        let connection_id = self.connection_id.clone();
        let pong = Pong { client_timestamp, server_timestamp, latency, connection_id: &connection_id };
        self.send_control("PONG", &pong, message.id(), now);
    }

    fn on_subscription(&mut self, message: &Message, now: Moment) {
        let id = message.id();
        let Ok(request) = message.payload().parse_control::<RequestPayload>() else {
            return self.send_error(Code::InvalidSubscription, "topics must be a list of names", true, id, now);
        };
        let action = match request.action.as_deref() {
            Some("subscribe") | None => Action::Subscribe,
            Some("unsubscribe") => Action::Unsubscribe,
            Some("recover") if self.config.recovery => Action::Recover,
            Some(_) => {
                let text = "action must be subscribe, unsubscribe or, on a server with a history, recover";
                return self.send_error(Code::InvalidAction, text, true, id, now);
            }
        };
        let topics = match request.topics {
            Topics::Many(topics) => topics,
            Topics::One(topic) => vec![topic],
        };
        if topics.is_empty() {
            return self.send_error(Code::InvalidSubscription, "no topic given", true, id, now);
        }
        if let Some(Err(code)) = request.group.as_deref().map(topic::check_group) {
            let text = format!("group must be a name of at most {} bytes", topic::MAX_GROUP_NAME);
            return self.send_error(code, &text, true, id, now);
        }
        let requested = RequestedTopics {
            topics,
            recover: self.config.recovery && request.recover,
            positions: request.recovery,
            group: request.group,
            presence: if self.config.presence { request.presence } else { BTreeMap::new() },
        };
        let own = self.admit_by_token(&request.channel_tokens, now);
        self.request_topics(action, requested, id, false, now);
        // A token counts for the request that brought it.
        if let Some(identity) = &mut self.identity {
            identity.subscribe.allow.truncate(own);
        }
    }

    /// Sorts the topics of a request into those to act on and those refused already.
    pub(super) fn request_topics(
        &mut self,
        action: Action,
        requested: RequestedTopics,
        id: Option<&str>,
        from_url: bool,
        now: Moment,
    ) {
        let limit = self.config.limits.max_topics;
        let RequestedTopics { topics, recover, positions, group, mut presence } = requested;
        if topics.len() > limit {
            let message = format!("at most {limit} topics in one request");
            return self.send_error(Code::TooManyTopics, &message, true, id, now);
        }
        if presence.len() > limit {
            let message = format!("at most {limit} topics in one request");
            return self.send_error(Code::TooManyTopics, &message, true, id, now);
        }
        let mut request = SubscriptionRequest {
            topics: Vec::new(),
            refused: Vec::new(),
            id: id.map(str::to_owned),
            from_url,
            recover,
            positions: positions.into_iter().filter(|(name, _)| self.may_read(name)).collect(),
            recovery: BTreeMap::new(),
            group,
            presence: BTreeMap::new(),
            present: BTreeMap::new(),
        };
        let mut seen = std::collections::BTreeSet::new();
        for name in topics {
            if !seen.insert(name.clone()) {
                continue;
            }
            let told = presence.remove(&name);
            let checked = self.check_topic(action, &name);
            match checked.and_then(|()| told.as_ref().map_or(Ok(()), |told| self.check_presence(&name, told))) {
                Ok(()) => {
                    request.presence.extend(told.map(|told| (name.clone(), told)));
                    request.topics.push(name);
                }
                Err(code) => request.refused.push((name, code)),
            }
        }
        if action == Action::Subscribe {
            // Nobody can be seen where it does not listen.
            request.refused.extend(presence.into_keys().map(|name| (name, Code::InvalidSubscription)));
        }
        self.outputs.push_back(Output::Emit(match action {
            Action::Subscribe => Event::Subscribe(request),
            Action::Unsubscribe => Event::Unsubscribe(request),
            Action::Recover => Event::Recover(request),
        }));
    }

    /// Whether a history may be read: the same right as to listen, and never by a pattern.
    pub(super) fn may_read(&self, name: &str) -> bool {
        let is_listed = || self.identity.as_ref().is_some_and(|identity| identity.subscribe.allows(name));
        !topic::is_pattern(name) && (self.by_token.contains(name) || is_listed())
    }

    /// Who wants to be seen names itself in an exact topic. What it tells there goes to all subscribers, as a publication
    /// would.
    fn check_presence(&self, name: &str, told: &serde_json::Value) -> Result<(), Code> {
        let is_empty = told.is_null() || told.as_object().is_some_and(serde_json::Map::is_empty);
        if topic::is_pattern(name) {
            Err(Code::InvalidTopic)
        } else if told.to_string().len() > topic::MAX_PRESENCE {
            Err(Code::MessageTooLarge)
        } else if !is_empty && !self.identity.as_ref().is_some_and(|identity| identity.publish.allows(name)) {
            Err(Code::PublishDenied)
        } else {
            Ok(())
        }
    }

    fn check_topic(&self, action: Action, name: &str) -> Result<(), Code> {
        topic::check(name)?;
        let allowed = match action {
            Action::Recover => self.may_read(name),
            Action::Subscribe => self.identity.as_ref().is_some_and(|identity| identity.subscribe.may_subscribe(name)),
            Action::Unsubscribe => true,
        };
        if allowed { Ok(()) } else { Err(Code::TopicDenied) }
    }

    /// With a topic it is a publication, without one it is for the server's application. The client is told of a refusal.
    fn on_application_message(&mut self, message: Message, now: Moment) -> Result<(), Code> {
        if !self.within_rate(&message, now) {
            return Err(Code::RateLimited);
        }
        let Some(name) = message.topic() else {
            if self.gathers {
                self.arrived.push(message);
            } else {
                self.outputs.push_back(Output::Emit(Event::Message(message)));
            }
            return Ok(());
        };
        let refused = if !is_publishable(message.kind()) {
            Some((Code::InvalidRequest, "only the server publishes messages of this type"))
        } else if topic::check(name).is_err() || topic::is_pattern(name) {
            Some((Code::InvalidTopic, "the topic cannot be published to"))
        } else if !self.identity.as_ref().is_some_and(|identity| identity.publish.allows(name)) {
            Some((Code::PublishDenied, "publishing to this topic is not allowed"))
        } else {
            None
        };
        match refused {
            Some((code, text)) => {
                self.send_error(code, text, true, message.id(), now);
                Err(code)
            }
            None => {
                self.outputs.push_back(Output::Emit(Event::Publish(message)));
                Ok(())
            }
        }
    }
}
