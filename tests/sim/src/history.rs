//! What all servers of a world share: the publications of each topic, and the last ones of them.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use wse_client_core::wire::Payload;

/// One publication. The payload says again which one it is, so that a receiver can be checked against the truth.
#[derive(Debug, Clone)]
pub(crate) struct Publication {
    pub(crate) topic: String,
    /// Unique in the world and growing.
    pub(crate) number: u64,
    /// Which life of the history; `None` for topics without one.
    pub(crate) stamp: Option<Stamp>,
}

/// A place in a topic's history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Stamp {
    pub(crate) epoch: u64,
    pub(crate) offset: u64,
}

#[derive(Debug, Default)]
struct Topic {
    next: u64,
    ring: VecDeque<Publication>,
}

/// See the module documentation.
#[derive(Debug)]
pub(crate) struct History {
    epoch: u64,
    numbers: u64,
    limit: usize,
    topics: BTreeMap<String, Topic>,
}

impl History {
    pub(crate) const fn new(limit: usize) -> Self {
        Self { epoch: 1, numbers: 0, limit, topics: BTreeMap::new() }
    }

    pub(crate) const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The offset that the next publication of a topic gets.
    pub(crate) fn head(&self, topic: &str) -> u64 {
        self.topics.get(topic).map_or(0, |topic| topic.next)
    }

    pub(crate) fn publish(&mut self, name: &str, recoverable: bool) -> Publication {
        self.numbers += 1;
        let number = self.numbers;
        if !recoverable {
            return Publication { topic: name.to_owned(), number, stamp: None };
        }
        let topic = self.topics.entry(name.to_owned()).or_default();
        let stamp = Some(Stamp { epoch: self.epoch, offset: topic.next });
        let publication = Publication { topic: name.to_owned(), number, stamp };
        topic.next += 1;
        topic.ring.push_back(publication.clone());
        if topic.ring.len() > self.limit {
            topic.ring.pop_front();
        }
        publication
    }

    /// What the ring still holds of these offsets, oldest first.
    pub(crate) fn between(&self, topic: &str, offsets: std::ops::Range<u64>) -> Vec<Publication> {
        let ring = self.topics.get(topic).map(|topic| &topic.ring);
        let asked = |publication: &&Publication| publication.stamp.is_some_and(|stamp| offsets.contains(&stamp.offset));
        ring.into_iter().flatten().filter(asked).cloned().collect()
    }

    /// The history is gone: a new life begins for every topic.
    pub(crate) fn lose(&mut self) {
        self.epoch += 1;
        self.topics.clear();
    }
}

impl Publication {
    pub(crate) fn payload(&self) -> Payload {
        let (epoch, offset) = self.stamp.map_or((0, 0), |stamp| (stamp.epoch, stamp.offset));
        let text = format!("{{\"n\":{},\"epoch\":{epoch},\"offset\":{offset}}}", self.number);
        Payload::from_json(Bytes::from(text)).expect("valid JSON")
    }
}
