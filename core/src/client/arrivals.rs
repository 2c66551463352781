//! From a message of the application to the application: once, in order, or with a word about what is missing.
//! Source: PROTOCOL.md §6.6.

use std::time::Duration;

use crate::{
    delivery::{LostRange, Outcome, Overdue, Position, TopicRecovery, Verdict},
    time::Moment,
    topic,
    wire::{Category, Message},
};

use super::{Client, Event, RecoveryOutcome, SubscriptionAction, Timer};

/// Pause before a gap is looked at again while no answer can come.
const UNHEARD_PAUSE: Duration = Duration::from_secs(2);

impl Client {
    pub(super) fn on_application_message(&mut self, message: Message, now: Moment) {
        let Some(sequence) = message.sequence() else { return self.deliver(message, now) };
        let mut ready = std::mem::take(&mut self.released);
        self.reorder.push(sequence, message, now, &mut ready);
        self.hand_on(ready, now);
    }

    pub(super) fn on_reorder_timeout(&mut self, now: Moment) {
        let mut ready = std::mem::take(&mut self.released);
        self.reorder.expire(now, &mut ready);
        self.hand_on(ready, now);
    }

    /// The connection is over: what was held for a gap is handed on, and gaps are asked about on the next one.
    pub(super) fn end_arrivals(&mut self) {
        // Gaps that show only here are forgotten below, so the moment does not matter.
        let now = Moment::ORIGIN;
        let mut ready = std::mem::take(&mut self.released);
        self.reorder.release_all(&mut ready);
        self.hand_on(ready, now);
        self.reorder = crate::delivery::ReorderWindow::new(self.config.delivery.reorder);
        self.positions.disconnected();
        self.arm_recovery();
    }

    /// Hands on a batch and keeps its memory for the next one.
    fn hand_on(&mut self, mut ready: Vec<Message>, now: Moment) {
        for message in ready.drain(..) {
            self.deliver(message, now);
        }
        self.released = ready;
        match self.reorder.deadline() {
            Some(deadline) => self.timers.set(Timer::Reorder, deadline),
            None => self.timers.clear(Timer::Reorder),
        }
    }

    fn deliver(&mut self, message: Message, now: Moment) {
        if !self.is_next_of_topic(&message, now) {
            return;
        }
        // A snapshot is the state once more, and coming again is what it is for.
        let state = message.category() == Some(Category::Snapshot);
        if !state && message.id().is_some_and(|id| !self.seen.insert(id)) {
            self.metrics.messages_duplicate += 1;
            return;
        }
        self.metrics.messages_received += 1;
        self.rates.note(1, 0, now);
        self.hand_over(message, now);
    }

    /// Whether a publication is to be delivered as far as its topic is concerned.
    fn is_next_of_topic(&mut self, message: &Message, now: Moment) -> bool {
        let (Some(name), Some(epoch), Some(offset)) = (message.topic(), message.epoch(), message.offset()) else {
            return true;
        };
        if !self.config.delivery.recovery || (!self.positions.knows(name) && !self.subscriptions.covers(name)) {
            return true;
        }
        match self.positions.check(name, epoch, offset, now) {
            Verdict::Deliver => true,
            Verdict::Recovered => {
                self.metrics.messages_recovered += 1;
                true
            }
            Verdict::Duplicate => {
                self.metrics.messages_duplicate += 1;
                false
            }
            Verdict::Gap { ask } => {
                let name = name.to_owned();
                self.metrics.messages_deferred += 1;
                if ask {
                    self.metrics.gaps += 1;
                    self.ask_about_gap(&name, now);
                }
                self.arm_recovery();
                false
            }
            Verdict::NewEpoch { lost, is_first } => {
                let name = name.to_owned();
                self.arm_recovery();
                self.tell_recovery(name.clone(), Outcome { count: 0, lost: vec![lost] });
                if !is_first {
                    self.ask_about_gap(&name, now);
                }
                is_first
            }
        }
    }

    pub(super) fn on_recovery_timeout(&mut self, now: Moment) {
        if self.is_cut_off(now) || self.reads_paused {
            // Silence proves nothing, so neither does a question without an answer: it is not counted.
            self.timers.set(Timer::Recovery, now + UNHEARD_PAUSE);
            return;
        }
        while let Some(overdue) = self.positions.overdue(now) {
            match overdue {
                Overdue::Ask(name) => self.ask_about_gap(&name, now),
                Overdue::GivenUp(name, lost) => self.tell_recovery(name, Outcome { count: 0, lost: vec![lost] }),
            }
        }
        self.arm_recovery();
    }

