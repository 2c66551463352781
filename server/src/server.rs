//! The server itself: bind, serve, publish, shut down.

use std::{
    collections::{BTreeMap, HashMap},
    fmt, io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    pin::pin,
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use http::HeaderMap;
use tokio::{
    net::TcpListener,
    runtime::Handle,
    sync::{Notify, watch},
    task::JoinHandle,
    time::{Instant, MissedTickBehavior},
};
use wse_client_core::{
    client::{Outgoing, SendError},
    config::ConfigError,
    error::{Code, close},
    io::Close,
    server::{Admission, PeerConfig, UpgradeParams},
    time::Moment,
    wire::Limits,
};

use crate::{
    api::Answers,
    async_handler::{AsyncHandler, Awaited},
    auth::{self, Authenticator, Hosts, Issuer},
    bus::{Bus, MemoryBus},
    clock::{self, Clock},
    config::{Config, MAX_LENGTH},
    connection::{Applicant, Attached},
    counters::{Counters, Stats},
    drain::Schedule,
    handler::{Handler, PublishToUserTopic},
    history::{History, HistoryPage, HistoryQuery},
    hub::{HistoryBounds, Hub, HubBounds, Link, PresenceBounds, Publication, RingBounds, Waiting},
    listen::{self, Caller, CertificateError, Gate, NoPlace, Place, Tls},
    memory::{Pressure, QueueBytes},
    metrics::Metrics,
    presence::{PresencePage, PresenceQuery},
    snapshots::SnapshotProvider,
    sync::lock,
};

/// How often publications that everyone has read, and unused topics, are let go, and files and memory are looked at.
const SWEEP: Duration = Duration::from_secs(1);

/// Pause after a failure to accept that concerns the whole server.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The address of a server that has no port of its own.
const NO_PORT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// A running, or about to run, server. Clones are the same server.
///
/// ```
/// use std::time::Duration;
/// use wse_server::{Config, Outgoing, Payload, Server};
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let server = Server::builder(Config { port: 0, ..Config::default() }).bind().await?;
/// println!("ws://{}/wse", server.local_addr());
/// let running = tokio::spawn({
///     let server = server.clone();
///     async move { server.serve().await }
/// });
///
/// let payload = Payload::new(&serde_json::json!({ "celsius": 21.5 }))?;
/// let published = server.publish("room.temperature", Outgoing::new("reading", payload))?;
/// assert_eq!(published.delivered, 0); // nobody listens yet
///
/// server.shutdown(Duration::from_secs(5)).await;
/// running.await??;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Server {
    inner: Arc<Inner>,
}

struct Inner {
    config: Config,
    peer_config: Arc<PeerConfig>,
    clock: Clock,
    addr: SocketAddr,
    listener: Mutex<Option<TcpListener>>,
    hub: Arc<Hub>,
    history: Arc<dyn History>,
    bus: Box<dyn Bus>,
    handler: Box<dyn Handler>,
    snapshots: Option<Box<dyn SnapshotProvider>>,
    /// Where work for connections runs that their drivers do not wait for.
    runtime: Handle,
    auth: Authenticator,
    issuer: Issuer,
    hosts: Hosts,
    metrics: Arc<Metrics>,
    answers: Answers,
    links: Mutex<HashMap<u64, Arc<Link>>>,
    /// Connections for which an asynchronous application does something.
    working: AtomicUsize,
    next_number: AtomicU64,
    gate: Gate,
    tls: Option<Tls>,
    queue_bytes: Arc<QueueBytes>,
    stage: AtomicU8,
    drain: Mutex<Option<Schedule>>,
    /// Told when a connection is over.
    gone: Notify,
    stop: watch::Sender<bool>,
    #[cfg(feature = "echo")]
    echo: std::sync::atomic::AtomicBool,
}

/// How far a server is on its way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// It is not.
    Serving,
    /// Complete as ever, but new clients should go elsewhere.
    Leaving,
    /// Clients are being sent away.
    Draining,
    /// Everything ends.
    Stopping,
}

