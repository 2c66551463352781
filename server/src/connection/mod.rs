//! One connection: moves bytes between a socket and [`Peer`], and publications from the rings to the socket.
//!
//! ```text
//! frames.rs   WebSocket frames, parsed in place
//! read.rs     socket -> frames -> Peer -> topics and handler
//! write.rs    Peer, inbox and rings -> socket
//! writer.rs   the queue of one socket
//! session.rs  what must be undone when a connection ends
//! ```
//!
//! The task that runs here owns everything; others reach it through its [`Link`] only.

pub(crate) mod frames;
mod read;
mod session;
mod write;
mod writer;

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncWriteExt, Interest},
    net::TcpStream,
    time::Sleep,
};
use wse_client_core::{
    client::SubscriptionAction,
    error::{Code, close},
    io::Close,
    server::{Admission, Event, Input, Output, Peer, SubscriptionRequest, UpgradeParams},
    time::Moment,
    wire::Message,
};

use crate::{
    clock,
    handler::{ConnectionHandle, forwarded},
    hub::{Link, Publication},
    server::{Seat, Server},
};
use frames::{FrameReader, framed_message};
use session::Session;
use writer::Writer;

/// After our close frame: how long the client may take to close its side.
const LINGER: Duration = Duration::from_secs(2);

/// How long a write may make no progress at all.
const STALLED: Duration = Duration::from_secs(60);

/// A wait without an end.
const FAR: Duration = Duration::from_secs(86_400);

/// Where a connection stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Messages flow.
    Open,
    /// The close frame is queued; the socket goes when it is written and the client is gone, or at this moment.
    Closing { until: Moment, shut: bool },
    /// Nothing more can be read or written.
    Over,
}

/// What a connection starts from.
pub(crate) struct Opened {
    /// The socket, the upgrade answered.
    pub(crate) stream: TcpStream,
    /// Bytes that came right behind the request.
    pub(crate) leftover: Bytes,
    /// The query of the request.
    pub(crate) params: UpgradeParams,
    /// Whether the client may come in.
    pub(crate) admission: Admission,
    /// Its place among the connections; refused clients have none.
    pub(crate) seat: Option<Seat>,
}

/// Runs a connection to its end.
pub(crate) async fn run(server: Server, opened: Opened) {
    Connection::new(server, &opened.stream, opened.params, opened.admission, opened.seat)
        .run(opened.stream, opened.leftover)
        .await;
}

struct Connection {
    server: Server,
    peer: Peer,
    link: Arc<Link>,
    handle: ConnectionHandle,
    frames: FrameReader,
    writer: Writer,
    state: State,
    /// When the engine wants to be woken.
    engine_timer: Option<Moment>,
    /// Since when the socket takes nothing of what waits.
    blocked_since: Option<Moment>,
    reads_paused: bool,
    /// More is queued for this connection alone than it may hold.
    overflow: bool,
    /// Subscriptions with publications that are not fetched yet.
    backlog: VecDeque<u32>,
    /// State for topics just joined; goes out before live messages.
    snapshots: Vec<Arc<Publication>>,
    fetched: Vec<Arc<Publication>>,
    batch: Vec<Message>,
    session: Session,
}

impl Connection {
    fn new(
        server: Server,
        stream: &TcpStream,
        params: UpgradeParams,
        admission: Admission,
        seat: Option<Seat>,
    ) -> Self {
        let now = server.now();
        let id = clock::new_id(clock::wall());
        let identity = match &admission {
            Admission::Granted(identity) => identity.clone(),
            Admission::Denied { .. } => Default::default(),
        };
        let admitted = matches!(admission, Admission::Granted(_));
        let link = Arc::new(Link::new(server.next_number(), id.clone(), identity, server.config().max_queue_bytes));
        let handle = ConnectionHandle::new(Arc::clone(&link), server.clone());
        let peer = Peer::new(server.peer_config(), params, admission, id, clock::derived_seed(), now, clock::wall());
        tracing::debug!(
            connection = link.id(),
            remote = ?stream.peer_addr().ok(),
            user = %link.identity().user_id,
            admitted,
            "websocket open"
        );
        Self {
            frames: FrameReader::new(server.limits().max_frame),
            session: Session::begin(handle.clone(), Arc::clone(&link), seat, admitted),
            server,
            peer,
            link,
            handle,
            writer: Writer::default(),
            state: State::Open,
            engine_timer: None,
            blocked_since: None,
            reads_paused: false,
            overflow: false,
            backlog: VecDeque::new(),
            snapshots: Vec::new(),
            fetched: Vec::new(),
            batch: Vec::new(),
        }
    }

