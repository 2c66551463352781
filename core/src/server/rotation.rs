//! Fresh keys in mid-session, and what is said about encryption. Source: PROTOCOL.md §5.4, §5.5.

use serde::Serialize;

use crate::{
    channel::{ROTATE_AFTER_FRAMES, ROTATION_OVERLAP, RotationRequest, RotationResponse},
    error::{Code, close},
    io::Close,
    security::{Request, RotateError},
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
        let keys = self.channel.keys().ok_or(RotateError::NotEncrypted)?;
        if !self.full_duplex {
            return Err(RotateError::NotSupported);
        }
        let public_key = keys.start(&mut self.rng).ok_or(RotateError::UnderWay)?;
        self.send_payload("key_rotation_request", &RotationRequest { public_key }.written().into_payload(), None, now);
        Ok(())
    }

    /// Renews a key before its counter is used up. A ping comes often enough to ask.
    pub(super) fn rotate_used_key(&mut self, now: Moment) {
        if self.channel.keys().is_some_and(|keys| keys.sealed() >= ROTATE_AFTER_FRAMES) {
            // A client that cannot rotate ends with its key; a rotation under way needs no second one.
            let _ = self.start_rotation(now);
        }
    }

    pub(super) fn on_overlap_over(&mut self, now: Moment) {
        if self.channel.keys().is_some_and(|keys| keys.is_overlapping()) {
            let code = Code::KeyExchangeFailed;
            self.fail(code, "the client did not change to the new key", Close::new(close::POLICY, code.as_str()), now);
        }
    }

    pub(super) fn on_rotation_request(&mut self, message: &Message, now: Moment) {
        let id = message.id();
        let Some(keys) = self.channel.keys().filter(|_| message.is_encrypted()) else {
            return self.send_error(Code::EncryptionRequired, "the connection is not encrypted", true, id, now);
        };
        let request = message.payload().read_control(RotationRequest::read).unwrap_or_default();
        // Published clients go on with the old key, so they are refused.
        let wish = if self.full_duplex {
            keys.on_request(&request.public_key, &mut self.rng)
        } else {
            Err(Code::InvalidRequest)
        };
        let answer = match wish {
            Ok(Request::Outranked) => return,
            Ok(Request::Answer(public_key)) => Some(public_key),
            Err(_) => None,
        };
        let success = answer.is_some();
        let timestamp = self.wall.at(now).to_string();
        let response = RotationResponse { success, new_public_key: answer, timestamp };
        self.send_payload("key_rotation_response", &response.written().into_payload(), id, now);
        if success
            && !self.over
            && let Some(keys) = self.channel.keys()
        {
            keys.switch();
            self.timers.set(Timer::Rotation, now + ROTATION_OVERLAP);
            self.outputs.push_back(Output::Emit(Event::KeysRotated));
        }
    }

    pub(super) fn on_rotation_response(&mut self, message: &Message, now: Moment) {
        let response = message.payload().read_control(RotationResponse::read).unwrap_or_default();
        let Some(keys) = self.channel.keys().filter(|_| message.is_encrypted()) else { return };
        let public_key = response.new_public_key.as_deref().filter(|_| response.success);
        match keys.on_answer(public_key, &mut self.rng) {
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
