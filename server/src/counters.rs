//! What the server counts. Nothing is dropped or refused without a counter.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;
use wse_client_core::wire::Priority;

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// Live counters; batches add to them once.
        #[derive(Debug, Default)]
        pub(crate) struct Counters {
            $(pub(crate) $name: Counter,)*
        }

        /// Counters since the server started. Field names are the names in `GET /wse/health`.
        #[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
        #[non_exhaustive]
        pub struct Stats {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Counters {
            pub(crate) fn read(&self) -> Stats {
                Stats { $($name: self.$name.read(),)* }
            }
        }
    };
}

counters! {
    /// WebSocket connections that were let in.
    connections_accepted,
    /// Of those, how many are over.
    connections_closed,
    /// Connections refused for want of a token.
    refused_auth_required,
    /// Connections refused for a wrong or expired token.
    refused_auth_failed,
    /// Connections refused for their origin.
    refused_origin,
    /// Connections refused because the server was full.
    refused_full,
    /// Connections refused for a wrong query parameter.
    refused_request,
    /// Sockets closed at once because too many were open.
    refused_sockets,
    /// HTTP connections that ended in an error, slow request heads included.
    http_errors,
    /// Bytes received on WebSocket connections.
    bytes_received,
    /// Bytes written to WebSocket connections.
    bytes_sent,
    /// WebSocket messages received.
    frames_received,
    /// Messages handed to the application's handler.
    messages_handled,
    /// Messages accepted for a topic, from clients, the application and the HTTP API.
    messages_published,
    /// Messages that could not be published, for their type or because there were too many topics.
    publishes_refused,
    /// Topic messages handed to a connection for writing.
    messages_delivered,
    /// Topic messages that were pushed out of a ring before a slow connection came to them, which was told; and those of
    /// queue groups whose last member left before it read them, of which nobody is told.
    messages_lost,
    /// States of topics that the application could not tell; the client was told.
    snapshots_failed,
    /// Messages to one connection that it could not take; the caller was told, or the connection ended first.
    sends_refused,
    /// Messages of priority 1 that were dropped from, or not taken into, the queue of one connection; the caller was told.
    queue_dropped_background,
    /// The same of priority 3.
    queue_dropped_low,
    /// The same of priority 5.
    queue_dropped_normal,
    /// The same of priority 8: only refused, never dropped.
    queue_dropped_high,
    /// The same of priority 10: only refused, never dropped.
    queue_dropped_critical,
    /// Frames refused for their content; the client was told.
    frames_rejected,
    /// Connections closed because the client broke the WebSocket protocol or a size limit.
    protocol_violations,
    /// Connections closed because they read too slowly.
    slow_consumers,
}

impl Counters {
    /// Drops from the queues of single connections, by priority.
    pub(crate) const fn queue_dropped(&self, priority: Priority) -> &Counter {
        match priority {
            Priority::Background => &self.queue_dropped_background,
            Priority::Low => &self.queue_dropped_low,
            Priority::Normal => &self.queue_dropped_normal,
            Priority::High => &self.queue_dropped_high,
            Priority::Critical => &self.queue_dropped_critical,
        }
    }
}

/// One counter. Sums are exact; how they relate in one moment is not.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, count: usize) {
        if count > 0 {
            self.0.fetch_add(count as u64, Ordering::Relaxed);
        }
    }

    pub(crate) fn one(&self) {
        self.add(1);
    }

    fn read(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
