//! What goes to this client alone.

use std::{collections::BTreeMap, time::Duration};

use serde::Serialize;

use crate::{
    channel::{UNSIGNABLE, check_outgoing},
    client::{ConnectionState, Outgoing, SendError, SubscriptionAction},
    delivery::{LostRange, TopicRecovery},
    error::{Code, close},
    io::{Close, Frame},
    time::Moment,
    wire::{Head, Payload, Priority},
};

use super::{Output, Peer, SubscriptionRequest, Timer, rates::Pause};

#[derive(Serialize)]
struct ErrorPayload<'a> {
    code: &'a str,
    message: &'a str,
    recoverable: bool,
    severity: &'a str,
    timestamp: &'a str,
    connection_id: &'a str,
    #[serde(flatten)]
    pause: Option<Pause>,
}

#[derive(Serialize)]
struct DrainingPayload {
    retry_after: u64,
    window: u64,
}

#[derive(Serialize)]
struct LostPayload<'a> {
    topic: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    epoch: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<u64>,
}

/// `lost` without a topic: messages to this client alone.
#[derive(Serialize)]
struct DroppedPayload {
    count: u64,
    priorities: BTreeMap<String, u64>,
}

/// The full shape that the published router answers with.
#[derive(Serialize)]
struct SubscriptionAnswer<'a> {
    action: &'a str,
    success: bool,
    message: String,
    topics: &'a [String],
    success_topics: &'a [String],
    failed_topics: Vec<FailedTopic<'a>>,
    already_subscribed: [&'a str; 0],
    pending_subscriptions: [&'a str; 0],
    failed_subscriptions: Vec<&'a str>,
    active_subscriptions: &'a [String],
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    recovery: BTreeMap<String, TopicRecovery>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    presence: BTreeMap<String, u64>,
    subscription_limits: SubscriptionLimits,
    timestamp: &'a str,
}

#[derive(Serialize)]
struct FailedTopic<'a> {
    topic: &'a str,
    error: &'a str,
}

#[derive(Serialize)]
struct SubscriptionLimits {
    max_topics: usize,
    current_topics: usize,
}

impl Peer {
    /// Answers [`super::Event::Subscribe`], [`super::Event::Unsubscribe`] or [`super::Event::Recover`] (with the action
    /// subscribe). Publications that [`SubscriptionRequest::recovery`] promises are to be sent right after it.
    ///
    /// `refused` adds what the server itself refused; those topics are not acted on. `active` are all topics
    /// of the connection afterwards.
    pub fn answer_subscription(
        &mut self,
        action: SubscriptionAction,
        mut request: SubscriptionRequest,
        refused: Vec<(String, Code)>,
        active: &[String],
        now: Moment,
    ) {
        request.topics.retain(|name| !refused.iter().any(|(refused, _)| refused == name));
        request.refused.extend(refused);
        self.note_by_token(action, &request.topics);
        let done = request.topics.len();
        let answer = SubscriptionAnswer {
            action: action.as_str(),
            success: request.refused.is_empty(),
            message: format!("{}: {done} done, {} refused", action.as_str(), request.refused.len()),
            topics: &request.topics,
            success_topics: &request.topics,
            failed_topics: request
                .refused
                .iter()
                .map(|(topic, code)| FailedTopic { topic, error: code.as_str() })
                .collect(),
            already_subscribed: [],
            pending_subscriptions: [],
            failed_subscriptions: request.refused.iter().map(|(topic, _)| topic.as_str()).collect(),
            active_subscriptions: active,
            recovery: std::mem::take(&mut request.recovery),
            presence: std::mem::take(&mut request.present),
            subscription_limits: SubscriptionLimits {
                max_topics: self.config.limits.max_topics,
                current_topics: active.len(),
            },
            timestamp: &self.wall.at(now).to_string(),
        };
        self.send_control("subscription_update", &answer, request.id.as_deref(), now);
    }

