//! A client whose driver, server and application say whatever the bytes say.

use std::time::Duration;

use wse_client_core::{
    client::{
        Client, ConfigUpdate, Fault, Input, NetworkHint, Outgoing, Request, RequestId, SubscribeOptions, SyncRequest,
    },
    config::{ClientConfig, Credentials, HeartbeatConfig, OfflineConfig, RecordConfig, Timeouts, TokenTransport},
    delivery::{BatchConfig, RateLimit, ReorderConfig},
    io::{Close, Frame, SocketId},
    resilience::BalanceStrategy,
    rng::Seed,
    security::{SigningConfig, Verification},
    time::{Moment, WallTime},
    topic::MAX_PRESENCE,
    wire::{Encoding, Limits, Payload},
};

use crate::{clean::Watch, source::Source};

/// What a server might say, so that a fuzzer need not find it letter by letter.
const PHRASES: &[&str] = &[
    r#"WSE{"t":"server_ready","p":{"message":"hi","details":{"connection_id":"c","user_id":"u"}},"v":1}"#,
    r#"WSE{"t":"server_ready","p":{"features":{"full_duplex":true}}}"#,
    r#"WSE{"t":"server_hello","p":{"server_version":"0.1","features":{"full_duplex":true,"recovery":true}}}"#,
    r#"WSE{"t":"server_hello","p":{"server_version":"1.3.9","encryption_public_key":"BA=="}}"#,
    r#"WSE{"t":"PONG","p":{"client_timestamp":0,"server_timestamp":18446744073709551615}}"#,
    r#"WSE{"t":"ping","p":{"timestamp":1}}"#,
    r#"WSE{"t":"heartbeat","p":{}}"#,
    r#"WSE{"t":"subscription_update","p":{"action":"subscribe","success":true,"topics":["a"],"failed_topics":[]}}"#,
    r#"WSE{"t":"subscription_update","p":{"action":"subscribe","failed_topics":["a",{"topic":"b","error":"no"}]}}"#,
    r#"WSE{"t":"subscription_update","p":{"topics":["a"],"recovery":{"a":{"epoch":"x","offset":3,"recovered":true,"count":2}}}}"#,
    r#"WSE{"t":"subscription_update","p":{"action":"subscribe","presence":{"a":3,"b":"many"}}}"#,
    r#"WSE{"t":"subscription_update","p":{"recovery":{"a":{"epoch":"y","offset":0,"recovered":false,"count":9}}}}"#,
    r#"WSE{"t":"error","p":{"code":"AUTH_FAILED","message":"no","recoverable":false}}"#,
    r#"WSE{"t":"error","p":{"code":"RATE_LIMITED","retry_after":1e308}}"#,
    r#"WSE{"t":"lost","p":{"topic":"a","count":18446744073709551615}}"#,
    r#"WSE{"t":"rate_limit_warning","p":{"retry_after":-1}}"#,
    r#"WSE{"t":"connection_state_change","p":{}}"#,
    r#"U{"t":"x","p":{"n":1},"tp":"a","e":"x","o":0}"#,
    r#"U{"t":"x","p":{"n":1},"tp":"a","e":"x","o":7,"seq":18446744073709551615}"#,
    r#"U{"t":"x","p":{"n":1},"id":"m","seq":0}"#,
    r#"U{"t":"batch","p":{"messages":[{"t":"x","p":{}},{"t":"batch","p":{"messages":[{"t":"y"}]}},5],"count":9}}"#,
    r#"WSE{"t":"priority_message","p":{"content":{"t":"x"}}}"#,
    r#"WSE{"t":"key_rotation","p":{"public_key":"BA=="}}"#,
    r#"WSE{"t":"config_update","p":{"heartbeat_interval":0,"max_message_size":0}}"#,
    r#"S{"t":"x_snapshot","p":[]}"#,
    "PING:1",
    "U{",
    "",
    // A key that is a point on the curve, so that rotations have something to renew.
    r#"WSE{"t":"server_hello","p":{"server_version":"0.1","features":{"full_duplex":true,"bound_keys":true,"batching":true},"limits":{"max_topics":1},"encryption_public_key":"BGsX0fLhLEJH+Lzm5WOkQPJ3A32BLeszoPShOUXYmMKWT+NC4v4af5uO5+tKfA+eFivOM1drMV7Oy7ZAaDe/UfU="}}"#,
    r#"WSE{"t":"server_ready","p":{"features":{"full_duplex":true,"recovery":true,"batching":true}}}"#,
    r#"WSE{"t":"draining","p":{"retry_after":3,"window":18446744073709551615}}"#,
    r#"WSE{"t":"metrics_response","p":{"n":1}}"#,
    r#"WSE{"t":"snapshot_complete","p":{}}"#,
    r#"U{"t":"priority_message","id":"m","p":{"content":{"t":"x"}},"sig":"00:1700000000:ff:00"}"#,
    r#"U{"t":"x","seq":3}"#,
    r#"U{"t":"x","seq":5}"#,
];

