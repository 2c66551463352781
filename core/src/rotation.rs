//! Fresh keys in mid-session, as far as both ends do the same. Source: PROTOCOL.md §5.4.

use std::time::Duration;

use crate::{
    channel::Channel,
    error::Code,
    rng::Rng,
    security::{Request, RotateError},
    time::WallTime,
    wire::{
        Message,
        control::{Object, Value},
    },
};

/// How long the end that answered a rotation waits for the first frame under the new key.
pub(crate) const ROTATION_OVERLAP: Duration = Duration::from_secs(90);

/// Frames under one key after which it is renewed. Source: NIST SP 800-38D §8.3.
const ROTATE_AFTER_FRAMES: u64 = 1 << 32;

/// `key_rotation_request`.
#[derive(Default)]
pub(crate) struct RotationRequest {
    public_key: String,
}

impl RotationRequest {
    pub(crate) fn read(payload: Value<'_>) -> Option<Self> {
        Some(Self { public_key: payload.optional("public_key", Value::text)?.unwrap_or_default() })
    }

    pub(crate) fn written(&self) -> Object {
        Object::new().text("public_key", &self.public_key)
    }
}

/// `key_rotation_response`.
#[derive(Default)]
pub(crate) struct RotationResponse {
    success: bool,
    new_public_key: Option<String>,
    timestamp: String,
}

/// What becomes of the other end's wish for fresh keys.
pub(crate) enum RotationAnswer {
    /// The connection is not encrypted, or the request did not come sealed.
    NotEncrypted,
    /// This end has a wish of its own that counts more: no answer.
    Outranked,
    /// To be sent; if it grants the wish, [`Channel::switch_keys`] follows.
    Respond(RotationResponse),
}

impl RotationResponse {
    pub(crate) const fn grants(&self) -> bool {
        self.success
    }

    pub(crate) fn read(payload: Value<'_>) -> Option<Self> {
        Some(Self {
            success: payload.optional("success", Value::truth)?.unwrap_or_default(),
            new_public_key: payload.optional("new_public_key", Value::text)?,
            timestamp: payload.optional("timestamp", Value::text)?.unwrap_or_default(),
        })
    }

    pub(crate) fn written(&self) -> Object {
        Object::new()
            .truth("success", self.success)
            .optional_text("new_public_key", self.new_public_key.as_deref())
            .text("timestamp", &self.timestamp)
    }
}

impl Channel {
    /// The wish for fresh keys, to be sent. `can_rotate` says whether the other end announced `full_duplex`.
    pub(crate) fn ask_for_keys(&mut self, can_rotate: bool, rng: &mut Rng) -> Result<RotationRequest, RotateError> {
        let keys = self.keys().ok_or(RotateError::NotEncrypted)?;
        if !can_rotate {
            return Err(RotateError::NotSupported);
        }
        let public_key = keys.start(rng).ok_or(RotateError::UnderWay)?;
        Ok(RotationRequest { public_key })
    }

    /// Judges the other end's wish. Published ends go on with the old key, so they are refused.
    pub(crate) fn answer_for_keys(
        &mut self,
        request: &Message,
        can_rotate: bool,
        rng: &mut Rng,
        now: WallTime,
    ) -> RotationAnswer {
        let Some(keys) = self.keys().filter(|_| request.is_encrypted()) else { return RotationAnswer::NotEncrypted };
        let wish = request.payload().read_control(RotationRequest::read).unwrap_or_default();
        let judged = if can_rotate { keys.on_request(&wish.public_key, rng) } else { Err(Code::InvalidRequest) };
        let new_public_key = match judged {
            Ok(Request::Outranked) => return RotationAnswer::Outranked,
            Ok(Request::Answer(public_key)) => Some(public_key),
            Err(_) => None,
        };
        let success = new_public_key.is_some();
        RotationAnswer::Respond(RotationResponse { success, new_public_key, timestamp: now.to_string() })
    }

    /// The answer that granted the wish was sealed: its keys come into force.
    pub(crate) fn switch_keys(&mut self) {
        if let Some(keys) = self.keys() {
            keys.switch();
        }
    }

    /// Takes up what the other end answered. Gives whether the keys are new; the first frame under them lets the other
    /// end forget the old ones.
    ///
    /// # Errors
    /// The connection must be renewed: the other end has changed to a key that cannot be used.
    pub(crate) fn take_up_keys(&mut self, response: &Message, rng: &mut Rng) -> Result<bool, Code> {
        let Some(keys) = self.keys().filter(|_| response.is_encrypted()) else { return Ok(false) };
        let response = response.payload().read_control(RotationResponse::read).unwrap_or_default();
        keys.on_answer(response.new_public_key.as_deref().filter(|_| response.success), rng)
    }

    /// Whether frames of the other end may still come under the former key.
    pub(crate) fn keys_overlap(&mut self) -> bool {
        self.keys().is_some_and(|keys| keys.is_overlapping())
    }

    /// Whether the key must be renewed before its counter is used up.
    pub(crate) fn keys_are_used(&mut self) -> bool {
        self.keys().is_some_and(|keys| keys.sealed() >= ROTATE_AFTER_FRAMES)
    }
}
