//! From `connect()` to a ready server, and what happens when it goes away. Source: PROTOCOL.md §4, §7.2, §8.

use std::time::Duration;

use crate::{
    PROTOCOL_VERSION,
    channel::Channel,
    config::{Credentials, TokenTransport},
    error::{
        Code,
        close::{self, Reaction},
    },
    io::{Close, SocketId},
    resilience::{Adaptation, ReturnWindow},
    security::{Dialect, KeyPair, Keyring, Role, Secret},
    time::Moment,
    wire::{
        Encoding, Message,
        control::{Object, Value},
    },
};

use super::{
    Action, Client, Disconnect, Event, Fault, Input, Output, RequestId, ServerInfo, Timer,
    lifecycle::{Cause, Phase, Rest},
    metrics::whole_millis,
};

/// How long a server that answers but never says `server_ready` is waited for.
const LEGACY_GRACE: Duration = Duration::from_secs(2);

/// How long a connection must hold before earlier failures are forgotten.
const STABLE_AFTER: Duration = Duration::from_secs(5);

/// One open socket and what was agreed on it.
pub(super) struct Link {
    pub(super) socket: SocketId,
    pub(super) channel: Channel,
    pub(super) info: ServerInfo,
    /// The server reads every frame kind and seals its control messages too.
    pub(super) full_duplex: bool,
    /// The server keeps a history of topics.
    pub(super) recovery: bool,
    /// The server reads `batch`.
    pub(super) batching: bool,
    /// Most topics that the server takes in one request, if it said so.
    pub(super) max_topics: Option<usize>,
    /// Topics that only a pattern wants, and that a question about a gap subscribed to by name.
    pub(super) named: Vec<String>,
    /// Until the server's half came.
    key_pair: Option<KeyPair>,
    /// When the present key came into force.
    pub(super) keyed_at: Moment,
    /// When the server was asked to renew it, while it has not answered.
    pub(super) asked_for_keys: Option<Moment>,
    alive: bool,
    said_ready: bool,
    grace_over: bool,
    /// The last `error` of the server: it explains the close that follows.
    pub(super) last_error: Option<(String, String)>,
    /// When the server wants to see us again, if it said so.
    pub(super) return_window: Option<ReturnWindow>,
    /// The end of the pause that the server named in a refusal: whoever is sent away for that comes back after it.
    pub(super) refused_until: Option<Moment>,
}

impl Link {
    /// The server said how it calls this connection, if it did.
    fn know_name(&mut self, name: Option<String>) {
        if let Some(name) = name {
            self.channel.bind_signatures(&name);
            self.info.connection_id = Some(name);
        }
    }

    /// What decides how this connection goes on, in one line for a checker.
    pub(super) fn flags(&self) -> String {
        format!(
            "key={} sealed={} full={} alive={} ready={} grace={} window={}",
            self.key_pair.is_some(),
            self.channel.is_encrypted(),
            self.full_duplex,
            self.alive,
            self.said_ready,
            self.grace_over,
            self.return_window.is_some(),
        )
    }
}

#[derive(Default)]
struct ServerHello {
    server_version: Option<String>,
    connection_id: Option<String>,
    encryption_public_key: Option<String>,
    features: ServerFeatures,
    max_topics: Option<usize>,
}

impl ServerHello {
    fn read(payload: Value<'_>) -> Option<Self> {
        Some(Self {
            server_version: payload.optional("server_version", Value::text)?,
            connection_id: payload.optional("connection_id", Value::text)?,
            encryption_public_key: payload.optional("encryption_public_key", Value::text)?,
            features: payload.optional("features", ServerFeatures::read)?.unwrap_or_default(),
            max_topics: max_topics(payload),
        })
    }
}

#[derive(Default)]
struct ServerFeatures {
    full_duplex: bool,
    recovery: bool,
    bound_keys: bool,
    batching: bool,
    message_signing: bool,
}

impl ServerFeatures {
    fn read(features: Value<'_>) -> Option<Self> {
        let features = features.object()?;
        let has = |name| features.optional(name, Value::truth).map(Option::unwrap_or_default);
        Some(Self {
            full_duplex: has("full_duplex")?,
            recovery: has("recovery")?,
            bound_keys: has("bound_keys")?,
            batching: has("batching")?,
            message_signing: has("message_signing")?,
        })
    }
}

