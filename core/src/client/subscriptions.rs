//! Topics that are wanted, and the requests about them that are under way. Source: PROTOCOL.md §6.1.

use std::collections::{BTreeSet, VecDeque};

use crate::{
    delivery::{Position, TopicRecovery},
    error::Code,
    security::Secret,
    time::Moment,
    topic,
    wire::{
        Message,
        control::{Object, Value},
    },
};

use super::{
    Client, Event, RequestId, ServerError, SubscribeError, SubscribeOptions, SubscriptionAction, SubscriptionOutcome,
    Timer, options::Manners,
};

/// The request of a client that asks again for all its topics after a reconnect.
const RESUBSCRIPTION: RequestId = RequestId(0);

/// What a server says about a request that it would say again: the topics are not asked for any more.
const FINAL: [Code; 6] = [
    Code::InvalidSubscription,
    Code::InvalidAction,
    Code::InvalidTopic,
    Code::TopicDenied,
    Code::TooManyTopics,
    Code::InvalidRequest,
];

/// Wanted topics and pending requests.
#[derive(Default)]
pub(super) struct Subscriptions {
    wanted: Vec<String>,
    manners: Manners,
    /// Tokens for single topics, sent with each request about them.
    tokens: Vec<(String, Secret)>,
    pending: VecDeque<Pending>,
    /// Topics of requests on the present connection that got no answer in time, with the message that asked. An
    /// answer may still come; each topic is wanted, which bounds them.
    overdue: Vec<(String, String)>,
    last_request: u64,
}

struct Pending {
    request: RequestId,
    action: SubscriptionAction,
    topics: Vec<String>,
    /// The messages that carry the request on the present connection and have no answer yet.
    asked: Vec<Part>,
    /// What earlier answers refused.
    refused: Vec<(String, String)>,
    /// What earlier answers said of users in topics.
    present: Vec<(String, u64)>,
    /// No part of it ended without an answer.
    confirmed: bool,
    /// Every part has its answer.
    settled: bool,
    deadline: Moment,
}

/// As many topics of a request as the server takes in one message.
struct Part {
    /// The message.
    id: String,
    topics: Vec<String>,
}

/// The answer to a request.
#[derive(Default)]
struct Answer {
    action: Option<String>,
    /// Topics that were refused, and why.
    failed_topics: Vec<(String, String)>,
    recovery: Vec<(String, TopicRecovery)>,
    /// The number of users in topics where this one is seen.
    present: Vec<(String, u64)>,
}

impl Answer {
    fn read(payload: Value<'_>) -> Option<Self> {
        let failed = |items: Value<'_>| items.items()?.into_iter().map(failed_topic).collect();
        let recovery = |topics: Value<'_>| {
            let topics = topics.object()?.members().into_iter();
            topics.map(|(name, answer)| Some((name, topic_recovery(answer.object()?)?))).collect()
        };
        Some(Self {
            action: payload.optional("action", Value::text)?,
            failed_topics: payload.optional("failed_topics", failed)?.unwrap_or_default(),
            recovery: payload.optional("recovery", recovery)?.unwrap_or_default(),
            present: payload.member("presence").map(present).unwrap_or_default(),
        })
    }
}

/// Published servers write objects; a bare name is understood too.
fn failed_topic(item: Value<'_>) -> Option<(String, String)> {
    match item.object() {
        Some(named) => {
            let error = named.optional("error", Value::text)?;
            Some((named.member("topic")?.text()?, error.unwrap_or_default()))
        }
        None => Some((item.text()?, String::new())),
    }
}

/// Other servers may mean something else by the name.
fn present(topics: Value<'_>) -> Vec<(String, u64)> {
    topics.members().into_iter().filter_map(|(name, users)| Some((name, users.unsigned()?))).collect()
}

fn topic_recovery(answer: Value<'_>) -> Option<TopicRecovery> {
    Some(TopicRecovery {
        epoch: answer.optional("epoch", Value::text)?,
        offset: answer.optional("offset", Value::unsigned)?,
        recovered: answer.optional("recovered", Value::truth)?,
        count: answer.optional("count", Value::unsigned)?,
    })
}

