#![allow(clippy::print_stdout, reason = "standard output is how the load generator talks to it")]
//! `wse-bench-host`: the server library with a handler that counts what it is handed.
//!
//! Prints `listening ADDR`; answers each line `count` on its standard input with the number of messages that
//! the handler has seen; ends when its input does.

use std::{
    io::BufRead as _,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::Result;
use wse_server::{Config, ConnectionHandle, Handler, Message, Server};

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
    let handled = Arc::new(AtomicU64::new(0));
    let static_dir = std::env::args_os().nth(1).map(Into::into);
    let config = Config { port: 0, max_connections: 20_000, static_dir, ..Config::default() };
    let server = Server::builder(config).handler(Counter(Arc::clone(&handled))).bind().await?;
    println!("listening {}", server.local_addr());
    let serving = tokio::spawn({
        let server = server.clone();
        async move { server.serve().await }
    });
    tokio::task::spawn_blocking(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if line == "count" {
                println!("{}", handled.load(Ordering::Relaxed));
            }
        }
    })
    .await?;
    server.shutdown(Duration::from_millis(200)).await;
    serving.await??;
    Ok(())
}
