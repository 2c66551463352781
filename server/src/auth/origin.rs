//! From which pages browsers may connect. Source: RFC 6454 §7, RFC 6455 §10.2.

/// Allowed origins, lower case. Empty: all.
#[derive(Debug)]
pub(super) struct Origins(Vec<String>);

impl Origins {
    pub(super) fn new(allowed: &[String]) -> Self {
        Self(allowed.iter().map(|origin| origin.to_ascii_lowercase()).collect())
    }

    /// Whether a page of this origin may connect. The opaque origin `null` never matches a list.
    pub(super) fn allows(&self, origin: &[u8]) -> bool {
        self.0.is_empty() || self.0.iter().any(|allowed| origin.eq_ignore_ascii_case(allowed.as_bytes()))
    }
}

/// Longest origin that is shown: the longest name of a host, a scheme and a port.
const MAX_SHOWN: usize = 280;

/// An origin as a log can hold it: what a browser could have sent, whole. Anything else may hide a secret, or be meant for who reads
/// the log.
pub(super) fn shown(origin: &[u8]) -> &str {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b".-_:/[]".contains(byte);
    match std::str::from_utf8(origin) {
        Ok("null") => "null",
        Ok(text) if text.len() <= MAX_SHOWN && origin.iter().all(is_plain) => {
            let host = text.split_once("://").map_or("", |(_, host)| host);
            if host.is_empty() || host.contains('/') { NO_ORIGIN } else { text }
        }
        _ => NO_ORIGIN,
    }
}

/// What is shown of a header that no browser sends.
const NO_ORIGIN: &str = "(not an origin)";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_shows_what_a_browser_could_have_sent() {
        for origin in
            ["https://app.example.com", "http://localhost:5173", "http://[::1]:80", "null", "tauri://localhost"]
        {
            assert_eq!(shown(origin.as_bytes()), origin);
        }
        let long = format!("https://{}", "a".repeat(300));
        for other in ["", "x", "https://", "https://u:secret@a", "https://a/secret", "https://a\nb", "https://ä", &long]
        {
            assert_eq!(shown(other.as_bytes()), NO_ORIGIN, "{other:?}");
        }
        assert_eq!(shown(b"https://\xFF"), NO_ORIGIN);
    }

    #[test]
    fn only_listed_origins_pass_once_there_is_a_list() {
        assert!(Origins::new(&[]).allows(b"https://anything"));
        let origins = Origins::new(&["https://App.example.com".into(), "http://localhost:5173".into()]);
        assert!(origins.allows(b"https://app.example.com"));
        assert!(origins.allows(b"http://localhost:5173"));
        for foreign in [&b"https://app.example.com.evil.org"[..], b"http://app.example.com", b"null", b""] {
            assert!(!origins.allows(foreign));
        }
    }
}
