//! Sending no faster than the server takes. Source: PROTOCOL.md §7.3.

use std::time::Duration;

use crate::{
    delivery::{RateLimit, TokenBucket},
    time::Moment,
    wire::{Message, control::Value},
};

use super::Client;

/// Pause after a refusal that names none.
const DEFAULT_PAUSE: Duration = Duration::from_secs(1);

/// Longest pause that a server is granted.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// How long a server's word about its limits counts after the pause that it asked for.
const MEMORY: Duration = Duration::from_secs(60);

/// What servers say of their limits; published ones differ, so each member is taken only if it is a number.
struct Words {
    /// Seconds.
    retry_after: Option<f64>,
    /// Messages in one window.
    limit: Option<f64>,
    /// Seconds; 1 when it is missing.
    window: Option<f64>,
}

impl Words {
    fn of(message: &Message) -> Self {
        let text = message.payload().to_json();
        let payload = Value::new(&text);
        let positive = |name| payload.member(name)?.number().filter(|number| *number > 0.0);
        Self { retry_after: positive("retry_after"), limit: positive("limit"), window: positive("window") }
    }

    fn pause(&self) -> Option<Duration> {
        self.retry_after.map(|seconds| Duration::from_secs_f64(seconds.min(LONGEST_PAUSE.as_secs_f64())))
    }
}

impl Client {
    /// Notes the pause that the server named in an `error` of any code, or a warning: a close that follows keeps us
    /// away for as long.
    pub(super) fn note_retry_after(&mut self, message: &Message, now: Moment) {
        if let (Some(pause), Some(link)) = (Words::of(message).pause(), &mut self.link) {
            link.refused_until = link.refused_until.max(Some(now + pause));
        }
    }

    /// The server warns (`rate_limit_warning`).
    pub(super) fn on_rate_limit_warning(&mut self, message: &Message, now: Moment) {
        self.note_retry_after(message, now);
        self.pace(message, None, now);
    }

    /// The server refused a message (`error` with `RATE_LIMITED`).
    pub(super) fn on_rate_limited(&mut self, message: &Message, now: Moment) {
        self.pace(message, Some(DEFAULT_PAUSE), now);
    }

    fn pace(&mut self, message: &Message, least: Option<Duration>, now: Moment) {
        let words = Words::of(message);
        let named = words.limit.map(|limit| RateLimit {
            capacity: limit.min(f64::from(u32::MAX)) as u32,
            refill: limit / words.window.unwrap_or(1.0),
        });
        let pause = words.pause().or(least);
        if named.is_none() && pause.is_none() {
            return;
        }
        let limit = self.stricter(named);
        let pacer = self.outbox.pacer.get_or_insert_with(|| TokenBucket::new(limit, now));
        pacer.adjust(limit, now);
        if let Some(pause) = pause {
            pacer.pause_until(now + pause);
        }
        self.outbox.paced_until = Some(now + pause.unwrap_or_default() + MEMORY);
        self.flush(now);
    }

    /// The figures of the server, but never more than the application allows.
    fn stricter(&self, named: Option<RateLimit>) -> RateLimit {
        let present = self.outbox.pacer.as_ref().map(TokenBucket::limit).unwrap_or_default();
        let named = named.unwrap_or(present);
        match self.config.performance.rate_limit {
            Some(own) => RateLimit { capacity: named.capacity.min(own.capacity), refill: named.refill.min(own.refill) },
            None => named,
        }
    }

    /// Takes leave to send one message now.
    pub(super) fn take_token(&mut self, now: Moment) -> bool {
        if self.outbox.paced_until.is_some_and(|until| now >= until) {
            self.outbox.paced_until = None;
            self.outbox.pacer = self.config.performance.rate_limit.map(|limit| TokenBucket::new(limit, now));
        }
        self.outbox.pacer.as_mut().is_none_or(|pacer| pacer.take(now))
    }
}