const CLOSE_CODES: &[u16] = &[1000, 1001, 1003, 1006, 1007, 1008, 1009, 1011, 1012, 1013, 4001, 4003, 4029, 0, 65535];

/// Steps of one script at most.
const MOST_STEPS: usize = 400;

pub(crate) fn run(data: &[u8]) {
    let mut source = Source::new(data);
    let mut now = Moment::from_millis(1000);
    let wall = WallTime::from_unix_ms(1_700_000_000_000);
    let config = script_config(&mut source);
    let bounds = Bounds::of(&config);
    let mut client = Client::new(config, Seed::from_u64(1), now, wall).expect("the settings are right");
    let mut watch = Watch::default();
    client.connect(now);
    watch.drain(&mut client);
    for _ in 0..MOST_STEPS {
        if source.is_empty() {
            break;
        }
        now = step(&mut source, &mut client, &mut watch, now);
        watch.drain(&mut client);
        bounds.check(&client);
    }
    check_end(&mut client, &mut watch, now);
}

/// What the settings say that a client holds at most.
struct Bounds {
    waiting: usize,
    waiting_bytes: usize,
    topics: usize,
    ids: usize,
    reordering: usize,
}

impl Bounds {
    fn of(config: &ClientConfig) -> Self {
        Self {
            waiting: config.offline.max_size,
            waiting_bytes: config.offline.max_bytes,
            topics: config.limits.max_topics,
            ids: config.delivery.dedup_window,
            reordering: config.delivery.reorder.map_or(0, |reorder| reorder.max_held),
        }
    }

    /// Whoever is at the other end, the client holds no more.
    fn check(&self, client: &Client) {
        let held = client.held();
        let bounded = held.waiting <= self.waiting
            && held.waiting_bytes <= self.waiting_bytes
            && held.outputs == 0
            && held.topics <= self.topics
            && held.presence_bytes <= self.topics * MAX_PRESENCE
            && held.topic_tokens <= self.topics
            && held.subscriptions <= self.topics + 1
            && held.requests <= 64
            && held.positions <= self.topics.max(2000)
            && held.gaps <= held.positions
            && held.ids <= self.ids
            && held.reordering <= self.reordering
            && held.sealed_nonces <= 2 * 40_000
            && held.signed_nonces <= 10_000;
        assert!(bounded, "{held:?}");
    }
}

/// However it went, the client ends when it is told to, and can start anew.
fn check_end(client: &mut Client, watch: &mut Watch, now: Moment) {
    // Without a network it would wait for one first.
    client.handle(Input::Network(NetworkHint::Online), now);
    watch.drain(client);
    client.close(Close::normal(), now);
    watch.drain(client);
    assert_eq!(watch.socket, None, "a socket outlives the client");
    client.connect(now);
    watch.drain(client);
    assert!(watch.socket.is_some() || watch.wants_token.is_some(), "connect after close does nothing");
    let mut earlier = now;
    for _ in 0..20 {
        let Some(deadline) = watch.deadline else { break };
        earlier = earlier.max(deadline);
        wake(client, watch, earlier);
    }
}

/// Wakes the client and sees that it does not want to be woken for the same moment again.
fn wake(client: &mut Client, watch: &mut Watch, now: Moment) {
    client.handle(Input::Wake, now);
    watch.drain(client);
    assert!(watch.deadline.is_none_or(|deadline| deadline > now), "woken in vain");
}

/// Settings for a client alone: the last bit of the first byte asks for what would keep a pair from settling.
fn script_config(source: &mut Source<'_>) -> ClientConfig {
    let (flags, more) = (source.byte(), source.byte());
    let mut config = settings(flags, more);
    if flags & 0x80 != 0 {
        hold_back(&mut config, source.byte());
        endure(&mut config, source.byte());
    }
    config
}

/// What holds messages back: batches, a limited rate, an order to be kept.
fn hold_back(config: &mut ClientConfig, flags: u8) {
    if flags & 1 != 0 {
        let timeout = Duration::from_micros(if flags & 2 == 0 { 0 } else { 5500 });
        config.performance.batch = Some(BatchConfig { size: 3, timeout, max_bytes: 200 });
    }
    if flags & 4 != 0 {
        config.performance.rate_limit =
            Some(RateLimit { capacity: 2, refill: if flags & 8 == 0 { 0.01 } else { 7.3 } });
    }
    if flags & 0x10 != 0 {
        config.delivery.reorder = Some(ReorderConfig { max_held: 4, max_wait: Duration::from_micros(2700) });
    }
    if flags & 0x20 != 0 {
        config.delivery.dedup_window = 2;
    }
    if flags & 0x40 != 0 {
        config.offline = OfflineConfig { max_size: 3, max_age: Duration::from_micros(5500), ..config.offline.clone() };
    }
    config.offline.enabled = flags & 0x80 == 0;
}