impl Stage {
    const ALL: [Self; 4] = [Self::Serving, Self::Leaving, Self::Draining, Self::Stopping];

    /// The name that is told over HTTP.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Serving => "serving",
            Self::Leaving => "leaving",
            Self::Draining => "draining",
            Self::Stopping => "stopping",
        }
    }
}

/// Collects settings and a handler, then binds.
///
/// ```
/// # async fn run() -> Result<(), wse_server::StartError> {
/// use wse_server::{Config, Server};
///
/// let server = Server::builder(Config::default()).bind().await?;
/// server.serve().await?;
/// # Ok(())
/// # }
/// ```
pub struct ServerBuilder {
    config: Config,
    handler: Box<dyn Handler>,
    snapshots: Option<Box<dyn SnapshotProvider>>,
    #[cfg(feature = "echo")]
    echo: bool,
}

impl fmt::Debug for ServerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerBuilder").field("config", &self.config).finish_non_exhaustive()
    }
}

impl ServerBuilder {
    /// The application behind the server. Default [`PublishToUserTopic`].
    #[must_use]
    pub fn handler(mut self, handler: impl Handler) -> Self {
        self.handler = Box::new(handler);
        self
    }

    /// The application behind the server, when it is asynchronous. Takes the place of [`ServerBuilder::handler`].
    #[must_use]
    pub fn async_handler(self, handler: impl AsyncHandler) -> Self {
        self.handler(Awaited::new(handler))
    }

    /// Makes every connection a bare WebSocket that sends each message back as it came. For conformance tests of what is below
    /// our protocol: frames, fragments, pings and the closing handshake.
    #[cfg(feature = "echo")]
    #[must_use]
    pub fn echo(mut self) -> Self {
        self.echo = true;
        self
    }

    /// What knows the state of topics. Default none: clients get the last snapshots that were published.
    #[must_use]
    pub fn snapshots(mut self, provider: impl SnapshotProvider) -> Self {
        self.snapshots = Some(Box::new(provider));
        self
    }

    /// Checks everything that [`ServerBuilder::bind`] checks, and takes no port.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn check(&self) -> Result<(), StartError> {
        addresses(&self.config).await?;
        Tls::load(&self.config).map_err(StartError::Certificate)?;
        Ok(())
    }

    /// Checks the settings and takes the port. Clients are answered once [`Server::serve`] runs.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn bind(self) -> Result<Server, StartError> {
        let config = self.config;
        let addresses = addresses(&config).await?;
        let auth = Authenticator::new(&config).map_err(StartError::Config)?;
        let tls = Tls::load(&config).map_err(StartError::Certificate)?;
        let failed = |source| StartError::Bind { host: config.host.clone(), port: config.port, source };
        let listener = TcpListener::bind(&addresses[..]).await.map_err(failed)?;
        let addr = listener.local_addr().map_err(failed)?;
        let server = Server::new(config, auth, tls, self.handler, self.snapshots, Some(listener), addr);
        #[cfg(feature = "echo")]
        server.inner.echo.store(self.echo, Ordering::Relaxed);
        tokio::spawn(keep_house(Arc::downgrade(&server.inner)));
        Ok(server)
    }

    /// Checks the settings and makes a server without a port: an application serves HTTP itself, and hands over the
    /// WebSockets ([`Server::upgrade`], [`Server::handshake`], [`Server::attach`]). Settings about address, port and TLS mean
    /// nothing then. Who has no token comes in only with an identity that the application gives, or by
    /// [`Config::allow_open`]: such a server does not know who can reach it.
    ///
    /// # Errors
    /// [`StartError::Config`], and [`StartError::NoRuntime`] outside of a tokio runtime.
    pub fn build(self) -> Result<Server, StartError> {
        let config = self.config;
        config.check().map_err(StartError::Config)?;
        let runtime = Handle::try_current().map_err(|_| StartError::NoRuntime)?;
        let mut auth = Authenticator::new(&config).map_err(StartError::Config)?;
        if !config.allow_open {
            auth = auth.without_guests();
        }
        let server = Server::new(config, auth, None, self.handler, self.snapshots, None, NO_PORT);
        #[cfg(feature = "echo")]
        server.inner.echo.store(self.echo, Ordering::Relaxed);
        runtime.spawn(keep_house(Arc::downgrade(&server.inner)));
        Ok(server)
    }
}

