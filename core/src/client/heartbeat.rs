//! Pings, and the decision that the server went silent. Source: PROTOCOL.md §7.1.

use crate::{
    client::{Client, Timer},
    error::Code,
    time::Moment,
    wire::{
        Message,
        control::{Object, Value},
    },
};

use super::Event;

impl Client {
    /// Sends a ping. Unless reads are paused, the server has `heartbeat.timeout` to send anything at all.
    pub(super) fn ping(&mut self, now: Moment) {
        let timestamp = self.wall.at(now).as_unix_ms();
        if self.ping_sent.replace(now).is_some() && !self.reads_paused && !self.is_cut_off(now) {
            self.network.unanswered();
            self.judge_network();
        }
        self.send_control("ping", Object::new().unsigned("timestamp", timestamp), now);
        self.timers.set(Timer::Ping, now + self.ping_interval());
        self.rotate_used_key(now);
        self.expect_life(now);
    }

    pub(super) fn on_ping_due(&mut self, now: Moment) {
        if self.may_send_control() {
            self.ping(now);
        } else {
            // The answer to a hello with a key is awaited. Without this the connection would never be pinged again.
            self.timers.set(Timer::Ping, now + self.config.heartbeat.interval);
        }
    }

    /// Gives the server `heartbeat.timeout` from the first unanswered ping on.
    fn expect_life(&mut self, now: Moment) {
        if !self.reads_paused && !self.awaiting_life && !self.is_cut_off(now) {
            self.awaiting_life = true;
            self.timers.set(Timer::Silence, now + self.config.heartbeat.timeout);
        }
    }

    /// Any frame proves that the server lives.
    pub(super) fn note_life(&mut self) {
        self.awaiting_life = false;
        self.timers.clear(Timer::Silence);
    }

    pub(super) fn on_silence(&mut self, now: Moment) {
        self.network.unanswered();
        self.judge_network();
        self.drop_link(Code::PeerSilent, "no sign of life after a ping", now);
    }

    pub(super) fn on_reads_paused(&mut self, paused: bool, now: Moment) {
        // Said of the present socket: without one there is nothing that is not read.
        if self.link.is_none() {
            return;
        }
        self.reads_paused = paused;
        // A ping whose answer was not read in time says nothing about the network.
        self.ping_sent = None;
        self.note_life();
        if !paused && self.may_send_control() {
            self.ping(now);
        }
    }

    pub(super) fn on_ping(&mut self, message: &Message, now: Moment) {
        if !self.may_send_control() {
            return;
        }
        let text = message.payload().to_json();
        let payload = Value::new(&text);
        let mut pong = Object::new().unsigned("client_timestamp", self.wall.at(now).as_unix_ms());
        if let Some(stamp) = payload.member("timestamp").or_else(|| payload.member("server_time")) {
            pong = pong.json("server_timestamp", stamp.as_json());
        }
        self.send_control("PONG", pong, now);
    }

    pub(super) fn on_pong(&mut self, message: &Message, now: Moment) {
        let stamp = message.payload().read_control(|payload| payload.member("client_timestamp")?.unsigned());
        // A server that repeats no stamp answers the last ping.
        let answered = stamp.filter(|stamp| *stamp != 0);
        let is_last = |sent: &Moment| answered.is_none_or(|stamp| stamp == self.wall.at(*sent).as_unix_ms());
        let Some(sent) = self.ping_sent.filter(is_last) else { return };
        self.ping_sent = None;
        let latency = now.since(sent);
        self.metrics.last_latency_ms = Some(latency.as_secs_f64() * 1000.0);
        self.emit(Event::Latency(latency));
        self.network.answered(latency);
        self.judge_network();
    }
}
