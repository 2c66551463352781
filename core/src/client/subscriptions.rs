//! Topics that are wanted, and the requests about them that are under way. Source: PROTOCOL.md §6.1.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};

use crate::{
    delivery::{Position, TopicRecovery},
    error::Code,
    security::Secret,
    time::Moment,
    topic,
    wire::Message,
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
    /// Topics of requests on the present connection that got no answer in time, with the message that asked. An
    /// answer may still come; each topic is wanted, which bounds them.
    overdue: BTreeMap<String, String>,
    last_request: u64,
    /// Most topics that the server takes in one request, as far as it is known.
    per_request: usize,
}

struct Pending {
    request: RequestId,
    action: SubscriptionAction,
    topics: Vec<String>,
    /// The message that carries the request on the present connection.
    sent_as: Option<String>,
    deadline: Moment,
}

#[derive(Serialize)]
struct Request<'a> {
    action: &'a str,
    topics: &'a [String],
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    recover: bool,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    recovery: BTreeMap<String, Position>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    channel_tokens: BTreeMap<&'a str, String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Answer {
    action: Option<String>,
    failed_topics: Vec<FailedTopic>,
    recovery: BTreeMap<String, TopicRecovery>,
}

/// Published servers write objects; a bare name is understood too.
#[derive(Deserialize)]
#[serde(untagged)]
enum FailedTopic {
    Named { topic: String, error: Option<String> },
    Bare(String),
}

impl Subscriptions {
    pub(super) fn new(topics: &[String], max_topics: usize) -> Self {
        let mut all = Self { per_request: max_topics, ..Self::default() };
        all.want(topics);
        all
    }

    /// The server said how many topics it takes in one request.
    pub(super) fn allow_per_request(&mut self, limit: usize) {
        self.per_request = limit.max(1);
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
        self.overdue.retain(|name, _| !topics.contains(name));
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
        id.map(|id| self.sent_as(&id)).unwrap_or_default()
    }

    /// Takes out the requests that were sent as one message.
    fn sent_as(&mut self, id: &str) -> Vec<Pending> {
        self.take(|pending| pending.sent_as.as_deref() == Some(id))
    }

    /// A request got no answer in time.
    fn note_overdue(&mut self, pending: &Pending) {
        let (SubscriptionAction::Subscribe, Some(id)) = (pending.action, &pending.sent_as) else { return };
        for name in pending.topics.iter().filter(|name| self.wanted.contains(name)) {
            self.overdue.insert(name.clone(), id.clone());
        }
    }

