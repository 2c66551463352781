#![allow(clippy::print_stdout, reason = "a program for people")]
//! `wse-bench`: what the server, the wasm module and the clients cost, with a ledger for each figure.
//!
//! Every figure counts what was received and handled, not what was sent. CPU time is that of the measured
//! process alone, from the operating system. Absolute figures belong to the machine and the hour; compare
//! figures of one run.

mod callgrind;
mod clients;
mod cost;
mod fanout;
mod idle;
mod inbound;
mod process;
mod raw;
mod report;
mod wasm;

use std::path::PathBuf;

use anyhow::{Result, ensure};
use clap::Parser;

use process::Host;
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
    /// Only the part of this name: `core`. Default: everything.
    #[arg(long, value_parser = ["core"])]
    only: Option<String>,
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<()> {
    let args = Args::parse();
    let mut report = Report {
        date: command_output("date", &["-u", "+%Y-%m-%d"]),
        machine: machine(),
        rows: Vec::new(),
        wasm: None,
        idle_kib_per_connection: None,
        core: Vec::new(),
    };
    println!("{} on {}", report.date, report.machine);
    cost::measure(&mut report, if args.quick { 20 } else { 200 }, args.cost.as_deref())?;
    if args.only.is_some() {
        report.write(&args.out)?;
        println!("written to {}", args.out.display());
        return Ok(());
    }
    server_rows(&mut report, if args.quick { 10 } else { 1 }).await?;
    match &args.python {
        Some(python) => clients::python(&mut report, python, if args.quick { 20_000 } else { 200_000 }).await?,
        None => println!("python: left out, no --python was given"),
    }
    match &args.npm_package {
        Some(package) => {
            wasm::measure(&mut report, package)?;
            clients::browser(&mut report, package, if args.quick { 10_000 } else { 100_000 }).await?;
        }
        None => println!("wasm and browser: left out, no --npm-package was given"),
    }
    report.write(&args.out)?;
    println!("written to {}", args.out.display());
    let wrong: Vec<&Row> = report.rows.iter().filter(|row| !row.balances()).collect();
    ensure!(wrong.is_empty(), "{} ledgers do not balance", wrong.len());
    Ok(())
}

async fn server_rows(report: &mut Report, divisor: u64) -> Result<()> {
    let mut host = Host::start(None).await?;
    for (connections, total, size, flood) in
        [(8, 2_000_000, 175, true), (8, 400_000, 1024, true), (200, 400_000, 175, false)]
    {
        push(report, inbound::run(&mut host, connections, total / divisor, size, flood).await?);
    }
    for (subscribers, total, rate) in [(100, 100_000, None), (1000, 10_000, None), (100, 2_500, Some(500))] {
        push(report, fanout::run(&host, subscribers, total / divisor, rate).await?);
    }
    let idle = idle::run(&host, 2000).await?;
    println!("{:<58} {idle:.1} KiB resident each", "2000 idle connections");
    report.idle_kib_per_connection = Some(idle);
    Ok(())
}

fn push(report: &mut Report, row: Row) {
    row.print();
    report.rows.push(row);
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
