//! `wse ping`.

use std::{
    io::{self, Write as _},
    time::Duration,
};

use wse_client::{Event, ServerInfo};

use crate::{
    args::PingArgs,
    connect::{builder, ended, narrate, open},
    failure::Failure,
};

pub(crate) async fn run(args: PingArgs) -> Result<(), Failure> {
    let silence = args.interval.max(Duration::from_secs(5));
    let (mut client, _flight) = open(builder(&args.connect)?.heartbeat(args.interval, silence), &args.connect).await?;
    let mut trips = Vec::new();
    while (trips.len() as u64) < args.count {
        match client.next().await {
            Some(Event::Latency(trip)) => {
                // The server's hello, with its version, is there by the first answer.
                if let (true, Some(server)) = (trips.is_empty(), client.server()) {
                    introduce(&server)?;
                }
                trips.push(trip);
                writeln!(io::stdout(), "round trip {}: {}", trips.len(), milliseconds(trip))?;
            }
            Some(other) => narrate(&other),
            None => return Err(ended(&client)),
        }
    }
    client.close().await;
    if let (Some(min), Some(max)) = (trips.iter().min(), trips.iter().max()) {
        let mean = trips.iter().sum::<Duration>().div_f64(trips.len() as f64);
        writeln!(io::stdout(), "min {}  mean {}  max {}", milliseconds(*min), milliseconds(mean), milliseconds(*max))?;
    }
    Ok(())
}

fn introduce(server: &ServerInfo) -> io::Result<()> {
    let unknown = "unknown";
    writeln!(
        io::stdout(),
        "{}: version {}, user {}, connection {}, {}",
        server.endpoint,
        server.server_version.as_deref().unwrap_or(unknown),
        server.user_id.as_deref().unwrap_or(unknown),
        server.connection_id.as_deref().unwrap_or(unknown),
        match (server.encrypted, server.endpoint.starts_with("wss://")) {
            (true, _) => "encrypted",
            (false, true) => "TLS",
            (false, false) => "not encrypted",
        },
    )
}

/// The engine's clock counts whole milliseconds.
fn milliseconds(length: Duration) -> String {
    match length.as_millis() {
        0 => "<1 ms".into(),
        ms => format!("{ms} ms"),
    }
}
