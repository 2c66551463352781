//! Where a token may be: cookie, `Authorization`, query, in this order. Source: PROTOCOL.md §4.2.

use http::{HeaderMap, HeaderValue, header};
use wse_client_core::security::Secret;

/// Most tokens that are tried of one place.
const MAX_PER_PLACE: usize = 2;

/// Where a token was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    Cookie,
    Authorization,
    Query,
}

/// Knows the places that are looked at.
#[derive(Debug)]
pub(super) struct TokenPlaces {
    /// Name of the cookie.
    cookie: String,
}

impl TokenPlaces {
    pub(super) fn new(cookie: &str) -> Self {
        Self { cookie: cookie.to_owned() }
    }

    /// The tokens of a request, in the order in which they are tried. A browser may send a cookie twice, of two paths; more than
    /// [`MAX_PER_PLACE`] would only make us work.
    pub(super) fn tokens<'a>(
        &'a self,
        headers: &'a HeaderMap,
        query: Option<&'a Secret>,
    ) -> impl Iterator<Item = (Source, &'a str)> {
        let text = |value: &'a HeaderValue| value.to_str().ok();
        let cookies = headers
            .get_all(header::COOKIE)
            .iter()
            .filter_map(text)
            .flat_map(|cookies| self.in_cookie(cookies))
            .take(MAX_PER_PLACE);
        let authorization =
            headers.get_all(header::AUTHORIZATION).iter().filter_map(text).filter_map(bearer).take(MAX_PER_PLACE);
        let cookies = cookies.map(|token| (Source::Cookie, token));
        let authorization = authorization.map(|token| (Source::Authorization, token));
        cookies.chain(authorization).chain(query.map(|token| (Source::Query, token.expose())))
    }

    /// What scripts write into a cookie when they have no token counts as absent.
    fn in_cookie<'a>(&'a self, cookies: &'a str) -> impl Iterator<Item = &'a str> {
        let pairs = cookies.split(';').filter_map(|pair| pair.trim().split_once('='));
        pairs
            .filter(|(name, _)| *name == self.cookie)
            .map(|(_, value)| value.trim_matches('"'))
            .filter(|value| !matches!(*value, "" | "undefined" | "null"))
    }
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

    fn found(headers: &[(&'static str, &str)], query: Option<&str>) -> Vec<(Source, String)> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().expect("a header value"));
        }
        let query = query.map(Secret::from);
        let places = TokenPlaces::new("access_token");
        places.tokens(&map, query.as_ref()).map(|(source, token)| (source, token.to_owned())).collect()
    }

    #[test]
    fn all_sources_are_found_in_order() {
        let headers = [("authorization", "bEaReR b"), ("cookie", "x=1; access_token=a; y=2")];
        let expected = [(Source::Cookie, "a"), (Source::Authorization, "b"), (Source::Query, "c")];
        assert_eq!(found(&headers, Some("c")), expected.map(|(source, text)| (source, text.to_owned())));
    }

    #[test]
    fn a_place_has_two_tokens_at_most() {
        let many = "access_token=a; access_token=; access_token=b; access_token=c";
        let headers =
            [("cookie", many), ("cookie", many), ("authorization", "Bearer d"), ("authorization", "Bearer e")];
        let headers = [&headers[..], &[("authorization", "Bearer f")]].concat();
        let texts: Vec<String> = found(&headers, None).into_iter().map(|(_, text)| text).collect();
        assert_eq!(texts, ["a", "b", "d", "e"]);
    }

    #[test]
    fn the_cookie_may_have_another_name() {
        let mut headers = HeaderMap::new();
        headers.insert("cookie", "access_token=a; session=b".parse().expect("a header value"));
        let places = TokenPlaces::new("session");
        assert_eq!(places.tokens(&headers, None).collect::<Vec<_>>(), [(Source::Cookie, "b")]);
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
