//! `E:` frames: AES-256-GCM with a nonce that is never used twice. Source: PROTOCOL.md §5.2, NIST SP 800-38D.

use std::{
    collections::{BTreeSet, VecDeque},
    time::Duration,
};

use aes_gcm::{Aes256Gcm, KeyInit as _, aead::AeadInOut as _};
use bytes::Bytes;

use crate::{error::Code, rng::Rng, time::Moment};

const MARKER: &[u8] = b"E:";
const NONCE_LEN: usize = 12;
const PREFIX_LEN: usize = 4;
const TAG_LEN: usize = 16;
const HEAD_LEN: usize = MARKER.len() + NONCE_LEN;

/// Frames that one key half seals at most. Far above what a connection can send, and low enough for the
/// counter to be told from random bytes.
const MAX_FRAMES: u64 = 1 << 48;

/// Nonces of a peer that does not count which are always remembered.
const WINDOW: usize = 10_000;

/// How long nonces beyond the window are remembered.
const WINDOW_TIME: Duration = Duration::from_secs(5 * 60);

/// Nonces that are remembered at most: about 2 MiB.
const WINDOW_MAX: usize = 4 * WINDOW;

/// Which end of the connection a key half belongs to. Both ends can share one key, so the first bit of the
/// nonce tells them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The end that dialled.
    Client,
    /// The end that accepted.
    Server,
}

impl Role {
    pub(super) const fn other(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }

    const fn nonce_bit(self) -> u8 {
        match self {
            Self::Client => 0,
            Self::Server => 0x80,
        }
    }
}

/// The two halves of a channel over an agreed 32-byte key.
///
/// For test vectors: [`KeyPair::agree`](super::KeyPair::agree) is the way to a channel. **A key is for one call on
/// each end, ever.** The nonces of each channel count from 0 behind 31 random bits, so that some 50,000 channels
/// over one key are likely to seal two frames with one nonce, which gives away the key of the tags. The caller
/// wipes its copy of the key.
#[doc(hidden)]
pub fn channel(key: &[u8; 32], role: Role, rng: &mut Rng) -> (Sealer, Opener) {
    one_way_channel(key, key, role, rng)
}

/// The two halves over one key for each direction.
pub(super) fn one_way_channel(seal: &[u8; 32], open: &[u8; 32], role: Role, rng: &mut Rng) -> (Sealer, Opener) {
    let mut prefix = rng.bytes::<PREFIX_LEN>();
    prefix[0] = prefix[0] & 0x7F | role.nonce_bit();
    let sealer = Sealer { cipher: Aes256Gcm::new(seal.into()), prefix, counter: 0 };
    let half = OpeningKey { cipher: Aes256Gcm::new(open.into()), own_prefix: prefix, history: History::default() };
    (sealer, Opener { now: Moment::ORIGIN, key: half, former: None })
}

/// The sending half: seals frames with a random prefix and a counter as nonce.
pub struct Sealer {
    /// Wipes its key on drop.
    cipher: Aes256Gcm,
    prefix: [u8; PREFIX_LEN],
    counter: u64,
}

impl Sealer {
    /// Frames sealed with this key so far.
    pub const fn sealed(&self) -> u64 {
        self.counter
    }

    /// Seals one whole frame (text with prefix, `C:` or `M:`) into an `E:` frame.
    ///
    /// # Errors
    /// [`Code::KeyExchangeFailed`] when the counter is used up; the connection must be renewed.
    pub fn seal(&mut self, plain: &[u8]) -> Result<Bytes, Code> {
        if self.counter >= MAX_FRAMES {
            return Err(Code::KeyExchangeFailed);
        }
        let nonce = Nonce { prefix: self.prefix, counter: self.counter };
        self.counter += 1;
        self.seal_with(nonce, plain)
    }

    fn seal_with(&self, nonce: Nonce, plain: &[u8]) -> Result<Bytes, Code> {
        let mut frame = Vec::with_capacity(HEAD_LEN + plain.len() + TAG_LEN);
        frame.extend_from_slice(MARKER);
        frame.extend_from_slice(&nonce.to_bytes());
        frame.extend_from_slice(plain);
        let tag = self
            .cipher
            .encrypt_inout_detached(&nonce.to_bytes().into(), b"", (&mut frame[HEAD_LEN..]).into())
            .map_err(|_| Code::KeyExchangeFailed)?;
        frame.extend_from_slice(&tag);
        Ok(frame.into())
    }

