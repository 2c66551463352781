//! One client, a model server of real `Peer`s, a link with faults, and one clock that is turned by hand.

mod history;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use history::History;
use wse_client_core::{
    client::{
        self, Action, Client, Event, Input, NetworkHint, Outgoing, Request, RequestId, SubscriptionAction,
        SubscriptionOutcome,
    },
    config::ClientConfig,
    delivery::LostRange,
    error::Code,
    io::{Close, Frame, SocketId},
    rng::{Rng, Seed},
    server::{self, Admission, Identity, Peer, PeerConfig, UpgradeParams},
    time::{Moment, WallTime},
    topic::{self, Acl},
    wire::{self, Head, Payload},
};

/// What a world is made of.
pub(crate) struct WorldConfig {
    pub(crate) client: ClientConfig,
    pub(crate) seed: u64,
    pub(crate) server_encryption: bool,
    /// The only token the server takes; `None`: everyone may come in.
    pub(crate) good_token: Option<String>,
    /// Topics the server refuses.
    pub(crate) deny: Vec<String>,
    /// Publications that the server remembers of each topic; `None`: it keeps no history.
    pub(crate) history: Option<usize>,
}

impl Default for WorldConfig {
    fn default() -> Self {
        Self {
            client: ClientConfig::new("ws://server/wse"),
            seed: 1,
            server_encryption: true,
            good_token: None,
            deny: Vec::new(),
            history: None,
        }
    }
}

/// What is wrong with the link at the moment.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct LinkFaults {
    /// Dialling fails.
    pub(crate) refuse: bool,
    /// Frames vanish in both directions, and nobody is told. A connection that lost one is dead for good, as
    /// TCP never goes on after a gap.
    pub(crate) swallow: bool,
    /// Of what the server says, only `PONG` arrives.
    pub(crate) only_pongs: bool,
    /// Added to the latency of each frame.
    pub(crate) delay: Duration,
}

enum Delivery {
    Opened,
    Refused,
    ToClient(Frame),
    ToServer(Frame),
    ClosedAtClient(Close),
    ClosedAtServer,
}

struct Connection {
    peer: Peer,
    topics: Vec<String>,
    open: bool,
    /// A frame was swallowed: nothing gets through any more.
    dead: bool,
    /// Frames never overtake each other: the arrival of the last one in either direction.
    last_arrival: [Moment; 2],
}

/// See the module documentation.
pub(crate) struct World {
    pub(crate) client: Client,
    pub(crate) faults: LinkFaults,
    /// Handed out one after the other when the client asks for a token; the last one again and again.
    pub(crate) tokens: VecDeque<String>,
    /// The token provider never answers.
    pub(crate) provider_is_stuck: bool,
    now: Moment,
    rng: Rng,
    config: WorldConfig,
    peer_config: Arc<PeerConfig>,
    pub(crate) history: Option<History>,
    /// The next publication to each connection is left out, as if it had been damaged on the way.
    pub(crate) skip_next: bool,
    /// The publication with this number is one that the client cannot read, however often it comes.
    pub(crate) spoiled: Option<u64>,
    /// The type of publications.
    pub(crate) kind: &'static str,
    wire: BTreeMap<(Moment, u64), (SocketId, Delivery)>,
    scheduled: u64,
    connections: BTreeMap<SocketId, Connection>,
    live_sockets: Vec<SocketId>,
    frozen: bool,
    reads_paused: bool,
    events: Vec<Event>,
    heard: Vec<u64>,
    kinds_heard: Vec<String>,
    last_id_heard: String,
    token_requests: Vec<bool>,
    attempts: usize,
    ended: usize,
    leaks: Vec<String>,
    transcript: String,
}

const LATENCY: Duration = Duration::from_millis(5);