/// Signatures, the choice of endpoints, and lengths of time that are no whole milliseconds.
fn endure(config: &mut ClientConfig, flags: u8) {
    if flags & 1 != 0 {
        let mut signing = SigningConfig::new("0123456789abcdef0123456789abcdef".into());
        signing.verification = if flags & 2 == 0 { Verification::IfPresent } else { Verification::Required };
        config.security.signing = Some(signing);
    }
    config.pool.strategy =
        [BalanceStrategy::WeightedRandom, BalanceStrategy::LeastConnections, BalanceStrategy::RoundRobin]
            [usize::from(flags >> 2 & 3) % 3];
    config.pool.preferred = (flags & 0x10 != 0).then_some(1);
    if flags & 0x20 != 0 {
        config.security.rotate_after = Some(Duration::from_micros(1_000_500));
        config.heartbeat =
            HeartbeatConfig { interval: Duration::from_micros(1300), timeout: Duration::from_micros(2100) };
    }
    if flags & 0x40 != 0 {
        let odd = Duration::from_micros(1700);
        config.timeouts = Timeouts { connect: odd, ready: odd, subscribe: odd, request: odd };
        config.reconnect.initial_delay = Duration::from_micros(1100);
        config.reconnect.max_delay = Duration::from_micros(9900);
    }
    if flags & 0x80 != 0 {
        config.adaptive_quality = true;
        config.diagnostics.record = Some(RecordConfig { max_entries: 50, max_bytes: 4096 });
    }
}

/// Settings with small limits, and one of everything that changes what the client does.
pub(crate) fn config(source: &mut Source<'_>) -> ClientConfig {
    settings(source.byte(), source.byte())
}

fn settings(flags: u8, more: u8) -> ClientConfig {
    let mut config = ClientConfig::new("ws://a/wse");
    config.endpoints.push("wss://b:1/wse?x=1".into());
    config.security.encryption = flags & 7 == 7;
    config.performance.encoding =
        [Encoding::Text, Encoding::Binary, Encoding::Msgpack][usize::from(flags >> 3 & 3) % 3];
    if flags & 0x20 != 0 {
        config.performance.compression = None;
    }
    if flags & 0x40 != 0 {
        config.topics = vec!["a".into(), "b:*".into()];
    }
    config.credentials = match more & 3 {
        0 | 1 => Credentials::None,
        2 => Credentials::Token("secret".to_owned().into()),
        _ => Credentials::Provider,
    };
    if more & 4 != 0 {
        config.token_transport = TokenTransport::Query;
    }
    if more & 8 != 0 {
        config.reconnect.max_retries = Some(2);
    }
    config.reconnect.initial_delay = Duration::from_millis(if more & 0x10 == 0 { 1000 } else { 1 });
    config.limits = Limits { max_frame: 4096, max_inflated: 8192, max_topics: 8, ..Limits::default() };
    config
}

fn step(source: &mut Source<'_>, client: &mut Client, watch: &mut Watch, now: Moment) -> Moment {
    let socket = watch.socket.unwrap_or(SocketId(0));
    match source.byte() % 32 {
        0 => client.connect(now),
        1 => client.reconnect(now),
        2 => client.close(Close::new(source.pick(CLOSE_CODES), source.text()), now),
        3 => client.set_token(Some(source.text().into()), now),
        4 => {
            // Refusals of the client are fine here, and on the following lines: what it does is what counts.
            let _ = client.send(outgoing(source), now);
        }
        5 => {
            let options = if source.byte() & 1 == 0 { SubscribeOptions::default() } else { options(source) };
            let _ = client.subscribe_with(&topics(source), &options, now);
        }
        6 => {
            let _ = client.unsubscribe(&topics(source), now);
        }
        7 | 8 => client.handle(Input::Opened(socket), now),
        9 => {
            watch.socket = None;
            client.handle(Input::Failed(socket, fault(source)), now);
        }
        10 => {
            watch.socket = None;
            client.handle(Input::Closed(socket, Close::new(source.pick(CLOSE_CODES), source.text())), now);
        }
        11 => client.handle(Input::ReadsPaused(source.byte() & 1 == 1), now),
        12 => {
            // The last question, open or over.
            let request = watch.wants_token.unwrap_or(RequestId(0));
            client.handle(Input::Token(request, token(source)), now);
        }
        13 => {
            let old = SocketId(u64::from(source.byte()));
            if old != socket {
                client.handle(Input::Closed(old, Close::abnormal()), now);
                client.handle(Input::Opened(old), now);
                client.handle(Input::Frame(old, frame(source)), now);
            }
        }
        14 | 15 => {
            let later = now.max(watch.deadline.unwrap_or(now));
            wake(client, watch, later);
            return later;
        }
        16 => {
            let later = now + source.pause();
            wake(client, watch, later);
            return later;
        }
        24 => client.handle(Input::Network(source.pick(HINTS)), now),
        25 | 26 => {
            let _ = client.request(&request(source), now);
        }
        27 => {
            let _ = client.rotate_keys(now);
        }
        28 => {
            let token = (source.byte() & 1 == 0).then(|| "token".into());
            let _ = client.set_channel_token(if source.byte() & 1 == 0 { "a" } else { "" }, token);
        }
        29 => client.set_token(None, now),
        30 => client.set_clock(source.wall(), now),
        _ => client.handle(Input::Frame(socket, frame(source)), now),
    }
    now
}

