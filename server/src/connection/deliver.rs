//! From inbox and rings to the outbox.

use std::sync::Arc;

use wse_client_core::{delivery::LostRange, error::close, io::Close, time::Moment, wire::Priority};

use super::engine::{Engine, Outbox};
use crate::{
    hub::{Ending, LEVELS, Mail, Publication, Run, TopicRead},
    metrics::{Deliveries, Metrics},
    snapshots::AT_ONCE,
};

/// Above this many bytes for this client alone, the inbox keeps what it has.
const DIRECT_ROOM: usize = 32 * 1024;

/// Publications fetched from one topic before the next has its turn.
const FETCH: usize = 64;

impl<O: Outbox> Engine<O> {
    /// Fills the outbox with what the application and the topics have for this client, as far as there is room.
    pub(crate) fn fill(&mut self, now: Moment) {
        self.paced_until = None;
        if self.is_open() {
            if self.link.is_evicted() {
                return self.give_up_for_memory(now);
            }
            let share = self.mail_share(now);
            self.take_mail(share, now);
            self.pull(now);
            if share < usize::MAX && self.is_open() && self.link.has_messages() {
                // What the topics left.
                self.take_mail(usize::MAX, now);
            }
        }
        self.flush_said();
    }

    /// The same with what this connection was not told of yet: it is the last chance, or somebody asks.
    pub(crate) fn catch_up(&mut self, now: Moment) {
        self.link.take_behind(&mut self.backlog);
        self.fill(now);
    }

    /// Takes what the application queued, as far as there is room, and `share` messages at most.
    fn take_mail(&mut self, mut share: usize, now: Moment) {
        if self.peer.must_hold_messages() {
            if let Some(ending) = self.link.ending() {
                self.end(ending, now);
            }
            return;
        }
        // All at once, like what is refused here: who does not read the answers is not read either.
        for refused in self.link.take_refused() {
            self.peer.tell_error(refused.code, &refused.message, refused.id.as_deref(), now);
            self.drain(now);
        }
        if let Some(dropped) = self.link.take_dropped() {
            self.tell_dropped(dropped, now);
        }
        // Little is taken at a time: what is still in the inbox can be overtaken by what is more urgent.
        while self.is_open() && self.outbox.direct_bytes() <= DIRECT_ROOM {
            let most = if self.link.has_messages() { self.allowed(now).min(share) } else { usize::MAX };
            if most == 0 {
                return;
            }
            let (peer, mut held) = (&mut self.peer, false);
            // What the application knows of topics is made for this client alone, so little of it is taken at a time.
            let mail = self.link.next_mail(&mut self.mail, self.states.len() < AT_ONCE, |sizes, urgent| {
                let count = peer.next_frame(sizes, urgent, now).min(most);
                held = count == 0;
                count
            });
            match mail {
                // The peer wants to be woken for what it holds.
                None if held => return self.drain(now),
                None => return,
                Some(Mail::Messages) => share = share.saturating_sub(self.send_mail(now)),
                Some(Mail::Answer(answer)) => self.take_answer(answer),
                Some(Mail::End(ending)) => {
                    self.leaving = true;
                    self.give_up_states();
                    // Topics that go on talking would put off the end for ever.
                    self.link.finish();
                    self.link.take_behind(&mut self.backlog);
                    self.pull(now);
                    if !self.backlog.is_empty() || !self.states.is_empty() {
                        return;
                    }
                    self.end(ending, now);
                }
            }
        }
    }

