//! Who may come in: tokens, origins and the API key.

mod api_key;
mod issued;
mod origin;
mod sources;
mod token;

use std::sync::atomic::{AtomicBool, Ordering};

use http::{HeaderMap, header};
use wse_client_core::{
    error::Code,
    security::Secret,
    server::{Admission, Identity},
    topic::Acl,
};

pub(crate) use api_key::ApiKeyCheck;
pub(crate) use issued::Issuer;
pub use token::{TokenClaims, TokenError, make_token};

use crate::{clock, config::Config};
use api_key::ApiKey;
use origin::Origins;
use token::Verifier;

/// Checks what a client brings with its upgrade request.
pub(crate) struct Authenticator {
    /// `None`: the server is open.
    verifier: Option<Verifier>,
    origins: Origins,
    api_key: Option<ApiKey>,
    warned_of_query: AtomicBool,
}

impl Authenticator {
    pub(crate) fn new(config: &Config) -> Self {
        let verifier = config
            .jwt_secret
            .as_ref()
            .map(|secret| Verifier::new(secret, config.jwt_issuer.as_deref(), config.jwt_audience.as_deref()));
        Self {
            verifier,
            origins: Origins::new(&config.allowed_origins),
            api_key: config.api_key.as_ref().map(ApiKey::new),
            warned_of_query: AtomicBool::new(false),
        }
    }

    /// Lets a client in, or says why not. Nothing of keys or claims is in the message.
    pub(crate) fn admit(&self, headers: &HeaderMap, query_token: Option<&Secret>) -> Admission {
        if let Some(origin) = headers.get(header::ORIGIN)
            && !self.origins.allows(origin.as_bytes())
        {
            return denied(Code::OriginNotAllowed, "this origin is not allowed");
        }
        let Some(verifier) = &self.verifier else { return Admission::Granted(guest()) };
        let mut seen = false;
        for token in sources::tokens(headers, query_token) {
            seen = true;
            if token.from_query {
                self.warn_of_query();
            }
            match verifier.verify(&token.text) {
                Ok(identity) => return Admission::Granted(identity),
                Err(error) => tracing::debug!(source = token.source(), %error, "token refused"),
            }
        }
        if seen {
            denied(Code::AuthFailed, "the token is wrong, expired or not for this server")
        } else {
            denied(Code::AuthRequired, "a token is required")
        }
    }

    /// Checks the key of an API request.
    pub(crate) fn check_api_key(&self, headers: &HeaderMap) -> ApiKeyCheck {
        match &self.api_key {
            Some(key) => key.check(headers),
            None => ApiKeyCheck::NotConfigured,
        }
    }

    /// A token in a URL ends up in access logs and histories of others; ours leave it out.
    fn warn_of_query(&self) {
        if !self.warned_of_query.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                "a client sent its token in the URL (token=…), where proxies may log it; \
                 prefer the Authorization header or the cookie access_token (said once)"
            );
        }
    }
}

fn denied(code: Code, message: &str) -> Admission {
    Admission::Denied { code, message: message.to_owned() }
}

/// Everyone on an open server: a random name, and every right.
fn guest() -> Identity {
    Identity { user_id: clock::random_name("guest-"), subscribe: Acl::default(), publish: Acl::default() }
}
