//! The half of a connection that others may touch: what to wake it for, and what it is subscribed to.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    fmt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use wse_client_core::{client::Outgoing, delivery::Position, io::Close, server::Identity, topic};

use super::{
    publication::Publication,
    ring::Fetched,
    topic::{Resumed, Subscriber, Topic},
    wake::Wake,
};
use crate::{handler::SendRefused, memory::QueueBytes, sync::lock};

/// What one message in the inbox counts beside its payload.
const MESSAGE_OVERHEAD: usize = 256;

/// The shared half of one connection.
pub(crate) struct Link {
    number: u64,
    id: String,
    identity: Identity,
    wake: Wake,
    /// Subscriptions that have something to read. At most one entry for each.
    ready: Mutex<Vec<u32>>,
    subscriptions: Mutex<Subscriptions>,
    inbox: Mutex<Inbox>,
    inbox_limit: usize,
    /// What all queues hold together.
    total: Arc<QueueBytes>,
    /// Bytes that the connection's socket has not taken.
    unsent: AtomicUsize,
    evicted: AtomicBool,
    /// Whether the inbox is worth a look.
    mail: AtomicBool,
    abort: AtomicBool,
}

/// What the application wants sent to this connection alone.
#[derive(Debug, Default)]
struct Inbox {
    messages: VecDeque<Outgoing>,
    bytes: usize,
    /// Messages by priority.
    counts: [u32; 5],
    ending: Option<Ending>,
    over: bool,
}

/// What waits for one connection alone.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Waiting {
    /// Messages by priority, the least urgent first.
    pub(crate) messages: [u32; 5],
    /// How full the inbox is, 0 to 1.
    pub(crate) share: f64,
}

/// How a connection is to end.
#[derive(Debug, Clone)]
pub(crate) enum Ending {
    /// Close with this.
    Close(Close),
    /// Send the client away, and tell it when to come back.
    Drain {
        /// Not before.
        retry_after: Duration,
        /// Spread over this time.
        window: Duration,
    },
}

/// What others want of a connection.
#[derive(Debug)]
pub(crate) enum Mail {
    /// Send this.
    Message(Outgoing),
    /// End once all messages are written. Comes last, and again at each look.
    End(Ending),
}

/// Topics by name, by slot, and as the client asked for them.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    requested: BTreeSet<String>,
    attached: HashMap<Arc<str>, u32>,
    slots: Vec<Option<Attachment>>,
    free: Vec<u32>,
}

#[derive(Debug)]
struct Attachment {
    topic: Arc<Topic>,
    subscriber: Arc<Subscriber>,
}

/// What was read from one topic.
#[derive(Debug)]
pub(crate) struct TopicRead {
    /// The topic.
    pub(crate) topic: Arc<str>,
    /// The topic's life.
    pub(crate) epoch: Arc<str>,
    /// Losses, and whether there is more.
    pub(crate) fetched: Fetched,
}

impl Link {
    pub(crate) fn new(number: u64, id: String, identity: Identity, inbox_limit: usize, total: Arc<QueueBytes>) -> Self {
        Self {
            number,
            id,
            identity,
            wake: Wake::default(),
            ready: Mutex::default(),
            subscriptions: Mutex::default(),
            inbox: Mutex::default(),
            inbox_limit,
            total,
            unsent: AtomicUsize::new(0),
            evicted: AtomicBool::new(false),
            mail: AtomicBool::new(false),
            abort: AtomicBool::new(false),
        }
    }

    /// Unique in this process; never used again.
    pub(crate) const fn number(&self) -> u64 {
        self.number
    }

