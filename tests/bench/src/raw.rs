//! The load generator's WebSocket: as little as possible, so that what is measured is the server.
//!
//! Frames are encoded before the clock starts and written in big pieces; what arrives is counted frame by
//! frame without being parsed further than its header.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
};
use wse_bench::wire::{self, client_frame};

use crate::process::Host;

const READ_SIZE: usize = 64 * 1024;

/// The reading half of a connection.
pub(crate) struct Reader {
    socket: OwnedReadHalf,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

/// Opens a connection to an open server and upgrades it.
pub(crate) async fn connect(addr: SocketAddr) -> Result<(Reader, OwnedWriteHalf)> {
    open(addr, "", "").await
}

/// Opens a connection with a token and a query, as far as they are not empty, and upgrades it.
pub(crate) async fn open(addr: SocketAddr, token: &str, query: &str) -> Result<(Reader, OwnedWriteHalf)> {
    let mut stream = TcpStream::connect(addr).await.context("connect")?;
    stream.set_nodelay(true)?;
    let token = if token.is_empty() { String::new() } else { format!("Authorization: Bearer {token}\r\n") };
    let request = format!(
        "GET /wse?{query} HTTP/1.1\r\nHost: {addr}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{token}\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut buffer = vec![0; READ_SIZE];
    let mut end = 0;
    let head = loop {
        let read = stream.read(&mut buffer[end..]).await?;
        ensure!(read > 0, "the server closed during the upgrade");
        end += read;
        if let Some(at) = buffer[..end].windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
    };
    let status = String::from_utf8_lossy(&buffer[..head]);
    ensure!(status.starts_with("HTTP/1.1 101"), "upgrade refused: {}", status.lines().next().unwrap_or(""));
    let (socket, writer) = stream.into_split();
    Ok((Reader { socket, buffer, start: head, end }, writer))
}

impl Reader {
    /// Waits for at least one whole frame and hands every whole frame of the read to `visit`.
    pub(crate) async fn read_frames(&mut self, mut visit: impl FnMut(&[u8])) -> Result<()> {
        loop {
            let mut seen = false;
            while let Some((header, length)) = self.next_header()? {
                let from = self.start + header;
                if from + length > self.end {
                    break;
                }
                visit(&self.buffer[from..from + length]);
                self.start = from + length;
                seen = true;
            }
            if seen {
                return Ok(());
            }
            self.fill().await?;
        }
    }

    /// Waits for the first frame that contains `text`.
    pub(crate) async fn wait_for(&mut self, text: &str) -> Result<()> {
        let mut found = false;
        while !found {
            self.read_frames(|frame| {
                found |= frame.windows(text.len()).any(|window| window == text.as_bytes());
            })
            .await
            .with_context(|| format!("while waiting for {text:?}"))?;
        }
        Ok(())
    }

    /// Lets go of the buffer and keeps the socket open.
    pub(crate) fn into_socket(self) -> OwnedReadHalf {
        self.socket
    }

    fn next_header(&self) -> Result<Option<(usize, usize)>> {
        let bytes = &self.buffer[self.start..self.end];
        let Some(first) = bytes.first() else { return Ok(None) };
        ensure!(first & 0x0f != 8, "the server closed the connection");
        ensure!(first & 0x80 != 0, "the server sent a fragment");
        Ok(wire::header(bytes))
    }

    async fn fill(&mut self) -> Result<()> {
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        if self.end == self.buffer.len() {
            self.buffer.resize(self.end * 2, 0);
        }
        let read = self.socket.read(&mut self.buffer[self.end..]).await?;
        ensure!(read > 0, "the server closed the connection");
        self.end += read;
        Ok(())
    }
}

/// Subscribes a connection to one topic and waits for the answer.
pub(crate) async fn subscribe(reader: &mut Reader, writer: &mut OwnedWriteHalf, topic: &str) -> Result<()> {
    let request =
        format!(r#"WSE{{"t":"subscription_update","p":{{"action":"subscribe","topics":["{topic}"]}},"v":1}}"#);
    writer.write_all(&client_frame(true, request.as_bytes())).await?;
    reader.wait_for("\"subscription_update\"").await
}

/// A connection that the server has said it is ready for; servers without tokens say nothing.
pub(crate) async fn ready(host: &Host, query: &str) -> Result<(Reader, OwnedWriteHalf)> {
    let (mut reader, writer) = open(host.addr, &host.token, query).await?;
    if !host.token.is_empty() {
        reader.wait_for("\"server_ready\"").await?;
    }
    Ok((reader, writer))
}

/// Asks for encryption, and waits until all that was said on the way is read. The other half of this key is the number
/// one, and the topics stand in the URL, so that nothing has to be sealed or opened here.
pub(crate) async fn agree(reader: &mut Reader, writer: &mut OwnedWriteHalf) -> Result<()> {
    const KEY: &str = "BGsX0fLhLEJH+Lzm5WOkQPJ3A32BLeszoPShOUXYmMKWT+NC4v4af5uO5+tKfA+eFivOM1drMV7Oy7ZAaDe/UfU=";
    const QUIET: std::time::Duration = std::time::Duration::from_millis(50);
    let hello = format!(
        r#"WSE{{"t":"client_hello","p":{{"client_version":"1","features":{{"encryption":true,"full_duplex":true}},"encryption_public_key":"{KEY}"}},"v":1}}"#
    );
    writer.write_all(&client_frame(true, hello.as_bytes())).await?;
    reader.wait_for("\"server_hello\"").await?;
    while let Ok(read) = tokio::time::timeout(QUIET, reader.read_frames(|_| {})).await {
        read?;
    }
    Ok(())
}