/// Whether a topic or pattern meets a name.
fn meets(wanted: &str, name: &str) -> bool {
    wanted == name || (topic::is_pattern(wanted) && topic::matches(wanted, name))
}

impl Subscriptions {
    pub(super) fn new(topics: &[String]) -> Self {
        let mut all = Self::default();
        all.want(topics);
        all
    }

    pub(super) fn wanted(&self) -> &[String] {
        &self.wanted
    }

    /// Bytes that are told of the user, tokens that are kept, and requests under way.
    pub(super) fn held(&self) -> (usize, usize, usize) {
        (self.manners.told_bytes(), self.tokens.len(), self.pending.len())
    }

    /// Whether a topic is wanted, by its name or by a pattern.
    pub(super) fn covers(&self, name: &str) -> bool {
        self.wanted.iter().any(|wanted| meets(wanted, name))
    }

    /// The same, in no queue group.
    pub(super) fn covers_alone(&self, name: &str) -> bool {
        self.wanted.iter().any(|wanted| meets(wanted, name) && self.manners.group(wanted).is_none())
    }

    fn want(&mut self, topics: &[String]) {
        for name in topics {
            if !self.wanted.contains(name) {
                self.wanted.push(name.clone());
            }
        }
    }

    /// Notes how topics are wanted from here on. Gives those that a server which has them must be asked for anew; they
    /// are the last ones then, as they are there.
    fn change_manners(&mut self, topics: &[String], options: &SubscribeOptions) -> Vec<String> {
        let changed = topics.iter().filter(|name| self.manners.change(name, options) && self.wanted.contains(name));
        let anew: Vec<String> = changed.cloned().collect();
        self.remove(&anew);
        anew
    }

    fn remove(&mut self, topics: &[String]) {
        self.wanted.retain(|name| !topics.contains(name));
    }

    fn give_up(&mut self, topics: &[String]) {
        self.manners.forget(topics);
        self.remove(topics);
        self.overdue.retain(|(name, _)| !topics.contains(name));
    }

    /// A name for the next request, of any sort.
    pub(super) const fn next_request(&mut self) -> RequestId {
        self.last_request += 1;
        RequestId(self.last_request)
    }

    pub(super) fn disconnected(&mut self) {
        self.overdue.clear();
        self.pending.retain(|pending| pending.request != RESUBSCRIPTION);
        for pending in &mut self.pending {
            pending.start_over(Vec::new());
        }
    }

    fn next_deadline(&self) -> Option<Moment> {
        self.pending.iter().map(|pending| pending.deadline).min()
    }

    /// The message that an answer belongs to: the one that it names, or else that of the oldest sent request of its
    /// kind. One that names a request whose time is over belongs to none; with `exact`, neither does any other name that
    /// is not known.
    fn answered(&self, id: Option<&str>, action: Option<&str>, exact: bool) -> Option<String> {
        let known = id.filter(|id| self.pending.iter().any(|pending| pending.is_asked_by(id)));
        known.map(str::to_owned).or_else(|| {
            let is_overdue = |id: &str| self.overdue.iter().any(|(_, asked)| asked == id);
            if id.is_some_and(|id| exact || is_overdue(id)) {
                return None;
            }
            let oldest = self.pending.iter().find(|pending| {
                !pending.asked.is_empty() && action.is_none_or(|action| action == pending.action.as_str())
            });
            oldest.and_then(|pending| pending.asked.first()).map(|part| part.id.clone())
        })
    }

    /// Notes the answer to one message, and takes out the requests that wait for no other.
    fn settle(
        &mut self,
        id: &str,
        confirmed: bool,
        refused: impl Fn(&Part) -> Vec<(String, String)>,
    ) -> VecDeque<Pending> {
        for pending in self.pending.iter_mut().filter(|pending| pending.is_asked_by(id)) {
            let (answered, open) = std::mem::take(&mut pending.asked).into_iter().partition(|part| part.id == id);
            let answered: Vec<Part> = answered;
            pending.refused.extend(answered.iter().flat_map(&refused));
            pending.confirmed &= confirmed;
            pending.asked = open;
            pending.settled = pending.asked.is_empty();
        }
        self.take(|pending| pending.settled)
    }

