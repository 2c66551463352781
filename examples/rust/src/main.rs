//! Prints the demo feed: one line per event, for as long as you like.
//!
//! ```text
//! cargo run -p wse-example-rust -- --count 5
//! ```

use clap::Parser;
use wse_client::{Client, Event};

/// Print the live feed of a WSE server
#[derive(Parser)]
struct Args {
    /// Address of the server
    #[arg(default_value = "ws://127.0.0.1:5006/wse")]
    url: String,
    /// Stop after this many messages
    #[arg(long, short = 'n')]
    count: Option<usize>,
}

#[tokio::main]
#[expect(clippy::print_stdout, reason = "printing is what this program is for")]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let mut client = Client::builder(args.url).topics(["host:*"]).connect().await?;
    let mut left = args.count.unwrap_or(usize::MAX);

    while left > 0 {
        let Some(event) = client.next().await else { anyhow::bail!("the connection ended for good") };
        match &event {
            // After a loss the client comes back by itself, with its topics.
            Event::Disconnected(end) => eprintln!("{}: {}", end.code, end.detail),
            Event::Connected(server) => eprintln!("connected to {}", server.endpoint),
            _ => {}
        }
        // Snapshots, too, which come as `Event::Notice`.
        if let Some(message) = event.message() {
            let topic = message.topic().unwrap_or("-");
            println!("{topic:<13} {:<17} {:.100}", message.kind(), message.payload().to_json());
            left -= 1;
        }
    }
    client.close().await;
    Ok(())
}
