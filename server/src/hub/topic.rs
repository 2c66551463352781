//! A topic: its ring, its subscribers and its last snapshots.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, RwLock,
        atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering},
    },
    time::Duration,
};

use wse_client_core::{
    delivery::{Position, TopicRecovery},
    server::Delivery,
    time::Moment,
};

use super::{
    block::Run,
    budget::{Budget, Evict},
    group::{Group, Share},
    link::Link,
    look::TopicState,
    presence::Members,
    publication::Publication,
    pump::Pumps,
    ring::{Fetched, HistoryBounds, Ring, RingBounds},
};
use crate::{
    clock,
    history::Stretch,
    sync::{lock, read, write},
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
    /// Up to here it reads, and no further for now.
    end: AtomicU64,
    /// One of the [`stage`]s.
    stage: AtomicU8,
    /// While it is late: when it is told, in milliseconds. Fixed when it becomes late, so that what else is written to
    /// the connection puts it off no further. The pump's alone.
    due: AtomicU64,
    /// What is its own of a queue group's messages. Without one it reads the ring.
    share: Option<Share>,
}

/// What a connection knows of a topic.
mod stage {
    /// It has read everything, as far as it knows.
    pub(super) const IDLE: u8 = 0;
    /// There is something to read, and it is told in a moment.
    pub(super) const LATE: u8 = 1;
    /// It knows that there is something to read.
    pub(super) const TOLD: u8 = 2;
}

impl Subscriber {
    /// One wake at most, however many publications come before the connection has read them all.
    ///
    /// The relaxed look is enough: both sides hold the topic's lock between it and the ring.
    pub(super) fn announce(&self) {
        if self.stage.load(Ordering::Relaxed) != stage::TOLD
            && self.stage.swap(stage::TOLD, Ordering::AcqRel) != stage::TOLD
        {
            self.link.announce(self.slot);
        }
    }

    /// What is its own of a queue group's messages.
    pub(super) const fn share(&self) -> Option<&Share> {
        self.share.as_ref()
    }

    /// Whether its connection does not read.
    pub(super) fn is_stalled(&self) -> bool {
        self.link.is_stalled()
    }

    /// Announces, unless the connection was written to less than `interval` ago and little waits for it. False when it
    /// is late from here on.
    pub(super) fn offer(&self, now: Moment, interval: Duration, head: u64) -> bool {
        /// So many are worth a write of their own.
        const MANY: u64 = 256;
        let at = self.stage.load(Ordering::Relaxed);
        let many = || head.saturating_sub(self.cursor.load(Ordering::Relaxed)) >= MANY;
        if at == stage::TOLD {
            return true;
        }
        // Moments are whole milliseconds, so one more makes sure that all of the interval has passed.
        let due = self.link.flushed() + interval + Duration::from_millis(1);
        if interval.is_zero() || now >= due || many() {
            self.announce();
            return true;
        }
        let became = self.stage.compare_exchange(stage::IDLE, stage::LATE, Ordering::AcqRel, Ordering::Relaxed);
        if became.is_ok() {
            self.due.store(due.as_millis(), Ordering::Relaxed);
        }
        became.is_err()
    }

    /// Announces one that is late once its time has come. False while it has not.
    pub(super) fn is_settled(&self, now: Moment) -> bool {
        if self.stage.load(Ordering::Relaxed) != stage::LATE {
            return true;
        }
        let due = now >= self.due();
        if due {
            self.announce();
        }
        due
    }

