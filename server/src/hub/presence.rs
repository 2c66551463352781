//! Who is in the topics: users, each once however many connections it has.
//!
//! The number of users is the length of a map, in all topics together a counter: nothing is counted by looking. Notices of
//! who comes and goes travel beside the topic's ring, in one without a history: they have no position, and nobody who
//! comes back gets old ones. They reach every subscriber of a topic from the moment somebody was seen in it.

use std::{
    collections::{BTreeMap, VecDeque},
    ops::Bound,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use serde_json::Value;
use wse_client_core::{
    client::{Outgoing, PresenceChange},
    time::Moment,
    topic::matches,
    wire::Payload,
};

use super::{publication::Publication, pump::Pumps, topic::Topic};
use crate::{
    clock,
    presence::{MAX_PRESENCE_PAGE, PresencePage, PresenceQuery},
    sync::lock,
};

/// Most bytes of the members of one page: it has to fit into a frame of any client.
const MAX_PRESENCE_BYTES: usize = 256 * 1024;

/// What one member counts beside its name and what it tells.
const MEMBER_OVERHEAD: usize = 256;

/// Settings of presence.
#[derive(Debug, Clone, Default)]
pub(crate) struct PresenceBounds {
    /// Topics in which users can be seen.
    pub(crate) topics: Vec<String>,
    /// How long a user is still seen after its last connection broke.
    pub(crate) linger: Duration,
    /// Most bytes for all users in all topics.
    pub(crate) bytes: usize,
}

/// What all topics share.
#[derive(Debug)]
pub(super) struct Attendance {
    bounds: PresenceBounds,
    /// Users, once for each topic.
    users: AtomicUsize,
    /// Topics with users.
    topics: AtomicUsize,
    bytes: AtomicUsize,
    /// Users without a connection, the first to be forgotten first.
    lingering: Mutex<VecDeque<Lingering>>,
}

/// A user without a connection in one topic.
#[derive(Debug)]
struct Lingering {
    /// When it is forgotten.
    due: Moment,
    topic: Arc<Topic>,
    user: Arc<str>,
}

/// Users of one topic.
#[derive(Debug, Default)]
pub(super) struct Members(BTreeMap<Arc<str>, Member>);

#[derive(Debug)]
struct Member {
    told: Value,
    bytes: usize,
    connections: usize,
    /// When the last connection broke.
    gone: Option<Moment>,
}

impl Attendance {
    pub(super) fn new(bounds: PresenceBounds) -> Self {
        let (users, topics, bytes) = Default::default();
        Self { bounds, users, topics, bytes, lingering: Mutex::default() }
    }

    /// Whether users can be seen in a topic.
    pub(super) fn covers(&self, topic: &str) -> bool {
        self.bounds.topics.iter().any(|pattern| matches(pattern, topic))
    }

    /// Whether there is room for a user in a topic, which may not be known yet. Who is seen there and tells no more than
    /// before needs none.
    pub(super) fn has_room(&self, topic: Option<&Topic>, user: &str, told: &Value) -> bool {
        let fits = |member: &Member| cost(user, told) <= member.bytes;
        self.bytes.load(Ordering::Relaxed) < self.bounds.bytes
            || topic.is_some_and(|topic| topic.members().0.get(user).is_some_and(fits))
    }

    /// Topics with users, and users, once for each topic.
    pub(super) fn totals(&self) -> (usize, usize) {
        (self.topics.load(Ordering::Relaxed), self.users.load(Ordering::Relaxed))
    }

    /// A connection of a user comes into a topic, or tells something else. Answers how many users there are.
    pub(super) fn join(&self, topic: &Topic, user: &str, told: Value, another: bool, now: Moment) -> u64 {
        let mut members = topic.members();
        let bytes = cost(user, &told);
        let notice = match members.0.get_mut(user) {
            Some(member) => {
                member.gone = None;
                member.connections += usize::from(another);
                self.bytes.fetch_add(bytes, Ordering::Relaxed);
                self.bytes.fetch_sub(std::mem::replace(&mut member.bytes, bytes), Ordering::Relaxed);
                let changed = member.told != told;
                member.told = told;
                changed.then_some("presence_update")
            }
            None => {
                self.topics.fetch_add(usize::from(members.0.is_empty()), Ordering::Relaxed);
                self.users.fetch_add(1, Ordering::Relaxed);
                self.bytes.fetch_add(bytes, Ordering::Relaxed);
                members.0.insert(user.into(), Member { told, bytes, connections: 1, gone: None });
                Some("presence_join")
            }
        };
        if let Some(kind) = notice {
            tell(topic, kind, user, &members.0[user].told, now);
        }
        members.0.len() as u64
    }

    /// A connection of a user leaves a topic: `gone` when it broke, and may be back in a moment.
    pub(super) fn leave(&self, topic: &Arc<Topic>, user: &str, broken: bool, now: Moment) {
        let mut members = topic.members();
        let Some(member) = members.0.get_mut(user) else { return };
        member.connections = member.connections.saturating_sub(1);
        if member.connections > 0 {
            return;
        }
        if broken && !self.bounds.linger.is_zero() {
            member.gone = Some(now);
            let entry = Lingering { due: now + self.bounds.linger, topic: Arc::clone(topic), user: user.into() };
            lock(&self.lingering).push_back(entry);
        } else {
            self.forget(topic, &mut members, user, now);
        }
    }

    /// Forgets users whose connections have been gone for too long.
    pub(super) fn sweep(&self, now: Moment) {
        loop {
            let due = {
                let mut lingering = lock(&self.lingering);
                if lingering.front().is_none_or(|first| first.due > now) {
                    return;
                }
                lingering.pop_front()
            };
            let Some(Lingering { topic, user, .. }) = due else { return };
            let mut members = topic.members();
            let gone = members.0.get(&user).and_then(|member| member.gone);
            // Who has come back in between, even if it is gone again, has its turn later.
            if gone.is_some_and(|gone| gone + self.bounds.linger <= now) {
                self.forget(&topic, &mut members, &user, now);
            }
        }
    }

    fn forget(&self, topic: &Topic, members: &mut Members, user: &str, now: Moment) {
        let Some(member) = members.0.remove(user) else { return };
        self.bytes.fetch_sub(member.bytes, Ordering::Relaxed);
        self.users.fetch_sub(1, Ordering::Relaxed);
        self.topics.fetch_sub(usize::from(members.0.is_empty()), Ordering::Relaxed);
        tell(topic, "presence_leave", user, &member.told, now);
    }
}

/// What a member counts.
fn cost(user: &str, told: &Value) -> usize {
    MEMBER_OVERHEAD + user.len() + told.to_string().len()
}

/// Tells the subscribers of a topic.
fn tell(topic: &Topic, kind: &str, user: &str, told: &Value, now: Moment) {
    let Some(notices) = topic.notices() else { return };
    let change = PresenceChange { user_id: user.to_owned(), data: told.clone() };
    let Ok(payload) = Payload::new(&change) else { return };
    let wall = clock::wall();
    let (message, id) = (Outgoing::new(kind, payload), clock::new_id(wall));
    notices.append(
        Arc::new(Publication::new(topic.name(), message, id, wall.to_string(), None)),
        now,
        &Pumps::default(),
    );
}

impl Members {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A page of them, by name.
    pub(super) fn page(&self, topic: &str, query: &PresenceQuery) -> PresencePage {
        let start = query.after.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let mut rest = self.0.range::<str, _>((start, Bound::Unbounded)).peekable();
        let (mut members, mut bytes) = (Vec::new(), 0);
        while members.len() < query.limit.min(MAX_PRESENCE_PAGE)
            && let Some((user, member)) = rest.next_if(|(_, member)| bytes + member.bytes <= MAX_PRESENCE_BYTES)
        {
            bytes += member.bytes;
            members.push(PresenceChange { user_id: user.to_string(), data: member.told.clone() });
        }
        PresencePage { topic: topic.to_owned(), total: self.0.len() as u64, members, more: rest.peek().is_some() }
    }
}
