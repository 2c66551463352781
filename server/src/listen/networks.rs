//! Whose word about a client's address counts.

use std::net::IpAddr;

use http::HeaderMap;

/// Addresses and networks of trusted proxies.
#[derive(Debug, Clone, Default)]
pub(crate) struct Networks(Vec<(IpAddr, u32)>);

impl Networks {
    /// Reads addresses (`10.1.2.3`, `::1`) and networks (`10.0.0.0/8`).
    pub(crate) fn parse(texts: &[String]) -> Result<Self, String> {
        texts
            .iter()
            .map(|text| parse(text).ok_or_else(|| format!("{text:?} is no address or network")))
            .collect::<Result<_, _>>()
            .map(Self)
    }

    fn contain(&self, address: IpAddr) -> bool {
        self.0.iter().any(|(network, len)| match (network, address) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                (network.to_bits() ^ address.to_bits()).leading_zeros() >= *len
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                (network.to_bits() ^ address.to_bits()).leading_zeros() >= *len
            }
            _ => false,
        })
    }

    /// Whether the other end of a socket is a proxy that speaks for others.
    pub(crate) fn trust(&self, address: IpAddr) -> bool {
        self.contain(address.to_canonical())
    }

    /// The client's address: that of the socket, or, behind trusted proxies, the last one in `X-Forwarded-For` that is none
    /// of theirs. What stands further left was written by the client itself.
    pub(crate) fn client(&self, socket: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut client = socket.to_canonical();
        let values: Vec<_> =
            headers.get_all("x-forwarded-for").iter().filter_map(|value| value.to_str().ok()).collect();
        let mut named = values.iter().rev().flat_map(|value| value.rsplit(','));
        while self.contain(client) {
            match named.next().map(|name| address(name.trim())) {
                Some(Some(address)) => client = address.to_canonical(),
                Some(None) | None => break,
            }
        }
        client
    }
}

fn parse(text: &str) -> Option<(IpAddr, u32)> {
    let (address, len) = text.split_once('/').map_or((text, None), |(address, len)| (address, Some(len)));
    let address: IpAddr = address.trim().parse().ok()?;
    let width = if address.is_ipv4() { 32 } else { 128 };
    let len = len.map_or(Some(width), |len| len.trim().parse().ok())?;
    (len <= width).then_some((address, len))
}

/// An address as proxies write it: bare, in brackets, or with a port.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.split(']').next()).unwrap_or(text);
    bare.parse().ok().or_else(|| text.parse::<std::net::SocketAddr>().ok().map(|address| address.ip()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn networks(texts: &[&str]) -> Networks {
        Networks::parse(&texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>()).expect("networks")
    }

    fn client(trusted: &[&str], socket: &str, forwarded: &[&str]) -> IpAddr {
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append("x-forwarded-for", value.parse().expect("a value"));
        }
        networks(trusted).client(ip(socket), &headers)
    }

    #[test]
    fn only_trusted_proxies_are_believed() {
        assert_eq!(client(&[], "10.0.0.1", &["1.2.3.4"]), ip("10.0.0.1"));
        assert_eq!(client(&["10.0.0.0/8"], "10.0.0.1", &["1.2.3.4"]), ip("1.2.3.4"));
        assert_eq!(client(&["10.0.0.0/8"], "11.0.0.1", &["1.2.3.4"]), ip("11.0.0.1"));
        assert_eq!(client(&["10.0.0.0/8"], "::ffff:10.0.0.1", &["1.2.3.4"]), ip("1.2.3.4"));
    }

    #[test]
    fn what_the_client_wrote_itself_does_not_count() {
        assert_eq!(client(&["10.0.0.1"], "10.0.0.1", &["6.6.6.6, 1.2.3.4"]), ip("1.2.3.4"));
        assert_eq!(client(&["10.0.0.0/8"], "10.0.0.1", &["6.6.6.6", "1.2.3.4, 10.0.0.2"]), ip("1.2.3.4"));
        assert_eq!(client(&["10.0.0.1"], "10.0.0.1", &["1.2.3.4, nonsense"]), ip("10.0.0.1"));
        assert_eq!(client(&["10.0.0.1"], "10.0.0.1", &[]), ip("10.0.0.1"));
        assert_eq!(client(&["::1"], "::1", &["[2001:db8::1]:4711"]), ip("2001:db8::1"));
        assert_eq!(client(&["::1"], "::1", &["1.2.3.4:4711"]), ip("1.2.3.4"));
    }

    #[test]
    fn networks_are_checked() {
        for text in ["", "10.0.0.0/33", "::/129", "10.0.0/8", "host", "10.0.0.0/x"] {
            assert!(Networks::parse(&[text.into()]).is_err(), "{text}");
        }
        assert!(networks(&["0.0.0.0/0"]).trust(ip("9.9.9.9")));
        assert!(!networks(&["10.0.0.0/8"]).trust(ip("11.0.0.0")));
        assert!(networks(&["2001:db8::/32"]).trust(ip("2001:db8:ffff::1")));
        assert!(!networks(&["2001:db8::/32"]).trust(ip("2001:db9::1")));
    }
}
