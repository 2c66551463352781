//! The published packages of the same protocol, version 2.5.1, as the other end.

use std::{
    net::SocketAddr,
    path::Path,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

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

/// Runs the tests of this file.
pub(crate) async fn tests(place: &Place, runner: &mut Runner) {
    for (what, mode, token) in [
        ("plain", Mode::Compressed, false),
        ("with a token", Mode::Compressed, true),
        ("msgpack", Mode::Msgpack, false),
        ("encrypted", Mode::Encrypted, false),
    ] {
        let name = format!("published client 2.5.1 of our server, {what}: subscribes, receives, sends, pings");
        runner.test(&name, foreign_client(place, mode, token)).await;
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

async fn foreign_client(place: &Place, mode: Mode, token: bool) -> Result<()> {
    let server = if token { Server::closed(place).await? } else { Server::open(place).await? };
    let proxy = Proxy::to(server.address).await?;
    let mut settings = Settings::new(proxy.address, mode, &[TOPIC]);
    if token {
        settings = settings.with_token(Server::token(place, "alice").await?);
    }
    let script = Place::shims().join("foreign_client.py");
    let mut peer = Shim::start(&place.foreign_client, &script, &settings.to_json(), &[])?;
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
    listener.leave().await
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
