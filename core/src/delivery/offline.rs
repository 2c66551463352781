//! Messages that wait until they can be sent. Source: PROTOCOL.md §7.3.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crate::{time::Moment, wire::Priority};

use super::{LevelCounters, PriorityQueue, QueueLimits, Refused};

/// A message that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting<T> {
    /// Its id, kept until it is sent, so that nothing is sent twice.
    pub id: String,
    /// How urgent it is.
    pub priority: Priority,
    /// Bytes that it counts for.
    pub size: usize,
    /// When it began to wait.
    pub since: Moment,
    /// The message.
    pub message: T,
}

/// Where the messages are kept while they wait. The queue decides what is kept and in which order; a store only
/// keeps it.
pub trait OfflineStore {
    /// What is kept.
    type Message;

    /// Keeps a message under a key that is not in use.
    fn put(&mut self, key: u64, waiting: Waiting<Self::Message>);

    /// The message under a key.
    fn get(&self, key: u64) -> Option<&Waiting<Self::Message>>;

    /// Gives the message under a key, and keeps it no longer.
    fn take(&mut self, key: u64) -> Option<Waiting<Self::Message>>;

    /// What an earlier run left behind, oldest first, each under its key; it stays in the store. Ages are told by
    /// [`Waiting::since`] on the clock of this run.
    fn left_behind(&self) -> Vec<(u64, &Waiting<Self::Message>)>;
}

impl<S: OfflineStore + ?Sized> OfflineStore for Box<S> {
    type Message = S::Message;

    fn put(&mut self, key: u64, waiting: Waiting<S::Message>) {
        (**self).put(key, waiting);
    }

    fn get(&self, key: u64) -> Option<&Waiting<S::Message>> {
        (**self).get(key)
    }

    fn take(&mut self, key: u64) -> Option<Waiting<S::Message>> {
        (**self).take(key)
    }

    fn left_behind(&self) -> Vec<(u64, &Waiting<S::Message>)> {
        (**self).left_behind()
    }
}

/// Keeps messages in memory.
#[derive(Debug)]
pub struct MemoryStore<T>(BTreeMap<u64, Waiting<T>>);

impl<T> Default for MemoryStore<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<T> OfflineStore for MemoryStore<T> {
    type Message = T;

    fn put(&mut self, key: u64, waiting: Waiting<T>) {
        self.0.insert(key, waiting);
    }

    fn get(&self, key: u64) -> Option<&Waiting<T>> {
        self.0.get(&key)
    }

    fn take(&mut self, key: u64) -> Option<Waiting<T>> {
        self.0.remove(&key)
    }

    fn left_behind(&self) -> Vec<(u64, &Waiting<T>)> {
        self.0.iter().map(|(key, waiting)| (*key, waiting)).collect()
    }
}

/// Why no room was made for a message.
#[derive(Debug, PartialEq, Eq)]
pub enum NotQueued<T> {
    /// The queue is full of messages that must not be dropped for this one.
    Full(Refused<Waiting<T>>),
    /// A message with this id waits already; it will be sent once.
    Duplicate(Waiting<T>),
}

/// What stands for a message in the order.
#[derive(Debug)]
struct Place {
    key: u64,
    since: Moment,
}

/// Messages that wait until they can be sent: in order of priority, bounded in number, bytes and age.
#[derive(Debug)]
pub struct OfflineQueue<S: OfflineStore> {
    store: S,
    order: PriorityQueue<Place>,
    ids: BTreeSet<String>,
    max_age: Duration,
    next_key: u64,
}

impl<S: OfflineStore> OfflineQueue<S> {
    /// A queue over `store`, with the messages in it as far as there is room; the second part of the answer are those
    /// for which there is none. A message is given up once it is `max_age` old.
    pub fn open(store: S, limits: QueueLimits, max_age: Duration) -> (Self, Vec<Waiting<S::Message>>) {
        let places: Vec<(u64, Priority, usize, Moment, String)> = store
            .left_behind()
            .into_iter()
            .map(|(key, waiting)| (key, waiting.priority, waiting.size, waiting.since, waiting.id.clone()))
            .collect();
        let next_key = places.iter().map(|place| place.0 + 1).max().unwrap_or(0);
        let mut queue = Self { store, order: PriorityQueue::new(limits), ids: BTreeSet::new(), max_age, next_key };
        let mut dropped = Vec::new();
        for (key, priority, size, since, id) in places {
            if !queue.ids.insert(id) {
                queue.store.take(key);
                continue;
            }
            match queue.order.push(Place { key, since }, priority, size) {
                Ok(gone) => dropped.extend(gone.into_iter().filter_map(|(_, place)| queue.remove(&place))),
                Err(refused) => dropped.extend(queue.remove(&refused.item)),
            }
        }
        (queue, dropped)
    }

