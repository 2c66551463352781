//! What the server is meant to reach, and whether it did.

use std::{cell::Cell, path::Path};

use anyhow::Result;
use serde::Serialize;

use crate::{
    compare::{
        Outcome, Rounds,
        Server::{self, Log, Ours, OursAtOnce, OursPlain, Published, Sink, Tungstenite, TungsteniteValue},
        Work,
    },
    fanout::{self, Form},
};

/// One line of the table of targets.
#[derive(Debug, Serialize)]
pub(crate) struct Target {
    pub(crate) what: String,
    /// What was found.
    pub(crate) found: f64,
    /// At most this.
    pub(crate) limit: f64,
    pub(crate) met: bool,
}

const FLOOD: &str = "inbound 175 B, flood";
const TRICKLE: &str = "inbound 175 B, one a write";
const FAN_100: &str = "fan-out 175 B to 100";
const FAN_1000: &str = "fan-out 175 B to 1000";
const PACED: &str = "fan-out to 100, 500/s";
const CONNECT_2000: &str = "2000 connections";
const CONNECT_10000: &str = "10000 connections";
const PING_1: &str = "ping, 1 connection";
const PING_64: &str = "ping, 64 connections";
const LARGE: &str = "fan-out 2 KiB to 100, plain";
const COMPRESSED: &str = "fan-out 2 KiB to 100, compressed";
const MSGPACK: &str = "fan-out 2 KiB to 100, msgpack";
const SEALED: &str = "fan-out 175 B to 100, encrypted";
const RECOVERABLE: &str = "fan-out 2 KiB to 100, recoverable";

/// Every comparison that a target needs. Answers what was found.
pub(crate) async fn measure(
    rounds: usize,
    divisor: u64,
    filter: Option<&str>,
    published: Option<&Path>,
) -> Result<Vec<Outcome>> {
    let rounds = Rounds { count: rounds, divisor, filter, published, headed: Cell::new(false) };
    let mut all = Vec::new();
    for (name, work, servers) in plan() {
        all.extend(rounds.run(name, work, servers).await?);
    }
    Ok(all)
}

fn plan() -> Vec<(&'static str, Work, &'static [Server])> {
    let inbound = |connections, total, flood| Work::Inbound { connections, total, size: 175, flood };
    let plain = fanout::Work { subscribers: 100, total: 60_000, size: 175, rate: None, query: "", form: Form::Plain };
    let large = fanout::Work { size: 2048, total: 8000, query: "compression=false", ..plain };
    let fan = Work::FanOut;
    vec![
        (FLOOD, inbound(8, 2_400_000, true), &[Ours, Published, TungsteniteValue, Tungstenite, Sink]),
        (TRICKLE, inbound(200, 300_000, false), &[Ours, Published, TungsteniteValue, Tungstenite, Sink]),
        (FAN_100, fan(plain), &[Ours, OursPlain, Published, Log]),
        (FAN_1000, fan(fanout::Work { subscribers: 1000, total: 8000, ..plain }), &[Ours, OursPlain, Published, Log]),
        (PACED, fan(fanout::Work { total: 1500, rate: Some(500), ..plain }), &[Ours, OursAtOnce, Published, Log]),
        (CONNECT_2000, Work::Connections(2000), &[Ours, Published, Sink]),
        (CONNECT_10000, Work::Connections(10000), &[Ours, Sink]),
        (PING_1, Work::Ping { connections: 1, each: 4000 }, &[Ours, Published]),
        (PING_64, Work::Ping { connections: 64, each: 500 }, &[Ours, Published]),
        (LARGE, fan(large), &[OursPlain]),
        (RECOVERABLE, fan(large), &[Ours]),
        (COMPRESSED, fan(fanout::Work { query: "compression=true", form: Form::Counted, ..large }), &[OursPlain]),
        (
            SEALED,
            fan(fanout::Work { query: "encryption=true&topics=bench", form: Form::Sealed, total: 12_000, ..plain }),
            &[OursPlain],
        ),
        (MSGPACK, fan(fanout::Work { query: "format=msgpack", form: Form::Counted, ..large }), &[OursPlain]),
    ]
}

