//! A small server for tests: tokio-tungstenite carries the bytes, the engine's own `Peer` decides.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, reason = "a helper of tests fails by panicking")]

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _, stream::SplitSink};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    sync::mpsc,
    task::{JoinHandle, JoinSet},
};
use tokio_tungstenite::{
    WebSocketStream, accept_hdr_async,
    tungstenite::{
        Message as WsMessage,
        handshake::server::{ErrorResponse, Request, Response},
        protocol::{CloseFrame, frame::Utf8Bytes},
    },
};
use wse_client::{
    Close, Code, Event, Outgoing, Payload, SubscriptionAction,
    wse_client_core::{
        io::Frame,
        rng::Seed,
        server::{self, Admission, Identity, Input, Output, Peer, PeerConfig, UpgradeParams},
        time::{Moment, WallTime},
        topic::{self, Acl},
    },
};

static CONNECTIONS: AtomicU64 = AtomicU64::new(1);

/// How the server behaves.
pub struct Behaviour {
    /// Speak the protocol; false: complete the upgrade and never say a word.
    pub speaks: bool,
    /// Answer the upgrade with this HTTP status instead.
    pub http_status: Option<u16>,
    /// Tokens that are let in; `None`: everybody.
    pub tokens: Option<Vec<&'static str>>,
    pub tls: Option<tokio_rustls::TlsAcceptor>,
    /// False: never read after the upgrade, nor speak.
    pub reads: bool,
    /// What every client may not do, by topic.
    pub denied: Option<&'static str>,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self { speaks: true, http_status: None, tokens: None, tls: None, reads: true, denied: None }
    }
}

/// What the application of the server orders a connection to do.
#[derive(Clone)]
enum Order {
    Publish(Outgoing),
    Close(Close),
    /// Drops the TCP connection without a word.
    Abort,
}

struct Inner {
    behaviour: Behaviour,
    orders: Mutex<Vec<mpsc::UnboundedSender<Order>>>,
    upgrades: Mutex<Vec<Upgrade>>,
    frames_written: AtomicUsize,
    received: Mutex<Vec<String>>,
    closes: Mutex<Vec<Close>>,
}

/// What came with an upgrade request.
#[derive(Debug, Clone, Default)]
pub struct Upgrade {
    pub token: Option<String>,
    pub cookie: Option<String>,
    pub query: String,
}

pub struct Server {
    pub url: String,
    port: u16,
    inner: Arc<Inner>,
    accepting: JoinHandle<()>,
}

impl Server {
    pub async fn start() -> Self {
        Self::with(Behaviour::default()).await
    }

    pub async fn with(behaviour: Behaviour) -> Self {
        Self::on_port(0, behaviour).await
    }

