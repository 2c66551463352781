//! `wse-sim`: many worlds, or one again with its trace.
#![expect(clippy::print_stdout, reason = "a command-line tool talks through its standard output")]

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    process::ExitCode,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use clap::Parser;
use wse_sim::{Report, Trace, World, run};

/// Runs seeded worlds and checks what must be true in each of them.
#[derive(Parser)]
struct Options {
    /// How many worlds.
    #[arg(long, default_value_t = 10_000)]
    worlds: u64,
    /// Run this one world only.
    #[arg(long)]
    seed: Option<u64>,
    /// The seed of the first world.
    #[arg(long, default_value_t = 1)]
    first: u64,
    /// Print everything that happens (with --seed).
    #[arg(long)]
    trace: bool,
    /// Threads; 0: one for each processor.
    #[arg(long, default_value_t = 0)]
    threads: usize,
}

/// Lines of the trace that a failure shows.
const SHOWN: usize = 40;

fn main() -> ExitCode {
    let options = Options::parse();
    let sound = match options.seed {
        Some(seed) => replay(seed, options.trace),
        None => many(&options),
    };
    if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs one world again and prints what happened.
fn replay(seed: u64, everything: bool) -> bool {
    let trace = if everything { Trace::all() } else { Trace::last(SHOWN) };
    let mut world = World::new(seed, trace);
    let outcome = catch_unwind(AssertUnwindSafe(|| world.run()));
    let lines = world.into_trace();
    match outcome {
        Ok(Ok(report)) => {
            if everything {
                print_lines(&lines);
            }
            println!("world {seed} is sound: {report:?}");
            true
        }
        Ok(Err(violation)) => {
            print_lines(&lines);
            println!("world {seed} breaks {violation}");
            false
        }
        Err(_) => {
            print_lines(&lines);
            println!("world {seed} breaks no-panic: see above");
            false
        }
    }
}

fn print_lines(lines: &[String]) {
    for line in lines {
        println!("{line}");
    }
}

/// Runs worlds on every processor until all are done or one fails.
fn many(options: &Options) -> bool {
    let start = Instant::now();
    let threads = match options.threads {
        0 => thread::available_parallelism().map_or(1, usize::from),
        threads => threads,
    };
    let (next, done) = (AtomicU64::new(0), AtomicU64::new(0));
    let failed: Mutex<Option<u64>> = Mutex::new(None);
    let total: Mutex<Report> = Mutex::new(Report::default());
    let is_over = || failed.lock().is_ok_and(|failed| failed.is_some());
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let number @ 0.. = next.fetch_add(1, Ordering::Relaxed)
                    && number < options.worlds
                    && !is_over()
                {
                    let seed = options.first + number;
                    match catch_unwind(|| run(seed)) {
                        Ok(Ok(report)) => add(&total, &report),
                        _ => note_failure(&failed, seed),
                    }
                    done.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let mut told = Instant::now();
        while done.load(Ordering::Relaxed) < options.worlds && !is_over() {
            thread::sleep(Duration::from_millis(20));
            if told.elapsed() > Duration::from_secs(10) {
                told = Instant::now();
                println!("{:>6} of {} worlds, {:?}", done.load(Ordering::Relaxed), options.worlds, start.elapsed());
            }
        }
    });
    let worlds = done.load(Ordering::Relaxed);
    if let Some(seed) = failed.into_inner().unwrap_or_default() {
        replay(seed, false);
        println!("replay it with: cargo run -p wse-sim --profile sim -- --seed {seed} --trace");
        println!("{worlds} worlds until then");
        return false;
    }
    let report = total.into_inner().unwrap_or_default();
    println!("{worlds} worlds are sound, in {:.1} s: {report:?}", start.elapsed().as_secs_f64());
    true
}

/// Of several failures the one with the lowest seed counts.
fn note_failure(failed: &Mutex<Option<u64>>, seed: u64) {
    if let Ok(mut failed) = failed.lock() {
        *failed = Some(failed.map_or(seed, |other| other.min(seed)));
    }
}

fn add(total: &Mutex<Report>, report: &Report) {
    if let Ok(mut total) = total.lock() {
        total.steps += report.steps;
        total.delivered += report.delivered;
        total.recovered += report.recovered;
        total.lost += report.lost;
        total.connections += report.connections;
        total.heard += report.heard;
    }
}
