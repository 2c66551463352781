//! Settings of a client.

use std::{fmt::Display, future::Future, path::PathBuf, sync::Arc, time::Duration};

use tokio::runtime::Handle;
use wse_client_core::{
    config::{ClientConfig, ConfigError, Credentials, OfflineConfig, RecordConfig},
    delivery::{BatchConfig, RateLimit},
    resilience::{BackoffStrategy, PoolConfig},
    security::{Secret, SigningConfig},
    wire::{Compression, Encoding, Limits},
};

use crate::{
    client::Client, dial::Dialer, driver::Driver, error::ConnectError, shared::Shared, tls, token::TokenProvider,
};

/// Chained settings of a [`Client`]. Every one has a default; all are checked together when the client starts.
///
/// ```
/// use std::time::Duration;
/// use wse_client::{Client, Encoding};
///
/// let builder = Client::builder("wss://a.example.org/wse")
///     .endpoint("wss://b.example.org/wse")
///     .topics(["orders:*"])
///     .token_provider(|_renew| async { Ok::<_, std::io::Error>(Some(String::from("token"))) })
///     .encryption(true)
///     .encoding(Encoding::Msgpack)
///     .max_retries(10)
///     .initial_delay(Duration::from_millis(200));
/// assert!(builder.config().check().is_ok());
/// ```
#[must_use = "settings do nothing until `connect` or `start`"]
pub struct Builder {
    config: ClientConfig,
    provider: Option<TokenProvider>,
    root_certificates: Vec<Vec<u8>>,
    connect_timeout: Duration,
    event_buffer: usize,
    send_buffer: usize,
    write_timeout: Duration,
    record_to: Option<PathBuf>,
}

impl Builder {
    pub(crate) fn new(url: String) -> Self {
        let mut config = ClientConfig::new(url);
        config.client_version = env!("CARGO_PKG_VERSION").into();
        Self {
            config,
            provider: None,
            root_certificates: Vec::new(),
            connect_timeout: Duration::from_secs(30),
            event_buffer: 1024,
            send_buffer: 1 << 20,
            write_timeout: Duration::from_secs(20),
            record_to: None,
        }
    }

    /// Starts the client and waits until it is connected. The events of the way there are in the queue.
    ///
    /// ```no_run
    /// # async fn run() -> Result<(), wse_client::ConnectError> {
    /// let client = wse_client::Client::builder("ws://127.0.0.1:5006/wse").connect().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ConnectError`]: a setting that cannot be used; a failure that time will not heal (forbidden; without a token
    /// provider also a token that is refused), or retries that are used up; or the
    /// [`connect_timeout`](Self::connect_timeout) with the reason of the last attempt. The client is closed then.
    pub async fn connect(self) -> Result<Client, ConnectError> {
        let after = self.connect_timeout;
        // A provider may have a better token the next time.
        let give_up_after =
            self.provider.is_none().then(|| u32::try_from(self.config.endpoints.len()).unwrap_or(u32::MAX));
        let client = self.start()?;
        match tokio::time::timeout(after, client.connected(give_up_after)).await {
            Ok(connected) => connected.map(|()| client),
            Err(_) => Err(ConnectError::Timeout { after, last: client.last_disconnect() }),
        }
    }

    /// Starts the client on the current tokio runtime and does not wait: what happens is told by events.
    ///
    /// ```no_run
    /// # async fn run() -> Result<(), wse_client::ConfigError> {
    /// let mut client = wse_client::Client::builder("ws://127.0.0.1:5006/wse").start()?;
    /// while let Some(event) = client.next().await {
    ///     println!("{event:?}");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The first setting that cannot be used; also when there is no tokio runtime here.
    pub fn start(self) -> Result<Client, ConfigError> {
        let runtime = Handle::try_current().map_err(|_| {
            ConfigError::new("runtime", "must be a tokio runtime: call from within one, or use start_on")
        })?;
        self.start_on(&runtime)
    }

