//! From which pages browsers may connect. Source: RFC 6454 §7, RFC 6455 §10.2.

use super::Hosts;

/// Allowed origins. The opaque origin `null` is none of them, except where all are.
#[derive(Debug)]
pub(super) enum Origins {
    /// Every page.
    Any,
    /// These, lower case.
    Listed(Vec<String>),
    /// Pages of this machine, and of names by which the server is called. Any other page that somebody visits here would reach a
    /// server that trusts everybody: WebSockets are open to all origins unless the server refuses them.
    Local(Hosts),
}

impl Origins {
    pub(super) fn new(allowed: &[String]) -> Self {
        match allowed {
            [] => Self::Any,
            allowed => Self::Listed(allowed.iter().map(|origin| origin.to_ascii_lowercase()).collect()),
        }
    }

    /// The same for a server that trusts everybody who reaches it, because only this machine does.
    pub(super) fn of_this_machine(self, hosts: Hosts) -> Self {
        match self {
            Self::Any => Self::Local(hosts),
            listed => listed,
        }
    }

    /// Whether a page of this origin may connect.
    pub(super) fn allows(&self, origin: &[u8]) -> bool {
        match self {
            Self::Any => true,
            Self::Listed(allowed) => allowed.iter().any(|allowed| origin.eq_ignore_ascii_case(allowed.as_bytes())),
            Self::Local(hosts) => {
                let authority = std::str::from_utf8(origin).ok().and_then(|origin| origin.split_once("://"));
                authority.is_some_and(|(_, authority)| hosts.allows(authority) || Hosts::is_local(authority))
            }
        }
    }

    /// What a refused page is told.
    pub(super) const fn refusal(&self) -> &'static str {
        match self {
            Self::Local(_) => "an open server takes pages of this machine only: list the origin in allowed_origins",
            Self::Any | Self::Listed(_) => "this origin is not allowed",
        }
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
    fn a_server_that_trusts_this_machine_takes_its_pages_alone() {
        let of = |allowed: &[String], hosts: &[String]| {
            Origins::new(allowed).of_this_machine(Hosts::new(hosts, true, "127.0.0.1"))
        };
        let origins = of(&[], &[]);
        for page in ["http://localhost:5173", "http://127.0.0.1:5006", "https://[::1]", "http://app.localhost"] {
            assert!(origins.allows(page.as_bytes()), "{page}");
        }
        for page in
            ["https://evil.example", "http://localhost.evil.example", "http://evil.example:5006", "null", "", "file://"]
        {
            assert!(!origins.allows(page.as_bytes()), "{page}");
        }
        let named = of(&[], &["app.example".into()]);
        assert!(named.allows(b"https://app.example") && named.allows(b"http://localhost:3000"));
        assert!(!named.allows(b"https://evil.example"));
        let listed = of(&["https://a".into()], &[]);
        assert!(listed.allows(b"https://a") && !listed.allows(b"http://localhost"));
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
