//! The sequence numbers of one connection: what they tell, and a bounded window that puts messages in order.
//!
//! A WebSocket keeps its order, so on a plain connection a number that is missing never comes. The window exists
//! for servers behind something that does reorder; it is off unless it was asked for, and even then it holds a
//! message only for a short time. Source: PROTOCOL.md §2.1 (`seq`).

use std::{collections::VecDeque, time::Duration};

use crate::time::Moment;

/// Bounds of a [`ReorderWindow`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReorderConfig {
    /// Messages held at most. A number further ahead than this opens no gap: the count starts anew there. Default 100.
    pub max_held: usize,
    /// Longest time that a message is held. Default 250 ms.
    pub max_wait: Duration,
}

impl Default for ReorderConfig {
    fn default() -> Self {
        Self { max_held: 100, max_wait: Duration::from_millis(250) }
    }
}

/// What the sequence numbers of one connection told so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SequenceStats {
    /// Messages with a number.
    pub numbered: u64,
    /// Numbers that were jumped over.
    pub missing: u64,
    /// Messages whose number was behind the one expected.
    pub late: u64,
    /// The number expected next; `None` before the first.
    pub expected: Option<u64>,
}

/// Puts numbered messages in order, within bounds of count and time.
#[derive(Debug)]
pub struct ReorderWindow<T> {
    config: Option<ReorderConfig>,
    stats: SequenceStats,
    /// By number; most come in order, so that they go to the end.
    held: VecDeque<(u64, T)>,
    /// When the present gap is given up.
    deadline: Option<Moment>,
}

impl<T> ReorderWindow<T> {
    /// A window for a fresh connection; without `config` it only counts, and holds nothing.
    pub const fn new(config: Option<ReorderConfig>) -> Self {
        let stats = SequenceStats { numbered: 0, missing: 0, late: 0, expected: None };
        Self { config, stats, held: VecDeque::new(), deadline: None }
    }

    /// Takes a message, and appends to `out` what may be handed on. A message behind the count is handed on at
    /// once: whether it was seen before is for its id to tell.
    pub fn push(&mut self, sequence: u64, message: T, now: Moment, out: &mut Vec<T>) {
        self.stats.numbered += 1;
        let expected = *self.stats.expected.get_or_insert(sequence);
        if sequence < expected {
            self.stats.late += 1;
            out.push(message);
            return;
        }
        let Some(config) = self.config.filter(|config| self.may_wait(sequence, expected, config)) else {
            self.release_all(out);
            let expected = self.stats.expected.unwrap_or(sequence).max(expected);
            self.stats.missing = self.stats.missing.saturating_add(sequence.saturating_sub(expected));
            self.stats.expected = Some(sequence.saturating_add(1).max(expected));
            out.push(message);
            return;
        };
        // A second message of the same number replaces nothing: it is late by then.
        match self.held.binary_search_by_key(&sequence, |(held, _)| *held) {
            Ok(at) => {
                self.stats.late += 1;
                out.push(std::mem::replace(&mut self.held[at].1, message));
            }
            Err(at) => self.held.insert(at, (sequence, message)),
        }
        self.release_ready(out);
        self.arm(now, config.max_wait);
    }

    /// Gives up a gap whose time is over.
    pub fn expire(&mut self, now: Moment, out: &mut Vec<T>) {
        let Some(config) = self.config.filter(|_| self.deadline.is_some_and(|deadline| deadline <= now)) else {
            return;
        };
        self.deadline = None;
        if let Some(&(first, _)) = self.held.front() {
            self.skip_to(first);
        }
        self.release_ready(out);
        self.arm(now, config.max_wait);
    }

    /// Hands on everything that is held, in order: the connection is over and no gap can fill any more.
    pub fn release_all(&mut self, out: &mut Vec<T>) {
        self.deadline = None;
        while let Some((sequence, message)) = self.held.pop_front() {
            self.skip_to(sequence);
            self.stats.expected = Some(sequence.saturating_add(1));
            out.push(message);
        }
    }

