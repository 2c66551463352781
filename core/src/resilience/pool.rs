//! Which of several equal endpoints is next: the healthy ones, and the preferred one if it is healthy.

use crate::{rng::Rng, time::Moment};

use super::{BreakerConfig, BreakerState, CircuitBreaker};

const BEST: u32 = 100;
const WORST: u32 = 10;

/// How one of the healthy endpoints is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum BalanceStrategy {
    /// At random, in proportion to the health scores: many clients spread over the endpoints.
    #[default]
    WeightedRandom,
    /// The one that this client used least.
    LeastConnections,
    /// One after the other, in the order in which they were given.
    RoundRobin,
}

/// Settings of an [`EndpointPool`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PoolConfig {
    /// How one of the healthy endpoints is chosen. Default weighted random.
    pub strategy: BalanceStrategy,
    /// Index of the endpoint to prefer while it is healthy; a connection elsewhere is not broken for it, the next
    /// reconnect goes back. Default none.
    pub preferred: Option<usize>,
    /// When an endpoint is left alone.
    pub breaker: BreakerConfig,
}

/// How one endpoint does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointReport {
    /// Its address.
    pub url: String,
    /// Health, from 10 (worst) to 100.
    pub score: u32,
    /// Its circuit breaker.
    pub breaker: BreakerState,
    /// Connections that this client made to it.
    pub connections: u64,
    /// Whether it is the one chosen last.
    pub active: bool,
}

/// Endpoints with their health.
///
/// A breaker redirects and never parks: an endpoint whose breaker is open is not chosen while another one is left.
/// When all are open, the one whose probe is due first is tried, by the clock of the backoff.
#[derive(Debug, Clone)]
pub struct EndpointPool {
    config: PoolConfig,
    endpoints: Vec<Endpoint>,
    current: Option<usize>,
    /// The last attempt failed there, or was refused.
    just_failed: Option<usize>,
}

#[derive(Debug, Clone)]
struct Endpoint {
    url: String,
    score: u32,
    breaker: CircuitBreaker,
    connections: u64,
    failures_in_row: u32,
    successes_in_row: u32,
}

impl EndpointPool {
    /// A pool of healthy endpoints; there must be at least one.
    pub fn new(urls: &[String], config: PoolConfig) -> Self {
        let endpoint = |url: &String| Endpoint {
            url: url.clone(),
            score: BEST,
            breaker: CircuitBreaker::new(config.breaker.clone()),
            connections: 0,
            failures_in_row: 0,
            successes_in_row: 0,
        };
        let endpoints = urls.iter().map(endpoint).collect();
        Self { config, endpoints, current: None, just_failed: None }
    }

    /// Chooses the endpoint of the next attempt.
    pub fn choose(&mut self, rng: &mut Rng, now: Moment) -> &str {
        let candidates = self.candidates(now);
        let preferred = self.config.preferred.filter(|index| candidates.contains(index));
        let index = preferred.unwrap_or_else(|| match self.config.strategy {
            _ if candidates.len() == 1 => candidates[0],
            BalanceStrategy::WeightedRandom => self.by_weight(&candidates, rng),
            BalanceStrategy::LeastConnections => self.least_used(&candidates),
            BalanceStrategy::RoundRobin => self.next_in_turn(&candidates),
        });
        self.current = Some(index);
        &self.endpoints[index].url
    }

    /// The endpoint chosen last; the first one before that.
    pub fn current(&self) -> &str {
        &self.endpoints[self.current.unwrap_or(0)].url
    }

    /// The attempt worked; `latency_ms` is the mean round trip, if one was measured.
    pub fn succeeded(&mut self, latency_ms: Option<u32>, now: Moment) {
        let Some(endpoint) = self.current.map(|index| &mut self.endpoints[index]) else { return };
        self.just_failed = None;
        endpoint.connections += 1;
        endpoint.failures_in_row = 0;
        endpoint.successes_in_row = endpoint.successes_in_row.saturating_add(1);
        endpoint.breaker.succeeded(now);
        let quick = match latency_ms {
            Some(0..50) => 5,
            Some(50..100) => 3,
            Some(100..200) => 1,
            _ => 0,
        };
        endpoint.score = (endpoint.score + 5 + quick + (2 * endpoint.successes_in_row).min(10)).min(BEST);
    }

    /// The attempt, or the connection, failed for a reason of the endpoint.
    pub fn failed(&mut self, now: Moment) {
        let Some(endpoint) = self.current.map(|index| &mut self.endpoints[index]) else { return };
        self.just_failed = self.current;
        endpoint.successes_in_row = 0;
        endpoint.failures_in_row = endpoint.failures_in_row.saturating_add(1);
        endpoint.breaker.failed(now);
        let penalty = endpoint.failures_in_row.saturating_mul(10).min(30);
        endpoint.score = endpoint.score.saturating_sub(penalty).max(WORST);
    }

    /// The endpoint did not take the credentials. That says nothing about its health, but another one may take them,
    /// so it is not the next one to be tried.
    pub const fn refused(&mut self) {
        self.just_failed = self.current;
    }

    /// How each endpoint does, in the order in which they were given.
    pub fn report(&self, now: Moment) -> Vec<EndpointReport> {
        let report = |(index, endpoint): (usize, &Endpoint)| EndpointReport {
            url: endpoint.url.clone(),
            score: endpoint.score,
            breaker: endpoint.breaker.state(now),
            connections: endpoint.connections,
            active: self.current == Some(index),
        };
        self.endpoints.iter().enumerate().map(report).collect()
    }

