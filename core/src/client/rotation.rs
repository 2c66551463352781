//! Fresh keys in mid-session: when they are due, and what is said about them. Source: PROTOCOL.md §5.4.

use crate::{
    error::Code,
    rotation::{ROTATION_OVERLAP, RotationAnswer},
    security::RotateError,
    time::Moment,
    wire::Message,
};

use super::{Client, Event, ServerError, Timer};

impl Client {
    pub(super) fn start_rotation(&mut self, now: Moment) -> Result<(), RotateError> {
        let ready = self.is_ready();
        let link = self.link.as_mut().filter(|_| ready).ok_or(RotateError::NotConnected)?;
        let request = link.channel.ask_for_keys(link.full_duplex, &mut self.rng)?;
        link.asked_for_keys = Some(now);
        self.timers.set(Timer::Rotation, now + ROTATION_OVERLAP);
        self.send_control("key_rotation_request", request.written(), now);
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
        if link.channel.keys_overlap() {
            if now.since(keyed_at) < ROTATION_OVERLAP {
                return self.timers.set(Timer::Rotation, keyed_at + ROTATION_OVERLAP);
            }
            return self.drop_link(Code::KeyExchangeFailed, "the server did not change to the new key", now);
        }
        if let Some(asked) = link.asked_for_keys {
            if now.since(asked) < ROTATION_OVERLAP {
                return self.timers.set(Timer::Rotation, asked + ROTATION_OVERLAP);
            }
            return self.drop_link(Code::KeyExchangeFailed, "the server did not answer a key rotation", now);
        }
        let Some(length) = self.config.security.rotate_after else { return };
        if now.since(keyed_at) >= length {
            // What cannot rotate goes on with its key.
            if self.start_rotation(now).is_err() {
                self.timers.set(Timer::Rotation, now + length);
            }
        } else {
            self.timers.set(Timer::Rotation, keyed_at + length);
        }
    }

    /// Renews a key before its counter is used up. A ping comes often enough to ask.
    pub(super) fn rotate_used_key(&mut self, now: Moment) {
        let used = self.link.as_mut().is_some_and(|link| link.channel.keys_are_used());
        if used {
            let _ = self.start_rotation(now);
        }
    }

    pub(super) fn on_rotation_request(&mut self, message: &Message, now: Moment) {
        let Some(link) = self.link.as_mut().filter(|link| link.full_duplex) else { return };
        let answer = link.channel.answer_for_keys(message, true, &mut self.rng, self.wall.at(now));
        let RotationAnswer::Respond(response) = answer else { return };
        self.send_control("key_rotation_response", response.written(), now);
        if response.grants()
            && let Some(link) = &mut self.link
        {
            link.channel.switch_keys();
            self.after_rotation(now);
            self.timers.set(Timer::Rotation, now + ROTATION_OVERLAP);
        }
    }

    pub(super) fn on_rotation_response(&mut self, message: &Message, now: Moment) {
        let Some(link) = &mut self.link else { return };
        let asked = link.asked_for_keys.take().is_some();
        match link.channel.take_up_keys(message, &mut self.rng) {
            Ok(true) => {
                self.after_rotation(now);
                // The first frame under the new key lets the server forget the old one.
                self.ping(now);
            }
            Ok(false) if asked => self.on_rotation_refused(message, now),
            Ok(false) => {}
            Err(code) => self.drop_link(code, "the server answered a key rotation with no usable key", now),
        }
    }

    /// The keys stay, and are asked for again when they are due the next time.
    fn on_rotation_refused(&mut self, message: &Message, now: Moment) {
        match self.config.security.rotate_after {
            Some(length) => self.timers.set(Timer::Rotation, now + length),
            None => self.timers.clear(Timer::Rotation),
        }
        self.emit(Event::ServerError(ServerError {
            code: Code::KeyExchangeFailed.as_str().into(),
            message: "the server refused to renew the keys".into(),
            recoverable: true,
            source: message.clone(),
        }));
    }

    fn after_rotation(&mut self, now: Moment) {
        self.note_new_key(now);
        self.metrics.keys_rotated += 1;
        self.emit(Event::KeysRotated);
    }
}
