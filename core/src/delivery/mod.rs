//! Getting messages across once, in order, or with a word about what is missing.
//!
//! ```text
//! dedup.rs       ids seen lately
//! sequence.rs    seq of one connection: gaps, repeats, and a bounded window that puts things in order
//! positions.rs   where a client stands in each recoverable topic
//! priority.rs    a bounded queue with five levels and a drop order
//! rate_limit.rs  a token bucket
//! batch.rs       when small messages share a frame
//! offline.rs     messages that wait until they can be sent
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

pub use batch::{BatchConfig, Batcher};
pub use dedup::DedupWindow;
pub use offline::{MemoryStore, NotQueued, OfflineQueue, OfflineStore, Waiting};
pub use positions::{LostRange, Outcome, Overdue, Position, Positions, TopicRecovery, Verdict};
pub use priority::{LevelCounters, PriorityQueue, QueueLimits, Refused};
pub use rate_limit::{RateLimit, TokenBucket};
pub use sequence::{ReorderConfig, ReorderWindow, SequenceStats};
