//! Server to clients: how many deliveries a CPU second of the server makes.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use tokio::{io::AsyncWriteExt as _, task::JoinHandle, time::timeout};

use crate::{
    process::Host,
    raw::{Reader, client_frame, connect, subscribe},
    report::{Row, percentiles},
};

/// Publications that may be on their way: less than a topic's ring holds, so nothing can fall out of it.
const WINDOW: u64 = 2000;

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

/// One publisher, `subscribers` readers, `total` messages: flat out, or `rate` a second.
pub(crate) async fn run(host: &Host, subscribers: usize, total: u64, rate: Option<u64>) -> Result<Row> {
    static RUNS: AtomicU64 = AtomicU64::new(0);
    let topic = format!("bench:{}", RUNS.fetch_add(1, Ordering::Relaxed));
    let start = Instant::now();
    let mut readers = Vec::new();
    for _ in 0..subscribers {
        readers.push(subscriber(host, &topic, total, start).await?);
    }
    let (reader, mut publisher) = connect(host.addr).await?;
    let drain = tokio::spawn(drain(reader));
    let cpu_before = host.cpu_seconds()?;
    match rate {
        Some(rate) => publish_paced(&mut publisher, &topic, total, rate, start).await?,
        None => publish_flat_out(&mut publisher, &topic, total, start, &readers).await?,
    }
    let mut sum = Tally::default();
    for reader in readers {
        let tally = timeout(Duration::from_secs(60), reader.task).await.context("deliveries are missing")???;
        sum.received += tally.received;
        sum.wrong += tally.wrong;
        sum.latencies_ms.extend(tally.latencies_ms);
    }
    let cpu = host.cpu_seconds()? - cpu_before;
    drain.abort();
    let way = rate.map_or("flat out".to_owned(), |rate| format!("{rate} a second"));
    let work = format!("fan-out to {subscribers} subscribers, {way}");
    let expected = total * subscribers as u64;
    let latency_ms = rate.and_then(|_| percentiles(sum.latencies_ms));
    Ok(Row { latency_ms, ..Row::new(work, total, expected, sum.received, sum.wrong, cpu) })
}

async fn subscriber(host: &Host, topic: &str, total: u64, start: Instant) -> Result<Subscriber> {
    let (mut reader, mut writer) = connect(host.addr).await?;
    subscribe(&mut reader, &mut writer, topic).await?;
    let received = Arc::new(AtomicU64::new(0));
    let progress = Arc::clone(&received);
    let task = tokio::spawn(async move {
        let _open = writer;
        let mut tally = Tally::default();
        while tally.received < total {
            let read = reader.read_frames(|frame| {
                if let Some((number, sent_us)) = stamp_of(frame) {
                    tally.wrong += u64::from(number != tally.received);
                    tally.received += 1;
                    if number % 16 == 0 {
                        let age = start.elapsed().as_micros() as f64 - sent_us as f64;
                        tally.latencies_ms.push(age / 1000.0);
                    }
                }
            });
            timeout(Duration::from_secs(30), read).await.context("no delivery for 30 s")??;
            progress.store(tally.received, Ordering::Release);
        }
        Ok(tally)
    });
    Ok(Subscriber { received, task })
}

/// Reads and forgets: a socket that nobody reads would stop its publisher.
async fn drain(mut reader: Reader) -> Result<()> {
    loop {
        reader.read_frames(|_| {}).await?;
    }
}

async fn publish_flat_out(
    publisher: &mut tokio::net::tcp::OwnedWriteHalf,
    topic: &str,
    total: u64,
    start: Instant,
    readers: &[Subscriber],
) -> Result<()> {
    let mut next = 0;
    let mut last_progress = Instant::now();
    while next < total {
        let slowest = readers.iter().map(|reader| reader.received.load(Ordering::Acquire)).min().unwrap_or(next);
        let room = (slowest + WINDOW).saturating_sub(next).min(256).min(total - next);
        if room == 0 {
            ensure!(last_progress.elapsed() < Duration::from_secs(30), "subscribers stopped at {slowest} of {total}");
            tokio::time::sleep(Duration::from_micros(200)).await;
            continue;
        }
        let mut batch = Vec::new();
        for number in next..next + room {
            batch.extend(publication(topic, number, start));
        }
        publisher.write_all(&batch).await?;
        next += room;
        last_progress = Instant::now();
    }
    Ok(())
}

async fn publish_paced(
    publisher: &mut tokio::net::tcp::OwnedWriteHalf,
    topic: &str,
    total: u64,
    rate: u64,
    start: Instant,
) -> Result<()> {
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / u32::try_from(rate)?);
    for number in 0..total {
        ticks.tick().await;
        publisher.write_all(&publication(topic, number, start)).await?;
    }
    Ok(())
}

/// Number and time of sending stand in the payload at fixed widths, so that readers find them at once.
fn publication(topic: &str, number: u64, start: Instant) -> Vec<u8> {
    let sent_us = start.elapsed().as_micros();
    let text = format!(
        r#"U{{"t":"trade","p":{{"n":{number:010},"at":{sent_us:012},"note":"xxxxxxxxxxxxxxxxxxxxxxxx"}},"tp":"{topic}","v":1}}"#
    );
    // JSON numbers have no leading zeros: blanks take their place.
    let text = blank_leading_zeros(&text);
    client_frame(true, text.as_bytes())
}

fn blank_leading_zeros(text: &str) -> String {
    let mut out: Vec<u8> = text.bytes().collect();
    for name in ["\"n\":", "\"at\":"] {
        let from = text.find(name).map_or(0, |at| at + name.len());
        let mut at = from;
        while out.get(at) == Some(&b'0') && out.get(at + 1).is_some_and(u8::is_ascii_digit) {
            out[at] = b' ';
            at += 1;
        }
    }
    String::from_utf8(out).unwrap_or_default()
}

fn stamp_of(frame: &[u8]) -> Option<(u64, u64)> {
    let at = frame.windows(4).position(|window| window == b"\"n\":")? + 4;
    let number = digits(frame.get(at..at + 10)?)?;
    let at = at + 10 + ",\"at\":".len();
    Some((number, digits(frame.get(at..at + 12)?)?))
}

fn digits(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.trim().parse().ok()
}