/// `server_ready`.
#[derive(Default)]
struct ServerReady {
    connection_id: Option<String>,
    user_id: Option<String>,
    features: ServerFeatures,
    max_topics: Option<usize>,
}

impl ServerReady {
    /// Published servers put the members in `details`, some in the payload itself.
    fn read(payload: Value<'_>) -> Option<(Self, Self)> {
        let inner = payload.optional("details", |details| Self::read_one(details.object()?))?;
        Some((Self::read_one(payload)?, inner.unwrap_or_default()))
    }

    fn read_one(object: Value<'_>) -> Option<Self> {
        Some(Self {
            connection_id: object.optional("connection_id", Value::text)?,
            user_id: object.optional("user_id", Value::text)?,
            features: object.optional("features", ServerFeatures::read)?.unwrap_or_default(),
            max_topics: max_topics(object),
        })
    }
}

impl Client {
    /// Starts an attempt: first the token, then the socket.
    pub(super) fn start_attempt(&mut self, now: Moment) {
        self.timers.clear(Timer::Retry);
        self.timers.set(Timer::Dial, now + self.config.timeouts.connect);
        let cause = match self.phase() {
            Phase::Resting(_) => Cause::Connect,
            // A token that was set comes before the answer of the provider.
            Phase::FetchingToken { .. } => Cause::TokenGiven,
            Phase::Opening { .. } | Phase::Greeting | Phase::Ready { .. } | Phase::Waiting => Cause::PauseOver,
        };
        match &self.config.credentials {
            Credentials::None => self.dial(None, cause, now),
            Credentials::Token(token) => {
                let token = token.clone();
                self.dial(Some(token), cause, now);
            }
            Credentials::Provider if self.token_once.is_some() => {
                let token = self.token_once.take();
                self.dial(token, cause, now);
            }
            Credentials::Provider => {
                let request = self.subscriptions.next_request();
                self.enter(Phase::FetchingToken { request }, cause);
                let renew = std::mem::take(&mut self.renew_token);
                self.outputs.push_back(Output::Act(Action::FetchToken { request, renew }));
            }
        }
    }

    pub(super) fn on_token(&mut self, request: RequestId, answer: Result<Option<Secret>, String>, now: Moment) {
        if !matches!(self.phase(), Phase::FetchingToken { request: current } if current == request) {
            return;
        }
        match answer {
            Ok(token) => self.dial(token, Cause::TokenGiven, now),
            Err(detail) => self.attempt_failed(Cause::TokenFailed, Code::TokenProviderFailed, None, detail, now),
        }
    }

    fn dial(&mut self, token: Option<Secret>, cause: Cause, now: Moment) {
        self.last_socket += 1;
        let socket = SocketId(self.last_socket);
        self.enter(Phase::Opening { socket }, cause);
        self.timers.set(Timer::Dial, now + self.config.timeouts.connect);
        self.pool.choose(&mut self.rng, now);
        let (url, token) = self.url_for(token);
        self.outputs.push_back(Output::Act(Action::Open { socket, url, token }));
    }

    fn endpoint(&self) -> &str {
        self.pool.current()
    }

    fn url_for(&self, token: Option<Secret>) -> (String, Option<Secret>) {
        let endpoint = self.endpoint();
        let separator = if endpoint.contains('?') { '&' } else { '?' };
        let mut url = format!(
            "{endpoint}{separator}client_version={}&protocol_version={PROTOCOL_VERSION}&compression={}&encryption={}",
            percent_encode(&self.config.client_version),
            self.config.performance.compression.is_some(),
            self.config.security.encryption,
        );
        match self.config.performance.encoding {
            Encoding::Binary => {}
            Encoding::Text => url.push_str("&format=text"),
            Encoding::Msgpack => url.push_str("&format=msgpack"),
        }
        match (self.config.token_transport, token) {
            (TokenTransport::Query, Some(token)) => {
                url.push_str("&token=");
                url.push_str(&percent_encode(token.expose()));
                (url, None)
            }
            (_, token) => (url, token),
        }
    }

