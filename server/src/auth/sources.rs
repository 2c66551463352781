//! Where a token may be: cookie, `Authorization`, query, in this order. Source: PROTOCOL.md §4.2.

use http::{HeaderMap, header};
use wse_client_core::security::Secret;

/// A token that a client sent.
pub(super) struct Token {
    pub(super) text: Secret,
    pub(super) from_query: bool,
    from_cookie: bool,
}

impl Token {
    /// For the log.
    pub(super) const fn source(&self) -> &'static str {
        match (self.from_query, self.from_cookie) {
            (true, _) => "query",
            (_, true) => "cookie",
            _ => "authorization",
        }
    }
}

/// All tokens of a request, in the order in which they are tried.
pub(super) fn tokens(headers: &HeaderMap, query: Option<&Secret>) -> Vec<Token> {
    let token = |text: &str, from_cookie| Token { text: text.into(), from_query: false, from_cookie };
    let mut found = Vec::new();
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    found.extend(cookies.filter_map(access_token).map(|text| token(text, true)));
    let authorization = headers.get_all(header::AUTHORIZATION).iter().filter_map(|value| value.to_str().ok());
    found.extend(authorization.filter_map(bearer).map(|text| token(text, false)));
    if let Some(text) = query {
        found.push(Token { text: text.clone(), from_query: true, from_cookie: false });
    }
    found
}

/// The cookie `access_token`. What scripts write when they have none counts as absent.
fn access_token(cookies: &str) -> Option<&str> {
    let pairs = cookies.split(';').filter_map(|pair| pair.trim().split_once('='));
    pairs
        .filter(|(name, _)| *name == "access_token")
        .map(|(_, value)| value.trim_matches('"'))
        .find(|value| !matches!(*value, "" | "undefined" | "null"))
}

/// The credentials of `Bearer`, whose name may be written in any case. Source: RFC 6750 §2.1, RFC 9110 §11.1.
pub(super) fn bearer(authorization: &str) -> Option<&str> {
    let (scheme, token) = authorization.trim().split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(headers: &[(&'static str, &str)], query: Option<&str>) -> Vec<(String, &'static str)> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().expect("a header value"));
        }
        let query = query.map(Secret::from);
        tokens(&map, query.as_ref()).iter().map(|token| (token.text.expose().to_owned(), token.source())).collect()
    }

    #[test]
    fn all_sources_are_found_in_order() {
        let headers = [("authorization", "bEaReR b"), ("cookie", "x=1; access_token=a; y=2")];
        let expected = [("a", "cookie"), ("b", "authorization"), ("c", "query")];
        let expected: Vec<_> = expected.map(|(text, source)| (text.to_owned(), source)).into();
        assert_eq!(found(&headers, Some("c")), expected);
    }

    #[test]
    fn what_stands_for_nothing_is_nothing() {
        for cookie in
            ["access_token=", "access_token=undefined", "access_token=null", "xaccess_token=a", "access_token"]
        {
            assert!(found(&[("cookie", cookie)], None).is_empty(), "{cookie}");
        }
        for authorization in ["Bearer", "Bearer ", "Basic a", "Bearera"] {
            assert!(found(&[("authorization", authorization)], None).is_empty(), "{authorization}");
        }
    }
}
