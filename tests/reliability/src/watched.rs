//! The server program, with its memory and CPU time before the eyes.

use std::{
    net::SocketAddr,
    process::ExitStatus,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use wse_bench::usage;
use wse_e2e::server::{Server, free_address};

use crate::{
    Setup,
    sheet::{Of, Sheet},
};

/// A running server, and what it used at the beginning.
pub(crate) struct Watched {
    pub(crate) server: Server,
    since: Instant,
    cpu: f64,
    resident_kib: u64,
}

impl Watched {
    /// Starts one on a free port.
    pub(crate) async fn start(setup: &Setup, options: &[&str]) -> Result<Self> {
        Self::start_at(setup, free_address()?, options).await
    }

    /// The same on this address.
    pub(crate) async fn start_at(setup: &Setup, address: SocketAddr, options: &[&str]) -> Result<Self> {
        let server = Server::start(&setup.server, address, &[&["--log", "error"], options].concat()).await?;
        let mut watched = Self { server, since: Instant::now(), cpu: 0.0, resident_kib: 0 };
        watched.begin()?;
        Ok(watched)
    }

    /// Counts from here on.
    pub(crate) fn begin(&mut self) -> Result<()> {
        let pid = self.server.pid()?;
        (self.since, self.cpu, self.resident_kib) =
            (Instant::now(), usage::cpu_seconds(pid)?, usage::resident_kib(pid)?);
        Ok(())
    }

    pub(crate) fn url(&self) -> String {
        format!("ws://{}/wse", self.server.address)
    }

    pub(crate) fn resident_mib(&self) -> Result<f64> {
        Ok(usage::resident_kib(self.server.pid()?)? as f64 / 1024.0)
    }

    /// CPU seconds since the beginning.
    pub(crate) fn cpu_seconds(&self) -> Result<f64> {
        Ok(usage::cpu_seconds(self.server.pid()?)? - self.cpu)
    }

    /// One of the counters.
    pub(crate) async fn counter(&self, name: &str) -> Result<u64> {
        let health = self.server.get("/wse/health").await?;
        health["counters"][name].as_u64().with_context(|| format!("no counter {name} in {health}"))
    }

    /// Everything that the server says about itself.
    pub(crate) async fn health(&self) -> Result<Value> {
        self.server.get("/wse/health").await
    }

    /// Writes down memory and CPU time since the beginning. `most_mib`: by how much the resident memory may have grown
    /// at any time since the process began.
    pub(crate) fn usage(&self, sheet: &mut Sheet, most_mib: f64) -> Result<()> {
        let pid = self.server.pid()?;
        let before = self.resident_kib as f64 / 1024.0;
        let peak = usage::peak_kib(pid)? as f64 / 1024.0;
        sheet.note("server: memory before", Of(before, "MiB"));
        sheet.most("server: memory, most above that", Of(peak - before, "MiB"), Of(most_mib, "MiB"));
        let share = 100.0 * self.cpu_seconds()? / self.since.elapsed().as_secs_f64();
        sheet.note("server: CPU", Of(share, "% of one core"));
        Ok(())
    }

    /// SIGTERM, and waits for the end.
    pub(crate) async fn terminate(self) -> Result<ExitStatus> {
        kill(Pid::from_raw(i32::try_from(self.server.pid()?)?), Signal::SIGTERM)?;
        self.server.ended().await
    }
}

/// Asks again and again until it is so.
pub(crate) async fn until(what: &str, limit: Duration, mut is_so: impl FnMut() -> bool) -> Result<Duration> {
    let started = Instant::now();
    while !is_so() {
        ensure!(started.elapsed() < limit, "not so after {} s: {what}", limit.as_secs());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(started.elapsed())
}