/// Where to listen, if the settings can be used.
async fn addresses(config: &Config) -> Result<Vec<SocketAddr>, StartError> {
    config.check().map_err(StartError::Config)?;
    let addresses = resolve(config).await?;
    let exposed = addresses.iter().find(|address| !is_loopback(address.ip()));
    match exposed {
        Some(address) if config.is_open() && !config.allow_open => Err(StartError::OpenToOthers { address: *address }),
        _ => Ok(addresses),
    }
}

/// What is to be done once in a while, as long as there is a server.
async fn keep_house(server: Weak<Inner>) {
    let mut sweep = tokio::time::interval(SWEEP);
    sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut reading: Option<JoinHandle<()>> = None;
    loop {
        sweep.tick().await;
        let Some(inner) = server.upgrade() else { return };
        let server = Server { inner };
        server.inner.hub.sweep(server.now());
        server.relieve();
        // A file may be far away: nothing waits for it, and nobody looks twice at a time.
        if server.reads_files() && reading.as_ref().is_none_or(JoinHandle::is_finished) {
            reading = Some(tokio::task::spawn_blocking(move || server.refresh_files()));
        }
    }
}

/// Whether a failure to accept says nothing about the next client.
fn is_about_one_client(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset)
}

/// Whether only programs on this machine can reach an address.
fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

async fn resolve(config: &Config) -> Result<Vec<SocketAddr>, StartError> {
    let failed = |source| StartError::Resolve { host: config.host.clone(), source };
    let addresses: Vec<_> =
        tokio::net::lookup_host((config.host.as_str(), config.port)).await.map_err(failed)?.collect();
    if addresses.is_empty() {
        return Err(failed(io::ErrorKind::NotFound.into()));
    }
    Ok(addresses)
}

impl Server {
    /// Starts from settings; see [`ServerBuilder`].
    pub fn builder(config: Config) -> ServerBuilder {
        ServerBuilder {
            config,
            handler: Box::new(PublishToUserTopic),
            snapshots: None,
            #[cfg(feature = "echo")]
            echo: false,
        }
    }

    fn new(
        config: Config,
        auth: Authenticator,
        tls: Option<Tls>,
        handler: Box<dyn Handler>,
        snapshots: Option<Box<dyn SnapshotProvider>>,
        listener: Option<TcpListener>,
        addr: SocketAddr,
    ) -> Self {
        let local = auth.is_open() && is_loopback(addr.ip());
        let hosts = Hosts::new(&config.allowed_hosts, local, &config.host);
        let auth = if local { auth.for_this_machine(&hosts) } else { auth };
        let bounds = HubBounds {
            ring: RingBounds {
                count: config.ring_messages,
                bytes: config.ring_bytes,
                history: HistoryBounds { count: config.history_messages, age: config.history_age },
            },
            history_bytes: config.history_bytes,
            topics: config.max_topics,
            topics_per_connection: config.limits().max_topics,
            presence: PresenceBounds {
                topics: config.presence_topics.clone(),
                linger: config.presence_linger,
                bytes: config.presence_bytes,
            },
        };
        let clock = Clock::start();
        let hub = Arc::new(Hub::new(bounds).pumped(clock, config.flush_interval));
        let metrics: Arc<Metrics> = Arc::default();
        let inner = Inner {
            peer_config: Arc::new(config.peer()),
            clock,
            addr,
            listener: Mutex::new(listener),
            bus: Box::new(MemoryBus::new(Arc::clone(&hub), Arc::clone(&metrics))),
            history: Arc::clone(&hub) as Arc<dyn History>,
            hub,
            handler,
            snapshots,
            runtime: Handle::current(),
            auth,
            issuer: Issuer::new(&config),
            hosts,
            metrics,
            answers: Answers::default(),
            links: Mutex::default(),
            working: AtomicUsize::new(0),
            next_number: AtomicU64::new(1),
            gate: Gate::new(&config),
            tls,
            queue_bytes: Arc::default(),
            stage: AtomicU8::new(Stage::Serving as u8),
            drain: Mutex::default(),
            gone: Notify::new(),
            stop: watch::Sender::new(false),
            #[cfg(feature = "echo")]
            echo: std::sync::atomic::AtomicBool::new(false),
            config,
        };
        Self { inner: Arc::new(inner) }
    }

