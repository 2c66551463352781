//! Fresh keys in mid-session, and what is said about encryption. Source: PROTOCOL.md §5.4, §5.5.

use serde::Serialize;

use crate::{
    error::{Code, close},
    io::Close,
    rotation::{ROTATION_OVERLAP, RotationAnswer},
    security::RotateError,
    time::Moment,
    wire::Message,
};

use super::{Event, Output, Peer, Timer};

#[derive(Serialize)]
struct EncryptionStatus {
    enabled: bool,
    algorithms: Algorithms,
    rotations: u64,
}

#[derive(Serialize)]
struct Algorithms {
    encryption: &'static str,
    signing: &'static str,
    key_exchange: &'static str,
}

impl Peer {
    pub(super) fn start_rotation(&mut self, now: Moment) -> Result<(), RotateError> {
        if self.over {
            return Err(RotateError::NotConnected);
        }
        let request = self.channel.ask_for_keys(self.full_duplex, &mut self.rng)?;
        self.send_payload("key_rotation_request", &request.written().into_payload(), None, now);
        Ok(())
    }

    /// Renews a key before its counter is used up. A ping comes often enough to ask.
    pub(super) fn rotate_used_key(&mut self, now: Moment) {
        if self.channel.keys_are_used() {
            // A client that cannot rotate ends with its key; a rotation under way needs no second one.
            let _ = self.start_rotation(now);
        }
    }

    pub(super) fn on_overlap_over(&mut self, now: Moment) {
        if self.channel.keys_overlap() {
            let code = Code::KeyExchangeFailed;
            self.fail(code, "the client did not change to the new key", Close::new(close::POLICY, code.as_str()), now);
        }
    }

    pub(super) fn on_rotation_request(&mut self, message: &Message, now: Moment) {
        let id = message.id();
        let answer = self.channel.answer_for_keys(message, self.full_duplex, &mut self.rng, self.wall.at(now));
        let response = match answer {
            RotationAnswer::NotEncrypted => {
                return self.send_error(Code::EncryptionRequired, "the connection is not encrypted", true, id, now);
            }
            RotationAnswer::Outranked => return,
            RotationAnswer::Respond(response) => response,
        };
        self.send_payload("key_rotation_response", &response.written().into_payload(), id, now);
        if response.grants() && !self.over {
            self.channel.switch_keys();
            self.timers.set(Timer::Rotation, now + ROTATION_OVERLAP);
            self.outputs.push_back(Output::Emit(Event::KeysRotated));
        }
    }

    pub(super) fn on_rotation_response(&mut self, message: &Message, now: Moment) {
        match self.channel.take_up_keys(message, &mut self.rng) {
            Ok(true) => {
                self.outputs.push_back(Output::Emit(Event::KeysRotated));
                // The first frame under the new key lets the client forget the old one.
                self.ping(now);
            }
            Ok(false) => {}
            Err(code) => self.fail(
                code,
                "the answer to a key rotation has no usable key",
                Close::new(close::POLICY, code.as_str()),
                now,
            ),
        }
    }

    /// Tells how the connection stands. Encryption is agreed by hello alone and never given up: neither `enable`
    /// nor `disable` changes anything.
    pub(super) fn on_encryption_request(&mut self, message: &Message, now: Moment) {
        let status = EncryptionStatus {
            enabled: self.channel.is_encrypted(),
            algorithms: Algorithms { encryption: "AES-GCM-256", signing: "HMAC-SHA256", key_exchange: "ECDH-P256" },
            rotations: self.channel.keys().map_or(0, |keys| keys.rotations()),
        };
        self.send_control("encryption_response", &status, message.id(), now);
    }
}
