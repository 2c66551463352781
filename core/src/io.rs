//! What crosses the border between the engine and its driver on both ends.

use bytes::Bytes;

use crate::error::close;

/// Names one connection attempt. It grows by one per attempt, so a late callback of an old socket
/// is recognised and dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SocketId(pub u64);

/// One whole WebSocket message, fragments already joined.
///
/// The bytes are shared: a clone copies nothing, and a decoded message keeps slices of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// A text message. The driver hands over what came; the engine checks that it is UTF-8.
    Text(Bytes),
    /// A binary message.
    Binary(Bytes),
}

impl Frame {
    /// The bytes of either kind.
    pub const fn bytes(&self) -> &Bytes {
        match self {
            Self::Text(bytes) | Self::Binary(bytes) => bytes,
        }
    }

    /// Number of payload bytes.
    pub fn len(&self) -> usize {
        self.bytes().len()
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.bytes().is_empty()
    }
}

/// Why a WebSocket was closed, or is to be closed. Source: RFC 6455 §7.4, PROTOCOL.md §9.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Close {
    /// Close code; [`close::NO_STATUS`] (1005) when the frame carried none, [`close::ABNORMAL`] (1006) when
    /// the connection ended without a close frame.
    pub code: u16,
    /// Reason given by the side that closed; may be empty. At most 123 bytes go on the wire.
    pub reason: String,
}

impl Close {
    /// A close with a code and a reason.
    pub fn new(code: u16, reason: impl Into<String>) -> Self {
        Self { code, reason: reason.into() }
    }

    /// A normal end, code 1000.
    pub fn normal() -> Self {
        Self::new(close::NORMAL, "")
    }

    /// The connection ended without a close frame, code 1006.
    pub fn abnormal() -> Self {
        Self::new(close::ABNORMAL, "")
    }
}
