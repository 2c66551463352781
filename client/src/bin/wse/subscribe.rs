//! `wse sub`.

use std::io::{self, Write};

use serde::Serialize;
use wse_client::{Event, Message};

use crate::{
    args::SubArgs,
    connect::{builder, ended, narrate, open},
    failure::Failure,
};

const BATCH: usize = 1024;

pub(crate) async fn run(args: SubArgs) -> Result<(), Failure> {
    let (mut client, flight) = open(builder(&args.connect)?, &args.connect).await?;
    let outcome = client.subscribe(&args.topics).await?;
    for (topic, reason) in &outcome.refused {
        eprintln!("{topic}: {reason}");
    }
    if outcome.accepted.is_empty()
        && let Some((topic, reason)) = outcome.refused.first()
    {
        return Err(Failure::coded(reason, format!("no topic was accepted, {topic} among them")));
    }
    if !outcome.confirmed {
        eprintln!("the server did not confirm the subscription; waiting for messages anyway");
    }
    let mut left = args.count.unwrap_or(u64::MAX);
    loop {
        let events = client.next_batch(BATCH).await;
        if events.is_empty() {
            return Err(ended(&client));
        }
        // One write per batch; a batch is what came since the last one.
        let mut lines = Vec::new();
        for event in events {
            match event.message() {
                Some(message) if left > 0 => {
                    print(&args, message, &mut lines)?;
                    left -= 1;
                }
                Some(_) | None => {
                    narrate(&event);
                    if matches!(event, Event::Disconnected(_)) {
                        flight.write();
                    }
                }
            }
        }
        io::stdout().lock().write_all(&lines)?;
        io::stdout().flush()?;
        if left == 0 {
            client.close().await;
            return Ok(());
        }
    }
}

/// What `--json` prints for a message.
#[derive(Serialize)]
struct Line<'a> {
    topic: Option<&'a str>,
    #[serde(rename = "type")]
    kind: &'a str,
    id: Option<&'a str>,
    ts: Option<&'a str>,
    payload: &'a serde_json::value::RawValue,
}

fn print(args: &SubArgs, message: &Message, out: &mut Vec<u8>) -> Result<(), Failure> {
    let payload = message.payload().to_json();
    if args.json {
        let payload: &serde_json::value::RawValue = serde_json::from_str(&payload).map_err(io::Error::from)?;
        let (topic, kind) = (message.topic(), message.kind());
        let line = Line { topic, kind, id: message.id(), ts: message.timestamp(), payload };
        serde_json::to_writer(&mut *out, &line).map_err(io::Error::from)?;
        out.push(b'\n');
        return Ok(());
    }
    // Only the time of day: whoever needs the date takes --json.
    let time = message.timestamp().and_then(|ts| ts.get(11..23)).unwrap_or("            ");
    let topic = message.topic().unwrap_or("-");
    write!(out, "{time}  {topic}  {}  ", message.kind())?;
    if args.pretty {
        let value: serde_json::Value = serde_json::from_str(&payload).map_err(io::Error::from)?;
        serde_json::to_writer_pretty(&mut *out, &value).map_err(io::Error::from)?;
        out.push(b'\n');
    } else {
        writeln!(out, "{payload}")?;
    }
    Ok(())
}
