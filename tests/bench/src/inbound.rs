//! Clients to server: what it costs to take a message in and to hand it to the application.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result};
use tokio::{io::AsyncWriteExt as _, time::timeout};
use wse_bench::wire::client_frame;

use crate::{compare::Measured, process::Host, raw};

const PING: &str = r#"WSE{"t":"ping","p":{"timestamp":1},"v":1}"#;

/// `connections` clients each send their share of `total` messages of `size` bytes: many in each write
/// (`flood`), or one.
pub(crate) async fn run(host: &mut Host, connections: usize, total: u64, size: usize, flood: bool) -> Result<Measured> {
    let each = total / connections as u64;
    let message = Arc::new(client_frame(true, text_of(size).as_bytes()));
    let mut clients = Vec::new();
    for _ in 0..connections {
        clients.push(raw::ready(host, "").await?);
    }
    let (before, cpu_before) = (host.handled().await?, host.cpu_seconds()?);
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
                .context("no PONG: what was sent was not consumed")??;
            Ok::<_, anyhow::Error>((reader, writer))
        }));
    }
    let mut open = Vec::new();
    for task in tasks {
        open.push(task.await??);
    }
    let sent = each * connections as u64;
    let handed = settled(host, before, sent).await?;
    let cpu_seconds = host.cpu_seconds()? - cpu_before;
    Ok(Measured { consumed: sent, handed, lost: sent.saturating_sub(handed), cpu_seconds, ..Measured::default() })
}

/// What the application got, once it has everything or gets nothing any more.
async fn settled(host: &mut Host, before: u64, sent: u64) -> Result<u64> {
    const QUIET_LOOKS: u32 = 25;
    let (mut handled, mut quiet) = (0, 0);
    while handled < sent && quiet < QUIET_LOOKS {
        let now = host.handled().await? - before;
        quiet = if now == handled { quiet + 1 } else { 0 };
        handled = now;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(handled)
}

/// An application message of exactly `size` bytes with the members that real ones have, in the form that every server
/// that is compared reads: the category as a member.
fn text_of(size: usize) -> String {
    let head = r#"{"c":"U","t":"trade","p":{"symbol":"WSE","price":101.25,"note":""#;
    let tail = r#""},"id":"0198c0de-1234-7abc-8def-0123456789ab","ts":"2026-02-20T15:30:00.000Z","v":1}"#;
    let fill = size.saturating_sub(head.len() + tail.len());
    format!("{head}{}{tail}", "x".repeat(fill))
}