impl World {
    pub(crate) fn new(config: WorldConfig) -> Self {
        let now = Moment::from_millis(1000);
        let wall = WallTime::from_unix_ms(1_771_601_400_000);
        let client = Client::new(config.client.clone(), Seed::from_u64(config.seed), now, wall).expect("config");
        let peer_config = Arc::new(PeerConfig {
            encryption: config.server_encryption,
            recovery: config.history.is_some(),
            ..PeerConfig::default()
        });
        Self {
            client,
            faults: LinkFaults::default(),
            tokens: VecDeque::new(),
            provider_is_stuck: false,
            now,
            rng: Rng::new(Seed::from_u64(config.seed ^ 0xdead)),
            history: config.history.map(History::new),
            skip_next: false,
            spoiled: None,
            kind: "update",
            config,
            peer_config,
            wire: BTreeMap::new(),
            scheduled: 0,
            connections: BTreeMap::new(),
            live_sockets: Vec::new(),
            frozen: false,
            reads_paused: false,
            events: Vec::new(),
            heard: Vec::new(),
            kinds_heard: Vec::new(),
            last_id_heard: String::new(),
            token_requests: Vec::new(),
            attempts: 0,
            ended: 0,
            leaks: Vec::new(),
            transcript: String::new(),
        }
    }

    /// One whose client has just connected.
    pub(crate) fn connected(config: WorldConfig) -> Self {
        let mut world = Self::new(config);
        world.connect();
        world.run(Duration::from_secs(1));
        assert_eq!(world.client.state(), client::ConnectionState::Connected);
        world
    }

    // What a test does.

    pub(crate) fn connect(&mut self) {
        self.client.connect(self.now);
        self.drain_client();
    }

    pub(crate) fn subscribe(&mut self, topics: &[&str]) -> RequestId {
        let request = self.client.subscribe(topics, self.now).expect("valid topics");
        self.drain_client();
        request
    }

    pub(crate) fn unsubscribe(&mut self, topics: &[&str]) {
        self.client.unsubscribe(topics, self.now).expect("valid topics");
        self.drain_client();
    }

    pub(crate) fn send(&mut self, kind: &str, n: u64) {
        self.client.send(Outgoing::new(kind, numbered(n)), self.now).expect("connected");
        self.drain_client();
    }

    pub(crate) fn ask(&mut self, request: &Request) -> RequestId {
        let id = self.client.request(request, self.now).expect("connected");
        self.drain_client();
        id
    }

    /// Sends to every client alone.
    pub(crate) fn server_sends(&mut self, message: Outgoing) {
        let sockets: Vec<SocketId> = self.connections.keys().copied().collect();
        for socket in sockets {
            let connection = self.connections.get_mut(&socket).expect("just listed");
            if connection.open {
                connection.peer.send(&message, self.now).expect("open");
                self.drain_peer(socket, false);
            }
        }
    }

    pub(crate) fn publish(&mut self, name: &str, n: u64) {
        let stamp = self.history.as_mut().map(|history| history.append(name, n));
        if std::mem::take(&mut self.skip_next) {
            return;
        }
        let sockets: Vec<SocketId> = self.connections.keys().copied().collect();
        for socket in sockets {
            let Some(connection) = self.connections.get_mut(&socket).filter(|connection| connection.open) else {
                continue;
            };
            if !connection.topics.iter().any(|pattern| topic::matches(pattern, name)) {
                continue;
            }
            self.send_publication(socket, name, stamp.as_ref(), n);
        }
    }

    fn send_publication(&mut self, socket: SocketId, name: &str, stamp: Option<&(String, u64)>, n: u64) {
        let connection = self.connections.get_mut(&socket).expect("publications go to live connections");
        let delivery = connection.peer.delivery();
        let compression = delivery.compression.then(wire::Compression::default);
        let epoch = stamp.map(|(epoch, _)| epoch.as_str());
        let offset = stamp.map(|(_, offset)| *offset);
        let head = Head { kind: self.kind, topic: Some(name), epoch, offset, ..Head::default() };
        let mut frame = wire::encode(&head, &numbered(n), delivery.encoding, compression.as_ref());
        if self.spoiled == Some(n) {
            frame = Frame::Binary(Bytes::from_static(b"?"));
        }
        if delivery.encrypted {
            frame = connection.peer.seal(frame.bytes()).expect("a key was agreed");
        }
        self.send_to_client(socket, frame);
    }

