//! Instructions of each case, counted by callgrind over `wse-bench-cost`.

use std::{fs, path::Path, process::Command};

use anyhow::{Context, Result, ensure};
use wse_bench::cases;

/// How often each case is done: whole turns of what takes turns in it.
const TIMES: u64 = 64;

/// The function of `wse-bench-cost` in which the work happens. Of two options with the same pattern callgrind heeds
/// only the last, so there are two patterns for it.
const COUNTED: [&str; 2] = ["*counted*", "*wse_bench_cost*counted*"];

/// Instructions of one piece of work, for each case in the order of [`cases::all`]. The same program gives the same
/// figures on every run, but for a few in a thousand that come from the heap.
pub(crate) fn count(program: &Path) -> Result<Vec<u64>> {
    let folder = std::env::temp_dir().join(format!("wse-bench-{}", std::process::id()));
    fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    let counts = run(program, &folder).and_then(|()| read(&folder));
    fs::remove_dir_all(&folder)?;
    counts
}

fn run(program: &Path, folder: &Path) -> Result<()> {
    let mut valgrind = Command::new("valgrind");
    valgrind.arg("--tool=callgrind").arg(format!("--callgrind-out-file={}", folder.join("dump").display()));
    valgrind.arg(format!("--toggle-collect={}", COUNTED[0])).arg(format!("--dump-after={}", COUNTED[1]));
    let output = valgrind.arg(program).arg(TIMES.to_string()).output().context("valgrind does not start")?;
    ensure!(output.status.success(), "valgrind: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// Reads one dump for each case; their names end in numbers that count from 1.
fn read(folder: &Path) -> Result<Vec<u64>> {
    let all = cases::all();
    let total = |at: usize| {
        let path = folder.join(format!("dump.{at}"));
        let dump =
            fs::read_to_string(path).with_context(|| format!("callgrind counted {} of {} cases", at - 1, all.len()))?;
        let total =
            dump.lines().rev().find_map(|line| line.strip_prefix("totals: ")).context("a dump without a total")?;
        let each = total.trim().parse::<u64>()? / TIMES;
        ensure!(each > 0, "callgrind counted nothing in case {at} of {}", all.len());
        Ok(each)
    };
    (1..=all.len()).map(total).collect()
}
