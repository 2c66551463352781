//! The keys of one connection, and how both ends renew them while messages flow. Source: PROTOCOL.md §5.4.
//!
//! Frames keep their order, so the change of key needs no numbers. One end asks with a fresh public key, and goes
//! on under the old key. The other answers with its own, which is its last frame under the old key. The asker
//! changes when it reads the answer. Only the end that answered keeps two keys to open with, for frames that were
//! under way when it did.

use bytes::Bytes;

use crate::{error::Code, rng::Rng};

use super::{Dialect, KeyPair, Opener, Role, Sealer};

/// What to do about the other end's wish to renew the keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Answer with this public key, then call [`Keyring::switch`]: the answer is the last frame under the old key.
    Answer(String),
    /// Say nothing: both ends asked at once, and ours is the wish that counts.
    Outranked,
}

/// Both halves of a channel, and the state of a rotation. Keys are wiped on drop.
pub struct Keyring {
    role: Role,
    dialect: Dialect,
    sealer: Sealer,
    opener: Opener,
    /// We asked, and wait for the answer.
    asked: Option<KeyPair>,
    /// We are about to answer; these come into force with the answer.
    next: Option<(Sealer, Opener)>,
    rotations: u64,
}

impl Keyring {
    /// A ring with the first keys of a connection. `dialect` is that of all later ones.
    pub fn new(role: Role, dialect: Dialect, (sealer, opener): (Sealer, Opener)) -> Self {
        Self { role, dialect, sealer, opener, asked: None, next: None, rotations: 0 }
    }

    /// Seals one frame under the present key.
    ///
    /// # Errors
    /// [`Code::KeyExchangeFailed`] when the key is used up.
    pub fn seal(&mut self, plain: &[u8]) -> Result<Bytes, Code> {
        self.sealer.seal(plain)
    }

    /// The half that opens.
    pub const fn opener(&mut self) -> &mut Opener {
        &mut self.opener
    }

    /// Nonces that are remembered: [`Opener::held`].
    pub fn held(&self) -> usize {
        self.opener.held()
    }

    /// Frames sealed under the present key.
    pub const fn sealed(&self) -> u64 {
        self.sealer.sealed()
    }

    /// How often the keys were renewed.
    pub const fn rotations(&self) -> u64 {
        self.rotations
    }

    /// Whether frames of the other end may still come under the former key.
    pub const fn is_overlapping(&self) -> bool {
        self.opener.has_former()
    }

    /// Starts a rotation: the public key to ask with. `None` while one is under way.
    pub fn start(&mut self, rng: &mut Rng) -> Option<String> {
        if self.asked.is_some() || self.is_overlapping() {
            return None;
        }
        let pair = KeyPair::generate(rng);
        let public = pair.public_base64();
        self.asked = Some(pair);
        Some(public)
    }

    /// The other end asks with its public key. When both asked at once, the client's wish counts.
    ///
    /// # Errors
    /// [`Code::KeyExchangeFailed`] when the key is not usable, or a rotation is under way that this end did not ask
    /// for; the keys stay as they are, and the other end must be told.
    pub fn on_request(&mut self, public_key: &str, rng: &mut Rng) -> Result<Request, Code> {
        if self.asked.is_some() && self.role == Role::Client {
            return Ok(Request::Outranked);
        }
        if self.is_overlapping() {
            return Err(Code::KeyExchangeFailed);
        }
        let pair = KeyPair::generate(rng);
        self.next = Some(pair.agree(public_key, self.dialect, self.role, rng)?);
        // The client has a wish of its own and will not answer ours.
        self.asked = None;
        Ok(Request::Answer(pair.public_base64()))
    }

    /// Puts the keys of the answer into force. Call it when the answer was sealed.
    pub fn switch(&mut self) {
        let Some((sealer, opener)) = self.next.take() else { return };
        self.sealer = sealer;
        self.opener.renew(opener, true);
        self.rotations += 1;
    }

    /// The other end answered with its public key, or refused with `None`. Gives whether the keys are new.
    ///
    /// # Errors
    /// [`Code::KeyExchangeFailed`] when the key is not usable. The other end has changed already: the connection
    /// must be renewed.
    pub fn on_answer(&mut self, public_key: Option<&str>, rng: &mut Rng) -> Result<bool, Code> {
        // An answer to a wish that was outranked, or that nobody made.
        let Some(pair) = self.asked.take() else { return Ok(false) };
        let Some(public_key) = public_key else { return Ok(false) };
        let (sealer, opener) = pair.agree(public_key, self.dialect, self.role, rng)?;
        self.sealer = sealer;
        // The answer was the last frame under the old key.
        self.opener.renew(opener, false);
        self.rotations += 1;
        Ok(true)
    }
}

