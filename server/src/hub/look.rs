//! Looking into a hub, for operators. Each look goes through all topics: not for the path of a message.

use std::{cmp::Reverse, collections::BTreeMap};

use serde::Serialize;

use super::Hub;
use crate::sync::read;

/// One topic, as it is just now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct TopicState {
    /// The name.
    pub(crate) topic: String,
    /// Connections that read it.
    pub(crate) subscribers: usize,
    /// Publications that are held.
    pub(crate) held: u64,
    /// What they count in memory.
    pub(crate) held_bytes: usize,
    /// Publications since the topic began.
    pub(crate) published: u64,
    /// How many publications the slowest reader is behind.
    pub(crate) lag: u64,
}

impl Hub {
    /// Topics whose names begin with `prefix`, those with most subscribers first.
    pub(crate) fn busiest_topics(&self, prefix: &str, most: usize) -> Vec<TopicState> {
        let topics: Vec<_> = {
            let registry = read(&self.registry);
            registry.topics.values().filter(|topic| topic.name().starts_with(prefix)).cloned().collect()
        };
        let mut states: Vec<_> = topics.iter().map(|topic| topic.look()).collect();
        states.sort_by(|a, b| (Reverse(a.subscribers), &a.topic).cmp(&(Reverse(b.subscribers), &b.topic)));
        states.truncate(most);
        states
    }

    /// Patterns that connections asked for, with the number of connections.
    pub(crate) fn patterns(&self, most: usize) -> BTreeMap<String, usize> {
        let registry = read(&self.registry);
        registry.patterns.iter().take(most).map(|(pattern, links)| (pattern.clone(), links.len())).collect()
    }
}
