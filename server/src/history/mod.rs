//! What was published, for those who come later.
//!
//! [`History`] is the border: whoever keeps publications answers one question, "what came after this position, and does
//! it reach that far back". The rings of the hub are the history of a server that is alone (`impl History for Hub`);
//! their positions are those that publications are stamped with. A history that several instances share answers the
//! same question from elsewhere, and may take its time.

use std::{fmt::Debug, sync::Arc};

use futures_util::future::BoxFuture;
use serde::Serialize;
use serde_json::value::RawValue;
use wse_client_core::{delivery::Position, error::Code, time::Moment, wire::Priority};

use crate::hub::Publication;

/// Most publications of one page.
pub const MAX_HISTORY_PAGE: usize = 1000;

/// Keeps publications by topic and position.
pub(crate) trait History: Debug + Send + Sync + 'static {
    /// Reads at most `limit` publications after a position, oldest first. Without a position, the newest ones. `None`:
    /// nothing is known of the topic, or it has no history.
    ///
    /// # Errors
    /// A code when the history cannot be asked for the moment; trying again later makes sense then.
    fn read<'a>(
        &'a self,
        topic: &'a str,
        after: Option<&'a Position>,
        limit: usize,
        now: Moment,
    ) -> BoxFuture<'a, Result<Option<Stretch>, Code>>;
}

/// A stretch of one topic's history.
#[derive(Debug, Clone)]
pub(crate) struct Stretch {
    /// The life of the topic that the offsets count in.
    pub(crate) epoch: Arc<str>,
    /// Offset of the oldest publication that is kept; `head` when none is.
    pub(crate) base: u64,
    /// The offset that the next publication will have.
    pub(crate) head: u64,
    /// Whether nothing is missing between the position asked for and the first one here.
    pub(crate) recovered: bool,
    /// Offset of the first one here.
    pub(crate) from: u64,
    /// Publications without a gap.
    pub(crate) publications: Vec<Arc<Publication>>,
}

/// Which part of a history is wanted.
///
/// ```
/// use wse_server::HistoryQuery;
///
/// let newest = HistoryQuery { limit: 20, ..HistoryQuery::default() };
/// assert!(newest.after.is_none());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryQuery {
    /// The last publication that is known already; what is wanted came after it. Default none: the newest ones.
    pub after: Option<Position>,
    /// Most messages. Default 100; more than [`MAX_HISTORY_PAGE`] are never given.
    pub limit: usize,
}

impl Default for HistoryQuery {
    fn default() -> Self {
        Self { after: None, limit: 100 }
    }
}

/// A page of a topic's history, oldest message first. Serialized it is the body of `GET /wse/history`.
#[derive(Debug, Clone, Serialize)]
pub struct HistoryPage {
    /// The topic.
    pub topic: String,
    /// The life of the topic that the offsets count in.
    pub epoch: String,
    /// Offset of the oldest message that is kept; `None`: none is.
    pub first: Option<u64>,
    /// Offset of the newest message that was published; `None`: none was.
    pub last: Option<u64>,
    /// Whether nothing is missing between the position asked for and the first message here.
    pub recovered: bool,
    /// Whether there are newer messages than those here.
    pub more: bool,
    /// The messages.
    pub messages: Vec<HistoryMessage>,
}

/// A message that was published, with the names of the envelope (PROTOCOL.md §2.1).
#[derive(Debug, Clone, Serialize)]
pub struct HistoryMessage {
    /// Its offset.
    pub o: u64,
    /// Its type.
    pub t: String,
    /// Its id.
    pub id: String,
    /// When it was published.
    pub ts: String,
    /// The id of the message that it answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cid: Option<String>,
    /// Its priority; not there for the usual one, 5.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pri: Option<u8>,
    /// The trace that it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    /// Its payload.
    pub p: Box<RawValue>,
}

impl HistoryPage {
    pub(crate) fn new(topic: &str, stretch: &Stretch) -> Self {
        let messages: Vec<_> = (stretch.from..)
            .zip(&stretch.publications)
            .filter_map(|(offset, publication)| HistoryMessage::new(offset, publication))
            .collect();
        Self {
            topic: topic.to_owned(),
            epoch: stretch.epoch.to_string(),
            first: (stretch.base < stretch.head).then_some(stretch.base),
            last: stretch.head.checked_sub(1),
            recovered: stretch.recovered,
            more: stretch.from + (stretch.publications.len() as u64) < stretch.head,
            messages,
        }
    }
}

impl HistoryMessage {
    /// `None` only for a payload that is no JSON, which no publication has.
    fn new(offset: u64, publication: &Publication) -> Option<Self> {
        Some(Self {
            o: offset,
            t: publication.kind().to_owned(),
            id: publication.id().to_owned(),
            ts: publication.timestamp().to_owned(),
            cid: publication.correlation_id().map(str::to_owned),
            pri: Some(publication.priority()).filter(|pri| *pri != Priority::Normal).map(Priority::as_number),
            traceparent: publication.traceparent().map(str::to_owned),
            p: RawValue::from_string(publication.payload().to_json().into_owned()).ok()?,
        })
    }
}