    /// When one that is late is told.
    pub(super) fn due(&self) -> Moment {
        Moment::from_millis(self.due.load(Ordering::Relaxed))
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
    /// Whether something is missing between what the client knows and what follows.
    pub(crate) wants_state: bool,
    /// The state of the topic, as far as it is not among what follows.
    pub(crate) snapshots: Vec<Arc<Publication>>,
    /// What comes from this position on is newer than what was missed.
    pub(crate) newer: u64,
}

#[derive(Debug)]
struct State {
    ring: Ring,
    /// Those that read every message: for each pump, its share.
    subscribers: Vec<Vec<Arc<Subscriber>>>,
    /// Those that share the messages.
    groups: BTreeMap<Arc<str>, Group>,
    /// With their places in the ring.
    snapshots: Vec<(u64, Arc<Publication>)>,
    /// What the budget knows of.
    held: usize,
}

/// One exact topic.
#[derive(Debug)]
pub(crate) struct Topic {
    name: Arc<str>,
    /// Names this life of the topic: a client that comes back sees whether positions still mean the same.
    epoch: Arc<str>,
    state: RwLock<State>,
    /// When it was last published to, or its history read.
    last_use: AtomicU64,
    budget: Arc<Budget>,
    members: Mutex<Members>,
    /// Who comes and goes, beside the ring; there once somebody was seen.
    notices: OnceLock<Arc<Self>>,
    /// Which pumps know that there is something new.
    told: Box<[AtomicBool]>,
}

impl Topic {
    /// A topic whose subscribers are told of by so many pumps.
    pub(crate) fn new(name: Arc<str>, bounds: RingBounds, budget: Arc<Budget>, now: Moment, pumps: usize) -> Self {
        let state = State {
            ring: Ring::new(bounds),
            subscribers: (0..pumps).map(|_| Vec::new()).collect(),
            groups: BTreeMap::new(),
            snapshots: Vec::new(),
            held: 0,
        };
        Self {
            name,
            epoch: clock::random_name("").into(),
            state: RwLock::new(state),
            last_use: AtomicU64::new(now.as_millis()),
            budget,
            members: Mutex::default(),
            notices: OnceLock::new(),
            told: (0..pumps).map(|_| AtomicBool::new(false)).collect(),
        }
    }

    /// Who is in it.
    pub(super) fn members(&self) -> MutexGuard<'_, Members> {
        lock(&self.members)
    }

    /// Where it is told who comes and goes, if anybody was ever seen.
    pub(super) fn notices(&self) -> Option<&Arc<Self>> {
        self.notices.get()
    }

    /// The same; made if there is none. True when it was.
    pub(super) fn make_notices(&self, bounds: RingBounds, now: Moment) -> bool {
        let bounds = RingBounds { history: HistoryBounds::default(), ..bounds };
        let notices =
            Self::new(Arc::clone(&self.name), bounds, Arc::clone(&self.budget), now, Pumps::default().count());
        self.notices.get().is_none() && self.notices.set(Arc::new(notices)).is_ok()
    }

    /// Connections of all subscribers.
    pub(super) fn links(&self) -> Vec<Arc<Link>> {
        let state = read(&self.state);
        let shared = state.groups.values().flat_map(Group::members);
        state.subscribers.iter().flatten().chain(shared).map(|subscriber| Arc::clone(&subscriber.link)).collect()
    }

    pub(crate) const fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Adds a publication and has the pumps wake whoever sleeps. Answers how many connections will get it.
    pub(crate) fn append(self: &Arc<Self>, publication: Arc<Publication>, now: Moment, pumps: &Pumps) -> usize {
        self.last_use.store(now.as_millis(), Ordering::Relaxed);
        let (reached, shares) = {
            let mut state = write(&self.state);
            if publication.is_snapshot() {
                state.remember(&publication);
            }
            let members = state.share_out(&publication);
            if state.ring.keeps_history() {
                publication.stamp(&self.epoch, state.ring.head());
            }
            let listeners = state.count();
            if state.ring.keeps_history() || listeners > 0 {
                state.ring.push(publication, now);
            }
            self.settle(&mut state);
            (listeners + members, state.listening())
        };
        let news = |share: &usize| shares & (1 << share) != 0 && !self.told[*share].swap(true, Ordering::AcqRel);
        pumps.tell(self, (0..self.told.len()).filter(news));
        reached
    }

    /// A pump goes to work: it is told again of what comes from here on.
    pub(super) fn take_news(&self, share: usize) {
        self.told[share].store(false, Ordering::Release);
    }

    /// Calls `tell` for the subscribers of one pump, with the position after the newest publication.
    pub(super) fn for_each(&self, share: usize, mut tell: impl FnMut(&Arc<Subscriber>, u64)) {
        let state = read(&self.state);
        for subscriber in &state.subscribers[share] {
            tell(subscriber, state.ring.head());
        }
    }

