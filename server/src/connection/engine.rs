//! One connection without its socket: between [`Peer`], the topics and the application.

use std::{
    cell::Cell,
    collections::{BTreeMap, VecDeque},
    net::IpAddr,
    sync::Arc,
};

use wse_client_core::{
    client::Outgoing,
    delivery::TokenBucket,
    error::{Code, close},
    io::{Close, Frame},
    server::{Admission, Event, Input, Output, Peer, UpgradeParams},
    time::Moment,
    wire::{Message, Priority},
};

use super::{
    frames::Violation,
    session::Session,
    states::{Asked, State},
    waits::Waits,
};
use crate::{
    clock,
    config::rate,
    handler::ConnectionHandle,
    hub::{Framed, Link, Publication, Run},
    listen::Place,
    metrics::{KindRun, Opening},
    server::Server,
};

/// What a message is counted as whose type cannot be told without opening it.
const UNKNOWN: &str = "control";

/// The type of every request about topics.
const SUBSCRIPTION: &str = "subscription_update";

/// A list of messages larger than this is not kept for the next read.
const KEPT_BATCH: usize = 2048;

thread_local! {
    /// The list that connections of this thread fill in turn, from the first frame of a read to its hand-over.
    static BATCH: Cell<Vec<Message>> = const { Cell::new(Vec::new()) };
}

/// Where the frames of a connection go: the queue of whatever carries them to the client.
pub(crate) trait Outbox {
    /// Adds a frame for this connection alone.
    fn push_direct(&mut self, frame: &Frame);
    /// Adds a topic message that was sealed for this connection.
    fn push_sealed(&mut self, frame: &Frame);
    /// Adds a topic message that other connections share.
    fn push_shared(&mut self, frame: &Framed);
    /// Adds topic messages in a row that other connections share.
    fn push_run(&mut self, run: &Run);
    /// Whether topic messages may be added.
    fn has_room(&self) -> bool;
    /// Bytes held for this connection alone.
    fn direct_bytes(&self) -> usize;
    /// Gives up what has not begun.
    fn abandon(&mut self);
}

/// Who wants to come in, and whether it may.
pub(crate) struct Applicant {
    /// The client's address, where it is known.
    pub(crate) remote: Option<IpAddr>,
    /// The query of the request.
    pub(crate) params: UpgradeParams,
    /// Whether the client may come in.
    pub(crate) admission: Admission,
    /// Its place among the connections; refused clients have none.
    pub(crate) place: Option<Place>,
}

/// Owned by the task that drives it; others reach it through its [`Link`] only.
pub(crate) struct Engine<O> {
    pub(super) server: Server,
    pub(super) peer: Peer,
    pub(super) link: Arc<Link>,
    pub(super) outbox: O,
    /// Subscriptions with publications that are not fetched yet.
    pub(super) backlog: VecDeque<u32>,
    /// State of topics; goes out before live messages.
    pub(super) states: VecDeque<State>,
    /// Subscriptions whose state the application was asked for.
    pub(super) waits: Waits,
    /// Questions of the client for states that the application has not answered yet.
    pub(super) asked: BTreeMap<u64, Asked>,
    pub(super) fetched: Vec<Arc<Publication>>,
    /// Messages on their way from the inbox to the peer; empty between calls.
    pub(super) mail: Vec<Outgoing>,
    pub(super) handle: ConnectionHandle,
    /// Bounds how fast messages go out; `None`: no bound.
    pub(super) pacer: Option<TokenBucket>,
    /// When the pacer lets the next message go, if one waits for it.
    pub(super) paced_until: Option<Moment>,
    /// Of the messages that are paced the odd one is the topics'.
    pub(super) topics_next: bool,
    /// The end was asked for: what is there goes out, and nothing more.
    pub(super) leaving: bool,
    /// When the peer wants to be woken.
    timer: Option<Moment>,
    reads_paused: bool,
    /// What the link knows of [`Outbox::direct_bytes`].
    unsent: usize,
    /// How the connection ends, once that is known: nothing is added behind it.
    closing: Option<Close>,
    batch: Vec<Message>,
    /// What came in and what goes out to this client alone, not yet in the metrics.
    heard: KindRun,
    pub(super) said: KindRun,
    /// A frame that is drained comes of messages of the application, which are counted already, whatever it looks like.
    pub(super) sends_mail: bool,
    /// The frame that is being handled was counted.
    was_counted: bool,
    session: Session,
}