    /// The address that was bound, with the real port; 0.0.0.0:0 for a server without one, see [`ServerBuilder::build`].
    pub fn local_addr(&self) -> SocketAddr {
        self.inner.addr
    }

    /// Accepts and serves until [`Server::shutdown`] is called. Connections go on in tasks of their own.
    ///
    /// # Errors
    /// [`StartError::AlreadyServing`] at the second call, [`StartError::NoPort`] without a port. Failures to accept single
    /// connections are logged.
    pub async fn serve(&self) -> Result<(), StartError> {
        if self.inner.addr == NO_PORT {
            return Err(StartError::NoPort);
        }
        let Some(listener) = lock(&self.inner.listener).take() else {
            return if self.is_stopping() { Ok(()) } else { Err(StartError::AlreadyServing) };
        };
        let routes = crate::api::routes(self);
        let mut stopped = pin!(self.stopped());
        loop {
            tokio::select! {
                () = &mut stopped => return Ok(()),
                accepted = listener.accept() => match accepted {
                    Ok((stream, peer)) => listen::spawn(self, stream, peer, &routes),
                    Err(error) if is_about_one_client(&error) => tracing::debug!(%error, "client left early"),
                    Err(error) => {
                        // Out of file descriptors, most likely: some may be free in a moment.
                        tracing::warn!(%error, "accept failed");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        }
    }

    /// Whether there are files that may change.
    fn reads_files(&self) -> bool {
        self.inner.tls.is_some() || !self.inner.config.jwt_keys.is_empty()
    }

    /// Reads files of keys again that have changed.
    fn refresh_files(&self) {
        self.inner.auth.refresh_keys(&self.inner.config);
        if self.inner.tls.as_ref().is_some_and(Tls::has_changed) {
            // What cannot be read is told in the log; the last good certificate stays.
            let _ = self.reload_certificate();
        }
    }

    /// Reads the files of [`Config::tls_certificate`] and [`Config::tls_key`] again, for connections that come from now on.
    /// The server does so by itself about a second after a file has changed. Without TLS nothing happens.
    ///
    /// # Errors
    /// The file that cannot be used; the certificate stays as it was then.
    pub fn reload_certificate(&self) -> Result<(), CertificateError> {
        let Some(tls) = &self.inner.tls else { return Ok(()) };
        let result = tls.reload();
        match &result {
            Ok(()) => tracing::info!("the certificate was read again"),
            Err(error) => tracing::error!(%error, "the certificate cannot be used, the last one stays"),
        }
        result
    }

    /// Takes a client whose messages the application carries, by the head of its request: the headers (tokens, cookies and
    /// origin are looked for), the query without `?`, and what is known of who sent it. Who may not come in is told so and
    /// closed by the connection that is given back, like one of the server's own.
    pub fn attach(&self, headers: &HeaderMap, query: &str, caller: impl Into<Caller>) -> Attached {
        let applicant = self.admit_caller(headers, query, caller.into());
        Attached::new(self.clone(), applicant)
    }

    /// Publishes a message to an exact topic. [`Outgoing::topic`] is not looked at; without
    /// [`Outgoing::id`] a UUIDv7 is made.
    ///
    /// Never blocks. A message whose type contains `_snapshot` or starts with `snapshot_` is remembered, and is
    /// sent to everyone who subscribes to the topic later, until the next of its type.
    ///
    /// # Errors
    /// [`PublishError`]; nobody got the message then.
    pub fn publish(&self, topic: &str, message: Outgoing) -> Result<Published, PublishError> {
        let result = self.try_publish(topic, message);
        match &result {
            Ok(_) => self.counters().messages_published.one(),
            Err(error) => {
                self.counters().publishes_refused.one();
                tracing::debug!(topic, code = %error.code(), "publication refused");
            }
        }
        result
    }

    fn try_publish(&self, topic: &str, mut message: Outgoing) -> Result<Published, PublishError> {
        if self.is_stopping() {
            return Err(PublishError::ShuttingDown);
        }
        message.topic = Some(topic.to_owned());
        message.check(self.limits()).map_err(PublishError::Invalid)?;
        if self.must_refuse() {
            return Err(PublishError::OutOfMemory);
        }
        let wall = clock::wall();
        let id = message.id.take().unwrap_or_else(|| clock::new_id(wall));
        let compression = self.inner.config.compression;
        let (metrics, start) = (&self.inner.metrics, self.clock().nanos());
        let (kind, priority) = (metrics.kind(&message.kind), message.priority);
        let publication = Publication::new(topic, message, id.clone(), wall.to_string(), compression);
        publication.check_size(self.limits().max_frame).map_err(PublishError::Invalid)?;
        tracing::debug!(topic, kind = publication.kind(), id, trace_id = publication.trace_id(), "publish");
        match self.inner.bus.publish(Arc::new(publication.measured(kind, start)), self.now()) {
            Ok(delivered) => {
                metrics.published(topic, priority, self.clock().nanos().saturating_sub(start));
                Ok(Published { id, delivered })
            }
            Err(_) => Err(PublishError::TooManyTopics { limit: self.inner.config.max_topics }),
        }
    }

    /// Reads a page of what was published to a topic. `None`: nothing is known of the topic, or the server keeps no
    /// history (`history_messages` is 0).
    ///
    /// # Errors
    /// A code when the history cannot be asked for the moment. One in memory always can.
    pub async fn history(&self, topic: &str, query: &HistoryQuery) -> Result<Option<HistoryPage>, Code> {
        let stretch = self.inner.history.read(topic, query.after.as_ref(), query.limit, self.now()).await?;
        Ok(stretch.map(|stretch| HistoryPage::new(topic, &stretch)))
    }

    /// Who is in a topic. Nobody is in one that is not known.
    #[expect(clippy::unused_async, reason = "several instances have to ask each other")]
    pub async fn presence(&self, topic: &str, query: &PresenceQuery) -> PresencePage {
        self.inner.hub.presence(topic, query)
    }

    /// Stops: no more connections, no more publications; every client gets what is queued for it and then close
    /// code 1001. Connections that are not done after `deadline` are cut, attached ones included, which are done when they
    /// are dropped. Answers how many were. An [`AsyncHandler`] has until then, too.
    pub async fn shutdown(&self, deadline: Duration) -> usize {
        let until = Instant::now() + deadline.min(MAX_LENGTH);
        self.advance(Stage::Stopping);
        self.inner.stop.send_replace(true);
        lock(&self.inner.listener).take();
        for link in self.links() {
            link.close(Close::new(close::GOING_AWAY, "server shutting down"));
        }
        let closed = async {
            self.all_gone().await;
            self.inner.gate.all_closed().await;
        };
        if tokio::time::timeout_at(until, closed).await.is_ok() {
            return 0;
        }
        let late = self.links();
        for link in &late {
            link.abort();
        }
        late.len()
    }

    /// Reads the files of [`Config::jwt_keys`] anew, for tokens that come from now on; whoever is connected stays so.
    /// Answers how many keys are valid. The server does so by itself about a second after a file has changed.
    ///
    /// # Errors
    /// The file that cannot be used; the keys stay as they were then.
    pub fn reload_token_keys(&self) -> Result<usize, ConfigError> {
        self.inner.auth.reload_keys(&self.inner.config)
    }

    /// Counters since the start.
    pub fn stats(&self) -> Stats {
        self.inner.metrics.stats()
    }

    /// Number of clients that are connected.
    pub fn connection_count(&self) -> usize {
        self.inner.gate.connections()
    }

    /// Number of topics that are remembered.
    pub fn topic_count(&self) -> usize {
        self.inner.hub.topic_count()
    }

    /// Whether new connections are welcome: a load balancer should send clients here.
    pub fn is_ready(&self) -> bool {
        self.stage() == Stage::Serving
    }

    /// Bytes that all topics hold together, payloads counted three times.
    pub fn topic_bytes(&self) -> usize {
        self.inner.hub.held_bytes()
    }

    /// Messages and snapshots that were let go because all topics together held more than [`Config::history_bytes`].
    pub fn messages_evicted(&self) -> u64 {
        self.inner.hub.evicted()
    }

    /// Number of topics in which users are seen, and of users, each once for each topic.
    pub fn presence_totals(&self) -> (usize, usize) {
        self.inner.hub.presence_totals()
    }

    /// The settings.
    pub fn config(&self) -> &Config {
        &self.inner.config
    }

    /// Whether everyone may connect, subscribe and publish: there is no key for tokens.
    pub fn is_open(&self) -> bool {
        self.inner.auth.is_open()
    }

    /// Whether only programs on this machine can connect.
    pub fn is_on_loopback(&self) -> bool {
        is_loopback(self.inner.addr.ip())
    }
}

/// For the other modules.
impl Server {
    pub(crate) fn clock(&self) -> Clock {
        self.inner.clock
    }

    pub(crate) fn now(&self) -> Moment {
        self.inner.clock.now()
    }

    pub(crate) fn hub(&self) -> &Hub {
        &self.inner.hub
    }

    pub(crate) fn handler(&self) -> &dyn Handler {
        &*self.inner.handler
    }

    pub(crate) fn snapshots(&self) -> Option<&dyn SnapshotProvider> {
        self.inner.snapshots.as_deref()
    }

    pub(crate) fn runtime(&self) -> &Handle {
        &self.inner.runtime
    }

    pub(crate) fn auth(&self) -> &Authenticator {
        &self.inner.auth
    }

    /// By which names clients may call.
    pub(crate) fn hosts(&self) -> &Hosts {
        &self.inner.hosts
    }

    pub(crate) fn gate(&self) -> &Gate {
        &self.inner.gate
    }

    pub(crate) fn tls(&self) -> Option<&Tls> {
        self.inner.tls.as_ref()
    }

    pub(crate) fn queue_bytes(&self) -> &Arc<QueueBytes> {
        &self.inner.queue_bytes
    }

    pub(crate) fn issuer(&self) -> &Issuer {
        &self.inner.issuer
    }

    pub(crate) fn counters(&self) -> &Counters {
        self.inner.metrics.counters()
    }

    /// Answers to requests that may come again.
    pub(crate) fn answers(&self) -> &Answers {
        &self.inner.answers
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.inner.metrics
    }

    /// What waits for each connection.
    pub(crate) fn waiting(&self) -> Vec<Waiting> {
        self.links().iter().map(|link| link.waiting()).collect()
    }

    /// Topics and patterns that all connections together asked for.
    pub(crate) fn subscription_count(&self) -> usize {
        self.links().iter().map(|link| link.request_count()).sum()
    }

    pub(crate) fn peer_config(&self) -> Arc<PeerConfig> {
        Arc::clone(&self.inner.peer_config)
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.inner.peer_config.limits
    }

    /// Whether messages go back as they came, see [`ServerBuilder::echo`].
    #[cfg(feature = "echo")]
    pub(crate) fn echoes(&self) -> bool {
        self.inner.echo.load(Ordering::Relaxed)
    }

    /// Without the feature no connection does.
    #[cfg(not(feature = "echo"))]
    #[expect(clippy::unused_self, reason = "the same call as with the feature")]
    pub(crate) const fn echoes(&self) -> bool {
        false
    }

    /// Sums of the whole server that any client may know.
    pub(crate) fn figures(&self) -> BTreeMap<&'static str, u64> {
        let stats = self.stats();
        BTreeMap::from([
            ("connections", self.connection_count() as u64),
            ("topics", self.topic_count() as u64),
            ("messages_published", stats.messages_published),
            ("messages_delivered", stats.messages_delivered),
            ("messages_lost", stats.messages_lost),
        ])
    }

    pub(crate) fn next_number(&self) -> u64 {
        self.inner.next_number.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stage() == Stage::Stopping
    }

    /// How far the server is on its way out.
    pub(crate) fn stage(&self) -> Stage {
        Stage::ALL[usize::from(self.inner.stage.load(Ordering::Acquire))]
    }

    /// Goes on to a later stage; never back.
    pub(crate) fn advance(&self, stage: Stage) {
        self.inner.stage.fetch_max(stage as u8, Ordering::AcqRel);
    }

    pub(crate) fn schedule_drain(&self, schedule: Schedule) {
        *lock(&self.inner.drain) = Some(schedule);
    }

    /// Waits for the start of a shutdown.
    pub(crate) async fn stopped(&self) {
        // The sender lives as long as `self`, so the wait cannot fail.
        drop(self.inner.stop.subscribe().wait_for(|stop| *stop).await);
    }

    /// Decides about a client, and counts refusals by cause and tells them in the log.
    pub(crate) fn admit_caller(&self, headers: &HeaderMap, query: &str, caller: Caller) -> Applicant {
        let Caller { address: remote, identity } = caller;
        let (params, mut admission) = match UpgradeParams::parse(query) {
            Ok(params) => {
                let admission = match identity {
                    Some(identity) => self.auth().admit_known(headers, identity),
                    None => self.auth().admit(headers, params.token.as_ref()),
                };
                (params, admission)
            }
            Err(error) => {
                let denied = Admission::Denied { code: Code::InvalidRequest, message: error.to_string() };
                (UpgradeParams::default(), denied)
            }
        };
        let client = remote.map(|remote| self.gate().client(remote.ip(), headers));
        let mut place = None;
        if matches!(admission, Admission::Granted(_)) {
            match self.take_place(client) {
                Ok(taken) => place = Some(taken),
                Err(message) => admission = Admission::Denied { code: Code::ServerFull, message: message.into() },
            }
        }
        if let Admission::Denied { code, .. } = &admission {
            self.count_refusal(*code);
            let origin = (*code == Code::OriginNotAllowed).then(|| auth::shown_origin(headers)).flatten();
            tracing::info!(%code, client = client.map(tracing::field::display), origin, "connection refused");
        }
        Applicant { remote: client, params, admission, place }
    }

    fn count_refusal(&self, code: Code) {
        let counters = self.counters();
        match code {
            Code::AuthRequired => counters.refused_auth_required.one(),
            Code::AuthFailed => counters.refused_auth_failed.one(),
            Code::OriginNotAllowed => counters.refused_origin.one(),
            // Counted where it was found out what is full.
            Code::ServerFull => {}
            _ => counters.refused_request.one(),
        }
    }

    /// A place for one more connection, or why there is none.
    fn take_place(&self, client: Option<IpAddr>) -> Result<Place, &'static str> {
        let counters = self.counters();
        if self.pressure() > Pressure::None {
            counters.refused_full.one();
            return Err("the server is short of memory, try again later");
        }
        self.gate().admit(client).map_err(|why| match why {
            NoPlace::Full => {
                counters.refused_full.one();
                "too many connections, try again later"
            }
            NoPlace::Address => {
                counters.refused_address.one();
                "too many connections from your address, try again later"
            }
        })
    }

    /// Enters a connection, so that a shutdown reaches it.
    pub(crate) fn enter(&self, link: &Arc<Link>) {
        lock(&self.inner.links).insert(link.number(), Arc::clone(link));
        // A shutdown that began in between has not seen it.
        match self.stage() {
            Stage::Serving | Stage::Leaving => {}
            Stage::Draining => {
                if let Some(schedule) = *lock(&self.inner.drain) {
                    link.end_with(self.farewell(schedule));
                }
            }
            Stage::Stopping => link.close(Close::new(close::GOING_AWAY, "server shutting down")),
        }
    }

    pub(crate) fn leave(&self, link: &Link) {
        lock(&self.inner.links).remove(&link.number());
        self.inner.gone.notify_waiters();
    }

    /// An asynchronous application begins to do something for a connection.
    pub(crate) fn begin_work(&self) {
        self.inner.working.fetch_add(1, Ordering::AcqRel);
    }

    /// It has nothing more to do for it.
    pub(crate) fn end_work(&self) {
        self.inner.working.fetch_sub(1, Ordering::AcqRel);
        self.inner.gone.notify_waiters();
    }

    /// Waits until no connection is left, whatever carries it, and nothing is to be done for one.
    pub(crate) async fn all_gone(&self) {
        loop {
            let mut gone = pin!(self.inner.gone.notified());
            // Registered before the look, or a connection that ends in between would not be noticed.
            gone.as_mut().enable();
            if lock(&self.inner.links).is_empty() && self.inner.working.load(Ordering::Acquire) == 0 {
                return;
            }
            gone.await;
        }
    }

    pub(crate) fn links(&self) -> Vec<Arc<Link>> {
        lock(&self.inner.links).values().cloned().collect()
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("addr", &self.inner.addr).finish_non_exhaustive()
    }
}

/// A message that was published.
///
/// ```
/// # fn show(server: &wse_server::Server) -> Result<(), wse_server::PublishError> {
/// use wse_server::{Outgoing, Payload};
///
/// let published = server.publish("news", Outgoing::new("headline", Payload::EMPTY))?;
/// println!("{} goes to {} connections", published.id, published.delivered);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// The message's id.
    pub id: String,
    /// Number of connections that were subscribed, each of which gets it once.
    pub delivered: usize,
}