    /// Notes what the answer to one message says of users in its topics.
    fn note_present(&mut self, id: &str, present: &[(String, u64)]) {
        for pending in self.pending.iter_mut().filter(|pending| pending.is_asked_by(id)) {
            let room = pending.topics.len().saturating_sub(pending.present.len());
            let of_it = present.iter().filter(|(name, _)| pending.topics.contains(name));
            pending.present.extend(of_it.take(room).cloned());
        }
    }

    /// A request got no answer in time.
    fn note_overdue(&mut self, pending: &Pending) {
        if pending.action == SubscriptionAction::Subscribe {
            for part in &pending.asked {
                for name in part.topics.iter().filter(|name| self.wanted.contains(name)) {
                    self.overdue.retain(|(known, _)| known != name);
                    self.overdue.push((name.clone(), part.id.clone()));
                }
            }
        }
    }

    /// Takes out what an answer to this message, or to no named one, refuses after its time.
    fn refused_late(&mut self, id: Option<&str>, refused: &[(String, String)]) -> Vec<(String, String)> {
        let is_late =
            |name: &String| self.overdue.iter().any(|(known, asked)| known == name && id.is_none_or(|id| id == asked));
        refused.iter().filter(|(name, _)| is_late(name)).cloned().collect()
    }

    fn take(&mut self, mut wanted: impl FnMut(&Pending) -> bool) -> VecDeque<Pending> {
        let (taken, kept): (VecDeque<_>, _) =
            std::mem::take(&mut self.pending).into_iter().partition(|pending| wanted(pending));
        self.pending = kept;
        taken
    }
}

impl Pending {
    const fn new(request: RequestId, action: SubscriptionAction, topics: Vec<String>, deadline: Moment) -> Self {
        Self {
            request,
            action,
            topics,
            asked: Vec::new(),
            refused: Vec::new(),
            present: Vec::new(),
            confirmed: true,
            settled: false,
            deadline,
        }
    }

    /// It is carried by these messages from here on.
    fn start_over(&mut self, asked: Vec<Part>) {
        self.asked = asked;
        self.refused.clear();
        self.present.clear();
        self.confirmed = true;
    }

    fn is_asked_by(&self, id: &str) -> bool {
        self.asked.iter().any(|part| part.id == id)
    }

    /// Those of the messages for all topics that carry this request too.
    fn share_of(&self, parts: &[Part]) -> Vec<Part> {
        let mut own = BTreeSet::new();
        own.extend(self.topics.iter().cloned());
        let share = |part: &Part| Part {
            id: part.id.clone(),
            topics: part.topics.iter().filter(|name| own.contains(*name)).cloned().collect(),
        };
        let mut shares: Vec<Part> = parts.iter().map(share).collect();
        // One whose topics are not wanted any more ends with the first answer.
        let first = shares.iter().position(|part| !part.topics.is_empty()).unwrap_or(0);
        let mut at = 0..;
        shares.retain(|part| at.next() == Some(first) || !part.topics.is_empty());
        shares
    }

    fn outcome(self, confirmed: bool) -> SubscriptionOutcome {
        let (refused, confirmed) = (&self.refused, confirmed && self.confirmed);
        let (refused_here, accepted): (Vec<_>, Vec<_>) =
            self.topics.into_iter().partition(|name| refused.iter().any(|(refused, _)| refused == name));
        let refused = refused.iter().filter(|(name, _)| refused_here.contains(name)).cloned().collect();
        let (request, action, present) = (self.request, self.action, self.present);
        SubscriptionOutcome { request, action, accepted, refused, confirmed, present }
    }
}