    pub(super) fn on_opened(&mut self, socket: SocketId, now: Moment) {
        if !matches!(self.phase(), Phase::Opening { socket: current } if current == socket) {
            return;
        }
        self.timers.clear(Timer::Dial);
        self.timers.set(Timer::Ready, now + self.config.timeouts.ready);
        self.timers.set(Timer::Grace, now + LEGACY_GRACE);
        self.enter(Phase::Greeting, Cause::Opened);
        let key_pair = self.config.security.encryption.then(|| KeyPair::generate(&mut self.rng));
        let signing = self.signing.take();
        self.link = Some(Link {
            socket,
            // Until the server says that it reads more, JSON text is what every server reads.
            channel: Channel::new(Encoding::Text, None, signing),
            info: ServerInfo { endpoint: self.endpoint().to_owned(), ..ServerInfo::default() },
            full_duplex: false,
            recovery: false,
            batching: false,
            max_topics: None,
            named: Vec::new(),
            key_pair,
            keyed_at: now,
            asked_for_keys: None,
            alive: false,
            said_ready: false,
            grace_over: false,
            last_error: None,
            return_window: None,
            refused_until: None,
        });
        // The ping goes first: after a hello with a key, plaintext is over.
        self.ping(now);
        self.say_hello(now);
    }

    fn say_hello(&mut self, now: Moment) {
        let Some(link) = &self.link else { return };
        let performance = &self.config.performance;
        let features = Object::new()
            .truth("compression", performance.compression.is_some())
            .truth("encryption", link.key_pair.is_some())
            .truth("msgpack", performance.encoding == Encoding::Msgpack)
            .truth("full_duplex", true)
            .truth("bound_keys", true)
            .truth("message_signing", self.config.security.signing.is_some())
            .truth("batching", true);
        let public_key = link.key_pair.as_ref().map(KeyPair::public_base64);
        let hello = Object::new()
            .text("client_version", &self.config.client_version)
            .unsigned("protocol_version", PROTOCOL_VERSION)
            .object("features", features)
            .optional_text("encryption_public_key", public_key.as_deref());
        self.send_control("client_hello", hello, now);
    }

    /// Whether a control message may go out: not between a hello with a key and the answer to it.
    pub(super) fn may_send_control(&self) -> bool {
        self.link.as_ref().is_some_and(|link| link.key_pair.is_none())
    }

    pub(super) fn on_server_ready(&mut self, message: &Message, now: Moment) {
        let (outer, inner) = message.payload().read_control(ServerReady::read).unwrap_or_default();
        let Some(link) = &mut self.link else { return };
        link.said_ready = true;
        link.know_name(outer.connection_id.or(inner.connection_id));
        link.info.user_id = outer.user_id.or(inner.user_id);
        link.recovery |= outer.features.recovery || inner.features.recovery;
        link.batching |= outer.features.batching || inner.features.batching;
        link.info.signing |= outer.features.message_signing || inner.features.message_signing;
        link.max_topics = outer.max_topics.or(inner.max_topics).or(link.max_topics);
        if outer.features.full_duplex || inner.features.full_duplex {
            self.speak_fully();
        }
        self.advance_greeting(now);
    }

    pub(super) fn on_server_hello(&mut self, message: &Message, now: Moment) {
        let hello = message.payload().read_control(ServerHello::read).unwrap_or_default();
        let Some(link) = &mut self.link else { return };
        link.said_ready = true;
        link.know_name(hello.connection_id.clone());
        link.recovery |= hello.features.recovery;
        link.batching |= hello.features.batching;
        link.info.signing |= hello.features.message_signing;
        link.max_topics = hello.max_topics.or(link.max_topics);
        if hello.features.full_duplex {
            self.speak_fully();
        }
        if let Err(code) = self.agree_on_key(&hello, now) {
            self.drop_link(code, "encryption was asked for, and the server gave no usable key", now);
            return;
        }
        if let Some(link) = &mut self.link {
            link.info.server_version = hello.server_version;
        }
        self.advance_greeting(now);
    }

