//! A bare socket: what attackers use. It speaks as much WebSocket as it must, and breaks the rest.

use std::{
    collections::BTreeMap,
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpSocket, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    time::timeout,
};
use wse_bench::wire;

/// A client's request to become a WebSocket.
pub(crate) fn upgrade(addr: SocketAddr) -> String {
    format!(
        "GET /wse?compression=false HTTP/1.1\r\nHost: {addr}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
}

/// Connects from one of many addresses of this machine: of a single one the ports would run out, as each stays taken for a
/// minute after its connection.
pub(crate) async fn connect(addr: SocketAddr, window: u32) -> io::Result<TcpStream> {
    static TURN: AtomicUsize = AtomicUsize::new(0);
    let [host, ..] = (TURN.fetch_add(1, Ordering::Relaxed) % 250 + 1).to_le_bytes();
    let socket = TcpSocket::new_v4()?;
    if window > 0 {
        socket.set_recv_buffer_size(window)?;
    }
    socket.bind((Ipv4Addr::new(127, 0, 1, host), 0).into())?;
    socket.connect(addr).await
}

/// A WebSocket that was let in or refused; frames are read as far as asked.
pub(crate) struct Raw {
    pub(crate) reader: Reader,
    pub(crate) writer: OwnedWriteHalf,
}

/// What comes from the server.
pub(crate) struct Reader {
    socket: OwnedReadHalf,
    buffer: Vec<u8>,
    /// Where the next frame begins.
    at: usize,
}

/// How a connection ended.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ending {
    /// The close code; none: the socket ended without a close frame.
    pub(crate) close: Option<u16>,
    /// Codes of `error` messages on the way, and how often.
    pub(crate) errors: BTreeMap<String, u64>,
    /// No end came in time.
    pub(crate) open: bool,
}

impl Raw {
    /// Connects and upgrades; the frames of the server are still to be read. `window`: bytes that the kernel may hold
    /// for a reader that does not read; 0: as the kernel likes.
    pub(crate) async fn open(addr: SocketAddr, window: u32) -> Result<Self> {
        let mut stream = connect(addr, window).await.context("connect")?;
        stream.set_nodelay(true)?;
        stream.write_all(upgrade(addr).as_bytes()).await?;
        let (socket, writer) = stream.into_split();
        let mut reader = Reader { socket, buffer: Vec::new(), at: 0 };
        let head = loop {
            ensure!(reader.fill().await? > 0, "the server closed during the upgrade");
            if let Some(at) = reader.buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
        };
        ensure!(reader.buffer.starts_with(b"HTTP/1.1 101"), "upgrade refused");
        reader.at = head;
        Ok(Self { reader, writer })
    }

    /// Sends one text message as it should be.
    pub(crate) async fn say(&mut self, text: &str) -> io::Result<()> {
        self.writer.write_all(&wire::client_frame(true, text.as_bytes())).await
    }

    /// Asks for topics, and gives the answer as text.
    pub(crate) async fn subscribe(&mut self, topics: &[String]) -> Result<String> {
        let topics = serde_json::to_string(topics)?;
        let request = format!(r#"{{"t":"subscription_update","p":{{"action":"subscribe","topics":{topics}}}}}"#);
        self.say(&request).await?;
        self.reader.wait_for("\"subscription_update\"").await
    }
}

impl Reader {
    async fn fill(&mut self) -> io::Result<usize> {
        // Not at each frame, or many small ones would be moved many times.
        self.buffer.drain(..self.at);
        self.at = 0;
        self.buffer.reserve(64 << 10);
        self.socket.read_buf(&mut self.buffer).await
    }

    /// The next frame: its opcode and content; `None` at the end of the socket.
    pub(crate) async fn frame(&mut self) -> io::Result<Option<(u8, Vec<u8>)>> {
        loop {
            let bytes = &self.buffer[self.at..];
            if let Some((header, len)) = wire::header(bytes)
                && bytes.len() >= header + len
            {
                let opcode = bytes[0] & 0x0f;
                let content = bytes[header..header + len].to_vec();
                self.at += header + len;
                return Ok(Some((opcode, content)));
            }
            if self.fill().await? == 0 {
                return Ok(None);
            }
        }
    }

