//! `GET /wse/debug`: connections, subscriptions, topics and the bus, for whoever looks for a fault. Wants the API key.

use std::collections::BTreeMap;

use axum::{
    Json,
    extract::{Request, State},
};
use serde::{Deserialize, Serialize};
use wse_client_core::error::Code;

use super::{ApiError, access::check_key, request::query};
use crate::{counters::Stats, hub::TopicState, metrics::BusFigures, server::Server};

/// Rows of each list, unless asked otherwise.
const DEFAULT_ROWS: usize = 100;

/// Most rows of each list.
const MAX_ROWS: usize = 1000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    /// Most rows of each list.
    limit: Option<usize>,
    /// Beginning of the topics that are listed.
    prefix: Option<String>,
}

#[derive(Serialize)]
pub(super) struct Debug {
    version: &'static str,
    uptime_seconds: u64,
    ready: bool,
    connections: Connections,
    subscriptions: Subscriptions,
    topics: Topics,
    memory: Memory,
    pubsub: BusFigures,
    counters: Stats,
}

#[derive(Serialize)]
struct Connections {
    total: usize,
    /// Messages that wait for single connections, all together.
    queued: u64,
    /// Users with most connections first.
    users: Vec<User>,
    /// The connections for which most waits first.
    list: Vec<Connection>,
}

#[derive(Serialize)]
struct User {
    user_id: String,
    connections: usize,
}

#[derive(Serialize)]
struct Connection {
    id: String,
    user_id: String,
    subscriptions: usize,
    /// Messages that wait for it alone.
    queued: u32,
    /// Bytes that wait for it alone, those included that its socket has not taken.
    queued_bytes: usize,
    /// How full its queue is, 0 to 1.
    queue_share: f64,
}

#[derive(Serialize)]
struct Subscriptions {
    /// Topics and patterns that connections asked for.
    total: usize,
    /// Patterns among them, with the number of connections.
    patterns: BTreeMap<String, usize>,
}

#[derive(Serialize)]
struct Topics {
    total: usize,
    /// Topics with most subscribers first.
    list: Vec<TopicState>,
}

/// Bytes that messages hold, see `memory_budget`.
#[derive(Serialize)]
struct Memory {
    budget: usize,
    held: usize,
    /// In rings, histories and snapshots of topics.
    topics: usize,
    /// In queues of single connections.
    queues: usize,
}

pub(super) async fn debug(State(server): State<Server>, request: Request) -> Result<Json<Debug>, ApiError> {
    check_key(&server, request.headers(), Code::AuthRequired)?;
    let Wanted { limit, prefix } = query(request.uri())?;
    let rows = limit.unwrap_or(DEFAULT_ROWS).min(MAX_ROWS);
    Ok(Json(Debug {
        version: crate::VERSION,
        uptime_seconds: server.now().as_millis() / 1000,
        ready: server.is_ready(),
        connections: connections(&server, rows),
        subscriptions: Subscriptions { total: server.subscription_count(), patterns: server.hub().patterns(rows) },
        topics: Topics {
            total: server.topic_count(),
            list: server.hub().busiest_topics(prefix.as_deref().unwrap_or_default(), rows),
        },
        memory: memory(&server),
        pubsub: server.metrics().bus_figures(),
        counters: server.stats(),
    }))
}

fn memory(server: &Server) -> Memory {
    let (topics, queues) = (server.hub().held_bytes(), server.queue_bytes().held());
    Memory { budget: server.config().memory_budget, held: topics + queues, topics, queues }
}

fn connections(server: &Server, rows: usize) -> Connections {
    let links = server.links();
    let mut users: BTreeMap<&str, usize> = BTreeMap::new();
    let mut queued = 0;
    let mut list = Vec::with_capacity(links.len());
    for link in &links {
        let (user, waiting) = (&*link.identity().user_id, link.waiting());
        *users.entry(user).or_default() += 1;
        queued += waiting.messages.iter().copied().map(u64::from).sum::<u64>();
        list.push((waiting.share, link));
    }
    // Among equals the oldest first, so that rows stay where they are.
    list.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.number().cmp(&b.1.number())));
    let mut users: Vec<_> =
        users.into_iter().map(|(user, connections)| User { user_id: user.into(), connections }).collect();
    users.sort_by_key(|user| std::cmp::Reverse(user.connections));
    users.truncate(rows);
    let row = |(queue_share, link): &(f64, &std::sync::Arc<crate::hub::Link>)| Connection {
        id: link.id().to_owned(),
        user_id: link.identity().user_id.clone(),
        subscriptions: link.request_count(),
        queued: link.waiting().messages.iter().sum(),
        queued_bytes: link.queued(),
        queue_share: *queue_share,
    };
    Connections { total: links.len(), queued, users, list: list.iter().take(rows).map(row).collect() }
}
