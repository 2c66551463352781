//! One client and what its application knows: the model that it is held against.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use wse_client_core::{
    client::{Client, ConnectionState, RequestId},
    io::{Frame, SocketId},
    time::Moment,
    topic,
};

use crate::{civil::Civil, declared::Declared, history::Stamp, ledger::Ledger, world::Delivery};

/// Where a client stands in a recoverable topic, as its application was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Track {
    pub(crate) at: Stamp,
    /// The application was told that this epoch is over.
    pub(crate) over: bool,
}

/// A socket that is no more, with some of what came on it: for callbacks that are late.
#[derive(Debug)]
pub(crate) struct Ghost {
    pub(crate) socket: SocketId,
    pub(crate) frames: Vec<Frame>,
}

/// See the module documentation.
pub(crate) struct Tab {
    pub(crate) client: Client,
    /// How far its clock is ahead of the world's, in milliseconds.
    pub(crate) skew: u64,
    pub(crate) civil: Civil,
    pub(crate) frozen: bool,
    pub(crate) reads_paused: bool,
    /// What came while it did not look.
    pub(crate) inbox: VecDeque<(SocketId, Delivery)>,
    /// Sockets that the driver holds open.
    pub(crate) live: BTreeSet<SocketId>,
    pub(crate) ghosts: VecDeque<Ghost>,
    /// When the client wants to be woken, on the world's clock.
    pub(crate) deadline: Option<Moment>,
    pub(crate) state: ConnectionState,
    pub(crate) has_provider: bool,
    /// The token of the application: its number.
    pub(crate) token: u64,
    /// The lowest number that servers take.
    pub(crate) required: u64,
    /// What the application wants to hear.
    pub(crate) wanted: BTreeSet<String>,
    /// Requests that have not ended.
    pub(crate) requests: BTreeSet<RequestId>,
    pub(crate) tracks: BTreeMap<String, Track>,
    /// What servers said to be lost.
    pub(crate) declared: Declared,
    /// Publications heard, of topics without history.
    pub(crate) heard_plain: BTreeSet<u64>,
    /// The number of the last message that a server sent to this client alone.
    pub(crate) last_direct: u64,
    pub(crate) ledger: Ledger,
    /// The last socket that opened: messages come from it, and none from an older one.
    pub(crate) hearing: Option<SocketId>,
    /// The last socket that was written to.
    pub(crate) wrote_to: Option<SocketId>,
    /// The application is about to close: what waits may be dropped for it.
    pub(crate) closing: bool,
    /// The rules allow it to have given up: it was turned away for good, or its retries are limited.
    pub(crate) may_fail: bool,
}

impl Tab {
    pub(crate) fn new(client: Client, civil: Civil, has_provider: bool, may_fail: bool) -> Self {
        Self {
            wanted: client.topics().iter().cloned().collect(),
            state: client.state(),
            client,
            skew: 0,
            civil,
            frozen: false,
            reads_paused: false,
            inbox: VecDeque::new(),
            live: BTreeSet::new(),
            ghosts: VecDeque::new(),
            deadline: None,
            has_provider,
            token: 1,
            required: 1,
            requests: BTreeSet::new(),
            tracks: BTreeMap::new(),
            declared: Declared::default(),
            heard_plain: BTreeSet::new(),
            last_direct: 0,
            ledger: Ledger::default(),
            hearing: None,
            wrote_to: None,
            closing: false,
            may_fail,
        }
    }

    /// Whether the application wants a topic, by name or by a pattern.
    pub(crate) fn wants(&self, name: &str) -> bool {
        self.wanted.iter().any(|wanted| topic::matches(wanted, name))
    }

    /// The world's moment on this client's clock.
    pub(crate) fn local(&self, now: Moment) -> Moment {
        Moment::from_millis(now.as_millis() + self.skew)
    }

    /// What a driver does before all that it hands in: it tells the client what the host's civil clock shows. Gives the
    /// moment on the client's clock.
    pub(crate) fn told(&mut self, now: Moment) -> Moment {
        let local = self.local(now);
        self.client.set_clock(self.civil.at(now), local);
        local
    }

    /// Whether a late or ordinary callback waits until the application looks again.
    pub(crate) fn holds(&self, delivery: &Delivery) -> bool {
        self.frozen || (self.reads_paused && matches!(delivery, Delivery::Frame(_) | Delivery::Closed(_)))
    }

    pub(crate) fn is_off(&self) -> bool {
        matches!(self.state, ConnectionState::Idle | ConnectionState::Closed | ConnectionState::Failed)
    }
}

/// The text of a token.
pub(crate) fn token_text(tab: usize, number: u64) -> String {
    format!("token-{tab}-{number}")
}

/// The number in the text of a token.
pub(crate) fn token_number(text: &str) -> Option<u64> {
    text.rsplit('-').next()?.parse().ok()
}
