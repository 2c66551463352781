//! One client under one sequence of steps, with the promises that hold after each of them.

use std::{collections::BTreeSet, time::Duration};

use wse_client_core::{
    client::{
        Action, Client, ConnectionState, Event, Fault, Input, NetworkHint, Outgoing, Output, RequestId,
        lifecycle::{Bound, Fingerprint, Stage, TABLE},
    },
    config::ClientConfig,
    error::Code,
    io::{Close, SocketId},
    rng::Seed,
    time::{Moment, WallTime},
    wire::Payload,
};

use crate::step::{Step, Word};

/// Deadlines that move the connection from stage to stage. Others (a queue, a window) only let work go on.
const OF_THE_CONNECTION: [&str; 7] = ["Dial", "Ready", "Grace", "Ping", "Silence", "Stable", "Retry"];

/// A poor network may stretch `heartbeat.interval` up to this.
const LONGEST_INTERVAL: Duration = Duration::from_secs(40);

/// One client, its world, and what it did so far.
pub(crate) struct Run {
    pub(crate) client: Client,
    now: Moment,
    config: ClientConfig,
    state: ConnectionState,
    /// Sockets that the driver holds: opened or being opened, and not closed.
    live: BTreeSet<SocketId>,
    dialling: Option<SocketId>,
    current: SocketId,
    /// The open question for a token.
    asked_for_token: Option<RequestId>,
    closed_by_application: bool,
    refused: bool,
    steps: Vec<Step>,
}

/// A failed check says what led to it.
impl Drop for Run {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("after {:?}", self.steps);
        }
    }
}

impl Run {
    pub(crate) fn new(config: &ClientConfig) -> Self {
        let client = Client::new(config.clone(), Seed::from_u64(11), Moment::ORIGIN, WallTime::from_unix_ms(0));
        Self {
            client: client.expect("usable settings"),
            now: Moment::ORIGIN,
            config: config.clone(),
            state: ConnectionState::Idle,
            live: BTreeSet::new(),
            dialling: None,
            current: SocketId(0),
            asked_for_token: None,
            closed_by_application: false,
            refused: false,
            steps: Vec::new(),
        }
    }

    /// What was done so far.
    pub(crate) fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// The client after these steps, without looking at it on the way.
    pub(crate) fn replay(config: &ClientConfig, steps: &[Step]) -> Self {
        let mut run = Self::new(config);
        for step in steps {
            run.apply(*step);
        }
        run
    }

    /// What decides how it goes on: two runs with the same key have the same futures, but for the exact
    /// lengths of waits.
    pub(crate) fn key(&self) -> String {
        let print = self.client.fingerprint();
        let order: Vec<&str> = connection_deadlines(&print).map(|(name, _)| name).collect();
        let failures = match self.config.reconnect.max_retries {
            Some(_) => print.failures,
            // They only make the pause longer.
            None => print.failures.min(1),
        };
        let held = (self.live.len(), self.dialling.is_some(), self.asked_for_token.is_some());
        let (stage, state) = (self.client.stage(), self.client.state());
        format!("{stage:?} {state:?} {order:?} {failures} {held:?} {}", print.flags)
    }

    /// Does one step and checks what must hold after each.
    pub(crate) fn step(&mut self, step: Step) {
        let before = self.client.stage();
        let taken = self.client.fingerprint().taken;
        self.apply(step);
        let print = self.client.fingerprint();
        self.check_walk(before, &taken, &print);
        self.check_stage(&print);
    }

    /// Every change of stage is a walk along rows of the table.
    fn check_walk(&self, before: Stage, taken: &[u32], print: &Fingerprint) {
        assert_eq!(print.unlisted, 0, "a transition that the table does not list");
        let mut balance = [0i64; Stage::ALL.len()];
        let index = |stage: Stage| Stage::ALL.iter().position(|known| *known == stage).expect("all are listed");
        for (row, (after, before)) in TABLE.iter().zip(print.taken.iter().zip(taken)) {
            balance[index(row.to)] += i64::from(after - before);
            balance[index(row.from)] -= i64::from(after - before);
        }
        balance[index(before)] += 1;
        balance[index(self.client.stage())] -= 1;
        assert_eq!(balance, [0; Stage::ALL.len()], "{before:?} became {:?} past the table", self.client.stage());
    }