    /// The same on a runtime that the caller keeps; it must have its I/O and time drivers enabled. For bindings,
    /// whose threads are none of tokio's.
    ///
    /// ```
    /// let runtime = tokio::runtime::Runtime::new().unwrap();
    /// let client = wse_client::Client::builder("ws://127.0.0.1:9/wse").start_on(runtime.handle())?;
    /// # Ok::<(), wse_client::ConfigError>(())
    /// ```
    ///
    /// # Errors
    /// The first setting that cannot be used.
    pub fn start_on(self, runtime: &Handle) -> Result<Client, ConfigError> {
        if self.event_buffer == 0 {
            return Err(ConfigError::new("event_buffer", "must be at least 1"));
        }
        if self.send_buffer == 0 {
            return Err(ConfigError::new("send_buffer", "must be at least 1 byte"));
        }
        if self.write_timeout < Duration::from_millis(1) {
            return Err(ConfigError::new("write_timeout", "must be at least 1 ms"));
        }
        let dialer = Dialer::new(tls::client_config(&self.root_certificates)?, &self.config.limits);
        let shared = Arc::new(Shared::new(self.config, self.event_buffer, self.send_buffer)?);
        shared.command(|engine, now| engine.connect(now));
        let mut driver = Driver::new(Arc::clone(&shared), dialer, self.provider, self.write_timeout);
        driver.record_to = self.record_to;
        runtime.spawn(driver.run());
        Ok(Client::new(shared))
    }

    /// The settings of the engine so far.
    ///
    /// ```
    /// let builder = wse_client::Client::builder("ws://127.0.0.1/wse").max_retries(3);
    /// assert_eq!(builder.config().reconnect.max_retries, Some(3));
    /// ```
    pub const fn config(&self) -> &ClientConfig {
        &self.config
    }

    /// Changes the settings of the engine directly, for what has no setter here.
    ///
    /// ```
    /// let builder = wse_client::Client::builder("ws://127.0.0.1/wse").configure(|config| config.limits.max_depth = 16);
    /// assert_eq!(builder.config().limits.max_depth, 16);
    /// ```
    pub fn configure(mut self, change: impl FnOnce(&mut ClientConfig)) -> Self {
        change(&mut self.config);
        self
    }

    /// One more address of an equal server; the next one is tried after each failure.
    ///
    /// ```
    /// let builder = wse_client::Client::builder("ws://a/wse").endpoint("ws://b/wse");
    /// assert_eq!(builder.config().endpoints.len(), 2);
    /// ```
    pub fn endpoint(mut self, url: impl Into<String>) -> Self {
        self.config.endpoints.push(url.into());
        self
    }

    /// Topics to subscribe to as soon as a connection is ready: exact names, or patterns with `*` and `?`. Default none.
    ///
    /// ```
    /// let builder = wse_client::Client::builder("ws://a/wse").topics(["news", "room:*"]);
    /// assert_eq!(builder.config().topics, ["news", "room:*"]);
    /// ```
    pub fn topics<I>(mut self, topics: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        self.config.topics = topics.into_iter().map(Into::into).collect();
        self
    }

    /// The token, until [`Client::set_token`] replaces it. Default: none is sent.
    ///
    /// ```
    /// let builder = wse_client::Client::builder("ws://a/wse").token("secret");
    /// assert!(!format!("{:?}", builder.config()).contains("secret"));
    /// ```
    pub fn token(mut self, token: impl Into<Secret>) -> Self {
        self.config.credentials = Credentials::Token(token.into());
        self.provider = None;
        self
    }

    /// Asks the application for a token at each attempt. The argument says that the last token was refused, so a
    /// cached one will not do. `Ok(None)`: connect without a token. An error or a panic counts as a failed attempt
    /// (`TOKEN_PROVIDER_FAILED`) and is tried again with backoff. Bounded by [`dial_timeout`](Self::dial_timeout).
    ///
    /// ```
    /// # async fn ask_my_backend(_renew: bool) -> Result<String, std::io::Error> { Ok("token".into()) }
    /// let builder = wse_client::Client::builder("ws://a/wse")
    ///     .token_provider(|renew| async move { ask_my_backend(renew).await.map(Some) });
    /// ```
    pub fn token_provider<F, Fut, E>(mut self, provider: F) -> Self
    where
        F: Fn(bool) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Option<String>, E>> + Send + 'static,
        E: Display,
    {
        self.config.credentials = Credentials::Provider;
        self.provider = Some(TokenProvider::new(provider));
        self
    }

    /// Agree on a key and encrypt every message; a server that cannot is refused. Default false.
    ///
    /// ```
    /// assert!(wse_client::Client::builder("ws://a/wse").encryption(true).config().security.encryption);
    /// ```
    pub const fn encryption(mut self, encryption: bool) -> Self {
        self.config.security.encryption = encryption;
        self
    }

    /// Age at which the key of a connection is renewed in mid-session. Default 1 h; `None`: only before its counter is
    /// used up.
    ///
    /// ```
    /// # use std::time::Duration;
    /// let builder = wse_client::Client::builder("ws://a/wse").rotate_after(Duration::from_secs(600));
    /// assert_eq!(builder.config().security.rotate_after, Some(Duration::from_secs(600)));
    /// ```
    pub fn rotate_after(mut self, age: impl Into<Option<Duration>>) -> Self {
        self.config.security.rotate_after = age.into();
        self
    }