    pub async fn on_port(port: u16, behaviour: Behaviour) -> Self {
        let listener = bind(port).await;
        let port = listener.local_addr().unwrap().port();
        let scheme = if behaviour.tls.is_some() { "wss" } else { "ws" };
        let inner = Arc::new(Inner {
            behaviour,
            orders: Mutex::default(),
            upgrades: Mutex::default(),
            frames_written: AtomicUsize::new(0),
            received: Mutex::default(),
            closes: Mutex::default(),
        });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&inner)));
        Self { url: format!("{scheme}://localhost:{port}/wse"), port, inner, accepting }
    }

    pub const fn port(&self) -> u16 {
        self.port
    }

    pub fn publish(&self, topic: &str, kind: &str, json: &str) {
        let payload = Payload::from_json(json.to_owned()).unwrap();
        self.inner.order(&Order::Publish(Outgoing::new(kind, payload).to_topic(topic)));
    }

    pub fn close_all(&self, code: u16) {
        self.inner.order(&Order::Close(Close::new(code, "test")));
        self.inner.orders.lock().unwrap().clear();
    }

    pub fn abort_all(&self) {
        self.inner.order(&Order::Abort);
        self.inner.orders.lock().unwrap().clear();
    }

    pub fn upgrades(&self) -> Vec<Upgrade> {
        self.inner.upgrades.lock().unwrap().clone()
    }

    pub fn frames_written(&self) -> usize {
        self.inner.frames_written.load(Ordering::SeqCst)
    }

    /// Messages for the application and publications, as `kind payload`.
    pub fn received(&self) -> Vec<String> {
        self.inner.received.lock().unwrap().clone()
    }

    /// How connections ended, as the server saw it.
    pub fn closes(&self) -> Vec<Close> {
        self.inner.closes.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// A port that was in use a moment ago may need a moment.
async fn bind(port: u16) -> TcpListener {
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        match TcpListener::bind(("127.0.0.1", port)).await {
            Ok(listener) => return listener,
            Err(error) if Instant::now() > deadline => panic!("port {port}: {error}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

impl Inner {
    fn order(&self, order: &Order) {
        self.orders.lock().unwrap().retain(|connection| connection.send(order.clone()).is_ok());
    }
}

async fn accept(listener: TcpListener, inner: Arc<Inner>) {
    // Dropped with this task: then every connection ends.
    let mut connections = JoinSet::new();
    loop {
        let (tcp, _) = listener.accept().await.unwrap();
        tcp.set_nodelay(true).unwrap();
        let inner = Arc::clone(&inner);
        connections.spawn(async move {
            match inner.behaviour.tls.clone() {
                Some(tls) => {
                    if let Ok(stream) = tls.accept(tcp).await {
                        connection(stream, inner).await;
                    }
                }
                None => connection(tcp, inner).await,
            }
        });
    }
}

#[expect(clippy::result_large_err, reason = "the signature of tungstenite's callback")]
async fn connection<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(stream: S, inner: Arc<Inner>) {
    let mut upgrade = Upgrade::default();
    let callback = |request: &Request, response: Response| {
        upgrade = upgrade_of(request);
        match inner.behaviour.http_status {
            Some(status) => {
                let mut refusal = ErrorResponse::new(None);
                *refusal.status_mut() = status.try_into().unwrap();
                Err(refusal)
            }
            None => Ok(response),
        }
    };
    let accepted = accept_hdr_async(stream, callback).await;
    inner.upgrades.lock().unwrap().push(upgrade.clone());
    let Ok(websocket) = accepted else { return };
    if inner.behaviour.speaks {
        Connection::new(websocket, &inner, &upgrade).run().await;
    } else if inner.behaviour.reads {
        let mut websocket = websocket;
        while websocket.next().await.is_some_and(|message| message.is_ok()) {}
    } else {
        std::future::pending::<()>().await;
    }
}

fn upgrade_of(request: &Request) -> Upgrade {
    let header = |name| request.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
    Upgrade {
        token: header("authorization").map(|value| value.trim_start_matches("Bearer ").to_owned()),
        cookie: header("cookie"),
        query: request.uri().query().unwrap_or_default().to_owned(),
    }
}

struct Connection<S> {
    inner: Arc<Inner>,
    peer: Peer,
    origin: Instant,
    topics: Vec<String>,
    reading: futures_util::stream::SplitStream<WebSocketStream<S>>,
    writing: mpsc::UnboundedSender<Written>,
    orders: mpsc::UnboundedReceiver<Order>,
    over: bool,
}

enum Written {
    Frame(WsMessage),
    Close(Close),
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Connection<S> {
    fn new(websocket: WebSocketStream<S>, inner: &Arc<Inner>, upgrade: &Upgrade) -> Self {
        let admitted = match &inner.behaviour.tokens {
            None => true,
            Some(tokens) => upgrade.token.as_ref().is_some_and(|token| tokens.iter().any(|known| known == token)),
        };
        let admission = if admitted {
            let acl = Acl { allow: vec![], deny: inner.behaviour.denied.iter().map(|topic| (*topic).into()).collect() };
            Admission::Granted(Identity { user_id: "tester".into(), subscribe: acl.clone(), publish: acl })
        } else {
            Admission::Denied { code: Code::AuthFailed, message: "the token is not valid here".into() }
        };
        let peer = Peer::new(
            Arc::new(PeerConfig::default()),
            UpgradeParams::parse(&upgrade.query).unwrap(),
            admission,
            "connection-1".into(),
            // No two connections may draw the same ids: clients drop what they have seen.
            Seed::from_u64(CONNECTIONS.fetch_add(1, Ordering::Relaxed)),
            Moment::ORIGIN,
            WallTime::from_unix_ms(0),
        );
        let (orders, order_queue) = mpsc::unbounded_channel();
        inner.orders.lock().unwrap().push(orders);
        let (sink, reading) = websocket.split();
        let (writing, queue) = mpsc::unbounded_channel();
        tokio::spawn(write(sink, queue, Arc::clone(inner)));
        Self {
            inner: Arc::clone(inner),
            peer,
            origin: Instant::now(),
            topics: Vec::new(),
            reading,
            writing,
            orders: order_queue,
            over: false,
        }
    }

    async fn run(mut self) {
        while !self.over {
            let deadline = self.drain();
            if self.over {
                break;
            }
            let timer = async {
                match deadline {
                    Some(at) => {
                        tokio::time::sleep_until((self.origin + Duration::from_millis(at.as_millis())).into()).await
                    }
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                message = self.reading.next() => self.read(message.and_then(Result::ok)),
                order = self.orders.recv() => match order {
                    None | Some(Order::Abort) => return,
                    Some(Order::Close(close)) => self.peer.close(close, self.now()),
                    Some(Order::Publish(message)) => self.publish(&message),
                },
                () = timer => self.peer.handle(Input::Wake, self.now()),
            }
        }
        // The close frame goes out and is answered.
        let goodbye = async { while self.reading.next().await.is_some_and(|message| message.is_ok()) {} };
        let _ = tokio::time::timeout(Duration::from_secs(2), goodbye).await;
    }

    fn now(&self) -> Moment {
        Moment::from_millis(u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    fn read(&mut self, message: Option<WsMessage>) {
        let input = match message {
            Some(WsMessage::Text(text)) => Input::Frame(Frame::Text(Bytes::from(text))),
            Some(WsMessage::Binary(bytes)) => Input::Frame(Frame::Binary(bytes)),
            Some(WsMessage::Close(frame)) => Input::Closed(
                frame
                    .map_or_else(|| Close::new(1005, ""), |frame| Close::new(frame.code.into(), frame.reason.as_str())),
            ),
            Some(_) => return,
            None => Input::Closed(Close::abnormal()),
        };
        self.peer.handle(input, self.now());
    }

    fn publish(&mut self, message: &Outgoing) {
        let topic = message.topic.as_deref().unwrap();
        if self.topics.iter().any(|pattern| topic::matches(pattern, topic)) {
            self.peer.send(message, self.now()).unwrap();
        }
    }

    fn drain(&mut self) -> Option<Moment> {
        loop {
            match self.peer.poll() {
                Output::Send(Frame::Binary(bytes)) => drop(self.writing.send(Written::Frame(WsMessage::Binary(bytes)))),
                Output::Send(Frame::Text(bytes)) => {
                    let text = Utf8Bytes::try_from(bytes).unwrap();
                    drop(self.writing.send(Written::Frame(WsMessage::Text(text))));
                }
                Output::Close(close) => {
                    drop(self.writing.send(Written::Close(close)));
                    self.over = true;
                }
                Output::Emit(event) => self.on_event(event),
                Output::Wait(deadline) => return deadline,
            }
        }
    }

    fn on_event(&mut self, event: server::Event) {
        let now = self.now();
        match event {
            server::Event::Subscribe(request) => {
                self.topics.extend(request.topics.iter().cloned());
                let active = self.topics.clone();
                self.peer.answer_subscription(SubscriptionAction::Subscribe, request, vec![], &active, now);
            }
            server::Event::Unsubscribe(request) => {
                self.topics.retain(|topic| !request.topics.contains(topic));
                let active = self.topics.clone();
                self.peer.answer_subscription(SubscriptionAction::Unsubscribe, request, vec![], &active, now);
            }
            server::Event::Publish(message) => {
                self.note(&message);
                let outgoing = Outgoing::new(message.kind(), message.payload().clone());
                self.inner.order(&Order::Publish(outgoing.to_topic(message.topic().unwrap())));
            }
            server::Event::Message(message) => self.note(&message),
            server::Event::Closed(close) => {
                self.inner.closes.lock().unwrap().push(close);
                self.over = true;
            }
            _ => {}
        }
    }

    fn note(&self, message: &wse_client::Message) {
        self.inner.received.lock().unwrap().push(format!("{} {}", message.kind(), message.payload().to_json()));
    }
}

async fn write<S: AsyncRead + AsyncWrite + Unpin>(
    mut sink: SplitSink<WebSocketStream<S>, WsMessage>,
    mut queue: mpsc::UnboundedReceiver<Written>,
    inner: Arc<Inner>,
) {
    while let Some(written) = queue.recv().await {
        let message = match written {
            Written::Frame(message) => message,
            Written::Close(close) => {
                WsMessage::Close(Some(CloseFrame { code: close.code.into(), reason: close.reason.into() }))
            }
        };
        if sink.send(message).await.is_err() {
            return;
        }
        inner.frames_written.fetch_add(1, Ordering::SeqCst);
    }
}

/// Waits for a condition, bounded.
pub async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !condition() {
        assert!(Instant::now() < deadline, "never happened: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Reads events up to the first that `wanted` accepts, bounded, and gives all of them.
pub async fn events_until(client: &mut wse_client::Client, what: &str, wanted: impl Fn(&Event) -> bool) -> Vec<Event> {
    let mut seen = Vec::new();
    let reading = async {
        while let Some(event) = client.next().await {
            let found = wanted(&event);
            seen.push(event);
            if found {
                return;
            }
        }
        panic!("the stream ended");
    };
    if tokio::time::timeout(Duration::from_secs(10), reading).await.is_err() {
        panic!("never came: {what}; events: {seen:#?}");
    }
    seen
}

/// The next messages of the application, bounded.
pub async fn messages(client: &mut wse_client::Client, count: usize) -> Vec<wse_client::Message> {
    let mut messages = Vec::new();
    while messages.len() < count {
        let events = events_until(client, "a message", |event| matches!(event, Event::Message(_))).await;
        messages.extend(events.into_iter().filter_map(|event| match event {
            Event::Message(message) => Some(message),
            _ => None,
        }));
    }
    messages
}
