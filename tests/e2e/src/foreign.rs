//! The published packages of the same protocol, versions 1.3.9 and 2.5.1, as the other end.

use std::{
    net::SocketAddr,
    path::Path,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};
use wse_client::Priority;
use wse_server::{Config, ConnectionHandle, Handler, Outgoing, Payload};

use wse_e2e::server::{self, Server, free_address};

use crate::{
    place::Place,
    player::{Kind, Mode, Player, STEP, Settings},
    proxy::Proxy,
    runner::Runner,
    shim::Shim,
};

const TOPIC: &str = "e2e:foreign";
/// The published server wants at least 32 bytes.
const SECRET: &str = "foreign-secret-of-at-least-32-bytes";

/// A published client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    /// Reads no msgpack and no encryption, and knows no recovery.
    V1,
    V2,
}

impl Version {
    const fn name(self) -> &'static str {
        match self {
            Self::V1 => "1.3.9",
            Self::V2 => "2.5.1",
        }
    }

    fn python(self, place: &Place) -> &Path {
        match self {
            Self::V1 => &place.foreign_client_1,
            Self::V2 => &place.foreign_client,
        }
    }
}

/// Runs the tests of this file.
pub(crate) async fn tests(place: &Place, runner: &mut Runner) {
    for (version, what, mode, token) in [
        (Version::V1, "plain", Mode::Compressed, false),
        (Version::V1, "with a token", Mode::Compressed, true),
        (Version::V2, "plain", Mode::Compressed, false),
        (Version::V2, "with a token", Mode::Compressed, true),
        (Version::V2, "msgpack", Mode::Msgpack, false),
        (Version::V2, "encrypted", Mode::Encrypted, false),
    ] {
        let name = format!(
            "published client {} of our server, {what}: subscribes, receives, sends, asks, pings, comes back",
            version.name()
        );
        runner.test(&name, foreign_client(place, version, mode, token)).await;
    }
    for (version, mode) in [
        (Version::V1, Mode::Compressed),
        (Version::V2, Mode::Compressed),
        (Version::V2, Mode::Msgpack),
        (Version::V2, Mode::Encrypted),
    ] {
        let name =
            format!("published client {} reads what our server sends to it alone, {}", version.name(), mode.name());
        runner.test(&name, burst(place, version, mode)).await;
    }
    for kind in [Kind::Rust, Kind::Python] {
        for (what, mode, secret, answer) in [
            ("with tokens", Mode::Plain, true, true),
            ("without tokens, which never says server_ready", Mode::Plain, false, true),
            ("that never answers subscriptions", Mode::Plain, true, false),
            ("encrypted", Mode::Encrypted, true, true),
        ] {
            let name = format!("published server 2.5.1 {what}: our {} client works, and comes back", kind.name());
            match &place.foreign_server {
                Some(python) => runner.test(&name, foreign_server(place, python, kind, mode, secret, answer)).await,
                None => runner.skip(&name, "no Python 3.12 or 3.13 on this machine"),
            }
        }
    }
}

async fn foreign_client(place: &Place, version: Version, mode: Mode, token: bool) -> Result<()> {
    let server = if token { Server::closed(place).await? } else { Server::open(place).await? };
    let proxy = Proxy::to(server.address).await?;
    let mut settings = Settings::new(proxy.address, mode, &[TOPIC]);
    if token {
        settings = settings.with_token(Server::token(place, "alice").await?);
    }
    let script = Place::shims().join("foreign_client.py");
    let mut peer = Shim::start(version.python(place), &script, &settings.to_json(), &[])?;
    let connected = peer.expect("connected").await?;
    ensure!(connected["ready"] == true, "never ready: {connected}");
    ensure!(connected["encrypted"] == (mode == Mode::Encrypted), "encrypted is {}", connected["encrypted"]);

    // The package does not wait for the answer to its subscription.
    let subscribed = async {
        while server.publish(TOPIC, "knock", "{}").await?.delivered == 0 {
            sleep(Duration::from_millis(20)).await;
        }
        anyhow::Ok(())
    };
    timeout(STEP, subscribed).await.context("never subscribed")??;
    ensure!(peer.expect("message").await?["type"] == "knock", "the first message is another one");
    let payloads = [
        json!({"n": 1, "text": "ž🦀"}),
        json!({"n": 2, "large": "swordfish ".repeat(500)}),
        json!({"n": 3, "nested": {"list": [1, 2.5, null, true]}}),
    ];
    for payload in &payloads {
        publish_to(&server, "update", payload).await?;
    }
    for payload in &payloads {
        let message = peer.expect("message").await?;
        ensure!(message["type"] == "update" && message["payload"] == *payload, "expected {payload}, got {message}");
    }
    check_foreign_wire(mode, &proxy)?;
    pongs(&mut peer).await?;
    let mut listening = Settings::new(server.address, Mode::Plain, &["client:*:messages"]);
    listening.token.clone_from(&settings.token);
    sends(Player::join(place, Kind::Rust, &listening).await?, &mut peer).await?;
    asks(&mut peer).await?;
    comes_back(&server, &proxy, &mut peer, version).await.context("after a cut")?;
    peer.order(&json!({"do": "close"})).await?;
    peer.expect("closed").await?;
    peer.finish().await
}