    /// Signs what is published, and messages of selected types, with a key that the server knows. Default `None`.
    ///
    /// ```
    /// use wse_client::{Client, SigningConfig};
    /// let mut signing = SigningConfig::new("at least thirty-two bytes of text".into());
    /// signing.kinds.insert("order".into());
    /// assert!(Client::builder("ws://a/wse").signing(signing).config().check().is_ok());
    /// ```
    pub fn signing(mut self, signing: impl Into<Option<SigningConfig>>) -> Self {
        self.config.security.signing = signing.into();
        self
    }

    /// Compress large messages, and accept compressed ones; `None`: neither. Default: over 1024 bytes.
    ///
    /// ```
    /// let builder = wse_client::Client::builder("ws://a/wse").compression(None);
    /// assert!(builder.config().performance.compression.is_none());
    /// ```
    pub fn compression(mut self, compression: impl Into<Option<Compression>>) -> Self {
        self.config.performance.compression = compression.into();
        self
    }

    /// How messages are written, and how the server is asked to write. Default: JSON in binary frames.
    ///
    /// ```
    /// use wse_client::{Client, Encoding};
    /// assert_eq!(Client::builder("ws://a/wse").encoding(Encoding::Text).config().performance.encoding, Encoding::Text);
    /// ```
    pub const fn encoding(mut self, encoding: Encoding) -> Self {
        self.config.performance.encoding = encoding;
        self
    }

    /// Keeping messages while the client connects or reconnects. Default: 1000 of them, for an hour.
    ///
    /// ```
    /// use wse_client::{Client, OfflineConfig};
    /// let builder = Client::builder("ws://a/wse").offline(OfflineConfig { enabled: false, ..OfflineConfig::default() });
    /// assert!(!builder.config().offline.enabled);
    /// ```
    pub const fn offline(mut self, offline: OfflineConfig) -> Self {
        self.config.offline = offline;
        self
    }

    /// Joins small messages in one frame where the server reads it. Default `None`: each goes at once.
    ///
    /// ```
    /// use wse_client::{BatchConfig, Client};
    /// let builder = Client::builder("ws://a/wse").batch(BatchConfig::default());
    /// assert_eq!(builder.config().performance.batch.map(|batch| batch.size), Some(10));
    /// ```
    pub fn batch(mut self, batch: impl Into<Option<BatchConfig>>) -> Self {
        self.config.performance.batch = batch.into();
        self
    }

    /// Sends no faster than this; messages wait for their turn. Default `None`: only a server can slow the client down.
    ///
    /// ```
    /// use wse_client::{Client, RateLimit};
    /// let builder = Client::builder("ws://a/wse").rate_limit(RateLimit { capacity: 10, refill: 5.0 });
    /// assert!(builder.config().check().is_ok());
    /// ```
    pub fn rate_limit(mut self, limit: impl Into<Option<RateLimit>>) -> Self {
        self.config.performance.rate_limit = limit.into();
        self
    }

    /// Which of several endpoints is next. Default: at random among the healthy ones, weighted by their health.
    ///
    /// ```
    /// use wse_client::{Client, PoolConfig};
    ///
    /// let pool = PoolConfig { preferred: Some(0), ..PoolConfig::default() };
    /// let client = Client::builder("ws://a/wse").endpoint("ws://b/wse").pool(pool);
    /// assert_eq!(client.config().pool.preferred, Some(0));
    /// ```
    pub fn pool(mut self, pool: PoolConfig) -> Self {
        self.config.pool = pool;
        self
    }

    /// Ping less often on a fair or poor network and join small messages, which then wait up to 200 ms on a fair one and
    /// 500 ms on a poor one; on a poor one compress harder, too. Default false.
    ///
    /// ```
    /// assert!(wse_client::Client::builder("ws://a/wse").adaptive_quality(true).config().adaptive_quality);
    /// ```
    pub const fn adaptive_quality(mut self, adaptive: bool) -> Self {
        self.config.adaptive_quality = adaptive;
        self
    }

    /// Consecutive failures after which the client gives up with a typed event; `None` (default): never.
    ///
    /// ```
    /// assert_eq!(wse_client::Client::builder("ws://a/wse").max_retries(5).config().reconnect.max_retries, Some(5));
    /// ```
    pub fn max_retries(mut self, retries: impl Into<Option<u32>>) -> Self {
        self.config.reconnect.max_retries = retries.into();
        self
    }

