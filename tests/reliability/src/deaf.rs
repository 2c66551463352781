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
    raw::{Raw, Tally},
    sheet::Sheet,
    watched::Watched,
};

const TOPIC: &str = "loud";

/// Bytes that the kernel holds for a client that does not read: few, so that the server feels it soon.
const WINDOW: u32 = 8192;

/// Of the clients, those that look in the end what they were told.
const READERS: usize = 5;

pub(crate) async fn run(setup: &Setup, sheet: &mut Sheet) -> Result<()> {
    let count = setup.pick(20, 100);
    let options = ["--write-timeout", "2s", "--ring-bytes", "4MiB", "--history-messages", "16"];
    let arena = Arena::open(setup, &options).await?;
    let addr = arena.server.server.address;
    let deaf = subscribers(addr, count).await?;
    shout(&arena.server, count as u64).await?;
    let before = arena.server.counter("slow_consumers").await?;
    sheet.exactly("subscribers that never read: given up", before, count as u64);
    let tally = endings(deaf).await;
    sheet.note("what some of them found when they read at last", &tally);
    sheet.least("of them, told 1013", tally.of("1013"), READERS as u64 / 2);

    let deaf = askers(addr, count).await?;
    wait_for(&arena.server, before + count as u64).await?;
    let after = arena.server.counter("slow_consumers").await?;
    sheet.exactly("clients that ask and never read: given up", after - before, count as u64);
    let tally = endings(deaf).await;
    sheet.note("what some of them found when they read at last", &tally);
    sheet.least("of them, told 1013", tally.of("1013"), READERS as u64 / 2);
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
async fn shout(server: &Watched, count: u64) -> Result<()> {
    let mut loud = Member::join(&server.url(), 1000, &[], Manner::default()).await?;
    let began = Instant::now();
    while server.counter("slow_consumers").await? < count && began.elapsed() < Duration::from_secs(20) {
        for _ in 0..10 {
            let _ = loud.publish(TOPIC, 16 << 10);
            sleep(Duration::from_millis(2)).await;
        }
    }
    loud.leave().await;
    Ok(())
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

/// Some of them read at last. Not all: whatever the kernel held for them has to be read before the server's patience ends,
/// and they share this machine with it.
async fn endings(mut deaf: Vec<Raw>) -> Tally {
    let mut reading = tokio::task::JoinSet::new();
    for mut raw in deaf.split_off(deaf.len() - READERS) {
        reading.spawn(async move { raw.reader.last_word(Duration::from_secs(5)).await });
    }
    let mut tally = Tally::default();
    while let Some(word) = reading.join_next().await {
        tally.add(word.unwrap_or_else(|error| error.to_string()));
    }
    tally
}
