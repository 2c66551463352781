//! The last publications of a topic, for subscribers that have not read them yet.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use wse_client_core::time::Moment;

use super::{
    block::{BLOCK, Block},
    publication::Publication,
};

/// Bounds of one topic's ring. What does not fit pushes out the oldest.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RingBounds {
    /// Most publications.
    pub(crate) count: usize,
    /// Most bytes, as [`Publication::cost`] counts them. The newest publication stays even if it is larger.
    pub(crate) bytes: usize,
    /// What is kept for clients that come back, beyond what somebody has still to read.
    pub(crate) history: HistoryBounds,
}

/// How much of what everybody has read is kept.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct HistoryBounds {
    /// Most publications; 0: no history, and publications carry no position.
    pub(crate) count: usize,
    /// Longest time.
    pub(crate) age: Duration,
}

/// Publications by position. Positions start at 0 and never repeat.
#[derive(Debug)]
pub(crate) struct Ring {
    bounds: RingBounds,
    entries: VecDeque<(Moment, Arc<Publication>)>,
    /// Position of the oldest entry.
    base: u64,
    bytes: usize,
    /// The blocks of what is held, one behind the other; `None` where there is none, as with one of which something was
    /// let go: it would keep that in memory, which nobody counts any more.
    blocks: VecDeque<Option<Arc<Block>>>,
    /// Position of the first of them.
    first_block: u64,
}

/// What a reader got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fetched {
    /// Where the reader stood.
    pub(crate) from: u64,
    /// Publications that were pushed out before this reader came to them. It goes on from the oldest.
    pub(crate) lost: u64,
    /// Where to read next.
    pub(crate) cursor: u64,
    /// Whether there is more.
    pub(crate) more: bool,
}

impl Ring {
    /// An empty ring.
    pub(crate) const fn new(bounds: RingBounds) -> Self {
        Self { bounds, entries: VecDeque::new(), base: 0, bytes: 0, blocks: VecDeque::new(), first_block: 0 }
    }

    pub(crate) const fn bounds(&self) -> RingBounds {
        self.bounds
    }

    /// The position after the newest publication.
    pub(crate) fn head(&self) -> u64 {
        self.base + self.entries.len() as u64
    }

    /// The position of the oldest publication that is held.
    pub(crate) const fn base(&self) -> u64 {
        self.base
    }

    /// What is held, as [`Publication::cost`] counts it.
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether positions are told and a history is kept.
    pub(crate) const fn keeps_history(&self) -> bool {
        self.bounds.history.count > 0
    }

    /// Whether nothing is held.
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Adds the newest publication.
    pub(crate) fn push(&mut self, publication: Arc<Publication>, now: Moment) {
        self.bytes += publication.cost();
        self.entries.push_back((now, publication));
        while self.entries.len() > self.bounds.count.max(1)
            || (self.bytes > self.bounds.bytes && self.entries.len() > 1)
        {
            self.pop();
        }
        if self.head().is_multiple_of(BLOCK) {
            let start = self.entries.len().saturating_sub(BLOCK as usize);
            let block = Block::new(self.entries.range(start..).map(|(_, publication)| publication));
            self.blocks.push_back(block.map(Arc::new));
        }
    }

    /// The block that holds `position`, if it is complete, and where in it the position is.
    pub(crate) fn block(&self, position: u64) -> Option<(&Arc<Block>, usize)> {
        if position < self.base {
            return None;
        }
        let index = (position - self.first_block) / BLOCK;
        let block = self.blocks.get(usize::try_from(index).ok()?)?.as_ref()?;
        Some((block, (position % BLOCK) as usize))
    }

    /// Lets go of what every reader has read and the history need not keep.
    pub(crate) fn trim(&mut self, slowest: u64, now: Moment) {
        let HistoryBounds { count, age } = self.bounds.history;
        while self.base < slowest
            && let Some((at, _)) = self.entries.front()
            && (self.entries.len() > count || now.since(*at) > age)
        {
            self.pop();
        }
        self.shrink();
    }

    /// Lets go of the oldest below `end` until `bytes` are free. Answers how many publications went.
    pub(crate) fn release(&mut self, end: u64, bytes: usize) -> u64 {
        let (base, wanted) = (self.base, self.bytes.saturating_sub(bytes));
        while self.base < end && self.bytes > wanted && !self.entries.is_empty() {
            self.pop();
        }
        self.shrink();
        self.base - base
    }

    fn shrink(&mut self) {
        if self.entries.is_empty() {
            self.entries.shrink_to(16);
        }
    }

    /// Appends at most `max` publications from `cursor` on to `out`.
    pub(crate) fn fetch(&self, cursor: u64, max: usize, out: &mut Vec<Arc<Publication>>) -> Fetched {
        self.fetch_until(u64::MAX, cursor, max, out)
    }

    /// The same for a reader that goes no further than a position.
    pub(crate) fn fetch_until(&self, end: u64, cursor: u64, max: usize, out: &mut Vec<Arc<Publication>>) -> Fetched {
        let end = end.min(self.head());
        let from = cursor.max(self.base).min(end);
        let take = end.saturating_sub(from.max(self.base)).min(max as u64);
        let skip = from.saturating_sub(self.base) as usize;
        let fetched = self.entries.range(skip..skip + take as usize);
        out.extend(fetched.map(|(_, publication)| Arc::clone(publication)));
        let next = from.max(cursor) + take;
        Fetched { from: cursor, lost: from.saturating_sub(cursor), cursor: next, more: next < end }
    }

