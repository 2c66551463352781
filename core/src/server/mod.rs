//! The server end of a connection.
//!
//! ```text
//! upgrade.rs    the query of the upgrade request
//! handshake.rs  admission, server_ready, hello, key agreement
//! inbound.rs    what frames of the client mean
//! requests.rs   questions that a connection can answer by itself
//! figures.rs    questions for figures of the server
//! settings.rs   what a client may set for itself
//! vital.rs      pings, round trips, rates
//! topics.rs     questions about topics, which the server answers
//! tokens.rs     tokens for this connection and for single topics
//! rotation.rs   fresh keys in mid-session
//! rates.rs      how fast a client may send
//! outbound.rs   messages to this client alone
//! held.rs       what is in memory, and the bounds of it
//! ```

mod figures;
mod handshake;
mod held;
mod inbound;
mod outbound;
mod rates;
mod requests;
mod rotation;
mod settings;
mod tokens;
mod topics;
mod types;
mod upgrade;
mod vital;

#[cfg(test)]
mod tests;

pub use figures::{Figures, Question, QuestionKind, QueueFigures};
pub use held::Held;
pub use requests::HANDLED;
pub use topics::{PresenceQuestion, SyncQuestion};
pub use types::*;
pub use upgrade::{ParamError, UpgradeParams};
pub use vital::Traffic;

use settings::OwnSettings;
use vital::Vitals;

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use crate::{
    channel::Channel,
    client::{Outgoing, SendError},
    delivery::Batcher,
    error::{Code, close},
    io::{Close, Frame},
    rng::{Rng, Seed},
    security::{Role, RotateError, Signing},
    time::{Moment, Timers, WallClock, WallTime},
    wire::{Encoding, Message},
};

use rates::InboundRate;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Timer {
    /// The next ping.
    Ping,
    /// The earliest moment at which the client can have been silent for too long.
    Idle,
    /// The client did not change to the new key, or did not answer the wish for one.
    Rotation,
    /// Messages that were held for each other may go.
    Batch,
}

/// One accepted connection: who it is, what it may receive, and in which form.
///
/// Topic messages do not pass through it one by one: the server writes shared frames as
/// [`Peer::delivery`] says.
pub struct Peer {
    config: Arc<PeerConfig>,
    params: UpgradeParams,
    connection_id: String,
    identity: Option<Identity>,
    wall: WallClock,
    rng: Rng,
    channel: Channel,
    /// The client reads every frame kind, sealed ones of any content included.
    full_duplex: bool,
    /// The client said hello.
    hello_seen: bool,
    /// The client sent a sealed frame: it has the key, and plaintext is over.
    sealed_seen: bool,
    rejected: u32,
    /// `None`: no bound.
    inbound_rate: Option<Box<InboundRate>>,
    opened: Moment,
    last_inbound: Moment,
    reads_paused: bool,
    /// The client takes several messages in one.
    takes_batches: bool,
    batcher: Batcher,
    own: OwnSettings,
    vitals: Vitals,
    timers: Timers<Timer, 4>,
    outputs: VecDeque<Output>,
    /// Bytes of the frames among them.
    unsent: usize,
    /// Topics that the client is subscribed to by a token, beyond its list.
    by_token: BTreeSet<String>,
    /// Messages of the application, while a frame is received; the caller's list.
    arrived: Vec<Message>,
    gathers: bool,
    /// The connection is over; nothing more goes out.
    over: bool,
}

