//! What the core alone costs: time per message next to serde_json's, and instructions where valgrind is there.

use std::{
    hint::black_box,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

use crate::{
    cases::{self, Case, Work},
    report::{CoreCost, Report},
};

/// How long one case runs in one round.
const ROUND: Duration = Duration::from_millis(4);

/// Measures every case in rounds that take turns, so that whatever else the machine does meets all of them.
pub(crate) fn measure(report: &mut Report, rounds: usize, counter: Option<&Path>) -> Result<()> {
    let cases = cases::all();
    let mut works: Vec<_> = cases.iter().map(Case::work).collect();
    let times: Vec<u64> = works.iter_mut().map(|work| times_for(work.as_mut())).collect();
    let mut samples = vec![Vec::with_capacity(rounds); cases.len()];
    for _ in 0..rounds {
        for (at, work) in works.iter_mut().enumerate() {
            samples[at].push(nanoseconds(work.as_mut(), times[at]));
        }
    }
    let medians: Vec<f64> = samples.into_iter().map(median).collect();
    for (case, nanoseconds) in cases.iter().zip(&medians) {
        let serde = cases.iter().zip(&medians).find(|(other, _)| other.work == Work::Serde && other.size == case.size);
        let instructions = counter.map(|counter| count(counter, case)).transpose()?;
        report.core.push(CoreCost {
            case: case.name(),
            nanoseconds: *nanoseconds,
            of_serde_json: serde.map(|(_, serde)| nanoseconds / serde),
            instructions,
        });
    }
    print(&report.core);
    Ok(())
}

fn times_for(work: &mut dyn FnMut() -> usize) -> u64 {
    let mut times = 1;
    loop {
        let started = Instant::now();
        for _ in 0..times {
            black_box(work());
        }
        if started.elapsed() >= ROUND {
            return times;
        }
        times *= 2;
    }
}

fn nanoseconds(work: &mut dyn FnMut() -> usize, times: u64) -> f64 {
    let started = Instant::now();
    for _ in 0..times {
        black_box(work());
    }
    started.elapsed().as_nanos() as f64 / times as f64
}

fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples[samples.len() / 2]
}

/// Instructions of one piece of work: the difference of two runs of `wse-bench-cost`.
fn count(counter: &Path, case: &Case) -> Result<u64> {
    const FEW: u64 = 20;
    const MANY: u64 = 120;
    let few = instructions(counter, case, FEW)?;
    let many = instructions(counter, case, MANY)?;
    Ok(many.saturating_sub(few) / (MANY - FEW))
}

fn instructions(counter: &Path, case: &Case, times: u64) -> Result<u64> {
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]).arg(counter);
    let output = valgrind.arg(case.name()).arg(times.to_string()).output().context("valgrind")?;
    let text = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "valgrind: {text}");
    let line = text.lines().find_map(|line| line.split_once("Collected : ")).context("callgrind counted nothing")?;
    Ok(line.1.trim().parse()?)
}

fn print(costs: &[CoreCost]) {
    println!("{:<26} {:>12} {:>18} {:>14}", "core", "ns each", "of serde_json", "instructions");
    for cost in costs {
        let ratio = cost.of_serde_json.map_or(String::new(), |ratio| format!("{ratio:.2}"));
        let instructions = cost.instructions.map_or("-".into(), |count| count.to_string());
        println!("{:<26} {:>12.0} {ratio:>18} {instructions:>14}", cost.case, cost.nanoseconds);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_does_its_work() {
        for case in cases::all() {
            let mut work = case.work();
            assert!(work() > 0, "{} fails", case.name());
            assert!(work() > 0, "{} fails the second time", case.name());
        }
    }

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(vec![9.0, 1.0, 5.0]), 5.0);
    }
}