    /// What time it is, for the engine too: a machine that was suspended goes on with another civil time.
    fn now(&mut self) -> Moment {
        let now = self.server.now();
        self.peer.set_clock(clock::wall(), now);
        now
    }

    async fn run(mut self, mut stream: TcpStream, leftover: Bytes) {
        let now = self.server.now();
        self.drain(now);
        if !leftover.is_empty() {
            self.on_bytes(BytesMut::from(leftover), now);
        }
        let mut timer = Box::pin(tokio::time::sleep(FAR));
        let mut armed: Option<Moment> = None;
        loop {
            let now = self.now();
            let more = self.write(&stream, now);
            if self.state == State::Over || self.link.is_aborted() {
                return;
            }
            if self.take_shutdown() && stream.shutdown().await.is_err() {
                return;
            }
            if more {
                self.link.wake().wake();
                tokio::task::yield_now().await;
            }
            self.arm(timer.as_mut(), &mut armed);
            let interest = self.interest();
            tokio::select! {
                () = self.link.wake().wait() => {}
                ready = stream.ready(interest) => match ready {
                    Ok(ready) if ready.is_readable() || ready.is_read_closed() => self.read(&stream),
                    Ok(_) => {}
                    Err(_) => self.socket_gone(),
                },
                () = &mut timer => {
                    armed = None;
                    self.on_timer();
                }
            }
        }
    }

    /// Sets the timer when it has to fire earlier than it would; one that fires too early does no harm.
    fn arm(&self, timer: std::pin::Pin<&mut Sleep>, armed: &mut Option<Moment>) {
        let next = match self.state {
            State::Open => {
                let stalled = self.blocked_since.map(|since| since + STALLED);
                self.engine_timer.into_iter().chain(stalled).min()
            }
            State::Closing { until, .. } => Some(until),
            State::Over => None,
        };
        let Some(next) = next else { return };
        if armed.is_none_or(|at| next < at) {
            timer.reset(self.server.clock().instant(next));
            *armed = Some(next);
        }
    }

    fn interest(&self) -> Interest {
        // Readability tells of a broken socket too, so at least one of both is always asked for.
        match (self.reads_paused, self.writer.is_empty()) {
            (false, true) => Interest::READABLE,
            (false, false) => Interest::READABLE | Interest::WRITABLE,
            (true, _) => Interest::WRITABLE,
        }
    }

    fn on_timer(&mut self) {
        let now = self.now();
        match self.state {
            State::Open => {
                self.peer.handle(Input::Wake, now);
                if self.blocked_since.is_some_and(|since| now.since(since) >= STALLED) {
                    self.give_up_on_slow_reader(now);
                }
                self.drain(now);
            }
            State::Closing { until, .. } if now >= until => self.state = State::Over,
            State::Closing { .. } | State::Over => {}
        }
    }

    /// Does what the engine wants, until it waits.
    fn drain(&mut self, now: Moment) {
        loop {
            match self.peer.poll() {
                Output::Send(frame) => {
                    self.writer.push_direct(framed_message(&frame).0);
                    self.overflow |= self.writer.direct_bytes() > self.server.config().max_queue_bytes;
                }
                Output::Close(close) => self.begin_close(&close, now),
                Output::Emit(event) => self.on_event(event, now),
                Output::Wait(at) => {
                    self.engine_timer = at;
                    break;
                }
            }
        }
        if self.overflow && self.state == State::Open {
            self.give_up_on_slow_reader(now);
            self.drain(now);
        }
    }