    /// Tells the client that `count` messages of a topic were dropped for it.
    pub fn tell_lost(&mut self, topic: &str, count: u64, now: Moment) {
        let lost = LostPayload { topic, count: Some(count), epoch: None, from: None, to: None };
        self.send_control("lost", &lost, None, now);
    }

    /// The same for a recoverable topic: names what was dropped.
    pub fn tell_lost_range(&mut self, topic: &str, range: &LostRange, now: Moment) {
        let LostRange { epoch, from, to } = range;
        let lost = LostPayload { topic, count: range.count(), epoch: Some(epoch), from: Some(*from), to: *to };
        self.send_control("lost", &lost, None, now);
    }

    /// Tells the client that messages to it alone were dropped from its queue, by their priority.
    pub fn tell_dropped(&mut self, dropped: &[(Priority, u64)], now: Moment) {
        let count = dropped.iter().fold(0, |sum: u64, (_, count)| sum.saturating_add(*count));
        let priorities = dropped.iter().map(|(priority, count)| (priority.as_number().to_string(), *count)).collect();
        self.send_control("lost", &DroppedPayload { count, priorities }, None, now);
    }

    pub(super) fn tell_draining(&mut self, retry_after: Duration, window: Duration, now: Moment) {
        let millis = |length: Duration| u64::try_from(length.as_millis()).unwrap_or(u64::MAX);
        let payload = DrainingPayload { retry_after: millis(retry_after), window: millis(window) };
        self.send_control("draining", &payload, None, now);
    }

    /// Tells the client about an error; the connection goes on. `refused_id` names the message that was refused.
    pub fn tell_error(&mut self, code: Code, message: &str, refused_id: Option<&str>, now: Moment) {
        self.send_error(code, message, true, refused_id, now);
    }

    /// Tells the client why, then closes: for input that the driver refuses before it becomes a frame.
    pub fn fail(&mut self, code: Code, message: &str, close: Close, now: Moment) {
        if !self.over {
            self.send_error(code, message, false, None, now);
            self.close(close, now);
        }
    }

    /// Whether several messages to this client may share a frame. Messages that may be signed go alone.
    pub(super) const fn joins_messages(&self) -> bool {
        self.takes_batches && !self.channel.signs() && self.own.batch.size > 1
    }

    pub(super) fn count_next_frame(
        &mut self,
        sizes: impl IntoIterator<Item = usize>,
        urgent: bool,
        now: Moment,
    ) -> usize {
        let mut sizes = sizes.into_iter().peekable();
        if sizes.peek().is_none() {
            return 0;
        }
        if !self.joins_messages() {
            return 1;
        }
        let count = self.batcher.next_frame(sizes, urgent, now);
        match count {
            0 => self.timers.set(Timer::Batch, self.batcher.next_at()),
            _ => self.timers.clear(Timer::Batch),
        }
        count
    }

    pub(super) fn send_messages(&mut self, messages: &[Outgoing], now: Moment) -> Vec<(usize, SendError)> {
        self.batcher.sent(now);
        if messages.len() > 1 && self.joins_messages() && self.send_batch(messages, now) {
            return Vec::new();
        }
        // One by one, where that is all that can be done, and to find out which of them cannot be sent.
        let sent = messages.iter().map(|message| self.send_message(message, now)).enumerate();
        sent.filter_map(|(index, sent)| Some((index, sent.err()?))).collect()
    }

    /// Sends all of them in one frame, or none.
    fn send_batch(&mut self, messages: &[Outgoing], now: Moment) -> bool {
        if self.over || messages.iter().any(|message| check_outgoing(message, &self.config.limits).is_err()) {
            return false;
        }
        let wall = self.wall.at(now);
        let timestamp = wall.to_string();
        let rng = &mut self.rng;
        let ids: Vec<String> =
            messages.iter().map(|message| message.id.clone().unwrap_or_else(|| rng.message_id(wall))).collect();
        let joined: Vec<(&str, &str, &Outgoing)> =
            ids.iter().zip(messages).map(|(id, message)| (id.as_str(), timestamp.as_str(), message)).collect();
        self.shape_channel();
        match self.channel.batch(&joined, &self.config.limits) {
            Ok(frame) if frame.len() <= self.config.limits.max_frame => {
                for _ in messages {
                    self.channel.advance();
                }
                self.push_frame(frame);
                true
            }
            Ok(_) | Err(Code::TooDeep) => false,
            Err(code) => {
                self.close(Close::new(close::POLICY, code.as_str()), now);
                false
            }
        }
    }

