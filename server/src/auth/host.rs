//! By which names clients may call the server. A page of any site can have its own name point to this machine (DNS
//! rebinding): its requests then count as same-origin, and only the `Host` header still tells.

use std::net::IpAddr;

use http::{HeaderMap, header};

/// Names that are answered to.
#[derive(Debug, Clone)]
pub(crate) enum Hosts {
    /// Whatever clients write.
    Any,
    /// These, lower case.
    Listed(Vec<String>),
    /// Names of this machine as seen from itself, and the configured one.
    Local(String),
}

impl Hosts {
    /// `local`: the server trusts everybody who reaches it, because only this machine does.
    pub(crate) fn new(allowed: &[String], local: bool, host: &str) -> Self {
        if !allowed.is_empty() {
            Self::Listed(allowed.iter().map(|name| plain(name)).collect())
        } else if local {
            Self::Local(plain(host))
        } else {
            Self::Any
        }
    }

    /// Whether a list can have this entry: a name or an address, as [`Hosts::allow`] compares it.
    pub(crate) fn is_name(text: &str) -> bool {
        let name = plain(text);
        let is_plain = |letter: char| letter.is_ascii_graphic() && !"/:*@?#[]".contains(letter);
        name.parse::<IpAddr>().is_ok() || (!name.is_empty() && name.chars().all(is_plain))
    }

    /// Whether a request with these headers is answered. Every browser names a host; who names none is none.
    pub(crate) fn allow(&self, headers: &HeaderMap) -> bool {
        let mut named = headers.get_all(header::HOST).iter();
        named.all(|value| value.to_str().is_ok_and(|authority| self.allows(authority)))
    }

    pub(super) fn allows(&self, authority: &str) -> bool {
        let name = plain(without_port(authority));
        match self {
            Self::Any => true,
            Self::Listed(allowed) => allowed.contains(&name),
            Self::Local(own) => name == *own || is_of_this_machine(&name),
        }
    }

    /// Whether this is a name of this machine as seen from itself, with or without a port.
    pub(super) fn is_local(authority: &str) -> bool {
        is_of_this_machine(&plain(without_port(authority)))
    }
}

fn is_of_this_machine(name: &str) -> bool {
    let is_loopback = || name.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback());
    name == "localhost" || name.ends_with(".localhost") || is_loopback()
}

/// In the one form in which names are compared: lower case, without the dot of the root or the brackets of an address.
fn plain(name: &str) -> String {
    let bare = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(name);
    bare.trim_end_matches('.').to_ascii_lowercase()
}

fn without_port(authority: &str) -> &str {
    match authority.rfind(':') {
        // The colons of an IPv6 address are within its brackets.
        Some(colon) if !authority[colon..].contains(']') => &authority[..colon],
        _ => authority,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_open_server_on_loopback_answers_to_local_names_only() {
        let hosts = Hosts::new(&[], true, "my-laptop");
        for name in [
            "localhost",
            "LOCALHOST:5006",
            "127.0.0.1:80",
            "127.1.2.3",
            "[::1]:5006",
            "[::1]",
            "app.localhost",
            "my-laptop:1",
            "localhost.",
        ] {
            assert!(hosts.allows(name), "{name}");
        }
        for name in [
            "",
            "evil.example",
            "evil.example:5006",
            "localhost.evil.example",
            "10.0.0.1",
            "[2001:db8::1]",
            "127.0.0.1.evil.example",
        ] {
            assert!(!hosts.allows(name), "{name}");
        }
    }

    #[test]
    fn a_list_is_all_there_is() {
        let hosts = Hosts::new(&["API.example.com".into()], true, "127.0.0.1");
        assert!(hosts.allows("api.example.com:443"));
        assert!(!hosts.allows("127.0.0.1"));
        for listed in ["::1", "[::1]"] {
            let hosts = Hosts::new(&[listed.into()], true, "127.0.0.1");
            assert!(hosts.allows("[::1]:5006") && hosts.allows("[::1]"), "{listed}");
        }
        assert!(Hosts::new(&["example.com.".into()], false, "").allows("example.com"));
        assert!(Hosts::new(&[], false, "0.0.0.0").allows("anything"));
    }

    #[test]
    fn every_host_header_counts() {
        let hosts = Hosts::new(&[], true, "127.0.0.1");
        let mut headers = HeaderMap::new();
        assert!(hosts.allow(&headers), "no browser");
        headers.append(header::HOST, "localhost".parse().expect("valid"));
        assert!(hosts.allow(&headers));
        headers.append(header::HOST, "evil.example".parse().expect("valid"));
        assert!(!hosts.allow(&headers));
    }
}
