//! What goes to the server: messages of the application, at once or from the queue, and control messages.
//! Source: PROTOCOL.md §7.3, §7.4.

use crate::{
    channel::{UNSIGNABLE, check_outgoing},
    config::ClientConfig,
    delivery::{
        BatchConfig, Batcher, NotQueued, OfflineQueue, OfflineStore, QueueLimits, Refused, TokenBucket, Waiting,
    },
    error::Code,
    io::Frame,
    time::Moment,
    wire::{Head, Payload, Priority, batch, control::Object},
};

use super::{
    Action, Client, ConnectionState, DropReason, Event, LevelMetrics, Outgoing, Output, QueueMetrics, SendError, Timer,
    connect::Link, lifecycle::Phase,
};

/// Bytes that a queued message counts for beside its payload, id, type and topic.
const OVERHEAD: usize = 128;

/// Where a client keeps the messages that wait. Default: a [`MemoryStore`](crate::delivery::MemoryStore).
pub type Store = Box<dyn OfflineStore<Message = Outgoing> + Send>;

/// Messages that wait, and what holds them back.
pub(super) struct Outbox {
    waiting: OfflineQueue<Store>,
    pub(super) pacer: Option<TokenBucket>,
    /// Until when the word of a server about its limits counts.
    pub(super) paced_until: Option<Moment>,
    batcher: Option<Batcher>,
}

impl Outbox {
    /// The second part of the answer are messages of an earlier run for which there is no room.
    pub(super) fn new(config: &ClientConfig, store: Store, now: Moment) -> (Self, Vec<Waiting<Outgoing>>) {
        let limits = QueueLimits { max_items: config.offline.max_size, max_bytes: config.offline.max_bytes };
        let (waiting, dropped) = OfflineQueue::open(store, limits, config.offline.max_age);
        let outbox = Self {
            waiting,
            pacer: config.performance.rate_limit.map(|limit| TokenBucket::new(limit, now)),
            paced_until: None,
            batcher: config.performance.batch.map(Batcher::new),
        };
        (outbox, dropped)
    }

    /// Joins messages by these bounds from here on; `None`: each goes at once.
    pub(super) fn set_batching(&mut self, config: Option<BatchConfig>) {
        self.batcher = config.map(|config| match self.batcher.take() {
            Some(mut batcher) => {
                batcher.set_config(config);
                batcher
            }
            None => Batcher::new(config),
        });
    }

    /// Messages that wait, and the bytes that they count for.
    pub(super) fn held(&self) -> (usize, usize) {
        (self.waiting.len(), self.waiting.bytes())
    }

    pub(super) fn metrics(&self, now: Moment) -> QueueMetrics {
        let level = |priority| {
            let counters = self.waiting.counters(priority);
            LevelMetrics {
                waiting: counters.queued - counters.sent - counters.dropped,
                queued: counters.queued,
                sent: counters.sent,
                dropped: counters.dropped,
                refused: counters.refused,
            }
        };
        let limits = self.waiting.limits();
        QueueMetrics {
            waiting: self.waiting.len() as u64,
            capacity: limits.max_items as u64,
            bytes: self.waiting.bytes() as u64,
            byte_capacity: limits.max_bytes as u64,
            oldest_ms: self.waiting.oldest().map(|since| now.since(since).as_millis() as u64),
            background: level(Priority::Background),
            low: level(Priority::Low),
            normal: level(Priority::Normal),
            high: level(Priority::High),
            critical: level(Priority::Critical),
        }
    }
}

/// What may be written next.
enum Next {
    /// This many messages from the front, in one frame.
    Frame(usize),
    /// Nothing before this moment.
    Wait(Moment),
    /// Nothing is there.
    Nothing,
}

/// Why a frame did not go out.
enum Unwritten {
    NoLink,
    TooLarge {
        size: usize,
    },
    /// The payload cannot be signed.
    TooDeep,
    KeyUsedUp(Code),
}

impl Client {
    pub(super) const fn is_ready(&self) -> bool {
        matches!(self.phase(), Phase::Ready { .. })
    }

    pub(super) fn send_message(&mut self, message: Outgoing, now: Moment) -> Result<String, SendError> {
        let sent = self.try_send_message(message, now);
        self.metrics.messages_refused += u64::from(sent.is_err());
        sent
    }

