//! Both ends tied together; the bytes decide what the link does to what they say.

use std::{collections::VecDeque, sync::Arc};

use wse_client_core::{
    client::{self, Client, Event, Outgoing, SubscriptionAction},
    io::{Close, Frame, SocketId},
    rng::Seed,
    server::{self, Admission, Identity, Peer, PeerConfig, UpgradeParams},
    time::{Moment, WallTime},
    topic::Acl,
    wire::{Limits, Payload},
};

use crate::{
    clean::{Step, Watch},
    client::{config, outgoing, topics},
    source::Source,
};

const WALL: WallTime = WallTime::from_unix_ms(1_700_000_000_000);
const MOST_STEPS: usize = 500;

/// The ends and what is between them.
struct Link {
    now: Moment,
    client: Client,
    watch: Watch,
    peer: Option<Peer>,
    to_client: VecDeque<Frame>,
    to_peer: VecDeque<Frame>,
    /// Topics the server thinks the client has.
    topics: Vec<String>,
    /// Frames were changed, dropped or doubled on this connection: refusals are no surprise.
    damaged: bool,
}

pub(crate) fn run(data: &[u8]) {
    let mut source = Source::new(data);
    let now = Moment::from_millis(1000);
    let mut config = config(&mut source);
    // Those of the server, so that neither end writes what the other must refuse.
    config.limits = Limits::default();
    let client = Client::new(config, Seed::from_u64(1), now, WALL).expect("the settings are right");
    let mut link = Link {
        now,
        client,
        watch: Watch::default(),
        peer: None,
        to_client: VecDeque::new(),
        to_peer: VecDeque::new(),
        topics: Vec::new(),
        damaged: false,
    };
    link.client.connect(now);
    link.drain_client();
    for _ in 0..MOST_STEPS {
        if source.is_empty() {
            break;
        }
        link.step(&mut source);
    }
    link.recovers();
}

impl Link {
    fn step(&mut self, source: &mut Source<'_>) {
        match source.byte() % 16 {
            0..=3 => self.deliver_to_peer(),
            4..=7 => self.deliver_to_client(),
            8 => self.damage(source),
            9 => self.cut(),
            10 => self.pass(self.now + source.pause()),
            11 => self.pass(self.deadline().unwrap_or(self.now)),
            12 => {
                // Refusals of either end are fine, here and below.
                let _ = self.client.send(outgoing(source), self.now);
            }
            13 => {
                let _ = self.client.subscribe(&topics(source), self.now);
            }
            14 => {
                if let Some(peer) = self.peer.as_mut().filter(|peer| !peer.must_hold_messages()) {
                    let _ = peer.send(&outgoing(source), self.now);
                }
            }
            _ => {
                if let Some(request) = self.watch.wants_token.take() {
                    self.client.handle(client::Input::Token(request, Ok(None)), self.now);
                }
            }
        }
        self.drain_client();
        self.drain_peer();
    }

    /// Once the link is whole, the ends find each other again and a message gets through.
    fn recovers(&mut self) {
        self.cut();
        self.client.reconnect(self.now);
        self.drain_client();
        for _ in 0..200 {
            if let Some(request) = self.watch.wants_token.take() {
                self.client.handle(client::Input::Token(request, Ok(None)), self.now);
                self.drain_client();
            }
            while !self.to_peer.is_empty() || !self.to_client.is_empty() {
                self.deliver_to_peer();
                self.deliver_to_client();
            }
            if self.client.state() == client::ConnectionState::Connected {
                break;
            }
            self.pass(self.deadline().unwrap_or(self.now));
        }
        assert_eq!(self.client.state(), client::ConnectionState::Connected, "a whole link, and no connection");
        let message = Outgoing::new("after_all", Payload::EMPTY);
        self.client.send(message, self.now).expect("connected clients can send");
        self.drain_client();
    }

    fn socket(&self) -> SocketId {
        self.watch.socket.unwrap_or(SocketId(0))
    }

    fn deliver_to_peer(&mut self) {
        if let Some(frame) = self.to_peer.pop_front()
            && let Some(peer) = &mut self.peer
        {
            peer.handle(server::Input::Frame(frame), self.now);
        }
        self.drain_peer();
    }

    fn deliver_to_client(&mut self) {
        if let Some(frame) = self.to_client.pop_front() {
            self.client.handle(client::Input::Frame(self.socket(), frame), self.now);
        }
        self.drain_client();
    }