    /// Writes as [`Peer::delivery`] says.
    fn shape_channel(&mut self) {
        let delivery = self.delivery();
        self.channel.encoding = delivery.encoding;
        if !delivery.compression {
            self.channel.compression = None;
        }
    }

    pub(super) fn send_message(&mut self, message: &Outgoing, now: Moment) -> Result<String, SendError> {
        check_outgoing(message, &self.config.limits)?;
        if self.over {
            return Err(SendError::NotConnected { state: ConnectionState::Closed });
        }
        let id = message.id.clone().unwrap_or_else(|| self.rng.message_id(self.wall.at(now)));
        let wall = self.wall.at(now);
        self.shape_channel();
        let frame = self.channel.application(message, &id, &wall.to_string(), wall).map_err(|code| match code {
            // The message is at fault, not the connection.
            Code::TooDeep => SendError::InvalidKind { kind: message.kind.clone(), why: UNSIGNABLE },
            code => {
                self.close(Close::new(close::POLICY, code.as_str()), now);
                SendError::NotConnected { state: ConnectionState::Closed }
            }
        })?;
        let limit = self.config.limits.max_frame;
        if frame.len() > limit {
            return Err(SendError::TooLarge { size: frame.len(), limit });
        }
        self.channel.advance();
        self.push_frame(frame);
        Ok(id)
    }

    pub(super) fn push_frame(&mut self, frame: Frame) {
        self.vitals.note_sent(1, frame.len() as u64);
        self.unsent += frame.len();
        self.outputs.push_back(Output::Send(frame));
    }

    pub(super) fn send_error(
        &mut self,
        code: Code,
        message: &str,
        recoverable: bool,
        refused_id: Option<&str>,
        now: Moment,
    ) {
        self.send_any_error((code, message), recoverable, None, refused_id, now);
    }

    /// The error of a client that is too fast.
    pub(super) fn send_pause(
        &mut self,
        message: &str,
        recoverable: bool,
        pause: Pause,
        refused_id: Option<&str>,
        now: Moment,
    ) {
        self.send_any_error((Code::RateLimited, message), recoverable, Some(pause), refused_id, now);
    }

    fn send_any_error(
        &mut self,
        (code, message): (Code, &str),
        recoverable: bool,
        pause: Option<Pause>,
        refused_id: Option<&str>,
        now: Moment,
    ) {
        let connection_id = self.connection_id.clone();
        let payload = ErrorPayload {
            code: code.as_str(),
            message,
            recoverable,
            severity: if recoverable { "warning" } else { "error" },
            timestamp: &self.wall.at(now).to_string(),
            connection_id: &connection_id,
            pause,
        };
        self.send_control("error", &payload, refused_id, now);
    }

    /// Sends a message of the protocol itself; `answers` is the id of the message it answers.
    pub(super) fn send_control<T: Serialize>(&mut self, kind: &str, payload: &T, answers: Option<&str>, now: Moment) {
        let payload = Payload::new(payload).expect("control payloads are plain structs");
        self.send_payload(kind, &payload, answers, now);
    }

    /// The same, with a payload that is written already.
    pub(super) fn send_payload(&mut self, kind: &str, payload: &Payload, answers: Option<&str>, now: Moment) {
        if self.over {
            return;
        }
        let id = self.rng.message_id(self.wall.at(now));
        let timestamp = self.wall.at(now).to_string();
        let head =
            Head { kind, id: Some(&id), timestamp: Some(&timestamp), correlation_id: answers, ..Head::default() };
        match self.channel.control(&head, payload) {
            Ok(frame) => self.push_frame(frame),
            Err(code) => self.close(Close::new(close::POLICY, code.as_str()), now),
        }
    }
}
