//! What servers said to be lost.

use std::collections::BTreeMap;

/// Ranges of offsets by topic and epoch.
#[derive(Debug, Default)]
pub(crate) struct Declared(BTreeMap<(String, u64), Vec<(u64, u64)>>);

impl Declared {
    pub(crate) fn add(&mut self, topic: &str, epoch: u64, from: u64, to: u64) {
        self.0.entry((topic.to_owned(), epoch)).or_default().push((from, to));
    }

    /// Whether every offset of the range was said to be lost.
    pub(crate) fn covers(&self, topic: &str, epoch: u64, from: u64, to: u64) -> bool {
        let Some(ranges) = self.0.get(&(topic.to_owned(), epoch)) else { return false };
        let mut next = from;
        while next <= to {
            let Some(end) = ranges.iter().filter(|range| range.0 <= next && next <= range.1).map(|range| range.1).max()
            else {
                return false;
            };
            next = end + 1;
        }
        true
    }
}
