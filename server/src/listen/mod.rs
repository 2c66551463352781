//! One accepted socket: HTTP requests, and the upgrade to a WebSocket.

mod handshake;
mod networks;
mod upgrade;

use std::{pin::pin, sync::Arc};

use axum::Router;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{net::TcpStream, sync::OwnedSemaphorePermit};
use tower_service::Service;

pub(crate) use networks::Networks;
pub(crate) use upgrade::upgrade;

use crate::server::Server;

/// Most bytes of a request head: room for three tokens of the longest kind, and cookies beside.
const MAX_HEAD: usize = 64 * 1024;

/// Counts one socket among all; travels with it into the WebSocket connection.
#[derive(Clone)]
pub(crate) struct SocketSlot {
    _permit: Arc<OwnedSemaphorePermit>,
}

/// Serves a socket in a task of its own, unless too many are open.
pub(crate) fn spawn(server: &Server, stream: TcpStream, routes: &Router) {
    let Some(permit) = server.socket_permit() else {
        server.counters().refused_sockets.one();
        tracing::warn!("too many open sockets, refusing one");
        return;
    };
    let slot = SocketSlot { _permit: Arc::new(permit) };
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "no TCP_NODELAY");
    }
    tokio::spawn(serve(server.clone(), stream, routes.clone(), slot));
}

async fn serve(server: Server, stream: TcpStream, routes: Router, slot: SocketSlot) {
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(slot.clone());
        routes.clone().call(request)
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
        server.counters().http_errors.one();
        tracing::debug!(%error, "http connection ended");
    }
}
