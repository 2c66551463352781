//! Keys that tokens are checked with, each for one algorithm.

use hmac::{Hmac, KeyInit as _, Mac as _};
use ring::{agreement, rand::SystemRandom, signature};
use sha2::Sha256;

/// How a token is signed. Source: RFC 7518 §3.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Algorithm {
    /// HMAC with SHA-256.
    Hs256,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// ECDSA on P-256 with SHA-256.
    Es256,
}

impl Algorithm {
    /// By its name in a header; `None` for every other one, `none` first of all.
    pub(super) fn named(name: &str) -> Option<Self> {
        [Self::Hs256, Self::Rs256, Self::Es256].into_iter().find(|algorithm| algorithm.name() == name)
    }

    /// Its name in a header.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Hs256 => "HS256",
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
        }
    }
}

/// Shortest HMAC key in bytes: one shorter than the hash weakens it. Source: RFC 7518 §3.2.
pub(crate) const MIN_SECRET: usize = 32;

/// Sizes of an RSA modulus in bits. Source: RFC 7518 §3.3; above 8192 a check costs too much.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// Why a key cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum UnusableKey {
    #[error("an HMAC key of {0} bytes, at least {MIN_SECRET} are needed")]
    ShortSecret(usize),
    #[error("an RSA key of {0} bits, 2048 to 8192 are allowed")]
    RsaSize(usize),
    #[error("an RSA key with an impossible exponent")]
    RsaExponent,
    #[error("not a point of the curve P-256")]
    NotOnCurve,
}

/// One key. The algorithm is the key's, never the token's to choose.
pub(super) struct Key {
    /// The `kid` of the tokens that it is for. `None`: of all that no other key claims.
    pub(super) kid: Option<String>,
    material: Material,
}

enum Material {
    /// Of a crate that wipes its keys, which the other one does not.
    Hmac(Box<Hmac<Sha256>>),
    Rsa(signature::RsaPublicKeyComponents<Vec<u8>>),
    P256(Vec<u8>),
}

impl Key {
    pub(super) fn hmac(kid: Option<String>, secret: &[u8]) -> Result<Self, UnusableKey> {
        if secret.len() < MIN_SECRET {
            return Err(UnusableKey::ShortSecret(secret.len()));
        }
        let mac = Hmac::new_from_slice(secret).expect("HMAC takes keys of any length");
        Ok(Self { kid, material: Material::Hmac(Box::new(mac)) })
    }

    /// Modulus and exponent, big-endian; leading zeros are allowed.
    pub(super) fn rsa(kid: Option<String>, n: &[u8], e: &[u8]) -> Result<Self, UnusableKey> {
        let (n, e) = (without_zeros(n), without_zeros(e));
        let bits = n.first().map_or(0, |first| n.len() * 8 - first.leading_zeros() as usize);
        if !RSA_BITS.contains(&bits) {
            return Err(UnusableKey::RsaSize(bits));
        }
        let is_odd = |number: &[u8]| number.last().is_some_and(|last| last % 2 == 1);
        // The exponents that the library takes: odd, from 3, below 2^33; in truth everyone has 65537.
        if !is_odd(n) || !is_odd(e) || e == [1] || e.len() > 4 {
            return Err(UnusableKey::RsaExponent);
        }
        Ok(Self { kid, material: Material::Rsa(signature::RsaPublicKeyComponents { n: n.to_vec(), e: e.to_vec() }) })
    }

    /// A point in uncompressed form: 4, x and y.
    pub(super) fn p256(kid: Option<String>, point: &[u8]) -> Result<Self, UnusableKey> {
        // Signatures under a point that is none just fail. Agreeing on a key tells at once.
        let random = SystemRandom::new();
        let other = agreement::UnparsedPublicKey::new(&agreement::ECDH_P256, point);
        agreement::EphemeralPrivateKey::generate(&agreement::ECDH_P256, &random)
            .and_then(|own| agreement::agree_ephemeral(own, &other, |_| ()))
            .map_err(|_| UnusableKey::NotOnCurve)?;
        Ok(Self { kid, material: Material::P256(point.to_vec()) })
    }

    /// The key itself, where it both checks and signs.
    pub(super) fn shared(&self) -> Option<&Hmac<Sha256>> {
        match &self.material {
            Material::Hmac(key) => Some(key),
            Material::Rsa(_) | Material::P256(_) => None,
        }
    }

    /// The only algorithm that this key is for.
    pub(super) const fn algorithm(&self) -> Algorithm {
        match self.material {
            Material::Hmac(_) => Algorithm::Hs256,
            Material::Rsa(_) => Algorithm::Rs256,
            Material::P256(_) => Algorithm::Es256,
        }
    }

    /// Whether `signature` is this key's under `message`.
    pub(super) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        match &self.material {
            Material::Hmac(key) => Hmac::clone(key).chain_update(message).verify_slice(signature).is_ok(),
            Material::Rsa(key) => key.verify(&signature::RSA_PKCS1_2048_8192_SHA256, message, signature).is_ok(),
            Material::P256(point) => signature::UnparsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, point)
                .verify(message, signature)
                .is_ok(),
        }
    }
}

fn without_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    &number[zeros..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_protect_nothing_are_refused() {
        let error = |key: Result<Key, UnusableKey>| key.err().expect("refused");
        assert_eq!(error(Key::hmac(None, &[7; 31])), UnusableKey::ShortSecret(31));
        let modulus = |bytes: usize| [&[0, 0, 0x80][..], &vec![0x55; bytes - 1]].concat();
        assert_eq!(error(Key::rsa(None, &modulus(128), &[1, 0, 1])), UnusableKey::RsaSize(1024));
        assert_eq!(error(Key::rsa(None, &modulus(2048), &[1, 0, 1])), UnusableKey::RsaSize(16_384));
        assert_eq!(error(Key::rsa(None, &[], &[1, 0, 1])), UnusableKey::RsaSize(0));
        for exponent in [&[][..], &[0], &[1], &[2], &[1, 0, 0, 0, 1]] {
            assert_eq!(error(Key::rsa(None, &modulus(256), exponent)), UnusableKey::RsaExponent, "{exponent:?}");
        }
        assert!(Key::rsa(None, &modulus(256), &[0, 1, 0, 1]).is_ok());
        for point in [&[][..], &[4; 65], &[0]] {
            assert_eq!(error(Key::p256(None, point)), UnusableKey::NotOnCurve);
        }
    }

    #[test]
    fn no_other_algorithm_has_a_name_here() {
        for name in ["none", "None", "NONE", "", "hs256", "HS384", "HS512", "RS512", "ES384", "PS256", "EdDSA"] {
            assert_eq!(Algorithm::named(name), None, "{name}");
        }
        assert_eq!(Algorithm::named("ES256"), Some(Algorithm::Es256));
    }
}
