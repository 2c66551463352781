//! A topic: its ring, its subscribers and its last snapshots.

use std::{
    fmt,
    sync::{
        Arc, RwLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use wse_client_core::time::Moment;

use super::{
    link::Link,
    publication::Publication,
    ring::{Fetched, Ring, RingBounds},
};
use crate::sync::{read, write};

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

#[derive(Debug)]
struct State {
    ring: Ring,
    subscribers: Vec<Arc<Subscriber>>,
    snapshots: Vec<Arc<Publication>>,
}

/// One exact topic.
#[derive(Debug)]
pub(crate) struct Topic {
    name: Arc<str>,
    state: RwLock<State>,
    last_publication: AtomicU64,
}

impl Topic {
    pub(crate) fn new(name: Arc<str>, bounds: RingBounds, now: Moment) -> Self {
        let state = State { ring: Ring::new(bounds), subscribers: Vec::new(), snapshots: Vec::new() };
        Self { name, state: RwLock::new(state), last_publication: AtomicU64::new(now.as_millis()) }
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
            if state.subscribers.is_empty() {
                return 0;
            }
            state.ring.push(publication);
            state.subscribers.len()
        };
        for subscriber in &read(&self.state).subscribers {
            subscriber.announce();
        }
        reached
    }

    /// Adds a connection, which reads what is published from here on. Also tells the state so far.
    pub(crate) fn attach(&self, link: &Arc<Link>, slot: u32) -> (Arc<Subscriber>, Vec<Arc<Publication>>) {
        let mut state = write(&self.state);
        let subscriber = Arc::new(Subscriber {
            link: Arc::clone(link),
            slot,
            cursor: AtomicU64::new(state.ring.head()),
            announced: AtomicBool::new(false),
        });
        state.subscribers.push(Arc::clone(&subscriber));
        (subscriber, state.snapshots.clone())
    }

    /// Removes a connection.
    pub(crate) fn detach(&self, subscriber: &Arc<Subscriber>) {
        let mut state = write(&self.state);
        if let Some(index) = state.subscribers.iter().position(|other| Arc::ptr_eq(other, subscriber)) {
            state.subscribers.swap_remove(index);
        }
        if state.subscribers.is_empty() {
            let head = state.ring.head();
            state.ring.trim(head);
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

    /// Lets go of what every subscriber has read.
    pub(crate) fn trim(&self) {
        if read(&self.state).ring.is_empty() {
            return;
        }
        let mut state = write(&self.state);
        let slowest = state.subscribers.iter().map(|subscriber| subscriber.cursor.load(Ordering::Relaxed)).min();
        let slowest = slowest.unwrap_or_else(|| state.ring.head());
        state.ring.trim(slowest);
    }

    /// Whether nobody would miss it.
    pub(crate) fn is_forgotten(&self, now: Moment) -> bool {
        let state = read(&self.state);
        let after = if state.snapshots.is_empty() { FORGET_AFTER } else { FORGET_SNAPSHOT_AFTER };
        let last = Moment::from_millis(self.last_publication.load(Ordering::Relaxed));
        state.subscribers.is_empty() && now.since(last) > after
    }
}

impl State {
    fn remember(&mut self, publication: &Arc<Publication>) {
        self.snapshots.retain(|other| other.kind() != publication.kind());
        if self.snapshots.len() == MAX_SNAPSHOTS {
            self.snapshots.remove(0);
        }
        self.snapshots.push(Arc::clone(publication));
    }
}