/// What the published client sends has no topic: it reaches the server's application, which publishes it under the user's name.
async fn sends(mut listener: Player, peer: &mut Shim) -> Result<()> {
    for n in 0..3 {
        peer.order(&json!({"do": "send", "type": "chat", "payload": {"n": n, "text": "ž🦀"}})).await?;
    }
    for n in 0..3 {
        let got = listener.next().await?;
        ensure!(got.kind == "chat" && got.payload == json!({"n": n, "text": "ž🦀"}), "got {got:?}");
    }
    let items: Vec<Value> = (3..6).map(|n| json!({"type": "chat", "payload": {"n": n}})).collect();
    peer.order(&json!({"do": "batch", "items": items})).await?;
    for n in 3..6 {
        let got = listener.next().await.context("of a batch")?;
        ensure!(got.kind == "chat" && got.payload == json!({"n": n}), "got {got:?}");
    }
    listener.leave().await
}

/// Answers with many messages at once, the last of them critical.
struct Burst;

const BURST: usize = 25;

impl Handler for Burst {
    fn on_messages(&self, connection: &ConnectionHandle, messages: &mut Vec<wse_server::Message>) {
        for _ in messages.drain(..).filter(|message| message.kind() == "burst") {
            for n in 0..=BURST {
                let priority = if n == BURST { Priority::Critical } else { Priority::Normal };
                let payload = Payload::new(&json!({"n": n})).expect("plain JSON");
                connection.send(Outgoing { priority, ..Outgoing::new("event", payload) }).expect("room");
            }
        }
    }
}

/// Messages to one client: those that wait together come in batches, by priority, and otherwise in their order.
async fn burst(place: &Place, version: Version, mode: Mode) -> Result<()> {
    let server = wse_server::Server::builder(Config { port: 0, ..Config::default() }).handler(Burst).bind().await?;
    let proxy = Proxy::to(server.local_addr()).await?;
    let serving = tokio::spawn({
        let server = server.clone();
        async move { server.serve().await }
    });
    let settings = Settings::new(proxy.address, mode, &[]);
    let mut peer =
        Shim::start(version.python(place), &Place::shims().join("foreign_client.py"), &settings.to_json(), &[])?;
    peer.expect("connected").await?;
    peer.order(&json!({"do": "send", "type": "burst", "payload": {}})).await?;
    let mut numbers = Vec::new();
    while numbers.len() <= BURST {
        let message = peer.expect("message").await?;
        ensure!(message["type"] == "event", "got {message}");
        numbers.push(message["payload"]["n"].as_u64().context("a number")?);
    }
    let expected: Vec<u64> = std::iter::once(BURST as u64).chain(0..BURST as u64).collect();
    ensure!(numbers == expected, "in another order: {numbers:?}");
    let batched = match mode {
        Mode::Encrypted => true,
        Mode::Msgpack => proxy.heard(b"\xa5batch"),
        _ => proxy.heard(b"\"t\":\"batch\"") || proxy.heard(b"C:\x78"),
    };
    ensure!(batched, "nothing came in a batch");
    peer.order(&json!({"do": "close"})).await?;
    peer.expect("closed").await?;
    peer.finish().await?;
    server.shutdown(STEP).await;
    serving.await??;
    Ok(())
}

/// The questions whose answers the published clients hand to their application.
async fn asks(peer: &mut Shim) -> Result<()> {
    for (question, payload, answer) in [
        ("config_request", json!({}), "config_response"),
        ("config_update", json!({"batch_size": 20}), "config_update_response"),
        ("metrics_request", json!({}), "metrics_response"),
        ("debug_request", json!({}), "debug_response"),
        ("sequence_stats_request", json!({}), "sequence_stats_response"),
        ("connection_state_request", json!({}), "connection_state_response"),
        ("encryption_request", json!({"action": "status"}), "encryption_response"),
    ] {
        peer.order(&json!({"do": "send", "type": question, "payload": payload})).await?;
        let message = peer.expect("message").await?;
        ensure!(message["type"] == answer, "{question} was answered with {message}");
    }
    Ok(())
}