    /// The name that the client knows too.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    pub(crate) const fn identity(&self) -> &Identity {
        &self.identity
    }

    pub(crate) const fn wake(&self) -> &Wake {
        &self.wake
    }

    /// A subscription has something to read.
    pub(super) fn announce(&self, slot: u32) {
        lock(&self.ready).push(slot);
        self.wake.wake();
    }

    /// Moves the subscriptions that have something to read to the end of `out`.
    pub(crate) fn take_ready(&self, out: &mut VecDeque<u32>) {
        out.extend(lock(&self.ready).drain(..));
    }

    /// Reads at most `max` publications of one subscription. `None` when it is gone.
    pub(crate) fn fetch(&self, slot: u32, max: usize, out: &mut Vec<Arc<Publication>>) -> Option<TopicRead> {
        let subscriptions = lock(&self.subscriptions);
        let attachment = subscriptions.slots.get(slot as usize)?.as_ref()?;
        let fetched = attachment.topic.fetch(&attachment.subscriber, max, out);
        let topic = &attachment.topic;
        Some(TopicRead { topic: Arc::clone(topic.name()), epoch: Arc::clone(topic.epoch()), fetched })
    }

    /// Topics and patterns as the client asked for them, sorted.
    pub(crate) fn requested(&self) -> Vec<String> {
        lock(&self.subscriptions).requested.iter().cloned().collect()
    }

    pub(super) fn subscriptions(&self) -> std::sync::MutexGuard<'_, Subscriptions> {
        lock(&self.subscriptions)
    }

    /// Queues a message for this connection.
    pub(crate) fn send(&self, message: Outgoing) -> Result<(), SendRefused> {
        let cost = cost(&message);
        {
            let mut inbox = lock(&self.inbox);
            if inbox.over || inbox.ending.is_some() {
                return Err(SendRefused::Closed);
            }
            if inbox.bytes + cost > self.inbox_limit {
                return Err(SendRefused::QueueFull { limit: self.inbox_limit });
            }
            inbox.bytes += cost;
            inbox.counts[message.priority as usize] += 1;
            self.total.settle(0, cost);
            inbox.messages.push_back(message);
            self.mail.store(true, Ordering::Release);
        }
        self.wake.wake();
        Ok(())
    }

    /// Whether messages wait in the inbox.
    pub(crate) fn has_messages(&self) -> bool {
        self.mail.load(Ordering::Acquire) && !lock(&self.inbox).messages.is_empty()
    }

    /// The next thing in the inbox.
    pub(crate) fn next_mail(&self) -> Option<Mail> {
        if !self.mail.load(Ordering::Acquire) {
            return None;
        }
        let mut inbox = lock(&self.inbox);
        if let Some(message) = inbox.messages.pop_front() {
            inbox.bytes -= cost(&message);
            inbox.counts[message.priority as usize] -= 1;
            self.total.settle(cost(&message), 0);
            return Some(Mail::Message(message));
        }
        let ending = inbox.ending.clone();
        // It stays in the inbox until the connection is over.
        self.mail.store(ending.is_some(), Ordering::Release);
        ending.map(Mail::End)
    }

    /// Asks the connection to close once everything queued is written. The first reason stands.
    pub(crate) fn close(&self, close: Close) {
        self.end_with(Ending::Close(close));
    }

    /// Asks the connection to end once everything queued is written. The first reason stands.
    pub(crate) fn end_with(&self, ending: Ending) {
        {
            let mut inbox = lock(&self.inbox);
            inbox.ending.get_or_insert(ending);
            self.mail.store(true, Ordering::Release);
        }
        self.wake.wake();
    }

    /// The end that was asked for.
    pub(crate) fn ending(&self) -> Option<Ending> {
        lock(&self.inbox).ending.clone()
    }

    /// What waits in the inbox.
    pub(crate) fn waiting(&self) -> Waiting {
        let inbox = lock(&self.inbox);
        Waiting { messages: inbox.counts, share: inbox.bytes as f64 / self.inbox_limit.max(1) as f64 }
    }

    /// Number of topics and patterns that the client asked for.
    pub(crate) fn request_count(&self) -> usize {
        lock(&self.subscriptions).request_count()
    }

    /// The connection is over. Answers how many queued messages of each priority were never written.
    pub(crate) fn end(&self) -> [u32; 5] {
        let mut inbox = lock(&self.inbox);
        inbox.over = true;
        self.total.settle(std::mem::take(&mut inbox.bytes), 0);
        inbox.messages = VecDeque::new();
        std::mem::take(&mut inbox.counts)
    }

    /// Notes how much the socket has not taken yet.
    pub(crate) fn note_unsent(&self, bytes: usize) {
        let before = self.unsent.swap(bytes, Ordering::Relaxed);
        self.total.settle(before, bytes);
    }

    /// Bytes that wait for this connection alone.
    pub(crate) fn queued(&self) -> usize {
        lock(&self.inbox).bytes + self.unsent.load(Ordering::Relaxed)
    }

    /// Asks the connection to give up all that waits for it, and to end: its memory is needed.
    pub(crate) fn evict(&self) {
        self.evicted.store(true, Ordering::Release);
        self.wake.wake();
    }

    pub(crate) fn is_evicted(&self) -> bool {
        self.evicted.load(Ordering::Acquire)
    }

    /// Asks the connection to go at once, whatever is queued.
    pub(crate) fn abort(&self) {
        self.abort.store(true, Ordering::Release);
        self.wake.wake();
    }

    pub(crate) fn is_aborted(&self) -> bool {
        self.abort.load(Ordering::Acquire)
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("id", &self.id).field("user_id", &self.identity.user_id).finish_non_exhaustive()
    }
}

