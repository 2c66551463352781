//! The queue between the driver and the application: bounded by asking the driver to stop reading, never by dropping.

use std::{
    collections::VecDeque,
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use tokio::sync::Notify;
use wse_client_core::client::{ConnectionState, Event, RequestId};

/// Called when events are there after [`Queue::arm`] said that there were none.
pub(crate) type WakeCallback = Arc<dyn Fn() + Send + Sync>;

pub(crate) struct Queue {
    inner: Mutex<Inner>,
    capacity: usize,
    /// Told when a full queue has been drained to half, or to nothing.
    pub(crate) space: Notify,
}

#[derive(Default)]
struct Inner {
    events: VecDeque<Event>,
    /// One waker for each handle that waits in a stream.
    readers: Vec<(u64, Waker)>,
    next_reader: u64,
    /// The driver was told that the queue is full and waits for space.
    full: bool,
    /// The connection failed for good or was closed: after the last event the stream ends.
    ended: bool,
    /// The driver is gone: nothing will ever come again.
    finished: bool,
    armed: bool,
    callback: Option<WakeCallback>,
}

/// Who must be woken, once no lock is held.
#[must_use]
#[derive(Default)]
pub(crate) struct Wakeups {
    readers: Vec<(u64, Waker)>,
    callback: Option<WakeCallback>,
}

impl Wakeups {
    pub(crate) fn fire(self) {
        for (_, waker) in self.readers {
            waker.wake();
        }
        if let Some(callback) = self.callback {
            callback();
        }
    }
}

impl Queue {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { inner: Mutex::default(), capacity, space: Notify::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many events fit. Zero is told to be full: the driver stops reading and waits for [`Queue::space`].
    pub(crate) fn room(&self) -> usize {
        let mut inner = self.lock();
        let room = self.capacity.saturating_sub(inner.events.len());
        // Once full, it stays so until half of it is free: one long pause beats many short ones.
        inner.full = room == 0 || (inner.full && inner.events.len() > self.capacity / 2);
        if inner.full { 0 } else { room }
    }

    /// Appends events in order.
    pub(crate) fn push(&self, events: impl IntoIterator<Item = Event>) -> Wakeups {
        let mut inner = self.lock();
        let before = inner.events.len();
        for event in events {
            if let Event::StateChanged { to, .. } = &event {
                inner.ended = matches!(to, ConnectionState::Failed | ConnectionState::Closed);
            }
            inner.append(event, self.capacity);
        }
        if inner.events.len() == before { Wakeups::default() } else { inner.wakeups() }
    }

    /// The engine was started again after a failure: readers wait instead of seeing an end.
    pub(crate) fn resume(&self) {
        self.lock().ended = false;
    }

    /// Nothing will ever come again.
    pub(crate) fn finish(&self) -> Wakeups {
        let mut inner = self.lock();
        inner.finished = true;
        inner.wakeups()
    }

    /// Moves up to `max` events into `out`, without waiting. Gives how many.
    pub(crate) fn drain(&self, max: usize, out: &mut Vec<Event>) -> usize {
        let mut inner = self.lock();
        let taken = max.min(inner.events.len());
        out.extend(inner.events.drain(..taken));
        self.tell_space(&mut inner);
        taken
    }

    /// Takes the next event, without waiting.
    pub(crate) fn pop(&self) -> Option<Event> {
        let mut inner = self.lock();
        let event = inner.events.pop_front();
        self.tell_space(&mut inner);
        event
    }

    fn tell_space(&self, inner: &mut Inner) {
        if inner.full && inner.events.len() <= self.capacity / 2 {
            inner.full = false;
            self.space.notify_one();
        }
    }

    /// Whether the last event was taken and none will come, unless the client is started again.
    pub(crate) fn is_ended(&self) -> bool {
        self.lock().is_ended()
    }

    /// Asks for one call of the callback when events come. False: there are some already, or the queue has ended.
    pub(crate) fn arm(&self) -> bool {
        let mut inner = self.lock();
        inner.armed = inner.events.is_empty() && !inner.is_ended();
        inner.armed
    }

    pub(crate) fn set_callback(&self, callback: Option<WakeCallback>) {
        let before = mem::replace(&mut self.lock().callback, callback);
        // A callback may hold anything, and its drop must not run under the lock.
        drop(before);
    }

    /// A number for a handle that reads.
    pub(crate) fn add_reader(&self) -> u64 {
        let mut inner = self.lock();
        inner.next_reader += 1;
        inner.next_reader
    }

    pub(crate) fn remove_reader(&self, reader: u64) {
        self.lock().readers.retain(|(id, _)| *id != reader);
    }

    /// Waits for events or the end: ready once [`Queue::drain`] has something, or [`Queue::is_ended`].
    pub(crate) fn poll_ready(&self, reader: u64, cx: &Context<'_>) -> Poll<()> {
        let mut inner = self.lock();
        if !inner.events.is_empty() || inner.is_ended() {
            return Poll::Ready(());
        }
        match inner.readers.iter_mut().find(|(id, _)| *id == reader) {
            Some((_, waker)) => waker.clone_from(cx.waker()),
            None => inner.readers.push((reader, cx.waker().clone())),
        }
        Poll::Pending
    }
}

impl Inner {
    fn is_ended(&self) -> bool {
        self.events.is_empty() && (self.ended || self.finished)
    }

    fn wakeups(&mut self) -> Wakeups {
        let callback = if mem::take(&mut self.armed) { self.callback.clone() } else { None };
        Wakeups { readers: mem::take(&mut self.readers), callback }
    }

    /// Past the capacity, news about the connection replaces older news of its kind: the driver goes on living while
    /// nobody reads, and that must not pile up. Messages and outcomes are never touched.
    fn append(&mut self, mut event: Event, capacity: usize) {
        let older = (capacity..self.events.len()).rev().find(|&at| is_same_news(&self.events[at], &event));
        if let Some(older) = older.and_then(|at| self.events.remove(at))
            && let (Event::StateChanged { from: first, .. }, Event::StateChanged { from, .. }) = (older, &mut event)
        {
            *from = first;
        }
        self.events.push_back(event);
    }
}

fn is_same_news(one: &Event, other: &Event) -> bool {
    // The engine's own request after a reconnect; requests of the application are each told.
    let resubscribed = |event: &Event| matches!(event, Event::Subscribed(outcome) if outcome.request == RequestId(0));
    if resubscribed(one) && resubscribed(other) {
        return true;
    }
    matches!(
        (one, other),
        (Event::StateChanged { .. }, Event::StateChanged { .. })
            | (Event::Connected(_), Event::Connected(_))
            | (Event::Disconnected(_), Event::Disconnected(_))
            | (Event::Latency(_), Event::Latency(_))
    )
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        time::Duration,
    };

    use super::*;

    fn latency(ms: u64) -> Event {
        Event::Latency(Duration::from_millis(ms))
    }

    fn lost(count: u64) -> Event {
        Event::Lost { topic: None, count: Some(count), range: None }
    }

    #[test]
    fn a_full_queue_has_no_room_until_half_of_it_is_free() {
        let queue = Queue::new(4);
        queue.push((0..4).map(lost)).fire();
        assert_eq!(queue.room(), 0);
        let mut out = Vec::new();
        assert_eq!(queue.drain(1, &mut out), 1);
        assert_eq!(queue.room(), 0);
        assert_eq!(queue.drain(1, &mut out), 1);
        assert_eq!(queue.room(), 2);
        assert_eq!(out.len(), 2);
    }

    #[test]
    fn over_capacity_news_is_merged_and_everything_else_is_kept_in_order() {
        let (idle, up, down) = (ConnectionState::Idle, ConnectionState::Connected, ConnectionState::Reconnecting);
        let queue = Queue::new(1);
        let change = |from, to| Event::StateChanged { from, to };
        queue.push([lost(1), latency(1), lost(2), change(idle, up), latency(2), change(up, down), lost(3)]).fire();
        let mut out = Vec::new();
        queue.drain(usize::MAX, &mut out);
        let text = format!("{out:?}");
        assert_eq!(out.iter().filter(|event| matches!(event, Event::Lost { .. })).count(), 3);
        assert_eq!(out.len(), 5, "{text}");
        assert!(text.contains("from: Idle, to: Reconnecting"), "{text}");
        assert!(text.contains("2ms") && !text.contains("1ms"), "{text}");
    }

    #[test]
    fn an_armed_queue_calls_once_and_never_misses() {
        let calls = Arc::new(AtomicUsize::new(0));
        let queue = Queue::new(8);
        let counter = Arc::clone(&calls);
        queue.set_callback(Some(Arc::new(move || {
            counter.fetch_add(1, Ordering::SeqCst);
        })));
        queue.push([lost(1)]).fire();
        assert_eq!(calls.load(Ordering::SeqCst), 0, "nobody asked");
        assert!(!queue.arm(), "there is something already");
        queue.drain(8, &mut Vec::new());
        assert!(queue.arm());
        queue.push([lost(2)]).fire();
        queue.push([lost(3)]).fire();
        assert_eq!(calls.load(Ordering::SeqCst), 1);
        queue.drain(8, &mut Vec::new());
        assert!(queue.arm());
        queue.finish().fire();
        assert_eq!(calls.load(Ordering::SeqCst), 2, "the end wakes too");
        assert!(!queue.arm() && queue.is_ended());
    }

    #[test]
    fn the_end_comes_after_the_last_event_and_can_be_taken_back() {
        let queue = Queue::new(8);
        queue.push([Event::StateChanged { from: ConnectionState::Connected, to: ConnectionState::Failed }]).fire();
        assert!(!queue.is_ended());
        queue.drain(8, &mut Vec::new());
        assert!(queue.is_ended());
        queue.resume();
        assert!(!queue.is_ended());
    }
}