    /// The server reads every frame kind: write the way the application asked for.
    fn speak_fully(&mut self) {
        let Some(link) = &mut self.link else { return };
        link.full_duplex = true;
        link.channel.encoding = self.config.performance.encoding;
        link.channel.compression = self.config.performance.compression;
        let adaptation = self.adaptive.adaptation();
        if adaptation != Adaptation::NONE {
            self.apply(adaptation);
        }
    }

    fn agree_on_key(&mut self, hello: &ServerHello, now: Moment) -> Result<(), Code> {
        let Some(link) = &mut self.link else { return Ok(()) };
        // Used once, and wiped; a second hello does not change the key.
        let Some(pair) = link.key_pair.take() else { return Ok(()) };
        let server_key = hello.encryption_public_key.as_deref().ok_or(Code::KeyExchangeFailed)?;
        let old = hello.server_version.as_deref().is_some_and(|version| version.starts_with("1."));
        let dialect = match link.full_duplex {
            true if hello.features.bound_keys => Dialect::Bound,
            false if old => Dialect::V1,
            _ => Dialect::V2,
        };
        let keys = pair.agree(server_key, dialect, Role::Client, &mut self.rng)?;
        link.channel.agree(Keyring::new(Role::Client, dialect, keys));
        link.info.encrypted = true;
        self.note_new_key(now);
        Ok(())
    }

    /// Notes that the server spoke, and goes to `Ready` as soon as nothing is missing.
    pub(super) fn note_alive(&mut self, now: Moment) {
        if let Some(link) = &mut self.link
            && !link.alive
        {
            link.alive = true;
            self.advance_greeting(now);
        }
    }

    fn advance_greeting(&mut self, now: Moment) {
        if !matches!(self.phase(), Phase::Greeting) {
            return;
        }
        let Some(link) = &self.link else { return };
        let greeted = link.said_ready || (link.alive && link.grace_over);
        let cause = if link.said_ready { Cause::Greeted } else { Cause::GraceOver };
        if greeted && self.may_send_control() {
            self.become_ready(cause, now);
        }
    }

    fn become_ready(&mut self, cause: Cause, now: Moment) {
        self.timers.clear(Timer::Ready);
        self.timers.clear(Timer::Grace);
        self.timers.set(Timer::Stable, now + STABLE_AFTER);
        self.enter(Phase::Ready { since: now }, cause);
        self.wants_token = false;
        self.metrics.connections += 1;
        let latency = self.network.report().latency.map(|mean| u32::try_from(mean.as_millis()).unwrap_or(u32::MAX));
        self.pool.succeeded(latency, now);
        let info = self.link.as_ref().map(|link| link.info.clone()).unwrap_or_default();
        self.emit(Event::Connected(info));
        self.resubscribe(now);
        self.flush(now);
    }

    pub(super) fn on_grace_over(&mut self, now: Moment) {
        if let Some(link) = &mut self.link {
            link.grace_over = true;
            self.advance_greeting(now);
        }
    }

    pub(super) fn on_ready_timeout(&mut self, now: Moment) {
        let timeout = self.config.timeouts.ready;
        self.drop_link(Code::Timeout, &format!("the server was not ready within {}ms", whole_millis(timeout)), now);
    }

    pub(super) fn on_dial_timeout(&mut self, now: Moment) {
        let timeout = self.config.timeouts.connect;
        match self.phase() {
            Phase::FetchingToken { .. } => {
                let detail = format!("the token provider did not answer within {}ms", whole_millis(timeout));
                self.attempt_failed(Cause::TimedOut, Code::TokenProviderFailed, None, detail, now);
            }
            Phase::Opening { socket } => {
                let close = Close::new(close::GOING_AWAY, "connect timeout");
                self.outputs.push_back(Output::Act(Action::Close { socket, close }));
                let detail = format!("no connection within {}ms", whole_millis(timeout));
                self.attempt_failed(Cause::TimedOut, Code::Timeout, None, detail, now);
            }
            Phase::Resting(_) | Phase::Greeting | Phase::Ready { .. } | Phase::Waiting => {}
        }
    }

