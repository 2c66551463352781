//! `wse-bench-cost TIMES`: does each piece of work of the core so many times, for callgrind to count.
//!
//! Only what happens in [`counted`] is the work; callgrind is told to count nothing else.

use std::hint::black_box;

use anyhow::{Context, Result};
use wse_bench::cases;

fn main() -> Result<()> {
    let times = std::env::args().nth(1).context("usage: wse-bench-cost TIMES")?.parse()?;
    for case in cases::all() {
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
