//! The life of a connection: every stage it can be in, every way from one to another, and what bounds each wait.
//! Source: PROTOCOL.md §8.
//!
//! [`TABLE`] is the only list of transitions. The client changes its stage in one function, which looks the
//! change up here; `core/tests/lifecycle/main.rs` explores the client until no new situation comes up and checks that
//! the table is complete, has no dead rows and no trap; `docs/lifecycle.md` is drawn from it.

use crate::{error::Code, io::SocketId, time::Moment};

use super::{Client, ConnectionState, Event, RequestId, Timer, connect::Link};

/// Where a connection stands, finer than [`ConnectionState`]: one stage for each thing that can be waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// `connect()` was not called yet.
    Idle,
    /// The application was asked for a token.
    FetchingToken,
    /// A socket is being opened.
    Opening,
    /// The socket is open, the server is not ready yet.
    Greeting,
    /// Messages flow.
    Ready,
    /// The next attempt is on the clock.
    Waiting,
    /// Given up for a reason that time will not heal.
    Failed,
    /// The application called `close()`.
    Closed,
}

impl Stage {
    /// Every stage.
    pub const ALL: [Self; 8] = [
        Self::Idle,
        Self::FetchingToken,
        Self::Opening,
        Self::Greeting,
        Self::Ready,
        Self::Waiting,
        Self::Failed,
        Self::Closed,
    ];

    /// What the application sees of this stage, when it saw `before` until now: an attempt is `connecting`
    /// until the first failure or loss, and `reconnecting` from there on. So is one that waits for the network.
    pub const fn state(self, before: ConnectionState) -> ConnectionState {
        match self {
            Self::Idle => ConnectionState::Idle,
            Self::Waiting => match before {
                ConnectionState::Connecting | ConnectionState::Connected | ConnectionState::Reconnecting => {
                    ConnectionState::Reconnecting
                }
                ConnectionState::Idle | ConnectionState::Failed | ConnectionState::Closed => {
                    ConnectionState::Connecting
                }
            },
            Self::FetchingToken | Self::Opening | Self::Greeting => match before {
                ConnectionState::Connected | ConnectionState::Reconnecting => ConnectionState::Reconnecting,
                ConnectionState::Idle
                | ConnectionState::Connecting
                | ConnectionState::Failed
                | ConnectionState::Closed => ConnectionState::Connecting,
            },
            Self::Ready => ConnectionState::Connected,
            Self::Failed => ConnectionState::Failed,
            Self::Closed => ConnectionState::Closed,
        }
    }

    /// What ends the wait in this stage when nobody answers.
    pub const fn bound(self) -> Bound {
        match self {
            Self::Idle | Self::Failed | Self::Closed => Bound::Application,
            Self::FetchingToken | Self::Opening => Bound::Dial,
            Self::Greeting => Bound::Ready,
            Self::Ready => Bound::Heartbeat,
            Self::Waiting => Bound::Retry,
        }
    }
}

/// What ends a wait when nobody answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Bound {
    /// Nothing: the client rests until the application calls `connect()`.
    Application,
    /// `timeouts.connect` for the token, and again for the socket.
    Dial,
    /// `timeouts.ready`.
    Ready,
    /// `heartbeat.interval` until the next ping, then `heartbeat.timeout` for any sign of life.
    Heartbeat,
    /// The pause before the next attempt.
    Retry,
}

impl Bound {
    /// The timer that must be armed.
    const fn timer(self) -> Option<Timer> {
        match self {
            Self::Application => None,
            Self::Dial => Some(Timer::Dial),
            Self::Ready => Some(Timer::Ready),
            // The next ping is on the clock also while an answer is awaited.
            Self::Heartbeat => Some(Timer::Ping),
            Self::Retry => Some(Timer::Retry),
        }
    }
}

/// Why a connection goes from one stage to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cause {
    /// The application called `connect()`, or set a token after a failure for want of one.
    Connect,
    /// The application called `reconnect()`, or set a token while the next attempt was on the clock.
    Reconnect,
    /// The application called `close()`.
    Close,
    /// The pause is over, or was none.
    PauseOver,
    /// The application answered with a token, or with none.
    TokenGiven,
    /// The application has no answer to the question for a token.
    TokenFailed,
    /// The WebSocket handshake succeeded.
    Opened,
    /// The server said that it is ready, and nothing is missing.
    Greeted,
    /// The server answers but does not say that it is ready: an old one, taken as it is.
    GraceOver,
    /// The socket could not be opened, or broke.
    SocketFailed,
    /// The socket was closed with a code after which coming back makes sense.
    SocketClosed,
    /// The socket was closed with a code that forbids coming back: 4403.
    Refused,
    /// The client ends the connection because it must not go on: no key, plaintext after a key, a key used up.
    Dropped,
    /// Nobody answered within the bound of the stage.
    TimedOut,
    /// One more failure, and the configured number of retries is used up.
    RetriesExhausted,
}