/// Why a rotation was not started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RotateError {
    /// There is no connection at the moment.
    #[error("not connected")]
    NotConnected,
    /// The connection is not encrypted.
    #[error("the connection is not encrypted")]
    NotEncrypted,
    /// The other end cannot renew its keys: it did not announce `full_duplex`.
    #[error("the other end cannot renew its keys")]
    NotSupported,
    /// One is under way.
    #[error("a rotation is under way")]
    UnderWay,
}

impl RotateError {
    /// The stable code.
    pub const fn code(self) -> Code {
        match self {
            Self::NotConnected => Code::NotConnected,
            Self::NotEncrypted => Code::EncryptionRequired,
            Self::NotSupported | Self::UnderWay => Code::InvalidRequest,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Seed;

    fn rng(seed: u64) -> Rng {
        Rng::new(Seed::from_u64(seed))
    }

    fn ends(dialect: Dialect) -> (Keyring, Keyring) {
        let (client, server) = (KeyPair::generate(&mut rng(1)), KeyPair::generate(&mut rng(2)));
        let ring = |own: &KeyPair, other: &KeyPair, role| {
            let halves = own.agree(&other.public_base64(), dialect, role, &mut rng(3)).expect("agreed");
            Keyring::new(role, dialect, halves)
        };
        (ring(&client, &server, Role::Client), ring(&server, &client, Role::Server))
    }

    fn carry(frame: &Bytes, to: &mut Keyring) {
        assert_eq!(to.opener().open(frame), Ok(b"x".to_vec()));
    }

    fn answer(request: Result<Request, Code>) -> String {
        match request {
            Ok(Request::Answer(public)) => public,
            other => panic!("expected an answer, not {other:?}"),
        }
    }

    #[test]
    fn frames_under_way_open_at_each_step() {
        for dialect in [Dialect::V2, Dialect::Bound] {
            let (mut a, mut b) = ends(dialect);
            let wish = a.start(&mut rng(4)).expect("starts");
            assert_eq!(a.start(&mut rng(4)), None, "one at a time");
            let before_request = a.seal(b"x").expect("seals");
            let to_a = b.seal(b"x").expect("seals");
            let public = answer(b.on_request(&wish, &mut rng(5)));
            let last_old = b.seal(b"x").expect("seals");
            b.switch();
            let first_new = b.seal(b"x").expect("seals");
            assert!(b.is_overlapping());
            carry(&before_request, &mut b);
            carry(&to_a, &mut a);
            carry(&last_old, &mut a);
            let sent_late = a.seal(b"x").expect("seals");
            assert_eq!(a.on_answer(Some(&public), &mut rng(6)), Ok(true));
            carry(&first_new, &mut a);
            carry(&sent_late, &mut b);
            let confirmation = a.seal(b"x").expect("seals");
            carry(&confirmation, &mut b);
            assert!(!b.is_overlapping());
            assert_eq!(b.opener().open(&sent_late), Err(Code::DecryptFailed));
            assert_eq!((a.rotations(), b.rotations()), (1, 1));
        }
    }

    #[test]
    fn when_both_ask_at_once_the_client_is_answered() {
        let (mut client, mut server) = ends(Dialect::Bound);
        let of_client = client.start(&mut rng(4)).expect("starts");
        let of_server = server.start(&mut rng(5)).expect("starts");
        assert_eq!(client.on_request(&of_server, &mut rng(6)), Ok(Request::Outranked));
        let public = answer(server.on_request(&of_client, &mut rng(7)));
        server.switch();
        assert_eq!(client.on_answer(Some(&public), &mut rng(8)), Ok(true));
        let (up, down) = (client.seal(b"x").expect("seals"), server.seal(b"x").expect("seals"));
        carry(&up, &mut server);
        carry(&down, &mut client);
        assert_eq!(server.on_answer(Some(&public), &mut rng(9)), Ok(false), "its own wish is forgotten");
    }

    #[test]
    fn a_refusal_or_a_bad_key_leaves_the_keys_as_they_are() {
        let (mut a, mut b) = ends(Dialect::Bound);
        let wish = a.start(&mut rng(4)).expect("starts");
        assert_eq!(b.on_request("AAAA", &mut rng(5)), Err(Code::KeyExchangeFailed));
        b.switch();
        assert_eq!(a.on_answer(None, &mut rng(6)), Ok(false));
        let frame = a.seal(b"x").expect("seals");
        carry(&frame, &mut b);
        let again = a.start(&mut rng(7)).expect("may ask again");
        assert_ne!(wish, again);
        assert_eq!(a.on_answer(Some("AAAA"), &mut rng(8)), Err(Code::KeyExchangeFailed));
    }

    #[test]
    fn a_second_request_before_the_first_new_frame_is_refused() {
        let (mut a, mut b) = ends(Dialect::Bound);
        let wish = a.start(&mut rng(4)).expect("starts");
        answer(b.on_request(&wish, &mut rng(5)));
        b.switch();
        assert_eq!(b.on_request(&wish, &mut rng(6)), Err(Code::KeyExchangeFailed));
        assert_eq!(b.start(&mut rng(7)), None);
    }
}
