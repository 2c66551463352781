//! A circuit breaker: after several failures in a row nobody asks for a while, then carefully.

use std::time::Duration;

use crate::time::Moment;

/// When a breaker opens, and how it closes again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BreakerConfig {
    /// Failures in a row that open it. Default 5.
    pub failures: u32,
    /// How long it stays open before the next probe. Default 60 s.
    pub pause: Duration,
    /// Successes in a row that close it from half open. Default 3.
    pub successes: u32,
}

impl Default for BreakerConfig {
    fn default() -> Self {
        Self { failures: 5, pause: Duration::from_secs(60), successes: 3 }
    }
}

/// Where a breaker stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum BreakerState {
    /// Everything passes.
    #[default]
    Closed,
    /// Nothing passes before the next probe.
    Open,
    /// Probes pass; one failure opens it again.
    HalfOpen,
}

impl BreakerState {
    /// The upper-case name, the same in every language.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "CLOSED",
            Self::Open => "OPEN",
            Self::HalfOpen => "HALF_OPEN",
        }
    }
}

/// Counts outcomes and says when the next try makes sense. An open breaker always has a next probe on the clock: it
/// never says "no", only "not before".
#[derive(Debug, Clone)]
pub struct CircuitBreaker {
    config: BreakerConfig,
    state: State,
}

#[derive(Debug, Clone, Copy)]
enum State {
    Closed { failures: u32 },
    Open { probe_at: Moment },
    HalfOpen { successes: u32 },
}

impl CircuitBreaker {
    /// A closed breaker.
    pub const fn new(config: BreakerConfig) -> Self {
        Self { config, state: State::Closed { failures: 0 } }
    }

    /// Where it stands at `now`: an open breaker whose pause is over is half open.
    pub fn state(&self, now: Moment) -> BreakerState {
        match self.state {
            State::Closed { .. } => BreakerState::Closed,
            State::Open { probe_at } if now < probe_at => BreakerState::Open,
            State::Open { .. } | State::HalfOpen { .. } => BreakerState::HalfOpen,
        }
    }

    /// The earliest moment at which a try may pass; `now` unless it is open.
    pub fn next_try(&self, now: Moment) -> Moment {
        match self.state {
            State::Open { probe_at } => probe_at.max(now),
            State::Closed { .. } | State::HalfOpen { .. } => now,
        }
    }

    /// A try worked.
    pub fn succeeded(&mut self, now: Moment) {
        let successes = match self.state {
            State::Closed { .. } => 0,
            // A success while it is open comes from a try that began before: it counts as the first.
            State::Open { .. } => 1,
            State::HalfOpen { successes } => successes + 1,
        };
        let half_open = self.state(now) != BreakerState::Closed && successes < self.config.successes;
        self.state = if half_open { State::HalfOpen { successes } } else { State::Closed { failures: 0 } };
    }

    /// A try failed. Refused credentials are no failure of the endpoint: do not report them.
    pub fn failed(&mut self, now: Moment) {
        let open = State::Open { probe_at: now + self.config.pause };
        self.state = match self.state {
            State::Closed { failures } if failures + 1 < self.config.failures => {
                State::Closed { failures: failures + 1 }
            }
            State::Open { probe_at } if now < probe_at => self.state,
            State::Closed { .. } | State::Open { .. } | State::HalfOpen { .. } => open,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Moment = Moment::from_millis(1000);

    fn open() -> CircuitBreaker {
        let mut breaker = CircuitBreaker::new(BreakerConfig::default());
        (0..5).for_each(|_| breaker.failed(START));
        breaker
    }

    #[test]
    fn it_opens_after_failures_in_a_row_only() {
        let mut breaker = CircuitBreaker::new(BreakerConfig::default());
        (0..4).for_each(|_| breaker.failed(START));
        breaker.succeeded(START);
        (0..4).for_each(|_| breaker.failed(START));
        assert_eq!(breaker.state(START), BreakerState::Closed);
        breaker.failed(START);
        assert_eq!(breaker.state(START), BreakerState::Open);
    }

    #[test]
    fn an_open_breaker_names_its_next_probe_and_half_opens_by_itself() {
        let breaker = open();
        let probe = breaker.next_try(START);
        assert_eq!(probe, START + Duration::from_secs(60));
        assert_eq!(breaker.state(probe), BreakerState::HalfOpen);
        assert_eq!(breaker.next_try(probe), probe);
    }

    #[test]
    fn late_failures_do_not_push_the_probe_away() {
        let mut breaker = open();
        breaker.failed(START + Duration::from_secs(30));
        assert_eq!(breaker.next_try(START), START + Duration::from_secs(60));
    }

    #[test]
    fn probes_close_it_or_open_it_again() {
        let mut breaker = open();
        let probe = breaker.next_try(START);
        breaker.succeeded(probe);
        breaker.succeeded(probe);
        assert_eq!(breaker.state(probe), BreakerState::HalfOpen);
        breaker.succeeded(probe);
        assert_eq!(breaker.state(probe), BreakerState::Closed);

        let mut breaker = open();
        breaker.succeeded(probe);
        breaker.failed(probe);
        assert_eq!(breaker.next_try(probe), probe + Duration::from_secs(60));
    }
}
