//! Times, counted by how long they were.

use crate::counters::Counter;

/// Upper bounds in nanoseconds. The first are what memory takes, the last what a client takes that is far behind.
pub(crate) const BOUNDS: [u64; 20] = [
    1_000,
    5_000,
    10_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    10_000_000_000,
];

/// The bucket that a time belongs to; the last one has no bound.
pub(crate) fn bucket(nanos: u64) -> usize {
    BOUNDS.partition_point(|bound| *bound < nanos)
}

/// Live counts; added to by many threads' batches.
#[derive(Debug, Default)]
pub(crate) struct Histogram {
    buckets: [Counter; BOUNDS.len() + 1],
    nanos: Counter,
}

/// Counts that were read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Times {
    /// For each bucket alone.
    pub(crate) buckets: [u64; BOUNDS.len() + 1],
    /// All times together.
    pub(crate) nanos: u64,
}

impl Histogram {
    /// `count` times of one bucket, `nanos` together.
    pub(crate) fn add(&self, bucket: usize, count: u64, nanos: u64) {
        self.buckets[bucket].add_u64(count);
        self.nanos.add_u64(nanos);
    }

    /// One time.
    pub(crate) fn one(&self, nanos: u64) {
        self.add(bucket(nanos), 1, nanos);
    }

    /// Adds what was counted.
    pub(crate) fn add_to(&self, times: &mut Times) {
        for (sum, bucket) in times.buckets.iter_mut().zip(&self.buckets) {
            *sum += bucket.read();
        }
        times.nanos += self.nanos.read();
    }
}

impl Times {
    /// How many there were.
    pub(crate) fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_belong_to_their_bucket() {
        assert_eq!((bucket(0), bucket(1_000), bucket(1_001)), (0, 0, 1));
        assert_eq!((bucket(10_000_000_000), bucket(u64::MAX)), (19, 20));
        assert!(BOUNDS.is_sorted());
    }

    #[test]
    fn sums_are_kept() {
        let (histogram, mut times) = (Histogram::default(), Times::default());
        histogram.one(2_000);
        histogram.add(20, 3, 60_000_000_000);
        histogram.add_to(&mut times);
        assert_eq!((times.count(), times.nanos, times.buckets[1], times.buckets[20]), (4, 60_000_002_000, 1, 3));
    }
}
