//! Telling connections that their topics have something new: one wake for each worker thread, however many listen.
//!
//! Whoever publishes appends to the topic's ring and wakes the pumps of those who listen. A pump is a task that wakes
//! its share of the connections, from a worker thread, where that costs a push onto the thread's own queue. It also
//! holds back connections that were written to a moment ago, so that one write takes several messages.

use std::{
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::time::timeout_at;
use wse_client_core::time::Moment;

use super::{
    topic::{Subscriber, Topic},
    wake::Wake,
};
use crate::{clock::Clock, sync::lock};

/// One share of the connections.
#[derive(Debug, Default)]
pub(super) struct Pump {
    wake: Wake,
    news: Mutex<Vec<Arc<Topic>>>,
    over: AtomicBool,
}

/// The pumps of a hub. Without any, whoever publishes tells the connections itself, and each at once.
#[derive(Debug, Default)]
pub(super) struct Pumps(Vec<Arc<Pump>>);

impl Pumps {
    /// As many pumps as there are worker threads to run them. Needs a tokio runtime.
    pub(super) fn start(clock: Clock, flush_interval: Duration) -> Self {
        /// Above this, wakes of pumps would cost more than they spread.
        const MOST: usize = 16;
        let count = std::thread::available_parallelism().map_or(1, usize::from).min(MOST);
        let pumps: Vec<Arc<Pump>> = (0..count).map(|_| Arc::default()).collect();
        for (share, pump) in pumps.iter().enumerate() {
            let round = Round { share, clock, flush_interval, late: Vec::new() };
            tokio::spawn(round.run(Arc::downgrade(pump)));
        }
        Self(pumps)
    }

    /// How many there are; 1 at least.
    pub(super) fn count(&self) -> usize {
        self.0.len().max(1)
    }

    /// A topic has something new for the listeners of these shares.
    pub(super) fn tell(&self, topic: &Arc<Topic>, shares: impl Iterator<Item = usize>) {
        for share in shares {
            match self.0.get(share) {
                Some(pump) => pump.tell(topic),
                None => {
                    topic.take_news(share);
                    topic.for_each(share, |subscriber, _| subscriber.announce());
                }
            }
        }
    }
}

impl Drop for Pumps {
    fn drop(&mut self) {
        for pump in &self.0 {
            pump.over.store(true, Ordering::Release);
            pump.wake.wake();
        }
    }
}

impl Pump {
    fn tell(&self, topic: &Arc<Topic>) {
        lock(&self.news).push(Arc::clone(topic));
        self.wake.wake();
    }
}

/// What a pump does, again and again.
struct Round {
    share: usize,
    clock: Clock,
    flush_interval: Duration,
    /// Listeners that have something new and were written to a moment ago.
    late: Vec<Arc<Subscriber>>,
}

impl Round {
    async fn run(mut self, pump: Weak<Pump>) {
        let mut news = Vec::new();
        while let Some(pump) = pump.upgrade() {
            match self.due() {
                Some(due) => drop(timeout_at(self.clock.instant(due), pump.wake.wait()).await),
                None => pump.wake.wait().await,
            }
            if pump.over.load(Ordering::Acquire) {
                return;
            }
            std::mem::swap(&mut news, &mut *lock(&pump.news));
            let now = self.clock.now();
            for topic in news.drain(..) {
                topic.take_news(self.share);
                topic.for_each(self.share, |subscriber, head| {
                    if !subscriber.offer(now, self.flush_interval, head) {
                        self.late.push(Arc::clone(subscriber));
                    }
                });
            }
            self.late.retain(|subscriber| !subscriber.is_settled(now));
        }
    }

    /// When the first of those that were held back is told.
    fn due(&self) -> Option<Moment> {
        self.late.iter().map(|subscriber| subscriber.due()).min()
    }
}
