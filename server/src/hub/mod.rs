//! Who listens to what. A publication goes to its topic's ring; subscribers read it from there.
//!
//! Locks are taken in the order victims of the budget, registry, subscriptions of a connection, state of a topic, its
//! members, state of its notices, and none is held across an await. Who holds the registry only tries the victims. All
//! others are held for a moment, and nothing is taken under them.

mod block;
mod budget;
mod group;
mod history;
mod link;
mod look;
mod names;
mod presence;
mod publication;
mod pump;
mod ring;
mod topic;
mod wake;

use std::{
    collections::HashMap,
    sync::{Arc, RwLock},
    time::Duration,
};

use wse_client_core::{delivery::Position, error::Code, time::Moment, topic::is_pattern};

pub(crate) use block::Run;
pub(crate) use link::{Ending, LEVELS, Link, Mail, Refused, StateMessage, TopicRead, Waiting};
pub(crate) use look::TopicState;
pub(crate) use presence::PresenceBounds;
pub(crate) use publication::{Framed, Publication};
pub(crate) use ring::{HistoryBounds, RingBounds};
pub(crate) use topic::Resumed;

use crate::{
    clock::Clock,
    presence::{PresencePage, PresenceQuery},
    sync::{read, write},
};
use budget::Budget;
use link::Left;
use names::{Names, Patterns};
use presence::Attendance;
use pump::Pumps;
use serde_json::Value;
use topic::Topic;

/// Pause between two searches for topics that could make room for others.
const ROOM_AGAIN: Duration = Duration::from_secs(1);

/// Topics, patterns and their subscribers.
#[derive(Debug)]
pub(crate) struct Hub {
    registry: RwLock<Registry>,
    bounds: HubBounds,
    budget: Arc<Budget>,
    attendance: Attendance,
    pumps: Pumps,
}

/// Bounds on what a hub holds.
#[derive(Debug, Clone)]
pub(crate) struct HubBounds {
    /// Of each topic's ring.
    pub(crate) ring: RingBounds,
    /// Most bytes that all topics hold together, see [`Budget`].
    pub(crate) history_bytes: usize,
    /// Most topics in all.
    pub(crate) topics: usize,
    /// Most topics and patterns that one connection may ask for.
    pub(crate) topics_per_connection: usize,
    /// Who may be seen where.
    pub(crate) presence: PresenceBounds,
}

#[derive(Debug, Default)]
struct Registry {
    topics: HashMap<Arc<str>, Arc<Topic>>,
    names: Names,
    /// When unused topics were last let go to make room.
    room_sought: Option<Moment>,
    /// Connections by number, for each pattern. Asked only when a topic appears.
    patterns: Patterns<HashMap<u64, Arc<Link>>>,
}

impl Hub {
    pub(crate) fn new(bounds: HubBounds) -> Self {
        let budget = Arc::new(Budget::new(bounds.history_bytes));
        let attendance = Attendance::new(bounds.presence.clone());
        Self { registry: RwLock::default(), bounds, budget, attendance, pumps: Pumps::default() }
    }

    /// A topic that is there, without a hold on the others.
    fn known(&self, name: &str) -> Option<Arc<Topic>> {
        read(&self.registry).topics.get(name).cloned()
    }

    /// The same for a publication: from here on the topic is not forgotten before that has come.
    fn known_and_used(&self, name: &str, now: Moment) -> Option<Arc<Topic>> {
        read(&self.registry).topics.get(name).inspect(|topic| topic.use_at(now)).cloned()
    }

    /// Who is in a topic.
    pub(crate) fn presence(&self, topic: &str, query: &PresenceQuery) -> PresencePage {
        match self.known(topic) {
            Some(known) => known.members().page(topic, query),
            None => PresencePage { topic: topic.to_owned(), ..PresencePage::default() },
        }
    }

    /// The last snapshot of each type that was published to a topic.
    pub(crate) fn snapshots(&self, topic: &str) -> Vec<Arc<Publication>> {
        self.known(topic).map(|topic| topic.snapshots()).unwrap_or_default()
    }

