#![allow(clippy::print_stdout, reason = "a program for people")]
//! `wse-bench-cost CASE TIMES`: does one piece of work of the core so many times, for a profiler to count.
//!
//! Two runs that differ only in TIMES differ only in the work, so start and end cancel out.

#[path = "../cases.rs"]
mod cases;

use std::hint::black_box;

use anyhow::{Context, Result};

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let name = args.next().context("usage: wse-bench-cost CASE TIMES")?;
    let times: u64 = args.next().context("TIMES")?.parse()?;
    let case = cases::all().into_iter().find(|case| case.name() == name).context("no such case")?;
    let mut work = case.work();
    for _ in 0..times {
        black_box(work());
    }
    Ok(())
}