    /// Takes out what an answer to this message, or to no named one, refuses after its time.
    fn refused_late(&mut self, id: Option<&str>, refused: &[(String, String)]) -> Vec<(String, String)> {
        let is_late = |name: &String| self.overdue.get(name).is_some_and(|asked| id.is_none_or(|id| id == asked));
        refused.iter().filter(|(name, _)| is_late(name)).cloned().collect()
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
        self.subscriptions.overdue.retain(|name, _| !topics.contains(name));
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
            SubscriptionAction::Unsubscribe => BTreeMap::new(),
        };
        self.send_topics(action.as_str(), topics, positions, now)
    }

    /// Writes a request about topics, with the positions from which a server with a history is to go on.
    pub(super) fn send_topics(
        &mut self,
        action: &str,
        topics: &[String],
        recovery: BTreeMap<String, Position>,
        now: Moment,
    ) -> String {
        let keeps_history = self.link.as_ref().is_some_and(|link| link.recovery);
        let recover = keeps_history && self.config.delivery.recovery && action != "unsubscribe";
        let recovery = if recover { recovery } else { BTreeMap::new() };
        let tokens = &self.subscriptions.tokens;
        let channel_tokens =
            topics.iter().filter_map(|topic| Some((topic.as_str(), tokens.get(topic)?.expose().to_owned()))).collect();
        self.send_control("subscription_update", &Request { action, topics, recover, recovery, channel_tokens }, now)
    }

    /// Asks for every wanted topic on a connection that has just become ready.
    pub(super) fn resubscribe(&mut self, now: Moment) {
        // The server of a fresh connection knows no topics, so there is nothing to take back.
        let withdrawn = self.subscriptions.take(|pending| pending.action == SubscriptionAction::Unsubscribe);
        for pending in withdrawn {
            self.emit(Event::Subscribed(pending.outcome(&[], true)));
        }
        let wanted = self.subscriptions.wanted.clone();
        if wanted.len() <= self.subscriptions.per_request {
            self.ask_again(&wanted, true, now);
        } else {
            let waiting = self.subscriptions.take(|_| true);
            self.ask_in_parts(wanted, waiting, now);
        }
        self.arm_subscription_timer();
    }

    /// The server takes fewer topics at once than are wanted. Requests that wait go as they are, so that each keeps
    /// an outcome of its own.
    fn ask_in_parts(&mut self, topics: Vec<String>, waiting: Vec<Pending>, now: Moment) {
        let asked_for: BTreeSet<String> = waiting.iter().flat_map(|pending| pending.topics.iter().cloned()).collect();
        for mut pending in waiting {
            pending.sent_as = Some(self.send_request(pending.action, &pending.topics, now));
            self.subscriptions.pending.push_back(pending);
        }
        let rest: Vec<_> = topics.into_iter().filter(|name| !asked_for.contains(name)).collect();
        for part in rest.chunks(self.subscriptions.per_request) {
            self.ask_again(part, false, now);
        }
    }

    /// Writes one request of the client's own. With `for_all`, it is that of every waiting request, too.
    fn ask_again(&mut self, topics: &[String], for_all: bool, now: Moment) {
        if topics.is_empty() {
            return;
        }
        let id = self.send_request(SubscriptionAction::Subscribe, topics, now);
        if for_all {
            for pending in &mut self.subscriptions.pending {
                pending.sent_as = Some(id.clone());
            }
        }
        self.subscriptions.pending.push_back(Pending {
            request: RESUBSCRIPTION,
            action: SubscriptionAction::Subscribe,
            topics: topics.to_vec(),
            sent_as: Some(id),
            deadline: now + self.config.timeouts.subscribe,
        });
    }

    /// An `error` that names a request about topics ends it: the whole request was refused.
    ///
    /// The client's own request says nothing about a single topic, so they all stay wanted; one that was too long is
    /// made again in parts. What the application asked for is refused, unless the same may work later.
    pub(super) fn on_refused_topics(&mut self, id: Option<&str>, code: &str, now: Moment) {
        let Some(id) = id else { return };
        let mut ended = self.subscriptions.sent_as(id);
        let own = ended.iter().position(|pending| pending.request == RESUBSCRIPTION);
        if let Some(index) = own.filter(|_| code == Code::TooManyTopics.as_str())
            && ended[index].topics.len() > 1
        {
            let whole = ended.swap_remove(index).topics;
            // Where the server did not say how many it takes, half of them are tried.
            self.subscriptions.per_request = self.subscriptions.per_request.min(whole.len().div_ceil(2));
            self.ask_in_parts(whole, ended, now);
            return self.arm_subscription_timer();
        }
        let may_work_later = Code::ALL.iter().any(|known| known.as_str() == code && known.is_retryable());
        for pending in ended {
            if own.is_some() || may_work_later {
                self.emit(Event::Subscribed(pending.outcome(&[], false)));
                continue;
            }
            let refused: Vec<_> = pending.topics.iter().map(|name| (name.clone(), code.to_owned())).collect();
            if pending.action == SubscriptionAction::Subscribe {
                self.subscriptions.give_up(&pending.topics);
                self.forget_unwanted(&pending.topics);
            }
            self.emit(Event::Subscribed(pending.outcome(&refused, true)));
        }
        self.arm_subscription_timer();
    }

    pub(super) fn on_subscription_answer(&mut self, message: &Message, now: Moment) {
        let answer: Answer = message.payload().parse_control().unwrap_or_default();
        let refused: Vec<(String, String)> = answer
            .failed_topics
            .into_iter()
            .map(|failed| match failed {
                FailedTopic::Named { topic, error } => (topic, error.unwrap_or_default()),
                FailedTopic::Bare(topic) => (topic, String::new()),
            })
            .collect();
        self.on_recovery_answers(&answer.recovery, now);
        let exact = self.link.as_ref().is_some_and(|link| link.full_duplex);
        let ended = self.subscriptions.answered(message.correlation_id(), answer.action.as_deref(), exact);
        for pending in ended {
            if pending.action == SubscriptionAction::Subscribe {
                self.give_up_refused(&refused);
            }
            self.emit(Event::Subscribed(pending.outcome(&refused, true)));
        }
        self.on_late_refusal(message.correlation_id(), &refused);
        self.arm_subscription_timer();
    }

    fn give_up_refused(&mut self, refused: &[(String, String)]) {
        let names: Vec<String> = refused.iter().map(|(name, _)| name.clone()).collect();
        if !names.is_empty() {
            self.subscriptions.give_up(&names);
            self.forget_unwanted(&names);
        }
    }

    /// Topics of a request that came to its end without an answer are refused after all: they would be asked for at
    /// each connection, in vain.
    fn on_late_refusal(&mut self, id: Option<&str>, refused: &[(String, String)]) {
        let late = self.subscriptions.refused_late(id, refused);
        if late.is_empty() {
            return;
        }
        self.give_up_refused(&late);
        self.emit(Event::Subscribed(SubscriptionOutcome {
            request: RESUBSCRIPTION,
            action: SubscriptionAction::Subscribe,
            accepted: Vec::new(),
            refused: late,
            confirmed: true,
        }));
    }

    pub(super) fn on_subscription_timeout(&mut self, now: Moment) {
        for pending in self.subscriptions.take(|pending| pending.deadline <= now) {
            self.subscriptions.note_overdue(&pending);
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