impl<O: Outbox> Engine<O> {
    pub(crate) fn new(server: Server, applicant: Applicant, outbox: O) -> Self {
        let Applicant { remote, params, admission, place } = applicant;
        let now = server.now();
        let id = clock::new_id(clock::wall());
        let identity = match &admission {
            Admission::Granted(identity) => identity.clone(),
            Admission::Denied { .. } => Default::default(),
        };
        let admitted = matches!(admission, Admission::Granted(_));
        let (inbox, total) = (server.config().inbox(), Arc::clone(server.queue_bytes()));
        let link = Arc::new(Link::new(server.next_number(), id.clone(), identity, inbox, total));
        let handle = ConnectionHandle::new(Arc::clone(&link), server.clone());
        let peer = Peer::new(server.peer_config(), params, admission, id, clock::derived_seed(), now, clock::wall());
        let user = &*link.identity().user_id;
        tracing::debug!(connection = link.id(), ?remote, user, admitted, "websocket open");
        let session = Session::begin(handle.clone(), Arc::clone(&link), place, admitted);
        let config = server.config();
        let pacer = rate(config.outbound_rate, config.outbound_burst).map(|limit| TokenBucket::new(limit, now));
        let mut engine = Self {
            server,
            peer,
            link,
            outbox,
            backlog: VecDeque::new(),
            states: VecDeque::new(),
            waits: Waits::default(),
            asked: BTreeMap::new(),
            fetched: Vec::new(),
            mail: Vec::new(),
            handle,
            pacer,
            paced_until: None,
            topics_next: false,
            leaving: false,
            timer: None,
            reads_paused: false,
            unsent: 0,
            closing: None,
            batch: Vec::new(),
            heard: KindRun::default(),
            said: KindRun::default(),
            sends_mail: false,
            was_counted: false,
            session,
        };
        engine.drain(now);
        engine
    }

    /// The present moment. The peer learns the civil time: a machine that was suspended goes on with another one.
    pub(crate) fn now(&mut self) -> Moment {
        let now = self.server.now();
        self.peer.set_clock(clock::wall(), now);
        now
    }

    /// A whole message arrived. Call [`Engine::hand_over`] after the last one of a read.
    pub(crate) fn on_frame(&mut self, frame: Frame, now: Moment) {
        if self.server.echoes() {
            return self.outbox.push_direct(&frame);
        }
        let opening = Opening::of(&frame);
        self.was_counted = false;
        if self.batch.capacity() == 0 {
            self.batch = BATCH.take();
        }
        let before = self.batch.len();
        self.peer.receive(frame, &mut self.batch, now);
        self.note_arrived(before);
        self.drain(now);
        if !self.was_counted {
            self.note_heard(opening.kind().unwrap_or(UNKNOWN));
        }
    }

    /// Gives the application everything that a read brought.
    pub(crate) fn hand_over(&mut self, frames: usize) {
        let counters = self.server.counters();
        counters.frames_received.add(frames);
        let metrics = self.server.metrics();
        self.heard.flush(|kind, _, count| metrics.received(metrics.kind(kind), count));
        let mut batch = std::mem::take(&mut self.batch);
        if batch.is_empty() {
            if batch.capacity() > 0 {
                BATCH.set(batch);
            }
            return;
        }
        counters.messages_handled.add(batch.len());
        self.server.handler().on_messages(&self.handle, &mut batch);
        batch.clear();
        batch.shrink_to(KEPT_BATCH);
        BATCH.set(batch);
    }

