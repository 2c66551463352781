//! What a client asks of the topics.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use wse_client_core::{
    client::{PresenceReport, SubscriptionAction},
    error::Code,
    server::{Figures, PresenceQuestion, Question, QuestionKind, SubscriptionRequest},
    time::Moment,
    topic::is_pattern,
    wire::Message,
};

use super::{
    engine::{Engine, Outbox},
    states::State,
};
use crate::{
    handler::forwarded,
    presence::{MAX_PRESENCE_PAGE, PresencePage, PresenceQuery},
};

/// What a request for topics brought.
#[derive(Default)]
struct Joined {
    /// Topics that are read from now on and were not before.
    fresh: BTreeSet<Arc<str>>,
    /// Topics asked for by their names that a pattern covered before. What was published to them went out already; what the
    /// application knows of them may not have been asked for, as they can be younger than the pattern.
    named: BTreeSet<Arc<str>>,
}

impl<O: Outbox> Engine<O> {
    pub(super) fn publish(&mut self, message: &Message, now: Moment) {
        let Some(topic) = message.topic() else { return };
        if let Err(error) = self.server.publish(topic, forwarded(message)) {
            self.peer.tell_error(error.code(), &error.to_string(), message.id(), now);
        }
    }

    /// What the server knows of this connection, and of itself as a whole.
    pub(super) fn answer(&mut self, question: &Question, now: Moment) {
        let server = match question.kind {
            QuestionKind::Metrics => self.server.figures(),
            QuestionKind::Debug => BTreeMap::new(),
        };
        let figures = Figures { subscriptions: self.link.requested(), queue: self.link.inbox_figures(), server };
        self.peer.answer_question(question, &figures, now);
    }

    pub(super) fn subscribe(&mut self, mut request: SubscriptionRequest, now: Moment) {
        let mut refused: Vec<(String, Code)> = Vec::new();
        let mut joined = Joined::default();
        for name in &request.topics {
            let is_known = self.link.is_requested(name);
            let told = request.presence.get(name);
            if told.is_some_and(|told| !self.server.hub().has_room_for_presence(&self.link, name, told)) {
                refused.push((name.clone(), Code::ServerFull));
                continue;
            }
            match self.server.hub().subscribe(&self.link, name, request.group.as_deref(), now) {
                Ok(fresh) => {
                    if fresh.is_empty() && !is_known && !is_pattern(name) {
                        joined.named.insert(name.as_str().into());
                    }
                    joined.fresh.extend(fresh);
                }
                Err(code) => refused.push((name.clone(), code)),
            }
        }
        // A name that is refused may be subscribed to from before: nobody comes to be seen there by what is refused.
        request.presence.retain(|name, _| !refused.iter().any(|(refused, _)| refused == name));
        self.forget_refused(&mut request, &refused);
        for (name, told) in std::mem::take(&mut request.presence) {
            if let Some(total) = self.server.hub().join(&self.link, &name, told, now) {
                request.present.insert(name, total);
            }
        }
        self.resume(&mut request, joined, now);
        let active = self.link.requested();
        self.peer.answer_subscription(SubscriptionAction::Subscribe, request, refused, &active, now);
    }

    /// A name that is refused is not acted on, also where it is subscribed to from before. Only what a pattern covers is
    /// recovered all the same: that subscription was not refused.
    fn forget_refused(&self, request: &mut SubscriptionRequest, refused: &[(String, Code)]) {
        for (name, _) in request.refused.iter().chain(refused) {
            request.topics.retain(|topic| topic != name);
            if request.positions.contains_key(name) && !self.link.covers_by_pattern(name) {
                request.positions.remove(name);
            }
        }
    }

    /// The client found a gap: its subscriptions stay as they are.
    pub(super) fn recover(&mut self, mut request: SubscriptionRequest, now: Moment) {
        self.resume(&mut request, Joined::default(), now);
        let active = self.link.requested();
        self.peer.answer_subscription(SubscriptionAction::Subscribe, request, Vec::new(), &active, now);
    }

    /// Brings the client up to date: what it missed in the topics that it knows, the state of those it joined just now.
    fn resume(&mut self, request: &mut SubscriptionRequest, joined: Joined, now: Moment) {
        let Joined { fresh, named } = joined;
        let mut topics: BTreeSet<String> = fresh.iter().chain(&named).map(|name| name.to_string()).collect();
        if request.recover {
            topics.extend(request.topics.iter().cloned());
            topics.extend(request.positions.keys().cloned());
        }
        let mut asked: BTreeMap<Arc<str>, u64> = BTreeMap::new();
        for name in topics {
            let position = request.positions.get(&name).filter(|_| request.recover);
            let Some(resumed) = self.server.hub().resume(&self.link, &name, position, now) else { continue };
            let is_behind = position.is_some() || fresh.contains(name.as_str());
            if resumed.wants_state && (is_behind || named.contains(name.as_str())) {
                if self.is_known_outside(&name) {
                    asked.insert(name.as_str().into(), resumed.newer);
                } else if is_behind {
                    self.states.extend(resumed.snapshots.into_iter().map(|state| State::Snapshot(state.into())));
                }
            }
            if let Some(recovery) = resumed.recovery.filter(|_| request.recover) {
                request.recovery.insert(name, recovery);
            }
        }
        self.await_states(&asked);
    }

    pub(super) fn tell_presence(&mut self, question: &PresenceQuestion, now: Moment) {
        let limit = question.limit.map_or(MAX_PRESENCE_PAGE, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
        let query = PresenceQuery { after: question.after.clone(), limit };
        let PresencePage { topic, total, members, more } = self.server.hub().presence(&question.topic, &query);
        self.peer.answer_presence(&PresenceReport { topic, total, members, more }, question.id.as_deref(), now);
    }

    pub(super) fn unsubscribe(&mut self, request: SubscriptionRequest, now: Moment) {
        for name in &request.topics {
            let orphans = self.server.hub().unsubscribe(&self.link, name, now);
            self.server.counters().messages_lost.add(orphans);
        }
        self.forget_states();
        let active = self.link.requested();
        self.peer.answer_subscription(SubscriptionAction::Unsubscribe, request, Vec::new(), &active, now);
    }
}