    /// Fills in what the history has for the topics of a request, and gives what is to be sent again.
    fn recover(&mut self, request: &mut server::SubscriptionRequest) -> Vec<(String, (String, u64), u64)> {
        let Some(history) = self.history.as_mut().filter(|_| request.recover) else { return Vec::new() };
        let mut again = Vec::new();
        let names: std::collections::BTreeSet<String> = (request.topics.iter())
            .filter(|name| !topic::is_pattern(name))
            .cloned()
            .chain(request.positions.keys().cloned())
            .collect();
        for name in names {
            let (answer, replay) = history.recover(&name, request.positions.get(&name));
            let epoch = history.epoch(&name);
            again.extend(replay.into_iter().map(|(offset, n)| (name.clone(), (epoch.clone(), offset), n)));
            request.recovery.insert(name, answer);
        }
        again
    }

    /// Every connection of the server sends this message of its own.
    pub(crate) fn server_says(&mut self, kind: &str, payload: &'static str) {
        let payload = Payload::from_json(payload).expect("valid JSON");
        let sockets: Vec<SocketId> = self.connections.keys().copied().collect();
        for socket in sockets {
            let Some(connection) = self.connections.get_mut(&socket).filter(|connection| connection.open) else {
                continue;
            };
            let agreed = connection.peer.delivery().encrypted;
            connection.peer.send(&Outgoing::new(kind, payload.clone()), self.now).expect("an open connection");
            self.drain_peer(socket, agreed);
        }
    }

    /// Every connection of the server writes this frame.
    pub(crate) fn server_writes(&mut self, text: &'static str) {
        let sockets: Vec<SocketId> = self.connections.keys().copied().collect();
        for socket in sockets {
            if self.connections[&socket].open {
                self.send_to_client(socket, Frame::Text(Bytes::from_static(text.as_bytes())));
            }
        }
    }

    pub(crate) fn server_closes(&mut self, close: Close) {
        let sockets: Vec<SocketId> = self.connections.keys().copied().collect();
        for socket in sockets {
            if let Some(connection) = self.connections.get_mut(&socket).filter(|connection| connection.open) {
                connection.peer.close(close.clone(), self.now);
                self.drain_peer(socket, false);
            }
        }
        self.run(LATENCY);
    }

    /// The server says that it dropped these publications for its clients.
    pub(crate) fn tell_lost(&mut self, name: &str, offsets: std::ops::RangeInclusive<u64>) {
        let epoch = self.history.as_mut().expect("has one").epoch(name);
        let range = LostRange { epoch, from: *offsets.start(), to: Some(*offsets.end()) };
        let sockets: Vec<SocketId> = self.connections.keys().copied().collect();
        for socket in sockets {
            if let Some(connection) = self.connections.get_mut(&socket).filter(|connection| connection.open) {
                connection.peer.tell_lost_range(name, &range, self.now);
                self.drain_peer(socket, false);
            }
        }
    }

    pub(crate) fn server_drains(&mut self, retry_after: Duration, window: Duration) {
        let sockets: Vec<SocketId> = self.connections.keys().copied().collect();
        for socket in sockets {
            if let Some(connection) = self.connections.get_mut(&socket).filter(|connection| connection.open) {
                connection.peer.drain(retry_after, window, self.now);
                self.drain_peer(socket, false);
            }
        }
    }

    pub(crate) fn hint(&mut self, hint: NetworkHint) {
        self.client_hears(Input::Network(hint));
    }

    pub(crate) fn client_closes(&mut self) {
        self.client.close(Close::normal(), self.now);
        self.drain_client();
    }

    pub(crate) fn set_token(&mut self, token: &str) {
        self.client.set_token(Some(token.into()), self.now);
        self.drain_client();
    }