    /// Messages held at the moment.
    pub fn held(&self) -> usize {
        self.held.len()
    }

    /// When [`ReorderWindow::expire`] has something to do.
    pub const fn deadline(&self) -> Option<Moment> {
        self.deadline
    }

    /// What the numbers told.
    pub const fn stats(&self) -> SequenceStats {
        self.stats
    }

    fn may_wait(&self, sequence: u64, expected: u64, config: &ReorderConfig) -> bool {
        let room = self.held.len() < config.max_held && sequence - expected <= config.max_held as u64;
        room || sequence == expected
    }

    fn skip_to(&mut self, sequence: u64) {
        let expected = self.stats.expected.unwrap_or(sequence);
        self.stats.missing = self.stats.missing.saturating_add(sequence.saturating_sub(expected));
        self.stats.expected = Some(sequence.max(expected));
    }

    fn release_ready(&mut self, out: &mut Vec<T>) {
        while let Some(expected) = self.stats.expected
            && self.held.front().is_some_and(|(sequence, _)| *sequence == expected)
            && let Some((_, message)) = self.held.pop_front()
        {
            self.stats.expected = Some(expected.saturating_add(1));
            out.push(message);
            self.deadline = None;
        }
    }

    fn arm(&mut self, now: Moment, max_wait: Duration) {
        if self.held.is_empty() {
            self.deadline = None;
        } else if self.deadline.is_none() {
            self.deadline = Some(now + max_wait);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Moment = Moment::ORIGIN;

    fn push(window: &mut ReorderWindow<u64>, numbers: &[u64]) -> Vec<u64> {
        let mut out = Vec::new();
        for number in numbers {
            window.push(*number, *number, NOW, &mut out);
        }
        out
    }

    #[test]
    fn without_bounds_nothing_is_held_and_gaps_are_counted() {
        let mut window = ReorderWindow::new(None);
        assert_eq!(push(&mut window, &[5, 6, 9, 7]), [5, 6, 9, 7]);
        assert_eq!(window.stats(), SequenceStats { numbered: 4, missing: 2, late: 1, expected: Some(10) });
        assert_eq!(window.deadline(), None);
    }

    #[test]
    fn a_gap_that_fills_is_put_in_order() {
        let mut window = ReorderWindow::new(Some(ReorderConfig::default()));
        assert_eq!(push(&mut window, &[0, 2, 3, 1, 4]), [0, 1, 2, 3, 4]);
        assert_eq!((window.held.len(), window.deadline(), window.stats().missing), (0, None, 0));
    }

    #[test]
    fn a_gap_that_does_not_fill_is_given_up_in_time() {
        let mut window = ReorderWindow::new(Some(ReorderConfig::default()));
        assert_eq!(push(&mut window, &[0, 2, 5]), [0]);
        let deadline = window.deadline().expect("armed");
        let mut out = Vec::new();
        window.expire(deadline, &mut out);
        assert_eq!(out, [2]);
        window.expire(window.deadline().expect("the next gap has its own time"), &mut out);
        assert_eq!((out, window.deadline()), (vec![2, 5], None));
        assert_eq!(window.stats().missing, 3);
    }

    #[test]
    fn too_far_ahead_or_too_many_ends_the_wait() {
        let config = ReorderConfig { max_held: 2, ..ReorderConfig::default() };
        let mut window = ReorderWindow::new(Some(config));
        assert_eq!(push(&mut window, &[0, 2, 3, 4]), [0, 2, 3, 4]);
        assert_eq!(push(&mut window, &[100, 101]), [100, 101]);
        assert_eq!(push(&mut window, &[u64::MAX, u64::MAX]), [u64::MAX, u64::MAX]);
    }

    #[test]
    fn everything_held_is_handed_on_at_the_end() {
        let mut window = ReorderWindow::new(Some(ReorderConfig::default()));
        assert_eq!(push(&mut window, &[0, 3, 2]), [0]);
        let mut out = Vec::new();
        window.release_all(&mut out);
        assert_eq!((out, window.held.len()), (vec![2, 3], 0));
    }
}
