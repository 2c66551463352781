//! What the clients of a world do, their drivers, and the applications on top.

use std::time::Duration;

use wse_client_core::{
    client::{self, Action, Event, Fault, Input, NetworkHint, Outgoing, RequestId, RequestOutcome},
    error::Code,
    io::{Close, SocketId},
    topic,
    wire::Priority,
};

use crate::{
    civil::Civil,
    dice::Dice,
    invariants::{self, Invariant},
    line::DOWN,
    plan::{DENIED, PATTERNS, PLAIN, RECOVERABLE},
    servers::numbered,
    tab::token_text,
    world::{Delivery, Due, World},
};

/// Outputs of one input that only a loop can make.
const MAX_OUTPUTS: usize = 20_000;

impl World {
    pub(crate) fn reach_tab(&mut self, index: usize, socket: SocketId, delivery: Delivery) {
        if self.tabs[index].holds(&delivery) {
            self.tabs[index].inbox.push_back((socket, delivery));
            return;
        }
        let is_live = self.tabs[index].live.contains(&socket);
        match delivery {
            Delivery::Closed(_) | Delivery::Refused(_) => _ = self.tabs[index].live.remove(&socket),
            Delivery::Opened if is_live => self.tabs[index].hearing = Some(socket),
            Delivery::Frame(_) if !is_live => {
                if let Some(line) = self.lines.get_mut(&(index, socket)) {
                    line.broken[DOWN] = true;
                }
            }
            Delivery::Opened | Delivery::Frame(_) => {}
        }
        let input = match delivery {
            Delivery::Opened => Input::Opened(socket),
            Delivery::Refused(http_status) => Input::Failed(socket, Fault { http_status, detail: "refused".into() }),
            Delivery::Frame(frame) => Input::Frame(socket, frame),
            Delivery::Closed(close) => Input::Closed(socket, close),
        };
        self.tab_input(index, input);
    }

    pub(crate) fn tab_input(&mut self, index: usize, input: Input) {
        if self.trace.is_on() && !matches!(input, Input::Frame(..)) {
            self.trace.note(self.now, format_args!("in {index} {input:?}"));
        }
        let now = self.tabs[index].told(self.now);
        self.tabs[index].client.handle(input, now);
        self.drain_tab(index);
    }

    pub(crate) fn drain_tab(&mut self, index: usize) {
        for _ in 0..MAX_OUTPUTS {
            match self.tabs[index].client.poll() {
                client::Output::Act(action) => self.act(index, action),
                client::Output::Emit(event) => self.on_event(index, event),
                client::Output::Wait(at) => {
                    let tab = &mut self.tabs[index];
                    let world = |at: wse_client_core::time::Moment| at.as_millis().saturating_sub(tab.skew);
                    tab.deadline = at.map(|at| wse_client_core::time::Moment::from_millis(world(at)));
                    tab.state = tab.client.state();
                    return invariants::after_input(self, index);
                }
            }
        }
        self.fail(Invariant::Memory, format!("client {index}: more than {MAX_OUTPUTS} outputs after one input"));
    }

    fn act(&mut self, index: usize, action: Action) {
        match action {
            Action::FetchToken { request, renew } => self.fetch_token(index, request, renew),
            Action::Open { socket, url, token } => {
                self.trace.note(self.now, format_args!("do {index} open {} {url}", socket.0));
                self.tabs[index].reads_paused = false;
                self.tabs[index].live.insert(socket);
                invariants::one_socket(self, index);
                self.open(index, socket, &url, token.map(|token| token.expose().to_owned()));
            }
            Action::Send { socket, frame } => self.send_up((index, socket), frame),
            Action::Close { socket, close } => {
                self.trace.note(self.now, format_args!("do {index} close {} {close:?}", socket.0));
                self.tabs[index].live.remove(&socket);
                self.close_up((index, socket));
            }
        }
    }