    /// Hands in something that no driver of this world would.
    pub(crate) fn client_hears(&mut self, input: Input) {
        self.client_input(input);
    }

    /// Cuts every connection: both ends learn of it at once.
    pub(crate) fn cut(&mut self) {
        self.wire.retain(|_, (_, delivery)| matches!(delivery, Delivery::Opened | Delivery::Refused));
        let sockets: Vec<SocketId> = self.connections.keys().copied().collect();
        for socket in sockets {
            if self.connections[&socket].open {
                self.deliver(socket, Delivery::ClosedAtServer);
                self.deliver(socket, Delivery::ClosedAtClient(Close::abnormal()));
            }
        }
    }

    pub(crate) fn freeze_client(&mut self, frozen: bool) {
        self.frozen = frozen;
    }

    pub(crate) fn pause_reads(&mut self, paused: bool) {
        self.reads_paused = paused;
        self.client.handle(Input::ReadsPaused(paused), self.now);
        self.drain_client();
    }

    /// Random weather: every few seconds something else is wrong, and messages are published all the while.
    pub(crate) fn storm(&mut self, length: Duration) {
        let end = self.now + length;
        let mut n = 0;
        while self.now < end {
            let delay = Duration::from_millis((self.rng.unit() * 1500.0) as u64);
            match (self.rng.unit() * 6.0) as u64 {
                0 => self.cut(),
                1 => self.faults = LinkFaults { swallow: true, ..LinkFaults::default() },
                2 => self.faults = LinkFaults { refuse: true, ..LinkFaults::default() },
                3 => self.faults = LinkFaults { delay, ..LinkFaults::default() },
                4 => self.server_closes(Close::new(1012, "restart")),
                _ => self.faults = LinkFaults::default(),
            }
            for _ in 0..5 {
                self.publish("t", n);
                n += 1;
                let pause = Duration::from_millis((self.rng.unit() * 1500.0) as u64);
                self.run(pause);
            }
        }
        self.faults = LinkFaults::default();
        self.run(Duration::from_secs(60));
    }

    pub(crate) fn run(&mut self, length: Duration) {
        let end = self.now + length;
        let mut steps = 0;
        self.drain_client();
        while let Some(at) = self.next_moment().filter(|at| *at <= end) {
            steps += 1;
            assert!(steps < 1_000_000, "the world spins without getting anywhere");
            self.now = self.now.max(at);
            self.step();
        }
        self.now = end;
    }

    // What a test asks.

    pub(crate) fn now(&self) -> Moment {
        self.now
    }

    pub(crate) fn events(&self) -> &[Event] {
        &self.events
    }

    pub(crate) fn attempts(&self) -> usize {
        self.attempts
    }

    pub(crate) fn token_requests(&self) -> &[bool] {
        &self.token_requests
    }

    pub(crate) fn server_connections_ended(&self) -> usize {
        self.ended
    }

    pub(crate) fn heard_by_server(&self) -> &[u64] {
        &self.heard
    }

    /// Types of the messages that reached the server's application.
    pub(crate) fn kinds_heard(&self) -> &[String] {
        &self.kinds_heard
    }

    /// The id of the last of them.
    pub(crate) fn last_id_heard(&self) -> &str {
        &self.last_id_heard
    }

    pub(crate) fn plaintext_after_agreement(&self) -> &[String] {
        &self.leaks
    }

    pub(crate) fn transcript(&self) -> &str {
        &self.transcript
    }

    pub(crate) fn received(&self) -> Vec<u64> {
        self.events
            .iter()
            .filter_map(|event| match event {
                Event::Message(message) => number_of(message.payload()),
                _ => None,
            })
            .collect()
    }

    /// Publications of a topic since its history began.
    pub(crate) fn published(&mut self, topic: &str) -> u64 {
        self.history.as_mut().map_or(0, |history| history.published(topic))
    }

