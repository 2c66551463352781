//! One set of counters for each worker thread, so that counting moves no cache line between cores.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    thread::available_parallelism,
};

/// Most sets. Threads beyond that share.
const MAX_SHARDS: usize = 16;

static NEXT_THREAD: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static THREAD: usize = NEXT_THREAD.fetch_add(1, Ordering::Relaxed);
}

/// Copies of `T`, one for each worker thread; threads add to their own, a reader sums all.
#[derive(Debug)]
pub(crate) struct Sharded<T>(Box<[Aligned<T>]>);

/// Starts on a pair of cache lines of its own: neighbours are fetched together.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Aligned<T>(T);

impl<T: Default> Default for Sharded<T> {
    fn default() -> Self {
        let threads = available_parallelism().map_or(4, usize::from);
        let shards = threads.next_power_of_two().min(MAX_SHARDS);
        Self((0..shards).map(|_| Aligned::default()).collect())
    }
}

impl<T> Sharded<T> {
    /// This thread's copy.
    pub(crate) fn here(&self) -> &T {
        let thread = THREAD.with(|thread| *thread);
        &self.0[thread & (self.0.len() - 1)].0
    }

    /// Every copy.
    pub(crate) fn all(&self) -> impl Iterator<Item = &T> {
        self.0.iter().map(|shard| &shard.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counters::Counter;

    #[test]
    fn nothing_is_lost_between_threads() {
        let counter: Sharded<Counter> = Sharded::default();
        std::thread::scope(|scope| {
            for _ in 0..20 {
                scope.spawn(|| (0..1000).for_each(|_| counter.here().one()));
            }
        });
        assert_eq!(counter.all().map(Counter::read).sum::<u64>(), 20_000);
    }
}
