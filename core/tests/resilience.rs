//! A `Client` alone: which endpoint it dials, with which token, and when.

use std::time::Duration;

use wse_client_core::{
    client::{Action, Client, ConnectionState, Fault, Input, Output, RequestId},
    config::{ClientConfig, Credentials},
    error::Code,
    io::SocketId,
    resilience::BreakerState,
    rng::Seed,
    time::{Moment, WallTime},
};

struct Driver {
    client: Client,
    now: Moment,
    /// URL and token of each attempt.
    dialled: Vec<(String, Option<String>)>,
    socket: SocketId,
    asked: usize,
    question: RequestId,
}

impl Driver {
    fn new(config: ClientConfig) -> Self {
        let now = Moment::from_millis(1000);
        let client = Client::new(config, Seed::from_u64(3), now, WallTime::from_unix_ms(0)).expect("config");
        let mut driver =
            Self { client, now, dialled: Vec::new(), socket: SocketId(0), asked: 0, question: RequestId(0) };
        driver.client.connect(now);
        driver.drain();
        driver
    }

    fn drain(&mut self) -> Option<Moment> {
        loop {
            match self.client.poll() {
                Output::Act(Action::Open { socket, url, token }) => {
                    let url = url.split('?').next().unwrap_or_default().to_owned();
                    self.dialled.push((url, token.map(|token| token.expose().to_owned())));
                    self.socket = socket;
                }
                Output::Act(Action::FetchToken { request, .. }) => {
                    self.asked += 1;
                    self.question = request;
                }
                Output::Act(_) | Output::Emit(_) => {}
                Output::Wait(at) => return at,
            }
        }
    }

    fn input(&mut self, input: Input) {
        self.client.handle(input, self.now);
        self.drain();
    }

    /// The provider answers its last question.
    fn provide(&mut self, token: &str) {
        self.input(Input::Token(self.question, Ok(Some(token.into()))));
    }

    fn fail(&mut self, http_status: Option<u16>) {
        self.input(Input::Failed(self.socket, Fault { http_status, detail: "no".into() }));
    }

    /// Turns the clock to the next deadline, which must exist.
    fn wait(&mut self) -> Duration {
        let at = self.drain().expect("a client never parks");
        let waited = at.since(self.now);
        self.now = self.now.max(at);
        self.input(Input::Wake);
        waited
    }

    fn set_token(&mut self, token: &str) {
        self.client.set_token(Some(token.into()), self.now);
        self.drain();
    }

    fn pause(&self) -> Duration {
        self.client.last_disconnect().and_then(|end| end.retry_in).expect("on the clock")
    }

    fn last_token(&self) -> Option<&str> {
        self.dialled.last().and_then(|(_, token)| token.as_deref())
    }
}

fn three() -> ClientConfig {
    let mut config = ClientConfig::new("ws://a");
    config.endpoints.extend(["ws://b".into(), "ws://c".into()]);
    config
}

fn provider() -> ClientConfig {
    ClientConfig { credentials: Credentials::Provider, ..ClientConfig::new("ws://a") }
}

#[test]
fn the_endpoint_that_failed_is_not_dialled_next() {
    let mut driver = Driver::new(three());
    for _ in 0..12 {
        driver.fail(None);
        driver.wait();
    }
    assert!(driver.dialled.windows(2).all(|pair| pair[0].0 != pair[1].0), "{:?}", driver.dialled);
    for url in ["ws://a", "ws://b", "ws://c"] {
        assert!(driver.dialled.iter().any(|(dialled, _)| dialled == url), "{url} was never tried");
    }
}

#[test]
fn with_every_breaker_open_a_probe_is_on_the_clock_within_a_minute() {
    let mut driver = Driver::new(three());
    for _ in 0..200 {
        driver.fail(None);
        assert!(driver.pause() <= Duration::from_secs(60));
        driver.wait();
    }
    assert_eq!(driver.dialled.len(), 201);
    let health = driver.client.diagnostics(driver.now).endpoints;
    assert!(health.iter().any(|endpoint| endpoint.circuit_breaker == BreakerState::Open));
}

#[test]
fn refused_tokens_open_no_breaker() {
    let mut driver = Driver::new(ClientConfig { credentials: Credentials::Token("x".into()), ..three() });
    for _ in 0..30 {
        driver.fail(Some(401));
        driver.wait();
    }
    let health = driver.client.diagnostics(driver.now).endpoints;
    assert!(health.iter().all(|endpoint| endpoint.circuit_breaker == BreakerState::Closed && endpoint.score > 99));
}

#[test]
fn the_preferred_endpoint_is_dialled_first() {
    for (preferred, url) in [(1, "ws://b"), (2, "ws://c")] {
        let mut config = three();
        config.pool.preferred = Some(preferred);
        assert_eq!(Driver::new(config).dialled[0].0, url);
    }
    let mut config = three();
    config.pool.preferred = Some(3);
    assert_eq!(config.check().expect_err("there are three").setting, "pool.preferred");
}

#[test]
fn forbidden_is_told_apart_and_retried_slowly() {
    let mut driver = Driver::new(ClientConfig::new("ws://a"));
    driver.fail(Some(403));
    let end = driver.client.last_disconnect().expect("told");
    assert_eq!(end.code, Code::Forbidden);
    assert!(driver.pause() >= Duration::from_secs(30));
    assert_eq!(driver.client.state(), ConnectionState::Reconnecting);
    driver.set_token("fresh");
    assert_eq!(driver.last_token(), Some("fresh"), "a token set late does not wait");
}

#[test]
fn a_token_set_while_the_provider_is_asked_wins_and_its_answer_is_dropped() {
    let mut driver = Driver::new(provider());
    assert_eq!(driver.asked, 1);
    driver.set_token("set");
    assert_eq!(driver.last_token(), Some("set"));
    driver.provide("older");
    assert_eq!(driver.dialled.len(), 1);
}

#[test]
fn with_a_provider_a_token_set_late_is_used_once() {
    let mut driver = Driver::new(provider());
    driver.provide("stale");
    driver.fail(Some(401));
    driver.set_token("set");
    assert_eq!(driver.last_token(), Some("set"));
    driver.fail(None);
    driver.wait();
    assert_eq!(driver.asked, 2, "then the provider is asked again");
}

#[test]
fn a_token_revives_a_client_whose_retries_ended_for_want_of_one() {
    let mut config = ClientConfig { credentials: Credentials::Token("stale".into()), ..ClientConfig::new("ws://a") };
    config.reconnect.max_retries = Some(0);
    let mut driver = Driver::new(config);
    driver.fail(Some(401));
    assert_eq!(driver.client.state(), ConnectionState::Failed);
    driver.set_token("fresh");
    assert_eq!(driver.last_token(), Some("fresh"));
}
