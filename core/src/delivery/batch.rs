//! When small messages share a frame. Source: PROTOCOL.md §7.4.

use std::time::Duration;

use crate::time::Moment;

/// How messages are joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchConfig {
    /// Most messages in one frame, at least 1. Default 10.
    pub size: usize,
    /// How long messages are held at most after one was sent. Default 100 ms.
    pub timeout: Duration,
    /// Most bytes of messages in one frame; a larger message goes alone. Default 64 KiB.
    pub max_bytes: usize,
}

impl Default for BatchConfig {
    fn default() -> Self {
        Self { size: 10, timeout: Duration::from_millis(100), max_bytes: 64 << 10 }
    }
}

/// Decides when messages that wait may go, and how many of them in one frame.
///
/// A message after a quiet time goes at once. Those that follow it within the timeout wait for each other, and go
/// together when the timeout is over or a frame is full. The messages themselves stay with the caller, so that none
/// is in two places.
#[derive(Debug, Clone)]
pub struct Batcher {
    config: BatchConfig,
    /// Until then messages wait for each other.
    hold_until: Moment,
}

impl Batcher {
    /// A batcher that sends the first message at once.
    pub const fn new(config: BatchConfig) -> Self {
        Self { config, hold_until: Moment::ORIGIN }
    }

    /// Goes on with other bounds; what waits is held no longer than it would have been.
    pub const fn set_config(&mut self, config: BatchConfig) {
        self.config = config;
    }

    /// How many of the waiting messages make up the next frame, in their order; 0: they wait until
    /// [`Batcher::next_at`]. `sizes` are the bytes of those that wait, `urgent` says that the first must not be held.
    pub fn next_frame(&self, sizes: impl IntoIterator<Item = usize>, urgent: bool, now: Moment) -> usize {
        let mut bytes = 0_usize;
        let mut full = false;
        let mut count = 0;
        for size in sizes {
            bytes = bytes.saturating_add(size);
            full = count == self.config.size.max(1) || (count > 0 && bytes > self.config.max_bytes);
            if full {
                break;
            }
            count += 1;
        }
        full |= count == self.config.size.max(1) || bytes > self.config.max_bytes;
        if full || urgent || now >= self.hold_until { count } else { 0 }
    }

    /// Notes that a frame was sent.
    pub fn sent(&mut self, now: Moment) {
        self.hold_until = now + self.config.timeout;
    }

    /// When messages that wait may go at the latest.
    pub const fn next_at(&self) -> Moment {
        self.hold_until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Moment {
        Moment::from_millis(ms)
    }

    fn batcher() -> Batcher {
        Batcher::new(BatchConfig { size: 3, timeout: Duration::from_millis(100), max_bytes: 100 })
    }

    #[test]
    fn the_first_goes_at_once_and_those_that_follow_wait_for_each_other() {
        let mut batcher = batcher();
        assert_eq!(batcher.next_frame([10], false, at(1000)), 1);
        batcher.sent(at(1000));
        assert_eq!(batcher.next_frame([10], false, at(1001)), 0);
        assert_eq!(batcher.next_frame([10, 10], false, at(1099)), 0);
        assert_eq!(batcher.next_at(), at(1100));
        assert_eq!(batcher.next_frame([10, 10], false, at(1100)), 2);
        batcher.sent(at(1100));
        assert_eq!(batcher.next_frame([10], false, at(1300)), 1);
    }

    #[test]
    fn a_full_frame_does_not_wait() {
        let mut batcher = batcher();
        batcher.sent(at(0));
        assert_eq!(batcher.next_frame([1, 1, 1, 1], false, at(1)), 3);
        assert_eq!(batcher.next_frame([60, 30], false, at(1)), 0);
        assert_eq!(batcher.next_frame([60, 50], false, at(1)), 1);
    }

    #[test]
    fn a_large_message_goes_alone_and_an_urgent_one_at_once() {
        let mut batcher = batcher();
        batcher.sent(at(0));
        assert_eq!(batcher.next_frame([500, 1], false, at(1)), 1);
        assert_eq!(batcher.next_frame([10, 10], true, at(1)), 2);
        assert_eq!(batcher.next_frame([], true, at(500)), 0);
    }

    #[test]
    fn a_size_of_zero_still_sends() {
        let batcher = Batcher::new(BatchConfig { size: 0, ..BatchConfig::default() });
        assert_eq!(batcher.next_frame([1, 1], false, at(0)), 1);
    }
}
