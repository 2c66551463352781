//! What became of each message: the books that the sums are checked against.

use std::collections::BTreeMap;

use wse_client_core::{
    client::{DropReason, SendError},
    time::Moment,
    wire::Priority,
};

/// One message that an application handed in and the client accepted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Accepted {
    /// On the client's own clock.
    pub(crate) at: Moment,
    pub(crate) priority: Priority,
    pub(crate) fate: Fate,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It waits, is on its way, or went down with a connection.
    Open,
    /// A server heard it.
    Heard,
    /// The client dropped it by a rule, and said so.
    Dropped,
}

/// The messages of one client, in both directions.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) messages: BTreeMap<u64, Accepted>,
    /// The numbers of accepted messages by their ids, for as long as they may be dropped.
    pub(crate) ids: BTreeMap<String, u64>,
    pub(crate) accepted: u64,
    pub(crate) heard: u64,
    pub(crate) dropped: u64,
    /// Not accepted, for whatever reason.
    pub(crate) refused: u64,
    /// By level: told to be dropped, and refused because the queue was full.
    pub(crate) dropped_of: [u64; 5],
    pub(crate) refused_of: [u64; 5],
    /// Written to connections, as the client counts.
    pub(crate) sent: u64,
    /// Handed to the application.
    pub(crate) received: u64,
    /// Told to be lost, as far as it was counted.
    pub(crate) lost: u64,
}

impl Ledger {
    pub(crate) fn accept(&mut self, number: u64, id: String, priority: Priority, at: Moment) {
        self.accepted += 1;
        self.ids.insert(id, number);
        self.messages.insert(number, Accepted { at, priority, fate: Fate::Open });
    }
}

/// What one connection carried, by direction: messages in, messages out.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Carried {
    /// Set out.
    pub(crate) sent: u64,
    /// Came out at the other end.
    pub(crate) heard: u64,
    /// The number (`seq`) that is due next.
    pub(crate) due: u64,
    /// Frames that were refused at the other end, and told: each may have held messages.
    pub(crate) refused: u64,
}

/// Whether a rule of the queue allows it to drop a message of this priority for this reason.
pub(crate) const fn may_drop(reason: DropReason, priority: Priority) -> bool {
    match reason {
        DropReason::QueueFull => !matches!(priority, Priority::High | Priority::Critical),
        DropReason::Expired | DropReason::Disconnected | DropReason::Closed => true,
        // No payload of this world is.
        _ => false,
    }
}

/// Whether the refusal is by the queue, which counts it.
pub(crate) const fn is_by_queue(error: &SendError) -> bool {
    matches!(error, SendError::QueueFull { .. })
}
