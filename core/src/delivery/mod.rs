//! Getting messages across once, in order, or with a word about what is missing.
//!
//! ```text
//! dedup.rs       ids seen lately
//! sequence.rs    seq of one connection: gaps, repeats, and a bounded window that puts things in order
//! positions.rs   where a client stands in each recoverable topic
//! priority.rs    a bounded queue with five levels and a drop order
//! rate_limit.rs  a token bucket
//! batch.rs       several small messages in one frame
//! offline.rs     messages that wait for a connection
//! ```
//!
//! Each is a small machine of its own that knows nothing of [`crate::client`].

mod batch;
mod dedup;
mod offline;
mod positions;
mod priority;
mod rate_limit;
mod sequence;

pub use dedup::DedupWindow;
pub use positions::{LostRange, Outcome, Overdue, Position, Positions, TopicRecovery, Verdict};
pub use sequence::{ReorderConfig, ReorderWindow, SequenceStats};