    fn try_send_message(&mut self, message: Outgoing, now: Moment) -> Result<String, SendError> {
        check_outgoing(&message, &self.config.limits)?;
        self.check_accepting()?;
        let id = message.id.clone().unwrap_or_else(|| self.rng.message_id(self.wall.at(now)));
        if self.is_ready() && self.outbox.waiting.is_empty() && !self.batches() && self.take_token(now) {
            match self.write_message(&message, &id, now, now) {
                Ok(()) => {
                    self.metrics.messages_accepted += 1;
                    return Ok(id);
                }
                Err(Unwritten::TooLarge { size }) => {
                    return Err(SendError::TooLarge { size, limit: self.config.limits.max_frame });
                }
                Err(Unwritten::TooDeep) => {
                    return Err(SendError::InvalidKind { kind: message.kind, why: UNSIGNABLE });
                }
                Err(Unwritten::KeyUsedUp(code)) => self.drop_link(code, "the key of this connection is used up", now),
                Err(Unwritten::NoLink) => {}
            }
            self.check_accepting()?;
        }
        self.enqueue(message, id.clone(), now)?;
        self.flush(now);
        Ok(id)
    }

    /// Whether a message can be sent now or kept until it can.
    const fn check_accepting(&self) -> Result<(), SendError> {
        match self.state() {
            ConnectionState::Connected => Ok(()),
            ConnectionState::Connecting | ConnectionState::Reconnecting if self.config.offline.enabled => Ok(()),
            state => Err(SendError::NotConnected { state }),
        }
    }

    fn enqueue(&mut self, message: Outgoing, id: String, now: Moment) -> Result<(), SendError> {
        let (payload, limit) = (message.payload.bytes().len(), self.config.limits.max_frame);
        if payload > limit && self.config.performance.compression.is_none() {
            return Err(SendError::TooLarge { size: payload, limit });
        }
        let topic = message.topic.as_ref().map_or(0, String::len);
        let size = payload + message.kind.len() + id.len() + topic + OVERHEAD;
        match self.outbox.waiting.push(Waiting { id, priority: message.priority, size, since: now, message }) {
            Ok(dropped) => {
                self.metrics.messages_accepted += 1;
                self.tell_dropped(dropped, DropReason::QueueFull);
            }
            // It waits already and will be sent once, which is what was asked for.
            Err(NotQueued::Duplicate(_)) => {}
            Err(NotQueued::Full(Refused { item, limits })) => {
                return Err(SendError::QueueFull { limit: limits.max_items, priority: item.priority });
            }
        }
        Ok(())
    }

    /// Sends what waits, as far as the connection, the rate and the batches allow, and looks when to go on.
    pub(super) fn flush(&mut self, now: Moment) {
        let expired = self.outbox.waiting.expire(now);
        self.tell_dropped(expired, DropReason::Expired);
        let hold = loop {
            match self.next_frame(now) {
                Next::Frame(count) => self.write_front(count, now),
                Next::Wait(at) => break Some(at),
                Next::Nothing => break None,
            }
        };
        match hold.into_iter().chain(self.outbox.waiting.next_expiry()).min() {
            Some(at) => self.timers.set(Timer::Outbound, at),
            None => self.timers.clear(Timer::Outbound),
        }
    }

    fn next_frame(&mut self, now: Moment) -> Next {
        let Some(front) = self.outbox.waiting.front().filter(|_| self.is_ready() && self.link.is_some()) else {
            return Next::Nothing;
        };
        let count = match self.outbox.batcher.as_ref().filter(|_| self.batches()) {
            None => 1,
            Some(batcher) => {
                let sizes = self.outbox.waiting.iter().map(|waiting| waiting.size);
                match batcher.next_frame(sizes, front.priority >= Priority::High, now) {
                    0 => return Next::Wait(batcher.next_at()),
                    count => count,
                }
            }
        };
        let allowed = (0..count).take_while(|_| self.take_token(now)).count();
        match (&mut self.outbox.pacer, allowed) {
            (Some(pacer), 0) => Next::Wait(pacer.next_at(now)),
            _ => Next::Frame(allowed),
        }
    }

    /// Whether several messages may share a frame on this connection.
    fn batches(&self) -> bool {
        let reads_it = |link: &Link| link.full_duplex && link.batching && !link.channel.signs();
        self.outbox.batcher.is_some() && self.link.as_ref().is_some_and(reads_it)
    }

    fn write_front(&mut self, count: usize, now: Moment) {
        if let Some(batcher) = &mut self.outbox.batcher {
            batcher.sent(now);
        }
        if count > 1 && self.write_batch(count, now) {
            return;
        }
        for _ in 0..count {
            self.write_first(now);
        }
    }

    /// Writes the message at the front. It leaves the queue exactly when it goes out, or when it never can.
    fn write_first(&mut self, now: Moment) {
        let Some(front) = self.outbox.waiting.front() else { return };
        let (message, id, since) = (front.message.clone(), front.id.clone(), front.since);
        match self.write_message(&message, &id, since, now) {
            Ok(()) => {
                self.outbox.waiting.pop();
            }
            Err(Unwritten::TooLarge { .. } | Unwritten::TooDeep) => {
                let dropped = self.outbox.waiting.drop_front();
                self.tell_dropped(dropped.into_iter().collect(), DropReason::TooLarge);
            }
            Err(Unwritten::KeyUsedUp(code)) => self.drop_link(code, "the key of this connection is used up", now),
            Err(Unwritten::NoLink) => {}
        }
    }

