//! Drives one connection over a socket: RFC 6455 frames in, many frames in one write out.

use std::{
    cell::RefCell,
    future::{Future as _, poll_fn},
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use tokio::{io::Interest, time::Sleep};
use wse_client_core::{io::Close, time::Moment};

use super::{
    engine::{Applicant, Engine},
    frames::{FrameReader, Item, Opcode, framed, framed_close},
    stream::Stream,
    writer::Writer,
};
use crate::server::Server;

/// Size of the read buffer that all connections of a worker thread share.
const CHUNK: usize = 64 * 1024;

/// With less room than this a fresh chunk is taken.
const LEAST_ROOM: usize = 16 * 1024;

/// Writes of one connection before others get their turn.
const WRITES_PER_TURN: usize = 16;

/// After our close frame: how long the client may take to close its side.
const LINGER: Duration = Duration::from_secs(2);

/// A wait without an end.
const FAR: Duration = Duration::from_secs(86_400);

thread_local! {
    static CHUNKS: RefCell<BytesMut> = RefCell::new(BytesMut::new());
}

/// One read into the buffer of this thread. The bytes come as a slice of it; the messages in them share it.
fn read_chunk(stream: &mut Stream) -> io::Result<BytesMut> {
    CHUNKS.with_borrow_mut(|buffer| {
        if buffer.capacity() < LEAST_ROOM {
            buffer.reserve(CHUNK);
        }
        stream.try_read(buffer)?;
        Ok(buffer.split())
    })
}

/// Where the socket stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Messages flow.
    Open,
    /// The close frame is queued; the socket goes when it is written and the client is gone, or at this moment.
    Closing { until: Moment, shut: bool },
    /// Nothing more can be read or written.
    Over,
}

/// Runs a connection to its end. `leftover` are bytes that came right behind the request.
pub(crate) async fn run(server: Server, stream: Stream, leftover: Bytes, applicant: Applicant) {
    let frames = FrameReader::new(server.limits().max_frame);
    let engine = Engine::new(server, applicant, Writer::default());
    // Boxed, because a future keeps what it is given and what it works with apart: it would be there twice.
    let socket = Socket { engine, frames, state: State::Open, blocked_since: None, pours: false };
    Box::new(socket).run(stream, leftover).await;
}

struct Socket {
    engine: Engine<Writer>,
    frames: FrameReader,
    state: State,
    /// Since when the socket takes nothing of what waits.
    blocked_since: Option<Moment>,
    /// The last read was a large one: more may be there already.
    pours: bool,
}

impl Socket {
    async fn run(mut self: Box<Self>, mut stream: Stream, leftover: Bytes) {
        let now = self.engine.now();
        if leftover.is_empty() {
            // Even empty it holds on to the buffer that the request was read into.
            drop(leftover);
            self.note_close(now);
        } else {
            self.on_bytes(BytesMut::from(&leftover[..]), now);
            drop(leftover);
        }
        // TLS may have decrypted more than the request, of which the socket would not tell.
        self.read(&mut stream);
        let mut timer = Box::pin(tokio::time::sleep(FAR));
        let mut armed: Option<Moment> = None;
        loop {
            let now = self.engine.now();
            if armed.is_some_and(|at| at <= now) {
                armed = None;
                self.on_timer();
            }
            let more = self.write(&mut stream, now);
            if self.state == State::Over || self.engine.link().is_aborted() {
                return;
            }
            if self.take_shutdown(&stream) && stream.shutdown().await.is_err() {
                return;
            }
            if more {
                self.engine.link().wake().wake();
                tokio::task::yield_now().await;
            }
            if std::mem::take(&mut self.pours) {
                // A socket that is always readable would never let go of this thread.
                tokio::task::yield_now().await;
            }
            self.arm(timer.as_mut(), &mut armed);
            let interest = self.interest(&stream);
            match poll_fn(|cx| self.poll(cx, &mut stream, interest, timer.as_mut())).await {
                Ok(true) => self.read(&mut stream),
                Ok(false) => {}
                Err(_) => self.socket_gone(),
            }
        }
    }

    /// Waits for whatever comes first: something to read (then `true`), room to write, a wake, the timer. Reading
    /// comes first and starves nobody, because each turn looks at everything else too.
    fn poll(
        &self,
        cx: &mut Context<'_>,
        stream: &mut Stream,
        interest: Option<Interest>,
        timer: Pin<&mut Sleep>,
    ) -> Poll<io::Result<bool>> {
        if interest.is_some_and(Interest::is_readable)
            && let Poll::Ready(result) = stream.poll_read_ready(cx)
        {
            return Poll::Ready(result.map(|()| true));
        }
        if interest.is_some_and(Interest::is_writable)
            && let Poll::Ready(result) = stream.poll_write_ready(cx)
        {
            return Poll::Ready(result.map(|()| false));
        }
        if self.engine.link().wake().poll(cx).is_ready() || timer.poll(cx).is_ready() {
            return Poll::Ready(Ok(false));
        }
        Poll::Pending
    }

    /// One read, and everything in it.
    fn read(&mut self, stream: &mut Stream) {
        let chunk = match read_chunk(stream) {
            Ok(chunk) if chunk.is_empty() => return self.socket_gone(),
            Ok(chunk) => chunk,
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => return,
            Err(_) => return self.socket_gone(),
        };
        self.pours = chunk.len() >= LEAST_ROOM;
        // After our close frame the client may still be sending; its bytes are read, so that the kernel does
        // not reset the connection before the close frame has arrived, and dropped.
        if self.state == State::Open {
            let now = self.engine.now();
            self.on_bytes(chunk, now);
        }
    }

