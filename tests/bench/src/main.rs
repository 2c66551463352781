#![allow(clippy::print_stdout, reason = "a program for people")]
//! `wse-bench`: what the server, the wasm module and the clients cost, with a ledger for each figure.
//!
//! Every figure counts what was received and handled, not what was sent. CPU time is that of the measured
//! process alone, from the operating system. Absolute figures belong to the machine and the hour; compare
//! figures of one run.

mod callgrind;
mod clients;
mod compare;
mod cost;
mod fanout;
mod idle;
mod inbound;
mod ping;
mod process;
mod raw;
mod report;
mod targets;
mod wasm;

use std::path::PathBuf;

use anyhow::{Result, ensure};
use clap::Parser;

use report::{Report, Row};

/// Measures the server and its clients, and writes results.json.
#[derive(Parser)]
#[command(version, after_help = "Start it with `make bench`: a release build is what counts.")]
struct Args {
    /// A tenth of the messages: for a look, not for figures.
    #[arg(long)]
    quick: bool,
    /// Where the results go.
    #[arg(long, default_value = "target/bench/results.json")]
    out: PathBuf,
    /// The Python interpreter that has `wse_client` installed; without it the Python row is left out, and said so.
    #[arg(long)]
    python: Option<PathBuf>,
    /// The folder of the built npm package; without it browser and wasm rows are left out, and said so.
    #[arg(long)]
    npm_package: Option<PathBuf>,
    /// `wse-bench-cost`, to be counted by valgrind; without it there are times of the core and no instructions.
    #[arg(long)]
    cost: Option<PathBuf>,
    /// The Python interpreter that has `wse-server==2.5.1` installed; without it nothing is compared with that.
    #[arg(long)]
    published: Option<PathBuf>,
    /// Interleaved rounds of each comparison of servers.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Only the part of this name: `core` or `servers`. Default: everything.
    #[arg(long, value_parser = ["core", "servers"])]
    only: Option<String>,
    /// Of the comparisons of servers, only those whose name contains this.
    #[arg(long)]
    work: Option<String>,
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<()> {
    let args = Args::parse();
    let mut report = Report {
        date: command_output("date", &["-u", "+%Y-%m-%d"]),
        machine: machine(),
        rows: Vec::new(),
        servers: Vec::new(),
        targets: Vec::new(),
        wasm: None,
        core: Vec::new(),
    };
    println!("{} on {}", report.date, report.machine);
    let part = |name| args.only.as_deref().is_none_or(|only| only == name);
    if part("core") {
        cost::measure(&mut report, if args.quick { 20 } else { 200 }, args.cost.as_deref())?;
    }
    if part("servers") {
        servers(&mut report, &args).await?;
    }
    if part("clients") {
        receivers(&mut report, &args).await?;
    }
    report.write(&args.out)?;
    println!("written to {}", args.out.display());
    let wrong: Vec<&Row> = report.rows.iter().filter(|row| !row.balances()).collect();
    ensure!(wrong.is_empty(), "{} ledgers do not balance", wrong.len());
    Ok(())
}

async fn servers(report: &mut Report, args: &Args) -> Result<()> {
    if args.published.is_none() {
        println!("published server: left out, no --published was given");
    }
    let divisor = if args.quick { 10 } else { 1 };
    let outcomes = targets::measure(args.rounds, divisor, args.work.as_deref(), args.published.as_deref()).await?;
    report.targets = targets::table(&outcomes);
    report.servers = outcomes;
    targets::print(&report.targets);
    Ok(())
}

async fn receivers(report: &mut Report, args: &Args) -> Result<()> {
    match &args.python {
        Some(python) => clients::python(report, python, if args.quick { 20_000 } else { 200_000 }).await?,
        None => println!("python: left out, no --python was given"),
    }
    match &args.npm_package {
        Some(package) => {
            wasm::measure(report, package)?;
            clients::browser(report, package, if args.quick { 10_000 } else { 100_000 }).await?;
        }
        None => println!("wasm and browser: left out, no --npm-package was given"),
    }
    Ok(())
}

fn machine() -> String {
    let cpus = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ").map(|(_, name)| name));
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = command_output("uname", &["-sr"]);
    format!("{}, {cores} cores, {kernel}", model.unwrap_or("unknown processor"))
}

fn command_output(program: &str, args: &[&str]) -> String {
    let output = std::process::Command::new(program).args(args).output();
    output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
}
