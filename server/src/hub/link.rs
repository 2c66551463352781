//! The half of a connection that others may touch: what to wake it for, and what it is subscribed to.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    fmt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use wse_client_core::{
    client::Outgoing,
    delivery::{Position, PriorityQueue, QueueLimits},
    error::Code,
    io::Close,
    server::{Delivery, Identity, QueueFigures},
    time::Moment,
    topic,
    wire::Priority,
};

use super::{
    block::Run,
    publication::Publication,
    ring::Fetched,
    topic::{Resumed, Subscriber, Topic},
    wake::Wake,
};
use crate::{
    async_handler::Work,
    handler::{Queued, SendRefused},
    memory::QueueBytes,
    snapshots::Answer,
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
    /// What all queues hold together.
    total: Arc<QueueBytes>,
    /// Bytes that the connection's socket has not taken.
    unsent: AtomicUsize,
    /// Bytes of states that were made for it.
    states: AtomicUsize,
    evicted: AtomicBool,
    /// Whether the inbox is worth a look.
    mail: AtomicBool,
    /// When topic messages were last written, in milliseconds of the server's clock.
    flushed: AtomicU64,
    abort: AtomicBool,
    /// Whether it shares messages with others.
    is_member: AtomicBool,
    /// Whether there is no room for more messages at the moment.
    stalled: AtomicBool,
    work: Work,
}

/// Why a message of the client was refused behind its connection's back.
#[derive(Debug)]
pub(crate) struct Refused {
    /// The stable code.
    pub(crate) code: Code,
    /// For people.
    pub(crate) message: String,
    /// The id of the client's message.
    pub(crate) id: Option<String>,
}

/// What the application wants sent to this connection alone.
#[derive(Debug)]
struct Inbox {
    /// As many as messages at most; they go out first.
    refused: VecDeque<Refused>,
    messages: PriorityQueue<Outgoing>,
    answers: VecDeque<Answer>,
    /// Dropped since the client was told, by level.
    dropped: [u64; 5],
    ending: Option<Ending>,
    over: bool,
}

impl Inbox {
    fn new(limits: QueueLimits) -> Self {
        Self {
            refused: VecDeque::new(),
            messages: PriorityQueue::new(limits),
            answers: VecDeque::new(),
            dropped: [0; 5],
            ending: None,
            over: false,
        }
    }

    /// Messages of each level that wait.
    fn waiting(&self) -> [u32; 5] {
        LEVELS.map(|level| u32::try_from(self.messages.counters(level).waiting()).unwrap_or(u32::MAX))
    }
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
    /// Send what was taken out, together where that is possible.
    Messages,
    /// The application told the state of a topic.
    Answer(Answer),
    /// End once all messages are written. Comes last, and again at each look.
    End(Ending),
}

/// Topics by name, by slot, and as the client asked for them.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    /// With the queue group that the client wants to be in.
    requested: BTreeMap<String, Option<String>>,
    attached: HashMap<Arc<str>, Attachment>,
    slots: Vec<Option<Reader>>,
    free: Vec<u32>,
}

/// How the connection is part of one topic.
#[derive(Debug)]
struct Attachment {
    /// Where its messages are read.
    slot: u32,
    /// Where it is read who comes and goes.
    notices: Option<u32>,
    /// Whether the user is seen in it by this connection.
    present: bool,
}

/// A place in one ring, or a share of it.
#[derive(Debug)]
struct Reader {
    topic: Arc<Topic>,
    subscriber: Arc<Subscriber>,
}

/// What remains to be done about topics that a connection has left.
#[derive(Debug, Default)]
pub(super) struct Left {
    /// Topics that its user was seen in.
    pub(super) present: Vec<Arc<Topic>>,
    /// Messages that were given to it alone, and that nobody else gets in its place.
    pub(super) orphans: usize,
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
    /// Whether its messages have positions.
    pub(crate) recoverable: bool,
}

