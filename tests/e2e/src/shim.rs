//! A program that plays a client or a server in another language, driven by JSON lines.
//!
//! Its first argument is a JSON object with settings. It prints one object per line, with the kind in `event`, and reads
//! one order per line, with the kind in `do`.

use std::{
    path::Path,
    process::Stdio,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    time::timeout,
};

/// How long a line may take to come.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running program; dropping it kills it.
#[derive(Debug)]
pub(crate) struct Shim {
    child: Child,
    orders: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
    complaints: Arc<Mutex<String>>,
    /// Lines that were read while another one was waited for.
    kept: Vec<Value>,
}

impl Shim {
    /// Starts `program script settings`.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(crate) fn start(
        program: &Path,
        script: &Path,
        settings: &Value,
        environment: &[(&str, &Path)],
    ) -> Result<Self> {
        let mut command = Command::new(program);
        command.arg(script).arg(settings.to_string()).envs(environment.iter().copied());
        command.env("PYTHONDONTWRITEBYTECODE", "1").kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("cannot start {}", program.display()))?;
        let orders = child.stdin.take().context("no pipe to the program")?;
        let lines = BufReader::new(child.stdout.take().context("no pipe from the program")?).lines();
        let complaints = Arc::new(Mutex::new(String::new()));
        let mut errors = BufReader::new(child.stderr.take().context("no pipe from the program")?).lines();
        let heard = Arc::clone(&complaints);
        tokio::spawn(async move {
            while let Ok(Some(line)) = errors.next_line().await {
                let mut heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
                heard.push_str(&line);
                heard.push('\n');
            }
        });
        Ok(Self { child, orders, lines, complaints, kept: Vec::new() })
    }

    /// Gives an order.
    ///
    /// # Errors
    /// When the program is gone.
    pub(crate) async fn order(&mut self, order: &Value) -> Result<()> {
        let line = format!("{order}\n");
        let sent = self.orders.write_all(line.as_bytes()).await;
        sent.with_context(|| format!("the program is gone\n{}", self.complaints()))
    }

    /// The next line whose `event` is `kind`. Lines of other kinds are kept for later, in order; a line `failed` ends the
    /// wait, unless it is what is waited for.
    ///
    /// # Errors
    /// When the program says `failed`, ends, or says nothing in time.
    pub(crate) async fn expect(&mut self, kind: &str) -> Result<Value> {
        if let Some(at) = self.kept.iter().position(|line| line["event"] == kind) {
            return Ok(self.kept.remove(at));
        }
        loop {
            let line = match timeout(PATIENCE, self.lines.next_line()).await {
                Ok(line) => line?,
                Err(_) => bail!("no line {kind:?} within {PATIENCE:?}, but {:?}\n{}", self.kept, self.complaints()),
            };
            let Some(line) = line else {
                let status = self.child.wait().await?;
                bail!("the program ended ({status}) before a line {kind:?}\n{}", self.complaints());
            };
            let value: Value = serde_json::from_str(&line).with_context(|| format!("no JSON line: {line}"))?;
            if value["event"] == kind {
                return Ok(value);
            }
            if value["event"] == "failed" {
                bail!("{} {}\n{}", value["code"], value["detail"], self.complaints());
            }
            self.kept.push(value);
        }
    }

    /// Waits for a clean end.
    ///
    /// # Errors
    /// When it ends with anything but success.
    pub(crate) async fn finish(mut self) -> Result<()> {
        drop(self.orders);
        while let Ok(Ok(Some(_))) = timeout(PATIENCE, self.lines.next_line()).await {}
        let status = timeout(PATIENCE, self.child.wait()).await.context("the program does not end")??;
        if status.success() {
            return Ok(());
        }
        let heard = self.complaints.lock().unwrap_or_else(PoisonError::into_inner).clone();
        bail!("the program ended with {status}\n{heard}")
    }

    fn complaints(&self) -> String {
        self.complaints.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
