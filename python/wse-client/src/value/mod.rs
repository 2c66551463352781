//! Payloads to Python objects and back, without a tree of values in between.

mod keys;
mod read;
mod write;

pub(crate) use keys::cached_str;
pub(crate) use read::to_python;
pub(crate) use write::to_payload;
