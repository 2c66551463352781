//! A `Client` tied to a `Peer`; a test decides when each single frame arrives.

#![allow(dead_code, reason = "each test file uses its own part")]

use std::{collections::VecDeque, sync::Arc, time::Duration};

use wse_client_core::{
    client::{self, Action, Client, Outgoing},
    config::ClientConfig,
    io::{Close, Frame, SocketId},
    rng::Seed,
    server::{self, Admission, Identity, Peer, PeerConfig, UpgradeParams},
    time::{Moment, WallTime},
    topic::Acl,
    wire::{Message, Payload},
};

/// What the civil clock of both ends shows at first.
pub(crate) const WALL: WallTime = WallTime::from_unix_ms(1_771_601_400_000);

/// See the module documentation.
pub(crate) struct Pair {
    pub(crate) client: Client,
    pub(crate) peer: Peer,
    pub(crate) now: Moment,
    socket: SocketId,
    /// Frames under way, in order.
    pub(crate) up: VecDeque<Frame>,
    pub(crate) down: VecDeque<Frame>,
    /// Every frame that was written, by either end.
    pub(crate) written: Vec<Frame>,
    pub(crate) client_events: Vec<client::Event>,
    pub(crate) peer_events: Vec<server::Event>,
    pub(crate) client_closed: bool,
    pub(crate) peer_closed: Option<Close>,
}

impl Pair {
    /// Both ends, connected and with nothing under way.
    pub(crate) fn connected(config: ClientConfig, peer_config: PeerConfig, seed: u64) -> Self {
        Self::connected_with(config, peer_config, seed, Acl::default())
    }

    /// The same, with topics that the user may subscribe to.
    pub(crate) fn connected_with(config: ClientConfig, peer_config: PeerConfig, seed: u64, acl: Acl) -> Self {
        let mut pair = Self::dialling(config, peer_config, seed, acl, "c-1");
        pair.client.handle(client::Input::Opened(pair.socket), pair.now);
        pair.settle();
        assert!(pair.client.server().is_some(), "{:?}", pair.client_events);
        pair.written.clear();
        pair
    }

    /// A server's end of this name, and a client that has said nothing yet.
    pub(crate) fn named(peer_config: PeerConfig, name: &str) -> Self {
        Self::dialling(ClientConfig::new("ws://server/wse"), peer_config, 2, Acl::default(), name)
    }

    /// The client dials again, and meets a fresh server that calls the connection by the same name.
    pub(crate) fn reconnect(&mut self, peer_config: PeerConfig) {
        let anew = Self::named(peer_config, self.peer.connection_id());
        self.peer = anew.peer;
        self.client.reconnect(self.now);
        loop {
            match self.client.poll() {
                client::Output::Act(Action::Open { socket, .. }) => self.socket = socket,
                client::Output::Wait(_) => break,
                _ => {}
            }
        }
        self.client.handle(client::Input::Opened(self.socket), self.now);
        self.settle();
        assert!(self.client.server().is_some(), "{:?}", self.client_events);
    }

    fn dialling(config: ClientConfig, peer_config: PeerConfig, seed: u64, acl: Acl, name: &str) -> Self {
        let now = Moment::from_millis(1000);
        let wall = WALL;
        let mut client = Client::new(config, Seed::from_u64(seed), now, wall).expect("config");
        client.connect(now);
        let (socket, url) = loop {
            match client.poll() {
                client::Output::Act(Action::Open { socket, url, .. }) => break (socket, url),
                client::Output::Wait(_) => panic!("the client does not dial"),
                _ => {}
            }
        };
        let params = UpgradeParams::parse(url.split_once('?').map_or("", |(_, query)| query)).expect("our own query");
        let admission = Admission::Granted(Identity { user_id: "user".into(), subscribe: acl, ..Identity::default() });
        let peer =
            Peer::new(Arc::new(peer_config), params, admission, name.into(), Seed::from_u64(seed + 1000), now, wall);
        Self {
            client,
            peer,
            now,
            socket,
            up: VecDeque::new(),
            down: VecDeque::new(),
            written: Vec::new(),
            client_events: Vec::new(),
            peer_events: Vec::new(),
            client_closed: false,
            peer_closed: None,
        }
    }

    /// Takes out what both ends want, without delivering anything.
    pub(crate) fn drain(&mut self) {
        loop {
            match self.client.poll() {
                client::Output::Act(Action::Send { socket, frame }) if socket == self.socket => {
                    self.written.push(frame.clone());
                    self.up.push_back(frame);
                }
                client::Output::Act(Action::Close { .. }) => self.client_closed = true,
                client::Output::Act(_) => {}
                client::Output::Emit(event) => self.client_events.push(event),
                client::Output::Wait(_) => break,
            }
        }
        loop {
            match self.peer.poll() {
                server::Output::Send(frame) => {
                    self.written.push(frame.clone());
                    self.down.push_back(frame);
                }
                server::Output::Close(close) => self.peer_closed = Some(close),
                server::Output::Emit(event) => self.peer_events.push(event),
                server::Output::Wait(_) => break,
            }
        }
    }

    /// The next frame of the client arrives, if there is one.
    pub(crate) fn deliver_up(&mut self) {
        self.drain();
        if let Some(frame) = self.up.pop_front() {
            self.peer.handle(server::Input::Frame(frame), self.now);
        }
        self.drain();
    }

    /// The next frame of the server arrives, if there is one.
    pub(crate) fn deliver_down(&mut self) {
        self.drain();
        if let Some(frame) = self.down.pop_front() {
            self.client.handle(client::Input::Frame(self.socket, frame), self.now);
        }
        self.drain();
    }

    /// Everything under way arrives.
    pub(crate) fn settle(&mut self) {
        self.drain();
        while !self.up.is_empty() || !self.down.is_empty() {
            self.deliver_up();
            self.deliver_down();
        }
    }

    /// Time goes on, and both ends wake.
    pub(crate) fn pass(&mut self, length: Duration) {
        self.now = self.now + length;
        self.client.handle(client::Input::Wake, self.now);
        self.peer.handle(server::Input::Wake, self.now);
        self.drain();
    }

    pub(crate) fn send_up(&mut self, kind: &str, n: u64) {
        self.client.send(numbered(kind, n), self.now).expect("connected");
        self.drain();
    }

    pub(crate) fn send_down(&mut self, kind: &str, n: u64) {
        self.peer.send(&numbered(kind, n), self.now).expect("open");
        self.drain();
    }

    /// Numbers of the messages that the server's application was given.
    pub(crate) fn heard_up(&self) -> Vec<u64> {
        self.peer_events
            .iter()
            .filter_map(|event| match event {
                server::Event::Message(message) | server::Event::Publish(message) => number(message),
                _ => None,
            })
            .collect()
    }

    /// Numbers of the messages that the client's application was given.
    pub(crate) fn heard_down(&self) -> Vec<u64> {
        self.client_events
            .iter()
            .filter_map(|event| match event {
                client::Event::Message(message) => number(message),
                _ => None,
            })
            .collect()
    }
}

/// A message of this type with the payload `{"n": n}`.
pub(crate) fn numbered(kind: &str, n: u64) -> Outgoing {
    Outgoing::new(kind, Payload::new(&serde_json::json!({ "n": n })).expect("valid JSON"))
}

fn number(message: &Message) -> Option<u64> {
    message.payload().parse::<serde_json::Value>().ok()?.get("n")?.as_u64()
}
