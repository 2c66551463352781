//! A bounded queue with five levels and a drop order. Source: PROTOCOL.md §7.3.

use std::collections::VecDeque;

use crate::wire::Priority;

/// Levels from the least to the most urgent.
const LEVELS: [Priority; 5] =
    [Priority::Background, Priority::Low, Priority::Normal, Priority::High, Priority::Critical];

/// Number of levels whose messages may be dropped for others: up to [`Priority::Normal`].
const DROPPABLE: usize = 3;

/// Bounds of a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueLimits {
    /// Most messages. Default 1000.
    pub max_items: usize,
    /// Most bytes, as the sizes given to [`PriorityQueue::push`] count them. Default 16 MiB.
    pub max_bytes: usize,
}

impl Default for QueueLimits {
    fn default() -> Self {
        Self { max_items: 1000, max_bytes: 16 << 20 }
    }
}

/// What became of the messages of one level since the queue was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LevelCounters {
    /// Taken in.
    pub queued: u64,
    /// Taken out to be sent.
    pub sent: u64,
    /// Dropped after they were taken in: for a more urgent one, or because they were removed.
    pub dropped: u64,
    /// Not taken in.
    pub refused: u64,
}

impl LevelCounters {
    /// Those that are in the queue.
    pub const fn waiting(&self) -> u64 {
        self.queued - self.sent - self.dropped
    }
}

/// A newcomer for which there is no room: everything queued is at least as urgent, or must not be dropped.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the queue is full: at most {} messages and {} bytes", limits.max_items, limits.max_bytes)]
pub struct Refused<T> {
    /// The newcomer, unchanged.
    pub item: T,
    /// The bounds of the queue.
    pub limits: QueueLimits,
}

#[derive(Debug)]
struct Entry<T> {
    item: T,
    size: usize,
}

/// A queue of five levels: the most urgent level first, within a level first in, first out.
///
/// When it is full, the oldest BACKGROUND message makes room, then LOW, then NORMAL, but never one that is more
/// urgent than the newcomer. HIGH and CRITICAL are never dropped.
#[derive(Debug)]
pub struct PriorityQueue<T> {
    limits: QueueLimits,
    levels: [VecDeque<Entry<T>>; 5],
    counters: [LevelCounters; 5],
    bytes: usize,
}

impl<T> PriorityQueue<T> {
    /// An empty queue.
    pub fn new(limits: QueueLimits) -> Self {
        Self {
            limits,
            levels: std::array::from_fn(|_| VecDeque::new()),
            counters: [LevelCounters::default(); 5],
            bytes: 0,
        }
    }

    /// Takes in a message of `size` bytes, and gives what was dropped for it, oldest of the lowest level first.
    ///
    /// # Errors
    /// [`Refused`] with the newcomer; nothing was dropped then.
    pub fn push(&mut self, item: T, priority: Priority, size: usize) -> Result<Vec<(Priority, T)>, Refused<T>> {
        let level = priority as usize;
        if !self.can_make_room(level, size) {
            self.counters[level].refused += 1;
            return Err(Refused { item, limits: self.limits });
        }
        let mut dropped = Vec::new();
        while !self.has_room(self.len(), self.bytes, size) {
            let Some(lowest) = self.levels[..DROPPABLE].iter().position(|entries| !entries.is_empty()) else { break };
            if let Some(entry) = self.levels[lowest].pop_front() {
                self.bytes -= entry.size;
                self.counters[lowest].dropped += 1;
                dropped.push((LEVELS[lowest], entry.item));
            }
        }
        self.bytes += size;
        self.counters[level].queued += 1;
        self.levels[level].push_back(Entry { item, size });
        Ok(dropped)
    }

    /// Takes out the next message to send.
    pub fn pop(&mut self) -> Option<T> {
        let (level, item) = self.take_front()?;
        self.counters[level].sent += 1;
        Some(item)
    }

    /// Takes out the next message because it never can be sent.
    pub fn drop_front(&mut self) -> Option<T> {
        let (level, item) = self.take_front()?;
        self.counters[level].dropped += 1;
        Some(item)
    }

