//! Drives one connection over anything that carries whole messages: another web server's WebSocket, or memory.

use std::{collections::VecDeque, fmt, time::Duration};

use wse_client_core::{
    error::close,
    io::{Close, Frame},
};

use super::engine::{Applicant, Engine, Outbox};
use crate::{
    hub::{Framed, Run},
    server::Server,
};

/// Above this many bytes no more is fetched from the topics: what waits, waits in the shared rings.
const ROOM: usize = 64 * 1024;

/// A wait without an end.
const FAR: Duration = Duration::from_secs(86_400);

/// A connection whose messages the caller carries; made by [`Server::attach`].
///
/// Hand in what the client says, and carry to it what [`Attached::take`] gives, whenever [`Attached::ready`] is. The
/// connection is a full one: it subscribes, publishes, recovers and counts like one with a socket of the server's.
/// Dropping it ends it.
///
/// ```
/// use wse_server::{Carried, Config, Frame, Server};
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let server = Server::builder(Config { port: 0, ..Config::default() }).bind().await?;
/// let mut connection = server.attach(&http::HeaderMap::new(), "client_version=1.0", None);
/// connection.on_frame(Frame::Text(r#"WSE{"t":"ping","p":{},"v":1}"#.into()));
/// connection.ready().await;
/// let mut said = Vec::new();
/// while let Some(Carried::Frame(frame)) = connection.take() {
///     said.push(String::from_utf8_lossy(frame.bytes()).into_owned());
/// }
/// assert!(said[0].contains("server_ready") && said.iter().any(|text| text.contains("PONG")));
/// # Ok(())
/// # }
/// ```
pub struct Attached {
    engine: Engine<Queue>,
    closed: bool,
    /// What it was not told of was looked for since there was nothing to take the last time.
    looked: bool,
}

/// What is to be carried to the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Carried {
    /// A whole message.
    Frame(Frame),
    /// The end, with the code and the reason to close with. Nothing follows.
    Close(Close),
}

#[derive(Debug, Default)]
struct Queue {
    frames: VecDeque<(Frame, bool)>,
    bytes: usize,
    direct: usize,
}

impl Queue {
    fn push(&mut self, frame: Frame, direct: bool) {
        self.bytes += frame.len();
        if direct {
            self.direct += frame.len();
        }
        self.frames.push_back((frame, direct));
    }

    fn pop(&mut self) -> Option<Frame> {
        let (frame, direct) = self.frames.pop_front()?;
        self.bytes -= frame.len();
        if direct {
            self.direct -= frame.len();
        }
        Some(frame)
    }
}

impl Outbox for Queue {
    fn push_direct(&mut self, frame: &Frame) {
        self.push(frame.clone(), true);
    }

    fn push_sealed(&mut self, frame: &Frame) {
        self.push(frame.clone(), false);
    }

    fn push_shared(&mut self, frame: &Framed) {
        self.push(frame.frame(), false);
    }

    fn push_run(&mut self, run: &Run) {
        for frame in run.frames() {
            self.push(frame, false);
        }
    }

    fn has_room(&self) -> bool {
        self.bytes < ROOM
    }

    fn direct_bytes(&self) -> usize {
        self.direct
    }

    fn abandon(&mut self) {
        *self = Self::default();
    }
}

impl Attached {
    pub(crate) fn new(server: Server, applicant: Applicant) -> Self {
        Self { engine: Engine::new(server, applicant, Queue::default()), closed: false, looked: false }
    }

    /// The connection's name, which the client knows too.
    pub fn id(&self) -> &str {
        self.engine.link().id()
    }

    /// Takes one message of the client. Not to be called while [`Attached::reads_paused`].
    pub fn on_frame(&mut self, frame: Frame) {
        self.on_frames([frame]);
    }

    /// Takes messages that came together; the application gets them together.
    pub fn on_frames(&mut self, frames: impl IntoIterator<Item = Frame>) {
        let now = self.engine.now();
        let (mut count, mut bytes) = (0, 0);
        for frame in frames {
            if !self.engine.is_open() {
                break;
            }
            count += 1;
            bytes += frame.len();
            self.engine.on_frame(frame, now);
        }
        self.engine.server().counters().bytes_received.add(bytes);
        self.engine.hand_over(count);
        self.engine.pause_reads(now);
    }

    /// The client closed, or is gone.
    pub fn on_closed(&mut self, close: Close) {
        let now = self.engine.now();
        self.engine.on_closed(close, now);
    }

    /// What is to be carried next; `None`: nothing for now.
    pub fn take(&mut self) -> Option<Carried> {
        let now = self.engine.now();
        if !self.closed && self.engine.link().is_aborted() {
            // No more time: what waits is dropped.
            self.engine.on_closed(Close::new(close::GOING_AWAY, "server shutting down"), now);
            self.engine.outbox().abandon();
        }
        if self.engine.timer().is_some_and(|at| at <= now) {
            self.engine.on_timer(now);
        }
        self.engine.fill(now);
        if !self.looked && self.engine.outbox().frames.is_empty() {
            // Who asks gets what there is, told of it or not. All subscriptions are looked through, so it is done once until
            // nothing is left: of what comes meanwhile it will be told.
            self.engine.catch_up(now);
            self.looked = true;
        }
        let frame = self.engine.outbox().pop();
        self.looked &= frame.is_some();
        self.engine.pause_reads(now);
        if let Some(frame) = frame {
            self.engine.server().counters().bytes_sent.add(frame.len());
            return Some(Carried::Frame(frame));
        }
        if self.closed {
            return None;
        }
        let close = self.engine.closing().cloned()?;
        self.closed = true;
        Some(Carried::Close(close))
    }

    /// Waits until [`Attached::take`] may have something. Needs the time of a tokio runtime.
    pub async fn ready(&mut self) {
        if !self.engine.outbox().frames.is_empty() || (self.is_closed() && !self.closed) {
            return;
        }
        let server = self.engine.server();
        let sleep = match self.engine.timer() {
            Some(at) => tokio::time::sleep_until(server.clock().instant(at)),
            None => tokio::time::sleep(FAR),
        };
        tokio::select! {
            () = self.engine.link().wake().wait() => {}
            () = sleep => {}
        }
    }

    /// Whether the client's messages should wait: what it was answered has not been carried yet.
    pub fn reads_paused(&self) -> bool {
        self.engine.reads_paused()
    }

    /// Whether the connection is over, or about to be.
    pub fn is_closed(&self) -> bool {
        !self.engine.is_open() || self.engine.link().is_aborted()
    }
}

impl fmt::Debug for Attached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attached").field("id", &self.id()).finish_non_exhaustive()
    }
}