    /// Longest first pause before a reconnect; later ones grow from it, and each is drawn at random up to its limit.
    /// Default 1 s.
    ///
    /// ```
    /// # use std::time::Duration;
    /// let builder = wse_client::Client::builder("ws://a/wse").initial_delay(Duration::from_millis(100));
    /// assert_eq!(builder.config().reconnect.initial_delay, Duration::from_millis(100));
    /// ```
    pub const fn initial_delay(mut self, delay: Duration) -> Self {
        self.config.reconnect.initial_delay = delay;
        self
    }

    /// Longest pause before a reconnect. Default 30 s.
    ///
    /// ```
    /// # use std::time::Duration;
    /// let builder = wse_client::Client::builder("ws://a/wse").max_delay(Duration::from_secs(5));
    /// assert_eq!(builder.config().reconnect.max_delay, Duration::from_secs(5));
    /// ```
    pub const fn max_delay(mut self, delay: Duration) -> Self {
        self.config.reconnect.max_delay = delay;
        self
    }

    /// Growth of the pause after each failure, from 1 to 10. Default 1.5.
    ///
    /// ```
    /// assert_eq!(wse_client::Client::builder("ws://a/wse").backoff_multiplier(2.0).config().reconnect.multiplier, 2.0);
    /// ```
    pub const fn backoff_multiplier(mut self, multiplier: f64) -> Self {
        self.config.reconnect.multiplier = multiplier;
        self
    }

    /// How the pause grows. Default exponential.
    ///
    /// ```
    /// use wse_client::{BackoffStrategy, Client};
    /// let builder = Client::builder("ws://a/wse").backoff_strategy(BackoffStrategy::Fibonacci);
    /// assert_eq!(builder.config().reconnect.strategy, BackoffStrategy::Fibonacci);
    /// ```
    pub const fn backoff_strategy(mut self, strategy: BackoffStrategy) -> Self {
        self.config.reconnect.strategy = strategy;
        self
    }

    /// Time between pings, and silence after a ping that ends the connection. Default 15 s and 25 s.
    ///
    /// ```
    /// # use std::time::Duration;
    /// let builder = wse_client::Client::builder("ws://a/wse").heartbeat(Duration::from_secs(5), Duration::from_secs(9));
    /// assert_eq!(builder.config().heartbeat.interval, Duration::from_secs(5));
    /// ```
    pub const fn heartbeat(mut self, interval: Duration, timeout: Duration) -> Self {
        self.config.heartbeat.interval = interval;
        self.config.heartbeat.timeout = timeout;
        self
    }

    /// Bound of one attempt's TCP, TLS and WebSocket handshake, and of one call of the token provider. Default 10 s.
    ///
    /// ```
    /// # use std::time::Duration;
    /// let builder = wse_client::Client::builder("ws://a/wse").dial_timeout(Duration::from_secs(3));
    /// assert_eq!(builder.config().timeouts.connect, Duration::from_secs(3));
    /// ```
    pub const fn dial_timeout(mut self, limit: Duration) -> Self {
        self.config.timeouts.connect = limit;
        self
    }

    /// Bound from the open socket to a server that says it is ready. Default 10 s.
    ///
    /// ```
    /// # use std::time::Duration;
    /// let builder = wse_client::Client::builder("ws://a/wse").ready_timeout(Duration::from_secs(3));
    /// assert_eq!(builder.config().timeouts.ready, Duration::from_secs(3));
    /// ```
    pub const fn ready_timeout(mut self, limit: Duration) -> Self {
        self.config.timeouts.ready = limit;
        self
    }

    /// Bound of the answer to a subscription request. Default 5 s.
    ///
    /// ```
    /// # use std::time::Duration;
    /// let builder = wse_client::Client::builder("ws://a/wse").subscribe_timeout(Duration::from_secs(1));
    /// assert_eq!(builder.config().timeouts.subscribe, Duration::from_secs(1));
    /// ```
    pub const fn subscribe_timeout(mut self, limit: Duration) -> Self {
        self.config.timeouts.subscribe = limit;
        self
    }

    /// Bound of the answer to a [`Client::request`]. Default 10 s.
    ///
    /// ```
    /// # use std::time::Duration;
    /// let builder = wse_client::Client::builder("ws://a/wse").request_timeout(Duration::from_secs(1));
    /// assert_eq!(builder.config().timeouts.request, Duration::from_secs(1));
    /// ```
    pub const fn request_timeout(mut self, limit: Duration) -> Self {
        self.config.timeouts.request = limit;
        self
    }

