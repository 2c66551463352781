//! The memory of all topics together, kept within its bound whenever something is published.
//!
//! Policy: what goes first is what clients have read and only those who come back would want, of the topic that was
//! published to, or whose history was read, longest ago; there the oldest first. Only when no such thing is left, what
//! has still to be read and snapshots go, in the same order of topics. The newest publication of the topic that is
//! published to right now stays in its ring in any case. Who misses messages that went is told so as `lost`, or
//! as a recovery that is not complete. Of snapshots that went nobody is told: who comes later goes without.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use super::topic::Topic;

/// Memory of all topics.
#[derive(Debug)]
pub(super) struct Budget {
    limit: usize,
    held: AtomicUsize,
    evicted: AtomicU64,
    /// All topics, least recently used first, as it was when this was last filled.
    victims: Mutex<VecDeque<Victim>>,
}

/// A topic and when it had been used last. One that has been used since has its turn later.
#[derive(Debug)]
struct Victim {
    topic: Arc<Topic>,
    used: u64,
}

/// What may be let go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Evict {
    /// What every subscriber has read.
    Read,
    /// All, snapshots too.
    All,
}

impl Budget {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, held: AtomicUsize::new(0), evicted: AtomicU64::new(0), victims: Mutex::default() }
    }

    /// A topic that held `before` bytes holds `after`.
    pub(super) fn settle(&self, before: usize, after: usize) {
        if after >= before {
            self.held.fetch_add(after - before, Ordering::Relaxed);
        } else {
            self.held.fetch_sub(before - after, Ordering::Relaxed);
        }
    }

    /// Bytes that all topics hold together.
    pub(super) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// Publications and snapshots that were let go for want of room.
    pub(super) fn evicted(&self) -> u64 {
        self.evicted.load(Ordering::Relaxed)
    }

    pub(super) fn is_over(&self) -> bool {
        self.held() > self.limit
    }

    /// What is held above a mark somewhat below the limit: looking through the topics is worth while only if it lasts for a
    /// while.
    fn excess(&self) -> usize {
        self.held().saturating_sub(self.limit - self.limit / 16)
    }

    /// Lets go of what the policy says. `topics` gives all topics; `kept` is the one that is published to.
    pub(super) fn make_room(&self, kept: &Arc<Topic>, topics: impl Fn() -> Vec<Arc<Topic>>) {
        // Who finds another one here leaves it to do the work.
        let Ok(mut victims) = self.victims.try_lock() else { return };
        self.evict(&mut victims, Evict::Read, kept);
        if self.excess() > 0 {
            *victims = by_use(topics());
            self.evict(&mut victims, Evict::Read, kept);
        }
        if self.is_over() {
            let mut all = by_use(topics());
            tracing::warn!(held = self.held(), limit = self.limit, "unread messages are let go for want of memory");
            self.evict(&mut all, Evict::All, kept);
        }
    }

    fn evict(&self, victims: &mut VecDeque<Victim>, what: Evict, kept: &Arc<Topic>) {
        while let Some(victim) = victims.front() {
            let excess = self.excess();
            if excess == 0 {
                return;
            }
            if victim.topic.last_use() == victim.used {
                let spare_newest = Arc::ptr_eq(&victim.topic, kept);
                let (bytes, count) = victim.topic.evict(what, spare_newest, excess);
                self.evicted.fetch_add(count, Ordering::Relaxed);
                if bytes >= excess {
                    return;
                }
            }
            victims.pop_front();
        }
    }

    /// Forgets topics that may no longer be there. Never waits: who is making room may wait for the caller.
    pub(super) fn forget_victims(&self) {
        if let Ok(mut victims) = self.victims.try_lock() {
            victims.clear();
        }
    }
}

fn by_use(topics: Vec<Arc<Topic>>) -> VecDeque<Victim> {
    let mut victims: Vec<_> = topics.into_iter().map(|topic| Victim { used: topic.last_use(), topic }).collect();
    victims.sort_by_key(|victim| victim.used);
    victims.into()
}
