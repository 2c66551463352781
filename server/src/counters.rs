//! What the server counts. Nothing is dropped or refused without a counter.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;
use wse_client_core::wire::Priority;

macro_rules! counters {
    ($($(#[doc = $doc:literal])+ $name:ident),* $(,)?) => {
        /// Live counters; batches add to them once. Each worker thread adds to a set of its own, see
        /// [`Sharded`](crate::metrics::Sharded).
        #[derive(Debug, Default)]
        pub(crate) struct Counters {
            $(pub(crate) $name: Counter,)*
        }

        /// Counters since the server started. Field names are the names in `GET /wse/health`; in `GET /wse/metrics`
        /// each is `wse_` + name + `_total`.
        #[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
        #[non_exhaustive]
        pub struct Stats {
            $($(#[doc = $doc])+ pub $name: u64,)*
        }

        impl Counters {
            /// Adds what this set has counted.
            pub(crate) fn add_to(&self, stats: &mut Stats) {
                $(stats.$name += self.$name.read();)*
            }
        }

        impl Stats {
            /// Every counter: its name, what it counts, its value.
            pub(crate) fn rows(&self) -> Vec<(&'static str, &'static str, u64)> {
                vec![$((stringify!($name), concat!($($doc),+), self.$name),)*]
            }
        }
    };
}

counters! {
    /// WebSocket connections that were let in.
    connections_accepted,
    /// Of those, how many are over.
    connections_closed,
    /// Connections that were sent away with a time to come back, because the server was going to stop.
    connections_drained,
    /// Connections refused for want of a token.
    refused_auth_required,
    /// Connections refused for a wrong or expired token.
    refused_auth_failed,
    /// Connections refused for their origin.
    refused_origin,
    /// Connections refused because the server was full, or short of memory.
    refused_full,
    /// Connections refused because their address had as many as it may have.
    refused_address,
    /// Connections refused for a wrong query parameter.
    refused_request,
    /// HTTP requests and upgrades refused for the host name that they were sent to.
    refused_hosts,
    /// HTTP requests refused for a wrong API key.
    refused_api_keys,
    /// Sockets closed at once because too many were open, in all or from one address.
    refused_sockets,
    /// TLS handshakes that failed or took too long.
    tls_failures,
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
    /// Messages that could not be published: for their type, for too many topics, or for want of memory.
    publishes_refused,
    /// Messages posted again with an idempotency key that was seen before; they were not published twice.
    publishes_repeated,
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
    /// Messages of clients that were refused because they came too fast, and connections closed for it; part of
    /// `frames_rejected`.
    rate_limited,
    /// Connections closed because the client broke the WebSocket protocol or a size limit.
    protocol_violations,
    /// Messages refused because memory was short, part of `publishes_refused` and `sends_refused`; and connections
    /// closed for it, part of `slow_consumers`.
    refused_memory,
    /// Connections closed because they read too slowly.
    slow_consumers,
    /// Connections that ended because the application's handler panicked.
    handler_panics,
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
        self.add_u64(count as u64);
    }

    pub(crate) fn add_u64(&self, count: u64) {
        if count > 0 {
            self.0.fetch_add(count, Ordering::Relaxed);
        }
    }

    pub(crate) fn one(&self) {
        self.add(1);
    }

    pub(crate) fn read(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