/// One way from a stage to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Transition {
    /// The stage before.
    pub from: Stage,
    /// Why it ends.
    pub cause: Cause,
    /// The stage after.
    pub to: Stage,
}

impl Transition {
    /// What bounds the wait in the stage that is entered.
    pub const fn bound(self) -> Bound {
        self.to.bound()
    }
}

const fn row(from: Stage, cause: Cause, to: Stage) -> Transition {
    Transition { from, cause, to }
}

const ROWS: usize = 47;

/// Every transition there is.
pub const TABLE: [Transition; ROWS] = {
    use {Cause as C, Stage as S};
    [
        row(S::Idle, C::Connect, S::FetchingToken),
        row(S::Idle, C::Connect, S::Opening),
        // The host is offline.
        row(S::Idle, C::Connect, S::Waiting),
        row(S::Idle, C::Close, S::Closed),
        row(S::FetchingToken, C::TokenGiven, S::Opening),
        row(S::FetchingToken, C::TokenFailed, S::Waiting),
        row(S::FetchingToken, C::TimedOut, S::Waiting),
        row(S::FetchingToken, C::RetriesExhausted, S::Failed),
        row(S::FetchingToken, C::Reconnect, S::Waiting),
        row(S::FetchingToken, C::Close, S::Closed),
        row(S::Opening, C::Opened, S::Greeting),
        row(S::Opening, C::SocketFailed, S::Waiting),
        row(S::Opening, C::SocketClosed, S::Waiting),
        row(S::Opening, C::TimedOut, S::Waiting),
        row(S::Opening, C::RetriesExhausted, S::Failed),
        row(S::Opening, C::Refused, S::Failed),
        row(S::Opening, C::Reconnect, S::Waiting),
        row(S::Opening, C::Close, S::Closed),
        row(S::Greeting, C::Greeted, S::Ready),
        row(S::Greeting, C::GraceOver, S::Ready),
        row(S::Greeting, C::SocketFailed, S::Waiting),
        row(S::Greeting, C::SocketClosed, S::Waiting),
        row(S::Greeting, C::Dropped, S::Waiting),
        row(S::Greeting, C::TimedOut, S::Waiting),
        row(S::Greeting, C::RetriesExhausted, S::Failed),
        row(S::Greeting, C::Refused, S::Failed),
        row(S::Greeting, C::Reconnect, S::Waiting),
        row(S::Greeting, C::Close, S::Closed),
        row(S::Ready, C::SocketFailed, S::Waiting),
        row(S::Ready, C::SocketClosed, S::Waiting),
        row(S::Ready, C::Dropped, S::Waiting),
        row(S::Ready, C::TimedOut, S::Waiting),
        row(S::Ready, C::RetriesExhausted, S::Failed),
        row(S::Ready, C::Refused, S::Failed),
        row(S::Ready, C::Reconnect, S::Waiting),
        row(S::Ready, C::Close, S::Closed),
        row(S::Waiting, C::PauseOver, S::FetchingToken),
        row(S::Waiting, C::PauseOver, S::Opening),
        // A pause of no length follows: the next attempt starts in the same call.
        row(S::Waiting, C::Reconnect, S::Waiting),
        row(S::Waiting, C::Close, S::Closed),
        row(S::Failed, C::Connect, S::FetchingToken),
        row(S::Failed, C::Connect, S::Opening),
        row(S::Failed, C::Connect, S::Waiting),
        row(S::Failed, C::Close, S::Closed),
        row(S::Closed, C::Connect, S::FetchingToken),
        row(S::Closed, C::Connect, S::Opening),
        row(S::Closed, C::Connect, S::Waiting),
    ]
};

/// What is going on, with the data that exists only then.
#[derive(Debug, Clone, Copy)]
pub(super) enum Phase {
    /// Nothing; `connect()` starts anew.
    Resting(Rest),
    /// The application was asked for a token.
    FetchingToken { request: RequestId },
    /// A socket is being opened.
    Opening { socket: SocketId },
    /// The socket is open, the server is not ready yet.
    Greeting,
    /// Messages flow.
    Ready { since: Moment },
    /// The next attempt is on the clock.
    Waiting,
}

/// Why nothing is going on.
#[derive(Debug, Clone, Copy)]
pub(super) enum Rest {
    Idle,
    Failed,
    Closed,
}

