//! From the command line to a connected client.

use wse_client::{Builder, Client, Encoding, Event, RecordConfig};

use crate::{args::ConnectArgs, failure::Failure, flight::Flight};

/// A shell has room: hours of a lively connection.
const RECORD: RecordConfig = RecordConfig { max_entries: 500_000, max_bytes: 128 << 20 };

/// The settings that every command has.
pub(crate) fn builder(args: &ConnectArgs) -> Result<Builder, Failure> {
    let mut builder = Client::builder(&args.url).encryption(args.encrypt);
    if args.msgpack {
        builder = builder.encoding(Encoding::Msgpack);
    }
    if let Some(token) = &args.token {
        builder = builder.token(token.as_str());
    }
    if let Some(path) = &args.ca {
        builder = builder.root_certificates(read_certificates(path)?);
    }
    if args.record.is_some() {
        builder = builder.record(RECORD);
    }
    Ok(builder)
}

/// The bytes of a PEM file.
pub(crate) fn read_certificates(path: &std::path::Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(path).map_err(|error| Failure::local(format!("cannot read {}: {error}", path.display())))
}

/// Starts and waits until connected. Without `--wait`, the first attempt that fails ends it: somebody at a shell wants
/// to know at once. The recording, if one is wanted, is written when the second part is dropped.
pub(crate) async fn open(builder: Builder, args: &ConnectArgs) -> Result<(Client, Flight), Failure> {
    let wait = args.wait;
    let mut client = builder.start()?;
    let flight = Flight::new(&client, args.record.clone());
    while let Some(event) = client.next().await {
        match event {
            Event::Connected(_) => return Ok((client, flight)),
            Event::Disconnected(end) if wait && end.code.is_retryable() && end.retry_in.is_some() => {
                eprintln!("{}: {}; trying again", end.code, end.detail);
                flight.write();
            }
            Event::Disconnected(end) => return Err(end.into()),
            _ => {}
        }
    }
    Err(ended(&client))
}

/// Tells what a long-running command has no other use for.
pub(crate) fn narrate(event: &Event) {
    match event {
        Event::Connected(_) => eprintln!("connected"),
        Event::Disconnected(end) => {
            let next = end.retry_in.map_or_else(String::new, |pause| format!("; next attempt in {pause:.1?}"));
            eprintln!("{}: {}{next}", end.code, end.detail);
        }
        // One that ends the connection is told again, by the disconnect.
        Event::ServerError(error) if error.recoverable => eprintln!("server: {}: {}", error.code, error.message),
        Event::Dropped { id, reason, .. } => eprintln!("not sent: message {id} ({})", reason.as_str()),
        Event::Rejected(error) => eprintln!("unreadable message: {error}"),
        Event::Recovery { topic, outcome, count: 0 } => eprintln!("{topic}: {}", outcome.as_str()),
        Event::Recovery { topic, outcome, count } => {
            eprintln!("{topic}: {}, {count} missed messages follow", outcome.as_str())
        }
        Event::Lost { topic, count, .. } => {
            let topic = topic.as_deref().unwrap_or("unknown topics");
            match count {
                Some(count) => eprintln!("lost {count} messages of {topic}"),
                None => eprintln!("what was published to {topic} meanwhile, if anything, is lost"),
            }
        }
        _ => {}
    }
}

/// Why a stream ended.
pub(crate) fn ended(client: &Client) -> Failure {
    client.last_disconnect().map_or_else(|| Failure::coded("CONNECTION_CLOSED", "the connection ended"), Failure::from)
}
