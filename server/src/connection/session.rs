//! What a connection is entered into, and taken out of again however it ends.

use std::sync::Arc;

use wse_client_core::io::Close;

use crate::{handler::ConnectionHandle, hub::Link, server::Seat};

/// Undoes everything on drop, so that a panicking handler leaves nothing behind either.
pub(super) struct Session {
    handle: ConnectionHandle,
    link: Arc<Link>,
    close: Close,
    admitted: bool,
    _seat: Option<Seat>,
}

impl Session {
    /// Enters a connection; refused ones are only held until their close frame is out.
    pub(super) fn begin(handle: ConnectionHandle, link: Arc<Link>, seat: Option<Seat>, admitted: bool) -> Self {
        handle.server().enter(&link);
        if admitted {
            handle.server().counters().connections_accepted.one();
            handle.server().handler().on_connect(&handle);
        }
        Self { handle, link, close: Close::abnormal(), admitted, _seat: seat }
    }

    /// Notes how the connection ended.
    pub(super) fn closed_with(&mut self, close: Close) {
        self.close = close;
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let server = self.handle.server();
        server.leave(&self.link);
        let unsent = self.link.end();
        server.counters().sends_refused.add(unsent);
        tracing::debug!(connection = self.link.id(), code = self.close.code, unsent, "websocket closed");
        if self.admitted {
            let orphans = server.hub().remove(&self.link, server.now());
            server.counters().messages_lost.add(orphans);
            server.counters().connections_closed.one();
            server.handler().on_disconnect(&self.handle, &self.close);
        }
    }
}