impl Phase {
    pub(super) const fn stage(self) -> Stage {
        match self {
            Self::Resting(Rest::Idle) => Stage::Idle,
            Self::Resting(Rest::Failed) => Stage::Failed,
            Self::Resting(Rest::Closed) => Stage::Closed,
            Self::FetchingToken { .. } => Stage::FetchingToken,
            Self::Opening { .. } => Stage::Opening,
            Self::Greeting => Stage::Greeting,
            Self::Ready { .. } => Stage::Ready,
            Self::Waiting => Stage::Waiting,
        }
    }
}

impl Cause {
    /// Why the client itself ended a connection, by the code it gave for that.
    pub(super) const fn of_drop(code: Code) -> Self {
        match code {
            Code::Timeout | Code::PeerSilent => Self::TimedOut,
            _ => Self::Dropped,
        }
    }
}

/// The phase and the state. Nothing outside this file can change either but by [`Client::enter`].
pub(super) struct Lifecycle {
    phase: Phase,
    state: ConnectionState,
    /// How often each row of the table was taken.
    taken: [u32; ROWS],
    /// Changes that the table does not list. Always zero, or the table is wrong.
    unlisted: u32,
}

impl Lifecycle {
    pub(super) const fn new() -> Self {
        Self { phase: Phase::Resting(Rest::Idle), state: ConnectionState::Idle, taken: [0; ROWS], unlisted: 0 }
    }

    pub(super) const fn phase(&self) -> Phase {
        self.phase
    }

    pub(super) const fn state(&self) -> ConnectionState {
        self.state
    }

    fn count(&mut self, transition: Transition) {
        let row = TABLE.iter().position(|row| *row == transition);
        debug_assert!(row.is_some(), "{transition:?} is not in the table of the lifecycle");
        let counter = match row {
            Some(row) => &mut self.taken[row],
            // A release build goes on: an unlisted way is better than a dead client.
            None => &mut self.unlisted,
        };
        *counter = counter.saturating_add(1);
    }
}

/// What a checker of the lifecycle wants to know of a client.
#[doc(hidden)]
#[derive(Debug, Clone)]
pub struct Fingerprint {
    /// How often each row of [`TABLE`] was taken.
    pub taken: [u32; ROWS],
    /// Changes that [`TABLE`] does not list.
    pub unlisted: u32,
    /// Deadlines, earliest first.
    pub deadlines: Vec<(String, Moment)>,
    /// Whether a timer that bounds the present stage is armed.
    pub bounded: bool,
    /// Consecutive failures.
    pub failures: u32,
    /// Everything else that decides what comes next, without moments and names.
    pub flags: String,
}

impl Client {
    /// Where the connection stands, finer than [`Client::state`].
    pub const fn stage(&self) -> Stage {
        self.lifecycle.phase().stage()
    }

    pub(super) const fn phase(&self) -> Phase {
        self.lifecycle.phase()
    }

    /// The one place where phase and state change.
    pub(super) fn enter(&mut self, phase: Phase, cause: Cause) {
        let transition = Transition { from: self.stage(), cause, to: phase.stage() };
        self.lifecycle.count(transition);
        self.lifecycle.phase = phase;
        let from = self.lifecycle.state;
        let to = transition.to.state(from);
        self.lifecycle.state = to;
        if from != to {
            self.emit(Event::StateChanged { from, to });
        }
    }

    #[doc(hidden)]
    pub fn fingerprint(&self) -> Fingerprint {
        let mut deadlines: Vec<_> = self.timers.armed().collect();
        deadlines.sort_by_key(|(_, at)| *at);
        let bound = self.stage().bound().timer();
        Fingerprint {
            taken: self.lifecycle.taken,
            unlisted: self.lifecycle.unlisted,
            bounded: bound.is_none_or(|bound| deadlines.iter().any(|(timer, _)| *timer == bound)),
            deadlines: deadlines.into_iter().map(|(timer, at)| (format!("{timer:?}"), at)).collect(),
            failures: self.backoff.failures(),
            flags: self.flags(),
        }
    }

    fn flags(&self) -> String {
        let link = self.link.as_ref().map(Link::flags);
        let for_token = !self.is_ready() && self.wants_token;
        let cut_off = (self.offline_since.is_some(), self.asleep_since.is_some());
        let named = matches!(self.phase(), Phase::Waiting) && self.retry_is_named;
        let (life, paused) = (self.awaiting_life, self.reads_paused);
        format!("{link:?} token={for_token} cut={cut_off:?} life={life} paused={paused} named={named}")
    }
}