    /// Where the breaker of the endpoint chosen last stands.
    pub fn breaker(&self, now: Moment) -> BreakerState {
        self.endpoints[self.current.unwrap_or(0)].breaker.state(now)
    }

    /// Indices of the endpoints that may be chosen: never empty.
    fn candidates(&self, now: Moment) -> Vec<usize> {
        let passes = |index: &usize| self.endpoints[*index].breaker.state(now) != BreakerState::Open;
        let mut candidates: Vec<usize> = (0..self.endpoints.len()).filter(passes).collect();
        if candidates.len() > 1 {
            candidates.retain(|index| Some(*index) != self.just_failed);
        }
        if candidates.is_empty() {
            let due_first = (0..self.endpoints.len()).min_by_key(|index| self.endpoints[*index].breaker.next_try(now));
            candidates.extend(due_first);
        }
        candidates
    }

    fn by_weight(&self, candidates: &[usize], rng: &mut Rng) -> usize {
        let total: u32 = candidates.iter().map(|index| self.endpoints[*index].score).sum();
        let mut left = rng.unit() * f64::from(total);
        for index in candidates {
            left -= f64::from(self.endpoints[*index].score);
            if left < 0.0 {
                return *index;
            }
        }
        candidates[candidates.len() - 1]
    }

    fn least_used(&self, candidates: &[usize]) -> usize {
        let least = candidates.iter().min_by_key(|index| self.endpoints[**index].connections);
        *least.unwrap_or(&0)
    }

    fn next_in_turn(&self, candidates: &[usize]) -> usize {
        let after = self.current.map_or(0, |index| index + 1);
        *candidates.iter().find(|index| **index >= after).unwrap_or(&candidates[0])
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::rng::Seed;

    const NOW: Moment = Moment::from_millis(1000);

    fn pool(strategy: BalanceStrategy, preferred: Option<usize>) -> (EndpointPool, Rng) {
        let urls = ["ws://a", "ws://b", "ws://c"].map(str::to_owned);
        let config = PoolConfig { strategy, preferred, ..PoolConfig::default() };
        (EndpointPool::new(&urls, config), Rng::new(Seed::from_u64(7)))
    }

    fn choose(pool: &mut EndpointPool, rng: &mut Rng) -> String {
        pool.choose(rng, NOW).to_owned()
    }

    #[test]
    fn scores_follow_failures_and_successes() {
        let (mut pool, mut rng) = pool(BalanceStrategy::RoundRobin, None);
        let mut one = EndpointPool::new(&["ws://a".to_owned()], PoolConfig::default());
        one.choose(&mut rng, NOW);
        let mut scores = Vec::new();
        for _ in 0..4 {
            one.failed(NOW);
            scores.push(one.report(NOW)[0].score);
        }
        for _ in 0..3 {
            one.succeeded(Some(80), NOW);
            scores.push(one.report(NOW)[0].score);
        }
        assert_eq!(scores, [90, 70, 40, 10, 20, 32, 46], "the figures of the published 2.x client");
        assert_eq!(choose(&mut pool, &mut rng), "ws://a");
    }

    #[test]
    fn round_robin_takes_turns_and_least_connections_the_fresh_one() {
        let (mut turns, mut rng) = pool(BalanceStrategy::RoundRobin, None);
        let chosen: Vec<String> = (0..4).map(|_| choose(&mut turns, &mut rng)).collect();
        assert_eq!(chosen, ["ws://a", "ws://b", "ws://c", "ws://a"]);
        let (mut least, mut rng) = pool(BalanceStrategy::LeastConnections, None);
        assert_eq!(choose(&mut least, &mut rng), "ws://a");
        least.succeeded(None, NOW);
        assert_eq!(choose(&mut least, &mut rng), "ws://b");
    }

    #[test]
    fn weights_favour_the_healthy() {
        let (mut pool, mut rng) = pool(BalanceStrategy::WeightedRandom, None);
        for _ in 0..4 {
            pool.current = Some(0);
            pool.failed(NOW);
        }
        pool.just_failed = None;
        let mut counts = [0; 3];
        for _ in 0..1000 {
            let url = choose(&mut pool, &mut rng);
            counts[["ws://a", "ws://b", "ws://c"].iter().position(|known| *known == url).expect("known")] += 1;
        }
        assert!(counts[0] < 100 && counts[1] > 350 && counts[2] > 350, "{counts:?}");
    }

    #[test]
    fn who_has_just_failed_is_not_next_and_the_preferred_one_comes_back() {
        let (mut pool, mut rng) = pool(BalanceStrategy::WeightedRandom, Some(1));
        assert_eq!(choose(&mut pool, &mut rng), "ws://b");
        pool.failed(NOW);
        assert_ne!(choose(&mut pool, &mut rng), "ws://b");
        pool.succeeded(None, NOW);
        assert_eq!(choose(&mut pool, &mut rng), "ws://b");
    }

    #[test]
    fn open_breakers_redirect_and_never_park() {
        let (mut pool, mut rng) = pool(BalanceStrategy::RoundRobin, None);
        for index in [0, 1] {
            pool.current = Some(index);
            (0..5).for_each(|_| pool.failed(NOW + Duration::from_secs(index as u64)));
        }
        let later = NOW + Duration::from_secs(2);
        for _ in 0..3 {
            assert_eq!(pool.choose(&mut rng, later), "ws://c", "the only one that is not open");
        }
        (0..5).for_each(|_| pool.failed(later));
        assert_eq!(pool.choose(&mut rng, later), "ws://a", "its probe is due first");
    }
}