    pub(super) fn on_failed(&mut self, socket: SocketId, fault: Fault, now: Moment) {
        if !self.is_current(socket) {
            return;
        }
        let (code, detail) = match (fault.http_status, &self.link) {
            (Some(401), _) => (Code::AuthFailed, fault.detail),
            (Some(403), _) => (Code::Forbidden, format!("the server forbids the upgrade (403): {}", fault.detail)),
            (_, Some(_)) => (Code::ConnectionClosed, fault.detail),
            (_, None) => (Code::ConnectFailed, fault.detail),
        };
        self.renew_token |= matches!(code, Code::AuthFailed | Code::Forbidden);
        self.attempt_failed(Cause::SocketFailed, code, None, detail, now);
    }

    pub(super) fn on_closed(&mut self, socket: SocketId, close: Close, now: Moment) {
        if !self.is_current(socket) {
            return;
        }
        let said = self.link.as_mut().and_then(|link| link.last_error.take());
        let code = code_of(close.code, said.as_ref().map(|(code, _)| code.as_str()));
        let detail = match (&said, close.reason.as_str()) {
            (Some((_, message)), _) => message.clone(),
            (None, "") => format!("closed by the server with code {}", close.code),
            (None, reason) => reason.to_owned(),
        };
        match close::reaction(close.code) {
            Reaction::Reconnect => self.attempt_failed(Cause::SocketClosed, code, Some(close), detail, now),
            Reaction::RenewToken => {
                self.renew_token = true;
                self.attempt_failed(Cause::SocketClosed, code, Some(close), detail, now);
            }
            Reaction::Stop => {
                self.wants_token |= is_about_token(code);
                if is_about_token(code) {
                    self.pool.refused();
                }
                self.give_up(Cause::Refused, code, Some(close), detail);
            }
        }
    }

    /// Ends the present socket from our side because something is wrong with it.
    pub(super) fn drop_link(&mut self, code: Code, detail: &str, now: Moment) {
        if let Some(link) = &self.link {
            let close = Close::new(close::POLICY, code.as_str());
            self.outputs.push_back(Output::Act(Action::Close { socket: link.socket, close }));
        }
        self.attempt_failed(Cause::of_drop(code), code, None, detail.to_owned(), now);
    }

    fn attempt_failed(&mut self, cause: Cause, code: Code, close: Option<Close>, detail: String, now: Moment) {
        let wanted = self.return_window(code, now);
        self.forget_link();
        self.wants_token |= is_about_token(code);
        match code {
            // No endpoint was asked.
            Code::TokenProviderFailed => {}
            _ if is_about_token(code) => self.pool.refused(),
            _ => self.pool.failed(now),
        }
        let Some(pause) = self.backoff.next_pause(wanted, &mut self.rng) else {
            self.give_up(Cause::RetriesExhausted, Code::RetriesExhausted, close, format!("gave up: {detail}"));
            return;
        };
        self.retry_is_named = wanted.is_some();
        self.timers.set(Timer::Retry, now + pause);
        self.enter(Phase::Waiting, cause);
        self.tell_disconnected(Disconnect { code, close, detail, retry_in: Some(pause) });
    }

    /// When the server wants us back; where we are forbidden to come in, we ask again slowly.
    fn return_window(&self, code: Code, now: Moment) -> Option<ReturnWindow> {
        let longest = self.config.reconnect.max_delay;
        if code == Code::Forbidden {
            return Some(ReturnWindow { retry_after: longest, window: longest });
        }
        let link = self.link.as_ref()?;
        let sent_away = matches!(code, Code::RateLimited | Code::ServerFull | Code::SlowConsumer);
        let refused = link.refused_until.filter(|until| sent_away && *until > now);
        let refused = refused.map(|until| ReturnWindow { retry_after: until.since(now), window: Duration::ZERO });
        match (link.return_window, refused) {
            (Some(drain), Some(refused)) => {
                Some(ReturnWindow { retry_after: drain.retry_after.max(refused.retry_after), ..drain })
            }
            (drain, refused) => drain.or(refused),
        }
    }