    fn fetch_token(&mut self, index: usize, request: RequestId, renew: bool) {
        self.trace.note(self.now, format_args!("do {index} fetch token, renew {renew}"));
        let tab = &mut self.tabs[index];
        if renew && tab.token < tab.required {
            tab.token = tab.required;
        }
        let pause = self.dice.millis(0, 300);
        let answer = match self.dice.below(if self.calm { 1 } else { 20 }) {
            1 => return, // never answered: the client must not wait for ever
            2 => Err("the identity provider is away".to_owned()),
            _ => Ok(()),
        };
        self.after(pause, Due::Token(index, request, answer));
    }

    pub(crate) fn answer_token(&mut self, index: usize, request: RequestId, answer: Result<(), String>) {
        let token = token_text(index, self.tabs[index].token);
        self.tab_input(index, Input::Token(request, answer.map(|()| Some(token.into()))));
    }

    pub(crate) fn rotate_token(&mut self, index: usize) {
        let now = self.tabs[index].told(self.now);
        let tab = &mut self.tabs[index];
        tab.token = (tab.token + 1).max(tab.required);
        self.trace.note(self.now, format_args!("do {index} token {}", tab.token));
        if !tab.has_provider {
            tab.client.set_token(Some(token_text(index, tab.token).into()), now);
        }
        self.drain_tab(index);
    }

    fn on_event(&mut self, index: usize, event: Event) {
        if self.trace.is_on() {
            self.trace.note(self.now, format_args!("ev {index} {}", shown(&event)));
        }
        match event {
            Event::Message(message) => invariants::delivered(self, index, &message),
            Event::Notice(_) => self.tabs[index].ledger.received += 1,
            Event::Rejected(error) => {
                let id = (index, self.tabs[index].hearing.unwrap_or(SocketId(0)));
                invariants::frame_refused(self, id, DOWN, &error);
            }
            Event::Response { request, outcome } => {
                self.tabs[index].ledger.received += u64::from(matches!(outcome, RequestOutcome::Answered(_)));
                invariants::question_ended(self, index, request);
            }
            Event::Lost { topic, range: Some(range), .. } => {
                invariants::told_lost(self, index, topic.as_deref().unwrap_or_default(), &range);
            }
            Event::Dropped { id, priority, reason } => {
                invariants::dropped_by_a_rule(self, index, &id, priority, reason);
            }
            Event::Recovery { count, .. } => self.report.recovered += count,
            Event::Subscribed(outcome) => invariants::request_ended(self, index, &outcome),
            Event::StateChanged { from, to } => invariants::state_changed(self, index, from, to),
            Event::Connected(_) => {
                self.report.connections += 1;
                invariants::connected_as_agreed(self, index);
            }
            Event::Disconnected(end) => {
                let without_provider = !self.tabs[index].has_provider;
                if without_provider && matches!(end.code, Code::AuthFailed | Code::AuthRequired) {
                    let pause = self.dice.millis(100, 5_000);
                    self.after(pause, Due::NewToken(index));
                }
            }
            _ => {}
        }
    }

    /// Something that a page does, now and then.
    pub(crate) fn app_acts(&mut self, index: usize) {
        if self.quiet {
            return;
        }
        let pause = if self.calm { self.dice.millis(2_000, 20_000) } else { self.dice.millis(50, 2_500) };
        self.after(pause, Due::App(index));
        if self.tabs[index].frozen {
            return;
        }
        match self.dice.below(if self.calm { 60 } else { 100 }) {
            0..15 => self.subscribe_some(index),
            15..25 => self.unsubscribe_some(index),
            25..42 => self.send_something(index, None),
            42..45 => self.send_many(index),
            45..60 => {
                let topic = self.dice.pick(RECOVERABLE);
                self.send_something(index, topic);
            }
            60..68 => {
                self.pause_reads(index, true);
                let pause = self.dice.millis(100, 8_000);
                self.after(pause, Due::ReadOn(index));
            }
            68..76 => {
                self.trace.note(self.now, format_args!("-- freeze {index}"));
                if self.dice.chance(50) {
                    self.tab_input(index, Input::Network(NetworkHint::Sleep));
                }
                self.tabs[index].frozen = true;
                let pause = self.dice.millis(100, 40_000);
                self.after(pause, Due::Thaw(index));
            }
            76..80 => self.jump_clock(index),
            80..86 => self.rotate_token(index),
            86..88 => self.hint(index),
            88..90 => self.command(index, "reconnect", |tab, now| tab.client.reconnect(now)),
            90..93 => {
                self.tabs[index].closing = true;
                self.command(index, "close", |tab, now| tab.client.close(Close::normal(), now));
                self.tabs[index].closing = false;
            }
            93 => self.ask_something(index),
            94 => {
                let rotated = |tab: &mut crate::tab::Tab, now| _ = tab.client.rotate_keys(now);
                self.command(index, "rotate", rotated);
            }
            _ => self.command(index, "connect", |tab, now| tab.client.connect(now)),
        }
    }

