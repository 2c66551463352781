//! Verifies tokens, with keys that may be replaced while the server runs. Source: RFC 7519 §7.2, RFC 8725.

use std::sync::{Arc, Mutex, RwLock};

use wse_client_core::{config::ConfigError, server::Identity, time::WallTime};

use super::{
    claims::{MAX_SUBJECT, Rules},
    jws::{Jws, MAX_TOKEN},
    key::Key,
    key_file::{self, Stamp},
    make::TokenKey,
};
use crate::{
    config::Config,
    sync::{lock, read, write},
};

/// Most keys at a time: a token that names none is tried with all of its algorithm.
const MAX_KEYS: usize = 16;

/// Why a token was refused. For the log of the server only; clients are told nothing of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error("longer than {MAX_TOKEN} bytes")]
    TooLong,
    #[error("not a signed token in compact form")]
    Shape,
    #[error("an algorithm that is not accepted")]
    Algorithm,
    #[error("it asks for extensions")]
    Extension,
    #[error("no key of this name and algorithm")]
    NoKey,
    #[error("the signature is wrong")]
    Signature,
    #[error("claims are missing, twice there or of the wrong type")]
    Claims,
    #[error("it is expired")]
    Expired,
    #[error("it is not valid yet")]
    NotYet,
    #[error("another issuer")]
    Issuer,
    #[error("for others")]
    Audience,
    #[error("the subject is empty, longer than {MAX_SUBJECT} bytes or has control characters")]
    Subject,
}

/// Why keys were not read.
pub(super) struct NotLoaded {
    /// The setting that cannot be used.
    pub(super) error: ConfigError,
    /// Whether the same files may be readable later.
    may_pass: bool,
}

impl From<ConfigError> for NotLoaded {
    fn from(error: ConfigError) -> Self {
        Self { error, may_pass: false }
    }
}

/// The keys that are valid at one time.
pub(super) struct KeySet(Vec<Key>);

impl KeySet {
    #[cfg(test)]
    pub(super) const fn of(keys: Vec<Key>) -> Self {
        Self(keys)
    }

    /// Reads everything that the settings name. Empty when they name nothing.
    ///
    /// # Errors
    /// The setting, and the file in it, that cannot be used.
    pub(super) fn load(config: &Config) -> Result<Self, NotLoaded> {
        let mut keys = Vec::new();
        for (setting, secret) in
            [("jwt_secret", &config.jwt_secret), ("jwt_previous_secret", &config.jwt_previous_secret)]
        {
            if let Some(secret) = secret {
                let key = Key::hmac(None, secret.expose().as_bytes());
                keys.push(key.map_err(|error| ConfigError::new(setting, error.to_string()))?);
            }
        }
        for path in &config.jwt_keys {
            keys.extend(key_file::read(path).map_err(|error| NotLoaded {
                may_pass: error.may_pass(),
                error: ConfigError::new("jwt_keys", format!("{}: {error}", path.display())),
            })?);
        }
        if keys.len() > MAX_KEYS {
            let problem = format!("{} keys, at most {MAX_KEYS} are allowed", keys.len());
            return Err(ConfigError::new("jwt_keys", problem).into());
        }
        Ok(Self(keys))
    }

    /// The keys that a token may be signed with, all of its algorithm: if it names a key that is known, those of that name;
    /// if it names another, those without a name; if it names none, every one.
    fn candidates<'a>(&'a self, token: &'a Jws<'_>) -> impl Iterator<Item = &'a Key> {
        let kid = token.kid.as_deref();
        let is_known = kid.is_some() && self.0.iter().any(|key| key.kid.as_deref() == kid);
        self.0.iter().filter(move |key| {
            key.algorithm() == token.algorithm
                && match &key.kid {
                    Some(name) => kid.is_none_or(|kid| kid == name),
                    None => !is_known,
                }
        })
    }

    pub(super) fn check_signature(&self, token: &Jws<'_>) -> Result<(), Refusal> {
        let mut refusal = Refusal::NoKey;
        for key in self.candidates(token) {
            if key.verifies(token.signed, token.signature()) {
                return Ok(());
            }
            refusal = Refusal::Signature;
        }
        Err(refusal)
    }
}

/// Verifies tokens.
pub(super) struct Verifier {
    keys: RwLock<Arc<KeySet>>,
    rules: Rules,
    /// The files of keys as they were when they were read last.
    stamps: Mutex<Vec<Stamp>>,
}

impl Verifier {
    /// A verifier with the keys that the settings name.
    ///
    /// # Errors
    /// See [`KeySet::load`].
    pub(super) fn load(config: &Config) -> Result<Self, ConfigError> {
        // Taken first: a file that is written between the two is read once more.
        let stamps = stamps(config);
        let verifier = Self::new(KeySet::load(config).map_err(|failed| failed.error)?, config);
        *lock(&verifier.stamps) = stamps;
        Ok(verifier)
    }

    pub(super) fn new(keys: KeySet, config: &Config) -> Self {
        let rules =
            Rules { issuer: config.jwt_issuer.clone(), audience: config.jwt_audience.clone(), skew: config.jwt_skew };
        Self { keys: RwLock::new(Arc::new(keys)), rules, stamps: Mutex::default() }
    }

    /// Reads all keys anew, for all tokens that come from now on. Answers how many there are.
    ///
    /// # Errors
    /// See [`KeySet::load`]; the keys stay as they were.
    pub(super) fn reload(&self, config: &Config) -> Result<usize, ConfigError> {
        let before = std::mem::replace(&mut *lock(&self.stamps), stamps(config));
        match KeySet::load(config) {
            Ok(keys) => Ok(self.replace_keys(keys)),
            Err(failed) => {
                if failed.may_pass {
                    // Still to be read: the files may look the same when they can be.
                    *lock(&self.stamps) = before;
                }
                Err(failed.error)
            }
        }
    }

    /// Whether a file of keys has changed since it was read.
    pub(super) fn is_outdated(&self, config: &Config) -> bool {
        !config.jwt_keys.is_empty() && *lock(&self.stamps) != stamps(config)
    }

    pub(super) fn replace_keys(&self, keys: KeySet) -> usize {
        let count = keys.0.len();
        *write(&self.keys) = Arc::new(keys);
        count
    }

    /// A key that signs what is accepted here; only HMAC keys can.
    pub(super) fn signer(&self) -> Option<TokenKey> {
        read(&self.keys).0.iter().find_map(TokenKey::of)
    }

    /// The issuer and the audience that tokens must name.
    pub(super) fn wanted(&self) -> (Option<&str>, Option<&str>) {
        (self.rules.issuer.as_deref(), self.rules.audience.as_deref())
    }

    /// Who the token is about, and what it allows.
    pub(super) fn verify(&self, token: &str, wall: WallTime) -> Result<Identity, Refusal> {
        let token = Jws::parse(token)?;
        let keys = Arc::clone(&read(&self.keys));
        keys.check_signature(&token)?;
        self.rules.check(&token.claims()?, wall)
    }
}

fn stamps(config: &Config) -> Vec<Stamp> {
    config.jwt_keys.iter().map(|path| key_file::stamp(path)).collect()
}
