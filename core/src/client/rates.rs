//! How much goes through a connection at the moment.

use crate::time::Moment;

/// Seconds that are looked at.
const WINDOW: usize = 10;

/// Messages and bytes of one second.
#[derive(Debug, Clone, Copy, Default)]
struct Second {
    messages: u64,
    bytes: u64,
}

/// Messages and bytes of the last 10 s, second by second.
#[derive(Debug, Clone)]
pub(super) struct Rates {
    seconds: [Second; WINDOW],
    /// The second, since the origin of the clock, that was noted last.
    last: u64,
    /// The second of the first note: there is nothing before it to divide by.
    first: u64,
}

impl Rates {
    pub(super) fn new(now: Moment) -> Self {
        let last = second(now);
        Self { seconds: [Second::default(); WINDOW], last, first: last }
    }

    pub(super) fn note(&mut self, messages: u64, bytes: u64, now: Moment) {
        let at = second(now).max(self.last);
        if at - self.last >= WINDOW as u64 {
            self.seconds = [Second::default(); WINDOW];
        } else {
            for passed in self.last + 1..=at {
                self.seconds[slot(passed)] = Second::default();
            }
        }
        self.last = at;
        let present = &mut self.seconds[slot(at)];
        present.messages = present.messages.saturating_add(messages);
        present.bytes = present.bytes.saturating_add(bytes);
    }

    /// Messages and bytes a second.
    pub(super) fn per_second(&self, now: Moment) -> (f64, f64) {
        let mut settled = self.clone();
        settled.note(0, 0, now);
        let seconds = (settled.last - settled.first + 1).min(WINDOW as u64) as f64;
        let sum = |figure: fn(&Second) -> u64| settled.seconds.iter().map(|second| figure(second) as f64).sum::<f64>();
        (sum(|second| second.messages) / seconds, sum(|second| second.bytes) / seconds)
    }
}

const fn second(now: Moment) -> u64 {
    now.as_millis() / 1000
}

const fn slot(second: u64) -> usize {
    (second % WINDOW as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(ms: u64) -> Moment {
        Moment::from_millis(ms)
    }

    #[test]
    fn a_young_client_divides_by_its_age() {
        let mut rates = Rates::new(at(5_000));
        rates.note(4, 400, at(5_100));
        assert_eq!(rates.per_second(at(5_900)), (4.0, 400.0));
        assert_eq!(rates.per_second(at(6_000)), (2.0, 200.0));
    }

    #[test]
    fn what_is_older_than_the_window_counts_no_more() {
        let mut rates = Rates::new(at(0));
        rates.note(10, 100, at(500));
        rates.note(20, 200, at(5_500));
        assert_eq!(rates.per_second(at(9_999)), (3.0, 30.0));
        assert_eq!(rates.per_second(at(10_000)), (2.0, 20.0));
        assert_eq!(rates.per_second(at(60_000)), (0.0, 0.0));
        rates.note(5, 50, at(70_000));
        assert_eq!(rates.per_second(at(70_001)), (0.5, 5.0));
    }

    #[test]
    fn a_clock_that_goes_back_changes_nothing() {
        let mut rates = Rates::new(at(10_000));
        rates.note(1, 1, at(3_000));
        assert_eq!(rates.per_second(at(2_000)), (1.0, 1.0));
    }
}
