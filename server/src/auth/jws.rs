//! Signed tokens in compact form, taken apart. Source: RFC 7515 §3.1, §7.1.

use std::borrow::Cow;

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use serde::{Deserialize, de::IgnoredAny};

use super::{key::Algorithm, verify::Refusal};

/// Longest token in bytes.
pub(super) const MAX_TOKEN: usize = 8 * 1024;

/// Longest header in bytes, decoded. Ours have some fifty.
const MAX_HEADER: usize = 1024;

/// Longest signature in bytes: of an RSA key of 8192 bits.
const MAX_SIGNATURE: usize = 1024;

/// A token, its parts decoded as far as they are needed to check its signature. Nothing in it is trusted yet.
pub(super) struct Jws<'a> {
    /// How it says that it is signed; one of those that there can be keys for.
    pub(super) algorithm: Algorithm,
    /// The key that it names.
    pub(super) kid: Option<String>,
    /// What the signature is about.
    pub(super) signed: &'a [u8],
    claims: &'a str,
    signature: [u8; MAX_SIGNATURE],
    signature_len: usize,
}

#[derive(Deserialize)]
struct Header<'a> {
    #[serde(borrow)]
    alg: Cow<'a, str>,
    #[serde(borrow, default)]
    kid: Option<Cow<'a, str>>,
    /// Extensions that must be understood; none is.
    #[serde(default)]
    crit: Option<IgnoredAny>,
}

impl<'a> Jws<'a> {
    pub(super) fn parse(token: &'a str) -> Result<Self, Refusal> {
        if token.len() > MAX_TOKEN {
            return Err(Refusal::TooLong);
        }
        let (signed, signature_text) = token.rsplit_once('.').ok_or(Refusal::Shape)?;
        // A third dot lands in the claims, which it makes undecodable.
        let (header_text, claims) = signed.split_once('.').ok_or(Refusal::Shape)?;
        let mut header = [0; MAX_HEADER];
        let header_len = BASE64_URL_SAFE_NO_PAD.decode_slice(header_text, &mut header).map_err(|_| Refusal::Shape)?;
        let header: Header<'_> = serde_json::from_slice(&header[..header_len]).map_err(|_| Refusal::Shape)?;
        if header.crit.is_some() {
            return Err(Refusal::Extension);
        }
        let algorithm = Algorithm::named(&header.alg).ok_or(Refusal::Algorithm)?;
        let kid = header.kid.map(Cow::into_owned);
        let mut signature = [0; MAX_SIGNATURE];
        let signature_len =
            BASE64_URL_SAFE_NO_PAD.decode_slice(signature_text, &mut signature).map_err(|_| Refusal::Shape)?;
        Ok(Self { algorithm, kid, signed: signed.as_bytes(), claims, signature, signature_len })
    }

    pub(super) fn signature(&self) -> &[u8] {
        &self.signature[..self.signature_len]
    }

    /// The claims as JSON. To be called once the signature is known to be right.
    pub(super) fn claims(&self) -> Result<Vec<u8>, Refusal> {
        BASE64_URL_SAFE_NO_PAD.decode(self.claims).map_err(|_| Refusal::Shape)
    }
}