    #[cfg(test)]
    pub(super) const fn cipher(&self) -> &Aes256Gcm {
        &self.cipher
    }

    /// Seals with a nonce of the test's choice.
    #[cfg(test)]
    pub(super) fn seal_as(&self, nonce: [u8; NONCE_LEN], plain: &[u8]) -> Bytes {
        self.seal_with(Nonce::from_bytes(nonce), plain).expect("seals")
    }
}

/// The receiving half. Refuses what it has seen before, and what its own end sealed.
pub struct Opener {
    now: Moment,
    key: OpeningKey,
    /// The key before the last rotation, for frames that were under way.
    former: Option<Box<OpeningKey>>,
}

impl Opener {
    #[cfg(test)]
    pub(super) const fn cipher(&self) -> &Aes256Gcm {
        &self.key.cipher
    }

    /// Opens an `E:` frame, marker included.
    ///
    /// From a peer that counts, each frame must have a higher counter than the one before. Published peers draw
    /// their nonces at random: of those, a frame is refused when its nonce is among the last 10,000, or among
    /// those of the last 5 minutes (at most 40,000), by the time that [`Opener::set_now`] was told.
    ///
    /// # Errors
    /// [`Code::DecryptFailed`] for anything cut, changed, repeated, reordered or sealed with another key.
    pub fn open(&mut self, frame: &[u8]) -> Result<Vec<u8>, Code> {
        match self.key.open(frame, self.now) {
            Ok(plain) => {
                // Frames keep their order: behind this one there is none under the former key.
                self.former = None;
                Ok(plain)
            }
            Err(code) => self.former.as_mut().ok_or(code)?.open(frame, self.now),
        }
    }

    /// Tells the time, for the window of peers that draw their nonces.
    pub const fn set_now(&mut self, now: Moment) {
        self.now = now;
    }

    /// Opens with the key of `successor` from here on. With `keep` the present key still opens frames until the
    /// first one under its successor came; a key before that is forgotten.
    pub fn renew(&mut self, successor: Self, keep: bool) {
        let former = std::mem::replace(&mut self.key, successor.key);
        self.former = keep.then(|| Box::new(former));
    }

    /// Nonces that are remembered, under the present key and the one before; at most 40,000 each, and one of a peer that
    /// counts.
    pub fn held(&self) -> usize {
        self.key.history.held() + self.former.as_ref().map_or(0, |key| key.history.held())
    }

    /// Whether the key before the last rotation is still kept.
    pub const fn has_former(&self) -> bool {
        self.former.is_some()
    }
}

/// One key of an [`Opener`], and what was opened with it.
struct OpeningKey {
    /// Wipes its key on drop.
    cipher: Aes256Gcm,
    own_prefix: [u8; PREFIX_LEN],
    history: History,
}

impl OpeningKey {
    fn open(&mut self, frame: &[u8], now: Moment) -> Result<Vec<u8>, Code> {
        let (nonce, content, tag) = split(frame).ok_or(Code::DecryptFailed)?;
        let reflected = nonce.prefix == self.own_prefix && nonce.counter < MAX_FRAMES;
        if reflected || !self.history.allows(nonce) {
            return Err(Code::DecryptFailed);
        }
        let mut plain = content.to_vec();
        self.cipher
            .decrypt_inout_detached(&nonce.to_bytes().into(), b"", plain.as_mut_slice().into(), &(*tag).into())
            .map_err(|_| Code::DecryptFailed)?;
        // Noted only after the tag was right: forged frames cannot push real ones out.
        self.history.note(nonce, now);
        Ok(plain)
    }
}

/// Cuts a frame into nonce, ciphertext and tag.
fn split(frame: &[u8]) -> Option<(Nonce, &[u8], &[u8; TAG_LEN])> {
    let rest = frame.strip_prefix(MARKER)?;
    let (nonce, rest) = rest.split_first_chunk::<NONCE_LEN>()?;
    let (content, tag) = rest.split_last_chunk::<TAG_LEN>()?;
    Some((Nonce::from_bytes(*nonce), content, tag))
}

/// A nonce seen as what it is for a peer that counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Nonce {
    prefix: [u8; PREFIX_LEN],
    counter: u64,
}

