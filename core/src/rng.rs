//! Randomness from a seed that the driver draws once: same seed and same inputs, same bytes out.

use chacha20::{
    ChaCha20Rng,
    rand_core::{Rng as _, SeedableRng as _},
};
use zeroize::Zeroize;

use crate::time::WallTime;

/// Thirty-two bytes of randomness. A driver draws them from the operating system; a test writes them down.
#[derive(Clone, Zeroize)]
#[zeroize(drop)]
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

/// The engine's only source of randomness (ChaCha20).
pub struct Rng(ChaCha20Rng);

impl Rng {
    /// A generator that starts at `seed`.
    pub fn new(seed: Seed) -> Self {
        Self(ChaCha20Rng::from_seed(seed.0))
    }

    /// Fills `out` with random bytes.
    pub fn fill(&mut self, out: &mut [u8]) {
        self.0.fill_bytes(out);
    }

    /// `N` random bytes.
    pub fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut out = [0; N];
        self.fill(&mut out);
        out
    }

    /// A number in `0.0 .. 1.0`.
    pub fn unit(&mut self) -> f64 {
        const STEPS: f64 = (1u64 << 53) as f64;
        (self.0.next_u64() >> 11) as f64 / STEPS
    }

    /// A message id: UUID version 7 with the given time. Source: RFC 9562 §5.7.
    pub fn message_id(&mut self, wall: WallTime) -> String {
        uuid::Builder::from_unix_timestamp_millis(wall.as_unix_ms(), &self.bytes()).into_uuid().to_string()
    }
}
