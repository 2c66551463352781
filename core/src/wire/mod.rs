//! The wire format: frames to messages and back. Source: PROTOCOL.md §2–§4.
//!
//! ```text
//! text    [WSE|S|U]{json}            category by prefix, or by the member "c"
//! binary  the same, or  C:<zlib of text>   M:<msgpack map>   E:<iv, ciphertext, tag>
//! ```
//!
//! Both dialects are read always; the prefix form is written.

pub(crate) mod batch;
mod canonical;
mod compress;
pub(crate) mod control;
mod decode;
mod encode;
mod envelope;
mod json;
mod limits;
mod message;
mod msgpack;
mod number;
mod trace;

pub(crate) use canonical::canonical;
pub use compress::{compress, inflate};
pub(crate) use decode::decode_owned;
#[doc(hidden)]
pub use decode::scan;
pub use decode::{DecodeError, decode};
pub use encode::{Compression, Encoding, Head, encode};
pub use limits::Limits;
pub use message::{Category, Message, Payload, PayloadEncoding, PayloadError, Priority};
pub use trace::{is_traceparent, trace_id};
