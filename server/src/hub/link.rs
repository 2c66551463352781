//! The half of a connection that others may touch: what to wake it for, and what it is subscribed to.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    fmt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use wse_client_core::{
    client::Outgoing,
    delivery::{Position, PriorityQueue, QueueLimits},
    io::Close,
    server::{Identity, QueueFigures},
    topic,
    wire::Priority,
};

use super::{
    publication::Publication,
    ring::Fetched,
    topic::{Resumed, Subscriber, Topic},
    wake::Wake,
};
use crate::{
    handler::{Queued, SendRefused},
    sync::lock,
};

/// Levels from the least to the most urgent.
pub(crate) const LEVELS: [Priority; 5] =
    [Priority::Background, Priority::Low, Priority::Normal, Priority::High, Priority::Critical];

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
    /// Whether the inbox is worth a look.
    mail: AtomicBool,
    abort: AtomicBool,
}

/// What the application wants sent to this connection alone.
#[derive(Debug)]
struct Inbox {
    messages: PriorityQueue<Outgoing>,
    /// Dropped since the client was told, by level.
    dropped: [u64; 5],
    close: Option<Close>,
    over: bool,
}

/// What others want of a connection.
#[derive(Debug)]
pub(crate) enum Mail {
    /// Send what was taken out, together where that is possible.
    Messages,
    /// Close once all messages are written. Comes last, and again at each look.
    Close(Close),
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
    pub(crate) fn new(number: u64, id: String, identity: Identity, inbox: QueueLimits) -> Self {
        Self {
            number,
            id,
            identity,
            wake: Wake::default(),
            ready: Mutex::default(),
            subscriptions: Mutex::default(),
            inbox: Mutex::new(Inbox { messages: PriorityQueue::new(inbox), dropped: [0; 5], close: None, over: false }),
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

    /// Queues a message for this connection, and gives what had to go for it.
    pub(crate) fn send(&self, message: Outgoing) -> Result<Queued, SendRefused> {
        let (priority, cost) = (message.priority, cost(&message));
        let displaced = {
            let mut inbox = lock(&self.inbox);
            if inbox.over || inbox.close.is_some() {
                return Err(SendRefused::Closed);
            }
            let displaced = inbox.messages.push(message, priority, cost).map_err(|refused| {
                let QueueLimits { max_items, max_bytes } = refused.limits;
                SendRefused::QueueFull { messages: max_items, bytes: max_bytes }
            })?;
            for (level, _) in &displaced {
                inbox.dropped[*level as usize] += 1;
            }
            self.mail.store(true, Ordering::Release);
            displaced
        };
        self.wake.wake();
        Ok(Queued { displaced: displaced.into_iter().map(|(_, message)| message).collect() })
    }

    /// What was dropped from the inbox since the last call, if anything was.
    pub(crate) fn take_dropped(&self) -> Option<[u64; 5]> {
        if !self.mail.load(Ordering::Acquire) {
            return None;
        }
        let dropped = std::mem::take(&mut lock(&self.inbox).dropped);
        (dropped != [0; 5]).then_some(dropped)
    }

    /// Most messages in the inbox from here on.
    pub(crate) fn set_inbox_size(&self, messages: usize) {
        let mut inbox = lock(&self.inbox);
        let limits = QueueLimits { max_items: messages, ..inbox.messages.limits() };
        inbox.messages.set_limits(limits);
    }

    /// What waits in the inbox, and what became of what was in it.
    pub(crate) fn inbox_figures(&self) -> QueueFigures {
        let inbox = lock(&self.inbox);
        QueueFigures {
            messages: inbox.messages.len(),
            bytes: inbox.messages.bytes(),
            capacity: inbox.messages.limits().max_items,
            levels: LEVELS.map(|level| inbox.messages.counters(level)),
        }
    }

    /// The next thing in the inbox; messages are moved to the end of `out`. `count` is told the sizes of those that wait
    /// and whether the first must not be held, and says how many of them go; none: `None`.
    pub(crate) fn next_mail(
        &self,
        out: &mut Vec<Outgoing>,
        count: impl FnOnce(&mut dyn Iterator<Item = usize>, bool) -> usize,
    ) -> Option<Mail> {
        if !self.mail.load(Ordering::Acquire) {
            return None;
        }
        let mut inbox = lock(&self.inbox);
        if let Some(first) = inbox.messages.front_priority() {
            let urgent = first >= Priority::High || inbox.close.is_some();
            let count = count(&mut inbox.messages.sizes(), urgent);
            out.extend((0..count).map_while(|_| inbox.messages.pop()));
            return (count > 0).then_some(Mail::Messages);
        }
        let close = inbox.close.clone();
        // A close stays in the inbox until the connection is over.
        self.mail.store(close.is_some(), Ordering::Release);
        close.map(Mail::Close)
    }

    /// Asks the connection to close once everything queued is written. The first reason stands.
    pub(crate) fn close(&self, close: Close) {
        {
            let mut inbox = lock(&self.inbox);
            inbox.close.get_or_insert(close);
            self.mail.store(true, Ordering::Release);
        }
        self.wake.wake();
    }

    /// The close that was asked for.
    pub(crate) fn close_requested(&self) -> Option<Close> {
        lock(&self.inbox).close.clone()
    }

    /// The connection is over. Answers how many queued messages were never written.
    pub(crate) fn end(&self) -> usize {
        let mut inbox = lock(&self.inbox);
        inbox.over = true;
        let limits = inbox.messages.limits();
        std::mem::replace(&mut inbox.messages, PriorityQueue::new(limits)).len()
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
