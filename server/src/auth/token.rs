//! HS256 tokens: made for tests and daily use, verified for every client. Source: RFC 7519, PROTOCOL.md §4.2.

use std::time::Duration;

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, errors::ErrorKind};
use serde::{Deserialize, Serialize};
use wse_client_core::{config::ConfigError, security::Secret, server::Identity, topic::Acl};

use crate::{clock, config::check_secret};

/// Longest token in bytes.
const MAX_TOKEN: usize = 8 * 1024;

/// Longest user id in bytes.
const MAX_SUBJECT: usize = 256;

/// How far clocks may be apart.
const LEEWAY: Duration = Duration::from_secs(30);

/// What the server reads in a token. Other claims are ignored.
#[derive(Deserialize)]
struct Claims {
    sub: String,
    #[serde(default)]
    wse_topics: Option<Acl>,
    #[serde(default)]
    wse_publish: Option<Acl>,
}

/// Verifies tokens with one key.
pub(super) struct Verifier {
    key: DecodingKey,
    validation: Validation,
}

/// Why a token was refused. For the log of the server only; clients are told nothing of it.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error("longer than {MAX_TOKEN} bytes")]
    TooLong,
    #[error("the subject is empty or longer than {MAX_SUBJECT} bytes")]
    Subject,
    #[error("{0:?}")]
    Invalid(ErrorKind),
}

impl Verifier {
    pub(super) fn new(secret: &Secret, issuer: Option<&str>, audience: Option<&str>) -> Self {
        // The algorithm is ours to choose, never the token's.
        let mut validation = Validation::new(Algorithm::HS256);
        validation.leeway = LEEWAY.as_secs();
        validation.validate_nbf = true;
        let mut required = vec!["exp", "sub"];
        if let Some(issuer) = issuer {
            validation.set_issuer(&[issuer]);
            required.push("iss");
        }
        // A claim that is checked must be there: the library checks only what it finds.
        match audience {
            Some(audience) => {
                validation.set_audience(&[audience]);
                required.push("aud");
            }
            None => validation.validate_aud = false,
        }
        validation.set_required_spec_claims(&required);
        Self { key: DecodingKey::from_secret(secret.expose().as_bytes()), validation }
    }

    /// Who the token is about, and what it allows: subscribing to everything unless `wse_topics` says less,
    /// publishing to nothing unless `wse_publish` says more.
    pub(super) fn verify(&self, token: &Secret) -> Result<Identity, Refusal> {
        if token.expose().len() > MAX_TOKEN {
            return Err(Refusal::TooLong);
        }
        let claims = jsonwebtoken::decode::<Claims>(token.expose(), &self.key, &self.validation)
            .map_err(|error| Refusal::Invalid(error.into_kind()))?
            .claims;
        if claims.sub.is_empty() || claims.sub.len() > MAX_SUBJECT || claims.sub.chars().any(char::is_control) {
            return Err(Refusal::Subject);
        }
        Ok(Identity {
            user_id: claims.sub,
            subscribe: claims.wse_topics.unwrap_or_default(),
            publish: claims.wse_publish.unwrap_or_else(Acl::nothing),
        })
    }
}

/// What [`make_token`] writes into a token.
///
/// ```
/// use std::time::Duration;
/// use wse_server::{Acl, TokenClaims, make_token};
///
/// let claims = TokenClaims {
///     topics: Some(Acl { allow: vec!["prices.*".into()], deny: Vec::new() }),
///     ..TokenClaims::new("alice", Duration::from_secs(3600))
/// };
/// let token = make_token(&"a secret of at least thirty-two bytes".into(), &claims)?;
/// assert_eq!(token.split('.').count(), 3);
/// # Ok::<(), wse_server::TokenError>(())
/// ```
#[derive(Debug, Clone)]
pub struct TokenClaims {
    /// `sub`: the user. 1 to 256 bytes.
    pub subject: String,
    /// How long the token is valid from now on, in whole seconds.
    pub ttl: Duration,
    /// `iss`. Default none.
    pub issuer: Option<String>,
    /// `aud`. Default none.
    pub audience: Option<String>,
    /// `wse_topics`: topics the user may subscribe to. Default none: all.
    pub topics: Option<Acl>,
    /// `wse_publish`: topics the user may publish to. Default none: no topic.
    pub publish: Option<Acl>,
}

impl TokenClaims {
    /// Claims for a user, with defaults for the rest.
    pub fn new(subject: impl Into<String>, ttl: Duration) -> Self {
        Self { subject: subject.into(), ttl, issuer: None, audience: None, topics: None, publish: None }
    }
}

#[derive(Serialize)]
struct Written<'a> {
    sub: &'a str,
    iat: u64,
    exp: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    iss: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    aud: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    wse_topics: Option<&'a Acl>,
    #[serde(skip_serializing_if = "Option::is_none")]
    wse_publish: Option<&'a Acl>,
}

/// Why a token could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// The secret is too short.
    #[error("setting {0}")]
    Secret(ConfigError),
    /// The subject is empty or too long.
    #[error("the subject must have 1 to 256 bytes")]
    Subject,
    /// The library refused.
    #[error("cannot sign the token")]
    Sign(#[source] jsonwebtoken::errors::Error),
}