    /// Changes, drops, doubles or delays the next frame of one direction.
    fn damage(&mut self, source: &mut Source<'_>) {
        let how = source.byte();
        let queue = if how & 1 == 0 { &mut self.to_peer } else { &mut self.to_client };
        let Some(frame) = queue.pop_front() else { return };
        self.damaged = true;
        match how >> 1 & 3 {
            0 => {}
            1 => {
                queue.push_front(frame.clone());
                queue.push_front(frame);
            }
            2 => queue.push_back(frame),
            _ => queue.push_front(bent(frame, source)),
        }
    }

    fn cut(&mut self) {
        if let Some(socket) = self.watch.socket.take() {
            self.client.handle(client::Input::Closed(socket, Close::abnormal()), self.now);
        }
        self.hang_up();
        self.drain_client();
    }

    /// The server's end is gone, and everything that was under way.
    fn hang_up(&mut self) {
        if let Some(mut peer) = self.peer.take() {
            peer.handle(server::Input::Closed(Close::abnormal()), self.now);
        }
        self.to_client.clear();
        self.to_peer.clear();
    }

    fn pass(&mut self, now: Moment) {
        self.now = self.now.max(now);
        self.client.handle(client::Input::Wake, self.now);
        if let Some(peer) = &mut self.peer {
            peer.handle(server::Input::Wake, self.now);
        }
        self.drain_client();
        self.drain_peer();
    }

    fn deadline(&self) -> Option<Moment> {
        self.watch.deadline
    }

    fn drain_client(&mut self) {
        for step in self.watch.drain(&mut self.client) {
            match step {
                Step::Opened(socket) => self.accept(socket),
                Step::Sent(frame) => self.to_peer.push_back(frame),
                Step::Closed => self.hang_up(),
                Step::Told(Event::Rejected(error)) => {
                    assert!(self.damaged, "the client refuses what the server wrote: {error}");
                }
                Step::Told(_) => {}
            }
        }
    }

    fn accept(&mut self, socket: SocketId) {
        self.damaged = false;
        self.topics.clear();
        self.hang_up();
        let acl = Acl { allow: Vec::new(), deny: vec!["secret".into()] };
        let identity = Identity { user_id: "u".into(), subscribe: acl, publish: Acl::default() };
        let params = UpgradeParams { encryption: true, ..UpgradeParams::default() };
        let (config, name) = (Arc::new(PeerConfig::default()), format!("c-{}", socket.0));
        let seed = Seed::from_u64(100 + socket.0);
        let admission = Admission::Granted(identity);
        self.peer = Some(Peer::new(config, params, admission, name, seed, self.now, WALL));
        self.client.handle(client::Input::Opened(socket), self.now);
        self.drain_peer();
        self.drain_client();
    }

    fn drain_peer(&mut self) {
        while let Some(peer) = &mut self.peer {
            match peer.poll() {
                server::Output::Send(frame) => self.to_client.push_back(frame),
                server::Output::Emit(event) => self.on_event(event),
                server::Output::Close(close) => return self.on_server_close(close),
                server::Output::Wait(_) => return,
            }
        }
    }

    fn on_server_close(&mut self, close: Close) {
        while let (Some(_), Some(frame)) = (self.watch.socket, self.to_client.pop_front()) {
            self.client.handle(client::Input::Frame(self.socket(), frame), self.now);
            self.drain_client();
        }
        if let Some(socket) = self.watch.socket.take() {
            self.peer = None;
            self.client.handle(client::Input::Closed(socket, close), self.now);
            self.drain_client();
        }
    }

    fn on_event(&mut self, event: server::Event) {
        let now = self.now;
        match event {
            server::Event::Subscribe(request) => {
                self.topics.extend(request.topics.iter().cloned());
                self.answer(SubscriptionAction::Subscribe, request, now);
            }
            server::Event::Unsubscribe(request) => {
                self.topics.retain(|name| !request.topics.contains(name));
                self.answer(SubscriptionAction::Unsubscribe, request, now);
            }
            server::Event::Rejected(error) => {
                assert!(self.damaged, "the server refuses what the client wrote: {error}");
            }
            _ => {}
        }
    }

    fn answer(&mut self, action: SubscriptionAction, request: server::SubscriptionRequest, now: Moment) {
        let topics = self.topics.clone();
        if let Some(peer) = &mut self.peer {
            peer.answer_subscription(action, request, Vec::new(), &topics, now);
        }
    }
}

/// One byte of a frame changed.
fn bent(frame: Frame, source: &mut Source<'_>) -> Frame {
    let mut bytes = frame.bytes().to_vec();
    let at = usize::from(source.byte()) % bytes.len().max(1);
    if let Some(byte) = bytes.get_mut(at) {
        *byte ^= source.byte() | 1;
    }
    match frame {
        Frame::Text(_) => Frame::Text(bytes.into()),
        Frame::Binary(_) => Frame::Binary(bytes.into()),
    }
}
