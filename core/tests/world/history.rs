//! The model of a server's memory: a ring of publications per topic.

use std::collections::{BTreeMap, VecDeque};

use wse_client_core::delivery::{Position, TopicRecovery};

/// Publications of all topics, at most `capacity` of each.
pub(crate) struct History {
    capacity: usize,
    lives: u64,
    topics: BTreeMap<String, Ring>,
}

struct Ring {
    epoch: String,
    next: u64,
    held: VecDeque<u64>,
}

impl History {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { capacity, lives: 0, topics: BTreeMap::new() }
    }

    /// Remembers a publication, and gives its epoch and offset.
    pub(crate) fn append(&mut self, topic: &str, number: u64) -> (String, u64) {
        let capacity = self.capacity;
        let ring = self.ring(topic);
        let offset = ring.next;
        ring.next += 1;
        ring.held.push_back(number);
        while ring.held.len() > capacity {
            ring.held.pop_front();
        }
        (ring.epoch.clone(), offset)
    }

    /// Everything is forgotten, as after a restart.
    pub(crate) fn forget(&mut self) {
        self.topics.clear();
    }

    /// The answer about one topic, and what is to be sent again.
    pub(crate) fn recover(&mut self, topic: &str, position: Option<&Position>) -> (TopicRecovery, Vec<(u64, u64)>) {
        let ring = self.ring(topic);
        let oldest = ring.next - ring.held.len() as u64;
        let (from, recovered) = match position {
            None => (ring.next, true),
            Some(position) if position.epoch == ring.epoch => {
                let wanted = position.offset.map_or(0, |offset| offset + 1);
                (wanted.clamp(oldest, ring.next), wanted >= oldest)
            }
            Some(_) => (oldest, false),
        };
        let replay = (from..ring.next).map(|offset| (offset, ring.held[(offset - oldest) as usize])).collect();
        let answer = TopicRecovery {
            epoch: Some(ring.epoch.clone()),
            offset: ring.next.checked_sub(1),
            recovered: Some(recovered),
            count: Some(ring.next - from),
        };
        (answer, replay)
    }

    pub(crate) fn epoch(&mut self, topic: &str) -> String {
        self.ring(topic).epoch.clone()
    }

    pub(crate) fn published(&mut self, topic: &str) -> u64 {
        self.ring(topic).next
    }

    fn ring(&mut self, topic: &str) -> &mut Ring {
        let lives = &mut self.lives;
        self.topics.entry(topic.to_owned()).or_insert_with(|| {
            *lives += 1;
            Ring { epoch: format!("{lives:08x}"), next: 0, held: VecDeque::new() }
        })
    }
}
