//! The state of topics, as the application knows it.

use std::{fmt, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures_util::{StreamExt, future::BoxFuture, stream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wse_client_core::client::Outgoing;

use crate::{
    clock,
    handler::ConnectionHandle,
    hub::{Link, Publication, StateMessage},
};

/// Attempts to get one state.
const TRIES: u32 = 3;

/// Pause before the second attempt; it doubles.
const PAUSE: Duration = Duration::from_secs(1);

/// How long one attempt may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Topics of one client that are asked for at the same time.
pub(crate) const AT_ONCE: usize = 16;

/// What the state of a topic is, or why it could not be had. The text goes into the log, never to clients.
pub type SnapshotResult = Result<Vec<Outgoing>, Box<dyn std::error::Error + Send + Sync>>;

/// A state on its way.
pub type SnapshotFuture = BoxFuture<'static, SnapshotResult>;

/// Knows the state of topics: what a client needs to make sense of the messages that follow.
///
/// It is asked when a client subscribes to a topic, or recovers less than it missed, and for `sync_request` (PROTOCOL.md
/// §6.5). Messages of the topic wait until the state is written. A state that cannot be had is asked for three times, with
/// pauses of 1 and 2 seconds, each for 10 seconds at most; then the client is told by `snapshot_complete` and goes on
/// without. The same goes for one that panics. A connection that is closed does not wait for states, and nobody waits for
/// those of topics that were left.
///
/// ```
/// use wse_server::{ConnectionHandle, Outgoing, Payload, SnapshotFuture, SnapshotProvider};
///
/// struct Prices;
///
/// impl SnapshotProvider for Prices {
///     fn snapshot(&self, _connection: &ConnectionHandle, topic: &str) -> Option<SnapshotFuture> {
///         let symbol = topic.strip_prefix("prices:")?.to_owned();
///         Some(Box::pin(async move {
///             let payload = Payload::new(&serde_json::json!({ "symbol": symbol, "last": 17.25 }))?;
///             Ok(vec![Outgoing::new("price_snapshot", payload)])
///         }))
///     }
/// }
/// # let _ = Prices;
/// ```
pub trait SnapshotProvider: Send + Sync + 'static {
    /// The state of a topic that a client may read. `None`: it is not known here, and the client gets what the server
    /// remembers, the last snapshots that were published. Messages are sent as those of the topic, whatever
    /// [`Outgoing::topic`] says. Must not block.
    fn snapshot(&self, connection: &ConnectionHandle, topic: &str) -> Option<SnapshotFuture>;
}

/// Messages that are the state of a topic; `None`: it could not be had.
pub(crate) type TopicState = Option<Vec<StateMessage>>;

/// What became of a question for states.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The number that the connection gave to the question.
    pub(crate) number: u64,
    /// The state of one topic; `None`: there is no more to come.
    pub(crate) state: Option<(Arc<str>, TopicState)>,
    /// Its place among those that wait for the connection, which is free again once it takes this.
    pub(crate) _place: Option<OwnedSemaphorePermit>,
}

/// Gets the states of topics from the application, and hands each on as soon as it is there: one that takes its time holds
/// up no other. As long as a connection does not take what is there, no more is asked for.
pub(crate) async fn tell(connection: &ConnectionHandle, link: &Arc<Link>, number: u64, topics: Vec<Arc<str>>) {
    let places = Arc::new(Semaphore::new(AT_ONCE));
    let tell = |topic: Arc<str>| {
        let place = Arc::clone(&places).acquire_owned();
        async move {
            let place = place.await.ok();
            let state = state(connection, link, &topic).await;
            link.put_answer(Answer { number, state: Some((topic, state)), _place: place });
        }
    };
    stream::iter(topics).for_each_concurrent(AT_ONCE, tell).await;
    link.put_answer(Answer { number, state: None, _place: None });
}

async fn state(connection: &ConnectionHandle, link: &Arc<Link>, topic: &Arc<str>) -> TopicState {
    let server = connection.server();
    for attempt in 0..TRIES {
        if attempt > 0 {
            tokio::time::sleep(PAUSE * 2_u32.pow(attempt - 1)).await;
        }
        // The messages of the topic wait for the answer, so there has to be one.
        let asked = AssertUnwindSafe(async {
            let asked = server.snapshots()?.snapshot(connection, topic)?;
            Some(tokio::time::timeout(PATIENCE, asked).await)
        });
        match futures_util::FutureExt::catch_unwind(asked).await {
            Ok(None) => return Some(server.hub().snapshots(topic).into_iter().map(Into::into).collect()),
            Ok(Some(Ok(Ok(messages)))) => {
                let messages = messages.into_iter().filter_map(|message| publication(connection, topic, message));
                return Some(messages.map(|publication| link.count_state(publication)).collect());
            }
            Ok(Some(Ok(Err(error)))) => tracing::warn!(%topic, attempt, %error, "no snapshot"),
            Ok(Some(Err(_))) => tracing::warn!(%topic, attempt, "no snapshot in time"),
            Err(_) => tracing::error!(%topic, attempt, "the application panicked over a snapshot"),
        }
    }
    server.counters().snapshots_failed.one();
    None
}

/// A message of the application; one that cannot be sent is left out, and counted.
fn publication(connection: &ConnectionHandle, topic: &Arc<str>, mut message: Outgoing) -> Option<Arc<Publication>> {
    let server = connection.server();
    message.topic = Some(topic.to_string());
    let wall = clock::wall();
    let id = message.id.take().unwrap_or_else(|| clock::new_id(wall));
    let checked = message.check(server.limits());
    let publication = Publication::new(topic, message, id, wall.to_string(), server.config().compression);
    if let Err(error) = checked.and_then(|()| publication.check_size(server.limits().max_frame)) {
        tracing::warn!(%topic, %error, "snapshot not sent");
        server.counters().sends_refused.one();
        return None;
    }
    Some(Arc::new(publication))
}

impl fmt::Debug for dyn SnapshotProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SnapshotProvider")
    }
}