/// Makes an HS256 token that a server with the same secret accepts.
///
/// # Errors
/// [`TokenError`].
pub fn make_token(secret: &Secret, claims: &TokenClaims) -> Result<String, TokenError> {
    check_secret(secret).map_err(TokenError::Secret)?;
    if claims.subject.is_empty() || claims.subject.len() > MAX_SUBJECT {
        return Err(TokenError::Subject);
    }
    let iat = clock::wall().as_unix_ms() / 1000;
    let written = Written {
        sub: &claims.subject,
        iat,
        exp: iat.saturating_add(claims.ttl.as_secs()),
        iss: claims.issuer.as_deref(),
        aud: claims.audience.as_deref(),
        wse_topics: claims.topics.as_ref(),
        wse_publish: claims.publish.as_ref(),
    };
    let key = EncodingKey::from_secret(secret.expose().as_bytes());
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), &written, &key).map_err(TokenError::Sign)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const SECRET: &str = "0123456789abcdef0123456789abcdef";

    fn now() -> u64 {
        clock::wall().as_unix_ms() / 1000
    }

    fn signed(algorithm: Algorithm, claims: &Value) -> Secret {
        let key = EncodingKey::from_secret(SECRET.as_bytes());
        jsonwebtoken::encode(&Header::new(algorithm), claims, &key).expect("signs").into()
    }

    fn verify(claims: &Value) -> Result<Identity, Refusal> {
        Verifier::new(&SECRET.into(), None, None).verify(&signed(Algorithm::HS256, claims))
    }

    #[test]
    fn rights_are_read_and_absent_ones_have_safe_defaults() {
        let identity = verify(&json!({ "sub": "u", "exp": now() + 60 })).expect("valid");
        assert!(identity.subscribe.allows("anything") && !identity.publish.allows("anything"));
        let claims = json!({ "sub": "u", "exp": now() + 60,
            "wse_topics": { "allow": ["a.*"], "deny": ["a.x"] }, "wse_publish": { "allow": ["b"] } });
        let identity = verify(&claims).expect("valid");
        assert!(identity.subscribe.allows("a.b") && !identity.subscribe.allows("a.x"));
        assert!(identity.publish.allows("b") && !identity.publish.allows("a.b"));
    }

    #[test]
    fn expiry_has_thirty_seconds_of_leeway_and_is_required() {
        assert!(verify(&json!({ "sub": "u", "exp": now() - 20 })).is_ok());
        for claims in [
            json!({ "sub": "u", "exp": now() - 40 }),
            json!({ "sub": "u" }),
            json!({ "exp": now() + 60 }),
            json!({ "sub": "", "exp": now() + 60 }),
            json!({ "sub": "u", "exp": now() + 60, "nbf": now() + 60 }),
            json!({ "sub": "u", "exp": now() + 60, "wse_topics": ["a"] }),
            json!({ "sub": "u", "exp": now() + 60, "wse_topics": { "alow": ["a"] } }),
        ] {
            assert!(verify(&claims).is_err(), "{claims}");
        }
    }

    #[test]
    fn configured_issuer_and_audience_must_be_there_and_match() {
        let verifier = Verifier::new(&SECRET.into(), Some("me"), Some("here"));
        let check = |iss: Value, aud: Value| {
            let mut claims = json!({ "sub": "u", "exp": now() + 60 });
            for (name, value) in [("iss", iss), ("aud", aud)] {
                if !value.is_null() {
                    claims[name] = value;
                }
            }
            verifier.verify(&signed(Algorithm::HS256, &claims)).is_ok()
        };
        assert!(check(json!("me"), json!("here")));
        assert!(check(json!("me"), json!(["there", "here"])));
        assert!(!check(json!("you"), json!("here")));
        assert!(!check(json!("me"), json!("there")));
        assert!(!check(json!("me"), json!(["there"])));
        assert!(!check(Value::Null, json!("here")));
        assert!(!check(json!("me"), Value::Null));
    }

    #[test]
    fn the_algorithm_is_not_the_tokens_to_choose() {
        let claims = json!({ "sub": "u", "exp": now() + 60 });
        let verifier = Verifier::new(&SECRET.into(), None, None);
        assert!(verifier.verify(&signed(Algorithm::HS512, &claims)).is_err());
        let none = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJ1IiwiZXhwIjo5OTk5OTk5OTk5fQ.";
        assert!(verifier.verify(&none.into()).is_err());
        assert!(matches!(verifier.verify(&"x".repeat(MAX_TOKEN + 1).into()), Err(Refusal::TooLong)));
    }

    #[test]
    fn made_tokens_are_accepted() {
        let claims = TokenClaims::new("alice", Duration::from_secs(60));
        let token = make_token(&SECRET.into(), &claims).expect("made");
        let identity = Verifier::new(&SECRET.into(), None, None).verify(&token.into()).expect("valid");
        assert_eq!(identity.user_id, "alice");
        assert!(make_token(&"short".into(), &claims).is_err());
        assert!(make_token(&SECRET.into(), &TokenClaims::new("", Duration::ZERO)).is_err());
    }
}