    fn check_stage(&self, print: &Fingerprint) {
        let stage = self.client.stage();
        assert!(print.bounded, "{stage:?} has no deadline of {:?}: {:?}", stage.bound(), print.deadlines);
        let state = self.client.state();
        // A first attempt may wait for the network.
        let first_waits = stage == Stage::Waiting && state == ConnectionState::Connecting;
        assert!(first_waits || state == stage.state(state), "{stage:?} is {state:?}");
        assert_eq!(self.client.state(), self.state, "a change of state that was not told");
        match stage {
            Stage::Closed => assert!(self.closed_by_application, "closed by nobody"),
            Stage::Failed => assert!(self.refused || self.retries_used_up(), "given up without a rule to stop"),
            Stage::FetchingToken => {
                assert!(self.asked_for_token.is_some(), "waits for a token that nobody was asked for")
            }
            Stage::Opening => assert!(self.dialling.is_some(), "waits for a socket that nobody opens"),
            Stage::Greeting | Stage::Ready => {
                assert!(self.live.contains(&self.current) && self.dialling.is_none(), "no socket in {stage:?}");
            }
            Stage::Idle | Stage::Waiting => {}
        }
        let connected = matches!(stage, Stage::FetchingToken | Stage::Waiting) || stage.bound() == Bound::Application;
        assert!(!connected || self.live.is_empty(), "a socket is left over in {stage:?}");
    }

    fn retries_used_up(&self) -> bool {
        let code = self.client.last_disconnect().map(|end| end.code);
        self.config.reconnect.max_retries.is_some() && code == Some(Code::RetriesExhausted)
    }

    /// Nobody answers any more, only the clock goes on: the stage ends within its bound.
    pub(crate) fn stay_in_silence(&mut self) {
        // While the application holds up the reads, or the host is cut off, silence proves nothing.
        self.end_excuses();
        let (stage, start) = (self.client.stage(), self.now);
        let limit = self.longest(stage);
        while self.client.stage() == stage && self.now.since(start) <= limit {
            let Some(at) = self.deadline() else { break };
            self.wake_at(at);
        }
        let ended = self.client.stage() != stage && self.now.since(start) <= limit;
        assert!(ended, "{stage:?} did not end within {limit:?} of silence");
    }

    /// How long a stage can last at most when nobody answers.
    fn longest(&self, stage: Stage) -> Duration {
        let is_named = self.client.fingerprint().flags.contains("named=true");
        match stage.bound() {
            Bound::Application => Duration::MAX,
            Bound::Dial => self.config.timeouts.connect,
            Bound::Ready => self.config.timeouts.ready,
            Bound::Heartbeat => LONGEST_INTERVAL.max(self.config.heartbeat.interval) + self.config.heartbeat.timeout,
            // The named window, and no shorter one than the own ceiling behind the named time.
            Bound::Retry if is_named => self.config.reconnect.max_delay + Duration::from_secs(60),
            Bound::Retry => self.config.reconnect.max_delay,
        }
    }

    /// From here on everybody does what is expected of them; a client that rests is told to connect. Gives whether the client gets connected.
    pub(crate) fn cooperate(&mut self) -> bool {
        self.end_excuses();
        for _ in 0..100 {
            if self.client.state() == ConnectionState::Connected {
                return true;
            }
            self.help();
        }
        false
    }

    fn end_excuses(&mut self) {
        self.step(Step::ReadsPaused(false));
        self.step(Step::Hint(NetworkHint::Wake));
        self.step(Step::Hint(NetworkHint::Online));
    }

    /// What brings the client closer to a connection: an answer that is due, or the next deadline.
    pub(crate) fn help(&mut self) {
        if self.client.stage().bound() == Bound::Application {
            self.step(Step::Connect);
        } else if self.asked_for_token.is_some() {
            self.step(Step::TokenGiven);
        } else if self.dialling.is_some() {
            self.step(Step::Opened);
            self.step(Step::Says(Word::HelloWithKey));
            self.step(Step::Says(Word::Ready));
        } else {
            self.step(Step::NextDeadline);
        }
    }

