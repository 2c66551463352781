//! Key agreement. Source: PROTOCOL.md §5.1, NIST SP 800-56A (ECDH), RFC 5869 (HKDF).

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hkdf::Hkdf;
use p256::{AffinePoint, PublicKey, SecretKey, elliptic_curve::point::AffineCoordinates as _};
use sha2::Sha256;
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::{error::Code, rng::Rng};

use super::{Opener, Role, Sealer, seal::one_way_channel};

/// Which HKDF parameters the peer uses. The keys differ, so no two of them interoperate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Dialect {
    /// Peers that announce a 1.x version: salt `wse-encryption`, info `aes-gcm-key`.
    V1,
    /// Everyone else: no salt, info `wse-encryption/aes-gcm-key`.
    #[default]
    V2,
    /// Peers that announce `bound_keys`: no salt, and an info that names the direction and both public keys, so
    /// each direction has a key of its own and a key belongs to this one exchange.
    Bound,
}

impl Dialect {
    /// The keys to seal and to open with, from the X coordinate of the shared point.
    fn derive(self, shared: &[u8], role: Role, own: &[u8], peer: &[u8]) -> Result<Keys, Code> {
        const BOUND: &[u8] = b"wse-encryption/bound/";
        // Filled in place: a key that is moved leaves a copy behind that nobody wipes.
        let mut keys = Keys { seal: [0; 32], open: [0; 32] };
        let (salt, info): (Option<&[u8]>, &[u8]) = match self {
            Self::V1 => (Some(b"wse-encryption"), b"aes-gcm-key"),
            Self::V2 => (None, b"wse-encryption/aes-gcm-key"),
            Self::Bound => {
                let (client, server) = match role {
                    Role::Client => (own, peer),
                    Role::Server => (peer, own),
                };
                let one_way = |from: Role, key: &mut [u8; 32]| {
                    let direction: &[u8] = match from {
                        Role::Client => b"client-to-server/",
                        Role::Server => b"server-to-client/",
                    };
                    hkdf_sha256(None, shared, &[BOUND, direction, client, server], key)
                };
                one_way(role, &mut keys.seal)?;
                one_way(role.other(), &mut keys.open)?;
                return Ok(keys);
            }
        };
        hkdf_sha256(salt, shared, &[info], &mut keys.seal)?;
        hkdf_sha256(salt, shared, &[info], &mut keys.open)?;
        Ok(keys)
    }
}

/// One key for each direction. Wiped on drop.
#[derive(Zeroize, ZeroizeOnDrop)]
struct Keys {
    seal: [u8; 32],
    open: [u8; 32],
}

/// HKDF with SHA-256: fills `out` from a secret. The parts of `info` are joined as they are.
///
/// # Errors
/// [`Code::KeyExchangeFailed`] when more than 8,160 bytes are wanted. Source: RFC 5869 §2.3.
pub fn hkdf_sha256(salt: Option<&[u8]>, secret: &[u8], info: &[&[u8]], out: &mut [u8]) -> Result<(), Code> {
    Hkdf::<Sha256>::new(salt, secret).expand_multi_info(info, out).map_err(|_| Code::KeyExchangeFailed)
}

/// The marker of an uncompressed point. Source: SEC 1 §2.3.3.
const UNCOMPRESSED: u8 = 4;

/// Bytes of an uncompressed point: the marker and two coordinates.
const PUBLIC_LEN: usize = 65;

/// Reads an uncompressed point; `None` when it is no point on the curve.
fn point(bytes: &[u8]) -> Option<PublicKey> {
    let (marker, coordinates) = bytes.split_first()?;
    let (x, y) = coordinates.split_at_checked(32)?;
    let point = AffinePoint::from_coordinates(x.try_into().ok()?, y.try_into().ok()?).into_option()?;
    PublicKey::from_affine(point).ok().filter(|_| *marker == UNCOMPRESSED)
}

/// A P-256 key pair for one connection. Wiped on drop.
pub struct KeyPair {
    secret: SecretKey,
}

