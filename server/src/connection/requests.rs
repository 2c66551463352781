//! What a client asks of the topics.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use wse_client_core::{
    client::SubscriptionAction,
    error::Code,
    server::{Figures, Question, QuestionKind, SubscriptionRequest},
    time::Moment,
    wire::Message,
};

use super::engine::{Engine, Outbox};
use crate::handler::forwarded;

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
        let mut fresh: BTreeSet<Arc<str>> = BTreeSet::new();
        for name in &request.topics {
            match self.server.hub().subscribe(&self.link, name, now) {
                Ok(joined) => fresh.extend(joined),
                Err(code) => refused.push((name.clone(), code)),
            }
        }
        self.resume(&mut request, fresh);
        let active = self.link.requested();
        self.peer.answer_subscription(SubscriptionAction::Subscribe, request, refused, &active, now);
    }

    /// The client found a gap: its subscriptions stay as they are.
    pub(super) fn recover(&mut self, mut request: SubscriptionRequest, now: Moment) {
        self.resume(&mut request, BTreeSet::new());
        let active = self.link.requested();
        self.peer.answer_subscription(SubscriptionAction::Subscribe, request, Vec::new(), &active, now);
    }

    /// Brings the client up to date: what it missed in the topics that it knows, the state of those it joined just now.
    fn resume(&mut self, request: &mut SubscriptionRequest, fresh: BTreeSet<Arc<str>>) {
        let mut topics: BTreeSet<String> = fresh.iter().map(|name| name.to_string()).collect();
        if request.recover {
            topics.extend(request.topics.iter().cloned());
            topics.extend(request.positions.keys().cloned());
        }
        for name in topics {
            let position = request.positions.get(&name).filter(|_| request.recover);
            let Some(resumed) = self.server.hub().resume(&self.link, &name, position) else { continue };
            if position.is_some() || fresh.contains(name.as_str()) {
                self.snapshots.extend(resumed.snapshots);
            }
            if let Some(recovery) = resumed.recovery.filter(|_| request.recover) {
                request.recovery.insert(name, recovery);
            }
        }
    }

    pub(super) fn unsubscribe(&mut self, request: SubscriptionRequest, now: Moment) {
        for name in &request.topics {
            self.server.hub().unsubscribe(&self.link, name);
        }
        let active = self.link.requested();
        self.peer.answer_subscription(SubscriptionAction::Unsubscribe, request, Vec::new(), &active, now);
    }
}
