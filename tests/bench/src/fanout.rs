//! Server to clients: what a delivery costs.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use tokio::{
    task::JoinHandle,
    time::{Instant, timeout},
};
use wse_bench::published::{now_us, stamp_of};

use crate::{compare::Measured, process::Host, raw, report::percentiles};

/// Publications that may be on their way: less than a topic's ring holds, so nothing can fall out of it.
const WINDOW: u64 = 2000;

/// Publications in one command to the server.
const CHUNK: u64 = 250;

/// Fan-out as it is measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Work {
    pub(crate) subscribers: usize,
    /// Publications.
    pub(crate) total: u64,
    /// Bytes of each.
    pub(crate) size: usize,
    /// Publications a second; `None`: as fast as the slowest subscriber reads.
    pub(crate) rate: Option<u64>,
    /// Query of the subscribers' requests.
    pub(crate) query: &'static str,
    /// What subscribers can find in a frame.
    pub(crate) form: Form,
}

/// How deliveries look to a load generator that does not decode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// Number and time stand in it.
    Plain,
    /// They are only counted: compressed, or msgpack.
    Counted,
    /// They are only counted, and sealed for each subscriber.
    Sealed,
}

struct Subscriber {
    received: Arc<AtomicU64>,
    task: JoinHandle<Result<Tally>>,
}

/// What one subscriber saw.
#[derive(Default)]
struct Tally {
    received: u64,
    /// Numbers that were not the one after the last.
    wrong: u64,
    latencies_ms: Vec<f64>,
}

/// The server publishes, as its own program would; subscribers keep the ledger.
pub(crate) async fn run(host: &mut Host, work: Work) -> Result<Measured> {
    let mut readers = Vec::new();
    for _ in 0..work.subscribers {
        readers.push(subscriber(host, work).await?);
    }
    let cpu_before = host.cpu_seconds()?;
    match work.rate {
        Some(rate) => publish_paced(host, work, rate).await?,
        None => publish_flat_out(host, work, &readers).await?,
    }
    let mut sum = Tally::default();
    for reader in readers {
        let tally = reader.task.await??;
        sum.received += tally.received;
        sum.wrong += tally.wrong;
        sum.latencies_ms.extend(tally.latencies_ms);
    }
    let expected = work.total * work.subscribers as u64;
    Ok(Measured {
        consumed: work.total,
        handed: sum.received,
        lost: expected.saturating_sub(sum.received),
        wrong: sum.wrong,
        cpu_seconds: host.cpu_seconds()? - cpu_before,
        latency_ms: work.rate.and_then(|_| percentiles(sum.latencies_ms)),
        ..Measured::default()
    })
}

async fn subscriber(host: &Host, work: Work) -> Result<Subscriber> {
    let (mut reader, mut writer) = raw::ready(host, work.query).await?;
    if work.form == Form::Sealed {
        raw::agree(&mut reader, &mut writer).await?;
    } else {
        raw::subscribe(&mut reader, &mut writer, "bench").await?;
    }
    let received = Arc::new(AtomicU64::new(0));
    let progress = Arc::clone(&received);
    let task = tokio::spawn(async move {
        let _open = writer;
        let mut tally = Tally::default();
        while tally.received < work.total {
            let read = reader.read_frames(|frame| tally.take(frame, work.form));
            // What is missing then is lost; the ledger says so.
            match timeout(Duration::from_secs(10), read).await {
                Ok(result) => result?,
                Err(_) => break,
            }
            progress.store(tally.received, Ordering::Release);
        }
        Ok(tally)
    });
    Ok(Subscriber { received, task })
}

impl Tally {
    fn take(&mut self, frame: &[u8], form: Form) {
        if form != Form::Plain {
            self.received += u64::from(!frame.starts_with(b"WSE"));
            return;
        }
        let Some((number, sent_us)) = stamp_of(frame) else { return };
        self.wrong += u64::from(number != self.received);
        self.received += 1;
        if number % 16 == 0 {
            self.latencies_ms.push(now_us().saturating_sub(sent_us) as f64 / 1000.0);
        }
    }
}

async fn publish_flat_out(host: &mut Host, work: Work, readers: &[Subscriber]) -> Result<()> {
    let mut next = 0;
    let mut last_progress = Instant::now();
    while next < work.total {
        let slowest = readers.iter().map(|reader| reader.received.load(Ordering::Acquire)).min().unwrap_or(next);
        let room = (slowest + WINDOW).saturating_sub(next).min(CHUNK).min(work.total - next);
        if room < CHUNK.min(work.total - next) {
            ensure!(last_progress.elapsed() < Duration::from_secs(30), "subscribers stopped at {slowest}");
            tokio::time::sleep(Duration::from_micros(200)).await;
            continue;
        }
        host.publish(next, room, work.size).await?;
        next += room;
        last_progress = Instant::now();
    }
    Ok(())
}

async fn publish_paced(host: &mut Host, work: Work, rate: u64) -> Result<()> {
    let start = Instant::now();
    let pause = Duration::from_secs(1) / u32::try_from(rate).context("rate")?;
    for number in 0..work.total {
        tokio::time::sleep_until(start + pause * u32::try_from(number)?).await;
        host.publish(number, 1, work.size).await?;
    }
    Ok(())
}
