//! Makes tokens, for tests and daily use. Source: RFC 7519, PROTOCOL.md §4.2.

use std::{fmt, time::Duration};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use ring::{
    rand::SystemRandom,
    rsa,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, RSA_PKCS1_SHA256},
};
use rustls_pki_types::pem::{self, SectionKind};
use serde::Serialize;
use sha2::Sha256;
use wse_client_core::{config::ConfigError, security::Secret, topic::Acl};
use zeroize::Zeroizing;

use super::{
    claims::is_subject,
    der,
    key::{Algorithm, Key},
};
use crate::{clock, config::check_secret};

/// What [`make_token`] and [`TokenKey::sign`] write into a token.
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
    /// `sub`: the user. 1 to 256 bytes without control characters.
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
struct Header<'a> {
    alg: &'static str,
    typ: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    kid: Option<&'a str>,
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
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// The secret is too short.
    #[error("setting {0}")]
    Secret(ConfigError),
    /// The PEM holds no private key that can sign tokens.
    #[error("not a private key in PEM form for RS256 (RSA of 2048 bits or more) or ES256 (P-256)")]
    Key,
    /// The subject is empty, too long or has control characters.
    #[error("the subject must have 1 to 256 bytes and no control characters")]
    Subject,
    /// The key refused.
    #[error("cannot sign the token")]
    Sign,
}

/// A key that signs tokens. The algorithm follows from it.
///
/// ```
/// use std::time::Duration;
/// use wse_server::{TokenClaims, TokenKey};
///
/// let key = TokenKey::from_secret(&"a secret of at least thirty-two bytes".into())?.with_kid("2026-05");
/// let token = key.sign(&TokenClaims::new("alice", Duration::from_secs(3600)))?;
/// # assert_eq!(token.split('.').count(), 3);
/// # Ok::<(), wse_server::TokenError>(())
/// ```
pub struct TokenKey {
    material: Material,
    kid: Option<String>,
}

enum Material {
    Hmac(Box<Hmac<Sha256>>),
    Rsa(Box<rsa::KeyPair>),
    P256(Box<EcdsaKeyPair>),
}

impl TokenKey {
    /// A secret that the server knows too, for HS256. At least 32 bytes.
    ///
    /// # Errors
    /// [`TokenError::Secret`].
    pub fn from_secret(secret: &Secret) -> Result<Self, TokenError> {
        check_secret("jwt_secret", secret).map_err(TokenError::Secret)?;
        let mac = Hmac::new_from_slice(secret.expose().as_bytes()).expect("HMAC takes keys of any length");
        Ok(Material::Hmac(Box::new(mac)).into())
    }

    /// The first private key of a PEM text: RSA for RS256, P-256 for ES256, in the forms `PRIVATE KEY`, `RSA PRIVATE KEY`
    /// and `EC PRIVATE KEY`. Keys that are encrypted cannot be read.
    ///
    /// # Errors
    /// [`TokenError::Key`].
    pub fn from_pem(pem: &Secret) -> Result<Self, TokenError> {
        let mut rest = pem.expose().as_bytes();
        while let Some((kind, der)) = pem::from_buf(&mut rest).map_err(|_| TokenError::Key)? {
            let der = Zeroizing::new(der);
            let material = match kind {
                SectionKind::PrivateKey => rsa_from(rsa::KeyPair::from_pkcs8(&der)).or_else(|| p256_from(&der)),
                SectionKind::RsaPrivateKey => rsa_from(rsa::KeyPair::from_der(&der)),
                SectionKind::EcPrivateKey => p256_from(&Zeroizing::new(der::pkcs8_of_p256(&der))),
                // The parameters of a curve, say.
                _ => continue,
            };
            return material.map(Self::from).ok_or(TokenError::Key);
        }
        Err(TokenError::Key)
    }

    /// The other side of a key that tokens are checked with, if that can sign too.
    pub(super) fn of(key: &Key) -> Option<Self> {
        let material = Material::Hmac(Box::new(key.shared()?.clone()));
        Some(Self { material, kid: key.kid.clone() })
    }

    /// Writes this `kid` into the header of tokens, for servers that have several keys.
    #[must_use]
    pub fn with_kid(mut self, kid: impl Into<String>) -> Self {
        self.kid = Some(kid.into());
        self
    }

    /// Makes a token, valid from now on.
    ///
    /// # Errors
    /// [`TokenError::Subject`], [`TokenError::Sign`].
    pub fn sign(&self, claims: &TokenClaims) -> Result<String, TokenError> {
        if !is_subject(&claims.subject) {
            return Err(TokenError::Subject);
        }
        let iat = clock::wall().as_unix_ms() / 1000;
        self.sign_claims(&Written {
            sub: &claims.subject,
            iat,
            exp: iat.saturating_add(claims.ttl.as_secs()),
            iss: claims.issuer.as_deref(),
            aud: claims.audience.as_deref(),
            wse_topics: claims.topics.as_ref(),
            wse_publish: claims.publish.as_ref(),
        })
    }

    pub(super) fn sign_claims(&self, claims: &impl Serialize) -> Result<String, TokenError> {
        let header = Header { alg: self.algorithm().name(), typ: "JWT", kid: self.kid.as_deref() };
        let encoded = |json: serde_json::Result<Vec<u8>>| {
            json.map(|json| BASE64_URL_SAFE_NO_PAD.encode(json)).map_err(|_| TokenError::Sign)
        };
        let mut token = encoded(serde_json::to_vec(&header))?;
        token.push('.');
        token += &encoded(serde_json::to_vec(claims))?;
        let signature = self.signature(token.as_bytes())?;
        token.push('.');
        BASE64_URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        Ok(token)
    }

    const fn algorithm(&self) -> Algorithm {
        match self.material {
            Material::Hmac(_) => Algorithm::Hs256,
            Material::Rsa(_) => Algorithm::Rs256,
            Material::P256(_) => Algorithm::Es256,
        }
    }

    fn signature(&self, message: &[u8]) -> Result<Vec<u8>, TokenError> {
        let random = SystemRandom::new();
        match &self.material {
            Material::Hmac(key) => Ok(Hmac::clone(key).chain_update(message).finalize().into_bytes().to_vec()),
            Material::Rsa(key) => {
                let mut signature = vec![0; key.public().modulus_len()];
                let signed = key.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature);
                signed.map(|()| signature).map_err(|_| TokenError::Sign)
            }
            Material::P256(key) => {
                let signed = key.sign(&random, message);
                signed.map(|signature| signature.as_ref().to_vec()).map_err(|_| TokenError::Sign)
            }
        }
    }
}

impl From<Material> for TokenKey {
    fn from(material: Material) -> Self {
        Self { material, kid: None }
    }
}

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenKey").field("alg", &self.algorithm().name()).finish_non_exhaustive()
    }
}

fn rsa_from<E>(key: Result<rsa::KeyPair, E>) -> Option<Material> {
    key.ok().map(|key| Material::Rsa(Box::new(key)))
}

fn p256_from(pkcs8: &[u8]) -> Option<Material> {
    EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8, &SystemRandom::new())
        .ok()
        .map(|key| Material::P256(Box::new(key)))
}

/// Makes an HS256 token that a server with the same secret accepts.
///
/// # Errors
/// [`TokenError`].
pub fn make_token(secret: &Secret, claims: &TokenClaims) -> Result<String, TokenError> {
    TokenKey::from_secret(secret)?.sign(claims)
}
