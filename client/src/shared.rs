//! What the handles and the driver share: the engine under one lock, held only for as long as it thinks.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use tokio::sync::{Notify, oneshot, watch};
use wse_client_core::{
    client::{
        Action, Client as Engine, ConnectionState, Event, Input, Outgoing, Output, Request, RequestError, RequestId,
        RequestOutcome, SubscribeOptions, SubscriptionOutcome,
    },
    config::{ClientConfig, ConfigError},
    io::Close,
    rng::Seed,
    time::{Moment, WallTime},
};

use crate::{
    error::{SendError, SubscribeError},
    queue::{Queue, Wakeups},
};

/// Bytes that a message costs in the queue beside its payload, roughly: its envelope and its frame.
const MESSAGE_OVERHEAD: usize = 256;

pub(crate) struct Shared {
    origin: Instant,
    state: Mutex<State>,
    pub(crate) queue: Queue,
    /// Tells the driver that the engine was asked for something.
    pub(crate) asked: Notify,
    /// Tells senders that the socket took bytes.
    pub(crate) sent: Notify,
    pub(crate) standing: watch::Sender<Standing>,
    /// True once the driver is gone.
    pub(crate) finished: watch::Sender<bool>,
    send_buffer: usize,
}

/// What somebody who waits for a connection must see, kept apart from the events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) state: ConnectionState,
    /// Consecutive failed attempts.
    pub(crate) failures: u32,
}

struct State {
    engine: Engine,
    waiting: BTreeMap<RequestId, oneshot::Sender<SubscriptionOutcome>>,
    asking: BTreeMap<RequestId, oneshot::Sender<RequestOutcome>>,
    /// Bytes accepted for sending that no socket took; an estimate between two turns of the driver.
    unsent: usize,
}

/// Everything the engine wanted in one turn.
pub(crate) struct Turn {
    pub(crate) actions: Vec<Action>,
    pub(crate) deadline: Option<Moment>,
    pub(crate) state: ConnectionState,
    pub(crate) wakeups: Wakeups,
}