    /// Sends what was taken out of the inbox. Answers how many messages that was.
    fn send_mail(&mut self, now: Moment) -> usize {
        let metrics = self.server.metrics();
        let mut failed = self.peer.send_together(&self.mail, now).into_iter().peekable();
        for (index, message) in self.mail.iter().enumerate() {
            if let Some((_, error)) = failed.next_if(|(of, _)| *of == index) {
                self.server.counters().sends_refused.one();
                metrics.dropped(message.priority, 1);
                tracing::warn!(connection = self.link.id(), %error, "message not sent");
            } else {
                self.said.note(&message.kind, message.priority, |kind, priority, count| {
                    metrics.sent(metrics.kind(kind), priority, count);
                });
            }
        }
        let count = self.mail.len();
        self.mail.clear();
        self.spend(count, now);
        self.topics_next = true;
        self.sends_mail = true;
        self.drain(now);
        self.sends_mail = false;
        count
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

    /// How many messages to this client alone may go out before the topics have their turn: half of those that are paced,
    /// if topics have something to say, or whoever writes much to one client would silence them.
    fn mail_share(&mut self, now: Moment) -> usize {
        if self.pacer.is_none() {
            return usize::MAX;
        }
        self.link.take_ready(&mut self.backlog);
        if self.backlog.is_empty() && self.states.is_empty() {
            return usize::MAX;
        }
        let count = self.allowed(now);
        if self.topics_next { count / 2 } else { count.div_ceil(2) }
    }

    /// How many messages may go out now. If none, notes when the next one may.
    pub(super) fn allowed(&mut self, now: Moment) -> usize {
        let Some(pacer) = &mut self.pacer else { return usize::MAX };
        let count = pacer.available(now);
        if count == 0 {
            self.paced_until = Some(pacer.next_at(now));
        }
        count as usize
    }

    pub(super) fn spend(&mut self, count: usize, now: Moment) {
        if let Some(pacer) = &mut self.pacer {
            pacer.take_many(u32::try_from(count).unwrap_or(u32::MAX), now);
        }
    }

    /// Takes publications from the rings, as far as there is room in the outbox.
    fn pull(&mut self, now: Moment) {
        if self.peer.must_hold_messages() {
            return;
        }
        let mut tally = Deliveries::default();
        let mut delivered = self.push_states(now);
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
            if let Some((run, more)) = self.take_run(slot) {
                delivered += self.push_run(&run, &mut tally);
                if more {
                    self.backlog.push_back(slot);
                }
                continue;
            }
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
                    count(&publication, at, &mut tally, self.server.metrics());
                }
            }
            self.fetched = fetched;
        }
        tally.flush(self.server.metrics());
        self.topics_next &= delivered == 0;
        let is_held_up = !self.outbox.has_room() || self.paced_until.is_some();
        self.link.set_stalled(!self.backlog.is_empty() && is_held_up);
        if delivered > 0 {
            self.link.note_flush(now);
            self.server.counters().messages_delivered.add(delivered);
        }
    }

    /// Many frames in a row at once. What is sealed is sealed one by one, and what is paced is counted out.
    fn take_run(&self, slot: u32) -> Option<(Run, bool)> {
        let delivery = self.peer.delivery();
        if delivery.encrypted || self.pacer.is_some() { None } else { self.link.fetch_run(slot, delivery) }
    }

    /// Queues frames in a row. Answers how many they are.
    fn push_run(&mut self, run: &Run, tally: &mut Deliveries) -> usize {
        let (metrics, at) = (self.server.metrics(), self.server.clock().nanos());
        for publication in run.publications() {
            self.trace(publication);
            count(publication, at, tally, metrics);
        }
        self.outbox.push_run(run);
        self.peer.note_delivered(run.count() as u64, run.bytes().len() as u64);
        run.count()
    }

    /// Tells the client what was dropped from its inbox.
    fn tell_dropped(&mut self, dropped: [u64; 5], now: Moment) {
        let dropped: Vec<(Priority, u64)> = LEVELS.into_iter().zip(dropped).filter(|(_, count)| *count > 0).collect();
        tracing::debug!(connection = self.link.id(), ?dropped, "messages dropped from a full queue");
        self.peer.tell_dropped(&dropped, now);
        self.drain(now);
    }

    fn tell_lost(&mut self, read: &TopicRead, now: Moment) {
        let (topic, count) = (&*read.topic, read.fetched.lost);
        self.server.counters().messages_lost.add(usize::try_from(count).unwrap_or(usize::MAX));
        tracing::warn!(connection = self.link.id(), topic, count, "messages lost for a slow reader");
        if read.recoverable {
            let from = read.fetched.from;
            let range = LostRange { epoch: read.epoch.to_string(), from, to: Some(from + count - 1) };
            self.peer.tell_lost_range(topic, &range, now);
        } else {
            self.peer.tell_lost(topic, count, now);
        }
        self.drain(now);
    }

    fn trace(&self, publication: &Publication) {
        if tracing::enabled!(tracing::Level::TRACE)
            && let Some(trace_id) = publication.trace_id()
        {
            tracing::trace!(connection = self.link.id(), topic = %publication.topic(), trace_id, "deliver");
        }
    }

    /// Queues one publication. Answers how many were queued.
    pub(super) fn push(&mut self, publication: &Arc<Publication>, now: Moment) -> usize {
        if !self.is_open() {
            return 0;
        }
        self.trace(publication);
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
        self.peer.note_delivered(1, frame.bytes().len() as u64);
        1
    }
}

/// Counts a delivery, with the time that it took since it was published.
fn count(publication: &Publication, at: u64, tally: &mut Deliveries, metrics: &Metrics) {
    let priority = publication.priority();
    match publication.measure() {
        Some((kind, since)) => tally.note(kind, priority, at.saturating_sub(since), metrics),
        None => metrics.sent(metrics.kind(publication.kind()), priority, 1),
    }
}