impl KeyPair {
    /// A fresh pair. The generator cannot make it a second time.
    pub fn generate(rng: &mut Rng) -> Self {
        loop {
            let mut bytes = rng.bytes();
            let pair = Self::from_secret_bytes(&bytes);
            bytes.zeroize();
            rng.forget();
            // All but one in 2^32 draws are below the order of the curve.
            if let Ok(pair) = pair {
                return pair;
            }
        }
    }

    /// The pair of a given secret, big-endian. For stored keys and test vectors.
    ///
    /// # Errors
    /// [`Code::KeyExchangeFailed`] when it is zero or not below the order of the curve.
    pub fn from_secret_bytes(bytes: &[u8; 32]) -> Result<Self, Code> {
        let secret = SecretKey::from_slice(bytes).map_err(|_| Code::KeyExchangeFailed)?;
        Ok(Self { secret })
    }

    /// The public key as it goes on the wire: base64 of 65 bytes, uncompressed SEC1.
    pub fn public_base64(&self) -> String {
        STANDARD.encode(self.public_bytes())
    }

    fn public_bytes(&self) -> [u8; PUBLIC_LEN] {
        let public = self.secret.public_key();
        let mut bytes = [UNCOMPRESSED; PUBLIC_LEN];
        bytes[1..33].copy_from_slice(&public.as_affine().x());
        bytes[33..].copy_from_slice(&public.as_affine().y());
        bytes
    }

    /// Agrees on a key with the peer's public key and gives the two halves of the channel.
    ///
    /// # Errors
    /// [`Code::KeyExchangeFailed`] when the peer's key is no point on the curve, or not in the form that
    /// [`KeyPair::public_base64`] writes.
    pub fn agree(
        &self,
        peer_base64: &str,
        dialect: Dialect,
        role: Role,
        rng: &mut Rng,
    ) -> Result<(Sealer, Opener), Code> {
        let peer = STANDARD.decode(peer_base64).map_err(|_| Code::KeyExchangeFailed)?;
        let mut shared = self.shared_secret(&peer)?;
        let own = self.public_bytes();
        let keys = dialect.derive(&shared, role, &own, &peer);
        shared.zeroize();
        let keys = keys?;
        Ok(one_way_channel(&keys.seal, &keys.open, role, rng))
    }

