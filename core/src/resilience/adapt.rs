//! What to turn down on a poor network.

use std::time::Duration;

use super::Quality;

/// Reports in a row that agree before anything changes.
const AGREEING: u32 = 2;

/// What suits the network.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Adaptation {
    /// The heartbeat's interval is multiplied by this: fewer pings where each costs much, but never so few that the
    /// connection looks idle.
    pub heartbeat: f64,
    /// zlib level of what this client writes; `None`: as configured.
    pub compression_level: Option<u32>,
    /// Most messages and longest wait of a batch, if it is not configured larger; `None`: as configured.
    pub batch: Option<(usize, Duration)>,
}

impl Adaptation {
    /// Everything as configured.
    pub const NONE: Self = Self { heartbeat: 1.0, compression_level: None, batch: None };

    /// What suits a quality.
    pub const fn of(quality: Quality) -> Self {
        match quality {
            Quality::Unknown | Quality::Excellent | Quality::Good => Self::NONE,
            Quality::Fair => {
                Self { heartbeat: 1.5, compression_level: None, batch: Some((20, Duration::from_millis(200))) }
            }
            Quality::Poor => {
                Self { heartbeat: 2.0, compression_level: Some(9), batch: Some((50, Duration::from_millis(500))) }
            }
        }
    }
}

/// Follows the quality, slowly: one odd round trip changes nothing.
#[derive(Debug, Clone, Default)]
pub struct AdaptiveQuality {
    settled: Quality,
    seen: Quality,
    times: u32,
}

impl AdaptiveQuality {
    /// Notes a judgement; the adaptation when it is another one from here on.
    pub fn note(&mut self, quality: Quality) -> Option<Adaptation> {
        self.times = if quality == self.seen { self.times.saturating_add(1) } else { 1 };
        self.seen = quality;
        if self.times < AGREEING || quality == self.settled {
            return None;
        }
        let before = Adaptation::of(std::mem::replace(&mut self.settled, quality));
        let after = Adaptation::of(quality);
        (before != after).then_some(after)
    }

    /// What is in force.
    pub const fn adaptation(&self) -> Adaptation {
        Adaptation::of(self.settled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_odd_judgement_changes_nothing() {
        let mut adaptive = AdaptiveQuality::default();
        for quality in [Quality::Good, Quality::Poor, Quality::Good, Quality::Poor] {
            assert_eq!(adaptive.note(quality), None);
        }
        assert_eq!(adaptive.note(Quality::Poor), Some(Adaptation::of(Quality::Poor)));
        assert_eq!(adaptive.note(Quality::Poor), None, "told once");
        assert_eq!(adaptive.note(Quality::Excellent), None);
        assert_eq!(adaptive.note(Quality::Excellent), Some(Adaptation::NONE));
    }

    #[test]
    fn equal_needs_are_no_change() {
        let mut adaptive = AdaptiveQuality::default();
        for quality in [Quality::Good, Quality::Good, Quality::Excellent, Quality::Excellent] {
            assert_eq!(adaptive.note(quality), None);
        }
    }
}
