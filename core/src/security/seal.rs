//! `E:` frames: AES-256-GCM with a nonce that is never used twice. Source: PROTOCOL.md §5.2, NIST SP 800-38D.

use bytes::Bytes;

use crate::error::Code;

/// Which end of the connection a key half belongs to. Both ends share one key, so the first bit of the
/// nonce tells them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The end that dialled.
    Client,
    /// The end that accepted.
    Server,
}

/// The sending half: seals frames with a random prefix and a counter as nonce.
pub struct Sealer {}

impl Sealer {
    /// Seals one whole frame (text with prefix, `C:` or `M:`) into an `E:` frame.
    ///
    /// # Errors
    /// [`Code::KeyExchangeFailed`] when the counter is used up; the connection must be renewed.
    pub fn seal(&mut self, _plain: &[u8]) -> Result<Bytes, Code> {
        todo!()
    }
}

/// The receiving half.
pub struct Opener {}

impl Opener {
    /// Opens an `E:` frame, marker included.
    ///
    /// # Errors
    /// [`Code::DecryptFailed`] for anything cut, changed or sealed with another key.
    pub fn open(&mut self, _frame: &[u8]) -> Result<Vec<u8>, Code> {
        todo!()
    }
}