    /// Takes in a message, and gives those that were dropped for it.
    ///
    /// # Errors
    /// [`NotQueued`] with the message; nothing was dropped then.
    pub fn push(&mut self, waiting: Waiting<S::Message>) -> Result<Vec<Waiting<S::Message>>, NotQueued<S::Message>> {
        if self.ids.contains(&waiting.id) {
            return Err(NotQueued::Duplicate(waiting));
        }
        let place = Place { key: self.next_key, since: waiting.since };
        match self.order.push(place, waiting.priority, waiting.size) {
            Ok(gone) => {
                let dropped = gone.into_iter().filter_map(|(_, place)| self.remove(&place)).collect();
                self.ids.insert(waiting.id.clone());
                self.store.put(self.next_key, waiting);
                self.next_key += 1;
                Ok(dropped)
            }
            Err(Refused { limits, .. }) => Err(NotQueued::Full(Refused { item: waiting, limits })),
        }
    }

    /// The message to send next; it stays until [`OfflineQueue::pop`].
    pub fn front(&self) -> Option<&Waiting<S::Message>> {
        self.order.front().and_then(|place| self.store.get(place.key))
    }

    /// Messages in the order in which they would be sent.
    pub fn iter(&self) -> impl Iterator<Item = &Waiting<S::Message>> {
        self.order.iter().filter_map(|place| self.store.get(place.key))
    }

    /// Takes out the message to send next. From here on the queue knows nothing of it.
    pub fn pop(&mut self) -> Option<Waiting<S::Message>> {
        let place = self.order.pop()?;
        self.remove(&place)
    }

    /// Takes out the message to send next, because it never can be.
    pub fn drop_front(&mut self) -> Option<Waiting<S::Message>> {
        let place = self.order.drop_front()?;
        self.remove(&place)
    }

    /// Takes out the messages that are too old.
    pub fn expire(&mut self, now: Moment) -> Vec<Waiting<S::Message>> {
        let max_age = self.max_age;
        let gone = self.order.drop_oldest_while(|place| now.since(place.since) >= max_age);
        gone.into_iter().filter_map(|(_, place)| self.remove(&place)).collect()
    }

    /// Takes out everything, unsent.
    pub fn clear(&mut self) -> Vec<Waiting<S::Message>> {
        let gone = self.order.drop_oldest_while(|_| true);
        gone.into_iter().filter_map(|(_, place)| self.remove(&place)).collect()
    }

    /// When the next message becomes too old.
    pub fn next_expiry(&self) -> Option<Moment> {
        self.order.oldest().map(|place| place.since + self.max_age).min()
    }

    /// Since when the oldest message waits.
    pub fn oldest(&self) -> Option<Moment> {
        self.order.oldest().map(|place| place.since).min()
    }

    /// The bounds.
    pub const fn limits(&self) -> QueueLimits {
        self.order.limits()
    }

    /// Messages that wait.
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// Bytes that wait.
    pub const fn bytes(&self) -> usize {
        self.order.bytes()
    }

    /// What became of the messages of one level.
    pub const fn counters(&self, priority: Priority) -> LevelCounters {
        self.order.counters(priority)
    }

    fn remove(&mut self, place: &Place) -> Option<Waiting<S::Message>> {
        let waiting = self.store.take(place.key)?;
        self.ids.remove(&waiting.id);
        Some(waiting)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: QueueLimits = QueueLimits { max_items: 3, max_bytes: 1000 };

    fn waiting(id: &str, priority: Priority, since: u64) -> Waiting<&'static str> {
        Waiting { id: id.into(), priority, size: 10, since: Moment::from_millis(since), message: "text" }
    }

