//! From inbox and rings to the outbox.

use std::sync::Arc;

use wse_client_core::{delivery::LostRange, error::close, io::Close, time::Moment, wire::Priority};

use super::engine::{Engine, Outbox};
use crate::hub::{LEVELS, Mail, Publication, Run, TopicRead};

/// Above this many bytes for this client alone, the inbox keeps what it has.
const DIRECT_ROOM: usize = 32 * 1024;

/// Publications fetched from one topic before the next has its turn.
const FETCH: usize = 64;

impl<O: Outbox> Engine<O> {
    /// Fills the outbox with what the application and the topics have for this client, as far as there is room.
    pub(crate) fn fill(&mut self, now: Moment) {
        if self.is_open() {
            self.take_mail(now);
            self.pull(now);
        }
    }

    /// The same with what this connection was not told of yet: it is the last chance, or somebody asks.
    pub(crate) fn catch_up(&mut self, now: Moment) {
        self.link.take_behind(&mut self.backlog);
        self.fill(now);
    }

    /// Takes what the application queued, as far as there is room.
    fn take_mail(&mut self, now: Moment) {
        if self.peer.must_hold_messages() {
            if let Some(close) = self.link.close_requested() {
                self.peer.close(close, now);
                self.drain(now);
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
            let (peer, mut held) = (&mut self.peer, false);
            let mail = self.link.next_mail(&mut self.mail, |sizes, urgent| {
                let count = peer.next_frame(sizes, urgent, now);
                held = count == 0;
                count
            });
            match mail {
                // The peer wants to be woken for what it holds.
                None if held => return self.drain(now),
                None => return,
                Some(Mail::Messages) => {
                    for (_, error) in self.peer.send_together(&self.mail, now) {
                        self.server.counters().sends_refused.one();
                        tracing::warn!(connection = self.link.id(), %error, "message not sent");
                    }
                    self.mail.clear();
                    self.drain(now);
                }
                Some(Mail::States(states)) => self.take_states(states),
                Some(Mail::Close(close)) => {
                    self.give_up_states();
                    self.link.take_behind(&mut self.backlog);
                    self.pull(now);
                    if !self.backlog.is_empty() || !self.states.is_empty() {
                        return;
                    }
                    self.peer.close(close, now);
                    self.drain(now);
                }
            }
        }
    }

    /// Takes publications from the rings, as far as there is room in the outbox.
    fn pull(&mut self, now: Moment) {
        if self.peer.must_hold_messages() {
            return;
        }
        let mut delivered = self.push_states(now);
        self.link.take_ready(&mut self.backlog);
        while self.is_open() && self.outbox.has_room() {
            let Some(slot) = self.backlog.pop_front() else { break };
            if self.waits.park(slot) {
                continue;
            }
            if let Some((run, more)) = self.take_run(slot) {
                delivered += run.count();
                self.outbox.push_run(&run);
                self.peer.note_delivered(run.count() as u64, run.bytes().len() as u64);
                if more {
                    self.backlog.push_back(slot);
                }
                continue;
            }
            let Some(read) = self.link.fetch(slot, FETCH, &mut self.fetched) else { continue };
            if read.fetched.more {
                self.backlog.push_back(slot);
            }
            if read.fetched.lost > 0 {
                self.tell_lost(&read, now);
            }
            let mut fetched = std::mem::take(&mut self.fetched);
            for publication in fetched.drain(..) {
                delivered += self.push(&publication, now);
            }
            self.fetched = fetched;
        }
        self.link.set_stalled(!self.backlog.is_empty() && !self.outbox.has_room());
        if delivered > 0 {
            self.link.note_flush(now);
            self.server.counters().messages_delivered.add(delivered);
        }
    }

    /// Many frames in a row at once. What is sealed is sealed one by one.
    fn take_run(&self, slot: u32) -> Option<(Run, bool)> {
        let delivery = self.peer.delivery();
        if delivery.encrypted { None } else { self.link.fetch_run(slot, delivery) }
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

    /// Queues one publication. Answers how many were queued.
    pub(super) fn push(&mut self, publication: &Arc<Publication>, now: Moment) -> usize {
        if !self.is_open() {
            return 0;
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
        self.peer.note_delivered(1, frame.bytes().len() as u64);
        1
    }
}
