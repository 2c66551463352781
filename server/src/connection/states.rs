//! The state of topics on its way to the client: before the messages that follow it.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    sync::Arc,
};

use wse_client_core::{client::SnapshotReport, error::Code, server::SyncQuestion, time::Moment};

use super::{
    engine::{Engine, Outbox},
    waits::Question,
};
use crate::{
    hub::StateMessage,
    snapshots::{self, Answer},
};

/// Questions of one client that the application has not answered yet.
const MAX_ASKED: usize = 4;

/// A question of the client for states.
pub(super) struct Asked {
    id: Option<String>,
    /// How many topics were refused.
    refused: usize,
    /// Topics whose state went out.
    sent: Vec<String>,
    /// Topics whose state could not be had.
    failed: Vec<String>,
    _task: Question,
}

/// One step on the way.
pub(super) enum State {
    /// A message of a topic.
    Snapshot(StateMessage),
    /// All that was asked for is written, or could not be had.
    Complete(SnapshotReport, Option<String>),
}

impl<O: Outbox> Engine<O> {
    /// Whether the application knows the state of a topic.
    pub(super) fn is_known_outside(&self, topic: &str) -> bool {
        // Asking makes no work: a future that nobody polls does nothing.
        self.server.snapshots().is_some_and(|provider| provider.snapshot(&self.handle, topic).is_some())
    }

    /// Asks the application for the state of topics. What comes from the position of each on waits until it is there.
    pub(super) fn await_states(&mut self, topics: &BTreeMap<Arc<str>, u64>) {
        for (topic, newer) in topics {
            if let Some(slot) = self.link.slot_of(topic) {
                self.link.hold(slot, *newer);
                self.waits.add(slot, topic);
            }
        }
        self.ask_next();
    }

    /// Topics were left: nothing waits for their states, and what is read in their place waits for its own.
    pub(super) fn forget_states(&mut self) {
        let link = &self.link;
        self.waits.retain(|topic, slot| link.slot_of(topic) == Some(slot));
        self.ask_next();
    }

    /// The connection is about to end: what waits for states goes out without.
    pub(super) fn give_up_states(&mut self) {
        let waited = self.waits.end_all();
        if waited.is_empty() {
            return;
        }
        waited.iter().for_each(|(slot, _)| self.let_go(*slot));
        self.server.counters().snapshots_failed.add(waited.len());
        let failed: Vec<String> = waited.into_iter().map(|(_, topic)| topic.to_string()).collect();
        self.states.push_back(complete(Vec::new(), &failed, 0, None));
    }

    /// What waited for a state goes on behind it.
    fn let_go(&mut self, slot: u32) {
        self.link.let_go(slot);
        self.backlog.push_back(slot);
    }

    fn ask_next(&mut self) {
        while let Some((slot, number, topic)) = self.waits.next() {
            let question = self.ask(number, vec![topic]);
            self.waits.went_out(slot, number, question);
        }
    }

    fn ask(&self, number: u64, topics: Vec<Arc<str>>) -> Question {
        let (handle, link) = (self.handle.clone(), Arc::clone(&self.link));
        Question::of(&self.server.runtime().spawn(async move { snapshots::tell(&handle, &link, number, topics).await }))
    }

    /// The client asks for the state of topics.
    pub(super) fn sync(&mut self, question: SyncQuestion, now: Moment) {
        if self.asked.len() >= MAX_ASKED {
            let text = format!("{MAX_ASKED} questions for states are being answered already");
            return self.peer.tell_error(Code::RateLimited, &text, question.id.as_deref(), now);
        }
        let topics: BTreeSet<Arc<str>> = match question.topics.is_empty() {
            _ if !question.snapshots => BTreeSet::new(),
            true => self.link.topics().into_iter().collect(),
            false => question.topics.iter().map(|name| name.as_str().into()).collect(),
        };
        let number = self.waits.number();
        let task = self.ask(number, topics.into_iter().collect());
        let (id, refused) = (question.id, question.refused.len());
        self.asked.insert(number, Asked { id, refused, sent: Vec::new(), failed: Vec::new(), _task: task });
    }

    /// The application told the state of a topic: it goes out next, and the messages behind it.
    pub(super) fn take_answer(&mut self, answer: Answer) {
        let Answer { number, state, .. } = answer;
        match (state, self.asked.entry(number)) {
            (Some((topic, state)), Entry::Occupied(mut asked)) => {
                match &state {
                    None => asked.get_mut().failed.push(topic.to_string()),
                    Some(state) if state.is_empty() => {}
                    Some(_) => asked.get_mut().sent.push(topic.to_string()),
                }
                self.states.extend(state.into_iter().flatten().map(State::Snapshot));
            }
            (None, Entry::Occupied(asked)) => {
                let Asked { id, refused, sent, failed, .. } = asked.remove();
                self.states.push_back(complete(sent, &failed, refused, id));
            }
            (Some((topic, state)), Entry::Vacant(_)) => {
                // Otherwise nobody waits for it any more.
                if let Some(slot) = self.waits.end(number) {
                    self.let_go(slot);
                    self.ask_next();
                    if state.is_none() {
                        self.states.push_back(complete(Vec::new(), &[topic.to_string()], 0, None));
                    }
                    self.states.extend(state.into_iter().flatten().map(State::Snapshot));
                }
            }
            (None, Entry::Vacant(_)) => {}
        }
    }

    /// Queues states, as far as there is room. Answers how many messages were queued.
    pub(super) fn push_states(&mut self, now: Moment) -> usize {
        let mut delivered = 0;
        while self.is_open() && self.outbox.has_room() {
            if matches!(self.states.front(), Some(State::Snapshot(_))) && self.allowed(now) == 0 {
                break;
            }
            match self.states.pop_front() {
                None => break,
                Some(State::Snapshot(state)) => {
                    let publication = state.publication();
                    let pushed = self.push(publication, now);
                    self.spend(pushed, now);
                    delivered += pushed;
                    // It may be old, but it did not wait.
                    let metrics = self.server.metrics();
                    metrics.sent(metrics.kind(publication.kind()), publication.priority(), pushed);
                }
                Some(State::Complete(report, id)) => {
                    self.peer.answer_sync(report, id.as_deref(), now);
                    self.drain(now);
                }
            }
        }
        delivered
    }
}

/// What the client is told about states that it asked for, or that could not be had.
fn complete(sent: Vec<String>, failed: &[String], refused: usize, id: Option<String>) -> State {
    let mut message = format!("{} topics, {refused} refused", sent.len());
    if !failed.is_empty() {
        message += &format!(", no state of: {}", failed.join(" "));
    }
    let success = failed.is_empty() && refused == 0;
    State::Complete(SnapshotReport { success, message, snapshots_sent: sent }, id)
}
