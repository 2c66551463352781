//! Who listens to what. A publication goes to its topic's ring; subscribers read it from there.
//!
//! Locks are taken in the order registry, subscriptions of a connection, state of a topic, and none is held
//! across an await.

mod history;
mod link;
mod look;
mod publication;
mod ring;
mod topic;
mod wake;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, RwLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use wse_client_core::{
    delivery::Position,
    error::Code,
    time::Moment,
    topic::{is_pattern, matches},
};

pub(crate) use link::{Ending, Link, Mail, TopicRead, Waiting};
pub(crate) use look::TopicState;
pub(crate) use publication::{Framed, Publication};
pub(crate) use ring::{HistoryBounds, RingBounds};
pub(crate) use topic::Resumed;

use crate::{
    presence::{PresencePage, PresenceQuery},
    sync::{read, write},
};
use topic::Topic;

/// Topics, patterns and their subscribers.
#[derive(Debug)]
pub(crate) struct Hub {
    registry: RwLock<Registry>,
    bounds: HubBounds,
    /// As of the last sweep.
    held: AtomicUsize,
}

/// Bounds on what a hub holds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HubBounds {
    /// Of each topic's ring.
    pub(crate) ring: RingBounds,
    /// Most bytes that all histories hold together; above it all that is read is let go.
    pub(crate) history_bytes: usize,
    /// Most topics in all.
    pub(crate) topics: usize,
    /// Most topics and patterns that one connection may ask for.
    pub(crate) topics_per_connection: usize,
}

#[derive(Debug, Default)]
struct Registry {
    topics: HashMap<Arc<str>, Arc<Topic>>,
    /// Connections by number, for each pattern. Looked through only when a topic appears.
    patterns: BTreeMap<String, HashMap<u64, Arc<Link>>>,
}

impl Hub {
    pub(crate) fn new(bounds: HubBounds) -> Self {
        Self { registry: RwLock::default(), bounds, held: AtomicUsize::new(0) }
    }

    /// Who is in a topic.
    pub(crate) fn presence(&self, topic: &str, _query: &PresenceQuery) -> PresencePage {
        PresencePage { topic: topic.to_owned(), ..PresencePage::default() }
    }

    /// Number of topics that are remembered.
    pub(crate) fn topic_count(&self) -> usize {
        read(&self.registry).topics.len()
    }

    /// Bytes that all topics held when they were last looked at.
    pub(crate) fn held_bytes(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// Hands a publication to its subscribers. Answers how many connections will get it.
    ///
    /// # Errors
    /// [`Code::TooManyTopics`] when the topic is new and there is no room for it.
    pub(crate) fn deliver(&self, publication: Arc<Publication>, now: Moment) -> Result<usize, Code> {
        let known = read(&self.registry).topics.get(publication.topic()).cloned();
        let topic = match known {
            Some(topic) => topic,
            None => self.topic(&mut write(&self.registry), publication.topic(), now)?,
        };
        Ok(topic.append(publication, now))
    }

    /// Subscribes a connection to a topic or pattern. Answers the topics that it reads from now on and did not before;
    /// [`Hub::resume`] tells their state.
    ///
    /// # Errors
    /// [`Code::TooManyTopics`].
    pub(crate) fn subscribe(&self, link: &Arc<Link>, name: &str, now: Moment) -> Result<Vec<Arc<str>>, Code> {
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
            subscriptions.request(name);
            let fresh = subscriptions.attach(link, &topic);
            return Ok(fresh.then(|| Arc::clone(topic.name())).into_iter().collect());
        }
        registry.patterns.entry(name.to_owned()).or_default().insert(link.number(), Arc::clone(link));
        let mut subscriptions = link.subscriptions();
        subscriptions.request(name);
        let met = registry.topics.values().filter(|topic| meets(name, topic.name(), link));
        let fresh = met.filter(|topic| subscriptions.attach(link, topic));
        Ok(fresh.map(|topic| Arc::clone(topic.name())).collect())
    }

    /// Moves a connection to what it missed of a topic since `position`. `None` when it does not read the topic.
    pub(crate) fn resume(&self, link: &Link, topic: &str, position: Option<&Position>) -> Option<Resumed> {
        link.subscriptions().resume(topic, position)
    }

