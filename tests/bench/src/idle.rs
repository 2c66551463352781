//! What a connection costs that comes, and then says nothing.

use std::time::Duration;

use anyhow::Result;
use tokio::task::JoinSet;

use crate::{compare::Measured, process::Host, raw};

/// Connections that are opened at the same time.
const AT_A_TIME: usize = 64;

/// Opens `count` connections, each ready to be used: CPU time for each, and the KiB of resident memory that it added
/// to the server. The kernel's socket buffers are not part of it.
pub(crate) async fn run(host: &mut Host, count: usize) -> Result<Measured> {
    // What the first connections bring into memory belongs to nobody.
    drop(raw::ready(host, "").await?);
    let (before, cpu_before) = (host.resident_kib()?, host.cpu_seconds()?);
    let mut open = Vec::with_capacity(count);
    let mut opening = JoinSet::new();
    for started in 0..count {
        if started >= AT_A_TIME
            && let Some(opened) = opening.join_next().await
        {
            open.push(opened??);
        }
        let (addr, token) = (host.addr, host.token.clone());
        opening.spawn(async move {
            let (mut reader, writer) = raw::open(addr, &token, "").await?;
            if !token.is_empty() {
                reader.wait_for("\"server_ready\"").await?;
            }
            // The reader's buffer is the generator's affair; the socket stays open.
            Ok::<_, anyhow::Error>((reader.into_socket(), writer))
        });
    }
    while let Some(opened) = opening.join_next().await {
        open.push(opened??);
    }
    let cpu_seconds = host.cpu_seconds()? - cpu_before;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let kib = host.resident_kib()?.saturating_sub(before) as f64 / count as f64;
    let done = open.len() as u64;
    Ok(Measured { consumed: done, handed: done, kib_each: Some(kib), cpu_seconds, ..Measured::default() })
}
