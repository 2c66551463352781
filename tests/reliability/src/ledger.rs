//! The books of one subscriber: what it got of each publisher, and what it was told that it will never get.

use std::{collections::BTreeMap, ops::Range};

/// What one subscriber saw of one topic. Publishers number their messages from 0.
#[derive(Debug, Clone, Default)]
pub(crate) struct Book {
    streams: BTreeMap<u32, Stream>,
    told: u64,
    told_open: u32,
}

#[derive(Debug, Clone, Default)]
struct Stream {
    next: u64,
    received: u64,
    repeated: u64,
    missing: Vec<Range<u64>>,
}

/// The sum of a book, or of many.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Balance {
    /// What the publishers sent, once for each subscriber.
    pub(crate) published: u64,
    /// What came.
    pub(crate) received: u64,
    /// What came twice or out of order.
    pub(crate) repeated: u64,
    /// What did not come, and was told with its number.
    pub(crate) told: u64,
    /// What did not come, and belongs to a loss that was told without a number: the end of an epoch.
    pub(crate) told_open: u64,
    /// What did not come, and nobody said so; or was told and came. Has to be 0.
    pub(crate) silent: u64,
}

impl Book {
    /// Message `number` of `publisher` came.
    pub(crate) fn receive(&mut self, publisher: u32, number: u64) {
        let stream = self.streams.entry(publisher).or_default();
        if number < stream.next {
            stream.repeated += 1;
            return;
        }
        if number > stream.next {
            stream.missing.push(stream.next..number);
        }
        stream.next = number + 1;
        stream.received += 1;
    }

    /// The subscriber was told that so many will never come; `None`: the server did not know how many.
    pub(crate) fn lost(&mut self, count: Option<u64>) {
        match count {
            Some(count) => self.told += count,
            None => self.told_open += 1,
        }
    }

    /// Losses that were told without a number.
    pub(crate) const fn open_losses(&self) -> u32 {
        self.told_open
    }

    /// Messages that came or were told lost with their number.
    pub(crate) fn accounted(&self) -> u64 {
        self.told + self.streams.values().map(|stream| stream.received).sum::<u64>()
    }

    /// Closes the book: `sent` has for each publisher how many it sent, and the numbers that the end of an epoch may
    /// have taken.
    pub(crate) fn balance(&self, sent: &[Sent]) -> Balance {
        let mut sum = Balance { told: self.told, ..Balance::default() };
        let mut uncovered = 0;
        for Sent { publisher, count, at_risk } in sent {
            let stream = self.streams.get(publisher).cloned().unwrap_or_default();
            sum.published += count;
            sum.received += stream.received;
            sum.repeated += stream.repeated;
            let tail = stream.next..(*count).max(stream.next);
            for gap in stream.missing.iter().chain([&tail]) {
                let excused = if self.told_open > 0 { overlap(gap, at_risk) } else { 0 };
                sum.told_open += excused;
                uncovered += (gap.end - gap.start) - excused;
            }
        }
        sum.silent = uncovered.abs_diff(self.told);
        sum
    }
}

/// What a publisher sent.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    pub(crate) publisher: u32,
    pub(crate) count: u64,
    /// Numbers that a server may have taken with it when it ended; empty where none ended.
    pub(crate) at_risk: Range<u64>,
}

impl std::ops::AddAssign for Balance {
    fn add_assign(&mut self, other: Self) {
        self.published += other.published;
        self.received += other.received;
        self.repeated += other.repeated;
        self.told += other.told;
        self.told_open += other.told_open;
        self.silent += other.silent;
    }
}

fn overlap(a: &Range<u64>, b: &Range<u64>) -> u64 {
    a.end.min(b.end).saturating_sub(a.start.max(b.start))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(count: u64, at_risk: Range<u64>) -> Vec<Sent> {
        vec![Sent { publisher: 1, count, at_risk }]
    }

    fn book(numbers: &[u64], told: &[Option<u64>]) -> Book {
        let mut book = Book::default();
        numbers.iter().for_each(|number| book.receive(1, *number));
        told.iter().for_each(|count| book.lost(*count));
        book
    }

    #[test]
    fn what_came_and_what_was_told_is_what_was_published() {
        let balance = book(&[0, 1, 4, 5], &[Some(2)]).balance(&sent(6, 0..0));
        assert_eq!(balance, Balance { published: 6, received: 4, told: 2, ..Balance::default() });
    }

    #[test]
    fn a_gap_that_nobody_told_is_silent_and_so_is_a_missing_end() {
        assert_eq!(book(&[0, 1, 4, 5], &[]).balance(&sent(6, 0..0)).silent, 2);
        assert_eq!(book(&[0, 1], &[]).balance(&sent(6, 0..0)).silent, 4);
        assert_eq!(book(&[0, 1], &[Some(1)]).balance(&sent(2, 0..0)).silent, 1);
    }

    #[test]
    fn the_end_of_an_epoch_excuses_what_was_at_risk_and_no_more() {
        assert_eq!(book(&[0, 1, 4, 5], &[None]).balance(&sent(6, 2..4)).silent, 0);
        assert_eq!(book(&[0, 1, 4, 5], &[None]).balance(&sent(6, 3..4)).silent, 1);
        assert_eq!(book(&[0, 1, 4, 5], &[]).balance(&sent(6, 2..4)).silent, 2);
        assert_eq!(book(&[0, 1, 4], &[None]).balance(&sent(6, 2..4)).silent, 1);
    }

    #[test]
    fn what_comes_twice_is_counted() {
        assert_eq!(book(&[0, 1, 1, 0, 2], &[]).balance(&sent(3, 0..0)).repeated, 2);
    }
}
