//! A token bucket. Source: PROTOCOL.md §7.3.

use std::time::Duration;

use crate::time::Moment;

/// How many messages may be sent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RateLimit {
    /// Most messages at once, at least 1. Default 100.
    pub capacity: u32,
    /// Messages per second in the long run, over 0. Default 50.
    pub refill: f64,
}

impl Default for RateLimit {
    fn default() -> Self {
        Self { capacity: 100, refill: 50.0 }
    }
}

impl RateLimit {
    /// The same within usable bounds, for figures that a server names.
    #[must_use]
    pub fn clamped(self) -> Self {
        let refill = if self.refill.is_finite() { self.refill.clamp(0.01, 1e6) } else { Self::default().refill };
        Self { capacity: self.capacity.clamp(1, 1_000_000), refill }
    }
}

/// A bucket that holds up to `capacity` tokens, gains `refill` of them a second, and gives one for each message.
#[derive(Debug, Clone)]
pub struct TokenBucket {
    limit: RateLimit,
    tokens: f64,
    /// When `tokens` was right. In the future while the bucket is paused.
    at: Moment,
}

/// Less than this is missing because fractions are rounded.
const ROUNDING: f64 = 1e-6;

impl TokenBucket {
    /// A full bucket. Figures out of bounds are taken as the nearest usable ones.
    pub fn new(limit: RateLimit, now: Moment) -> Self {
        let limit = limit.clamped();
        Self { limit, tokens: f64::from(limit.capacity), at: now }
    }

    /// The figures in force.
    pub const fn limit(&self) -> RateLimit {
        self.limit
    }

    /// Takes a token if there is one.
    pub fn take(&mut self, now: Moment) -> bool {
        self.refill(now);
        let allowed = now >= self.at && self.tokens + ROUNDING >= 1.0;
        if allowed {
            self.tokens = (self.tokens - 1.0).max(0.0);
        }
        allowed
    }

    /// How many tokens there are.
    pub fn available(&mut self, now: Moment) -> u32 {
        self.refill(now);
        if now >= self.at { (self.tokens + ROUNDING) as u32 } else { 0 }
    }

    /// Takes this many tokens, or all there are.
    pub fn take_many(&mut self, count: u32, now: Moment) {
        self.refill(now);
        self.tokens = (self.tokens - f64::from(count)).max(0.0);
    }

    /// The first moment, `now` or later, at which [`TokenBucket::take`] gives a token.
    pub fn next_at(&mut self, now: Moment) -> Moment {
        self.refill(now);
        let missing = 1.0 - self.tokens;
        if missing <= ROUNDING {
            return self.at.max(now);
        }
        let ms = (missing / self.limit.refill * 1000.0).ceil().max(1.0);
        self.at + Duration::from_millis(ms as u64)
    }

    /// Gives nothing before `until`, then one token, and refills from there: a server that asked for a pause is not
    /// met with a burst after it. A pause that ends earlier than one in force changes nothing.
    pub fn pause_until(&mut self, until: Moment) {
        if until > self.at {
            self.tokens = 1.0;
            self.at = until;
        }
    }

    /// Other figures from here on. Tokens over the capacity are lost; a pause stays.
    pub fn adjust(&mut self, limit: RateLimit, now: Moment) {
        self.refill(now);
        self.limit = limit.clamped();
        self.tokens = self.tokens.min(f64::from(self.limit.capacity));
    }

    fn refill(&mut self, now: Moment) {
        if now > self.at {
            let gained = now.since(self.at).as_secs_f64() * self.limit.refill;
            self.tokens = (self.tokens + gained).min(f64::from(self.limit.capacity));
            self.at = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Moment {
        Moment::from_millis(ms)
    }

    fn bucket(capacity: u32, refill: f64) -> TokenBucket {
        TokenBucket::new(RateLimit { capacity, refill }, at(0))
    }

    fn take_all(bucket: &mut TokenBucket, now: Moment) -> usize {
        std::iter::from_fn(|| bucket.take(now).then_some(())).count()
    }

    #[test]
    fn a_burst_up_to_the_capacity_then_the_rate() {
        let mut bucket = bucket(5, 10.0);
        assert_eq!(take_all(&mut bucket, at(0)), 5);
        assert_eq!(bucket.next_at(at(0)), at(100));
        assert_eq!(take_all(&mut bucket, at(99)), 0);
        assert_eq!(take_all(&mut bucket, at(100)), 1);
        assert_eq!(take_all(&mut bucket, at(350)), 2);
        assert_eq!(take_all(&mut bucket, at(60_000)), 5);
    }

    #[test]
    fn waiting_until_next_at_always_gives_a_token() {
        for refill in [0.3, 3.0, 7.0, 33.3, 999.0, 12_345.0] {
            let mut bucket = bucket(1, refill);
            let mut now = at(0);
            for _ in 0..200 {
                assert!(bucket.take(now), "refill {refill} at {now:?}");
                let next = bucket.next_at(now);
                assert!(next >= now);
                now = next;
            }
        }
    }

    #[test]
    fn many_tokens_can_be_taken_together() {
        let mut bucket = bucket(5, 10.0);
        assert_eq!(bucket.available(at(0)), 5);
        bucket.take_many(3, at(0));
        assert_eq!(bucket.available(at(50)), 2);
        assert_eq!(bucket.available(at(100)), 3);
        bucket.take_many(9, at(100));
        assert_eq!(bucket.available(at(100)), 0);
        bucket.pause_until(at(500));
        assert_eq!((bucket.available(at(499)), bucket.available(at(500))), (0, 1));
    }

    #[test]
    fn a_pause_ends_with_one_token_and_no_burst() {
        let mut bucket = bucket(5, 10.0);
        bucket.pause_until(at(2000));
        assert_eq!(bucket.next_at(at(10)), at(2000));
        assert_eq!(take_all(&mut bucket, at(1999)), 0);
        bucket.pause_until(at(500));
        assert_eq!(take_all(&mut bucket, at(1999)), 0);
        assert_eq!(take_all(&mut bucket, at(2000)), 1);
        assert_eq!(bucket.next_at(at(2000)), at(2100));
    }

    #[test]
    fn other_figures_hold_at_once() {
        let mut bucket = bucket(100, 1.0);
        bucket.adjust(RateLimit { capacity: 2, refill: 4.0 }, at(0));
        assert_eq!(take_all(&mut bucket, at(0)), 2);
        assert_eq!(bucket.next_at(at(0)), at(250));
        bucket.pause_until(at(1000));
        bucket.adjust(RateLimit { capacity: 50, refill: 50.0 }, at(300));
        assert_eq!(take_all(&mut bucket, at(900)), 0);
    }

    #[test]
    fn figures_of_a_server_cannot_break_it() {
        for (capacity, refill) in [(0, 0.0), (0, -1.0), (u32::MAX, f64::NAN), (1, f64::INFINITY), (7, f64::MAX)] {
            let mut bucket = bucket(capacity, refill);
            assert!(bucket.take(at(0)));
            take_all(&mut bucket, at(0));
            let next = bucket.next_at(at(0));
            assert!(next > at(0) && next <= at(100_000), "{capacity} {refill}: {next:?}");
        }
    }
}
