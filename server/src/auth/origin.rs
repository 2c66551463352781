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

#[cfg(test)]
mod tests {
    use super::*;

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
