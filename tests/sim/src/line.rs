//! One connection: the server's end of it, and what the network does to it.

use std::collections::{BTreeMap, BTreeSet};

use wse_client_core::{
    error::Code,
    io::{Frame, SocketId},
    rng::Seed,
    server::{self, Admission, Identity, Peer, UpgradeParams},
    time::Moment,
    topic::{self, Acl},
};

use std::time::Duration;

use crate::{
    history::Stamp,
    invariants::{self, Invariant},
    ledger::Carried,
    plan::{DENIED, Dialect},
    tab::{Ghost, token_number},
    world::{Delivery, Due, World},
};

/// A direction of a connection.
pub(crate) const UP: usize = 0;
/// The other one.
pub(crate) const DOWN: usize = 1;

/// Time on the wire when nothing is wrong.
const LATENCY: Duration = Duration::from_millis(5);

/// Frames kept for late callbacks.
const KEPT: usize = 4;

/// Names a connection: the client, and its attempt.
pub(crate) type LineId = (usize, SocketId);

/// See the module documentation.
pub(crate) struct Line {
    pub(crate) host: usize,
    pub(crate) peer: Peer,
    /// The server's end is open.
    pub(crate) open: bool,
    pub(crate) topics: BTreeSet<String>,
    pub(crate) deadline: Option<Moment>,
    /// The position from which each topic is served on this connection; `None` once it was given up on it, as from
    /// then on answers to an older and a newer request can be under way together.
    pub(crate) baselines: BTreeMap<String, Option<Stamp>>,
    /// A direction that lost something: nothing gets through any more, as TCP never goes on after a gap.
    pub(crate) dead: [bool; 2],
    /// A frame of this direction was lost with the connection.
    pub(crate) broken: [bool; 2],
    /// Messages by direction: those of applications, and those of servers to this client alone.
    pub(crate) carried: [Carried; 2],
    /// Publications of topics without history that set out on it.
    pub(crate) plain: Vec<u64>,
    /// The last one that was heard, by topic.
    pub(crate) last_plain: BTreeMap<String, u64>,
    /// The number of the last message heard of each priority.
    pub(crate) last_of: [u64; 5],
    pub(crate) delay: Duration,
    /// Frames never overtake each other.
    last_arrival: [Moment; 2],
    /// A frame of this direction may be refused: it was forged, damaged or came a second time.
    pub(crate) spoilt: [bool; 2],
    /// Something on it was forged or damaged: it will be cut.
    pub(crate) tainted: bool,
    /// The next frame in this direction is damaged.
    pub(crate) damage: Option<usize>,
    /// The next publication of this topic is not sent on this connection.
    pub(crate) skips: Option<String>,
    /// The next question about a gap is refused as one too many.
    pub(crate) refuses_question: bool,
    /// A direction has carried a sealed frame.
    pub(crate) sealed: [bool; 2],
    /// Nonces of both directions, which share one key.
    pub(crate) nonces: BTreeSet<Vec<u8>>,
    /// The last frames that went to the client.
    pub(crate) recent: Vec<Frame>,
}

impl World {
    pub(crate) fn open(&mut self, tab: usize, socket: SocketId, url: &str, token: Option<String>) {
        let query = url.split_once('?').map_or("", |(_, query)| query);
        let params = UpgradeParams::parse(query).expect("the client writes a valid query");
        let token = token.or_else(|| params.token.as_ref().map(|token| token.expose().to_owned()));
        let number = token.as_deref().and_then(token_number);
        invariants::token_is_the_last(self, tab, number);
        let host = url.as_bytes().get(6).map_or(0, |digit| usize::from(digit - b'0'));
        if self.hosts[host].black_hole {
            return;
        }
        // Some dials take longer than the client waits: they open when the next one is under way already.
        let slow = !self.calm && self.dice.chance(8);
        let at = self.now + if slow { self.dice.millis(1_000, 25_000) } else { LATENCY };
        if self.hosts[host].down {
            return self.schedule(at, Due::ToTab(tab, socket, Delivery::Refused(None)));
        }
        let valid = number.is_some_and(|number| number >= self.tabs[tab].required);
        if !valid && self.dice.chance(30) {
            return self.schedule(at, Due::ToTab(tab, socket, Delivery::Refused(Some(401))));
        }
        let admission = if !valid {
            Admission::Denied { code: Code::AuthFailed, message: "authentication failed".into() }
        } else if self.hosts[host].full {
            Admission::Denied { code: Code::ServerFull, message: "full".into() }
        } else {
            let subscribe = Acl { allow: Vec::new(), deny: vec![DENIED.into()] };
            Admission::Granted(Identity { user_id: format!("user-{tab}"), subscribe, publish: Acl::default() })
        };
        let seed = Seed::from_u64((self.plan.seed << 20) ^ (tab as u64) << 12 ^ socket.0 ^ 1 << 60);
        let wall = self.clocks[host].at(self.now);
        let name = format!("{tab}-{}", socket.0);
        let peer = Peer::new(self.peer_configs[host].clone(), params, admission, name, seed, self.now, wall);
        let line = Line::new(host, peer, at);
        self.lines.insert((tab, socket), line);
        self.schedule(at, Due::ToTab(tab, socket, Delivery::Opened));
        self.drain_peer((tab, socket));
    }