    pub(crate) fn last_code(&self) -> Option<Code> {
        self.client.last_disconnect().map(|end| end.code)
    }

    pub(crate) fn outcomes(&self, request: RequestId) -> Vec<SubscriptionOutcome> {
        self.events
            .iter()
            .filter_map(|event| match event {
                Event::Subscribed(outcome) if outcome.request == request => Some(outcome.clone()),
                _ => None,
            })
            .collect()
    }

    pub(crate) fn server_topics(&self) -> Vec<String> {
        let live = self.connections.values().filter(|connection| connection.open);
        live.flat_map(|connection| connection.topics.clone()).collect()
    }

    pub(crate) fn check_invariants(&self, seed: u64) {
        let received = self.received();
        assert!(received.is_sorted_by(|a, b| a < b), "seed {seed}: doubled or out of order: {received:?}");
        assert!(self.live_sockets.len() <= 1, "seed {seed}: more than one live socket");
        assert!(self.leaks.is_empty(), "seed {seed}: plaintext after agreement: {:?}", self.leaks);
    }

    // How the world turns.

    fn next_moment(&mut self) -> Option<Moment> {
        let client = (!self.frozen).then(|| self.client_deadline()).flatten();
        let wire = self.wire.iter().find(|(_, (_, delivery))| !self.is_held(delivery)).map(|((at, _), _)| *at);
        let peers = self.connections.values_mut().filter(|connection| connection.open);
        let peers = peers.filter_map(|connection| match connection.peer.poll() {
            server::Output::Wait(at) => at,
            _ => unreachable!("peers are drained after each input"),
        });
        client.into_iter().chain(wire).chain(peers).min()
    }

    fn client_deadline(&mut self) -> Option<Moment> {
        match self.client.poll() {
            client::Output::Wait(at) => at,
            _ => unreachable!("the client is drained after each input"),
        }
    }

    fn is_held(&self, delivery: &Delivery) -> bool {
        match delivery {
            Delivery::Opened | Delivery::Refused => self.frozen,
            Delivery::ToClient(_) | Delivery::ClosedAtClient(_) => self.frozen || self.reads_paused,
            Delivery::ToServer(_) | Delivery::ClosedAtServer => false,
        }
    }

    fn step(&mut self) {
        let due = self.wire.iter().find(|((at, _), (_, delivery))| *at <= self.now && !self.is_held(delivery));
        if let Some(key) = due.map(|(key, _)| *key) {
            let (socket, delivery) = self.wire.remove(&key).expect("just seen");
            self.deliver(socket, delivery);
            return;
        }
        if !self.frozen {
            self.client_input(Input::Wake);
        }
        let sockets: Vec<SocketId> = self.connections.keys().copied().collect();
        for socket in sockets {
            self.peer_input(socket, server::Input::Wake);
        }
    }

    fn deliver(&mut self, socket: SocketId, delivery: Delivery) {
        match delivery {
            Delivery::Opened => self.client_input(Input::Opened(socket)),
            Delivery::Refused => {
                let fault = client::Fault { http_status: None, detail: "connection refused".into() };
                self.live_sockets.retain(|live| *live != socket);
                self.client_input(Input::Failed(socket, fault));
            }
            Delivery::ToClient(frame) => self.client_input(Input::Frame(socket, frame)),
            Delivery::ClosedAtClient(close) => {
                self.live_sockets.retain(|live| *live != socket);
                self.client_input(Input::Closed(socket, close));
            }
            Delivery::ToServer(frame) => self.peer_input(socket, server::Input::Frame(frame)),
            Delivery::ClosedAtServer => self.peer_input(socket, server::Input::Closed(Close::abnormal())),
        }
    }

    fn client_input(&mut self, input: Input) {
        let agreed = self.client.server().is_some_and(|info| info.encrypted);
        self.client.handle(input, self.now);
        self.drain_client_checked(agreed);
    }

    fn drain_client(&mut self) {
        let agreed = self.client.server().is_some_and(|info| info.encrypted);
        self.drain_client_checked(agreed);
    }