fn cost(message: &Outgoing) -> usize {
    MESSAGE_OVERHEAD + message.kind.len() + message.payload.bytes().len()
}

impl Subscriptions {
    /// Notes what the client asked for. False when it had asked before.
    pub(super) fn request(&mut self, name: &str) -> bool {
        self.requested.insert(name.to_owned())
    }

    /// Forgets what the client asked for.
    pub(super) fn withdraw(&mut self, name: &str) {
        self.requested.remove(name);
    }

    pub(super) fn is_requested(&self, name: &str) -> bool {
        self.requested.contains(name)
    }

    pub(super) fn request_count(&self) -> usize {
        self.requested.len()
    }

    /// Patterns among the requests.
    pub(super) fn patterns(&self) -> impl Iterator<Item = &String> {
        self.requested.iter().filter(|name| topic::is_pattern(name))
    }

    /// Attaches to a topic. False when another request did so before.
    pub(super) fn attach(&mut self, link: &Arc<Link>, topic: &Arc<Topic>) -> bool {
        if self.attached.contains_key(topic.name()) {
            return false;
        }
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            (self.slots.len() - 1) as u32
        });
        let subscriber = topic.attach(link, slot);
        self.slots[slot as usize] = Some(Attachment { topic: Arc::clone(topic), subscriber });
        self.attached.insert(Arc::clone(topic.name()), slot);
        true
    }

    /// Moves to what was missed since `position`, see [`Topic::resume`]. `None` when not attached to the topic.
    pub(super) fn resume(&self, topic: &str, position: Option<&Position>) -> Option<Resumed> {
        let attachment = self.slots.get(*self.attached.get(topic)? as usize)?.as_ref()?;
        Some(attachment.topic.resume(&attachment.subscriber, position))
    }

    /// Detaches from the topics of `name` (a topic or a pattern) that no other request covers.
    pub(super) fn detach_uncovered(&mut self, name: &str, identity: &Identity) {
        let gone: Vec<Arc<str>> = if topic::is_pattern(name) {
            self.attached.keys().filter(|topic| topic::matches(name, topic)).cloned().collect()
        } else {
            self.attached.get_key_value(name).map(|(topic, _)| Arc::clone(topic)).into_iter().collect()
        };
        for topic in gone {
            if !self.covers(&topic, identity) {
                self.detach(&topic);
            }
        }
    }

    /// Detaches from everything.
    pub(super) fn clear(&mut self) {
        for attachment in std::mem::take(&mut self.slots).into_iter().flatten() {
            attachment.topic.detach(&attachment.subscriber);
        }
        *self = Self::default();
    }

    fn covers(&self, topic: &str, identity: &Identity) -> bool {
        self.requested.contains(topic)
            || (identity.subscribe.allows(topic) && self.patterns().any(|pattern| topic::matches(pattern, topic)))
    }

    fn detach(&mut self, topic: &str) {
        let Some(slot) = self.attached.remove(topic) else { return };
        if let Some(attachment) = self.slots[slot as usize].take() {
            attachment.topic.detach(&attachment.subscriber);
        }
        self.free.push(slot);
    }
}
