//! Servers side by side: the same work for each, in turn, several rounds, so that all of them meet the same hour of
//! the machine.

use std::{cell::Cell, path::Path};

use anyhow::{Context as _, Result};
use serde::Serialize;
use tokio::process::Command;

use crate::{
    fanout, idle, inbound, ping,
    process::{Host, SECRET},
    report::Latency,
};

/// One round of one piece of work on one server.
#[derive(Debug, Default)]
pub(crate) struct Measured {
    /// Messages that the server took in; for connections, how many there were.
    pub(crate) consumed: u64,
    /// Messages that came out: at the application for inbound, at the subscribers for fan-out.
    pub(crate) handed: u64,
    /// Messages that should have come out, and did not.
    pub(crate) lost: u64,
    /// Messages that came twice or out of order.
    pub(crate) wrong: u64,
    /// Of the server's process, until all was handed over.
    pub(crate) cpu_seconds: f64,
    pub(crate) latency_ms: Option<Latency>,
    /// Resident memory for each connection.
    pub(crate) kib_each: Option<f64>,
}

/// What is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Server {
    /// Our library with a handler that counts.
    Ours,
    /// The same without coalescing.
    OursAtOnce,
    /// The same without a history.
    OursPlain,
    /// PyPI `wse-server`, drain mode, a host that counts.
    Published,
    Tungstenite,
    TungsteniteValue,
    /// Unmasks and counts.
    Sink,
    /// One shared log of frames, a cursor for each socket.
    Log,
}

impl Server {
    /// In tables and in results.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Ours => "wse-server",
            Self::OursAtOnce => "wse-server, flush_interval 0",
            Self::OursPlain => "wse-server, no history",
            Self::Published => "published 2.5.1",
            Self::Tungstenite => "tokio-tungstenite",
            Self::TungsteniteValue => "tokio-tungstenite + Value",
            Self::Sink => "limit: unmask only",
            Self::Log => "limit: shared log",
        }
    }

    /// How much cheaper than the others it is: it gets that much more to do, because CPU time is told in hundredths
    /// of a second.
    const fn share(self, full: u64) -> u64 {
        match self {
            Self::Ours | Self::OursAtOnce | Self::OursPlain | Self::Log | Self::Tungstenite => full,
            Self::Sink => full * 3,
            Self::TungsteniteValue => full / 2,
            Self::Published => full / 4,
        }
    }

    async fn start(self, published: Option<&Path>) -> Result<Host> {
        match self {
            Self::Ours => Host::ours(&["--secret", SECRET]).await?.with_token(),
            Self::OursAtOnce => Host::ours(&["--secret", SECRET, "--flush-ms", "0"]).await?.with_token(),
            Self::OursPlain => Host::ours(&["--secret", SECRET, "--history", "0"]).await?.with_token(),
            Self::Published => {
                let python = published.context("no Python with the published server")?;
                let host = concat!(env!("CARGO_MANIFEST_DIR"), "/clients/wse_server_host.py");
                Host::start(Command::new(python).arg(host).arg(SECRET)).await?.with_token()
            }
            Self::Tungstenite => Host::rival(&["tungstenite"]).await,
            Self::TungsteniteValue => Host::rival(&["value"]).await,
            Self::Sink => Host::rival(&["sink"]).await,
            Self::Log => Host::rival(&["log"]).await,
        }
    }
}

/// A piece of work.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Work {
    Inbound { connections: usize, total: u64, size: usize, flood: bool },
    FanOut(fanout::Work),
    Connections(usize),
    Ping { connections: usize, each: u64 },
}

/// The rounds of one piece of work on one server, put together.
#[derive(Debug, Serialize)]
pub(crate) struct Outcome {
    pub(crate) work: &'static str,
    pub(crate) server: &'static str,
    /// CPU seconds per million of what was handed over: the median of the rounds.
    pub(crate) seconds_per_million: f64,
    /// The same of each round.
    pub(crate) rounds: Vec<f64>,
    /// Sums over the rounds.
    pub(crate) consumed: u64,
    pub(crate) handed: u64,
    pub(crate) lost: u64,
    pub(crate) doubled_or_reordered: u64,
    /// Median of the rounds' percentiles.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) latency_ms: Option<Latency>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) kib_each: Option<f64>,
}

/// Who runs what, how often.
pub(crate) struct Rounds<'a> {
    pub(crate) count: usize,
    /// What the amounts of work are divided by.
    pub(crate) divisor: u64,
    /// Only work whose name contains this.
    pub(crate) filter: Option<&'a str>,
    /// The Python with the published server; without it that is left out.
    pub(crate) published: Option<&'a Path>,
    pub(crate) headed: Cell<bool>,
}