    fn on_event(&mut self, event: Event, now: Moment) {
        match event {
            Event::Message(message) => self.batch.push(message),
            Event::Publish(message) => self.publish(&message, now),
            Event::Subscribe(request) => self.subscribe(request, now),
            Event::Recover(request) => self.recover(request, now),
            Event::Unsubscribe(request) => self.unsubscribe(request, now),
            Event::Rejected(error) => {
                self.server.counters().frames_rejected.one();
                tracing::debug!(connection = self.link.id(), code = %error.code, detail = error.detail, "frame rejected");
            }
            Event::Hello { client_version } => {
                tracing::debug!(connection = self.link.id(), client_version, "hello");
            }
            Event::Closed(close) => self.session.closed_with(close),
            _ => {}
        }
    }

    fn publish(&mut self, message: &Message, now: Moment) {
        let Some(topic) = message.topic() else { return };
        if let Err(error) = self.server.publish(topic, forwarded(message)) {
            self.peer.tell_error(error.code(), &error.to_string(), message.id(), now);
        }
    }

    fn subscribe(&mut self, mut request: SubscriptionRequest, now: Moment) {
        let mut refused: Vec<(String, Code)> = Vec::new();
        let mut fresh: BTreeSet<Arc<str>> = BTreeSet::new();
        for name in &request.topics {
            match self.server.hub().subscribe(&self.link, name, now) {
                Ok(joined) => fresh.extend(joined),
                Err(code) => refused.push((name.clone(), code)),
            }
        }
        self.resume(&mut request, fresh);
        let active = self.link.requested();
        self.peer.answer_subscription(SubscriptionAction::Subscribe, request, refused, &active, now);
    }

    /// The client found a gap: its subscriptions stay as they are.
    fn recover(&mut self, mut request: SubscriptionRequest, now: Moment) {
        self.resume(&mut request, BTreeSet::new());
        let active = self.link.requested();
        self.peer.answer_subscription(SubscriptionAction::Subscribe, request, Vec::new(), &active, now);
    }

    /// Brings the client up to date: what it missed in the topics that it knows, the state of those it joined just now.
    fn resume(&mut self, request: &mut SubscriptionRequest, fresh: BTreeSet<Arc<str>>) {
        let mut topics: BTreeSet<String> = fresh.iter().map(|name| name.to_string()).collect();
        if request.recover {
            topics.extend(request.topics.iter().cloned());
            topics.extend(request.positions.keys().cloned());
        }
        for name in topics {
            let position = request.positions.get(&name).filter(|_| request.recover);
            let Some(resumed) = self.server.hub().resume(&self.link, &name, position) else { continue };
            if position.is_some() || fresh.contains(name.as_str()) {
                self.snapshots.extend(resumed.snapshots);
            }
            if let Some(recovery) = resumed.recovery.filter(|_| request.recover) {
                request.recovery.insert(name, recovery);
            }
        }
    }

    fn unsubscribe(&mut self, request: SubscriptionRequest, now: Moment) {
        for name in &request.topics {
            self.server.hub().unsubscribe(&self.link, name);
        }
        let active = self.link.requested();
        self.peer.answer_subscription(SubscriptionAction::Unsubscribe, request, Vec::new(), &active, now);
    }

    /// The client does not read: what waits for it is dropped with the connection, and counted.
    fn give_up_on_slow_reader(&mut self, now: Moment) {
        self.server.counters().slow_consumers.one();
        tracing::warn!(connection = self.link.id(), user = %self.link.identity().user_id, "slow consumer, closing");
        self.overflow = false;
        self.blocked_since = None;
        self.writer.abandon();
        self.peer.close(Close::new(close::TRY_LATER, Code::SlowConsumer.as_str()), now);
    }

    /// Queues the close frame behind everything else.
    fn begin_close(&mut self, close: &Close, now: Moment) {
        if self.state == State::Open {
            self.writer.push_direct(frames::framed_close(close));
            self.state = State::Closing { until: now + LINGER, shut: false };
            self.reads_paused = false;
        }
    }

    /// The socket ended without a close frame.
    fn socket_gone(&mut self) {
        if self.state == State::Open {
            let now = self.server.now();
            self.peer.handle(Input::Closed(Close::abnormal()), now);
            self.drain(now);
        }
        self.state = State::Over;
    }
}