    /// The first message that contains this.
    pub(crate) async fn wait_for(&mut self, part: &str) -> Result<String> {
        loop {
            let frame = timeout(Duration::from_secs(20), self.frame()).await.context("nothing comes")??;
            let (_, content) = frame.with_context(|| format!("the connection ended before {part}"))?;
            let text = String::from_utf8_lossy(&content);
            if text.contains(part) {
                return Ok(text.into_owned());
            }
        }
    }

    /// Reads to the end of the connection and looks at nothing but its last frame: how it ended in one word.
    pub(crate) async fn last_word(&mut self, limit: Duration) -> String {
        const LONGEST_CLOSE: usize = 127;
        let reading = async {
            let mut end = Vec::new();
            let mut room = vec![0; 256 << 10];
            while let Ok(count @ 1..) = self.socket.read(&mut room).await {
                end.drain(..end.len().saturating_sub(LONGEST_CLOSE));
                end.extend_from_slice(&room[..count]);
            }
            let is_close = |at: &usize| {
                end[*at] == 0x88 && end.get(at + 1).is_some_and(|len| usize::from(*len) + 2 == end.len() - at)
            };
            let at = (end.len().saturating_sub(LONGEST_CLOSE)..end.len()).find(is_close);
            let code = at.and_then(|at| end.get(at + 2..)?.first_chunk());
            code.map_or("no close frame".to_owned(), |code| u16::from_be_bytes(*code).to_string())
        };
        timeout(limit, reading).await.unwrap_or_else(|_| "still open".into())
    }

    /// Reads to the end of the connection.
    pub(crate) async fn ending(&mut self, limit: Duration) -> Ending {
        let mut ending = Ending::default();
        let reading = async {
            while let Ok(Some((opcode, content))) = self.frame().await {
                if opcode == 8 {
                    ending.close = content.first_chunk().map(|code| u16::from_be_bytes(*code));
                    break;
                }
                if let Some(code) = error_code(&content) {
                    *ending.errors.entry(code).or_default() += 1;
                }
            }
        };
        if timeout(limit, reading).await.is_err() {
            ending.open = true;
        }
        ending
    }
}

impl Ending {
    /// In one word.
    pub(crate) fn word(&self) -> String {
        match self.close {
            _ if self.open => "still open".into(),
            Some(code) => code.to_string(),
            None => "no close frame".into(),
        }
    }
}

/// The code in an `error` message.
fn error_code(content: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(content).ok()?;
    let rest = text.contains(r#""t":"error""#).then(|| text.split_once(r#""code":""#))??.1;
    Some(rest.split('"').next()?.to_owned())
}

/// How often each word was said, most often first.
#[derive(Debug, Default, Clone)]
pub(crate) struct Tally(pub(crate) BTreeMap<String, u64>);

impl Tally {
    pub(crate) fn add(&mut self, word: impl Into<String>) {
        *self.0.entry(word.into()).or_default() += 1;
    }

    pub(crate) fn of(&self, word: &str) -> u64 {
        self.0.get(word).copied().unwrap_or(0)
    }

    pub(crate) fn sum(&self) -> u64 {
        self.0.values().sum()
    }

    pub(crate) fn join(&mut self, other: &Self) {
        other.0.iter().for_each(|(word, count)| *self.0.entry(word.clone()).or_default() += count);
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut words: Vec<_> = self.0.iter().collect();
        words.sort_by(|a, b| b.1.cmp(a.1));
        let words: Vec<String> = words.into_iter().map(|(word, count)| format!("{word}: {count}")).collect();
        f.write_str(if words.is_empty() { "nothing" } else { "" })?;
        f.write_str(&words.join(", "))
    }
}
