//! What receiving costs a Python program and a browser page.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::tcp::OwnedWriteHalf,
    process::Command,
    time::timeout,
};

use crate::{
    process::Host,
    raw::{Reader, connect, subscribe},
    report::{Report, Row},
};
use wse_bench::wire::client_frame;

/// Publications ahead of the receiver: less than a topic's ring holds.
const WINDOW: u64 = 3000;

/// The last line of a receiver.
#[derive(Deserialize)]
struct Outcome {
    received: u64,
    wrong: u64,
    cpu_seconds: f64,
}

/// Python: `async for event in client`, each payload touched.
pub(crate) async fn python(report: &mut Report, interpreter: &Path, count: u64) -> Result<()> {
    let host = Host::ours(&[]).await?;
    let url = format!("ws://{}/wse", host.addr);
    let mut command = Command::new(interpreter);
    command.arg(clients_folder().join("receive.py")).args([&url, "bench:python", &count.to_string(), "bench:ack"]);
    let outcome = drive(&host, command, "bench:python", count).await.context("the Python receiver")?;
    keep(report, "Python receives 175 B, async for, payload touched", count, &outcome);
    Ok(())
}

/// A page in headless Chromium: `client.on(type, …)`, each payload touched.
pub(crate) async fn browser(report: &mut Report, package: &Path, count: u64) -> Result<()> {
    let site = std::env::temp_dir().join(format!("wse-bench-site-{}", std::process::id()));
    copy_folder(&package.join("dist"), &site.join("dist"))?;
    std::fs::copy(clients_folder().join("receive.html"), site.join("receive.html"))?;
    let host = Host::ours(&["--site", &site.to_string_lossy()]).await?;
    let page = format!("http://{}/receive.html?topic=bench:browser&ack=bench:ack&count={count}", host.addr);
    let mut command = Command::new("node");
    command.arg(clients_folder().join("receive.mjs")).arg(std::path::absolute(package)?).arg(page);
    let outcome = drive(&host, command, "bench:browser", count).await.context("the browser receiver");
    std::fs::remove_dir_all(&site)?;
    keep(report, "browser receives 175 B, payload touched (main thread)", count, &outcome?);
    Ok(())
}

fn keep(report: &mut Report, work: &str, count: u64, outcome: &Outcome) {
    let row = Row::new(work, count, count, outcome.received, outcome.wrong, outcome.cpu_seconds);
    row.print();
    report.rows.push(row);
}

/// Starts a receiver, waits until it is ready, publishes, and reads its outcome.
async fn drive(host: &Host, mut command: Command, topic: &str, count: u64) -> Result<Outcome> {
    let mut child = command.stdout(Stdio::piped()).kill_on_drop(true).spawn().context("start it")?;
    let mut lines = BufReader::new(child.stdout.take().context("its stdout")?).lines();
    let first = timeout(Duration::from_secs(60), lines.next_line()).await.context("it never got ready")??;
    ensure!(first.as_deref() == Some("ready"), "it said {first:?} and not \"ready\"");
    let (mut acks, mut publisher) = connect(host.addr).await?;
    subscribe(&mut acks, &mut publisher, "bench:ack").await?;
    timeout(Duration::from_secs(300), publish(&mut acks, &mut publisher, topic, count)).await.context("too slow")??;
    let last = timeout(Duration::from_secs(60), lines.next_line()).await.context("it never finished")??;
    Ok(serde_json::from_str(&last.context("it ended without an outcome")?)?)
}

async fn publish(acks: &mut Reader, publisher: &mut OwnedWriteHalf, topic: &str, count: u64) -> Result<()> {
    let (mut next, mut acked) = (0, 0);
    while next < count {
        let room = (acked + WINDOW).saturating_sub(next).min(count - next).min(256);
        if room == 0 {
            acks.read_frames(|frame| acked = acked.max(ack_of(frame).unwrap_or(0))).await?;
            continue;
        }
        let mut batch = Vec::new();
        for number in next..next + room {
            let text = format!(
                r#"U{{"t":"trade","p":{{"n":{number},"symbol":"WSE","price":101.25,"side":"buy"}},"tp":"{topic}","v":1}}"#
            );
            batch.extend(client_frame(true, text.as_bytes()));
        }
        publisher.write_all(&batch).await?;
        next += room;
    }
    Ok(())
}

fn ack_of(frame: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(frame).ok()?;
    if !text.contains("\"t\":\"ack\"") {
        return None;
    }
    let from = text.find("\"n\":")? + 4;
    let number = text[from..].trim_start();
    let end = number.find(|c: char| !c.is_ascii_digit())?;
    number[..end].parse().ok()
}

fn clients_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("clients")
}

fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from).with_context(|| format!("{}: build it first", from.display()))? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
