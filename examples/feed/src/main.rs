//! Publishes this machine's own counters, read from the operating system, as a live feed.
//!
//! Topics, types and payloads are described in this folder's README.

mod counters;
mod history;
mod sample;

use std::{
    collections::VecDeque,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use clap::Parser;
use serde::Serialize;
use tokio::time::{Instant, MissedTickBehavior};
use wse_client::{Client, ConnectionState, Event, Outgoing, Payload};

use crate::{counters::Counters, history::History, sample::Sample};

/// How far back a snapshot reaches.
const REMEMBERED: Duration = Duration::from_secs(60);
const SNAPSHOT_INTERVAL: Duration = Duration::from_secs(1);
/// Rates are averages over this time. The kernel counts processor time in steps of 10 ms: over a tenth of a second
/// that would be steps of 10 %.
const AVERAGED: Duration = Duration::from_millis(500);

/// Publish this machine's CPU, memory, network and disk counters
#[derive(Parser)]
#[command(version)]
struct Args {
    /// Address of the server
    #[arg(long, default_value = "ws://127.0.0.1:5006/wse", env = "WSE_URL")]
    url: String,
    /// Token to sign in with; its claim wse_publish must allow host:*
    #[arg(long, env = "WSE_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// Samples per second
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=50))]
    rate: u32,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let mut builder = Client::builder(args.url).max_delay(Duration::from_secs(2));
    if let Some(token) = args.token {
        builder = builder.token(token);
    }
    // Not connect(): the server may start after this program, or stop and come back.
    let mut client = builder.start()?;
    tokio::select! {
        result = publish(client.clone(), args.rate) => result?,
        result = watch(&mut client) => result?,
        interrupted = tokio::signal::ctrl_c() => interrupted?,
    }
    client.close().await;
    Ok(())
}

/// Tells what happens to the connection; ends when time will not heal it, or when publishing is not allowed.
async fn watch(client: &mut Client) -> anyhow::Result<()> {
    while let Some(event) = client.next().await {
        match event {
            Event::Connected(server) => eprintln!("publishing to {}", server.endpoint),
            Event::Disconnected(end) if end.code.is_retryable() => eprintln!("{}: {}", end.code, end.detail),
            Event::Disconnected(end) => anyhow::bail!("{}: {}", end.code, end.detail),
            Event::ServerError(error) if error.code == "PUBLISH_DENIED" => {
                anyhow::bail!("{}: {} (the token needs the claim wse_publish)", error.code, error.message);
            }
            Event::ServerError(error) if error.recoverable => eprintln!("server: {}: {}", error.code, error.message),
            _ => {}
        }
    }
    anyhow::bail!("the connection ended for good")
}

async fn publish(client: Client, rate: u32) -> anyhow::Result<()> {
    let interval = Duration::from_secs(1) / rate;
    let remembered = (REMEMBERED.as_secs_f64() * f64::from(rate)) as usize;
    let averaged = (AVERAGED.as_secs_f64() * f64::from(rate)).ceil() as usize;
    let mut history = History::new(remembered);
    let mut readings = VecDeque::from([Counters::read()?]);
    let mut next_snapshot = Instant::now();
    // The first tick comes one interval after the first reading: rates need two.
    let mut ticks = tokio::time::interval_at(Instant::now() + interval, interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        ticks.tick().await;
        let reading = Counters::read()?;
        let before = readings.front().expect("the last reading is always kept");
        let sample = Sample::between(before, &reading, unix_ms());
        readings.push_back(reading);
        if readings.len() > averaged {
            readings.pop_front();
        }
        let connected = client.state() == ConnectionState::Connected;
        if connected {
            send(&client, "host:cpu", "cpu", &sample.cpu)?;
            send(&client, "host:memory", "memory", &sample.memory)?;
            send(&client, "host:network", "network", &sample.network)?;
            send(&client, "host:disk", "disk", &sample.disk)?;
        }
        history.push(sample);
        if connected && next_snapshot <= Instant::now() {
            next_snapshot = Instant::now() + SNAPSHOT_INTERVAL;
            send(&client, "host:cpu", "cpu_snapshot", &history.cpu())?;
            send(&client, "host:memory", "memory_snapshot", &history.memory())?;
            send(&client, "host:network", "network_snapshot", &history.network())?;
            send(&client, "host:disk", "disk_snapshot", &history.disk())?;
        }
    }
}

/// Sends now or not at all: a sample that must wait is out of date, and the next one follows.
fn send<T: Serialize>(client: &Client, topic: &str, kind: &str, payload: &T) -> anyhow::Result<()> {
    match client.try_send(Outgoing::new(kind, Payload::new(payload)?).to_topic(topic)) {
        Err(error) if !error.is_retryable() => Err(error.into()),
        Ok(_) | Err(_) => Ok(()),
    }
}

fn unix_ms() -> u64 {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX)
}
