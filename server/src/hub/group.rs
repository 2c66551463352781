//! Subscribers that share the messages of one topic: each message goes to one of them.
//!
//! A message is given to a member when it is published, to each in turn; who does not read, or has a backlog already, is
//! passed over while there is somebody else. What a member has not read yet can be taken from it: by a member that has
//! nothing to do while its connection is stalled, and by the others when it leaves. Messages carry no position here: to one
//! member alone they are no sequence.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use super::{
    budget::Budget,
    publication::Publication,
    ring::{Fetched, RingBounds},
    topic::Subscriber,
};
use crate::sync::lock;

/// Messages that wait for one member before the next in turn is preferred.
const BEHIND: usize = 64;

/// The members, in no particular order.
#[derive(Debug, Default)]
pub(super) struct Group {
    members: Vec<Arc<Subscriber>>,
    /// Whose turn it is.
    next: AtomicUsize,
}

/// What was given to one member and not read yet.
#[derive(Debug)]
pub(super) struct Share {
    /// The group's name.
    pub(super) group: Arc<str>,
    bounds: RingBounds,
    budget: Arc<Budget>,
    waiting: Mutex<Waiting>,
    /// Its connection is about to end: it is given nothing more.
    closed: AtomicBool,
}

#[derive(Debug, Default)]
struct Waiting {
    publications: VecDeque<Arc<Publication>>,
    bytes: usize,
    /// Publications that were pushed out.
    lost: u64,
}

impl Share {
    pub(super) fn new(group: Arc<str>, bounds: RingBounds, budget: Arc<Budget>) -> Self {
        Self { group, bounds, budget, waiting: Mutex::default(), closed: AtomicBool::new(false) }
    }

    /// From here on nothing is added.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    pub(super) fn len(&self) -> usize {
        lock(&self.waiting).publications.len()
    }

    /// Adds a message; over the bounds the oldest ones go.
    fn push(&self, publication: Arc<Publication>) {
        let mut waiting = lock(&self.waiting);
        let before = waiting.bytes;
        waiting.bytes += publication.cost();
        waiting.publications.push_back(publication);
        while waiting.publications.len() > self.bounds.count.max(1)
            || (waiting.bytes > self.bounds.bytes && waiting.publications.len() > 1)
        {
            waiting.pop();
            waiting.lost += 1;
        }
        self.budget.settle(before, waiting.bytes);
    }

    /// The oldest message.
    fn pop(&self) -> Option<Arc<Publication>> {
        let mut waiting = lock(&self.waiting);
        let before = waiting.bytes;
        let popped = waiting.pop();
        self.budget.settle(before, waiting.bytes);
        popped
    }

    /// Moves the oldest message to `out`.
    pub(super) fn fetch(&self, out: &mut Vec<Arc<Publication>>) -> Fetched {
        let mut waiting = lock(&self.waiting);
        let before = waiting.bytes;
        out.extend(waiting.pop());
        self.budget.settle(before, waiting.bytes);
        let lost = std::mem::take(&mut waiting.lost);
        Fetched { from: 0, lost, cursor: 0, more: !waiting.publications.is_empty() }
    }

    /// Lets go of the oldest messages until `bytes` are free. Answers how many were freed, and of how many messages.
    fn release(&self, bytes: usize) -> (usize, u64) {
        let mut waiting = lock(&self.waiting);
        let (before, lost) = (waiting.bytes, waiting.lost);
        while before - waiting.bytes < bytes && waiting.pop().is_some() {
            waiting.lost += 1;
        }
        self.budget.settle(before, waiting.bytes);
        (before - waiting.bytes, waiting.lost - lost)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let bytes = lock(&self.waiting).bytes;
        self.budget.settle(bytes, 0);
    }
}

impl Waiting {
    fn pop(&mut self) -> Option<Arc<Publication>> {
        let publication = self.publications.pop_front()?;
        self.bytes -= publication.cost();
        Some(publication)
    }
}

impl Group {
    pub(super) fn join(&mut self, member: Arc<Subscriber>) {
        self.members.push(member);
        self.wake_for_stalled();
    }

    /// Removes a member; the others get what it has not read. Answers how many messages nobody is left for.
    pub(super) fn leave(&mut self, member: &Arc<Subscriber>) -> usize {
        self.members.retain(|other| !Arc::ptr_eq(other, member));
        let Some(share) = member.share() else { return 0 };
        let mut orphans = 0;
        while let Some(publication) = share.pop() {
            match self.give(publication) {
                Some(member) => member.announce(),
                None => orphans += 1,
            }
        }
        // It may have been the one that was woken to take messages over.
        self.wake_for_stalled();
        orphans
    }

    pub(super) fn members(&self) -> &[Arc<Subscriber>] {
        &self.members
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Gives a message to one member, which is to be told.
    pub(super) fn give(&self, publication: Arc<Publication>) -> Option<&Arc<Subscriber>> {
        let chosen = self.choose()?;
        chosen.share()?.push(publication);
        Some(chosen)
    }

    fn choose(&self) -> Option<&Arc<Subscriber>> {
        let (count, next) = (self.members.len(), self.next.load(Ordering::Relaxed));
        let is_open = |at: &usize| self.members[*at].share().is_some_and(|share| !share.is_closed());
        let in_turn = || (0..count).map(move |n| (next + n) % count).filter(is_open);
        let waiting = |at: &usize| self.members[*at].share().map_or(0, Share::len);
        let free = in_turn().find(|at| !self.members[*at].is_stalled() && waiting(at) < BEHIND);
        let chosen = free.or_else(|| in_turn().min_by_key(waiting))?;
        // The turn passes on behind it, so that who comes after one that is passed over does not get twice as much.
        self.next.store(chosen + 1, Ordering::Relaxed);
        self.members.get(chosen)
    }

    /// Wakes a member that reads, if there is something to take over.
    pub(super) fn wake_for_stalled(&self) {
        if self.has_stalled_messages()
            && let Some(member) = self.members.iter().find(|member| !member.is_stalled())
        {
            member.announce();
        }
    }

    /// What members that do not read have not read.
    fn stalled_shares(&self) -> impl Iterator<Item = &Share> {
        self.members.iter().filter(|member| member.is_stalled()).filter_map(|member| member.share())
    }

    /// Takes the oldest message of a member that does not read.
    pub(super) fn take_over(&self) -> Option<Arc<Publication>> {
        self.stalled_shares().find_map(Share::pop)
    }

    /// Whether there is something to take over.
    pub(super) fn has_stalled_messages(&self) -> bool {
        self.stalled_shares().any(|share| share.len() > 0)
    }

    /// As [`Share::release`], from one member after the other.
    pub(super) fn release(&self, bytes: usize) -> (usize, u64) {
        self.members.iter().filter_map(|member| member.share()).fold((0, 0), |(freed, count), share| {
            let (more, messages) = share.release(bytes.saturating_sub(freed));
            (freed + more, count + messages)
        })
    }
}
