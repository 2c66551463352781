//! From the socket to topics and handler.

use std::{cell::RefCell, io};

use bytes::BytesMut;
use tokio::net::TcpStream;
use wse_client_core::{error::close, io::Close, server::Input, time::Moment};

use super::{
    Connection, State,
    frames::{Item, Opcode, Violation, framed},
};

/// Size of the read buffer that all connections of a worker thread share.
const CHUNK: usize = 64 * 1024;

/// With less room than this a fresh chunk is taken.
const LEAST_ROOM: usize = 16 * 1024;

/// A batch list larger than this is not kept for the next read.
const KEPT_BATCH: usize = 256;

thread_local! {
    static CHUNKS: RefCell<BytesMut> = RefCell::new(BytesMut::new());
}

/// One read into the buffer of this thread. The bytes come as a slice of it; the messages in them share it.
fn read_chunk(stream: &TcpStream) -> io::Result<BytesMut> {
    CHUNKS.with_borrow_mut(|buffer| {
        if buffer.capacity() < LEAST_ROOM {
            buffer.reserve(CHUNK);
        }
        stream.try_read_buf(buffer)?;
        Ok(buffer.split())
    })
}

impl Connection {
    /// One read, and everything in it.
    pub(super) fn read(&mut self, stream: &TcpStream) {
        let chunk = match read_chunk(stream) {
            Ok(chunk) if chunk.is_empty() => return self.socket_gone(),
            Ok(chunk) => chunk,
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => return,
            Err(_) => return self.socket_gone(),
        };
        // After our close frame the client may still be sending; its bytes are read, so that the kernel does
        // not reset the connection before the close frame has arrived, and dropped.
        if self.state == State::Open {
            let now = self.now();
            self.on_bytes(chunk, now);
        }
    }

    pub(super) fn on_bytes(&mut self, chunk: BytesMut, now: Moment) {
        let counters = self.server.counters();
        counters.bytes_received.add(chunk.len());
        self.frames.feed(chunk);
        let mut messages = 0;
        while self.state == State::Open {
            match self.frames.next() {
                Ok(Some(Item::Message(frame))) => {
                    messages += 1;
                    self.peer.handle(Input::Frame(frame), now);
                    self.drain(now);
                }
                Ok(Some(Item::Ping(payload))) => {
                    self.writer.push_pong(framed(Opcode::Pong, &payload).0);
                    self.peer.handle(Input::Alive, now);
                }
                Ok(Some(Item::Pong)) => self.peer.handle(Input::Alive, now),
                Ok(Some(Item::Close(close))) => self.on_close_frame(close, now),
                Ok(None) => break,
                Err(violation) => self.on_violation(violation, now),
            }
        }
        self.server.counters().frames_received.add(messages);
        self.hand_over();
    }

    /// Gives the application everything that this read brought.
    fn hand_over(&mut self) {
        if self.batch.is_empty() {
            return;
        }
        self.server.counters().messages_handled.add(self.batch.len());
        self.server.handler().on_messages(&self.handle, &mut self.batch);
        self.batch.clear();
        self.batch.shrink_to(KEPT_BATCH);
    }

    /// Echoes the client's close behind what is queued already. Source: RFC 6455 §5.5.1.
    fn on_close_frame(&mut self, close: Close, now: Moment) {
        self.peer.handle(Input::Closed(close.clone()), now);
        self.drain(now);
        self.begin_close(&Close::new(close.code, ""), now);
    }

    fn on_violation(&mut self, violation: Violation, now: Moment) {
        self.server.counters().protocol_violations.one();
        tracing::debug!(connection = self.link.id(), close = violation.close, why = violation.reason, "violation");
        if violation.close == close::PROTOCOL {
            // A client that cannot frame messages is not sent any more of them.
            self.peer.close(Close::new(violation.close, violation.reason), now);
        } else {
            let close = Close::new(violation.close, violation.code.as_str());
            self.peer.fail(violation.code, violation.reason, close, now);
        }
        self.drain(now);
    }
}