    fn pop(&mut self) {
        if let Some((_, publication)) = self.entries.pop_front() {
            self.bytes -= publication.cost();
            self.base += 1;
        }
        while self.first_block + BLOCK <= self.base {
            self.blocks.pop_front();
            self.first_block += BLOCK;
        }
        if self.first_block < self.base
            && let Some(first) = self.blocks.front_mut()
        {
            *first = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use wse_client_core::{client::Outgoing, wire::Payload};

    use super::*;

    const NOW: Moment = Moment::ORIGIN;
    const NONE: HistoryBounds = HistoryBounds { count: 0, age: Duration::ZERO };

    fn publication(number: usize) -> Arc<Publication> {
        let message = Outgoing::new(format!("k{number}"), Payload::EMPTY);
        Arc::new(Publication::new("t", message, String::new(), String::new(), None))
    }

    fn kinds(read: &[Arc<Publication>]) -> Vec<&str> {
        read.iter().map(|publication| publication.kind()).collect()
    }

    #[test]
    fn a_reader_gets_everything_in_order_and_in_steps() {
        let mut ring = Ring::new(RingBounds { count: 10, bytes: usize::MAX, history: NONE });
        (0..3).for_each(|number| ring.push(publication(number), NOW));
        let mut read = Vec::new();
        let first = ring.fetch(0, 2, &mut read);
        assert_eq!(first, Fetched { from: 0, lost: 0, cursor: 2, more: true });
        let second = ring.fetch(first.cursor, 2, &mut read);
        assert_eq!(second, Fetched { from: 2, lost: 0, cursor: 3, more: false });
        assert_eq!(kinds(&read), ["k0", "k1", "k2"]);
        assert_eq!(ring.fetch(3, 2, &mut read), Fetched { from: 3, lost: 0, cursor: 3, more: false });
    }

    #[test]
    fn what_was_pushed_out_is_counted() {
        let mut ring = Ring::new(RingBounds { count: 2, bytes: usize::MAX, history: NONE });
        (0..5).for_each(|number| ring.push(publication(number), NOW));
        let mut read = Vec::new();
        assert_eq!(ring.fetch(1, 10, &mut read), Fetched { from: 1, lost: 2, cursor: 5, more: false });
        assert_eq!(kinds(&read), ["k3", "k4"]);
    }

    #[test]
    fn bytes_are_bounded_too_but_the_newest_stays() {
        let cost = publication(0).cost();
        let mut ring = Ring::new(RingBounds { count: 100, bytes: 2 * cost, history: NONE });
        (0..5).for_each(|number| ring.push(publication(number), NOW));
        assert_eq!((ring.entries.len(), ring.bytes, ring.head()), (2, 2 * cost, 5));
        let mut tiny = Ring::new(RingBounds { count: 100, bytes: 1, history: NONE });
        tiny.push(publication(0), NOW);
        assert_eq!(tiny.entries.len(), 1);
    }

    #[test]
    fn trimming_keeps_positions() {
        let mut ring = Ring::new(RingBounds { count: 100, bytes: usize::MAX, history: NONE });
        (0..5).for_each(|number| ring.push(publication(number), NOW));
        ring.trim(3, NOW);
        let mut read = Vec::new();
        assert_eq!(ring.fetch(3, 10, &mut read), Fetched { from: 3, lost: 0, cursor: 5, more: false });
        ring.trim(5, NOW);
        assert!(ring.is_empty());
        assert_eq!((ring.head(), ring.bytes), (5, 0));
    }

    #[test]
    fn what_was_let_go_is_kept_by_no_block() {
        let mut ring = Ring::new(RingBounds { count: 1000, bytes: usize::MAX, history: NONE });
        let publications: Vec<_> = (0..3 * BLOCK as usize).map(publication).collect();
        publications.iter().for_each(|publication| ring.push(Arc::clone(publication), NOW));
        let let_go = || publications.iter().filter(|publication| Arc::strong_count(publication) == 1).count();
        assert!(ring.block(BLOCK + 1).is_some());
        ring.trim(BLOCK + 1, NOW);
        assert_eq!(let_go(), BLOCK as usize + 1);
        assert!(ring.block(BLOCK + 1).is_none());
        assert_eq!(ring.block(2 * BLOCK + 5).map(|(_, skip)| skip), Some(5));
        ring.trim(2 * BLOCK, NOW);
        assert!(ring.block(2 * BLOCK).is_some());
    }

    #[test]
    fn a_history_is_kept_within_count_and_age() {
        let history = HistoryBounds { count: 3, age: Duration::from_secs(10) };
        let mut ring = Ring::new(RingBounds { count: 100, bytes: usize::MAX, history });
        (0..5).for_each(|number| ring.push(publication(number), NOW));
        ring.trim(1, NOW);
        assert_eq!(ring.base(), 1, "the reader at 1 has not read the rest");
        ring.trim(5, NOW);
        assert_eq!(ring.base(), 2);
        ring.trim(5, NOW + Duration::from_secs(11));
        assert!(ring.is_empty());
        ring.push(publication(5), NOW);
        ring.release(6, usize::MAX);
        assert!(ring.is_empty());
    }
}
