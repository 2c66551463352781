//! From engine, inbox and rings to the socket.

use std::{io, sync::Arc};

use tokio::net::TcpStream;
use wse_client_core::{delivery::LostRange, error::close, io::Close, server::Input, time::Moment};

use super::{Connection, State, frames::framed_message};
use crate::hub::{Mail, Publication, TopicRead};

/// Writes of one connection before others get their turn.
const WRITES_PER_TURN: usize = 16;

/// Publications fetched from one topic before the next has its turn.
const FETCH: usize = 64;

impl Connection {
    /// Writes until the socket takes no more or nothing waits. True when there is more and the turn is over.
    pub(super) fn write(&mut self, stream: &TcpStream, now: Moment) -> bool {
        for _ in 0..WRITES_PER_TURN {
            if self.state == State::Open {
                self.take_mail(now);
                self.pull(now);
            }
            if self.writer.is_empty() {
                self.blocked_since = None;
                self.pause_reads(now);
                return false;
            }
            match self.writer.write_to(stream) {
                Ok(written) => {
                    self.blocked_since = None;
                    self.server.counters().bytes_sent.add(written);
                }
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                    self.blocked_since.get_or_insert(now);
                    self.pause_reads(now);
                    return false;
                }
                Err(_) => {
                    self.socket_gone();
                    return false;
                }
            }
        }
        self.pause_reads(now);
        true
    }

    /// Above this many bytes that wait for this connection alone its socket is not read: its answers would only
    /// make it worse.
    fn pause_mark(&self) -> usize {
        self.server.config().max_queue_bytes / 4
    }

    fn pause_reads(&mut self, now: Moment) {
        let pause = self.state == State::Open && self.writer.direct_bytes() > self.pause_mark();
        if pause != self.reads_paused {
            self.reads_paused = pause;
            self.peer.handle(Input::ReadsPaused(pause), now);
        }
    }

    /// Takes what the application queued, as far as there is room.
    fn take_mail(&mut self, now: Moment) {
        if self.peer.must_hold_messages() {
            if let Some(close) = self.link.close_requested() {
                self.peer.close(close, now);
                self.drain(now);
            }
            return;
        }
        while self.state == State::Open && self.writer.direct_bytes() <= self.pause_mark() {
            match self.link.next_mail() {
                None => return,
                Some(Mail::Message(message)) => {
                    if let Err(error) = self.peer.send(&message, now) {
                        self.server.counters().sends_refused.one();
                        tracing::warn!(connection = self.link.id(), %error, "message not sent");
                    }
                    self.drain(now);
                }
                Some(Mail::Close(close)) => {
                    self.pull(now);
                    if !self.backlog.is_empty() {
                        return;
                    }
                    self.peer.close(close, now);
                    self.drain(now);
                }
            }
        }
    }

    /// Takes publications from the rings, as far as there is room in the queue.
    fn pull(&mut self, now: Moment) {
        if self.peer.must_hold_messages() {
            return;
        }
        let mut delivered = 0;
        for snapshot in std::mem::take(&mut self.snapshots) {
            delivered += self.push(&snapshot, now);
        }
        self.link.take_ready(&mut self.backlog);
        while self.state == State::Open && self.writer.has_room() {
            let Some(slot) = self.backlog.pop_front() else { break };
            let Some(read) = self.link.fetch(slot, FETCH, &mut self.fetched) else { continue };
            if read.fetched.more {
                self.backlog.push_back(slot);
            }
            if read.fetched.lost > 0 {
                self.tell_lost(&read, now);
            }
            let mut fetched = std::mem::take(&mut self.fetched);
            for publication in fetched.drain(..) {
                delivered += self.push(&publication, now);
            }
            self.fetched = fetched;
        }
        self.server.counters().messages_delivered.add(delivered);
    }

    fn tell_lost(&mut self, read: &TopicRead, now: Moment) {
        let (topic, count) = (&*read.topic, read.fetched.lost);
        self.server.counters().messages_lost.add(usize::try_from(count).unwrap_or(usize::MAX));
        tracing::warn!(connection = self.link.id(), topic, count, "messages lost for a slow reader");
        if self.server.config().history_messages > 0 {
            let from = read.fetched.from;
            let range = LostRange { epoch: read.epoch.to_string(), from, to: Some(from + count - 1) };
            self.peer.tell_lost_range(topic, &range, now);
        } else {
            self.peer.tell_lost(topic, count, now);
        }
        self.drain(now);
    }

    /// Queues one publication. Answers how many were queued.
    fn push(&mut self, publication: &Arc<Publication>, now: Moment) -> usize {
        if self.state != State::Open {
            return 0;
        }
        let delivery = self.peer.delivery();
        let frame = publication.frame(delivery);
        if delivery.encrypted {
            match self.peer.seal(frame.payload()) {
                Ok(sealed) => self.writer.push_shared(framed_message(&sealed).0),
                Err(code) => {
                    self.peer.close(Close::new(close::POLICY, code.as_str()), now);
                    self.drain(now);
                    return 0;
                }
            }
        } else {
            self.writer.push_shared(frame.bytes().clone());
        }
        1
    }

    /// Whether the close frame is out: then nothing more will be written, and the client is told so.
    pub(super) fn take_shutdown(&mut self) -> bool {
        match &mut self.state {
            State::Closing { shut, .. } if !*shut && self.writer.is_empty() => {
                *shut = true;
                true
            }
            _ => false,
        }
    }
}
