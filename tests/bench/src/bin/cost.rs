//! `wse-bench-cost TIMES [CASE]`: does each piece of work of the core so many times, for callgrind to count. With a
//! CASE, such as "decode text 200", only that one, for a profiler to look into.
//!
//! Only what happens in [`counted`] is the work; callgrind is told to count nothing else.

use std::hint::black_box;

use anyhow::{Context, Result};
use wse_bench::cases;

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let times = args.next().context("usage: wse-bench-cost TIMES [CASE]")?.parse()?;
    let only = args.next();
    for case in cases::all().iter().filter(|case| only.as_ref().is_none_or(|only| case.name() == *only)) {
        let mut work = case.work();
        // What a first time costs more is not counted.
        black_box(work());
        counted(&mut work, times);
    }
    Ok(())
}

/// The benchmark names this function to callgrind.
#[inline(never)]
fn counted(work: &mut dyn FnMut() -> usize, times: u64) {
    for _ in 0..times {
        black_box(work());
    }
}