impl Rounds<'_> {
    /// Runs the work on each server in turn, `count` times.
    pub(crate) async fn run(&self, name: &'static str, work: Work, servers: &[Server]) -> Result<Vec<Outcome>> {
        if self.filter.is_some_and(|filter| !name.contains(filter)) {
            return Ok(Vec::new());
        }
        let servers: Vec<Server> =
            servers.iter().copied().filter(|server| *server != Server::Published || self.published.is_some()).collect();
        let mut measured: Vec<Vec<Measured>> = servers.iter().map(|_| Vec::new()).collect();
        for _ in 0..self.count {
            for (server, rounds) in servers.iter().zip(&mut measured) {
                let one = self.once(*server, work).await;
                rounds.push(one.with_context(|| format!("{name}, {}", server.name()))?);
            }
        }
        let outcomes: Vec<Outcome> =
            servers.iter().zip(measured).map(|(server, rounds)| Outcome::new(name, *server, rounds)).collect();
        if !self.headed.replace(true) {
            print_head();
        }
        outcomes.iter().for_each(Outcome::print);
        Ok(outcomes)
    }

    async fn once(&self, server: Server, work: Work) -> Result<Measured> {
        let mut host = server.start(self.published).await?;
        let amount = |total: u64| (server.share(total) / self.divisor).max(1);
        match work {
            Work::Inbound { connections, total, size, flood } => {
                inbound::run(&mut host, connections, amount(total), size, flood).await
            }
            Work::FanOut(work) => {
                // Paced work takes its time, whoever does it.
                let total = if work.rate.is_some() { work.total / self.divisor.min(2) } else { amount(work.total) };
                fanout::run(&mut host, fanout::Work { total, ..work }).await
            }
            Work::Connections(count) => idle::run(&mut host, count).await,
            Work::Ping { connections, each } => ping::run(&mut host, connections, (each / self.divisor).max(1)).await,
        }
    }
}

impl Outcome {
    fn new(work: &'static str, server: Server, rounds: Vec<Measured>) -> Self {
        let of_one = |one: &Measured| one.cpu_seconds * 1e6 / one.handed.max(1) as f64;
        let each: Vec<f64> = rounds.iter().map(of_one).collect();
        let sum = |of: fn(&Measured) -> u64| rounds.iter().map(of).sum();
        let latency = |of: fn(&Latency) -> f64| {
            let all: Option<Vec<f64>> = rounds.iter().map(|one| one.latency_ms.as_ref().map(of)).collect();
            all.map(|all| median(&all))
        };
        let latency_ms = latency(|one| one.p50).zip(latency(|one| one.p99)).map(|(p50, p99)| Latency { p50, p99 });
        let memory: Vec<f64> = rounds.iter().filter_map(|one| one.kib_each).collect();
        Self {
            work,
            server: server.name(),
            seconds_per_million: median(&each),
            rounds: each,
            consumed: sum(|one| one.consumed),
            handed: sum(|one| one.handed),
            lost: sum(|one| one.lost),
            doubled_or_reordered: sum(|one| one.wrong),
            latency_ms,
            kib_each: (!memory.is_empty()).then(|| median(&memory)),
        }
    }

    fn print(&self) {
        let least = self.rounds.iter().copied().fold(f64::INFINITY, f64::min);
        let most = self.rounds.iter().copied().fold(0.0, f64::max);
        let latency = self.latency_ms.as_ref();
        let latency = latency.map_or(String::new(), |one| format!("  p50 {:.3} ms, p99 {:.3} ms", one.p50, one.p99));
        let memory = self.kib_each.map_or(String::new(), |kib| format!("  {kib:.1} KiB each"));
        println!(
            "{:<34} {:<29} {:>8.3} ({least:.3}–{most:.3}) {:>11} {:>11} {:>9} {:>6}{latency}{memory}",
            self.work,
            self.server,
            self.seconds_per_million,
            self.consumed,
            self.handed,
            self.lost,
            self.doubled_or_reordered
        );
    }
}

fn print_head() {
    println!(
        "{:<34} {:<29} {:>8} {:>15} {:>11} {:>11} {:>9} {:>6}",
        "work", "server", "CPU s/M", "(least–most)", "consumed", "handed", "lost", "wrong"
    );
}

/// The middle one; of an even number, the lower of the two.
fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len().saturating_sub(1) / 2).copied().unwrap_or_default()
}
