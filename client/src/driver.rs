//! The one task of a client: feed input, drain the engine, set the timer, hand out events.

use std::{
    future::{Future, pending},
    path::PathBuf,
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::task::JoinSet;
use wse_client_core::{
    client::{Action, ConnectionState, Fault, Input, RequestId},
    error::close,
    io::{Close, SocketId},
    security::Secret,
};

use crate::{
    dial::Dialer,
    shared::Shared,
    socket::{Arrival, Socket},
    token::{TokenProvider, TokenRequest},
};

/// Most messages taken from the socket before the engine is drained.
const READ_BATCH: usize = 64;

pub(crate) struct Driver {
    shared: Arc<Shared>,
    dialer: Dialer,
    provider: Option<TokenProvider>,
    write_timeout: Duration,
    /// Where the recording goes when the client ends.
    pub(crate) record_to: Option<PathBuf>,
    /// It was written, and nothing happened since.
    recorded: bool,
    link: Link,
    token: Option<(RequestId, TokenRequest)>,
    /// Sockets that say goodbye; each is bounded in time.
    farewells: JoinSet<()>,
    reads_paused: bool,
}

type Dial = Pin<Box<dyn Future<Output = Result<Box<Socket>, Fault>> + Send>>;

/// The present attempt.
enum Link {
    Down,
    Dialing(SocketId, Dial),
    Up(Box<Socket>),
}

/// Why the driver woke.
enum Wake {
    Asked,
    Timer,
    Token(RequestId, Result<Option<Secret>, String>),
    Dialed(SocketId, Result<Box<Socket>, Fault>),
    Socket(Vec<Arrival>),
}

impl Driver {
    pub(crate) fn new(
        shared: Arc<Shared>,
        dialer: Dialer,
        provider: Option<TokenProvider>,
        write_timeout: Duration,
    ) -> Self {
        Self {
            shared,
            dialer,
            provider,
            write_timeout,
            record_to: None,
            recorded: false,
            link: Link::Down,
            token: None,
            farewells: JoinSet::new(),
            reads_paused: false,
        }
    }

    /// Runs until the client is closed and its last socket has said goodbye.
    pub(crate) async fn run(mut self) {
        // Also when the runtime shuts down and drops this future: readers must wake.
        let _finish = FinishOnDrop(Arc::clone(&self.shared));
        let mut inputs = vec![];
        loop {
            let turn = self.shared.turn(inputs, self.unsent());
            turn.wakeups.fire();
            for action in turn.actions {
                self.act(action);
            }
            self.keep_recording(turn.state).await;
            if turn.state == ConnectionState::Closed {
                break;
            }
            inputs = match self.pause_reads(turn.state) {
                Some(change) => vec![change],
                None => {
                    let deadline = turn.deadline.map(|moment| self.shared.instant(moment));
                    let wake = self.wait(deadline).await;
                    self.inputs(wake)
                }
            };
        }
        self.hang_up(Close::normal());
        self.token = None;
        while self.farewells.join_next().await.is_some() {}
    }

    /// Writes the recording once each time the client ends.
    async fn keep_recording(&mut self, state: ConnectionState) {
        let ended = matches!(state, ConnectionState::Failed | ConnectionState::Closed);
        if !ended || (self.recorded && state == ConnectionState::Failed) {
            self.recorded = ended;
            return;
        }
        self.recorded = true;
        let Some(file) = self.record_to.clone() else { return };
        let Some(recording) = self.shared.look(|engine, _| engine.recording()) else { return };
        let written = tokio::task::spawn_blocking(move || std::fs::write(file, recording.to_bytes())).await;
        if let Ok(Err(error)) = written {
            tracing::warn!(%error, "the recording could not be written");
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::FetchToken { request, renew } => {
                tracing::debug!(renew, "asking the token provider");
                self.token = self.provider.as_ref().map(|provider| (request, provider.ask(renew)));
            }
            Action::Open { socket, url, token } => {
                tracing::debug!(socket = socket.0, "dialling");
                self.hang_up(Close::normal());
                let dial = self.dialer.dial(&url, token.as_ref());
                let open =
                    async move { dial.await.map(|(inner, written)| Box::new(Socket::new(socket, inner, written))) };
                self.link = Link::Dialing(socket, Box::pin(open));
            }
            Action::Send { socket, frame } => {
                if let Link::Up(up) = &mut self.link
                    && up.id == socket
                {
                    up.push(frame);
                }
            }
            Action::Close { socket, close } => {
                if self.link.id() == Some(socket) {
                    self.hang_up(close);
                }
            }
        }
    }

    /// Ends the present attempt: a dial is abandoned, an open socket says goodbye on a task of its own.
    fn hang_up(&mut self, close: Close) {
        if let Link::Up(socket) = std::mem::replace(&mut self.link, Link::Down) {
            tracing::debug!(socket = socket.id.0, code = close.code, "closing");
            self.farewells.spawn(socket.farewell(close));
        }
        while self.farewells.try_join_next().is_some() {}
    }

    /// Tells the engine when reading stops or goes on, since silence proves nothing meanwhile.
    ///
    /// Reading never stops before the connection is ready: the handshake must not wait for the application.
    fn pause_reads(&mut self, state: ConnectionState) -> Option<Input> {
        let pause = state == ConnectionState::Connected && self.shared.queue.room() == 0;
        if pause == self.reads_paused {
            return None;
        }
        tracing::debug!(pause, "the application is slow: reading stops or goes on");
        self.reads_paused = pause;
        Some(Input::ReadsPaused(pause))
    }

    const fn unsent(&self) -> usize {
        if let Link::Up(socket) = &self.link { socket.queued_bytes() } else { 0 }
    }

    async fn wait(&mut self, deadline: Option<Instant>) -> Wake {
        let write_deadline = self.link.write_deadline(self.write_timeout);
        let budget = match (self.reads_paused, self.shared.queue.room()) {
            (true, _) => 0,
            (false, room) => room.clamp(1, READ_BATCH),
        };
        tokio::select! {
            () = self.shared.asked.notified() => Wake::Asked,
            () = self.shared.queue.space.notified() => Wake::Asked,
            (request, token) = answer(&mut self.token) => Wake::Token(request, token),
            wake = self.link.progress(budget) => wake,
            () = sleep_until(deadline) => Wake::Timer,
            () = sleep_until(write_deadline) => Wake::Timer,
        }
    }

    fn inputs(&mut self, wake: Wake) -> Vec<Input> {
        match wake {
            Wake::Asked => vec![],
            Wake::Timer => self.timer(),
            Wake::Token(request, token) => {
                self.token = None;
                vec![Input::Token(request, token)]
            }
            Wake::Dialed(id, Ok(socket)) => {
                self.link = Link::Up(socket);
                vec![Input::Opened(id)]
            }
            Wake::Dialed(id, Err(fault)) => {
                self.link = Link::Down;
                vec![Input::Failed(id, fault)]
            }
            Wake::Socket(arrivals) => self.arrived(arrivals),
        }
    }

    fn timer(&mut self) -> Vec<Input> {
        let stuck = self.link.write_deadline(self.write_timeout).is_some_and(|deadline| deadline <= Instant::now());
        if !stuck {
            return vec![Input::Wake];
        }
        let Some(id) = self.link.id() else { return vec![Input::Wake] };
        // No goodbye: it could not be written either.
        self.link = Link::Down;
        let detail = format!("the other side took no bytes for {:?}", self.write_timeout);
        vec![Input::Failed(id, Fault { http_status: None, detail }), Input::Wake]
    }

    fn arrived(&mut self, arrivals: Vec<Arrival>) -> Vec<Input> {
        let Some(id) = self.link.id() else { return vec![] };
        let mut inputs = Vec::with_capacity(arrivals.len());
        for arrival in arrivals {
            inputs.push(match arrival {
                Arrival::Frame(frame) => {
                    tracing::trace!(socket = id.0, bytes = frame.len(), "frame");
                    Input::Frame(id, frame)
                }
                Arrival::Closed(close) => {
                    // Answers the close frame.
                    self.hang_up(close.clone());
                    Input::Closed(id, close)
                }
                Arrival::Broken(fault, code) => {
                    if code == close::ABNORMAL {
                        self.link = Link::Down;
                    } else {
                        self.hang_up(Close::new(code, fault.detail.as_str()));
                    }
                    Input::Failed(id, fault)
                }
            });
        }
        inputs
    }
}

impl Link {
    const fn id(&self) -> Option<SocketId> {
        match self {
            Self::Down => None,
            Self::Dialing(id, _) => Some(*id),
            Self::Up(socket) => Some(socket.id),
        }
    }

    fn write_deadline(&mut self, limit: Duration) -> Option<Instant> {
        if let Self::Up(socket) = self { socket.write_deadline(limit) } else { None }
    }

    /// Moves the attempt forward. Dropping the future loses nothing.
    async fn progress(&mut self, budget: usize) -> Wake {
        match self {
            Self::Down => pending().await,
            Self::Dialing(id, dial) => Wake::Dialed(*id, dial.await),
            Self::Up(socket) => {
                let mut arrivals = Vec::new();
                socket.progress(budget, &mut arrivals).await;
                Wake::Socket(arrivals)
            }
        }
    }
}

async fn answer(asked: &mut Option<(RequestId, TokenRequest)>) -> (RequestId, Result<Option<Secret>, String>) {
    match asked {
        Some((request, answer)) => (*request, answer.answer().await),
        None => pending().await,
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => pending().await,
    }
}

struct FinishOnDrop(Arc<Shared>);

impl Drop for FinishOnDrop {
    fn drop(&mut self) {
        self.0.finish();
    }
}