    fn queue() -> OfflineQueue<MemoryStore<&'static str>> {
        OfflineQueue::open(MemoryStore::default(), LIMITS, Duration::from_secs(60)).0
    }

    fn ids(gone: &[Waiting<&'static str>]) -> Vec<String> {
        gone.iter().map(|waiting| waiting.id.clone()).collect()
    }

    #[test]
    fn messages_come_back_in_order_of_priority_with_their_ids() {
        let mut queue = queue();
        for (id, priority) in [("a", Priority::Low), ("b", Priority::High), ("c", Priority::Low)] {
            queue.push(waiting(id, priority, 0)).expect("room");
        }
        assert_eq!(queue.front().map(|front| front.id.as_str()), Some("b"));
        let out: Vec<_> = std::iter::from_fn(|| queue.pop()).collect();
        assert_eq!(ids(&out), ["b", "a", "c"]);
        assert_eq!((queue.len(), queue.bytes(), queue.next_expiry()), (0, 0, None));
        queue.push(waiting("d", Priority::Low, 0)).expect("room");
        assert_eq!(queue.drop_front().map(|waiting| waiting.id).as_deref(), Some("d"));
        assert_eq!(queue.counters(Priority::Low), LevelCounters { queued: 3, sent: 2, dropped: 1, refused: 0 });
    }

    #[test]
    fn an_id_waits_once_and_may_come_again_when_it_is_gone() {
        let mut queue = queue();
        queue.push(waiting("a", Priority::Low, 0)).expect("room");
        let again = queue.push(waiting("a", Priority::High, 5)).expect_err("it waits already");
        assert!(matches!(again, NotQueued::Duplicate(waiting) if waiting.since == Moment::from_millis(5)));
        assert_eq!(queue.len(), 1);
        queue.pop();
        queue.push(waiting("a", Priority::Low, 9)).expect("it was sent");
    }

    #[test]
    fn what_is_dropped_and_what_is_refused_is_told() {
        let mut queue = queue();
        for (id, priority) in [("a", Priority::Background), ("b", Priority::Normal), ("c", Priority::High)] {
            queue.push(waiting(id, priority, 0)).expect("room");
        }
        assert_eq!(ids(&queue.push(waiting("d", Priority::Normal, 0)).expect("drops one")), ["a"]);
        let refused = queue.push(waiting("e", Priority::Low, 0)).expect_err("less urgent than all");
        assert!(matches!(refused, NotQueued::Full(refused) if refused.item.id == "e"));
        assert_eq!(ids(&queue.clear()), ["b", "d", "c"]);
        assert_eq!(queue.counters(Priority::Low).refused, 1);
        assert!(queue.store.0.is_empty() && queue.ids.is_empty(), "nothing is kept in vain");
    }

    #[test]
    fn old_messages_are_given_up_on_time() {
        let mut queue = queue();
        queue.push(waiting("a", Priority::High, 1000)).expect("room");
        queue.push(waiting("b", Priority::Low, 2000)).expect("room");
        assert_eq!(queue.next_expiry(), Some(Moment::from_millis(61_000)));
        assert!(queue.expire(Moment::from_millis(60_999)).is_empty());
        assert_eq!(ids(&queue.expire(Moment::from_millis(61_000))), ["a"]);
        assert_eq!(queue.next_expiry(), Some(Moment::from_millis(62_000)));
        assert_eq!(ids(&queue.expire(Moment::from_millis(90_000))), ["b"]);
    }

    #[test]
    fn what_is_due_is_given_up_whatever_the_age() {
        let max_age = Duration::from_micros(5500);
        let mut queue = OfflineQueue::open(MemoryStore::default(), LIMITS, max_age).0;
        queue.push(waiting("a", Priority::Normal, 1000)).expect("room");
        let due = queue.next_expiry().expect("one waits");
        assert_eq!(ids(&queue.expire(due)), ["a"], "or its timer would fire for ever");
    }

    #[test]
    fn what_an_earlier_run_left_is_taken_up_within_the_bounds() {
        let mut store = MemoryStore::default();
        let left = [
            ("a", Priority::Low),
            ("b", Priority::Normal),
            ("b", Priority::Normal),
            ("c", Priority::High),
            ("d", Priority::High),
            ("e", Priority::Background),
        ];
        for (key, (id, priority)) in (7..).zip(left) {
            store.put(key, waiting(id, priority, 0));
        }
        let (mut queue, dropped) = OfflineQueue::open(store, LIMITS, Duration::from_secs(60));
        assert_eq!(ids(&dropped), ["a", "e"]);
        assert_eq!(ids(&queue.push(waiting("f", Priority::High, 0)).expect("drops one")), ["b"]);
        assert_eq!(queue.iter().map(|waiting| waiting.id.as_str()).collect::<Vec<_>>(), ["c", "d", "f"]);
    }
}
