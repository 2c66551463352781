//! The key of the HTTP API.

use http::{HeaderMap, header};
use subtle::ConstantTimeEq;
use wse_client_core::security::Secret;

use super::sources::bearer;

/// What became of the key of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ApiKeyCheck {
    /// It is the right one.
    Right,
    /// There is none.
    Missing,
    /// It is another one.
    Wrong,
    /// The server has no key.
    NotConfigured,
}

/// The configured key.
pub(super) struct ApiKey(Secret);

impl ApiKey {
    pub(super) fn new(key: &Secret) -> Self {
        Self(key.clone())
    }

    /// Looks at `Authorization: Bearer` and `X-API-Key`; either is enough. The time taken tells nothing but the
    /// length of the key.
    pub(super) fn check(&self, headers: &HeaderMap) -> ApiKeyCheck {
        let from_bearer = headers.get(header::AUTHORIZATION).and_then(|value| bearer(value.to_str().ok()?));
        let from_header = headers.get("x-api-key").and_then(|value| value.to_str().ok()).map(str::trim);
        let mut result = ApiKeyCheck::Missing;
        for key in [from_bearer, from_header].into_iter().flatten() {
            if key.as_bytes().ct_eq(self.0.expose().as_bytes()).into() {
                return ApiKeyCheck::Right;
            }
            result = ApiKeyCheck::Wrong;
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &'static str, value: &str) -> ApiKeyCheck {
        let mut headers = HeaderMap::new();
        headers.insert(name, value.parse().expect("a header value"));
        ApiKey::new(&"the-right-api-key".into()).check(&headers)
    }

    #[test]
    fn either_header_carries_the_key() {
        assert_eq!(check("authorization", "bearer the-right-api-key"), ApiKeyCheck::Right);
        assert_eq!(check("x-api-key", "the-right-api-key"), ApiKeyCheck::Right);
        assert_eq!(check("x-api-key", "the-right-api-kez"), ApiKeyCheck::Wrong);
        assert_eq!(check("x-api-key", "the-right-api-key-"), ApiKeyCheck::Wrong);
        assert_eq!(check("authorization", "Basic the-right-api-key"), ApiKeyCheck::Missing);
        assert_eq!(ApiKey::new(&"k".into()).check(&HeaderMap::new()), ApiKeyCheck::Missing);
    }
}
