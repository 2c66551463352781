//! Clients to server: how many messages a CPU second of the server takes in and hands to its application.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result};
use tokio::{io::AsyncWriteExt as _, time::timeout};

use crate::{
    process::Host,
    raw::{client_frame, connect},
    report::Row,
};

const PING: &str = r#"WSE{"t":"ping","p":{"timestamp":1},"v":1}"#;

/// `connections` clients each send their share of `total` messages of `size` bytes: many in each write
/// (`flood`), or one.
pub(crate) async fn run(host: &mut Host, connections: usize, total: u64, size: usize, flood: bool) -> Result<Row> {
    let each = total / connections as u64;
    let message = Arc::new(client_frame(true, text_of(size).as_bytes()));
    let mut clients = Vec::new();
    for _ in 0..connections {
        let (mut reader, writer) = connect(host.addr).await?;
        reader.wait_for("\"server_ready\"").await?;
        clients.push((reader, writer));
    }
    let (handled_before, cpu_before) = (host.handled().await?, host.cpu_seconds()?);
    let mut tasks = Vec::new();
    for (mut reader, mut writer) in clients {
        let message = Arc::clone(&message);
        tasks.push(tokio::spawn(async move {
            let per_write = if flood { (128 * 1024 / message.len()).max(1) as u64 } else { 1 };
            let batch = message.repeat(per_write as usize);
            let mut left = each;
            while left > 0 {
                let count = left.min(per_write);
                writer.write_all(&batch[..message.len() * count as usize]).await?;
                left -= count;
                if !flood {
                    tokio::task::yield_now().await;
                }
            }
            // The answer proves that everything before it was consumed, in order.
            writer.write_all(&client_frame(true, PING.as_bytes())).await?;
            timeout(Duration::from_secs(120), reader.wait_for("\"PONG\""))
                .await
                .context("no PONG after the flood")??;
            Ok::<_, anyhow::Error>((reader, writer))
        }));
    }
    let mut open = Vec::new();
    for task in tasks {
        open.push(task.await??);
    }
    let sent = each * connections as u64;
    let handled = wait_for_handler(host, handled_before, sent).await?;
    let cpu = host.cpu_seconds()? - cpu_before;
    let way = if flood { "flood" } else { "one message a write" };
    let work = format!("inbound {size} B, {connections} connections, {way}");
    Ok(Row::new(work, sent, sent, handled, sent.abs_diff(handled), cpu))
}

/// The handler runs after the PONG at the latest; give it the time it needs, but not for ever.
async fn wait_for_handler(host: &mut Host, before: u64, sent: u64) -> Result<u64> {
    for _ in 0..200 {
        let handled = host.handled().await? - before;
        if handled >= sent {
            return Ok(handled);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(host.handled().await? - before)
}

/// An application message of exactly `size` bytes with the members that real ones have.
pub(crate) fn text_of(size: usize) -> String {
    let head = r#"U{"t":"trade","p":{"symbol":"WSE","price":101.25,"side":"buy","note":""#;
    let tail = r#""},"id":"0198c0de-1234-7abc-8def-0123456789ab","ts":"2026-02-20T15:30:00.000Z","v":1}"#;
    let fill = size.saturating_sub(head.len() + tail.len());
    format!("{head}{}{tail}", "x".repeat(fill))
}