    fn drain_client_checked(&mut self, agreed: bool) {
        loop {
            match self.client.poll() {
                client::Output::Act(action) => self.act(action, agreed),
                client::Output::Emit(event) => self.events.push(event),
                client::Output::Wait(_) => return,
            }
        }
    }

    fn act(&mut self, action: Action, agreed: bool) {
        match action {
            Action::FetchToken { request, renew } => {
                self.token_requests.push(renew);
                if self.provider_is_stuck {
                    return;
                }
                let token = if self.tokens.len() > 1 { self.tokens.pop_front() } else { self.tokens.front().cloned() };
                self.client.handle(Input::Token(request, Ok(token.map(Into::into))), self.now);
            }
            Action::Open { socket, url, token } => {
                self.open(socket, &url, token.map(|token| token.expose().to_owned()))
            }
            Action::Send { socket, frame } => {
                if agreed && !frame.bytes().starts_with(b"E:") {
                    self.leaks.push(String::from_utf8_lossy(frame.bytes()).into_owned());
                }
                self.note('>', &frame);
                if !self.is_swallowed(socket) {
                    let at = self.arrival(socket, 0);
                    self.schedule(at, socket, Delivery::ToServer(frame));
                }
            }
            Action::Close { socket, .. } => {
                self.live_sockets.retain(|live| *live != socket);
                if !self.is_swallowed(socket) {
                    let at = self.arrival(socket, 0);
                    self.schedule(at, socket, Delivery::ClosedAtServer);
                }
            }
        }
    }

    fn open(&mut self, socket: SocketId, url: &str, token: Option<String>) {
        self.attempts += 1;
        self.live_sockets.push(socket);
        let at = self.now + LATENCY;
        if self.faults.refuse {
            self.schedule(at, socket, Delivery::Refused);
            return;
        }
        let query = url.split_once('?').map_or("", |(_, query)| query);
        let params = UpgradeParams::parse(query).expect("our own query");
        let let_in = self.config.good_token.is_none() || self.config.good_token == token;
        let admission = if let_in {
            Admission::Granted(Identity {
                user_id: "user".into(),
                subscribe: Acl { allow: Vec::new(), deny: self.config.deny.clone() },
                publish: Acl::default(),
            })
        } else {
            Admission::Denied { code: Code::AuthFailed, message: "authentication failed".into() }
        };
        let seed = Seed::from_u64(self.config.seed * 1000 + socket.0);
        let wall = WallTime::from_unix_ms(1_771_601_400_000 + self.now.as_millis());
        let name = format!("connection-{}", socket.0);
        let peer = Peer::new(self.peer_config.clone(), params, admission, name, seed, self.now, wall);
        let last_arrival = [at, at];
        self.connections.insert(socket, Connection { peer, topics: Vec::new(), open: true, dead: false, last_arrival });
        self.schedule(at, socket, Delivery::Opened);
        self.drain_peer(socket, false);
    }

    fn peer_input(&mut self, socket: SocketId, input: server::Input) {
        let Some(connection) = self.connections.get_mut(&socket).filter(|connection| connection.open) else { return };
        let agreed = connection.peer.delivery().encrypted;
        connection.peer.handle(input, self.now);
        self.drain_peer(socket, agreed);
    }

    fn drain_peer(&mut self, socket: SocketId, agreed: bool) {
        loop {
            let connection = self.connections.get_mut(&socket).expect("drained peers exist");
            match connection.peer.poll() {
                server::Output::Send(frame) => {
                    if agreed && !frame.bytes().starts_with(b"E:") {
                        self.leaks.push(String::from_utf8_lossy(frame.bytes()).into_owned());
                    }
                    self.send_to_client(socket, frame);
                }
                server::Output::Close(close) => {
                    if !self.is_swallowed(socket) {
                        let at = self.arrival(socket, 1);
                        self.schedule(at, socket, Delivery::ClosedAtClient(close));
                    }
                }
                server::Output::Emit(event) => self.on_peer_event(socket, event),
                server::Output::Wait(_) => return,
            }
        }
    }

