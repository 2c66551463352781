//! One connection, from its first frame to its last.
//!
//! ```text
//! engine.rs    between Peer, topics and application; knows no socket
//! requests.rs  what the client asks of the topics
//! deliver.rs   what application and topics have for the client
//! session.rs   what must be undone when a connection ends
//!
//! socket.rs    driver: a socket
//! stream.rs    its bytes, with or without TLS
//! frames.rs    WebSocket frames, parsed in place
//! writer.rs    the queue of one socket
//! attached.rs  driver: whatever carries whole messages
//! ```
//!
//! What drives an engine owns it; others reach it through its [`Link`](crate::hub::Link) only.

mod attached;
mod deliver;
mod engine;
pub(crate) mod frames;
mod requests;
mod session;
mod socket;
mod stream;
mod writer;

pub use attached::{Attached, Carried};
pub(crate) use engine::Applicant;
pub(crate) use socket::run;
pub(crate) use stream::Stream;
