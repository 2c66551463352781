//! When something goes wrong: every client says the same, and the others do not notice.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use futures_util::{SinkExt, StreamExt, future::try_join_all};
use tokio::time::{sleep, timeout};
use tokio_tungstenite::{connect_async, tungstenite::Message};
use wse_client::wse_client_core::wire;

use wse_e2e::server::Server;

use crate::{
    place::Place,
    player::{Kind, Mode, Player, STEP, Settings},
    proxy::Proxy,
    runner::Runner,
};

const TOPIC: &str = "e2e:trouble";

/// Runs the tests of this file.
pub(crate) async fn tests(place: &Place, runner: &mut Runner) {
    runner.test("cut: every client comes back after its wire was cut, and misses nothing", comes_back(place)).await;
    runner.test("restart: every client comes back to a server that was killed and started again", restart(place)).await;
    runner.test("away: what every client sends meanwhile waits, and goes out", waits(place)).await;
    runner.test("token: a good one lets every client in", good_token(place)).await;
    runner.test("token: none, a wrong one, an expired one: the same code in every language", bad_tokens(place)).await;
    runner.test("bad frames: the sender is told, the others get every message", bad_frames(place)).await;
}

/// What is published while a client is away comes when it is back: once, and in order.
async fn comes_back(place: &Place) -> Result<()> {
    let server = Server::open(place).await?;
    let proxy = Proxy::to(server.address).await?;
    let settings = Settings::new(proxy.address, Mode::Plain, &[TOPIC]);
    let mut players = join_all_kinds(place, &settings).await?;
    const MESSAGES: usize = 60;
    for number in 0..MESSAGES {
        if number % 20 == 10 {
            proxy.cut();
        }
        server.publish(TOPIC, "knock", &format!("{{\"number\":{number}}}")).await?;
        sleep(Duration::from_millis(20)).await;
    }
    for player in &mut players {
        let name = player.kind.name();
        for number in 0..MESSAGES {
            let got = player.next().await.with_context(|| format!("{name} waits for message {number}"))?;
            ensure!(got.payload["number"] == number, "{name}: expected message {number}, got {}", got.payload);
        }
    }
    try_join_all(players.into_iter().map(Player::leave)).await.map(|_| ())
}

async fn restart(place: &Place) -> Result<()> {
    let server = Server::open(place).await?;
    let address = server.address;
    let settings = Settings::new(address, Mode::Encrypted, &[TOPIC]);
    let mut players = join_all_kinds(place, &settings).await?;
    server.kill().await?;
    let server = Server::start(place, address, &[]).await?;
    publish_until_heard(&server, &mut players, 0).await?;
    try_join_all(players.into_iter().map(Player::leave)).await.map(|_| ())
}

/// Sending works as well while the server is away: the id is there at once, the message later. A client asks for its topics
/// before it sends what waited, so each hears its own.
async fn waits(place: &Place) -> Result<()> {
    let server = Server::open(place).await?;
    let address = server.address;
    let settings = Settings::new(address, Mode::Encrypted, &[TOPIC]);
    let mut players = join_all_kinds(place, &settings).await?;
    server.kill().await?;
    // A message on its way to a dead socket is lost; these are for clients that know.
    sleep(Duration::from_millis(500)).await;
    let mut ids = Vec::new();
    for player in &mut players {
        for number in 0..3 {
            ids.push((player.kind, player.publish(TOPIC, "kept", &number.to_string()).await?));
        }
    }
    let _server = Server::start(place, address, &[]).await?;
    for player in &mut players {
        let own = player.kind;
        for (_, id) in ids.iter().filter(|(kind, _)| *kind == own) {
            let heard = async {
                while player.next().await?.id != *id {}
                anyhow::Ok(())
            };
            timeout(STEP, heard).await.with_context(|| format!("{} never sent {id}", own.name()))??;
        }
    }
    try_join_all(players.into_iter().map(Player::leave)).await.map(|_| ())
}

async fn join_all_kinds(place: &Place, settings: &Settings) -> Result<Vec<Player>> {
    try_join_all(Kind::ALL.map(|kind| Player::join(place, kind, settings))).await
}

