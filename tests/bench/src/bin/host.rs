#![allow(clippy::print_stdout, reason = "standard output is how the load generator talks to it")]
//! `wse-bench-host`: the server library with a handler that counts what it is handed.
//!
//! Prints `listening ADDR`, then answers each line of its standard input: `count` with the number of messages that
//! the handler has seen, `publish FIRST COUNT SIZE` with `done` once so many messages are in the topic `bench`.
//! Ends when its input does.

use std::{
    io::BufRead as _,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Result};
use clap::Parser;
use wse_bench::published;
use wse_server::{Config, ConnectionHandle, Handler, Message, Outgoing, Payload, Server};

#[derive(Parser)]
struct Args {
    /// Files at `/`.
    #[arg(long)]
    site: Option<PathBuf>,
    /// Key of the tokens; without it everyone may come in.
    #[arg(long)]
    secret: Option<String>,
    /// Publications that each topic keeps for clients that come back.
    #[arg(long)]
    history: Option<usize>,
    /// `flush_interval` in milliseconds.
    #[arg(long)]
    flush_ms: Option<u64>,
}

struct Counter(Arc<AtomicU64>);

impl Handler for Counter {
    fn on_messages(&self, _connection: &ConnectionHandle, messages: &mut Vec<Message>) {
        // Looking at the type keeps the compiler from leaving the envelope out.
        let real = messages.iter().filter(|message| !message.kind().is_empty()).count();
        self.0.fetch_add(real as u64, Ordering::Relaxed);
        messages.clear();
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let args = Args::parse();
    let handled = Arc::new(AtomicU64::new(0));
    let defaults = Config::default();
    let config = Config {
        port: 0,
        max_connections: 20_000,
        static_dir: args.site,
        jwt_secret: args.secret.map(|secret| secret.as_str().into()),
        history_messages: args.history.unwrap_or(defaults.history_messages),
        flush_interval: args.flush_ms.map_or(defaults.flush_interval, Duration::from_millis),
        ..defaults
    };
    let server = Server::builder(config).handler(Counter(Arc::clone(&handled))).bind().await?;
    println!("listening {}", server.local_addr());
    let serving = tokio::spawn({
        let server = server.clone();
        async move { server.serve().await }
    });
    let publisher = server.clone();
    tokio::task::spawn_blocking(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            println!("{}", answer(&publisher, &handled, &line)?);
        }
        Ok::<_, anyhow::Error>(())
    })
    .await??;
    server.shutdown(Duration::from_millis(200)).await;
    serving.await??;
    Ok(())
}

fn answer(server: &Server, handled: &AtomicU64, line: &str) -> Result<String> {
    if line == "count" {
        return Ok(handled.load(Ordering::Relaxed).to_string());
    }
    let request = published::Request::parse(line).context("unknown command")?;
    for number in request.numbers() {
        // The server writes an envelope of about this many bytes around the payload.
        const ENVELOPE: usize = 120;
        let payload = published::payload(number, request.size.saturating_sub(ENVELOPE));
        server.publish("bench", Outgoing::new("trade", Payload::from_json(payload)?))?;
    }
    Ok("done".into())
}
