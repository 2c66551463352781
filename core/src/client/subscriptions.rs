//! Topics that are wanted, and the requests about them that are under way. Source: PROTOCOL.md §6.1.

use std::collections::{BTreeMap, VecDeque};

use crate::{
    delivery::{Position, TopicRecovery},
    security::Secret,
    time::Moment,
    topic,
    wire::{
        Message,
        control::{Object, Value},
    },
};

use super::{Client, Event, RequestId, SubscribeError, SubscriptionAction, SubscriptionOutcome, Timer};

/// The request of a client that asks again for all its topics after a reconnect.
const RESUBSCRIPTION: RequestId = RequestId(0);

/// Wanted topics and pending requests.
#[derive(Default)]
pub(super) struct Subscriptions {
    wanted: Vec<String>,
    /// Tokens for single topics, sent with each request about them.
    tokens: BTreeMap<String, Secret>,
    pending: VecDeque<Pending>,
    last_request: u64,
}

struct Pending {
    request: RequestId,
    action: SubscriptionAction,
    topics: Vec<String>,
    /// The message that carries the request on the present connection.
    sent_as: Option<String>,
    deadline: Moment,
}

/// The answer to a request.
#[derive(Default)]
struct Answer {
    action: Option<String>,
    /// Topics that were refused, and why.
    failed_topics: Vec<(String, String)>,
    recovery: Vec<(String, TopicRecovery)>,
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

fn topic_recovery(answer: Value<'_>) -> Option<TopicRecovery> {
    Some(TopicRecovery {
        epoch: answer.optional("epoch", Value::text)?,
        offset: answer.optional("offset", Value::unsigned)?,
        recovered: answer.optional("recovered", Value::truth)?,
        count: answer.optional("count", Value::unsigned)?,
    })
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

    /// Whether a topic is wanted, by its name or by a pattern.
    pub(super) fn covers(&self, name: &str) -> bool {
        self.wanted.iter().any(|wanted| wanted == name || (topic::is_pattern(wanted) && topic::matches(wanted, name)))
    }

    fn want(&mut self, topics: &[String]) {
        for name in topics {
            if !self.wanted.contains(name) {
                self.wanted.push(name.clone());
            }
        }
    }

    fn give_up(&mut self, topics: &[String]) {
        self.wanted.retain(|name| !topics.contains(name));
    }

    /// A name for the next request, of any sort.
    pub(super) const fn next_request(&mut self) -> RequestId {
        self.last_request += 1;
        RequestId(self.last_request)
    }

    pub(super) fn disconnected(&mut self) {
        self.pending.retain(|pending| pending.request != RESUBSCRIPTION);
        for pending in &mut self.pending {
            pending.sent_as = None;
        }
    }

    fn next_deadline(&self) -> Option<Moment> {
        self.pending.iter().map(|pending| pending.deadline).min()
    }

    /// Takes out the requests that one answer ends: those sent as the message it names, or else the oldest
    /// sent request of that kind and what was sent along with it. With `exact`, a name that is not known ends none.
    fn answered(&mut self, id: Option<&str>, action: Option<&str>, exact: bool) -> Vec<Pending> {
        let known = id.filter(|id| self.pending.iter().any(|pending| pending.sent_as.as_deref() == Some(id)));
        let id = known.map(str::to_owned).or_else(|| {
            if exact && id.is_some() {
                return None;
            }
            let oldest = self.pending.iter().find(|pending| {
                pending.sent_as.is_some() && action.is_none_or(|action| action == pending.action.as_str())
            });
            oldest.and_then(|pending| pending.sent_as.clone())
        });
        let Some(id) = id else { return Vec::new() };
        self.take(|pending| pending.sent_as.as_deref() == Some(&id))
    }

    fn take(&mut self, mut wanted: impl FnMut(&Pending) -> bool) -> Vec<Pending> {
        let (taken, kept): (VecDeque<_>, _) =
            std::mem::take(&mut self.pending).into_iter().partition(|pending| wanted(pending));
        self.pending = kept;
        taken.into()
    }
}

impl Pending {
    fn outcome(self, refused: &[(String, String)], confirmed: bool) -> SubscriptionOutcome {
        let (refused_here, accepted): (Vec<_>, Vec<_>) =
            self.topics.into_iter().partition(|name| refused.iter().any(|(refused, _)| refused == name));
        let refused = refused.iter().filter(|(name, _)| refused_here.contains(name)).cloned().collect();
        SubscriptionOutcome { request: self.request, action: self.action, accepted, refused, confirmed }
    }
}

impl Client {
    pub(super) fn request_topics(
        &mut self,
        action: SubscriptionAction,
        topics: Vec<String>,
        now: Moment,
    ) -> Result<RequestId, SubscribeError> {
        self.check_topics(action, &topics)?;
        match action {
            SubscriptionAction::Subscribe => self.subscriptions.want(&topics),
            SubscriptionAction::Unsubscribe => {
                self.subscriptions.give_up(&topics);
                self.forget_unwanted(&topics);
            }
        }
        let request = self.subscriptions.next_request();
        let sent_as = self.is_ready().then(|| self.send_request(action, &topics, now));
        let deadline = now + self.config.timeouts.subscribe;
        self.subscriptions.pending.push_back(Pending { request, action, topics, sent_as, deadline });
        self.arm_subscription_timer();
        Ok(request)
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
            tokens.remove(topic);
            return Ok(());
        };
        if tokens.len() >= limit && !tokens.contains_key(topic) {
            return Err(SubscribeError::TooMany { limit });
        }
        tokens.insert(topic.to_owned(), token);
        Ok(())
    }

