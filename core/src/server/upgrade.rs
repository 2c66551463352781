//! The query of the upgrade request. Source: PROTOCOL.md §4.1.

use crate::{security::Secret, wire::Encoding};

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
    /// `format`: `json` or `binary` (default: JSON in binary frames), `text` (JSON in text frames) or `msgpack`.
    pub encoding: Encoding,
    /// `token`, which should rather travel in a header. Hidden in `Debug`.
    pub token: Option<Secret>,
}

impl Default for UpgradeParams {
    fn default() -> Self {
        Self {
            client_version: "unknown".into(),
            protocol_version: 1,
            topics: Vec::new(),
            compression: true,
            encryption: false,
            message_signing: false,
            encoding: Encoding::Binary,
            token: None,
        }
    }
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
    /// Parses a raw query string (without `?`), percent-decoding each value. Unknown parameters are ignored;
    /// of a repeated one the last counts.
    ///
    /// # Errors
    /// The first parameter with a wrong value.
    pub fn parse(query: &str) -> Result<Self, ParamError> {
        let mut params = Self::default();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            params.set(name, value)?;
        }
        Ok(params)
    }

    fn set(&mut self, name: &str, raw: &str) -> Result<(), ParamError> {
        match name {
            "client_version" => self.client_version = text("client_version", raw)?,
            "protocol_version" => {
                let refuse = |_| ParamError { name: "protocol_version", expected: "a whole number" };
                self.protocol_version = text("protocol_version", raw)?.parse().map_err(refuse)?;
            }
            "topics" => {
                self.topics = raw
                    .split(',')
                    .map(|topic| text("topics", topic))
                    .filter(|topic| !topic.as_ref().is_ok_and(String::is_empty))
                    .collect::<Result<_, _>>()?;
            }
            "compression" => self.compression = boolean("compression", raw)?,
            "encryption" => self.encryption = boolean("encryption", raw)?,
            "message_signing" => self.message_signing = boolean("message_signing", raw)?,
            "format" => {
                self.encoding = match text("format", raw)?.as_str() {
                    "json" | "binary" => Encoding::Binary,
                    "text" => Encoding::Text,
                    "msgpack" => Encoding::Msgpack,
                    _ => return Err(ParamError { name: "format", expected: "json, binary, text or msgpack" }),
                };
            }
            "token" => self.token = Some(Secret::new(text("token", raw)?)).filter(|token| !token.expose().is_empty()),
            _ => {}
        }
        Ok(())
    }
}

fn boolean(name: &'static str, raw: &str) -> Result<bool, ParamError> {
    match raw.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Ok(true),
        "false" | "0" | "no" | "off" => Ok(false),
        _ => Err(ParamError { name, expected: "true or false" }),
    }
}

/// Percent-decodes a value. `+` stands for itself: topics and tokens may contain it, and no client writes
/// a blank that way. Source: RFC 3986 §2.1.
fn text(name: &'static str, raw: &str) -> Result<String, ParamError> {
    let refuse = || ParamError { name, expected: "UTF-8 text, percent-encoded" };
    let mut out = Vec::with_capacity(raw.len());
    let mut bytes = raw.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let mut digit = || bytes.next().and_then(|byte| char::from(byte).to_digit(16));
            let (Some(high), Some(low)) = (digit(), digit()) else { return Err(refuse()) };
            out.push((high * 16 + low) as u8);
        } else {
            out.push(byte);
        }
    }
    String::from_utf8(out).map_err(|_| refuse())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_published_clients_write_is_read() {
        let params = UpgradeParams::parse(
            "client_version=2.0.7&protocol_version=1&compression=true&encryption=true&topics=a%3Ab,c",
        )
        .expect("valid");
        assert_eq!(params.client_version, "2.0.7");
        assert_eq!(params.topics, ["a:b", "c"]);
        assert!(params.compression && params.encryption);
        assert_eq!(params.encoding, Encoding::Binary);
    }

    #[test]
    fn nothing_means_the_defaults() {
        assert_eq!(UpgradeParams::parse("").expect("valid"), UpgradeParams::default());
        assert_eq!(UpgradeParams::parse("xformat=msgpackish&&a").expect("valid"), UpgradeParams::default());
    }

    #[test]
    fn wrong_values_are_refused_by_name() {
        for (query, name) in [
            ("compression=maybe", "compression"),
            ("protocol_version=x", "protocol_version"),
            ("format=xml", "format"),
            ("topics=%ff", "topics"),
            ("token=%4", "token"),
        ] {
            assert_eq!(UpgradeParams::parse(query).expect_err(query).name, name);
        }
    }

    #[test]
    fn the_token_is_not_printed() {
        let params = UpgradeParams::parse("token=very-secret").expect("valid");
        assert!(!format!("{params:?}").contains("very-secret"));
    }
}