impl Peer {
    /// A peer for a WebSocket that was just opened. It sends `server_ready`, or the reason and a close.
    ///
    /// `connection_id` is the server's name for the connection, never given to another one by any server with the same
    /// signing key; `seed` comes from the operating system.
    pub fn new(
        config: Arc<PeerConfig>,
        params: UpgradeParams,
        admission: Admission,
        connection_id: String,
        seed: Seed,
        now: Moment,
        wall: WallTime,
    ) -> Self {
        let compression = config.compression.filter(|_| params.compression);
        let mut rng = Rng::new(seed);
        let signing = config.signing.clone().map(|config| Signing::new(config, Role::Server, &mut rng));
        let mut channel = Channel::new(params.encoding, compression, signing);
        channel.bind_signatures(&connection_id);
        let inbound_rate = config.inbound_rate.map(|limit| Box::new(InboundRate::new(limit, now)));
        let own = OwnSettings { batch: config.batch, queue_messages: config.queue_messages };
        let mut peer = Self {
            channel,
            config,
            params,
            connection_id,
            identity: None,
            wall: WallClock::new(wall, now),
            rng,
            full_duplex: false,
            hello_seen: false,
            sealed_seen: false,
            rejected: 0,
            inbound_rate,
            opened: now,
            last_inbound: now,
            reads_paused: false,
            takes_batches: false,
            batcher: Batcher::new(own.batch),
            own,
            vitals: Vitals::new(now),
            timers: Timers::new([Timer::Ping, Timer::Idle, Timer::Rotation, Timer::Batch]),
            outputs: VecDeque::new(),
            unsent: 0,
            by_token: BTreeSet::new(),
            arrived: Vec::new(),
            gathers: false,
            over: false,
        };
        match admission {
            Admission::Granted(identity) => peer.welcome(identity, now),
            Admission::Denied { code, message } => peer.turn_away(code, &message, now),
        }
        peer
    }

    /// Hands in a frame like [`Peer::handle`], but puts messages of the application at the end of `messages`, without the
    /// way through [`Peer::poll`]: it is the path of nearly all that comes.
    pub fn receive(&mut self, frame: Frame, messages: &mut Vec<Message>, now: Moment) {
        if self.over {
            return;
        }
        std::mem::swap(&mut self.arrived, messages);
        self.gathers = true;
        self.on_frame(frame, now);
        self.gathers = false;
        std::mem::swap(&mut self.arrived, messages);
        self.fire_timers(now);
    }

    /// Hands in what came from the socket.
    pub fn handle(&mut self, input: Input, now: Moment) {
        if self.over {
            return;
        }
        match input {
            Input::Frame(frame) => self.on_frame(frame, now),
            Input::Closed(close) => self.finish(close),
            Input::ReadsPaused(paused) => {
                self.reads_paused = paused;
                self.last_inbound = now;
            }
            Input::Alive => {
                self.last_inbound = now;
                self.count_frame(now);
            }
            Input::Wake => {}
        }
        self.fire_timers(now);
    }

    /// Tells what the host's civil clock shows: stamps, signatures and tokens depend on it. A driver calls it before what
    /// it hands in. What differs by less than a second from what is known changes nothing.
    pub fn set_clock(&mut self, wall: WallTime, now: Moment) {
        self.wall.set(wall, now);
    }

    /// The next thing to do. Call until it answers [`Output::Wait`].
    pub fn poll(&mut self) -> Output {
        match self.outputs.pop_front() {
            None => Output::Wait(self.timers.next()),
            Some(output) => {
                if let Output::Send(frame) = &output {
                    self.unsent -= frame.len();
                }
                output
            }
        }
    }

    /// Bytes that [`Peer::poll`] has still to give: a frame of the client may hold many questions, each with a long answer.
    pub const fn unsent(&self) -> usize {
        self.unsent
    }

    /// Takes back what [`Peer::poll`] has still to send. What is sealed must follow what was sealed before, so the connection
    /// has to be closed.
    pub fn abandon(&mut self) {
        self.outputs.retain(|output| !matches!(output, Output::Send(_)));
        self.unsent = 0;
    }

    /// Whether the connection is over, or about to be: nothing more is answered.
    pub const fn is_over(&self) -> bool {
        self.over
    }

    /// Sends one message to this client alone, and gives its id.
    ///
    /// # Errors
    /// [`SendError`]; nothing was sent then.
    pub fn send(&mut self, message: &Outgoing, now: Moment) -> Result<String, SendError> {
        self.send_message(message, now)
    }