    /// The X coordinate of the shared point. [`KeyPair::agree`] makes keys of it; alone it is for test vectors.
    /// The caller wipes it.
    ///
    /// # Errors
    /// [`Code::KeyExchangeFailed`] when `peer` is not 65 bytes of uncompressed SEC1, or no point on the curve.
    pub fn shared_secret(&self, peer: &[u8]) -> Result<[u8; 32], Code> {
        let peer = point(peer).ok_or(Code::KeyExchangeFailed)?;
        Ok((*self.secret.diffie_hellman(&peer).raw_secret_bytes()).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{rng::Seed, security::sign::hex};

    fn rng(seed: u64) -> Rng {
        Rng::new(Seed::from_u64(seed))
    }

    fn pairs() -> (KeyPair, KeyPair) {
        (KeyPair::generate(&mut rng(1)), KeyPair::generate(&mut rng(2)))
    }

    #[test]
    fn both_ends_agree_in_either_dialect() {
        let (client, server) = pairs();
        for dialect in [Dialect::V1, Dialect::V2, Dialect::Bound] {
            let (mut to_server, mut from_server) =
                client.agree(&server.public_base64(), dialect, Role::Client, &mut rng(3)).expect("agreed");
            let (mut to_client, mut from_client) =
                server.agree(&client.public_base64(), dialect, Role::Server, &mut rng(4)).expect("agreed");
            assert_eq!(from_client.open(&to_server.seal(b"up").expect("seals")), Ok(b"up".to_vec()));
            assert_eq!(from_server.open(&to_client.seal(b"down").expect("seals")), Ok(b"down".to_vec()));
        }
    }

    #[test]
    fn dialects_do_not_mix() {
        let (client, server) = pairs();
        let (mut sealer, _) =
            client.agree(&server.public_base64(), Dialect::V1, Role::Client, &mut rng(3)).expect("agreed");
        let (_, mut opener) =
            server.agree(&client.public_base64(), Dialect::V2, Role::Server, &mut rng(4)).expect("agreed");
        assert_eq!(opener.open(&sealer.seal(b"x").expect("seals")), Err(Code::DecryptFailed));
    }

    #[test]
    fn bound_keys_differ_by_direction_and_by_public_key() {
        let (client, server) = pairs();
        let (one, two) = ([4; 65], [5; 65]);
        let keys = |role, own: &[u8], peer: &[u8]| Dialect::Bound.derive(&[9; 32], role, own, peer).expect("derives");
        let ours = keys(Role::Client, &one, &two);
        let theirs = keys(Role::Server, &two, &one);
        assert_eq!((ours.seal, ours.open), (theirs.open, theirs.seal));
        assert_ne!(ours.seal, ours.open);
        assert_ne!(ours.seal, keys(Role::Client, &one, &one).seal);
        assert_ne!(ours.seal, keys(Role::Client, &two, &two).seal);
        let (mut sealer, _) =
            client.agree(&server.public_base64(), Dialect::Bound, Role::Client, &mut rng(3)).expect("agreed");
        let (_, mut opener) =
            server.agree(&client.public_base64(), Dialect::V2, Role::Server, &mut rng(4)).expect("agreed");
        assert_eq!(opener.open(&sealer.seal(b"x").expect("seals")), Err(Code::DecryptFailed));
    }

    /// Computed with Python's `cryptography` from the text of PROTOCOL.md §5.1.
    #[test]
    fn bound_keys_are_those_of_another_implementation() {
        let pair = |byte| KeyPair::from_secret_bytes(&[byte; 32]).expect("a secret");
        let (client, server) = (pair(0x11), pair(0x22));
        let public = |pair: &KeyPair| pair.secret.public_key().to_sec1_bytes();
        let shared = client.shared_secret(&public(&server)).expect("a point");
        let keys = Dialect::Bound.derive(&shared, Role::Client, &public(&client), &public(&server)).expect("derives");
        assert_eq!(hex(&keys.seal), "4469003991baf9941fb653ff85ce122b54163f1d7b602a8952454db412157597");
        assert_eq!(hex(&keys.open), "e78ce726816e96c84a25fd54ea9655d0c6d3ba5f947c71a56edd549c776fbe29");
    }

    #[test]
    fn keys_come_from_the_seed() {
        let (one, two) = pairs();
        assert_eq!(one.public_base64(), KeyPair::generate(&mut rng(1)).public_base64());
        assert_ne!(one.public_base64(), two.public_base64());
        assert_eq!(one.public_base64().len(), 88);
    }

    #[test]
    fn a_generator_does_not_go_on_in_the_stream_that_a_key_came_from() {
        let (mut kept, mut used) = (rng(1), rng(1));
        let _ = KeyPair::generate(&mut used);
        let [_, next, after] = [(); 3].map(|()| kept.bytes::<32>());
        let drawn = [(); 3].map(|()| used.bytes::<32>());
        assert!(!drawn.contains(&next) && !drawn.contains(&after));
    }

    #[test]
    fn keys_are_wiped() {
        fn wiped_on_drop<T: ZeroizeOnDrop>(_: &T) {}
        let (pair, _) = pairs();
        wiped_on_drop(&pair.secret);
        wiped_on_drop(&Dialect::V2.derive(&[9; 32], Role::Client, &[4; 65], &[5; 65]).expect("derives"));
        let (sealer, opener) =
            pair.agree(&pairs().1.public_base64(), Dialect::V2, Role::Client, &mut rng(3)).expect("agreed");
        wiped_on_drop(sealer.cipher());
        wiped_on_drop(opener.cipher());
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let (pair, _) = pairs();
        let off_curve = STANDARD.encode([&[4][..], &[1; 64]].concat());
        let compressed = STANDARD.encode([&[2][..], &pair.secret.public_key().to_sec1_bytes()[1..33]].concat());
        for text in ["", "AAAA", "not base64!", &off_curve, &compressed, &STANDARD.encode([0; 65])] {
            let refused = pair.agree(text, Dialect::V2, Role::Client, &mut rng(3)).err();
            assert_eq!(refused, Some(Code::KeyExchangeFailed), "{text}");
        }
        assert!(KeyPair::from_secret_bytes(&[0; 32]).is_err());
        assert!(KeyPair::from_secret_bytes(&[0xFF; 32]).is_err());
    }
}
