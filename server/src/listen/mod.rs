//! One accepted socket: TLS, HTTP requests, and the upgrade to a WebSocket.
//!
//! ```text
//! gate.rs       how many there may be, in all and from one address
//! networks.rs   whose word about a client's address counts
//! tls.rs        the certificate
//! accepted.rs   the socket while it speaks HTTP
//! upgrade.rs    from a request to a WebSocket; handshake.rs has its rules
//! ```

mod accepted;
mod gate;
mod handshake;
mod networks;
mod tls;
mod upgrade;

use std::{net::SocketAddr, pin::pin, sync::Arc};

use axum::Router;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{net::TcpStream, sync::OwnedSemaphorePermit, time::timeout};
use tower_service::Service;

pub use tls::CertificateError;
pub use upgrade::{Caller, Handshake, UpgradeRefused};
pub(crate) use {
    gate::{Gate, NoPlace, Place},
    networks::Networks,
    tls::Tls,
};

use accepted::Accepted;
use gate::Opened;

use crate::server::Server;

/// Most bytes of a request head: room for three tokens of the longest kind, and cookies beside.
const MAX_HEAD: usize = 64 * 1024;

/// Counts one socket among all; travels with it into the WebSocket connection.
#[derive(Clone)]
pub(crate) struct SocketSlot {
    /// The other end.
    peer: SocketAddr,
    permit: Arc<OwnedSemaphorePermit>,
}

/// Serves a socket in a task of its own, unless too many are open.
pub(crate) fn spawn(server: &Server, stream: TcpStream, peer: SocketAddr, routes: &Router) {
    let opened = match server.gate().open(Some(peer)) {
        Ok(opened) => opened,
        Err(why) => {
            server.counters().refused_sockets.one();
            return tracing::debug!(%peer, ?why, "too many open sockets, refusing one");
        }
    };
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "no TCP_NODELAY");
    }
    tokio::spawn(serve(server.clone(), stream, peer, routes.clone(), opened));
}

async fn serve(server: Server, stream: TcpStream, peer: SocketAddr, routes: Router, opened: Opened) {
    // Held until the socket is closed or has become a WebSocket.
    let Opened { socket, pending: _pending } = opened;
    let slot = SocketSlot { peer, permit: Arc::new(socket) };
    let Some(stream) = accept(&server, stream).await else { return };
    let (idle, answered) = (stream.idle(), stream.idle());
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(slot.clone());
        let (answer, answered) = (routes.clone().call(request), answered.clone());
        async move {
            let answer = answer.await;
            answered.set(true);
            answer
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(server.config().handshake_timeout)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = pin!(connection);
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = server.stopped() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        if error.is_timeout() && idle.is_so() {
            return tracing::trace!("http connection was not used any more");
        }
        server.counters().http_errors.one();
        tracing::debug!(%error, "http connection ended");
    }
}

/// The TLS handshake, where there is TLS.
async fn accept(server: &Server, stream: TcpStream) -> Option<Accepted> {
    let config = server.config();
    let Some(tls) = server.tls() else { return Some(Accepted::plain(stream, config.write_timeout)) };
    let why = match timeout(config.handshake_timeout, tls.acceptor().accept(stream)).await {
        Ok(Ok(stream)) => return Some(Accepted::tls(stream, config.write_timeout)),
        Ok(Err(error)) => error.to_string(),
        Err(elapsed) => elapsed.to_string(),
    };
    server.counters().tls_failures.one();
    tracing::debug!(why, "TLS handshake failed");
    None
}
