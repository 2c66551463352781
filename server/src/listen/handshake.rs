//! The opening handshake. Source: RFC 6455 §4.2.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use http::{HeaderMap, Method, Version, header};
use sha1::{Digest as _, Sha1};

/// Source: RFC 6455 §1.3.
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Why a request cannot become a WebSocket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It does not ask for one.
    NotAnUpgrade,
    /// It asks for another version of the protocol than 13.
    Version,
    /// It breaks the handshake.
    Malformed(&'static str),
}

/// Checks the request and answers the value of `Sec-WebSocket-Accept`.
pub(super) fn check(method: &Method, version: Version, headers: &HeaderMap) -> Result<String, Refusal> {
    if !has_token(headers, header::CONNECTION, "upgrade") || !has_token(headers, header::UPGRADE, "websocket") {
        return Err(Refusal::NotAnUpgrade);
    }
    if method != Method::GET {
        return Err(Refusal::Malformed("a WebSocket handshake is a GET request"));
    }
    if version < Version::HTTP_11 {
        return Err(Refusal::Malformed("a WebSocket handshake needs HTTP/1.1"));
    }
    if headers.get(header::SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
        return Err(Refusal::Version);
    }
    let mut keys = headers.get_all(header::SEC_WEBSOCKET_KEY).iter();
    let (Some(key), None) = (keys.next(), keys.next()) else {
        return Err(Refusal::Malformed("exactly one Sec-WebSocket-Key is needed"));
    };
    let is_nonce = BASE64_STANDARD.decode(key.as_bytes()).is_ok_and(|nonce| nonce.len() == 16);
    if !is_nonce {
        return Err(Refusal::Malformed("Sec-WebSocket-Key must be the base64 form of 16 bytes"));
    }
    Ok(accept_key(key.as_bytes()))
}

fn accept_key(key: &[u8]) -> String {
    BASE64_STANDARD.encode(Sha1::new().chain_update(key).chain_update(GUID).finalize())
}

/// Whether a header that is a list of tokens has this one, in any case.
fn has_token(headers: &HeaderMap, name: header::HeaderName, token: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|item| item.trim().eq_ignore_ascii_case(token))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(changes: &[(&'static str, Option<&'static str>)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert("connection", "keep-alive, Upgrade".parse().expect("valid"));
        headers.insert("upgrade", "WebSocket".parse().expect("valid"));
        headers.insert("sec-websocket-version", "13".parse().expect("valid"));
        headers.insert("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==".parse().expect("valid"));
        for (name, value) in changes {
            match value {
                Some(value) => drop(headers.insert(*name, value.parse().expect("valid"))),
                None => drop(headers.remove(*name)),
            }
        }
        headers
    }

    fn checked(changes: &[(&'static str, Option<&'static str>)]) -> Result<String, Refusal> {
        check(&Method::GET, Version::HTTP_11, &headers(changes))
    }

    #[test]
    fn the_sample_of_the_rfc_is_accepted() {
        assert_eq!(checked(&[]).as_deref(), Ok("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    }

    #[test]
    fn every_requirement_is_checked() {
        assert_eq!(checked(&[("upgrade", None)]), Err(Refusal::NotAnUpgrade));
        assert_eq!(checked(&[("connection", Some("close"))]), Err(Refusal::NotAnUpgrade));
        assert_eq!(checked(&[("sec-websocket-version", Some("8"))]), Err(Refusal::Version));
        assert_eq!(checked(&[("sec-websocket-version", None)]), Err(Refusal::Version));
        for key in [None, Some("short"), Some("dGhlIHNhbXBsZSBub25jZQ"), Some("AAAA")] {
            assert!(matches!(checked(&[("sec-websocket-key", key)]), Err(Refusal::Malformed(_))), "{key:?}");
        }
        let post = check(&Method::POST, Version::HTTP_11, &headers(&[]));
        assert!(matches!(post, Err(Refusal::Malformed(_))));
        let old = check(&Method::GET, Version::HTTP_10, &headers(&[]));
        assert!(matches!(old, Err(Refusal::Malformed(_))));
    }
}