    /// A frame of the client sets out.
    pub(crate) fn send_up(&mut self, id: LineId, frame: Frame) {
        self.note_frame(id, UP, &frame);
        invariants::frame_on_the_wire(self, id, UP, &frame);
        let frame = self.as_announced(id, frame);
        self.tabs[id.0].wrote_to = Some(id.1);
        let now = self.now;
        let Some(line) = self.lines.get_mut(&id) else { return };
        if !line.open || line.dead[UP] {
            line.broken[UP] = true;
            return;
        }
        let (at, frame) = (line.arrival(UP, now), line.damaged(UP, frame));
        self.schedule(at, Due::ToPeer(id.0, id.1, frame));
    }

    /// A frame of the server sets out.
    pub(crate) fn send_down(&mut self, id: LineId, frame: Frame) {
        self.note_frame(id, DOWN, &frame);
        invariants::frame_on_the_wire(self, id, DOWN, &frame);
        let frame = self.as_announced(id, frame);
        let now = self.now;
        let Some(line) = self.lines.get_mut(&id) else { return };
        if line.recent.len() == KEPT {
            line.recent.remove(0);
        }
        line.recent.push(frame.clone());
        if line.dead[DOWN] {
            line.broken[DOWN] = true;
            return;
        }
        let (at, frame) = (line.arrival(DOWN, now), line.damaged(DOWN, frame));
        self.schedule(at, Due::ToTab(id.0, id.1, Delivery::Frame(frame)));
    }

    /// A greeting without the features that this server's dialect does not have, so that each end takes the other for
    /// one that speaks it.
    fn as_announced(&self, id: LineId, frame: Frame) -> Frame {
        let Some(dialect) = self.lines.get(&id).map(|line| self.plan.dialects[line.host]) else { return frame };
        let Frame::Text(bytes) = &frame else { return frame };
        let is_greeting = [b"client_hello".as_slice(), b"server_hello", b"server_ready"];
        let starts = |kind: &&[u8]| bytes.get(9..9 + kind.len()) == Some(kind);
        if dialect.hides().is_empty() || !bytes.starts_with(b"WSE{") || !is_greeting.iter().any(starts) {
            return frame;
        }
        let mut text = String::from_utf8_lossy(bytes).into_owned();
        for feature in dialect.hides() {
            text = text.replace(feature, &feature.replace("true", "false"));
        }
        if dialect == Dialect::Published1 && bytes.get(9..21) == Some(b"client_hello") {
            let version = format!("\"client_version\":\"{}\"", wse_client_core::VERSION);
            text = text.replace(&version, "\"client_version\":\"1.4.2\"");
        }
        Frame::Text(text.into_bytes().into())
    }

    pub(crate) fn reach_peer(&mut self, id: LineId, frame: Frame) {
        match self.lines.get_mut(&id) {
            Some(line) if !line.open => line.broken[UP] = true,
            _ => self.peer_input(id, server::Input::Frame(frame)),
        }
    }

    /// The client closed: the server learns of it after all that was sent before.
    pub(crate) fn close_up(&mut self, id: LineId) {
        let now = self.now;
        if let Some(line) = self.lines.get_mut(&id).filter(|line| !line.dead[UP]) {
            let at = line.arrival(UP, now);
            self.schedule(at, Due::PeerClosed(id.0, id.1));
        }
    }

    pub(crate) fn close_down(&mut self, id: LineId, close: wse_client_core::io::Close) {
        let now = self.now;
        if let Some(line) = self.lines.get_mut(&id).filter(|line| !line.dead[DOWN]) {
            let at = line.arrival(DOWN, now);
            self.schedule(at, Due::ToTab(id.0, id.1, Delivery::Closed(close)));
        }
    }