    fn write_message(&mut self, message: &Outgoing, id: &str, since: Moment, now: Moment) -> Result<(), Unwritten> {
        let ready = self.is_ready();
        let Some(link) = self.link.as_mut().filter(|_| ready) else { return Err(Unwritten::NoLink) };
        let timestamp = self.wall.at(since).to_string();
        let signed_at = self.wall.at(now);
        let frame = link.channel.application(message, id, &timestamp, signed_at).map_err(|code| match code {
            // No signature can be made for it, on this connection or any other.
            Code::TooDeep => Unwritten::TooDeep,
            code => Unwritten::KeyUsedUp(code),
        })?;
        if frame.len() > self.config.limits.max_frame {
            return Err(Unwritten::TooLarge { size: frame.len() });
        }
        link.channel.advance();
        self.metrics.messages_sent += 1;
        self.recorder.says(&message.kind, &self.outputs);
        self.write(frame, now);
        Ok(())
    }

    /// Writes the first messages as one batch; `false`, and nothing happened, when they do not fit into one.
    fn write_batch(&mut self, count: usize, now: Moment) -> bool {
        let Some(link) = &mut self.link else { return false };
        let deepest = self.config.limits.max_depth.saturating_sub(batch::NESTING);
        let front: Vec<_> = self.outbox.waiting.iter().take(count).collect();
        if !front.iter().all(|waiting| waiting.message.payload.nests_at_most(deepest)) {
            return false;
        }
        let stamps: Vec<String> = front.iter().map(|waiting| self.wall.at(waiting.since).to_string()).collect();
        let messages: Vec<(&str, &str, &Outgoing)> = front
            .iter()
            .zip(&stamps)
            .map(|(waiting, stamp)| (waiting.id.as_str(), stamp.as_str(), &waiting.message))
            .collect();
        let Ok(frame) = link.channel.batch(&messages) else { return false };
        if frame.len() > self.config.limits.max_frame {
            return false;
        }
        for _ in 0..count {
            link.channel.advance();
            self.outbox.waiting.pop();
        }
        self.metrics.messages_sent += count as u64;
        self.recorder.says(batch::KIND, &self.outputs);
        self.write(frame, now);
        true
    }

    /// The connection is gone: messages that only waited for their turn go with it, unless they may wait.
    pub(super) fn hold_or_drop_waiting(&mut self) {
        if !self.config.offline.enabled {
            self.drop_waiting(DropReason::Disconnected);
        }
    }

    /// Gives up everything that waits.
    pub(super) fn drop_waiting(&mut self, reason: DropReason) {
        let dropped = self.outbox.waiting.clear();
        self.tell_dropped(dropped, reason);
        self.timers.clear(Timer::Outbound);
    }

    pub(super) fn tell_dropped(&mut self, dropped: Vec<Waiting<Outgoing>>, reason: DropReason) {
        for Waiting { id, priority, .. } in dropped {
            self.metrics.messages_dropped += 1;
            self.metrics.drops.count(reason);
            self.emit(Event::Dropped { id, priority, reason });
        }
    }

    /// Sends a message of the protocol itself and gives its id.
    pub(super) fn send_control(&mut self, kind: &str, payload: Object, now: Moment) -> String {
        self.send_answer(kind, payload, None, now)
    }

    /// The same, as the answer to the message with this id.
    pub(super) fn send_answer(&mut self, kind: &str, payload: Object, answers: Option<&str>, now: Moment) -> String {
        self.send_payload(kind, &payload.into_payload(), answers, now)
    }

    /// The same with a payload that is made already.
    pub(super) fn send_payload(&mut self, kind: &str, payload: &Payload, answers: Option<&str>, now: Moment) -> String {
        let id = self.rng.message_id(self.wall.at(now));
        let timestamp = self.wall.at(now).to_string();
        let head =
            Head { kind, id: Some(&id), timestamp: Some(&timestamp), correlation_id: answers, ..Head::default() };
        if let Some(link) = &mut self.link {
            match link.channel.control(&head, payload) {
                Ok(frame) => {
                    self.recorder.says(kind, &self.outputs);
                    self.write(frame, now);
                }
                Err(code) => self.drop_link(code, "the key of this connection is used up", now),
            }
        }
        id
    }

    fn write(&mut self, frame: Frame, now: Moment) {
        if let Some(link) = &self.link {
            self.rates.note(0, frame.len() as u64, now);
            self.metrics.frames_sent += 1;
            self.metrics.bytes_sent += frame.len() as u64;
            self.outputs.push_back(Output::Act(Action::Send { socket: link.socket, frame }));
        }
    }
}