    fn give_up(&mut self, cause: Cause, code: Code, close: Option<Close>, detail: String) {
        self.forget_link();
        self.enter(Phase::Resting(Rest::Failed), cause);
        self.tell_disconnected(Disconnect { code, close, detail, retry_in: None });
    }

    pub(super) fn tell_disconnected(&mut self, end: Disconnect) {
        self.metrics.auth_failures += u64::from(is_about_token(end.code));
        self.last_disconnect = Some(end.clone());
        self.emit(Event::Disconnected(end));
    }

    /// Everything that belongs to the old socket goes; requests wait for the next one.
    pub(super) fn forget_link(&mut self) {
        if let Some(link) = self.link.take() {
            self.signing = link.channel.into_signing();
        }
        self.ping_sent = None;
        self.last_frame = None;
        self.reads_paused = false;
        self.note_life();
        for timer in [Timer::Dial, Timer::Ready, Timer::Grace, Timer::Ping, Timer::Stable, Timer::Rotation] {
            self.timers.clear(timer);
        }
        self.subscriptions.disconnected();
        self.end_arrivals();
        self.end_typed_requests();
        self.hold_or_drop_waiting();
    }

    pub(super) fn is_current(&self, socket: SocketId) -> bool {
        match (self.phase(), &self.link) {
            (Phase::Opening { socket: current }, _) => current == socket,
            (_, Some(link)) => link.socket == socket,
            (_, None) => false,
        }
    }

    /// Closes whatever is under way without telling of a failure.
    pub(super) fn abandon(&mut self, close: Close) {
        let socket = match (self.phase(), &self.link) {
            (Phase::Opening { socket }, _) => Some(socket),
            (_, Some(link)) => Some(link.socket),
            (_, None) => None,
        };
        if let Some(socket) = socket {
            self.outputs.push_back(Output::Act(Action::Close { socket, close }));
        }
        self.timers.clear(Timer::Retry);
        self.forget_link();
    }

    pub(super) fn on_input(&mut self, input: Input, now: Moment) {
        match input {
            Input::Opened(socket) => self.on_opened(socket, now),
            Input::Frame(socket, frame) => self.on_frame(socket, frame, now),
            Input::Closed(socket, close) => self.on_closed(socket, close, now),
            Input::Failed(socket, fault) => self.on_failed(socket, fault, now),
            Input::Token(request, answer) => self.on_token(request, answer, now),
            Input::Network(hint) => self.on_hint(hint, now),
            Input::ReadsPaused(paused) => self.on_reads_paused(paused, now),
            Input::Wake => {}
        }
    }
}

/// The limit on topics in one request, of a greeting. Published servers write limits of their own, so it is taken only
/// if it is a number.
fn max_topics(greeting: Value<'_>) -> Option<usize> {
    let most = greeting.member("limits")?.member("max_topics")?.unsigned()?;
    Some(usize::try_from(most).unwrap_or(usize::MAX))
}

/// Whether a fresh token may be what is missing.
const fn is_about_token(code: Code) -> bool {
    matches!(
        code,
        Code::AuthFailed | Code::AuthRequired | Code::OriginNotAllowed | Code::Forbidden | Code::TokenProviderFailed
    )
}

/// The reason behind a close: what the server said in its last `error`, else what the close code means.
fn code_of(close_code: u16, said: Option<&str>) -> Code {
    match (close_code, said) {
        (close::AUTH, Some("AUTH_REQUIRED")) => Code::AuthRequired,
        (close::AUTH, _) => Code::AuthFailed,
        (close::FORBIDDEN, _) => Code::OriginNotAllowed,
        (close::RATE_LIMITED, _) => Code::RateLimited,
        (close::TOO_BIG, _) => Code::MessageTooLarge,
        (close::TRY_LATER, Some("SLOW_CONSUMER")) => Code::SlowConsumer,
        (close::TRY_LATER, _) => Code::ServerFull,
        (close::SERVER_ERROR, _) => Code::ServerError,
        _ => Code::ConnectionClosed,
    }
}

/// Percent-encodes everything but the unreserved characters. Source: RFC 3986 §2.3.
fn percent_encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}
