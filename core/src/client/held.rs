//! What a client holds in memory at a moment, each figure with the bound that it keeps.

use crate::security::Signing;

use super::Client;

/// Figures for whoever watches memory. None of them can grow past the bound that stands beside it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Held {
    /// Messages that wait to be sent; at most `offline.max_size`.
    pub waiting: usize,
    /// Bytes that they count for; at most `offline.max_bytes`.
    pub waiting_bytes: usize,
    /// Outputs that the driver has not taken yet; none after [`Client::poll`] has answered `Wait`.
    pub outputs: usize,
    /// Wanted topics and patterns; at most `limits.max_topics`.
    pub topics: usize,
    /// Bytes of what the user tells about itself in topics; at most 4096 for each topic.
    pub presence_bytes: usize,
    /// Tokens for single topics; at most `limits.max_topics`.
    pub topic_tokens: usize,
    /// Subscription requests under way; at most `limits.max_topics`, and one for all topics after a connect.
    pub subscriptions: usize,
    /// Typed requests under way; at most 64.
    pub requests: usize,
    /// Topics whose position is known; at most `limits.max_topics`, or 2000 if that is more.
    pub positions: usize,
    /// Of these, topics with a gap that is asked about.
    pub gaps: usize,
    /// Message ids remembered; at most `delivery.dedup_window`.
    pub ids: usize,
    /// Messages held for a gap in `seq`; at most `delivery.reorder.max_held`.
    pub reordering: usize,
    /// Nonces of sealed frames that are remembered on this connection; at most 40,000 under the present key and the one
    /// before, and 1 each of a server that counts.
    pub sealed_nonces: usize,
    /// Nonces of signatures that are remembered; at most 10,000.
    pub signed_nonces: usize,
}

impl Client {
    /// What is in memory at the moment.
    pub fn held(&self) -> Held {
        let (waiting, waiting_bytes) = self.outbox.held();
        let (presence_bytes, topic_tokens, subscriptions) = self.subscriptions.held();
        let (positions, gaps) = self.positions.held();
        let (sealed_nonces, signed_nonces) = match (&self.link, &self.signing) {
            (Some(link), _) => link.channel.held(),
            (None, signing) => (0, signing.as_ref().map_or(0, Signing::held)),
        };
        Held {
            waiting,
            waiting_bytes,
            outputs: self.outputs.len(),
            topics: self.subscriptions.wanted().len(),
            presence_bytes,
            topic_tokens,
            subscriptions,
            requests: self.requests.held(),
            positions,
            gaps,
            ids: self.seen.len(),
            reordering: self.reorder.held(),
            sealed_nonces,
            signed_nonces,
        }
    }
}
