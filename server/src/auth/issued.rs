//! Tokens that the server gives out itself: for one connection, and for one topic. Source: PROTOCOL.md §5.6.

use wse_client_core::{
    error::Code,
    security::{
        Secret,
        tokens::{CHANNEL_LIFE, Claims, Purpose, SESSION_LIFE, Tokens},
    },
};

use crate::{clock, config::Config, handler::ConnectionHandle, server::Server};

/// Gives out and checks tokens, when there is a key for them.
pub(crate) struct Issuer(Option<Tokens>);

impl Issuer {
    pub(crate) fn new(config: &Config) -> Self {
        Self(config.token_key.clone().map(Tokens::new))
    }

    /// Whether there is a key.
    pub(crate) const fn has_key(&self) -> bool {
        self.0.is_some()
    }

    fn issue(&self, user: &str, purpose: Purpose) -> Option<Secret> {
        let life = match purpose {
            Purpose::Session { .. } => SESSION_LIFE,
            Purpose::Channel { .. } => CHANNEL_LIFE,
        };
        self.0.as_ref().map(|tokens| clock::with_rng(|rng| tokens.issue(user, purpose, life, clock::wall(), rng)))
    }

    fn check(&self, token: &str) -> Result<Claims, Code> {
        self.0.as_ref().ok_or(Code::AuthFailed)?.check(token, clock::wall())
    }
}

impl Server {
    /// A token with which `user` may subscribe to `topic`, an exact name, for an hour, although its list does not name it;
    /// a deny list wins. `None` without [`Config::token_key`]. Whether the user should have it is the caller's decision, and so
    /// is the way by which it gets there.
    pub fn channel_token(&self, user: &str, topic: &str) -> Option<Secret> {
        self.issuer().issue(user, Purpose::Channel { topic: topic.to_owned() })
    }

    /// What a token that this server, or another one with the same key, gave out says.
    ///
    /// # Errors
    /// [`Code::AuthFailed`] when it is none, or no longer holds, or without [`Config::token_key`].
    pub fn check_token(&self, token: &str) -> Result<Claims, Code> {
        self.issuer().check(token)
    }
}

impl ConnectionHandle {
    /// A token that names this connection and its user, good for 24 hours: for other doors of the application, an HTTP
    /// route say, that want to know whose request it is ([`Server::check_token`]). `None` without [`Config::token_key`].
    pub fn session_token(&self) -> Option<Secret> {
        let purpose = Purpose::Session { connection: self.id().to_owned() };
        self.server().issuer().issue(self.user_id(), purpose)
    }

    /// As [`Server::channel_token`], for the user of this connection.
    pub fn channel_token(&self, topic: &str) -> Option<Secret> {
        self.server().channel_token(self.user_id(), topic)
    }
}
