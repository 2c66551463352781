//! From a frame to a message. Every refusal has a code; nothing is allocated before its limit is checked.

use crate::{error::Code, io::Frame, security::Opener};

use super::{Limits, Message};

/// Why a frame was refused. Source: PROTOCOL.md §9.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {detail}")]
pub struct DecodeError {
    /// The stable code.
    pub code: Code,
    /// What was expected or where it broke; never a piece of the payload.
    pub detail: String,
}

/// Decodes one frame.
///
/// `opener` is the receiving half of an agreed key, if there is one. Frames are opened with it; whether
/// plaintext may still be accepted is the caller's decision.
///
/// # Errors
/// [`DecodeError`] with one of the decoding codes of PROTOCOL.md §9.
pub fn decode(_frame: &Frame, _limits: &Limits, _opener: Option<&mut Opener>) -> Result<Message, DecodeError> {
    todo!()
}
