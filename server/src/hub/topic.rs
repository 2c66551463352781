//! A topic: its ring, its subscribers and its last snapshots.

use std::{
    fmt,
    sync::{
        Arc, RwLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use wse_client_core::{
    delivery::{Position, TopicRecovery},
    time::Moment,
};

use super::{
    link::Link,
    look::TopicState,
    publication::Publication,
    ring::{Fetched, Ring, RingBounds},
};
use crate::{
    clock,
    history::Stretch,
    sync::{read, write},
};

/// Most snapshots remembered for one topic: one for each type, the oldest gives way.
const MAX_SNAPSHOTS: usize = 16;

/// How long a topic is remembered that nobody listens to and nobody publishes to.
const FORGET_AFTER: Duration = Duration::from_secs(60);

/// The same for a topic with a snapshot, which late joiners would miss.
const FORGET_SNAPSHOT_AFTER: Duration = Duration::from_secs(3600);

/// One connection's place in one topic.
pub(crate) struct Subscriber {
    link: Arc<Link>,
    /// Names the subscription inside its connection.
    slot: u32,
    /// Next position to read. Written by the connection's task alone.
    cursor: AtomicU64,
    /// Whether the connection knows already that there is something to read.
    announced: AtomicBool,
}

impl Subscriber {
    /// One wake at most, however many publications come before the connection has read them all.
    ///
    /// The relaxed look is enough: both sides hold the topic's lock between it and the ring.
    fn announce(&self) {
        if !self.announced.load(Ordering::Relaxed) && !self.announced.swap(true, Ordering::AcqRel) {
            self.link.announce(self.slot);
        }
    }
}

impl fmt::Debug for Subscriber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscriber").field("slot", &self.slot).field("cursor", &self.cursor).finish_non_exhaustive()
    }
}

/// Where a subscriber goes on.
#[derive(Debug)]
pub(crate) struct Resumed {
    /// What the client is told; `None` for a topic without a history.
    pub(crate) recovery: Option<TopicRecovery>,
    /// The state of the topic, as far as it is not among what follows.
    pub(crate) snapshots: Vec<Arc<Publication>>,
}

#[derive(Debug)]
struct State {
    ring: Ring,
    subscribers: Vec<Arc<Subscriber>>,
    /// With their places in the ring.
    snapshots: Vec<(u64, Arc<Publication>)>,
}

/// One exact topic.
#[derive(Debug)]
pub(crate) struct Topic {
    name: Arc<str>,
    /// Names this life of the topic: a client that comes back sees whether positions still mean the same.
    epoch: Arc<str>,
    state: RwLock<State>,
    last_publication: AtomicU64,
}

impl Topic {
    pub(crate) fn new(name: Arc<str>, bounds: RingBounds, now: Moment) -> Self {
        let state = State { ring: Ring::new(bounds), subscribers: Vec::new(), snapshots: Vec::new() };
        let epoch = clock::random_name("").into();
        Self { name, epoch, state: RwLock::new(state), last_publication: AtomicU64::new(now.as_millis()) }
    }

    pub(crate) const fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Adds a publication and wakes whoever sleeps. Answers how many connections will get it.
    pub(crate) fn append(&self, publication: Arc<Publication>, now: Moment) -> usize {
        self.last_publication.store(now.as_millis(), Ordering::Relaxed);
        let reached = {
            let mut state = write(&self.state);
            if publication.is_snapshot() {
                state.remember(&publication);
            }
            if state.ring.keeps_history() {
                publication.stamp(&self.epoch, state.ring.head());
            } else if state.subscribers.is_empty() {
                return 0;
            }
            state.ring.push(publication, now);
            state.subscribers.len()
        };
        for subscriber in &read(&self.state).subscribers {
            subscriber.announce();
        }
        reached
    }

    /// Adds a connection, which reads what is published from here on.
    pub(crate) fn attach(&self, link: &Arc<Link>, slot: u32) -> Arc<Subscriber> {
        let mut state = write(&self.state);
        let subscriber = Arc::new(Subscriber {
            link: Arc::clone(link),
            slot,
            cursor: AtomicU64::new(state.ring.head()),
            announced: AtomicBool::new(false),
        });
        state.subscribers.push(Arc::clone(&subscriber));
        subscriber
    }

    /// Where a subscriber stands, after it was moved to what a client missed since `position`. With the snapshots
    /// that it does not get in the course of that.
    pub(crate) fn resume(&self, subscriber: &Subscriber, position: Option<&Position>) -> Resumed {
        // The lock keeps publications out while the cursor moves; it is this connection's task that moves it.
        let state = write(&self.state);
        let (base, head) = (state.ring.base(), state.ring.head());
        let mut recovered = true;
        if let Some(position) = position {
            let wanted = position.offset.map_or(0, |offset| offset.saturating_add(1));
            let known = *position.epoch == *self.epoch;
            recovered = known && wanted >= base;
            subscriber.cursor.store(if known { wanted.clamp(base, head) } else { base }, Ordering::Relaxed);
        }
        let cursor = subscriber.cursor.load(Ordering::Relaxed).max(base);
        if cursor < head {
            subscriber.announce();
        }
        let up_to_date = position.is_some() && recovered;
        let replayed = |at: u64| state.ring.keeps_history() && at >= cursor;
        let due = state.snapshots.iter().filter(|(at, _)| !up_to_date && !replayed(*at));
        let snapshots = due.map(|(_, snapshot)| Arc::clone(snapshot)).collect();
        let recovery = state.ring.keeps_history().then(|| TopicRecovery {
            epoch: Some(self.epoch.to_string()),
            offset: head.checked_sub(1),
            recovered: Some(recovered),
            count: Some(head - cursor),
        });
        Resumed { recovery, snapshots }
    }