impl Nonce {
    fn from_bytes(bytes: [u8; NONCE_LEN]) -> Self {
        let [a, b, c, d, counter @ ..] = bytes;
        Self { prefix: [a, b, c, d], counter: u64::from_be_bytes(counter) }
    }

    fn to_bytes(self) -> [u8; NONCE_LEN] {
        let mut bytes = [0; NONCE_LEN];
        bytes[..PREFIX_LEN].copy_from_slice(&self.prefix);
        bytes[PREFIX_LEN..].copy_from_slice(&self.counter.to_be_bytes());
        bytes
    }

    /// Whether this can only be the nonce of a peer that counts, after `earlier`. For random nonces the chance
    /// is one in 2^64.
    fn counts_on_from(self, earlier: Self) -> bool {
        self.prefix == earlier.prefix && earlier.counter < self.counter && self.counter < MAX_FRAMES
    }
}

/// The nonces of the peer so far.
#[derive(Debug)]
enum History {
    /// The peer counts; this was its last nonce.
    Counting(Nonce),
    /// The peer draws its nonces at random, or it is too early to tell.
    Random { order: VecDeque<(Moment, Nonce)>, seen: BTreeSet<Nonce> },
}

impl Default for History {
    fn default() -> Self {
        Self::Random { order: VecDeque::new(), seen: BTreeSet::new() }
    }
}

impl History {
    fn held(&self) -> usize {
        match self {
            Self::Counting(_) => 1,
            Self::Random { seen, .. } => seen.len(),
        }
    }

    fn allows(&self, nonce: Nonce) -> bool {
        match self {
            Self::Counting(last) => nonce.counts_on_from(*last),
            Self::Random { seen, .. } => !seen.contains(&nonce),
        }
    }

