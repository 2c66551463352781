//! Which stamped nonces were seen: a signature counts once, and only for a while. Source: PROTOCOL.md §5.3.

use std::{collections::BTreeSet, time::Duration};

/// Nonces that are remembered at most.
const WINDOW: usize = 10_000;

/// The longest nonce that is remembered, in bytes.
const MAX_NONCE: usize = 64;

/// A window over Unix time. Bounded: when it is full, whatever is as old as what was forgotten is refused.
#[derive(Debug)]
pub struct ReplayWindow {
    max_skew_ms: u64,
    /// Stamp and nonce in one text, in the order of stamps, see [`seen`].
    seen: BTreeSet<String>,
    /// Nothing up to this stamp is accepted any more.
    floor: Option<u64>,
}

impl ReplayWindow {
    /// A window for stamps that differ from our clock by `max_skew` at most, in either direction.
    pub fn new(max_skew: Duration) -> Self {
        let max_skew_ms = u64::try_from(max_skew.as_millis()).unwrap_or(u64::MAX);
        Self { max_skew_ms, seen: BTreeSet::new(), floor: None }
    }

    /// Whether this nonce with this stamp is fresh; it is not so a second time. Both times are Unix milliseconds.
    /// Call it only for what is known to be genuine: anything else would fill the window.
    pub fn accept(&mut self, stamp_ms: u64, nonce: &str, now_ms: u64) -> bool {
        let oldest = now_ms.saturating_sub(self.max_skew_ms);
        let in_time = stamp_ms.abs_diff(now_ms) <= self.max_skew_ms;
        if !in_time || nonce.len() > MAX_NONCE || self.floor.is_some_and(|floor| stamp_ms <= floor) {
            return false;
        }
        while self.seen.first().is_some_and(|first| stamp_of(first) < oldest) {
            // Also when the clock is set back, what was forgotten is not fresh.
            self.floor = self.seen.pop_first().map(|first| stamp_of(&first));
        }
        if !self.seen.insert(seen(stamp_ms, nonce)) {
            return false;
        }
        if self.seen.len() > WINDOW {
            self.floor = self.seen.pop_first().as_deref().map(stamp_of);
        }
        true
    }

    /// Nonces that are remembered; at most 10,000.
    pub fn held(&self) -> usize {
        self.seen.len()
    }
}

/// One text sorts like the pair, and needs no set of its own kind, which a browser would have to download.
fn seen(stamp_ms: u64, nonce: &str) -> String {
    format!("{stamp_ms:016x}{nonce}")
}

fn stamp_of(seen: &str) -> u64 {
    seen.get(..16).and_then(|digits| u64::from_str_radix(digits, 16).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_771_601_400_000;
    const SKEW: u64 = 300_000;

    fn window() -> ReplayWindow {
        ReplayWindow::new(Duration::from_millis(SKEW))
    }

    #[test]
    fn a_nonce_counts_once() {
        let mut window = window();
        assert!(window.accept(NOW, "a", NOW));
        assert!(!window.accept(NOW, "a", NOW));
        assert!(window.accept(NOW, "b", NOW));
        // Also at the last moment at which its stamp would do.
        assert!(!window.accept(NOW, "a", NOW + SKEW));
        assert!(!window.accept(NOW, "a", NOW + SKEW + 1));
    }

    #[test]
    fn stamps_outside_the_skew_are_refused() {
        let mut window = window();
        for (stamp, fresh) in [(NOW - SKEW, true), (NOW - SKEW - 1, false), (NOW + SKEW, true), (NOW + SKEW + 1, false)]
        {
            assert_eq!(window.accept(stamp, "a", NOW), fresh, "{stamp}");
        }
        assert!(!window.accept(NOW, &"a".repeat(MAX_NONCE + 1), NOW));
    }

    #[test]
    fn what_was_forgotten_stays_refused_when_the_clock_is_set_back() {
        let mut window = window();
        assert!(window.accept(NOW, "a", NOW));
        let later = NOW + SKEW + 1;
        assert!(window.accept(later, "b", later));
        assert_eq!(window.held(), 1, "the first is too old to be remembered");
        assert!(!window.accept(NOW, "a", NOW + 1));
        assert!(window.accept(NOW + 1, "c", NOW + 1), "what is younger counts");
    }

    #[test]
    fn a_full_window_refuses_rather_than_forgets() {
        let mut window = window();
        for n in 0..=WINDOW as u64 {
            assert!(window.accept(NOW + n, "a", NOW), "{n}");
        }
        assert_eq!(window.seen.len(), WINDOW);
        assert!(!window.accept(NOW, "a", NOW), "what was forgotten is not fresh");
        assert!(!window.accept(NOW, "other", NOW));
        assert!(!window.accept(NOW + 1, "a", NOW));
        assert!(window.accept(NOW + 1, "other", NOW));
    }

    #[test]
    fn old_nonces_make_room() {
        let mut window = window();
        for n in 0..100 {
            assert!(window.accept(NOW, &n.to_string(), NOW));
        }
        assert!(window.accept(NOW + SKEW + 1, "a", NOW + SKEW + 1));
        assert_eq!(window.seen.len(), 1);
    }
}
