//! A server under test: its own process, so that its CPU time is its own.

use std::{net::SocketAddr, path::PathBuf, process::Stdio};

use anyhow::{Context, Result, ensure};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
};
pub(crate) use wse_bench::usage::cpu_seconds;
use wse_bench::usage::resident_kib;

/// The key of the tokens, where a server wants one.
pub(crate) const SECRET: &str = "a secret of the benchmark alone, 32 bytes at least";

/// A server that is measured: it says `listening ADDR`, and then answers commands on its standard input.
pub(crate) struct Host {
    pub(crate) addr: SocketAddr,
    /// What clients bring to be let in; empty where everyone is.
    pub(crate) token: String,
    child: Child,
    commands: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Host {
    /// Our server library with a handler that counts; `args` as its program takes them.
    pub(crate) async fn ours(args: &[&str]) -> Result<Self> {
        Self::start(Command::new(sibling("wse-bench-host")?).args(args)).await
    }

    /// What ours is compared with and is written in Rust: `args` as `wse-bench-rival` takes them.
    pub(crate) async fn rival(args: &[&str]) -> Result<Self> {
        Self::start(Command::new(sibling("wse-bench-rival")?).args(args)).await
    }

    /// Starts a server. It is ended when the value is dropped.
    pub(crate) async fn start(command: &mut Command) -> Result<Self> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("start {command:?}"))?;
        let commands = child.stdin.take().context("stdin of the host")?;
        let mut answers = BufReader::new(child.stdout.take().context("stdout of the host")?).lines();
        let line = answers.next_line().await?.context("the host ended before it was listening")?;
        let addr = line.strip_prefix("listening ").context("the host's first line")?.parse()?;
        Ok(Self { addr, token: String::new(), child, commands, answers })
    }

    /// The same, for clients with a token.
    pub(crate) fn with_token(mut self) -> Result<Self> {
        let ttl = std::time::Duration::from_secs(24 * 3600);
        self.token = wse_server::make_token(&SECRET.into(), &wse_server::TokenClaims::new("bench", ttl))?;
        Ok(self)
    }

    /// Messages that the application has seen so far.
    pub(crate) async fn handled(&mut self) -> Result<u64> {
        Ok(self.ask("count").await?.parse()?)
    }

    /// Has the server publish messages of `size` bytes with the numbers from `first` on, stamped with the time.
    /// Answers when it has handed them to its topic.
    pub(crate) async fn publish(&mut self, first: u64, count: u64, size: usize) -> Result<()> {
        self.ask(&format!("publish {first} {count} {size}")).await.map(drop)
    }

    async fn ask(&mut self, command: &str) -> Result<String> {
        self.commands.write_all(format!("{command}\n").as_bytes()).await?;
        self.answers.next_line().await?.context("the host ended")
    }

    fn pid(&self) -> Result<u32> {
        self.child.id().context("the host ended")
    }

    /// CPU time used by the host so far, user and system, in seconds.
    pub(crate) fn cpu_seconds(&self) -> Result<f64> {
        cpu_seconds(self.pid()?)
    }

    /// Resident memory in KiB.
    pub(crate) fn resident_kib(&self) -> Result<u64> {
        resident_kib(self.pid()?)
    }
}

/// A program built beside this one.
fn sibling(name: &str) -> Result<PathBuf> {
    let path = std::env::current_exe()?.with_file_name(name);
    ensure!(path.exists(), "{} is missing: build the whole package wse-bench", path.display());
    Ok(path)
}
