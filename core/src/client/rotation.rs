//! Fresh keys in mid-session: when they are due, and what is said about them. Source: PROTOCOL.md §5.4.

use crate::{
    channel::{ROTATE_AFTER_FRAMES, ROTATION_OVERLAP, RotationRequest, RotationResponse},
    error::Code,
    security::{Request, RotateError},
    time::Moment,
    wire::Message,
};

use super::{Client, Event, Timer};

impl Client {
    pub(super) fn start_rotation(&mut self, now: Moment) -> Result<(), RotateError> {
        let ready = self.is_ready();
        let link = self.link.as_mut().filter(|_| ready).ok_or(RotateError::NotConnected)?;
        let full_duplex = link.full_duplex;
        let keys = link.channel.keys().ok_or(RotateError::NotEncrypted)?;
        if !full_duplex {
            return Err(RotateError::NotSupported);
        }
        let public_key = keys.start(&mut self.rng).ok_or(RotateError::UnderWay)?;
        self.send_control("key_rotation_request", RotationRequest { public_key }.written(), now);
        Ok(())
    }

    /// Remembers when a key came into force, and puts its end on the clock.
    pub(super) fn note_new_key(&mut self, now: Moment) {
        if let Some(link) = &mut self.link {
            link.keyed_at = now;
        }
        if let Some(length) = self.config.security.rotate_after {
            self.timers.set(Timer::Rotation, now + length);
        }
    }

    pub(super) fn on_rotation_due(&mut self, now: Moment) {
        let Some(link) = &mut self.link else { return };
        let keyed_at = link.keyed_at;
        if link.channel.keys().is_some_and(|keys| keys.is_overlapping()) {
            if now.since(keyed_at) < ROTATION_OVERLAP {
                return self.timers.set(Timer::Rotation, keyed_at + ROTATION_OVERLAP);
            }
            return self.drop_link(Code::KeyExchangeFailed, "the server did not change to the new key", now);
        }
        let Some(length) = self.config.security.rotate_after else { return };
        if now.since(keyed_at) >= length {
            // What cannot rotate goes on with its key; a rotation under way needs no second one.
            let _ = self.start_rotation(now);
            self.timers.set(Timer::Rotation, now + length);
        } else {
            self.timers.set(Timer::Rotation, keyed_at + length);
        }
    }

    /// Renews a key before its counter is used up. A ping comes often enough to ask.
    pub(super) fn rotate_used_key(&mut self, now: Moment) {
        let used = self
            .link
            .as_mut()
            .and_then(|link| link.channel.keys())
            .is_some_and(|keys| keys.sealed() >= ROTATE_AFTER_FRAMES);
        if used {
            let _ = self.start_rotation(now);
        }
    }

    pub(super) fn on_rotation_request(&mut self, message: &Message, now: Moment) {
        let request = message.payload().read_control(RotationRequest::read).unwrap_or_default();
        let Some(link) = self.link.as_mut().filter(|link| link.full_duplex && message.is_encrypted()) else { return };
        let Some(keys) = link.channel.keys() else { return };
        let answer = match keys.on_request(&request.public_key, &mut self.rng) {
            Ok(Request::Outranked) => return,
            Ok(Request::Answer(public_key)) => Some(public_key),
            Err(_) => None,
        };
        let success = answer.is_some();
        let timestamp = self.wall.at(now).to_string();
        let response = RotationResponse { success, new_public_key: answer, timestamp };
        self.send_control("key_rotation_response", response.written(), now);
        if success && let Some(keys) = self.link.as_mut().and_then(|link| link.channel.keys()) {
            keys.switch();
            self.after_rotation(now);
            self.timers.set(Timer::Rotation, now + ROTATION_OVERLAP);
        }
    }

    pub(super) fn on_rotation_response(&mut self, message: &Message, now: Moment) {
        let response = message.payload().read_control(RotationResponse::read).unwrap_or_default();
        let Some(link) = self.link.as_mut().filter(|_| message.is_encrypted()) else { return };
        let Some(keys) = link.channel.keys() else { return };
        let public_key = response.new_public_key.as_deref().filter(|_| response.success);
        match keys.on_answer(public_key, &mut self.rng) {
            Ok(true) => {
                self.after_rotation(now);
                // The first frame under the new key lets the server forget the old one.
                self.ping(now);
            }
            Ok(false) => {}
            Err(code) => self.drop_link(code, "the server answered a key rotation with no usable key", now),
        }
    }

    fn after_rotation(&mut self, now: Moment) {
        self.note_new_key(now);
        self.emit(Event::KeysRotated);
    }
}