    /// The client is there: a ping or a pong of the carrier arrived.
    pub(crate) fn on_alive(&mut self, now: Moment) {
        self.peer.handle(Input::Alive, now);
    }

    /// The client closed, or is gone.
    pub(crate) fn on_closed(&mut self, close: Close, now: Moment) {
        self.peer.handle(Input::Closed(close), now);
        self.drain(now);
    }

    /// The client broke the rules of the carrier.
    pub(crate) fn on_violation(&mut self, violation: Violation, now: Moment) {
        self.server.counters().protocol_violations.one();
        tracing::debug!(connection = self.link.id(), close = violation.close, why = violation.reason, "violation");
        if violation.close == close::PROTOCOL {
            // A client that cannot frame messages is not sent any more of them.
            self.peer.close(Close::new(violation.close, violation.reason), now);
        } else {
            let close = Close::new(violation.close, violation.code.as_str());
            self.peer.fail(violation.code, violation.reason, close, now);
        }
        self.drain(now);
    }

    /// The moment of [`Engine::timer`] has come.
    pub(crate) fn on_timer(&mut self, now: Moment) {
        self.peer.handle(Input::Wake, now);
        self.drain(now);
    }

    /// The client does not read: what waits for it is dropped with the connection, and counted.
    pub(crate) fn give_up_on_slow_reader(&mut self, now: Moment) {
        self.server.counters().slow_consumers.one();
        tracing::warn!(connection = self.link.id(), user = %self.link.identity().user_id, "slow consumer, closing");
        self.outbox.abandon();
        self.peer.abandon();
        self.states.clear();
        self.peer.close(Close::new(close::TRY_LATER, Code::SlowConsumer.as_str()), now);
        self.drain(now);
    }

    /// Memory is short, and this connection holds much of it.
    pub(super) fn give_up_for_memory(&mut self, now: Moment) {
        self.server.counters().refused_memory.one();
        self.server.metrics().unsent(self.link.end());
        self.give_up_on_slow_reader(now);
    }

    /// When [`Engine::on_timer`] is due.
    pub(crate) fn timer(&self) -> Option<Moment> {
        self.timer.into_iter().chain(self.paced_until).min()
    }

    /// Whether messages flow; if not, [`Engine::closing`] says how it ends.
    pub(crate) const fn is_open(&self) -> bool {
        self.closing.is_none()
    }

    /// How the connection ends: what is in the outbox goes out first.
    pub(crate) const fn closing(&self) -> Option<&Close> {
        self.closing.as_ref()
    }

    /// Whether nothing is to be read from the client for now.
    pub(crate) const fn reads_paused(&self) -> bool {
        self.reads_paused
    }

    pub(crate) const fn server(&self) -> &Server {
        &self.server
    }

    pub(crate) const fn link(&self) -> &Arc<Link> {
        &self.link
    }

    pub(crate) const fn outbox(&mut self) -> &mut O {
        &mut self.outbox
    }

    /// Above this many bytes that wait for this connection alone it is not read: its answers would only make it worse.
    pub(super) fn pause_mark(&self) -> usize {
        self.server.config().max_queue_bytes / 4
    }

    /// Stops or resumes reading, as the outbox asks for. To be called after frames have left it.
    pub(crate) fn pause_reads(&mut self, now: Moment) {
        let unsent = self.outbox.direct_bytes();
        if unsent != self.unsent {
            self.unsent = unsent;
            self.link.note_unsent(unsent);
        }
        let pause = self.is_open() && (unsent > self.pause_mark() || self.link.work().is_busy());
        if pause != self.reads_paused {
            self.reads_paused = pause;
            self.peer.handle(Input::ReadsPaused(pause), now);
        }
    }