impl Client {
    pub(super) fn want_topics(
        &mut self,
        topics: Vec<String>,
        options: &SubscribeOptions,
        now: Moment,
    ) -> Result<RequestId, SubscribeError> {
        self.check_topics(SubscriptionAction::Subscribe, &topics)?;
        options.check(&topics, &self.config.limits)?;
        let anew = self.subscriptions.change_manners(&topics, options);
        self.subscriptions.want(&topics);
        if options.group.is_some() {
            // Members have none.
            self.forget_positions(&topics);
        }
        self.leave(&anew, now);
        Ok(self.request_topics(SubscriptionAction::Subscribe, topics, now))
    }

    pub(super) fn give_up_topics(&mut self, topics: Vec<String>, now: Moment) -> Result<RequestId, SubscribeError> {
        self.check_topics(SubscriptionAction::Unsubscribe, &topics)?;
        self.subscriptions.give_up(&topics);
        self.forget_positions(&topics);
        Ok(self.request_topics(SubscriptionAction::Unsubscribe, topics, now))
    }

    /// Ends subscriptions at the server, whatever is wanted. Its answer is waited for by nobody, and is not taken for
    /// that to another request only where answers name their request; others know neither groups nor presence.
    fn leave(&mut self, topics: &[String], now: Moment) {
        if topics.is_empty() || !self.is_ready() || !self.link.as_ref().is_some_and(|link| link.full_duplex) {
            return;
        }
        self.send_request(SubscriptionAction::Unsubscribe, topics, now);
    }

    fn request_topics(&mut self, action: SubscriptionAction, topics: Vec<String>, now: Moment) -> RequestId {
        self.subscriptions.overdue.retain(|(name, _)| !topics.contains(name));
        let request = self.subscriptions.next_request();
        let deadline = now + self.config.timeouts.subscribe;
        let mut pending = Pending::new(request, action, topics, deadline);
        if self.is_ready() {
            pending.start_over(self.send_request(action, &pending.topics, now));
        }
        self.subscriptions.pending.push_back(pending);
        self.arm_subscription_timer();
        request
    }

    fn check_topics(&self, action: SubscriptionAction, topics: &[String]) -> Result<(), SubscribeError> {
        let limit = self.config.limits.max_topics;
        if topics.is_empty() {
            return Err(SubscribeError::Empty);
        }
        if let Some(bad) = topics.iter().find(|name| topic::check(name).is_err()) {
            return Err(SubscribeError::InvalidTopic { topic: bad.clone() });
        }
        let wanted = self.subscriptions.wanted();
        let added = topics.iter().filter(|name| !wanted.contains(name)).count();
        let too_many = match action {
            SubscriptionAction::Subscribe => wanted.len() + added > limit,
            SubscriptionAction::Unsubscribe => topics.len() > limit,
        };
        if too_many || self.subscriptions.pending.len() >= limit {
            return Err(SubscribeError::TooMany { limit });
        }
        Ok(())
    }

    pub(super) fn keep_channel_token(&mut self, topic: &str, token: Option<Secret>) -> Result<(), SubscribeError> {
        topic::check(topic).map_err(|_| SubscribeError::InvalidTopic { topic: topic.to_owned() })?;
        let limit = self.config.limits.max_topics;
        let tokens = &mut self.subscriptions.tokens;
        let Some(token) = token else {
            tokens.retain(|(known, _)| known != topic);
            return Ok(());
        };
        let full = tokens.len() >= limit;
        match tokens.iter_mut().find(|(known, _)| known == topic) {
            Some((_, old)) => *old = token,
            None if full => return Err(SubscribeError::TooMany { limit }),
            None => tokens.push((topic.to_owned(), token)),
        }
        Ok(())
    }