    /// Ends a subscription. Topics that another subscription of the connection covers stay.
    pub(crate) fn unsubscribe(&self, link: &Arc<Link>, name: &str) {
        let mut registry = write(&self.registry);
        registry.forget_pattern(name, link);
        let mut subscriptions = link.subscriptions();
        subscriptions.withdraw(name);
        subscriptions.detach_uncovered(name, link.identity());
    }

    /// Ends all subscriptions of a connection.
    pub(crate) fn remove(&self, link: &Arc<Link>) {
        let mut registry = write(&self.registry);
        let mut subscriptions = link.subscriptions();
        for pattern in subscriptions.patterns() {
            registry.forget_pattern(pattern, link);
        }
        subscriptions.clear();
    }

    /// Housekeeping: lets go of publications that everyone has read, and of topics that nobody uses.
    pub(crate) fn sweep(&self, now: Moment) {
        let topics: Vec<Arc<Topic>> = read(&self.registry).topics.values().cloned().collect();
        let mut forgotten = false;
        let mut held = 0;
        for topic in &topics {
            held += topic.trim(now, false);
            forgotten |= topic.is_forgotten(now, false);
        }
        self.held.store(held, Ordering::Relaxed);
        if held > self.bounds.history_bytes {
            tracing::warn!(held, limit = self.bounds.history_bytes, "histories are over their budget and are let go");
            for topic in &topics {
                topic.trim(now, true);
            }
        }
        if forgotten {
            write(&self.registry).topics.retain(|_, topic| !topic.is_forgotten(now, false));
        }
    }

    /// The topic of this name. If it is new, whoever subscribed to a matching pattern is attached first.
    fn topic(&self, registry: &mut Registry, name: &Arc<str>, now: Moment) -> Result<Arc<Topic>, Code> {
        if let Some(topic) = registry.topics.get(name) {
            return Ok(Arc::clone(topic));
        }
        if registry.topics.len() >= self.bounds.topics {
            registry.topics.retain(|_, topic| !topic.is_forgotten(now, true));
            if registry.topics.len() >= self.bounds.topics {
                return Err(Code::TooManyTopics);
            }
        }
        let topic = Arc::new(Topic::new(Arc::clone(name), self.bounds.ring, now));
        for (pattern, links) in &registry.patterns {
            for link in links.values().filter(|link| meets(pattern, name, link)) {
                link.subscriptions().attach(link, &topic);
            }
        }
        registry.topics.insert(Arc::clone(name), Arc::clone(&topic));
        Ok(topic)
    }
}

impl Registry {
    fn forget_pattern(&mut self, pattern: &str, link: &Link) {
        if let Some(links) = self.patterns.get_mut(pattern) {
            links.remove(&link.number());
            if links.is_empty() {
                self.patterns.remove(pattern);
            }
        }
    }
}