    /// Does what the peer wants, until it waits.
    pub(super) fn drain(&mut self, now: Moment) {
        loop {
            match self.peer.poll() {
                Output::Send(_) if self.server.echoes() => {}
                Output::Send(frame) => {
                    self.note_said(&Opening::of(&frame));
                    self.outbox.push_direct(&frame);
                    self.check_unsent(now);
                }
                Output::Close(close) => drop(self.closing.get_or_insert(close)),
                // Nobody gets the answer, or who asks without end would not be closed.
                Output::Emit(event) if (self.leaving || self.peer.is_over()) && is_question(&event) => {}
                Output::Emit(event) => {
                    self.on_event(event, now);
                    self.check_unsent(now);
                }
                Output::Wait(at) => {
                    self.timer = at;
                    break;
                }
            }
        }
    }

    /// Gives up at once when too much waits: what one frame asks for can be a multiple of what may.
    fn check_unsent(&mut self, now: Moment) {
        let unsent = self.outbox.direct_bytes() + self.peer.unsent();
        if unsent > self.server.config().max_queue_bytes && !self.peer.is_over() {
            self.give_up_on_slow_reader(now);
        }
    }

    /// Counts the messages in the list from an index on.
    fn note_arrived(&mut self, from: usize) {
        let batch = std::mem::take(&mut self.batch);
        for message in batch.get(from..).unwrap_or_default() {
            self.note_heard(message.kind());
        }
        self.batch = batch;
    }

    fn note_heard(&mut self, kind: &str) {
        let metrics = self.server.metrics();
        self.was_counted = true;
        self.heard.note(kind, Priority::Normal, |kind, _, count| metrics.received(metrics.kind(kind), count));
    }

    /// Counts a message of the server's own: those of the application are counted where their type is known.
    fn note_said(&mut self, opening: &Opening) {
        if !self.sends_mail && (opening.is_control() || opening.is_sealed()) {
            let kind = opening.kind().unwrap_or(UNKNOWN);
            let metrics = self.server.metrics();
            self.said.note(kind, Priority::Critical, |kind, priority, count| {
                metrics.sent(metrics.kind(kind), priority, count);
            });
        }
    }

    /// Adds what was said to the metrics.
    pub(super) fn flush_said(&mut self) {
        let metrics = self.server.metrics();
        self.said.flush(|kind, priority, count| metrics.sent(metrics.kind(kind), priority, count));
    }

    fn on_event(&mut self, event: Event, now: Moment) {
        match event {
            Event::Message(message) => {
                self.note_heard(message.kind());
                self.batch.push(message);
            }
            Event::Publish(message) => {
                self.note_heard(message.kind());
                self.publish(&message, now);
            }
            Event::Subscribe(request) => {
                if !request.from_url {
                    self.note_heard(SUBSCRIPTION);
                }
                self.subscribe(request, now);
            }
            Event::Recover(request) => {
                self.note_heard(SUBSCRIPTION);
                self.recover(request, now);
            }
            Event::Unsubscribe(request) => {
                self.note_heard(SUBSCRIPTION);
                self.unsubscribe(request, now);
            }
            Event::Question(question) => self.answer(&question, now),
            Event::QueueSize(messages) => self.link.set_inbox_size(messages),
            Event::Presence(question) => self.tell_presence(&question, now),
            Event::Sync(question) => self.sync(question, now),
            Event::Rejected(error) => {
                let counters = self.server.counters();
                if error.code == Code::RateLimited {
                    counters.rate_limited.one();
                }
                counters.frames_rejected.one();
                tracing::debug!(connection = self.link.id(), code = %error.code, detail = error.detail, "frame rejected");
            }
            Event::Hello { client_version } => {
                self.note_heard("client_hello");
                tracing::debug!(connection = self.link.id(), client_version, "hello");
            }
            Event::Closed(close) => {
                self.closing.get_or_insert_with(|| close.clone());
                self.session.closed_with(close);
            }
            _ => {}
        }
    }
}

/// Whether an event is something that the client waits for an answer to.
const fn is_question(event: &Event) -> bool {
    matches!(
        event,
        Event::Subscribe(_)
            | Event::Recover(_)
            | Event::Unsubscribe(_)
            | Event::Question(_)
            | Event::Presence(_)
            | Event::Sync(_)
    )
}
