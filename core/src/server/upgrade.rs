//! The query of the upgrade request. Source: PROTOCOL.md §4.1.

use crate::wire::Encoding;

/// What a client asked for in the URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpgradeParams {
    /// `client_version`; default `unknown`.
    pub client_version: String,
    /// `protocol_version`; default 1.
    pub protocol_version: u64,
    /// `topics`, separated by commas; default none.
    pub topics: Vec<String>,
    /// `compression`; default true.
    pub compression: bool,
    /// `encryption`; default false. Only announces the wish, the key comes with `client_hello`.
    pub encryption: bool,
    /// `message_signing`; default false.
    pub message_signing: bool,
    /// `format`: `json` (default), `binary`, `text` or `msgpack`.
    pub encoding: Encoding,
    /// `token`, which should rather travel in a header. Hidden in `Debug`.
    pub token: Option<crate::security::Secret>,
}

/// A query parameter with a value that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("query parameter {name}: expected {expected}")]
pub struct ParamError {
    /// The parameter.
    pub name: &'static str,
    /// What is allowed.
    pub expected: &'static str,
}

impl UpgradeParams {
    /// Parses a raw query string (without `?`), percent-decoding each value. Unknown parameters are ignored.
    ///
    /// # Errors
    /// The first parameter with a wrong value.
    pub fn parse(_query: &str) -> Result<Self, ParamError> {
        todo!()
    }
}
