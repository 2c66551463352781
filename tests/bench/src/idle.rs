//! What a connection costs that says nothing.

use std::time::Duration;

use anyhow::Result;

use crate::{process::Host, raw::connect};

/// Opens `count` connections and answers the KiB of resident memory that each of them added to the server.
/// The kernel's socket buffers are not part of it.
pub(crate) async fn run(host: &Host, count: usize) -> Result<f64> {
    let before = host.resident_kib()?;
    let mut open = Vec::with_capacity(count);
    for _ in 0..count {
        let (mut reader, writer) = connect(host.addr).await?;
        reader.wait_for("\"server_ready\"").await?;
        // The reader's buffer is the generator's affair; the socket stays open.
        open.push((reader.into_socket(), writer));
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    Ok(host.resident_kib()?.saturating_sub(before) as f64 / count as f64)
}
