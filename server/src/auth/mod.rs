//! Who may come in: tokens, origins and the API key.

mod api_key;
mod claims;
mod der;
mod host;
mod issued;
mod jws;
mod key;
mod key_file;
mod make;
mod origin;
mod reader;
mod sources;
#[cfg(test)]
mod tests;
mod verify;

use std::sync::atomic::{AtomicBool, Ordering};

use http::{HeaderMap, header};
use wse_client_core::{
    config::ConfigError,
    error::Code,
    security::Secret,
    server::{Admission, Identity},
    topic::Acl,
};

pub(crate) use api_key::ApiKeyCheck;
pub(crate) use host::Hosts;
pub(crate) use issued::Issuer;
pub(crate) use key::MIN_SECRET;
pub use make::{TokenClaims, TokenError, TokenKey, make_token};
pub(crate) use reader::{CONSOLE, ReaderToken};

use crate::{clock, config::Config};
use api_key::ApiKey;
use origin::Origins;
use sources::{Source, TokenPlaces};
use verify::{KeySet, Verifier};

/// Checks what a client brings with its upgrade request.
pub(crate) struct Authenticator {
    /// `None`: the server is open.
    verifier: Option<Verifier>,
    places: TokenPlaces,
    origins: Origins,
    api_key: Option<ApiKey>,
    /// Whether an open server lets everyone in. One without a port of its own does not know who can reach it.
    guests: bool,
    warned_of_query: AtomicBool,
}

impl Authenticator {
    /// # Errors
    /// A setting whose keys cannot be used.
    pub(crate) fn new(config: &Config) -> Result<Self, ConfigError> {
        let verifier = if config.is_open() { None } else { Some(Verifier::load(config)?) };
        Ok(Self {
            verifier,
            places: TokenPlaces::new(&config.jwt_cookie),
            origins: Origins::new(&config.allowed_origins),
            api_key: config.api_key.as_ref().map(ApiKey::new),
            guests: true,
            warned_of_query: AtomicBool::new(false),
        })
    }

    /// Lets nobody in without a token or a word of the application.
    pub(crate) fn without_guests(self) -> Self {
        Self { guests: false, ..self }
    }

    /// Takes no pages of other machines, unless they are listed.
    pub(crate) fn for_this_machine(self, hosts: &Hosts) -> Self {
        Self { origins: self.origins.of_this_machine(hosts.clone()), ..self }
    }

    /// Whether everyone may come in.
    pub(crate) const fn is_open(&self) -> bool {
        self.verifier.is_none() && self.guests
    }

    /// Reads the keys of tokens anew. What is connected stays connected. Answers how many keys there are; on an error the
    /// old ones stay.
    pub(crate) fn reload_keys(&self, config: &Config) -> Result<usize, ConfigError> {
        let Some(verifier) = &self.verifier else { return Ok(0) };
        let result = verifier.reload(config);
        match &result {
            Ok(count) => tracing::info!(count, "the keys of tokens were read again"),
            Err(error) => tracing::error!(%error, "the keys of tokens cannot be used, the last ones stay"),
        }
        result
    }

    /// Reads the keys anew if one of their files has changed. Looks at the disk.
    pub(crate) fn refresh_keys(&self, config: &Config) {
        if self.verifier.as_ref().is_some_and(|verifier| verifier.is_outdated(config)) {
            // What cannot be read is told in the log.
            let _ = self.reload_keys(config);
        }
    }

    /// Lets a client in whom the application knows already, unless it comes from a foreign page.
    pub(crate) fn admit_known(&self, headers: &HeaderMap, identity: Identity) -> Admission {
        self.check_origin(headers).err().unwrap_or(Admission::Granted(identity))
    }

    fn check_origin(&self, headers: &HeaderMap) -> Result<(), Admission> {
        match headers.get(header::ORIGIN) {
            Some(origin) if !self.origins.allows(origin.as_bytes()) => {
                Err(denied(Code::OriginNotAllowed, self.origins.refusal()))
            }
            _ => Ok(()),
        }
    }

    /// Lets a client in, or says why not. Nothing of keys or claims is in the message.
    pub(crate) fn admit(&self, headers: &HeaderMap, query_token: Option<&Secret>) -> Admission {
        if let Err(denied) = self.check_origin(headers) {
            return denied;
        }
        let verifier = match &self.verifier {
            Some(verifier) => verifier,
            None if self.guests => return Admission::Granted(guest()),
            None => return denied(Code::AuthRequired, "this server has no keys for tokens and lets no guests in"),
        };
        let (mut seen, wall) = (false, clock::wall());
        for (source, token) in self.places.tokens(headers, query_token) {
            seen = true;
            let result = verifier.verify(token, wall);
            // The console page's own is good for one handshake, and its server knows how it comes.
            let is_console = result.as_ref().is_ok_and(|identity| identity.user_id == CONSOLE);
            if source == Source::Query && !is_console {
                self.warn_of_query();
            }
            match result {
                Ok(identity) => return Admission::Granted(identity),
                Err(error) => tracing::debug!(?source, %error, "token refused"),
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
                 prefer the Authorization header or a cookie (said once)"
            );
        }
    }
}

/// The origin of a request as a log can hold it, if there is one.
pub(crate) fn shown_origin(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::ORIGIN).map(|origin| origin::shown(origin.as_bytes()))
}

fn denied(code: Code, message: &str) -> Admission {
    Admission::Denied { code, message: message.to_owned() }
}

/// Everyone on an open server: a random name, and every right.
fn guest() -> Identity {
    Identity { user_id: clock::random_name("guest-"), subscribe: Acl::default(), publish: Acl::default() }
}

/// Whether the files of keys that the settings name can be used.
///
/// # Errors
/// The setting, and the file in it, that cannot.
pub(crate) fn check_keys(config: &Config) -> Result<(), ConfigError> {
    KeySet::load(config).map(drop).map_err(|failed| failed.error)
}