/// Publishes until every client has heard something of this round. The memory of a server that was killed is gone, so
/// what was published meanwhile may be.
async fn publish_until_heard(server: &Server, players: &mut [Player], round: usize) -> Result<()> {
    let payload = format!("{{\"round\":{round}}}");
    let publishing = async {
        loop {
            server.publish(TOPIC, "knock", &payload).await?;
            sleep(Duration::from_millis(50)).await;
        }
    };
    let hearing = try_join_all(players.iter_mut().map(|player| async move {
        let name = player.kind.name();
        let heard = async {
            while player.next().await?.payload["round"] != round {}
            anyhow::Ok(())
        };
        timeout(STEP, heard).await.with_context(|| format!("{name} did not come back"))?
    }));
    tokio::select! {
        ended = publishing => ended,
        heard = hearing => heard.map(|_| ()),
    }
}

async fn good_token(place: &Place) -> Result<()> {
    let server = Server::closed(place).await?;
    let token = Server::token(place, "alice").await?;
    let settings = Settings::new(server.address, Mode::Compressed, &[TOPIC]).with_token(token);
    let mut players = join_all_kinds(place, &settings).await?;
    let published = server.publish(TOPIC, "hello", "{}").await?;
    for player in &mut players {
        ensure!(player.next().await?.id == published.id, "{} got something else", player.kind.name());
    }
    try_join_all(players.into_iter().map(Player::leave)).await.map(|_| ())
}

async fn bad_tokens(place: &Place) -> Result<()> {
    let server = Server::closed(place).await?;
    let expired = Server::expired_token("alice")?;
    let settings = Settings::new(server.address, Mode::Plain, &[]);
    let cases = [
        (settings.clone(), "AUTH_REQUIRED"),
        (settings.clone().with_token("not.a.token"), "AUTH_FAILED"),
        (settings.with_token(expired), "AUTH_FAILED"),
    ];
    for (settings, code) in &cases {
        for kind in Kind::ALL {
            let Err(error) = Player::join(place, kind, settings).await else {
                bail!("{} came in where {code} was due", kind.name());
            };
            let text = format!("{error:#}");
            ensure!(text.contains(code), "{}: expected {code}, got {text}", kind.name());
        }
    }
    Ok(())
}

/// Each of these frames is refused with a code; some end the connection that sent them.
async fn bad_frames(place: &Place) -> Result<()> {
    let server = Server::open(place).await?;
    let settings = Settings::new(server.address, Mode::Compressed, &[TOPIC]);
    let mut players = join_all_kinds(place, &settings).await?;
    let nested = format!("U{{\"t\":\"x\",\"p\":{}{}}}", "[".repeat(10_000), "]".repeat(10_000));
    let bomb = wire::compress(&vec![b' '; 64 << 20], 9);
    let cases: [(&str, Message, &str); 9] = [
        ("unknown prefix", Message::text("X{\"t\":\"x\"}"), "UNKNOWN_PREFIX"),
        ("no JSON", Message::text("U{\"t\":"), "INVALID_JSON"),
        ("no type", Message::text("U{\"p\":1}"), "INVALID_ENVELOPE"),
        ("10,000 nested arrays", Message::text(nested), "TOO_DEEP"),
        ("no zlib", Message::binary(b"C:nonsense".to_vec()), "BAD_COMPRESSION"),
        ("64 MiB in a small frame", Message::binary([b"C:", bomb.as_slice()].concat()), "INFLATED_TOO_LARGE"),
        ("over 1 MiB", Message::binary(vec![b'U'; (1 << 20) + 1]), "MESSAGE_TOO_LARGE"),
        ("no msgpack", Message::binary(b"M:\xc1".to_vec()), "BAD_MSGPACK"),
        ("sealed without a key", Message::binary([b"E:".as_slice(), &[7; 60]].concat()), "NO_KEY"),
    ];
    for (what, frame, code) in cases {
        let told = told_about(&server, frame).await.with_context(|| what.to_owned())?;
        ensure!(told.contains(code), "{what}: expected {code}, got {told}");
        let published = server.publish(TOPIC, "undisturbed", "{}").await?;
        for player in &mut players {
            ensure!(player.next().await?.id == published.id, "{} missed a message after {what}", player.kind.name());
        }
    }
    try_join_all(players.into_iter().map(Player::leave)).await.map(|_| ())
}

/// Sends one frame on a connection of its own and gives the `error` that answers it.
async fn told_about(server: &Server, frame: Message) -> Result<String> {
    let (mut socket, _) = connect_async(format!("ws://{}/wse", server.address)).await?;
    socket.send(frame).await?;
    let answer = async {
        while let Some(message) = socket.next().await {
            let text = message?.into_data();
            let text = String::from_utf8_lossy(&text).into_owned();
            if text.contains("\"t\":\"error\"") {
                return Ok(text);
            }
        }
        bail!("the connection ended without an error message")
    };
    timeout(STEP, answer).await.context("no answer")?
}
