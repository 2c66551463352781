//! Tokens that the server makes for itself: those of the console page, which reads topics and does nothing else.

use std::time::Duration;

use wse_client_core::topic::Acl;

use super::{Authenticator, make::TokenClaims};

/// The user that the console page is on a server with tokens.
pub(crate) const CONSOLE: &str = "wse-console";

/// What a reader has to bring.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ReaderToken {
    /// Nothing: the server is open.
    NotNeeded,
    /// A token, and there is no key here that could sign one: of RS256 and ES256 a server knows the public half.
    NoKey,
    /// This token.
    Token(String),
}

impl Authenticator {
    /// Makes a token that this server accepts for `ttl`: it may subscribe to everything and publish nothing.
    pub(crate) fn reader_token(&self, subject: &str, ttl: Duration) -> ReaderToken {
        let Some(verifier) = &self.verifier else { return ReaderToken::NotNeeded };
        let (issuer, audience) = verifier.wanted();
        let claims = TokenClaims {
            issuer: issuer.map(str::to_owned),
            audience: audience.map(str::to_owned),
            topics: Some(Acl::default()),
            publish: Some(Acl::nothing()),
            ..TokenClaims::new(subject, ttl)
        };
        let signed = verifier.signer().and_then(|key| key.sign(&claims).ok());
        signed.map_or(ReaderToken::NoKey, ReaderToken::Token)
    }
}