    /// How many of the messages that wait for this client, of these sizes in bytes and in their order, go next; to be
    /// handed to [`Peer::send_together`]. 0: they wait for each other until the moment that [`Output::Wait`] names.
    /// `urgent` says that the first must not be held. Source: PROTOCOL.md §7.4.
    pub fn next_frame(&mut self, sizes: impl IntoIterator<Item = usize>, urgent: bool, now: Moment) -> usize {
        self.count_next_frame(sizes, urgent, now)
    }

    /// Sends messages to this client alone, in one frame if it takes that. Gives those that could not be sent, by their
    /// index, with the reason.
    pub fn send_together(&mut self, messages: &[Outgoing], now: Moment) -> Vec<(usize, SendError)> {
        self.send_messages(messages, now)
    }

    /// Seals one shared frame (its payload bytes, markers included) for an encrypted connection. Frames must go out in the
    /// order in which they were sealed: write what [`Peer::poll`] still has first.
    ///
    /// # Errors
    /// When there is no key, or its nonces are used up; the connection must be closed then.
    pub fn seal(&mut self, frame: &[u8]) -> Result<Frame, Code> {
        self.channel.seal(frame).map(Frame::Binary)
    }

    /// Renews the keys of an encrypted connection; messages go on meanwhile, and none is lost.
    /// [`Event::KeysRotated`] follows.
    ///
    /// # Errors
    /// [`RotateError`]; nothing changed then.
    pub fn rotate_keys(&mut self, now: Moment) -> Result<(), RotateError> {
        self.start_rotation(now)
    }

    /// How shared frames must look for this connection.
    pub const fn delivery(&self) -> Delivery {
        let encrypted = self.channel.is_encrypted();
        let plain_only = self.reads_plain_only();
        Delivery {
            encoding: if plain_only { Encoding::Binary } else { self.channel.encoding },
            compression: self.channel.compression.is_some() && !plain_only,
            encrypted,
        }
    }

    /// Published clients read only plain JSON inside a sealed frame.
    const fn reads_plain_only(&self) -> bool {
        self.channel.is_encrypted() && !self.full_duplex
    }

    /// Whether application and topic messages must wait: the client announced encryption, and its hello, which
    /// brings the key, has not come yet.
    pub fn must_hold_messages(&self) -> bool {
        self.params.encryption && self.config.encryption && !self.hello_seen
    }

    /// Who is on the other end; `None` when it was not let in.
    pub const fn identity(&self) -> Option<&Identity> {
        self.identity.as_ref()
    }

    /// The server's name for this connection.
    pub fn connection_id(&self) -> &str {
        &self.connection_id
    }

    /// Closes: what was sent before goes out first.
    pub fn close(&mut self, close: Close, _now: Moment) {
        if !self.over {
            self.finish(close.clone());
            self.outputs.push_back(Output::Close(close));
        }
    }

    /// Sends the client away because the server is going to stop: it is told to come back not before `retry_after`,
    /// spread over `window`, and the connection closes with 4300.
    pub fn drain(&mut self, retry_after: Duration, window: Duration, now: Moment) {
        if !self.over {
            self.tell_draining(retry_after, window, now);
            self.close(Close::new(close::DRAINING, "draining"), now);
        }
    }

    fn finish(&mut self, close: Close) {
        self.over = true;
        self.timers.clear_all();
        self.outputs.push_back(Output::Emit(Event::Closed(close)));
    }

    fn fire_timers(&mut self, now: Moment) {
        while let Some(timer) = self.timers.expired(now) {
            match timer {
                Timer::Ping => self.beat(now),
                Timer::Idle => self.check_idle(now),
                Timer::Rotation => self.on_rotation_overdue(now),
                // What is held goes when the driver asks for it.
                Timer::Batch => {}
            }
        }
    }

    /// The deadline is not moved with every frame: when it comes, it is compared with the last frame.
    fn check_idle(&mut self, now: Moment) {
        let limit = self.config.idle_timeout;
        if self.reads_paused {
            self.last_inbound = now;
        }
        if now.since(self.last_inbound) >= limit {
            self.close(Close::new(close::GOING_AWAY, "idle timeout"), now);
        } else {
            self.timers.set(Timer::Idle, self.last_inbound + limit);
        }
    }
}
