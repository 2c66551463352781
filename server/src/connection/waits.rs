//! Topics that are held until the application has told their state.

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

    /// From here on a topic waits. If it does already, a question that has not gone out serves both; one that
    /// has is asked anew, because its answer may be older than what the topic is read from now.
    pub(super) fn add(&mut self, slot: u32, topic: &Arc<str>) {
        let number = self.number();
        match self.by_slot.entry(slot) {
            Entry::Vacant(free) => {
                free.insert(Wait { topic: Arc::clone(topic), number });
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

    /// An answer is there: the slot that waited for it. `None` for an answer that nobody waits for.
    pub(super) fn end(&mut self, number: u64) -> Option<u32> {
        let (slot, _) = self.asked.remove(&number)?;
        self.by_slot.remove(&slot).map(|_| slot)
    }

    /// Nothing waits any longer; these slots and topics did.
    pub(super) fn end_all(&mut self) -> Vec<(u32, Arc<str>)> {
        self.asked.clear();
        self.queue.clear();
        std::mem::take(&mut self.by_slot).into_iter().map(|(slot, wait)| (slot, wait.topic)).collect()
    }

    /// Forgets topics that are not read any more.
    pub(super) fn retain(&mut self, is_read: impl Fn(&str, u32) -> bool) {
        let by_slot = &mut self.by_slot;
        by_slot.retain(|slot, wait| is_read(&wait.topic, *slot));
        self.asked.retain(|_, (slot, _)| by_slot.contains_key(slot));
        self.queue.retain(|slot| by_slot.contains_key(slot));
    }
}
