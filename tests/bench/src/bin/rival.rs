#![allow(clippy::print_stdout, reason = "standard output is how the load generator talks to it")]
//! `wse-bench-rival KIND`: what the server is compared with, as far as it is written in Rust. It talks as
//! `wse-bench-host` does.
//!
//! `sink` reads, unmasks and counts, `log` writes one shared log of frames to each subscriber from where that stands:
//! the least that any server does. `tungstenite` counts the messages of tokio-tungstenite, `value` parses each into a
//! `serde_json::Value` besides.

use std::{
    cell::RefCell,
    io::{self, BufRead as _},
    sync::{
        Arc, RwLock,
        atomic::{AtomicU64, Ordering},
    },
};

use anyhow::{Context as _, Result, bail};
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::watch,
};
use tokio_tungstenite::{WebSocketStream, tungstenite};
use wse_bench::{published, wire};

/// The end of a flood: the answer proves that everything before it was read.
const PING: &[u8] = br#"WSE{"t":"ping""#;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Sink,
    Log,
    Tungstenite,
    Value,
}

struct Shared {
    kind: Kind,
    counted: AtomicU64,
    /// Frames that were published, one behind the other.
    log: RwLock<Vec<u8>>,
    length: watch::Sender<usize>,
}

#[tokio::main]
async fn main() -> Result<()> {
    let kind = match std::env::args().nth(1).as_deref() {
        Some("sink") => Kind::Sink,
        Some("log") => Kind::Log,
        Some("tungstenite") => Kind::Tungstenite,
        Some("value") => Kind::Value,
        other => bail!("no such kind: {other:?}"),
    };
    let shared =
        Arc::new(Shared { kind, counted: AtomicU64::new(0), log: RwLock::default(), length: watch::channel(0).0 });
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("listening {}", listener.local_addr()?);
    tokio::spawn(accept(listener, Arc::clone(&shared)));
    tokio::task::spawn_blocking(move || {
        for line in io::stdin().lock().lines().map_while(Result::ok) {
            println!("{}", shared.answer(&line)?);
        }
        Ok(())
    })
    .await?
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) -> Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        // A client that goes is no failure of a benchmark.
        tokio::spawn(serve(stream, Arc::clone(&shared)));
    }
}

async fn serve(mut stream: TcpStream, shared: Arc<Shared>) -> Result<()> {
    if matches!(shared.kind, Kind::Tungstenite | Kind::Value) {
        return shared.count_messages(tokio_tungstenite::accept_async(stream).await?).await;
    }
    upgrade(&mut stream).await?;
    if shared.kind == Kind::Sink { shared.sink(&mut stream).await } else { shared.write_log(&mut stream).await }
}

/// Answers whatever asks. Without the hash of the key: our load generator does not look at it.
async fn upgrade(stream: &mut TcpStream) -> Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read_buf(&mut head).await? == 0 {
            bail!("gone");
        }
    }
    let answer = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
    Ok(stream.write_all(answer.as_bytes()).await?)
}

/// One read into the buffer of this thread, behind what is left of the last. The rest stays with the connection.
fn read(stream: &TcpStream, rest: &mut Vec<u8>, mut visit: impl FnMut(&[u8])) -> io::Result<()> {
    thread_local! {
        static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; 256 * 1024]);
    }
    BUFFER.with_borrow_mut(|buffer| {
        let kept = rest.len();
        buffer[..kept].copy_from_slice(rest);
        let read = stream.try_read(&mut buffer[kept..])?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut bytes = &mut buffer[..kept + read];
        while let Some((header, payload)) = wire::header(bytes)
            && bytes.len() >= header + payload
        {
            let (frame, after) = bytes.split_at_mut(header + payload);
            let (header, payload) = frame.split_at_mut(header);
            wire::unmask(header, payload);
            visit(payload);
            bytes = after;
        }
        rest.clear();
        rest.extend_from_slice(bytes);
        Ok(())
    })
}

impl Shared {
    fn answer(&self, line: &str) -> Result<String> {
        if line == "count" {
            return Ok(self.counted.load(Ordering::Relaxed).to_string());
        }
        let request = published::Request::parse(line).context("unknown command")?;
        for number in request.numbers() {
            let frame = wire::server_frame(published::text(number, request.size).as_bytes());
            let length = {
                let mut log = self.log.write().unwrap_or_else(std::sync::PoisonError::into_inner);
                log.extend_from_slice(&frame);
                log.len()
            };
            self.length.send_replace(length);
        }
        Ok("done".into())
    }

    async fn sink(&self, stream: &mut TcpStream) -> Result<()> {
        let mut rest = Vec::new();
        loop {
            stream.readable().await?;
            let (mut count, mut pings) = (0, 0);
            let read = read(stream, &mut rest, |payload| match payload.starts_with(PING) {
                true => pings += 1,
                false => count += 1,
            });
            match read {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                result => result?,
            }
            self.counted.fetch_add(count, Ordering::Relaxed);
            for _ in 0..pings {
                stream.write_all(&wire::server_frame(br#"{"t":"PONG"}"#)).await?;
            }
        }
    }

    async fn write_log(&self, stream: &mut TcpStream) -> Result<()> {
        let mut length = self.length.subscribe();
        let mut written = *length.borrow_and_update();
        // The first thing that a client says is that it subscribes.
        stream.readable().await?;
        stream.write_all(&wire::server_frame(br#"{"t":"subscription_update"}"#)).await?;
        loop {
            length.changed().await?;
            while written < *length.borrow_and_update() {
                let result = {
                    let log = self.log.read().unwrap_or_else(std::sync::PoisonError::into_inner);
                    stream.try_write(&log[written..])
                };
                match result {
                    Ok(count) => written += count,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => stream.writable().await?,
                    Err(error) => return Err(error.into()),
                }
            }
        }
    }

    async fn count_messages(&self, mut socket: WebSocketStream<TcpStream>) -> Result<()> {
        while let Some(message) = socket.next().await {
            let tungstenite::Message::Text(text) = message? else { continue };
            if text.as_bytes().starts_with(PING) {
                socket.send(tungstenite::Message::text(r#"{"t":"PONG"}"#)).await?;
                continue;
            }
            let counts = self.kind == Kind::Tungstenite
                || serde_json::from_str::<serde_json::Value>(&text)?.get("t").is_some_and(serde_json::Value::is_string);
            self.counted.fetch_add(u64::from(counts), Ordering::Relaxed);
        }
        Ok(())
    }
}