    /// Asks for what is missing. Servers of other makes know no such action: for them it is one more subscription.
    fn ask_about_gap(&mut self, name: &str, now: Moment) {
        if !self.is_ready() {
            return;
        }
        let Some(link) = &mut self.link else { return };
        let action = if link.full_duplex {
            "recover"
        } else {
            let held = |names: &[String]| names.iter().any(|other| other == name);
            if !held(self.subscriptions.wanted()) && !held(&link.named) {
                link.named.push(name.to_owned());
            }
            SubscriptionAction::Subscribe.as_str()
        };
        let position = self.positions.position(name).map(|position| (name.to_owned(), position));
        self.send_topics(action, &[name.to_owned()], position.as_slice(), now);
    }

    /// What the server is told with a request for `topics`, so that it can send what was missed.
    pub(super) fn positions_for(&self, topics: &[String]) -> Vec<(String, Position)> {
        let patterns: Vec<&String> = topics.iter().filter(|topic| topic::is_pattern(topic)).collect();
        let met = |known: &str| patterns.iter().any(|pattern| topic::matches(pattern, known));
        let mut positions: Vec<(String, Position)> = self
            .positions
            .iter()
            .filter(|(known, _)| met(known))
            .map(|(known, position)| (known.to_owned(), position))
            .collect();
        let named = topics.iter().filter(|name| !met(name));
        positions.extend(named.filter_map(|name| Some((name.clone(), self.positions.position(name)?))));
        positions
    }

    pub(super) fn on_recovery_answers(&mut self, answers: &[(String, TopicRecovery)], now: Moment) {
        if !self.config.delivery.recovery {
            // Nobody looks what of it comes.
            return;
        }
        for (name, answer) in answers {
            if !self.positions.knows(name) && !self.subscriptions.covers(name) {
                continue;
            }
            if let Some(outcome) = self.positions.answer(name, answer, now) {
                self.tell_recovery(name.clone(), outcome);
            }
        }
        self.arm_recovery();
    }

    /// The server dropped publications of a topic for this client: tells the application what of them it has not seen.
    pub(super) fn on_dropped(&mut self, name: String, dropped: LostRange, now: Moment) {
        let tracked = self.config.delivery.recovery
            && dropped.to.is_some()
            && (self.positions.knows(&name) || self.subscriptions.covers(&name));
        if tracked && self.positions.misses_before(&name, &dropped.epoch, dropped.from) {
            return self.on_early_loss(&name, &dropped, now);
        }
        let lost = if tracked { self.positions.skip(&name, dropped) } else { vec![dropped] };
        self.arm_recovery();
        for range in lost {
            self.tell_lost(Some(name.clone()), range.count(), Some(range));
        }
    }

    /// What is missing before a loss may still be had: the answer to the question will say what becomes of all of it.
    fn on_early_loss(&mut self, name: &str, dropped: &LostRange, now: Moment) {
        let verdict = self.positions.check(name, &dropped.epoch, dropped.to.unwrap_or(dropped.from), now);
        self.arm_recovery();
        match verdict {
            Verdict::Gap { ask: true } => self.ask_about_gap(name, now),
            Verdict::NewEpoch { lost, .. } => {
                self.tell_recovery(name.to_owned(), Outcome { count: 0, lost: vec![lost] });
                self.ask_about_gap(name, now);
            }
            Verdict::Gap { ask: false } | Verdict::Deliver | Verdict::Recovered | Verdict::Duplicate => {}
        }
    }

    fn tell_recovery(&mut self, name: String, outcome: Outcome) {
        let kind = match (outcome.count, outcome.lost.is_empty()) {
            (_, true) => RecoveryOutcome::Recovered,
            (0, false) => RecoveryOutcome::Lost,
            (_, false) => RecoveryOutcome::Partial,
        };
        self.emit(Event::Recovery { topic: name.clone(), outcome: kind, count: outcome.count });
        for range in outcome.lost {
            self.tell_lost(Some(name.clone()), range.count(), Some(range));
        }
    }

    pub(super) fn tell_lost(&mut self, topic: Option<String>, count: Option<u64>, range: Option<LostRange>) {
        self.metrics.messages_lost = self.metrics.messages_lost.saturating_add(count.unwrap_or(0));
        self.emit(Event::Lost { topic, count, range });
    }

    /// Forgets positions of topics that nobody wants any more, now that `given_up` are gone.
    pub(super) fn forget_positions(&mut self, given_up: &[String]) {
        let subscriptions = &self.subscriptions;
        let concerned = |name: &str| given_up.iter().any(|topic| topic::matches(topic, name));
        self.positions.retain(|name| !concerned(name) || subscriptions.covers_alone(name));
        self.arm_recovery();
    }

    fn arm_recovery(&mut self) {
        match self.positions.next_deadline() {
            Some(deadline) => self.timers.set(Timer::Recovery, deadline),
            None => self.timers.clear(Timer::Recovery),
        }
    }
}
