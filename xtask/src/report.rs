//! Steps with a header, a time, and a table at the end.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// How a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Passed,
    Failed,
    /// It could not run here; why is in its name.
    Absent,
}

impl Outcome {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "FAILED",
            Self::Absent => "not run",
        }
    }
}

/// The steps of one recipe. A failed step does not stop those that can do without it.
#[derive(Debug, Default)]
pub(crate) struct Report {
    steps: Vec<(String, Outcome, Duration)>,
}

impl Report {
    /// Runs one step. What it gives is there for the steps that need it, if it passed.
    pub(crate) fn step<T>(&mut self, name: &str, work: impl FnOnce() -> Result<T>) -> Option<T> {
        println!("\n=== {name}");
        let started = Instant::now();
        let result = work();
        let taken = started.elapsed();
        let outcome = if result.is_ok() { Outcome::Passed } else { Outcome::Failed };
        if let Err(error) = &result {
            println!("{error:#}");
        }
        println!("--- {name}: {} after {:.1} s", outcome.as_str(), taken.as_secs_f64());
        self.steps.push((name.to_owned(), outcome, taken));
        result.ok()
    }

    /// Notes a step that cannot run on this machine; `why` shows in the table.
    pub(crate) fn absent(&mut self, name: &str, why: &str) {
        println!("\n=== {name}: not run, {why}");
        self.steps.push((format!("{name} ({why})"), Outcome::Absent, Duration::ZERO));
    }

    /// Notes a step that another one's failure kept from running, which is a failure too.
    pub(crate) fn blocked(&mut self, name: &str, by: &str) {
        println!("\n=== {name}: not run because {by} failed");
        self.steps.push((format!("{name} (needs {by})"), Outcome::Failed, Duration::ZERO));
    }

    /// Prints the table and a last line with the counts.
    ///
    /// # Errors
    /// When a step failed, or none ran.
    pub(crate) fn finish(self) -> Result<()> {
        println!();
        for (name, outcome, taken) in &self.steps {
            println!("  {:<8} {:>7.1} s  {name}", outcome.as_str(), taken.as_secs_f64());
        }
        let count = |wanted: Outcome| self.steps.iter().filter(|(_, outcome, _)| *outcome == wanted).count();
        let total: Duration = self.steps.iter().map(|(_, _, taken)| *taken).sum();
        println!("  {:<8} {:>7.1} s\n", "total", total.as_secs_f64());
        let (passed, failed, absent) = (count(Outcome::Passed), count(Outcome::Failed), count(Outcome::Absent));
        if absent == 0 {
            println!("steps: {passed} passed, {failed} failed");
        } else {
            println!("steps: {passed} passed, {failed} failed, {absent} skipped");
        }
        if failed > 0 {
            bail!("{failed} of {} steps failed", self.steps.len());
        }
        if passed == 0 {
            bail!("no step passed");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_step_fails_the_report_and_the_others_still_run() {
        let mut report = Report::default();
        assert_eq!(report.step::<u8>("one", || bail!("broken")), None);
        assert_eq!(report.step("two", || Ok(2)), Some(2));
        assert!(report.finish().is_err());
    }

    #[test]
    fn a_report_without_a_passed_step_is_a_failure() {
        let mut report = Report::default();
        report.absent("one", "no interpreter");
        assert!(report.finish().is_err());
    }

    #[test]
    fn what_a_failure_blocks_is_a_failure() {
        let mut report = Report::default();
        assert_eq!(report.step("one", || Ok(1)), Some(1));
        report.blocked("three", "two");
        assert!(report.finish().is_err());
    }
}
