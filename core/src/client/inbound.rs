//! What frames of the server mean. Source: PROTOCOL.md §2, §4, §6.

use std::time::Duration;

use crate::{
    delivery::LostRange,
    error::Code,
    io::{Frame, SocketId},
    resilience::ReturnWindow,
    time::Moment,
    wire::{DecodeError, Message, batch, control::Value},
};

use super::{Client, Event, ServerError};

/// A server that wants to be left alone for longer is asked again all the same.
const LONGEST_RETURN: Duration = Duration::from_secs(600);

#[derive(Default)]
struct ErrorPayload {
    code: String,
    message: String,
    recoverable: Option<bool>,
}

impl ErrorPayload {
    fn read(payload: Value<'_>) -> Option<Self> {
        Some(Self {
            code: payload.optional("code", Value::text)?.unwrap_or_default(),
            message: payload.optional("message", Value::text)?.unwrap_or_default(),
            recoverable: payload.optional("recoverable", Value::truth)?,
        })
    }
}

/// Reads `draining`; what is missing or no number of milliseconds is none.
fn return_window(payload: Value<'_>) -> Option<ReturnWindow> {
    let length = |name| {
        let ms = payload.optional(name, Value::unsigned)?.unwrap_or_default();
        Some(Duration::from_millis(ms).min(LONGEST_RETURN))
    };
    Some(ReturnWindow { retry_after: length("retry_after")?, window: length("window")? })
}

#[derive(Default)]
struct LostPayload {
    topic: Option<String>,
    count: Option<u64>,
    epoch: Option<String>,
    from: Option<u64>,
    to: Option<u64>,
}

impl LostPayload {
    fn read(payload: Value<'_>) -> Option<Self> {
        Some(Self {
            topic: payload.optional("topic", Value::text)?,
            count: payload.optional("count", Value::unsigned)?,
            epoch: payload.optional("epoch", Value::text)?,
            from: payload.optional("from", Value::unsigned)?,
            to: payload.optional("to", Value::unsigned)?,
        })
    }
}

impl Client {
    pub(super) fn on_frame(&mut self, socket: SocketId, frame: Frame, now: Moment) {
        let limits = self.config.limits;
        let Some(link) = self.link.as_mut().filter(|link| link.socket == socket) else {
            self.metrics.frames_stale += 1;
            return;
        };
        self.metrics.frames_received += 1;
        self.metrics.bytes_received += frame.len() as u64;
        self.rates.note(0, frame.len() as u64, now);
        self.last_frame = Some(now);
        let wall = self.wall.at(now);
        let decoded = self.recorder.decoded(|| link.channel.decode(frame, &limits, now, wall));
        self.note_life();
        match decoded {
            Ok(message) => self.on_message(message, now),
            Err(error) => self.reject(error),
        }
    }

    fn reject(&mut self, error: DecodeError) {
        self.metrics.frames_rejected += 1;
        self.emit(Event::Rejected(error));
    }

    fn on_message(&mut self, message: Message, now: Moment) {
        if !self.accepts_plaintext(&message, now) {
            return;
        }
        // What has a topic was published by somebody: it is never the server's own word.
        let kind = if message.topic().is_some() { "" } else { message.kind() };
        match kind {
            "server_ready" => self.on_server_ready(&message, now),
            "server_hello" => self.on_server_hello(&message, now),
            "ping" | "PING" => self.on_ping(&message, now),
            "pong" | "PONG" => self.on_pong(&message, now),
            "subscription_update" => self.on_subscription_answer(&message, now),
            "error" => self.on_server_error(message, now),
            "lost" => self.on_lost(&message, now),
            "draining" => self.on_draining(&message),
            "key_rotation_request" => self.on_rotation_request(&message, now),
            "key_rotation_response" => self.on_rotation_response(&message, now),
            "heartbeat" => self.metrics.heartbeats_received += 1,
            batch::KIND => self.on_batch(&message, now),
            "rate_limit_warning" => {
                self.on_rate_limit_warning(&message, now);
                self.on_application_message(message, now);
            }
            _ => self.on_application_message(message, now),
        }
        self.note_alive(now);
    }

    /// Each message in it counts like one that came alone.
    fn on_batch(&mut self, message: &Message, now: Moment) {
        match batch::split(message, &self.config.limits) {
            Ok(items) => {
                let wall = self.wall.at(now);
                for item in items {
                    let Some(link) = &mut self.link else { return };
                    match item.and_then(|item| link.channel.check(&item, wall).map(|()| item)) {
                        Ok(item) => self.on_message(item, now),
                        Err(error) => self.reject(error),
                    }
                }
            }
            Err(error) => self.reject(error),
        }
    }

    /// A client that asked for encryption takes control in the clear, and nothing else, until the key is agreed.
    /// After that a server that seals its control messages too has been tampered with if it speaks in the clear;
    /// older servers go on to send control like that.
    fn accepts_plaintext(&mut self, message: &Message, now: Moment) -> bool {
        let Some(link) = &self.link else { return false };
        let agreed = link.channel.is_encrypted();
        if message.is_encrypted() || (!agreed && self.may_send_control()) {
            return true;
        }
        if agreed && link.full_duplex {
            self.metrics.frames_rejected += 1;
            self.drop_link(Code::EncryptionRequired, "plaintext after encryption was agreed", now);
            return false;
        }
        let control = message.topic().is_none()
            && match message.kind() {
                "server_ready" | "server_hello" | "ping" | "PING" | "pong" | "PONG" | "error" | "heartbeat" => true,
                // A server that goes away while the key is still to come says when to come back.
                "draining" => !agreed,
                _ => false,
            };
        if !control {
            let detail = if agreed { "plaintext after encryption was agreed" } else { "plaintext before the key" };
            self.reject(DecodeError { code: Code::EncryptionRequired, detail: detail.to_owned() });
        }
        control
    }

    fn on_server_error(&mut self, message: Message, now: Moment) {
        let payload = message.payload().read_control(ErrorPayload::read).unwrap_or_default();
        self.note_retry_after(&message, now);
        if payload.code == Code::RateLimited.as_str() {
            self.on_rate_limited(&message, now);
        }
        if let Some(link) = &mut self.link {
            link.last_error = Some((payload.code.clone(), payload.message.clone()));
        }
        let error = ServerError {
            code: payload.code,
            message: payload.message,
            recoverable: payload.recoverable.unwrap_or(true),
            source: message,
        };
        let error = self.end_refused_request(error).and_then(|error| self.end_refused_subscription(error, now));
        if let Some(error) = error {
            self.emit(Event::ServerError(error));
        }
    }

    /// The server goes away and says when it, or another one, wants to see us again.
    fn on_draining(&mut self, message: &Message) {
        let nothing = ReturnWindow { retry_after: Duration::ZERO, window: Duration::ZERO };
        if let Some(link) = &mut self.link {
            link.return_window = Some(message.payload().read_control(return_window).unwrap_or(nothing));
        }
    }

    fn on_lost(&mut self, message: &Message, now: Moment) {
        let lost = message.payload().read_control(LostPayload::read).unwrap_or_default();
        match (lost.topic, lost.epoch, lost.to) {
            (Some(name), Some(epoch), Some(to)) => {
                let first = || lost.count.map_or(to, |count| to.saturating_sub(count.saturating_sub(1)));
                let from = lost.from.unwrap_or_else(first).min(to);
                self.on_dropped(name, LostRange { epoch, from, to: Some(to) }, now);
            }
            (name, _, _) => self.tell_lost(name, lost.count, None),
        }
    }
}