    fn on_peer_event(&mut self, socket: SocketId, event: server::Event) {
        let now = self.now;
        let connection = self.connections.get_mut(&socket).expect("events come from live peers");
        match event {
            server::Event::Subscribe(mut request) => {
                let again = self.recover(&mut request);
                let connection = self.connections.get_mut(&socket).expect("events come from live peers");
                for name in &request.topics {
                    if !connection.topics.contains(name) {
                        connection.topics.push(name.clone());
                    }
                }
                let active = connection.topics.clone();
                connection.peer.answer_subscription(SubscriptionAction::Subscribe, request, Vec::new(), &active, now);
                self.send_again(socket, again);
            }
            server::Event::Recover(mut request) => {
                let again = self.recover(&mut request);
                let connection = self.connections.get_mut(&socket).expect("events come from live peers");
                let active = connection.topics.clone();
                connection.peer.answer_subscription(SubscriptionAction::Subscribe, request, Vec::new(), &active, now);
                self.send_again(socket, again);
            }
            server::Event::Unsubscribe(request) => {
                connection.topics.retain(|name| !request.topics.contains(name));
                let active = connection.topics.clone();
                connection.peer.answer_subscription(SubscriptionAction::Unsubscribe, request, Vec::new(), &active, now);
            }
            server::Event::Message(message) => {
                self.kinds_heard.push(message.kind().to_owned());
                self.last_id_heard = message.id().unwrap_or_default().to_owned();
                self.heard.extend(number_of(message.payload()));
            }
            server::Event::Closed(_) => {
                connection.open = false;
                self.ended += 1;
            }
            _ => {}
        }
    }

    /// The answer goes first, then what it promises.
    fn send_again(&mut self, socket: SocketId, publications: Vec<(String, (String, u64), u64)>) {
        let agreed = self.connections[&socket].peer.delivery().encrypted;
        self.drain_peer(socket, agreed);
        for (name, stamp, n) in publications {
            self.send_publication(socket, &name, Some(&stamp), n);
        }
    }

    fn send_to_client(&mut self, socket: SocketId, frame: Frame) {
        self.note('<', &frame);
        let is_pong = frame.bytes().windows(6).any(|window| window == b"\"PONG\"");
        if self.is_swallowed(socket) || (self.faults.only_pongs && !is_pong) {
            return;
        }
        let at = self.arrival(socket, 1);
        self.schedule(at, socket, Delivery::ToClient(frame));
    }

    fn is_swallowed(&mut self, socket: SocketId) -> bool {
        let Some(connection) = self.connections.get_mut(&socket) else { return self.faults.swallow };
        connection.dead |= self.faults.swallow;
        connection.dead
    }

    fn arrival(&mut self, socket: SocketId, direction: usize) -> Moment {
        let at = self.now + LATENCY + self.faults.delay;
        match self.connections.get_mut(&socket) {
            Some(connection) => {
                connection.last_arrival[direction] = connection.last_arrival[direction].max(at);
                connection.last_arrival[direction]
            }
            None => at,
        }
    }

    fn schedule(&mut self, at: Moment, socket: SocketId, delivery: Delivery) {
        self.scheduled += 1;
        self.wire.insert((at, self.scheduled), (socket, delivery));
    }

    fn note(&mut self, direction: char, frame: &Frame) {
        use std::fmt::Write as _;
        let _ = writeln!(self.transcript, "{} {direction} {:?}", self.now.as_millis(), frame.bytes());
    }
}

fn numbered(n: u64) -> Payload {
    Payload::from_json(Bytes::from(format!("{{\"n\":{n}}}"))).expect("valid JSON")
}

fn number_of(payload: &Payload) -> Option<u64> {
    payload.parse::<serde_json::Value>().ok()?.get("n")?.as_u64()
}
