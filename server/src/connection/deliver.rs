//! From inbox and rings to the outbox.

use std::sync::Arc;

use wse_client_core::{client::Outgoing, delivery::LostRange, error::close, io::Close, time::Moment};

use super::engine::{Engine, Outbox};
use crate::{
    hub::{Ending, Mail, Publication, TopicRead},
    metrics::Deliveries,
};

/// Publications fetched from one topic before the next has its turn.
const FETCH: usize = 64;

impl<O: Outbox> Engine<O> {
    /// Fills the outbox with what the application and the topics have for this client, as far as there is room.
    pub(crate) fn fill(&mut self, now: Moment) {
        if self.is_open() {
            if self.link.is_evicted() {
                return self.give_up_for_memory(now);
            }
            self.paced_until = None;
            self.take_mail(now);
            self.pull(now);
        }
        self.flush_said();
    }

    /// Takes what the application queued, as far as there is room.
    fn take_mail(&mut self, now: Moment) {
        if self.peer.must_hold_messages() {
            if let Some(ending) = self.link.ending() {
                self.end(ending, now);
            }
            return;
        }
        while self.is_open() && self.outbox.direct_bytes() <= self.pause_mark() {
            if self.pacer.is_some() && self.link.has_messages() && self.allowed(now) == 0 {
                return;
            }
            match self.link.next_mail() {
                None => return,
                Some(Mail::Message(message)) => {
                    self.send_mail(&message, now);
                    self.spend(1, now);
                }
                Some(Mail::End(ending)) => {
                    self.pull(now);
                    if !self.backlog.is_empty() {
                        return;
                    }
                    self.end(ending, now);
                }
            }
        }
    }

    fn send_mail(&mut self, message: &Outgoing, now: Moment) {
        let metrics = self.server.metrics();
        match self.peer.send(message, now) {
            Ok(_) => self.said.note(&message.kind, message.priority, |kind, priority, count| {
                metrics.sent(metrics.kind(kind), priority, count);
            }),
            Err(error) => {
                self.server.counters().sends_refused.one();
                metrics.dropped(message.priority, 1);
                tracing::warn!(connection = self.link.id(), %error, "message not sent");
            }
        }
        self.sends_mail = true;
        self.drain(now);
        self.sends_mail = false;
    }

    fn end(&mut self, ending: Ending, now: Moment) {
        match ending {
            Ending::Close(close) => self.peer.close(close, now),
            Ending::Drain { retry_after, window } => {
                self.server.counters().connections_drained.one();
                self.peer.drain(retry_after, window, now);
            }
        }
        self.drain(now);
    }

    /// How many messages may go out now. If none, notes when the next one may.
    fn allowed(&mut self, now: Moment) -> usize {
        let Some(pacer) = &mut self.pacer else { return usize::MAX };
        let count = pacer.available(now);
        if count == 0 {
            self.paced_until = Some(pacer.next_at(now));
        }
        count as usize
    }

    fn spend(&mut self, count: usize, now: Moment) {
        if let Some(pacer) = &mut self.pacer {
            pacer.take_many(u32::try_from(count).unwrap_or(u32::MAX), now);
        }
    }

    /// Takes publications from the rings, as far as there is room in the outbox.
    fn pull(&mut self, now: Moment) {
        if self.peer.must_hold_messages() {
            return;
        }
        let mut delivered = 0;
        for snapshot in std::mem::take(&mut self.snapshots) {
            delivered += self.push(&snapshot, now);
            // It may be old; it did not wait.
            let (kind, priority, _) = snapshot.measure();
            self.server.metrics().sent(kind, priority, 1);
        }
        let mut tally = Deliveries::default();
        self.link.take_ready(&mut self.backlog);
        while self.is_open() && self.outbox.has_room() {
            if self.backlog.is_empty() {
                break;
            }
            let most = self.allowed(now).min(FETCH);
            if most == 0 {
                break;
            }
            let Some(slot) = self.backlog.pop_front() else { break };
            let Some(read) = self.link.fetch(slot, most, &mut self.fetched) else { continue };
            self.spend(self.fetched.len(), now);
            if read.fetched.more {
                self.backlog.push_back(slot);
            }
            if read.fetched.lost > 0 {
                self.tell_lost(&read, now);
            }
            let mut fetched = std::mem::take(&mut self.fetched);
            let at = self.server.clock().nanos();
            for publication in fetched.drain(..) {
                if self.push(&publication, now) == 1 {
                    delivered += 1;
                    let (kind, priority, since) = publication.measure();
                    tally.note(kind, priority, at.saturating_sub(since), self.server.metrics());
                }
            }
            self.fetched = fetched;
        }
        tally.flush(self.server.metrics());
        self.server.counters().messages_delivered.add(delivered);
    }

    fn tell_lost(&mut self, read: &TopicRead, now: Moment) {
        let (topic, count) = (&*read.topic, read.fetched.lost);
        self.server.counters().messages_lost.add(usize::try_from(count).unwrap_or(usize::MAX));
        tracing::warn!(connection = self.link.id(), topic, count, "messages lost for a slow reader");
        if self.server.config().history_messages > 0 {
            let from = read.fetched.from;
            let range = LostRange { epoch: read.epoch.to_string(), from, to: Some(from + count - 1) };
            self.peer.tell_lost_range(topic, &range, now);
        } else {
            self.peer.tell_lost(topic, count, now);
        }
        self.drain(now);
    }

    /// Queues one publication. Answers how many were queued.
    fn push(&mut self, publication: &Arc<Publication>, now: Moment) -> usize {
        if !self.is_open() {
            return 0;
        }
        if tracing::enabled!(tracing::Level::TRACE)
            && let Some(trace_id) = publication.trace_id()
        {
            tracing::trace!(connection = self.link.id(), topic = %publication.topic(), trace_id, "deliver");
        }
        let delivery = self.peer.delivery();
        let frame = publication.frame(delivery);
        if delivery.encrypted {
            match self.peer.seal(frame.payload()) {
                Ok(sealed) => self.outbox.push_sealed(&sealed),
                Err(code) => {
                    self.peer.close(Close::new(close::POLICY, code.as_str()), now);
                    self.drain(now);
                    return 0;
                }
            }
        } else {
            self.outbox.push_shared(frame);
        }
        1
    }
}
