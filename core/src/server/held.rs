//! What one connection of a server holds in memory at a moment, each figure with the bound that it keeps.

use super::Peer;

/// Figures for whoever watches memory. None of them can grow past the bound that stands beside it; of
/// messages a peer keeps nothing, of subscriptions the names of those that a token opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Held {
    /// Outputs that the driver has not taken yet; none after [`Peer::poll`] has answered `Wait`.
    pub outputs: usize,
    /// Nonces of sealed frames that are remembered; at most 40,000 each under the present key and the one before, and 1 each of
    /// a client that counts.
    pub sealed_nonces: usize,
    /// Nonces of signatures that are remembered; at most 10,000.
    pub signed_nonces: usize,
}

impl Peer {
    /// What is in memory at the moment.
    pub fn held(&self) -> Held {
        let (sealed_nonces, signed_nonces) = self.channel.held();
        Held { outputs: self.outputs.len(), sealed_nonces, signed_nonces }
    }
}