impl Link {
    pub(crate) fn new(number: u64, id: String, identity: Identity, inbox: QueueLimits, total: Arc<QueueBytes>) -> Self {
        Self {
            number,
            id,
            identity,
            wake: Wake::default(),
            ready: Mutex::default(),
            subscriptions: Mutex::default(),
            inbox: Mutex::new(Inbox::new(inbox)),
            total,
            unsent: AtomicUsize::new(0),
            states: AtomicUsize::new(0),
            evicted: AtomicBool::new(false),
            mail: AtomicBool::new(false),
            flushed: AtomicU64::new(0),
            abort: AtomicBool::new(false),
            is_member: AtomicBool::new(false),
            stalled: AtomicBool::new(false),
            work: Work::default(),
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

    /// Whether a topic may be read: a wide pattern gives no right to a denied one.
    pub(super) fn may_read(&self, topic: &str) -> bool {
        self.identity.subscribe.allows(topic)
    }

    pub(crate) const fn wake(&self) -> &Wake {
        &self.wake
    }

    /// What the application still does for it, if it takes its time.
    pub(crate) const fn work(&self) -> &Work {
        &self.work
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

    /// Adds the subscriptions that have something to read and were not told so yet.
    pub(crate) fn take_behind(&self, out: &mut VecDeque<u32>) {
        let subscriptions = lock(&self.subscriptions);
        let behind = |reader: &Reader| reader.topic.is_behind(&reader.subscriber);
        let slots = subscriptions.slots.iter().enumerate();
        let slots = slots.filter(|(_, slot)| slot.as_ref().is_some_and(behind)).map(|(slot, _)| slot as u32);
        let known: BTreeSet<u32> = out.iter().copied().collect();
        out.extend(slots.filter(|slot| !known.contains(slot)));
    }

    /// Topic messages are being written.
    pub(crate) fn note_flush(&self, now: Moment) {
        self.flushed.store(now.as_millis(), Ordering::Relaxed);
    }

    /// When topic messages were last written.
    pub(super) fn flushed(&self) -> Moment {
        Moment::from_millis(self.flushed.load(Ordering::Relaxed))
    }

    /// Reads frames in a row of one subscription, if there are any. Also tells whether there is more to read.
    pub(crate) fn fetch_run(&self, slot: u32, delivery: Delivery) -> Option<(Run, bool)> {
        let subscriptions = lock(&self.subscriptions);
        let Reader { topic, subscriber } = subscriptions.slots.get(slot as usize)?.as_ref()?;
        topic.fetch_run(subscriber, delivery)
    }

    /// Reads at most `max` publications of one subscription. `None` when it is gone.
    pub(crate) fn fetch(&self, slot: u32, max: usize, out: &mut Vec<Arc<Publication>>) -> Option<TopicRead> {
        let subscriptions = lock(&self.subscriptions);
        let Reader { topic, subscriber } = subscriptions.slots.get(slot as usize)?.as_ref()?;
        let fetched = topic.fetch(subscriber, max, out);
        let recoverable = fetched.lost > 0 && subscriber.share().is_none() && topic.keeps_history();
        Some(TopicRead { topic: Arc::clone(topic.name()), epoch: Arc::clone(topic.epoch()), fetched, recoverable })
    }

    /// Has one subscription read no further than a position, until it is let go on.
    pub(crate) fn hold(&self, slot: u32, end: u64) {
        self.with_reader(slot, |topic, subscriber| topic.hold(subscriber, end));
    }

    /// One subscription may read on; what came meanwhile it was not told of.
    pub(crate) fn let_go(&self, slot: u32) {
        self.with_reader(slot, Topic::let_go);
    }

    fn with_reader(&self, slot: u32, act: impl FnOnce(&Topic, &Subscriber)) {
        if let Some(Some(Reader { topic, subscriber })) = lock(&self.subscriptions).slots.get(slot as usize) {
            act(topic, subscriber);
        }
    }

    /// Has all subscriptions read no further than to what is there.
    pub(crate) fn finish(&self) {
        for Reader { topic, subscriber } in lock(&self.subscriptions).slots.iter().flatten() {
            topic.finish(subscriber);
        }
    }

    /// Whether there is no room for more messages at the moment.
    pub(super) fn is_stalled(&self) -> bool {
        self.stalled.load(Ordering::Relaxed)
    }

    /// Notes whether there is room for more messages. Messages that it shares with others go to them while there is none.
    pub(crate) fn set_stalled(&self, stalled: bool) {
        let changed = self.stalled.load(Ordering::Relaxed) != stalled;
        if changed {
            self.stalled.store(stalled, Ordering::Relaxed);
        }
        if !changed || !self.is_member.load(Ordering::Relaxed) {
            return;
        }
        for Reader { topic, subscriber } in lock(&self.subscriptions).slots.iter().flatten() {
            match subscriber.share() {
                Some(_) if stalled => topic.pass_on(subscriber),
                Some(_) => subscriber.announce(),
                None => {}
            }
        }
    }

    /// Topics and patterns as the client asked for them, sorted.
    pub(crate) fn requested(&self) -> Vec<String> {
        lock(&self.subscriptions).requested.keys().cloned().collect()
    }

    /// Whether the client asked for this name.
    pub(crate) fn is_requested(&self, name: &str) -> bool {
        lock(&self.subscriptions).is_requested(name)
    }

    /// Whether the client asked for a pattern that a topic matches.
    pub(crate) fn covers_by_pattern(&self, topic: &str) -> bool {
        lock(&self.subscriptions).patterns().any(|pattern| topic::matches(pattern, topic))
    }

    pub(super) fn subscriptions(&self) -> std::sync::MutexGuard<'_, Subscriptions> {
        lock(&self.subscriptions)
    }

    /// Queues a message for this connection, and gives what had to go for it.
    pub(crate) fn send(&self, message: Outgoing) -> Result<Queued, SendRefused> {
        let (priority, cost) = (message.priority, cost(&message));
        let displaced = {
            let mut inbox = lock(&self.inbox);
            if inbox.over || inbox.ending.is_some() {
                return Err(SendRefused::Closed);
            }
            let before = inbox.messages.bytes();
            let displaced = inbox.messages.push(message, priority, cost).map_err(|refused| {
                let QueueLimits { max_items, max_bytes } = refused.limits;
                SendRefused::QueueFull { messages: max_items, bytes: max_bytes }
            })?;
            for (level, _) in &displaced {
                inbox.dropped[*level as usize] += 1;
            }
            self.total.settle(before, inbox.messages.bytes());
            self.mail.store(true, Ordering::Release);
            displaced
        };
        self.wake.wake();
        Ok(Queued { displaced: displaced.into_iter().map(|(_, message)| message).collect() })
    }

    /// Queues word of a refusal. False when there is no room for it.
    pub(crate) fn tell_refused(&self, refused: Refused) -> bool {
        {
            let mut inbox = lock(&self.inbox);
            if inbox.over || inbox.ending.is_some() || inbox.refused.len() >= inbox.messages.limits().max_items {
                return false;
            }
            inbox.refused.push_back(refused);
            self.mail.store(true, Ordering::Release);
        }
        self.wake.wake();
        true
    }

    /// Whether messages wait in the inbox.
    pub(crate) fn has_messages(&self) -> bool {
        self.mail.load(Ordering::Acquire) && !lock(&self.inbox).messages.is_empty()
    }

    /// The application told the state of a topic.
    pub(crate) fn put_answer(&self, answer: Answer) {
        {
            let mut inbox = lock(&self.inbox);
            if inbox.over {
                return;
            }
            inbox.answers.push_back(answer);
            self.mail.store(true, Ordering::Release);
        }
        self.wake.wake();
    }

    /// Where the messages of a topic are read.
    pub(crate) fn slot_of(&self, topic: &str) -> Option<u32> {
        lock(&self.subscriptions).attached.get(topic).map(|attachment| attachment.slot)
    }

    /// Topics whose messages are read, those that patterns met included.
    pub(crate) fn topics(&self) -> Vec<Arc<str>> {
        lock(&self.subscriptions).attached.keys().cloned().collect()
    }

    /// What the client is to be told of first.
    pub(crate) fn take_refused(&self) -> VecDeque<Refused> {
        if !self.mail.load(Ordering::Acquire) {
            return VecDeque::new();
        }
        std::mem::take(&mut lock(&self.inbox).refused)
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
    /// and whether the first must not be held, and says how many of them go; none: `None`. States of topics, and the end
    /// behind them, stay where they are unless `takes_answers`.
    pub(crate) fn next_mail(
        &self,
        out: &mut Vec<Outgoing>,
        takes_answers: bool,
        count: impl FnOnce(&mut dyn Iterator<Item = usize>, bool) -> usize,
    ) -> Option<Mail> {
        if !self.mail.load(Ordering::Acquire) {
            return None;
        }
        let mut inbox = lock(&self.inbox);
        if let Some(first) = inbox.messages.front_priority() {
            let urgent = first >= Priority::High || inbox.ending.is_some();
            let count = count(&mut inbox.messages.sizes(), urgent);
            let before = inbox.messages.bytes();
            out.extend((0..count).map_while(|_| inbox.messages.pop()));
            self.total.settle(before, inbox.messages.bytes());
            if count > 0 {
                return Some(Mail::Messages);
            }
        }
        // Messages that are held for company do not hold up topics.
        if takes_answers && let Some(answer) = inbox.answers.pop_front() {
            return Some(Mail::Answer(answer));
        }
        if !inbox.messages.is_empty() || !inbox.answers.is_empty() {
            return None;
        }
        let ending = inbox.ending.clone();
        // It stays in the inbox until the connection is over. What is told first may have come since it was looked for.
        let untold = !inbox.refused.is_empty() || inbox.dropped != [0; 5];
        self.mail.store(ending.is_some() || untold, Ordering::Release);
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
        let limits = inbox.messages.limits();
        let items = inbox.messages.len() as f64 / limits.max_items.max(1) as f64;
        let bytes = inbox.messages.bytes() as f64 / limits.max_bytes.max(1) as f64;
        Waiting { messages: inbox.waiting(), share: items.max(bytes) }
    }

    /// Number of topics and patterns that the client asked for.
    pub(crate) fn request_count(&self) -> usize {
        lock(&self.subscriptions).request_count()
    }

    /// The connection is over. Answers how many queued messages of each priority were never written.
    pub(crate) fn end(&self) -> [u32; 5] {
        let mut inbox = lock(&self.inbox);
        inbox.over = true;
        inbox.answers.clear();
        let mut counts = inbox.waiting();
        // Word of refusals is as urgent as can be.
        counts[Priority::Critical as usize] += inbox.refused.len() as u32;
        inbox.refused.clear();
        self.total.settle(inbox.messages.bytes(), 0);
        inbox.messages = PriorityQueue::new(inbox.messages.limits());
        counts
    }

    /// Notes how much the socket has not taken yet.
    pub(crate) fn note_unsent(&self, bytes: usize) {
        let before = self.unsent.swap(bytes, Ordering::Relaxed);
        self.total.settle(before, bytes);
    }

    /// Bytes that wait for this connection alone.
    pub(crate) fn queued(&self) -> usize {
        let inbox = lock(&self.inbox).messages.bytes();
        inbox + self.unsent.load(Ordering::Relaxed) + self.states.load(Ordering::Relaxed)
    }

    /// Counts a state that was made for this connection, as long as what is given back lives. Nothing of that may wait for a
    /// connection that is over, see [`Link::end`].
    pub(crate) fn count_state(self: &Arc<Self>, publication: Arc<Publication>) -> StateMessage {
        let bytes = MESSAGE_OVERHEAD + publication.kind().len() + publication.payload().bytes().len();
        self.states.fetch_add(bytes, Ordering::Relaxed);
        self.total.settle(0, bytes);
        StateMessage { publication, counted: Some((Arc::clone(self), bytes)) }
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

/// A message of a topic's state on its way to one connection.
#[derive(Debug)]
pub(crate) struct StateMessage {
    publication: Arc<Publication>,
    /// For whom it was made, and what it counts there; nothing for one that the topic holds.
    counted: Option<(Arc<Link>, usize)>,
}

impl StateMessage {
    pub(crate) const fn publication(&self) -> &Arc<Publication> {
        &self.publication
    }
}

impl From<Arc<Publication>> for StateMessage {
    fn from(publication: Arc<Publication>) -> Self {
        Self { publication, counted: None }
    }
}

impl Drop for StateMessage {
    fn drop(&mut self) {
        if let Some((link, bytes)) = &self.counted {
            link.states.fetch_sub(*bytes, Ordering::Relaxed);
            link.total.settle(*bytes, 0);
        }
    }
}

fn cost(message: &Outgoing) -> usize {
    MESSAGE_OVERHEAD + message.kind.len() + message.payload.bytes().len()
}

impl Subscriptions {
    /// Notes what the client asked for.
    pub(super) fn request(&mut self, name: &str, group: Option<&str>) {
        self.requested.insert(name.to_owned(), group.map(str::to_owned));
    }

    /// Forgets what the client asked for.
    pub(super) fn withdraw(&mut self, name: &str) {
        self.requested.remove(name);
    }

    pub(super) fn is_requested(&self, name: &str) -> bool {
        self.requested.contains_key(name)
    }

    pub(super) fn request_count(&self) -> usize {
        self.requested.len()
    }

    /// Patterns among the requests.
    pub(super) fn patterns(&self) -> impl Iterator<Item = &String> {
        self.requested.keys().filter(|name| topic::is_pattern(name))
    }

    /// Attaches to a topic for a request that was noted. False when another request did so before.
    pub(super) fn attach(&mut self, link: &Arc<Link>, topic: &Arc<Topic>, request: &str) -> bool {
        if self.attached.contains_key(topic.name()) {
            return false;
        }
        let group = self.requested.get(request).cloned().flatten();
        let slot = self.read_from(link, topic, group.as_deref());
        self.attached.insert(Arc::clone(topic.name()), Attachment { slot, notices: None, present: false });
        self.attach_notices(link, topic);
        true
    }

    /// Attaches to where it is told who comes to a topic and goes. Once is enough.
    pub(super) fn attach_notices(&mut self, link: &Arc<Link>, topic: &Arc<Topic>) {
        let Some(notices) = topic.notices() else { return };
        if self.attached.get(topic.name()).is_none_or(|attachment| attachment.notices.is_some()) {
            return;
        }
        let slot = self.read_from(link, notices, None);
        if let Some(attachment) = self.attached.get_mut(topic.name()) {
            attachment.notices = Some(slot);
        }
    }

    fn read_from(&mut self, link: &Arc<Link>, topic: &Arc<Topic>, group: Option<&str>) -> u32 {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            (self.slots.len() - 1) as u32
        });
        if group.is_some() {
            link.is_member.store(true, Ordering::Relaxed);
        }
        let subscriber = topic.attach(link, slot, group);
        self.slots[slot as usize] = Some(Reader { topic: Arc::clone(topic), subscriber });
        slot
    }

    /// Notes that the user is seen in a topic. Whether it was not before, by this connection; `None` when it does not read
    /// the topic.
    pub(super) fn be_present(&mut self, topic: &str) -> Option<bool> {
        let attachment = self.attached.get_mut(topic)?;
        Some(!std::mem::replace(&mut attachment.present, true))
    }

    /// Moves to what was missed since `position`, see [`Topic::resume`]. `None` when not attached to the topic, and for a
    /// member of a group: what others got in its place is not missed.
    pub(super) fn resume(&self, topic: &str, position: Option<&Position>, now: Moment) -> Option<Resumed> {
        let slot = self.attached.get(topic)?.slot;
        let Reader { topic, subscriber } = self.slots.get(slot as usize)?.as_ref()?;
        subscriber.share().is_none().then(|| topic.resume(subscriber, position, now))
    }

    /// Detaches from the topics of `name` (a topic or a pattern) that no other request covers. In those that others cover,
    /// but none alone or in the group in which they are read, the first of these decides anew.
    pub(super) fn detach_uncovered(&mut self, link: &Arc<Link>, name: &str) -> Left {
        let gone: Vec<Arc<str>> = if topic::is_pattern(name) {
            self.attached.keys().filter(|topic| topic::matches(name, topic)).cloned().collect()
        } else {
            self.attached.get_key_value(name).map(|(topic, _)| Arc::clone(topic)).into_iter().collect()
        };
        let mut left = Left::default();
        self.end_presence(name, &mut left);
        for topic in gone {
            let covering: Vec<Option<&str>> = self.covering(&topic, &link.identity).collect();
            let Some(first) = covering.first() else {
                self.detach(&topic, &mut left);
                continue;
            };
            if !covering.contains(&self.group_in(&topic)) {
                let group = first.map(str::to_owned);
                self.attach_anew(link, &topic, group.as_deref(), &mut left);
            }
        }
        left
    }

    /// The user is no longer seen in a topic by this connection: that was asked for by name, whatever pattern covers it.
    fn end_presence(&mut self, topic: &str, left: &mut Left) {
        let Some(attachment) = self.attached.get_mut(topic).filter(|attachment| attachment.present) else { return };
        attachment.present = false;
        let reader = self.slots.get(attachment.slot as usize).and_then(Option::as_ref);
        left.present.extend(reader.map(|reader| Arc::clone(&reader.topic)));
    }

    /// Detaches from everything.
    pub(super) fn clear(&mut self) -> Left {
        let mut left = Left::default();
        let attached: Vec<Arc<str>> = self.attached.keys().cloned().collect();
        attached.iter().for_each(|topic| self.detach(topic, &mut left));
        *self = Self::default();
        left
    }

    /// Groups of the requests that cover a topic: of the one for it alone, then of patterns. `None` for no group.
    fn covering<'a>(&'a self, topic: &'a str, identity: &Identity) -> impl Iterator<Item = Option<&'a str>> {
        let allowed = identity.subscribe.allows(topic);
        let matches = move |name: &str| allowed && topic::is_pattern(name) && topic::matches(name, topic);
        let patterns = self.requested.iter().filter(move |(name, _)| matches(name));
        let alone = self.requested.get(topic).into_iter();
        alone.chain(patterns.map(|(_, group)| group)).map(Option::as_deref)
    }

    /// The group in which a topic is read.
    fn group_in(&self, topic: &str) -> Option<&str> {
        let slot = self.attached.get(topic)?.slot;
        let share = self.slots.get(slot as usize)?.as_ref()?.subscriber.share()?;
        Some(&share.group)
    }

    /// Gives up the place in a topic for one in another group, or alone. Who is seen there is so all the time.
    fn attach_anew(&mut self, link: &Arc<Link>, topic: &str, group: Option<&str>, left: &mut Left) {
        let Some(slot) = self.attached.get(topic).map(|attachment| attachment.slot) else { return };
        let Some(Reader { topic, subscriber }) = self.slots.get_mut(slot as usize).and_then(Option::take) else {
            return;
        };
        left.orphans += topic.detach(&subscriber);
        self.free.push(slot);
        let slot = self.read_from(link, &topic, group);
        if let Some(attachment) = self.attached.get_mut(topic.name()) {
            attachment.slot = slot;
        }
    }

    fn detach(&mut self, topic: &str, left: &mut Left) {
        let Some(attachment) = self.attached.remove(topic) else { return };
        for slot in std::iter::once(attachment.slot).chain(attachment.notices) {
            let Some(Reader { topic, subscriber }) = self.slots[slot as usize].take() else { continue };
            left.orphans += topic.detach(&subscriber);
            self.free.push(slot);
            if attachment.present && slot == attachment.slot {
                left.present.push(topic);
            }
        }
    }
}
