//! Files of keys: JWK sets and PEM. Source: RFC 7517, RFC 7518 §6, RFC 7468.

use std::{borrow::Cow, fs, io, path::Path, time::SystemTime};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use rustls_pki_types::pem::{self, SectionKind};
use serde::Deserialize;
use zeroize::Zeroizing;

use super::{
    der::{self, PublicKey},
    key::{Algorithm, Key, UnusableKey},
};

/// Largest file of keys in bytes.
const MAX_FILE: u64 = 256 * 1024;

/// Why a file of keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum BadKeyFile {
    #[error("cannot be read: {0}")]
    Io(#[from] io::Error),
    #[error("larger than {MAX_FILE} bytes")]
    TooLarge,
    #[error("neither a JWK set (JSON) nor PEM with PUBLIC KEY sections")]
    Format,
    #[error("not a JWK set: line {line}, column {column}")]
    Json { line: usize, column: usize },
    #[error("key {index}: {why}")]
    Key { index: usize, why: BadKey },
    #[error("holds no key for HS256, RS256 or ES256")]
    Empty,
}

/// Why one key of a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum BadKey {
    #[error(transparent)]
    Unusable(#[from] UnusableKey),
    #[error("the member {0} is missing or not base64url")]
    Member(&'static str),
    #[error("a private key; the server needs the public one (`openssl pkey -in FILE -pubout`)")]
    Private,
    #[error("a certificate; take its public key (`openssl x509 -in FILE -pubkey -noout`)")]
    Certificate,
    #[error("neither an RSA key nor one of the curve P-256")]
    Kind,
}

/// What changes with the content of a file: when it was written, and its length.
pub(super) type Stamp = Option<(SystemTime, u64)>;

/// `None`: the file cannot be looked at.
pub(super) fn stamp(path: &Path) -> Stamp {
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

/// All keys of a file, at least one.
pub(super) fn read(path: &Path) -> Result<Vec<Key>, BadKeyFile> {
    if fs::metadata(path)?.len() > MAX_FILE {
        return Err(BadKeyFile::TooLarge);
    }
    parse(&Zeroizing::new(fs::read(path)?))
}

/// See [`read`].
pub(super) fn parse(bytes: &[u8]) -> Result<Vec<Key>, BadKeyFile> {
    let keys = match bytes.trim_ascii_start() {
        [b'{', ..] => jwk_set(bytes)?,
        _ => pem_keys(bytes)?,
    };
    if keys.is_empty() { Err(BadKeyFile::Empty) } else { Ok(keys) }
}

/// A key of a set. What it says about itself beside these members is not needed to check signatures.
#[derive(Deserialize)]
struct Jwk<'a> {
    #[serde(borrow)]
    kty: Cow<'a, str>,
    #[serde(default)]
    kid: Option<String>,
    #[serde(borrow, default)]
    alg: Option<Cow<'a, str>>,
    #[serde(borrow, default, rename = "use")]
    purpose: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    crv: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    k: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    n: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    e: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    x: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    y: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct JwkSet<'a> {
    #[serde(borrow)]
    keys: Vec<Jwk<'a>>,
}

/// Keys for other purposes and algorithms are passed over, as issuers publish all of theirs in one set. Source:
/// RFC 7517 §5.
fn jwk_set(bytes: &[u8]) -> Result<Vec<Key>, BadKeyFile> {
    let json = |error: serde_json::Error| BadKeyFile::Json { line: error.line(), column: error.column() };
    let set: JwkSet<'_> = serde_json::from_slice(bytes).map_err(json)?;
    let mut keys = Vec::new();
    for (index, jwk) in set.keys.into_iter().enumerate() {
        if let Some(algorithm) = jwk.algorithm() {
            keys.push(jwk.key(algorithm).map_err(|why| BadKeyFile::Key { index, why })?);
        } else {
            tracing::debug!(index, kid = jwk.kid, "key of a set passed over");
        }
    }
    Ok(keys)
}

impl Jwk<'_> {
    /// What it can check tokens for; `None`: nothing that is accepted here.
    fn algorithm(&self) -> Option<Algorithm> {
        let algorithm = match (&*self.kty, self.crv.as_deref()) {
            ("oct", _) => Algorithm::Hs256,
            ("RSA", _) => Algorithm::Rs256,
            ("EC", Some("P-256")) => Algorithm::Es256,
            _ => return None,
        };
        let fits = self.alg.as_deref().is_none_or(|alg| alg == algorithm.name());
        let signs = self.purpose.as_deref().is_none_or(|purpose| purpose == "sig");
        (fits && signs).then_some(algorithm)
    }

    fn key(self, algorithm: Algorithm) -> Result<Key, BadKey> {
        let bytes = |name, member: Option<Cow<'_, str>>| {
            let decoded = member.and_then(|text| BASE64_URL_SAFE_NO_PAD.decode(&*text).ok());
            decoded.map(Zeroizing::new).ok_or(BadKey::Member(name))
        };
        Ok(match algorithm {
            Algorithm::Hs256 => Key::hmac(self.kid, &bytes("k", self.k)?)?,
            Algorithm::Rs256 => Key::rsa(self.kid, &bytes("n", self.n)?, &bytes("e", self.e)?)?,
            Algorithm::Es256 => {
                let point = [&[4][..], &bytes("x", self.x)?, &bytes("y", self.y)?].concat();
                Key::p256(self.kid, &point)?
            }
        })
    }
}

/// Keys of a PEM file have no `kid`.
fn pem_keys(mut bytes: &[u8]) -> Result<Vec<Key>, BadKeyFile> {
    let mut keys = Vec::new();
    while let Some((kind, der)) = pem::from_buf(&mut bytes).map_err(|_| BadKeyFile::Format)? {
        let key = pem_key(kind, &Zeroizing::new(der));
        keys.push(key.map_err(|why| BadKeyFile::Key { index: keys.len(), why })?);
    }
    if keys.is_empty() { Err(BadKeyFile::Format) } else { Ok(keys) }
}

fn pem_key(kind: SectionKind, der: &[u8]) -> Result<Key, BadKey> {
    let public = match kind {
        SectionKind::PublicKey => der::public_key(der),
        SectionKind::PrivateKey | SectionKind::RsaPrivateKey | SectionKind::EcPrivateKey => {
            return Err(BadKey::Private);
        }
        SectionKind::Certificate => return Err(BadKey::Certificate),
        _ => None,
    };
    match public.ok_or(BadKey::Kind)? {
        PublicKey::Rsa { n, e } => Ok(Key::rsa(None, n, e)?),
        PublicKey::P256(point) => Ok(Key::p256(None, point)?),
    }
}