    fn on_bytes(&mut self, chunk: BytesMut, now: Moment) {
        self.engine.server().counters().bytes_received.add(chunk.len());
        self.frames.feed(chunk);
        let mut messages = 0;
        while self.engine.is_open() {
            match self.frames.next() {
                Ok(Some(Item::Message(frame))) => {
                    messages += 1;
                    self.engine.on_frame(frame, now);
                }
                Ok(Some(Item::Ping(payload))) => {
                    self.engine.outbox().push_pong(framed(Opcode::Pong, &payload).0);
                    self.engine.on_alive(now);
                }
                Ok(Some(Item::Pong)) => self.engine.on_alive(now),
                Ok(Some(Item::Close(close))) => self.on_close_frame(close, now),
                Ok(None) => break,
                Err(violation) => self.engine.on_violation(violation, now),
            }
        }
        self.engine.hand_over(messages);
        self.note_close(now);
    }

    /// Echoes the client's close behind what is queued already. Source: RFC 6455 §5.5.1.
    fn on_close_frame(&mut self, close: Close, now: Moment) {
        let echo = Close::new(close.code, "");
        self.engine.on_closed(close, now);
        self.begin_close(&echo, now);
    }

    /// Writes until the socket takes no more or nothing waits. True when there is more and the turn is over.
    fn write(&mut self, stream: &mut Stream, now: Moment) -> bool {
        for _ in 0..WRITES_PER_TURN {
            self.engine.fill(now);
            self.note_close(now);
            let all_out = self.engine.outbox().is_empty();
            let result = if all_out { stream.try_flush().map(|_| 0) } else { self.engine.outbox().write_to(stream) };
            match result {
                Ok(_) if all_out && stream.has_unsent() => {
                    self.blocked_since.get_or_insert(now);
                    self.engine.pause_reads(now);
                    return false;
                }
                Ok(written) => {
                    self.blocked_since = None;
                    self.engine.server().counters().bytes_sent.add(written);
                    if all_out {
                        self.engine.pause_reads(now);
                        return false;
                    }
                }
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                    self.blocked_since.get_or_insert(now);
                    self.engine.pause_reads(now);
                    return false;
                }
                Err(_) => {
                    self.socket_gone();
                    return false;
                }
            }
        }
        self.engine.pause_reads(now);
        true
    }

    fn on_timer(&mut self) {
        let now = self.engine.now();
        match self.state {
            State::Open => {
                self.engine.on_timer(now);
                if self.blocked_since.is_some_and(|since| now.since(since) >= self.write_timeout()) {
                    self.blocked_since = None;
                    self.engine.give_up_on_slow_reader(now);
                }
                self.note_close(now);
            }
            State::Closing { until, .. } if now >= until => self.state = State::Over,
            State::Closing { .. } | State::Over => {}
        }
    }

    /// Queues the close frame once the engine has decided to end.
    fn note_close(&mut self, now: Moment) {
        if let Some(close) = self.engine.closing().cloned() {
            self.begin_close(&close, now);
        }
    }

    /// Queues the close frame behind everything else.
    fn begin_close(&mut self, close: &Close, now: Moment) {
        if self.state == State::Open {
            self.engine.outbox().push_close(framed_close(close));
            self.state = State::Closing { until: now + LINGER, shut: false };
        }
    }

    /// The socket ended without a close frame.
    fn socket_gone(&mut self) {
        if self.state == State::Open {
            let now = self.engine.now();
            self.engine.on_closed(Close::abnormal(), now);
        }
        self.state = State::Over;
    }

    /// Whether the close frame is out: then nothing more will be written, and the client is told so.
    fn take_shutdown(&mut self, stream: &Stream) -> bool {
        match &mut self.state {
            State::Closing { shut, .. } if !*shut && self.engine.outbox().is_empty() && !stream.has_unsent() => {
                *shut = true;
                true
            }
            _ => false,
        }
    }

    /// Sets the timer when it has to fire earlier than it would; one that fires too early does no harm.
    fn arm(&self, timer: Pin<&mut Sleep>, armed: &mut Option<Moment>) {
        let next = match self.state {
            State::Open => {
                let stalled = self.blocked_since.map(|since| since + self.write_timeout());
                self.engine.timer().into_iter().chain(stalled).min()
            }
            State::Closing { until, .. } => Some(until),
            State::Over => None,
        };
        let Some(next) = next else { return };
        if armed.is_none_or(|at| next < at) {
            timer.reset(self.engine.server().clock().instant(next));
            *armed = Some(next);
        }
    }

    /// How long a write may make no progress at all.
    fn write_timeout(&self) -> Duration {
        self.engine.server().config().write_timeout
    }

    /// What to wait for. Readability tells of a broken socket too; without any interest the application is at work, which
    /// wakes us, or a heartbeat finds out.
    fn interest(&mut self, stream: &Stream) -> Option<Interest> {
        // After our close frame the rest is read and dropped, paused or not.
        let paused = self.state == State::Open && self.engine.reads_paused();
        match (paused, self.engine.outbox().is_empty() && !stream.has_unsent()) {
            (false, true) => Some(Interest::READABLE),
            (false, false) => Some(Interest::READABLE | Interest::WRITABLE),
            (true, false) => Some(Interest::WRITABLE),
            (true, true) => None,
        }
    }
}