/// Why a message was not published.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// The type or the topic cannot be used, or the payload is too large.
    #[error(transparent)]
    Invalid(SendError),
    /// The topic is new, and as many as are allowed are in use.
    #[error("more than {limit} topics are in use")]
    TooManyTopics {
        /// The limit, [`Config::max_topics`].
        limit: usize,
    },
    /// The server holds as many bytes of messages as it may.
    #[error("the server is short of memory, try again later")]
    OutOfMemory,
    /// The server is shutting down.
    #[error("the server is shutting down")]
    ShuttingDown,
}

impl PublishError {
    /// The stable code.
    pub const fn code(&self) -> Code {
        match self {
            Self::Invalid(error) => error.code(),
            Self::TooManyTopics { .. } => Code::TooManyTopics,
            Self::OutOfMemory => Code::ServerFull,
            Self::ShuttingDown => Code::ServerError,
        }
    }
}

/// Why a server could not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A setting cannot be used.
    #[error("setting {0}")]
    Config(ConfigError),
    /// A certificate or its key cannot be used.
    #[error("certificate {0}")]
    Certificate(CertificateError),
    /// An open server on an address that others can reach.
    #[error(
        "refusing to run without a key for tokens on {address}, where others can reach it: set --jwt-secret \
         (WSE_JWT_SECRET) or --jwt-keys, or --host 127.0.0.1, or --allow-open if everyone may read and write everything"
    )]
    OpenToOthers {
        /// The address.
        address: SocketAddr,
    },
    /// The host is not known.
    #[error("cannot resolve host {host:?}")]
    Resolve {
        /// The host.
        host: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The port cannot be taken.
    #[error("cannot listen on {host}:{port}")]
    Bind {
        /// The host.
        host: String,
        /// The port.
        port: u16,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// [`ServerBuilder::build`] was called outside of a tokio runtime.
    #[error("a server needs a tokio runtime")]
    NoRuntime,
    /// [`Server::serve`] needs a server that was made by [`ServerBuilder::bind`].
    #[error("this server has no port of its own")]
    NoPort,
    /// [`Server::serve`] was called before.
    #[error("the server is serving already")]
    AlreadyServing,
}
