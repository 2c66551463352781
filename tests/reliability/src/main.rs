//! `wse-reliability`: the real server under load, restarts and attacks.
//!
//! Each scenario is one file. It starts the program `wse-server` as a process of its own, plays clients (the native
//! client) and attackers (bare sockets) against it, prints a table of what it measured with the bound of each figure,
//! and fails when one does not hold. What subscribers got and were told is kept in books that have to balance.
//! docs/reliability.md says what each scenario is about.
#![allow(clippy::print_stdout, reason = "a program for people")]

mod control;
mod deaf;
mod drain;
mod flood;
mod garbage;
mod globs;
mod hold;
mod kill;
mod ledger;
mod loris;
mod member;
mod plot;
mod raw;
mod rooms;
mod sheet;
mod slow;
mod subscriptions;
mod topics;
mod watched;

use std::{
    path::PathBuf,
    process::ExitCode,
    sync::LazyLock,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use tokio::runtime::{Handle, Runtime};

use sheet::Sheet;

/// Runs scenarios of reliability against the server program.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// The scenarios to run; all without.
    names: Vec<String>,
    /// The long forms, which take a quarter of an hour; without, the short ones of a minute and a quarter.
    #[arg(long)]
    long: bool,
    /// The server program.
    #[arg(long, env = "WSE_SERVER_BIN")]
    server: Option<PathBuf>,
    /// Where the plots go; none without.
    #[arg(long)]
    plots: Option<PathBuf>,
    /// Prints the names of the scenarios.
    #[arg(long)]
    list: bool,
}

/// How scenarios are to run.
#[derive(Debug)]
pub(crate) struct Setup {
    /// The server program.
    pub(crate) server: PathBuf,
    long: bool,
    /// Where the plots go.
    pub(crate) plots: Option<PathBuf>,
}

impl Setup {
    /// What belongs to the short form, or to the long one.
    pub(crate) fn pick<T>(&self, short: T, long: T) -> T {
        if self.long { long } else { short }
    }
}

/// No scenario takes longer, beyond what its long form is meant to take.
const LIMIT: Duration = Duration::from_secs(180);

const SCENARIOS: &[(&str, &str)] = &[
    ("hold", "very many connections, held for long, with publishing"),
    ("slow", "a slow consumer among fast ones"),
    ("kill", "SIGKILL and restart under publishing clients"),
    ("drain", "SIGTERM, a drain, and the next server"),
    ("flood", "handshakes at full speed, and more connections than there may be"),
    ("loris", "requests that come byte by byte"),
    ("deaf", "clients that never read"),
    ("garbage", "garbage at full speed"),
    ("topics", "more topics than the server remembers"),
    ("subscriptions", "one client that asks for more than it may have"),
    ("globs", "patterns that are expensive to compare"),
];

/// Threads of their own for attackers, so that the others do not wait for them within this process.
pub(crate) fn attackers() -> &'static Handle {
    static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().expect("threads can be started"));
    RUNTIME.handle()
}

async fn play(name: &str, setup: &Setup, sheet: &mut Sheet) -> Result<()> {
    match name {
        "hold" => hold::run(setup, sheet).await,
        "slow" => slow::run(setup, sheet).await,
        "kill" => kill::run(setup, sheet).await,
        "drain" => drain::run(setup, sheet).await,
        "flood" => flood::run(setup, sheet).await,
        "loris" => loris::run(setup, sheet).await,
        "deaf" => deaf::run(setup, sheet).await,
        "garbage" => garbage::run(setup, sheet).await,
        "topics" => topics::run(setup, sheet).await,
        "subscriptions" => subscriptions::run(setup, sheet).await,
        "globs" => globs::run(setup, sheet).await,
        other => bail!("no scenario {other:?}: see --list"),
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Args) -> Result<()> {
    if args.list {
        SCENARIOS.iter().for_each(|(name, what)| println!("{name:<14} {what}"));
        return Ok(());
    }
    let server = match args.server {
        Some(server) => server,
        None => std::env::current_exe()?.with_file_name("wse-server"),
    };
    ensure!(server.is_file(), "{} is missing: start this with `cargo xtask reliability`", server.display());
    let setup = Setup { server, long: args.long, plots: args.plots };
    if let Some(unknown) = args.names.iter().find(|name| !SCENARIOS.iter().any(|(known, _)| known == name)) {
        bail!("no scenario {unknown:?}: see --list");
    }
    let mut failed = Vec::new();
    let started = Instant::now();
    for (name, what) in SCENARIOS {
        if (args.names.is_empty() || args.names.iter().any(|wanted| wanted == name)) && !one(name, what, &setup).await {
            failed.push(*name);
        }
    }
    println!("\nreliability: {:.0} s, failed: {}", started.elapsed().as_secs_f64(), failed.len());
    ensure!(failed.is_empty(), "failed: {}", failed.join(", "));
    Ok(())
}

async fn one(name: &str, what: &str, setup: &Setup) -> bool {
    println!("\n## {name}: {what}\n");
    let started = Instant::now();
    let mut sheet = Sheet::new();
    let limit = setup.pick(LIMIT, LIMIT * 8);
    let result = tokio::time::timeout(limit, play(name, setup, &mut sheet)).await;
    let result = result.context("not done in time").flatten();
    sheet.note("the whole scenario took", sheet::Of(started.elapsed().as_secs_f64(), "s"));
    sheet.print();
    if let Err(error) = &result {
        println!("\n{name} FAILED: {error:#}");
    } else if sheet.broken() > 0 {
        println!("\n{name} FAILED: {} bounds are broken", sheet.broken());
    }
    result.is_ok() && sheet.broken() == 0
}
