//! Payloads to Python objects and back, without a tree of values in between.

mod figures;
mod keys;
mod read;
mod write;

pub(crate) use figures::from_figures;
pub(crate) use keys::cached_str;
pub(crate) use read::to_python;
pub(crate) use write::to_payload;
