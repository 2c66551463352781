//! Ids seen lately.

use std::{
    collections::VecDeque,
    hash::{BuildHasherDefault, Hasher},
};

#[expect(clippy::disallowed_types, reason = "asked for membership only and never iterated, so order cannot matter")]
type Set = std::collections::HashSet<u64, BuildHasherDefault<AsIs>>;

/// Remembers the last `capacity` ids, so that a message that comes again is recognised.
///
/// Ids are kept as 64-bit hashes under a secret key: nobody can make two ids meet on purpose, and by chance it
/// happens once in 10^15 messages with the default window. Memory grows with use, up to some 24 bytes an id.
#[derive(Debug)]
pub struct DedupWindow {
    capacity: usize,
    key: [u64; 2],
    order: VecDeque<u64>,
    seen: Set,
}

impl DedupWindow {
    /// Ids remembered by default.
    pub const DEFAULT_CAPACITY: usize = 10_000;

    /// A window over the last `capacity` ids; 0 remembers nothing. `key` comes from the client's randomness.
    pub fn new(capacity: usize, key: [u8; 16]) -> Self {
        let [a, b] = [&key[..8], &key[8..]].map(|half| u64::from_le_bytes(half.try_into().expect("eight bytes")));
        Self { capacity, key: [a, b], order: VecDeque::new(), seen: Set::default() }
    }

    /// Ids remembered at the moment.
    #[expect(clippy::len_without_is_empty, reason = "a bound is looked at, never whether there is any")]
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Notes an id; `false` when it is among those remembered already.
    pub fn insert(&mut self, id: &str) -> bool {
        if self.capacity == 0 {
            return true;
        }
        let hash = keyed_hash(self.key, id.as_bytes());
        if !self.seen.insert(hash) {
            return false;
        }
        if self.order.len() == self.capacity
            && let Some(oldest) = self.order.pop_front()
        {
            self.seen.remove(&oldest);
        }
        self.order.push_back(hash);
        true
    }
}

/// SipHash-2-4. Source: Aumasson and Bernstein, "SipHash: a fast short-input PRF".
fn keyed_hash([k0, k1]: [u64; 2], text: &[u8]) -> u64 {
    let mut v = [
        k0 ^ 0x736f_6d65_7073_6575,
        k1 ^ 0x646f_7261_6e64_6f6d,
        k0 ^ 0x6c79_6765_6e65_7261,
        k1 ^ 0x7465_6462_7974_6573,
    ];
    let mut chunks = text.chunks_exact(8);
    for chunk in &mut chunks {
        compress(&mut v, u64::from_le_bytes(chunk.try_into().expect("eight bytes")));
    }
    let mut last = [0; 8];
    let rest = chunks.remainder();
    last[..rest.len()].copy_from_slice(rest);
    last[7] = text.len() as u8;
    compress(&mut v, u64::from_le_bytes(last));
    v[2] ^= 0xff;
    for _ in 0..4 {
        round(&mut v);
    }
    v[0] ^ v[1] ^ v[2] ^ v[3]
}

fn compress(v: &mut [u64; 4], word: u64) {
    v[3] ^= word;
    round(v);
    round(v);
    v[0] ^= word;
}

fn round(v: &mut [u64; 4]) {
    v[0] = v[0].wrapping_add(v[1]);
    v[2] = v[2].wrapping_add(v[3]);
    v[1] = v[1].rotate_left(13) ^ v[0];
    v[3] = v[3].rotate_left(16) ^ v[2];
    v[0] = v[0].rotate_left(32);
    v[2] = v[2].wrapping_add(v[1]);
    v[0] = v[0].wrapping_add(v[3]);
    v[1] = v[1].rotate_left(17) ^ v[2];
    v[3] = v[3].rotate_left(21) ^ v[0];
    v[2] = v[2].rotate_left(32);
}

/// The keys of the set are hashes already.
#[derive(Default)]
struct AsIs(u64);

impl Hasher for AsIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _bytes: &[u8]) {
        unreachable!("only u64 keys are hashed");
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_siphash_2_4() {
        // First and sixteenth vector of the reference implementation: key 00..0f, text 00..len.
        let key = [0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908];
        let text: Vec<u8> = (0..15).collect();
        assert_eq!(keyed_hash(key, b""), 0x726f_db47_dd0e_0e31);
        assert_eq!(keyed_hash(key, &text), 0xa129_ca61_49be_45e5);
    }

    #[test]
    fn an_id_counts_once_until_it_leaves_the_window() {
        let mut window = DedupWindow::new(3, [1; 16]);
        assert!(window.insert("a") && window.insert("b"));
        assert!(!window.insert("a"));
        assert!(window.insert("c") && window.insert("d"));
        assert_eq!(window.order.len(), 3);
        assert!(window.insert("a"), "the oldest was forgotten");
        assert!(!window.insert("d"));
    }

    #[test]
    fn a_window_of_nothing_lets_everything_pass() {
        let mut window = DedupWindow::new(0, [1; 16]);
        assert!(window.insert("a") && window.insert("a"));
        assert!(window.order.is_empty());
    }
}
