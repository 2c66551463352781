//! Key agreement. Source: PROTOCOL.md §5.1, NIST SP 800-56A (ECDH), RFC 5869 (HKDF).

use crate::{error::Code, rng::Rng};

use super::{Opener, Role, Sealer};

/// Which HKDF parameters the peer uses. The keys differ, so the two never interoperate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Dialect {
    /// Peers that announce a 1.x version: salt `wse-encryption`, info `aes-gcm-key`.
    V1,
    /// Everyone else: no salt, info `wse-encryption/aes-gcm-key`.
    #[default]
    V2,
}

/// A P-256 key pair for one connection. Wiped on drop.
pub struct KeyPair {
    // p256 secret key
}

impl KeyPair {
    /// A fresh pair.
    pub fn generate(_rng: &mut Rng) -> Self {
        todo!()
    }

    /// The public key as it goes on the wire: base64 of 65 bytes, uncompressed SEC1.
    pub fn public_base64(&self) -> String {
        todo!()
    }

    /// Agrees on a key with the peer's public key and gives the two halves of the channel.
    ///
    /// # Errors
    /// [`Code::KeyExchangeFailed`] when the peer's key is no point on the curve.
    pub fn agree(
        &self,
        _peer_base64: &str,
        _dialect: Dialect,
        _role: Role,
        _rng: &mut Rng,
    ) -> Result<(Sealer, Opener), Code> {
        todo!()
    }
}
