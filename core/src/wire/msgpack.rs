//! msgpack: validation, the envelope's map, and the way to JSON and back. Source: PROTOCOL.md §3.3.

use super::DecodeError;

/// Checks that `bytes` are exactly one msgpack value, nested at most `max_depth`.
pub(super) fn check(_bytes: &[u8], _max_depth: usize) -> Result<(), DecodeError> {
    todo!()
}

/// JSON text of a valid msgpack value.
pub(super) fn to_json(_bytes: &[u8]) -> String {
    todo!()
}

/// msgpack of a valid JSON value.
pub(super) fn from_json(_text: &[u8]) -> Vec<u8> {
    todo!()
}