    /// Asks in as many messages as the server's limit and the groups make necessary.
    fn send_request(&mut self, action: SubscriptionAction, topics: &[String], now: Moment) -> Vec<Part> {
        let most = self.link.as_ref().and_then(|link| link.max_topics).unwrap_or(usize::MAX);
        let mut parts = Vec::new();
        for topics in self.subscriptions.manners.runs(topics, most.max(1)) {
            let positions = match action {
                SubscriptionAction::Subscribe => self.positions_for(topics),
                SubscriptionAction::Unsubscribe => Vec::new(),
            };
            let named = match action {
                SubscriptionAction::Subscribe => Vec::new(),
                SubscriptionAction::Unsubscribe => self.no_longer_named(topics),
            };
            let id = self.send_topics(action.as_str(), &[topics, &named].concat(), &positions, now);
            parts.push(Part { id, topics: topics.to_vec() });
        }
        parts
    }

    /// What a question about a gap subscribed to by name, and no pattern wants any more: it goes with `given_up`.
    fn no_longer_named(&mut self, given_up: &[String]) -> Vec<String> {
        let Some(link) = &mut self.link else { return Vec::new() };
        let (kept, gone) = std::mem::take(&mut link.named)
            .into_iter()
            .filter(|name| !given_up.contains(name))
            .partition(|name| self.subscriptions.covers(name));
        link.named = kept;
        gone
    }

    /// Writes a request about topics, with the positions from which a server with a history is to go on.
    pub(super) fn send_topics(
        &mut self,
        action: &str,
        topics: &[String],
        recovery: &[(String, Position)],
        now: Moment,
    ) -> String {
        let keeps_history = self.link.as_ref().is_some_and(|link| link.recovery);
        let subscriptions = &self.subscriptions;
        let shared = topics.iter().any(|name| subscriptions.manners.group(name).is_some());
        let recover = keeps_history && self.config.delivery.recovery && action != "unsubscribe" && !shared;
        let mut request = Object::new().text("action", action).texts("topics", topics);
        if recover {
            let positions = recovery.iter().fold(Object::new(), |all, (topic, position)| {
                let known = Object::new().text("epoch", &position.epoch);
                all.object(topic, known.optional_unsigned("offset", position.offset))
            });
            request = request.truth("recover", true).filled("recovery", positions);
        }
        if action == SubscriptionAction::Subscribe.as_str() {
            request = subscriptions.manners.write(topics, request);
        }
        let mut tokens = Object::new();
        for (topic, token) in &subscriptions.tokens {
            if topics.contains(topic) {
                tokens = tokens.text(topic, token.expose());
            }
        }
        self.send_control("subscription_update", request.filled("channel_tokens", tokens), now)
    }

    /// Asks for every wanted topic on a connection that has just become ready.
    pub(super) fn resubscribe(&mut self, now: Moment) {
        // The server of a fresh connection knows no topics, so there is nothing to take back.
        let withdrawn = self.subscriptions.take(|pending| pending.action == SubscriptionAction::Unsubscribe);
        for pending in withdrawn {
            self.emit(Event::Subscribed(pending.outcome(true)));
        }
        if self.subscriptions.wanted.is_empty() {
            self.arm_subscription_timer();
            return;
        }
        let topics = self.subscriptions.wanted.clone();
        let parts = self.send_request(SubscriptionAction::Subscribe, &topics, now);
        for pending in &mut self.subscriptions.pending {
            pending.start_over(pending.share_of(&parts));
        }
        let deadline = now + self.config.timeouts.subscribe;
        let mut all = Pending::new(RESUBSCRIPTION, SubscriptionAction::Subscribe, topics, deadline);
        all.start_over(parts);
        self.subscriptions.pending.push_back(all);
        self.arm_subscription_timer();
    }

    pub(super) fn on_subscription_answer(&mut self, message: &Message, now: Moment) {
        let answer = message.payload().read_control(Answer::read).unwrap_or_default();
        let refused = answer.failed_topics;
        self.on_recovery_answers(&answer.recovery, now);
        let exact = self.link.as_ref().is_some_and(|link| link.full_duplex);
        let asked = self.subscriptions.answered(message.correlation_id(), answer.action.as_deref(), exact);
        if let Some(id) = asked {
            // A name that it did not ask for was refused to another one.
            let of_it = |part: &Part| refused.iter().filter(|(name, _)| part.topics.contains(name)).cloned().collect();
            self.subscriptions.note_present(&id, &answer.present);
            self.on_answer(&id, true, of_it, now);
        }
        self.on_late_refusal(message.correlation_id(), &refused, now);
        self.arm_subscription_timer();
    }

