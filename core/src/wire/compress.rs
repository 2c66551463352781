//! `C:` frames: zlib around the text. Source: RFC 1950, PROTOCOL.md §3.2.

use super::DecodeError;

/// zlib-compresses `data` at `level` 1–9.
pub fn compress(_data: &[u8], _level: u32) -> Vec<u8> {
    todo!()
}

/// Inflates zlib (or raw deflate) `data`, and stops as soon as the result passes `max` bytes.
///
/// # Errors
/// [`crate::error::Code::BadCompression`], [`crate::error::Code::InflatedTooLarge`].
pub fn inflate(_data: &[u8], _max: usize) -> Result<Vec<u8>, DecodeError> {
    todo!()
}
