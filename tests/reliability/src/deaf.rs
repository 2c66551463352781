//! Clients that never read: what is written for them may not pile up.

use std::{net::SocketAddr, time::Duration};

use anyhow::Result;
use tokio::{
    io::AsyncWriteExt as _,
    time::{Instant, sleep, timeout},
};
use wse_bench::wire::client_frame;

use crate::{
    Setup,
    control::Arena,
    member::{Manner, Member},
    raw::Raw,
    sheet::Sheet,
    watched::Watched,
};

const TOPIC: &str = "loud";

/// Bytes that the kernel holds for a client that does not read: few, so that the server feels it soon.
const WINDOW: u32 = 8192;

pub(crate) async fn run(setup: &Setup, sheet: &mut Sheet) -> Result<()> {
    let count = setup.pick(20, 100);
    let options = ["--write-timeout", "1s", "--ring-bytes", "4MiB", "--history-messages", "16"];
    let arena = Arena::open(setup, &options).await?;
    let addr = arena.server.server.address;
    let kinds: [(&str, usize); 4] = [
        ("clients that subscribe", count),
        ("clients that ask", count),
        ("clients that subscribe", 1),
        ("clients that ask", 1),
    ];
    for (number, (who, count)) in kinds.into_iter().enumerate() {
        let before = arena.server.counter("slow_consumers").await?;
        let (mut deaf, loud) = if number % 2 == 0 {
            let deaf = subscribers(addr, count).await?;
            (deaf, Some(shout(&arena.server, before + count as u64).await?))
        } else {
            let deaf = askers(addr, count).await?;
            wait_for(&arena.server, before + count as u64).await?;
            (deaf, None)
        };
        if count == 1 {
            // Alone, so that it is known when the server gives up on it: what comes in the next two seconds is read.
            let found = deaf[0].reader.last_word(Duration::from_secs(5)).await;
            sheet.exactly(format!("{who}: what one finds that reads at last"), found, "1013".to_owned());
        } else {
            let given_up = arena.server.counter("slow_consumers").await? - before;
            sheet.exactly(format!("{who} and never read: given up"), given_up, count as u64);
        }
        if let Some(loud) = loud {
            loud.leave().await;
        }
    }
    // One ring of 4 MiB for all, and for each what a socket takes at once, before the kernel has it.
    arena.close(sheet, 16.0 + 8.0 + 0.5 * count as f64).await
}

async fn subscribers(addr: SocketAddr, count: usize) -> Result<Vec<Raw>> {
    let mut deaf = Vec::new();
    for _ in 0..count {
        let mut raw = Raw::open(addr, WINDOW).await?;
        raw.subscribe(&[TOPIC.to_owned()]).await?;
        deaf.push(raw);
    }
    Ok(deaf)
}

/// Publishes until the server has given up on so many.
async fn shout(server: &Watched, count: u64) -> Result<Member> {
    let mut loud = Member::join(&server.url(), 1000, &[], Manner::default()).await?;
    let began = Instant::now();
    while server.counter("slow_consumers").await? < count && began.elapsed() < Duration::from_secs(20) {
        for _ in 0..10 {
            let _ = loud.publish(TOPIC, 16 << 10);
            sleep(Duration::from_millis(2)).await;
        }
    }
    Ok(loud)
}

/// Clients that ask as fast as the server lets them, and read no answer.
async fn askers(addr: SocketAddr, count: usize) -> Result<Vec<Raw>> {
    let questions = client_frame(true, br#"{"t":"health_check","p":{}}"#).repeat(256);
    let mut deaf = Vec::new();
    for _ in 0..count {
        let mut raw = Raw::open(addr, WINDOW).await?;
        // The server stops reading when its answers are not read.
        let asking = async { while raw.writer.write_all(&questions).await.is_ok() {} };
        let _ = timeout(Duration::from_millis(50), asking).await;
        deaf.push(raw);
    }
    Ok(deaf)
}

async fn wait_for(server: &Watched, count: u64) -> Result<()> {
    let began = Instant::now();
    while server.counter("slow_consumers").await? < count && began.elapsed() < Duration::from_secs(20) {
        sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}
