//! The state of topics on its way to the client: before the messages that follow it.

use std::{collections::BTreeSet, sync::Arc};

use wse_client_core::{client::SnapshotReport, error::Code, server::SyncQuestion, time::Moment};

use super::engine::{Engine, Outbox};
use crate::{
    hub::Publication,
    snapshots::{self, Asked, States},
};

/// Questions of one client that the application has not answered yet.
const MAX_ASKED: usize = 4;

/// One step on the way.
pub(super) enum State {
    /// A message of a topic.
    Snapshot(Arc<Publication>),
    /// All that was asked for is written, or could not be had.
    Complete(SnapshotReport, Option<String>),
}

impl<O: Outbox> Engine<O> {
    /// Whether the application knows the state of a topic.
    pub(super) fn is_known_outside(&self, topic: &str) -> bool {
        // Asking makes no work: a future that nobody polls does nothing.
        self.server.snapshots().is_some_and(|provider| provider.snapshot(&self.handle, topic).is_some())
    }

    /// Asks the application for the state of topics just joined; their messages wait until it is there.
    pub(super) fn await_states(&mut self, topics: BTreeSet<Arc<str>>) {
        if topics.is_empty() {
            return;
        }
        for topic in &topics {
            self.awaited.extend(self.link.slot_of(topic).map(|slot| (slot, Arc::clone(topic))));
        }
        self.ask(topics, None);
    }

    fn ask(&self, topics: BTreeSet<Arc<str>>, question: Option<Asked>) {
        let (handle, link) = (self.handle.clone(), Arc::clone(&self.link));
        self.server.runtime().spawn(async move {
            let topics = snapshots::states(&handle, topics.into_iter().collect()).await;
            link.put_states(States { topics, question });
        });
    }

    /// The client asks for the state of topics.
    pub(super) fn sync(&mut self, question: SyncQuestion, now: Moment) {
        if self.asked >= MAX_ASKED {
            let text = format!("{MAX_ASKED} questions for states are being answered already");
            return self.peer.tell_error(Code::RateLimited, &text, question.id.as_deref(), now);
        }
        let topics: BTreeSet<Arc<str>> = match question.topics.is_empty() {
            _ if !question.snapshots => BTreeSet::new(),
            true => self.link.topics().into_iter().collect(),
            false => question.topics.iter().map(|name| name.as_str().into()).collect(),
        };
        self.asked += 1;
        self.ask(topics, Some(Asked { id: question.id, refused: question.refused.len() }));
    }

    /// States have come: they go out next, and the messages behind them.
    pub(super) fn take_states(&mut self, states: States) {
        let (mut sent, mut failed) = (Vec::new(), Vec::new());
        for (topic, state) in states.topics {
            if states.question.is_none() {
                self.release(&topic);
                if self.link.slot_of(&topic).is_none() {
                    continue;
                }
            }
            match state {
                None => failed.push(topic.to_string()),
                Some(state) => {
                    if !state.is_empty() {
                        sent.push(topic.to_string());
                    }
                    self.states.extend(state.into_iter().map(State::Snapshot));
                }
            }
        }
        let refused = states.question.as_ref().map_or(0, |question| question.refused);
        if states.question.is_some() {
            self.asked -= 1;
        } else if failed.is_empty() {
            return;
        }
        let success = failed.is_empty() && refused == 0;
        let mut message = format!("{} topics, {refused} refused", sent.len());
        if !failed.is_empty() {
            message += &format!(", no state of: {}", failed.join(" "));
        }
        let report = SnapshotReport { success, message, snapshots_sent: sent };
        self.states.push_back(State::Complete(report, states.question.and_then(|question| question.id)));
    }

    /// Messages of a topic wait no longer.
    fn release(&mut self, topic: &str) {
        let awaited = &mut self.awaited;
        let (released, parked) = std::mem::take(&mut self.parked)
            .into_iter()
            .partition(|slot| awaited.get(slot).is_none_or(|name| **name == *topic));
        awaited.retain(|_, name| **name != *topic);
        self.parked = parked;
        let released: Vec<u32> = released;
        self.backlog.extend(released);
    }

    /// Queues states, as far as there is room. Answers how many messages were queued.
    pub(super) fn push_states(&mut self, now: Moment) -> usize {
        let mut delivered = 0;
        while self.is_open() && self.outbox.has_room() {
            match self.states.pop_front() {
                None => break,
                Some(State::Snapshot(publication)) => delivered += self.push(&publication, now),
                Some(State::Complete(report, id)) => {
                    self.peer.answer_sync(report, id.as_deref(), now);
                    self.drain(now);
                }
            }
        }
        delivered
    }
}
