//! Every client at once on one topic: each gets every message once, in order, as it was sent.

use std::collections::HashMap;

use anyhow::{Context, Result, ensure};
use futures_util::future::try_join_all;
use serde_json::Value;

use wse_e2e::server::Server;

use crate::{
    place::Place,
    player::{Got, Kind, Mode, Player, Settings},
    proxy::Proxy,
    runner::Runner,
};

const TOPIC: &str = "e2e:everyone";
/// In every large payload, so that one sees whether it crossed the wire in the clear.
const WORD: &str = "swordfish";
const END: &str = "end";
/// Messages that each client publishes.
const EACH: usize = 5;

/// Runs the tests of this file.
pub(crate) async fn tests(place: &Place, runner: &mut Runner) {
    for mode in Mode::ALL {
        let name =
            format!("{}: Rust, Python and Chromium get every message once, in order, byte for byte", mode.name());
        runner.test(&name, everyone_gets_everything(place, mode)).await;
    }
    runner.test("mixed: clients of all four modes share one topic", mixed_modes(place)).await;
    runner.test("numbers: 64-bit integers keep their value between JSON and msgpack", big_numbers(place)).await;
}

/// One published message.
struct Sent {
    id: String,
    text: String,
    /// Who published it; `None`: over HTTP, and the bytes must arrive as they were.
    by: Option<Kind>,
}

/// Clients at their wires.
struct Party {
    server: Server,
    players: Vec<Player>,
    proxies: Vec<Proxy>,
}

impl Party {
    async fn gather(place: &Place, modes: &[(Kind, Mode)]) -> Result<Self> {
        let server = Server::open(place).await?;
        let proxies = try_join_all(modes.iter().map(|_| Proxy::to(server.address))).await?;
        // Two subscriptions match; one copy must come.
        let topics = [TOPIC, "e2e:*"];
        let joining = modes.iter().zip(&proxies).map(|((kind, mode), proxy)| async move {
            Player::join(place, *kind, &Settings::new(proxy.address, *mode, &topics)).await
        });
        let players = try_join_all(joining).await?;
        Ok(Self { server, players, proxies })
    }

    /// Publishes everything over HTTP, then by each client, then an end mark.
    async fn publish(&mut self, payloads: &[String]) -> Result<Vec<Sent>> {
        let mut sent = Vec::new();
        for payload in payloads {
            let published = self.server.publish(TOPIC, "by-http", payload).await?;
            let expected = self.players.len() as u64;
            ensure!(published.delivered == expected, "delivered {} of {expected}", published.delivered);
            sent.push(Sent { id: published.id, text: payload.clone(), by: None });
        }
        let publishing = self.players.iter_mut().map(|player| async move {
            let mut sent = Vec::new();
            for number in 0..EACH {
                let text = format!("{{\"from\":\"{}\",\"number\":{number},\"word\":\"ž🦀\"}}", player.kind.name());
                let id = player.publish(TOPIC, "by-client", &text).await?;
                sent.push(Sent { id, text, by: Some(player.kind) });
            }
            anyhow::Ok(sent)
        });
        sent.extend(try_join_all(publishing).await?.into_iter().flatten());
        Ok(sent)
    }

    /// Reads every client to the end mark.
    async fn hear(&mut self, count: usize) -> Result<Vec<Vec<Got>>> {
        let hearing = self.players.iter_mut().map(|player| async move {
            let mut got = Vec::new();
            while got.len() < count {
                let message = player.next().await.with_context(|| format!("after {} of {count}", got.len()))?;
                got.push(message);
            }
            anyhow::Ok(got)
        });
        let heard = try_join_all(hearing).await?;
        // Only now: had a client got anything twice, the copy would come before the mark.
        let end = self.server.publish(TOPIC, END, "null").await?;
        for player in &mut self.players {
            let last = player.next().await?;
            ensure!(last.id == end.id, "{} got one more: {last:?}", player.kind.name());
        }
        Ok(heard)
    }

    async fn part(self) -> Result<()> {
        try_join_all(self.players.into_iter().map(Player::leave)).await.map(|_| ())
    }
}

async fn everyone_gets_everything(place: &Place, mode: Mode) -> Result<()> {
    let mut party = Party::gather(place, &Kind::ALL.map(|kind| (kind, mode))).await?;
    let payloads = payloads();
    let sent = party.publish(&payloads).await?;
    let heard = party.hear(sent.len()).await?;
    for (player, got) in party.players.iter().zip(&heard) {
        check(player.kind, mode, &sent, payloads.len(), got).with_context(|| player.kind.name())?;
        let order = |got: &[Got]| got.iter().map(|message| message.id.clone()).collect::<Vec<_>>();
        ensure!(order(got) == order(&heard[0]), "{} saw another order than {}", player.kind.name(), Kind::Rust.name());
        for (here, there) in got.iter().zip(&heard[0]) {
            ensure!(here.text == there.text, "{} got {here:?}, Rust got {there:?}", player.kind.name());
        }
    }
    for (player, proxy) in party.players.iter().zip(&party.proxies) {
        check_wire(mode, proxy).with_context(|| player.kind.name())?;
    }
    party.part().await
}