/// The table of targets, as far as what it needs was measured.
pub(crate) fn table(outcomes: &[Outcome]) -> Vec<Target> {
    let find = |work: &str, server: Server| {
        outcomes.iter().find(|outcome| outcome.work == work && outcome.server == server.name())
    };
    let cost = |work: &'static str, server| find(work, server).map(|outcome| outcome.seconds_per_million);
    let ratio = |of: (&'static str, Server), to: (&'static str, Server)| Some(cost(of.0, of.1)? / cost(to.0, to.1)?);
    let against = |work, server, other| ratio((work, server), (work, other));
    let latency = |work, server| find(work, server).and_then(|outcome| outcome.latency_ms.as_ref());
    let faster = |work, server, of: fn(&crate::report::Latency) -> f64| {
        Some(of(latency(work, server)?) / of(latency(work, Published)?))
    };
    let ours = outcomes.iter().filter(|outcome| outcome.server.starts_with(Ours.name()));
    let missing: u64 = ours.map(|outcome| outcome.lost + outcome.doubled_or_reordered).sum();
    let lines = [
        ("inbound flood, CPU next to published 2.5.1", against(FLOOD, Ours, Published), 1.0 / 6.0),
        ("inbound flood, CPU next to tokio-tungstenite + Value", against(FLOOD, Ours, TungsteniteValue), 0.4),
        ("inbound one a write, CPU next to tokio-tungstenite", against(TRICKLE, Ours, Tungstenite), 1.25),
        ("fan-out to 1000, CPU next to published 2.5.1", against(FAN_1000, Ours, Published), 0.25),
        ("fan-out to 100, CPU next to published 2.5.1", against(FAN_100, Ours, Published), 0.4),
        ("paced fan-out, CPU next to published 2.5.1", against(PACED, Ours, Published), 1.0 / 3.0),
        ("paced fan-out, p99 in ms", latency(PACED, Ours).map(|one| one.p99), 6.0),
        ("paced fan-out at once, p50 next to published 2.5.1", faster(PACED, OursAtOnce, |one| one.p50), 1.0),
        ("handshake with JWT, µs of CPU", cost(CONNECT_2000, Ours), 80.0),
        ("handshake with JWT, CPU next to published 2.5.1", against(CONNECT_2000, Ours, Published), 0.25),
        ("idle, KiB each of 2000", find(CONNECT_2000, Ours).and_then(|one| one.kib_each), 8.0),
        ("idle, KiB each of 10000", find(CONNECT_10000, Ours).and_then(|one| one.kib_each), 8.0),
        ("ping, 1 connection, p50 next to published 2.5.1", faster(PING_1, Ours, |one| one.p50), 1.0),
        ("ping, 1 connection, p99 next to published 2.5.1", faster(PING_1, Ours, |one| one.p99), 1.0),
        ("ping, 64 connections, p50 next to published 2.5.1", faster(PING_64, Ours, |one| one.p50), 1.0),
        ("ping, 64 connections, p99 next to published 2.5.1", faster(PING_64, Ours, |one| one.p99), 1.0),
        ("fan-out compressed, CPU next to plain", ratio((COMPRESSED, OursPlain), (LARGE, OursPlain)), 2.0),
        ("fan-out msgpack, CPU next to plain", ratio((MSGPACK, OursPlain), (LARGE, OursPlain)), 2.0),
        ("fan-out recoverable, CPU next to plain", ratio((RECOVERABLE, Ours), (LARGE, OursPlain)), 2.0),
        ("messages of ours lost, doubled or reordered", Some(missing as f64), 0.0),
    ];
    let line = |(what, found, limit): (&str, Option<f64>, f64)| {
        found.map(|found| Target { what: what.into(), found, limit, met: found <= limit })
    };
    lines.into_iter().filter_map(line).collect()
}

/// The table for people.
pub(crate) fn print(targets: &[Target]) {
    println!("{:<54} {:>9} {:>9}", "target", "found", "at most");
    for Target { what, found, limit, met } in targets {
        println!("{what:<54} {found:>9.3} {limit:>9.3}  {}", if *met { "met" } else { "NOT MET" });
    }
}