const HINTS: &[NetworkHint] =
    &[NetworkHint::Offline, NetworkHint::Online, NetworkHint::AddressChanged, NetworkHint::Sleep, NetworkHint::Wake];

fn request(source: &mut Source<'_>) -> Request {
    match source.byte() % 8 {
        0 => Request::Metrics,
        1 => Request::UpdateConfig(ConfigUpdate { batch_size: Some(0), ..ConfigUpdate::default() }),
        2 => Request::Sync(SyncRequest { topics: topics(source), last_sequence: u64::MAX, ..SyncRequest::default() }),
        3 => Request::Encryption,
        4 => Request::Presence { topic: source.text(), after: Some(source.text()), limit: Some(source.byte().into()) },
        5 => Request::Batch((0..source.byte() % 4).map(|_| outgoing(source)).collect()),
        6 => Request::Named {
            kind: source.text(),
            payload: Payload::from_json(source.chunk().to_vec()).unwrap_or(Payload::EMPTY),
        },
        _ => Request::Health,
    }
}

fn options(source: &mut Source<'_>) -> SubscribeOptions {
    let presence = match source.byte() % 4 {
        0 => None,
        1 => Some("true".to_owned()),
        2 => Some("false".to_owned()),
        _ => Some(format!("{{\"n\":{}}}", source.byte())),
    };
    SubscribeOptions {
        presence: presence.map(|json| Payload::from_json(json).expect("JSON")),
        group: (source.byte() & 1 == 0).then(|| source.text()),
    }
}

fn token(source: &mut Source<'_>) -> Result<Option<wse_client_core::security::Secret>, String> {
    match source.byte() % 3 {
        0 => Ok(None),
        1 => Ok(Some(source.text().into())),
        _ => Err("no token".into()),
    }
}

fn fault(source: &mut Source<'_>) -> Fault {
    Fault { http_status: source.pick(&[None, Some(401), Some(403), Some(429), Some(503)]), detail: source.text() }
}

pub(crate) fn topics(source: &mut Source<'_>) -> Vec<String> {
    (0..source.byte() % 4).map(|_| if source.byte() & 1 == 0 { "a".into() } else { source.text() }).collect()
}

pub(crate) fn outgoing(source: &mut Source<'_>) -> Outgoing {
    let payload = Payload::from_json(source.chunk().to_vec()).unwrap_or(Payload::EMPTY);
    let mut message = Outgoing::new(if source.byte() & 1 == 0 { "note".into() } else { source.text() }, payload);
    if source.byte() & 1 == 1 {
        message = message.to_topic(source.text());
    }
    message
}

fn frame(source: &mut Source<'_>) -> Frame {
    let kind = source.byte();
    let bytes = match kind >> 1 & 3 {
        0 | 1 => source.pick(PHRASES).as_bytes().to_vec(),
        2 => source.chunk().to_vec(),
        _ => bent(source.pick(PHRASES), source),
    };
    if kind & 1 == 0 { Frame::Text(bytes.into()) } else { Frame::Binary(bytes.into()) }
}

/// A phrase with a piece replaced.
fn bent(phrase: &str, source: &mut Source<'_>) -> Vec<u8> {
    let mut bytes = phrase.as_bytes().to_vec();
    let at = usize::from(source.byte()).min(bytes.len());
    let end = (at + usize::from(source.byte() % 16)).min(bytes.len());
    bytes.splice(at..end, source.chunk().iter().copied());
    bytes
}
