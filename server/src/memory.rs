//! The memory that messages hold, and what is refused when it is short. Policy, in this order:
//!
//! 1. Topics keep themselves within [`Config::history_bytes`](crate::Config::history_bytes).
//! 2. At 90 % of [`Config::memory_budget`](crate::Config::memory_budget) nobody new comes in (1013, `SERVER_FULL`).
//! 3. At 100 % publications and messages to single connections are refused (`SERVER_FULL`): their senders are told, and
//!    can wait.
//! 4. As long as something is refused, once a second the connections with the longest queues are closed (1013, `SLOW_CONSUMER`) until
//!    90 % are left.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use crate::{hub::Link, server::Server};

/// Bytes in queues of single connections: what the application sent them, states of topics that it made for them, and what
/// their sockets have not taken.
#[derive(Debug, Default)]
pub(crate) struct QueueBytes {
    held: AtomicUsize,
    /// Something was refused since the last look.
    refused: AtomicBool,
}

impl QueueBytes {
    /// A queue that held `before` bytes holds `after`.
    pub(crate) fn settle(&self, before: usize, after: usize) {
        if after >= before {
            self.held.fetch_add(after - before, Ordering::Relaxed);
        } else {
            self.held.fetch_sub(before - after, Ordering::Relaxed);
        }
    }

    pub(crate) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }
}

/// How short memory is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Pressure {
    /// There is enough.
    None,
    /// Nobody new should come in.
    High,
    /// Nothing new should be kept.
    Full,
}

/// Where [`Pressure::High`] begins.
pub(crate) const fn high(budget: usize) -> usize {
    budget / 10 * 9
}

fn pressure(held: usize, budget: usize) -> Pressure {
    if held >= budget {
        Pressure::Full
    } else if held >= high(budget) {
        Pressure::High
    } else {
        Pressure::None
    }
}

impl Server {
    /// How short memory is.
    pub(crate) fn pressure(&self) -> Pressure {
        pressure(self.memory_held(), self.config().memory_budget)
    }

    /// Whether a message must be refused for want of memory; counted, and remembered for [`Server::relieve`].
    pub(crate) fn must_refuse(&self) -> bool {
        let full = self.pressure() == Pressure::Full;
        if full {
            self.counters().refused_memory.one();
            self.queue_bytes().refused.store(true, Ordering::Relaxed);
        }
        full
    }

    /// Bytes that messages hold: rings, histories and snapshots of topics, and queues of connections.
    pub fn memory_held(&self) -> usize {
        self.hub().held_bytes() + self.queue_bytes().held()
    }

    /// Closes the connections with the longest queues, when nothing else has helped.
    pub(crate) fn relieve(&self) {
        if !self.queue_bytes().refused.swap(false, Ordering::Relaxed) {
            return;
        }
        let mut excess = self.memory_held().saturating_sub(high(self.config().memory_budget));
        let mut links: Vec<(usize, Arc<Link>)> = self.links().into_iter().map(|link| (link.queued(), link)).collect();
        links.sort_by_key(|(queued, _)| std::cmp::Reverse(*queued));
        for (queued, link) in links {
            if excess == 0 || queued == 0 {
                break;
            }
            tracing::warn!(connection = link.id(), queued, "memory is short: closing a connection with a long queue");
            link.evict();
            excess = excess.saturating_sub(queued);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pressure_rises_in_steps() {
        for (held, expected) in
            [(0, Pressure::None), (899, Pressure::None), (900, Pressure::High), (1000, Pressure::Full)]
        {
            assert_eq!(pressure(held, 1000), expected, "{held}");
        }
    }
}