    /// Topics in which users are seen, and users, once for each topic.
    pub(crate) fn presence_totals(&self) -> (usize, usize) {
        self.attendance.totals()
    }

    /// Whether there is room for a connection's user to be seen in a topic, with what it tells about itself.
    pub(crate) fn has_room_for_presence(&self, link: &Link, name: &str, told: &Value) -> bool {
        self.attendance.has_room(self.known(name).as_deref(), &link.identity().user_id, told)
    }

    /// Makes a connection's user seen in a topic that it reads, with what it tells about itself. Answers how many users
    /// are seen there; `None` where none can be.
    pub(crate) fn join(&self, link: &Arc<Link>, name: &str, told: Value, now: Moment) -> Option<u64> {
        let topic = self.known(name)?;
        if !self.attendance.covers(name) {
            return None;
        }
        if topic.make_notices(self.bounds.ring, now) {
            topic.links().iter().for_each(|link| link.subscriptions().attach_notices(link, &topic));
        }
        let another = link.subscriptions().be_present(name)?;
        Some(self.attendance.join(&topic, &link.identity().user_id, told, another, now))
    }

    /// The same with tasks that tell connections what is new, to each at most once in `flush_interval` while it is
    /// busy. To be called before there are topics, on a tokio runtime.
    pub(crate) fn pumped(self, clock: Clock, flush_interval: Duration) -> Self {
        Self { pumps: Pumps::start(clock, flush_interval), ..self }
    }

    /// Number of topics that are remembered.
    pub(crate) fn topic_count(&self) -> usize {
        read(&self.registry).topics.len()
    }

    /// Hands a publication to its subscribers. Answers how many connections will get it.
    ///
    /// # Errors
    /// [`Code::TooManyTopics`] when the topic is new and there is no room for it.
    pub(crate) fn deliver(&self, publication: Arc<Publication>, now: Moment) -> Result<usize, Code> {
        let topic = match self.known_and_used(publication.topic(), now) {
            Some(topic) => topic,
            None => self.topic(&mut write(&self.registry), publication.topic(), now)?,
        };
        let reached = topic.append(publication, now, &self.pumps);
        if self.budget.is_over() {
            self.budget.make_room(&topic, || read(&self.registry).topics.values().cloned().collect());
        }
        Ok(reached)
    }

    /// Bytes that all topics hold together.
    pub(crate) fn held_bytes(&self) -> usize {
        self.budget.held()
    }

    /// Publications and snapshots that were let go for want of memory.
    pub(crate) fn evicted(&self) -> u64 {
        self.budget.evicted()
    }

    /// Subscribes a connection to a topic or pattern, alone or as one of a queue group. Answers the topics that it reads from now on and did not before;
    /// [`Hub::resume`] tells their state.
    ///
    /// # Errors
    /// [`Code::TooManyTopics`].
    pub(crate) fn subscribe(
        &self,
        link: &Arc<Link>,
        name: &str,
        group: Option<&str>,
        now: Moment,
    ) -> Result<Vec<Arc<str>>, Code> {
        let mut registry = write(&self.registry);
        {
            let subscriptions = link.subscriptions();
            if subscriptions.is_requested(name) {
                return Ok(Vec::new());
            }
            if subscriptions.request_count() >= self.bounds.topics_per_connection {
                return Err(Code::TooManyTopics);
            }
        }
        if !is_pattern(name) {
            let topic = self.topic(&mut registry, &Arc::from(name), now)?;
            let mut subscriptions = link.subscriptions();
            subscriptions.request(name, group);
            let fresh = subscriptions.attach(link, &topic, name);
            return Ok(fresh.then(|| Arc::clone(topic.name())).into_iter().collect());
        }
        registry.patterns.entry(name).insert(link.number(), Arc::clone(link));
        link.subscriptions().request(name, group);
        drop(registry);
        // To look through many names takes its time, in which others go on publishing. Topics that appear from here on find the
        // pattern.
        let registry = read(&self.registry);
        let (mut fresh, _) = registry.names.of_pattern(name);
        let mut subscriptions = link.subscriptions();
        fresh.retain(|topic| {
            let topic = registry.topics.get(topic).filter(|topic| link.may_read(topic.name()));
            topic.is_some_and(|topic| subscriptions.attach(link, topic, name))
        });
        Ok(fresh)
    }