    fn apply(&mut self, step: Step) {
        self.steps.push(step);
        let (now, current, old) = (self.now, self.current, SocketId(self.current.0.saturating_sub(1)));
        match step {
            Step::Connect => self.client.connect(now),
            Step::Close => {
                self.closed_by_application = true;
                self.client.close(Close::normal(), now);
            }
            Step::Reconnect => self.client.reconnect(now),
            Step::SetToken => self.client.set_token(Some("token".into()), now),
            Step::Subscribe => drop(self.client.subscribe(&["news"], now)),
            Step::Send => drop(self.client.send(Outgoing::new("order", Payload::new(&1).expect("a number")), now)),
            Step::TokenGiven => self.answer_token(Ok(Some("token".into()))),
            Step::NoToken => self.answer_token(Ok(None)),
            Step::TokenFailed => self.answer_token(Err("no session".into())),
            Step::Opened => {
                self.dialling = None;
                self.client.handle(Input::Opened(current), now);
            }
            Step::OpenedOld => self.client.handle(Input::Opened(old), now),
            Step::FailedPlainly => self.fail(current, None),
            Step::FailedWith401 => self.fail(current, Some(401)),
            Step::FailedWith403 => self.fail(current, Some(403)),
            Step::FailedOld => self.fail(old, None),
            Step::ClosedWith(code) => self.close(current, code),
            Step::ClosedOld => self.close(old, 4403),
            Step::Says(word) => self.client.handle(Input::Frame(current, word.frame()), now),
            Step::SaysOnOld(word) => self.client.handle(Input::Frame(old, word.frame()), now),
            Step::ReadsPaused(paused) => self.client.handle(Input::ReadsPaused(paused), now),
            Step::Hint(hint) => self.client.handle(Input::Network(hint), now),
            Step::NextDeadline => self.pass_next_deadline(),
            Step::Sleep => self.wake_at(now + Duration::from_secs(600)),
        }
        self.drain();
    }

    fn answer_token(&mut self, answer: Result<Option<wse_client_core::security::Secret>, String>) {
        // One that nobody asked for is late, or forged.
        let request = self.asked_for_token.take().unwrap_or(RequestId(0));
        self.client.handle(Input::Token(request, answer), self.now);
    }

    fn fail(&mut self, socket: SocketId, http_status: Option<u16>) {
        self.let_go(socket);
        let fault = Fault { http_status, detail: "failed".into() };
        self.client.handle(Input::Failed(socket, fault), self.now);
    }

    fn close(&mut self, socket: SocketId, code: u16) {
        let held = self.let_go(socket);
        self.refused |= held && code == 4403;
        self.client.handle(Input::Closed(socket, Close::new(code, "")), self.now);
    }

    fn let_go(&mut self, socket: SocketId) -> bool {
        self.dialling.take_if(|dialling| *dialling == socket);
        self.live.remove(&socket)
    }

    fn pass_next_deadline(&mut self) {
        let Some(target) = connection_deadlines(&self.client.fingerprint()).next().map(|(_, at)| at) else { return };
        while let Some(at) = self.deadline().filter(|at| *at <= target) {
            self.wake_at(at);
        }
    }

    fn wake_at(&mut self, at: Moment) {
        self.now = self.now.max(at);
        self.client.handle(Input::Wake, self.now);
        self.drain();
    }

    fn deadline(&mut self) -> Option<Moment> {
        match self.client.poll() {
            Output::Wait(at) => at,
            other => unreachable!("drained before: {other:?}"),
        }
    }

    fn drain(&mut self) {
        loop {
            match self.client.poll() {
                Output::Act(action) => self.act(action),
                Output::Emit(Event::StateChanged { from, to }) => {
                    assert_eq!(from, self.state, "a change of state from a state that was not told");
                    self.state = to;
                }
                Output::Emit(_) => {}
                Output::Wait(_) => return,
            }
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::FetchToken { request, .. } => self.asked_for_token = Some(request),
            Action::Open { socket, .. } => {
                assert!(self.live.is_empty(), "{socket:?} is opened while {:?} is open", self.live);
                self.live.insert(socket);
                self.dialling = Some(socket);
                self.current = socket;
                // An answer that comes now belongs to an attempt that is over.
                self.asked_for_token = None;
            }
            Action::Send { socket, .. } => {
                assert!(self.live.contains(&socket) && self.dialling.is_none(), "a frame for {socket:?}, not open");
            }
            Action::Close { socket, .. } => {
                self.let_go(socket);
            }
        }
    }
}

fn connection_deadlines(print: &Fingerprint) -> impl Iterator<Item = (&str, Moment)> {
    let all = print.deadlines.iter().map(|(name, at)| (name.as_str(), *at));
    all.filter(|(name, _)| OF_THE_CONNECTION.contains(name))
}