    pub(crate) fn command(
        &mut self,
        index: usize,
        name: &str,
        command: impl FnOnce(&mut crate::tab::Tab, wse_client_core::time::Moment),
    ) {
        self.trace.note(self.now, format_args!("do {index} {name}"));
        let now = self.tabs[index].told(self.now);
        command(&mut self.tabs[index], now);
        self.drain_tab(index);
    }

    fn subscribe_some(&mut self, index: usize) {
        let topics = some_topics(&mut self.dice);
        self.trace.note(self.now, format_args!("do {index} subscribe {topics:?}"));
        let tab = &mut self.tabs[index];
        let now = tab.told(self.now);
        let request = tab.client.subscribe(&topics, now).expect("valid topics, and few of them");
        tab.requests.insert(request);
        tab.wanted.extend(topics.iter().map(|name| (*name).to_owned()));
        self.drain_tab(index);
    }

    fn unsubscribe_some(&mut self, index: usize) {
        let topics = some_topics(&mut self.dice);
        self.trace.note(self.now, format_args!("do {index} unsubscribe {topics:?}"));
        let tab = &mut self.tabs[index];
        let now = tab.told(self.now);
        let request = tab.client.unsubscribe(&topics, now).expect("valid topics, and few of them");
        tab.requests.insert(request);
        for name in topics {
            tab.wanted.remove(name);
        }
        let wanted = &tab.wanted;
        tab.tracks.retain(|name, _| wanted.iter().any(|pattern| topic::matches(pattern, name)));
        self.drain_tab(index);
    }

    fn send_something(&mut self, index: usize, topic: Option<&str>) {
        self.numbers += 1;
        let number = self.numbers;
        let mut message = Outgoing::new("note", numbered(number));
        message.topic = topic.map(str::to_owned);
        message.priority = some_priority(&mut self.dice);
        let priority = message.priority;
        let now = self.tabs[index].told(self.now);
        let sent = self.tabs[index].client.send(message, now);
        self.trace.note(self.now, format_args!("do {index} send {number} to {topic:?} {priority:?}: {sent:?}"));
        match sent {
            Ok(id) => self.tabs[index].ledger.accept(number, id, priority, now),
            Err(error) => invariants::refused_by_a_rule(self, index, priority, &error),
        }
        self.drain_tab(index);
    }

    /// A burst of messages: what queues and batches are for.
    fn send_many(&mut self, index: usize) {
        for _ in 0..1 + self.dice.below(30) {
            self.send_something(index, None);
        }
    }

    fn ask_something(&mut self, index: usize) {
        use wse_client_core::client::Request::{ConnectionState, Encryption, Health};
        let question = [Health, ConnectionState, Encryption][self.dice.below(3)].clone();
        let now = self.tabs[index].told(self.now);
        if let Ok(request) = self.tabs[index].client.request(&question, now) {
            self.tabs[index].requests.insert(request);
        }
        self.drain_tab(index);
    }

