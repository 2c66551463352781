//! How fast a client may send. Source: PROTOCOL.md §7.3.
//!
//! Two buckets. Each message for the application or a topic takes a token of the first; when there is none, the message
//! is refused. Each frame takes one of the second, and each refused message another; it holds twice as much, and when it is
//! empty, the connection ends. So a client that is somewhat too fast loses single messages and is told which, and one that
//! keeps sending at more than one and a half times the rate, or floods with pings and requests, is sent away.

use std::time::Duration;

use serde::Serialize;

use crate::{
    delivery::{RateLimit, TokenBucket},
    error::{Code, close},
    io::Close,
    time::Moment,
    wire::{DecodeError, Message},
};

use super::{Event, Output, Peer};

/// A warning goes out when less than this part of the burst is left.
const WARN_BELOW: f64 = 0.2;

/// Least time between two warnings.
const WARN_EVERY: Duration = Duration::from_secs(1);

/// Longest pause that is asked for. Source: PROTOCOL.md §7.3.
const LONGEST_PAUSE: f64 = 300.0;

/// What one client has sent, against what it may.
#[derive(Debug)]
pub(super) struct InboundRate {
    messages: TokenBucket,
    patience: TokenBucket,
    warned: Option<Moment>,
    /// Messages in this second, and in the one before.
    second: u64,
    present: u32,
    past: u32,
}

/// A rate as the wire has it: `limit` messages in `window` seconds.
#[derive(Serialize, Clone, Copy)]
pub(super) struct Rate {
    limit: f64,
    window: f64,
}

#[derive(Serialize)]
struct Warning {
    current_rate: u32,
    #[serde(flatten)]
    rate: Rate,
    remaining: u32,
    retry_after: f64,
}

/// How long to wait, and how fast to go on.
#[derive(Serialize, Clone, Copy)]
pub(super) struct Pause {
    retry_after: f64,
    #[serde(flatten)]
    rate: Rate,
}

impl InboundRate {
    pub(super) fn new(limit: RateLimit, now: Moment) -> Self {
        let limit = limit.clamped();
        let twice = RateLimit { capacity: limit.capacity.saturating_mul(2), refill: limit.refill * 2.0 };
        Self {
            messages: TokenBucket::new(limit, now),
            patience: TokenBucket::new(twice, now),
            warned: None,
            second: 0,
            present: 0,
            past: 0,
        }
    }

    fn rate(&self) -> Rate {
        let refill = self.messages.limit().refill;
        // Clients take whole messages in a window.
        if refill >= 1.0 {
            Rate { limit: refill.floor(), window: 1.0 }
        } else {
            Rate { limit: 1.0, window: 1.0 / refill }
        }
    }

    fn take(&mut self, now: Moment) -> bool {
        let second = now.as_millis() / 1000;
        if second != self.second {
            self.past = if second == self.second + 1 { self.present } else { 0 };
            (self.second, self.present) = (second, 0);
        }
        self.present = self.present.saturating_add(1);
        self.messages.take(now)
    }

    /// A warning, if one is due.
    fn warning(&mut self, now: Moment) -> Option<Warning> {
        let remaining = self.messages.available(now);
        let low = f64::from(remaining) < f64::from(self.messages.limit().capacity) * WARN_BELOW;
        if !low || self.warned.is_some_and(|at| now.since(at) < WARN_EVERY) {
            return None;
        }
        self.warned = Some(now);
        let current_rate = self.present.max(self.past);
        Some(Warning { current_rate, rate: self.rate(), remaining, retry_after: self.retry_after(now) })
    }

    /// Seconds to the next token.
    fn retry_after(&mut self, now: Moment) -> f64 {
        let wait = self.messages.next_at(now).since(now);
        wait.max(Duration::from_millis(1)).as_secs_f64().min(LONGEST_PAUSE)
    }

    /// Seconds until a client has its whole burst again.
    fn recovery(&self) -> f64 {
        let RateLimit { capacity, refill } = self.messages.limit();
        (f64::from(capacity) / refill).clamp(1.0, LONGEST_PAUSE)
    }
}

impl Peer {
    /// Counts a frame, before anything else is done with it. False when the client's connection ends for it.
    pub(super) fn count_frame(&mut self, now: Moment) -> bool {
        if self.over {
            return false;
        }
        let Some(rate) = &mut self.inbound_rate else { return true };
        if rate.patience.take(now) {
            return true;
        }
        let pause = Pause { retry_after: rate.recovery(), rate: rate.rate() };
        self.note_too_fast("far over the rate");
        self.send_pause("too many messages for too long", false, pause, None, now);
        self.close(Close::new(close::RATE_LIMITED, Code::RateLimited.as_str()), now);
        false
    }

    /// Counts a message for the application or a topic. False when it is over the rate; the client has been told.
    pub(super) fn within_rate(&mut self, message: &Message, now: Moment) -> bool {
        let Some(rate) = &mut self.inbound_rate else { return true };
        if rate.take(now) {
            if let Some(warning) = rate.warning(now) {
                self.send_control("rate_limit_warning", &warning, None, now);
            }
            return true;
        }
        let pause = Pause { retry_after: rate.retry_after(now), rate: rate.rate() };
        self.note_too_fast("over the rate");
        self.send_pause("too many messages: this one was refused", true, pause, message.id(), now);
        self.count_frame(now);
        false
    }

    /// Goes out before the client is told: that may end the connection, and nothing is told behind its end.
    fn note_too_fast(&mut self, detail: &str) {
        let error = DecodeError { code: Code::RateLimited, detail: detail.to_owned() };
        self.outputs.push_back(Output::Emit(Event::Rejected(error)));
    }
}
