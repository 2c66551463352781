//! What the core alone costs: time per message next to serde_json's, and instructions where valgrind is there.

use std::{
    hint::black_box,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::Result;
use wse_bench::cases::{self, Case, Work};

use crate::{
    callgrind,
    report::{CoreCost, Report},
};

/// How long one case runs in one round, at least.
const ROUND: Duration = Duration::from_millis(1);

/// Measures every case in rounds that take turns, so that whatever else the machine does meets all of them. Then
/// counts instructions, if `counter` (`wse-bench-cost`) is given.
pub(crate) fn measure(report: &mut Report, rounds: usize, counter: Option<&Path>) -> Result<()> {
    let cases = cases::all();
    let times = time(&cases, rounds);
    let instructions = match counter {
        Some(counter) => {
            println!("core: instructions of {} cases, under callgrind", cases.len());
            callgrind::count(counter)?.into_iter().map(Some).collect()
        }
        None => vec![None; cases.len()],
    };
    let mut costs: Vec<CoreCost> = Vec::new();
    for ((case, nanoseconds), instructions) in cases.iter().zip(times).zip(instructions) {
        costs.push(CoreCost {
            work: case.work.name(),
            form: case.form.name(),
            size: case.size,
            frame_bytes: case.frame_len(),
            nanoseconds,
            nanoseconds_of_serde_json: None,
            instructions,
            instructions_of_serde_json: None,
        });
    }
    compare(&mut costs);
    print(&costs);
    println!(
        "core: one row is the work on one frame, `in bytes` its length; ns are of the best round, other work can only add"
    );
    println!(
        "core: `of serde` compares with parsing the same text into a serde_json::Value: below 1 is less work than that"
    );
    println!("core: instructions are those of this build, whatever the machine does; times are of this machine");
    if counter.is_none() {
        println!("core: instructions NOT COUNTED, for lack of valgrind or of --cost");
    }
    report.core = costs;
    Ok(())
}

/// Puts every cost next to that of serde_json on the same text, which comes first of its size.
fn compare(costs: &mut [CoreCost]) {
    for same_text in costs.chunk_by_mut(|one, next| one.size == next.size) {
        let Some(serde) = same_text.first() else { continue };
        let (nanoseconds, instructions) = (serde.nanoseconds, serde.instructions);
        for cost in same_text {
            cost.nanoseconds_of_serde_json = Some(cost.nanoseconds / nanoseconds);
            cost.instructions_of_serde_json =
                cost.instructions.zip(instructions).map(|(own, serde)| own as f64 / serde as f64);
        }
    }
}

/// Nanoseconds of each case in the best of the rounds: other work on the machine can only make a round slower.
fn time(cases: &[Case], rounds: usize) -> Vec<f64> {
    println!("core: time of {} cases, the best of {rounds} rounds", cases.len());
    let mut works: Vec<_> = cases.iter().map(Case::work).collect();
    let times: Vec<u64> = works.iter_mut().map(|work| times_for(work.as_mut())).collect();
    let mut best = vec![f64::INFINITY; cases.len()];
    for round in 1..=rounds {
        for ((work, times), best) in works.iter_mut().zip(&times).zip(&mut best) {
            *best = best.min(nanoseconds(work.as_mut(), *times));
        }
        if round % 50 == 0 {
            println!("core: {round} of {rounds} rounds done");
        }
    }
    best
}

/// How often `work` is done in one round.
fn times_for(work: &mut dyn FnMut() -> usize) -> u64 {
    let mut times = 1;
    while nanoseconds(work, times) * (times as f64) < ROUND.as_nanos() as f64 {
        times *= 2;
    }
    times
}

fn nanoseconds(work: &mut dyn FnMut() -> usize, times: u64) -> f64 {
    let started = Instant::now();
    for _ in 0..times {
        black_box(work());
    }
    started.elapsed().as_nanos() as f64 / times as f64
}

/// One table for each size; every cost next to that of serde_json on the same text.
fn print(costs: &[CoreCost]) {
    let mut size = 0;
    for cost in costs {
        if cost.size != size {
            size = cost.size;
            let title = format!("core, {size} B of plain text");
            println!(
                "\n{title:<28} {:>10} {:>10} {:>9} {:>13} {:>9}",
                "in bytes", "ns", "of serde", "instructions", "of serde"
            );
        }
        let name = if cost.work == Work::Serde.name() {
            "serde_json into Value".into()
        } else {
            format!("{} {}", cost.work, cost.form)
        };
        let share = |share: Option<f64>| share.map_or_else(|| "-".into(), |share| format!("{share:.2}"));
        let (of_time, of_instructions) =
            (share(cost.nanoseconds_of_serde_json), share(cost.instructions_of_serde_json));
        let instructions = cost.instructions.map_or_else(|| "-".into(), |count| count.to_string());
        println!(
            "{name:<28} {:>10} {:>10.0} {of_time:>9} {instructions:>13} {of_instructions:>9}",
            cost.frame_bytes, cost.nanoseconds
        );
    }
    println!();
}
