//! A server under test: its own process, so that its CPU time is its own.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context, Result, ensure};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
};
pub(crate) use wse_bench::usage::cpu_seconds;
use wse_bench::usage::resident_kib;

/// The benchmark host: our server library with a handler that counts.
pub(crate) struct Host {
    pub(crate) addr: SocketAddr,
    child: Child,
    commands: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Host {
    /// Starts the host on a free port, with the files of `site` at `/`. It is ended when the value is dropped.
    pub(crate) async fn start(site: Option<&Path>) -> Result<Self> {
        let program = sibling("wse-bench-host")?;
        let mut child = Command::new(&program)
            .args(site)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("start {}", program.display()))?;
        let commands = child.stdin.take().context("stdin of the host")?;
        let mut answers = BufReader::new(child.stdout.take().context("stdout of the host")?).lines();
        let line = answers.next_line().await?.context("the host ended before it was listening")?;
        let addr = line.strip_prefix("listening ").context("the host's first line")?.parse()?;
        Ok(Self { addr, child, commands, answers })
    }

    /// Messages that the handler has seen so far.
    pub(crate) async fn handled(&mut self) -> Result<u64> {
        self.commands.write_all(b"count\n").await?;
        let line = self.answers.next_line().await?.context("the host ended")?;
        Ok(line.parse()?)
    }

    /// CPU time used by the host so far, user and system, in seconds.
    pub(crate) fn cpu_seconds(&self) -> Result<f64> {
        cpu_seconds(self.child.id().context("the host ended")?)
    }

    /// Resident memory in KiB.
    pub(crate) fn resident_kib(&self) -> Result<u64> {
        resident_kib(self.child.id().context("the host ended")?)
    }
}

/// A program built beside this one.
fn sibling(name: &str) -> Result<PathBuf> {
    let path = std::env::current_exe()?.with_file_name(name);
    ensure!(path.exists(), "{} is missing: build the whole package wse-bench", path.display());
    Ok(path)
}