    fn send_request(&mut self, action: SubscriptionAction, topics: &[String], now: Moment) -> String {
        let positions = match action {
            SubscriptionAction::Subscribe => self.positions_for(topics),
            SubscriptionAction::Unsubscribe => Vec::new(),
        };
        self.send_topics(action.as_str(), topics, &positions, now)
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
        let recover = keeps_history && self.config.delivery.recovery && action != "unsubscribe";
        let mut request = Object::new().text("action", action).texts("topics", topics);
        if recover {
            let positions = recovery.iter().fold(Object::new(), |all, (topic, position)| {
                let known = Object::new().text("epoch", &position.epoch);
                all.object(topic, known.optional_unsigned("offset", position.offset))
            });
            request = request.truth("recover", true).filled("recovery", positions);
        }
        let mut tokens = Object::new();
        for (topic, token) in &self.subscriptions.tokens {
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
            self.emit(Event::Subscribed(pending.outcome(&[], true)));
        }
        if self.subscriptions.wanted.is_empty() {
            self.arm_subscription_timer();
            return;
        }
        let topics = self.subscriptions.wanted.clone();
        let id = self.send_request(SubscriptionAction::Subscribe, &topics, now);
        for pending in &mut self.subscriptions.pending {
            pending.sent_as = Some(id.clone());
        }
        let deadline = now + self.config.timeouts.subscribe;
        self.subscriptions.pending.push_back(Pending {
            request: RESUBSCRIPTION,
            action: SubscriptionAction::Subscribe,
            topics,
            sent_as: Some(id),
            deadline,
        });
        self.arm_subscription_timer();
    }

    pub(super) fn on_subscription_answer(&mut self, message: &Message, now: Moment) {
        let answer = message.payload().read_control(Answer::read).unwrap_or_default();
        let refused = answer.failed_topics;
        self.on_recovery_answers(&answer.recovery, now);
        let exact = self.link.as_ref().is_some_and(|link| link.full_duplex);
        let ended = self.subscriptions.answered(message.correlation_id(), answer.action.as_deref(), exact);
        for pending in ended {
            if pending.action == SubscriptionAction::Subscribe {
                let names: Vec<String> = refused.iter().map(|(name, _)| name.clone()).collect();
                self.subscriptions.give_up(&names);
                if !names.is_empty() {
                    self.forget_unwanted(&names);
                }
            }
            self.emit(Event::Subscribed(pending.outcome(&refused, true)));
        }
        self.arm_subscription_timer();
    }

    pub(super) fn on_subscription_timeout(&mut self, now: Moment) {
        for pending in self.subscriptions.take(|pending| pending.deadline <= now) {
            self.emit(Event::Subscribed(pending.outcome(&[], false)));
        }
        self.arm_subscription_timer();
    }

    pub(super) fn end_requests(&mut self) {
        for pending in self.subscriptions.take(|_| true) {
            self.emit(Event::Subscribed(pending.outcome(&[], false)));
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