    /// Moves a connection to what it missed of a topic since `position`. `None` when it does not read the topic.
    pub(crate) fn resume(&self, link: &Link, topic: &str, position: Option<&Position>, now: Moment) -> Option<Resumed> {
        link.subscriptions().resume(topic, position, now)
    }

    /// Ends a subscription. Topics that another subscription of the connection covers stay. Answers how many messages of
    /// its groups nobody gets.
    pub(crate) fn unsubscribe(&self, link: &Arc<Link>, name: &str, now: Moment) -> usize {
        let left = {
            let mut registry = write(&self.registry);
            registry.forget_pattern(name, link);
            let mut subscriptions = link.subscriptions();
            subscriptions.withdraw(name);
            subscriptions.detach_uncovered(link, name)
        };
        self.after_leaving(link, left, false, now)
    }

    /// Ends all subscriptions of a connection that is over. Answers how many messages of its groups nobody gets.
    pub(crate) fn remove(&self, link: &Arc<Link>, now: Moment) -> usize {
        let left = {
            let mut registry = write(&self.registry);
            let mut subscriptions = link.subscriptions();
            for pattern in subscriptions.patterns() {
                registry.forget_pattern(pattern, link);
            }
            subscriptions.clear()
        };
        self.after_leaving(link, left, true, now)
    }

    fn after_leaving(&self, link: &Link, left: Left, broken: bool, now: Moment) -> usize {
        for topic in left.present {
            self.attendance.leave(&topic, &link.identity().user_id, broken, now);
        }
        left.orphans
    }

    /// Housekeeping: lets go of publications that everyone has read, and of topics that nobody uses.
    pub(crate) fn sweep(&self, now: Moment) {
        let topics: Vec<Arc<Topic>> = read(&self.registry).topics.values().cloned().collect();
        self.attendance.sweep(now);
        let mut forgotten = false;
        for topic in &topics {
            topic.trim(now);
            forgotten |= topic.is_forgotten(now, false);
        }
        if forgotten {
            self.budget.forget_victims();
            write(&self.registry).forget_topics(now, false);
        }
    }

    /// The topic of this name. If it is new, whoever subscribed to a matching pattern is attached first.
    fn topic(&self, registry: &mut Registry, name: &Arc<str>, now: Moment) -> Result<Arc<Topic>, Code> {
        if let Some(topic) = registry.topics.get(name) {
            return Ok(Arc::clone(topic));
        }
        if registry.topics.len() >= self.bounds.topics {
            // Each topic that does not fit would look at all others otherwise.
            if registry.room_sought.is_none_or(|at| now.since(at) >= ROOM_AGAIN) {
                registry.room_sought = Some(now);
                registry.forget_topics(now, true);
                self.budget.forget_victims();
            }
            if registry.topics.len() >= self.bounds.topics {
                return Err(Code::TooManyTopics);
            }
        }
        let topic =
            Arc::new(Topic::new(Arc::clone(name), self.bounds.ring, Arc::clone(&self.budget), now, self.pumps.count()));
        registry.patterns.of_topic(name, |pattern, links| {
            for link in links.values().filter(|link| link.may_read(name)) {
                link.subscriptions().attach(link, &topic, pattern);
            }
        });
        registry.names.insert(name);
        registry.topics.insert(Arc::clone(name), Arc::clone(&topic));
        Ok(topic)
    }
}

impl Registry {
    /// Forgets topics that nobody would miss.
    fn forget_topics(&mut self, now: Moment, room_needed: bool) {
        let Self { topics, names, .. } = self;
        topics.retain(|name, topic| {
            let forgotten = topic.is_forgotten(now, room_needed);
            if forgotten {
                names.remove(name);
            }
            !forgotten
        });
    }

