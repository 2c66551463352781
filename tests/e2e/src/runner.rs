//! Runs tests one after the other and counts.

use std::{
    future::Future,
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow};

/// No test may take longer.
const LIMIT: Duration = Duration::from_secs(120);

/// Counts of a run.
#[derive(Debug)]
pub(crate) struct Runner {
    only: Option<String>,
    passed: u32,
    failed: u32,
    skipped: u32,
}

impl Runner {
    /// With `only`, tests whose name does not contain it are left out.
    pub(crate) const fn new(only: Option<String>) -> Self {
        Self { only, passed: 0, failed: 0, skipped: 0 }
    }

    /// Runs one test and prints how it went.
    pub(crate) async fn test(&mut self, name: &str, body: impl Future<Output = Result<()>>) {
        if !self.wants(name) {
            return;
        }
        let started = Instant::now();
        let result = match tokio::time::timeout(LIMIT, body).await {
            Ok(result) => result,
            Err(_) => Err(anyhow!("not done after {} s", LIMIT.as_secs())),
        };
        let taken = started.elapsed().as_secs_f64();
        match result {
            Ok(()) => {
                self.passed += 1;
                println!("ok      {taken:5.1} s  {name}");
            }
            Err(error) => {
                self.failed += 1;
                println!("FAILED  {taken:5.1} s  {name}\n    {}", format!("{error:#}").replace('\n', "\n    "));
            }
        }
    }

    /// Notes a test that cannot run on this machine; why stands in its name.
    pub(crate) fn skip(&mut self, name: &str, why: &str) {
        if self.wants(name) {
            self.skipped += 1;
            println!("skipped          {name} ({why})");
        }
    }

    fn wants(&self, name: &str) -> bool {
        self.only.as_ref().is_none_or(|only| name.contains(only.as_str()))
    }

    /// Prints the last line; whether everything that ran passed, and something did.
    pub(crate) fn finish(self) -> bool {
        let skipped = if self.skipped == 0 { String::new() } else { format!(", {} skipped", self.skipped) };
        println!("\ne2e: {} passed, {} failed{skipped}", self.passed, self.failed);
        self.failed == 0 && self.passed > 0
    }
}
