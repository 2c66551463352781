//! What a connection is entered into, and taken out of again however it ends.

use std::sync::Arc;

use wse_client_core::io::Close;

use crate::{handler::ConnectionHandle, hub::Link, listen::Place};

/// Undoes everything on drop, so that a panicking handler leaves nothing behind either.
pub(super) struct Session {
    handle: ConnectionHandle,
    link: Arc<Link>,
    close: Close,
    admitted: bool,
    _place: Option<Place>,
}

impl Session {
    /// Enters a connection; refused ones are only held until their close frame is out.
    pub(super) fn begin(handle: ConnectionHandle, link: Arc<Link>, place: Option<Place>, admitted: bool) -> Self {
        handle.server().enter(&link);
        if admitted {
            handle.server().counters().connections_accepted.one();
            handle.server().handler().on_connect(&handle);
        }
        Self { handle, link, close: Close::abnormal(), admitted, _place: place }
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
        let unsent = server.metrics().unsent(self.link.end());
        self.link.note_unsent(0);
        if std::thread::panicking() {
            server.counters().handler_panics.one();
        }
        tracing::debug!(connection = self.link.id(), code = self.close.code, unsent, "websocket closed");
        if self.admitted {
            server.hub().remove(&self.link);
            server.counters().connections_closed.one();
            server.metrics().disconnected(&self.close);
            server.handler().on_disconnect(&self.handle, &self.close);
        }
    }
}