    fn forget_pattern(&mut self, pattern: &str, link: &Link) {
        if let Some(links) = self.patterns.get_mut(pattern) {
            links.remove(&link.number());
            if links.is_empty() {
                self.patterns.remove(pattern);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use wse_client_core::{
        client::Outgoing,
        delivery::QueueLimits,
        server::Identity,
        topic::Acl,
        wire::{Payload, Priority},
    };

    use super::*;

    const NOW: Moment = Moment::ORIGIN;

    fn hub() -> Hub {
        hub_with_history(0)
    }

    fn hub_with_history(count: usize) -> Hub {
        let history = HistoryBounds { count, age: Duration::from_secs(300) };
        let ring = RingBounds { count: 8, bytes: 1 << 20, history };
        Hub::new(HubBounds {
            ring,
            history_bytes: 1 << 20,
            topics: 4,
            topics_per_connection: 3,
            presence: PresenceBounds::default(),
        })
    }

    fn link(number: u64, deny: &[&str]) -> Arc<Link> {
        let subscribe = Acl { allow: Vec::new(), deny: deny.iter().map(|&text| text.into()).collect() };
        let identity = Identity { subscribe, ..Identity::default() };
        Arc::new(Link::new(number, number.to_string(), identity, QueueLimits::default(), Arc::default()))
    }

    fn publish(hub: &Hub, topic: &str, kind: &str) -> usize {
        let message = Outgoing::new(kind, Payload::EMPTY);
        let publication = Publication::new(topic, message, String::new(), String::new(), None);
        hub.deliver(Arc::new(publication), NOW).expect("there is room")
    }

    /// Types of everything the connection has not read yet.
    fn received(link: &Link) -> Vec<String> {
        let mut ready = std::collections::VecDeque::new();
        link.take_ready(&mut ready);
        let mut read = Vec::new();
        for slot in ready {
            link.fetch(slot, 100, &mut read);
        }
        read.iter().map(|publication| publication.kind().to_owned()).collect()
    }

    #[test]
    fn several_subscriptions_that_match_deliver_once() {
        let (hub, link) = (hub(), link(1, &[]));
        for name in ["a.b", "a.*", "*"] {
            hub.subscribe(&link, name, None, NOW).expect("allowed");
        }
        assert_eq!(publish(&hub, "a.b", "one"), 1);
        assert_eq!(received(&link), ["one"]);
        hub.unsubscribe(&link, "a.b", NOW);
        hub.unsubscribe(&link, "a.*", NOW);
        assert_eq!(publish(&hub, "a.b", "two"), 1);
        assert_eq!(received(&link), ["two"]);
        hub.unsubscribe(&link, "*", NOW);
        assert_eq!(publish(&hub, "a.b", "three"), 0);
        assert_eq!(received(&link), Vec::<String>::new());
    }

    #[test]
    fn a_pattern_meets_topics_that_come_later_but_not_denied_ones() {
        let (hub, link) = (hub(), link(1, &["*.secret"]));
        hub.subscribe(&link, "a.*", None, NOW).expect("allowed");
        assert_eq!(publish(&hub, "a.new", "first"), 1);
        assert_eq!(publish(&hub, "a.secret", "hidden"), 0);
        assert_eq!(publish(&hub, "b", "other"), 0);
        assert_eq!(received(&link), ["first"]);
    }

    #[test]
    fn late_joiners_get_the_last_snapshot_of_each_type() {
        let hub = hub();
        for kind in ["cpu_snapshot", "mem_snapshot", "cpu_snapshot", "cpu_update"] {
            publish(&hub, "host", kind);
        }
        for name in ["host", "h*"] {
            let link = link(1, &[]);
            let fresh = hub.subscribe(&link, name, None, NOW).expect("allowed");
            let snapshots = hub.resume(&link, &fresh[0], None, NOW).expect("subscribed").snapshots;
            let kinds: Vec<_> = snapshots.iter().map(|publication| publication.kind()).collect();
            assert_eq!(kinds, ["mem_snapshot", "cpu_snapshot"]);
            assert!(hub.subscribe(&link, name, None, NOW).expect("allowed").is_empty(), "only the first time");
        }
    }

    #[test]
    fn numbers_of_topics_are_bounded_and_unused_ones_forgotten() {
        let (hub, link) = (hub(), link(1, &[]));
        hub.subscribe(&link, "kept", None, NOW).expect("there is room");
        for topic in ["b", "c", "d"] {
            publish(&hub, topic, "k");
        }
        assert_eq!(hub.subscribe(&link, "e", None, NOW).expect_err("full"), Code::TooManyTopics);
        let later = NOW + Duration::from_secs(61);
        hub.sweep(later);
        assert_eq!(hub.topic_count(), 1);
        hub.subscribe(&link, "e", None, later).expect("there is room again");
        hub.subscribe(&link, "f*", None, later).expect("the third");
        assert_eq!(hub.subscribe(&link, "g", None, later).expect_err("over the limit"), Code::TooManyTopics);
    }

    #[test]
    fn a_topic_with_a_publication_on_its_way_is_not_forgotten() {
        let hub = hub();
        publish(&hub, "a", "k");
        publish(&hub, "b", "k");
        let later = NOW + Duration::from_secs(61);
        let topic = hub.known_and_used("a", later).expect("published to");
        hub.sweep(later);
        assert!(Arc::ptr_eq(&hub.known("a").expect("in use"), &topic));
        assert_eq!(hub.topic_count(), 1);
    }

    #[test]
    fn who_joins_a_group_takes_over_from_a_member_that_does_not_read() {
        let hub = hub();
        let (stalled, other) = (link(1, &[]), link(2, &[]));
        hub.subscribe(&stalled, "a", Some("g"), NOW).expect("allowed");
        publish(&hub, "a", "one");
        stalled.set_stalled(true);
        hub.subscribe(&other, "a", Some("g"), NOW).expect("allowed");
        assert_eq!(received(&other), ["one"]);
    }

    #[test]
    fn when_the_member_that_was_to_take_over_leaves_another_one_does() {
        let hub = hub();
        let links = [link(1, &[]), link(2, &[]), link(3, &[])];
        for link in &links {
            hub.subscribe(link, "a", Some("g"), NOW).expect("allowed");
        }
        let [stalled, woken, other] = links;
        publish(&hub, "a", "one");
        stalled.set_stalled(true);
        assert_eq!(hub.remove(&woken, NOW), 0);
        assert_eq!(received(&other), ["one"]);
    }

    #[test]
    fn what_was_dropped_while_the_inbox_was_emptied_is_told_all_the_same() {
        let limits = QueueLimits { max_items: 1, max_bytes: usize::MAX };
        let link = Link::new(1, "c".into(), Identity::default(), limits, Arc::default());
        let message = |priority| Outgoing { priority, ..Outgoing::new("k", Payload::EMPTY) };
        link.send(message(Priority::Low)).expect("room");
        assert_eq!(link.take_dropped(), None);
        assert_eq!(link.send(message(Priority::High)).expect("urgent").displaced.len(), 1);
        let mut out = Vec::new();
        while link.next_mail(&mut out, true, |sizes, _| sizes.count()).is_some() {}
        assert_eq!(out.len(), 1);
        assert_eq!(link.take_dropped(), Some([0, 1, 0, 0, 0]));
    }

    #[test]
    fn a_group_ends_with_the_subscription_that_joined_it() {
        let hub = hub();
        let (mover, member) = (link(1, &[]), link(2, &[]));
        hub.subscribe(&mover, "t.a", Some("g"), NOW).expect("allowed");
        hub.subscribe(&member, "t.a", Some("g"), NOW).expect("allowed");
        hub.subscribe(&mover, "t.*", None, NOW).expect("allowed");
        publish(&hub, "t.a", "one");
        assert_eq!(hub.unsubscribe(&mover, "t.a", NOW), 0);
        assert_eq!(received(&member), ["one"], "of the two, the one that is still a member");
        assert_eq!(publish(&hub, "t.a", "two"), 2);
        assert_eq!(publish(&hub, "t.a", "three"), 2);
        assert_eq!(received(&mover), ["two", "three"]);
        hub.subscribe(&mover, "t.a", Some("g"), NOW).expect("allowed");
        hub.unsubscribe(&mover, "t.*", NOW);
        assert_eq!(publish(&hub, "t.a", "four"), 1, "both are members");
    }

    #[test]
    fn a_place_in_a_group_stays_while_a_subscription_with_that_group_covers_the_topic() {
        let (hub, link) = (hub(), link(1, &[]));
        hub.subscribe(&link, "t.a", Some("g"), NOW).expect("allowed");
        hub.subscribe(&link, "*", None, NOW).expect("allowed");
        hub.subscribe(&link, "t.*", Some("g"), NOW).expect("allowed");
        publish(&hub, "t.a", "one");
        assert_eq!(hub.unsubscribe(&link, "t.a", NOW), 0, "nothing that waits for it is lost");
        assert_eq!(received(&link), ["one"]);
        assert_eq!(hub.unsubscribe(&link, "*", NOW), 0);
        publish(&hub, "t.a", "two");
        assert_eq!(received(&link), ["two"]);
    }

    #[test]
    fn a_removed_connection_leaves_nothing_behind() {
        let (hub, link) = (hub(), link(1, &[]));
        hub.subscribe(&link, "a", None, NOW).expect("allowed");
        hub.subscribe(&link, "*", None, NOW).expect("allowed");
        hub.remove(&link, NOW);
        assert_eq!(publish(&hub, "a", "k"), 0);
        assert!(read(&hub.registry).patterns.is_empty());
        assert_eq!(Arc::strong_count(&link), 1);
    }

    #[test]
    fn many_publications_wake_once() {
        let (hub, link) = (hub(), link(1, &[]));
        hub.subscribe(&link, "a", None, NOW).expect("allowed");
        for _ in 0..5 {
            publish(&hub, "a", "k");
        }
        let mut ready = std::collections::VecDeque::new();
        link.take_ready(&mut ready);
        assert_eq!(ready.len(), 1);
    }

    fn at(hub: &Hub, topic: &str, offset: u64) -> Position {
        let topic = hub.topic(&mut write(&hub.registry), &topic.into(), NOW).expect("there is room");
        Position { epoch: topic.epoch().to_string(), offset: Some(offset) }
    }

    #[test]
    fn a_connection_resumes_where_the_last_one_ended() {
        let hub = hub_with_history(4);
        for number in 0..6 {
            publish(&hub, "a", &format!("k{number}"));
        }
        hub.sweep(NOW);
        let link = link(1, &[]);
        hub.subscribe(&link, "a", None, NOW).expect("allowed");
        let recovery =
            hub.resume(&link, "a", Some(&at(&hub, "a", 3)), NOW).expect("subscribed").recovery.expect("a history");
        assert_eq!((recovery.offset, recovery.recovered, recovery.count), (Some(5), Some(true), Some(2)));
        assert_eq!(received(&link), ["k4", "k5"]);
        let recovery =
            hub.resume(&link, "a", Some(&at(&hub, "a", 0)), NOW).expect("subscribed").recovery.expect("a history");
        assert_eq!((recovery.offset, recovery.recovered, recovery.count), (Some(5), Some(false), Some(4)));
        assert_eq!(received(&link), ["k2", "k3", "k4", "k5"]);
        let other = Position { epoch: "other".into(), offset: Some(9) };
        let recovery = hub.resume(&link, "a", Some(&other), NOW).expect("subscribed").recovery.expect("a history");
        assert_eq!((recovery.recovered, recovery.count), (Some(false), Some(4)));
        assert!(hub.resume(&link, "b", None, NOW).is_none(), "not subscribed");
    }

    #[test]
    fn without_a_history_there_are_no_positions() {
        let (hub, link) = (hub(), link(1, &[]));
        hub.subscribe(&link, "a", None, NOW).expect("allowed");
        assert_eq!(hub.resume(&link, "a", None, NOW).expect("subscribed").recovery, None);
    }

    /// Room for six publications without payload in all topics together.
    fn hub_with_budget(cost: usize) -> Hub {
        let history = HistoryBounds { count: 100, age: Duration::from_secs(300) };
        let ring = RingBounds { count: 100, bytes: 1 << 20, history };
        Hub::new(HubBounds {
            ring,
            history_bytes: 6 * cost,
            topics: 9,
            topics_per_connection: 3,
            presence: PresenceBounds::default(),
        })
    }

    fn cost_of_one() -> usize {
        Publication::new("a", Outgoing::new("k", Payload::EMPTY), String::new(), String::new(), None).cost()
    }

    fn publish_at(hub: &Hub, topic: &str, millis: u64) {
        let message = Outgoing::new("k", Payload::EMPTY);
        let publication = Publication::new(topic, message, String::new(), String::new(), None);
        hub.deliver(Arc::new(publication), Moment::from_millis(millis)).expect("there is room");
    }

    fn offsets_held(hub: &Hub, topic: &str) -> std::ops::Range<u64> {
        let stretch = read(&hub.registry).topics[topic].stretch(None, 100, None).expect("a history");
        stretch.base..stretch.head
    }

    #[test]
    fn over_the_budget_the_topic_that_was_used_longest_ago_gives_up_its_oldest_first() {
        let hub = hub_with_budget(cost_of_one());
        for millis in 0..3 {
            publish_at(&hub, "a", millis);
        }
        for millis in 3..6 {
            publish_at(&hub, "b", millis);
        }
        assert_eq!((hub.evicted(), hub.held_bytes()), (0, 6 * cost_of_one()));
        publish_at(&hub, "c", 6);
        assert_eq!(offsets_held(&hub, "a"), 2..3, "room for a while is made at once");
        assert_eq!((offsets_held(&hub, "b"), offsets_held(&hub, "c")), (0..3, 0..1));
        read(&hub.registry).topics["a"].stretch(None, 1, Some(Moment::from_millis(7))).expect("a history");
        publish_at(&hub, "c", 8);
        publish_at(&hub, "c", 9);
        assert_eq!((offsets_held(&hub, "a"), offsets_held(&hub, "b")), (2..3, 2..3), "reading counts as use");
        assert!(hub.held_bytes() <= 6 * cost_of_one());
    }

    #[test]
    fn the_newest_publication_stays_even_if_nobody_has_to_read_it_and_it_is_larger_than_the_budget() {
        let hub = hub_with_budget(cost_of_one());
        publish_at(&hub, "b", 0);
        publish_at(&hub, "a", 1);
        let payload = Payload::from_json(format!("\"{}\"", "x".repeat(6 * cost_of_one()))).expect("JSON");
        let large = Publication::new("a", Outgoing::new("k", payload), String::new(), String::new(), None);
        hub.deliver(Arc::new(large), Moment::from_millis(2)).expect("there is room");
        assert_eq!((offsets_held(&hub, "a"), offsets_held(&hub, "b")), (1..2, 1..1));
        publish_at(&hub, "b", 3);
        assert_eq!((offsets_held(&hub, "a"), offsets_held(&hub, "b")), (2..2, 1..2));
    }

    #[test]
    fn what_nobody_has_read_goes_last_and_readers_are_told() {
        let (hub, link) = (hub_with_budget(cost_of_one()), link(1, &[]));
        hub.subscribe(&link, "slow", None, NOW).expect("allowed");
        for millis in 0..3 {
            publish_at(&hub, "slow", millis);
        }
        for millis in 3..20 {
            publish_at(&hub, "x", millis);
        }
        assert_eq!(offsets_held(&hub, "slow").start, 0, "there was something else to let go");
        for millis in 20..24 {
            publish_at(&hub, "slow", millis);
        }
        assert!(hub.held_bytes() <= 6 * cost_of_one());
        assert_eq!(offsets_held(&hub, "x"), 17..17);
        let mut read = Vec::new();
        let fetched = link.fetch(0, 100, &mut read).expect("subscribed").fetched;
        assert_eq!((fetched.lost, fetched.lost + read.len() as u64), (2, 7));
        publish_at(&hub, "slow", 30);
        drop(hub);
    }

    #[test]
    fn a_forgotten_topic_gives_its_memory_back() {
        let hub = hub_with_budget(cost_of_one());
        publish(&hub, "a", "k_snapshot");
        assert!(hub.held_bytes() > cost_of_one(), "the snapshot counts too");
        hub.sweep(NOW + Duration::from_secs(7200));
        hub.sweep(NOW + Duration::from_secs(7200));
        assert_eq!((hub.topic_count(), hub.held_bytes()), (0, 0));
    }
}
