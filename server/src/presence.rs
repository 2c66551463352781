//! Who is in a topic.

use serde::Serialize;
use wse_client_core::client::PresenceChange;

/// Most members of one page. A page of members that tell much of themselves ends earlier, at 256 KiB.
pub const MAX_PRESENCE_PAGE: usize = 1000;

/// Which part of those present is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PresenceQuery {
    /// Users up to this one are known already. Default none: from the first on.
    pub after: Option<String>,
    /// Most members; 0: their number alone. Default 100; more than [`MAX_PRESENCE_PAGE`] are never given.
    pub limit: usize,
}

impl Default for PresenceQuery {
    fn default() -> Self {
        Self { after: None, limit: 100 }
    }
}

/// Who is in a topic, by user id. Serialized it is the body of `GET /wse/presence`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct PresencePage {
    /// The topic.
    pub topic: String,
    /// How many users are present, listed here or not.
    pub total: u64,
    /// Whether there are more users after the last one here.
    pub more: bool,
    /// Users, each once however many connections it has, in the order of their names.
    pub members: Vec<PresenceChange>,
}
