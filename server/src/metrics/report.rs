//! The answer of `GET /wse/metrics`. Every family is described in docs/metrics.md; a test compares them.

use wse_client_core::error::Code;

use super::{Metrics, PRIORITIES, REASONS, text::Text};
use crate::{bus::MemoryBus, counters::Counter, hub::Waiting, server::Server};

/// The label of what is said about all connections together; there is no series for a single one.
const ALL: &str = "all";

/// The label of the connection that has most of it.
const LARGEST: &str = "largest";

/// Everything, in the text format.
pub(crate) fn report(server: &Server) -> String {
    let metrics = server.metrics();
    let mut text = Text::default();
    connections(server, metrics, &mut text);
    messages(metrics, &mut text);
    queues(server, metrics, &mut text);
    bus(metrics, &mut text);
    dead_letters(&mut text);
    own(server, metrics, &mut text);
    text.finish()
}

fn connections(server: &Server, metrics: &Metrics, text: &mut Text) {
    let stats = metrics.stats();
    text.gauge("ws_connections_active", "Connections that are open.", server.connection_count());
    let user = if server.is_open() { "guest" } else { "authenticated" };
    text.counters("ws_connections_total", "Connections that were let in, by kind of user.")
        .sample(&[("user", user)], stats.connections_accepted);
    let mut ended = text.counters("ws_disconnections_total", "Connections that are over, by reason.");
    for (index, reason) in REASONS.iter().enumerate() {
        ended.sample(&[("reason", reason)], metrics.sum(|shard| shard.reasons[index].read()));
    }
    text.counter("ws_bytes_sent_total", "Bytes written to WebSocket connections.", stats.bytes_sent);
    text.counter("ws_bytes_received_total", "Bytes read from WebSocket connections.", stats.bytes_received);
}

fn messages(metrics: &Metrics, text: &mut Text) {
    let kinds = metrics.kinds.list();
    let mut sent = text.counters("ws_messages_sent_total", "Messages handed to connections, by type and priority.");
    for (row, kind) in &kinds {
        for (index, priority) in PRIORITIES.iter().enumerate() {
            let count = metrics.sum(|shard| shard.sent.0[usize::from(*row)][index].read());
            if count > 0 {
                sent.sample(&[("type", kind), ("priority", priority)], count);
            }
        }
    }
    let mut received = text.counters("ws_messages_received_total", "Messages of clients, by type.");
    for (row, kind) in &kinds {
        let count = metrics.sum(|shard| shard.received.0[usize::from(*row)].iter().map(Counter::read).sum());
        if count > 0 {
            received.sample(&[("type", kind)], count);
        }
    }
    let help = "From the publication of a message to its place in the queue of a socket, by priority.";
    let mut latency = text.histograms("ws_message_send_latency_seconds", help);
    for (index, priority) in PRIORITIES.iter().enumerate() {
        latency.times(&[("priority", priority)], &metrics.times(|shard| &shard.latency[index]));
    }
}

fn queues(server: &Server, metrics: &Metrics, text: &mut Text) {
    let (mut all, mut largest, mut fullest) = ([0; 5], [0; 5], 0.0f64);
    for Waiting { messages, share } in server.waiting() {
        for (index, count) in messages.into_iter().enumerate() {
            all[index] += u64::from(count);
            largest[index] = largest[index].max(u64::from(count));
        }
        fullest = fullest.max(share);
    }
    let mut size = text.gauges("ws_queue_size", "Messages that wait for single connections, by priority.");
    for (connection, counts) in [(ALL, all), (LARGEST, largest)] {
        for (priority, count) in PRIORITIES.iter().zip(counts) {
            size.sample(&[("connection", connection), ("priority", priority)], count);
        }
    }
    let mut dropped = text.counters("ws_queue_dropped_total", "Messages to single connections that they did not get.");
    for (index, priority) in PRIORITIES.iter().enumerate() {
        let count = metrics.sum(|shard| shard.dropped[index].read());
        dropped.sample(&[("connection", ALL), ("priority", priority)], count);
    }
    text.gauge("ws_queue_backpressure", "How full the fullest queue of a connection is, 0 to 1.", fullest);
}

fn bus(metrics: &Metrics, text: &mut Text) {
    let help = "Messages given to the bus, by first part of the topic and priority.";
    let mut published = text.counters("pubsub_published_total", help);
    for (row, topic) in metrics.namespaces.list() {
        for (index, priority) in PRIORITIES.iter().enumerate() {
            let count = metrics.sum(|shard| shard.published.0[usize::from(row)][index].read());
            if count > 0 {
                published.sample(&[("topic", &topic), ("priority", priority)], count);
            }
        }
    }
    text.counters("pubsub_received_total", "Messages that the bus brought, by subscription of the bus.")
        .sample(&[("pattern", MemoryBus::PATTERN)], metrics.sum(|shard| shard.bus_received.read()));
    text.histograms("pubsub_publish_latency_seconds", "Time that the bus took to take a message.")
        .times(&[], &metrics.times(|shard| &shard.publish_latency));
    let mut errors = text.counters("pubsub_handler_errors_total", "Messages of the bus that could not be handed on.");
    let mut counts = crate::sync::lock(&metrics.bus_errors).clone();
    // A series that is there from the start lets an alert see the first error.
    counts.entry((MemoryBus::PATTERN, Code::TooManyTopics)).or_default();
    for ((pattern, code), count) in counts {
        errors.sample(&[("pattern", pattern), ("error_type", code.as_str())], count);
    }
}

/// The bus of a single server has no dead letters: what it does not deliver, it refuses to the sender.
fn dead_letters(text: &mut Text) {
    text.counter("dlq_messages_total", "Messages put among the dead letters.", 0);
    text.gauges("dlq_size", "Dead letters that are held, by channel.").sample(&[("channel", ALL)], 0);
    text.counter("dlq_replayed_total", "Dead letters that were sent again.", 0);
}

fn own(server: &Server, metrics: &Metrics, text: &mut Text) {
    text.gauges("wse_build_info", "Always 1; the version is the label.").sample(&[("version", crate::VERSION)], 1);
    text.gauge("wse_uptime_seconds", "Time since the start.", server.now().as_millis() as f64 / 1000.0);
    text.gauge("wse_ready", "1 while new connections are welcome.", u8::from(server.is_ready()));
    text.gauge("wse_topics", "Topics that are remembered.", server.topic_count());
    text.gauge("wse_subscriptions", "Topics and patterns that connections asked for.", server.subscription_count());
    for (name, help, value) in metrics.stats().rows() {
        text.counter(&format!("wse_{name}_total"), help, value);
    }
}