    /// The message that [`PriorityQueue::pop`] would give.
    pub fn front(&self) -> Option<&T> {
        self.levels.iter().rev().find_map(|entries| entries.front()).map(|entry| &entry.item)
    }

    /// Messages in the order in which they would be sent.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.levels.iter().rev().flatten().map(|entry| &entry.item)
    }

    /// The oldest message of each level that has one.
    pub fn oldest(&self) -> impl Iterator<Item = &T> {
        self.levels.iter().filter_map(|entries| entries.front()).map(|entry| &entry.item)
    }

    /// Removes messages from the old end of each level for as long as they are not wanted, and gives them.
    pub fn drop_oldest_while(&mut self, mut unwanted: impl FnMut(&T) -> bool) -> Vec<(Priority, T)> {
        let mut dropped = Vec::new();
        for (level, entries) in self.levels.iter_mut().enumerate() {
            while entries.front().is_some_and(|entry| unwanted(&entry.item)) {
                let Some(entry) = entries.pop_front() else { break };
                self.bytes -= entry.size;
                self.counters[level].dropped += 1;
                dropped.push((LEVELS[level], entry.item));
            }
        }
        dropped
    }

    /// Messages queued.
    pub fn len(&self) -> usize {
        self.levels.iter().map(VecDeque::len).sum()
    }

    /// Whether nothing is queued.
    pub fn is_empty(&self) -> bool {
        self.levels.iter().all(VecDeque::is_empty)
    }

    /// Goes on with other bounds. What is queued above them stays; it only makes room for nothing.
    pub const fn set_limits(&mut self, limits: QueueLimits) {
        self.limits = limits;
    }

    /// The most urgent level that has messages.
    pub fn front_priority(&self) -> Option<Priority> {
        self.levels.iter().rposition(|entries| !entries.is_empty()).map(|level| LEVELS[level])
    }

    /// Sizes of the messages in the order in which they would be sent.
    pub fn sizes(&self) -> impl Iterator<Item = usize> {
        self.levels.iter().rev().flatten().map(|entry| entry.size)
    }

    /// The bounds.
    pub const fn limits(&self) -> QueueLimits {
        self.limits
    }

    /// Bytes queued.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// What became of the messages of one level.
    pub const fn counters(&self, priority: Priority) -> LevelCounters {
        self.counters[priority as usize]
    }

    fn take_front(&mut self) -> Option<(usize, T)> {
        let level = self.levels.iter().rposition(|entries| !entries.is_empty())?;
        let entry = self.levels[level].pop_front()?;
        self.bytes -= entry.size;
        Some((level, entry.item))
    }

    const fn has_room(&self, items: usize, bytes: usize, size: usize) -> bool {
        items < self.limits.max_items && bytes.saturating_add(size) <= self.limits.max_bytes
    }

    /// Whether there is room once everything that may go for this newcomer is gone.
    fn can_make_room(&self, level: usize, size: usize) -> bool {
        if self.has_room(self.len(), self.bytes, size) {
            return true;
        }
        let may_go = self.levels[..DROPPABLE.min(level + 1)].iter().flatten();
        let (items, bytes) = may_go.fold((0, 0), |(items, bytes), entry| (items + 1, bytes + entry.size));
        self.has_room(self.len() - items, self.bytes - bytes, size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(max_items: usize) -> PriorityQueue<u32> {
        PriorityQueue::new(QueueLimits { max_items, max_bytes: 100 })
    }

    #[test]
    fn the_most_urgent_goes_first_and_a_level_keeps_its_order() {
        let mut queue = queue(10);
        for (n, priority) in [(1, Priority::Low), (2, Priority::Critical), (3, Priority::Normal), (4, Priority::Low)] {
            assert_eq!(queue.push(n, priority, 1), Ok(vec![]));
        }
        queue.push(5, Priority::Critical, 1).expect("room");
        assert_eq!(queue.front(), Some(&2));
        assert_eq!(queue.iter().copied().collect::<Vec<u32>>(), [2, 5, 3, 1, 4]);
        assert_eq!(std::iter::from_fn(|| queue.pop()).collect::<Vec<u32>>(), [2, 5, 3, 1, 4]);
        assert_eq!((queue.len(), queue.bytes()), (0, 0));
    }

    #[test]
    fn the_oldest_of_the_lowest_level_makes_room() {
        let mut queue = queue(4);
        for (n, priority) in
            [(1, Priority::Normal), (2, Priority::Low), (3, Priority::Background), (4, Priority::Background)]
        {
            queue.push(n, priority, 1).expect("room");
        }
        for (n, dropped) in [
            (5, (Priority::Background, 3)),
            (6, (Priority::Background, 4)),
            (7, (Priority::Low, 2)),
            (8, (Priority::Normal, 1)),
        ] {
            assert_eq!(queue.push(n, Priority::High, 1), Ok(vec![dropped]));
        }
        assert_eq!(queue.push(9, Priority::Critical, 1).expect_err("only high left").item, 9);
        assert_eq!(queue.iter().copied().collect::<Vec<u32>>(), [5, 6, 7, 8]);
    }

    #[test]
    fn nothing_goes_for_a_newcomer_that_is_less_urgent() {
        let mut queue = queue(2);
        queue.push(1, Priority::Normal, 1).expect("room");
        queue.push(2, Priority::Low, 1).expect("room");
        assert_eq!(queue.push(3, Priority::Background, 1).expect_err("less urgent").item, 3);
        assert_eq!(queue.push(4, Priority::Low, 1), Ok(vec![(Priority::Low, 2)]));
        assert_eq!(queue.push(5, Priority::Normal, 1), Ok(vec![(Priority::Low, 4)]));
        assert_eq!(queue.push(6, Priority::Low, 1).expect_err("less urgent").item, 6);
    }

    #[test]
    fn bytes_are_bounded_and_nothing_is_dropped_in_vain() {
        let mut queue = queue(10);
        queue.push(1, Priority::Background, 30).expect("room");
        queue.push(2, Priority::Low, 30).expect("room");
        queue.push(3, Priority::High, 30).expect("room");
        assert_eq!(queue.push(4, Priority::Normal, 71).expect_err("too big even alone with 3").item, 4);
        assert_eq!((queue.len(), queue.bytes()), (3, 90));
        assert_eq!(queue.push(5, Priority::Normal, 70), Ok(vec![(Priority::Background, 1), (Priority::Low, 2)]));
        assert_eq!(queue.bytes(), 100);
        assert_eq!(queue.push(6, Priority::Critical, usize::MAX).expect_err("no overflow").limits.max_bytes, 100);
    }

    #[test]
    fn what_becomes_of_messages_is_counted_by_level() {
        let mut queue = queue(2);
        queue.push(1, Priority::Low, 1).expect("room");
        queue.push(2, Priority::Low, 1).expect("room");
        queue.push(3, Priority::Low, 1).expect("drops one");
        queue.push(4, Priority::Background, 1).expect_err("full");
        queue.pop();
        assert_eq!(queue.drop_oldest_while(|n| *n == 3), [(Priority::Low, 3)]);
        let low = LevelCounters { queued: 3, sent: 1, dropped: 2, refused: 0 };
        assert_eq!(queue.counters(Priority::Low), low);
        assert_eq!(queue.counters(Priority::Background), LevelCounters { refused: 1, ..LevelCounters::default() });
        assert!(queue.is_empty());
    }

    /// Whatever is done: the bounds hold, and everything pushed is queued, sent, dropped or refused once.
    #[test]
    fn nothing_vanishes() {
        let mut queue = PriorityQueue::new(QueueLimits { max_items: 7, max_bytes: 40 });
        let (mut out, mut state) = (Vec::new(), 1_u64);
        for n in 0..5000_u32 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let roll = (state >> 33) as usize;
            match queue.push(n, LEVELS[roll % 5], roll / 5 % 20) {
                Ok(dropped) => out.extend(dropped.into_iter().map(|(_, item)| item)),
                Err(refused) => out.push(refused.item),
            }
            if roll.is_multiple_of(3) {
                out.extend(queue.pop());
            }
            assert!(queue.len() <= 7 && queue.bytes() <= 40);
        }
        out.extend(std::iter::from_fn(|| queue.pop()));
        out.sort_unstable();
        assert_eq!(out, (0..5000).collect::<Vec<u32>>());
    }
}
