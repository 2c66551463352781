//! Results: one line each for people, and `results.json` for programs.

use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;

use crate::{compare::Outcome, targets::Target};

/// One measured piece of work.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    /// What was done, for people.
    pub(crate) work: String,
    /// Messages the generator sent.
    pub(crate) sent: u64,
    /// Messages that should come out: `sent`, times the subscribers for fan-out.
    pub(crate) expected: u64,
    /// Messages the receiving side counted.
    pub(crate) received: u64,
    /// Messages that came twice, out of order, or not at all.
    pub(crate) wrong: u64,
    /// CPU seconds of the measured process.
    pub(crate) cpu_seconds: f64,
    /// Messages received for each of those seconds.
    pub(crate) per_cpu_second: f64,
}

/// Percentiles in milliseconds.
#[derive(Debug, Serialize)]
pub(crate) struct Latency {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
}

/// What one piece of work of the core costs.
#[derive(Debug, Serialize)]
pub(crate) struct CoreCost {
    /// What is done.
    pub(crate) work: &'static str,
    /// To a frame of which form.
    pub(crate) form: &'static str,
    /// Bytes of the same message as plain text in a frame.
    pub(crate) size: usize,
    /// Bytes of the frame in its form.
    pub(crate) frame_bytes: usize,
    /// In the best of the rounds.
    pub(crate) nanoseconds: f64,
    /// The same, next to `serde_json::from_slice::<Value>` of the plain text in the same rounds.
    pub(crate) nanoseconds_of_serde_json: Option<f64>,
    /// Instructions, where valgrind counted them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) instructions: Option<u64>,
    /// The same, next to those of serde_json.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) instructions_of_serde_json: Option<f64>,
}

/// Sizes of the browser's module in bytes.
#[derive(Debug, Serialize)]
pub(crate) struct WasmSize {
    pub(crate) raw: u64,
    pub(crate) gzip: u64,
    pub(crate) brotli: u64,
}

/// Everything one run found out.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) date: String,
    pub(crate) machine: String,
    /// What receiving costs clients.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) rows: Vec<Row>,
    /// Servers next to each other.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) servers: Vec<Outcome>,
    /// What the server is meant to reach, and whether it did.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) targets: Vec<Target>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) wasm: Option<WasmSize>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) core: Vec<CoreCost>,
}

impl Row {
    /// A row from its ledger and the CPU time of the measured process.
    pub(crate) fn new(work: impl Into<String>, sent: u64, expected: u64, received: u64, wrong: u64, cpu: f64) -> Self {
        let per_cpu_second = if cpu > 0.0 { received as f64 / cpu } else { 0.0 };
        Self { work: work.into(), sent, expected, received, wrong, cpu_seconds: cpu, per_cpu_second }
    }

    /// Whether everything that was sent came out once and in order.
    pub(crate) const fn balances(&self) -> bool {
        self.expected == self.received && self.wrong == 0
    }

    /// The row for people.
    pub(crate) fn print(&self) {
        let ledger = if self.balances() { "balances" } else { "DOES NOT BALANCE" };
        let micros = self.cpu_seconds * 1e6 / (self.received.max(1) as f64);
        println!(
            "{:<58} {:>10} of {:>10} received, {:>6.2} CPU s, {micros:>7.3} µs each, {:>10.0} per CPU second   ledger {ledger}",
            self.work, self.received, self.expected, self.cpu_seconds, self.per_cpu_second
        );
    }
}

impl Report {
    /// Writes the report as JSON, its folder included.
    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::write(path, serde_json::to_string_pretty(self)? + "\n").with_context(|| path.display().to_string())
    }
}

/// Percentiles of latencies in milliseconds.
pub(crate) fn percentiles(mut samples: Vec<f64>) -> Option<Latency> {
    if samples.is_empty() {
        return None;
    }
    samples.sort_by(f64::total_cmp);
    let at = |share: f64| samples[((samples.len() - 1) as f64 * share) as usize];
    Some(Latency { p50: at(0.5), p99: at(0.99) })
}