    pub(crate) fn pause_reads(&mut self, index: usize, paused: bool) {
        if self.tabs[index].frozen || self.tabs[index].reads_paused == paused {
            return;
        }
        if paused && self.tabs[index].live.is_empty() {
            return; // nothing is read anyway
        }
        self.tabs[index].reads_paused = paused;
        self.tab_input(index, Input::ReadsPaused(paused));
        self.open_inbox(index);
    }

    /// The page wakes: a burst of callbacks that are late, and a timer that is older still.
    pub(crate) fn thaw(&mut self, index: usize) {
        if !self.tabs[index].frozen {
            return;
        }
        self.trace.note(self.now, format_args!("-- thaw {index}"));
        self.tabs[index].frozen = false;
        if self.dice.chance(50) {
            self.tab_input(index, Input::Wake);
        }
        self.open_inbox(index);
        self.tab_input(index, Input::Network(NetworkHint::Wake));
    }

    /// What the host says of the network, which may be wrong.
    fn hint(&mut self, index: usize) {
        use NetworkHint::{AddressChanged, Offline, Online, Wake};
        let hint = [AddressChanged, Offline, Online, Wake][self.dice.below(4)];
        self.tab_input(index, Input::Network(hint));
    }

    fn open_inbox(&mut self, index: usize) {
        let waiting = std::mem::take(&mut self.tabs[index].inbox);
        for (socket, delivery) in waiting {
            self.reach_tab(index, socket, delivery);
        }
    }

    /// The machine slept and its timers with it, or somebody set its civil clock.
    fn jump_clock(&mut self, index: usize) {
        if self.dice.chance(50) {
            self.tabs[index].civil = Civil::draw(&mut self.dice);
            self.trace.note(self.now, format_args!("-- the clock of {index} is set: {:?}", self.tabs[index].civil));
            return;
        }
        let jump = self.dice.millis(1_000, 4_000_000);
        self.trace.note(self.now, format_args!("-- the clock of {index} jumps by {jump:?}"));
        let jump = u64::try_from(jump.as_millis()).unwrap_or(0);
        self.tabs[index].skew += jump;
        self.tab_input(index, Input::Wake);
    }

    /// Ends the bad weather for every client.
    pub(crate) fn wake_everyone(&mut self) {
        for index in 0..self.tabs.len() {
            self.thaw(index);
            self.pause_reads(index, false);
            self.tab_input(index, Input::Network(NetworkHint::Online));
            let turned_off = self.tabs[index].is_off();
            let failed = self.tabs[index].state == client::ConnectionState::Failed;
            if turned_off && (failed || self.dice.chance(70)) {
                // Turned away once is not turned away for ever.
                self.tabs[index].may_fail = self.plan.clients[index].reconnect.max_retries.is_some();
                self.command(index, "connect", |tab, now| tab.client.connect(now));
            }
            if failed {
                // Its token may be what it failed for.
                self.after(Duration::from_secs(1), Due::NewToken(index));
            }
        }
    }
}

fn some_topics(dice: &mut Dice) -> Vec<&'static str> {
    let count = 1 + dice.below(3);
    let patterns = if dice.chance(30) { PATTERNS } else { &[] };
    let all: Vec<&str> = RECOVERABLE.iter().chain(PLAIN).chain(patterns).copied().collect();
    let mut topics: Vec<&str> = (0..count).filter_map(|_| dice.pick(&all)).collect();
    if dice.chance(5) {
        topics.push(DENIED);
    }
    topics
}

fn some_priority(dice: &mut Dice) -> Priority {
    use Priority::{Background, Critical, High, Low, Normal};
    [Background, Low, Low, Normal, Normal, Normal, Normal, High, High, Critical][dice.below(10)]
}

fn shown(event: &Event) -> String {
    match event {
        Event::Message(message) => format!(
            "message {:?} {:?} {:?} {}",
            message.topic(),
            message.epoch(),
            message.offset(),
            message.payload().to_json()
        ),
        other => format!("{other:?}"),
    }
}
