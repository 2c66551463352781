//! Exponential backoff with full jitter.

use std::time::Duration;

use crate::{config::ReconnectConfig, rng::Rng};

/// Counts consecutive failures and draws the pause before the next attempt.
///
/// The pause is drawn evenly from `0 ..= min(max_delay, initial_delay * multiplier^failures)` (full jitter),
/// so that a thousand clients of a restarted server come back spread over the window and not at once.
#[derive(Debug, Clone)]
pub struct Backoff {
    config: ReconnectConfig,
    failures: u32,
}

impl Backoff {
    /// A backoff with no failure yet.
    pub const fn new(config: ReconnectConfig) -> Self {
        Self { config, failures: 0 }
    }

    /// Consecutive failures so far.
    pub const fn failures(&self) -> u32 {
        self.failures
    }

    /// Forgets all failures; call it once a connection works.
    pub const fn reset(&mut self) {
        self.failures = 0;
    }

    /// Counts one failure and gives the pause before the next attempt; `None` when the configured number
    /// of retries is used up.
    pub fn next_pause(&mut self, rng: &mut Rng) -> Option<Duration> {
        if self.config.max_retries.is_some_and(|max| self.failures >= max) {
            return None;
        }
        let ceiling = self.ceiling();
        self.failures = self.failures.saturating_add(1);
        Some(ceiling.mul_f64(rng.unit()))
    }

    fn ceiling(&self) -> Duration {
        let exponent = i32::try_from(self.failures).unwrap_or(i32::MAX);
        let grown = self.config.initial_delay.as_secs_f64() * self.config.multiplier.powi(exponent);
        Duration::from_secs_f64(grown.min(self.config.max_delay.as_secs_f64()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Seed;

    #[test]
    fn pauses_stay_under_a_growing_ceiling_and_never_pass_the_maximum() {
        let config = ReconnectConfig::default();
        let mut rng = Rng::new(Seed::from_u64(1));
        let mut backoff = Backoff::new(config.clone());
        for failures in 0..2000 {
            let ceiling = config.initial_delay.as_secs_f64() * config.multiplier.powi(failures);
            let pause = backoff.next_pause(&mut rng).expect("retries are unlimited").as_secs_f64();
            assert!(pause <= ceiling.min(config.max_delay.as_secs_f64()));
        }
        backoff.reset();
        assert!(backoff.next_pause(&mut rng).expect("unlimited") <= config.initial_delay);
    }

    #[test]
    fn a_finite_number_of_retries_ends() {
        let mut rng = Rng::new(Seed::from_u64(1));
        let mut backoff = Backoff::new(ReconnectConfig { max_retries: Some(2), ..ReconnectConfig::default() });
        assert!(backoff.next_pause(&mut rng).is_some());
        assert!(backoff.next_pause(&mut rng).is_some());
        assert!(backoff.next_pause(&mut rng).is_none());
    }
}
