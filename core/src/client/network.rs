//! What the host says about the network and about itself, and what follows from it. Source: PROTOCOL.md §7.5.

use std::time::Duration;

use crate::{
    delivery::BatchConfig,
    resilience::{Adaptation, Quality},
    time::Moment,
};

use super::{
    Client, Event, NetworkHint, Timer,
    lifecycle::{Cause, Phase},
};

/// How long a server may take to prove that it is there, once there is a reason to doubt it.
const PROOF: Duration = Duration::from_secs(5);

/// Attempts after a hint are spread over this: a whole office comes back at once when its router does.
const HINT_JITTER: Duration = Duration::from_millis(500);

/// A machine that slept longer than this asks its token provider for a fresh token.
const LONG_SLEEP: Duration = Duration::from_secs(60);

/// Longest pause between two pings, whatever the network: well below what servers take for idle.
const RAREST_PING: Duration = Duration::from_secs(40);

impl Client {
    pub(super) fn on_hint(&mut self, hint: NetworkHint, now: Moment) {
        match hint {
            NetworkHint::Offline => {
                self.offline_since.get_or_insert(now);
                self.note_life();
            }
            NetworkHint::Online => {
                self.offline_since = None;
                self.doubt(now);
            }
            NetworkHint::AddressChanged => {
                self.offline_since = None;
                self.network.reset();
                self.doubt(now);
            }
            NetworkHint::Sleep => {
                self.asleep_since.get_or_insert(now);
                self.note_life();
            }
            NetworkHint::Wake => {
                let slept = self.asleep_since.take().map_or(Duration::ZERO, |since| now.since(since));
                self.note_sleep(slept);
                self.doubt(now);
            }
        }
    }

    /// The token may have expired meanwhile.
    pub(super) fn note_sleep(&mut self, length: Duration) {
        self.renew_token |= length > LONG_SLEEP;
    }

    /// Whether silence proves nothing: the host says that nothing can come.
    pub(super) fn is_cut_off(&self, now: Moment) -> bool {
        self.is_offline(now) || self.is_believed(self.asleep_since, now)
    }

    /// Whether there is no network, as the host says.
    pub(super) fn is_offline(&self, now: Moment) -> bool {
        self.is_believed(self.offline_since, now)
    }

    /// What the host said is believed for `reconnect.max_delay` at most, or one that never takes it back would keep a
    /// client on a dead connection, or from dialling, for ever.
    fn is_believed(&self, since: Option<Moment>, now: Moment) -> bool {
        since.is_some_and(|since| now.since(since) < self.config.reconnect.max_delay)
    }

    /// The next attempt is due. While the host is offline it is put off once: hosts are wrong about that, too.
    pub(super) fn on_retry(&mut self, now: Moment) {
        if self.is_offline(now) {
            self.timers.set(Timer::Retry, now + self.config.reconnect.max_delay);
        } else {
            self.start_attempt(now);
        }
    }

    /// A first attempt is put off as a later one is.
    pub(super) fn wait_for_network(&mut self, now: Moment) {
        self.retry_is_named = false;
        self.timers.set(Timer::Retry, now + self.config.reconnect.max_delay);
        self.enter(Phase::Waiting, Cause::Connect);
    }

    /// Something happened to the network: a connection has to prove itself, a pause is over.
    fn doubt(&mut self, now: Moment) {
        match self.phase() {
            // A server that named the time to come back knows better than the host.
            Phase::Waiting if !self.retry_is_named => {
                let pause = HINT_JITTER.mul_f64(self.rng.unit());
                self.timers.set(Timer::Retry, now + pause);
            }
            Phase::Ready { .. } if self.may_send_control() && !self.reads_paused && !self.is_cut_off(now) => {
                self.note_life();
                // A ping of the old network says nothing about the present one.
                self.ping_sent = None;
                self.ping(now);
                self.timers.set(Timer::Silence, now + PROOF);
            }
            Phase::Resting(_)
            | Phase::FetchingToken { .. }
            | Phase::Opening { .. }
            | Phase::Greeting
            | Phase::Ready { .. }
            | Phase::Waiting => {}
        }
    }

    /// A round trip was measured, or a ping stayed without an answer.
    pub(super) fn judge_network(&mut self) {
        let quality = self.network.report().quality;
        let from = std::mem::replace(&mut self.quality, quality);
        if from != quality {
            self.emit(Event::QualityChanged { from, to: quality });
        }
        if self.config.adaptive_quality
            && quality != Quality::Unknown
            && let Some(adaptation) = self.adaptive.note(quality)
        {
            self.adapt(adaptation);
        }
    }

    fn adapt(&mut self, adaptation: Adaptation) {
        self.apply(adaptation);
        self.emit(Event::Adapted(adaptation));
    }

    /// Writes the way that suits the network.
    pub(super) fn apply(&mut self, adaptation: Adaptation) {
        let batching = self.config.performance.batch;
        self.outbox.set_batching(adaptation.batch.map_or(batching, |larger| Some(enlarge(batching, larger))));
        let configured = self.config.performance.compression;
        if let Some(link) = self.link.as_mut().filter(|link| link.full_duplex) {
            link.channel.compression = configured.map(|mut compression| {
                compression.level = adaptation.compression_level.unwrap_or(compression.level);
                compression
            });
        }
    }

    pub(super) fn ping_interval(&self) -> Duration {
        let configured = self.config.heartbeat.interval;
        let stretched = configured.mul_f64(self.adaptive.adaptation().heartbeat);
        stretched.min(RAREST_PING).max(configured)
    }
}

/// Batches of at least this size and wait.
fn enlarge(configured: Option<BatchConfig>, (size, timeout): (usize, Duration)) -> BatchConfig {
    let BatchConfig { max_bytes, .. } = configured.unwrap_or_default();
    let least = configured.map_or((0, Duration::ZERO), |batch| (batch.size, batch.timeout));
    BatchConfig { size: size.max(least.0), timeout: timeout.max(least.1), max_bytes }
}