impl Shared {
    pub(crate) fn new(config: ClientConfig, events: usize, send_buffer: usize) -> Result<Self, ConfigError> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed)
            .map_err(|error| ConfigError::new("seed", format!("needs the system's randomness: {error}")))?;
        let engine = Engine::new(config, Seed::from_bytes(seed), Moment::ORIGIN, wall())?;
        Ok(Self {
            origin: Instant::now(),
            standing: watch::Sender::new(Standing { state: engine.state(), failures: 0 }),
            state: Mutex::new(State { engine, waiting: BTreeMap::new(), asking: BTreeMap::new(), unsent: 0 }),
            queue: Queue::new(events),
            asked: Notify::new(),
            sent: Notify::new(),
            finished: watch::Sender::new(false),
            send_buffer,
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Locks the engine for a change, and tells it what time it is.
    fn lock_now(&self) -> (MutexGuard<'_, State>, Moment) {
        let mut state = self.lock();
        let now = self.now();
        // On Linux the monotonic clock stands still while the machine sleeps.
        state.engine.set_clock(wall(), now);
        (state, now)
    }

    pub(crate) fn now(&self) -> Moment {
        Moment::from_millis(u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    /// The instant of a moment; the earliest at which [`Shared::now`] has reached it.
    pub(crate) fn instant(&self, moment: Moment) -> Instant {
        self.origin + Duration::from_millis(moment.as_millis())
    }

    /// Looks at the engine.
    pub(crate) fn look<R>(&self, look: impl FnOnce(&Engine, Moment) -> R) -> R {
        look(&self.lock().engine, self.now())
    }

    /// Gives the engine a command that cannot fail, and wakes the driver.
    pub(crate) fn command(&self, command: impl FnOnce(&mut Engine, Moment)) {
        self.change(command);
    }

    /// Gives the engine a command, and wakes the driver.
    pub(crate) fn change<R>(&self, command: impl FnOnce(&mut Engine, Moment) -> R) -> R {
        let (mut state, now) = self.lock_now();
        let answer = command(&mut state.engine, now);
        // Under the lock, so that the driver cannot push the old end behind this.
        if !matches!(state.engine.state(), ConnectionState::Failed | ConnectionState::Closed) {
            self.queue.resume();
        }
        // Whoever waits for the connection right after this command must not see how it stood before.
        self.tell_standing(&state.engine);
        drop(state);
        self.asked.notify_one();
        answer
    }

    fn tell_standing(&self, engine: &Engine) -> Standing {
        let standing = Standing { state: engine.state(), failures: engine.failed_attempts() };
        self.standing.send_if_modified(|known| std::mem::replace(known, standing) != standing);
        standing
    }

    pub(crate) fn close(&self, close: Close) {
        self.command(|engine, now| engine.close(close, now));
    }

    /// Sends unless the buffer is full; then the message stays in `message`.
    pub(crate) fn send(&self, message: &mut Option<Outgoing>) -> Result<String, SendError> {
        let (mut state, now) = self.lock_now();
        if state.unsent >= self.send_buffer && state.engine.state() == ConnectionState::Connected {
            return Err(SendError::QueueFull { limit: self.send_buffer });
        }
        let message = message.take().expect("a message is sent once");
        let size = message.payload.bytes().len() + MESSAGE_OVERHEAD;
        let id = state.engine.send(message, now)?;
        state.unsent += size;
        drop(state);
        self.asked.notify_one();
        Ok(id)
    }

    /// Counts a message that [`Shared::send`] left with its sender, who gave it up.
    pub(crate) fn note_refused(&self) {
        self.lock().engine.note_refused();
    }

    /// Subscribes with these options, or unsubscribes without; with `answer`, the outcome is also sent there.
    pub(crate) fn change_topics<T: AsRef<str>>(
        &self,
        topics: &[T],
        subscribe: Option<&SubscribeOptions>,
        answer: Option<oneshot::Sender<SubscriptionOutcome>>,
    ) -> Result<RequestId, SubscribeError> {
        let (mut state, now) = self.lock_now();
        if *self.finished.borrow() {
            return Err(SubscribeError::Closed);
        }
        let request = match subscribe {
            Some(options) => state.engine.subscribe_with(topics, options, now)?,
            None => state.engine.unsubscribe(topics, now)?,
        };
        if let Some(answer) = answer {
            state.waiting.insert(request, answer);
        }
        drop(state);
        self.asked.notify_one();
        Ok(request)
    }

    /// Asks the server; the outcome is also sent to `reply`.
    pub(crate) fn ask(&self, request: &Request, reply: oneshot::Sender<RequestOutcome>) -> Result<(), RequestError> {
        let (mut state, now) = self.lock_now();
        let id = state.engine.request(request, now)?;
        // A driver that is gone will tell nobody: then the sender is dropped here.
        if !*self.finished.borrow() {
            state.asking.insert(id, reply);
        }
        drop(state);
        self.asked.notify_one();
        Ok(())
    }

    /// Hands in what the world did, then takes out everything that follows. Events go into the queue under the
    /// engine's lock, so that they and the commands of other threads keep one order.
    pub(crate) fn turn(&self, inputs: impl IntoIterator<Item = Input>, unsent: usize) -> Turn {
        let (mut state, now) = self.lock_now();
        for input in inputs {
            state.engine.handle(input, now);
        }
        let (mut actions, mut events) = (Vec::new(), Vec::new());
        let deadline = loop {
            match state.engine.poll() {
                Output::Act(action) => actions.push(action),
                Output::Emit(event) => events.push(event),
                Output::Wait(deadline) => break deadline,
            }
        };
        let sending: usize =
            actions.iter().map(|action| if let Action::Send { frame, .. } = action { frame.len() } else { 0 }).sum();
        state.unsent = unsent + sending;
        if state.unsent < self.send_buffer || state.engine.state() != ConnectionState::Connected {
            self.sent.notify_waiters();
        }
        let answers = state.answers(&events);
        let replies = state.replies(&events);
        let wakeups = self.queue.push(events);
        // After the push: whoever gets an answer finds everything that came before it in the queue.
        for (answer, outcome) in answers {
            // The caller may have stopped waiting; the event is in the queue anyway.
            let _ = answer.send(outcome);
        }
        for (reply, outcome) in replies {
            let _ = reply.send(outcome);
        }
        let standing = self.tell_standing(&state.engine);
        Turn { actions, deadline, state: standing.state, wakeups }
    }

    /// The driver is gone: whoever waits for anything is told.
    pub(crate) fn finish(&self) {
        let mut state = self.lock();
        self.finished.send_replace(true);
        state.waiting.clear();
        state.asking.clear();
        drop(state);
        self.sent.notify_waiters();
        self.queue.finish().fire();
    }
}

/// Civil time. A system clock before 1970 counts as 1970.
fn wall() -> WallTime {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    WallTime::from_unix_ms(u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX))
}

impl State {
    /// The callers whose question ended, each with its outcome.
    fn replies(&mut self, events: &[Event]) -> Vec<(oneshot::Sender<RequestOutcome>, RequestOutcome)> {
        if self.asking.is_empty() {
            return Vec::new();
        }
        let ended = events.iter().filter_map(|event| match event {
            Event::Response { request, outcome } => Some((request, outcome)),
            _ => None,
        });
        ended.filter_map(|(request, outcome)| Some((self.asking.remove(request)?, outcome.clone()))).collect()
    }

    /// The callers who wait for one of these events, each with its outcome.
    fn answers(&mut self, events: &[Event]) -> Vec<(oneshot::Sender<SubscriptionOutcome>, SubscriptionOutcome)> {
        if self.waiting.is_empty() {
            return Vec::new();
        }
        let outcomes = events.iter().filter_map(|event| match event {
            Event::Subscribed(outcome) => Some(outcome),
            _ => None,
        });
        outcomes.filter_map(|outcome| Some((self.waiting.remove(&outcome.request)?, outcome.clone()))).collect()
    }
}