    fn note(&mut self, nonce: Nonce, now: Moment) {
        match self {
            Self::Counting(last) => *last = nonce,
            Self::Random { order, .. } if order.back().is_some_and(|(_, last)| nonce.counts_on_from(*last)) => {
                *self = Self::Counting(nonce);
            }
            Self::Random { order, seen } => {
                order.push_back((now, nonce));
                seen.insert(nonce);
                while let Some((at, oldest)) = order.front()
                    && order.len() > WINDOW
                    && (order.len() > WINDOW_MAX || now.since(*at) > WINDOW_TIME)
                {
                    seen.remove(oldest);
                    order.pop_front();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Seed;

    const KEY: [u8; 32] = [7; 32];

    fn end(role: Role) -> (Sealer, Opener) {
        channel(&KEY, role, &mut Rng::new(Seed::from_u64(role as u64)))
    }

    /// A frame from a peer that draws its nonces.
    fn drawn(number: u64) -> Bytes {
        let Nonce { prefix, counter } = Nonce::from_bytes(Rng::new(Seed::from_u64(number + 100)).bytes());
        let cipher = Aes256Gcm::new(&KEY.into());
        let mut frame = [MARKER, &Nonce { prefix, counter }.to_bytes(), b"x"].concat();
        let tag = cipher
            .encrypt_inout_detached(&Nonce { prefix, counter }.to_bytes().into(), b"", (&mut frame[HEAD_LEN..]).into())
            .expect("encrypts");
        frame.extend_from_slice(&tag);
        frame.into()
    }

    #[test]
    fn nonces_name_the_end_and_count() {
        let (mut client, _) = end(Role::Client);
        let (mut server, _) = end(Role::Server);
        for counter in 0..3u8 {
            let frame = client.seal(b"x").expect("seals");
            assert_eq!((frame[2] & 0x80, &frame[6..14]), (0, &[0, 0, 0, 0, 0, 0, 0, counter][..]));
            assert_eq!(server.seal(b"x").expect("seals")[2] & 0x80, 0x80);
        }
    }

    #[test]
    fn a_used_up_counter_is_refused() {
        let (mut sealer, _) = end(Role::Client);
        sealer.counter = MAX_FRAMES - 1;
        assert!(sealer.seal(b"x").is_ok());
        assert_eq!(sealer.seal(b"x"), Err(Code::KeyExchangeFailed));
        assert_eq!(sealer.sealed(), MAX_FRAMES);
    }

    #[test]
    fn any_change_is_refused_and_leaves_no_trace() {
        let (mut sealer, _) = end(Role::Client);
        let (_, mut opener) = end(Role::Server);
        let frame = sealer.seal(b"hello").expect("seals");
        for at in 0..frame.len() {
            let mut changed = frame.to_vec();
            changed[at] ^= 1;
            assert_eq!(opener.open(&changed), Err(Code::DecryptFailed), "byte {at}");
            assert_eq!(opener.open(&frame[..at]), Err(Code::DecryptFailed), "cut at {at}");
        }
        assert_eq!(opener.open(&frame), Ok(b"hello".to_vec()));
    }

    #[test]
    fn repeated_and_reordered_frames_of_a_counting_peer_are_refused() {
        let (mut sealer, _) = end(Role::Client);
        let (_, mut opener) = end(Role::Server);
        let frames: Vec<Bytes> = (0..5).map(|_| sealer.seal(b"x").expect("seals")).collect();
        for at in [0, 1, 3] {
            assert!(opener.open(&frames[at]).is_ok());
        }
        for at in [0, 1, 2, 3] {
            assert_eq!(opener.open(&frames[at]), Err(Code::DecryptFailed), "frame {at}");
        }
        assert!(opener.open(&frames[4]).is_ok());
        // Who counted once does not start to draw.
        assert_eq!(opener.open(&drawn(1)), Err(Code::DecryptFailed));
    }

    #[test]
    fn the_first_frame_cannot_be_repeated_either() {
        let (mut sealer, _) = end(Role::Client);
        let (_, mut opener) = end(Role::Server);
        let frame = sealer.seal(b"x").expect("seals");
        assert!(opener.open(&frame).is_ok());
        assert_eq!(opener.open(&frame), Err(Code::DecryptFailed));
    }

    #[test]
    fn drawn_nonces_are_remembered_within_bounds() {
        let (_, mut opener) = end(Role::Server);
        let remembered = |opener: &Opener| match &opener.key.history {
            History::Random { order, seen } => (order.len(), seen.len()),
            History::Counting(_) => panic!("drawn nonces do not count"),
        };
        let last = WINDOW as u64;
        for number in 0..=last {
            assert!(opener.open(&drawn(number)).is_ok(), "{number}");
        }
        // Within five minutes more than the window is remembered, after them no less.
        assert_eq!(remembered(&opener), (WINDOW + 1, WINDOW + 1));
        assert_eq!(opener.open(&drawn(0)), Err(Code::DecryptFailed));
        opener.set_now(Moment::ORIGIN + WINDOW_TIME + Duration::from_millis(1));
        assert!(opener.open(&drawn(last + 1)).is_ok());
        assert_eq!(remembered(&opener), (WINDOW, WINDOW));
        for number in [2, last, last + 1] {
            assert_eq!(opener.open(&drawn(number)), Err(Code::DecryptFailed), "{number}");
        }
    }

    #[test]
    fn the_window_of_drawn_nonces_has_a_ceiling() {
        let mut history = History::default();
        for number in 0..=WINDOW_MAX as u64 {
            history.note(Nonce { prefix: [1; 4], counter: u64::MAX - number }, Moment::ORIGIN);
        }
        let History::Random { order, seen } = &history else { panic!("drawn nonces do not count") };
        assert_eq!((order.len(), seen.len()), (WINDOW_MAX, WINDOW_MAX));
    }

    #[test]
    fn a_former_key_opens_until_the_first_frame_under_its_successor() {
        let (mut old_sealer, _) = end(Role::Client);
        let (_, mut opener) = end(Role::Server);
        let mut rng = Rng::new(Seed::from_u64(9));
        let (mut sealer, _) = channel(&[8; 32], Role::Client, &mut rng);
        opener.renew(channel(&[8; 32], Role::Server, &mut rng).1, true);
        let under_way = old_sealer.seal(b"old").expect("seals");
        let late = old_sealer.seal(b"late").expect("seals");
        assert_eq!(opener.open(&under_way), Ok(b"old".to_vec()));
        assert_eq!(opener.open(&under_way), Err(Code::DecryptFailed));
        assert!(opener.has_former());
        assert_eq!(opener.open(&sealer.seal(b"new").expect("seals")), Ok(b"new".to_vec()));
        assert!(!opener.has_former());
        assert_eq!(opener.open(&late), Err(Code::DecryptFailed));
    }

    #[test]
    fn what_an_end_sealed_itself_is_refused() {
        let (mut sealer, mut opener) = end(Role::Client);
        assert_eq!(opener.open(&sealer.seal(b"x").expect("seals")), Err(Code::DecryptFailed));
    }
}