    /// Adds a connection, which reads what is published from here on: all of it, or its share in a group.
    pub(crate) fn attach(&self, link: &Arc<Link>, slot: u32, group: Option<&str>) -> Arc<Subscriber> {
        let mut state = write(&self.state);
        let name = group
            .map(|group| state.groups.get_key_value(group).map_or_else(|| group.into(), |(name, _)| Arc::clone(name)));
        let share = name.map(|name| Share::new(name, state.ring.bounds(), Arc::clone(&self.budget)));
        let subscriber = Arc::new(Subscriber {
            link: Arc::clone(link),
            slot,
            cursor: AtomicU64::new(state.ring.head()),
            end: AtomicU64::new(u64::MAX),
            stage: AtomicU8::new(stage::IDLE),
            due: AtomicU64::new(0),
            share,
        });
        match &subscriber.share {
            Some(share) => {
                state.groups.entry(Arc::clone(&share.group)).or_default().join(Arc::clone(&subscriber));
            }
            None => {
                let share = state.share_of(link);
                state.subscribers[share].push(Arc::clone(&subscriber));
            }
        }
        subscriber
    }

    /// Where a subscriber stands, after it was moved to what a client missed since `position`. With the snapshots
    /// that it does not get in the course of that.
    pub(crate) fn resume(&self, subscriber: &Subscriber, position: Option<&Position>, now: Moment) -> Resumed {
        // The lock keeps publications out while the cursor moves; it is this connection's task that moves it.
        let state = write(&self.state);
        let (base, head) = (state.ring.base(), state.ring.head());
        let mut recovered = true;
        if let Some(position) = position {
            self.use_at(now);
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
        let newer = if position.is_some() { head } else { cursor };
        Resumed { recovery, wants_state: !up_to_date, snapshots, newer }
    }

    /// Has a subscriber read no further than a position, until it is let go on.
    pub(super) fn hold(&self, subscriber: &Subscriber, end: u64) {
        subscriber.end.store(end, Ordering::Relaxed);
    }

    /// A subscriber that was held may read on. It has to look by itself: nobody tells it what came meanwhile.
    pub(super) fn let_go(&self, subscriber: &Subscriber) {
        subscriber.end.store(u64::MAX, Ordering::Relaxed);
    }

    /// The connection is about to end: its subscriber gets what is there, and nothing that comes from here on.
    pub(super) fn finish(&self, subscriber: &Subscriber) {
        let state = read(&self.state);
        match subscriber.share() {
            Some(share) => share.close(),
            None => {
                subscriber.end.fetch_min(state.ring.head(), Ordering::Relaxed);
            }
        }
    }

    /// At most `limit` publications after a position; without one, the newest. `None` without a history.
    pub(crate) fn stretch(&self, after: Option<&Position>, limit: usize, now: Option<Moment>) -> Option<Stretch> {
        if let Some(now) = now {
            self.use_at(now);
        }
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

    /// Removes a connection. Answers how many messages it had not read that nobody else gets in its place.
    pub(crate) fn detach(&self, subscriber: &Arc<Subscriber>) -> usize {
        let mut state = write(&self.state);
        if let Some(share) = subscriber.share() {
            let Some(group) = state.groups.get_mut(&share.group) else { return 0 };
            let orphans = group.leave(subscriber);
            if group.is_empty() {
                state.groups.remove(&share.group);
            }
            return orphans;
        }
        let share = state.share_of(&subscriber.link);
        let listeners = &mut state.subscribers[share];
        if let Some(index) = listeners.iter().position(|other| Arc::ptr_eq(other, subscriber)) {
            listeners.swap_remove(index);
        }
        if state.count() == 0 && !state.ring.keeps_history() {
            let head = state.ring.head();
            state.ring.release(head, usize::MAX);
            self.settle(&mut state);
        }
        0
    }

    /// The connection of a member does not read: another one takes its messages over.
    pub(super) fn pass_on(&self, subscriber: &Arc<Subscriber>) {
        let Some(share) = subscriber.share() else { return };
        if let Some(group) = read(&self.state).groups.get(&share.group) {
            group.wake_for_stalled();
        }
    }

    /// What a member of a group reads next: its own messages, then one of a member that does not read. One at a time,
    /// because what was read cannot be taken over by others.
    fn fetch_share(&self, subscriber: &Subscriber, share: &Share, out: &mut Vec<Arc<Publication>>) -> Fetched {
        // Before the look: who adds something behind it announces it again.
        subscriber.stage.store(stage::IDLE, Ordering::Release);
        let count = out.len();
        let mut fetched = share.fetch(out);
        if !fetched.more
            && !share.is_closed()
            && let Some(group) = read(&self.state).groups.get(&share.group)
        {
            if out.len() == count {
                out.extend(group.take_over());
            }
            fetched.more = group.has_stalled_messages();
        }
        // Who announced it in between makes the reader come back already.
        fetched.more = fetched.more && subscriber.stage.swap(stage::TOLD, Ordering::AcqRel) != stage::TOLD;
        fetched
    }

    /// Reads on for one subscriber. While there is more it is not announced again: the reader comes back itself.
    pub(crate) fn fetch(&self, subscriber: &Subscriber, max: usize, out: &mut Vec<Arc<Publication>>) -> Fetched {
        if let Some(share) = subscriber.share() {
            return self.fetch_share(subscriber, share, out);
        }
        let (cursor, end) = (subscriber.cursor.load(Ordering::Relaxed), subscriber.end.load(Ordering::Relaxed));
        let mut fetched = read(&self.state).ring.fetch_until(end, cursor, max, out);
        fetched.more = self.move_on(subscriber, fetched.cursor, fetched.more);
        fetched
    }

    /// Reads on for one subscriber as far as there are frames in a row; `None` when there are none, or what comes next
    /// was pushed out. Also tells whether there is more, as [`Topic::fetch`] does.
    pub(crate) fn fetch_run(&self, subscriber: &Subscriber, delivery: Delivery) -> Option<(Run, bool)> {
        if subscriber.share().is_some() {
            return None;
        }
        let cursor = subscriber.cursor.load(Ordering::Relaxed);
        let (run, head) = {
            let state = read(&self.state);
            let (block, skip) = state.ring.block(cursor)?;
            (Arc::clone(block).run(delivery, skip), state.ring.head())
        };
        let cursor = cursor + run.count() as u64;
        if cursor > subscriber.end.load(Ordering::Relaxed) {
            return None;
        }
        let more = self.move_on(subscriber, cursor, cursor < head);
        Some((run, more))
    }

    /// Notes how far a subscriber has read. Answers whether it has to read on by itself.
    fn move_on(&self, subscriber: &Subscriber, cursor: u64, more: bool) -> bool {
        subscriber.cursor.store(cursor, Ordering::Relaxed);
        // One that is held stays told: until it is let go on, whatever comes is no news for it.
        if more || cursor >= subscriber.end.load(Ordering::Relaxed) {
            return more;
        }
        subscriber.stage.store(stage::IDLE, Ordering::Release);
        // A publication between the read and the store was not announced: it is this reader's to fetch.
        let missed = read(&self.state).ring.head() > cursor;
        missed && subscriber.stage.swap(stage::TOLD, Ordering::AcqRel) != stage::TOLD
    }

    /// Whether a subscriber has something to read.
    pub(crate) fn is_behind(&self, subscriber: &Subscriber) -> bool {
        match subscriber.share() {
            Some(share) => share.len() > 0,
            None => {
                let end = subscriber.end.load(Ordering::Relaxed);
                subscriber.cursor.load(Ordering::Relaxed) < read(&self.state).ring.head().min(end)
            }
        }
    }

    /// Lets go of what every subscriber has read and the history need not keep.
    pub(crate) fn trim(&self, now: Moment) {
        if let Some(notices) = self.notices() {
            notices.trim(now);
        }
        if read(&self.state).ring.is_empty() {
            return;
        }
        let mut state = write(&self.state);
        let slowest = state.slowest();
        state.ring.trim(slowest, now);
        self.settle(&mut state);
    }

    /// Lets go of at least `bytes` bytes, if there are as many, but not of the newest publication in the ring when that is
    /// to be spared. Answers how many were freed, and of how many messages.
    pub(super) fn evict(&self, what: Evict, spare_newest: bool, bytes: usize) -> (usize, u64) {
        let mut state = write(&self.state);
        let before = state.held;
        let most = state.ring.head().saturating_sub(u64::from(spare_newest));
        let end = match what {
            Evict::Read => state.slowest().min(most),
            Evict::All => most,
        };
        let mut count = state.ring.release(end, bytes);
        self.settle(&mut state);
        let mut freed = before - state.held;
        if what == Evict::Read || freed >= bytes {
            return (freed, count);
        }
        for group in state.groups.values() {
            let (more, messages) = group.release(bytes.saturating_sub(freed));
            (freed, count) = (freed + more, count + messages);
        }
        if let Some(notices) = self.notices().filter(|_| freed < bytes) {
            let (more, messages) = notices.evict(what, spare_newest, bytes - freed);
            (freed, count) = (freed + more, count + messages);
        }
        if freed < bytes {
            let held = state.held;
            count += std::mem::take(&mut state.snapshots).len() as u64;
            self.settle(&mut state);
            freed += held - state.held;
        }
        (freed, count)
    }

    /// When it was last published to, or its history read, in milliseconds.
    pub(super) fn last_use(&self) -> u64 {
        self.last_use.load(Ordering::Relaxed)
    }

    /// Notes that somebody publishes to it or wants its history.
    pub(super) fn use_at(&self, now: Moment) {
        self.last_use.fetch_max(now.as_millis(), Ordering::Relaxed);
    }

    /// Tells the budget what is held.
    fn settle(&self, state: &mut State) {
        let held = state.held();
        self.budget.settle(std::mem::replace(&mut state.held, held), held);
    }

    /// The last snapshot of each type.
    pub(crate) fn snapshots(&self) -> Vec<Arc<Publication>> {
        read(&self.state).snapshots.iter().map(|(_, snapshot)| Arc::clone(snapshot)).collect()
    }

    /// Whether its messages have positions and are kept for those who come back.
    pub(crate) fn keeps_history(&self) -> bool {
        read(&self.state).ring.keeps_history()
    }

    /// The topic as it is just now.
    pub(super) fn look(&self) -> TopicState {
        let state = read(&self.state);
        let (base, head) = (state.ring.base(), state.ring.head());
        TopicState {
            topic: self.name.to_string(),
            subscribers: state.count(),
            held: head - base,
            held_bytes: state.held(),
            published: head,
            lag: head.saturating_sub(state.slowest()),
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
        let last = Moment::from_millis(self.last_use.load(Ordering::Relaxed));
        let unused = state.count() == 0 && state.groups.is_empty() && self.members().is_empty();
        unused && now.since(last) > after
    }
}

impl Drop for Topic {
    fn drop(&mut self) {
        let held = write(&self.state).held;
        self.budget.settle(held, 0);
    }
}

impl State {
    /// Where the slowest subscriber stands.
    fn slowest(&self) -> u64 {
        let cursors = self.subscribers.iter().flatten().map(|subscriber| subscriber.cursor.load(Ordering::Relaxed));
        cursors.min().unwrap_or_else(|| self.ring.head())
    }

    /// Bytes of the ring and the snapshots.
    fn held(&self) -> usize {
        self.ring.bytes() + self.snapshots.iter().map(|(_, snapshot)| snapshot.cost()).sum::<usize>()
    }

    /// Gives a message to one member of each group. Answers how many get it.
    fn share_out(&self, publication: &Arc<Publication>) -> usize {
        if self.groups.is_empty() {
            return 0;
        }
        let unstamped = Arc::new(publication.without_position());
        let given = self.groups.values().filter_map(|group| group.give(Arc::clone(&unstamped)));
        given.inspect(|member| member.announce()).count()
    }

    fn count(&self) -> usize {
        self.subscribers.iter().map(Vec::len).sum()
    }

    /// The pumps whose share is not empty, a bit for each.
    fn listening(&self) -> u64 {
        let bits = self.subscribers.iter().enumerate().filter(|(_, share)| !share.is_empty());
        bits.fold(0, |bits, (share, _)| bits | 1 << share)
    }

    fn share_of(&self, link: &Link) -> usize {
        (link.number() % self.subscribers.len() as u64) as usize
    }

    fn remember(&mut self, publication: &Arc<Publication>) {
        self.snapshots.retain(|(_, other)| other.kind() != publication.kind());
        if self.snapshots.len() == MAX_SNAPSHOTS {
            self.snapshots.remove(0);
        }
        // What is told out of turn has no place in the order of the topic.
        self.snapshots.push((self.ring.head(), Arc::new(publication.without_position())));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use wse_client_core::{client::Outgoing, delivery::QueueLimits, server::Identity, wire::Payload};

    use super::{super::ring::HistoryBounds, *};

    const INTERVAL: Duration = Duration::from_millis(3);

    fn at(ms: u64) -> Moment {
        Moment::from_millis(1000 + ms)
    }

    fn listening() -> (Arc<Topic>, Arc<Link>, Arc<Subscriber>) {
        let history = HistoryBounds { count: 0, age: Duration::ZERO };
        let bounds = RingBounds { count: 1000, bytes: usize::MAX, history };
        let topic = Arc::new(Topic::new("t".into(), bounds, Arc::new(Budget::new(usize::MAX)), at(0), 1));
        let link = Arc::new(Link::new(
            1,
            "c".into(),
            Identity::default(),
            QueueLimits { max_items: 10, max_bytes: 1000 },
            Arc::default(),
        ));
        let subscriber = topic.attach(&link, 0, None);
        (topic, link, subscriber)
    }

    /// How often the connection was told.
    fn told(link: &Link) -> usize {
        let mut ready = VecDeque::new();
        link.take_ready(&mut ready);
        ready.len()
    }

    #[test]
    fn a_quiet_connection_is_told_at_once_and_a_busy_one_when_its_time_has_come() {
        let (topic, link, subscriber) = listening();
        assert!(subscriber.offer(at(0), INTERVAL, 1));
        assert_eq!(told(&link), 1);
        topic.fetch(&subscriber, 10, &mut Vec::new());
        link.note_flush(at(0));
        assert!(!subscriber.offer(at(1), INTERVAL, 2), "late");
        assert!(subscriber.offer(at(2), INTERVAL, 3), "known to be late");
        assert!(!subscriber.is_settled(at(3)), "less than three whole milliseconds, perhaps");
        assert_eq!(told(&link), 0);
        assert!(subscriber.is_settled(at(4)));
        assert_eq!(told(&link), 1);
        assert!(subscriber.offer(at(9), INTERVAL, 4), "known");
        assert_eq!(told(&link), 0);
    }

    #[test]
    fn what_else_is_written_to_the_connection_puts_off_nothing_that_is_late() {
        let (_topic, link, subscriber) = listening();
        link.note_flush(at(0));
        assert!(!subscriber.offer(at(1), INTERVAL, 1), "late");
        link.note_flush(at(3));
        assert_eq!(subscriber.due(), at(4));
        assert!(subscriber.is_settled(at(4)));
        assert_eq!(told(&link), 1);
    }

    #[test]
    fn many_do_not_wait() {
        let (_topic, link, subscriber) = listening();
        link.note_flush(at(0));
        assert!(!subscriber.offer(at(1), INTERVAL, 255));
        assert!(subscriber.offer(at(1), INTERVAL, 256));
        assert_eq!(told(&link), 1);
        assert!(subscriber.is_settled(at(1)), "told already");
    }

    #[test]
    fn without_an_interval_nobody_waits() {
        let (_topic, link, subscriber) = listening();
        link.note_flush(at(1));
        assert!(subscriber.offer(at(1), Duration::ZERO, 1));
        assert_eq!(told(&link), 1);
    }

    /// Blocks where there are any, single publications before, between and behind: all of them, once, in order.
    #[test]
    fn a_reader_that_takes_runs_misses_nothing() {
        const TEXT: Delivery =
            Delivery { encoding: wse_client_core::wire::Encoding::Text, compression: false, encrypted: false };
        let (topic, _link, subscriber) = listening();
        let mut heard = Vec::new();
        for number in 0..333 {
            // Every hundredth is too large for its block to be one.
            let size = if number % 100 == 99 { 100_000 } else { 1 };
            let payload = Payload::from_json(format!("\"{}\"", "x".repeat(size))).expect("JSON");
            let message = Outgoing::new(format!("k{number}"), payload);
            let publication = Publication::new("t", message, String::new(), String::new(), None);
            topic.append(Arc::new(publication), at(0), &Pumps::default());
            // At first it keeps up, later it is far behind.
            if number < 100 && number % 7 == 0 {
                read_all(&topic, &subscriber, TEXT, &mut heard);
            }
        }
        read_all(&topic, &subscriber, TEXT, &mut heard);
        let expected: Vec<String> = (0..333).map(|number| format!("k{number}")).collect();
        assert_eq!(heard, expected);
    }

    fn read_all(topic: &Topic, subscriber: &Subscriber, delivery: Delivery, heard: &mut Vec<String>) {
        let kind_of = |bytes: &[u8]| {
            let text = String::from_utf8_lossy(&bytes[..bytes.len().min(100)]).into_owned();
            let from = text.find("\"t\":\"").map_or(0, |at| at + 5);
            text[from..].split('"').next().unwrap_or_default().to_owned()
        };
        loop {
            let more = if let Some((run, more)) = topic.fetch_run(subscriber, delivery) {
                heard.extend(run.frames().map(|frame| kind_of(frame.bytes())));
                more
            } else {
                let mut out = Vec::new();
                let more = topic.fetch(subscriber, 10, &mut out).more;
                heard.extend(out.iter().map(|publication| publication.kind().to_owned()));
                more
            };
            if !more {
                return;
            }
        }
    }
}