    /// An `error` that names a subscription request is the answer to all of it. Gives back one that names none, and one
    /// that may not be the last word: the topics stay wanted then.
    pub(super) fn end_refused_subscription(&mut self, error: ServerError, now: Moment) -> Option<ServerError> {
        let Some(id) = error.source.correlation_id() else { return Some(error) };
        let is_final = FINAL.iter().any(|code| code.as_str() == error.code);
        let refuse = |topics: &[String]| -> Vec<(String, String)> {
            topics.iter().filter(|_| is_final).map(|name| (name.clone(), error.code.clone())).collect()
        };
        let mut told = self.on_answer(id, is_final, |part| refuse(&part.topics), now) && is_final;
        let late: Vec<String> = self.subscriptions.overdue.iter().map(|(name, _)| name.clone()).collect();
        told |= self.on_late_refusal(Some(id), &refuse(&late), now);
        self.arm_subscription_timer();
        if told { None } else { Some(error) }
    }

    /// One message has its answer. Says whether it was a request that waited for one.
    fn on_answer(
        &mut self,
        id: &str,
        confirmed: bool,
        refused: impl Fn(&Part) -> Vec<(String, String)>,
        now: Moment,
    ) -> bool {
        let asked = self.subscriptions.pending.iter().filter(|pending| pending.is_asked_by(id));
        let is_known = asked.clone().next().is_some();
        let wanted = asked.filter(|pending| pending.action == SubscriptionAction::Subscribe);
        let parts = wanted.flat_map(|pending| &pending.asked).filter(|part| part.id == id);
        let given_up: Vec<(String, String)> = parts.flat_map(&refused).collect();
        self.give_up_refused(&given_up, now);
        for pending in self.subscriptions.settle(id, confirmed, refused) {
            self.emit(Event::Subscribed(pending.outcome(true)));
        }
        is_known
    }

    fn give_up_refused(&mut self, refused: &[(String, String)], now: Moment) {
        let names: Vec<String> = refused.iter().map(|(name, _)| name.clone()).collect();
        if !names.is_empty() {
            let may_last = names.iter().any(|name| self.subscriptions.manners.has(name));
            self.subscriptions.give_up(&names);
            self.forget_positions(&names);
            if may_last {
                // What was refused may be the change of a subscription, which lasts at the server.
                self.leave(&names, now);
            }
        }
    }

    /// Topics of a request that came to its end without an answer are refused after all: they would be asked for at
    /// each connection, in vain. Says whether there were any.
    fn on_late_refusal(&mut self, id: Option<&str>, refused: &[(String, String)], now: Moment) -> bool {
        let late = self.subscriptions.refused_late(id, refused);
        if late.is_empty() {
            return false;
        }
        self.give_up_refused(&late, now);
        self.emit(Event::Subscribed(SubscriptionOutcome {
            request: RESUBSCRIPTION,
            action: SubscriptionAction::Subscribe,
            accepted: Vec::new(),
            refused: late,
            confirmed: true,
            present: Vec::new(),
        }));
        true
    }

    pub(super) fn on_subscription_timeout(&mut self, now: Moment) {
        for pending in self.subscriptions.take(|pending| pending.deadline <= now) {
            self.subscriptions.note_overdue(&pending);
            self.emit(Event::Subscribed(pending.outcome(false)));
        }
        self.arm_subscription_timer();
    }

    pub(super) fn end_requests(&mut self) {
        for pending in self.subscriptions.take(|_| true) {
            self.emit(Event::Subscribed(pending.outcome(false)));
        }
        self.arm_subscription_timer();
    }

    fn arm_subscription_timer(&mut self) {
        match self.subscriptions.next_deadline() {
            Some(deadline) => self.timers.set(Timer::Subscription, deadline),
            None => self.timers.clear(Timer::Subscription),
        }
    }
}