    /// Bound of [`connect`](Self::connect) as a whole, all its attempts together. Default 30 s.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// # use std::time::Duration;
    /// // Nobody listens on port 9.
    /// let builder = wse_client::Client::builder("ws://127.0.0.1:9/wse").connect_timeout(Duration::from_millis(50));
    /// let error = builder.connect().await.unwrap_err();
    /// assert_eq!(error.code().as_str(), "TIMEOUT");
    /// # });
    /// ```
    pub const fn connect_timeout(mut self, limit: Duration) -> Self {
        self.connect_timeout = limit;
        self
    }

    /// Bounds on what the server may send. A message over `max_frame` ends the connection with close code 1009.
    ///
    /// ```
    /// use wse_client::{Client, Limits};
    /// let builder = Client::builder("ws://a/wse").limits(Limits { max_frame: 4096, ..Limits::default() });
    /// assert_eq!(builder.config().limits.max_frame, 4096);
    /// ```
    pub const fn limits(mut self, limits: Limits) -> Self {
        self.config.limits = limits;
        self
    }

    /// Name and version that the server is told, for SDKs built on this one. Default: the version of this crate.
    ///
    /// ```
    /// let builder = wse_client::Client::builder("ws://a/wse").client_version("my-sdk/1.0");
    /// assert_eq!(builder.config().client_version, "my-sdk/1.0");
    /// ```
    pub fn client_version(mut self, version: impl Into<String>) -> Self {
        self.config.client_version = version.into();
        self
    }

    /// Events that may wait for the application before the client stops reading its socket. Default 1024. No event is
    /// ever dropped; reading goes on when half of them were taken.
    ///
    /// ```
    /// let builder = wse_client::Client::builder("ws://a/wse").event_buffer(16);
    /// ```
    pub const fn event_buffer(mut self, events: usize) -> Self {
        self.event_buffer = events;
        self
    }

    /// Bytes that may wait for the socket before [`Client::send`] waits. Default 1 MiB.
    ///
    /// ```
    /// let builder = wse_client::Client::builder("ws://a/wse").send_buffer(64 * 1024);
    /// ```
    pub const fn send_buffer(mut self, bytes: usize) -> Self {
        self.send_buffer = bytes;
        self
    }

    /// Keeps a recording of inputs and decisions, without payloads and secrets, for [`Client::recording`] and
    /// `wse replay`. Default: none.
    ///
    /// ```
    /// use wse_client::RecordConfig;
    /// let builder = wse_client::Client::builder("ws://a/wse").record(RecordConfig::default());
    /// assert_eq!(builder.config().diagnostics.record, Some(RecordConfig::default()));
    /// ```
    pub const fn record(mut self, bounds: RecordConfig) -> Self {
        self.config.diagnostics.record = Some(bounds);
        self
    }

    /// Keeps a recording as [`record`](Self::record) does, and writes it to this file when the client is closed or fails
    /// for good. A file that cannot be written is told to the log.
    ///
    /// ```
    /// use wse_client::RecordConfig;
    /// let builder = wse_client::Client::builder("ws://a/wse").record_to("flight.jsonl");
    /// assert_eq!(builder.config().diagnostics.record, Some(RecordConfig::default()));
    /// ```
    pub fn record_to(mut self, file: impl Into<PathBuf>) -> Self {
        self.config.diagnostics.record.get_or_insert_default();
        self.record_to = Some(file.into());
        self
    }

    /// How long the other side may take no bytes at all, while some wait, before the connection counts as broken.
    /// Default 20 s.
    ///
    /// ```
    /// # use std::time::Duration;
    /// let builder = wse_client::Client::builder("ws://a/wse").write_timeout(Duration::from_secs(5));
    /// ```
    pub const fn write_timeout(mut self, limit: Duration) -> Self {
        self.write_timeout = limit;
        self
    }

    /// Trusts the certificates in a PEM file for `wss://`, in addition to the built-in Mozilla roots. For private
    /// authorities and tests; may be called several times.
    ///
    /// ```no_run
    /// # fn run() -> std::io::Result<()> {
    /// let builder = wse_client::Client::builder("wss://intra/wse").root_certificates(std::fs::read("ca.pem")?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn root_certificates(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.root_certificates.push(pem.into());
        self
    }
}

impl std::fmt::Debug for Builder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Builder").field("config", &self.config).finish_non_exhaustive()
    }
}
