//! The way there and back: a `ping` and its PONG.

use std::time::Instant;

use anyhow::Result;
use tokio::io::AsyncWriteExt as _;
use wse_bench::wire::client_frame;

use crate::{compare::Measured, process::Host, raw, report::percentiles};

const PING: &str = r#"WSE{"t":"ping","p":{"timestamp":1},"v":1}"#;

/// `connections` clients at once, each with one `ping` under way at a time.
pub(crate) async fn run(host: &mut Host, connections: usize, each: u64) -> Result<Measured> {
    let mut clients = Vec::new();
    for _ in 0..connections {
        clients.push(raw::ready(host, "").await?);
    }
    let cpu_before = host.cpu_seconds()?;
    let mut tasks = Vec::new();
    for (mut reader, mut writer) in clients {
        tasks.push(tokio::spawn(async move {
            let frame = client_frame(true, PING.as_bytes());
            let mut round_trips = Vec::new();
            for _ in 0..each {
                let start = Instant::now();
                writer.write_all(&frame).await?;
                reader.wait_for("\"PONG\"").await?;
                round_trips.push(start.elapsed().as_secs_f64() * 1000.0);
            }
            Ok::<_, anyhow::Error>(round_trips)
        }));
    }
    let mut all = Vec::new();
    for task in tasks {
        all.extend(task.await??);
    }
    let cpu_seconds = host.cpu_seconds()? - cpu_before;
    let done = all.len() as u64;
    Ok(Measured { consumed: done, handed: done, latency_ms: percentiles(all), cpu_seconds, ..Measured::default() })
}
