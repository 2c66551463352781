//! Randomness from a seed that the driver draws once: same seed and same inputs, same bytes out.

use chacha20::{
    ChaCha20Rng,
    rand_core::{Rng as _, SeedableRng as _},
};
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::time::WallTime;

/// Thirty-two bytes of randomness. A driver draws them from the operating system; a test writes them down.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Seed([u8; 32]);

impl Seed {
    /// A seed from 32 bytes of the operating system's randomness.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// A seed for tests and simulations. Not secret: never use it where keys are made.
    pub fn from_u64(number: u64) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&number.to_le_bytes());
        Self(bytes)
    }
}

/// The engine's only source of randomness: two streams of ChaCha20 from one seed.
///
/// Secrets (keys, nonces) come from [`Rng::fill`] and [`Rng::bytes`]. Pauses, choices and message ids come from
/// [`Rng::unit`] and [`Rng::message_id`], which draw from a stream of their own: its seed may be written into a
/// recording (see [`crate::record`]) and tells nothing about the secrets, because it is itself output of the first
/// stream, and ChaCha20 cannot be run backwards from its output. After each key pair the first stream starts anew
/// from its own output ([`Rng::forget`]), for the same reason. Both are wiped on drop.
pub struct Rng {
    secrets: ChaCha20Rng,
    choices: ChaCha20Rng,
    choices_seed: [u8; 32],
}

impl Rng {
    /// A generator that starts at `seed`.
    pub fn new(seed: Seed) -> Self {
        let mut secrets = ChaCha20Rng::from_seed(seed.0);
        let mut choices_seed = [0; 32];
        secrets.fill_bytes(&mut choices_seed);
        Self { secrets, choices: ChaCha20Rng::from_seed(choices_seed), choices_seed }
    }

    /// The same with the choices of another generator: what was recorded of it is enough to choose again.
    pub(crate) fn choosing_as(seed: Seed, choices_seed: [u8; 32]) -> Self {
        Self { choices: ChaCha20Rng::from_seed(choices_seed), choices_seed, ..Self::new(seed) }
    }

    /// Where the choices started; no secret.
    pub(crate) const fn choices_seed(&self) -> [u8; 32] {
        self.choices_seed
    }

    /// Fills `out` with random bytes, fit for keys.
    pub fn fill(&mut self, out: &mut [u8]) {
        self.secrets.fill_bytes(out);
    }

    /// `N` random bytes, fit for keys.
    pub fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut out = [0; N];
        self.fill(&mut out);
        out
    }

    /// Goes on from a seed of its own output: what was drawn before cannot be computed again from this generator.
    pub(crate) fn forget(&mut self) {
        let mut seed = self.bytes();
        self.secrets = ChaCha20Rng::from_seed(seed);
        seed.zeroize();
    }

    /// A number in `0.0 .. 1.0`.
    pub fn unit(&mut self) -> f64 {
        const STEPS: f64 = (1u64 << 53) as f64;
        (self.choices.next_u64() >> 11) as f64 / STEPS
    }

    /// A message id: UUID version 7 with the given time. Source: RFC 9562 §5.7.
    pub fn message_id(&mut self, wall: WallTime) -> String {
        let mut random = [0; 10];
        self.choices.fill_bytes(&mut random);
        uuid::Builder::from_unix_timestamp_millis(wall.as_unix_ms(), &random).into_uuid().to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_can_be_made_again_without_the_secrets() {
        let mut rng = Rng::new(Seed::from_u64(7));
        let mut again = Rng::choosing_as(Seed::from_u64(8), rng.choices_seed());
        assert_ne!(rng.bytes::<32>(), again.bytes::<32>());
        let wall = WallTime::from_unix_ms(1);
        assert_eq!((rng.unit(), rng.message_id(wall)), (again.unit(), again.message_id(wall)));
    }

    #[test]
    fn the_seed_of_the_choices_is_not_given_out_as_a_secret() {
        let mut rng = Rng::new(Seed::from_u64(7));
        assert_ne!(rng.bytes::<32>(), rng.choices_seed());
    }
}
