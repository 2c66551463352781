//! Pauses between attempts, with full jitter.

use std::time::Duration;

use crate::{config::ReconnectConfig, rng::Rng};

/// No pause is shorter, whatever is drawn: with a short ceiling, zero would come up often.
const SHORTEST: Duration = Duration::from_millis(1);

/// How the longest pause grows with the failures in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum BackoffStrategy {
    /// `initial_delay * multiplier ^ failures`.
    #[default]
    Exponential,
    /// `initial_delay + failures * 1 s`.
    Linear,
    /// `initial_delay` times 1, 1, 2, 3, 5, 8 …
    Fibonacci,
    /// As exponential, but a connection that works halves the count of failures instead of clearing it: where
    /// connections never last, the next attempt comes later.
    Adaptive,
}

/// When the server wants to see its clients again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReturnWindow {
    /// Not before this.
    pub retry_after: Duration,
    /// Spread evenly over this long after it.
    pub window: Duration,
}

/// Counts consecutive failures and draws the pause before the next attempt.
///
/// The pause is drawn evenly from zero to a ceiling (full jitter), so that a thousand clients of a restarted server
/// come back spread over the window and not at once. The ceiling grows as [`BackoffStrategy`] says, up to `max_delay`.
#[derive(Debug, Clone)]
pub struct Backoff {
    config: ReconnectConfig,
    failures: u32,
    /// For [`BackoffStrategy::Adaptive`]: halves with each success instead of going to zero.
    trouble: u32,
}

impl Backoff {
    /// A backoff with no failure yet.
    pub const fn new(config: ReconnectConfig) -> Self {
        Self { config, failures: 0, trouble: 0 }
    }

    /// Consecutive failures so far.
    pub const fn failures(&self) -> u32 {
        self.failures
    }

    /// Forgets all failures; call it once a connection works.
    pub const fn reset(&mut self) {
        self.failures = 0;
        self.trouble /= 2;
    }

    /// Counts one failure and gives the pause before the next attempt; `None` when the configured number
    /// of retries is used up. A window that the server named is respected, whatever the strategy says.
    pub fn next_pause(&mut self, wanted: Option<ReturnWindow>, rng: &mut Rng) -> Option<Duration> {
        if self.config.max_retries.is_some_and(|max| self.failures >= max) {
            return None;
        }
        let ceiling = self.ceiling();
        self.failures = self.failures.saturating_add(1);
        self.trouble = self.trouble.saturating_add(1);
        let pause = match wanted {
            Some(ReturnWindow { retry_after, window }) => {
                retry_after.saturating_add(window.max(ceiling).mul_f64(rng.unit()))
            }
            None => ceiling.mul_f64(rng.unit()),
        };
        Some(pause.max(SHORTEST))
    }

    fn ceiling(&self) -> Duration {
        let ReconnectConfig { initial_delay, max_delay, multiplier, strategy, .. } = &self.config;
        let initial = initial_delay.as_secs_f64();
        let grown = match strategy {
            BackoffStrategy::Exponential => initial * multiplier.powi(exponent(self.failures)),
            BackoffStrategy::Adaptive => initial * multiplier.powi(exponent(self.trouble)),
            BackoffStrategy::Linear => initial + f64::from(self.failures),
            BackoffStrategy::Fibonacci => initial * fibonacci(self.failures),
        };
        Duration::try_from_secs_f64(grown).map_or(*max_delay, |grown| grown.min(*max_delay))
    }
}

fn exponent(failures: u32) -> i32 {
    i32::try_from(failures).unwrap_or(i32::MAX)
}