    /// Cuts a connection: what was on its way is lost, and both ends learn of it at once.
    pub(crate) fn cut(&mut self, id: LineId) {
        let Some(line) = self.lines.get_mut(&id).filter(|line| line.open) else { return };
        line.dead = [true; 2];
        let on_this = |due: &Due| match due {
            Due::ToPeer(tab, socket, _) if (*tab, *socket) == id => Some(UP),
            Due::ToTab(tab, socket, Delivery::Frame(_) | Delivery::Closed(_)) if (*tab, *socket) == id => Some(DOWN),
            _ => None,
        };
        let (broken, now) = (&mut line.broken, self.now);
        self.due.retain(|_, due| {
            let lost = on_this(due);
            if let Some(direction) = lost {
                broken[direction] = true;
            }
            lost.is_none()
        });
        self.trace.note(now, format_args!("-- cut {}/{}", id.0, id.1.0));
        self.peer_input(id, server::Input::Closed(wse_client_core::io::Close::abnormal()));
        let close = Delivery::Closed(wse_client_core::io::Close::abnormal());
        self.schedule(now, Due::ToTab(id.0, id.1, close));
    }

    /// The server's end is over: the connection becomes a ghost.
    pub(crate) fn retire(&mut self, id: LineId) {
        let Some(line) = self.lines.get_mut(&id) else { return };
        line.open = false;
        let ghost = Ghost { socket: id.1, frames: line.recent.clone() };
        let ghosts = &mut self.tabs[id.0].ghosts;
        ghosts.push_back(ghost);
        if ghosts.len() > KEPT {
            ghosts.pop_front();
        }
    }

    fn note_frame(&mut self, id: LineId, direction: usize, frame: &Frame) {
        if self.trace.is_on() {
            let arrow = if direction == UP { '>' } else { '<' };
            let bytes = frame.bytes();
            let shown = if bytes.starts_with(b"E:") {
                format!("E: {} bytes", bytes.len())
            } else {
                String::from_utf8_lossy(&bytes[..bytes.len().min(400)]).into_owned()
            };
            self.trace.note(self.now, format_args!("{arrow}  {}/{} {shown}", id.0, id.1.0));
        }
    }

    pub(crate) fn fail_line(&mut self, id: LineId, invariant: Invariant, detail: &str) {
        self.fail(invariant, format!("client {} socket {}: {detail}", id.0, id.1.0));
    }
}

impl Line {
    fn new(host: usize, peer: Peer, opened: Moment) -> Self {
        Self {
            host,
            peer,
            open: true,
            topics: BTreeSet::new(),
            deadline: None,
            baselines: BTreeMap::new(),
            dead: [false; 2],
            broken: [false; 2],
            carried: [Carried::default(); 2],
            plain: Vec::new(),
            last_plain: BTreeMap::new(),
            last_of: [0; 5],
            delay: Duration::ZERO,
            last_arrival: [opened; 2],
            spoilt: [false; 2],
            tainted: false,
            damage: None,
            skips: None,
            refuses_question: false,
            sealed: [false; 2],
            nonces: BTreeSet::new(),
            recent: Vec::new(),
        }
    }

    /// Whether publications of a topic go out on it.
    pub(crate) fn listens(&self, name: &str) -> bool {
        self.topics.iter().any(|pattern| topic::matches(pattern, name))
    }

    fn arrival(&mut self, direction: usize, now: Moment) -> Moment {
        let at = (now + LATENCY + self.delay).max(self.last_arrival[direction]);
        self.last_arrival[direction] = at;
        at
    }

    /// The frame as the network delivers it. Sealed ones have a bit turned and must not open; of others one byte
    /// becomes one that no text has, so that they are refused for what they are and not for what they say.
    fn damaged(&mut self, direction: usize, frame: Frame) -> Frame {
        if self.damage != Some(direction) {
            return frame;
        }
        self.damage = None;
        let mut bytes = frame.bytes().to_vec();
        let middle = bytes.len() / 2;
        if bytes.starts_with(b"E:") {
            bytes[middle] ^= 0x10;
        } else {
            bytes[0] = 0xFF;
        }
        match frame {
            Frame::Text(_) => Frame::Text(bytes.into()),
            Frame::Binary(_) => Frame::Binary(bytes.into()),
        }
    }
}
