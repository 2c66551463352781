//! A wire between a client and a server that can be listened to and cut.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use anyhow::Result;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    task::{AbortHandle, JoinHandle},
};

/// Passes TCP connections on and keeps what the server says. Dropping it cuts everything.
#[derive(Debug)]
pub(crate) struct Proxy {
    /// Where clients connect.
    pub(crate) address: SocketAddr,
    wire: Arc<Wire>,
    acceptor: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Wire {
    heard: Mutex<Vec<u8>>,
    connections: Mutex<Vec<AbortHandle>>,
}

impl Proxy {
    /// A wire to `server`.
    ///
    /// # Errors
    /// When no port is free.
    pub(crate) async fn to(server: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let wire = Arc::new(Wire::default());
        let acceptor = tokio::spawn(accept(listener, server, Arc::clone(&wire)));
        Ok(Self { address, wire, acceptor })
    }

    /// Whether the server sent these bytes in this order, anywhere.
    pub(crate) fn heard(&self, bytes: &[u8]) -> bool {
        lock(&self.wire.heard).windows(bytes.len()).any(|window| window == bytes)
    }

    /// Cuts every connection, without a close frame; later ones pass again.
    pub(crate) fn cut(&self) {
        for connection in lock(&self.wire.connections).drain(..) {
            connection.abort();
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.acceptor.abort();
        self.cut();
    }
}

async fn accept(listener: TcpListener, server: SocketAddr, wire: Arc<Wire>) {
    while let Ok((client, _)) = listener.accept().await {
        let Ok(upstream) = TcpStream::connect(server).await else { continue };
        let task = tokio::spawn(pass(client, upstream, Arc::clone(&wire)));
        lock(&wire.connections).push(task.abort_handle());
    }
}

async fn pass(client: TcpStream, server: TcpStream, wire: Arc<Wire>) {
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    // When one direction ends the other one goes on: a close frame still wants its answer.
    tokio::join!(copy(from_client, to_server, None), copy(from_server, to_client, Some(wire)));
}

async fn copy(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, wire: Option<Arc<Wire>>) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        if let Some(wire) = &wire {
            lock(&wire.heard).extend_from_slice(&buffer[..length]);
        }
        if to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
