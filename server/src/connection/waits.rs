//! Topics whose messages wait until the application has told their state.

use std::{
    collections::{BTreeMap, VecDeque, btree_map::Entry},
    sync::Arc,
};

use tokio::task::{AbortHandle, JoinHandle};

use crate::snapshots::AT_ONCE;

/// A question to the application. It ends when nobody wants the answer any more.
pub(super) struct Question(AbortHandle);

impl Question {
    pub(super) fn of(task: &JoinHandle<()>) -> Self {
        Self(task.abort_handle())
    }
}

impl Drop for Question {
    fn drop(&mut self) {
        self.0.abort();
    }
}

struct Wait {
    topic: Arc<str>,
    /// The question whose answer ends it.
    number: u64,
    has_messages: bool,
}

/// By the slot in which a topic is read. Slots are used again, so an answer counts for its question, not for its slot.
#[derive(Default)]
pub(super) struct Waits {
    by_slot: BTreeMap<u32, Wait>,
    /// Questions that are being answered, with their slots.
    asked: BTreeMap<u64, (u32, Question)>,
    /// Slots that are asked for when others are answered.
    queue: VecDeque<u32>,
    last: u64,
}

impl Waits {
    /// A number for a question, never used before.
    pub(super) const fn number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// From here on the messages of a topic wait. If they do already, a question that has not gone out serves both; one that
    /// has is asked anew, because its answer may be older than what the topic is read from now.
    pub(super) fn add(&mut self, slot: u32, topic: &Arc<str>) {
        let number = self.number();
        match self.by_slot.entry(slot) {
            Entry::Vacant(free) => {
                free.insert(Wait { topic: Arc::clone(topic), number, has_messages: false });
            }
            Entry::Occupied(mut wait) => {
                if self.asked.remove(&wait.get().number).is_none() {
                    return;
                }
                wait.get_mut().number = number;
            }
        }
        self.queue.push_back(slot);
    }

    /// What is to be asked next: slot, number and topic. `None` while as many questions as are allowed are on their way.
    pub(super) fn next(&mut self) -> Option<(u32, u64, Arc<str>)> {
        if self.asked.len() >= AT_ONCE {
            return None;
        }
        let slot = self.queue.pop_front()?;
        let wait = self.by_slot.get(&slot)?;
        Some((slot, wait.number, Arc::clone(&wait.topic)))
    }

    /// The question that [`Waits::next`] gave is on its way.
    pub(super) fn went_out(&mut self, slot: u32, number: u64, question: Question) {
        self.asked.insert(number, (slot, question));
    }

    /// Whether the messages of a topic have to wait; if so, it is noted that there are some.
    pub(super) fn park(&mut self, slot: u32) -> bool {
        let Some(wait) = self.by_slot.get_mut(&slot) else { return false };
        wait.has_messages = true;
        true
    }

    /// An answer is there; the messages that waited for it follow in `out`. False for an answer that nobody waits for.
    pub(super) fn end(&mut self, number: u64, out: &mut VecDeque<u32>) -> bool {
        let Some((slot, _)) = self.asked.remove(&number) else { return false };
        out.extend(self.by_slot.remove(&slot).filter(|wait| wait.has_messages).map(|_| slot));
        true
    }

    /// Nothing waits any longer; what did, follows in `out`. Answers the topics.
    pub(super) fn end_all(&mut self, out: &mut VecDeque<u32>) -> Vec<String> {
        self.asked.clear();
        self.queue.clear();
        let waits = std::mem::take(&mut self.by_slot);
        out.extend(waits.iter().filter(|(_, wait)| wait.has_messages).map(|(slot, _)| *slot));
        waits.into_values().map(|wait| wait.topic.to_string()).collect()
    }

    /// Forgets topics that are not read any more.
    pub(super) fn retain(&mut self, is_read: impl Fn(&str, u32) -> bool) {
        let by_slot = &mut self.by_slot;
        by_slot.retain(|slot, wait| is_read(&wait.topic, *slot));
        self.asked.retain(|_, (slot, _)| by_slot.contains_key(slot));
        self.queue.retain(|slot| by_slot.contains_key(slot));
    }
}