/// Compares what one client got with what was sent.
fn check(receiver: Kind, mode: Mode, sent: &[Sent], by_http: usize, got: &[Got]) -> Result<()> {
    let known: HashMap<&str, &Sent> = sent.iter().map(|message| (message.id.as_str(), message)).collect();
    for (at, message) in got.iter().enumerate() {
        let original = known.get(message.id.as_str()).with_context(|| format!("nobody sent {message:?}"))?;
        if at < by_http {
            ensure!(sent[at].id == message.id, "message {at} is out of order");
        }
        ensure!(message.topic.as_deref() == Some(TOPIC), "topic {:?}", message.topic);
        ensure!(message.kind == if original.by.is_none() { "by-http" } else { "by-client" }, "type {}", message.kind);
        let value: Value = serde_json::from_str(&original.text)?;
        ensure!(message.payload == value, "sent {} got {}", original.text, message.payload);
        let text = message.text.as_deref().context("the client gave no text")?;
        // msgpack has no text to keep, and a client of another language writes its own: there the caller holds
        // what one client got against what the others got.
        if mode != Mode::Msgpack && matches!(original.by, None | Some(Kind::Rust)) {
            ensure!(text == original.text, "sent {} got {text}", original.text);
        }
    }
    for sender in Kind::ALL {
        let own = |message: &&Sent| message.by == Some(sender);
        let expected: Vec<&str> = sent.iter().filter(own).map(|message| message.id.as_str()).collect();
        let seen: Vec<&str> =
            got.iter().map(|message| message.id.as_str()).filter(|id| expected.contains(id)).collect();
        ensure!(seen == expected, "{} sees messages of {} out of order", receiver.name(), sender.name());
    }
    Ok(())
}

/// What must, and must not, have crossed a client's wire.
fn check_wire(mode: Mode, proxy: &Proxy) -> Result<()> {
    let in_the_clear = proxy.heard(WORD.as_bytes());
    let (compressed, msgpack, sealed) = (proxy.heard(b"C:\x78"), proxy.heard(b"M:"), proxy.heard(b"E:"));
    match mode {
        Mode::Plain => ensure!(in_the_clear && !compressed, "plain: clear {in_the_clear}, compressed {compressed}"),
        Mode::Compressed => ensure!(compressed, "nothing was compressed"),
        Mode::Msgpack => ensure!(msgpack && in_the_clear, "msgpack: marker {msgpack}, clear {in_the_clear}"),
        Mode::Encrypted => ensure!(sealed && !in_the_clear, "encrypted: sealed {sealed}, clear {in_the_clear}"),
    }
    Ok(())
}

/// Payloads of every shape. Numbers are such that every language writes them alike.
fn payloads() -> Vec<String> {
    let noise: String = (0..8000_u64).map(|n| format!("{:02x}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56)).collect();
    let mut payloads = vec![
        "{}".to_owned(),
        "null".to_owned(),
        "\"just text\"".to_owned(),
        "[4,\"list\",[],{}]".to_owned(),
        r#"{"text":"žluťoučký kůň 🦀 \u0001 \" \\ \n \/","nested":{"a":[1,2.5,null,true,false,-7]}}"#.to_owned(),
        r#"{ "spaced" : [ 1 , 2 ] ,  "z":1, "a":2 }"#.to_owned(),
        format!(r#"{{"word":"{WORD}","noise":"{noise}"}}"#),
        format!(r#"{{"word":"{WORD}","repeated":"{}"}}"#, "tick tock ".repeat(5000)),
    ];
    payloads.extend((0..40).map(|n| format!(r#"{{"n":{n},"word":"{WORD}"}}"#)));
    payloads
}

async fn mixed_modes(place: &Place) -> Result<()> {
    let modes = [
        (Kind::Rust, Mode::Encrypted),
        (Kind::Rust, Mode::Msgpack),
        (Kind::Python, Mode::Plain),
        (Kind::Python, Mode::Encrypted),
        (Kind::Browser, Mode::Msgpack),
        (Kind::Browser, Mode::Compressed),
    ];
    let mut party = Party::gather(place, &modes).await?;
    let sent = party.publish(&payloads()).await?;
    let heard = party.hear(sent.len()).await?;
    for (got, (kind, mode)) in heard.iter().zip(modes) {
        let ids: Vec<&str> = got.iter().map(|message| message.id.as_str()).collect();
        let first: Vec<&str> = heard[0].iter().map(|message| message.id.as_str()).collect();
        ensure!(ids == first, "{} {} saw another order", kind.name(), mode.name());
        let values: Vec<&Value> = got.iter().map(|message| &message.payload).collect();
        let reference: Vec<&Value> = heard[0].iter().map(|message| &message.payload).collect();
        ensure!(values == reference, "{} {} saw other payloads", kind.name(), mode.name());
    }
    party.part().await
}

/// JavaScript's numbers cannot hold these, so only its text is looked at.
async fn big_numbers(place: &Place) -> Result<()> {
    const TEXT: &str = "[18446744073709551615,-9223372036854775808,9007199254740993,0.1]";
    let modes = [
        (Kind::Rust, Mode::Plain),
        (Kind::Rust, Mode::Msgpack),
        (Kind::Python, Mode::Plain),
        (Kind::Python, Mode::Msgpack),
        (Kind::Browser, Mode::Plain),
        (Kind::Browser, Mode::Msgpack),
    ];
    let mut party = Party::gather(place, &modes).await?;
    party.server.publish(TOPIC, "numbers", TEXT).await?;
    for (player, (kind, mode)) in party.players.iter_mut().zip(modes) {
        let got = player.next().await?;
        let seen = got.text.unwrap_or_else(|| got.payload.to_string());
        ensure!(seen == TEXT, "{} {} got {seen}", kind.name(), mode.name());
    }
    party.part().await
}