/// A lost connection is renewed. 2.5.1 asks for its topics again, and for what it missed; with 1.3.9 the first is the
/// application's to do, and the second nobody's.
async fn comes_back(server: &Server, proxy: &Proxy, peer: &mut Shim, version: Version) -> Result<()> {
    proxy.cut();
    let gone = async {
        while server.publish(TOPIC, "missed", "{\"n\":0}").await?.delivered > 0 {
            sleep(Duration::from_millis(20)).await;
        }
        anyhow::Ok(())
    };
    timeout(STEP, gone).await.context("the server never noticed")??;
    if version == Version::V1 {
        peer.order(&json!({"do": "renew", "topics": [TOPIC]})).await?;
    }
    let back = async {
        while server.publish(TOPIC, "back", "{}").await?.delivered == 0 {
            sleep(Duration::from_millis(50)).await;
        }
        anyhow::Ok(())
    };
    timeout(STEP, back).await.context("the client never came back")??;
    publish_to(server, "end", &json!({})).await?;
    let (mut missed, mut back) = (0, 0);
    loop {
        let message = peer.expect("message").await?;
        match message["type"].as_str() {
            Some("missed") if back == 0 => missed += 1,
            Some("back") => back += 1,
            Some("end") => break,
            _ => anyhow::bail!("expected what was published, in its order, got {message}"),
        }
    }
    ensure!(back > 0, "what came after it was back is missing");
    ensure!(version == Version::V1 || missed > 0, "what was published while it was away never came");
    Ok(())
}

/// The published client pings by its own clock, and shows a round trip only when a PONG came that it could read.
async fn pongs(peer: &mut Shim) -> Result<()> {
    let measured = async {
        loop {
            peer.order(&json!({"do": "stats"})).await?;
            if peer.expect("stats").await?["latency"].as_f64().is_some_and(|latency| latency > 0.0) {
                return anyhow::Ok(());
            }
            sleep(Duration::from_millis(200)).await;
        }
    };
    timeout(STEP, measured).await.context("no PONG that it could read")?
}

fn check_foreign_wire(mode: Mode, proxy: &Proxy) -> Result<()> {
    let clear = proxy.heard(b"swordfish");
    match mode {
        Mode::Encrypted => ensure!(!clear && proxy.heard(b"E:"), "the payload crossed the wire in the clear"),
        Mode::Msgpack => ensure!(clear && proxy.heard(b"M:"), "msgpack was asked for and not written"),
        Mode::Compressed => ensure!(proxy.heard(b"C:\x78"), "a large message was not compressed"),
        Mode::Plain => ensure!(clear, "nothing crossed the wire"),
    }
    Ok(())
}

async fn publish_to(server: &Server, kind: &str, payload: &Value) -> Result<()> {
    let published = server.publish(TOPIC, kind, &payload.to_string()).await?;
    ensure!(published.delivered == 1, "delivered to {}", published.delivered);
    Ok(())
}

async fn start_foreign_server(python: &Path, address: SocketAddr, secret: bool, answer: bool) -> Result<Shim> {
    let settings = json!({"port": address.port(), "secret": secret.then_some(SECRET), "answer": answer});
    let mut peer = Shim::start(python, &Place::shims().join("foreign_server.py"), &settings, &[])?;
    peer.expect("listening").await?;
    Ok(peer)
}

async fn foreign_server(
    place: &Place,
    python: &Path,
    kind: Kind,
    mode: Mode,
    secret: bool,
    answer: bool,
) -> Result<()> {
    let address = free_address()?;
    let mut peer = start_foreign_server(python, address, secret, answer).await?;
    let mut settings = Settings::new(address, mode, &[]);
    if secret {
        settings = settings.with_token(server::token(SECRET, "alice", 600)?);
    }
    let mut player = Player::join(place, kind, &settings).await?;
    player.subscribe(TOPIC, answer).await?;
    peer.expect("subscribed").await?;
    talk(&mut peer, &mut player).await?;

    // A server that drains closes with 4300; a new one takes its place.
    peer.order(&json!({"do": "drain"})).await?;
    peer.expect("drained").await?;
    peer.order(&json!({"do": "close"})).await?;
    peer.finish().await.context("the published server")?;
    let mut peer = start_foreign_server(python, address, secret, answer).await?;
    peer.expect("subscribed").await.context("the client did not come back with its topic")?;
    talk(&mut peer, &mut player).await.context("after the restart")?;
    player.leave().await?;
    peer.order(&json!({"do": "close"})).await?;
    peer.finish().await
}

/// One message by topic, one to the connection, one from the client.
async fn talk(peer: &mut Shim, player: &mut Player) -> Result<()> {
    let payload = json!({"n": 1, "text": "ž🦀", "large": "x".repeat(3000)});
    // A client drops what it has seen, so each message needs an id of its own.
    static TALKS: AtomicUsize = AtomicUsize::new(0);
    let id = format!("talk-{}", TALKS.fetch_add(1, Ordering::Relaxed));
    let text = json!({"t": "update", "p": payload, "id": id, "v": 1}).to_string();
    peer.order(&json!({"do": "broadcast", "topic": TOPIC, "text": text})).await?;
    let got = player.next().await?;
    ensure!(got.kind == "update" && got.payload == payload, "by topic: {got:?}");
    peer.order(&json!({"do": "event", "message": {"t": "direct", "p": payload}})).await?;
    let got = player.next().await?;
    ensure!(got.kind == "direct" && got.payload == payload, "directly: {got:?}");
    player.send("question", &json!({"answer": 42})).await?;
    let message = peer.expect("message").await?;
    ensure!(message["type"] == "question" && message["payload"] == json!({"answer": 42}), "the server got {message}");
    Ok(())
}