    /// At most `limit` publications after a position; without one, the newest. `None` without a history.
    pub(crate) fn stretch(&self, after: Option<&Position>, limit: usize) -> Option<Stretch> {
        let state = read(&self.state);
        if !state.ring.keeps_history() {
            return None;
        }
        let (base, head) = (state.ring.base(), state.ring.head());
        let known = after.is_none_or(|position| *position.epoch == *self.epoch);
        let wanted = match after {
            Some(position) if known => position.offset.map_or(0, |offset| offset.saturating_add(1)),
            Some(_) => base,
            None => head.saturating_sub(limit as u64).max(base),
        };
        let mut publications = Vec::new();
        let from = wanted.clamp(base, head);
        state.ring.fetch(from, limit, &mut publications);
        let epoch = Arc::clone(&self.epoch);
        Some(Stretch { epoch, base, head, recovered: known && wanted >= base, from, publications })
    }

    /// Removes a connection.
    pub(crate) fn detach(&self, subscriber: &Arc<Subscriber>) {
        let mut state = write(&self.state);
        if let Some(index) = state.subscribers.iter().position(|other| Arc::ptr_eq(other, subscriber)) {
            state.subscribers.swap_remove(index);
        }
        if state.subscribers.is_empty() && !state.ring.keeps_history() {
            let head = state.ring.head();
            state.ring.forget(head);
        }
    }

    /// Reads on for one subscriber. While there is more it is not announced again: the reader comes back itself.
    pub(crate) fn fetch(&self, subscriber: &Subscriber, max: usize, out: &mut Vec<Arc<Publication>>) -> Fetched {
        let mut fetched = read(&self.state).ring.fetch(subscriber.cursor.load(Ordering::Relaxed), max, out);
        subscriber.cursor.store(fetched.cursor, Ordering::Relaxed);
        if !fetched.more {
            subscriber.announced.store(false, Ordering::Release);
            // A publication between the read and the store was not announced: it is this reader's to fetch.
            let missed = read(&self.state).ring.head() > fetched.cursor;
            fetched.more = missed && !subscriber.announced.swap(true, Ordering::AcqRel);
        }
        fetched
    }

    /// Lets go of what every subscriber has read and the history need not keep; with `all`, of the history too.
    /// Answers the bytes that are still held.
    pub(crate) fn trim(&self, now: Moment, all: bool) -> usize {
        if read(&self.state).ring.is_empty() {
            return 0;
        }
        let mut state = write(&self.state);
        let slowest = state.subscribers.iter().map(|subscriber| subscriber.cursor.load(Ordering::Relaxed)).min();
        let slowest = slowest.unwrap_or_else(|| state.ring.head());
        if all {
            state.ring.forget(slowest);
        } else {
            state.ring.trim(slowest, now);
        }
        state.ring.bytes()
    }

    /// The topic as it is just now.
    pub(super) fn look(&self) -> TopicState {
        let state = read(&self.state);
        let (base, head) = (state.ring.base(), state.ring.head());
        let slowest = state.subscribers.iter().map(|subscriber| subscriber.cursor.load(Ordering::Relaxed)).min();
        TopicState {
            topic: self.name.to_string(),
            subscribers: state.subscribers.len(),
            held: head - base,
            held_bytes: state.ring.bytes(),
            published: head,
            lag: slowest.map_or(0, |cursor| head.saturating_sub(cursor)),
        }
    }

    /// This life of the topic.
    pub(crate) const fn epoch(&self) -> &Arc<str> {
        &self.epoch
    }

    /// Whether nobody would miss it. A history that is still held is missed, unless room is needed.
    pub(crate) fn is_forgotten(&self, now: Moment, room_needed: bool) -> bool {
        let state = read(&self.state);
        if !room_needed && !state.ring.is_empty() {
            return false;
        }
        let after = if state.snapshots.is_empty() { FORGET_AFTER } else { FORGET_SNAPSHOT_AFTER };
        let last = Moment::from_millis(self.last_publication.load(Ordering::Relaxed));
        state.subscribers.is_empty() && now.since(last) > after
    }
}

impl State {
    fn remember(&mut self, publication: &Arc<Publication>) {
        self.snapshots.retain(|(_, other)| other.kind() != publication.kind());
        if self.snapshots.len() == MAX_SNAPSHOTS {
            self.snapshots.remove(0);
        }
        // What is told out of turn has no place in the order of the topic.
        self.snapshots.push((self.ring.head(), Arc::new(publication.without_position())));
    }
}