/// 1, 1, 2, 3, 5 …; the published clients stop growing at the tenth, too.
fn fibonacci(failures: u32) -> f64 {
    let (mut one, mut next) = (1.0, 1.0);
    for _ in 0..failures.min(10) {
        (one, next) = (next, one + next);
    }
    one
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Seed;

    fn ceilings(strategy: BackoffStrategy) -> Vec<u64> {
        let mut backoff = Backoff::new(ReconnectConfig { strategy, ..ReconnectConfig::default() });
        let mut rng = Rng::new(Seed::from_u64(1));
        let mut all = Vec::new();
        for _ in 0..6 {
            all.push(u64::try_from(backoff.ceiling().as_millis()).expect("small"));
            backoff.next_pause(None, &mut rng);
        }
        all
    }

    #[test]
    fn ceilings_grow_as_the_strategy_says() {
        assert_eq!(ceilings(BackoffStrategy::Exponential), [1000, 1500, 2250, 3375, 5062, 7593]);
        assert_eq!(ceilings(BackoffStrategy::Linear), [1000, 2000, 3000, 4000, 5000, 6000]);
        assert_eq!(ceilings(BackoffStrategy::Fibonacci), [1000, 1000, 2000, 3000, 5000, 8000]);
        assert_eq!(ceilings(BackoffStrategy::Adaptive), [1000, 1500, 2250, 3375, 5062, 7593]);
    }

    #[test]
    fn an_adaptive_backoff_remembers_trouble() {
        let mut rng = Rng::new(Seed::from_u64(1));
        let config = ReconnectConfig { strategy: BackoffStrategy::Adaptive, ..ReconnectConfig::default() };
        let mut backoff = Backoff::new(config);
        for _ in 0..4 {
            backoff.next_pause(None, &mut rng);
        }
        backoff.reset();
        assert_eq!((backoff.failures(), backoff.ceiling()), (0, Duration::from_millis(2250)));
    }

    #[test]
    fn pauses_stay_under_a_growing_ceiling_and_never_pass_the_maximum() {
        let config = ReconnectConfig::default();
        let mut rng = Rng::new(Seed::from_u64(1));
        let mut backoff = Backoff::new(config.clone());
        for failures in 0..2000 {
            let ceiling = config.initial_delay.as_secs_f64() * config.multiplier.powi(failures);
            let pause = backoff.next_pause(None, &mut rng).expect("retries are unlimited").as_secs_f64();
            assert!(pause <= ceiling.min(config.max_delay.as_secs_f64()));
        }
        backoff.reset();
        assert!(backoff.next_pause(None, &mut rng).expect("unlimited") <= config.initial_delay);
    }

    #[test]
    fn a_window_of_the_server_is_respected_and_spread_over() {
        let mut rng = Rng::new(Seed::from_u64(1));
        let wanted = ReturnWindow { retry_after: Duration::from_secs(5), window: Duration::from_secs(20) };
        let pauses: Vec<Duration> = (0..200)
            .map(|_| Backoff::new(ReconnectConfig::default()).next_pause(Some(wanted), &mut rng).expect("unlimited"))
            .collect();
        let within = |from: u64, to: u64| {
            pauses.iter().filter(|pause| (Duration::from_secs(from)..Duration::from_secs(to)).contains(pause)).count()
        };
        assert_eq!(within(5, 25), 200);
        assert!(within(5, 15) > 60 && within(15, 25) > 60, "spread over the whole of it");
    }

    #[test]
    fn a_finite_number_of_retries_ends() {
        let mut rng = Rng::new(Seed::from_u64(1));
        let mut backoff = Backoff::new(ReconnectConfig { max_retries: Some(2), ..ReconnectConfig::default() });
        assert!(backoff.next_pause(None, &mut rng).is_some());
        assert!(backoff.next_pause(None, &mut rng).is_some());
        assert!(backoff.next_pause(None, &mut rng).is_none());
    }

    #[test]
    fn no_length_is_too_long_for_a_pause() {
        let mut rng = Rng::new(Seed::from_u64(1));
        let longest = Duration::MAX;
        let wanted = ReturnWindow { retry_after: longest, window: longest };
        for initial_delay in [Duration::from_millis(1), longest] {
            let config = ReconnectConfig { initial_delay, max_delay: longest, multiplier: 10.0, ..Default::default() };
            let mut backoff = Backoff::new(config);
            for _ in 0..400 {
                backoff.next_pause(None, &mut rng).expect("unlimited");
            }
            assert_eq!(backoff.next_pause(Some(wanted), &mut rng), Some(longest));
        }
    }

    #[test]
    fn no_pause_is_zero() {
        let initial_delay = Duration::from_millis(1);
        let config = ReconnectConfig { initial_delay, max_delay: initial_delay, ..ReconnectConfig::default() };
        let mut rng = Rng::new(Seed::from_u64(1));
        let mut backoff = Backoff::new(config);
        for _ in 0..100 {
            assert!(backoff.next_pause(None, &mut rng).expect("unlimited") >= initial_delay);
        }
    }
}