/// Whether a pattern reaches a topic for this connection: a wide pattern gives no right to a denied topic.
fn meets(pattern: &str, topic: &str, link: &Link) -> bool {
    matches(pattern, topic) && link.identity().subscribe.allows(topic)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use wse_client_core::{client::Outgoing, server::Identity, topic::Acl, wire::Payload};

    use super::*;

    const NOW: Moment = Moment::ORIGIN;

    fn hub() -> Hub {
        hub_with_history(0)
    }

    fn hub_with_history(count: usize) -> Hub {
        let history = HistoryBounds { count, age: Duration::from_secs(300) };
        let ring = RingBounds { count: 8, bytes: 1 << 20, history };
        Hub::new(HubBounds { ring, history_bytes: 1 << 20, topics: 4, topics_per_connection: 3 })
    }

    fn link(number: u64, deny: &[&str]) -> Arc<Link> {
        let subscribe = Acl { allow: Vec::new(), deny: deny.iter().map(|&text| text.into()).collect() };
        let identity = Identity { subscribe, ..Identity::default() };
        Arc::new(Link::new(number, number.to_string(), identity, 1000, Arc::default()))
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
            hub.subscribe(&link, name, NOW).expect("allowed");
        }
        assert_eq!(publish(&hub, "a.b", "one"), 1);
        assert_eq!(received(&link), ["one"]);
        hub.unsubscribe(&link, "a.b");
        hub.unsubscribe(&link, "a.*");
        assert_eq!(publish(&hub, "a.b", "two"), 1);
        assert_eq!(received(&link), ["two"]);
        hub.unsubscribe(&link, "*");
        assert_eq!(publish(&hub, "a.b", "three"), 0);
        assert_eq!(received(&link), Vec::<String>::new());
    }

    #[test]
    fn a_pattern_meets_topics_that_come_later_but_not_denied_ones() {
        let (hub, link) = (hub(), link(1, &["*.secret"]));
        hub.subscribe(&link, "a.*", NOW).expect("allowed");
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
            let fresh = hub.subscribe(&link, name, NOW).expect("allowed");
            let snapshots = hub.resume(&link, &fresh[0], None).expect("subscribed").snapshots;
            let kinds: Vec<_> = snapshots.iter().map(|publication| publication.kind()).collect();
            assert_eq!(kinds, ["mem_snapshot", "cpu_snapshot"]);
            assert!(hub.subscribe(&link, name, NOW).expect("allowed").is_empty(), "only the first time");
        }
    }

    #[test]
    fn numbers_of_topics_are_bounded_and_unused_ones_forgotten() {
        let (hub, link) = (hub(), link(1, &[]));
        hub.subscribe(&link, "kept", NOW).expect("there is room");
        for topic in ["b", "c", "d"] {
            publish(&hub, topic, "k");
        }
        assert_eq!(hub.subscribe(&link, "e", NOW).expect_err("full"), Code::TooManyTopics);
        let later = NOW + Duration::from_secs(61);
        hub.sweep(later);
        assert_eq!(hub.topic_count(), 1);
        hub.subscribe(&link, "e", later).expect("there is room again");
        hub.subscribe(&link, "f*", later).expect("the third");
        assert_eq!(hub.subscribe(&link, "g", later).expect_err("over the limit"), Code::TooManyTopics);
    }

    #[test]
    fn a_removed_connection_leaves_nothing_behind() {
        let (hub, link) = (hub(), link(1, &[]));
        hub.subscribe(&link, "a", NOW).expect("allowed");
        hub.subscribe(&link, "*", NOW).expect("allowed");
        hub.remove(&link);
        assert_eq!(publish(&hub, "a", "k"), 0);
        assert!(read(&hub.registry).patterns.is_empty());
        assert_eq!(Arc::strong_count(&link), 1);
    }

    #[test]
    fn many_publications_wake_once() {
        let (hub, link) = (hub(), link(1, &[]));
        hub.subscribe(&link, "a", NOW).expect("allowed");
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
        hub.subscribe(&link, "a", NOW).expect("allowed");
        let recovery =
            hub.resume(&link, "a", Some(&at(&hub, "a", 3))).expect("subscribed").recovery.expect("a history");
        assert_eq!((recovery.offset, recovery.recovered, recovery.count), (Some(5), Some(true), Some(2)));
        assert_eq!(received(&link), ["k4", "k5"]);
        let recovery =
            hub.resume(&link, "a", Some(&at(&hub, "a", 0))).expect("subscribed").recovery.expect("a history");
        assert_eq!((recovery.offset, recovery.recovered, recovery.count), (Some(5), Some(false), Some(4)));
        assert_eq!(received(&link), ["k2", "k3", "k4", "k5"]);
        let other = Position { epoch: "other".into(), offset: Some(9) };
        let recovery = hub.resume(&link, "a", Some(&other)).expect("subscribed").recovery.expect("a history");
        assert_eq!((recovery.recovered, recovery.count), (Some(false), Some(4)));
        assert!(hub.resume(&link, "b", None).is_none(), "not subscribed");
    }

    #[test]
    fn without_a_history_there_are_no_positions() {
        let (hub, link) = (hub(), link(1, &[]));
        hub.subscribe(&link, "a", NOW).expect("allowed");
        assert_eq!(hub.resume(&link, "a", None).expect("subscribed").recovery, None);
    }

    #[test]
    fn a_history_over_its_budget_is_let_go() {
        let history = HistoryBounds { count: 4, age: Duration::from_secs(300) };
        let ring = RingBounds { count: 8, bytes: 1 << 20, history };
        let hub = Hub::new(HubBounds { ring, history_bytes: 1, topics: 4, topics_per_connection: 3 });
        publish(&hub, "a", "k");
        hub.sweep(NOW);
        let link = link(1, &[]);
        hub.subscribe(&link, "a", NOW).expect("allowed");
        let beginning = Position { offset: None, ..at(&hub, "a", 0) };
        let recovery = hub.resume(&link, "a", Some(&beginning)).expect("subscribed").recovery.expect("a history");
        assert_eq!((recovery.recovered, recovery.count), (Some(false), Some(0)));
    }
}
